/* family - see family.h.  Floor F4; constant tables only. */
#include "family.h"

#include <string.h>

#define L	"model.layers.{l}."
#define END	{ .name = NULL }
#define MAT(role, name, out, in)	{ role, name, 2, { out, in }, 0, 0, 0 }
#define VEC1(role, name, n)		{ role, name, 1, { n }, 0, 0, 0 }
#define PART(role, name, out, in, part)	\
	{ role, name, 2, { out, in }, part, 0, 0 }
#define SLAB(role, name, out, in, part)	\
	{ role, name, 3, { FAMILY_E, out, in }, part, true, false }

/* Llama's names, with what the members of its house add; a row whose weight a
 * model's config rules out (a bias, a norm) is never looked up. */
static const struct family_tensor attn_gqa[] = {
	MAT(MODEL_EMBED, "model.embed_tokens.weight", FAMILY_V, FAMILY_H),
	MAT(MODEL_LM_HEAD, "lm_head.weight", FAMILY_V, FAMILY_H),
	VEC1(MODEL_FINAL_NORM, "model.norm.weight", FAMILY_H),
	VEC1(MODEL_IN_NORM, L "input_layernorm.weight", FAMILY_H),
	VEC1(MODEL_POST_NORM, L "post_attention_layernorm.weight", FAMILY_H),
	MAT(MODEL_Q, L "self_attn.q_proj.weight", FAMILY_Q, FAMILY_H),
	MAT(MODEL_K, L "self_attn.k_proj.weight", FAMILY_K, FAMILY_H),
	MAT(MODEL_V, L "self_attn.v_proj.weight", FAMILY_VV, FAMILY_H),
	MAT(MODEL_O, L "self_attn.o_proj.weight", FAMILY_H, FAMILY_O),
	VEC1(MODEL_Q_BIAS, L "self_attn.q_proj.bias", FAMILY_Q),
	VEC1(MODEL_K_BIAS, L "self_attn.k_proj.bias", FAMILY_K),
	VEC1(MODEL_V_BIAS, L "self_attn.v_proj.bias", FAMILY_VV),
	VEC1(MODEL_O_BIAS, L "self_attn.o_proj.bias", FAMILY_H),
	VEC1(MODEL_Q_NORM, L "self_attn.q_norm.weight", FAMILY_QN),
	VEC1(MODEL_K_NORM, L "self_attn.k_norm.weight", FAMILY_KN),
	END
};

/* Fused experts as transformers 5 keeps them in memory and may save them:
 * gate above up in one tensor, one slab per expert. */
#define FUSED(p)							\
	SLAB(MODEL_EXPERT_GATE, L p "experts.gate_up_proj", FAMILY_2I,	\
	    FAMILY_H, FAMILY_FIRST),					\
	SLAB(MODEL_EXPERT_UP, L p "experts.gate_up_proj", FAMILY_2I,	\
	    FAMILY_H, FAMILY_SECOND),					\
	SLAB(MODEL_EXPERT_DOWN, L p "experts.down_proj", FAMILY_H,	\
	    FAMILY_I, FAMILY_WHOLE)

#define MIXTRAL(p)							\
	MAT(MODEL_ROUTER, L p "gate.weight", FAMILY_E, FAMILY_H),	\
	MAT(MODEL_EXPERT_GATE, L p "experts.{e}.w1.weight", FAMILY_I,	\
	    FAMILY_H),							\
	MAT(MODEL_EXPERT_UP, L p "experts.{e}.w3.weight", FAMILY_I,	\
	    FAMILY_H),							\
	MAT(MODEL_EXPERT_DOWN, L p "experts.{e}.w2.weight", FAMILY_H,	\
	    FAMILY_I)

static const struct family_tensor ffn_mixtral[] = {
	MIXTRAL("block_sparse_moe."),
	MIXTRAL("mlp."),
	FUSED("block_sparse_moe."),
	FUSED("mlp."),
	END
};

/* Qwen2-MoE, Qwen3-MoE, OLMoE. */
static const struct family_tensor ffn_qwen[] = {
	MAT(MODEL_ROUTER, L "mlp.gate.weight", FAMILY_E, FAMILY_H),
	MAT(MODEL_SHARED_GATE, L "mlp.shared_expert.gate_proj.weight",
	    FAMILY_S, FAMILY_H),
	MAT(MODEL_SHARED_UP, L "mlp.shared_expert.up_proj.weight",
	    FAMILY_S, FAMILY_H),
	MAT(MODEL_SHARED_DOWN, L "mlp.shared_expert.down_proj.weight",
	    FAMILY_H, FAMILY_S),
	MAT(MODEL_SHARED_ROUTER, L "mlp.shared_expert_gate.weight",
	    FAMILY_1, FAMILY_H),
	MAT(MODEL_EXPERT_GATE, L "mlp.experts.{e}.gate_proj.weight",
	    FAMILY_I, FAMILY_H),
	MAT(MODEL_EXPERT_UP, L "mlp.experts.{e}.up_proj.weight",
	    FAMILY_I, FAMILY_H),
	MAT(MODEL_EXPERT_DOWN, L "mlp.experts.{e}.down_proj.weight",
	    FAMILY_H, FAMILY_I),
	FUSED("mlp."),
	MAT(MODEL_DENSE_GATE, L "mlp.gate_proj.weight", FAMILY_D, FAMILY_H),
	MAT(MODEL_DENSE_UP, L "mlp.up_proj.weight", FAMILY_D, FAMILY_H),
	MAT(MODEL_DENSE_DOWN, L "mlp.down_proj.weight", FAMILY_H, FAMILY_D),
	END
};

static const struct family_tensor ffn_granite[] = {
	MAT(MODEL_ROUTER, L "block_sparse_moe.router.layer.weight",
	    FAMILY_E, FAMILY_H),
	SLAB(MODEL_EXPERT_GATE, L "block_sparse_moe.input_linear.weight",
	    FAMILY_2I, FAMILY_H, FAMILY_FIRST),
	SLAB(MODEL_EXPERT_UP, L "block_sparse_moe.input_linear.weight",
	    FAMILY_2I, FAMILY_H, FAMILY_SECOND),
	SLAB(MODEL_EXPERT_DOWN, L "block_sparse_moe.output_linear.weight",
	    FAMILY_H, FAMILY_I, FAMILY_WHOLE),
	PART(MODEL_SHARED_GATE, L "shared_mlp.input_linear.weight",
	    FAMILY_2S, FAMILY_H, FAMILY_FIRST),
	PART(MODEL_SHARED_UP, L "shared_mlp.input_linear.weight",
	    FAMILY_2S, FAMILY_H, FAMILY_SECOND),
	MAT(MODEL_SHARED_DOWN, L "shared_mlp.output_linear.weight",
	    FAMILY_H, FAMILY_S),
	END
};

/* In the order of their names. */
static const struct family families[] = {
	{ .model_type = "granitemoe", .key_inter = "intermediate_size",
	  .key_bias = "attention_bias", .bias_o = true, .multipliers = true,
	  .theta = 1e4, .eps = 1e-6, .rule = KERN_ROUTE_TOPK_SOFTMAX,
	  .renorm = 0, .glu = KERN_SILU,
	  .attn = attn_gqa, .ffn = ffn_granite },
	{ .model_type = "granitemoeshared", .key_inter = "intermediate_size",
	  .key_shared = "shared_intermediate_size",
	  .key_bias = "attention_bias", .bias_o = true, .multipliers = true,
	  .theta = 1e4, .eps = 1e-6, .rule = KERN_ROUTE_TOPK_SOFTMAX,
	  .renorm = 0, .shared = CONFIG_SHARED_PLAIN, .glu = KERN_SILU,
	  .attn = attn_gqa, .ffn = ffn_granite },
	{ .model_type = "mixtral", .key_inter = "intermediate_size",
	  .window = FAMILY_WINDOW_ALL, .theta = 1e6, .eps = 1e-5,
	  .rule = KERN_ROUTE_SOFTMAX, .renorm = 1, .glu = KERN_SILU,
	  .attn = attn_gqa, .ffn = ffn_mixtral },
	{ .model_type = "olmoe", .key_inter = "intermediate_size",
	  .key_bias = "attention_bias", .bias_o = true, .clip_qkv = true,
	  .theta = 1e4, .eps = 1e-5, .rule = KERN_ROUTE_SOFTMAX,
	  .renorm = -1, .qknorm = CONFIG_QKNORM_FULL, .glu = KERN_SILU,
	  .attn = attn_gqa, .ffn = ffn_qwen },
	{ .model_type = "qwen2_moe", .key_inter = "moe_intermediate_size",
	  .key_shared = "shared_expert_intermediate_size",
	  .key_dense = "intermediate_size", .key_bias = "qkv_bias",
	  .bias_default = true, .sparse_step = true,
	  .window = FAMILY_WINDOW_USE_FROM, .theta = 1e4, .eps = 1e-6,
	  .rule = KERN_ROUTE_SOFTMAX, .renorm = -1,
	  .shared = CONFIG_SHARED_GATED, .glu = KERN_SILU,
	  .attn = attn_gqa, .ffn = ffn_qwen },
	{ .model_type = "qwen3_moe", .key_inter = "moe_intermediate_size",
	  .key_dense = "intermediate_size", .key_bias = "attention_bias",
	  .bias_o = true, .sparse_step = true, .window = FAMILY_WINDOW_USE,
	  .theta = 1e4, .eps = 1e-6, .rule = KERN_ROUTE_SOFTMAX,
	  .renorm = -1, .qknorm = CONFIG_QKNORM_HEAD, .glu = KERN_SILU,
	  .attn = attn_gqa, .ffn = ffn_qwen },
	{ .model_type = NULL },
};

const struct family *
family_find(const char *model_type)
{
	const struct family *f;

	for (f = families; f->model_type != NULL; f++)
		if (strcmp(f->model_type, model_type) == 0)
			return f;
	return NULL;
}

const char *
family_list(void)
{
	return "granitemoe, granitemoeshared, mixtral, olmoe, qwen2_moe, "
	    "qwen3_moe";
}

const struct family *
family_all(void)
{
	return families;
}
