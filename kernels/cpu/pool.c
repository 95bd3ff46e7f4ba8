/*
 * pool.c - see pool.h.
 *
 * The gate says which job there is and how many workers are within: a worker
 * enters for one stage at a time, and only while within may it look at the job.
 * The caller shuts the gate when the last item is done and returns when nobody
 * is within.  So a worker that waits for a stage to end waits outside, where it
 * can be put aside for as long as the system likes.
 *
 * The doors (job start, stage end, last one out) are words that change when
 * they open.  Whoever waits looks at the word for a while and then sleeps on
 * it; whoever opens it wakes sleepers only if there are any.  The waiter counts
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

#define GATE_OPEN	((uint64_t)1 << 31)
#define GATE_WITHIN	(GATE_OPEN - 1)
#define GATE_JOB(g)	((g) >> 32)

struct pool {
	int n;
	bool spin;		/* a core for each thread */
	_Atomic bool quit;
	struct pool_stage stage[POOL_STAGES];	/* these three: by the gate */
	int n_stage;
	void *arg;
	struct door start, over, out;
	_Alignas(64) _Atomic uint64_t gate;	/* job << 32, open, within */
	struct {
		_Alignas(64) _Atomic size_t next;
		_Alignas(64) _Atomic size_t done;
	} count[POOL_STAGES];
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

/* ---- a job ------------------------------------------------------------------ */

/* Enter the job (its number; 0: whichever there is now).  Returns its number, or
 * 0: it is over. */
static uint64_t
enter(struct pool *p, uint64_t job)
{
	uint64_t g = atomic_load(&p->gate);

	do {
		if (!(g & GATE_OPEN) || (job != 0 && GATE_JOB(g) != job))
			return 0;
	} while (!atomic_compare_exchange_weak(&p->gate, &g, g + 1));
	return GATE_JOB(g);
}

static void
leave(struct pool *p)
{
	uint64_t g = atomic_fetch_sub(&p->gate, 1) - 1;

	if ((g & (GATE_OPEN | GATE_WITHIN)) == 0)
		door_open(&p->out);
}

/* Take items of a stage until there are none. */
static void
help(struct pool *p, int s, int thread)
{
	const struct pool_stage st = p->stage[s];
	size_t it, n = 0;

	while ((it = atomic_fetch_add_explicit(&p->count[s].next, 1,
	    memory_order_relaxed)) < st.items) {
		st.fn(p->arg, thread, it);
		n++;
	}
	if (n > 0 && atomic_fetch_add(&p->count[s].done, n) + n == st.items)
		door_open(&p->over);
}

/* Until all items of the stage are done, or the job is over. */
static void
wait_stage(struct pool *p, int s, size_t items, uint64_t job)
{
	uint32_t seen;

	for (;;) {
		seen = atomic_load(&p->over.word);
		if (atomic_load(&p->count[s].done) == items ||
		    GATE_JOB(atomic_load(&p->gate)) != job)
			return;
		door_wait(p, &p->over, seen);
	}
}

static void
worker_job(struct pool *p, int thread)
{
	uint64_t job = 0;
	size_t items;
	int s, n;

	for (s = 0; (job = enter(p, job)) != 0; s++) {
		n = p->n_stage;
		items = p->stage[s].items;
		help(p, s, thread);
		leave(p);
		if (s + 1 == n)
			return;
		wait_stage(p, s, items, job);
	}
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	uint32_t seen = 0;

	for (;;) {
		door_wait(p, &p->start, seen);
		seen = atomic_load(&p->start.word);
		if (p->quit)
			return NULL;
		worker_job(p, w->id);
	}
}

/* ---- threads ---------------------------------------------------------------- */

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

	*p = (struct pool){ .n = threads, .spin = have_cores(threads) };
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

static void
run_alone(const struct pool_stage *stage, int n, void *arg)
{
	size_t it;
	int s;

	for (s = 0; s < n; s++)
		for (it = 0; it < stage[s].items; it++)
			stage[s].fn(arg, 0, it);
}

/* Shut the gate and wait until the last worker is out. */
static void
shut(struct pool *p)
{
	uint32_t seen;

	atomic_fetch_and(&p->gate, ~GATE_OPEN);
	for (;;) {
		seen = atomic_load(&p->out.word);
		if ((atomic_load(&p->gate) & GATE_WITHIN) == 0)
			return;
		door_wait(p, &p->out, seen);
	}
}

void
pool_run(struct pool *p, int solo, const struct pool_stage *stage, int n,
    void *arg)
{
	uint64_t job = GATE_JOB(atomic_load(&p->gate)) % UINT32_MAX + 1;
	int s;

	if (solo || p->n == 1) {
		run_alone(stage, n, arg);
		return;
	}
	for (s = 0; s < n; s++) {
		p->stage[s] = stage[s];
		atomic_store(&p->count[s].next, 0);
		atomic_store(&p->count[s].done, 0);
	}
	p->n_stage = n;
	p->arg = arg;
	atomic_store(&p->gate, job << 32 | GATE_OPEN);
	door_open(&p->start);
	for (s = 0; s < n; s++) {
		help(p, s, 0);
		wait_stage(p, s, stage[s].items, job);
	}
	shut(p);
}
