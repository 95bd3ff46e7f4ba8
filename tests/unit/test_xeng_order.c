/* Unit tests of the expert engine: what runs when, and what happens to rows
 * whose experts are cold, leave or whose time is over. */
#include <sched.h>

#include "xeng_rig.h"

/* ---- policies ------------------------------------------------------------ */

static void
test_fifo(void)
{
	const struct xeng_opt opt = { 0 };
	static struct bench b;
	struct want w[3];
	struct rng r = { 6, 0 };
	uint64_t next;
	int c, i;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	c = xeng_client_up(b.x);
	for (i = 0; i < 3; i++)
		want_make(&w[i], &b, &r, i == 1 ? 2 : 0, 5);
	OK(!xeng_step(b.x, 5, &next) && next == UINT64_MAX, "idle at first");
	submit(&b, &w[1], c, 20);
	submit(&b, &w[0], c, 10);
	submit(&b, &w[2], c, 30);
	OK(xeng_step(b.x, 40, &next) && w[0].n_done && w[2].n_done &&
	    !w[1].n_done, "the oldest layer first, all that is queued for it");
	OK(xeng_step(b.x, 40, &next) && w[1].n_done, "then the next");
	OK(!xeng_step(b.x, 40, &next) && next == UINT64_MAX, "then idle");
	EQ_INT(xeng_stats(b.x)->picks, 2, "two passes");
	for (i = 0; i < 3; i++)
		want_free(&w[i]);
	bench_close(&b);
}

static void
test_wait(void)
{
	const struct xeng_opt opt = { .policy = policy_find("wait"),
	    .hold_ns = 1000, .batch_rows = 64 };
	static struct bench b;
	struct want w[2];
	struct rng r = { 7, 0 };
	uint64_t next;
	int c[2], i;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	for (i = 0; i < 2; i++) {
		c[i] = xeng_client_up(b.x);
		want_make(&w[i], &b, &r, 0, 5);
	}
	submit(&b, &w[0], c[0], 100);
	OK(xeng_step(b.x, 100, &next), "nobody else has ever sent: no wait");
	submit(&b, &w[1], c[1], 200);
	OK(!xeng_step(b.x, 300, &next) && next == 1200,
	    "the other is live: wait for it, the hold time at most");
	submit(&b, &w[0], c[0], 400);
	OK(xeng_step(b.x, 401, &next) && w[0].n_done && w[1].n_done,
	    "all there: run at once");
	submit(&b, &w[1], c[1], 500);
	OK(!xeng_step(b.x, 1499, &next) && xeng_step(b.x, 1500, &next),
	    "the hold time ends the wait");
	submit(&b, &w[1], c[1], 12000);
	OK(xeng_step(b.x, 12000, &next),
	    "a client silent for ten holds is not waited for");
	submit(&b, &w[0], c[0], 12100);
	OK(!xeng_step(b.x, 12100, &next), "waiting again");
	xeng_client_down(b.x, c[1]);
	OK(xeng_step(b.x, 12101, &next), "a dead client holds nobody");
	for (i = 0; i < 2; i++)
		want_free(&w[i]);
	bench_close(&b);
}

static void
test_wait_rows(void)
{
	const struct xeng_opt opt = { .policy = policy_find("wait"),
	    .hold_ns = 1000, .batch_rows = 8 };
	static struct bench b;
	struct want w[2];
	struct rng r = { 8, 0 };
	uint64_t next;
	int c[2], i;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	for (i = 0; i < 2; i++) {
		c[i] = xeng_client_up(b.x);
		want_make(&w[i], &b, &r, 0, 5);
		want_routes(&w[i], i == 0 ? 1 : 8);
	}
	submit(&b, &w[0], c[0], 0);
	submit(&b, &w[1], c[1], 0);
	drain(&b, 0, &next);
	submit(&b, &w[0], c[0], 10);
	OK(!xeng_step(b.x, 10, &next), "one row waits");
	drain(&b, 2000, &next);
	submit(&b, &w[1], c[1], 2010);
	OK(xeng_step(b.x, 2010, &next) && w[1].n_done == 2,
	    "eight rows are enough");
	for (i = 0; i < 2; i++)
		want_free(&w[i]);
	bench_close(&b);
}

/* Deadlines, without and with rows of the same job done before. */
static void
test_expire(void)
{
	const struct xeng_opt opt = { .pass_rows = 4 };
	static struct bench b;
	struct want w[2];
	struct rng r = { 9, 0 };
	uint64_t next;
	int c, i;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	c = xeng_client_up(b.x);
	for (i = 0; i < 2; i++) {
		want_make(&w[i], &b, &r, 0, 1);
		want_routes(&w[i], 6);
		w[i].job.deadline_ns = 100;
	}
	submit(&b, &w[0], c, 10);
	drain(&b, 101, &next);
	OK(w[0].n_done == 1 && w[0].status == SLOT_EXPIRED &&
	    want_untouched(&w[0]), "expired: answered, not computed");
	submit(&b, &w[1], c, 10);
	OK(xeng_step(b.x, 100, &next) && !w[1].n_done,
	    "a part runs at the deadline");
	drain(&b, 101, &next);
	OK(w[1].n_done == 1 && w[1].status == SLOT_EXPIRED &&
	    !want_untouched(&w[1]), "the rest does not, one answer");
	EQ_INT(xeng_stats(b.x)->rows, 4, "only the first part was computed");
	EQ_INT(xeng_stats(b.x)->expired, 2, "both counted");
	want_free(&w[0]);
	want_free(&w[1]);
	bench_close(&b);
}

/* ---- experts that are not in memory yet ---------------------------------- */

static void
poll_until(struct bench *b, uint32_t loading, struct err *e)
{
	struct resid_count n;

	do {
		if (resid_poll(b->resid, e) != 0)
			return;
		resid_count(b->resid, &n);
		sched_yield();
	} while (n.loading != loading);
}

static void
test_cold(void)
{
	const struct xeng_opt opt = { .cold_rows = MAX_ROUTE };
	static struct bench b;
	struct want w, big, late;
	struct rng r = { 10, 0 };
	struct err e = ERR_INIT;
	uint64_t next;
	int c;

	bench_open(&b, KERN_F32, &opt);
	c = xeng_client_up(b.x);
	want_make(&w, &b, &r, 0, 6);
	want_make(&big, &b, &r, 2, 6);
	want_make(&late, &b, &r, 2, 1);
	w.job.n_route = 3;
	late.job.n_route = 1;
	resid_spec(b.resid, "all", NULL);
	OK(!submit(&b, &w, c, 1), "on disk and nobody loads it: cold");
	fake_gate(&b.fake, true);
	resid_load_all(b.resid);
	OK(submit(&b, &w, c, 1) && !xeng_step(b.x, 2, &next) &&
	    next == UINT64_MAX, "loading: it waits");
	want_routes(&big, MAX_ROUTE);
	OK(!submit(&b, &big, c, 1), "no more than cold_rows wait");
	late.job.deadline_ns = 50;
	OK(submit(&b, &late, c, 1) && !xeng_step(b.x, 50, &next) && next == 51,
	    "a deadline is kept while waiting");
	xeng_step(b.x, 51, &next);
	OK(late.n_done == 1 && late.status == SLOT_EXPIRED, "expired in time");
	OK(w.n_done == 0, "the other still waits");
	fake_gate(&b.fake, false);
	poll_until(&b, 0, &e);
	OK(drain(&b, 60, &next) > 0 && w.n_done == 1 && w.status == SLOT_OK &&
	    want_good(&w), "loaded: answered");
	EQ_INT(xeng_stats(b.x)->cold_rows, 0, "nothing waits");
	want_free(&w);
	want_free(&big);
	want_free(&late);
	bench_close(&b);
}

static void
test_cold_fail(void)
{
	const struct xeng_opt opt = { .cold_rows = 100 };
	static struct bench b;
	struct want w, gone;
	struct rng r = { 11, 0 };
	struct err e = ERR_INIT;
	uint64_t next;
	int c, d;

	bench_open(&b, KERN_F32, &opt);
	c = xeng_client_up(b.x);
	d = xeng_client_up(b.x);
	want_make(&w, &b, &r, 0, 4);
	want_make(&gone, &b, &r, 0, 4);
	w.job.route[0].r.expert = 2;
	b.fake.bad_layer = 0;
	b.fake.bad_expert = 3;	/* its block is 2, 3 */
	fake_gate(&b.fake, true);
	resid_spec(b.resid, "all", NULL);
	resid_load_all(b.resid);
	OK(submit(&b, &w, c, 1) && submit(&b, &gone, d, 1), "both wait");
	xeng_client_down(b.x, d);
	want_free(&gone);
	fake_gate(&b.fake, false);
	e.code = 0;
	while (e.code == 0)
		poll_until(&b, 0, &e);
	OK(strstr(e.text, "expert 3 of layer 0 is torn") != NULL, "%s", e.text);
	poll_until(&b, 0, &e);
	drain(&b, 9, &next);
	OK(w.n_done == 1 && w.status == SLOT_COLD, "a failed load: cold");
	EQ_INT(resid_state(b.resid, 0, 2), RESID_DISK,
	    "the whole block is on disk again");
	EQ_INT(xeng_stats(b.x)->queued_jobs, 0, "no job is left");
	want_free(&w);
	bench_close(&b);
}

/* A block that idled is loaded for the rows that need it, which wait. */
static void
test_park(void)
{
	const struct xeng_opt opt = { .cold_rows = 100 };
	static struct bench b;
	struct want w;
	struct rng r = { 12, 0 };
	struct err e = ERR_INIT;
	uint64_t next;
	int c;

	bench_open(&b, KERN_F32, &opt);
	c = xeng_client_up(b.x);
	bench_load(&b);
	want_make(&w, &b, &r, 0, 6);
	OK(xeng_park(b.x, 100, 50) == 0, "just loaded");
	OK(submit(&b, &w, c, 120) && xeng_park(b.x, 1000, 50) > 0,
	    "idle ones go, those with rows stay");
	OK(drain(&b, 1001, &next) > 0 && w.n_done == 1 && want_good(&w),
	    "which are computed");
	xeng_park(b.x, 2000, 50);
	fake_gate(&b.fake, true);
	want_free(&w);
	want_make(&w, &b, &r, 0, 6);
	OK(submit(&b, &w, c, 2001) && !xeng_step(b.x, 2002, &next) &&
	    w.n_done == 0, "rows for a parked block wait");
	fake_gate(&b.fake, false);
	poll_until(&b, 0, &e);
	OK(drain(&b, 2003, &next) > 0 && w.n_done == 1 &&
	    w.status == SLOT_OK && want_good(&w), "and are computed");
	want_free(&w);
	bench_close(&b);
}

/* A leaving block takes no rows, but runs those it has. */
static void
test_leave(void)
{
	const struct xeng_opt opt = { .cold_rows = 100 };
	static struct bench b;
	struct want w, late;
	struct rng r = { 12, 0 };
	uint64_t next;
	int c, live;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	c = xeng_client_up(b.x);
	want_make(&w, &b, &r, 0, 1);
	want_make(&late, &b, &r, 0, 1);
	live = fake_live(&b.fake);
	submit(&b, &w, c, 1);
	resid_leave(b.resid, 0, 1);	/* with 0: the same block */
	OK(!submit(&b, &late, c, 2) && xeng_stats(b.x)->not_here == 1,
	    "no new rows");
	drain(&b, 3, &next);
	OK(w.n_done == 1 && want_good(&w), "the queued ones are computed");
	EQ_INT(resid_state(b.resid, 0, 0), RESID_ABSENT, "then it is gone");
	while (fake_live(&b.fake) != live - 2)
		sched_yield();
	OK(1, "and both experts' memory is given back");
	want_free(&w);
	want_free(&late);
	bench_close(&b);
}

/* done may submit again: the same job runs three times. */
static void
again(struct xeng_job *job, enum slot_status status)
{
	struct want *w = job->user;

	w->status = status;
	if (++w->n_done < 3)
		xeng_submit(w->b->x, job);
}

static void
test_resubmit(void)
{
	const struct xeng_opt opt = { 0 };
	static struct bench b;
	struct want w;
	struct rng r = { 13, 0 };
	uint64_t next;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	want_make(&w, &b, &r, 2, 6);
	w.job.done = again;
	submit(&b, &w, xeng_client_up(b.x), 1);
	EQ_INT(drain(&b, 1, &next), 3, "three steps");
	OK(w.n_done == 3 && want_good(&w), "three times done");
	want_free(&w);
	bench_close(&b);
}

int
main(void)
{
	test_fifo();
	test_wait();
	test_wait_rows();
	test_expire();
	test_cold();
	test_cold_fail();
	test_park();
	test_leave();
	test_resubmit();
	return tap_done();
}
