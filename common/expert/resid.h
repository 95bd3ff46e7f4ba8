/*
 * resid - which experts of a model are in memory.
 *
 * Every (layer, expert) is absent (not this server's), on disk, loading,
 * resident, or leaving.  Blocks of `block` experts of a layer load and leave
 * together.  The packed weights are held once; what is resident or loading
 * never exceeds memory_bytes.
 *
 * Threads: all functions belong to the engine thread.  Loader threads of its
 * own read and pack; what they have finished is published to the engine thread
 * by resid_poll, and only that changes a state.
 */
#ifndef MOE_RESID_H
#define MOE_RESID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"

struct model;
struct resid;

enum resid_state {
	RESID_ABSENT = 0,
	RESID_DISK,
	RESID_LOADING,
	RESID_HERE,
	RESID_LEAVING,		/* no new rows; freed when none is queued */
};

/* Where experts come from; resid_source_of() gives that of a checkpoint.  load and
 * drop are called by several threads at once. */
struct resid_source {
	int n_layer, n_expert;
	size_t expert_bytes;	/* packed */
	bool (*has)(void *arg, int layer);	/* is it a layer with experts? */
	uint64_t (*file_bytes)(void *arg, int layer);	/* of one expert */
	int (*load)(void *arg, int layer, int expert, struct kern_expert *out,
	    struct err *err);
	void (*drop)(void *arg, struct kern_expert *x);
	void *arg;
};

struct resid_opt {
	struct resid_source src;
	uint64_t memory_bytes;	/* bound on packed weights; 0: none */
	int block;		/* experts; 0 = 1 */
	int threads;		/* loaders; 0 = 4 */
	void (*wake)(void *arg);	/* by loader threads: resid_poll has news */
	void *wake_arg;
};

/* The experts of m, packed for kn.  *arg_p is to be freed by resid_store_free
 * after the resid has been closed. */
struct resid_store;
struct resid_source resid_source_of(const struct kern *kn,
	    const struct model *m, struct resid_store **arg_p);
void	resid_store_free(struct resid_store *s);

struct resid *resid_open(const struct resid_opt *opt);
/* Stops the loaders (after the expert each is at) and frees every weight. */
void	resid_close(struct resid *r);

/* The expert is this server's from now on (absent -> disk; no effect on any
 * other state; layers without experts have none).  Loads nothing. */
void	resid_assign(struct resid *r, int layer, int expert);
/* A list of them: "all", or comma-separated E, E-E (of every layer), L:E,
 * L:E-E, L-L:E-E.  -1: ERR_USAGE, and nothing has been assigned. */
int	resid_assign_spec(struct resid *r, const char *spec, struct err *err);
/* Could everything that is assigned be resident together?  -1: ERR_USAGE with
 * the bytes needed and given.  Reads nothing. */
int	resid_fits(const struct resid *r, struct err *err);

/* Start loading every assigned block that is on disk, in order of layer, as
 * far as memory_bytes allows. */
void	resid_load_all(struct resid *r);
/* A resident expert is not this server's any more: its block goes when no row
 * of it is queued (xeng sees to that). */
void	resid_leave(struct resid *r, int layer, int expert);

/* Take over what the loaders have finished since the last call.  0, or -1 with
 * the first error of a load that failed: that block is on disk again. */
int	resid_poll(struct resid *r, struct err *err);
/* Free leaving blocks none of whose experts is busy. */
void	resid_reap(struct resid *r,
	    bool (*busy)(void *arg, int layer, int expert), void *arg);
/* Block until nothing is loading (for start-up without an event loop).
 * progress is called now and then on this thread; may be NULL. */
int	resid_wait(struct resid *r,
	    void (*progress)(uint64_t done_bytes, uint64_t total_bytes,
	    void *arg), void *arg, struct err *err);

enum resid_state resid_state(const struct resid *r, int layer, int expert);
/* The weights, while RESID_HERE or RESID_LEAVING; else NULL. */
const struct kern_expert *resid_get(const struct resid *r, int layer,
	    int expert);

struct resid_count {
	uint32_t assigned, here, loading;	/* experts */
	uint64_t here_bytes, loading_bytes;	/* packed */
	uint64_t read_bytes, total_bytes;	/* of files: progress of all loads */
	uint64_t version;	/* + 1 whenever the resident set has changed */
};
void	resid_count(const struct resid *r, struct resid_count *out);
int	resid_n_layer(const struct resid *r);
int	resid_n_expert(const struct resid *r);

#endif
