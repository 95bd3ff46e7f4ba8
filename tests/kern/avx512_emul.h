/*
 * avx512_emul.h - the intrinsics that kern_avx512bf16.c and kern_avx512vnni.c
 * use, in plain C, so that their loops, tails and layouts run where the
 * processor lacks the instructions.  Include it, then the .c files: the program
 * then links these copies in place of the library's, and kern_isas() offers
 * them first.
 *
 * vdpbf16ps: per lane, acc + a.odd * b.odd, then + a.even * b.even; each step
 * rounded to nearest even, denormal inputs and results taken as zero.  (The
 * product of two bf16 values is exact in fp32, so whether a step is fused
 * makes no difference.)
 */
#ifndef MOE_AVX512_EMUL_H
#define MOE_AVX512_EMUL_H

#pragma GCC diagnostic ignored "-Wpsabi"

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float emul_ps __attribute__((vector_size(64)));
typedef int emul_si __attribute__((vector_size(64)));
typedef short emul_bh __attribute__((vector_size(64)));

/* Without optimisation the real ones are macros. */
#undef _mm512_setzero_ps
#undef _mm512_set1_ps
#undef _mm512_set1_epi32
#undef _mm512_castsi512_ps
#undef _mm512_slli_epi32
#undef _mm512_and_si512
#undef _mm512_loadu_ps
#undef _mm512_loadu_si512
#undef _mm512_storeu_ps
#undef _mm512_fmadd_ps
#undef _mm512_dpbf16_ps
#undef _mm512_mul_ps
#undef _mm512_cvtepi32_ps
#undef _mm512_dpbusd_epi32

#define __m512			emul_ps
#define __m512i			emul_si
#define __m512bh		emul_bh
#define __builtin_cpu_supports(name)	1

#define _mm512_setzero_ps()	((emul_ps){ 0 })
#define _mm512_set1_ps(v)	((emul_ps){ 0 } + (v))
#define _mm512_set1_epi32(v)	((emul_si){ 0 } + (v))
#define _mm512_castsi512_ps(v)	((emul_ps)(v))
#define _mm512_slli_epi32(v, n)	((emul_si)((v) << (n)))
#define _mm512_and_si512(a, b)	((a) & (b))
#define _mm512_mul_ps(a, b)	((a) * (b))
#define _mm512_cvtepi32_ps(v)	__builtin_convertvector(v, emul_ps)
#define _mm512_loadu_ps(p)	emul_load_ps(p)
#define _mm512_loadu_si512(p)	emul_load_si(p)
#define _mm512_storeu_ps(p, v)						\
	do {								\
		emul_ps v_ = (v);					\
		memcpy(p, &v_, sizeof(v_));				\
	} while (0)
/* Through pointers: vectors this wide as arguments have no settled ABI. */
#define _mm512_fmadd_ps(a, b, c)					\
	({								\
		emul_ps a_ = (a), b_ = (b), c_ = (c);			\
		emul_fmadd(&c_, &a_, &b_);				\
		c_;							\
	})
#define _mm512_dpbf16_ps(c, a, b)					\
	({								\
		emul_ps c_ = (c);					\
		emul_bh a_ = (a), b_ = (b);				\
		emul_dpbf16(&c_, &a_, &b_);				\
		c_;							\
	})
#define _mm512_dpbusd_epi32(c, a, b)					\
	({								\
		emul_si c_ = (c), a_ = (a), b_ = (b);			\
		emul_dpbusd(&c_, &a_, &b_);				\
		c_;							\
	})

#define EMUL	static inline __attribute__((always_inline))

EMUL emul_ps
emul_load_ps(const void *p)
{
	emul_ps v;

	memcpy(&v, p, sizeof(v));
	return v;
}

EMUL emul_si
emul_load_si(const void *p)
{
	emul_si v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
emul_fmadd(emul_ps *c, const emul_ps *a, const emul_ps *b)
{
	int i;

	for (i = 0; i < 16; i++)
		(*c)[i] = fmaf((*a)[i], (*b)[i], (*c)[i]);
}

/* Per lane: four unsigned bytes of a times four signed ones of b, added. */
static inline void
emul_dpbusd(emul_si *c, const emul_si *a, const emul_si *b)
{
	int i, j;

	for (i = 0; i < 16; i++)
		for (j = 0; j < 32; j += 8)
			(*c)[i] += (uint8_t)((uint32_t)(*a)[i] >> j) *
			    (int8_t)((uint32_t)(*b)[i] >> j);
}

static inline float
emul_flush(float f)
{
	return fpclassify(f) == FP_SUBNORMAL ? copysignf(0, f) : f;
}

static inline float
emul_widen(short h)
{
	uint32_t u = (uint32_t)(uint16_t)h << 16;
	float f;

	memcpy(&f, &u, sizeof(f));
	return emul_flush(f);
}

static inline void
emul_dpbf16(emul_ps *c, const emul_bh *a, const emul_bh *b)
{
	int i, odd;

	for (i = 0; i < 16; i++) {
		for (odd = 1; odd >= 0; odd--) {
			float p = emul_flush(emul_widen((*a)[2 * i + odd]) *
			    emul_widen((*b)[2 * i + odd]));

			(*c)[i] = emul_flush(emul_flush((*c)[i]) + p);
		}
	}
}

#endif
