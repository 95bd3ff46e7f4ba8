/*
 * pool.h - the threads of one opened kern.
 *
 * A job is one function that every thread runs; threads take items from
 * shared counters, one counter per stage, and meet at barriers between stages.
 * Between jobs the workers wait a few microseconds for the next one and then
 * sleep: an idle pool takes no CPU time.
 */
#ifndef MOE_POOL_H
#define MOE_POOL_H

#include <stddef.h>

struct pool;

#define POOL_STAGES	4

/* fn(arg, thread), thread = 0 (the caller) .. n - 1. */
typedef void pool_fn(void *arg, int thread);

/* threads >= 1 counts the caller.  Never fails: aborts when the system gives
 * no thread. */
struct pool *pool_new(int threads);
void	pool_free(struct pool *p);
int	pool_threads(const struct pool *p);

/* Run fn on all threads and return when all are done; with solo, on the caller
 * alone (for jobs that are smaller than a wake-up). */
void	pool_run(struct pool *p, int solo, pool_fn *fn, void *arg);

/* Within a job: the next item of a stage (0, 1, 2, ...; the caller stops at its
 * own limit). */
size_t	pool_take(struct pool *p, int stage);
/* Within a job: wait until every thread of the job is here. */
void	pool_barrier(struct pool *p);

#endif
