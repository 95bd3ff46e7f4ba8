/*
 * emu - see emu.h: the backend.
 *
 * When a pretended model is charged for (emu_opt.as), the operations of a
 * layer's attention are charged together, at kern_attn, which knows rows and
 * contexts; so other products are free, but for the head, which is the product
 * with as many outputs as the embedding has rows.
 */
#include "emu/emu.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/cpu.h"
#include "kern_impl.h"

/* A debt beyond it is forgotten, and counted: the machine is overloaded. */
#define DEBT_NS		50000000

struct emu {
	struct kern k;
	struct kern *in;
	struct emu_opt o;
	int vocab;		/* rows of the embedding; 0: not seen yet */
	int64_t debt_ns;	/* by which sleeps were late, not paid yet */
	uint64_t open_ns;
	int *group;		/* scratch: rows of a pass's groups */
	int cap_group;
	_Atomic uint64_t ops, busy_ns, compute_ns, over_ns, late_max_ns, owed_ns;
};

static struct emu *
emu_of(struct kern *k)
{
	return (struct emu *)k;
}

static uint64_t
time_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
add(_Atomic uint64_t *v, uint64_t n)
{
	atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}

/* Sleep until then; how late it became. */
static uint64_t
sleep_until(uint64_t at_ns)
{
	const struct timespec t = { (time_t)(at_ns / 1000000000u),
	    (long)(at_ns % 1000000000u) };
	uint64_t now;

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) ==
	    EINTR)
		continue;
	now = time_ns(CLOCK_MONOTONIC);
	return now > at_ns ? now - at_ns : 0;
}

/* The operation that began at began_ns is over when the device has taken us. */
static void
take(struct emu *e, uint64_t began_ns, double us)
{
	uint64_t now = time_ns(CLOCK_MONOTONIC), due, late;
	int64_t left = (int64_t)(us * 1000 * e->o.scale), paid;

	add(&e->ops, 1);
	add(&e->busy_ns, (uint64_t)(us * 1000));
	add(&e->compute_ns, now - began_ns);
	paid = e->debt_ns < left ? e->debt_ns : left;
	e->debt_ns -= paid;
	due = began_ns + (uint64_t)(left - paid);
	late = now < due ? sleep_until(due) : now - due;
	if (now < due && late > atomic_load(&e->late_max_ns))
		atomic_store(&e->late_max_ns, late);
	e->debt_ns += (int64_t)late;
	if (e->debt_ns > DEBT_NS) {
		add(&e->over_ns, (uint64_t)(e->debt_ns - DEBT_NS));
		e->debt_ns = DEBT_NS;
	}
	atomic_store_explicit(&e->owed_ns, (uint64_t)e->debt_ns,
	    memory_order_relaxed);
}

static void
zero_rows(void *p, size_t ld_bytes, int m, size_t bytes)
{
	int i;

	for (i = 0; i < m; i++)
		memset((char *)p + (size_t)i * ld_bytes, 0, bytes);
}

/* ---- operations ----------------------------------------------------------- */

static void
op_linear(struct kern *k, const struct kern_linear *a)
{
	struct emu *e = emu_of(k);
	uint64_t t = time_ns(CLOCK_MONOTONIC);
	const struct emu_shape *as = &e->o.as;
	double us = 0;

	if (e->o.skip)
		zero_rows(a->y, kern_dtype_bytes(a->ydt, a->ldy), a->m,
		    kern_dtype_bytes(a->ydt, (size_t)a->w->n));
	else
		e->in->ops->linear(e->in, a);
	if (as->hidden == 0)
		us = emu_linear_us(&e->o.device, a->m, a->w->n, a->w->k);
	else if (a->w->n == e->vocab)
		us = emu_linear_us(&e->o.device, a->m, as->vocab, as->hidden);
	if (us > 0)
		take(e, t, us);
}

static int *
group_rows(struct emu *e, const struct kern_ffn *a)
{
	int g;

	if (a->n_group > e->cap_group) {
		free(e->group);
		e->cap_group = a->n_group * 2;
		e->group = kern_alloc((size_t)e->cap_group *
		    sizeof(*e->group));
	}
	for (g = 0; g < a->n_group; g++)
		e->group[g] = a->group[g].n;
	return e->group;
}

static void
op_ffn(struct kern *k, const struct kern_ffn *a)
{
	struct emu *e = emu_of(k);
	uint64_t t = time_ns(CLOCK_MONOTONIC);
	const struct emu_shape *as = &e->o.as;
	size_t bytes = kern_dtype_bytes(k->act, (size_t)a->h);
	int g, j;

	if (e->o.skip)
		for (g = 0; g < a->n_group; g++)
			for (j = 0; j < a->group[g].n; j++)
				memset(a->out[a->group[g].first + j], 0,
				    bytes);
	else
		e->in->ops->ffn(e->in, a);
	take(e, t, emu_ffn_us(&e->o.device, as->hidden ? as->hidden : a->h,
	    as->hidden ? as->inter : a->i, group_rows(e, a), a->n_group));
}

static void
op_attn(struct kern *k, const struct kern_attn *a)
{
	struct emu *e = emu_of(k);
	uint64_t t = time_ns(CLOCK_MONOTONIC);
	const struct emu_shape *as = &e->o.as;
	const struct emu_shape own = { .n_head = a->h, .n_kv_head = a->kv->hk,
	    .d_head = a->kv->dv };
	double ctx = 0, keys = 0;
	int i, rows = 0;

	for (i = 0; i < a->n_seq; i++) {
		rows += a->seq[i].m;
		ctx += (double)a->seq[i].m *
		    (a->seq[i].pos0 + (a->seq[i].m + 1) / 2.0);
		keys += a->seq[i].pos0 + a->seq[i].m;
	}
	if (!e->o.skip)
		e->in->ops->attn(e->in, a);
	else
		for (i = 0; i < a->n_seq; i++)
			zero_rows((char *)a->out + (size_t)a->seq[i].row0 *
			    kern_dtype_bytes(k->act, a->ldo),
			    kern_dtype_bytes(k->act, a->ldo), a->seq[i].m,
			    kern_dtype_bytes(k->act, (size_t)(a->h *
			    a->kv->dv)));
	take(e, t, as->hidden ? emu_step_us(&e->o.device, as, rows, ctx,
	    keys) : e->o.device.attn_us + emu_attn_us(&e->o.device, &own, rows,
	    ctx, keys));
}

static void
op_mat_row(const struct kern *k, const struct kern_mat *m, int i, float *out)
{
	/* kern.h: one thread at a time calls operations, this one too. */
	struct emu *e = (struct emu *)(uintptr_t)k;

	e->vocab = m->n;
	e->in->ops->mat_row(e->in, m, i, out);
}

/* The rest costs nothing of its own. */

static void
op_norm(struct kern *k, const struct kern_norm *a)
{
	emu_of(k)->in->ops->norm(emu_of(k)->in, a);
}

static void
op_rope(struct kern *k, const struct kern_rope *a)
{
	emu_of(k)->in->ops->rope(emu_of(k)->in, a);
}

static void
op_axpy(struct kern *k, const struct kern_axpy *a)
{
	emu_of(k)->in->ops->axpy(emu_of(k)->in, a);
}

static void
op_combine(struct kern *k, const struct kern_combine *a)
{
	emu_of(k)->in->ops->combine(emu_of(k)->in, a);
}

static void
op_kv_put(struct kern *k, const struct kern_kv_put *a)
{
	emu_of(k)->in->ops->kv_put(emu_of(k)->in, a);
}

static void
op_softmax_sum(struct kern *k, const float *x, int n, float inv_temp,
    float *max, double *sum)
{
	emu_of(k)->in->ops->softmax_sum(emu_of(k)->in, x, n, inv_temp, max,
	    sum);
}

static int
op_argmax(struct kern *k, const float *x, int n)
{
	return emu_of(k)->in->ops->argmax(emu_of(k)->in, x, n);
}

static void
op_mat_pack(const struct kern *k, const struct kern_pack *p)
{
	const struct emu *e = (const struct emu *)k;

	e->in->ops->mat_pack(e->in, p);
}

static void
op_glu_pack(const struct kern *k, struct kern_mat *m, enum kern_part part,
    const struct kern_pack *p)
{
	const struct emu *e = (const struct emu *)k;

	e->in->ops->glu_pack(e->in, m, part, p);
}

static void
op_close(struct kern *k)
{
	struct emu *e = emu_of(k);

	kern_close(e->in);
	free(e->group);
	free(e);
}

/* ---- opening -------------------------------------------------------------- */

static const struct kern_ops emu_ops = {
	.close = op_close, .mem_alloc = cpu_mem_alloc,
	.mem_free = cpu_mem_free,
	.mat_pack = op_mat_pack, .glu_pack = op_glu_pack,
	.mat_row = op_mat_row, .linear = op_linear, .ffn = op_ffn,
	.norm = op_norm, .rope = op_rope, .axpy = op_axpy,
	.combine = op_combine, .kv_put = op_kv_put, .attn = op_attn,
	.softmax_sum = op_softmax_sum, .argmax = op_argmax,
};

int
emu_open(struct kern **k_p, const struct emu_opt *o,
    const struct kern_opt *inner, char why[KERN_WHY])
{
	struct kern *in;
	struct emu *e;

	KERN_CHECK(o->scale >= 1 && inner->backend == NULL);
	if (kern_open(&in, inner, why) != 0)
		return -1;
	e = kern_alloc(sizeof(*e));
	memset(e, 0, sizeof(*e));
	e->k.ops = &emu_ops;
	e->k.act = in->act;
	e->k.weights = in->weights;
	e->k.threads = in->threads;
	snprintf(e->k.variant, sizeof(e->k.variant), "%s%d-%.24s",
	    o->skip ? "skip" : "emu", o->scale, kern_variant(in));
	e->in = in;
	e->o = *o;
	e->open_ns = time_ns(CLOCK_MONOTONIC);
	*k_p = &e->k;
	return 0;
}

void
emu_stats(const struct kern *k, struct emu_stats *out)
{
	const struct emu *e = (const struct emu *)k;

	memset(out, 0, sizeof(*out));
	if (k->ops->close != op_close)
		return;
	out->ops = atomic_load(&e->ops);
	out->busy_ns = atomic_load(&e->busy_ns);
	out->real_ns = time_ns(CLOCK_MONOTONIC) - e->open_ns;
	out->compute_ns = atomic_load(&e->compute_ns);
	out->over_ns = atomic_load(&e->over_ns) + atomic_load(&e->owed_ns);
	out->late_max_ns = atomic_load(&e->late_max_ns);
	out->cpu_ns = time_ns(CLOCK_PROCESS_CPUTIME_ID);
}

double
emu_error(const struct emu_stats *s)
{
	uint64_t outside = s->cpu_ns > s->compute_ns ?
	    s->cpu_ns - s->compute_ns : 0;

	if (s->real_ns == 0)
		return 0;
	return (double)(outside + s->over_ns) / (double)s->real_ns;
}
