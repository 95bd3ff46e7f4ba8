/* Unit tests of the expert engine: whatever the batching, every answer is that
 * of a plain computation, one route at a time. */
#include "xeng_rig.h"

/* ---- random traffic ------------------------------------------------------ */

struct mix {
	struct bench *b;
	struct rng r;
	uint64_t now_ns;
	int client[N_CLIENT];
	struct want want[N_CLIENT][N_JOB];
	bool live[N_CLIENT][N_JOB];	/* want is made */
	int good, bad, expired, cancelled;
};

static void
mix_collect(struct mix *m)
{
	struct want *w;
	int c, j;

	for (c = 0; c < N_CLIENT; c++) {
		for (j = 0; j < N_JOB; j++) {
			w = &m->want[c][j];
			if (!m->live[c][j] || w->queued)
				continue;
			if (w->n_done != 1)
				m->bad++;
			else if (w->status == SLOT_EXPIRED)
				m->expired++;
			else if (w->status == SLOT_OK && want_good(w))
				m->good++;
			else
				m->bad++;
			want_free(w);
			m->live[c][j] = false;
		}
	}
}

/* The client dies with what it has queued; its memory goes at once, so that
 * asan sees any later use. */
static void
mix_kill(struct mix *m, int c)
{
	int j;

	xeng_client_down(m->b->x, m->client[c]);
	for (j = 0; j < N_JOB; j++) {
		if (!m->live[c][j])
			continue;
		m->bad += m->want[c][j].n_done != 0;
		m->cancelled++;
		want_free(&m->want[c][j]);
		m->live[c][j] = false;
	}
	m->client[c] = xeng_client_up(m->b->x);
}

static void
mix_submit(struct mix *m)
{
	static const int layers[] = { 0, 2, 3 };
	int c = (int)rng_below(&m->r, N_CLIENT), j;
	struct want *w;

	for (j = 0; j < N_JOB && m->live[c][j]; j++)
		;
	if (j == N_JOB)
		return;
	w = &m->want[c][j];
	want_make(w, m->b, &m->r, layers[rng_below(&m->r, 3)], 5);
	m->live[c][j] = true;
	if (rng_below(&m->r, 8) == 0)
		w->job.deadline_ns = m->now_ns + rng_below(&m->r, 2000);
	m->bad += !submit(m->b, w, m->client[c], m->now_ns);
}

static void
test_random(enum kern_dtype act, const char *policy, uint32_t pass_rows)
{
	const struct xeng_opt opt = { .policy = policy_find(policy),
	    .hold_ns = 3000, .batch_rows = 40, .urgent_ns = 2000,
	    .lookahead = 3, .decay = 0.8, .pass_rows = pass_rows };
	static struct bench b;
	static struct mix m;
	const struct xeng_picks *st;
	uint64_t next;
	int i, c;

	bench_open(&b, act, &opt);
	bench_load(&b);
	memset(&m, 0, sizeof(m));
	m.b = &b;
	m.r.key = pass_rows;
	for (c = 0; c < N_CLIENT; c++)
		m.client[c] = xeng_client_up(b.x);
	for (i = 0; i < 1500; i++) {
		m.now_ns += rng_below(&m.r, 400);
		if (rng_below(&m.r, 3) != 0)
			mix_submit(&m);
		else
			xeng_step(b.x, m.now_ns, &next);
		mix_collect(&m);
		if (rng_below(&m.r, 60) == 0)
			mix_kill(&m, (int)rng_below(&m.r, N_CLIENT));
	}
	drain(&b, m.now_ns + 3000, &next);
	mix_collect(&m);
	EQ_INT(m.bad, 0, "%s, passes of %u, %s: every answer is the plain one",
	    policy, pass_rows, kern_variant(b.kn));
	OK(m.good > 150 && m.cancelled > 10 && m.expired > 5,
	    "%d answers, %d cancelled, %d expired", m.good, m.cancelled,
	    m.expired);
	OK(xeng_stats(b.x)->queued_jobs == 0 &&
	    xeng_stats(b.x)->queued_rows == 0 &&
	    (int)xeng_stats(b.x)->jobs == m.good, "nothing left, all counted");
	st = &xeng_stats(b.x)->by_policy[policy_index(opt.policy)];
	OK(st->picks == xeng_stats(b.x)->picks &&
	    st->rows == xeng_stats(b.x)->rows &&
	    st->rows_per_pick.max <= pass_rows,
	    "no pass is larger than allowed");
	bench_close(&b);
}

/* ---- refusals ------------------------------------------------------------ */

static void
test_refuse(void)
{
	const struct xeng_opt opt = { 0 };
	static struct bench b;
	struct want w;
	struct rng r = { 5, 0 };
	int c;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	c = xeng_client_up(b.x);
	want_make(&w, &b, &r, 3, 5);
	w.job.client = c;
	w.job.layer = FAKE_LAYERS;
	EQ_INT(xeng_submit(b.x, &w.job), SLOT_BAD, "layer out of range");
	OK(strstr(xeng_why(b.x), "layer 4 of 4") != NULL, "and why");
	w.job.layer = 3;
	w.job.route[0].r.row = (uint16_t)w.job.n_row;
	EQ_INT(xeng_submit(b.x, &w.job), SLOT_BAD, "row out of range");
	w.job.route[0].r.row = 0;
	w.job.route[0].r.expert = 5;
	EQ_INT(xeng_submit(b.x, &w.job), SLOT_NOT_HERE, "not assigned");
	w.job.route[w.job.n_route - 1].r.expert = FAKE_EXPERTS;
	EQ_INT(xeng_submit(b.x, &w.job), SLOT_BAD,
	    "no such expert, after one that is not here");
	w.job.layer = 1;
	w.job.n_route = 1;
	w.job.route[0].r.expert = 0;
	EQ_INT(xeng_submit(b.x, &w.job), SLOT_NOT_HERE,
	    "a layer without experts");
	w.job.layer = 0;
	w.job.n_route = 0;
	EQ_INT(xeng_submit(b.x, &w.job), SLOT_BAD, "no routes");
	EQ_INT(xeng_stats(b.x)->bad, 4, "bad ones are counted");
	EQ_INT(xeng_stats(b.x)->not_here, 2, "and those not here");
	EQ_INT(xeng_stats(b.x)->queued_jobs, 0, "nothing was queued");
	want_free(&w);
	bench_close(&b);
}

/* ---- policies ------------------------------------------------------------ */

/* Any policy at any time, over the same queues. */
static void
test_change(void)
{
	const struct xeng_opt opt = { .hold_ns = 300, .urgent_ns = 900,
	    .lookahead = 2, .decay = 0.5, .pass_rows = 60 };
	static struct bench b;
	static struct mix m;
	uint64_t next, rows = 0;
	int i, c, used = 0;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	memset(&m, 0, sizeof(m));
	m.b = &b;
	for (c = 0; c < N_CLIENT; c++)
		m.client[c] = xeng_client_up(b.x);
	for (i = 0; i < 1500; i++) {
		m.now_ns += rng_below(&m.r, 400);
		mix_submit(&m);
		xeng_set_policy(b.x, policy_at((int)rng_below(&m.r,
		    POLICY_N)));
		xeng_step(b.x, m.now_ns, &next);
		mix_collect(&m);
		if (rng_below(&m.r, 60) == 0)
			mix_kill(&m, (int)rng_below(&m.r, N_CLIENT));
	}
	drain(&b, m.now_ns + 3000, &next);
	mix_collect(&m);
	OK(m.bad == 0 && m.good > 300, "%d answers under changing policies",
	    m.good);
	for (i = 0; i < POLICY_N; i++) {
		used += xeng_stats(b.x)->by_policy[i].picks != 0;
		rows += xeng_stats(b.x)->by_policy[i].rows;
	}
	OK(used == POLICY_N && rows == xeng_stats(b.x)->rows,
	    "each has its part of the rows");
	bench_close(&b);
}

/* What the engine shows to a policy: the longest queue and the oldest row,
 * while rows come and go. */
static void
test_view(void)
{
	const struct xeng_opt opt = { .policy = policy_find("mtfs"),
	    .urgent_ns = 1000, .pass_rows = 5 };
	static struct bench b;
	struct want w[4];
	struct rng r = { 14, 0 };
	uint64_t next;
	int c, i;

	bench_open(&b, KERN_F32, &opt);
	bench_load(&b);
	c = xeng_client_up(b.x);
	for (i = 0; i < 4; i++) {
		want_make(&w[i], &b, &r, i < 2 ? 2 : 0, 1);
		want_routes(&w[i], i == 3 ? 8 : 2);
	}
	w[1].job.route[0].r.expert = w[1].job.route[1].r.expert = 3;
	for (i = 0; i < 4; i++)
		submit(&b, &w[i], c, (uint64_t)i);
	OK(xeng_step(b.x, 9, &next) && xeng_layer_rows(b.x, 0) == 5,
	    "the longest queue, as far as a pass goes");
	OK(xeng_step(b.x, 9, &next) && w[2].n_done && w[3].n_done &&
	    !w[0].n_done, "what is left of it is still longest");
	OK(xeng_step(b.x, 9, &next) && w[0].n_done && !w[1].n_done,
	    "of equals the older");
	submit(&b, &w[3], c, 500);
	OK(xeng_step(b.x, 1000, &next) && !w[1].n_done &&
	    xeng_layer_rows(b.x, 0) == 3, "a longer one came");
	OK(xeng_step(b.x, 1001, &next) && w[1].n_done,
	    "the old one is urgent: it goes first");
	EQ_INT(xeng_stats(b.x)->by_policy[policy_index(opt.policy)].urgent, 1,
	    "counted as urgent");
	drain(&b, 1001, &next);
	for (i = 0; i < 4; i++)
		want_free(&w[i]);
	bench_close(&b);
}

int
main(void)
{
	test_random(KERN_F32, "fifo", 4096);
	test_random(KERN_F32, "fifo", 7);
	test_random(KERN_F32, "wait", 50);
	test_random(KERN_BF16, "wait", 4096);
	test_random(KERN_F32, "mtfs", 4096);
	test_random(KERN_F32, "mtfs", 5);
	test_random(KERN_F32, "flfs", 9);
	test_random(KERN_F32, "defrag", 4096);
	test_random(KERN_BF16, "defrag", 6);
	test_random(KERN_F32, "auto", 4096);
	test_refuse();
	test_change();
	test_view();
	return tap_done();
}
