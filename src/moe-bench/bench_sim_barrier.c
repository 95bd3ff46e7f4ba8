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
 * A token takes a slot a layer.  With M microbatches, each at another layer, a
 * slot does the attention and, joined, the experts of all of them (EasyBalance,
 * arXiv 2608.07964), and collectives are hidden behind computing as far as that
 * goes: slot = max(attention + experts, dispatch + combine).
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
	int *at_rows;		/* [device] */
	double *at_ctx;
};

static double
collective_us(const struct sim *s, const struct slot *t)
{
	int d, worst = 0;
	double n = s->o.experts;

	for (d = 0; d < s->o.experts; d++) {
		worst = t->n_send[d] > worst ? t->n_send[d] : worst;
		worst = t->n_recv[d] > worst ? t->n_recv[d] : worst;
	}
	return s->o.dev.collective_us * (n > 8 ? 1 + log2(n / 8) / 2 : 1) +
	    1e6 * worst * s->o.shape.hidden * BF16 / s->o.dev.link_byte_s;
}

/* One microbatch at one layer: its attention, and its rows into t. */
static double
add_micro(struct sim *s, struct slot *t, int m, int layer, double *busy)
{
	int nd = s->o.experts, k = s->o.shape.top_k, i, d, e;
	int32_t ids[SIM_MAX_K];
	double worst = 0, us;

	memset(t->at_rows, 0, (size_t)nd * sizeof(*t->at_rows));
	memset(t->at_ctx, 0, (size_t)nd * sizeof(*t->at_ctx));
	for (i = m; i < s->o.running; i += s->o.micro) {
		const struct sim_seq *q = &s->seq[i];

		t->at_rows[q->dev]++;
		t->at_ctx[q->dev] += q->ctx;
		sim_experts(s, q, layer, ids);
		for (e = 0; e < k; e++) {
			d = sim_place(s, q, layer, ids[e]);
			t->rows[(m * nd + d) * s->o.shape.n_expert + ids[e]]++;
			t->n_recv[d] += d != q->dev;
			t->n_send[q->dev] += d != q->dev;
		}
	}
	for (d = 0; d < nd; d++) {
		us = emu_step_us(&s->o.dev, &s->o.shape, t->at_rows[d],
		    t->at_ctx[d]);
		if (layer == 0)
			us += sim_head_us(s, t->at_rows[d]);
		*busy += us;
		worst = fmax(worst, us);
	}
	return worst;
}

static double
experts_us(struct sim *s, const struct slot *t, double *busy)
{
	int n = s->o.shape.n_expert, nd = s->o.experts, d, m, e, g, sum;
	int *of = mem_calloc((size_t)(n * s->o.micro), sizeof(*of));
	double worst = 0, us;

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
		*busy += us;
		worst = fmax(worst, us);
	}
	mem_free(of);
	return worst;
}

static void
finish(struct sim *s, int m, int step)
{
	int i;

	for (i = m; i < s->o.running; i += step)
		sim_token(s, &s->seq[i]);
}

void
sim_barrier(struct sim *s)
{
	int nd = s->o.experts, n = s->o.shape.n_expert, m, layer;
	int n_layer = s->o.shape.n_layer;
	size_t n_rows = (size_t)(nd * n * s->o.micro);
	struct slot t = { mem_calloc(n_rows, sizeof(int)),
	    mem_calloc((size_t)nd, sizeof(int)),
	    mem_calloc((size_t)nd, sizeof(int)),
	    mem_calloc((size_t)nd, sizeof(int)),
	    mem_calloc((size_t)nd, sizeof(double)) };
	double attn, exp, coll;
	uint64_t slot;

	for (slot = 0; !sim_over(s); slot++) {
		memset(t.rows, 0, n_rows * sizeof(int));
		memset(t.n_send, 0, (size_t)nd * sizeof(int));
		memset(t.n_recv, 0, (size_t)nd * sizeof(int));
		attn = 0;
		for (m = 0; m < s->o.micro; m++) {
			layer = (int)((slot + (uint64_t)(m * n_layer /
			    s->o.micro)) % (unsigned)n_layer);
			attn += add_micro(s, &t, m, layer, &s->attn_busy_us);
		}
		exp = experts_us(s, &t, &s->expert_busy_us);
		coll = 2 * collective_us(s, &t);
		s->now_us += s->o.micro > 1 ? fmax(attn + exp, coll) :
		    attn + exp + coll;
		for (m = 0; m < s->o.micro; m++) {
			layer = (int)((slot + (uint64_t)(m * n_layer /
			    s->o.micro)) % (unsigned)n_layer);
			if (layer == n_layer - 1)
				finish(s, m, s->o.micro);
		}
	}
	mem_free(t.rows);
	mem_free(t.n_send);
	mem_free(t.n_recv);
	mem_free(t.at_rows);
	mem_free(t.at_ctx);
}

/* One layer of one device's own rows. */
static double
dwdp_layer_us(struct sim *s, int layer, int *of)
{
	int n = s->o.shape.n_expert, i, e, active = 0, rows = 0;
	double ctx = 0, us, fetch, bytes = 3.0 * s->o.shape.hidden *
	    s->o.shape.inter * BF16;
	int32_t ids[SIM_MAX_K];

	memset(of, 0, (size_t)n * sizeof(*of));
	for (i = 0; i < s->o.running; i++) {
		sim_experts(s, &s->seq[i], layer, ids);
		for (e = 0; e < s->o.shape.top_k; e++)
			of[ids[e]]++;
		rows++;
		ctx += s->seq[i].ctx;
	}
	for (e = 0; e < n; e++)
		active += of[e] > 0;
	us = emu_step_us(&s->o.dev, &s->o.shape, rows, ctx) +
	    (layer == 0 ? sim_head_us(s, rows) : 0);
	s->attn_busy_us += us * s->o.experts;
	s->expert_busy_us += s->o.experts * emu_ffn_us(&s->o.dev,
	    s->o.shape.hidden, s->o.shape.inter, of, n);
	us += emu_ffn_us(&s->o.dev, s->o.shape.hidden, s->o.shape.inter, of,
	    n);
	/* Of the active ones it has 1 in so many devices itself. */
	fetch = 1e6 * bytes * active * (1 - 1.0 / s->o.experts) /
	    s->o.dev.link_byte_s;
	if (s->on)
		hist_add(&s->rows, (uint64_t)(rows * s->o.shape.top_k));
	return fmax(us, fetch);
}

/* Devices are alike and independent, so one is looked at: s->o.running is what
 * one has, and tokens are those of all. */
void
sim_dwdp(struct sim *s)
{
	int *of = mem_calloc((size_t)s->o.shape.n_expert, sizeof(*of)), l;
	int all = s->o.running;

	s->o.running = (all + s->o.experts - 1) / s->o.experts;
	while (!sim_over(s)) {
		for (l = 0; l < s->o.shape.n_layer; l++)
			s->now_us += dwdp_layer_us(s, l, of);
		finish(s, 0, 1);
	}
	s->tokens *= (uint64_t)s->o.experts;
	mem_free(of);
}
