/*
 * bench_e2e - the verb: the same load on several set-ups of the same model, in
 * turn, several times: the monolith, and the model taken apart into daemons.
 *
 * The machine changes from minute to minute.  So set-ups alternate (every
 * other round backwards), ratios are taken within a round, and the bandwidth
 * that the roofline needs is measured right before and after each figure.
 */
#include "bench_e2e.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_e2e_load.h"
#include "bench_e2e_roof.h"
#include "bench_e2e_up.h"
#include "bench_kern_peak.h"
#include "cli.h"
#include "mem.h"
#include "model.h"
#include "num.h"
#include "rec.h"
#include "sorted.h"

#define PROG		"moe-bench e2e"
#define MAX_SETUP	8
#define MAX_POINT	32
#define MAX_ROUND	64
#define READ_BYTES	((size_t)128 << 20)
#define SHORT_PROMPT	8	/* tokens, where decoding is measured */
#define ALIAS		"e2e"
#define Q8_BYTES	(34.0 / 32)	/* a block of 32, and its scale */

static const struct rec_col cols[] = {
	{ "setup", REC_STR, 0 }, { "what", REC_STR, 0 },
	{ "streams", REC_INT, 0 }, { "prompt", REC_INT, 0 },
	{ "tok_s", REC_REAL, 0 }, { "min", REC_REAL, 0 },
	{ "max", REC_REAL, 0 }, { "ratio", REC_REAL, 0 },
	{ "read_gb_s", REC_REAL, 0 }, { "roof_tok_s", REC_REAL, 0 },
	{ "roof_pct", REC_REAL, 0 }, { "wrong", REC_INT, 0 },
	{ "rounds", REC_INT, 0 }, { NULL, 0, 0 }
};

struct opts {
	const char *model, *setups, *streams, *prompts, *dtype, *bin;
	const char *attnd_args, *expertd_args;
	int64_t tokens, rounds, threads, seed;
	uint64_t limit_ns;
	int weights;		/* enum model_weights */
	bool json, quiet;
};

struct setup {
	char name[16];
	int servers;		/* 0: local */
	const char *transport;
};

/* What is measured: streams that decode, or a prompt that is read. */
struct point {
	bool decode;
	int streams, prompt;
	int32_t *first;		/* answers of the first set-up; NULL: not yet */
	int64_t wrong[MAX_SETUP];
	double tok_s[MAX_SETUP][MAX_ROUND];
	double read[MAX_SETUP][MAX_ROUND];	/* bytes/s around it */
};

struct bench {
	struct opts o;
	char bin[PATH_MAX];
	struct model *m;
	struct bench_e2e_roof roof;
	struct bench_kern_peak *peak;
	struct setup setup[MAX_SETUP];
	struct point *point;
	int n_setup, n_point;
};

/* ---- the command line ---------------------------------------------------- */

/* "local", or a number of servers and a transport: "3tcp". */
static int
parse_setup(struct setup *s, const char *text, struct err *err)
{
	char *end;
	long n = strtol(text, &end, 10);

	snprintf(s->name, sizeof(s->name), "%s", text);
	if (strcmp(text, "local") == 0)
		return 0;
	if (n < 1 || n > 60 ||
	    (strcmp(end, "shm") != 0 && strcmp(end, "tcp") != 0))
		return err_set(err, ERR_USAGE, "--setups: '%s' is neither "
		    "local nor a number of servers with shm or tcp", text);
	s->servers = (int)n;
	s->transport = strcmp(end, "shm") == 0 ? "shm" : "tcp";
	return 0;
}

static int
add_setup(struct bench *b, const char *text, struct err *err)
{
	if (b->n_setup == MAX_SETUP)
		return err_set(err, ERR_USAGE, "--setups: more than %d",
		    MAX_SETUP);
	return parse_setup(&b->setup[b->n_setup++], text, err);
}

static int
add_point(struct bench *b, const char *text, bool decode, struct err *err)
{
	struct point *p = &b->point[b->n_point];
	int64_t n;

	if (b->n_point == MAX_POINT)
		return err_set(err, ERR_USAGE, "--streams and --prompts have "
		    "more than %d numbers", MAX_POINT);
	if (num_i64(text, &n) != 0 || n < 1 || n > 65536)
		return err_set(err, ERR_USAGE, "%s: '%s' is not a number from "
		    "1 to 65536", decode ? "--streams" : "--prompts", text);
	p->decode = decode;
	p->streams = decode ? (int)n : 1;
	p->prompt = decode ? SHORT_PROMPT : (int)n;
	b->n_point++;
	return 0;
}

enum list { LIST_SETUPS, LIST_STREAMS, LIST_PROMPTS };

static int
parse_list(struct bench *b, const char *text, enum list what, struct err *err)
{
	char *copy = mem_strdup(text), *save = NULL, *w;
	int rc = 0;

	for (w = strtok_r(copy, ",", &save); rc == 0 && w != NULL;
	    w = strtok_r(NULL, ",", &save))
		rc = what == LIST_SETUPS ? add_setup(b, w, err) :
		    add_point(b, w, what == LIST_STREAMS, err);
	mem_free(copy);
	return rc;
}

static int
parse(struct bench *b, int argc, char **argv, struct err *err)
{
	struct opts *o = &b->o;
	const struct cli_opt opt[] = {
	{ 'm', "model", CLI_STR, &o->model, "DIR", "checkpoint directory", 0, 0,
	    "MOE_MODEL" },
	{ 0, "setups", CLI_STR, &o->setups, "LIST",
	    "local, 1shm, 3tcp, ... (local,1shm,3shm,3tcp)", 0, 0, NULL },
	{ 0, "streams", CLI_STR, &o->streams, "LIST",
	    "streams that decode together (1,4,8,16,32)", 0, 0, NULL },
	{ 0, "prompts", CLI_STR, &o->prompts, "LIST",
	    "lengths of prompts that are read (128,512)", 0, 0, NULL },
	{ 'n', "tokens", CLI_INT, &o->tokens, "N",
	    "tokens of a stream (32)", 4, 65536, NULL },
	{ 'r', "rounds", CLI_INT, &o->rounds, "N",
	    "times that each set-up is measured (3)", 1, MAX_ROUND, NULL },
	{ 0, "threads", CLI_INT, &o->threads, "N",
	    "of the front end, and of all servers together (all processors)",
	    1, 1024, NULL },
	{ 0, "dtype", CLI_STR, &o->dtype, MODEL_DTYPES,
	    "what to compute in (auto)", 0, 0, NULL },
	{ 0, "weights", CLI_ENUM, &o->weights, MODEL_WEIGHTS,
	    "form of weights in memory (native: that of --dtype)", 0, 0, NULL },
	{ 0, "bin", CLI_STR, &o->bin, "DIR",
	    "where the programs are (where this one is)", 0, 0, NULL },
	{ 0, "attnd-args", CLI_STR, &o->attnd_args, "STR",
	    "more options for moe-attnd", 0, 0, NULL },
	{ 0, "expertd-args", CLI_STR, &o->expertd_args, "STR",
	    "more options for every moe-expertd", 0, 0, NULL },
	{ 's', "seed", CLI_INT, &o->seed, "N", "seed of prompts (1)", 0, 0,
	    NULL },
	{ 't', "timeout", CLI_DUR, &o->limit_ns, "DUR",
	    "limit on a request (10m)", 0, 0, NULL },
	{ 'q', "quiet", CLI_FLAG, &o->quiet, NULL,
	    "no progress on stderr", 0, 0, NULL },
	{ 'j', "json", CLI_FLAG, &o->json, NULL, "NDJSON instead of TSV", 0, 0,
	    NULL },
	{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "e2e", "", "Compare a model in one "
	    "process with the same model in several, in turn.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at < 0)
		return -1;
	if (at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (o->model == NULL)
		return err_set(err, ERR_USAGE, "-m DIR is needed");
	if (parse_list(b, o->setups, LIST_SETUPS, err) != 0 ||
	    parse_list(b, o->streams, LIST_STREAMS, err) != 0 ||
	    parse_list(b, o->prompts, LIST_PROMPTS, err) != 0)
		return -1;
	if ((o->attnd_args != NULL &&
	    strstr(o->attnd_args, "--weights") != NULL) ||
	    (o->expertd_args != NULL &&
	    strstr(o->expertd_args, "--weights") != NULL))
		return err_set(err, ERR_USAGE, "--weights is an option of this "
		    "program, too: the roofline must know it");
	if (b->n_setup == 0 || b->n_point == 0)
		return err_set(err, ERR_USAGE, "nothing to measure");
	return 0;
}

/* ---- measuring ----------------------------------------------------------- */

static struct bench_e2e_load
load_of(const struct bench *b, const struct point *p)
{
	return (struct bench_e2e_load){ .model = ALIAS,
	    .vocab = model_cfg(b->m)->vocab, .seed = (uint64_t)b->o.seed,
	    .streams = p->streams, .prompt_tok = p->prompt,
	    .tokens = p->decode ? (int)b->o.tokens : 1,
	    .limit_ns = b->o.limit_ns };
}

/* Tokens unlike the first set-up's. */
static int64_t
compare(struct point *p, int32_t *ids, size_t n)
{
	int64_t wrong = 0;
	size_t i;

	if (p->first == NULL)
		p->first = mem_dup(ids, n * sizeof(*ids));
	for (i = 0; i < n; i++)
		wrong += ids[i] != p->first[i];
	return wrong;
}

static int
measure(struct bench *b, struct oai *c, struct point *p, int s, int round,
    struct err *err)
{
	const struct bench_e2e_load l = load_of(b, p);
	size_t n = (size_t)l.streams * (size_t)l.tokens;
	int32_t *ids = mem_calloc(n, sizeof(*ids));
	double before = bench_kern_peak_read(b->peak), after;
	int rc = p->decode ?
	    bench_e2e_load_decode(c, &l, ids, &p->tok_s[s][round], err) :
	    bench_e2e_load_prefill(c, &l, &p->tok_s[s][round], err);

	after = bench_kern_peak_read(b->peak);
	p->read[s][round] = before > after ? before : after;
	if (rc == 0 && p->decode)
		p->wrong[s] += compare(p, ids, n);
	if (rc == 0 && !b->o.quiet)
		fprintf(stderr, "round %d, %s: %s, %d stream%s, prompt of %d: "
		    "%.1f tokens/s\n", round + 1, b->setup[s].name,
		    p->decode ? "decode" : "prefill", p->streams,
		    p->streams > 1 ? "s" : "", p->prompt, p->tok_s[s][round]);
	mem_free(ids);
	return rc;
}

/* Every page touched, every route known; not counted.  One stream, since short
 * ones may miss each other. */
static int
warm_up(const struct bench *b, struct oai *c, struct err *err)
{
	struct bench_e2e_load l = { .model = ALIAS,
	    .vocab = model_cfg(b->m)->vocab, .seed = (uint64_t)b->o.seed + 1,
	    .streams = 1, .prompt_tok = 4 * SHORT_PROMPT, .tokens = 4,
	    .limit_ns = b->o.limit_ns };
	int32_t ids[4];
	double tok_s;

	return bench_e2e_load_decode(c, &l, ids, &tok_s, err);
}

static int
one_setup(struct bench *b, int s, int round, struct err *err)
{
	const struct bench_e2e_up_opt uo = { b->bin, b->o.model, b->o.dtype,
	    b->o.weights == MODEL_Q8 ? "q8" : "native", b->setup[s].servers, b->setup[s].transport, (int)b->o.threads,
	    b->o.attnd_args, b->o.expertd_args };
	struct bench_e2e_up *u = NULL;
	struct oai *c = NULL;
	int i, rc;

	rc = bench_e2e_up_start(&u, &uo, err) == 0 &&
	    oai_open(&c, bench_e2e_up_url(u), NULL, err) == 0 &&
	    warm_up(b, c, err) == 0 ? 0 : -1;
	for (i = 0; rc == 0 && i < b->n_point; i++)
		rc = measure(b, c, &b->point[i], s, round, err);
	oai_close(c);
	bench_e2e_up_stop(u);
	return rc == 0 ? 0 : err_ctx(err, "%s", b->setup[s].name);
}

/* ---- the table ----------------------------------------------------------- */

/* Sorted copy of v into out; the median. */
static double
median(const double *v, int n, double *out)
{
	memcpy(out, v, (size_t)n * sizeof(*out));
	sorted_f64(out, (size_t)n);
	return sorted_median(out, (size_t)n);
}

static int
put_row(const struct bench *b, struct rec_out *out, const struct point *p,
    int s, struct err *err)
{
	int n = (int)b->o.rounds, i;
	double v[MAX_ROUND], ratio[MAX_ROUND], pct[MAX_ROUND], t[MAX_ROUND];
	double mid = median(p->tok_s[s], n, v), read, bytes;

	bytes = bench_e2e_roof_bytes(model_cfg(b->m), p->streams,
	    p->prompt + (double)b->o.tokens / 2, &b->roof);
	for (i = 0; i < n; i++) {
		ratio[i] = p->tok_s[s][i] / p->tok_s[0][i];
		pct[i] = 100 * p->tok_s[s][i] /
		    (p->read[s][i] / bytes * p->streams);
	}
	read = median(p->read[s], n, t);
	rec_put_str(out, b->setup[s].name);
	rec_put_str(out, p->decode ? "decode" : "prefill");
	rec_put_int(out, p->streams);
	rec_put_int(out, p->prompt);
	rec_put_real(out, mid);
	rec_put_real(out, v[0]);
	rec_put_real(out, v[n - 1]);
	rec_put_real(out, median(ratio, n, t));
	rec_put_real(out, read * 1e-9);
	if (p->decode) {
		rec_put_real(out, read / bytes * p->streams);
		rec_put_real(out, median(pct, n, t));
		rec_put_int(out, p->wrong[s]);
	} else {
		rec_put_none(out);
		rec_put_none(out);
		rec_put_none(out);
	}
	rec_put_int(out, n);
	return rec_end(out, err);
}

static int
put_table(const struct bench *b, struct err *err)
{
	const struct model_cfg *c = model_cfg(b->m);
	struct rec_out out;
	int i, s, rc = 0;
	double load[3] = { 0, 0, 0 };

	rec_out_open(&out, stdout, "e2e", 1, cols, b->o.json);
	(void)getloadavg(load, 3);
	rec_note(&out, "%s: %d layers, %d experts, top %d; %lld threads; load "
	    "average %.1f", model_name(b->m), c->n_layer, c->n_expert, c->top_k,
	    (long long)b->o.threads, load[0]);
	for (i = 0; i < b->n_point; i++)
		for (s = 0; rc == 0 && s < b->n_setup; s++)
			rc = put_row(b, &out, &b->point[i], s, err);
	rec_out_close(&out);
	return rc;
}

/* ------------------------------------------------------------------------- */

/* Where the daemons are: --bin, else beside this program. */
static int
find_bin(struct bench *b, struct err *err)
{
	char *probe, *slash;
	ssize_t n;
	int rc = 0;

	if (b->o.bin != NULL) {
		snprintf(b->bin, sizeof(b->bin), "%s", b->o.bin);
	} else {
		n = readlink("/proc/self/exe", b->bin, sizeof(b->bin) - 1);
		b->bin[n > 0 ? n : 0] = '\0';
		if ((slash = strrchr(b->bin, '/')) != NULL)
			*slash = '\0';
	}
	probe = mem_printf("%s/moe-attnd", b->bin);
	if (access(probe, X_OK) != 0)
		rc = err_set(err, ERR_UNAVAIL, "%s is not there (--bin)",
		    probe);
	mem_free(probe);
	return rc;
}

static int
open_model(struct bench *b, struct err *err)
{
	enum model_dtype want = MODEL_AUTO;
	double elem;

	if (strcmp(b->o.dtype, "f32") == 0)
		want = MODEL_F32;
	else if (strcmp(b->o.dtype, "bf16") == 0)
		want = MODEL_BF16;
	else if (strcmp(b->o.dtype, "auto") != 0)
		return err_set(err, ERR_USAGE, "--dtype '%s' is none of "
		    MODEL_DTYPES, b->o.dtype);
	if (model_open(&b->m, b->o.model, err) != 0)
		return -1;
	elem = (double)kern_dtype_bytes(model_pick_act(b->m, want), 1);
	b->roof = (struct bench_e2e_roof){ b->o.weights == MODEL_Q8 ?
	    Q8_BYTES : elem, elem, elem };
	return 0;
}

static int
run(struct bench *b, struct err *err)
{
	int64_t wrong = 0;
	cpu_set_t set;
	int r, i, s;

	if (b->o.threads == 0)
		b->o.threads = sched_getaffinity(0, sizeof(set), &set) == 0 ?
		    CPU_COUNT(&set) : 1;
	b->peak = bench_kern_peak_new((int)b->o.threads, READ_BYTES);
	if (b->peak == NULL)
		return err_set(err, ERR_UNAVAIL, "no memory for the bandwidth "
		    "test");
	for (r = 0; r < b->o.rounds; r++)
		for (i = 0; i < b->n_setup; i++)
			if (one_setup(b, r % 2 == 0 ? i : b->n_setup - 1 - i,
			    r, err) != 0)
				return -1;
	if (put_table(b, err) != 0)
		return -1;
	for (i = 0; i < b->n_point; i++)
		for (s = 0; s < b->n_setup; s++)
			wrong += b->point[i].wrong[s];
	return wrong == 0 ? 0 : err_set(err, ERR_NO, "%lld tokens are not "
	    "those of %s", (long long)wrong, b->setup[0].name);
}

int
bench_e2e_main(int argc, char **argv)
{
	struct bench b = { .o = { .setups = "local,1shm,3shm,3tcp",
	    .streams = "1,4,8,16,32", .prompts = "128,512", .dtype = "auto",
	    .tokens = 32, .rounds = 3, .seed = 1,
	    .limit_ns = 600000000000ull } };
	struct err err = ERR_INIT;
	int rc, i;

	signal(SIGPIPE, SIG_IGN);
	b.point = mem_calloc(MAX_POINT, sizeof(*b.point));
	rc = parse(&b, argc, argv, &err) == 0 && find_bin(&b, &err) == 0 &&
	    open_model(&b, &err) == 0 && run(&b, &err) == 0 ? 0 : -1;
	for (i = 0; i < b.n_point; i++)
		mem_free(b.point[i].first);
	mem_free(b.point);
	bench_kern_peak_free(b.peak);
	model_close(b.m);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
