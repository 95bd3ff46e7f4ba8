/*
 * resid - which experts of a model are in memory.
 *
 * Every (layer, expert) is absent (not this server's), on disk, loading,
 * here, or leaving.  Blocks of `block` neighbouring experts of a layer load and
 * leave together.  Packed weights are held once; what is in memory or on its
 * way there or out never exceeds memory_bytes.
 *
 * Threads: every function belongs to the engine thread.  Loader threads of
 * resid's own read, pack and free; what they have finished is published to the
 * engine thread by resid_poll, and only the engine thread changes a state.
 */
#ifndef MOE_RESID_H
#define MOE_RESID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"
#include "model.h"

struct keep;
struct resid;

enum resid_state {
	RESID_ABSENT = 0,
	RESID_DISK,
	RESID_LOADING,
	RESID_HERE,
	RESID_LEAVING,		/* no new rows; goes when none is queued */
};

/* Where experts come from, for tests and generators. */
struct resid_source {
	int n_layer, n_expert;
	size_t expert_bytes;	/* packed */
	bool (*has)(void *arg, int layer);	/* a layer with experts? */
	uint64_t (*file_bytes)(void *arg, int layer);	/* of one expert */
	/* By several loader threads at once. */
	int (*load)(void *arg, int layer, int expert, struct kern_expert *out,
	    struct err *err);
	void (*drop)(void *arg, struct kern_expert *x);
	/* Neighbours that load together, into w[0..n), all or none, instead of
	 * load; and: those of such a run leave memory for good.  NULL: one by
	 * one, nobody to tell. */
	int (*load_run)(void *arg, int layer, int first, int n,
	    struct kern_expert *w, struct err *err);
	void (*forget)(void *arg, int layer, int first, int n);
	void *arg;
};

struct resid_opt {
	const struct kern *kn;	/* the experts of m, packed for kn */
	const struct model *m;
	struct keep *keep;	/* by way of these files, or NULL */
	const struct resid_source *src;	/* or this instead, copied */
	uint64_t memory_bytes;	/* bound on packed weights; 0: none */
	int block;		/* experts; 0 = 1 */
	int threads;		/* loaders; 0 = 4 */
	/* By loader threads: resid_poll has news.  NULL: nobody to wake. */
	void (*wake)(void *arg);
	void *wake_arg;
};

struct resid *resid_open(const struct resid_opt *opt);
/* Stop the loaders after the expert each is at: wake is not called any more,
 * and nothing can be loaded. */
void	resid_stop(struct resid *r);
/* Stop, and free every weight. */
void	resid_close(struct resid *r);	/* NULL is fine */

/* The expert is this server's from now on: absent becomes disk; any other state
 * stays, and so does absent in a layer without experts.  Loads nothing. */
void	resid_assign(struct resid *r, int layer, int expert);
/* Could all that is assigned be in memory together?  -1: ERR_USAGE with the
 * bytes needed and given.  Reads nothing. */
int	resid_fits(const struct resid *r, struct err *err);
/* Start to load every assigned block that is on disk, lowest layer first, as
 * far as memory_bytes allows. */
void	resid_load_all(struct resid *r);
/* The block of this expert is not this server's any more: on disk it is absent
 * at once, in memory it leaves. */
void	resid_leave(struct resid *r, int layer, int expert);

/* Take over what the loaders have finished since the last call.  0, or -1 with
 * the first error of a load that failed: its block is on disk again. */
int	resid_poll(struct resid *r, struct err *err);
/* Send leaving experts away that are not busy (rows queued). */
void	resid_reap(struct resid *r,
	    bool (*busy)(void *arg, int layer, int expert), void *arg);
bool	resid_any_leaving(const struct resid *r);


/*
 * Loading on demand.  resid_use: there are rows for it at now_ns.  resid_park
 * unloads every block that is in memory, not busy, and not used for idle_ns (or
 * since its loading): back to disk, but resid_want starts to load such a block
 * again.  resid_park returns how many experts went; resid_want is false when
 * the expert is not loading after it (never parked, or no room).
 */
void	resid_use(struct resid *r, int layer, int expert, uint64_t now_ns);
uint32_t resid_park(struct resid *r, uint64_t now_ns, uint64_t idle_ns,
	    bool (*busy)(void *arg, int layer, int expert), void *arg);
bool	resid_want(struct resid *r, int layer, int expert);
/* Are requests for it answered: in memory, or parked, or coming back? */
bool	resid_serves(const struct resid *r, int layer, int expert);

/* Block until nothing is loading (start-up without an event loop); 0, or -1 as
 * resid_poll.  progress (or NULL) is called on this thread now and then, and
 * once at the end. */
typedef void (resid_progress_fn)(uint64_t done_bytes, uint64_t total_bytes,
	    void *arg);
int	resid_wait(struct resid *r, resid_progress_fn *progress, void *arg,
	    struct err *err);

enum resid_state resid_state(const struct resid *r, int layer, int expert);
/* The weights, while here or leaving; else NULL. */
const struct kern_expert *resid_get(const struct resid *r, int layer,
	    int expert);
/* Experts of a layer that are this server's, in whatever state. */
uint32_t resid_layer_assigned(const struct resid *r, int layer);
/* Counts changes of any state, from 0. */
uint64_t resid_version(const struct resid *r);

struct resid_count {
	uint32_t assigned, here, loading;	/* experts */
	uint64_t assigned_bytes, here_bytes;	/* packed */
	uint64_t read_bytes, total_bytes;	/* of files, all loads */
};
void	resid_count(const struct resid *r, struct resid_count *out);
int	resid_n_layer(const struct resid *r);
int	resid_n_expert(const struct resid *r);

/* Assign a list (resid_spec.c): "all", or parts with commas between: E or E-E
 * (of every layer), L:E, L:E-E, L-L:E-E.  -1: ERR_USAGE with the part and the
 * range that it may have; then nothing has been assigned. */
int	resid_spec(struct resid *r, const char *spec, struct err *err);

#endif
