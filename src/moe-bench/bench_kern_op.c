/*
 * bench_kern_op.c - see bench_kern_op.h.
 *
 * An operation owns `sets` copies of its weights (or KV arenas); call i uses
 * copy i % sets, so that nothing is found in a cache.  The copies hold the
 * same values: one set of sources is enough for the check in double.
 */
#include "bench_kern_op_in.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "num.h"

#define CHECKED	8		/* rows that are compared */
#define MAX_SETS	4096	/* copies: tiny shapes stay in the caches */

/* Uniform in [-1, 1): speed matters more than quality here. */
static float
next(struct bench_kern_op *op)
{
	op->rnd ^= op->rnd << 13;
	op->rnd ^= op->rnd >> 7;
	op->rnd ^= op->rnd << 17;
	return (float)((double)(op->rnd >> 11) * 0x1p-52 - 1);
}

static float
rounded(enum kern_dtype t, float v)
{
	uint32_t room = 0;

	kern_convert(&room, t, &v, KERN_F32, 1);
	kern_convert(&v, KERN_F32, &room, t, 1);
	return v;
}

float *
bench_kern_op_values(struct bench_kern_op *op, size_t n, double scale)
{
	float *p = mem_alloc(n * sizeof(*p));
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = rounded(op->act, next(op) * (float)scale);
	return p;
}

int
bench_kern_op_sets(struct bench_kern_op *op, size_t bytes, size_t least,
    struct err *err)
{
	char one[NUM_TEXT];

	op->sets = op->m.cold_bytes / bytes + 1;
	if (op->sets > MAX_SETS)
		op->sets = MAX_SETS;
	if (op->sets < least)
		op->sets = least;
	if (op->sets * bytes > op->m.max_bytes)
		return err_set(err, ERR_UNAVAIL, "%zu copies of %s do not "
		    "fit into --memory", op->sets, num_size_text(bytes, one));
	return 0;
}

void
bench_kern_op_rows(struct bench_kern_op *op, size_t n_in, size_t n_out)
{
	size_t rows = (size_t)op->m.rows;

	op->x = bench_kern_op_values(op, rows * n_in, 1);
	op->xa = mem_alloc(kern_dtype_bytes(op->act, rows * n_in));
	kern_convert(op->xa, op->act, op->x, KERN_F32, rows * n_in);
	op->y = mem_zalloc(rows * n_out * sizeof(float));
	op->y_width = n_out;
}

/* Packed bytes of [n][k]. */
static size_t
mat_bytes(const struct bench_kern_op *op, int n, int k)
{
	return kern_mat_bytes(op->m.kn, n, k, op->m.weights);
}

static size_t
expert_bytes(const struct bench_kern_op *op)
{
	int h = op->m.shape.h, f = op->m.shape.f;

	return mat_bytes(op, 2 * f, h) + mat_bytes(op, h, f);
}

void
bench_kern_op_mat(struct bench_kern_op *op, struct kern_mat *m, int n, int k,
    enum kern_dtype t)
{
	m->n = n;
	m->k = k;
	m->dtype = t;
	m->bytes = kern_mat_bytes(op->m.kn, n, k, m->dtype);
	m->data = kern_mem_alloc(op->m.kn, m->bytes);
	if (m->data == NULL)
		BUG("no memory for %zu bytes of weights", m->bytes);
}

static void
make_mat(struct bench_kern_op *op, struct kern_mat *m, int n, int k)
{
	bench_kern_op_mat(op, m, n, k, op->m.weights);
}

/* ---- ffn, moe ----------------------------------------------------------- */

static void
pack_part(struct bench_kern_op *op, enum kern_part part, const float *src,
    int k)
{
	struct kern_pack p = { .src = src, .src_dtype = KERN_F32,
	    .rs = (size_t)k, .cs = 1 };

	kern_expert_pack(op->m.kn, &op->expert[0], part, &p);
}

static void
make_experts(struct bench_kern_op *op)
{
	int h = op->m.shape.h, f = op->m.shape.f;
	size_t n = (size_t)h * (size_t)f, i;

	op->a = bench_kern_op_values(op, n, 2 / sqrt(h));
	op->b = bench_kern_op_values(op, n, 2 / sqrt(h));
	op->c = bench_kern_op_values(op, n, 2 / sqrt(f));
	op->expert = mem_calloc(op->sets, sizeof(*op->expert));
	for (i = 0; i < op->sets; i++) {
		struct kern_expert *e = &op->expert[i];

		make_mat(op, &e->gate_up, 2 * f, h);
		make_mat(op, &e->down, h, f);
		if (i == 0) {
			pack_part(op, KERN_GATE, op->a, h);
			pack_part(op, KERN_UP, op->b, h);
			pack_part(op, KERN_DOWN, op->c, f);
			continue;
		}
		memcpy(e->gate_up.data, op->expert[0].gate_up.data,
		    e->gate_up.bytes);
		memcpy(e->down.data, op->expert[0].down.data, e->down.bytes);
	}
}

/* Each of rows tokens takes k different experts; entries group by group. */
static void
route_tokens(struct bench_kern_op *op)
{
	int rows = op->m.rows, k = op->m.shape.k, e, r, j, n = 0;
	int *pick = mem_calloc((size_t)(rows * k), sizeof(*pick));

	for (r = 0; r < rows; r++) {
		for (j = 0; j < k; ) {
			int i = 0;

			next(op);
			e = (int)(op->rnd % (uint64_t)op->m.shape.experts);
			while (i < j && pick[r * k + i] != e)
				i++;
			if (i == j)
				pick[r * k + j++] = e;
		}
	}
	for (e = 0; e < op->m.shape.experts; e++) {
		struct kern_group *g = &op->group[op->n_group];

		g->first = n;
		for (r = 0; r < rows * k; r++)
			if (pick[r] == e)
				op->in_row[n++] = r / k;
		g->n = n - g->first;
		g->x = &op->expert[e];
		op->n_group += g->n > 0;
	}
	mem_free(pick);
}

static int
make_ffn(struct bench_kern_op *op, struct err *err)
{
	size_t h = (size_t)op->m.shape.h, i, n;
	bool moe = strcmp(op->kind->name, "moe") == 0;
	size_t experts = moe ? (size_t)op->m.shape.experts : 1;

	if (bench_kern_op_sets(op, expert_bytes(op),
	    moe ? experts : 2, err) != 0)
		return -1;
	make_experts(op);
	n = (size_t)op->m.rows * (moe ? (size_t)op->m.shape.k : 1);
	op->n_in = (int)n;
	op->group = mem_calloc(experts, sizeof(*op->group));
	op->in_row = mem_calloc(n, sizeof(*op->in_row));
	op->in = mem_calloc(n, sizeof(*op->in));
	op->out = mem_calloc(n, sizeof(*op->out));
	bench_kern_op_rows(op, h, h * (n / (size_t)op->m.rows));
	op->y_width = h;	/* of an entry: a row has k of them */
	if (moe) {
		route_tokens(op);
	} else {
		op->n_group = 1;
		op->group[0].n = op->n_in;
		for (i = 0; i < n; i++)
			op->in_row[i] = (int)i;
	}
	for (i = 0; i < n; i++) {
		op->in[i] = (char *)op->xa + kern_dtype_bytes(op->act,
		    (size_t)op->in_row[i] * h);
		op->out[i] = (char *)op->y + kern_dtype_bytes(op->act, i * h);
	}
	return 0;
}

static void
run_ffn(struct bench_kern_op *op, size_t set)
{
	struct kern_ffn a = { .h = op->m.shape.h, .i = op->m.shape.f,
	    .glu = KERN_SILU, .n_group = op->n_group, .group = op->group,
	    .in = op->in, .out = op->out };

	/* moe: all experts are used in turn within one call. */
	if (op->n_group == 1)
		op->group[0].x = &op->expert[set];
	kern_ffn(op->m.kn, &a);
}

static double
truth_ffn(const struct bench_kern_op *op, int row, double *y)
{
	size_t h = (size_t)op->m.shape.h, f = (size_t)op->m.shape.f, i, k;
	const float *x = op->x + (size_t)op->in_row[row] * h;
	float *mid = mem_alloc(f * sizeof(*mid));
	double sq = 0;

	for (i = 0; i < f; i++) {
		double g = 0, u = 0;

		for (k = 0; k < h; k++) {
			g += (double)op->a[i * h + k] * (double)x[k];
			u += (double)op->b[i * h + k] * (double)x[k];
		}
		mid[i] = rounded(op->act, (float)(g / (1 + exp(-g)) * u));
	}
	for (i = 0; i < h; i++) {
		for (y[i] = 0, k = 0; k < f; k++)
			y[i] += (double)op->c[i * f + k] * (double)mid[k];
		sq += y[i] * y[i];
	}
	mem_free(mid);
	return sqrt(sq / (double)h);
}

static struct bench_kern_cost
cost_ffn(const struct bench_kern_op *op)
{
	double n = 3.0 * op->m.shape.h * op->m.shape.f;
	double elem = (double)kern_dtype_bytes(op->act, 1);

	return (struct bench_kern_cost){
	    .bytes = (double)expert_bytes(op) * op->n_group +
	    elem * 2.0 * op->m.shape.h * op->n_in,
	    .flops = 2 * n * op->n_in,
	    .sets = (double)op->sets / op->n_group };
}

/* ---- linear ------------------------------------------------------------- */

static int
make_linear(struct bench_kern_op *op, struct err *err)
{
	size_t h = (size_t)op->m.shape.h, i;
	struct kern_pack p = { .rows = (int)h, .src_dtype = KERN_F32, .rs = h,
	    .cs = 1 };

	if (bench_kern_op_sets(op, mat_bytes(op, (int)h, (int)h), 2, err) != 0)
		return -1;
	op->a = bench_kern_op_values(op, h * h, 2 / sqrt((double)h));
	op->n_mat = op->sets;
	op->mat = mem_calloc(op->n_mat, sizeof(*op->mat));
	for (i = 0; i < op->sets; i++) {
		make_mat(op, &op->mat[i], (int)h, (int)h);
		p.dst = &op->mat[i];
		p.src = op->a;
		if (i == 0)
			kern_mat_pack(op->m.kn, &p);
		else
			memcpy(op->mat[i].data, op->mat[0].data,
			    op->mat[i].bytes);
	}
	bench_kern_op_rows(op, h, h);
	return 0;
}

static void
run_linear(struct bench_kern_op *op, size_t set)
{
	size_t h = (size_t)op->m.shape.h;
	struct kern_linear a = { .w = &op->mat[set], .x = op->xa, .ldx = h,
	    .y = op->y, .ldy = h, .ydt = op->act, .m = op->m.rows };

	kern_linear(op->m.kn, &a);
}

static double
truth_linear(const struct bench_kern_op *op, int row, double *y)
{
	size_t h = (size_t)op->m.shape.h, i, k;
	const float *x = op->x + (size_t)row * h;
	double sq = 0;

	for (i = 0; i < h; i++) {
		for (y[i] = 0, k = 0; k < h; k++)
			y[i] += (double)op->a[i * h + k] * (double)x[k];
		sq += y[i] * y[i];
	}
	return sqrt(sq / (double)h);
}

static struct bench_kern_cost
cost_linear(const struct bench_kern_op *op)
{
	double h = op->m.shape.h, r = op->m.rows;
	double elem = (double)kern_dtype_bytes(op->act, 1);

	return (struct bench_kern_cost){ .bytes =
	    (double)mat_bytes(op, (int)h, (int)h) + elem * 2 * r * h,
	    .flops = 2 * h * h * r, .sets = (double)op->sets };
}

/* ------------------------------------------------------------------------- */

static const struct bench_kern_kind kinds[] = {
	{ "ffn", make_ffn, run_ffn, truth_ffn, cost_ffn, NULL,
	    NULL },
	{ "moe", make_ffn, run_ffn, truth_ffn, cost_ffn, NULL,
	    NULL },
	{ "linear", make_linear, run_linear, truth_linear, cost_linear, NULL,
	    NULL },
};

static const struct bench_kern_kind *const others[] = {
	&bench_kern_op_attn, &bench_kern_op_prefill, &bench_kern_op_norm,
	&bench_kern_op_gate, &bench_kern_op_rope, &bench_kern_op_embed,
	&bench_kern_op_head, &bench_kern_op_sample,
};

static const struct bench_kern_kind *
find_kind(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(name, others[i]->name) == 0)
			return others[i];
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(name, kinds[i].name) == 0)
			return &kinds[i];
	return NULL;
}

struct bench_kern_op *
bench_kern_op_new(const struct bench_kern_make *m, struct err *err)
{
	struct bench_kern_op *op = mem_zalloc(sizeof(*op));

	op->m = *m;
	op->act = op->ydt = kern_act(m->kn);
	op->rnd = m->seed * 2654435769u + 88172645463325252u;
	op->kind = find_kind(m->op);
	if (op->kind == NULL)
		err_set(err, ERR_USAGE, "--op %s: there are %s", m->op,
		    BENCH_KERN_OPS);
	if (op->kind == NULL || op->kind->make(op, err) != 0) {
		bench_kern_op_free(op);
		return NULL;
	}
	return op;
}

void
bench_kern_op_free(struct bench_kern_op *op)
{
	size_t i;

	for (i = 0; op->expert != NULL && i < op->sets; i++) {
		struct kern_expert *e = &op->expert[i];

		kern_mem_free(op->m.kn, e->gate_up.data, e->gate_up.bytes);
		kern_mem_free(op->m.kn, e->down.data, e->down.bytes);
	}
	for (i = 0; i < op->n_mat; i++)
		kern_mem_free(op->m.kn, op->mat[i].data, op->mat[i].bytes);
	if (op->kind != NULL && op->kind->end != NULL)
		op->kind->end(op);
	mem_free(op->logit);
	mem_free(op->angle);
	mem_free(op->inv_freq);
	mem_free(op->pos);
	mem_free(op->a);
	mem_free(op->b);
	mem_free(op->c);
	mem_free(op->x);
	mem_free(op->xa);
	mem_free(op->y);
	mem_free(op->expert);
	mem_free(op->group);
	mem_free(op->in);
	mem_free(op->out);
	mem_free(op->in_row);
	mem_free(op->mat);
	kern_mem_free(op->m.kn, op->arena, op->arena_bytes);
	mem_free(op->seq);
	mem_free(op->page);
	mem_free(op);
}

struct bench_kern_cost
bench_kern_op_cost(const struct bench_kern_op *op)
{
	return op->kind->cost(op);
}

void
bench_kern_op_run(struct bench_kern_op *op, size_t i)
{
	op->kind->run(op, i % op->sets);
}

struct bench_kern_source
bench_kern_op_source(const struct bench_kern_op *op)
{
	if (strcmp(op->kind->name, "ffn") != 0)
		return (struct bench_kern_source){ 0 };
	return (struct bench_kern_source){ op->a, op->b, op->c, op->x };
}

size_t
bench_kern_op_wrong(struct bench_kern_op *op, double *rms)
{
	if (op->kind->begin != NULL)
		op->kind->begin(op);
	bench_kern_op_run(op, 0);
	return bench_kern_op_wrong_y(op, op->y, op->ydt, rms);
}

size_t
bench_kern_op_wrong_y(const struct bench_kern_op *op, const void *out,
    enum kern_dtype t, double *rms)
{
	int n = op->n_in > 0 ? op->n_in : op->m.rows, i;
	size_t width = op->y_width, j, bad = 0;
	double *y = mem_calloc(width, sizeof(*y)), mag, eps, d;
	double err2 = 0, sum2 = 0;

	/* A few roundings to act, or of sums in fp32 (vdpbf16ps rounds each
	 * step, so bf16 has room for that too); q8: six times its usual error,
	 * which is 1 % of a result. */
	eps = op->act == KERN_BF16 ? 0x1p-8 : 1e-5;
	if (op->expert != NULL ? op->m.weights == KERN_Q8 :
	    op->mat != NULL && op->mat[0].dtype == KERN_Q8)
		eps = 0.03;
	for (i = 0; i < n; i += n > CHECKED ? n / CHECKED : 1) {
		mag = op->kind->truth(op, i, y);
		for (j = 0; j < width; j++) {
			float got;

			kern_convert(&got, KERN_F32, (const char *)out +
			    kern_dtype_bytes(t, (size_t)i * width + j), t, 1);
			d = (double)got - y[j];
			err2 += d * d;
			sum2 += y[j] * y[j];
			bad += !(fabs(d) <= 2 * eps * (fabs(y[j]) + mag));
		}
	}
	mem_free(y);
	if (rms != NULL)
		*rms = sqrt(err2 / sum2);
	return bad;
}
