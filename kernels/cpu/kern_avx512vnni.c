/*
 * kern_avx512vnni.c - inner loop for AVX-512 with VNNI: int8 weights
 * (cpu_q8.h), four products and their sum per lane and instruction.
 *
 * As in kern_avx512bf16.c, the tests compile this over a plain-C imitation of
 * the intrinsics used here.
 */
#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "kern_avx2.h"

#define INLINE	static inline __attribute__((always_inline))
#define MAX_ACC	24		/* accumulators of a tile: 6 rows x 4 blocks */
#define AHEAD	8192		/* bytes to prefetch ahead, all blocks together */

/* The 16 scales of block b; w: the 16 outputs. */
INLINE __m512
scales(const char *w, size_t b)
{
	__m512i both = _mm512_loadu_si512(w + cpu_q8_scale_at(b));

	if (b % 2 != 0)
		return _mm512_castsi512_ps(_mm512_and_si512(both,
		    _mm512_set1_epi32((int)0xffff0000)));
	return _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
}

/* Four k: c += w * x[r][b].v[i..i + 3], for M rows and NB blocks of outputs. */
INLINE void
step(__m512i *c, const char *w, size_t stride,
    const struct cpu_q8_x *const *x, size_t b, int i, int M, int NB)
{
	__m512i v[4];
	int j, r, four;

CPU_UNROLL
	for (j = 0; j < NB; j++) {
		v[j] = _mm512_loadu_si512(w + (size_t)j * stride);
		_mm_prefetch(w + (size_t)j * stride + AHEAD / NB, _MM_HINT_T0);
	}
CPU_UNROLL
	for (r = 0; r < M; r++) {
		memcpy(&four, x[r][b].v + i, sizeof(four));
CPU_UNROLL
		for (j = 0; j < NB; j++)
			c[j * M + r] = _mm512_dpbusd_epi32(c[j * M + r], v[j],
			    _mm512_set1_epi32(four));
	}
}

/* M rows times NB blocks of 16 outputs, both constants after inlining. */
INLINE void
tile(float *acc, const char *w, const struct cpu_q8_x *const *x, int k, int M,
    int NB)
{
	__m512i c[MAX_ACC];
	__m512 sum[MAX_ACC], s;
	size_t stride = cpu_q8_bytes(k), b;
	int i, j, r;

CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		sum[i] = _mm512_setzero_ps();
	for (b = 0; b < cpu_q8_blocks(k); b++) {
CPU_UNROLL
		for (i = 0; i < M * NB; i++)
			c[i] = _mm512_set1_epi32(x[i % M][b].bias);
CPU_ROLL
		for (i = 0; i < CPU_Q8; i += 4)
			step(c, w + cpu_q8_at(b) + i * 16, stride, x, b, i, M,
			    NB);
CPU_UNROLL
		for (j = 0; j < NB; j++) {
			s = scales(w + (size_t)j * stride, b);
CPU_UNROLL
			for (r = 0; r < M; r++)
				sum[j * M + r] = _mm512_fmadd_ps(
				    _mm512_mul_ps(s,
				    _mm512_set1_ps(x[r][b].scale)),
				    _mm512_cvtepi32_ps(c[j * M + r]),
				    sum[j * M + r]);
		}
	}
CPU_UNROLL
	for (i = 0; i < M * NB; i++)
		_mm512_storeu_ps(acc + i * 16, sum[i]);
}

#define Q8_CASES(NB)							\
	switch (m) {							\
	case 1: tile(acc, w, x, k, 1, NB); break;			\
	case 2: tile(acc, w, x, k, 2, NB); break;			\
	case 3: tile(acc, w, x, k, 3, NB); break;			\
	case 4: tile(acc, w, x, k, 4, NB); break;			\
	case 5: tile(acc, w, x, k, 5, NB); break;			\
	default: tile(acc, w, x, k, 6, NB); break;			\
	}

static void
some_blocks(float *acc, const char *w, const struct cpu_q8_x *const *x, int k,
    int m, int nb)
{
	if (nb == 4)
		Q8_CASES(4)
	else if (nb == 2)
		Q8_CASES(2)
	else
		Q8_CASES(1)
}

static void
mul(float *acc, const void *w, const void *const *x, int m, int nb, int k)
{
	const struct cpu_q8_x *row[CPU_ROWS];
	int b, n, r;

	for (r = 0; r < m; r++)
		row[r] = x[r];
	for (b = 0; b < nb; b += n) {
		n = nb - b >= 4 ? 4 : nb - b >= 2 ? 2 : 1;
		some_blocks(acc + b * m * 16, (const char *)w +
		    (size_t)b * cpu_q8_bytes(k), row, k, m, n);
	}
}

static const struct cpu_q8 q8 = { mul, kern_avx2_q8_quant8,
    sizeof(struct cpu_q8_x) };

const struct cpu_q8 *
kern_avx512vnni_q8(void)
{
	if (!__builtin_cpu_supports("avx512vnni") ||
	    !__builtin_cpu_supports("avx512f") ||
	    !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512dq"))
		return NULL;
	return &q8;
}
