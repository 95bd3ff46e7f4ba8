/*
 * kern_v.h - what the loops of kern_loop_*.h share whatever the width of their
 * vectors: units of 16 values, as two vectors or as one, exp, and the trees of
 * reductions.  Lane i of a unit goes through the same operations at any width,
 * so the widths have the same bits.
 *
 * Vectors are those of a kern_vN.h that was included before; 8 lanes else.
 */
#ifndef KERN_V_H
#define KERN_V_H

#ifndef V_LANES
#include "kern_v8.h"
#endif

#define V_UNIT		(16 / V_LANES)	/* vectors of a unit */
#define V_INLINE	static inline __attribute__((always_inline, unused))

/*
 * exp(x): x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its Taylor polynomial of
 * degree 7 (remainder below 6e-9 of the value), 2^n through the exponent.
 * Within 2 units of the last place; exp(0) is exactly 1; below -87.3 gives 0,
 * above 88.3 stays at about 2.4e38; NaN stays NaN.
 */
V_INLINE V
v_exp(V x)
{
	const V lo = v_set1(-87.3f), hi = v_set1(88.3f);
	V n, r, p, y = x;

	/* Operand order: min and max return the second when one is a NaN. */
	x = v_max(lo, v_min(hi, x));
	n = v_round(v_mul(x, v_set1(1.44269504f)));
	/* ln 2 in two parts, the first with few bits: n * it is exact. */
	r = v_fnma(n, v_set1(0.693359375f), x);
	r = v_fnma(n, v_set1(-2.12194440e-4f), r);
	p = v_set1(1.0f / 5040);
	p = v_fma(p, r, v_set1(1.0f / 720));
	p = v_fma(p, r, v_set1(1.0f / 120));
	p = v_fma(p, r, v_set1(1.0f / 24));
	p = v_fma(p, r, v_set1(1.0f / 6));
	p = v_fma(p, r, v_set1(0.5f));
	p = v_fma(p, r, v_set1(1));
	p = v_fma(p, r, v_set1(1));
	return v_clear_lt(v_mul(p, v_pow2(n)), y, lo);
}

/* One value through v_exp. */
V_INLINE float
v_exp1(float x)
{
	float t[V_LANES];
	V e = v_exp(v_set1(x));

	v_store(t, e);
	return t[0];
}

/* The sum of a unit's values, halves first, in one fixed tree. */
V_INLINE float
v_unit_sum(const V *u)
{
	float t[16];
	__m256 h;
	__m128 s;

	v_store(t, u[0]);
	v_store(t + 16 - V_LANES, u[V_UNIT - 1]);
	h = _mm256_add_ps(_mm256_loadu_ps(t), _mm256_loadu_ps(t + 8));
	s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	s = _mm_add_ss(s, _mm_movehdup_ps(s));
	return _mm_cvtss_f32(s);
}

/* The largest of a unit's values, by the same tree. */
V_INLINE float
v_unit_max(const V *u)
{
	float t[16];
	__m256 h;
	__m128 s;

	v_store(t, u[0]);
	v_store(t + 16 - V_LANES, u[V_UNIT - 1]);
	h = _mm256_max_ps(_mm256_loadu_ps(t), _mm256_loadu_ps(t + 8));
	s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	s = _mm_max_ss(s, _mm_movehdup_ps(s));
	return _mm_cvtss_f32(s);
}

#endif
