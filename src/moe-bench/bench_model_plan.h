/* bench_model_plan - which tensor goes where in a checkpoint to be written. */
#ifndef MOE_BENCH_MODEL_PLAN_H
#define MOE_BENCH_MODEL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ckpt.h"
#include "config.h"
#include "str.h"

struct bench_model_tensor {
	char *name;
	int rank;
	size_t shape[3];
	size_t elems;
	double sd;		/* of its values; 0: all ones */
	int file;
	uint64_t begin;		/* byte within its file's data */
};

struct bench_model_file {
	char *name;
	struct str header;	/* length word and JSON: data follow it */
	uint64_t data_bytes;
};

struct bench_model_plan {
	struct { struct bench_model_tensor *p; size_t n, cap; } tensor;
	struct { struct bench_model_file *p; size_t n, cap; } file;
	struct str index;	/* of the shards; empty for a single file */
	uint64_t bytes;		/* of all tensors */
};

/* Every tensor of cfg, in files of about shard_bytes.  Values are scaled so
 * that activations stay near 1 and logits have a deviation of a few. */
void	bench_model_plan(struct bench_model_plan *p,
	    const struct model_cfg *cfg, enum ckpt_dtype dtype,
	    uint64_t shard_bytes);
void	bench_model_plan_free(struct bench_model_plan *p);

#endif
