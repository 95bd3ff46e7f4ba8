/*
 * kern_route.c - the gate: which k of n experts, and with what weights.
 *
 * A few hundred logits a token: plain C for every backend, so that a choice
 * never depends on the instruction set.  Exponentials are taken in double and
 * the weight is rounded once; scores that are compared (R4..R6) are fp32, as
 * the models define them.
 */
#include "kern.h"

#include <math.h>
#include <stdlib.h>

#include "kern_impl.h"

/* Most experts of any model known, with room; scores live on the stack. */
#define ROUTE_MAX	4096

/* The k largest of s[0..n) in rank order, ties to the lowest index. */
static void
top_k(const float *s, int n, int k, int32_t *ids)
{
	int i, j, r;

	/* Insertion into the sorted list of the best so far. */
	for (i = 0, r = 0; i < n; i++) {
		if (r == k && !(s[i] > s[ids[k - 1]]))
			continue;
		j = r < k ? r++ : k - 1;
		for (; j > 0 && s[i] > s[ids[j - 1]]; j--)
			ids[j] = ids[j - 1];
		ids[j] = i;
	}
}

static float
max_of(const float *x, int n)
{
	float m = x[0];
	int i;

	for (i = 1; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

static double
sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

/* R1 (renorm), R2, R3 (always over the chosen), and the weights of R4: the
 * softmax of the logits at ids, its sum over the chosen or over all. */
static void
softmax_at(const struct kern_route *a, const float *l, const int32_t *ids,
    bool chosen, float *w)
{
	double m = max_of(l, a->n), sum = 0;
	int i;

	if (chosen)
		for (i = 0; i < a->k; i++)
			sum += exp(l[ids[i]] - m);
	else
		for (i = 0; i < a->n; i++)
			sum += exp(l[i] - m);
	for (i = 0; i < a->k; i++)
		w[i] = (float)(exp(l[ids[i]] - m) / sum * a->scaling);
}

/* A group's score: its best value (R4) or the sum of its two best (R5). */
static float
group_score(const float *c, int n, bool two)
{
	float a = -INFINITY, b = -INFINITY;
	int i;

	for (i = 0; i < n; i++) {
		if (c[i] > a) {
			b = a;
			a = c[i];
		} else if (c[i] > b)
			b = c[i];
	}
	return two && n > 1 ? a + b : a;
}

/* Set c to -inf outside the topk_group best groups. */
static void
keep_groups(const struct kern_route *a, float *c, bool two)
{
	int size, g, i;
	float score[ROUTE_MAX];
	int32_t best[ROUTE_MAX];
	bool keep[ROUTE_MAX] = { false };

	if (a->n_group <= 1)
		return;
	size = a->n / a->n_group;
	for (g = 0; g < a->n_group; g++)
		score[g] = group_score(c + g * size, size, two);
	top_k(score, a->n_group, a->topk_group, best);
	for (g = 0; g < a->topk_group; g++)
		keep[best[g]] = true;
	for (i = 0; i < a->n; i++)
		if (!keep[i / size])
			c[i] = -INFINITY;
}

static void
rule_group_softmax(const struct kern_route *a, const float *l, int32_t *ids,
    float *w)
{
	float c[ROUTE_MAX];
	int i;

	for (i = 0; i < a->n; i++)
		c[i] = l[i];
	keep_groups(a, c, false);
	top_k(c, a->n, a->k, ids);
	softmax_at(a, l, ids, a->renorm, w);
}

static void
rule_sigmoid_bias(const struct kern_route *a, const float *l, int32_t *ids,
    float *w)
{
	float s[ROUTE_MAX], c[ROUTE_MAX];
	double sum = 1;
	int i;

	for (i = 0; i < a->n; i++) {
		s[i] = (float)sigmoid(l[i]);
		c[i] = a->bias != NULL ? s[i] + a->bias[i] : s[i];
	}
	keep_groups(a, c, true);
	top_k(c, a->n, a->k, ids);
	if (a->renorm)
		for (i = 0, sum = 1e-20; i < a->k; i++)
			sum += s[ids[i]];
	for (i = 0; i < a->k; i++)
		w[i] = (float)(s[ids[i]] / sum * a->scaling);
}

/* One pick of SparseMixer: the largest logit but for `skip`, and its softmax
 * weight over those within 2*jitter of it, relatively. */
static int
mixer_pick(const struct kern_route *a, const float *l, int skip, float *w)
{
	int best = -1, i;
	float m, f;
	double sum = 0;

	for (i = 0; i < a->n; i++)
		if (i != skip && (best < 0 || l[i] > l[best]))
			best = i;
	m = l[best];
	for (i = 0; i < a->n; i++) {
		if (i == skip)
			continue;
		f = fabsf(l[i]) > m ? fabsf(l[i]) : m;
		/* 0/0 compares false: not masked, as the model has it. */
		if (!((m - l[i]) / f > 2 * a->jitter))
			sum += exp((double)l[i] - (double)m);
	}
	*w = (float)(1 / sum * a->scaling);
	return best;
}

static void
rule_row(const struct kern_route *a, const float *l, int32_t *ids, float *w)
{
	int i;

	switch (a->rule) {
	case KERN_ROUTE_SOFTMAX:
		top_k(l, a->n, a->k, ids);
		softmax_at(a, l, ids, a->renorm, w);
		break;
	case KERN_ROUTE_TOPK_SOFTMAX:
		top_k(l, a->n, a->k, ids);
		softmax_at(a, l, ids, true, w);
		break;
	case KERN_ROUTE_GROUP_SOFTMAX:
		rule_group_softmax(a, l, ids, w);
		break;
	case KERN_ROUTE_SIGMOID_BIAS:
		rule_sigmoid_bias(a, l, ids, w);
		break;
	case KERN_ROUTE_SPARSEMIXER:
		ids[0] = mixer_pick(a, l, -1, &w[0]);
		ids[1] = mixer_pick(a, l, ids[0], &w[1]);
		break;
	case KERN_ROUTE_SIGMOID_INPUT:
		top_k(l, a->n, a->k, ids);
		for (i = 0; i < a->k; i++)
			w[i] = (float)(sigmoid(l[ids[i]]) * a->scaling);
		break;
	}
}

int
kern_route(const struct kern_route *a, int *bad_row)
{
	int r, i;

	KERN_CHECK(a->n > 0 && a->n <= ROUTE_MAX && a->k > 0 && a->k <= a->n);
	KERN_CHECK(a->rule >= KERN_ROUTE_SOFTMAX &&
	    a->rule <= KERN_ROUTE_SIGMOID_INPUT);
	KERN_CHECK(a->rule != KERN_ROUTE_SPARSEMIXER || a->k == 2);
	KERN_CHECK(a->n_group <= 1 || (a->n % a->n_group == 0 &&
	    a->topk_group > 0 && a->topk_group <= a->n_group &&
	    a->k <= a->topk_group * (a->n / a->n_group)));
	for (r = 0; r < a->m; r++) {
		const float *l = a->logits + (size_t)r * (size_t)a->n;

		for (i = 0; i < a->n; i++) {
			if (!(l[i] < INFINITY)) {
				*bad_row = r;
				return -1;
			}
		}
		rule_row(a, l, a->ids + (size_t)r * (size_t)a->k,
		    a->w + (size_t)r * (size_t)a->k);
	}
	return 0;
}
