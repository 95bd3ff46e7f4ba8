/*
 * pool.c - see pool.h.
 *
 * Three doors (job start, barrier, job end) are words that change when they
 * open.  Whoever waits looks at the word for a while and then sleeps on it;
 * whoever opens it wakes sleepers only if there are any.  The waiter counts
 * itself before the kernel compares the word, and the opener changes the word
 * before it reads the count, both sequentially consistent: one of them sees
 * the other, so no wake-up is lost.
 */
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kern_impl.h"

/* PAUSE takes 40-140 cycles: about 20 us. */
#define SPINS		1500
#define YIELDS		4

struct door {
	_Alignas(64) _Atomic uint32_t word;
	_Atomic uint32_t sleepers;
};

struct pool {
	int n;
	bool spin;		/* a core for each thread */
	bool quit;		/* these four: published by door start */
	int active;
	pool_fn *fn;
	void *arg;
	struct door start, barrier, end;
	_Alignas(64) _Atomic int arrived;	/* at the barrier */
	_Alignas(64) _Atomic int busy;		/* workers in the job */
	struct {
		_Alignas(64) _Atomic size_t next;
	} stage[POOL_STAGES];
	struct worker {
		struct pool *pool;
		int id;
		pthread_t thread;
	} *worker;
};

static void
futex(_Atomic uint32_t *word, int op, uint32_t val)
{
	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}

static void
door_open(struct door *d)
{
	atomic_fetch_add(&d->word, 1);
	if (atomic_load(&d->sleepers) > 0)
		futex(&d->word, FUTEX_WAKE, INT32_MAX);
}

static bool
door_opened(struct door *d, uint32_t seen)
{
	return atomic_load_explicit(&d->word, memory_order_acquire) != seen;
}

/* Wait until the word is no longer `seen`. */
static void
door_wait(const struct pool *p, struct door *d, uint32_t seen)
{
	int i;

	for (i = 0; p->spin && i < SPINS; i++) {
		if (door_opened(d, seen))
			return;
		__builtin_ia32_pause();
	}
	for (i = 0; i < YIELDS; i++) {
		if (door_opened(d, seen))
			return;
		sched_yield();
	}
	while (atomic_load(&d->word) == seen) {
		atomic_fetch_add(&d->sleepers, 1);
		futex(&d->word, FUTEX_WAIT, seen);
		atomic_fetch_sub(&d->sleepers, 1);
	}
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	uint32_t seen = 0;

	for (;;) {
		door_wait(p, &p->start, seen++);
		if (p->quit)
			return NULL;
		p->fn(p->arg, w->id);
		if (atomic_fetch_sub(&p->busy, 1) == 1)
			door_open(&p->end);
	}
}

static bool
have_cores(int threads)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 &&
	    CPU_COUNT(&set) >= threads;
}

/* Workers take no signals: those belong to the program's own threads. */
static void
start_worker(struct worker *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		fprintf(stderr, "kern: no thread %d: error %d\n", w->id, rc);
		abort();
	}
	pthread_setname_np(w->thread, "kern");
}

struct pool *
pool_new(int threads)
{
	struct pool *p = kern_alloc(sizeof(*p));
	int i;

	*p = (struct pool){ .n = threads, .active = 1,
	    .spin = have_cores(threads) };
	p->worker = kern_alloc((size_t)threads * sizeof(*p->worker));
	for (i = 1; i < threads; i++) {
		p->worker[i].pool = p;
		p->worker[i].id = i;
		start_worker(&p->worker[i]);
	}
	return p;
}

void
pool_free(struct pool *p)
{
	int i;

	p->quit = true;
	door_open(&p->start);
	for (i = 1; i < p->n; i++)
		pthread_join(p->worker[i].thread, NULL);
	free(p->worker);
	free(p);
}

int
pool_threads(const struct pool *p)
{
	return p->n;
}

void
pool_run(struct pool *p, int solo, pool_fn *fn, void *arg)
{
	uint32_t seen;
	int i;

	for (i = 0; i < POOL_STAGES; i++)
		atomic_store_explicit(&p->stage[i].next, 0,
		    memory_order_relaxed);
	p->active = solo ? 1 : p->n;
	if (p->active == 1) {
		fn(arg, 0);
		return;
	}
	p->fn = fn;
	p->arg = arg;
	atomic_store_explicit(&p->busy, p->n - 1, memory_order_relaxed);
	door_open(&p->start);
	fn(arg, 0);
	for (;;) {
		seen = atomic_load(&p->end.word);
		if (atomic_load(&p->busy) == 0)
			return;
		door_wait(p, &p->end, seen);
	}
}

size_t
pool_take(struct pool *p, int stage)
{
	return atomic_fetch_add_explicit(&p->stage[stage].next, 1,
	    memory_order_relaxed);
}

void
pool_barrier(struct pool *p)
{
	uint32_t seen;

	if (p->active == 1)
		return;
	seen = atomic_load(&p->barrier.word);
	if (atomic_fetch_add(&p->arrived, 1) == p->active - 1) {
		atomic_store(&p->arrived, 0);
		door_open(&p->barrier);
	} else
		door_wait(p, &p->barrier, seen);
}
