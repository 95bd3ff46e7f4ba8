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

/* M rows times NB blocks of 16 outputs; M, NB are constants after inlining,
 * and M * NB * 2 accumulators stay in registers. */
INLINE void
tile_f32(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	__m256 c[12][2];
	size_t stride = (size_t)k * 64;
	int b, r, i;

	for (i = 0; i < M * NB; i++)
		c[i][0] = c[i][1] = _mm256_setzero_ps();
	for (i = 0; i < k; i++) {
		for (b = 0; b < NB; b++) {
			const float *p = (const float *)(const void *)
			    (w + (size_t)b * stride + (size_t)i * 64);
			__m256 w0 = _mm256_load_ps(p);
			__m256 w1 = _mm256_load_ps(p + 8);

			_mm_prefetch((const char *)p + 1024, _MM_HINT_T0);
			for (r = 0; r < M; r++) {
				__m256 v = _mm256_broadcast_ss(
				    (const float *)x[r] + i);
				int j = b * M + r;

				c[j][0] = _mm256_fmadd_ps(w0, v, c[j][0]);
				c[j][1] = _mm256_fmadd_ps(w1, v, c[j][1]);
			}
		}
	}
	for (i = 0; i < M * NB; i++) {
		_mm256_store_ps(acc + i * 16, c[i][0]);
		_mm256_store_ps(acc + i * 16 + 8, c[i][1]);
	}
}

/* One k of a pair: half 0 is the even k, in the low 16 bits. */
INLINE __m256
half(__m256i pair, int odd)
{
	return _mm256_castsi256_ps(odd ?
	    _mm256_and_si256(pair, _mm256_set1_epi32((int)0xffff0000)) :
	    _mm256_slli_epi32(pair, 16));
}

INLINE void
tile_bf16(float *acc, const char *w, const void *const *x, int k, int M, int NB)
{
	__m256 c[12][2];
	size_t stride = ((size_t)k + 1) / 2 * 64;
	int b, r, i, odd;

	for (i = 0; i < M * NB; i++)
		c[i][0] = c[i][1] = _mm256_setzero_ps();
	for (i = 0; i < k; i += 2) {
		for (b = 0; b < NB; b++) {
			const __m256i *p = (const __m256i *)(const void *)
			    (w + (size_t)b * stride + (size_t)i * 32);
			__m256i p0 = _mm256_load_si256(p);
			__m256i p1 = _mm256_load_si256(p + 1);

			_mm_prefetch((const char *)p + 1024, _MM_HINT_T0);
			for (odd = 0; odd < 2; odd++) {
				__m256 w0 = half(p0, odd), w1 = half(p1, odd);

				if (i + odd == k)
					break;
				for (r = 0; r < M; r++) {
					__m256 v = _mm256_broadcast_ss(
					    (const float *)x[r] + i + odd);
					int j = b * M + r;

					c[j][0] = _mm256_fmadd_ps(w0, v,
					    c[j][0]);
					c[j][1] = _mm256_fmadd_ps(w1, v,
					    c[j][1]);
				}
			}
		}
	}
	for (i = 0; i < M * NB; i++) {
		_mm256_store_ps(acc + i * 16, c[i][0]);
		_mm256_store_ps(acc + i * 16 + 8, c[i][1]);
	}
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
