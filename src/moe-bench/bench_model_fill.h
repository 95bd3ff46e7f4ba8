/*
 * bench_model_fill - random weights as a function of (seed, tensor, element):
 * any piece of any tensor can be made by any thread, in any order, and a
 * checkpoint is the same however it is sharded.
 */
#ifndef MOE_BENCH_MODEL_FILL_H
#define MOE_BENCH_MODEL_FILL_H

#include <stddef.h>
#include <stdint.h>

#include "ckpt.h"

#define BENCH_MODEL_LEVELS	65536

/* Values of a normal distribution, in the stored dtype. */
struct bench_model_table {
	double sd;
	int bytes;			/* of a value: 2 or 4 */
	union {
		uint16_t h[BENCH_MODEL_LEVELS];
		float f[BENCH_MODEL_LEVELS];
	} u;
};

/* Fill t for deviation sd; sd 0 means every value is 1 (norm weights).
 * dtype is CKPT_F32, CKPT_F16 or CKPT_BF16. */
void	bench_model_fill_table(struct bench_model_table *t, double sd,
	    enum ckpt_dtype dtype);

/* buf[0..n) = elements first .. first + n of the tensor whose key is key;
 * first is a multiple of 8. */
void	bench_model_fill(const struct bench_model_table *t, uint64_t key,
	    uint64_t first, size_t n, void *buf);

#endif
