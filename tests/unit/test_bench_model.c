/* Unit tests of `moe-bench model`: what it writes is what readers take. */
#include <math.h>

#include "../../src/moe-bench/bench_model.c"
#include "../../src/moe-bench/bench_model_fill.c"
#include "../../src/moe-bench/bench_model_plan.c"
#include "../../src/moe-bench/bench_model_shape.c"
#include "../../src/moe-bench/bench_model_tok.c"
#include "../../src/moe-bench/bench_model_write.c"
#include "scratch.h"
#include "tap.h"
#include "token.h"

/* Run the verb on the scratch directory with up to four more words. */
static int
run(const char *a, const char *b, const char *c, const char *d)
{
	const char *word[] = { "model", "-q", "-o", scratch_dir, a, b, c, d };
	char *argv[9];
	int n = 0, rc;

	while (n < 8 && word[n] != NULL) {
		argv[n] = mem_strdup(word[n]);
		n++;
	}
	argv[n] = NULL;
	rc = bench_model_main(n, argv);
	while (n > 0)
		mem_free(argv[--n]);
	return rc;
}

/* Open what was written; 0 and a message when a reader refuses it. */
static uint64_t
fingerprint(const char *what)
{
	struct err e = ERR_INIT;
	struct model *m = NULL;
	uint64_t h = 0;

	if (!OK(model_open(&m, scratch_dir, &e) == 0 &&
	    model_fingerprint(m, &h, &e) == 0, "%s opens", what))
		printf("# %s\n", e.text);
	model_close(m);
	return h;
}

static bool
there(const char *name)
{
	char *path = mem_printf("%s/%s", scratch_dir, name);
	bool yes = access(path, F_OK) == 0;

	mem_free(path);
	return yes;
}

static void
test_written(void)
{
	uint64_t h, g;

	EQ_INT(run(NULL, NULL, NULL, NULL), 0, "the small model");
	h = fingerprint("the small model");
	EQ_INT(run(NULL, NULL, NULL, NULL), ERR_DATA,
	    "a directory in use is refused");
	scratch_clear();
	scratch_write("model.safetensors.part", "x", 1);
	EQ_INT(run("--shard", "1M", "--threads", "1"), 0,
	    "what an interrupted run left is not in the way");
	OK(there("model-00002-of-00015.safetensors") &&
	    there("model.safetensors.index.json") &&
	    !there("model.safetensors"), "in shards");
	OK(fingerprint("sharded, one thread") == h,
	    "shards and threads do not change a weight");
	EQ_INT(run("--force", NULL, NULL, NULL), 0, "--force");
	OK(!there("model-00002-of-00015.safetensors") &&
	    !there("model.safetensors.index.json") &&
	    there("model.safetensors"), "leaves no older shard");
	OK(fingerprint("replaced") == h, "the same again");
	scratch_clear();
	EQ_INT(run("-s", "2", NULL, NULL), 0, "another seed");
	g = fingerprint("another seed");
	OK(g != h, "gives other weights");
	scratch_clear();
}

static void
test_families(void)
{
	static const char *const dtype[] = { "f32", "f16", "bf16" };
	const struct family *f;
	char *opt;
	int i = 0;

	for (f = family_all(); f->model_type != NULL; f++, i++) {
		opt = mem_printf("--shape=small,layers=2,dense-layers=1,"
		    "experts=5,top-k=2,inter=24,tied=%d", i % 2);
		OK(run("--family", f->model_type, "--dtype", dtype[i % 3]) ==
		    0, "%s in %s", f->model_type, dtype[i % 3]);
		fingerprint(f->model_type);
		scratch_clear();
		OK(run(opt, "--family", f->model_type, NULL) == 0, "%s", opt);
		fingerprint(opt);
		scratch_clear();
		mem_free(opt);
	}
}

static void
test_refused(void)
{
	static const char *const bad[] = { "--shape=nope", "--shape=hidden=0",
	    "--shape=olmoe,nope=1", "--shape=olmoe,mixtral", "--family=bert",
	    "--shape=heads=7", "--shape=top-k=99", "--shape=vocab=100",
	    "--shape=theta=x", "--layers=0", "--dtype=q8" };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		OK(run(bad[i], NULL, NULL, NULL) == ERR_USAGE && !there(
		    "config.json"), "%s is 64", bad[i]);
}

/* The released models' sizes, in parameters, as their cards say. */
static void
test_shapes(void)
{
	static const struct {
		const char *name;
		double billions;
	} want[] = { { "olmoe", 6.92 }, { "qwen15moe", 14.3 },
	    { "mixtral", 46.7 }, { "qwen3-30b", 30.5 } };
	struct err e = ERR_INIT;
	size_t i;

	for (i = 0; i < 4; i++) {
		struct bench_model_shape s;
		struct bench_model_plan p;
		struct model_cfg *c;
		struct str text = STR_INIT;
		double n;

		OK(bench_model_shape_parse(&s, want[i].name, &e) == 0 &&
		    bench_model_shape_family(&s, NULL, &e) == 0, "%s",
		    want[i].name);
		bench_model_shape_config(&s, "bfloat16", &text);
		BUG_ON(config_parse(&c, text.p, text.n, NULL, 0, &e) != 0);
		bench_model_plan(&p, c, CKPT_BF16, (uint64_t)3 << 30);
		n = (double)p.bytes / 2e9;
		if (!OK(fabs(n / want[i].billions - 1) < 0.01,
		    "%s has %.1f billion parameters", want[i].name,
		    want[i].billions))
			printf("# %g\n", n);
		bench_model_plan_free(&p);
		config_free(c);
		str_free(&text);
	}
}

static void
test_values(void)
{
	static struct bench_model_table t;
	static float v[80000], w[80000];
	double sum = 0, sq = 0, past2 = 0;
	int i, n = 80000;

	bench_model_fill_table(&t, 0.5, CKPT_F32);
	bench_model_fill(&t, 7, 0, (size_t)n, v);
	for (i = 0; i < n; i++) {
		sum += (double)v[i];
		sq += (double)v[i] * (double)v[i];
		past2 += fabs((double)v[i]) > 1;
	}
	OK(fabs(sum / n) < 0.01, "mean 0");
	OK(fabs(sqrt(sq / n) - 0.5) < 0.01, "deviation 0.5");
	OK(fabs(past2 / n - 0.0455) < 0.005, "4.55 %% beyond two deviations");
	bench_model_fill(&t, 7, 800, 999, w);
	OK(memcmp(w, v + 800, 999 * sizeof(*w)) == 0,
	    "a piece is the same on its own");
	bench_model_fill(&t, 8, 0, 999, w);
	OK(memcmp(w, v, 999 * sizeof(*w)) != 0, "another key, other values");
	bench_model_fill_table(&t, 0, CKPT_F32);
	bench_model_fill(&t, 7, 0, 9, w);
	OK(w[0] == 1 && w[8] == 1, "norms are 1");
}

static void
test_tokenizer(void)
{
	struct token_text in = { .p = "Hello, w\xc3\xb6rld \"\\\" 42",
	    .n = 20 };
	struct token_ids ids = { 0 };
	struct token *t = NULL;
	struct str out = STR_INIT;
	struct err e = ERR_INIT;
	int empty = 0;
	uint32_t i;
	size_t n;

	EQ_INT(run("--shape=small,layers=1,vocab=12345", NULL, NULL, NULL), 0,
	    "a vocabulary of 12345");
	if (!OK(token_load(&t, scratch_dir, &e) == 0, "its tokenizer loads")) {
		printf("# %s\n", e.text);
		exit(tap_done());
	}
	EQ_INT(token_vocab_size(t), 12345, "has as many ids");
	EQ_INT(token_eos(t), BENCH_MODEL_EOS, "eos");
	for (i = 0; i < 12345; i++)
		empty += token_piece_bytes(t, i, &n) == NULL || n == 0;
	EQ_INT(empty, 0, "each of which is some text");
	OK(token_encode(t, &in, &ids, &e) == 0 && ids.n < in.n,
	    "text is encoded, with merges");
	token_decode(t, ids.p, ids.n, true, &out);
	OK(out.n == in.n && memcmp(out.p, in.p, in.n) == 0, "and back");
	VEC_FREE(&ids);
	str_free(&out);
	token_free(t);
	scratch_clear();
}

int
main(void)
{
	scratch_begin();
	test_written();
	test_families();
	test_refused();
	test_shapes();
	test_values();
	test_tokenizer();
	return tap_done();
}
