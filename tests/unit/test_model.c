/* Unit tests of common/model/model: the six families, and what is refused. */
#include "model.h"

#include "scratch.h"
#include "tap.h"

static const char *const dirs[] = { "tests/golden/models/mixtral",
    "tests/golden/models/qwen2_moe", "tests/golden/models/qwen3_moe",
    "tests/golden/models/olmoe", "tests/golden/models/granitemoe",
    "tests/golden/models/granitemoeshared", "models/tales", NULL };

static struct model *
open_root(const char *name)
{
	struct err e = ERR_INIT;
	char *dir = scratch_root(name);
	struct model *m = NULL;

	if (!OK(model_open(&m, dir, &e) == 0, "%s opens", name)) {
		printf("# %s\n", e.text);
		exit(tap_done());
	}
	mem_free(dir);
	return m;
}

static const struct ckpt_tensor *
by_role(const struct model *m, enum model_role role, int layer, int expert,
    struct model_ref *r)
{
	return model_ref(m, role, layer, expert, r) ? r->t : NULL;
}

/* Every role of every layer and expert stands within its tensor, and the
 * refs of all roles together cover all bytes of the checkpoint, once. */
static void
test_cover(const char *name)
{
	struct model *m = open_root(name);
	const struct model_cfg *c = model_cfg(m);
	uint64_t bytes = 0;
	struct model_ref r;
	bool inside = true;
	int role, l, e, nl, ne;

	for (role = 0; role < MODEL_ROLES; role++) {
		nl = role >= MODEL_IN_NORM ? c->n_layer : 1;
		ne = role >= MODEL_EXPERT_GATE && role <= MODEL_EXPERT_DOWN ?
		    c->n_expert : 1;
		if (role == MODEL_LM_HEAD && c->tied)
			continue;
		for (l = 0; l < nl; l++)
			for (e = 0; e < ne; e++) {
				if (!model_ref(m, (enum model_role)role, l, e,
				    &r))
					continue;
				inside = inside && r.elem_off +
				    (size_t)(r.rows - 1) * r.rs +
				    (size_t)(r.cols - 1) * r.cs < r.t->elems;
				bytes += (uint64_t)r.rows * (uint64_t)r.cols *
				    (uint64_t)ckpt_dtype_bits(r.t->dtype) / 8;
			}
	}
	OK(inside, "%s: every weight stands within its tensor", name);
	EQ_INT(bytes, model_file_bytes(m), "%s: all bytes are used", name);
	OK(strcmp(model_name(m), strrchr(name, '/') + 1) == 0, "its name");
	model_close(m);
}

static void
test_refs(void)
{
	struct model *m = open_root("tests/golden/models/granitemoe");
	struct model_ref r;

	EQ_STR(by_role(m, MODEL_LM_HEAD, 0, 0, &r)->name,
	    "model.embed_tokens.weight", "a tied lm_head is the embedding");
	EQ_STR(by_role(m, MODEL_EXPERT_UP, 2, 7, &r)->name,
	    "model.layers.2.block_sparse_moe.input_linear.weight",
	    "fused granite up");
	EQ_INT(r.elem_off, 7 * 80 * 96 + 40 * 96, "the 7th slab, second half");
	OK(r.rows == 40 && r.cols == 96 && r.rs == 96 && r.cs == 1, "shape");
	OK(by_role(m, MODEL_Q_BIAS, 0, 0, &r) == NULL, "no q bias");
	OK(by_role(m, MODEL_SHARED_UP, 0, 0, &r) == NULL, "no shared expert");
	EQ_INT(model_expert_file_bytes(m, 0), 3 * 40 * 96 * 2, "expert bytes");
	EQ_INT(model_pick_act(m, MODEL_AUTO), KERN_BF16, "BF16 in bf16");
	EQ_INT(model_pick_act(m, MODEL_F32), KERN_F32, "or in f32 if asked");
	model_close(m);

	m = open_root("tests/golden/models/granitemoeshared");
	by_role(m, MODEL_SHARED_UP, 0, 0, &r);
	OK(r.rows == 80 && r.cols == 96 && r.elem_off == 80 * 96,
	    "fused shared up");
	model_close(m);

	m = open_root("tests/golden/models/qwen3_moe");
	EQ_STR(by_role(m, MODEL_DENSE_UP, 1, 0, &r)->name,
	    "model.layers.1.mlp.up_proj.weight", "layer 1 is dense");
	OK(by_role(m, MODEL_ROUTER, 1, 0, &r) == NULL, "so it has no router");
	by_role(m, MODEL_Q_NORM, 0, 0, &r);
	OK(r.rows == 1 && r.cols == 32, "q norm per head");
	by_role(m, MODEL_O, 0, 0, &r);
	OK(r.rows == 96 && r.cols == 192, "heads times size is not hidden");
	model_close(m);

	m = open_root("tests/golden/models/olmoe");
	by_role(m, MODEL_Q_NORM, 0, 0, &r);
	OK(r.rows == 1 && r.cols == 96, "q norm over the whole vector");
	model_close(m);

	m = open_root("tests/golden/models/mixtral");
	EQ_STR(by_role(m, MODEL_EXPERT_UP, 3, 9, &r)->name,
	    "model.layers.3.block_sparse_moe.experts.9.w3.weight", "w3 is up");
	EQ_INT(model_pick_act(m, MODEL_AUTO), KERN_F32, "F32 in f32");
	model_close(m);

	m = open_root("tests/golden/models/qwen2_moe");
	EQ_INT(model_pick_act(m, MODEL_AUTO), KERN_BF16, "F16 in bf16");
	EQ_STR(by_role(m, MODEL_K_BIAS, 0, 0, &r)->name,
	    "model.layers.0.self_attn.k_proj.bias", "k bias");
	by_role(m, MODEL_SHARED_ROUTER, 0, 0, &r);
	OK(r.rows == 1 && r.cols == 96, "shared router");
	model_close(m);
}

static void
test_fingerprint(void)
{
	uint64_t h[8];
	struct model *m;
	struct err e = ERR_INIT;
	bool differ = true;
	int i, j;

	for (i = 0; dirs[i] != NULL; i++) {
		m = open_root(dirs[i]);
		OK(model_fingerprint(m, &h[i], &e) == 0, "fingerprint");
		for (j = 0; j < i; j++)
			differ = differ && h[i] != h[j];
		model_close(m);
	}
	OK(differ, "seven models, seven fingerprints");
}

/* ---- checkpoints with one thing changed -------------------------------- */

/* Copy the model in dir to the scratch directory, replacing the first `from`
 * in its config.json and the first `t_from` in its tensor file's header by
 * texts of the same length (NULL: nothing). */
static void
copy_model(const char *dir, const char *from, const char *to,
    const char *t_from, const char *t_to)
{
	const char *file[] = { "config.json", "model.safetensors" };
	const char *old[] = { from, t_from }, *new[] = { to, t_to };
	int i;

	for (i = 0; i < 2; i++) {
		char *path = mem_printf("%s/%s", dir, file[i]), *at;
		struct str s = STR_INIT, out = STR_INIT;

		scratch_read(path, &s);
		at = old[i] == NULL ? NULL :
		    memmem(s.p, s.n, old[i], strlen(old[i]));
		if (old[i] != NULL)
			OK(at != NULL, "%s has %s", path, old[i]);
		if (at == NULL)
			at = s.p + s.n;
		str_add(&out, s.p, (size_t)(at - s.p));
		if (at < s.p + s.n) {
			str_adds(&out, new[i]);
			at += strlen(old[i]);
			str_add(&out, at, (size_t)(s.p + s.n - at));
		}
		scratch_write(file[i], out.p, out.n);
		mem_free(path);
		str_free(&s);
		str_free(&out);
	}
}

static void
refused(const char *what, const char *a, const char *b)
{
	struct err e = ERR_INIT;
	struct model *m = NULL;
	int rc = model_open(&m, scratch_dir, &e);

	OK(rc == -1 && e.code == ERR_DATA, "%s: refused with 65", what);
	if (!OK(strstr(e.text, a) != NULL && strstr(e.text, b) != NULL,
	    "%s: the text says %s and %s", what, a, b))
		printf("# %s\n", e.text);
	model_close(rc == 0 ? m : NULL);
	scratch_clear();
}

static void
test_refused(void)
{
	const char *olmoe = "tests/golden/models/olmoe";
	const char *expert = "model.layers.2.mlp.experts.7.up_proj.weight";
	struct err e = ERR_INIT;
	struct model *m = NULL;

	copy_model(olmoe, NULL, NULL, expert,
	    "model.layers.2.mlp.experts.7.xx_proj.weight");
	refused("a missing tensor", expert, "[40, 96] is missing");
	copy_model(olmoe, NULL, NULL, "[10,96]", "[96,10]");
	refused("a wrong shape", "mlp.gate.weight has shape [96, 10]",
	    "asks for [10, 96]");
	copy_model(olmoe, NULL, NULL, "\"BF16\"", "\"I16\" ");
	refused("a wrong dtype", "dtype I16", "model.safetensors");
	copy_model(olmoe, "\"hidden_size\": 96", "\"hidden_size\": 84", NULL,
	    NULL);
	refused("another hidden size", "has shape", "84");
	copy_model(olmoe, "\"num_hidden_layers\": 4",
	    "\"num_hidden_layers\": 5", NULL, NULL);
	refused("a layer too few", "model.layers.4.", "is missing");
	copy_model(olmoe, "\"tie_word_embeddings\": false",
	    "\"tie_word_embeddings\": true", NULL, NULL);
	OK(model_open(&m, scratch_dir, &e) == 0,
	    "an lm_head that is not used is tolerated");
	model_close(m);
	scratch_clear();
	copy_model("models/tales", "\"tie_word_embeddings\": true",
	    "\"tie_word_embeddings\": false", NULL, NULL);
	refused("no lm_head", "lm_head.weight", "tie_word_embeddings");
	refused("an empty directory", "config.json", "No such file");
}

int
main(void)
{
	int i;

	scratch_begin();
	for (i = 0; dirs[i] != NULL; i++)
		test_cover(dirs[i]);
	test_refs();
	test_fingerprint();
	test_refused();
	return tap_done();
}
