/*
 * bench_sim_barrier - what the asynchronous modes are compared with: all
 * devices have attention of their own sequences and some experts, and meet in
 * every layer.
 *
 *     slot = attention of the slowest device
 *          + dispatch + combine: collective_us (times 1 + log2(D / 8) / 2 beyond
 *            8 devices) and the bytes of the device that has most of them
 *          + experts of the slowest device
 *
 * alltoall: a row travels to the devices of its experts and back.  gather: every
 * device gets all rows, padded to those of the fullest one, and an all-reduce
 * of as many follows (SGLang's default for data-parallel attention with expert
 * parallelism, until its pull request 22642).
 *
 * A token takes a slot a layer.  With M microbatches, each at another layer, a
 * slot does the attention and, joined, the experts of all of them (EasyBalance,
 * arXiv 2608.07964), and collectives are hidden behind computing as far as that
 * goes: slot = max(attention + experts, dispatch + combine).
 *
 * Sequences come and go between tokens.  Prompts: a device takes up to
 * prompt_rows rows of the first ones into each token's step.
 *
 * dwdp (arXiv 2604.01621): no meeting; each device runs all experts of its own
 * rows, and reads the weights that it lacks from others meanwhile.
 */
#include <math.h>
#include <string.h>

#include "bench_sim.h"
#include "mem.h"

#define BF16	2.0

struct slot {			/* scratch of one slot */
	int *rows;		/* [device][expert] of a layer, or of M of them */
	int *n_send, *n_recv;	/* [device] rows */
	int *at_rows, *at_heads;	/* [device] */
	double *at_ctx, *at_keys;
	double next_us;		/* of the next request */
};

static double
row_us(const struct sim *s, double rows)
{
	return 1e6 * rows * s->o.shape.hidden * BF16 / s->o.dev.link_byte_s;
}

/* Dispatch and combine. */
static double
collectives_us(const struct sim *s, const struct slot *t, int most)
{
	int d, worst = 0, n = s->o.experts;
	double us = 2 * s->o.dev.collective_us *
	    (n > 8 ? 1 + log2(n / 8.0) / 2 : 1);

	if (s->o.coll == SIM_COLL_GATHER)
		return us + row_us(s, 3.0 * (n - 1) * most);
	for (d = 0; d < n; d++) {
		worst = t->n_send[d] > worst ? t->n_send[d] : worst;
		worst = t->n_recv[d] > worst ? t->n_recv[d] : worst;
	}
	return us + 2 * row_us(s, worst);
}

static void
add_rows(struct sim *s, struct slot *t, const struct sim_seq *q, int layer)
{
	int nd = s->o.experts, r, e, d;
	int32_t ids[SIM_MAX_K];

	t->at_rows[q->dev] += q->rows;
	t->at_heads[q->dev] += q->rows >= q->prompt;
	sim_context(q, &t->at_ctx[q->dev], &t->at_keys[q->dev]);
	for (r = 0; r < q->rows; r++) {
		sim_experts(s, q, q->ctx + r, layer, ids);
		for (e = 0; e < s->o.shape.top_k; e++) {
			d = sim_place(s, q, q->ctx + r, layer, ids[e]);
			t->rows[(q->group * nd + d) * s->o.shape.n_expert +
			    ids[e]]++;
			t->n_recv[d] += d != q->dev;
			t->n_send[q->dev] += d != q->dev;
		}
	}
}

/* One microbatch at one layer: its attention, and its rows into t. */
static double
add_micro(struct sim *s, struct slot *t, int m, int layer, int *most)
{
	int nd = s->o.experts, d;
	double worst = 0, us;
	size_t i;

	memset(t->at_rows, 0, (size_t)nd * sizeof(*t->at_rows));
	memset(t->at_heads, 0, (size_t)nd * sizeof(*t->at_heads));
	memset(t->at_ctx, 0, (size_t)nd * sizeof(*t->at_ctx));
	memset(t->at_keys, 0, (size_t)nd * sizeof(*t->at_keys));
	for (i = 0; i < s->seq.n; i++)
		if (s->seq.p[i].rows > 0 && s->seq.p[i].group == m)
			add_rows(s, t, &s->seq.p[i], layer);
	for (d = 0; d < nd; d++) {
		us = emu_step_us(&s->o.dev, &s->o.shape, t->at_rows[d],
		    t->at_ctx[d], t->at_keys[d]);
		if (layer == 0)
			us += sim_head_us(s, t->at_heads[d]);
		s->attn_busy_us += us;
		worst = fmax(worst, us);
		*most = t->at_rows[d] > *most ? t->at_rows[d] : *most;
	}
	return worst;
}

static double
experts_us(struct sim *s, const struct slot *t)
{
	int n = s->o.shape.n_expert, nd = s->o.experts, d, m, e, g, sum;
	int *of = mem_calloc((size_t)(n * s->o.micro), sizeof(*of));
	double worst = 0, us, all = 0, most = 0;

	for (d = 0; d < nd; d++) {
		for (g = sum = m = 0; m < s->o.micro; m++)
			for (e = 0; e < n; e++) {
				of[g] = t->rows[(m * nd + d) * n + e];
				sum += of[g];
				g += of[g] > 0;
			}
		us = emu_ffn_us(&s->o.dev, s->o.shape.hidden,
		    s->o.shape.inter, of, g);
		if (s->on && sum > 0)
			hist_add(&s->rows, (uint64_t)sum);
		s->expert_busy_us += us;
		worst = fmax(worst, us);
		most = fmax(most, sum);
		all += sum;
	}
	s->worst += most;
	s->mean += all / nd;
	mem_free(of);
	return worst;
}

/* ---- a token's step ------------------------------------------------------- */

/* Who is in the step of a microbatch: everybody that decodes, and of prompts
 * what fits. */
static void
step_begin(struct sim *s, int m)
{
	struct sim_seq *q;
	int d, left, n;
	size_t i;

	for (i = 0; i < s->seq.n; i++) {
		q = &s->seq.p[i];
		if (!q->dead && q->group == m)
			q->rows = q->prompt == 0;
	}
	for (d = 0; d < s->o.attn; d++)
		for (i = 0, left = s->o.prompt_rows; left > 0 &&
		    i < s->fifo[d].n; i++) {
			q = &s->seq.p[s->fifo[d].p[i]];
			if (q->group != m)
				continue;
			n = q->prompt < left ? q->prompt : left;
			q->rows = n;
			left -= n;
		}
}

/* Rows of a prompt are done.  true: all of it. */
static bool
prompt_done(struct sim *s, int i)
{
	struct sim_seq *q = &s->seq.p[i];
	size_t j = 0;

	q->prompt -= q->rows;
	q->ctx += q->rows;
	s->load[q->dev] -= q->rows;
	if (q->prompt > 0)
		return false;
	while (s->fifo[q->dev].p[j] != i)
		j++;
	memmove(s->fifo[q->dev].p + j, s->fifo[q->dev].p + j + 1,
	    (--s->fifo[q->dev].n - j) * sizeof(*s->fifo[q->dev].p));
	return true;
}

static void
step_end(struct sim *s, int m)
{
	struct sim_seq *q;
	int i;

	for (i = 0; i < (int)s->seq.n; i++) {
		q = &s->seq.p[i];
		if (q->rows > 0 && q->group == m &&
		    (q->prompt == 0 || prompt_done(s, i)))
			(void)sim_token(s, i);	/* it may leave */
	}
}

static int
layer_of(const struct sim *s, uint64_t slot, int m)
{
	int n = s->o.shape.n_layer;

	return (int)((slot + (uint64_t)(m * n / s->o.micro)) % (unsigned)n);
}

static void
run_slot(struct sim *s, struct slot *t, uint64_t slot)
{
	int nd = s->o.experts, m, layer, most = 0;
	double attn = 0, exp, coll;

	memset(t->rows, 0, (size_t)(nd * s->o.shape.n_expert * s->o.micro) *
	    sizeof(int));
	memset(t->n_send, 0, (size_t)nd * sizeof(int));
	memset(t->n_recv, 0, (size_t)nd * sizeof(int));
	for (m = 0; m < s->o.micro; m++) {
		layer = layer_of(s, slot, m);
		if (layer == 0)
			step_begin(s, m);
		attn += add_micro(s, t, m, layer, &most);
	}
	exp = experts_us(s, t);
	coll = collectives_us(s, t, most);
	if (exp > 0)
		s->now_us += s->o.micro > 1 ? fmax(attn + exp, coll) :
		    attn + exp + coll;
	else if (s->n_alive == 0)
		s->now_us = fmax(s->now_us, t->next_us);
	for (m = 0; m < s->o.micro; m++)
		if (layer_of(s, slot, m) == s->o.shape.n_layer - 1)
			step_end(s, m);
}

/* Those that have come by now; they join at the next step. */
static void
let_in(struct sim *s, struct slot *t)
{
	double now = s->now_us;
	int i;

	while (s->o.rate > 0 && (t->next_us = sim_next_us(s)) <= now) {
		s->now_us = t->next_us;
		i = sim_arrive(s);
		s->seq.p[i].rows = 0;
	}
	s->now_us = now;
}

void
sim_barrier(struct sim *s)
{
	size_t nd = (size_t)s->o.experts;
	size_t n = nd * (size_t)s->o.shape.n_expert * (size_t)s->o.micro;
	struct slot t = { .rows = mem_calloc(n, sizeof(int)),
	    .n_send = mem_calloc(nd, sizeof(int)),
	    .n_recv = mem_calloc(nd, sizeof(int)),
	    .at_rows = mem_calloc(nd, sizeof(int)),
	    .at_heads = mem_calloc(nd, sizeof(int)),
	    .at_ctx = mem_calloc(nd, sizeof(double)),
	    .at_keys = mem_calloc(nd, sizeof(double)) };
	uint64_t slot;

	for (slot = 0; !sim_over(s); slot++) {
		let_in(s, &t);
		sim_place_tick(s);
		run_slot(s, &t, slot);
	}
	mem_free(t.rows);
	mem_free(t.n_send);
	mem_free(t.n_recv);
	mem_free(t.at_rows);
	mem_free(t.at_heads);
	mem_free(t.at_ctx);
	mem_free(t.at_keys);
}

/* ---- dwdp ----------------------------------------------------------------- */

/* One layer of one device's own rows. */
static double
dwdp_layer_us(struct sim *s, int layer, int *of)
{
	int n = s->o.shape.n_expert, i, e, active = 0, rows = 0;
	double ctx = 0, keys = 0, us, ffn, fetch, bytes = 3.0 *
	    s->o.shape.hidden * s->o.shape.inter * BF16;
	int32_t ids[SIM_MAX_K];

	memset(of, 0, (size_t)n * sizeof(*of));
	for (i = 0; i < s->o.running; i++) {
		sim_experts(s, &s->seq.p[i], s->seq.p[i].ctx, layer, ids);
		for (e = 0; e < s->o.shape.top_k; e++)
			of[ids[e]]++;
		rows++;
		sim_context(&s->seq.p[i], &ctx, &keys);
	}
	for (e = 0; e < n; e++)
		active += of[e] > 0;
	us = emu_step_us(&s->o.dev, &s->o.shape, rows, ctx, keys) +
	    (layer == 0 ? sim_head_us(s, rows) : 0);
	ffn = emu_ffn_us(&s->o.dev, s->o.shape.hidden, s->o.shape.inter, of,
	    n);
	s->attn_busy_us += us * s->o.experts;
	s->expert_busy_us += ffn * s->o.experts;
	/* Of the active ones it has 1 in so many devices itself. */
	fetch = 1e6 * bytes * active * (1 - 1.0 / s->o.experts) /
	    s->o.dev.link_byte_s;
	if (s->on)
		hist_add(&s->rows, (uint64_t)(rows * s->o.shape.top_k));
	return fmax(us + ffn, fetch);
}

/* Devices are alike and independent, so one is looked at: s->o.running is what
 * one has, and tokens are those of all. */
void
sim_dwdp(struct sim *s)
{
	int *of = mem_calloc((size_t)s->o.shape.n_expert, sizeof(*of)), l, i;
	int all = s->o.running;

	s->o.running = (all + s->o.experts - 1) / s->o.experts;
	while (!sim_over(s)) {
		for (l = 0; l < s->o.shape.n_layer; l++)
			s->now_us += dwdp_layer_us(s, l, of);
		for (i = 0; i < s->o.running; i++)
			(void)sim_token(s, i);
	}
	s->tokens *= (uint64_t)s->o.experts;
	mem_free(of);
}
