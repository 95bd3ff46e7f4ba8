/*
 * kern_avx2.h - inner loops of the AVX2 variant that other variants use too.
 */
#ifndef MOE_KERN_AVX2_H
#define MOE_KERN_AVX2_H

#include "cpu.h"

/* kern_avx2_rows.c: see struct cpu_isa. */
void	kern_avx2_rows_widen(float *dst, const uint16_t *src, size_t n);
void	kern_avx2_rows_narrow(uint16_t *dst, const float *src, size_t n);
void	kern_avx2_rows_glu(float *acc, int n, enum kern_glu glu);
float	kern_avx2_rows_sum_sq(const float *x, int n, float mean);
float	kern_avx2_rows_sum(const float *x, int n);
void	kern_avx2_rows_affine(float *y, const float *x, int n,
	    const struct cpu_affine *a);
void	kern_avx2_rows_axpy(float *y, const float *x, int n, float alpha);
float	kern_avx2_rows_max(const float *x, int n, bool *nan);
double	kern_avx2_rows_exp_sum(const float *x, int n, float max, float mul);

/* kern_avx2_q8.c: n values into blocks of struct cpu_q8_x. */
void	kern_avx2_q8_quant8(void *dst, const float *src, size_t n);

/* kern_avx2_attn.c */
void	kern_avx2_attn(struct cpu_query *q, int n, const struct cpu_keys *b);
void	kern_avx2_attn_merge(struct cpu_query *to, const struct cpu_query *from,
	    int dv);

#endif
