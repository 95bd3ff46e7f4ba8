/* Unit tests of common/model: json, config, rope, the family table. */
#include "config.h"

#include <math.h>

#include "family.h"
#include "json.h"
#include "scratch.h"
#include "tap.h"

/* The config of tests/golden/models/NAME with the keys of patch set; a key
 * set to "absent" is taken out.  NULL and e when it is refused. */
static struct model_cfg *
with(const char *name, const char *patch, struct err *e)
{
	char *path = mem_printf("tests/golden/models/%s/config.json", name);
	struct str s = STR_INIT;
	struct model_cfg *c = NULL;
	json_t *root, *p, *v;
	const char *key;
	char *text;
	void *tmp;

	scratch_read(path, &s);
	root = json_want_text(s.p, s.n, path, 0, e);
	p = json_want_text(patch, strlen(patch), "patch", 0, e);
	BUG_ON(root == NULL || p == NULL);
	json_object_update(root, p);
	json_object_foreach_safe(root, tmp, key, v)
		if (json_is_string(v) &&
		    strcmp(json_string_value(v), "absent") == 0)
			json_object_del(root, key);
	text = json_dumps(root, 0);
	if (config_parse(&c, text, strlen(text), NULL, 0, e) != 0)
		c = NULL;
	free(text);
	json_decref(root);
	json_decref(p);
	str_free(&s);
	mem_free(path);
	return c;
}

static struct model_cfg *
must(const char *name, const char *patch)
{
	struct err e = ERR_INIT;
	struct model_cfg *c = with(name, patch, &e);

	if (!OK(c != NULL, "%s with %s", name, patch)) {
		printf("# %s\n", e.text);
		exit(tap_done());
	}
	return c;
}

static void
refused(const char *name, const char *patch, const char *key, const char *what)
{
	struct err e = ERR_INIT;
	struct model_cfg *c = with(name, patch, &e);

	if (!OK(c == NULL && e.code == ERR_DATA &&
	    strstr(e.text, "config.json") != NULL &&
	    strstr(e.text, key) != NULL && strstr(e.text, what) != NULL,
	    "%s with %s is refused: %s, %s", name, patch, key, what))
		printf("# %s\n", e.text);
	config_free(c);
}

/* ---- families ---------------------------------------------------------- */

static void
test_mixtral(void)
{
	struct model_cfg *c = must("mixtral", "{}");

	OK(c->hidden == 96 && c->n_layer == 4 && c->n_head == 6 &&
	    c->n_kv_head == 2 && c->dk == 16 && c->dv == 16 &&
	    c->vocab == 512 && c->inter == 40 && c->n_expert == 10 &&
	    c->top_k == 2 && c->max_pos == 1024, "mixtral's numbers");
	OK(c->rule == KERN_ROUTE_SOFTMAX && c->renorm && c->scaling == 1,
	    "R1");
	OK(c->attn_scale == 0.25f && c->rope.theta == 1e6 &&
	    c->rope.dim == 16 && !c->rope.interleaved, "attention");
	OK(c->layer[3].moe && c->layer[3].rope && c->layer[3].window == 0,
	    "layers");
	OK(!c->qkv_bias && c->qknorm == CONFIG_QKNORM_NONE &&
	    c->shared == CONFIG_SHARED_NONE && c->glu == KERN_SILU,
	    "no extras");
	OK(c->gen.n_eos == 1 && c->gen.eos[0] == 509 && c->gen.bos == 509 &&
	    c->gen.temperature == 1 && c->gen.top_k == 0, "generation");
	config_free(c);
	c = must("mixtral", "{\"sliding_window\": 7, \"head_dim\": 24,"
	    "\"rope_theta\":\"absent\",\"rms_norm_eps\":\"absent\"}");
	OK(c->layer[0].window == 7 && c->layer[3].window == 7,
	    "a window in all layers");
	OK(c->dk == 24 && c->rope.dim == 24, "head_dim wins");
	OK(c->rope.theta == 1e6 && c->norm_eps == 1e-5f, "class defaults");
	config_free(c);
}

static void
test_qwen(void)
{
	struct model_cfg *c = must("qwen2_moe", "{}");

	OK(c->rule == KERN_ROUTE_SOFTMAX && !c->renorm, "R2");
	OK(c->qkv_bias && !c->o_bias && c->shared == CONFIG_SHARED_GATED &&
	    c->inter_shared == 80 && c->inter == 40 && c->inter_dense == 0,
	    "qwen2_moe's extras");
	config_free(c);
	c = must("qwen2_moe", "{\"norm_topk_prob\":true,\"qkv_bias\":false,"
	    "\"decoder_sparse_step\":2,\"mlp_only_layers\":[3],"
	    "\"layer_types\":null,\"use_sliding_window\":true,"
	    "\"sliding_window\":8,\"max_window_layers\":2}");
	OK(c->renorm && !c->qkv_bias, "R1, no bias");
	OK(!c->layer[0].moe && c->layer[1].moe && !c->layer[2].moe &&
	    !c->layer[3].moe && c->inter_dense == 72, "sparse rule");
	OK(c->layer[1].window == 0 && c->layer[2].window == 8 &&
	    c->layer[3].window == 8, "windows from layer 2 on");
	config_free(c);
	c = must("qwen2_moe", "{\"layer_types\":[\"sliding_attention\","
	    "\"full_attention\",\"full_attention\",\"sliding_attention\"],"
	    "\"sliding_window\":8}");
	OK(c->layer[0].window == 8 && c->layer[1].window == 0 &&
	    c->layer[3].window == 8, "layer_types wins");
	config_free(c);
	c = must("qwen3_moe", "{}");
	OK(c->renorm && c->n_expert == 10 && c->dk == 32 &&
	    c->qknorm == CONFIG_QKNORM_HEAD && !c->layer[1].moe &&
	    c->layer[0].moe && c->rope.theta == 1e6 &&
	    c->shared == CONFIG_SHARED_NONE, "qwen3_moe");
	config_free(c);
	c = must("qwen3_moe", "{\"norm_topk_prob\":\"absent\","
	    "\"use_sliding_window\":true,\"sliding_window\":5,"
	    "\"attention_bias\":true}");
	OK(!c->renorm && c->layer[0].window == 5 && c->qkv_bias && c->o_bias,
	    "the other way round");
	config_free(c);
}

static void
test_olmoe_granite(void)
{
	struct model_cfg *c = must("olmoe", "{\"clip_qkv\": 1.5}");

	OK(c->clip_qkv == 1.5f && c->qknorm == CONFIG_QKNORM_FULL &&
	    !c->renorm && c->rope.theta == 1e4, "olmoe");
	config_free(c);
	c = must("granitemoeshared", "{}");
	OK(c->embed_mult == 2.0f && c->residual_mult == 0.7f &&
	    c->attn_scale == 0.2f && c->logits_div == 0.25f && c->tied &&
	    c->rule == KERN_ROUTE_TOPK_SOFTMAX &&
	    c->shared == CONFIG_SHARED_PLAIN && c->inter_shared == 80,
	    "granitemoeshared");
	config_free(c);
	c = must("granitemoe", "{\"attention_multiplier\":\"absent\"}");
	OK(c->attn_scale == 1 && c->shared == CONFIG_SHARED_NONE,
	    "granitemoe: no multiplier means 1, not 1/sqrt(d)");
	config_free(c);
}

static void
test_refused(void)
{
	const struct family *f;

	refused("mixtral", "{\"model_type\":\"gpt5\"}", "model_type",
	    "this build reads granitemoe");
	refused("mixtral", "{\"model_type\":\"absent\"}", "model_type",
	    "missing");
	refused("mixtral", "{\"quantization_config\":{\"quant_method\":"
	    "\"gptq\"}}", "quantization_config.quant_method", "gptq");
	refused("mixtral", "{\"quantization_config\":{}}",
	    "quantization_config", "not supported");
	refused("mixtral", "{\"hidden_act\":\"relu\"}", "hidden_act", "relu");
	refused("mixtral", "{\"rope_scaling\":{\"type\":\"dynamic\","
	    "\"factor\":2}}", "rope_scaling.rope_type", "dynamic");
	refused("mixtral", "{\"rope_scaling\":{\"rope_type\":\"yarn\"}}",
	    "rope_scaling.factor", "missing");
	refused("mixtral", "{\"rope_parameters\":{\"full_attention\":{}}}",
	    "rope_parameters.full_attention", "not supported");
	refused("mixtral", "{\"rope_scaling\":{\"type\":\"longrope\","
	    "\"short_factor\":[1],\"long_factor\":[1]}}", "short_factor", "8");
	refused("mixtral", "{\"num_local_experts\":4000000000}",
	    "num_local_experts", "65535");
	refused("mixtral", "{\"num_hidden_layers\":1e30}", "num_hidden_layers",
	    "integer");
	refused("mixtral", "{\"hidden_size\":\"96\"}", "hidden_size",
	    "integer");
	refused("mixtral", "{\"hidden_size\":-96}", "hidden_size", "-96");
	refused("mixtral", "{\"vocab_size\":99999999999}", "vocab_size",
	    "is not");
	refused("mixtral", "{\"num_experts_per_tok\":11}",
	    "num_experts_per_tok", "11 of 10");
	refused("mixtral", "{\"num_key_value_heads\":4}",
	    "num_key_value_heads", "does not divide");
	refused("mixtral", "{\"num_attention_heads\":60000,"
	    "\"num_key_value_heads\":1}", "num_attention_heads", "head size");
	refused("olmoe", "{\"clip_qkv\":0}", "clip_qkv", "0 is not");
	refused("mixtral", "{\"head_dim\":15}", "head_dim", "even");
	refused("mixtral", "{\"eos_token_id\":[1,\"x\"]}", "eos_token_id",
	    "token id");
	refused("qwen2_moe", "{\"layer_types\":[\"full_attention\","
	    "\"chunked_attention\",\"full_attention\",\"full_attention\"]}",
	    "layer_types", "chunked");
	refused("qwen2_moe", "{\"mlp_only_layers\":[true]}", "mlp_only_layers",
	    "entry 0");
	refused("qwen3_moe", "{\"intermediate_size\":null}",
	    "intermediate_size", "missing");
	for (f = family_all(); f->model_type != NULL; f++)
		OK(strstr(family_list(), f->model_type) != NULL &&
		    family_find(f->model_type) == f, "%s is in the list",
		    f->model_type);
}

/* ---- generation_config.json -------------------------------------------- */

static void
test_gen(void)
{
	const char *gen = "{\"eos_token_id\":[509,7],\"temperature\":0.5,"
	    "\"top_p\":0.9,\"top_k\":40,\"repetition_penalty\":null}";
	struct err e = ERR_INIT;
	struct str s = STR_INIT;
	struct model_cfg *c;
	char *dir = scratch_root("models/tales");

	scratch_read("tests/golden/models/mixtral/config.json", &s);
	OK(config_parse(&c, s.p, s.n, gen, strlen(gen), &e) == 0, "both files");
	OK(c->gen.n_eos == 2 && c->gen.eos[0] == 509 && c->gen.eos[1] == 7,
	    "eos of both");
	OK(c->gen.temperature == 0.5 && c->gen.top_p == 0.9 &&
	    c->gen.top_k == 40 && c->gen.repetition_penalty == 1, "defaults");
	config_free(c);
	OK(config_parse(&c, s.p, s.n, "{\"top_p\":7}", 11, &e) == -1 &&
	    strstr(e.text, "generation_config.json: top_p: 7") != NULL,
	    "a bad one names its file");
	OK(config_parse(&c, "{\"a\":1,\"a\":2}", 13, NULL, 0, &e) == -1 &&
	    strstr(e.text, "duplicate") != NULL, "duplicate keys");
	OK(config_parse(&c, "{\"a\":\n1,}", 9, NULL, 0, &e) == -1 &&
	    strstr(e.text, "line 2") != NULL, "bad JSON names the line");
	OK(config_parse(&c, "[]", 2, NULL, 0, &e) == -1, "not an object");
	OK(config_read(&c, dir, &e) == 0 && c->gen.temperature == 0.8 &&
	    c->gen.n_eos == 2 && c->gen.eos[1] == 4095, "from a directory");
	config_free(c);
	mem_free(dir);
	str_free(&s);
}

/* ---- rope -------------------------------------------------------------- */

static void
test_rope_vector(const json_t *v)
{
	const char *name = json_string_value(json_object_get(v, "name")), *key;
	int d = (int)json_integer_value(json_object_get(v, "dim"));
	char *rope = json_dumps(json_object_get(v, "rope_parameters"), 0);
	char *patch = mem_printf("{\"head_dim\":%d,\"rope_parameters\":%s,"
	    "\"max_position_embeddings\":131072}", d, rope);
	struct model_cfg *c = must("mixtral", patch);
	float inv[ROPE_MAX_DIM / 2], a;
	double worst = 0, x;
	json_t *want;

	rope_table(&c->rope, 4096, inv, &a);
	json_object_foreach(json_object_get(v, "inv_freq"), key, want) {
		x = json_number_value(want);
		worst = fmax(worst, fabs((double)inv[atoi(key)] / x - 1));
	}
	if (!OK(worst < 1e-6, "%s: frequencies", name))
		printf("# off by %g\n", worst);
	OK(fabs((double)a - json_number_value(json_object_get(v,
	    "attention_factor"))) < 1e-6, "%s: attention factor", name);
	config_free(c);
	mem_free(patch);
	free(rope);
}

static void
test_rope(void)
{
	struct err e = ERR_INIT;
	struct str s = STR_INIT;
	float inv[ROPE_MAX_DIM / 2], a;
	struct model_cfg *c;
	char *text;
	json_t *root;
	size_t i;

	scratch_read("tests/golden/rope/vectors.json", &s);
	text = mem_printf("{\"v\":%s}", str_c(&s));
	root = json_want_text(text, strlen(text), "rope", 0, &e);
	OK(json_array_size(json_object_get(root, "v")) == 5, "five vectors");
	for (i = 0; i < 5; i++)
		test_rope_vector(json_array_get(json_object_get(root, "v"), i));
	json_decref(root);
	mem_free(text);
	str_free(&s);

	c = must("mixtral", "{\"rope_scaling\":{\"type\":\"linear\","
	    "\"factor\":4}}");
	rope_table(&c->rope, 1, inv, &a);
	OK(inv[0] == 0.25f && a == 1, "linear");
	config_free(c);
	/* By hand: f = 1024/256, A = sqrt(1 + ln 4 / ln 256) = sqrt(1.25). */
	c = must("mixtral", "{\"rope_scaling\":{\"type\":\"longrope\","
	    "\"short_factor\":[1,1,1,1,1,1,1,2],"
	    "\"long_factor\":[4,1,1,1,1,1,1,1]},"
	    "\"original_max_position_embeddings\":256}");
	rope_table(&c->rope, 256, inv, &a);
	OK(inv[0] == 1 && fabs((double)a - sqrt(1.25)) < 1e-6 &&
	    fabs((double)inv[7] * 2 / pow(1e6, -14.0 / 16) - 1) < 1e-6,
	    "longrope, short");
	rope_table(&c->rope, 257, inv, &a);
	OK(inv[0] == 0.25f, "longrope, long");
	config_free(c);
	c = must("mixtral", "{\"rope_parameters\":{\"rope_type\":\"default\","
	    "\"rope_theta\":100,\"partial_rotary_factor\":0.5}}");
	OK(c->rope.dim == 8 && c->rope.theta == 100,
	    "rope_parameters wins; half of the dimensions rotate");
	config_free(c);
}

/* ---- json -------------------------------------------------------------- */

static void
test_json(void)
{
	const char *text = "{\"i\":5,\"r\":2.5,\"w\":7.0,\"s\":\"x\","
	    "\"b\":true,\"n\":null,\"long\":\"0123456789012345678901234567890123456789"
	    "012345678901234567890123456789\"}";
	const char *big = "{\"n\":3,\"big\":1000000000000000019884624838656}";
	struct err e = ERR_INIT;
	json_t *o = json_want_text(text, strlen(text), "the request", 0, &e);
	struct json_src s = { o, "the request", "a.", ERR_USAGE, &e };
	const char *str = "none";
	double d = 0;
	int64_t i = 9;
	bool b = false;

	OK(json_want_int(&s, "i", 0, 5, &i) == 0 && i == 5, "int");
	OK(json_want_int(&s, "w", 0, 9, &i) == 0 && i == 7, "7.0 is an int");
	OK(json_want_int(&s, "r", 0, 9, &i) == -1 && e.code == ERR_USAGE,
	    "2.5 is none, with the code asked for");
	EQ_STR(e.text, "the request: a.r: 2.5 is not an integer from 0 to 9",
	    "its text");
	OK(json_want_int(&s, "i", 0, 4, &i) == -1, "range");
	OK(json_may_int(&s, "n", 0, 4, &i) == 0 && i == 7 &&
	    json_may_int(&s, "zz", 0, 4, &i) == 0 && i == 7, "null, absent");
	OK(json_want_int(&s, "n", 0, 4, &i) == -1, "null is missing");
	OK(json_want_real(&s, "i", 0, 9, &d) == 0 && d == 5, "an int is real");
	OK(json_want_real(&s, "s", 0, 9, &d) == -1 && d == 5,
	    "a string is not");
	OK(json_want_bool(&s, "b", &b) == 0 && b &&
	    json_want_bool(&s, "i", &b) == -1, "bool");
	OK(json_may_str(&s, "zz", &str) == 0 && strcmp(str, "none") == 0 &&
	    json_want_str(&s, "s", &str) == 0 && strcmp(str, "x") == 0, "str");
	OK(json_want_real(&s, "long", 0, 1, &d) == -1 &&
	    strlen(e.text) < 150, "long values are cut");
	json_decref(o);
	s.obj = o = json_want_text(big, strlen(big), "x", 0, &e);
	OK(o != NULL && json_want_int(&s, "n", 0, 9, &i) == 0 && i == 3 &&
	    json_want_int(&s, "big", 0, INT64_MAX, &i) == -1,
	    "a text with an integer beyond 64 bits is read");
	json_decref(o);
}

int
main(void)
{
	test_json();
	test_mixtral();
	test_qwen();
	test_olmoe_granite();
	test_refused();
	test_gen();
	test_rope();
	return tap_done();
}
