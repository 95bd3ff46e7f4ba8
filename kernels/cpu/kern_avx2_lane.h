/*
 * kern_avx2_lane.h - what the AVX2 files inline: loads and stores of short
 * ends, and the sum of lanes.
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

#endif
