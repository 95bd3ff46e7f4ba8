/* bench_model - see bench_model.h. */
#include "bench_model.h"

#include <stdio.h>
#include <unistd.h>

#include "bench_model_shape.h"
#include "bench_model_tok.h"
#include "bench_model_write.h"
#include "cli.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "num.h"
#include "str.h"

#define PROG	"moe-bench model"

struct options {
	const char *shape, *family, *out;
	int64_t layers, threads;
	int dtype;
	uint64_t seed, shard_bytes;
	bool force, quiet;
};

static const struct {
	enum ckpt_dtype dtype;
	const char *name;	/* as config.json says it */
} dtypes[] = {		/* in the order of --dtype's words */
	{ CKPT_F32, "float32" },
	{ CKPT_F16, "float16" },
	{ CKPT_BF16, "bfloat16" },
};

static int
parse_options(struct options *o, int argc, char **argv, struct err *err)
{
	int64_t seed = 1;
	const struct cli_opt opt[] = {
		{ 0, "shape", CLI_STR, &o->shape, "NAME|KEY=VALUE,...",
		    "olmoe, qwen15moe, mixtral, qwen3-30b, dsv3, small; or "
		    "keys, also after a name: olmoe,layers=2", 0, 0, NULL },
		{ 0, "layers", CLI_INT, &o->layers, "N",
		    "only so many layers", 1, CONFIG_MAX_LAYER, NULL },
		{ 0, "dtype", CLI_ENUM, &o->dtype, "f32|f16|bf16",
		    "how weights are stored (default bf16)", 0, 0, NULL },
		{ 0, "family", CLI_STR, &o->family, "NAME",
		    "write the shape as this model_type", 0, 0, NULL },
		{ 's', "seed", CLI_INT, &seed, "N",
		    "another seed, other weights (default 1)", 0, 9e15, NULL },
		{ 0, "shard", CLI_SIZE, &o->shard_bytes, "SIZE",
		    "begin a new file beyond this size (default 3G)", 0, 0,
		    NULL },
		{ 0, "threads", CLI_INT, &o->threads, "N",
		    "threads (default: one per processor)", 1, 64, NULL },
		{ 0, "force", CLI_FLAG, &o->force, NULL,
		    "write into a directory that is not empty", 0, 0, NULL },
		{ 'q', "quiet", CLI_FLAG, &o->quiet, NULL,
		    "no progress line and no summary", 0, 0, NULL },
		{ 'o', "out", CLI_STR, &o->out, "DIR",
		    "the checkpoint's directory", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "model", "",
	    "Writes a loadable checkpoint with seeded random weights and a "
	    "byte-level tokenizer.\ndsv3 has the experts, width and depth of "
	    "DeepSeek-V3, written as qwen3_moe (GQA, 8 KV heads).", opt };
	int i = cli_parse(&c, argc, argv, err);

	if (i < 0)
		return -1;
	if (i < argc)
		return err_set(err, ERR_USAGE, "'%s': no operands are taken",
		    argv[i]);
	if (o->out == NULL)
		return err_set(err, ERR_USAGE, "-o DIR is needed");
	o->seed = (uint64_t)seed;
	return 0;
}

static int
make_shape(struct bench_model_shape *s, const struct options *o,
    struct err *err)
{
	if (bench_model_shape_parse(s, o->shape, err) != 0)
		return -1;
	if (o->layers > 0)
		s->layers = (int)o->layers;
	return bench_model_shape_family(s, o->family, err);
}

/* The checkpoint of that shape; what its own config says is what is written,
 * so a shape that no reader would take is refused here. */
static int
write_model(const struct options *o, uint64_t *bytes_p, struct err *err)
{
	struct bench_model_shape s;
	struct str config = STR_INIT, gen = STR_INIT, tok = STR_INIT;
	struct str tok_config = STR_INIT;
	struct model_cfg *cfg = NULL;
	int rc = make_shape(&s, o, err);

	if (rc != 0)
		return rc;
	bench_model_shape_config(&s, dtypes[o->dtype].name, &config);
	str_addf(&gen, "{\n \"eos_token_id\": [%d, %d],\n \"bos_token_id\": "
	    "%d\n}\n", BENCH_MODEL_EOS, BENCH_MODEL_IM_END, BENCH_MODEL_EOS);
	bench_model_tok_json(s.vocab, &tok);
	bench_model_tok_config(&tok_config);
	rc = config_parse(&cfg, config.p, config.n, gen.p, gen.n, err);
	if (rc != 0) {
		err->code = ERR_USAGE;
		err_ctx(err, "--shape");
	} else {
		const struct bench_model_write w = { .dir = o->out,
		    .force = o->force, .cfg = cfg,
		    .dtype = dtypes[o->dtype].dtype, .seed = o->seed,
		    .shard_bytes = o->shard_bytes, .threads = (int)o->threads,
		    .progress = !o->quiet && isatty(STDERR_FILENO),
		    .config = config.p, .gen = gen.p, .tok = tok.p,
		    .tok_config = tok_config.p };

		rc = bench_model_write(&w, bytes_p, err);
	}
	config_free(cfg);
	str_free(&config);
	str_free(&gen);
	str_free(&tok);
	str_free(&tok_config);
	return rc;
}

int
bench_model_main(int argc, char **argv)
{
	struct options o = { .shape = "small", .dtype = 2,
	    .threads = sysconf(_SC_NPROCESSORS_ONLN),
	    .shard_bytes = (uint64_t)3 << 30 };
	char size[NUM_TEXT], took[NUM_TEXT];
	uint64_t start = clock_ns(), bytes = 0;
	struct err err = ERR_INIT;

	if (parse_options(&o, argc, argv, &err) != 0 ||
	    write_model(&o, &bytes, &err) != 0)
		return cli_fail(PROG, &err);
	if (!o.quiet)
		fprintf(stderr, "%s: %s of weights in %s\n", o.out,
		    num_size_text(bytes, size),
		    num_dur_text(clock_ns() - start, took));
	return 0;
}
