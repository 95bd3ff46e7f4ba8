/*
 * kern_loop_attn.h - the inner loops of attention for any width of vectors:
 * kern_loop_attn takes queries through one block of keys, kern_loop_merge puts
 * two parts of a softmax together.
 *
 * Keys stand across the lanes, d in order, and values across the lanes, keys in
 * order (struct cpu_keys): both products are those of packed weights, and a
 * tile is as many queries and units of 16 as registers hold.
 *
 * Per query, whatever its neighbours.  Score of a key: one accumulator, d
 * ascending, fused multiply-add, then times the scale.  Sum of weights: 16
 * partial sums over the block (key % 16), one fixed tree, keys that are not
 * visible counting as +0.  Values: keys ascending, fused multiply-add.
 */
#ifndef KERN_LOOP_ATTN_H
#define KERN_LOOP_ATTN_H

#include <math.h>

#include "cpu.h"
#include "kern_v.h"

#define LOOP_QUERY	6	/* most queries of a tile */
#define LOOP_TILE	(V_UNIT == 1 ? 6 : 4)	/* that registers hold well */
#define LOOP_ACC	24	/* most vectors of accumulators */
#define LOOP_UNIT	256	/* elements of a unit of a page's values */

/* What is constant in a tile, after inlining: m queries, u units. */
struct loop_tile {
	int m, u;
	bool bf16;
};

/* c += vector x one value of each query. */
V_INLINE void
loop_fma(V *c, const V *x, const float *const *f, int at, struct loop_tile t)
{
	int m, i;

CPU_UNROLL
	for (m = 0; m < t.m; m++) {
		V y = v_set1(f[m][at]);

CPU_UNROLL
		for (i = 0; i < t.u * V_UNIT; i++)
			c[m * t.u * V_UNIT + i] = v_fma(x[i], y,
			    c[m * t.u * V_UNIT + i]);
	}
}

/* ---- scores ------------------------------------------------------------- */

/* s[m][16 page ..] = q[m] . k * scale for the keys of t.u pages. */
V_INLINE void
loop_scores(float (*s)[CPU_KEYS], const struct cpu_query *q,
    const struct cpu_keys *b, int page, struct loop_tile t)
{
	int d, u, i, m, n = t.u * V_UNIT, step = t.bf16 ? 2 : 1;
	const float *f[LOOP_QUERY];
	V c[LOOP_ACC], x[LOOP_ACC];
	VI w[LOOP_ACC];

CPU_UNROLL
	for (m = 0; m < t.m; m++)
		f[m] = q[m].q;
CPU_UNROLL
	for (i = 0; i < t.m * n; i++)
		c[i] = v_zero();
	for (d = 0; d < b->dk; d += step) {
CPU_UNROLL
		for (u = 0; u < t.u; u++) {
			const char *k = (const char *)b->k[page + u] +
			    (size_t)d / (size_t)step * 64;

			_mm_prefetch((const char *)b->k[page + u + CPU_AHEAD] +
			    (size_t)d / (size_t)step * 64, _MM_HINT_T1);
CPU_UNROLL
			for (i = 0; i < V_UNIT; i++) {
				if (t.bf16) {
					w[u * V_UNIT + i] =
					    v_pairs(k + i * V_LANES * 4);
					x[u * V_UNIT + i] =
					    v_even(w[u * V_UNIT + i]);
				} else {
					x[u * V_UNIT + i] = v_load(
					    (const float *)(const void *)
					    (k + i * V_LANES * 4));
				}
			}
		}
		loop_fma(c, x, f, d, t);
		if (!t.bf16 || d + 1 == b->dk)
			continue;
CPU_UNROLL
		for (i = 0; i < n; i++)
			x[i] = v_odd(w[i]);
		loop_fma(c, x, f, d + 1, t);
	}
CPU_UNROLL
	for (m = 0; m < t.m; m++)
CPU_UNROLL
		for (i = 0; i < n; i++)
			v_store(s[m] + page * KERN_PAGE_TOK + i * V_LANES,
			    v_mul(c[m * n + i], v_set1(b->scale)));
}

/* ---- softmax ------------------------------------------------------------ */

/* The softmax of one query goes on: scores become weights.  Returns what is
 * left of the sums so far under the new maximum. */
V_INLINE float
loop_advance(float *s, struct cpu_query *q)
{
	int lo = q->lo / 16 * 16, hi = (q->hi + 15) / 16 * 16, j, i;
	V top[V_UNIT], sum[V_UNIT], max;
	float keep = 1, best;

	for (j = lo; j < q->lo; j++)
		s[j] = -INFINITY;
	for (j = q->hi; j < hi; j++)
		s[j] = -INFINITY;
	for (i = 0; i < V_UNIT; i++) {
		top[i] = v_set1(q->max);
		sum[i] = v_zero();
	}
	for (j = lo; j < hi; j += 16)
CPU_UNROLL
		for (i = 0; i < V_UNIT; i++)
			top[i] = v_max(top[i], v_load(s + j + i * V_LANES));
	best = v_unit_max(top);
	if (q->max != best)
		keep = v_exp1(q->max - best);
	max = v_set1(best);
	for (j = lo; j < hi; j += 16) {
CPU_UNROLL
		for (i = 0; i < V_UNIT; i++) {
			V p = v_exp(v_sub(v_load(s + j + i * V_LANES), max));

			v_store(s + j + i * V_LANES, p);
			sum[i] = v_add(sum[i], p);
		}
	}
	q->max = best;
	q->sum = q->sum * keep + v_unit_sum(sum);
	return keep;
}

/* ---- values ------------------------------------------------------------- */

/* Keys that a call takes in, and the first unit of the values that it does. */
struct loop_range {
	int lo, hi, unit;
};

/* o = o * keep + sum over keys of s * v: t.u units of t.m queries. */
V_INLINE void
loop_values(const float *const *s, const struct cpu_query *q,
    const struct cpu_keys *b, const float *keep, struct loop_range r,
    struct loop_tile t)
{
	int m, i, j, u, n = t.u * V_UNIT, at = r.unit * 16;
	V c[LOOP_ACC], x[LOOP_ACC];
	VI w[LOOP_ACC];

CPU_UNROLL
	for (m = 0; m < t.m; m++)
CPU_UNROLL
		for (i = 0; i < n; i++)
			c[m * n + i] = v_mul(v_load(q[m].o + at +
			    i * V_LANES), v_set1(keep[m]));
	for (j = r.lo; j < r.hi; j++) {
		int tok = j % KERN_PAGE_TOK, page = j / KERN_PAGE_TOK;
		size_t line = (size_t)(t.bf16 ? tok / 2 : tok) * 64;
		size_t unit = (size_t)LOOP_UNIT * (t.bf16 ? 2 : 4);

CPU_UNROLL
		for (u = 0; u < t.u; u++) {
			size_t byte = (size_t)(r.unit + u) * unit + line;
			const char *v = (const char *)b->v[page] + byte;

			_mm_prefetch((const char *)b->v[page + CPU_AHEAD] +
			    byte, _MM_HINT_T1);
CPU_UNROLL
			for (i = 0; i < V_UNIT; i++) {
				if (t.bf16)
					w[u * V_UNIT + i] =
					    v_pairs(v + i * V_LANES * 4);
				else
					x[u * V_UNIT + i] = v_load(
					    (const float *)(const void *)
					    (v + i * V_LANES * 4));
			}
		}
		if (t.bf16 && tok % 2 == 0) {
CPU_UNROLL
			for (i = 0; i < n; i++)
				x[i] = v_even(w[i]);
			loop_fma(c, x, s, j, t);
			if (++j == r.hi)
				break;
		}
		if (t.bf16)
CPU_UNROLL
			for (i = 0; i < n; i++)
				x[i] = v_odd(w[i]);
		loop_fma(c, x, s, j, t);
	}
CPU_UNROLL
	for (m = 0; m < t.m; m++)
CPU_UNROLL
		for (i = 0; i < n; i++)
			v_store(q[m].o + at + i * V_LANES, c[m * n + i]);
}

/* All units, t.u at a time. */
V_INLINE void
loop_units(const float *const *s, const struct cpu_query *q,
    const struct cpu_keys *b, const float *keep, struct loop_range r,
    struct loop_tile t)
{
	const struct loop_tile one = { t.m, 1, t.bf16 };

	for (r.unit = 0; r.unit + t.u <= b->dv / 16; r.unit += t.u)
		loop_values(s, q, b, keep, r, t);
	for (; r.unit < b->dv / 16; r.unit++)
		loop_values(s, q, b, keep, r, one);
}

/* Query m alone takes in keys lo .. hi - 1; afterwards nothing is to be
 * rescaled. */
V_INLINE void
loop_alone(const float *s, const struct cpu_query *q, const struct cpu_keys *b,
    float *keep, int lo, int hi, bool bf16)
{
	const struct loop_range r = { lo, hi, 0 };
	const struct loop_tile t = { 1, 8 / V_UNIT, bf16 };

	if (lo >= hi)
		return;
	loop_units(&s, q, b, keep, r, t);
	*keep = 1;
}

/* ---- a tile ------------------------------------------------------------- */

/* Units side by side that fill the registers with m queries. */
#define LOOP_WIDE(m)	((m) == 1 ? 8 / V_UNIT : (m) <= 3 ? 4 / V_UNIT :	\
	V_UNIT == 1 ? 4 : 1)

/* m queries, each with some visible key in the block. */
V_INLINE void
loop_take(struct cpu_query *q, const struct cpu_keys *b, int m, bool bf16)
{
	const struct loop_tile wide = { m, LOOP_WIDE(m), bf16 };
	const struct loop_tile one = { m, 1, bf16 };
	_Alignas(64) float s[LOOP_QUERY][CPU_KEYS];
	const float *row[LOOP_QUERY];
	float keep[LOOP_QUERY];
	struct loop_range all = { 0, CPU_KEYS, 0 };
	int first = CPU_KEYS, last = 0, i, page;

	for (i = 0; i < m; i++) {
		first = q[i].lo < first ? q[i].lo : first;
		last = q[i].hi > last ? q[i].hi : last;
		all.lo = q[i].lo > all.lo ? q[i].lo : all.lo;
		all.hi = q[i].hi < all.hi ? q[i].hi : all.hi;
	}
	page = first / KERN_PAGE_TOK;
	for (; page + wide.u <= (last + KERN_PAGE_TOK - 1) / KERN_PAGE_TOK;
	    page += wide.u)
		loop_scores(s, q, b, page, wide);
	for (; page * KERN_PAGE_TOK < last; page++)
		loop_scores(s, q, b, page, one);
	if (all.hi < all.lo)
		all.hi = all.lo;
	for (i = 0; i < m; i++) {
		row[i] = s[i];
		keep[i] = loop_advance(s[i], &q[i]);
		loop_alone(s[i], &q[i], b, &keep[i], q[i].lo,
		    q[i].hi < all.lo ? q[i].hi : all.lo, bf16);
	}
	if (all.lo < all.hi)
		loop_units(row, q, b, keep, all, wide);
	for (i = 0; i < m; i++) {
		keep[i] = all.lo < all.hi ? 1 : keep[i];
		loop_alone(s[i], &q[i], b, &keep[i],
		    q[i].lo > all.hi ? q[i].lo : all.hi, q[i].hi, bf16);
	}
}

#define LOOP_CASES(bf16)						\
	switch (m) {							\
	case 1: loop_take(q, b, 1, bf16); break;			\
	case 2: loop_take(q, b, 2, bf16); break;			\
	case 3: loop_take(q, b, 3, bf16); break;			\
	case 4: loop_take(q, b, 4, bf16); break;			\
	case 5: loop_take(q, b, 5, bf16); break;			\
	default: loop_take(q, b, 6, bf16); break;			\
	}

/* See struct cpu_isa.  Runs of queries that see something are cut into tiles
 * of about the same size. */
V_INLINE void
kern_loop_attn(struct cpu_query *q, int n, const struct cpu_keys *b)
{
	int run, tiles, m;

	for (; n > 0; q += m, n -= m) {
		for (run = 0; run < n && q[run].lo < q[run].hi; run++)
			continue;
		m = 1;
		if (run == 0)
			continue;
		tiles = (run + LOOP_TILE - 1) / LOOP_TILE;
		m = (run + tiles - 1) / tiles;
		if (b->bf16)
			LOOP_CASES(true)
		else
			LOOP_CASES(false)
	}
}

/* ---- spans -------------------------------------------------------------- */

/* `to` takes in the part `from`, dv values: see struct cpu_isa. */
V_INLINE void
kern_loop_merge(struct cpu_query *to, const struct cpu_query *from, int dv)
{
	float max = from->max > to->max ? from->max : to->max, a = 1, b = 1;
	int i;

	if (to->max != max)
		a = v_exp1(to->max - max);
	if (from->max != max)
		b = v_exp1(from->max - max);
	to->max = max;
	to->sum = to->sum * a + from->sum * b;
	for (i = 0; i < dv; i += V_LANES)
		v_store(to->o + i, v_fma(v_load(from->o + i), v_set1(b),
		    v_mul(v_load(to->o + i), v_set1(a))));
}

#endif
