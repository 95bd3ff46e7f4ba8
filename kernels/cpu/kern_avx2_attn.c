/*
 * kern_avx2_attn.c - inner loop of attention for AVX2 + FMA: one query takes
 * in one block of keys.
 *
 * Score: 8 partial sums over d (d % 8), one fixed tree.  Sum of weights: 8
 * partial sums over the block (j % 8), one fixed tree, keys that are not
 * visible counting as +0.  Values: keys ascending, fused multiply-add.
 */
#include <math.h>

#include "kern_avx2.h"
#include "kern_avx2_lane.h"

/* Sums of the lanes of four vectors, in the tree of pairs. */
static inline __m128
hsum4(__m256 a, __m256 b, __m256 c, __m256 d)
{
	__m256 t = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));

	return _mm_add_ps(_mm256_castps256_ps128(t),
	    _mm256_extractf128_ps(t, 1));
}

/* s[j] = q . k[j] * scale for lo <= j < hi, rounded out to groups of four
 * aligned keys (others than the visible ones are not used). */
static void
scores(float *s, const struct cpu_query *q, const struct cpu_keys *b)
{
	int dk = b->dk, j, i;

	for (j = q->lo / 4 * 4; j < q->hi; j += 4) {
		const float *k = b->k + j * dk;
		__m256 a0 = _mm256_setzero_ps(), a1 = a0, a2 = a0, a3 = a0;

		for (i = 0; i < dk; i += 8) {
			__m256 v = _mm256_loadu_ps(q->q + i);

			a0 = _mm256_fmadd_ps(v, _mm256_loadu_ps(k + i), a0);
			a1 = _mm256_fmadd_ps(v, _mm256_loadu_ps(k + dk + i),
			    a1);
			a2 = _mm256_fmadd_ps(v,
			    _mm256_loadu_ps(k + 2 * dk + i), a2);
			a3 = _mm256_fmadd_ps(v,
			    _mm256_loadu_ps(k + 3 * dk + i), a3);
		}
		_mm_storeu_ps(s + j, _mm_mul_ps(hsum4(a0, a1, a2, a3),
		    _mm_set1_ps(b->scale)));
	}
}

/* s becomes exp(s - max), +0 where not visible; returns their sum. */
static float
weights(float *s, const struct cpu_query *q, float max)
{
	__m256 sum = _mm256_setzero_ps(), m = _mm256_set1_ps(max), p;
	__m256i at, hide;
	int j;

	for (j = 0; j < CPU_KEYS; j += 8) {
		if (j + 8 <= q->lo || j >= q->hi)
			continue;
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

/* o = o * keep + sum over visible keys of p[j] * v[j], 8 * n values of it. */
static inline __attribute__((always_inline)) void
add_values(float *o, const float *p, const struct cpu_query *q,
    const struct cpu_keys *b, int i, float keep, int n)
{
	__m256 c[4], w;
	int j, t;

CPU_UNROLL
	for (t = 0; t < n; t++)
		c[t] = _mm256_mul_ps(_mm256_loadu_ps(o + i + 8 * t),
		    _mm256_set1_ps(keep));
	for (j = q->lo; j < q->hi; j++) {
		w = _mm256_broadcast_ss(p + j);
CPU_UNROLL
		for (t = 0; t < n; t++)
			c[t] = _mm256_fmadd_ps(w, _mm256_loadu_ps(b->v +
			    j * b->dv + i + 8 * t), c[t]);
	}
CPU_UNROLL
	for (t = 0; t < n; t++)
		_mm256_storeu_ps(o + i + 8 * t, c[t]);
}

static float
exp_one(float x)
{
	return _mm256_cvtss_f32(kern_avx2_exp(_mm256_set1_ps(x)));
}

void
kern_avx2_attn(struct cpu_query *q, const struct cpu_keys *b)
{
	float s[CPU_KEYS], max = q->max, keep;
	int j, i;

	scores(s, q, b);
	for (j = q->lo; j < q->hi; j++)
		max = s[j] > max ? s[j] : max;
	keep = q->max == max ? 1 : exp_one(q->max - max);
	q->max = max;
	/* Groups of 8 reach past the scores; what is there is hidden. */
	q->sum = q->sum * keep + weights(s, q, max);
	for (i = 0; i + 32 <= b->dv; i += 32)
		add_values(q->o, s, q, b, i, keep, 4);
	for (; i < b->dv; i += 8)
		add_values(q->o, s, q, b, i, keep, 1);
}
