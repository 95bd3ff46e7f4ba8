/* Unit tests of common/model/store: what is loaded is what the file says. */
#include "store.h"

#include <math.h>

#include "mem.h"
#include "scratch.h"
#include "tap.h"

static struct kern *
open_kern(enum kern_dtype act)
{
	struct kern_opt o = { "cpu", NULL, act, 2, 0 };
	char why[KERN_WHY];
	struct kern *k;

	if (!OK(kern_open(&k, &o, why) == 0, "a kern of %s",
	    kern_dtype_name(act))) {
		printf("# %s\n", why);
		exit(tap_done());
	}
	return k;
}

static struct model *
open_model(const char *name)
{
	struct err e = ERR_INIT;
	char *dir = scratch_root(name);
	struct model *m;

	if (!OK(model_open(&m, dir, &e) == 0, "%s opens", name)) {
		printf("# %s\n", e.text);
		exit(tap_done());
	}
	mem_free(dir);
	return m;
}

/* Element (i, j) of a weight, read on its own. */
static float
element(const struct model *m, const struct model_ref *r, int i, int j)
{
	size_t eb = (size_t)ckpt_dtype_bits(r->t->dtype) / 8;
	struct err e = ERR_INIT;
	unsigned char raw[4];
	float f;

	BUG_ON(ckpt_read(model_ckpt(m), r->t, (r->elem_off + (size_t)i * r->rs +
	    (size_t)j * r->cs) * eb, eb, raw, &e) != 0);
	kern_convert(&f, KERN_F32, raw,
	    (enum kern_dtype)ckpt_dtype_kern(r->t->dtype), 1);
	return f;
}

/* q, k, v of every layer stacked into one matrix, row by row. */
static void
test_mat(const char *name, enum kern_dtype dtype, int threads)
{
	struct kern *k = open_kern(KERN_F32);
	struct model *m = open_model(name);
	struct err e = ERR_INIT;
	struct model_ref ref[3];
	struct store_mat a = { .kn = k, .m = m, .ref = ref, .n_ref = 3,
	    .dtype = dtype, .threads = threads };
	struct kern_mat mat;
	int l, i, j, r, base, bad = 0;
	float row[1024], want;

	for (l = 0; l < model_cfg(m)->n_layer; l++) {
		for (r = 0; r < 3; r++)
			model_ref(m, (enum model_role)(MODEL_Q + r), l, 0,
			    &ref[r]);
		if (store_load_mat(&a, &mat, &e) != 0) {
			OK(0, "%s", e.text);
			break;
		}
		for (r = 0, base = 0; r < 3; base += ref[r].rows, r++)
			for (i = 0; i < ref[r].rows; i++) {
				kern_mat_row(k, &mat, base + i, row);
				for (j = 0; j < ref[r].cols; j++) {
					want = element(m, &ref[r], i, j);
					bad += dtype == KERN_F32 ?
					    row[j] != want : fabsf(row[j] -
					    want) > fabsf(want) / 256;
				}
			}
		bad += mat.n != base;
		store_free_mat(k, &mat);
	}
	EQ_INT(bad, 0, "%s: q, k, v in %s, %d threads", name,
	    kern_dtype_name(dtype), threads);
	model_close(m);
	kern_close(k);
}

/* More than one piece: the bundled model's embedding, three times over. */
static void
test_pieces(void)
{
	struct kern *k = open_kern(KERN_BF16);
	struct model *m = open_model("models/tales");
	int vocab = model_cfg(m)->vocab, i, bad = 0;
	struct err e = ERR_INIT;
	struct model_ref ref[3];
	struct store_mat a = { .kn = k, .m = m, .ref = ref, .n_ref = 3,
	    .dtype = KERN_BF16, .threads = 2 };
	struct kern_mat mat;
	float row[1024];

	for (i = 0; i < 3; i++)
		model_ref(m, MODEL_EMBED, 0, 0, &ref[i]);
	if (!OK(store_load_mat(&a, &mat, &e) == 0, "12 MB in pieces of 4"))
		exit(tap_done());
	for (i = 0; i < 3 * vocab; i++) {
		kern_mat_row(k, &mat, i, row);
		bad += row[0] != element(m, &ref[0], i % vocab, 0) ||
		    row[255] != element(m, &ref[0], i % vocab, 255);
	}
	EQ_INT(bad, 0, "every row is in its place");
	store_free_mat(k, &mat);
	model_close(m);
	kern_close(k);
}

/* One expert applied to a row, in double, from single elements. */
static void
plain_expert(const struct model *m, const enum model_role role[3], int layer,
    int expert, const float *x, double *y)
{
	struct model_ref g, u, d;
	double a[256], b[256];
	int i, j;

	model_ref(m, role[0], layer, expert, &g);
	model_ref(m, role[1], layer, expert, &u);
	model_ref(m, role[2], layer, expert, &d);
	for (i = 0; i < g.rows; i++) {
		a[i] = b[i] = 0;
		for (j = 0; j < g.cols; j++) {
			a[i] += (double)element(m, &g, i, j) * (double)x[j];
			b[i] += (double)element(m, &u, i, j) * (double)x[j];
		}
		a[i] = a[i] / (1 + exp(-a[i])) * b[i];
	}
	for (i = 0; i < d.rows; i++)
		for (j = 0, y[i] = 0; j < d.cols; j++)
			y[i] += (double)element(m, &d, i, j) * a[j];
}

static void
check_expert(struct kern *k, const struct model *m,
    const struct kern_expert *x, const enum model_role role[3], int layer,
    int expert)
{
	float in[256], out[256];
	const void *pin[1] = { in };
	void *pout[1] = { out };
	struct kern_group g = { x, 0, 1 };
	struct kern_ffn f = { .h = x->gate_up.k, .i = x->gate_up.n / 2,
	    .glu = KERN_SILU, .n_group = 1, .group = &g, .in = pin,
	    .out = pout };
	double want[256], worst = 0;
	int i;

	for (i = 0; i < f.h; i++)
		in[i] = sinf((float)i) + 0.1f;
	kern_ffn(k, &f);
	plain_expert(m, role, layer, expert, in, want);
	for (i = 0; i < f.h; i++)
		worst = fmax(worst, fabs((double)out[i] - want[i]));
	if (!OK(worst < 1e-5, "%s: layer %d, %s, expert %d computes what the "
	    "file says", model_name(m), layer, model_role_name(role[0]),
	    expert))
		printf("# off by %g\n", worst);
}

static void
test_experts(const char *name)
{
	static const enum model_role routed[] = { MODEL_EXPERT_GATE,
	    MODEL_EXPERT_UP, MODEL_EXPERT_DOWN };
	static const enum model_role shared[] = { MODEL_SHARED_GATE,
	    MODEL_SHARED_UP, MODEL_SHARED_DOWN };
	static const enum model_role dense[] = { MODEL_DENSE_GATE,
	    MODEL_DENSE_UP, MODEL_DENSE_DOWN };
	struct kern *k = open_kern(KERN_F32);
	struct model *m = open_model(name);
	const struct model_cfg *c = model_cfg(m);
	int last = c->n_layer - 1;
	struct err e = ERR_INIT;
	struct kern_expert x;

	OK(store_load_expert(k, m, last, c->n_expert - 1, &x, &e) == 0,
	    "the last expert loads");
	EQ_INT(x.gate_up.bytes + x.down.bytes, store_expert_bytes(k, m),
	    "its packed size");
	check_expert(k, m, &x, routed, last, c->n_expert - 1);
	store_free_expert(k, &x);
	if (c->shared != CONFIG_SHARED_NONE) {
		OK(store_load_ffn(k, m, STORE_SHARED, 0, 0, &x, &e) == 0,
		    "the shared expert loads");
		check_expert(k, m, &x, shared, 0, 0);
		store_free_expert(k, &x);
	}
	if (!c->layer[1].moe) {
		OK(store_load_ffn(k, m, STORE_DENSE, 1, 0, &x, &e) == 0,
		    "a dense layer loads");
		check_expert(k, m, &x, dense, 1, 0);
		store_free_expert(k, &x);
	}
	model_close(m);
	kern_close(k);
}

/* ---- many -------------------------------------------------------------- */

struct seen {
	uint64_t done, total;
	int calls, backwards;
	atomic_bool stop;
	int stop_at;
};

static void
on_progress(uint64_t done, uint64_t total, void *arg)
{
	struct seen *s = arg;

	s->backwards += done <= s->done;
	s->done = done;
	s->total = total;
	if (++s->calls == s->stop_at)
		atomic_store(&s->stop, true);
}

static void
test_many(void)
{
	static const enum model_role routed[] = { MODEL_EXPERT_GATE,
	    MODEL_EXPERT_UP, MODEL_EXPERT_DOWN };
	struct kern *k = open_kern(KERN_F32);
	struct model *m = open_model("tests/golden/models/olmoe");
	struct store_pick pick[40];
	struct kern_expert x[40];
	struct seen s = { 0 };
	struct store_many a = { .kn = k, .m = m, .pick = pick, .n = 40,
	    .threads = 3, .progress = on_progress, .arg = &s,
	    .stop = &s.stop };
	struct err e = ERR_INIT;
	int i, held = 0;

	for (i = 0; i < 40; i++)
		pick[i] = (struct store_pick){ i / 10, i % 10 };
	OK(store_load_many(&a, x, &e) == 0, "all 40 experts");
	OK(s.calls == 40 && s.backwards == 0 && s.done == s.total &&
	    s.total == 40 * model_expert_file_bytes(m, 0), "progress");
	check_expert(k, m, &x[0], routed, 0, 0);
	check_expert(k, m, &x[27], routed, 2, 7);
	for (i = 0; i < 40; i++)
		store_free_expert(k, &x[i]);
	s = (struct seen){ .stop_at = 5 };
	OK(store_load_many(&a, x, &e) == -1 && e.code == ERR_TEMP,
	    "stopped: 75");
	for (i = 0; i < 40; i++)
		held += x[i].gate_up.data != NULL || x[i].down.data != NULL;
	OK(held == 0 && s.calls >= 5 && s.calls < 40, "nothing is kept");
	model_close(m);
	kern_close(k);
}

/* ---- bad contents ------------------------------------------------------ */

/* The tiny mixtral (F32) with one value of a router replaced. */
static void
write_poisoned(uint32_t bits, const char *tensor, size_t elem)
{
	const char *dir = "tests/golden/models/mixtral";
	char *path = mem_printf("%s/config.json", dir);
	struct model *m = open_model(dir);
	const struct ckpt_tensor *t = ckpt_find(model_ckpt(m), tensor);
	struct str s = STR_INIT;

	scratch_read(path, &s);
	scratch_write("config.json", s.p, s.n);
	str_free(&s);
	mem_free(path);
	path = mem_printf("%s/model.safetensors", dir);
	scratch_read(path, &s);
	memcpy(s.p + t->offset + 4 * elem, &bits, 4);
	scratch_write("model.safetensors", s.p, s.n);
	str_free(&s);
	mem_free(path);
	model_close(m);
}

static void
test_poison(void)
{
	const char *router = "model.layers.1.block_sparse_moe.gate.weight";
	const char *norm = "model.layers.2.input_layernorm.weight";
	struct kern *k = open_kern(KERN_F32);
	struct err e = ERR_INIT;
	struct model_ref r;
	struct store_mat a = { .kn = k, .ref = &r, .n_ref = 1,
	    .dtype = KERN_F32, .threads = 2 };
	struct kern_mat mat;
	struct model *m;
	float *v;

	write_poisoned(0x7fc00000, router, 959);
	OK(model_open(&m, scratch_dir, &e) == 0, "opening sees no NaN");
	model_ref(m, MODEL_ROUTER, 1, 0, &r);
	a.m = m;
	OK(store_load_mat(&a, &mat, &e) == -1 && e.code == ERR_DATA &&
	    strstr(e.text, router) != NULL && strstr(e.text, "959") != NULL &&
	    strstr(e.text, "model.safetensors") != NULL,
	    "a NaN in the router names file, tensor and element");
	model_ref(m, MODEL_ROUTER, 0, 0, &r);
	OK(store_load_mat(&a, &mat, &e) == 0, "another router loads");
	store_free_mat(k, &mat);
	model_close(m);
	write_poisoned(0x7f800000, norm, 3);
	OK(model_open(&m, scratch_dir, &e) == 0, "opens");
	model_ref(m, MODEL_IN_NORM, 2, 0, &r);
	OK(store_load_vec(m, &r, &e) == NULL && e.code == ERR_DATA &&
	    strstr(e.text, norm) != NULL, "an infinity in a norm");
	model_ref(m, MODEL_IN_NORM, 1, 0, &r);
	v = store_load_vec(m, &r, &e);
	OK(v != NULL && v[5] == element(m, &r, 0, 5), "a good norm");
	mem_free(v);
	model_close(m);
	kern_close(k);
	scratch_clear();
}

int
main(void)
{
	scratch_begin();
	test_mat("tests/golden/models/mixtral", KERN_F32, 1);
	test_mat("tests/golden/models/qwen2_moe", KERN_F32, 3);
	test_mat("tests/golden/models/qwen3_moe", KERN_BF16, 3);
	test_pieces();
	test_experts("tests/golden/models/mixtral");
	test_experts("tests/golden/models/qwen2_moe");
	test_experts("tests/golden/models/qwen3_moe");
	test_experts("tests/golden/models/granitemoeshared");
	test_many();
	test_poison();
	return tap_done();
}
