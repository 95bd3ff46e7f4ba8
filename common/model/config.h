/*
 * config - config.json and generation_config.json of a checkpoint, as numbers.
 *
 * What a family's config class would make of the files: defaults filled in,
 * old and new key names accepted, per-layer lists expanded.  A model_type
 * that is unknown, or a known key with a value that this build does not
 * compute (activation, rope type, quantisation method), is ERR_DATA naming
 * file, key and what is supported: never a warning.  Unknown keys are ignored.
 * Immutable once read.
 */
#ifndef MOE_CONFIG_H
#define MOE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"
#include "rope.h"

struct family;			/* family.h */

enum config_qknorm {		/* RMSNorm of q and k before rope */
	CONFIG_QKNORM_NONE = 0,
	CONFIG_QKNORM_HEAD,	/* per head, weight [d_head] */
	CONFIG_QKNORM_FULL,	/* over the whole vector, weight [heads*d] */
};

enum config_shared {		/* the expert that every token passes */
	CONFIG_SHARED_NONE = 0,
	CONFIG_SHARED_PLAIN,	/* added as it is */
	CONFIG_SHARED_GATED,	/* times sigmoid(shared_router . x) */
};

struct model_layer {
	bool moe;		/* else a dense MLP of inter_dense */
	bool rope;		/* else no positions (NoPE) */
	int window;		/* sliding window in tokens; 0: full */
};

#define CONFIG_EOS	16

/* Defaults of sampling: vLLM's, overridden by generation_config.json. */
struct model_gen {
	double temperature, top_p, min_p, repetition_penalty;
	int top_k;		/* 0: off */
	int n_eos;
	int32_t eos[CONFIG_EOS];	/* of both files, no id twice */
	int32_t bos;		/* -1: none */
};

struct model_cfg {
	const struct family *family;
	const char *model_type;
	int hidden, n_layer, vocab, max_pos;
	int n_head, n_kv_head;
	int dk, dv;		/* head sizes of q and k, and of v */
	float norm_eps;
	float attn_scale;	/* of q.k */
	float clip_qkv;		/* clamp q, k, v to +-this; 0: no */
	enum config_qknorm qknorm;
	bool qkv_bias, o_bias;
	struct rope_cfg rope;

	/* x0 = embed * embed_mult; x = r + branch * residual_mult;
	 * logits = lm_head(x) / logits_div. */
	float embed_mult, residual_mult, logits_div;
	bool tied;		/* lm_head is the embedding */

	int n_expert, top_k;
	int inter;		/* inner size of a routed expert */
	int inter_shared;	/* of the shared expert; 0: none */
	int inter_dense;	/* of a dense layer's MLP; 0: no such layer */
	enum config_shared shared;
	enum kern_glu glu;
	enum kern_route_rule rule;
	bool renorm;
	float scaling;
	int n_group, topk_group;
	float jitter;

	struct model_layer *layer;	/* [n_layer] */
	struct model_gen gen;
};

/* Read dir/config.json and, if it is there, dir/generation_config.json. */
int	config_read(struct model_cfg **cfg_p, const char *dir, struct err *err);
/* The same from text (gen may be NULL), for tests and fuzzing. */
int	config_parse(struct model_cfg **cfg_p, const char *text, size_t n,
	    const char *gen, size_t n_gen, struct err *err);
void	config_free(struct model_cfg *cfg);

/* Most that any size in a config may be; keeps every product in range. */
#define CONFIG_MAX_LAYER	4096
#define CONFIG_MAX_EXPERT	65535	/* a route's expert is 16 bits */
#define CONFIG_MAX_DIM		(1 << 20)
#define CONFIG_MAX_VOCAB	(1 << 24)

#endif
