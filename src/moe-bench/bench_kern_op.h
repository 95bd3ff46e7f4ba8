/*
 * bench_kern_op - the operations that `moe-bench kern` times, with their data,
 * their cost, and a check of their results in double.
 */
#ifndef MOE_BENCH_KERN_OP_H
#define MOE_BENCH_KERN_OP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"

struct bench_kern_shape {
	int h, f, experts, k;	/* hidden, inner, experts, top-k */
};

/* One operation on `rows` rows; made for one kern. */
struct bench_kern_op;

struct bench_kern_cost {
	double bytes;		/* that must move between memory and core */
	double flops;
	double sets;		/* calls until memory is used again */
};

/* Comma-free list, for messages. */
#define BENCH_KERN_OPS							\
	"ffn|moe|linear|attn|prefill|norm|gate|rope|embed|head|sample"

/*
 * ffn: rows rows through one expert.  moe: rows tokens, each through k of the
 * experts, in one call.  linear: [h] x [h][h].  attn: one new token of each of
 * rows sequences of ctx tokens with it, prefill: rows new tokens of one after
 * ctx tokens; heads of 128, four to a KV head.  norm: RMS norm of h values.
 * gate: [h] x [h][experts], softmax and the top k.  rope: heads of 128, queries
 * and keys, with angles made before.  With a vocabulary of 151,936: embed, a row
 * a token; head, [h] x [h][vocabulary]; sample, a draw from a row of logits at
 * temperature 1.
 * Weights are cold: every call uses others, over at least cold_bytes in all.
 * NULL with err (ERR_UNAVAIL: too big for max_bytes; ERR_USAGE: no such op).
 */
struct bench_kern_make {
	struct kern *kn;
	enum kern_dtype weights;	/* of matrices: kn's act, or Q8 */
	const char *op;
	struct bench_kern_shape shape;
	int rows, ctx;
	size_t cold_bytes, max_bytes;
	uint64_t seed;
};
struct bench_kern_op *bench_kern_op_new(const struct bench_kern_make *m,
	    struct err *err);
void	bench_kern_op_free(struct bench_kern_op *op);

struct bench_kern_cost bench_kern_op_cost(const struct bench_kern_op *op);
/* Call number i. */
void	bench_kern_op_run(struct bench_kern_op *op, size_t i);
/* Run once more and count the values that are out of tolerance against a
 * computation in double with the weights as they were before packing; of many
 * rows, eight are looked at.  *rms (or NULL): the errors' over the values'. */
size_t	bench_kern_op_wrong(struct bench_kern_op *op, double *rms);
/* The same of y, another's results in dtype t, laid out as the operation's. */
size_t	bench_kern_op_wrong_y(const struct bench_kern_op *op, const void *y,
	    enum kern_dtype t, double *rms);
/* Gate, up and down [out][in] and the rows of ffn, as computed with, in fp32;
 * NULL for other operations. */
struct bench_kern_source {
	const float *gate, *up, *down, *x;
};
struct bench_kern_source bench_kern_op_source(const struct bench_kern_op *op);

#endif
