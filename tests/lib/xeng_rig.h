/*
 * xeng_rig.h - an expert engine over fake experts, jobs of random rows, and the
 * plain computation that every answer is compared with.
 */
#ifndef MOE_XENG_RIG_H
#define MOE_XENG_RIG_H

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

__attribute__((unused)) static size_t
row_bytes(const struct bench *b)
{
	return kern_dtype_bytes(kern_act(b->kn), FAKE_H);
}

__attribute__((unused)) static void
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
__attribute__((unused)) static void
bench_load(struct bench *b)
{
	OK(resid_spec(b->resid, "0-2:0-5,3:0-4", NULL) == 0, "assigned");
	resid_load_all(b->resid);
	OK(resid_wait(b->resid, NULL, NULL, NULL) == 0, "loaded");
}

__attribute__((unused)) static void
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

__attribute__((unused)) static void
on_done(struct xeng_job *job, enum slot_status status)
{
	struct want *w = job->user;

	w->queued = false;
	w->n_done++;
	w->status = status;
}

/* A job of random rows and routes to experts below n_expert. */
__attribute__((unused)) static void
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
__attribute__((unused)) static void
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

__attribute__((unused)) static void
want_free(struct want *w)
{
	xeng_job_free(&w->job);
	mem_free(w->in);
	mem_free(w->out);
}

/* One route, one row, one call. */
__attribute__((unused)) static void
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
__attribute__((unused)) static bool
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

__attribute__((unused)) static bool
want_untouched(const struct want *w)
{
	size_t i;

	for (i = 0; i < w->job.n_route * w->job.out_stride; i++)
		if (w->out[i] != GUARD)
			return false;
	return true;
}

__attribute__((unused)) static bool
submit(struct bench *b, struct want *w, int client, uint64_t now_ns)
{
	w->job.client = client;
	w->job.submit_ns = now_ns;
	w->queued = xeng_submit(b->x, &w->job) == SLOT_OK;
	return w->queued;
}

/* Step until there is nothing to do at now_ns; returns the steps. */
__attribute__((unused)) static int
drain(struct bench *b, uint64_t now_ns, uint64_t *next_ns)
{
	int n = 0;

	while (xeng_step(b->x, now_ns, next_ns))
		n++;
	return n;
}

#endif
