/*
 * resid_load - the loader threads of resid: a queue of blocks to load or to
 * free, and a list of those that are done.  Only resid.c includes this.
 *
 * While an item is with the loaders, they alone touch the weights it names;
 * the mutex under which it is put and taken orders the accesses.
 */
#ifndef MOE_RESID_LOAD_H
#define MOE_RESID_LOAD_H

#include "resid.h"

struct resid_load;

struct resid_item {
	struct resid_item *next;
	bool drop;		/* free `gone`; else load into w[expert[i]] */
	int layer;
	struct kern_expert *w;	/* [n_expert] of the layer */
	struct kern_expert gone;
	int run_first, run_n;	/* what `gone` was loaded with */
	struct err err;		/* of a load; then nothing is loaded */
	int n;			/* of expert, filled by the caller */
	int expert[];
};

struct resid_item *resid_item_new(int layer, int room);	/* mem_free */
/* How many neighbours expert[i] begins. */
int	resid_item_run(const struct resid_item *it, int i);

/* Threads start with the first item. */
struct resid_load *resid_load_open(const struct resid_source *src, int threads,
	    void (*wake)(void *arg), void *wake_arg);
/* Begin nothing more, wait for what has begun; wake is not called after. */
void	resid_load_stop(struct resid_load *ld);
/* The same, and free what was not taken. */
void	resid_load_close(struct resid_load *ld);
void	resid_load_put(struct resid_load *ld, struct resid_item *it);
/* Everything that is done, in order; NULL: nothing.  Cheap when nothing is. */
struct resid_item *resid_load_take(struct resid_load *ld);
/* Until something is done, 100 ms at most. */
void	resid_load_sleep(struct resid_load *ld);
uint64_t resid_load_bytes(struct resid_load *ld);	/* read so far */

#endif
