/*
 * kern_sum.c - parts of sums: see kern_sum.h.  Plain C for every backend, so
 * that a sum never depends on the instruction set; every step of the EXACT
 * rule but the last is exact, so contraction and vectors change nothing.
 */
#include "kern_sum.h"

#include <math.h>
#include <string.h>

#include "kern_impl.h"
#include "kern_num.h"

#define BLOCK	KERN_SUM_BLOCK
#define DIGITS	3		/* at most */
#define PLACE_0	128		/* the place whose unit is 1 */
#define NOT_FINITE	255

struct digits {			/* of a block, first digit first */
	int32_t d[DIGITS][BLOCK];
};

static int
n_digit(const struct kern_sum *s)
{
	return s->act == KERN_F32 ? 3 : 2;
}

/* B: so that k sums of digits below 2^B fit int16. */
static int
digit_bits(const struct kern_sum *s)
{
	int b = 15;

	while (1 << (15 - b) < s->k)
		b--;
	return b;
}

static int
n_block(const struct kern_sum *s)
{
	return (s->n + BLOCK - 1) / BLOCK;
}

static size_t
planes_at(const struct kern_sum *s)
{
	return ((size_t)n_block(s) + 15) & ~(size_t)15;
}

size_t
kern_sum_bytes(const struct kern_sum *s)
{
	size_t n = (size_t)s->n;

	KERN_CHECK(s->rule == KERN_SUM_FLOAT || s->rule == KERN_SUM_EXACT);
	KERN_CHECK(s->act == KERN_F32 || s->act == KERN_BF16);
	KERN_CHECK(s->n > 0 && s->k > 0 && s->k <= KERN_SUM_ADD_MAX);
	if (s->rule == KERN_SUM_FLOAT)
		return n * sizeof(float);
	return (planes_at(s) + n * (size_t)n_digit(s) * sizeof(int16_t) + 3) &
	    ~(size_t)3;
}

/* Values [at, at + len) of an answer, widened. */
static void
widen(const struct kern_sum *s, const void *row, int at, int len, float *y)
{
	uint16_t h[BLOCK];
	int i;

	if (s->act == KERN_F32) {
		memcpy(y, (const char *)row + (size_t)at * 4, (size_t)len * 4);
		return;
	}
	memcpy(h, (const char *)row + (size_t)at * 2, (size_t)len * 2);
	for (i = 0; i < len; i++)
		y[i] = kern_num_from_bf16(h[i]);
}

/* ---- EXACT --------------------------------------------------------------- */

/* Products of a block, and the place of the largest. */
static int
multiply(const struct kern_sum *s, const void *const *row, const float *w,
    int m, int at, int len, double v[][BLOCK])
{
	double most[BLOCK] = { 0 }, odd[BLOCK] = { 0 }, f, a, top = 0, sum = 0;
	float y[BLOCK];
	int i, j, e;

	for (j = 0; j < m; j++) {
		f = w != NULL ? (double)w[j] : 1;
		widen(s, row[j], at, len, y);
		for (i = 0; i < len; i++) {
			v[j][i] = f * (double)y[i];
			a = fabs(v[j][i]);
			most[i] = a > most[i] ? a : most[i];
			odd[i] += a * 0;	/* NaN unless finite */
		}
	}
	for (i = 0; i < len; i++) {
		top = most[i] > top ? most[i] : top;
		sum += odd[i];
	}
	if (sum != 0)
		return NOT_FINITE;
	if (top == 0)
		return 0;
	/* Rounded down for negative exponents, too. */
	e = ilogb(top) + PLACE_0 * digit_bits(s);
	return e / digit_bits(s);
}

/* Add the digits of a block's products, which has a place. */
static void
cut(const struct kern_sum *s, double v[][BLOCK], int m, int len, int place,
    struct digits *sum)
{
	int b = digit_bits(s), nd = n_digit(s), i, j, q, d;
	double unit = ldexp(1, -b * (place - PLACE_0)), t, base = 1 << b;

	memset(sum, 0, sizeof(*sum));
	for (j = 0; j < m; j++) {
		for (i = 0; i < len; i++)
			v[j][i] *= unit;
		for (q = 0; q < nd; q++) {
			for (i = 0; i < len; i++) {
				t = v[j][i];
				d = (int)t;
				sum->d[q][i] += d;
				v[j][i] = (t - d) * base;
			}
		}
	}
}

static void
exact_part(const struct kern_sum *s, const void *const *row, const float *w,
    int m, void *part)
{
	double v[KERN_SUM_ADD_MAX][BLOCK];
	uint8_t *place = part;
	int16_t *plane = (void *)((char *)part + planes_at(s));
	size_t n = (size_t)s->n, to;
	int at, len, q, i;
	struct digits sum;

	memset(part, 0, kern_sum_bytes(s));
	for (at = 0; at < s->n; at += BLOCK, place++) {
		len = s->n - at < BLOCK ? s->n - at : BLOCK;
		*place = (uint8_t)multiply(s, row, w, m, at, len, v);
		if (*place == 0 || *place == NOT_FINITE)
			continue;
		cut(s, v, m, len, *place, &sum);
		for (q = 0; q < n_digit(s); q++) {
			to = (size_t)q * n + (size_t)at;
			for (i = 0; i < len; i++)
				plane[to + (size_t)i] = (int16_t)sum.d[q][i];
		}
	}
}

/* Add a part's block, `low` places below the sum's. */
static void
add_block(const struct kern_sum *s, const void *part, int at, int len, int low,
    struct digits *sum)
{
	const int16_t *plane = (const void *)((const char *)part +
	    planes_at(s));
	int q, i;

	for (q = 0; q + low < n_digit(s); q++)
		for (i = 0; i < len; i++)
			sum->d[q + low][i] +=
			    plane[(size_t)q * (size_t)s->n + (size_t)(at + i)];
}

static void
write_block(const struct kern_sum *s, const struct digits *sum, int place,
    int len, float *y)
{
	int b = digit_bits(s), nd = n_digit(s), i, q;
	double unit = ldexp(1, b * (place - PLACE_0 - (nd - 1)));
	int64_t v;

	for (i = 0; i < len; i++) {
		v = 0;
		for (q = 0; q < nd; q++)
			v = v * (1 << b) + sum->d[q][i];
		y[i] = (float)((double)v * unit);
	}
}

static void
exact_join(const struct kern_sum *s, const void *const *part, int m, float *y)
{
	int at, len, j, i, block, place, top;
	struct digits sum;

	for (at = block = 0; at < s->n; at += BLOCK, block++) {
		len = s->n - at < BLOCK ? s->n - at : BLOCK;
		for (j = top = 0; j < m; j++) {
			if (part[j] == NULL)
				continue;
			place = ((const uint8_t *)part[j])[block];
			top = place > top ? place : top;
		}
		if (top == NOT_FINITE) {
			for (i = 0; i < len; i++)
				y[at + i] = NAN;
			continue;
		}
		memset(&sum, 0, sizeof(sum));
		for (j = 0; j < m; j++)
			if (part[j] != NULL)
				add_block(s, part[j], at, len, top -
				    ((const uint8_t *)part[j])[block], &sum);
		write_block(s, &sum, top, len, y + at);
	}
}

/* ---- FLOAT --------------------------------------------------------------- */

static void
float_part(const struct kern_sum *s, const void *const *row, const float *w,
    int m, float *part)
{
	float y[BLOCK], f;
	int at, len, j, i;

	for (at = 0; at < s->n; at += BLOCK) {
		len = s->n - at < BLOCK ? s->n - at : BLOCK;
		memset(part + at, 0, (size_t)len * sizeof(float));
		for (j = 0; j < m; j++) {
			f = w != NULL ? w[j] : 1;
			widen(s, row[j], at, len, y);
			for (i = 0; i < len; i++)
				part[at + i] += f * y[i];
		}
	}
}

static void
float_join(const struct kern_sum *s, const void *const *part, int m, float *y)
{
	const float *p;
	int j, i;

	memset(y, 0, (size_t)s->n * sizeof(float));
	for (j = 0; j < m; j++) {
		if ((p = part[j]) == NULL)
			continue;
		for (i = 0; i < s->n; i++)
			y[i] += p[i];
	}
}

void
kern_sum_part(const struct kern_sum *s, const void *const *row, const float *w,
    int m, void *part)
{
	KERN_CHECK(m > 0 && m <= s->k);
	if (s->rule == KERN_SUM_EXACT)
		exact_part(s, row, w, m, part);
	else
		float_part(s, row, w, m, part);
}

void
kern_sum_join(const struct kern_sum *s, const void *const *part, int m,
    float *y)
{
	KERN_CHECK(m <= s->k);
	if (s->rule == KERN_SUM_EXACT)
		exact_join(s, part, m, y);
	else
		float_join(s, part, m, y);
}
