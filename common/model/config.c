/*
 * config - see config.h.  Floor F4.
 *
 * Order matters for people: first what says "this build cannot compute that
 * model at all" (model_type, quantisation, activation), then sizes, then the
 * rest.  Every size is bounded, so that products of them cannot overflow.
 */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config_rope.h"
#include "family.h"
#include "json.h"
#include "mem.h"

#define CONFIG_BYTES	(16u << 20)
#define MAX_HEADS	65536
#define MAX_HEAD_DIM	4096
#define MAX_POS		(1 << 30)
#define MAX_MULT	1e6

static int
may_dim(const struct json_src *s, const char *key, int lo, int hi, int *out)
{
	int64_t v = *out;

	if (json_may_int(s, key, lo, hi, &v) != 0)
		return -1;
	*out = (int)v;
	return 0;
}

static int
want_dim(const struct json_src *s, const char *key, int hi, int *out)
{
	int64_t v;

	if (json_want_int(s, key, 1, hi, &v) != 0)
		return -1;
	*out = (int)v;
	return 0;
}

static int
may_float(const struct json_src *s, const char *key, double lo, double hi,
    float *out)
{
	double v = (double)*out;

	if (json_may_real(s, key, lo, hi, &v) != 0)
		return -1;
	*out = (float)v;
	return 0;
}

/* ---- what this build computes at all ----------------------------------- */

/* The method by its name; bitsandbytes has none, but keys of its own. */
static int
fail_quantised(const struct json_src *s, const json_t *quant)
{
	const json_t *method = json_object_get(quant, "quant_method");
	const char *key = json_object_iter_key(
	    json_object_iter((json_t *)(uintptr_t)quant));

	if (json_is_string(method))
		return json_want_fail(s, "quantization_config.quant_method",
		    "\"%s\" is not supported: this build reads unquantised "
		    "weights (F32, F16, BF16)", json_string_value(method));
	return json_want_fail(s, "quantization_config", "%s%s is not "
	    "supported: this build reads unquantised weights (F32, F16, BF16)",
	    key != NULL ? "a method with " : "none that is named",
	    key != NULL ? key : "");
}

static int
parse_family(struct model_cfg *c, const struct json_src *s)
{
	const char *type, *act = "silu";
	const json_t *quant;

	if (json_want_str(s, "model_type", &type) != 0)
		return -1;
	c->family = family_find(type);
	if (c->family == NULL)
		return json_want_fail(s, "model_type", "\"%s\" is not "
		    "supported: this build reads %s", type, family_list());
	c->model_type = c->family->model_type;
	if (json_may_obj(s, "quantization_config", &quant) != 0)
		return -1;
	if (quant != NULL)
		return fail_quantised(s, quant);
	if (json_may_str(s, "hidden_act", &act) != 0)
		return -1;
	if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
		return json_want_fail(s, "hidden_act", "\"%s\" is not "
		    "supported: this family computes silu", act);
	return 0;
}

/* ---- sizes ------------------------------------------------------------- */

static int
parse_heads(struct model_cfg *c, const struct json_src *s)
{
	if (want_dim(s, "num_attention_heads", MAX_HEADS, &c->n_head) != 0)
		return -1;
	c->n_kv_head = c->n_head;
	if (may_dim(s, "num_key_value_heads", 1, MAX_HEADS,
	    &c->n_kv_head) != 0)
		return -1;
	if (c->n_head % c->n_kv_head != 0)
		return json_want_fail(s, "num_key_value_heads",
		    "%d does not divide the %d attention heads", c->n_kv_head,
		    c->n_head);
	c->dk = c->hidden / c->n_head;
	if (may_dim(s, "head_dim", 1, MAX_HEAD_DIM, &c->dk) != 0)
		return -1;
	if (c->dk < 1 || c->dk > MAX_HEAD_DIM)
		return json_want_fail(s, "num_attention_heads", "%d heads of "
		    "%d hidden dimensions: no head size follows", c->n_head,
		    c->hidden);
	c->dv = c->dk;
	c->attn_scale = (float)(1 / sqrt(c->dk));
	return 0;
}

static int
parse_sizes(struct model_cfg *c, const struct json_src *s)
{
	const struct family *f = c->family;

	c->norm_eps = (float)f->eps;
	c->max_pos = 2048;
	if (want_dim(s, "hidden_size", CONFIG_MAX_DIM, &c->hidden) != 0 ||
	    want_dim(s, "num_hidden_layers", CONFIG_MAX_LAYER,
	    &c->n_layer) != 0 ||
	    want_dim(s, "vocab_size", CONFIG_MAX_VOCAB, &c->vocab) != 0 ||
	    may_dim(s, "max_position_embeddings", 1, MAX_POS,
	    &c->max_pos) != 0 ||
	    may_float(s, "rms_norm_eps", 0, 1, &c->norm_eps) != 0 ||
	    json_may_bool(s, "tie_word_embeddings", &c->tied) != 0)
		return -1;
	return parse_heads(c, s);
}

static int
parse_attention(struct model_cfg *c, const struct json_src *s)
{
	const struct family *f = c->family;

	c->qknorm = f->qknorm;
	c->qkv_bias = f->bias_default;
	if (f->key_bias != NULL &&
	    json_may_bool(s, f->key_bias, &c->qkv_bias) != 0)
		return -1;
	c->o_bias = c->qkv_bias && f->bias_o;
	if (f->clip_qkv && may_float(s, "clip_qkv", 1e-6, MAX_MULT,
	    &c->clip_qkv) != 0)
		return -1;
	c->embed_mult = c->residual_mult = c->logits_div = 1;
	if (f->multipliers) {
		c->attn_scale = 1;
		if (may_float(s, "embedding_multiplier", -MAX_MULT, MAX_MULT,
		    &c->embed_mult) != 0 ||
		    may_float(s, "residual_multiplier", -MAX_MULT, MAX_MULT,
		    &c->residual_mult) != 0 ||
		    may_float(s, "attention_multiplier", -MAX_MULT, MAX_MULT,
		    &c->attn_scale) != 0 ||
		    may_float(s, "logits_scaling", 1e-6, MAX_MULT,
		    &c->logits_div) != 0)
			return -1;
	}
	return config_rope_parse(&c->rope, s, f->theta, c->dk, c->max_pos);
}

/* ---- experts ----------------------------------------------------------- */

static int
parse_experts(struct model_cfg *c, const struct json_src *s)
{
	const struct family *f = c->family;
	const char *key = "num_experts";
	bool renorm = false;

	/* transformers 5 writes num_local_experts for every family. */
	if (json_is_null(json_object_get(s->obj, key)) ||
	    json_object_get(s->obj, key) == NULL)
		key = "num_local_experts";
	if (want_dim(s, key, CONFIG_MAX_EXPERT, &c->n_expert) != 0 ||
	    want_dim(s, "num_experts_per_tok", CONFIG_MAX_EXPERT,
	    &c->top_k) != 0 ||
	    want_dim(s, f->key_inter, CONFIG_MAX_DIM, &c->inter) != 0)
		return -1;
	if (c->top_k > c->n_expert)
		return json_want_fail(s, "num_experts_per_tok",
		    "%d of %d experts", c->top_k, c->n_expert);
	if (f->key_shared != NULL) {
		int64_t n;

		if (json_want_int(s, f->key_shared, 0, CONFIG_MAX_DIM, &n) != 0)
			return -1;
		c->inter_shared = (int)n;
	}
	c->shared = c->inter_shared > 0 ? f->shared : CONFIG_SHARED_NONE;
	c->glu = f->glu;
	c->rule = f->rule;
	c->scaling = 1;
	c->n_group = c->topk_group = 1;
	if (f->renorm < 0 && json_may_bool(s, "norm_topk_prob", &renorm) != 0)
		return -1;
	c->renorm = f->renorm < 0 ? renorm : f->renorm != 0;
	return 0;
}

/* mlp_only_layers and decoder_sparse_step -> layer[].moe. */
static int
parse_sparse(struct model_cfg *c, const struct json_src *s)
{
	const json_t *only, *v;
	int step = 1, i;
	size_t j;

	if (may_dim(s, "decoder_sparse_step", 1, INT32_MAX, &step) != 0 ||
	    json_may_array(s, "mlp_only_layers", &only) != 0)
		return -1;
	for (i = 0; i < c->n_layer; i++)
		c->layer[i].moe = (i + 1) % step == 0;
	json_array_foreach((json_t *)(uintptr_t)only, j, v) {
		json_int_t n = json_integer_value(v);

		if (!json_is_integer(v))
			return json_want_fail(s, "mlp_only_layers",
			    "entry %zu is not an integer", j);
		if (n >= 0 && n < c->n_layer)
			c->layer[n].moe = false;
	}
	return 0;
}

/* Layers that layer_types names as sliding get window; *given_p says whether
 * there was such a list. */
static int
parse_layer_types(struct model_cfg *c, const struct json_src *s, int window,
    bool *given_p)
{
	const json_t *types;
	const char *t;
	int i;

	if (json_may_array(s, "layer_types", &types) != 0)
		return -1;
	*given_p = types != NULL;
	if (types == NULL)
		return 0;
	if (json_array_size(types) < (size_t)c->n_layer)
		return json_want_fail(s, "layer_types", "%zu entries for %d "
		    "layers", json_array_size(types), c->n_layer);
	for (i = 0; i < c->n_layer; i++) {
		t = json_string_value(json_array_get(types, (size_t)i));
		if (t != NULL && strcmp(t, "sliding_attention") == 0) {
			if (window == 0)
				return json_want_fail(s, "sliding_window",
				    "layer %d slides, but over no window", i);
			c->layer[i].window = window;
		} else if (t == NULL || strcmp(t, "full_attention") != 0)
			return json_want_fail(s, "layer_types", "layer %d: "
			    "\"%s\" is not supported: this build computes "
			    "full_attention and sliding_attention", i,
			    t != NULL ? t : "?");
	}
	return 0;
}

static int
parse_windows(struct model_cfg *c, const struct json_src *s)
{
	enum family_window rule = c->family->window;
	bool use = false, given;
	int window = 0, from = 0, i;

	if (rule == FAMILY_WINDOW_NONE)
		return 0;
	if (may_dim(s, "sliding_window", 0, MAX_POS, &window) != 0 ||
	    parse_layer_types(c, s, window, &given) != 0)
		return -1;
	if (given)
		return 0;
	if (rule != FAMILY_WINDOW_ALL) {
		if (json_may_bool(s, "use_sliding_window", &use) != 0)
			return -1;
		if (!use)
			return 0;
	}
	if (rule == FAMILY_WINDOW_USE_FROM) {
		from = 28;	/* the class default of Qwen2-MoE */
		if (may_dim(s, "max_window_layers", 0, INT32_MAX, &from) != 0)
			return -1;
	}
	for (i = from; i < c->n_layer; i++)
		c->layer[i].window = window;
	return 0;
}

static int
parse_layers(struct model_cfg *c, const struct json_src *s)
{
	const struct family *f = c->family;
	bool dense = false;
	int i;

	c->layer = mem_calloc((size_t)c->n_layer, sizeof(*c->layer));
	for (i = 0; i < c->n_layer; i++) {
		c->layer[i].moe = true;
		c->layer[i].rope = true;
	}
	if (f->sparse_step && parse_sparse(c, s) != 0)
		return -1;
	for (i = 0; i < c->n_layer; i++)
		dense |= !c->layer[i].moe;
	if (dense && want_dim(s, f->key_dense, CONFIG_MAX_DIM,
	    &c->inter_dense) != 0)
		return -1;
	return parse_windows(c, s);
}

/* ---- sampling defaults ------------------------------------------------- */

static int
add_eos(struct model_gen *g, const struct json_src *s, const json_t *v)
{
	json_int_t id = json_integer_value(v);
	int i;

	if (!json_is_integer(v) || id < 0 || id > INT32_MAX)
		return json_want_fail(s, "eos_token_id", "not a token id");
	for (i = 0; i < g->n_eos; i++)
		if (g->eos[i] == id)
			return 0;
	if (g->n_eos == CONFIG_EOS)
		return json_want_fail(s, "eos_token_id", "more than %d ids",
		    CONFIG_EOS);
	g->eos[g->n_eos++] = (int32_t)id;
	return 0;
}

/* bos_token_id and eos_token_id (an id or a list), of either file. */
static int
parse_ids(struct model_gen *g, const struct json_src *s)
{
	const json_t *v = json_object_get(s->obj, "eos_token_id"), *e;
	int64_t bos = g->bos;
	size_t i;

	if (json_may_int(s, "bos_token_id", 0, INT32_MAX, &bos) != 0)
		return -1;
	g->bos = (int32_t)bos;
	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_array(v))
		return add_eos(g, s, v);
	json_array_foreach((json_t *)(uintptr_t)v, i, e)
		if (add_eos(g, s, e) != 0)
			return -1;
	return 0;
}

static int
parse_gen(struct model_gen *g, const struct json_src *s)
{
	int64_t top_k = 0;

	if (parse_ids(g, s) != 0 ||
	    json_may_real(s, "temperature", 0, 100, &g->temperature) != 0 ||
	    json_may_real(s, "top_p", 0, 1, &g->top_p) != 0 ||
	    json_may_real(s, "min_p", 0, 1, &g->min_p) != 0 ||
	    json_may_real(s, "repetition_penalty", 1e-3, 100,
	    &g->repetition_penalty) != 0 ||
	    json_may_int(s, "top_k", -1, INT32_MAX, &top_k) != 0)
		return -1;
	g->top_k = top_k < 0 ? 0 : (int)top_k;
	return 0;
}

/* ---- all of it --------------------------------------------------------- */

static int
parse(struct model_cfg *c, const struct json_src *s,
    const struct json_src *gen)
{
	c->gen = (struct model_gen){ .temperature = 1, .top_p = 1,
	    .repetition_penalty = 1, .bos = -1 };
	if (parse_family(c, s) != 0 || parse_sizes(c, s) != 0 ||
	    parse_attention(c, s) != 0 || parse_experts(c, s) != 0 ||
	    parse_layers(c, s) != 0 || parse_ids(&c->gen, s) != 0)
		return -1;
	return gen->obj != NULL ? parse_gen(&c->gen, gen) : 0;
}

static int
finish(struct model_cfg **cfg_p, json_t *root, const char *where,
    json_t *gen, const char *gen_where, struct err *err)
{
	struct json_src s = { root, where, "", ERR_DATA, err };
	struct json_src g = { gen, gen_where, "", ERR_DATA, err };
	struct model_cfg *c = mem_zalloc(sizeof(*c));
	int rc = parse(c, &s, &g);

	if (rc == 0)
		*cfg_p = c;
	else
		config_free(c);
	return rc;
}

int
config_read(struct model_cfg **cfg_p, const char *dir, struct err *err)
{
	char *path = mem_printf("%s/config.json", dir);
	char *gpath = mem_printf("%s/generation_config.json", dir);
	json_t *root = json_want_file(path, CONFIG_BYTES, NULL, err);
	json_t *gen = NULL;
	bool missing = true;
	int rc = -1;

	if (root != NULL)
		gen = json_want_file(gpath, CONFIG_BYTES, &missing, err);
	if (root != NULL && (gen != NULL || missing))
		rc = finish(cfg_p, root, path, gen, gpath, err);
	json_decref(root);
	json_decref(gen);
	mem_free(path);
	mem_free(gpath);
	return rc;
}

int
config_parse(struct model_cfg **cfg_p, const char *text, size_t n,
    const char *gen, size_t n_gen, struct err *err)
{
	const char *where = "config.json", *gwhere = "generation_config.json";
	json_t *root = json_want_text(text, n, where, ERR_DATA, err), *g = NULL;
	int rc = -1;

	if (root != NULL && gen != NULL)
		g = json_want_text(gen, n_gen, gwhere, ERR_DATA, err);
	if (root != NULL && (gen == NULL || g != NULL))
		rc = finish(cfg_p, root, where, g, gwhere, err);
	json_decref(root);
	json_decref(g);
	return rc;
}

void
config_free(struct model_cfg *cfg)
{
	if (cfg == NULL)
		return;
	mem_free(cfg->layer);
	mem_free(cfg);
}
