/*
 * cpu.h - inside of the cpu backend: the opened struct, and the table of inner
 * loops that an instruction set brings.
 *
 * Scheduling (who computes which block of outputs for which rows, scratch,
 * barriers) is written once, in cpu_mat.c, cpu_ffn.c, cpu_attn.c, cpu_rows.c;
 * a variant supplies the loops over K and over the values of a row.  "ref" is
 * apart: kern_ref.c implements every operation by itself, simply.
 */
#ifndef MOE_CPU_H
#define MOE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu_q8.h"
#include "kern_impl.h"
#include "pool.h"

#define CPU_LANES	16	/* outputs of a packed block */
#define CPU_ROWS	6	/* most rows of a tile */
#define CPU_BLOCKS	8	/* most blocks of a tile call */
#define CPU_KEYS	128	/* key positions of an attention block */
#define CPU_SPAN	512	/* key positions that are summed up by themselves */

/* CPU_ROLL: before a loop that must stay one.  CPU_UNROLL:
 * before a loop over an array of accumulators whose count is a constant after
 * inlining: gcc must unroll it early to keep the array in registers; clang
 * does so by itself, and better without the hint. */
#ifdef __clang__
#define CPU_UNROLL
#define CPU_ROLL	_Pragma("clang loop unroll(disable)")
#else
#define CPU_UNROLL	_Pragma("GCC unroll 24")
#define CPU_ROLL	_Pragma("GCC unroll 1")
#endif

/*
 * Products of nb consecutive packed blocks w with m <= CPU_ROWS rows x[r] of k
 * values: acc[(b * m + r) * 16 + j] = sum over k.  The order of that sum is
 * the same for every m, nb.  Rows are fp32; bf16 for `dp`; quantised for `q8`.
 */
typedef void cpu_tile_fn(float *acc, const void *w, const void *const *x,
    int m, int nb, int k);

/* Rows of the next tile when so many are left: as few tiles as can be, of about
 * the same size.  8 rows are 4 and 4: in a tile of 2 rows too few sums are
 * under way to hide the latency of a multiply-add. */
static inline int
cpu_tile_rows(int left)
{
	int tiles = (left + CPU_ROWS - 1) / CPU_ROWS;

	return (left + tiles - 1) / tiles;
}

/* One query of attention as it streams over blocks of keys. */
struct cpu_query {
	const float *q;		/* [dk] */
	float *o;		/* [dv]: sum of p * v so far */
	float max, sum;		/* running maximum, sum of exp(s - max) */
	int lo, hi;		/* visible keys of this block: lo <= j < hi */
};

#define CPU_PAGES	(CPU_KEYS / KERN_PAGE_TOK)
#define CPU_AHEAD	4	/* pages to prefetch ahead */

/*
 * A block of keys: one head's part of each page, in bf16 or fp32, and of the
 * pages that are needed next.  A page's K is a packed block with its 16 tokens
 * as outputs and dk inputs; its V is dv / 16 packed blocks with 16 values each
 * as outputs and the tokens as inputs (dv: a multiple of 16).
 */
struct cpu_keys {
	const void *k[CPU_PAGES + CPU_AHEAD], *v[CPU_PAGES + CPU_AHEAD];
	bool bf16;
	int dk, dv;
	float scale;
};

/* y = (x - mean) * inv * w + b; w, b may be NULL. */
struct cpu_affine {
	float mean, inv;
	const float *w, *b;
};

struct cpu_isa {
	const char *name;
	int nb_few, nb_many;	/* good widths for <= CPU_ROWS rows, more */
	cpu_tile_fn *f32;	/* fp32 weights, fp32 rows */
	cpu_tile_fn *bf16;	/* bf16 weights, fp32 rows */
	cpu_tile_fn *dp;	/* bf16 weights, bf16 rows; NULL: widen rows */
	void (*widen)(float *dst, const uint16_t *src, size_t n);
	void (*narrow)(uint16_t *dst, const float *src, size_t n);
	/* n vectors of 16: 8 gates, 8 ups; the result replaces the gates. */
	void (*glu)(float *acc, int n, enum kern_glu glu);
	/* sum of (x - mean)^2; sum of x. */
	float (*sum_sq)(const float *x, int n, float mean);
	float (*sum)(const float *x, int n);
	void (*affine)(float *y, const float *x, int n,	/* y may be x */
	    const struct cpu_affine *a);
	void (*axpy)(float *y, const float *x, int n, float alpha);
	/* Take block b into n queries: streaming softmax over lo .. hi - 1 of
	 * each (lo >= hi: nothing). */
	void (*attn)(struct cpu_query *q, int n, const struct cpu_keys *b);
	/* `to` takes in `from`, a softmax over later keys: dv values, a
	 * multiple of 16. */
	void (*attn_merge)(struct cpu_query *to, const struct cpu_query *from,
	    int dv);
	/* Largest value; *nan set (never cleared) when there is a NaN. */
	float (*max)(const float *x, int n, bool *nan);
	/* sum of exp((x - max) * mul). */
	double (*exp_sum)(const float *x, int n, float max, float mul);
};

/* Products with q8 weights.  Their bits are the same for all, so that a variant
 * takes what is fastest here. */
struct cpu_q8 {
	cpu_tile_fn *tile;	/* rows as quant makes them */
	/* n values into ceil(n / 32) blocks of quant_bytes: the numbers that
	 * cpu_q8_quant gives, arranged for the tile. */
	void (*quant)(void *dst, const float *src, size_t n);
	size_t quant_bytes;
};

/* Scratch that only grows. */
struct cpu_buf {
	void *p;
	size_t bytes;
};

enum cpu_scratch { CPU_X, CPU_PTR, CPU_MID, CPU_PLAN, CPU_ATTN, CPU_N_BUF };

struct cpu {
	struct kern k;
	struct pool *pool;
	const struct cpu_isa *isa;
	const struct cpu_q8 *q8;
	struct cpu_buf buf[CPU_N_BUF];
};

static inline struct cpu *
cpu_of(struct kern *kn)
{
	return (struct cpu *)kn;
}

/* At least bytes of scratch, 64-byte aligned, contents undefined. */
void	*cpu_scratch(struct cpu *c, enum cpu_scratch which, size_t bytes);

/* Memory for weights: see kern_mem_alloc. */
void	*cpu_mem_alloc(size_t bytes);
void	cpu_mem_free(void *p, size_t bytes);

/* Bytes from one packed block to the next. */
static inline size_t
cpu_block_bytes(const struct kern_mat *m)
{
	if (m->dtype == KERN_F32)
		return (size_t)m->k * 64;
	if (m->dtype == KERN_Q8)
		return cpu_q8_bytes(m->k);
	return ((size_t)m->k + 1) / 2 * 64;
}

/* Element (lane, k) of a packed block of F32 or BF16, in elements. */
static inline size_t
cpu_at(enum kern_dtype t, size_t lane, size_t k)
{
	if (t == KERN_F32)
		return k * 16 + lane;
	return (k / 2 * 16 + lane) * 2 + k % 2;
}

/* Value i of K, and of V, of head j and token tok of a page, in elements from
 * the page's beginning: the packed blocks of struct cpu_keys, head by head,
 * first all of K.  An odd dk in bf16 is padded to a pair, dv to blocks. */
static inline size_t
cpu_k_at(const struct kern_kv *kv, int j, int tok, int i)
{
	int dk = kv->kvt == KERN_F32 ? kv->dk : (kv->dk + 1) / 2 * 2;

	return (size_t)(j * dk) * KERN_PAGE_TOK +
	    cpu_at(kv->kvt, (size_t)tok, (size_t)i);
}

static inline size_t
cpu_v_at(const struct kern_kv *kv, int j, int tok, int i)
{
	int dv = (kv->dv + 15) / 16 * 16;

	return cpu_k_at(kv, kv->hk, 0, 0) +
	    (size_t)(j * dv + i / 16 * 16) * KERN_PAGE_TOK +
	    cpu_at(kv->kvt, (size_t)i % 16, (size_t)tok);
}

/* What rows of act become before a tile: nothing, fp32, or blocks of int8. */
enum cpu_form { CPU_AS_IS, CPU_WIDE, CPU_QUANT };
/* The tile for w, and the form that it wants. */
cpu_tile_fn *cpu_tile(const struct cpu *c, const struct kern_mat *w,
    enum cpu_form *form_p);
/* Bytes of a row of n values in that form. */
size_t	cpu_row_bytes(const struct cpu *c, enum cpu_form form, size_t n);
/* n fp32 values to a row of that form, rounded to act first.  n is a multiple of
 * 32 when more of the row follow. */
void	cpu_row_put(const struct cpu *c, enum cpu_form form, void *dst,
	    const float *v, size_t n);
/* The same from n values of act, each multiplied by scale if that is not NULL
 * and then rounded to act. */
void	cpu_row_make(const struct cpu *c, enum cpu_form form, void *dst,
	    const void *src, size_t n, const float *scale);

/* Operations (see struct kern_ops), one file each. */
void	cpu_mat_pack(const struct kern *kn, const struct kern_pack *p);
void	cpu_mat_glu_pack(const struct kern *kn, struct kern_mat *m,
	    enum kern_part part, const struct kern_pack *p);
void	cpu_mat_row(const struct kern *kn, const struct kern_mat *m, int i,
	    float *out);
void	cpu_linear(struct kern *kn, const struct kern_linear *a);
void	cpu_ffn(struct kern *kn, const struct kern_ffn *a);
void	cpu_attn(struct kern *kn, const struct kern_attn *a);
void	cpu_kv_put(struct kern *kn, const struct kern_kv_put *a);
void	cpu_rows_norm(struct kern *kn, const struct kern_norm *a);
void	cpu_rows_rope(struct kern *kn, const struct kern_rope *a);
void	cpu_rows_axpy(struct kern *kn, const struct kern_axpy *a);
void	cpu_rows_combine(struct kern *kn, const struct kern_combine *a);
void	cpu_rows_softmax_sum(struct kern *kn, const float *x, int n,
	    float inv_temp, float *max, double *sum);
int	cpu_rows_argmax(struct kern *kn, const float *x, int n);

/* Variants: NULL when the processor cannot run them. */
const struct cpu_isa *kern_avx2_isa(void);
const struct cpu_isa *kern_avx512bf16_isa(void);
const struct cpu_q8 *kern_avx2_q8(void);
const struct cpu_q8 *kern_avx512vnni_q8(void);
extern const struct kern_ops kern_ref_ops;

#endif
