/* Unit tests of the expert engine: whatever the batching, every answer is that
 * of a plain computation, one route at a time. */
#include <sched.h>

#include "fake_experts.h"
#include "policy.h"
#include "tap.h"
#include "xeng.h"

#define MAX_ROW		9
#define MAX_ROUTE	20
#define GUARD		0x5a
#define N_CLIENT	4
#define N_JOB		3	/* of each client at a time */

struct bench {			/* an engine over fake experts */
	struct fake fake;
	struct kern *kn;
	struct resid *resid;
	struct xeng *x;
	struct kern_expert expert[FAKE_LAYERS][FAKE_EXPERTS];	/* oracle */
};

struct want {			/* a job with its memory */
	struct xeng_job job;
	struct bench *b;
	char *in, *out;
	bool queued;
	int n_done;
	enum slot_status status;
};

static size_t
row_bytes(const struct bench *b)
{
	return kern_dtype_bytes(kern_act(b->kn), FAKE_H);
}

static void
bench_open(struct bench *b, enum kern_dtype act, const struct xeng_opt *opt)
{
	struct resid_source src;
	struct resid_opt ro = { .src = &src, .block = 2, .threads = 2,
	    .wake = fake_wake, .wake_arg = &b->fake };
	struct xeng_opt xo = *opt;
	int l, e;

	b->kn = fake_kern(act);
	fake_init(&b->fake, b->kn, &src);
	b->resid = resid_open(&ro);
	for (l = 0; l < FAKE_LAYERS; l++)
		for (e = 0; e < FAKE_EXPERTS; e++)
			fake_make(b->kn, l, e, &b->expert[l][e]);
	xo.kn = b->kn;
	xo.resid = b->resid;
	xo.hidden = FAKE_H;
	xo.inter = FAKE_I;
	xo.glu = KERN_SILU;
	b->x = xeng_open(&xo);
}

/* Everything but expert 5 of layer 3 is here. */
static void
bench_load(struct bench *b)
{
	OK(resid_spec(b->resid, "0-2:0-5,3:0-4", NULL) == 0, "assigned");
	resid_load_all(b->resid);
	OK(resid_wait(b->resid, NULL, NULL, NULL) == 0, "loaded");
}

static void
bench_close(struct bench *b)
{
	int l, e;

	xeng_close(b->x);
	resid_close(b->resid);
	EQ_INT(b->fake.n_live, 0, "no weights are left behind");
	for (l = 0; l < FAKE_LAYERS; l++)
		for (e = 0; e < FAKE_EXPERTS; e++)
			fake_free(b->kn, &b->expert[l][e]);
	kern_close(b->kn);
}

static void
on_done(struct xeng_job *job, enum slot_status status)
{
	struct want *w = job->user;

	w->queued = false;
	w->n_done++;
	w->status = status;
}

/* A job of random rows and routes to experts below n_expert. */
static void
want_make(struct want *w, struct bench *b, struct rng *r, int layer,
    int n_expert)
{
	float row[FAKE_H];
	/* Odd layers have a gap of one element between rows. */
	size_t i, j, stride = row_bytes(b) +
	    (layer % 2 ? kern_dtype_bytes(kern_act(b->kn), 1) : 0);

	memset(w, 0, sizeof(*w));
	w->b = b;
	w->job.layer = layer;
	w->job.n_row = 1 + (uint32_t)rng_below(r, MAX_ROW);
	w->job.n_route = 1 + (uint32_t)rng_below(r, MAX_ROUTE);
	w->job.in_stride = w->job.out_stride = stride;
	w->job.weight_in = rng_below(r, 3) == 0;
	w->job.done = on_done;
	w->job.user = w;
	w->in = mem_zalloc(w->job.n_row * stride);
	w->out = mem_alloc(w->job.n_route * stride);
	memset(w->out, GUARD, w->job.n_route * stride);
	w->job.in = w->in;
	w->job.out = w->out;
	for (i = 0; i < w->job.n_row; i++) {
		for (j = 0; j < FAKE_H; j++)
			row[j] = (float)(4 * rng_next_unit(r) - 2);
		kern_convert(w->in + i * stride, kern_act(b->kn), row,
		    KERN_F32, FAKE_H);
	}
	xeng_job_routes(&w->job, w->job.n_route);
	for (i = 0; i < w->job.n_route; i++) {
		w->job.route[i].r.row = (uint16_t)rng_below(r, w->job.n_row);
		w->job.route[i].r.expert =
		    (uint16_t)rng_below(r, (uint64_t)n_expert);
		w->job.route[i].r.weight = (float)rng_next_unit(r);
	}
}

/* Instead of the random ones: n routes, all of row 0 to expert 0. */
static void
want_routes(struct want *w, uint32_t n)
{
	uint32_t j;

	w->job.n_route = n;
	xeng_job_routes(&w->job, n);
	for (j = 0; j < n; j++)
		w->job.route[j].r = (struct slot_route){ 0, 0, 1.0f };
	mem_free(w->out);
	w->out = mem_alloc(n * w->job.out_stride);
	memset(w->out, GUARD, n * w->job.out_stride);
	w->job.out = w->out;
}

static void
want_free(struct want *w)
{
	xeng_job_free(&w->job);
	mem_free(w->in);
	mem_free(w->out);
}

/* One route, one row, one call. */
static void
plain(const struct want *w, uint32_t j, void *out)
{
	const struct xeng_job *job = &w->job;
	const struct slot_route *r = &job->route[j].r;
	const struct kern_group g = { &w->b->expert[job->layer][r->expert],
	    0, 1 };
	const void *in = w->in + r->row * job->in_stride;
	const struct kern_ffn ffn = { .h = FAKE_H, .i = FAKE_I,
	    .glu = KERN_SILU, .n_group = 1, .group = &g, .in = &in,
	    .out = &out, .scale = job->weight_in ? &r->weight : NULL };

	kern_ffn(w->b->kn, &ffn);
}

/* Are all answers there, and nothing but answers? */
static bool
want_good(const struct want *w)
{
	size_t rb = row_bytes(w->b), stride = w->job.out_stride, i;
	char row[FAKE_H * sizeof(float)];
	uint32_t j;

	for (j = 0; j < w->job.n_route; j++) {
		plain(w, j, row);
		if (memcmp(row, w->out + j * stride, rb) != 0)
			return false;
		for (i = rb; i < stride; i++)
			if (w->out[j * stride + i] != GUARD)
				return false;
	}
	return true;
}

static bool
want_untouched(const struct want *w)
{
	size_t i;

	for (i = 0; i < w->job.n_route * w->job.out_stride; i++)
		if (w->out[i] != GUARD)
			return false;
	return true;
}

static bool
submit(struct bench *b, struct want *w, int client, uint64_t now_ns)
{
	w->job.client = client;
	w->job.submit_ns = now_ns;
	w->queued = xeng_submit(b->x, &w->job) == SLOT_OK;
	return w->queued;
}

/* Step until there is nothing to do at now_ns; returns the steps. */
static int
drain(struct bench *b, uint64_t now_ns, uint64_t *next_ns)
{
	int n = 0;

	while (xeng_step(b->x, now_ns, next_ns))
		n++;
	return n;
}

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
	test_fifo();
	test_wait();
	test_wait_rows();
	test_expire();
	test_cold();
	test_cold_fail();
	test_leave();
	test_resubmit();
	return tap_done();
}
