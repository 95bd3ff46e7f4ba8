/* cpu.c - the cpu backend: choosing a variant, opening it, its scratch. */
#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES	((size_t)2 << 20)

static void
cpu_close(struct kern *kn)
{
	struct cpu *c = cpu_of(kn);
	int i;

	pool_free(c->pool);
	for (i = 0; i < CPU_N_BUF; i++)
		free(c->buf[i].p);
	free(c);
}

static const struct kern_ops cpu_ops = {
	.close = cpu_close,
	.mem_alloc = cpu_mem_alloc,
	.mem_free = cpu_mem_free,
	.mat_pack = cpu_mat_pack,
	.glu_pack = cpu_mat_glu_pack,
	.mat_row = cpu_mat_row,
	.linear = cpu_linear,
	.ffn = cpu_ffn,
	.norm = cpu_rows_norm,
	.rope = cpu_rows_rope,
	.axpy = cpu_rows_axpy,
	.combine = cpu_rows_combine,
	.kv_put = cpu_kv_put,
	.attn = cpu_attn,
	.softmax_sum = cpu_rows_softmax_sum,
	.argmax = cpu_rows_argmax,
};

/* Best first; a variant whose isa is NULL here is left out. */
static const struct variant {
	const char *name;
	const struct cpu_isa *(*isa)(void);	/* NULL: ref */
	bool vnni;		/* for q8, where the processor has it */
} variants[] = {
	{ "avx512bf16", kern_avx512bf16_isa, true },
	{ "avx2", kern_avx2_isa, false },
	{ "ref", NULL, false },
};
#define N_VARIANT	(sizeof(variants) / sizeof(variants[0]))

static bool
runs_here(const struct variant *v)
{
	return v->isa == NULL || v->isa() != NULL;
}

const char *const *
cpu_isas(void)
{
	static const char *none[] = { "ref", NULL };
	static const char *avx2[] = { "avx2", "ref", NULL };
	static const char *all[] = { "avx512bf16", "avx2", "ref", NULL };

	if (kern_avx512bf16_isa() != NULL)
		return all;
	return kern_avx2_isa() != NULL ? avx2 : none;
}

static const struct variant *
find_variant(const char *name, char *why)
{
	size_t i;

	for (i = 0; i < N_VARIANT; i++) {
		if (name != NULL && strcmp(name, variants[i].name) != 0)
			continue;
		if (runs_here(&variants[i]))
			return &variants[i];
		if (name != NULL) {
			snprintf(why, KERN_WHY, "this processor has no %s",
			    name);
			return NULL;
		}
	}
	snprintf(why, KERN_WHY, "no instruction set of the cpu backend is "
	    "called '%s' (there are avx512bf16, avx2 and ref)", name);
	return NULL;
}

int
cpu_open(struct kern **k_p, const struct kern_opt *opt, char why[KERN_WHY])
{
	const struct variant *v = find_variant(opt->isa, why);
	struct cpu *c;

	if (v == NULL)
		return -1;
	c = kern_alloc(sizeof(*c));
	memset(c, 0, sizeof(*c));
	c->k.ops = v->isa != NULL ? &cpu_ops : &kern_ref_ops;
	c->k.act = opt->act;
	c->k.weights = opt->weights;
	c->k.threads = opt->threads;
	snprintf(c->k.variant, sizeof(c->k.variant), "cpu-%s-%s%s", v->name,
	    kern_dtype_name(opt->act), opt->weights == KERN_Q8 ? "-q8" : "");
	if (v->isa != NULL) {
		c->isa = v->isa();
		c->q8 = v->vnni ? kern_avx512vnni_q8() : NULL;
		if (c->q8 == NULL)
			c->q8 = kern_avx2_q8();
		c->pool = pool_new(opt->threads);
	}
	*k_p = &c->k;
	return 0;
}

cpu_tile_fn *
cpu_tile(const struct cpu *c, const struct kern_mat *w, enum cpu_form *form_p)
{
	const struct cpu_isa *isa = c->isa;

	*form_p = CPU_QUANT;
	if (w->dtype == KERN_Q8)
		return c->q8->tile;
	*form_p = CPU_AS_IS;
	if (w->dtype == KERN_BF16 && c->k.act == KERN_BF16 && isa->dp != NULL)
		return isa->dp;
	*form_p = c->k.act == KERN_BF16 ? CPU_WIDE : CPU_AS_IS;
	return w->dtype == KERN_BF16 ? isa->bf16 : isa->f32;
}

void *
cpu_scratch(struct cpu *c, enum cpu_scratch which, size_t bytes)
{
	struct cpu_buf *b = &c->buf[which];

	if (bytes > b->bytes) {
		free(b->p);
		b->bytes = bytes + bytes / 2;
		b->p = kern_alloc(b->bytes);
	}
	return b->p;
}

void *
cpu_mem_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (bytes >= HUGE_BYTES)
		madvise(p, bytes, MADV_HUGEPAGE);	/* only a wish */
	return p;
}

void
cpu_mem_free(void *p, size_t bytes)
{
	munmap(p, bytes ? bytes : 1);
}
