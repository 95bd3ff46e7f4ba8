/*
 * kern_avx2_attn.c - inner loop of attention for AVX2 + FMA: queries take in
 * one block of keys, two queries at a time where they see the same keys.
 *
 * Per query, whatever its neighbours:  score: 8 partial sums over d (d % 8),
 * one fixed tree.  Sum of weights: 8 partial sums over the block (j % 8), one
 * fixed tree, keys that are not visible counting as +0.  Values: keys
 * ascending, fused multiply-add.
 */
#include <math.h>

#include "kern_avx2.h"
#include "kern_avx2_lane.h"

#define INLINE	static inline __attribute__((always_inline))
#define MAX_ACC	8

/* Eight values from element `at` of a page's K or V. */
INLINE __m256
load(const void *p, int at, bool bf16)
{
	if (!bf16)
		return _mm256_loadu_ps((const float *)p + at);
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(
	    _mm_loadu_si128((const __m128i *)(const void *)
	    ((const uint16_t *)p + at))), 16));
}

/* Sums of the lanes of four vectors, in the tree of pairs. */
INLINE __m128
hsum4(const __m256 *a)
{
	__m256 t = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]),
	    _mm256_hadd_ps(a[2], a[3]));

	return _mm_add_ps(_mm256_castps256_ps128(t),
	    _mm256_extractf128_ps(t, 1));
}

/* s[n][j] = q[n] . k[j] * scale for lo <= j < hi, rounded out to groups of
 * four aligned keys (others than the visible ones are not used).  N and bf16
 * are constants after inlining. */
INLINE void
scores(float (*s)[CPU_KEYS], const struct cpu_query *q,
    const struct cpu_keys *b, int N, bool bf16)
{
	int dk = b->dk, j, i, t, n;

	for (j = q->lo / 4 * 4; j < q->hi; j += 4) {
		const void *page = b->k[j / KERN_PAGE_TOK];
		int row = j % KERN_PAGE_TOK * dk;
		__m256 c[MAX_ACC];

CPU_UNROLL
		for (i = 0; i < 4 * N; i++)
			c[i] = _mm256_setzero_ps();
		for (i = 0; i < dk; i += 8) {
CPU_UNROLL
			for (t = 0; t < 4; t++) {
				__m256 k = load(page, row + t * dk + i, bf16);

CPU_UNROLL
				for (n = 0; n < N; n++)
					c[n * 4 + t] = _mm256_fmadd_ps(
					    _mm256_loadu_ps(q[n].q + i), k,
					    c[n * 4 + t]);
			}
		}
CPU_UNROLL
		for (n = 0; n < N; n++)
			_mm_storeu_ps(s[n] + j, _mm_mul_ps(hsum4(c + n * 4),
			    _mm_set1_ps(b->scale)));
	}
}

/* s becomes exp(s - max), +0 where not visible; returns their sum.  Groups of
 * 8 reach past the scores; what is there is hidden. */
static float
weights(float *s, const struct cpu_query *q, float max)
{
	__m256 sum = _mm256_setzero_ps(), m = _mm256_set1_ps(max), p;
	__m256i at, hide;
	int j;

	for (j = q->lo / 8 * 8; j < q->hi; j += 8) {
		at = _mm256_add_epi32(_mm256_set1_epi32(j),
		    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
		hide = _mm256_or_si256(
		    _mm256_cmpgt_epi32(_mm256_set1_epi32(q->lo), at),
		    _mm256_cmpgt_epi32(at, _mm256_set1_epi32(q->hi - 1)));
		p = kern_avx2_exp(_mm256_sub_ps(_mm256_loadu_ps(s + j), m));
		p = _mm256_andnot_ps(_mm256_castsi256_ps(hide), p);
		_mm256_storeu_ps(s + j, p);
		sum = _mm256_add_ps(sum, p);
	}
	return kern_avx2_hsum(sum);
}

/* The softmax of one query goes on: returns what is left of the sums so far
 * under the new maximum. */
static float
advance(float *s, struct cpu_query *q)
{
	float max = q->max, keep = 1;
	int j;

	for (j = q->lo; j < q->hi; j++)
		max = s[j] > max ? s[j] : max;
	if (q->max != max)
		keep = _mm256_cvtss_f32(kern_avx2_exp(
		    _mm256_set1_ps(q->max - max)));
	q->max = max;
	q->sum = q->sum * keep + weights(s, q, max);
	return keep;
}

/* o = o * keep + sum of s[j] * v[j]: values [i, i + 8 T) of N queries. */
INLINE void
add_values(float (*s)[CPU_KEYS], struct cpu_query *q,
    const struct cpu_keys *b, const float *keep, int i, int shape)
{
	int N = shape / 16, T = shape / 2 % 8, j, t, n;
	bool bf16 = shape % 2;
	__m256 c[MAX_ACC];

CPU_UNROLL
	for (n = 0; n < N; n++)
CPU_UNROLL
		for (t = 0; t < T; t++)
			c[n * T + t] = _mm256_mul_ps(
			    _mm256_loadu_ps(q[n].o + i + 8 * t),
			    _mm256_set1_ps(keep[n]));
	for (j = q->lo; j < q->hi; j++) {
		const void *page = b->v[j / KERN_PAGE_TOK];
		int row = j % KERN_PAGE_TOK * b->dv + i;

CPU_UNROLL
		for (t = 0; t < T; t++) {
			__m256 v = load(page, row + 8 * t, bf16);

CPU_UNROLL
			for (n = 0; n < N; n++)
				c[n * T + t] = _mm256_fmadd_ps(
				    _mm256_broadcast_ss(s[n] + j), v,
				    c[n * T + t]);
		}
	}
CPU_UNROLL
	for (n = 0; n < N; n++)
CPU_UNROLL
		for (t = 0; t < T; t++)
			_mm256_storeu_ps(q[n].o + i + 8 * t, c[n * T + t]);
}

/* N queries with the same lo and hi. */
INLINE void
take(struct cpu_query *q, const struct cpu_keys *b, int N, bool bf16)
{
	float s[2][CPU_KEYS], keep[2];
	int i, n;

	scores(s, q, b, N, bf16);
	for (n = 0; n < N; n++)
		keep[n] = advance(s[n], &q[n]);
	for (i = 0; i + 32 <= b->dv; i += 32)
		add_values(s, q, b, keep, i, N * 16 + 4 * 2 + bf16);
	for (; i < b->dv; i += 8)
		add_values(s, q, b, keep, i, N * 16 + 1 * 2 + bf16);
}

void
kern_avx2_attn(struct cpu_query *q, int n, const struct cpu_keys *b)
{
	int i, pair;

	for (i = 0; i < n; i += 1 + pair) {
		pair = i + 1 < n && q[i].lo == q[i + 1].lo &&
		    q[i].hi == q[i + 1].hi;
		if (q[i].lo >= q[i].hi)
			continue;
		if (pair && b->bf16)
			take(q + i, b, 2, true);
		else if (pair)
			take(q + i, b, 2, false);
		else if (b->bf16)
			take(q + i, b, 1, true);
		else
			take(q + i, b, 1, false);
	}
}
