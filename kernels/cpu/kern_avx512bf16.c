/*
 * kern_avx512bf16.c - inner loops for AVX-512 with BF16 (vdpbf16ps): products.
 *
 * fp32 rows: one fp32 accumulator per output, k ascending, fused multiply-add:
 * the bits of kern_ref.c.  bf16 rows with bf16 weights: vdpbf16ps per pair of
 * k, pairs ascending; within a pair the instruction adds the product of the
 * odd k, then that of the even one, rounding to nearest each time and taking
 * denormals as zero.  An odd last k is a pair with zero.
 *
 * Values of rows and attention go through the AVX2 loops, which every
 * processor with this instruction has.  The tests compile this file over a
 * plain-C imitation of the few intrinsics used here, so keep them few.
 */
#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "kern_avx2.h"

#define INLINE	static inline __attribute__((always_inline))
#define MAX_ACC	24		/* accumulators of a tile: 6 rows x 4 blocks */
#define AHEAD	8192		/* bytes to prefetch ahead, all blocks together */

/* c += v[b] * x[r][i] for M rows of fp32 and NB blocks. */
INLINE void
fma_step(__m512 *c, const __m512 *v, const void *const *x, int i, int M, int NB)
{
	int b, r;

CPU_UNROLL
	for (r = 0; r < M; r++) {
		__m512 xv = _mm512_set1_ps(((const float *)x[r])[i]);

CPU_UNROLL
		for (b = 0; b < NB; b++)
			c[b * M + r] = _mm512_fmadd_ps(v[b], xv,
			    c[b * M + r]);
	}
}

/* M rows times NB blocks of 16 outputs; both are constants after inlining,
 * and the M * NB accumulators stay in registers. */
INLINE void
tile_f32(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	__m512 c[MAX_ACC], v[4];
	size_t stride = (size_t)k * 64;
	int b, i;

CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		c[i] = _mm512_setzero_ps();
	for (i = 0; i < k; i++, w += 64) {
CPU_UNROLL
		for (b = 0; b < NB; b++) {
			v[b] = _mm512_loadu_ps(w + (size_t)b * stride);
			_mm_prefetch(w + (size_t)b * stride + AHEAD / NB,
			    _MM_HINT_T0);
		}
		fma_step(c, v, x, i, M, NB);
	}
CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		_mm512_storeu_ps(acc + i * 16, c[i]);
}

/* bf16 weights, fp32 rows: the even k of a pair is the low half. */
INLINE void
tile_bf16(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	const __m512i high = _mm512_set1_epi32((int)0xffff0000);
	__m512 c[MAX_ACC], even[4], odd[4];
	size_t stride = ((size_t)k + 1) / 2 * 64;
	int b, i;

CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		c[i] = _mm512_setzero_ps();
	for (i = 0; i < k; i += 2, w += 64) {
CPU_UNROLL
		for (b = 0; b < NB; b++) {
			__m512i p = _mm512_loadu_si512(w + (size_t)b * stride);

			even[b] = _mm512_castsi512_ps(
			    _mm512_slli_epi32(p, 16));
			odd[b] = _mm512_castsi512_ps(
			    _mm512_and_si512(p, high));
			_mm_prefetch(w + (size_t)b * stride + AHEAD / NB,
			    _MM_HINT_T0);
		}
		fma_step(c, even, x, i, M, NB);
		if (i + 1 < k)
			fma_step(c, odd, x, i + 1, M, NB);
	}
CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		_mm512_storeu_ps(acc + i * 16, c[i]);
}

/* One pair of k; x[r] holds the row's two bf16 values. */
INLINE void
pair_step(__m512 *c, const char *w, size_t stride, const int *x, int M, int NB)
{
	__m512i v[4];
	int b, r;

CPU_UNROLL
	for (b = 0; b < NB; b++) {
		v[b] = _mm512_loadu_si512(w + (size_t)b * stride);
		_mm_prefetch(w + (size_t)b * stride + AHEAD / NB, _MM_HINT_T0);
	}
CPU_UNROLL
	for (r = 0; r < M; r++) {
		__m512i xv = _mm512_set1_epi32(x[r]);

CPU_UNROLL
		for (b = 0; b < NB; b++)
			c[b * M + r] = _mm512_dpbf16_ps(c[b * M + r],
			    (__m512bh)v[b], (__m512bh)xv);
	}
}

INLINE void
tile_dp(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	__m512 c[MAX_ACC];
	size_t stride = ((size_t)k + 1) / 2 * 64;
	int pair[CPU_ROWS] = { 0 }, i, r;

CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		c[i] = _mm512_setzero_ps();
	for (i = 0; i + 1 < k; i += 2, w += 64) {
CPU_UNROLL
		for (r = 0; r < M; r++)
			memcpy(&pair[r], (const uint16_t *)x[r] + i, 4);
		pair_step(c, w, stride, pair, M, NB);
	}
	if (i < k) {	/* never read beyond the row's end */
CPU_UNROLL
		for (r = 0; r < M; r++)
			pair[r] = ((const uint16_t *)x[r])[i];
		pair_step(c, w, stride, pair, M, NB);
	}
CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		_mm512_storeu_ps(acc + i * 16, c[i]);
}

#define ROW_CASES(F, NB)						\
	switch (m) {							\
	case 1: F(acc, w, x, k, 1, NB); break;				\
	case 2: F(acc, w, x, k, 2, NB); break;				\
	case 3: F(acc, w, x, k, 3, NB); break;				\
	case 4: F(acc, w, x, k, 4, NB); break;				\
	case 5: F(acc, w, x, k, 5, NB); break;				\
	default: F(acc, w, x, k, 6, NB); break;				\
	}

/* Define `name` (a cpu_tile_fn): 4 blocks at a time, then 2, then 1. */
#define TILE_FN(name, F, K_BYTES)					\
static void								\
name##_step(float *acc, const char *w, const void *const *x, int k, int m, \
    int nb)								\
{									\
	if (nb == 4)							\
		ROW_CASES(F, 4)						\
	else if (nb == 2)						\
		ROW_CASES(F, 2)						\
	else								\
		ROW_CASES(F, 1)						\
}									\
									\
static void								\
name(float *acc, const void *w, const void *const *x, int m, int nb, int k) \
{									\
	int b, n;							\
									\
	for (b = 0; b < nb; b += n) {					\
		n = nb - b >= 4 ? 4 : nb - b >= 2 ? 2 : 1;		\
		name##_step(acc + b * m * 16, (const char *)w +		\
		    (size_t)b * (K_BYTES), x, k, m, n);			\
	}								\
}

TILE_FN(mul_f32, tile_f32, (size_t)k * 64)
TILE_FN(mul_bf16, tile_bf16, ((size_t)k + 1) / 2 * 64)
TILE_FN(mul_dp, tile_dp, ((size_t)k + 1) / 2 * 64)

static const struct cpu_isa avx512bf16 = {
	.name = "avx512bf16",
	.nb_few = 4,
	.nb_many = 4,
	.f32 = mul_f32,
	.bf16 = mul_bf16,
	.dp = mul_dp,
	.widen = kern_avx2_rows_widen,
	.narrow = kern_avx2_rows_narrow,
	.glu = kern_avx2_rows_glu,
	.sum_sq = kern_avx2_rows_sum_sq,
	.sum = kern_avx2_rows_sum,
	.affine = kern_avx2_rows_affine,
	.axpy = kern_avx2_rows_axpy,
	.attn = kern_avx2_attn,
	.attn_merge = kern_avx2_attn_merge,
	.max = kern_avx2_rows_max,
	.exp_sum = kern_avx2_rows_exp_sum,
};

const struct cpu_isa *
kern_avx512bf16_isa(void)
{
	if (!__builtin_cpu_supports("avx512bf16") ||
	    !__builtin_cpu_supports("avx512f") ||
	    !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512dq"))
		return NULL;
	return &avx512bf16;
}
