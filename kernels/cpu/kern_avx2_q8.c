/*
 * kern_avx2_q8.c - inner loops for AVX2 + FMA: int8 weights (cpu_q8.h).
 *
 * Bytes of weights become 16 bits in the register, the even k of each four by
 * a mask and the odd ones by a shift, and vpmaddwd multiplies and adds pairs:
 * exact, where vpmaddubsw would saturate at 255 * 127 * 2.
 */
#include <immintrin.h>
#include <string.h>

#include "kern_avx2.h"
#include "kern_num.h"

#define INLINE	static inline __attribute__((always_inline))

#define AHEAD	8192		/* bytes to prefetch ahead */

/* ---- rows ---------------------------------------------------------------- */

/* The largest of 8 lanes. */
INLINE int32_t
max8(__m256i v)
{
	__m128i m = _mm_max_epi32(_mm256_castsi256_si128(v),
	    _mm256_extracti128_si256(v, 1));

	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
	return _mm_cvtsi128_si32(m);
}

INLINE int32_t
sum8(__m256i v)
{
	__m128i m = _mm_add_epi32(_mm256_castsi256_si128(v),
	    _mm256_extracti128_si256(v, 1));

	m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
	m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1));
	return _mm_cvtsi128_si32(m);
}

/* 32 values: their scale, and as integers in order in four vectors. */
INLINE float
quant_block(__m256i q[4], const float *src)
{
	const __m256i sign = _mm256_set1_epi32(0x7fffffff);
	__m256 v[4];
	__m256i max = _mm256_setzero_si256();
	int32_t top;
	float mul;
	int i;

CPU_UNROLL
	for (i = 0; i < 4; i++) {
		v[i] = _mm256_loadu_ps(src + 8 * i);
		max = _mm256_max_epi32(max, _mm256_and_si256(sign,
		    _mm256_castps_si256(v[i])));
	}
	top = max8(max);
	if (top < CPU_Q8_TINY || top >= CPU_Q8_NOT_FINITE) {
CPU_UNROLL
		for (i = 0; i < 4; i++)
			q[i] = _mm256_setzero_si256();
		return top < CPU_Q8_TINY ? 0 : kern_num_float(CPU_Q8_NAN);
	}
	mul = 127 / kern_num_float((uint32_t)top);
CPU_UNROLL
	for (i = 0; i < 4; i++)
		q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i],
		    _mm256_set1_ps(mul)));
	return kern_num_float((uint32_t)top) / 127;
}

INLINE int32_t
bias_of(const __m256i q[4])
{
	return -128 * sum8(_mm256_add_epi32(_mm256_add_epi32(q[0], q[1]),
	    _mm256_add_epi32(q[2], q[3])));
}

/* 16 values as 16 bits, in order. */
INLINE __m256i
pack16(__m256i a, __m256i b)
{
	return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

/* The n values at src and zeros after. */
INLINE const float *
whole_block(float room[CPU_Q8], const float *src, size_t n)
{
	if (n >= CPU_Q8)
		return src;
	memset(room, 0, CPU_Q8 * sizeof(*room));
	memcpy(room, src, n * sizeof(*room));
	return room;
}

/* Into blocks of struct cpu_q8_x16. */
static void
quant16(void *dst, const float *src, size_t n)
{
	/* Of each four 16-bit values: first, third, second, fourth. */
	const __m256i mix = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12,
	    13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11,
	    14, 15);
	struct cpu_q8_x16 *x = dst;
	float room[CPU_Q8];
	__m256i q[4];
	size_t i;

	for (i = 0; i < n; i += CPU_Q8, x++) {
		x->scale = quant_block(q, whole_block(room, src + i, n - i));
		x->bias = bias_of(q);
		_mm256_storeu_si256((__m256i *)(void *)x->v,
		    _mm256_shuffle_epi8(pack16(q[0], q[1]), mix));
		_mm256_storeu_si256((__m256i *)(void *)(x->v + 16),
		    _mm256_shuffle_epi8(pack16(q[2], q[3]), mix));
	}
}

void
kern_avx2_q8_quant8(void *dst, const float *src, size_t n)
{
	struct cpu_q8_x *x = dst;
	float room[CPU_Q8];
	__m256i q[4];
	size_t i;

	for (i = 0; i < n; i += CPU_Q8, x++) {
		x->scale = quant_block(q, whole_block(room, src + i, n - i));
		x->bias = bias_of(q);
		_mm256_storeu_si256((__m256i *)(void *)x->v,
		    _mm256_permute4x64_epi64(_mm256_packs_epi16(
		    pack16(q[0], q[1]), pack16(q[2], q[3])), 0xd8));
	}
}

/* ---- products ------------------------------------------------------------ */

/* Both halves of the 16 scales of block b; w: the 16 outputs. */
INLINE void
scales(__m256 s[2], const char *w, size_t b)
{
	const char *p = w + cpu_q8_scale_at(b);
	int i;

CPU_UNROLL
	for (i = 0; i < 2; i++) {
		__m256i both = _mm256_load_si256(
		    (const __m256i *)(const void *)(p + 32 * i));

		s[i] = _mm256_castsi256_ps(b % 2 != 0 ?
		    _mm256_and_si256(both,
		    _mm256_set1_epi32((int)0xffff0000)) :
		    _mm256_slli_epi32(both, 16));
	}
}

/* Two 16-bit values in every lane. */
INLINE __m256i
pair(const int16_t *v)
{
	int32_t both;

	memcpy(&both, v, sizeof(both));
	return _mm256_set1_epi32(both);
}

#define GROUP	3		/* rows whose integers fit the registers */

/* The even and the odd k of 8 outputs, as 16 bits. */
INLINE void
load_pairs(__m256i *even, __m256i *odd, const char *p)
{
	__m256i w = _mm256_load_si256((const __m256i *)(const void *)p);

	*even = _mm256_and_si256(w, _mm256_set1_epi16(0xff));
	*odd = _mm256_srli_epi16(w, 8);
}

INLINE __m256i
madd2(__m256i c, __m256i even, __m256i odd, __m256i x0, __m256i x1)
{
	c = _mm256_add_epi32(c, _mm256_madd_epi16(even, x0));
	return _mm256_add_epi32(c, _mm256_madd_epi16(odd, x1));
}

/* sum += block b of M <= GROUP rows times the 16 outputs at p. */
INLINE void
block(__m256 *sum, const __m256 s[2], const char *p,
    const struct cpu_q8_x16 *const *x, size_t b, int M)
{
	__m256i c[2 * GROUP], even[2], odd[2], x0, x1;
	int i, r;

CPU_UNROLL
	for (r = 0; r < M; r++)
		c[2 * r] = c[2 * r + 1] = _mm256_set1_epi32(x[r][b].bias);
	/* Unrolled, gcc would do all products first, then the sums. */
CPU_ROLL
	for (i = 0; i < CPU_Q8; i += 4, p += 64) {
		load_pairs(&even[0], &odd[0], p);
		load_pairs(&even[1], &odd[1], p + 32);
CPU_UNROLL
		for (r = 0; r < M; r++) {
			x0 = pair(x[r][b].v + i);
			x1 = pair(x[r][b].v + i + 2);
			c[2 * r] = madd2(c[2 * r], even[0], odd[0], x0, x1);
			c[2 * r + 1] = madd2(c[2 * r + 1], even[1], odd[1], x0,
			    x1);
		}
	}
CPU_UNROLL
	for (r = 0; r < 2 * M; r++)
		sum[r] = _mm256_fmadd_ps(_mm256_mul_ps(s[r % 2],
		    _mm256_set1_ps(x[r / 2][b].scale)),
		    _mm256_cvtepi32_ps(c[r]), sum[r]);
}

/* M rows, a constant after inlining, times 16 outputs. */
INLINE void
tile(float *acc, const char *w, const struct cpu_q8_x16 *const *x,
    size_t blocks, int M)
{
	const int first = M <= GROUP ? M : (M + 1) / 2;
	__m256 sum[2 * CPU_ROWS], s[2];
	size_t b;
	int i;

CPU_UNROLL
	for (i = 0; i < 2 * M; i++)
		sum[i] = _mm256_setzero_ps();
	for (b = 0; b < blocks; b++) {
		const char *p = w + cpu_q8_at(b);

CPU_UNROLL
		for (i = 0; i < 16 * CPU_Q8; i += 64)
			_mm_prefetch(p + AHEAD + i, _MM_HINT_T0);
		scales(s, w, b);
		block(sum, s, p, x, b, first);
		if (M > first)
			block(sum + 2 * first, s, p, x + first, b, M - first);
	}
CPU_UNROLL
	for (i = 0; i < 2 * M; i++)
		_mm256_store_ps(acc + i * 8, sum[i]);
}

static void
mul(float *acc, const void *w, const void *const *x, int m, int nb, int k)
{
	const struct cpu_q8_x16 *row[CPU_ROWS];
	size_t blocks = cpu_q8_blocks(k);
	const char *p = w;
	int b, r;

	for (r = 0; r < m; r++)
		row[r] = x[r];
	for (b = 0; b < nb; b++, p += cpu_q8_bytes(k), acc += m * 16) {
		switch (m) {
		case 1: tile(acc, p, row, blocks, 1); break;
		case 2: tile(acc, p, row, blocks, 2); break;
		case 3: tile(acc, p, row, blocks, 3); break;
		case 4: tile(acc, p, row, blocks, 4); break;
		case 5: tile(acc, p, row, blocks, 5); break;
		default: tile(acc, p, row, blocks, 6); break;
		}
	}
}

static const struct cpu_q8 q8 = { mul, quant16, sizeof(struct cpu_q8_x16) };

const struct cpu_q8 *
kern_avx2_q8(void)
{
	return &q8;
}
