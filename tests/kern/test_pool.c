/* The pool: every item of every stage once, barriers hold, idle is idle; and
 * what kern_open refuses. */
#include <stdatomic.h>
#include <time.h>

#include "../../kernels/cpu/pool.h"
#include "kt.h"

#define ITEMS	37

struct job {
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
item(struct job *j, int s, size_t i)
{
	if (s > 0 && total(j, s - 1) != ITEMS)
		atomic_fetch_add(&j->early, 1);
	atomic_fetch_add(&j->count[s][i], 1);
}

static void
item0(void *arg, int thread, size_t i)
{
	(void)thread;
	item(arg, 0, i);
}

static void
item1(void *arg, int thread, size_t i)
{
	(void)thread;
	item(arg, 1, i);
}

static void
item2(void *arg, int thread, size_t i)
{
	(void)thread;
	item(arg, 2, i);
}

static const struct pool_stage three[] = {
	{ item0, ITEMS }, { item1, ITEMS }, { item2, ITEMS },
};

static void
test_stages(int threads)
{
	static struct job j;
	struct pool *p = pool_new(threads);
	int round, s, i, bad = 0;

	for (round = 0; round < 300; round++) {
		memset(j.count, 0, sizeof(j.count));
		pool_run(p, round % 7 == 6, three, 3, &j);
		for (s = 0; s < 3; s++)
			for (i = 0; i < ITEMS; i++)
				bad += atomic_load(&j.count[s][i]) != 1;
	}
	EQ_INT(bad, 0, "%d threads: every item of 3 stages once", threads);
	EQ_INT(atomic_load(&j.early), 0, "%d threads: barriers hold", threads);
	EQ_INT(pool_threads(p), threads, "the caller counts");
	pool_free(p);
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
	struct pool *p = pool_new(4);
	double cpu, until;

	pool_run(p, 0, three, 3, j);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	until = seconds(CLOCK_MONOTONIC) + 0.125;
	while (seconds(CLOCK_MONOTONIC) < until)
		nanosleep(&(struct timespec){ 0, 25000000 }, NULL);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	OK(cpu < 0.02, "idle workers sleep (%.1f ms of CPU in 125)", cpu * 1e3);
	pool_free(p);
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
