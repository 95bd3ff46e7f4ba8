/*
 * cpu_q8.h - int8 weights of the cpu backend: where things stand, and the rule
 * by which values become integers.  The arithmetic is kern.h's (Q8).
 *
 * 16 outputs stand across the lanes.  Along k, two blocks of 32 make a unit
 * that begins on a cache line:
 *
 *	[16][2] scales (bf16), then [2][8][16][4] weights
 *
 * of which the second half is left out (its scales are not) when the number of
 * blocks is odd.  Scales of an output stand side by side, so that, as pairs of
 * bf16 weights, they widen with a shift or a mask.  The four bytes of a lane are four consecutive k, what
 * vpdpbusd takes.  A byte holds the integer + 128: that instruction, and the
 * pair of bytes that AVX2 widens to 16 bits, want one unsigned factor.  A sum
 * of (w + 128) * x is brought back by starting it at -128 * sum x, a number of
 * the row alone (`bias`), so the offset costs nothing.
 *
 * Nothing here needs a certain instruction set.
 */
#ifndef MOE_CPU_Q8_H
#define MOE_CPU_Q8_H

#include <stddef.h>
#include <stdint.h>

#include "kern.h"

#define CPU_Q8		32	/* values of a block */
#define CPU_Q8_UNIT	1088	/* bytes of two blocks of 16 outputs */

/* Bits of a row's largest magnitude: below 2^-100 the block is zero; from the
 * other on it holds an infinity or a NaN, and its scale is this NaN. */
#define CPU_Q8_TINY	0x0d800000
#define CPU_Q8_NOT_FINITE	0x7f800000
#define CPU_Q8_NAN	0x7fc00000u

/* Blocks along k. */
static inline size_t
cpu_q8_blocks(int k)
{
	return ((size_t)k + CPU_Q8 - 1) / CPU_Q8;
}

/* Bytes of 16 outputs. */
static inline size_t
cpu_q8_bytes(int k)
{
	size_t n = cpu_q8_blocks(k);

	return (n + 1) / 2 * 64 + n * 16 * CPU_Q8;
}

/* Where the scales of block b and of its neighbour begin, and its weights. */
static inline size_t
cpu_q8_scale_at(size_t b)
{
	return b / 2 * CPU_Q8_UNIT;
}

static inline size_t
cpu_q8_at(size_t b)
{
	return b / 2 * CPU_Q8_UNIT + 64 + b % 2 * 16 * CPU_Q8;
}

/* A block of an input row: bias is -128 * sum v. */
struct cpu_q8_x {
	float scale;
	int32_t bias;
	int8_t v[CPU_Q8];
};

/* The same for AVX2, which multiplies pairs of 16 bits: of each four values
 * the first and third, then the second and fourth. */
struct cpu_q8_x16 {
	float scale;
	int32_t bias;
	int16_t v[CPU_Q8];
};

/* n values of a row into ceil(n / 32) blocks.  The rule's plain form. */
void	cpu_q8_quant(struct cpu_q8_x *dst, const float *src, size_t n);

/* Values k .. k + n - 1 (k a multiple of 32) into lane `lane` of the packed
 * 16 outputs at p. */
void	cpu_q8_put(void *p, size_t lane, size_t k, const float *v, size_t n);
/* out[0..k) = that lane's weights. */
void	cpu_q8_get(const void *p, size_t lane, size_t k, float *out);
/* Packed row n of m times a row: the product's plain form. */
float	cpu_q8_dot(const struct kern_mat *m, int n, const struct cpu_q8_x *x);

#endif
