/*
 * bench_kern_op_attn.c - see bench_kern_op.h: attn and norm.
 */
#include <math.h>
#include <string.h>

#include "bench_kern_op_in.h"
#include "mem.h"

#define CTX	1024		/* tokens of a sequence in attn */
#define HEAD	128

/* ---- attn --------------------------------------------------------------- */

static int
make_attn(struct bench_kern_op *op, struct err *err)
{
	int h = op->m.shape.h, rows = op->m.rows, pages = CTX / KERN_PAGE_TOK;
	int i, j;
	size_t n, s;
	float *kv;

	op->kv.hk = (h + 4 * HEAD - 1) / (4 * HEAD);
	op->kv.dk = op->kv.dv = HEAD;
	op->kv.kvt = op->act;
	op->kv.page_bytes = kern_kv_page_bytes(op->kv.hk, HEAD, HEAD, op->act);
	n = op->kv.page_bytes * (size_t)(pages * rows);
	if (bench_kern_op_sets(op, n, 2, err) != 0)
		return -1;
	op->arena_bytes = n * op->sets;
	op->arena = kern_mem_alloc(op->m.kn, op->arena_bytes);
	if (op->arena == NULL)
		return err_set(err, ERR_UNAVAIL, "no memory for %zu MiB of "
		    "KV pages", op->arena_bytes >> 20);
	kv = bench_kern_op_values(op, n / kern_dtype_bytes(op->act, 1), 2);
	for (s = 0; s < op->sets; s++)
		kern_convert(op->arena + s * n, op->act, kv, KERN_F32,
		    n / kern_dtype_bytes(op->act, 1));
	op->a = kv;
	op->seq = mem_calloc((size_t)rows, sizeof(*op->seq));
	op->page = mem_calloc((size_t)(rows * pages), sizeof(*op->page));
	for (i = 0; i < rows; i++) {
		for (j = 0; j < pages; j++)
			op->page[i * pages + j] = i * pages + j;
		op->seq[i] = (struct kern_seq){ op->page + i * pages, CTX - 1,
		    1, i };
	}
	bench_kern_op_rows(op, (size_t)(op->kv.hk * 4 * HEAD),
	    (size_t)(op->kv.hk * 4 * HEAD));
	return 0;
}

static void
run_attn(struct bench_kern_op *op, size_t set)
{
	size_t w = (size_t)(op->kv.hk * 4 * HEAD);
	struct kern_attn a = { .kv = &op->kv, .seq = op->seq,
	    .n_seq = op->m.rows, .q = op->x, .ldq = w, .out = op->y, .ldo = w,
	    .h = op->kv.hk * 4, .scale = (float)(1 / sqrt(HEAD)) };

	op->kv.arena = op->arena + set * op->kv.page_bytes *
	    (size_t)(CTX / KERN_PAGE_TOK * op->m.rows);
	kern_attn(op->m.kn, &a);
}

static double
truth_attn(const struct bench_kern_op *op, int row, double *y)
{
	size_t hk = (size_t)op->kv.hk, page, j, t, i, g;
	double p[CTX], sum;

	for (j = 0; j < hk * 4; j++) {
		const float *q = op->x + ((size_t)row * hk * 4 + j) * HEAD;

		g = j / 4;
		memset(y + j * HEAD, 0, HEAD * sizeof(*y));
		for (t = 0, sum = 0; t < CTX; t++) {
			page = ((size_t)row * CTX + t) / KERN_PAGE_TOK * hk *
			    KERN_PAGE_TOK * 2 * HEAD;
			page += (g * KERN_PAGE_TOK + t % KERN_PAGE_TOK) * HEAD;
			for (p[t] = 0, i = 0; i < HEAD; i++)
				p[t] += (double)q[i] *
				    (double)op->a[page + i];
			p[t] = exp(p[t] / sqrt(HEAD));
			sum += p[t];
			page += hk * KERN_PAGE_TOK * HEAD;
			for (i = 0; i < HEAD; i++)
				y[j * HEAD + i] += p[t] *
				    (double)op->a[page + i];
		}
		for (i = 0; i < HEAD; i++)
			y[j * HEAD + i] /= sum;
	}
	return 0.1;
}

static struct bench_kern_cost
cost_attn(const struct bench_kern_op *op)
{
	double kv = (double)op->kv.page_bytes / KERN_PAGE_TOK * CTX;

	return (struct bench_kern_cost){ .bytes = kv * op->m.rows,
	    .flops = 4.0 * op->kv.hk * 4 * HEAD * CTX * op->m.rows,
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
	"attn", make_attn, run_attn, truth_attn, cost_attn
};
const struct bench_kern_kind bench_kern_op_norm = {
	"norm", make_norm, run_norm, truth_norm, cost_norm
};
