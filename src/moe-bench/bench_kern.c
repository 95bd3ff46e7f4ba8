/*
 * bench_kern.c - the verb: for each operation and number of rows, the median
 * time of a call, set against the limit that binds: reading the bytes that the
 * call must read, or doing its multiply-adds, both at the pace that was
 * measured between the calls.  With a peer (another library, or we with weights
 * of the other form), its calls alternate with ours.
 */
#include "bench_kern.h"

#include <stdlib.h>
#include <string.h>

#include "bench_kern_op.h"
#include "bench_kern_peak.h"
#include "bench_kern_peer.h"
#include "cli.h"
#include "clock.h"
#include "err.h"
#include "mem.h"
#include "num.h"
#include "rec.h"
#include "sorted.h"

#define MAX_ROWS	32
#define ROUNDS		12
#define MAX_CALLS	16	/* of a round */
#define READ_BYTES	((size_t)128 << 20)	/* a bandwidth sample */
#define COLD_BYTES	((size_t)512 << 20)

#define DTYPES		"f32|bf16|q8"

struct opts {
	const char *op, *rows, *shape, *isa, *peer;
	int dtype;		/* index of DTYPES */
	int64_t threads, seed, ctx;
	uint64_t memory, time_ns;
	bool json;
};

static const struct shape_name {
	const char *name;
	struct bench_kern_shape s;
} shape_names[] = {
	{ "olmoe", { 2048, 1024, 64, 8 } },
	{ "qwen15moe", { 2048, 1408, 60, 4 } },
	{ "qwen3-30b", { 2048, 768, 128, 8 } },
	{ "mixtral", { 4096, 14336, 8, 2 } },
	{ "dsv3", { 7168, 2048, 256, 8 } },
};

static const struct rec_col cols[] = {
	{ "op", REC_STR, 0 }, { "dtype", REC_STR, 0 }, { "rows", REC_INT, 0 },
	{ "threads", REC_INT, 0 }, { "us", REC_REAL, 0 },
	{ "gb_s", REC_REAL, 0 }, { "gflop_s", REC_REAL, 0 },
	{ "limit_pct", REC_REAL, 0 }, { "wrong", REC_INT, 0 },
	{ "peer", REC_STR, 0 }, { "peer_us", REC_REAL, 0 },
	{ "ratio", REC_REAL, 0 }, { "peer_wrong", REC_INT, 0 },
	{ "rms", REC_REAL, 0 }, { "peer_rms", REC_REAL, 0 },
	{ NULL, 0, 0 }
};

/* "1,4,16" into out[]; how many, or -1. */
static int
parse_list(const char *text, int64_t *out, int max)
{
	char *copy = mem_strdup(text), *save = NULL, *w;
	int n = 0;

	for (w = strtok_r(copy, ",", &save); w != NULL;
	    w = strtok_r(NULL, ",", &save)) {
		if (n == max || num_i64(w, &out[n]) != 0 || out[n] < 1 ||
		    out[n] > 1 << 20) {
			n = -1;
			break;
		}
		n++;
	}
	mem_free(copy);
	return n == 0 ? -1 : n;
}

static int
parse_shape(const char *text, struct bench_kern_shape *s, struct err *err)
{
	int64_t v[4];
	size_t i;

	for (i = 0; i < sizeof(shape_names) / sizeof(shape_names[0]); i++) {
		if (strcmp(text, shape_names[i].name) == 0) {
			*s = shape_names[i].s;
			return 0;
		}
	}
	if (parse_list(text, v, 4) != 4 || v[3] > v[2])
		return err_set(err, ERR_USAGE, "--shape %s: neither olmoe, "
		    "qwen15moe, qwen3-30b, mixtral, dsv3 nor H,F,E,k", text);
	*s = (struct bench_kern_shape){ (int)v[0], (int)v[1], (int)v[2],
	    (int)v[3] };
	return 0;
}

/* The median of t[0..n). */
static double
median(double *t, int n)
{
	sorted_f64(t, (size_t)n);
	return sorted_median(t, (size_t)n);
}

struct session {
	struct kern *kn;
	struct bench_kern_peak *peak;
	char isa[16];
	struct bench_kern_shape shape;
	struct rec_out out;
};

struct result {
	double seconds, peer;	/* of a call: medians */
	double best, peer_best;
	double read, fma;	/* bytes/s, flop/s: the best seen */
};

/* What is timed: an operation, and beside it nothing, the same with weights in
 * the form of rows, or a peer; t: the dtype of that one's results. */
struct pairing {
	struct bench_kern_op *op, *other;
	struct bench_kern_peer *peer;
	enum kern_dtype t;
};

static bool
is_alone(const struct pairing *p)
{
	return p->other == NULL && p->peer == NULL;
}

/* The times of one side's calls. */
struct times {
	double t[ROUNDS * MAX_CALLS];
	size_t calls;		/* made so far, uncounted ones too */
	int n;
};

/* One of the two is NULL. */
static void
call(struct bench_kern_op *op, struct bench_kern_peer *peer, size_t i)
{
	if (op != NULL)
		bench_kern_op_run(op, i);
	else
		bench_kern_peer_run(peer, i);
}

/* A round of calls, for time_ns; the first wakes the threads and is not
 * counted. */
static void
time_calls(struct bench_kern_op *op, struct bench_kern_peer *peer,
    uint64_t time_ns, struct times *t)
{
	uint64_t begin, spent = 0;
	int i;

	call(op, peer, t->calls++);
	for (i = 0; i < MAX_CALLS && (i == 0 || spent < time_ns); i++) {
		begin = clock_ns();
		call(op, peer, t->calls++);
		begin = clock_ns() - begin;
		spent += begin;
		t->t[t->n++] = (double)begin * 1e-9;
	}
}

/* A dozen rounds; in each the limits are measured, and then the calls: the
 * machine changes from second to second, its limits with it.  A limit is the
 * best that was seen, a call its median: other load on the machine can make
 * the kernels look worse than they are, never better. */
static struct result
measure(struct session *s, const struct pairing *p, uint64_t time_ns)
{
	struct times *t = mem_zalloc(2 * sizeof(*t));
	struct result r = { 0 };
	double v;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		v = bench_kern_peak_read(s->peak);
		r.read = v > r.read ? v : r.read;
		v = bench_kern_peak_fma(s->peak, s->isa, kern_act(s->kn));
		r.fma = v > r.fma ? v : r.fma;
		time_calls(p->op, NULL, time_ns / ROUNDS, &t[0]);
		if (is_alone(p))
			continue;
		time_calls(p->other, p->peer, time_ns / ROUNDS, &t[1]);
		if (p->peer != NULL)
			bench_kern_peer_rest(p->peer);
	}
	r.seconds = median(t[0].t, t[0].n);
	r.best = t[0].t[0];	/* sorted by now */
	if (!is_alone(p)) {
		r.peer = median(t[1].t, t[1].n);
		r.peer_best = t[1].t[0];
	}
	mem_free(t);
	return r;
}

static void
put_result(struct session *s, const struct bench_kern_op *op,
    const struct result *r)
{
	struct bench_kern_cost c = bench_kern_op_cost(op);
	double t = r->seconds, limit;

	limit = c.bytes / r->read > c.flops / r->fma ? c.bytes / r->read :
	    c.flops / r->fma;
	rec_put_real(&s->out, t * 1e6);
	rec_put_real(&s->out, c.bytes / t * 1e-9);
	rec_put_real(&s->out, c.flops / t * 1e-9);
	rec_put_real(&s->out, 100 * limit / t);
}

/* The other side's columns; rms is ours. */
static void
put_peer(struct session *s, const struct pairing *p, const struct result *r,
    double rms)
{
	double other;
	size_t wrong;
	int i;

	for (i = 0; is_alone(p) && i < 4; i++)
		rec_put_none(&s->out);
	if (is_alone(p)) {
		rec_put_real(&s->out, rms);
		rec_put_none(&s->out);
		return;
	}
	wrong = p->peer == NULL ? bench_kern_op_wrong(p->other, &other) :
	    bench_kern_op_wrong_y(p->op, bench_kern_peer_y(p->peer), p->t,
	    &other);
	rec_put_str(&s->out, p->peer == NULL ? kern_dtype_name(p->t) :
	    bench_kern_peer_name(p->peer));
	rec_put_real(&s->out, r->peer * 1e6);
	rec_put_real(&s->out, r->peer / r->seconds);
	rec_put_int(&s->out, (int64_t)wrong);
	rec_put_real(&s->out, rms);
	rec_put_real(&s->out, other);
}

static int
bench_pair(struct session *s, const struct opts *o, const char *name,
    int rows, const struct pairing *p, struct err *err)
{
	double rms;
	size_t wrong = bench_kern_op_wrong(p->op, &rms);
	struct result r = measure(s, p, o->time_ns);

	rec_note(&s->out, "read %.1f GB/s, multiply-add %.1f GFLOP/s; %.0f "
	    "calls until memory is used again; best call %.1f us", r.read *
	    1e-9, r.fma * 1e-9, bench_kern_op_cost(p->op).sets, r.best * 1e6);
	if (!is_alone(p))
		rec_note(&s->out, "best call of the peer %.1f us",
		    r.peer_best * 1e6);
	rec_put_str(&s->out, name);
	rec_put_str(&s->out, kern_dtype_name(kern_weights(s->kn)));
	rec_put_int(&s->out, rows);
	rec_put_int(&s->out, kern_threads(s->kn));
	put_result(s, p->op, &r);
	rec_put_int(&s->out, (int64_t)wrong);
	put_peer(s, p, &r, rms);
	return rec_end(&s->out, err);
}

/* Ours beside the peer in one dtype. */
static int
bench_peer(struct session *s, const struct opts *o, const char *name,
    int rows, struct pairing *p, struct err *err)
{
	struct bench_kern_source src = bench_kern_op_source(p->op);
	struct bench_kern_peer_make m = { .dtype = p->t, .h = s->shape.h,
	    .f = s->shape.f, .rows = rows, .threads = kern_threads(s->kn),
	    .cold_bytes = COLD_BYTES, .max_bytes = o->memory,
	    .gate = src.gate, .up = src.up, .down = src.down, .x = src.x };
	int rc;

	if (src.gate == NULL)
		return err_set(err, ERR_USAGE, "--peer has ffn only");
	if (bench_kern_peer_new(&p->peer, &m, err) != 0)
		return -1;
	rc = bench_pair(s, o, name, rows, p, err);
	bench_kern_peer_free(p->peer);
	return rc;
}

/* Beside the peer in our dtype and, where that is bf16, in fp32 as well: not
 * every processor has bf16 products, and then the peer has none. */
static int
bench_peers(struct session *s, const struct opts *o, const char *name,
    int rows, struct bench_kern_op *op, struct err *err)
{
	struct pairing p = { .op = op, .t = kern_act(s->kn) };
	int rc = bench_peer(s, o, name, rows, &p, err);

	if (p.t != KERN_BF16 || (rc != 0 && err->code != ERR_UNAVAIL))
		return rc;
	if (rc != 0)
		rec_note(&s->out, "%s", err->text);
	p.t = KERN_F32;
	return bench_peer(s, o, name, rows, &p, err);
}

/* Beside ourselves with weights that are not quantised. */
static int
bench_native(struct session *s, const struct opts *o,
    const struct bench_kern_make *m, struct pairing *p, struct err *err)
{
	struct bench_kern_make other = *m;
	int rc;

	p->t = other.weights = kern_act(s->kn);
	if ((p->other = bench_kern_op_new(&other, err)) == NULL)
		return -1;
	rc = bench_pair(s, o, m->op, m->rows, p, err);
	bench_kern_op_free(p->other);
	return rc;
}

static int
bench_one(struct session *s, const struct opts *o, const char *name, int rows,
    struct err *err)
{
	struct bench_kern_make m = { .kn = s->kn, .op = name,
	    .weights = kern_weights(s->kn), .shape = s->shape,
	    .rows = rows, .ctx = (int)o->ctx, .cold_bytes = COLD_BYTES,
	    .max_bytes = o->memory, .seed = (uint64_t)o->seed };
	struct pairing p = { .op = bench_kern_op_new(&m, err) };
	int rc;

	if (p.op == NULL)
		return err_ctx(err, "%s, %d rows", name, rows);
	if (o->peer == NULL)
		rc = bench_pair(s, o, name, rows, &p, err);
	else if (strcmp(o->peer, "native") == 0)
		rc = bench_native(s, o, &m, &p, err);
	else
		rc = bench_peers(s, o, name, rows, p.op, err);
	bench_kern_op_free(p.op);
	return rc;
}

/* The isa word of "cpu-avx2-bf16". */
static void
isa_of(const struct kern *kn, char *out, size_t n)
{
	const char *s = strchr(kern_variant(kn), '-');

	snprintf(out, n, "%.*s", s ? (int)strcspn(s + 1, "-") : 0,
	    s ? s + 1 : "");
}

static int
bench_all(struct session *s, const struct opts *o, struct err *err)
{
	int64_t rows[MAX_ROWS];
	int n = parse_list(o->rows, rows, MAX_ROWS), i, rc = 0;
	char *ops = mem_strdup(strcmp(o->op, "all") == 0 ? BENCH_KERN_OPS :
	    o->op), *save = NULL, *w;

	if (n < 0) {
		mem_free(ops);
		return err_set(err, ERR_USAGE, "--rows %s: not a list of "
		    "numbers 1..1048576", o->rows);
	}
	rec_out_open(&s->out, stdout, "kern", 1, cols, o->json);
	rec_note(&s->out, "variant %s, h %d, f %d, %d experts, top %d",
	    kern_variant(s->kn), s->shape.h, s->shape.f, s->shape.experts,
	    s->shape.k);
	for (w = strtok_r(ops, "|,", &save); rc == 0 && w != NULL;
	    w = strtok_r(NULL, "|,", &save))
		for (i = 0; rc == 0 && i < n; i++)
			rc = bench_one(s, o, w, (int)rows[i], err);
	rec_out_close(&s->out);
	mem_free(ops);
	return rc;
}

static int
run(const struct opts *o, struct err *err)
{
	struct kern_opt ko = { .isa = o->isa, .act = o->dtype == 0 ? KERN_F32 :
	    KERN_BF16, .threads = (int)o->threads,
	    .weights = o->dtype == 2 ? KERN_Q8 : 0 };
	struct session s = { 0 };
	char why[KERN_WHY];
	int rc = -1;

	if (parse_shape(o->shape, &s.shape, err) != 0)
		return -1;
	if (o->peer != NULL && strcmp(o->peer, "onednn") != 0 &&
	    strcmp(o->peer, "native") != 0)
		return err_set(err, ERR_USAGE, "--peer %s: there are onednn "
		    "and native", o->peer);
	if (kern_open(&s.kn, &ko, why) != 0)
		return err_set(err, ERR_UNAVAIL, "%s", why);
	s.peak = bench_kern_peak_new(kern_threads(s.kn), READ_BYTES);
	if (s.peak == NULL) {
		err_set(err, ERR_UNAVAIL, "no memory for the bandwidth test");
	} else {
		isa_of(s.kn, s.isa, sizeof(s.isa));
		rc = bench_all(&s, o, err);
	}
	bench_kern_peak_free(s.peak);
	kern_close(s.kn);
	return rc;
}

int
bench_kern_main(int argc, char **argv)
{
	struct opts o = { .op = "ffn", .rows = "1,4,16,64", .shape = "olmoe",
	    .dtype = 1, .seed = 1, .ctx = 1024, .memory = (uint64_t)4 << 30,
	    .time_ns = 500000000 };
	const struct cli_opt opt[] = {
		{ 'o', "op", CLI_STR, &o.op, "NAME",
		    "ffn, moe, linear, attn, prefill, norm, gate, rope, embed, "
		    "head, sample, a list, or all", 0, 0, NULL },
		{ 'r', "rows", CLI_STR, &o.rows, "LIST",
		    "rows of a call (1,4,16,64)", 0, 0, NULL },
		{ 0, "shape", CLI_STR, &o.shape, "NAME|H,F,E,k",
		    "olmoe, qwen15moe, qwen3-30b, mixtral, dsv3, or numbers",
		    0, 0, NULL },
		{ 0, "dtype", CLI_ENUM, &o.dtype, DTYPES,
		    "weights and rows (bf16); q8: rows in bf16", 0, 0, NULL },
		{ 0, "threads", CLI_INT, &o.threads, "N",
		    "threads (all processors)", 1, 1024, NULL },
		{ 0, "isa", CLI_STR, &o.isa, "NAME",
		    "ref, avx2, avx512bf16 (the best here)", 0, 0, NULL },
		{ 0, "ctx", CLI_INT, &o.ctx, "TOK",
		    "tokens that attn and prefill look back to (1024)",
		    0, 1 << 20, NULL },
		{ 0, "memory", CLI_SIZE, &o.memory, "SIZE",
		    "most memory for weights (4G)", 0, 0, NULL },
		{ 0, "time", CLI_DUR, &o.time_ns, "TIME",
		    "measure each line so long (500ms)", 0, 0, NULL },
		{ 0, "peer", CLI_STR, &o.peer, "onednn|native",
		    "in turn with another library, or weights not in q8", 0, 0,
		    NULL },
		{ 's', "seed", CLI_INT, &o.seed, "N",
		    "seed of the data (1)", 0, 0, NULL },
		{ 'j', "json", CLI_FLAG, &o.json, NULL,
		    "NDJSON instead of TSV", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "kern", "",
	    "Time the kernels on cold weights, against this machine's limits.",
	    opt };
	struct err err = ERR_INIT;
	int at = cli_parse(&c, argc, argv, &err);

	if (at >= 0 && at < argc)
		at = err_set(&err, ERR_USAGE, "operand '%s' is not wanted",
		    argv[at]);
	if (at < 0 || run(&o, &err) != 0)
		return cli_fail("moe-bench kern", &err);
	return 0;
}
