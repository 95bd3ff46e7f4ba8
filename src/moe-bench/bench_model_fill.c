/*
 * bench_model_fill - see bench_model_fill.h.
 *
 * A Philox block gives eight 16-bit numbers; each picks one of 65536 equally
 * likely quantiles of the normal distribution.  One table look-up a value is
 * several times faster than Box-Muller, and nobody can tell the difference in
 * a random weight.
 */
#include "bench_model_fill.h"

#include <math.h>
#include <string.h>

#include "kern.h"
#include "mem.h"
#include "rng.h"

#define SQRT_HALF	0.70710678118654752440
#define INV_SQRT_2PI	0.39894228040143267794

/* q[i] = the x with P(X < x) = (i + 1/2) / BENCH_MODEL_LEVELS for the upper
 * half of i; Newton's method from one value to the next. */
static void
quantiles(float q[BENCH_MODEL_LEVELS])
{
	double x = 0, tail, step;
	int i, half = BENCH_MODEL_LEVELS / 2;

	for (i = half; i < BENCH_MODEL_LEVELS; i++) {
		tail = (BENCH_MODEL_LEVELS - i - 0.5) / BENCH_MODEL_LEVELS;
		do {
			step = (0.5 * erfc(x * SQRT_HALF) - tail) /
			    (INV_SQRT_2PI * exp(-x * x / 2));
			x += step;
		} while (fabs(step) > 1e-9);
		q[i] = (float)x;
		q[BENCH_MODEL_LEVELS - 1 - i] = (float)-x;
	}
}

void
bench_model_fill_table(struct bench_model_table *t, double sd,
    enum ckpt_dtype dtype)
{
	float *q = mem_calloc(BENCH_MODEL_LEVELS, sizeof(*q));
	int i;

	quantiles(q);
	for (i = 0; i < BENCH_MODEL_LEVELS; i++)
		q[i] = sd == 0 ? 1 : (float)sd * q[i];
	t->sd = sd;
	t->bytes = ckpt_dtype_bits(dtype) / 8;
	kern_convert(&t->u, (enum kern_dtype)ckpt_dtype_kern(dtype), q,
	    KERN_F32, BENCH_MODEL_LEVELS);
	mem_free(q);
}

void
bench_model_fill(const struct bench_model_table *t, uint64_t key,
    uint64_t first, size_t n, void *buf)
{
	uint64_t block = first / 8;
	unsigned char *p = buf;
	uint32_t ctr[4] = { 0 }, out[4];
	union {
		uint16_t h[8];
		float f[8];
	} v;
	size_t i, j, m;

	for (i = 0; i < n; i += 8, block++) {
		ctr[0] = (uint32_t)block;
		ctr[1] = (uint32_t)(block >> 32);
		rng_block(key, ctr, out);
		for (j = 0; j < 8; j++) {
			uint32_t k = out[j / 2] >> 16 * (j % 2) & 0xffff;

			if (t->bytes == 2)
				v.h[j] = t->u.h[k];
			else
				v.f[j] = t->u.f[k];
		}
		m = n - i < 8 ? n - i : 8;
		memcpy(p + i * (size_t)t->bytes, &v, m * (size_t)t->bytes);
	}
}
