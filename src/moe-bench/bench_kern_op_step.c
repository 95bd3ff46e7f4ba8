/*
 * bench_kern_op_step.c - see bench_kern_op.h: what else is in a step of the
 * front end: gate, rope, embed, head and sample.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../moe-attnd/at_sample.h"
#include "bench_kern_op_in.h"
#include "mem.h"
#include "rng.h"

#define HEAD	128
#define GROUP	4		/* query heads of a KV head */
#define VOCAB	151936
#define SRC	4096		/* rows of a vocabulary that differ */

static double
elem_bytes(const struct bench_kern_op *op)
{
	return (double)kern_dtype_bytes(op->act, 1);
}

/* y[0..n) = rows of a times x, in double; the root of their mean square. */
static double
product(const float *a, size_t n, size_t h, const float *x, double *y)
{
	double sq = 0;
	size_t i, k;

	for (i = 0; i < n; i++) {
		for (y[i] = 0, k = 0; k < h; k++)
			y[i] += (double)a[i * h + k] * (double)x[k];
		sq += y[i] * y[i];
	}
	return sqrt(sq / (double)n);
}

/* n matrices [rows][h] of dtype t, whose rows are those of op->a, n_src of
 * them, again and again. */
static void
make_mats(struct bench_kern_op *op, size_t n, int rows, int n_src,
    enum kern_dtype t)
{
	struct kern_pack p = { .src = op->a, .src_dtype = KERN_F32,
	    .rs = (size_t)op->m.shape.h, .cs = 1 };
	size_t i;

	op->n_mat = n;
	op->mat = mem_calloc(n, sizeof(*op->mat));
	for (i = 0; i < n; i++) {
		bench_kern_op_mat(op, &op->mat[i], rows, op->m.shape.h, t);
		p.dst = &op->mat[i];
		for (p.row0 = 0; p.row0 < rows; p.row0 += p.rows) {
			p.rows = rows - p.row0 < n_src ? rows - p.row0 : n_src;
			kern_mat_pack(op->m.kn, &p);
		}
	}
}

static void
run_product(struct bench_kern_op *op, size_t set, float *y)
{
	const struct kern_mat *w = &op->mat[set];
	struct kern_linear a = { .w = w, .x = op->xa, .ldx = (size_t)w->k,
	    .y = y, .ldy = (size_t)w->n, .ydt = KERN_F32, .m = op->m.rows };

	kern_linear(op->m.kn, &a);
}

/* ---- gate --------------------------------------------------------------- */

static int
make_gate(struct bench_kern_op *op, struct err *err)
{
	size_t h = (size_t)op->m.shape.h, n = (size_t)op->m.shape.experts;
	size_t rows = (size_t)op->m.rows, k = (size_t)op->m.shape.k;

	if (bench_kern_op_sets(op, kern_mat_bytes(op->m.kn, (int)n, (int)h,
	    op->act), 2, err) != 0)
		return -1;
	op->a = bench_kern_op_values(op, n * h, 2 / sqrt((double)h));
	make_mats(op, op->sets, (int)n, (int)n, op->act);
	bench_kern_op_rows(op, h, k);
	op->ydt = KERN_F32;
	op->logit = mem_calloc(rows * n, sizeof(*op->logit));
	op->pos = mem_calloc(rows * k, sizeof(*op->pos));
	return 0;
}

static void
run_gate(struct bench_kern_op *op, size_t set)
{
	const struct kern_route a = { .rule = KERN_ROUTE_SOFTMAX,
	    .logits = op->logit, .m = op->m.rows, .n = op->m.shape.experts,
	    .k = op->m.shape.k, .renorm = true, .scaling = 1, .n_group = 1,
	    .topk_group = 1, .ids = op->pos, .w = op->y };
	int bad;

	run_product(op, set, op->logit);
	if (kern_route(&a, &bad) != 0)
		BUG("row %d of the gate is not finite", bad);
}

static int
larger_first(const void *pa, const void *pb)
{
	double a = *(const double *)pa, b = *(const double *)pb;

	return (a < b) - (a > b);
}

/* The weights only: an id may well change where two are as good. */
static double
truth_gate(const struct bench_kern_op *op, int row, double *y)
{
	size_t h = (size_t)op->m.shape.h, n = (size_t)op->m.shape.experts, i;
	size_t k = (size_t)op->m.shape.k;
	double *all = mem_calloc(n, sizeof(*all)), sum = 0;

	product(op->a, n, h, op->x + (size_t)row * h, all);
	qsort(all, n, sizeof(*all), larger_first);
	for (i = 0; i < k; i++)
		sum += y[i] = exp(all[i] - all[0]);
	for (i = 0; i < k; i++)
		y[i] /= sum;
	mem_free(all);
	return 1.0 / (double)k;
}

static struct bench_kern_cost
cost_gate(const struct bench_kern_op *op)
{
	double h = op->m.shape.h, n = op->m.shape.experts, r = op->m.rows;

	return (struct bench_kern_cost){
	    .bytes = (double)op->mat[0].bytes + r * (h * elem_bytes(op) +
	    4 * n), .flops = 2 * h * n * r, .sets = (double)op->sets };
}

/* ---- rope --------------------------------------------------------------- */

static int
heads_of(const struct bench_kern_op *op)
{
	int hk = (op->m.shape.h + GROUP * HEAD - 1) / (GROUP * HEAD);

	return hk * (GROUP + 1);
}

static int
make_rope(struct bench_kern_op *op, struct err *err)
{
	size_t rows = (size_t)op->m.rows, n = (size_t)heads_of(op) * HEAD, i;

	(void)err;
	op->sets = 1;
	op->ydt = KERN_F32;
	bench_kern_op_rows(op, n, n);
	op->inv_freq = mem_calloc(HEAD / 2, sizeof(*op->inv_freq));
	op->pos = mem_calloc(rows, sizeof(*op->pos));
	op->angle = mem_calloc(rows * HEAD, sizeof(*op->angle));
	for (i = 0; i < HEAD / 2; i++)
		op->inv_freq[i] = (float)pow(10000, -2.0 * (double)i / HEAD);
	for (i = 0; i < rows; i++)
		op->pos[i] = op->m.ctx + (int32_t)i;
	kern_rope_angles(op->angle, op->pos, op->m.rows, op->inv_freq, HEAD,
	    1);
	return 0;
}

/* It works in place, so calls turn the rows further and further. */
static void
begin_rope(struct bench_kern_op *op)
{
	memcpy(op->y, op->x, (size_t)op->m.rows * op->y_width * sizeof(float));
}

static void
run_rope(struct bench_kern_op *op, size_t set)
{
	const struct kern_rope a = { .x = op->y, .ldx = op->y_width,
	    .m = op->m.rows, .heads = heads_of(op), .d = HEAD, .rot = HEAD,
	    .pos = op->pos, .inv_freq = op->inv_freq, .mscale = 1,
	    .angle = op->angle };

	(void)set;
	kern_rope(op->m.kn, &a);
}

static double
truth_rope(const struct bench_kern_op *op, int row, double *y)
{
	const float *x = op->x + (size_t)row * op->y_width;
	size_t j, i;

	for (j = 0; j < op->y_width; j += HEAD) {
		for (i = 0; i < HEAD / 2; i++) {
			double t = (double)op->pos[row] *
			    (double)op->inv_freq[i];
			double u = (double)x[j + i];
			double v = (double)x[j + i + HEAD / 2];

			y[j + i] = u * cos(t) - v * sin(t);
			y[j + i + HEAD / 2] = v * cos(t) + u * sin(t);
		}
	}
	return 1;
}

static struct bench_kern_cost
cost_rope(const struct bench_kern_op *op)
{
	double n = (double)op->y_width * op->m.rows;

	/* Each value read and written; the angles of a row. */
	return (struct bench_kern_cost){
	    .bytes = 8 * n + 4.0 * HEAD * op->m.rows, .flops = 3 * n,
	    .sets = 1 };
}

/* ---- embed, head -------------------------------------------------------- */

static int
make_vocab(struct bench_kern_op *op, enum kern_dtype t, struct err *err)
{
	size_t h = (size_t)op->m.shape.h;
	size_t one = kern_mat_bytes(op->m.kn, VOCAB, (int)h, t);

	if (bench_kern_op_sets(op, one, 1, err) != 0)
		return -1;
	op->a = bench_kern_op_values(op, SRC * h, 2 / sqrt((double)h));
	op->ydt = KERN_F32;
	return 0;
}

static int
make_embed(struct bench_kern_op *op, struct err *err)
{
	size_t h = (size_t)op->m.shape.h;

	if (make_vocab(op, op->act, err) != 0)
		return -1;
	make_mats(op, 1, VOCAB, SRC, op->act);
	bench_kern_op_rows(op, h, h);
	op->in_row = mem_calloc((size_t)op->m.rows, sizeof(*op->in_row));
	return 0;
}

/* Other rows of the table at every call. */
static void
run_embed(struct bench_kern_op *op, size_t set)
{
	size_t h = (size_t)op->m.shape.h;
	int r;

	(void)set;
	for (r = 0; r < op->m.rows; r++) {
		op->in_row[r] = (int)(op->calls++ * 7919 % VOCAB);
		kern_mat_row(op->m.kn, op->mat, op->in_row[r],
		    (float *)op->y + (size_t)r * h);
	}
}

static double
truth_embed(const struct bench_kern_op *op, int row, double *y)
{
	size_t h = (size_t)op->m.shape.h, i;
	const float *a = op->a + (size_t)(op->in_row[row] % SRC) * h;

	for (i = 0; i < h; i++)
		y[i] = (double)a[i];
	return 0;
}

static struct bench_kern_cost
cost_embed(const struct bench_kern_op *op)
{
	double n = (double)op->m.shape.h * op->m.rows;

	return (struct bench_kern_cost){ .bytes = n * (elem_bytes(op) + 4),
	    .flops = 0, .sets = (double)VOCAB / op->m.rows };
}

static int
make_head(struct bench_kern_op *op, struct err *err)
{
	if (make_vocab(op, op->m.weights, err) != 0)
		return -1;
	make_mats(op, op->sets, VOCAB, SRC, op->m.weights);
	bench_kern_op_rows(op, (size_t)op->m.shape.h, VOCAB);
	return 0;
}

static void
run_head(struct bench_kern_op *op, size_t set)
{
	run_product(op, set, op->y);
}

static double
truth_head(const struct bench_kern_op *op, int row, double *y)
{
	size_t h = (size_t)op->m.shape.h, i;
	double mag = product(op->a, SRC, h, op->x + (size_t)row * h, y);

	for (i = SRC; i < VOCAB; i++)
		y[i] = y[i % SRC];
	return mag;
}

static struct bench_kern_cost
cost_head(const struct bench_kern_op *op)
{
	double h = op->m.shape.h, r = op->m.rows;

	return (struct bench_kern_cost){
	    .bytes = (double)op->mat[0].bytes + r * (h * elem_bytes(op) +
	    4.0 * VOCAB), .flops = 2 * h * VOCAB * r,
	    .sets = (double)op->sets };
}

/* ---- sample ------------------------------------------------------------- */

static int
make_sample(struct bench_kern_op *op, struct err *err)
{
	size_t rows = (size_t)op->m.rows;

	if (bench_kern_op_sets(op, rows * VOCAB * sizeof(float), 1, err) != 0)
		return -1;
	op->sets = 1;
	op->ydt = KERN_F32;
	op->logit = bench_kern_op_values(op, rows * VOCAB, 8);
	op->y = mem_calloc(rows, sizeof(float));
	op->y_width = 1;
	op->draw = mem_zalloc(sizeof(*op->draw));
	return 0;
}

static void
end_sample(struct bench_kern_op *op)
{
	if (op->draw != NULL)
		at_sample_mem_free(op->draw);
	mem_free(op->draw);
}

static void
run_sample(struct bench_kern_op *op, size_t set)
{
	const struct at_sampling s = { 1, 1, 0, 0, op->m.seed };
	struct at_sampled got;
	int r;

	(void)set;
	for (r = 0; r < op->m.rows; r++) {
		const struct at_sample_in in = { .s = &s, .kern = op->m.kn,
		    .logits = op->logit + (size_t)r * VOCAB, .n = VOCAB,
		    .pos = r, .n_top = -1 };

		if (at_sample(&in, op->draw, &got) != 0)
			BUG("no token of row %d", r);
		((float *)op->y)[r] = (float)got.id;
	}
}

/* Does the draw fall into the drawn token's share of the mass, to what its sums
 * in fp32 resolve?  Else no token is right. */
static double
truth_sample(const struct bench_kern_op *op, int row, double *y)
{
	const float *x = op->logit + (size_t)row * VOCAB;
	int got = (int)((const float *)op->y)[row], i;
	double sum = 0, from = 0, to = 0, u;

	for (i = 0; i < VOCAB; i++) {
		from = i == got ? sum : from;
		sum += exp((double)x[i]);
		to = i == got ? sum : to;
	}
	u = rng_unit(op->m.seed, (uint64_t)row, 0) * sum;
	*y = u > from - 1e-6 * sum && u < to + 1e-6 * sum ? got : -1;
	return 0;
}

static struct bench_kern_cost
cost_sample(const struct bench_kern_op *op)
{
	double n = (double)VOCAB * op->m.rows;

	/* Largest; difference, exponential (as one) and sum. */
	return (struct bench_kern_cost){ .bytes = 4 * n, .flops = 4 * n,
	    .sets = 1 };
}

const struct bench_kern_kind bench_kern_op_gate = {
	"gate", make_gate, run_gate, truth_gate, cost_gate, NULL, NULL
};
const struct bench_kern_kind bench_kern_op_rope = {
	"rope", make_rope, run_rope, truth_rope, cost_rope, begin_rope, NULL
};
const struct bench_kern_kind bench_kern_op_embed = {
	"embed", make_embed, run_embed, truth_embed, cost_embed, NULL, NULL
};
const struct bench_kern_kind bench_kern_op_head = {
	"head", make_head, run_head, truth_head, cost_head, NULL, NULL
};
const struct bench_kern_kind bench_kern_op_sample = {
	"sample", make_sample, run_sample, truth_sample, cost_sample, NULL,
	end_sample
};
