/*
 * kern_ref.c - the specification: every operation in plain C, one loop nest
 * each, one thread.  Other variants are tested against this file; it is here
 * to be read, not to be fast.
 *
 * Products: one fp32 accumulator per output, k ascending, fused multiply-add;
 * with q8 weights, a step is a block of 32 (kern.h, cpu_q8.c).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "kern_num.h"

static void
close_ref(struct kern *kn)
{
	free(kn);
}

/* Value i of an array of dtype t (F32 or BF16). */
static float
get(const void *p, enum kern_dtype t, size_t i)
{
	return t == KERN_F32 ? ((const float *)p)[i] :
	    kern_num_from_bf16(((const uint16_t *)p)[i]);
}

static void
set(void *p, enum kern_dtype t, size_t i, float v)
{
	if (t == KERN_F32)
		((float *)p)[i] = v;
	else
		((uint16_t *)p)[i] = kern_num_to_bf16(v);
}

static float
round_to(enum kern_dtype t, float v)
{
	return t == KERN_F32 ? v : kern_num_from_bf16(kern_num_to_bf16(v));
}

/* Room for a row on its way into a product. */
struct row {
	float *v;		/* [k] scaled, rounded */
	struct cpu_q8_x *q;	/* the same, for q8 */
};

static struct row
new_row(int k)
{
	return (struct row){ kern_alloc((size_t)k * sizeof(float)),
	    kern_alloc(cpu_q8_blocks(k) * sizeof(struct cpu_q8_x)) };
}

static void
free_row(struct row *r)
{
	free(r->v);
	free(r->q);
}

/* x[0..k) of dtype t, scaled by s, rounded to t. */
static void
set_row(struct row *r, const void *x, enum kern_dtype t, int k, float s)
{
	int i;

	for (i = 0; i < k; i++)
		r->v[i] = round_to(t, get(x, t, (size_t)i) * s);
	cpu_q8_quant(r->q, r->v, (size_t)k);
}

/* Packed row n of m, times x. */
static float
dot(const struct kern_mat *m, int n, const struct row *x)
{
	const char *b = (const char *)m->data +
	    (size_t)n / CPU_LANES * cpu_block_bytes(m);
	size_t lane = (size_t)n % CPU_LANES, k;
	float sum = 0;

	if (m->dtype == KERN_Q8)
		return cpu_q8_dot(m, n, x->q);
	for (k = 0; k < (size_t)m->k; k++)
		sum = fmaf(get(b, m->dtype, cpu_at(m->dtype, lane, k)),
		    x->v[k], sum);
	return sum;
}

static void
linear(struct kern *kn, const struct kern_linear *a)
{
	size_t xb = kern_dtype_bytes(kn->act, 1);
	struct row x = new_row(a->w->k);
	int r, n;

	for (r = 0; r < a->m; r++) {
		set_row(&x, (const char *)a->x + (size_t)r * a->ldx * xb,
		    kn->act, a->w->k, 1);
		for (n = 0; n < a->w->n; n++) {
			float v = dot(a->w, n, &x);

			if (a->bias != NULL)
				v += a->bias[n];
			set(a->y, a->ydt, (size_t)r * a->ldy + (size_t)n, v);
		}
	}
	free_row(&x);
}

/* ---- expert FFN --------------------------------------------------------- */

static float
sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

static float
glu(enum kern_glu kind, float g, float u)
{
	switch (kind) {
	case KERN_SILU:
		return g * sigmoid(g) * u;
	case KERN_GELU:
		return 0.5f * g * (1 + tanhf(0.7978845608f *
		    (g + 0.044715f * g * g * g))) * u;
	case KERN_CLAMP:
		g = g > 7 ? 7 : g;
		u = u > 7 ? 7 : u < -7 ? -7 : u;
		return (u + 1) * g * sigmoid(1.702f * g);
	}
	return 0;
}

/* One row through one expert; in and mid have room for h and i values. */
static void
expert_row(const struct kern *kn, const struct kern_ffn *a,
    const struct kern_expert *x, int row, struct row *in, struct row *mid)
{
	float v;
	int n;

	set_row(in, a->in[row], kn->act, a->h,
	    a->scale != NULL ? a->scale[row] : 1);
	for (n = 0; n < a->i; n++) {
		int at = n / 8 * 16 + n % 8;	/* see cpu_mat_glu_pack */
		float g = dot(&x->gate_up, at, in);
		float u = dot(&x->gate_up, at + 8, in);

		if (x->bias_gate != NULL)
			g += x->bias_gate[n];
		if (x->bias_up != NULL)
			u += x->bias_up[n];
		mid->v[n] = round_to(kn->act, glu(a->glu, g, u));
	}
	cpu_q8_quant(mid->q, mid->v, (size_t)a->i);
	for (n = 0; n < a->h; n++) {
		v = dot(&x->down, n, mid);
		if (x->bias_down != NULL)
			v += x->bias_down[n];
		set(a->out[row], kn->act, (size_t)n, v);
	}
}

static void
ffn(struct kern *kn, const struct kern_ffn *a)
{
	struct row in = new_row(a->h), mid = new_row(a->i);
	int g, j;

	for (g = 0; g < a->n_group; g++)
		for (j = 0; j < a->group[g].n; j++)
			expert_row(kn, a, a->group[g].x, a->group[g].first + j,
			    &in, &mid);
	free_row(&in);
	free_row(&mid);
}

/* ---- rows --------------------------------------------------------------- */

static void
norm(struct kern *kn, const struct kern_norm *a)
{
	int heads = a->heads > 1 ? a->heads : 1, j, i;

	(void)kn;
	for (j = 0; j < a->m * heads; j++) {
		size_t r = (size_t)(j / heads);
		size_t at = (size_t)(j % heads) * (size_t)a->n;
		const float *x = a->x + r * a->ldx + at;
		double mean = 0, sq = 0, inv, v;

		for (i = 0; a->center && i < a->n; i++)
			mean += (double)x[i] / a->n;
		for (i = 0; i < a->n; i++)
			sq += (x[i] - mean) * (x[i] - mean);
		inv = 1 / sqrt(sq / a->n + (double)a->eps);
		for (i = 0; i < a->n; i++) {
			v = (x[i] - mean) * inv;
			if (a->w != NULL)
				v *= (double)a->w[i];
			if (a->center && a->bias != NULL)
				v += (double)a->bias[i];
			set(a->y, a->ydt, r * a->ldy + at + (size_t)i,
			    (float)v);
		}
	}
}

static void
rope(struct kern *kn, const struct kern_rope *a)
{
	int r, j, i, half = a->rot / 2;
	float own[2];

	(void)kn;
	for (r = 0; r < a->m; r++) {
		for (j = 0; j < a->heads; j++) {
			float *x = a->x + (size_t)r * a->ldx +
			    (size_t)j * (size_t)a->d;

			for (i = 0; i < half; i++) {
				float *p = a->interleaved ? x + 2 * i : x + i;
				float *q = a->interleaved ? p + 1 : p + half;
				const float *cs = a->angle != NULL ? a->angle +
				    (size_t)r * (size_t)a->rot + 2 * i : own;
				float u = *p, v = *q, c, s;

				if (a->angle == NULL)
					kern_rope_angles(own, &a->pos[r], 1,
					    &a->inv_freq[i], 2, a->mscale);
				c = cs[0];
				s = cs[1];

				*p = u * c - v * s;
				*q = v * c + u * s;
			}
		}
	}
}

static void
axpy(struct kern *kn, const struct kern_axpy *a)
{
	size_t r, i;

	(void)kn;
	for (r = 0; r < (size_t)a->m; r++)
		for (i = 0; i < (size_t)a->n; i++)
			a->y[r * a->ldy + i] = fmaf(
			    a->alpha != NULL ? a->alpha[r] : 1,
			    get(a->x, a->xdt, r * a->ldx + i),
			    a->y[r * a->ldy + i]);
}

static void
combine(struct kern *kn, const struct kern_combine *a)
{
	size_t r, i, j, k = (size_t)a->k;

	for (r = 0; r < (size_t)a->m; r++) {
		for (i = 0; i < (size_t)a->n; i++) {
			float v = 0;

			for (j = r * k; j < (r + 1) * k; j++)
				if (a->row[j] != NULL)
					v = fmaf(a->w != NULL ? a->w[j] : 1,
					    get(a->row[j], kn->act, i), v);
			a->y[r * a->ldy + i] = v;
		}
	}
}

/* ---- attention ---------------------------------------------------------- */

static void *
page_of(const struct kern_kv *kv, const struct kern_seq *s, int pos)
{
	return (char *)kv->arena +
	    (size_t)s->page[pos / KERN_PAGE_TOK] * kv->page_bytes;
}

static void
kv_put(struct kern *kn, const struct kern_kv_put *a)
{
	const struct kern_kv *kv = a->kv;
	int s, r, j, i;

	(void)kn;
	for (s = 0; s < a->n_seq; s++) {
		const struct kern_seq *q = &a->seq[s];

		for (r = 0; r < q->m * kv->hk; r++) {
			size_t row = (size_t)(q->row0 + r / kv->hk);
			int pos = q->pos0 + r / kv->hk;
			int tok = pos % KERN_PAGE_TOK;
			void *page = page_of(kv, q, pos);

			j = r % kv->hk;
			for (i = 0; i < kv->dk; i++)
				set(page, kv->kvt, cpu_k_at(kv, j, tok, i),
				    a->k[row * a->ldk +
				    (size_t)(j * kv->dk + i)]);
			for (i = 0; i < kv->dv; i++)
				set(page, kv->kvt, cpu_v_at(kv, j, tok, i),
				    a->v[row * a->ldv +
				    (size_t)(j * kv->dv + i)]);
		}
	}
}

static bool
visible(const struct kern_attn *a, int q, int k)
{
	return k <= q && (a->window == 0 || q - k < a->window) &&
	    (a->chunk == 0 || q / a->chunk == k / a->chunk);
}

/* One query head of one row; p has room for pos + 1 values, o for dv. */
static void
attend(const struct kern_attn *a, const struct kern_seq *s, int pos, int h,
    const float *q, double *p, double *o)
{
	const struct kern_kv *kv = a->kv;
	int j = h / (a->h / kv->hk), i, t;
	double max = a->sink != NULL ? (double)a->sink[h] : -INFINITY;
	double sum = 0;

	for (t = 0; t <= pos; t++) {
		const void *page = page_of(kv, s, t);

		if (!visible(a, pos, t))
			continue;
		for (i = 0, p[t] = 0; i < kv->dk; i++)
			p[t] += (double)q[i] *
			    (double)get(page, kv->kvt, cpu_k_at(kv, j,
			    t % KERN_PAGE_TOK, i));
		p[t] *= (double)a->scale;
		max = p[t] > max ? p[t] : max;
	}
	for (i = 0; i < kv->dv; i++)
		o[i] = 0;
	for (t = 0; t <= pos; t++) {
		const void *page = page_of(kv, s, t);

		if (!visible(a, pos, t))
			continue;
		p[t] = exp(p[t] - max);
		sum += p[t];
		for (i = 0; i < kv->dv; i++)
			o[i] += p[t] *
			    (double)get(page, kv->kvt, cpu_v_at(kv, j,
			    t % KERN_PAGE_TOK, i));
	}
	if (a->sink != NULL)
		sum += exp((double)a->sink[h] - max);
	for (i = 0; i < kv->dv; i++)
		o[i] /= sum;
}

static void
attn(struct kern *kn, const struct kern_attn *a)
{
	size_t dk = (size_t)a->kv->dk, dv = (size_t)a->kv->dv, i;
	int s, r, h;

	for (s = 0; s < a->n_seq; s++) {
		const struct kern_seq *q = &a->seq[s];
		double *p = kern_alloc((size_t)(q->pos0 + q->m + 1) *
		    sizeof(*p));
		double *o = kern_alloc(dv * sizeof(*o));

		for (r = 0; r < q->m * a->h; r++) {
			size_t row = (size_t)(q->row0 + r / a->h);

			h = r % a->h;
			attend(a, q, q->pos0 + r / a->h, h,
			    a->q + row * a->ldq + (size_t)h * dk, p, o);
			for (i = 0; i < dv; i++)
				set(a->out, kn->act, row * a->ldo +
				    (size_t)h * dv + i, (float)o[i]);
		}
		free(p);
		free(o);
	}
}

/* ---- logits ------------------------------------------------------------- */

static void
softmax_sum(struct kern *kn, const float *x, int n, float inv_temp, float *max,
    double *sum)
{
	int i;

	(void)kn;
	for (*max = x[0], i = 1; i < n; i++)
		*max = x[i] > *max ? x[i] : *max;
	for (*sum = 0, i = 0; i < n; i++)
		*sum += exp(((double)x[i] - (double)*max) * (double)inv_temp);
}

static int
argmax(struct kern *kn, const float *x, int n)
{
	int best = 0, i;

	(void)kn;
	for (i = 0; i < n; i++) {
		if (isnan(x[i]))
			return -1;
		best = x[i] > x[best] ? i : best;
	}
	return best;
}

const struct kern_ops kern_ref_ops = {
	.close = close_ref,
	.mem_alloc = cpu_mem_alloc,
	.mem_free = cpu_mem_free,
	.mat_pack = cpu_mat_pack,
	.glu_pack = cpu_mat_glu_pack,
	.mat_row = cpu_mat_row,
	.linear = linear,
	.ffn = ffn,
	.norm = norm,
	.rope = rope,
	.axpy = axpy,
	.combine = combine,
	.kv_put = kv_put,
	.attn = attn,
	.softmax_sum = softmax_sum,
	.argmax = argmax,
};
