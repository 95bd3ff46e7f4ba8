/* bench_model_shape - the shapes that `moe-bench model` writes. */
#ifndef MOE_BENCH_MODEL_SHAPE_H
#define MOE_BENCH_MODEL_SHAPE_H

#include <stdbool.h>

#include "err.h"
#include "str.h"

struct bench_model_shape {
	const char *name;
	const char *family;	/* model_type */
	int hidden, layers, heads, kv_heads, head_dim;
	int experts, top_k, inter;
	int shared, dense;	/* inner sizes; 0: none */
	int dense_layers;	/* the first so many have no experts */
	int vocab, ctx;
	double theta;
	int tied;
};

/* "olmoe", "olmoe,layers=2", "hidden=64,experts=4,...": a name is where to
 * start from (without one: a small qwen3_moe), KEY=VALUE changes it.  family
 * points to static memory.  -1: ERR_USAGE. */
int	bench_model_shape_parse(struct bench_model_shape *s, const char *text,
	    struct err *err);
/* Take another family (NULL: keep); -1: ERR_USAGE for an unknown one. */
int	bench_model_shape_family(struct bench_model_shape *s,
	    const char *family, struct err *err);
/* Append config.json for weights stored as dtype ("bfloat16"). */
void	bench_model_shape_config(const struct bench_model_shape *s,
	    const char *dtype, struct str *out);

/* Token ids of the tokenizer that is written beside it; see
 * bench_model_tok.h. */
#define BENCH_MODEL_EOS		256
#define BENCH_MODEL_IM_START	257
#define BENCH_MODEL_IM_END	258
#define BENCH_MODEL_VOCAB_MIN	259

#endif
