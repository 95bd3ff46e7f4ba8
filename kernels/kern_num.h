/*
 * kern_num.h - number formats: exact conversions between fp32, bf16 and f16,
 * one value at a time.  Inline, because every backend's edges need them; whole
 * rows go through kern_convert or a variant's own vector code, which must
 * agree with these bit for bit.
 */
#ifndef MOE_KERN_NUM_H
#define MOE_KERN_NUM_H

#include <stdint.h>
#include <string.h>

static inline uint32_t
kern_num_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static inline float
kern_num_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static inline float
kern_num_from_bf16(uint16_t h)
{
	return kern_num_float((uint32_t)h << 16);
}

/* Nearest even; a NaN stays a (quiet) NaN. */
static inline uint16_t
kern_num_to_bf16(float f)
{
	uint32_t u = kern_num_bits(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float
kern_num_from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t e = h >> 10 & 31, m = h & 0x3ff;

	if (e == 31)
		return kern_num_float(sign | 0x7f800000 | m << 13 |
		    (m ? 0x400000u : 0));
	if (e == 0) {	/* zero or subnormal: m * 2^-24, exact in fp32 */
		float f = (float)m * 0x1p-24f;

		return sign ? -f : f;
	}
	return kern_num_float(sign | (e + 112) << 23 | m << 13);
}

/* Nearest even; overflow to infinity. */
static inline uint16_t
kern_num_to_f16(float f)
{
	uint32_t u = kern_num_bits(f), a = u & 0x7fffffff;
	uint16_t sign = (uint16_t)(u >> 16 & 0x8000);

	if (a > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
	if (a >= 0x477ff000)	/* rounds to 2^16 or more */
		return sign | 0x7c00;
	if (a < 0x38800000) {
		/* Adding 0.5 leaves the subnormal's bits, rounded, at the
		 * bottom of the significand. */
		float t = kern_num_float(a) + 0.5f;

		return (uint16_t)(sign | (kern_num_bits(t) - 0x3f000000));
	}
	a += 0xfff + (a >> 13 & 1);
	return (uint16_t)(sign | (a - 0x38000000) >> 13);
}

#endif
