/*
 * cpu_rows.c - operations on rows and on logits.  Rows are shared out to the
 * threads when there is enough of them; logits in fixed blocks, whose partial
 * results are put together in block order.
 */
#include "cpu.h"

#include <math.h>

#include "kern_num.h"

#define SOLO_VALUES	50000	/* below: not worth a wake-up */
#define PIECE		512	/* values converted at a time on the stack */
#define LOGITS		4096	/* block of softmax_sum and argmax */

struct job {
	struct cpu *c;
	const void *a;
	void (*row)(struct cpu *c, const void *a, size_t r);
};

static void
row_item(void *arg, int thread, size_t row)
{
	struct job *j = arg;

	(void)thread;
	j->row(j->c, j->a, row);
}

static void
for_rows(struct kern *kn, const void *a, int m, int n,
    void (*row)(struct cpu *, const void *, size_t))
{
	struct cpu *c = cpu_of(kn);
	struct job j = { c, a, row };

	pool_run(c->pool, m == 1 || (size_t)m * (size_t)n < SOLO_VALUES,
	    &(struct pool_stage){ row_item, (size_t)m }, 1, &j);
}

/* ---- norm -------------------------------------------------------------- */

static void
norm_head(struct cpu *c, const struct kern_norm *a, const float *x, size_t to)
{
	struct cpu_affine f = { 0, 0, NULL, NULL };
	float piece[PIECE];
	int i, n;

	if (a->center)
		f.mean = c->isa->sum(x, a->n) / (float)a->n;
	f.inv = 1 / sqrtf(c->isa->sum_sq(x, a->n, f.mean) / (float)a->n +
	    a->eps);
	for (i = 0; i < a->n; i += n) {
		size_t at = to + (size_t)i;

		n = a->n - i < PIECE ? a->n - i : PIECE;
		f.w = a->w != NULL ? a->w + i : NULL;
		f.b = a->center && a->bias != NULL ? a->bias + i : NULL;
		if (a->ydt == KERN_F32) {
			c->isa->affine((float *)a->y + at, x + i, n, &f);
		} else {
			c->isa->affine(piece, x + i, n, &f);
			c->isa->narrow((uint16_t *)a->y + at, piece,
			    (size_t)n);
		}
	}
}

static void
norm_row(struct cpu *c, const void *arg, size_t r)
{
	const struct kern_norm *a = arg;
	size_t j = 0;

	do
		norm_head(c, a, a->x + r * a->ldx + j * (size_t)a->n,
		    r * a->ldy + j * (size_t)a->n);
	while (++j < (size_t)a->heads);
}

void
cpu_rows_norm(struct kern *kn, const struct kern_norm *a)
{
	for_rows(kn, a, a->m, a->n * (a->heads > 1 ? a->heads : 1), norm_row);
}

/* ---- rope -------------------------------------------------------------- */

/* Rotate one head: pairs (x[i*step], x[i*step + far]). */
static void
rotate(float *x, const float *cs, int half, int step, int far)
{
	int i;

	for (i = 0; i < half; i++) {
		float a = x[i * step], b = x[i * step + far];

		x[i * step] = a * cs[2 * i] - b * cs[2 * i + 1];
		x[i * step + far] = b * cs[2 * i] + a * cs[2 * i + 1];
	}
}

static void
rope_row(struct cpu *c, const void *arg, size_t r)
{
	const struct kern_rope *a = arg;
	int half = a->rot / 2, i0, j, n;
	const float *cs;
	float own[PIECE];

	(void)c;
	for (i0 = 0; i0 < half; i0 += PIECE / 2) {
		n = half - i0 < PIECE / 2 ? half - i0 : PIECE / 2;
		cs = a->angle != NULL ? a->angle + r * (size_t)a->rot +
		    2 * i0 : own;
		if (a->angle == NULL)
			kern_rope_angles(own, &a->pos[r], 1, a->inv_freq + i0,
			    2 * n, a->mscale);
		for (j = 0; j < a->heads; j++) {
			float *x = a->x + r * a->ldx + (size_t)j * (size_t)a->d;

			if (a->interleaved)
				rotate(x + 2 * i0, cs, n, 2, 1);
			else
				rotate(x + i0, cs, n, 1, half);
		}
	}
}

void
cpu_rows_rope(struct kern *kn, const struct kern_rope *a)
{
	/* The angles of a row cost about as much as 20 values each. */
	for_rows(kn, a, a->m, a->heads * a->rot +
	    (a->angle == NULL ? 10 * a->rot : 0), rope_row);
}

/* ---- axpy, combine ----------------------------------------------------- */

/* y[0..n) += alpha * x[at ..), x of dtype t. */
static void
add_row(struct cpu *c, float *y, const void *x, enum kern_dtype t, size_t n,
    float alpha)
{
	float piece[PIECE];
	size_t i, len;

	if (t == KERN_F32) {
		c->isa->axpy(y, x, (int)n, alpha);
		return;
	}
	for (i = 0; i < n; i += len) {
		len = n - i < PIECE ? n - i : PIECE;
		c->isa->widen(piece, (const uint16_t *)x + i, len);
		c->isa->axpy(y + i, piece, (int)len, alpha);
	}
}

static void
axpy_row(struct cpu *c, const void *arg, size_t r)
{
	const struct kern_axpy *a = arg;
	const char *x = (const char *)a->x +
	    kern_dtype_bytes(a->xdt, r * a->ldx);

	add_row(c, a->y + r * a->ldy, x, a->xdt, (size_t)a->n,
	    a->alpha != NULL ? a->alpha[r] : 1);
}

void
cpu_rows_axpy(struct kern *kn, const struct kern_axpy *a)
{
	for_rows(kn, a, a->m, a->n, axpy_row);
}

static void
combine_row(struct cpu *c, const void *arg, size_t r)
{
	const struct kern_combine *a = arg;
	float *y = a->y + r * a->ldy;
	size_t k = (size_t)a->k, i;
	int j;

	for (j = 0; j < a->n; j++)
		y[j] = 0;
	for (i = r * k; i < (r + 1) * k; i++)
		if (a->row[i] != NULL)
			add_row(c, y, a->row[i], c->k.act, (size_t)a->n,
			    a->w != NULL ? a->w[i] : 1);
}

void
cpu_rows_combine(struct kern *kn, const struct kern_combine *a)
{
	for_rows(kn, a, a->m, a->n * (a->k + 1), combine_row);
}

/* ---- logits ------------------------------------------------------------ */

void
cpu_rows_softmax_sum(struct kern *kn, const float *x, int n, float inv_temp,
    float *max, double *sum)
{
	const struct cpu_isa *isa = cpu_of(kn)->isa;
	bool nan = false;
	int i, len;

	*max = isa->max(x, n, &nan);
	*sum = 0;
	for (i = 0; i < n; i += len) {
		len = n - i < LOGITS ? n - i : LOGITS;
		*sum += isa->exp_sum(x + i, len, *max, inv_temp);
	}
}

int
cpu_rows_argmax(struct kern *kn, const float *x, int n)
{
	bool nan = false;
	float m = cpu_of(kn)->isa->max(x, n, &nan);
	int i = 0;

	if (nan)
		return -1;
	while (x[i] != m)
		i++;
	return i;
}
