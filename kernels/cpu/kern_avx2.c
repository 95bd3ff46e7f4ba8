/*
 * kern_avx2.c - inner loops for AVX2 + FMA (+ F16C): products.
 *
 * The order of every sum: one fp32 accumulator per output, K ascending, fused
 * multiply-add; the same as kern_ref.c, so the two agree to the bit.  A bf16
 * weight becomes fp32 by a shift (even k) or a mask (odd k) in the register.
 */
#include <immintrin.h>

#include "cpu.h"
#include "kern_avx2.h"

#define INLINE	static inline __attribute__((always_inline))

#define MAX_ACC	24		/* 12 pairs of accumulators fit at most */
#define AHEAD	8192		/* bytes to prefetch ahead, all blocks together */

/* c += (lo, hi) * x[r][i] for M rows of fp32; block b's accumulators. */
INLINE void
fma_step(__m256 *c, __m256 lo, __m256 hi, const void *const *x, int i, int M)
{
	int r;

CPU_UNROLL
	for (r = 0; r < M; r++) {
		__m256 v = _mm256_broadcast_ss((const float *)x[r] + i);

		c[2 * r] = _mm256_fmadd_ps(lo, v, c[2 * r]);
		c[2 * r + 1] = _mm256_fmadd_ps(hi, v, c[2 * r + 1]);
	}
}

/* M rows times NB blocks of 16 outputs; both are constants after inlining,
 * and the 2 * M * NB accumulators stay in registers. */
INLINE void
tile_f32(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	__m256 c[MAX_ACC];
	size_t stride = (size_t)k * 64;
	int b, i;

CPU_UNROLL
	for (i = 0; i < 2 * M * NB; i++)
		c[i] = _mm256_setzero_ps();
	for (i = 0; i < k; i++, w += 64) {
CPU_UNROLL
		for (b = 0; b < NB; b++) {
			const char *p = w + (size_t)b * stride;

			_mm_prefetch(p + AHEAD / NB, _MM_HINT_T0);
			fma_step(c + 2 * M * b,
			    _mm256_load_ps((const float *)(const void *)p),
			    _mm256_load_ps((const float *)(const void *)p + 8),
			    x, i, M);
		}
	}
CPU_UNROLL
	for (i = 0; i < 2 * M * NB; i++)
		_mm256_store_ps(acc + i * 8, c[i]);
}

/* The even k of each pair, from the low halves; the odd k, from the high. */
INLINE __m256
even(__m256i pair)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
}

INLINE __m256
odd(__m256i pair)
{
	return _mm256_castsi256_ps(_mm256_and_si256(pair,
	    _mm256_set1_epi32((int)0xffff0000)));
}

INLINE void
tile_bf16(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	__m256 c[MAX_ACC];
	size_t stride = ((size_t)k + 1) / 2 * 64;
	int b, i;

CPU_UNROLL
	for (i = 0; i < 2 * M * NB; i++)
		c[i] = _mm256_setzero_ps();
	for (i = 0; i + 1 < k; i += 2, w += 64) {
CPU_UNROLL
		for (b = 0; b < NB; b++) {
			const char *p = w + (size_t)b * stride;
			const __m256i *v = (const __m256i *)(const void *)p;
			__m256i lo = _mm256_load_si256(v);
			__m256i hi = _mm256_load_si256(v + 1);

			_mm_prefetch(p + AHEAD / NB, _MM_HINT_T0);
			fma_step(c + 2 * M * b, even(lo), even(hi), x, i, M);
			fma_step(c + 2 * M * b, odd(lo), odd(hi), x, i + 1, M);
		}
	}
CPU_UNROLL
	for (b = 0; i < k && b < NB; b++) {
		const __m256i *v = (const __m256i *)(const void *)
		    (w + (size_t)b * stride);

		fma_step(c + 2 * M * b, even(_mm256_load_si256(v)),
		    even(_mm256_load_si256(v + 1)), x, i, M);
	}
CPU_UNROLL
	for (i = 0; i < 2 * M * NB; i++)
		_mm256_store_ps(acc + i * 8, c[i]);
}

/* Widths for which the accumulators fit: 1 x 4, 2 x 2, 3 x 2, then 1 block. */
#define TILE_CASES(F)							\
	switch (m * 8 + nb) {						\
	case 1 * 8 + 4: F(acc, w, x, k, 1, 4); break;			\
	case 1 * 8 + 2: F(acc, w, x, k, 1, 2); break;			\
	case 1 * 8 + 1: F(acc, w, x, k, 1, 1); break;			\
	case 2 * 8 + 2: F(acc, w, x, k, 2, 2); break;			\
	case 2 * 8 + 1: F(acc, w, x, k, 2, 1); break;			\
	case 3 * 8 + 2: F(acc, w, x, k, 3, 2); break;			\
	case 3 * 8 + 1: F(acc, w, x, k, 3, 1); break;			\
	case 4 * 8 + 1: F(acc, w, x, k, 4, 1); break;			\
	case 5 * 8 + 1: F(acc, w, x, k, 5, 1); break;			\
	default: F(acc, w, x, k, 6, 1); break;				\
	}

/* How many of nb blocks to take at once with m rows. */
static int
width(int m, int nb)
{
	if (m == 1 && nb >= 4)
		return 4;
	return m <= 3 && nb >= 2 ? 2 : 1;
}

static void
step_f32(float *acc, const char *w, const void *const *x, int k, int m, int nb)
{
	TILE_CASES(tile_f32)
}

static void
step_bf16(float *acc, const char *w, const void *const *x, int k, int m,
    int nb)
{
	TILE_CASES(tile_bf16)
}

static void
f32(float *acc, const void *w, const void *const *x, int m, int nb, int k)
{
	int b, n;

	for (b = 0; b < nb; b += n) {
		n = width(m, nb - b);
		step_f32(acc + b * m * 16, (const char *)w +
		    (size_t)b * (size_t)k * 64, x, k, m, n);
	}
}

static void
bf16(float *acc, const void *w, const void *const *x, int m, int nb, int k)
{
	int b, n;

	for (b = 0; b < nb; b += n) {
		n = width(m, nb - b);
		step_bf16(acc + b * m * 16, (const char *)w +
		    (size_t)b * (((size_t)k + 1) / 2) * 64, x, k, m, n);
	}
}

static const struct cpu_isa isa = {
	.name = "avx2",
	.nb_few = 4,
	.nb_many = 1,
	.f32 = f32,
	.bf16 = bf16,
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
kern_avx2_isa(void)
{
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return NULL;
	return &isa;
}
