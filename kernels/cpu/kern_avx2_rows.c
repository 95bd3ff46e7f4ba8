/*
 * kern_avx2_rows.c - inner loops for AVX2 + FMA: values of one row.
 *
 * Reductions: 16 partial sums (two vectors), value i in partial i % 16, then
 * one fixed tree.  Everything else is value by value.
 */
#include <math.h>

#include "kern_avx2.h"
#include "kern_avx2_lane.h"
#include "kern_v.h"
#include "kern_num.h"

void
kern_avx2_rows_widen(float *dst, const uint16_t *src, size_t n)
{
	size_t i;

	for (i = 0; i + 8 <= n; i += 8)
		_mm256_storeu_ps(dst + i, _mm256_castsi256_ps(_mm256_slli_epi32(
		    _mm256_cvtepu16_epi32(_mm_loadu_si128(
		    (const __m128i *)(const void *)(src + i))), 16)));
	for (; i < n; i++)
		dst[i] = kern_num_from_bf16(src[i]);
}

/* kern_num_to_bf16 for 8 values, each result in its lane's low half. */
static inline __m256i
narrow8(__m256 v)
{
	__m256i u = _mm256_castps_si256(v), odd, nan;
	__m256i round = _mm256_set1_epi32(0x7fff);

	odd = _mm256_and_si256(_mm256_srli_epi32(u, 16),
	    _mm256_set1_epi32(1));
	nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
	u = _mm256_blendv_epi8(
	    _mm256_add_epi32(u, _mm256_add_epi32(round, odd)),
	    _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
	return _mm256_srli_epi32(u, 16);
}

void
kern_avx2_rows_narrow(uint16_t *dst, const float *src, size_t n)
{
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		__m256i h = narrow8(_mm256_loadu_ps(src + i));
		__m128i p = _mm_packus_epi32(_mm256_castsi256_si128(h),
		    _mm256_extracti128_si256(h, 1));

		_mm_storeu_si128((__m128i *)(void *)(dst + i), p);
	}
	for (; i < n; i++)
		dst[i] = kern_num_to_bf16(src[i]);
}

/* ---- glu --------------------------------------------------------------- */

/* z * sigmoid(s * z) */
static inline __m256
gated(__m256 z, __m256 sz)
{
	const __m256 one = _mm256_set1_ps(1);
	__m256 e = v_exp(_mm256_xor_ps(sz, _mm256_set1_ps(-0.0f)));

	return _mm256_div_ps(z, _mm256_add_ps(one, e));
}

static inline __m256
glu8(__m256 g, __m256 u, enum kern_glu glu)
{
	__m256 t;

	switch (glu) {
	case KERN_SILU:
		return _mm256_mul_ps(gated(g, g), u);
	case KERN_GELU:
		/* 0.5 (1 + tanh(t)) = sigmoid(2t) */
		t = _mm256_mul_ps(_mm256_mul_ps(g, g), g);
		t = _mm256_fmadd_ps(t, _mm256_set1_ps(0.044715f), g);
		t = _mm256_mul_ps(t, _mm256_set1_ps(1.5957691216f));
		return _mm256_mul_ps(gated(g, t), u);
	case KERN_CLAMP:
		g = _mm256_min_ps(_mm256_set1_ps(7), g);
		u = _mm256_max_ps(_mm256_set1_ps(-7),
		    _mm256_min_ps(_mm256_set1_ps(7), u));
		t = _mm256_mul_ps(g, _mm256_set1_ps(1.702f));
		return _mm256_mul_ps(_mm256_add_ps(u, _mm256_set1_ps(1)),
		    gated(g, t));
	}
	return g;
}

void
kern_avx2_rows_glu(float *acc, int n, enum kern_glu glu)
{
	int i;

	for (i = 0; i < n; i++, acc += CPU_LANES)
		_mm256_storeu_ps(acc, glu8(_mm256_loadu_ps(acc),
		    _mm256_loadu_ps(acc + 8), glu));
}

/* ---- norms ------------------------------------------------------------- */

float
kern_avx2_rows_sum(const float *x, int n)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0;
	int i;

	for (i = 0; i < n; i += 16) {
		s0 = _mm256_add_ps(s0, kern_avx2_load(x + i, n - i));
		if (n - i > 8)
			s1 = _mm256_add_ps(s1,
			    kern_avx2_load(x + i + 8, n - i - 8));
	}
	return kern_avx2_hsum(_mm256_add_ps(s0, s1));
}

/* (x[0..8) - mean)^2 added to s; lanes from n on count as nothing. */
static inline __m256
add_sq(__m256 s, const float *x, int n, __m256 mean)
{
	__m256 d = _mm256_sub_ps(kern_avx2_load(x, n), mean);

	if (n < 8)
		d = _mm256_and_ps(d, _mm256_castsi256_ps(kern_avx2_mask(n)));
	return _mm256_fmadd_ps(d, d, s);
}

float
kern_avx2_rows_sum_sq(const float *x, int n, float mean)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, m = _mm256_set1_ps(mean);
	int i;

	for (i = 0; i < n; i += 16) {
		s0 = add_sq(s0, x + i, n - i, m);
		if (n - i > 8)
			s1 = add_sq(s1, x + i + 8, n - i - 8, m);
	}
	return kern_avx2_hsum(_mm256_add_ps(s0, s1));
}

void
kern_avx2_rows_affine(float *y, const float *x, int n,
    const struct cpu_affine *a)
{
	__m256 mean = _mm256_set1_ps(a->mean), inv = _mm256_set1_ps(a->inv), v;
	int i;

	for (i = 0; i < n; i += 8) {
		v = _mm256_sub_ps(kern_avx2_load(x + i, n - i), mean);
		v = _mm256_mul_ps(v, inv);
		if (a->w != NULL)
			v = _mm256_mul_ps(v, kern_avx2_load(a->w + i, n - i));
		if (a->b != NULL)
			v = _mm256_add_ps(v, kern_avx2_load(a->b + i, n - i));
		kern_avx2_store(y + i, v, n - i);
	}
}

void
kern_avx2_rows_axpy(float *y, const float *x, int n, float alpha)
{
	__m256 a = _mm256_set1_ps(alpha);
	int i;

	for (i = 0; i < n; i += 8)
		kern_avx2_store(y + i, _mm256_fmadd_ps(a,
		    kern_avx2_load(x + i, n - i),
		    kern_avx2_load(y + i, n - i)), n - i);
}

/* ---- logits ------------------------------------------------------------ */

float
kern_avx2_rows_max(const float *x, int n, bool *nan)
{
	__m256 m = _mm256_set1_ps(x[0]), bad = _mm256_setzero_ps(), v;
	float lane[8], best;
	int i;

	for (i = 0; i + 8 <= n; i += 8) {
		v = _mm256_loadu_ps(x + i);
		m = _mm256_max_ps(m, v);
		bad = _mm256_or_ps(bad, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
	}
	*nan |= _mm256_movemask_ps(bad) != 0;
	_mm256_storeu_ps(lane, m);
	best = lane[0];
	for (; i < n; i++) {
		*nan |= isnan(x[i]);
		best = x[i] > best ? x[i] : best;
	}
	for (i = 1; i < 8; i++)
		best = lane[i] > best ? lane[i] : best;
	return best;
}

double
kern_avx2_rows_exp_sum(const float *x, int n, float max, float mul)
{
	__m256d s0 = _mm256_setzero_pd(), s1 = s0;
	__m256 e;
	double lane[4];
	int i;

	for (i = 0; i < n; i += 8) {
		e = v_exp(_mm256_mul_ps(_mm256_sub_ps(
		    kern_avx2_load(x + i, n - i), _mm256_set1_ps(max)),
		    _mm256_set1_ps(mul)));
		if (n - i < 8)
			e = _mm256_and_ps(e, _mm256_castsi256_ps(
			    kern_avx2_mask(n - i)));
		s0 = _mm256_add_pd(s0,
		    _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
		s1 = _mm256_add_pd(s1,
		    _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
	}
	_mm256_storeu_pd(lane, _mm256_add_pd(s0, s1));
	return lane[0] + lane[1] + (lane[2] + lane[3]);
}
