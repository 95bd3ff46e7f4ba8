/* bench_sim_load - sequences, placement and measures: see bench_sim.h. */
#include <string.h>

#include "bench_sim.h"
#include "mem.h"
#include "rng.h"

#define WARM_PASSES	8

/* ---- placement ------------------------------------------------------------ */

/* Experts of a layer by share, a copy of the most loaded one again and again
 * (EPLB: replicate_experts), then each copy onto the least loaded device that
 * has room (balanced_packing). */
static void
place_layer(struct sim *s, int layer)
{
	int n = s->o.shape.n_expert, d = s->o.experts, total = n + s->o.spare;
	int room = (total + d - 1) / d, i, j, best, copy;
	int *copies = mem_calloc((size_t)n, sizeof(*copies));
	int *used = mem_calloc((size_t)d, sizeof(*used));
	bool *done = mem_calloc((size_t)n, sizeof(*done));
	double *load = mem_calloc((size_t)d, sizeof(*load)), share;
	int16_t **at = s->place + (size_t)layer * (size_t)n;

	for (i = 0; i < n; i++)
		copies[i] = 1;
	for (i = 0; i < s->o.spare; i++) {
		for (best = 0, j = 1; j < n; j++)
			if (skew_share(s->skew, layer, j) / copies[j] >
			    skew_share(s->skew, layer, best) / copies[best])
				best = j;
		copies[best]++;
	}
	for (i = 0; i < n; i++) {
		for (best = -1, j = 0; j < n; j++)
			if (!done[j] && (best < 0 ||
			    skew_share(s->skew, layer, j) / copies[j] >
			    skew_share(s->skew, layer, best) / copies[best]))
				best = j;
		done[best] = true;
		share = skew_share(s->skew, layer, best) / copies[best];
		at[best] = mem_calloc((size_t)copies[best] + 1,
		    sizeof(**at));
		for (copy = 0; copy < copies[best]; copy++) {
			int to = -1;

			for (j = 0; j < d; j++)
				if (used[j] < room &&
				    (to < 0 || load[j] < load[to]))
					to = j;
			used[to]++;
			load[to] += share;
			at[best][copy] = (int16_t)to;
		}
		at[best][copy] = -1;
	}
	mem_free(copies);
	mem_free(used);
	mem_free(done);
	mem_free(load);
}

/* Without spare places nobody looked at loads: expert e on device e mod d. */
static void
place_plain(struct sim *s, int layer)
{
	int n = s->o.shape.n_expert, e;
	int16_t **at = s->place + (size_t)layer * (size_t)n;

	for (e = 0; e < n; e++) {
		at[e] = mem_calloc(2, sizeof(**at));
		at[e][0] = (int16_t)(e % s->o.experts);
		at[e][1] = -1;
	}
}

int
sim_place(const struct sim *s, const struct sim_seq *q, int layer, int expert)
{
	const int16_t *at = s->place[layer * s->o.shape.n_expert + expert];
	int n = 1;

	while (at[n] >= 0)
		n++;
	return at[n == 1 ? 0 : rng_at(q->seed, (uint64_t)q->ctx,
	    (uint64_t)layer) % (unsigned)n];
}

/* ---- sequences ------------------------------------------------------------ */

static void
begin(struct sim *s, struct sim_seq *q)
{
	const struct bench_arrival *a =
	    &s->lengths->p[s->next_length % s->lengths->n];

	q->seed = rng_at(s->o.seed, s->next_length++, 1);
	q->ctx = (int)a->in_tok;
	q->left = (int)a->out_tok;
	q->last_us = -1;
}

void
sim_open(struct sim *s, const struct sim_opt *o, const struct skew *skew,
    const bench_gen_list *lengths)
{
	int i, done, n_group = o->groups == SIM_FREE ? 1 : o->groups;

	memset(s, 0, sizeof(*s));
	s->o = *o;
	s->skew = skew;
	s->lengths = lengths;
	s->place = mem_calloc((size_t)o->shape.n_layer *
	    (size_t)o->shape.n_expert, sizeof(*s->place));
	for (i = 0; i < o->shape.n_layer; i++) {
		if (o->spare > 0)
			place_layer(s, i);
		else
			place_plain(s, i);
	}
	s->seq = mem_calloc((size_t)o->running, sizeof(*s->seq));
	for (i = 0; i < o->running; i++) {
		begin(s, &s->seq[i]);
		/* Somewhere in the middle of its answer. */
		done = (int)rng_at(o->seed, (uint64_t)i, 2) & 0xffff;
		done = done % s->seq[i].left;
		s->seq[i].ctx += done;
		s->seq[i].left -= done;
		s->seq[i].dev = i % o->attn;
		s->seq[i].group = i / o->attn % n_group;
	}
}

void
sim_close(struct sim *s)
{
	int i;

	for (i = 0; i < s->o.shape.n_layer * s->o.shape.n_expert; i++)
		mem_free(s->place[i]);
	mem_free(s->place);
	mem_free(s->seq);
}

void
sim_experts(const struct sim *s, const struct sim_seq *q, int layer,
    int32_t *ids)
{
	float w[SIM_MAX_K];

	skew_pick(s->skew, q->seed, q->ctx, layer, s->o.shape.top_k, ids, w);
}

double
sim_head_us(const struct sim *s, int rows)
{
	return emu_linear_us(&s->o.dev, rows, s->o.shape.vocab,
	    s->o.shape.hidden);
}

/* ---- measures ------------------------------------------------------------- */

void
sim_token(struct sim *s, struct sim_seq *q)
{
	s->all_tokens++;
	if (!s->on && s->all_tokens >=
	    (uint64_t)s->o.running * WARM_PASSES) {
		s->on = true;
		s->on_us = s->now_us;
		s->attn_busy_us = s->expert_busy_us = 0;
	}
	if (s->on) {
		s->tokens++;
		if (q->last_us >= 0)
			hist_add(&s->itl, (uint64_t)(s->now_us - q->last_us));
	}
	q->last_us = s->now_us;
	q->ctx++;
	if (--q->left <= 0)
		begin(s, q);
}

bool
sim_over(const struct sim *s)
{
	return s->tokens >= (uint64_t)s->o.running * (uint64_t)s->o.passes;
}

void
sim_result(const struct sim *s, struct sim_result *r)
{
	double us = s->now_us - s->on_us;
	int attn = s->o.mode == SIM_ASYNC ? s->o.attn : s->o.experts;

	r->tok_s = (double)s->tokens / us * 1e6;
	r->itl_us = hist_mean(&s->itl);
	r->attn_busy = s->attn_busy_us / us / attn;
	r->expert_busy = s->expert_busy_us / us / s->o.experts;
}
