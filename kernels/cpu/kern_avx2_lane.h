/*
 * kern_avx2_lane.h - what the AVX2 files inline: loads and stores of short
 * ends, and exp.
 */
#ifndef MOE_KERN_AVX2_LANE_H
#define MOE_KERN_AVX2_LANE_H

#include <immintrin.h>

/* The header is complete in itself: no flags needed to compile it. */
#define KERN_AVX2_LANE	static inline __attribute__((target("avx2,fma")))

/* All ones in lanes < n. */
KERN_AVX2_LANE __m256i
kern_avx2_mask(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n),
	    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first min(n, 8) values at p, zeros after. */
KERN_AVX2_LANE __m256
kern_avx2_load(const float *p, int n)
{
	return n >= 8 ? _mm256_loadu_ps(p) :
	    _mm256_maskload_ps(p, kern_avx2_mask(n));
}

KERN_AVX2_LANE void
kern_avx2_store(float *p, __m256 v, int n)
{
	if (n >= 8)
		_mm256_storeu_ps(p, v);
	else
		_mm256_maskstore_ps(p, kern_avx2_mask(n), v);
}

/* Sum of the lanes, in one fixed tree. */
KERN_AVX2_LANE float
kern_avx2_hsum(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v),
	    _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	s = _mm_add_ss(s, _mm_movehdup_ps(s));
	return _mm_cvtss_f32(s);
}

/*
 * exp(x): x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its Taylor polynomial of
 * degree 7 (remainder below 6e-9 of the value), 2^n through the exponent.
 * Within 2 units of the last place; exp(0) is exactly 1; below -87.3 gives 0,
 * above 88.3 stays at about 2.4e38; NaN stays NaN.
 */
KERN_AVX2_LANE __m256
kern_avx2_exp(__m256 x)
{
	const __m256 lo = _mm256_set1_ps(-87.3f), hi = _mm256_set1_ps(88.3f);
	__m256 tiny = _mm256_cmp_ps(x, lo, _CMP_LT_OQ), n, r, p;
	__m256i e;

	/* Operand order: min and max return the second when one is a NaN. */
	x = _mm256_max_ps(lo, _mm256_min_ps(hi, x));
	n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
	    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	/* ln 2 in two parts, the first with few bits: n * it is exact. */
	r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
	r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
	p = _mm256_set1_ps(1.0f / 5040);
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
	e = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n),
	    _mm256_set1_epi32(127)), 23);
	p = _mm256_mul_ps(p, _mm256_castsi256_ps(e));
	return _mm256_andnot_ps(tiny, p);
}

#endif
