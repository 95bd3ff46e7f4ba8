/* at_sample - see at_sample.h.  No state, no I/O. */
#include "at_sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "rng.h"

#define GREEDY_BELOW	1e-5	/* a temperature below is greedy, as in vLLM */
#define Z_MAX		50.0	/* how far below the best still counts */
#define N_BUCKET	1024
#define BLOCK		512	/* logits looked at together */

/* A token that may be drawn. */
struct at_cand {
	double w;		/* e^-z, z = (max - x) / T */
	float x;
	uint32_t id;
};

struct at_block {
	float max;
	double sum;		/* of e^-z, z = (max of all - x) / T */
};

void
at_sample_mem_free(struct at_sample_mem *m)
{
	mem_free(m->cand);
	mem_free(m->edge);
	mem_free(m->block);
	memset(m, 0, sizeof(*m));
}

/*
 * e^-z for 0 <= z <= Z_MAX, within 1e-15 of it.  z = n ln2/8 - r with |r| <=
 * ln2/16; the constant is split in two so that r keeps its digits; then Taylor
 * to the seventh power, whose rest is below 3e-16.
 */
static double
exp_minus(double z)
{
	static const double root[8] = {		/* 2^(-j/8) */
		1.0, 0x1.d5818dcfba487p-1, 0x1.ae89f995ad3adp-1,
		0x1.8ace5422aa0dbp-1, 0x1.6a09e667f3bcdp-1,
		0x1.4bfdad5362a27p-1, 0x1.306fe0a31b715p-1,
		0x1.172b83c7d517bp-1
	};
	int n = (int)(z * 0x1.71547652b82fep+3 + 0.5);
	double r = (n * 0x1.62e42fefap-4 - z) + n * 0x1.cf79abc9e3b3ap-43;
	double r2 = r * r, p;
	uint64_t bits = (uint64_t)(1023 - (n >> 3)) << 52;
	double scale;

	memcpy(&scale, &bits, sizeof(scale));
	p = (1.0 + r) + r2 * ((1.0 / 2 + r * (1.0 / 6)) +
	    r2 * ((1.0 / 24 + r * (1.0 / 120)) +
	    r2 * (1.0 / 720 + r * (1.0 / 5040))));
	return p * root[n & 7] * scale;
}

static bool
is_banned(const struct at_sample_in *in, uint32_t id)
{
	int i;

	for (i = 0; i < in->n_ban; i++)
		if (in->ban[i] == id)
			return true;
	return false;
}

/* The largest that is not banned, ties to the lowest id; -1: none. */
static int
best_allowed(const struct at_sample_in *in)
{
	float best = -INFINITY;
	int i, at = -1;

	for (i = 0; i < in->n; i++)
		if (in->logits[i] > best && !is_banned(in, (uint32_t)i)) {
			best = in->logits[i];
			at = i;
		}
	return at;
}

/* Logits of block b. */
static int
block_len(const struct at_sample_in *in, int b)
{
	int left = in->n - b * BLOCK;

	return left < BLOCK ? left : BLOCK;
}

static int
n_block(const struct at_sample_in *in)
{
	return (in->n + BLOCK - 1) / BLOCK;
}

/* Logit i into top[0..*have), best first; ties keep the order of ids, because a
 * later one must be larger to go in front. */
static void
top_add(const struct at_sample_in *in, struct at_lp *top, int *have, int i)
{
	float x = in->logits[i];
	int j;

	if (*have == in->n_top && !(x > top[*have - 1].lp))
		return;
	if (*have < in->n_top)
		++*have;
	for (j = *have - 1; j > 0 && x > top[j - 1].lp; j--)
		top[j] = top[j - 1];
	top[j].id = (uint32_t)i;
	top[j].lp = x;
}

/* The n_top largest into top; blocks without any are passed over. */
static int
pick_top(const struct at_sample_in *in, struct at_lp *top)
{
	int b, i, best, len, have = 0;

	for (b = 0; b < n_block(in) && in->n_top > 0; b++) {
		len = block_len(in, b);
		best = kern_argmax(in->kern, in->logits + b * BLOCK, len);
		if (have == in->n_top &&
		    !(in->logits[b * BLOCK + best] > top[have - 1].lp))
			continue;
		for (i = b * BLOCK; i < b * BLOCK + len; i++)
			top_add(in, top, &have, i);
	}
	return have;
}

int
at_sample_score(const struct at_sample_in *in, uint32_t id,
    struct at_sampled *out)
{
	float max;
	double sum, log_sum;
	int i;

	if (kern_argmax(in->kern, in->logits, in->n) < 0)
		return -1;
	kern_softmax_sum(in->kern, in->logits, in->n, 1.0f, &max, &sum);
	if (!isfinite(max) || !isfinite(sum) || sum <= 0)
		return -1;
	log_sum = log(sum);
	out->id = id;
	out->lp = (float)((double)in->logits[id] - max - log_sum);
	out->n_top = pick_top(in, out->top);
	for (i = 0; i < out->n_top; i++)
		out->top[i].lp = (float)((double)out->top[i].lp - max - log_sum);
	return 0;
}

/* ---- looking at blocks ------------------------------------------------------ */

/* The largest of each block, and with sums how much each weighs; returns what
 * all of them weigh (0 without sums).  No logit is a NaN. */
static double
survey(const struct at_sample_in *in, struct at_sample_mem *m, float max,
    bool sums)
{
	float inv_t = (float)(1.0 / in->s->temperature);
	double total = 0, z;
	struct at_block *k;
	int b, n = n_block(in);

	if (m->block_cap < (size_t)n)
		mem_grow((void **)&m->block, &m->block_cap, (size_t)n,
		    sizeof(*m->block));
	for (b = 0; b < n; b++) {
		const float *x = in->logits + b * BLOCK;

		k = &m->block[b];
		if (!sums) {
			k->max = x[kern_argmax(in->kern, x, block_len(in, b))];
			continue;
		}
		kern_softmax_sum(in->kern, x, block_len(in, b), inv_t, &k->max,
		    &k->sum);
		z = ((double)max - k->max) * inv_t;
		/* Else all of it is too unlikely, and the sum may be NaN. */
		k->sum = z <= Z_MAX ? k->sum * exp_minus(z) : 0;
		total += k->sum;
	}
	return total;
}

/* A draw that nothing is cut from: the block that it falls into, and in that
 * the token. */
static uint32_t
draw_any(const struct at_sample_in *in, struct at_sample_mem *m, int best)
{
	float max = in->logits[best];
	double inv_t = 1.0 / in->s->temperature, acc = 0, u, z;
	int b, i, last;

	u = survey(in, m, max, true);
	u *= rng_unit(in->s->seed, (uint64_t)in->pos, 0);
	for (b = 0; b < n_block(in); acc += m->block[b++].sum) {
		if (acc + m->block[b].sum <= u)
			continue;
		last = -1;
		for (i = b * BLOCK; i < b * BLOCK + block_len(in, b) &&
		    (last < 0 || acc <= u); i++) {
			z = ((double)max - in->logits[i]) * inv_t;
			if (!(z <= Z_MAX))
				continue;
			acc += exp_minus(z);
			last = i;
		}
		/* Sums of fp32 exponentials may exceed ours by a hair. */
		if (last >= 0)
			return (uint32_t)last;
	}
	return (uint32_t)best;
}

static int
larger_first(const void *pa, const void *pb)
{
	float a = *(const float *)pa, b = *(const float *)pb;

	return (a < b) - (a > b);
}

/* A logit that at least top_k reach: the top_k-th of the blocks' largest. */
static float
top_k_floor(const struct at_sample_in *in, const struct at_sample_mem *m)
{
	float max[BLOCK];
	int n = n_block(in), k = in->s->top_k, b;

	if (k > n || n > BLOCK)
		return -INFINITY;
	for (b = 0; b < n; b++)
		max[b] = m->block[b].max;
	qsort(max, (size_t)n, sizeof(*max), larger_first);
	return max[k - 1];
}

/* What a logit must reach to weigh w times the largest's, or a little less. */
static float
weight_floor(const struct at_sample_in *in, float max, double w)
{
	if (!(w > 0))
		return -INFINITY;
	return (float)((double)max + in->s->temperature *
	    (log(w < 1 ? w : 1) - 1e-3)) - 1e-6f * fabsf(max);
}

/*
 * A logit below which nothing is kept by the cuts of in->s, so that most of a
 * large vocabulary need not be looked at.  *sum_p: what all tokens weigh where
 * top_p alone cuts; else 0.  For top_p: all that weigh less than (1 - top_p) / n
 * of the sum weigh less than 1 - top_p together, so the rest reaches top_p.
 */
static float
find_floor(const struct at_sample_in *in, struct at_sample_mem *m, float max,
    double *sum_p)
{
	const struct at_sampling *s = in->s;
	bool by_p = s->top_k < 1 && s->min_p <= 0 && in->n_ban == 0;

	*sum_p = survey(in, m, max, by_p);
	if (in->n_ban > 0)	/* they are among the blocks' largest */
		return -INFINITY;
	if (by_p)
		return weight_floor(in, max, (1 - s->top_p) * *sum_p / in->n);
	if (s->top_k > 0)
		return top_k_floor(in, m);
	return weight_floor(in, max, s->min_p);
}

/* All tokens that could be drawn, by ascending id, with w = z for now. */
static size_t
gather(const struct at_sample_in *in, struct at_sample_mem *m, float max,
    float floor)
{
	double inv_t = 1.0 / in->s->temperature, z;
	size_t n = 0;
	int b, i;

	if (m->cap < (size_t)in->n)
		mem_grow((void **)&m->cand, &m->cap, (size_t)in->n,
		    sizeof(*m->cand));
	for (b = 0; b < n_block(in); b++) {
		if (m->block[b].max < floor)
			continue;
		for (i = b * BLOCK; i < b * BLOCK + block_len(in, b); i++) {
			if (in->logits[i] < floor)
				continue;
			z = ((double)max - in->logits[i]) * inv_t;
			/* z < 0: only a banned one */
			if (!(z <= Z_MAX) || z < 0 || (in->n_ban > 0 &&
			    is_banned(in, (uint32_t)i)))
				continue;
			m->cand[n].w = z;
			m->cand[n].x = in->logits[i];
			m->cand[n++].id = (uint32_t)i;
		}
	}
	return n;
}

static int
better_first(const void *pa, const void *pb)
{
	const struct at_cand *a = pa, *b = pb;

	if (a->x != b->x)
		return a->x > b->x ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* What a candidate weighs in a cut: itself, or its probability. */
struct cut {
	bool by_w;		/* else by count */
	double target;		/* keep the fewest best that weigh this */
	float max;		/* of all logits */
	double scale;		/* buckets per unit of logit */
};

static int
bucket_of(const struct cut *c, float x)
{
	double b = ((double)c->max - x) * c->scale;

	return b < N_BUCKET - 1 ? (int)b : N_BUCKET - 1;
}

/*
 * Cut cand[0..n) to the fewest best whose weights reach c->target; returns how
 * many, still by ascending id.  Buckets by logit find where the cut goes
 * through; only that bucket is sorted.
 */
static size_t
cut_best(struct at_sample_mem *m, size_t n, const struct cut *c)
{
	double mass[N_BUCKET] = { 0 }, sum = 0;
	size_t i, n_edge = 0, kept = 0;
	int b = 0;

	for (i = 0; i < n; i++)
		mass[bucket_of(c, m->cand[i].x)] +=
		    c->by_w ? m->cand[i].w : 1.0;
	while (b < N_BUCKET && sum + mass[b] < c->target)
		sum += mass[b++];
	if (b == N_BUCKET)
		return n;
	if (m->edge_cap < n)
		mem_grow((void **)&m->edge, &m->edge_cap, n, sizeof(*m->edge));
	for (i = 0; i < n; i++)
		if (bucket_of(c, m->cand[i].x) == b)
			m->edge[n_edge++] = m->cand[i];
	BUG_ON(n_edge == 0);	/* sum < target before it, not after */
	qsort(m->edge, n_edge, sizeof(*m->edge), better_first);
	for (i = 0; i < n_edge; i++) {
		sum += c->by_w ? m->edge[i].w : 1.0;
		if (sum >= c->target)
			break;
	}
	if (i == n_edge)
		i--;
	for (n_edge = i, i = 0; i < n; i++)	/* edge[n_edge]: the last */
		if (better_first(&m->cand[i], &m->edge[n_edge]) <= 0)
			m->cand[kept++] = m->cand[i];
	return kept;
}

/* z to e^-z, and min_p; returns how many are left and their sum. */
static size_t
weigh(struct at_sample_mem *m, size_t n, double min_p, double *sum_p)
{
	size_t i, kept = 0;
	double sum = 0;

	for (i = 0; i < n; i++) {
		m->cand[i].w = exp_minus(m->cand[i].w);
		if (m->cand[i].w < min_p)
			continue;
		sum += m->cand[i].w;
		m->cand[kept++] = m->cand[i];
	}
	*sum_p = sum;
	return kept;
}

static uint32_t
draw(const struct at_sample_in *in, struct at_sample_mem *m, float max)
{
	const struct at_sampling *s = in->s;
	struct cut c = { false, s->top_k, max,
	    N_BUCKET / (Z_MAX * s->temperature) };
	double sum, all, u, acc = 0;
	float floor = find_floor(in, m, max, &all);
	size_t i, n = gather(in, m, max, floor);

	/* top_k and min_p both keep the best, so their order does not matter:
	 * top_k first saves exponentials. */
	if (s->top_k > 0 && (size_t)s->top_k < n)
		n = cut_best(m, n, &c);
	n = weigh(m, n, s->min_p, &sum);
	if (all > sum)		/* those below the floor weigh something, too */
		sum = all;
	if (s->top_p < 1.0 && n > 1) {
		c.by_w = true;
		c.target = s->top_p > 0 ? s->top_p * sum : 1e-300;
		n = cut_best(m, n, &c);
	}
	for (sum = 0, i = 0; i < n; i++)
		sum += m->cand[i].w;
	u = rng_unit(s->seed, (uint64_t)in->pos, 0) * sum;
	for (i = 0; i + 1 < n; i++) {
		acc += m->cand[i].w;
		if (acc > u)
			break;
	}
	return m->cand[i].id;
}

/* Does every token that is possible at all stay in? */
static bool
uncut(const struct at_sample_in *in)
{
	const struct at_sampling *s = in->s;

	return in->n_ban == 0 && s->top_k < 1 && s->min_p <= 0 &&
	    s->top_p >= 1.0;
}

int
at_sample(const struct at_sample_in *in, struct at_sample_mem *mem,
    struct at_sampled *out)
{
	int best = kern_argmax(in->kern, in->logits, in->n);

	out->lp = 0;
	out->n_top = 0;
	if (best < 0 || isinf(in->logits[best]))
		return -1;
	if (in->n_ban > 0 && (best = best_allowed(in)) < 0)
		return -1;
	if (in->s->temperature < GREEDY_BELOW)
		out->id = (uint32_t)best;
	else if (uncut(in))
		out->id = draw_any(in, mem, best);
	else
		out->id = draw(in, mem, in->logits[best]);
	if (in->n_top < 0)
		return 0;
	return at_sample_score(in, out->id, out);
}
