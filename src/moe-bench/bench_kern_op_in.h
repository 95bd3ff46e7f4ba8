/*
 * bench_kern_op_in - inside of bench_kern_op: the data of an operation, and
 * what its kinds, one file or two, share.
 */
#ifndef MOE_BENCH_KERN_OP_IN_H
#define MOE_BENCH_KERN_OP_IN_H

#include "bench_kern_op.h"

struct bench_kern_op {
	struct bench_kern_make m;
	const struct bench_kern_kind *kind;
	enum kern_dtype act, ydt;	/* of rows, of results */
	uint64_t rnd;
	size_t sets;
	/* sources, fp32 holding values of act */
	float *a, *b, *c;	/* gate, up, down; linear: a; norm: a = weight */
	float *x;		/* [rows][h] input; attn: queries */
	void *xa;		/* x in act */
	void *y;		/* results in ydt */
	size_t y_width;		/* values of one result */
	/* ffn, moe */
	struct kern_expert *expert;	/* [sets] */
	struct kern_group *group;
	int n_group, n_in;
	const void **in;
	void **out;
	int *in_row;		/* input row of each entry; embed, sample: id */
	/* linear, gate, head; embed: one, and calls so far */
	struct kern_mat *mat;	/* [n_mat] */
	size_t n_mat, calls;
	/* gate, rope */
	float *logit, *angle, *inv_freq;
	int32_t *pos;
	struct at_sample_mem *draw;	/* sample */
	/* attn */
	struct kern_kv kv;
	char *arena;
	size_t arena_bytes, set_bytes;
	bool prefill;
	struct kern_seq *seq;
	int32_t *page;
};

/* An operation: how its data is made, a call, the truth of a row (returns the
 * magnitude that errors are measured against), and its cost. */
struct bench_kern_kind {
	const char *name;
	int (*make)(struct bench_kern_op *, struct err *);
	void (*run)(struct bench_kern_op *, size_t set);
	double (*truth)(const struct bench_kern_op *, int row, double *y);
	struct bench_kern_cost (*cost)(const struct bench_kern_op *);
	/* NULL: nothing to do before a call whose results are checked; nothing
	 * of its own to free. */
	void (*begin)(struct bench_kern_op *);
	void (*end)(struct bench_kern_op *);
};

extern const struct bench_kern_kind bench_kern_op_attn, bench_kern_op_prefill,
	    bench_kern_op_norm, bench_kern_op_gate, bench_kern_op_rope,
	    bench_kern_op_embed, bench_kern_op_head, bench_kern_op_sample;

/* n values of act in [-scale, scale), as fp32; the caller's to free. */
float	*bench_kern_op_values(struct bench_kern_op *op, size_t n, double scale);
/* Choose op->sets for copies of bytes each, `least` at least; -1 and err when
 * they are more than max_bytes. */
int	bench_kern_op_sets(struct bench_kern_op *op, size_t bytes, size_t least,
	    struct err *err);
/* m: memory for [n][k] of dtype t, not packed yet. */
void	bench_kern_op_mat(struct bench_kern_op *op, struct kern_mat *m, int n,
	    int k, enum kern_dtype t);
/* Make x, xa and y: rows of n_in and of n_out values. */
void	bench_kern_op_rows(struct bench_kern_op *op, size_t n_in, size_t n_out);

#endif
