/*
 * pool.h - the threads of one opened kern.
 *
 * A job is a few stages of items.  The caller works through it, and workers
 * help as far as they get a processor: a stage is over when its items are done,
 * whoever did them, so a worker that is late or was put aside costs its help and
 * holds nobody up, unless it is within an item.  Between jobs the workers look
 * out for the next one for a few microseconds and then sleep: an idle pool takes
 * no CPU time.
 */
#ifndef MOE_POOL_H
#define MOE_POOL_H

#include <stddef.h>

struct pool;

#define POOL_STAGES	3

/* One item, 0 .. items - 1; thread 0 (the caller) .. n - 1. */
typedef void pool_item_fn(void *arg, int thread, size_t item);

struct pool_stage {
	pool_item_fn *fn;
	size_t items;
};

/* threads >= 1 counts the caller.  Never fails: aborts when the system gives
 * no thread. */
struct pool *pool_new(int threads);
void	pool_free(struct pool *p);
int	pool_threads(const struct pool *p);

/*
 * Do every item of each stage once, a stage after all of the one before, and
 * return when all are done; arg is not used after that.  With solo, on the
 * caller alone (for jobs that are smaller than a wake-up).  n <= POOL_STAGES.
 */
void	pool_run(struct pool *p, int solo, const struct pool_stage *stage,
	    int n, void *arg);

#endif
