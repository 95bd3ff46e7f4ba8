/* at_load - the loaded weights of the front end, shared by at_load.c (fills
 * them) and at_model.c (computes with them). */
#ifndef MOE_AT_LOAD_H
#define MOE_AT_LOAD_H

#include "at_model.h"
#include "rope.h"

struct at_vec {
	float *p;		/* NULL: this model has none */
	int n;
};

struct at_layer {
	struct at_vec in_norm, post_norm, q_norm, k_norm;
	struct kern_mat qkv, o;	/* q, k, v: stacked */
	struct at_vec qkv_bias, o_bias;
	struct kern_mat router, shared_router;
	struct kern_expert ffn;	/* shared expert, or the MLP of a dense layer */
	bool has_ffn;
};

struct at_model {
	struct kern *kn;
	const struct model *m;
	const struct model_cfg *cfg;
	enum kern_dtype act;
	struct kern_mat embed, lm_head;	/* lm_head unused when tied */
	struct at_vec final_norm;
	struct at_layer *layer;
	const struct skew *skew;	/* draws experts; NULL: the gate does */
	struct at_prof *prof;	/* NULL: nobody counts */
	struct kern_sum sum;	/* how answers are joined */
	float inv_freq[ROPE_MAX_DIM / 2];
	float rope_mscale;
	uint64_t bytes;
};

#endif
