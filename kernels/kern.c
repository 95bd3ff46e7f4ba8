/*
 * kern.c - the front of the kernels: choosing a backend, checking arguments,
 * and calling through its table.  Threading rule: see kern.h.
 */
#include "kern.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu_q8.h"
#include "kern_impl.h"

void
kern_bug(const char *file, int line, const char *text)
{
	fprintf(stderr, "kern: %s:%d: %s does not hold\n", file, line, text);
	abort();
}

void *
kern_alloc(size_t bytes)
{
	size_t room = (bytes + 63) / 64 * 64;
	void *p = aligned_alloc(64, room ? room : 64);

	if (p == NULL) {
		fprintf(stderr, "out of memory (%zu bytes wanted)\n", bytes);
		abort();
	}
	return p;
}

static const struct backend {
	const char *name;
	int (*open)(struct kern **, const struct kern_opt *, char *);
	bool q8;
} backends[] = {
	{ "cpu", cpu_open, true },
	{ "cuda", kern_cuda_open, false },
};

static int
usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

int
kern_open(struct kern **k_p, const struct kern_opt *opt, char why[KERN_WHY])
{
	struct kern_opt o = *opt;
	size_t i;

	KERN_CHECK(o.act == KERN_F32 || o.act == KERN_BF16);
	KERN_CHECK(o.threads >= 0);
	if (o.weights == 0)
		o.weights = o.act;
	KERN_CHECK(o.weights == o.act || o.weights == KERN_Q8);
	if (o.backend == NULL)
		o.backend = "cpu";
	if (o.threads == 0)
		o.threads = usable_cpus();
	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (strcmp(backends[i].name, o.backend) != 0)
			continue;
		if (o.weights != KERN_Q8 || backends[i].q8)
			return backends[i].open(k_p, &o, why);
		snprintf(why, KERN_WHY, "the %s backend has no q8 weights",
		    o.backend);
		return -1;
	}
	snprintf(why, KERN_WHY, "no kernel backend is called '%s' "
	    "(there are cpu and cuda)", o.backend);
	return -1;
}

void
kern_close(struct kern *k)
{
	if (k != NULL)
		k->ops->close(k);
}

const char *
kern_variant(const struct kern *k)
{
	return k->variant;
}

enum kern_dtype
kern_act(const struct kern *k)
{
	return k->act;
}

enum kern_dtype
kern_weights(const struct kern *k)
{
	return k->weights;
}

int
kern_threads(const struct kern *k)
{
	return k->threads;
}

const char *const *
kern_isas(void)
{
	return cpu_isas();
}

void *
kern_mem_alloc(const struct kern *k, size_t bytes)
{
	return k->ops->mem_alloc(bytes);
}

void
kern_mem_free(const struct kern *k, void *p, size_t bytes)
{
	if (p != NULL)
		k->ops->mem_free(p, bytes);
}

/* ---- weights ---------------------------------------------------------- */

static bool
is_packed_dtype(enum kern_dtype t)
{
	return t == KERN_F32 || t == KERN_BF16 || t == KERN_Q8;
}

static void
check_mat(const struct kern_mat *m)
{
	KERN_CHECK(is_packed_dtype(m->dtype));
	KERN_CHECK(m->n > 0 && m->k > 0 && m->data != NULL);
	KERN_CHECK((uintptr_t)m->data % 64 == 0);
	KERN_CHECK(m->bytes >= kern_mat_bytes(NULL, m->n, m->k, m->dtype));
}

/* One layout serves all backends, so kn does not matter yet. */
size_t
kern_mat_bytes(const struct kern *kn, int n, int k, enum kern_dtype t)
{
	size_t blocks = ((size_t)n + 15) / 16;

	(void)kn;
	KERN_CHECK(n > 0 && k > 0 && is_packed_dtype(t));
	if (t == KERN_F32)
		return blocks * (size_t)k * 64;
	if (t == KERN_Q8)
		return blocks * cpu_q8_bytes(k);
	return blocks * (((size_t)k + 1) / 2) * 64;
}

static void
check_source(const struct kern_pack *p)
{
	KERN_CHECK(p->src != NULL);
	KERN_CHECK(p->src_dtype == KERN_F32 || p->src_dtype == KERN_F16 ||
	    p->src_dtype == KERN_BF16);
}

void
kern_mat_pack(const struct kern *kn, const struct kern_pack *p)
{
	check_source(p);
	check_mat(p->dst);
	KERN_CHECK(p->row0 >= 0 && p->rows >= 0);
	KERN_CHECK(p->rows <= p->dst->n - p->row0);
	kn->ops->mat_pack(kn, p);
}

void
kern_expert_pack(const struct kern *kn, struct kern_expert *x,
    enum kern_part part, const struct kern_pack *p)
{
	struct kern_pack whole = *p;

	check_source(p);
	check_mat(&x->gate_up);
	check_mat(&x->down);
	KERN_CHECK(x->gate_up.n == 2 * x->down.k);
	KERN_CHECK(x->gate_up.k == x->down.n);
	KERN_CHECK(part == KERN_GATE || part == KERN_UP || part == KERN_DOWN);
	whole.row0 = 0;
	if (part == KERN_DOWN) {
		whole.dst = &x->down;
		whole.rows = x->down.n;
		kn->ops->mat_pack(kn, &whole);
	} else {
		whole.rows = x->down.k;
		kn->ops->glu_pack(kn, &x->gate_up, part, &whole);
	}
}

void
kern_mat_row(const struct kern *kn, const struct kern_mat *m, int i, float *out)
{
	KERN_CHECK(kn->ops->mat_row != NULL);
	check_mat(m);
	KERN_CHECK(i >= 0 && i < m->n);
	kn->ops->mat_row(kn, m, i, out);
}

/* ---- products --------------------------------------------------------- */

void
kern_linear(struct kern *kn, const struct kern_linear *a)
{
	KERN_CHECK(kn->ops->linear != NULL);
	check_mat(a->w);
	KERN_CHECK(a->ydt == KERN_F32 || a->ydt == kn->act);
	KERN_CHECK(a->m >= 0);
	if (a->m > 0)
		kn->ops->linear(kn, a);
}

void
kern_ffn(struct kern *kn, const struct kern_ffn *a)
{
	int g;

	KERN_CHECK(a->h > 0 && a->i > 0 && a->n_group >= 0);
	KERN_CHECK(a->glu == KERN_SILU || a->glu == KERN_GELU ||
	    a->glu == KERN_CLAMP);
	for (g = 0; g < a->n_group; g++) {
		const struct kern_expert *x = a->group[g].x;

		KERN_CHECK(a->group[g].n >= 1 && a->group[g].first >= 0);
		KERN_CHECK(x->gate_up.n == 2 * a->i && x->gate_up.k == a->h);
		KERN_CHECK(x->down.n == a->h && x->down.k == a->i);
		check_mat(&x->gate_up);
		check_mat(&x->down);
		KERN_CHECK(x->gate_up.dtype == x->down.dtype);
	}
	if (a->n_group > 0)
		kn->ops->ffn(kn, a);
}

/* ---- rows ------------------------------------------------------------- */

void
kern_norm(struct kern *kn, const struct kern_norm *a)
{
	KERN_CHECK(kn->ops->norm != NULL);
	KERN_CHECK(a->ydt == KERN_F32 || a->ydt == KERN_BF16);
	KERN_CHECK(a->m >= 0 && a->n > 0 && a->heads >= 0);
	if (a->m > 0)
		kn->ops->norm(kn, a);
}

void
kern_rope(struct kern *kn, const struct kern_rope *a)
{
	KERN_CHECK(kn->ops->rope != NULL);
	KERN_CHECK(a->m >= 0 && a->heads >= 0);
	KERN_CHECK(a->rot >= 0 && a->rot % 2 == 0 && a->rot <= a->d);
	if (a->m > 0 && a->heads > 0 && a->rot > 0)
		kn->ops->rope(kn, a);
}

void
kern_rope_angles(float *out, const int32_t *pos, int m, const float *inv_freq,
    int rot, float mscale)
{
	int r, i;

	for (r = 0; r < m; r++, out += rot) {
		for (i = 0; i < rot / 2; i++) {
			double t = (double)pos[r] * (double)inv_freq[i];

			out[2 * i] = (float)(cos(t) * (double)mscale);
			out[2 * i + 1] = (float)(sin(t) * (double)mscale);
		}
	}
}

void
kern_axpy(struct kern *kn, const struct kern_axpy *a)
{
	KERN_CHECK(kn->ops->axpy != NULL);
	KERN_CHECK(a->xdt == KERN_F32 || a->xdt == KERN_BF16);
	KERN_CHECK(a->m >= 0 && a->n >= 0);
	if (a->m > 0 && a->n > 0)
		kn->ops->axpy(kn, a);
}

void
kern_combine(struct kern *kn, const struct kern_combine *a)
{
	KERN_CHECK(kn->ops->combine != NULL);
	KERN_CHECK(a->m >= 0 && a->k >= 0 && a->n >= 0);
	if (a->m > 0 && a->n > 0)
		kn->ops->combine(kn, a);
}

/* ---- attention -------------------------------------------------------- */

size_t
kern_kv_page_bytes(int hk, int dk, int dv, enum kern_dtype kvt)
{
	KERN_CHECK(hk > 0 && dk > 0 && dv > 0);
	KERN_CHECK(kvt == KERN_F32 || kvt == KERN_BF16);
	if (kvt == KERN_BF16)
		dk = (dk + 1) / 2 * 2;
	dv = (dv + 15) / 16 * 16;
	return (size_t)hk * KERN_PAGE_TOK *
	    kern_dtype_bytes(kvt, (size_t)dk + (size_t)dv);
}

static void
check_kv(const struct kern_kv *kv, const struct kern_seq *seq, int n_seq)
{
	int i;

	KERN_CHECK(kv->arena != NULL && n_seq >= 0);
	KERN_CHECK(kv->page_bytes >= kern_kv_page_bytes(kv->hk, kv->dk, kv->dv,
	    kv->kvt));
	for (i = 0; i < n_seq; i++)
		KERN_CHECK(seq[i].pos0 >= 0 && seq[i].m >= 0 &&
		    seq[i].row0 >= 0);
}

void
kern_kv_put(struct kern *kn, const struct kern_kv_put *a)
{
	KERN_CHECK(kn->ops->kv_put != NULL);
	check_kv(a->kv, a->seq, a->n_seq);
	kn->ops->kv_put(kn, a);
}

void
kern_attn(struct kern *kn, const struct kern_attn *a)
{
	KERN_CHECK(kn->ops->attn != NULL);
	check_kv(a->kv, a->seq, a->n_seq);
	KERN_CHECK(a->h > 0 && a->h % a->kv->hk == 0);
	KERN_CHECK(a->window >= 0 && a->chunk >= 0);
	kn->ops->attn(kn, a);
}

/* ---- logits ----------------------------------------------------------- */

void
kern_softmax_sum(struct kern *kn, const float *x, int n, float inv_temp,
    float *max, double *sum)
{
	KERN_CHECK(kn->ops->softmax_sum != NULL && n > 0);
	kn->ops->softmax_sum(kn, x, n, inv_temp, max, sum);
}

int
kern_argmax(struct kern *kn, const float *x, int n)
{
	KERN_CHECK(kn->ops->argmax != NULL && n > 0);
	return kn->ops->argmax(kn, x, n);
}
