/* cpu_q8.c - see cpu_q8.h: packing, and the rules in plain C.  No state. */
#include "cpu_q8.h"

#include <math.h>
#include <string.h>

#include "kern_num.h"

#define BF16_NORMAL	0x0080		/* 2^-126 */

/* The largest magnitude, as bits: ordered as numbers are, NaNs on top. */
static int32_t
max_bits(const float v[CPU_Q8])
{
	int32_t max = 0, u;
	int i;

	for (i = 0; i < CPU_Q8; i++) {
		u = (int32_t)(kern_num_bits(v[i]) & 0x7fffffff);
		max = u > max ? u : max;
	}
	return max;
}

/* q[i] = rint(v[i] * mul), ties to even: adding 1.5 * 2^23 leaves no room for
 * a fraction.  |v[i] * mul| is below 128. */
static void
round_all(int8_t q[CPU_Q8], const float v[CPU_Q8], float mul)
{
	int i;

	for (i = 0; i < CPU_Q8; i++)
		q[i] = (int8_t)((int32_t)kern_num_bits(v[i] * mul +
		    12582912.0f) - 0x4b400000);
}

static void
quant_block(struct cpu_q8_x *x, const float v[CPU_Q8])
{
	int32_t bits = max_bits(v);
	float max = kern_num_float((uint32_t)bits);
	int i, sum = 0;

	memset(x, 0, sizeof(*x));
	if (bits >= CPU_Q8_NOT_FINITE) {
		x->scale = kern_num_float(CPU_Q8_NAN);
		return;
	}
	if (bits < CPU_Q8_TINY)
		return;
	x->scale = max / 127;
	round_all(x->v, v, 127 / max);
	for (i = 0; i < CPU_Q8; i++)
		sum += x->v[i];
	x->bias = -128 * sum;
}

/* The values from src on, n of them if fewer than a block, zeros after. */
static const float *
whole_block(float room[CPU_Q8], const float *src, size_t n)
{
	if (n >= CPU_Q8)
		return src;
	memset(room, 0, CPU_Q8 * sizeof(*room));
	memcpy(room, src, n * sizeof(*room));
	return room;
}

void
cpu_q8_quant(struct cpu_q8_x *dst, const float *src, size_t n)
{
	float room[CPU_Q8];
	size_t i;

	for (i = 0; i < n; i += CPU_Q8)
		quant_block(dst++, whole_block(room, src + i, n - i));
}

/* ---- weights ------------------------------------------------------------- */

/* One block; returns the scale. */
static uint16_t
weigh_block(int8_t q[CPU_Q8], const float v[CPU_Q8])
{
	int32_t bits = max_bits(v);
	uint16_t s;

	memset(q, 0, CPU_Q8);
	if (bits >= CPU_Q8_NOT_FINITE)
		return CPU_Q8_NAN >> 16;
	s = kern_num_to_bf16(kern_num_float((uint32_t)bits) / 127);
	if (s < BF16_NORMAL)
		return 0;
	/* The scale was rounded by 2^-8 at most, so 127 becomes at most 127.496
	 * and stays 127. */
	round_all(q, v, 1 / kern_num_from_bf16(s));
	return s;
}

void
cpu_q8_put(void *p, size_t lane, size_t k, const float *v, size_t n)
{
	size_t b = k / CPU_Q8, i, j;
	float room[CPU_Q8];
	int8_t q[CPU_Q8];
	uint16_t scale;
	uint8_t *w;

	for (i = 0; i < n; i += CPU_Q8, b++) {
		scale = weigh_block(q, whole_block(room, v + i, n - i));
		memcpy((char *)p + cpu_q8_scale_at(b) + lane * 4 + b % 2 * 2,
		    &scale, 2);
		w = (uint8_t *)p + cpu_q8_at(b) + lane * 4;
		for (j = 0; j < CPU_Q8; j++)
			q[j] = (int8_t)(q[j] ^ -128);
		for (j = 0; j < CPU_Q8; j += 4)
			memcpy(w + j * 16, q + j, 4);
	}
}

static float
scale_of(const void *p, size_t lane, size_t b)
{
	uint16_t s;

	memcpy(&s, (const char *)p + cpu_q8_scale_at(b) + lane * 4 +
	    b % 2 * 2, 2);
	return kern_num_from_bf16(s);
}

/* Integer j of block b. */
static int
weight_of(const void *p, size_t lane, size_t b, size_t j)
{
	const uint8_t *w = (const uint8_t *)p + cpu_q8_at(b);

	return (int)w[(j / 4 * 16 + lane) * 4 + j % 4] - 128;
}

void
cpu_q8_get(const void *p, size_t lane, size_t k, float *out)
{
	size_t i;

	for (i = 0; i < k; i++)
		out[i] = scale_of(p, lane, i / CPU_Q8) *
		    (float)weight_of(p, lane, i / CPU_Q8, i % CPU_Q8);
}

float
cpu_q8_dot(const struct kern_mat *m, int n, const struct cpu_q8_x *x)
{
	const char *p = (const char *)m->data +
	    (size_t)n / 16 * cpu_q8_bytes(m->k);
	size_t lane = (size_t)n % 16, b, j;
	float sum = 0;

	for (b = 0; b < cpu_q8_blocks(m->k); b++) {
		int dot = 0;

		for (j = 0; j < CPU_Q8; j++)
			dot += weight_of(p, lane, b, j) * x[b].v[j];
		sum = fmaf(scale_of(p, lane, b) * x[b].scale, (float)dot, sum);
	}
	return sum;
}
