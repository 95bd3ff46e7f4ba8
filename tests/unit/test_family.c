/* Unit tests of common/model/family: the layouts in which a family is found.
 * Each is a checkpoint of zeros with the tensors' names and shapes changed. */
#include "family.h"

#include "model.h"
#include "scratch.h"
#include "tap.h"

struct layout {
	const char *what;
	const char *config;	/* of tests/golden/models */
	const char *from, *to;	/* a part of names to replace, or NULL */
	bool fused;		/* experts in two tensors a layer */
	const char *expert_up;	/* where layer 2, expert 3 must be found */
	size_t elem_off;
};

static const struct layout layouts[] = {
	{ "mixtral as it is", "mixtral", NULL, NULL, false,
	    "model.layers.2.block_sparse_moe.experts.3.w3.weight", 0 },
	{ "mixtral under mlp", "mixtral", ".block_sparse_moe.", ".mlp.", false,
	    "model.layers.2.mlp.experts.3.w3.weight", 0 },
	{ "mixtral, fused", "mixtral", NULL, NULL, true,
	    "model.layers.2.block_sparse_moe.experts.gate_up_proj",
	    3 * 80 * 96 + 40 * 96 },
	{ "mixtral, fused under mlp", "mixtral", ".block_sparse_moe.", ".mlp.",
	    true, "model.layers.2.mlp.experts.gate_up_proj",
	    3 * 80 * 96 + 40 * 96 },
	{ "qwen2_moe, fused", "qwen2_moe", NULL, NULL, true,
	    "model.layers.2.mlp.experts.gate_up_proj", 3 * 80 * 96 + 40 * 96 },
	{ "qwen3_moe, fused", "qwen3_moe", NULL, NULL, true,
	    "model.layers.2.mlp.experts.gate_up_proj", 3 * 80 * 96 + 40 * 96 },
	{ "olmoe, fused", "olmoe", NULL, NULL, true,
	    "model.layers.2.mlp.experts.gate_up_proj", 3 * 80 * 96 + 40 * 96 },
};

struct build {
	const struct layout *l;
	const struct model_cfg *cfg;
	struct str header;
	uint64_t at;		/* bytes of data so far */
};

static void
put(struct build *b, const char *name, int rank, const size_t *shape)
{
	const char *hit = b->l->from ? strstr(name, b->l->from) : NULL;
	uint64_t bytes = 2;
	int i;

	str_adds(&b->header, b->header.n > 0 ? ",\"" : "{\"");
	if (hit != NULL) {
		str_add(&b->header, name, (size_t)(hit - name));
		str_adds(&b->header, b->l->to);
		name = hit + strlen(b->l->from);
	}
	str_addf(&b->header, "%s\":{\"dtype\":\"BF16\",\"shape\":[", name);
	for (i = 0; i < rank; i++) {
		str_addf(&b->header, "%s%zu", i ? "," : "", shape[i]);
		bytes *= shape[i];
	}
	str_addf(&b->header, "],\"data_offsets\":[%llu,%llu]}",
	    (unsigned long long)b->at, (unsigned long long)(b->at + bytes));
	b->at += bytes;
}

/* The experts of a layer in one tensor: gate above up, or down. */
static void
put_fused(struct build *b, const char *name, enum model_role role,
    const size_t *shape)
{
	const char *cut = strstr(name, ".experts.0.");
	size_t fused[3] = { (size_t)b->cfg->n_expert, shape[0], shape[1] };
	char *all;

	if (cut == NULL || role == MODEL_EXPERT_UP)
		return;
	if (role == MODEL_EXPERT_GATE)
		fused[1] *= 2;
	all = mem_printf("%.*s.experts.%s", (int)(cut - name), name,
	    role == MODEL_EXPERT_GATE ? "gate_up_proj" : "down_proj");
	put(b, all, 3, fused);
	mem_free(all);
}

static int
add(const char *name, enum model_role role, int rank, const size_t *shape,
    void *arg)
{
	struct build *b = arg;

	if (b->l->fused && role >= MODEL_EXPERT_GATE &&
	    role <= MODEL_EXPERT_DOWN)
		put_fused(b, name, role, shape);
	else
		put(b, name, rank, shape);
	return 0;
}

static void
build(const struct layout *l)
{
	char *path = mem_printf("tests/golden/models/%s/config.json",
	    l->config);
	struct str config = STR_INIT, file = STR_INIT;
	struct build b = { .l = l };
	struct model_cfg *cfg;
	struct err e = ERR_INIT;
	size_t i;

	scratch_read(path, &config);
	BUG_ON(config_parse(&cfg, config.p, config.n, NULL, 0, &e) != 0);
	scratch_write("config.json", config.p, config.n);
	b.cfg = cfg;
	model_each_tensor(cfg, add, &b);
	str_addc(&b.header, '}');
	for (i = 0; i < 8; i++)
		str_addc(&file, (char)((uint64_t)b.header.n >> 8 * i & 0xff));
	str_add(&file, b.header.p, b.header.n);
	for (i = 0; i < b.at; i++)
		str_addc(&file, 0);
	scratch_write("model.safetensors", file.p, file.n);
	config_free(cfg);
	str_free(&b.header);
	str_free(&file);
	str_free(&config);
	mem_free(path);
}

static void
test_layout(const struct layout *l)
{
	struct err e = ERR_INIT;
	struct model_ref r;
	struct model *m;

	build(l);
	if (!OK(model_open(&m, scratch_dir, &e) == 0, "%s: opens", l->what)) {
		printf("# %s\n", e.text);
		return;
	}
	OK(model_ref(m, MODEL_EXPERT_UP, 2, 3, &r), "%s: has it", l->what);
	EQ_STR(r.t->name, l->expert_up, "%s: layer 2, expert 3, up", l->what);
	EQ_INT(r.elem_off, l->elem_off, "%s: its place", l->what);
	OK(r.rows == 40 && r.cols == 96 && r.rs == 96 && r.cs == 1,
	    "%s: its shape", l->what);
	OK(model_ref(m, MODEL_EXPERT_DOWN, 2, 3, &r) && r.rows == 96 &&
	    r.cols == 40 && r.elem_off == (l->fused ? 3 * 96 * 40 : 0),
	    "%s: down", l->what);
	EQ_INT(model_expert_file_bytes(m, 2), 3 * 40 * 96 * 2,
	    "%s: bytes of an expert", l->what);
	model_close(m);
	scratch_clear();
}

int
main(void)
{
	size_t i;

	scratch_begin();
	for (i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		test_layout(&layouts[i]);
	return tap_done();
}
