/* The pool: every item of every stage once, barriers hold, idle is idle; and
 * what kern_open refuses. */
#include <stdatomic.h>
#include <time.h>

#include "../../kernels/cpu/pool.h"
#include "kt.h"

#define ITEMS	37

struct job {
	struct pool *pool;
	_Atomic int count[3][ITEMS];
	_Atomic int early;	/* items of a stage before the last was done */
};

static int
total(struct job *j, int stage)
{
	int i, n = 0;

	for (i = 0; i < ITEMS; i++)
		n += atomic_load(&j->count[stage][i]);
	return n;
}

static void
three_stages(void *arg, int thread)
{
	struct job *j = arg;
	size_t it;
	int s;

	(void)thread;
	for (s = 0; s < 3; s++) {
		if (s > 0) {
			pool_barrier(j->pool);
			if (total(j, s - 1) != ITEMS)
				atomic_fetch_add(&j->early, 1);
		}
		while ((it = pool_take(j->pool, s)) < ITEMS)
			atomic_fetch_add(&j->count[s][it], 1);
	}
}

static void
test_stages(int threads)
{
	static struct job j;
	int round, s, i, bad = 0;

	j.pool = pool_new(threads);
	for (round = 0; round < 300; round++) {
		memset(j.count, 0, sizeof(j.count));
		pool_run(j.pool, round % 7 == 6, three_stages, &j);
		for (s = 0; s < 3; s++)
			for (i = 0; i < ITEMS; i++)
				bad += atomic_load(&j.count[s][i]) != 1;
	}
	EQ_INT(bad, 0, "%d threads: every item of 3 stages once", threads);
	EQ_INT(atomic_load(&j.early), 0, "%d threads: barriers hold", threads);
	EQ_INT(pool_threads(j.pool), threads, "the caller counts");
	pool_free(j.pool);
}

static double
seconds(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* An eighth of a second after the last job the workers must have slept nearly
 * all of it, in terms of this process's CPU time. */
static void
test_idle(void)
{
	struct job *j = mem_zalloc(sizeof(*j));
	double cpu, until;

	j->pool = pool_new(4);
	pool_run(j->pool, 0, three_stages, j);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	until = seconds(CLOCK_MONOTONIC) + 0.125;
	while (seconds(CLOCK_MONOTONIC) < until)
		nanosleep(&(struct timespec){ 0, 25000000 }, NULL);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	OK(cpu < 0.02, "idle workers sleep (%.1f ms of CPU in 125)", cpu * 1e3);
	pool_free(j->pool);
	mem_free(j);
}

static void
test_open(void)
{
	struct kern_opt o = { .isa = "sse9", .act = KERN_F32, .threads = 1 };
	char why[KERN_WHY] = "", want[100];
	struct kern *k = NULL;

	OK(kern_open(&k, &o, why) == -1 && strstr(why, "sse9") != NULL,
	    "no such isa: %s", why);
	o.isa = NULL;
	o.backend = "abacus";
	OK(kern_open(&k, &o, why) == -1 && strstr(why, "abacus") != NULL,
	    "no such backend: %s", why);
	o.backend = "cpu";
	o.threads = 0;
	OK(kern_open(&k, &o, why) == 0 && kern_threads(k) >= 1 &&
	    kern_act(k) == KERN_F32, "the defaults open");
	snprintf(want, sizeof(want), "cpu-%s-f32", kern_isas()[0]);
	EQ_STR(kern_variant(k), want, "and give the best variant here");
	kern_close(k);
	kern_close(NULL);
}

int
main(void)
{
	test_stages(1);
	test_stages(2);
	test_stages(7);		/* more than there are cores, on most */
	test_idle();
	test_open();
	return tap_done();
}
