/*
 * kern_v16.h - vectors of 16 lanes (AVX-512) for the loops that are written
 * once, in kern_loop_*.h, and compiled for each width.  Include it before them.
 * See kern_v.h; the tests imitate these intrinsics, so keep them few.
 */
#ifndef KERN_V16_H
#define KERN_V16_H

#include <immintrin.h>

#define V			__m512
#define VI			__m512i
#define V_LANES			16

#define v_zero()		_mm512_setzero_ps()
#define v_set1(f)		_mm512_set1_ps(f)
#define v_load(p)		_mm512_loadu_ps(p)
#define v_store(p, v)		_mm512_storeu_ps(p, v)
#define v_add(a, b)		_mm512_add_ps(a, b)
#define v_sub(a, b)		_mm512_sub_ps(a, b)
#define v_mul(a, b)		_mm512_mul_ps(a, b)
#define v_max(a, b)		_mm512_max_ps(a, b)
#define v_min(a, b)		_mm512_min_ps(a, b)
#define v_fma(a, b, c)		_mm512_fmadd_ps(a, b, c)	/* c + a b */
#define v_fnma(a, b, c)		_mm512_fnmadd_ps(a, b, c)	/* c - a b */
#define v_round(a)		_mm512_roundscale_ps(a,			\
	_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
/* 2^n for whole n. */
#define v_pow2(n)		_mm512_castsi512_ps(_mm512_slli_epi32(	\
	_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23))
/* p, but +0 where x < lo. */
#define v_clear_lt(p, x, lo)	_mm512_mask_mov_ps(p,			\
	_mm512_cmp_ps_mask(x, lo, _CMP_LT_OQ), _mm512_setzero_ps())
/* Pairs of bf16, and their first and second halves as fp32. */
#define v_pairs(p)		_mm512_loadu_si512(p)
#define v_even(w)		_mm512_castsi512_ps(_mm512_slli_epi32(w, 16))
#define v_odd(w)		_mm512_castsi512_ps(_mm512_and_si512(w,	\
	_mm512_set1_epi32((int)0xffff0000)))

#endif
