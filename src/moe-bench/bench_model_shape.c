/*
 * bench_model_shape - see bench_model_shape.h.
 *
 * The numbers are those of the released models (their public configs), so that
 * a checkpoint of random weights has their sizes and their cost.
 */
#include "bench_model_shape.h"

#include <stddef.h>
#include <string.h>

#include "family.h"
#include "mem.h"
#include "num.h"

static const struct bench_model_shape shapes[] = {
	{ "small", "qwen3_moe", 256, 4, 8, 2, 32, 16, 4, 128, 0, 0, 0, 512,
	  4096, 1e4, 0 },
	{ "olmoe", "olmoe", 2048, 16, 16, 16, 128, 64, 8, 1024, 0, 0, 0, 50304,
	  4096, 1e4, 0 },
	{ "qwen15moe", "qwen2_moe", 2048, 24, 16, 16, 128, 60, 4, 1408, 5632,
	  5632, 0, 151936, 8192, 1e6, 0 },
	{ "mixtral", "mixtral", 4096, 32, 32, 8, 128, 8, 2, 14336, 0, 0, 0,
	  32000, 32768, 1e6, 0 },
	{ "qwen3-30b", "qwen3_moe", 2048, 48, 32, 4, 128, 128, 8, 768, 0, 6144,
	  0, 151936, 40960, 1e6, 0 },
	/* Experts, hidden size and depth of DeepSeek-V3; its attention is
	 * another one (MLA), here 128 heads over 8 KV heads. */
	{ "dsv3", "qwen3_moe", 7168, 61, 128, 8, 128, 256, 8, 2048, 0, 18432,
	  3, 129280, 163840, 1e4, 0 },
};

/* The keys that KEY=VALUE may set. */
static const struct {
	const char *key;
	size_t offset;
	uint64_t lo, hi;
} keys[] = {
#define KEY(name, member, lo, hi)					\
	{ name, offsetof(struct bench_model_shape, member), lo, hi }
	KEY("hidden", hidden, 1, CONFIG_MAX_DIM),
	KEY("layers", layers, 1, CONFIG_MAX_LAYER),
	KEY("heads", heads, 1, 65536),
	KEY("kv-heads", kv_heads, 1, 65536),
	KEY("head-dim", head_dim, 2, 512),
	KEY("experts", experts, 1, CONFIG_MAX_EXPERT),
	KEY("top-k", top_k, 1, CONFIG_MAX_EXPERT),
	KEY("inter", inter, 1, CONFIG_MAX_DIM),
	KEY("shared", shared, 0, CONFIG_MAX_DIM),
	KEY("dense", dense, 0, CONFIG_MAX_DIM),
	KEY("dense-layers", dense_layers, 0, CONFIG_MAX_LAYER),
	KEY("vocab", vocab, BENCH_MODEL_VOCAB_MIN, CONFIG_MAX_VOCAB),
	KEY("ctx", ctx, 1, 1 << 30),
	KEY("tied", tied, 0, 1),
#undef KEY
};

static int
set_key(struct bench_model_shape *s, const char *key, const char *value,
    struct err *err)
{
	uint64_t v;
	size_t i;

	if (strcmp(key, "theta") == 0) {
		if (num_f64(value, &s->theta) != 0 || s->theta <= 1)
			return err_set(err, ERR_USAGE, "--shape: theta=%s is "
			    "not a number above 1", value);
		return 0;
	}
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].key, key) != 0)
			continue;
		if (num_u64(value, &v) != 0 || v < keys[i].lo ||
		    v > keys[i].hi)
			return err_set(err, ERR_USAGE, "--shape: %s=%s is not "
			    "a number from %llu to %llu", key, value,
			    (unsigned long long)keys[i].lo,
			    (unsigned long long)keys[i].hi);
		*(int *)(void *)((char *)s + keys[i].offset) = (int)v;
		return 0;
	}
	return err_set(err, ERR_USAGE, "--shape: no key '%s' (hidden, layers, "
	    "heads, kv-heads, head-dim, experts, top-k, inter, shared, dense, "
	    "dense-layers, vocab, ctx, theta, tied)", key);
}

static int
set_name(struct bench_model_shape *s, const char *name, struct err *err)
{
	size_t i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0) {
			*s = shapes[i];
			return 0;
		}
	return err_set(err, ERR_USAGE, "--shape: '%s' is neither a name "
	    "(small, olmoe, qwen15moe, mixtral, qwen3-30b, dsv3) nor KEY=VALUE", name);
}

int
bench_model_shape_parse(struct bench_model_shape *s, const char *text,
    struct err *err)
{
	char *copy = mem_strdup(text), *at = copy, *word, *eq;
	int rc = 0;

	*s = shapes[0];
	while (rc == 0 && (word = strsep(&at, ",")) != NULL) {
		eq = strchr(word, '=');
		if (eq != NULL) {
			*eq = '\0';
			rc = set_key(s, word, eq + 1, err);
		} else if (word == copy)
			rc = set_name(s, word, err);
		else
			rc = err_set(err, ERR_USAGE, "--shape: '%s' is not "
			    "KEY=VALUE", word);
	}
	mem_free(copy);
	return rc;
}

int
bench_model_shape_family(struct bench_model_shape *s, const char *family,
    struct err *err)
{
	const struct family *f = family_find(family != NULL ? family :
	    s->family);

	if (f == NULL)
		return err_set(err, ERR_USAGE, "--family: '%s' is none of %s",
		    family, family_list());
	s->family = f->model_type;
	if (f->key_shared == NULL)
		s->shared = 0;
	else if (s->shared == 0)
		s->shared = s->inter;
	if (f->key_dense == NULL)
		s->dense = s->dense_layers = 0;
	else if (s->dense == 0)
		s->dense = s->inter;
	if (s->dense_layers > s->layers)
		s->dense_layers = s->layers;
	return 0;
}

static void
add_int(struct str *out, const char *key, int v)
{
	str_addf(out, " \"%s\": %d,\n", key, v);
}

static void
add_word(struct str *out, const char *key, const char *v)
{
	str_addf(out, " \"%s\": %s,\n", key, v);
}

static void
add_experts(const struct bench_model_shape *s, const struct family *f,
    struct str *out)
{
	int i;

	/* Writers disagree on the name by version; both are read. */
	add_int(out, "num_experts", s->experts);
	add_int(out, "num_local_experts", s->experts);
	add_int(out, "num_experts_per_tok", s->top_k);
	add_int(out, f->key_inter, s->inter);
	if (f->key_shared != NULL)
		add_int(out, f->key_shared, s->shared);
	if (f->key_dense != NULL)
		add_int(out, f->key_dense, s->dense);
	if (f->renorm < 0)
		add_word(out, "norm_topk_prob",
		    f->qknorm == CONFIG_QKNORM_HEAD ? "true" : "false");
	if (!f->sparse_step)
		return;
	add_int(out, "decoder_sparse_step", 1);
	str_adds(out, " \"mlp_only_layers\": [");
	for (i = 0; i < s->dense_layers; i++)
		str_addf(out, "%s%d", i ? ", " : "", i);
	str_adds(out, "],\n");
}

void
bench_model_shape_config(const struct bench_model_shape *s, const char *dtype,
    struct str *out)
{
	const struct family *f = family_find(s->family);

	str_adds(out, "{\n");
	str_addf(out, " \"model_type\": \"%s\",\n", s->family);
	add_int(out, "hidden_size", s->hidden);
	add_int(out, "num_hidden_layers", s->layers);
	add_int(out, "num_attention_heads", s->heads);
	add_int(out, "num_key_value_heads", s->kv_heads);
	add_int(out, "head_dim", s->head_dim);
	add_int(out, "vocab_size", s->vocab);
	add_int(out, "max_position_embeddings", s->ctx);
	add_experts(s, f, out);
	if (f->key_bias != NULL)
		add_word(out, f->key_bias, f->bias_default ? "true" : "false");
	if (f->multipliers) {
		add_word(out, "embedding_multiplier", "1.0");
		add_word(out, "residual_multiplier", "1.0");
		add_word(out, "logits_scaling", "1.0");
		str_addf(out, " \"attention_multiplier\": %.9g,\n",
		    1.0 / s->head_dim);
	}
	str_addf(out, " \"rms_norm_eps\": %g,\n", f->eps);
	str_addf(out, " \"rope_theta\": %.1f,\n", s->theta);
	add_word(out, "hidden_act", "\"silu\"");
	add_word(out, "tie_word_embeddings", s->tied ? "true" : "false");
	add_int(out, "bos_token_id", BENCH_MODEL_EOS);
	add_int(out, "eos_token_id", BENCH_MODEL_EOS);
	str_addf(out, " \"torch_dtype\": \"%s\"\n}\n", dtype);
}
