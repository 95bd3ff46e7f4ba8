/*
 * bench_model_write - a checkpoint directory, complete or not there: all files
 * are written under another name (X.part) and renamed at the end, config.json
 * last, which is the file that readers look for first.
 */
#ifndef MOE_BENCH_MODEL_WRITE_H
#define MOE_BENCH_MODEL_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "ckpt.h"
#include "config.h"
#include "err.h"

struct bench_model_write {
	const char *dir;	/* made if it is not there */
	bool force;		/* replace what an earlier run left in it */
	const struct model_cfg *cfg;
	enum ckpt_dtype dtype;
	uint64_t seed;
	uint64_t shard_bytes;	/* begin a new file beyond so many */
	int threads;
	bool progress;		/* a line on stderr that rewrites itself */
	/* texts of the other files */
	const char *config, *gen, *tok, *tok_config;
};

/* *bytes_p: of all tensors.  -1: ERR_DATA (a directory in use), ERR_TEMP. */
int	bench_model_write(const struct bench_model_write *w, uint64_t *bytes_p,
	    struct err *err);

#endif
