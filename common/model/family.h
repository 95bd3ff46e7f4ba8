/*
 * family - model families as data: for each model_type, where config.json
 * keeps its numbers, which rules it computes by, and the names and shapes of
 * its tensors.  A new family is a row here, not a code path.  Constant.
 */
#ifndef MOE_FAMILY_H
#define MOE_FAMILY_H

#include <stdbool.h>

#include "config.h"
#include "kern.h"
#include "model.h"

/* A dimension of a tensor, in terms of the config. */
enum family_dim {
	FAMILY_1 = 0, FAMILY_H, FAMILY_V, FAMILY_E,
	FAMILY_I, FAMILY_2I,		/* routed expert */
	FAMILY_S, FAMILY_2S,		/* shared expert */
	FAMILY_D,			/* dense MLP */
	FAMILY_Q, FAMILY_K, FAMILY_VV,	/* rows of q, k and v projections */
	FAMILY_O,			/* columns of the o projection */
	FAMILY_QN, FAMILY_KN,		/* length of the q and k norm weights */
};

/* Which part of the tensor the role is. */
enum family_part {
	FAMILY_WHOLE = 0,
	FAMILY_FIRST, FAMILY_SECOND,	/* half of the rows: gate, up */
	FAMILY_EVEN, FAMILY_ODD,	/* every other row */
};

/* One way to store a role.  Rows of a role are tried in order; the first whose
 * tensor is in the checkpoint holds. */
struct family_tensor {
	enum model_role role;
	const char *name;	/* "{l}" is the layer, "{e}" the expert */
	int rank;
	enum family_dim dim[3];
	enum family_part part;
	bool slab;		/* dim[0] counts experts: one slab each */
	bool transposed;	/* the last two dims are [in][out] */
};

/* How config.json says which layers have a sliding window. */
enum family_window {
	FAMILY_WINDOW_NONE = 0,
	FAMILY_WINDOW_ALL,	/* sliding_window in every layer */
	FAMILY_WINDOW_USE,	/* all layers, if use_sliding_window */
	FAMILY_WINDOW_USE_FROM,	/* layers >= max_window_layers, likewise */
};

struct family {
	const char *model_type;
	/* keys of config.json; a NULL key does not exist in this family */
	const char *key_inter, *key_shared, *key_dense, *key_bias;
	bool bias_default, bias_o;	/* key_bias; does it include o_proj */
	bool sparse_step;	/* decoder_sparse_step, mlp_only_layers */
	bool multipliers;	/* embedding_, attention_, residual_, logits_ */
	bool clip_qkv;
	enum family_window window;
	double theta, eps;	/* class defaults */
	/* rules */
	enum kern_route_rule rule;
	int renorm;		/* 1, 0, or -1: norm_topk_prob says */
	enum config_qknorm qknorm;
	enum config_shared shared;
	enum kern_glu glu;
	/* tensors: lists end with a NULL name */
	const struct family_tensor *attn, *ffn;
};

/* NULL when this build does not read it. */
const struct family *family_find(const char *model_type);
/* "granitemoe, mixtral, ...": for messages. */
const char *family_list(void);
/* All of them, ending with model_type NULL. */
const struct family *family_all(void);

#endif
