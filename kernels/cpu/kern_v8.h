/*
 * kern_v8.h - vectors of 8 lanes (AVX2 + FMA) for the loops that are written
 * once, in kern_loop_*.h, and compiled for each width.  See kern_v.h.
 */
#ifndef KERN_V8_H
#define KERN_V8_H

#include <immintrin.h>

#define V			__m256
#define VI			__m256i
#define V_LANES			8

#define v_zero()		_mm256_setzero_ps()
#define v_set1(f)		_mm256_set1_ps(f)
#define v_load(p)		_mm256_loadu_ps(p)
#define v_store(p, v)		_mm256_storeu_ps(p, v)
#define v_add(a, b)		_mm256_add_ps(a, b)
#define v_sub(a, b)		_mm256_sub_ps(a, b)
#define v_mul(a, b)		_mm256_mul_ps(a, b)
#define v_max(a, b)		_mm256_max_ps(a, b)
#define v_min(a, b)		_mm256_min_ps(a, b)
#define v_fma(a, b, c)		_mm256_fmadd_ps(a, b, c)	/* c + a b */
#define v_fnma(a, b, c)		_mm256_fnmadd_ps(a, b, c)	/* c - a b */
#define v_round(a)		_mm256_round_ps(a,			\
	_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
/* 2^n for whole n. */
#define v_pow2(n)		_mm256_castsi256_ps(_mm256_slli_epi32(	\
	_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))
/* p, but +0 where x < lo. */
#define v_clear_lt(p, x, lo)	_mm256_andnot_ps(			\
	_mm256_cmp_ps(x, lo, _CMP_LT_OQ), p)
/* Pairs of bf16, and their first and second halves as fp32. */
#define v_pairs(p)		_mm256_loadu_si256((const __m256i *)	\
	(const void *)(p))
#define v_even(w)		_mm256_castsi256_ps(_mm256_slli_epi32(w, 16))
#define v_odd(w)		_mm256_castsi256_ps(_mm256_and_si256(w,	\
	_mm256_set1_epi32((int)0xffff0000)))

#endif
