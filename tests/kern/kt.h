/*
 * kt.h - what the kernel tests share: seeded data, opened variants, packed
 * matrices, comparison.  Header only: every test_*.c is a program.
 */
#ifndef MOE_KT_H
#define MOE_KT_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kern.h"
#include "mem.h"
#include "num.h"
#include "rng.h"
#include "tap.h"

#define KT_UNUSED	__attribute__((unused)) static

static struct rng kt_rng;

/* Seed from MOE_SEED, else from the clock; printed, so that a failure can be
 * repeated. */
KT_UNUSED void
kt_seed(void)
{
	const char *s = getenv("MOE_SEED");
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	kt_rng.key = (uint64_t)t.tv_nsec / 1000 + (uint64_t)t.tv_sec * 1000000;
	if (s != NULL && num_u64(s, &kt_rng.key) != 0)
		fprintf(stderr, "MOE_SEED is not a number: %s\n", s);
	printf("# MOE_SEED=%llu\n", (unsigned long long)kt_rng.key);
}

KT_UNUSED int
kt_int(int lo, int hi)	/* lo .. hi */
{
	return lo + (int)rng_below(&kt_rng, (uint64_t)(hi - lo + 1));
}

KT_UNUSED float *
kt_floats(size_t n, double scale)
{
	float *p = mem_alloc(n * sizeof(*p));
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = (float)(rng_next_normal(&kt_rng) * scale);
	return p;
}

/* n values of f in dtype t; at an address that is aligned to the element and
 * to nothing more.  *base_p is for mem_free. */
KT_UNUSED void *
kt_as(const float *f, size_t n, enum kern_dtype t, void **base_p)
{
	size_t elem = kern_dtype_bytes(t, 1);
	char *p = mem_aligned(64, kern_dtype_bytes(t, n) + 64);

	*base_p = p;
	kern_convert(p + elem, t, f, KERN_F32, n);
	return p + elem;
}

KT_UNUSED double
kt_at(const void *p, enum kern_dtype t, size_t i)
{
	float f;

	kern_convert(&f, KERN_F32,
	    (const char *)p + kern_dtype_bytes(t, i), t, 1);
	return (double)f;
}

KT_UNUSED struct kern *
kt_open(const char *isa, enum kern_dtype act, int threads)
{
	struct kern_opt o = { NULL, isa, act, threads, 0 };
	char why[KERN_WHY] = "";
	struct kern *k = NULL;

	if (kern_open(&k, &o, why) != 0)
		printf("# kern_open %s: %s\n", isa, why);
	return k;
}

/* A packed matrix and the unpacked values it holds (rounded to dtype; of q8,
 * those that it was made from). */
struct kt_mat {
	struct kern_mat m;
	float *w;		/* [n][k] */
};

KT_UNUSED void
kt_mat_init(const struct kern *kn, struct kern_mat *m, int n, int k,
    enum kern_dtype t)
{
	m->n = n;
	m->k = k;
	m->dtype = t;
	m->bytes = kern_mat_bytes(kn, n, k, t);
	m->data = kern_mem_alloc(kn, m->bytes);
}

/* Rounded to t; as they are for q8. */
KT_UNUSED float *
kt_rounded(size_t n, double scale, enum kern_dtype t)
{
	float *w = kt_floats(n, scale);
	size_t i;

	for (i = 0; i < n && t != KERN_Q8; i++) {
		uint32_t room = 0;

		kern_convert(&room, t, &w[i], KERN_F32, 1);
		kern_convert(&w[i], KERN_F32, &room, t, 1);
	}
	return w;
}

KT_UNUSED void
kt_mat_make(const struct kern *kn, struct kt_mat *k, int n, int cols,
    enum kern_dtype t)
{
	struct kern_pack p = { .dst = &k->m, .rows = n,
	    .src_dtype = KERN_F32, .rs = (size_t)cols, .cs = 1 };

	kt_mat_init(kn, &k->m, n, cols, t);
	k->w = kt_rounded((size_t)n * (size_t)cols, 1 / sqrt(cols), t);
	p.src = k->w;
	kern_mat_pack(kn, &p);
}

KT_UNUSED void
kt_mat_free(const struct kern *kn, struct kt_mat *k)
{
	kern_mem_free(kn, k->m.data, k->m.bytes);
	mem_free(k->w);
}

KT_UNUSED double
kt_eps(enum kern_dtype t)
{
	return t == KERN_F32 ? 0x1p-23 : t == KERN_BF16 ? 0x1p-8 : 0x1p-11;
}

/* How many of n values of got (dtype t) are farther from want (the same
 * dtype) than abs + rel * eps(t) * |want|; NaN counts. */
KT_UNUSED size_t
kt_wrong(const void *got, const void *want, enum kern_dtype t, size_t n,
    double abs, double rel)
{
	size_t i, bad = 0;

	for (i = 0; i < n; i++) {
		double g = kt_at(got, t, i), w = kt_at(want, t, i);

		if (!(fabs(g - w) <= abs + rel * kt_eps(t) * fabs(w))) {
			if (bad++ == 0)
				printf("# [%zu] got %.9g, want %.9g\n", i, g,
				    w);
		}
	}
	return bad;
}

#endif
