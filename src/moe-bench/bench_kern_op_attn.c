/*
 * bench_kern_op_attn.c - see bench_kern_op.h: attn, prefill and norm.
 */
#include <math.h>
#include <string.h>

#include "bench_kern_op_in.h"
#include "mem.h"

#define HEAD	128
#define GROUP	4		/* query heads of a KV head */
#define SRC	2048		/* tokens that differ; then they come again */

/* ---- attn, prefill ------------------------------------------------------ */

/* Tokens of a sequence: attn, ctx with the new one; prefill, ctx and rows. */
static int
tokens_of(const struct bench_kern_op *op)
{
	return op->prefill ? op->m.ctx + op->m.rows : op->m.ctx;
}

/* Keys that the query of a row sees. */
static int
keys_of(const struct bench_kern_op *op, int row)
{
	return op->prefill ? op->m.ctx + row + 1 : op->m.ctx;
}

/* All sequences of the arena that op->kv points to. */
static void
fill(struct bench_kern_op *op, int n_seq, int pages)
{
	size_t width = (size_t)op->kv.hk * HEAD;
	int tok = tokens_of(op), i, t;
	struct kern_seq s;
	struct kern_kv_put put = { .kv = &op->kv, .seq = &s, .n_seq = 1,
	    .k = op->a, .v = op->a + SRC * width, .ldk = width, .ldv = width };

	for (i = 0; i < n_seq; i++) {
		for (t = 0; t < tok; t += SRC) {
			s = (struct kern_seq){ op->page + i * pages, t,
			    tok - t < SRC ? tok - t : SRC, 0 };
			kern_kv_put(op->m.kn, &put);
		}
	}
}

static int
make_either(struct bench_kern_op *op, struct err *err)
{
	int n_seq = op->prefill ? 1 : op->m.rows, i;
	int pages = (tokens_of(op) + KERN_PAGE_TOK - 1) / KERN_PAGE_TOK;
	size_t n, s;

	op->kv.hk = (op->m.shape.h + GROUP * HEAD - 1) / (GROUP * HEAD);
	op->kv.dk = op->kv.dv = HEAD;
	op->kv.kvt = op->act;
	op->kv.page_bytes = kern_kv_page_bytes(op->kv.hk, HEAD, HEAD, op->act);
	n = op->kv.page_bytes * (size_t)pages * (size_t)n_seq;
	if (bench_kern_op_sets(op, n, 2, err) != 0)
		return -1;
	op->set_bytes = n;
	op->arena_bytes = n * op->sets;
	op->arena = kern_mem_alloc(op->m.kn, op->arena_bytes);
	if (op->arena == NULL)
		return err_set(err, ERR_UNAVAIL, "no memory for %zu MiB of "
		    "KV pages", op->arena_bytes >> 20);
	op->a = bench_kern_op_values(op, 2 * SRC * (size_t)op->kv.hk * HEAD, 2);
	op->seq = mem_calloc((size_t)n_seq, sizeof(*op->seq));
	op->page = mem_calloc((size_t)n_seq * (size_t)pages,
	    sizeof(*op->page));
	for (i = 0; i < n_seq * pages; i++)
		op->page[i] = i;
	for (s = 0; s < op->sets; s++) {
		op->kv.arena = op->arena + s * n;
		fill(op, n_seq, pages);
	}
	for (i = 0; i < n_seq; i++)
		op->seq[i] = op->prefill ? (struct kern_seq){ op->page,
		    op->m.ctx, op->m.rows, 0 } : (struct kern_seq){ op->page +
		    i * pages, op->m.ctx - 1, 1, i };
	n = (size_t)(op->kv.hk * GROUP * HEAD);
	bench_kern_op_rows(op, n, n);
	return 0;
}

static int
make_attn(struct bench_kern_op *op, struct err *err)
{
	if (op->m.ctx < 1)
		return err_set(err, ERR_USAGE, "--ctx %d: attn has at least "
		    "the new token", op->m.ctx);
	return make_either(op, err);
}

static int
make_prefill(struct bench_kern_op *op, struct err *err)
{
	op->prefill = true;
	return make_either(op, err);
}

static void
run_attn(struct bench_kern_op *op, size_t set)
{
	size_t w = (size_t)(op->kv.hk * GROUP * HEAD);
	struct kern_attn a = { .kv = &op->kv, .seq = op->seq,
	    .n_seq = op->prefill ? 1 : op->m.rows, .q = op->x, .ldq = w,
	    .out = op->y, .ldo = w, .h = op->kv.hk * GROUP,
	    .scale = (float)(1 / sqrt(HEAD)) };

	op->kv.arena = op->arena + set * op->set_bytes;
	kern_attn(op->m.kn, &a);
}

/* One query head: q to y. */
static void
truth_head(const struct bench_kern_op *op, const float *q, int head, int keys,
    double *y)
{
	size_t hk = (size_t)op->kv.hk, at, i;
	const float *v = op->a + SRC * hk * HEAD;
	double p, sum = 0;
	int t;

	memset(y, 0, HEAD * sizeof(*y));
	for (t = 0; t < keys; t++) {
		at = ((size_t)(t % SRC) * hk + (size_t)head) * HEAD;
		for (p = 0, i = 0; i < HEAD; i++)
			p += (double)q[i] * (double)op->a[at + i];
		p = exp(p / sqrt(HEAD));
		sum += p;
		for (i = 0; i < HEAD; i++)
			y[i] += p * (double)v[at + i];
	}
	for (i = 0; i < HEAD; i++)
		y[i] /= sum;
}

static double
truth_attn(const struct bench_kern_op *op, int row, double *y)
{
	int n = op->kv.hk * GROUP, j;

	for (j = 0; j < n; j++)
		truth_head(op, op->x + (size_t)(row * n + j) * HEAD, j / GROUP,
		    keys_of(op, row), y + (size_t)j * HEAD);
	return 0.1;
}

static struct bench_kern_cost
cost_attn(const struct bench_kern_op *op)
{
	double tok = (double)tokens_of(op) * (op->prefill ? 1 : op->m.rows);
	double keys = 0;
	int r;

	for (r = 0; r < op->m.rows; r++)
		keys += keys_of(op, r);
	return (struct bench_kern_cost){
	    .bytes = (double)op->kv.page_bytes / KERN_PAGE_TOK * tok,
	    .flops = 4.0 * op->kv.hk * GROUP * HEAD * keys,
	    .sets = (double)op->sets };
}

/* ---- norm --------------------------------------------------------------- */

static int
make_norm(struct bench_kern_op *op, struct err *err)
{
	(void)err;
	op->sets = 1;
	op->a = bench_kern_op_values(op, (size_t)op->m.shape.h, 1);
	bench_kern_op_rows(op, (size_t)op->m.shape.h, (size_t)op->m.shape.h);
	return 0;
}

static void
run_norm(struct bench_kern_op *op, size_t set)
{
	size_t h = (size_t)op->m.shape.h;
	struct kern_norm a = { .x = op->x, .ldx = h, .y = op->y, .ldy = h,
	    .ydt = op->act, .m = op->m.rows, .n = (int)h, .w = op->a,
	    .eps = 1e-5f };

	(void)set;
	kern_norm(op->m.kn, &a);
}

static double
truth_norm(const struct bench_kern_op *op, int row, double *y)
{
	size_t h = (size_t)op->m.shape.h, i;
	const float *x = op->x + (size_t)row * h;
	double sq = 0;

	for (i = 0; i < h; i++)
		sq += (double)x[i] * (double)x[i];
	for (i = 0; i < h; i++)
		y[i] = (double)x[i] / sqrt(sq / (double)h + 1e-5) *
		    (double)op->a[i];
	return 1;
}

static struct bench_kern_cost
cost_norm(const struct bench_kern_op *op)
{
	double n = (double)op->m.shape.h * op->m.rows;

	return (struct bench_kern_cost){
	    .bytes = n * (double)(4 + kern_dtype_bytes(op->act, 1)),
	    .flops = 4 * n, .sets = 1 };
}

const struct bench_kern_kind bench_kern_op_attn = {
	"attn", make_attn, run_attn, truth_attn, cost_attn, NULL, NULL
};
const struct bench_kern_kind bench_kern_op_prefill = {
	"prefill", make_prefill, run_attn, truth_attn, cost_attn, NULL, NULL
};
const struct bench_kern_kind bench_kern_op_norm = {
	"norm", make_norm, run_norm, truth_norm, cost_norm, NULL, NULL
};
