/* bench_gen - `moe-bench gen`: arrivals and lengths, or routing, as streams. */
#include "bench_gen.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "cli.h"
#include "num.h"
#include "rec.h"
#include "rng.h"
#include "skew.h"

#define PROG	"moe-bench gen"
#define DRAW_GAP	1
#define DRAW_IN		2
#define DRAW_OUT	3

/* ---- lengths -------------------------------------------------------------- */

struct range {
	int64_t lo, hi;
};

struct lengths {
	struct range in, out;
	bool trace;
};

/* Those of AMoE (arXiv 2505.08944, section 5.1): uniform. */
static const struct {
	const char *name;
	struct lengths l;
} named[] = {
	{ "short", { { 30, 70 }, { 70, 130 }, false } },
	{ "medium", { { 50, 150 }, { 50, 250 }, false } },
	{ "reasonable", { { 100, 300 }, { 100, 500 }, false } },
	{ "trace", { { 1, 1 }, { 1, 1 }, true } },
};

static int
parse_range(char *s, struct range *r)
{
	char *dash = strchr(s, '-');

	if (dash != NULL)
		*dash++ = '\0';
	if (num_i64(s, &r->lo) != 0 ||
	    num_i64(dash != NULL ? dash : s, &r->hi) != 0)
		return -1;
	return r->lo >= 1 && r->lo <= r->hi && r->hi <= BENCH_MAX_TOK ? 0 : -1;
}

static int
parse_lengths(const char *spec, struct lengths *l, struct err *err)
{
	char *s = mem_strdup(spec), *comma = strchr(s, ',');
	size_t i;
	int rc = -1;

	for (i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		if (strcmp(spec, named[i].name) == 0) {
			*l = named[i].l;
			rc = 0;
		}
	if (rc != 0 && comma != NULL) {
		*comma++ = '\0';
		l->trace = false;
		rc = parse_range(s, &l->in) == 0 &&
		    parse_range(comma, &l->out) == 0 ? 0 : -1;
	}
	mem_free(s);
	return rc == 0 ? 0 : err_set(err, ERR_USAGE, "--lengths: '%s' is "
	    "neither short, medium, reasonable, trace nor IN,OUT or "
	    "IN-IN,OUT-OUT", spec);
}

static int64_t
draw_length(uint64_t seed, uint64_t i, uint64_t what, const struct range *r)
{
	return r->lo + (int64_t)(rng_unit(seed, i, what) *
	    (double)(r->hi - r->lo + 1));
}

/* ---- arrivals ------------------------------------------------------------- */

double
bench_gen_gamma(uint64_t key, uint64_t i, double shape)
{
	struct rng r = { rng_at(key, i, DRAW_GAP), 0 };
	double boost = 1, d, c, x, v, u;

	if (shape < 1) {
		boost = pow(1 - rng_next_unit(&r), 1 / shape);
		shape += 1;
	}
	d = shape - 1.0 / 3;
	c = 1 / sqrt(9 * d);
	for (;;) {
		x = rng_next_normal(&r);
		v = 1 + c * x;
		if (v <= 0)
			continue;
		v = v * v * v;
		u = 1 - rng_next_unit(&r);
		if (log(u) < 0.5 * x * x + d - d * v + d * log(v))
			return boost * d * v;
	}
}

/* Mean 1. */
static double
draw_gap(const struct bench_gen_opt *o, uint64_t i)
{
	double shape = 1 / (o->cv * o->cv);

	if (o->kind == BENCH_GEN_EVEN)
		return 1;
	if (o->kind == BENCH_GEN_GAMMA)
		return bench_gen_gamma(o->seed, i, shape) / shape;
	return -log1p(-rng_unit(o->seed, i, DRAW_GAP));
}

struct trace {
	VEC(struct bench_arrival) v;
};

static int
on_arrival(void *arg, const struct bench_arrival *a, struct err *err)
{
	struct trace *t = arg;

	(void)err;
	VEC_PUSH(&t->v, *a);
	return 0;
}

static void
make(const struct bench_gen_opt *o, const struct trace *t,
    const struct lengths *l, bench_gen_list *out)
{
	size_t n = o->n > 0 ? (size_t)o->n : o->trace ? t->v.n : 1000, i;
	double at = 0, scale = 1, span;
	struct bench_arrival a;

	if (o->kind == BENCH_GEN_TRACE && n > t->v.n)
		n = t->v.n;
	span = t->v.n > 0 ? t->v.p[t->v.n - 1].at_s : 0;
	if (o->kind == BENCH_GEN_TRACE && o->rate > 0 && span > 0)
		scale = (double)(t->v.n - 1) / o->rate / span;
	for (i = 0; i < n; i++) {
		if (o->kind == BENCH_GEN_TRACE)
			at = t->v.p[i].at_s * scale;
		else if (i > 0 && o->rate > 0)
			at += draw_gap(o, i) / o->rate;
		a.at_s = at;
		a.in_tok = l->trace ? t->v.p[i % t->v.n].in_tok :
		    draw_length(o->seed, i, DRAW_IN, &l->in);
		a.out_tok = l->trace ? t->v.p[i % t->v.n].out_tok :
		    draw_length(o->seed, i, DRAW_OUT, &l->out);
		VEC_PUSH(out, a);
	}
}

int
bench_gen(const struct bench_gen_opt *o, bench_gen_list *out, struct err *err)
{
	struct trace t = { { NULL, 0, 0 } };
	struct lengths l;
	int rc = parse_lengths(o->lengths, &l, err);

	if (rc == 0 && (l.trace || o->kind == BENCH_GEN_TRACE) &&
	    o->trace == NULL)
		rc = err_set(err, ERR_USAGE, "--trace FILE is needed for "
		    "arrivals or lengths of a trace");
	if (rc == 0 && !(o->cv > 0))
		rc = err_set(err, ERR_USAGE, "--cv is not above 0");
	if (rc == 0 && o->trace != NULL)
		rc = bench_arrival_read(o->trace, on_arrival, &t, err);
	if (rc == 0)
		make(o, &t, &l, out);
	VEC_FREE(&t.v);
	return rc;
}

/* ---- the verb ------------------------------------------------------------- */

struct gen {
	struct bench_gen_opt o;
	const char *routing;
	int64_t layers, experts, seed;
	bool json;
};

static int
parse(struct gen *g, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 0, "arrivals", CLI_ENUM, &g->o.kind, BENCH_GEN_KINDS,
		    "how requests come (default poisson)", 0, 0, NULL },
		{ 0, "rate", CLI_REAL, &g->o.rate, "R",
		    "requests a second; 0: all at once, or as in the trace",
		    0, 1e9, NULL },
		{ 0, "cv", CLI_REAL, &g->o.cv, "C",
		    "gamma: deviation of a gap over its mean (default 2)", 0,
		    100, NULL },
		{ 0, "lengths", CLI_STR, &g->o.lengths, "SPEC",
		    "short, medium, reasonable, trace, IN,OUT or "
		    "IN-IN,OUT-OUT", 0, 0, NULL },
		{ 0, "trace", CLI_STR, &g->o.trace, "FILE",
		    "of an LLM: Azure's CSV, Mooncake's JSON lines, or gen's",
		    0, 0, NULL },
		{ 'n', "requests", CLI_INT, &g->o.n, "N",
		    "requests (default: 1000, or those of the trace)", 1,
		    1000000, NULL },
		{ 0, "routing", CLI_STR, &g->routing, "SPEC",
		    "shares of experts instead of arrivals", 0, 0, NULL },
		{ 0, "layers", CLI_INT, &g->layers, "N",
		    "routing: layers (default 1)", 1, 65536, NULL },
		{ 0, "experts", CLI_INT, &g->experts, "N",
		    "routing: experts of a layer (default 8)", 1,
		    SKEW_MAX_EXPERT, NULL },
		{ 's', "seed", CLI_INT, &g->seed, "SEED",
		    "of all that is drawn (default 0)", 0, 1e15, NULL },
		{ 'j', "json", CLI_FLAG, &g->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "gen", "",
	    "Draw when requests come and how long they are, or routing.",
	    opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	g->o.seed = (uint64_t)g->seed;
	return at < 0 ? -1 : 0;
}

static int
put_arrivals(const struct gen *g, struct err *err)
{
	bench_gen_list list = { NULL, 0, 0 };
	struct rec_out out;
	size_t i;
	int rc = bench_gen(&g->o, &list, err);

	if (rc != 0)
		return -1;
	rec_out_open(&out, stdout, "arrival", 1, bench_arrival_col, g->json);
	for (i = 0; rc == 0 && i < list.n; i++) {
		rec_put_real(&out, list.p[i].at_s);
		rec_put_int(&out, list.p[i].in_tok);
		rec_put_int(&out, list.p[i].out_tok);
		rc = rec_end(&out, err);
	}
	rec_out_close(&out);
	VEC_FREE(&list);
	return rc;
}

static int
put_routing(const struct gen *g, struct err *err)
{
	struct skew *s;
	int rc;

	if (skew_open(&s, g->routing, (int)g->layers, (int)g->experts,
	    g->o.seed, err) != 0)
		return err_ctx(err, "--routing");
	rc = skew_write(s, stdout, g->json, err);
	skew_close(s);
	return rc;
}

int
bench_gen_main(int argc, char **argv)
{
	struct gen g = { .o = { .cv = 2, .lengths = "medium" }, .layers = 1,
	    .experts = 8 };
	struct err err = ERR_INIT;

	if (parse(&g, argc, argv, &err) == 0 &&
	    (g.routing != NULL ? put_routing(&g, &err) :
	    put_arrivals(&g, &err)) == 0)
		return 0;
	return cli_fail(PROG, &err);
}
