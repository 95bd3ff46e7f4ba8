/*
 * fake_experts - a resid_source with seeded random weights, so that the engine
 * can be tested without a checkpoint.  Layer 1 has no experts.  Loads can be
 * held at a gate and made to fail.
 */
#ifndef MOE_FAKE_EXPERTS_H
#define MOE_FAKE_EXPERTS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern.h"
#include "mem.h"
#include "resid.h"
#include "rng.h"

#define FAKE_H		24	/* hidden */
#define FAKE_I		40	/* inner */
#define FAKE_LAYERS	4
#define FAKE_EXPERTS	6

struct fake {
	struct kern *kn;
	pthread_mutex_t mu;
	pthread_cond_t open;
	bool closed;		/* the gate: loads wait */
	int bad_layer, bad_expert;	/* this one cannot be read; -1: none */
	int n_live;		/* experts loaded and not dropped */
	unsigned n_wake;
};

static inline float
fake_value(uint64_t key, uint64_t i)
{
	return (float)(rng_unit(key, 7, i) - 0.5);
}

static inline void
fake_part(const struct kern *kn, struct kern_expert *x, enum kern_part part,
    uint64_t key)
{
	static const int rows[] = { FAKE_I, FAKE_I, FAKE_H };
	float w[FAKE_H * FAKE_I];
	struct kern_pack p = { .src = w, .src_dtype = KERN_F32, .cs = 1,
	    .rs = (size_t)(FAKE_H * FAKE_I / rows[part]) };
	size_t i;

	for (i = 0; i < FAKE_H * FAKE_I; i++)
		w[i] = fake_value(key * 4 + part, i);
	kern_expert_pack(kn, x, part, &p);
}

static inline void
fake_mat(const struct kern *kn, struct kern_mat *m, int n, int k)
{
	m->n = n;
	m->k = k;
	m->dtype = kern_weights(kn);
	m->bytes = kern_mat_bytes(kn, n, k, m->dtype);
	m->data = kern_mem_alloc(kn, m->bytes);
}

static inline void
fake_make(const struct kern *kn, int layer, int expert, struct kern_expert *x)
{
	uint64_t key = (uint64_t)layer * 1000 + (uint64_t)expert;

	memset(x, 0, sizeof(*x));
	fake_mat(kn, &x->gate_up, 2 * FAKE_I, FAKE_H);
	fake_mat(kn, &x->down, FAKE_H, FAKE_I);
	fake_part(kn, x, KERN_GATE, key);
	fake_part(kn, x, KERN_UP, key);
	fake_part(kn, x, KERN_DOWN, key);
}

static inline void
fake_free(const struct kern *kn, struct kern_expert *x)
{
	kern_mem_free(kn, x->gate_up.data, x->gate_up.bytes);
	kern_mem_free(kn, x->down.data, x->down.bytes);
}

static inline bool
fake_has(void *arg, int layer)
{
	(void)arg;
	return layer != 1;
}

static inline uint64_t
fake_file_bytes(void *arg, int layer)
{
	(void)arg;
	return layer == 1 ? 0 : 1000;
}

static inline int
fake_load(void *arg, int layer, int expert, struct kern_expert *out,
    struct err *err)
{
	struct fake *f = arg;
	bool bad;

	pthread_mutex_lock(&f->mu);
	while (f->closed)
		pthread_cond_wait(&f->open, &f->mu);
	bad = layer == f->bad_layer && expert == f->bad_expert;
	f->n_live += !bad;
	pthread_mutex_unlock(&f->mu);
	if (bad)
		return err_set(err, ERR_DATA, "expert %d of layer %d is torn",
		    expert, layer);
	fake_make(f->kn, layer, expert, out);
	return 0;
}

static inline void
fake_drop(void *arg, struct kern_expert *x)
{
	struct fake *f = arg;

	fake_free(f->kn, x);
	pthread_mutex_lock(&f->mu);
	f->n_live--;
	pthread_mutex_unlock(&f->mu);
}

static inline void
fake_gate(struct fake *f, bool closed)
{
	pthread_mutex_lock(&f->mu);
	f->closed = closed;
	pthread_cond_broadcast(&f->open);
	pthread_mutex_unlock(&f->mu);
}

static inline int
fake_live(struct fake *f)
{
	int n;

	pthread_mutex_lock(&f->mu);
	n = f->n_live;
	pthread_mutex_unlock(&f->mu);
	return n;
}

/* As resid_opt.wake. */
static inline void
fake_wake(void *arg)
{
	struct fake *f = arg;

	pthread_mutex_lock(&f->mu);
	f->n_wake++;
	pthread_mutex_unlock(&f->mu);
}

static inline void
fake_init(struct fake *f, struct kern *kn, struct resid_source *src)
{
	memset(f, 0, sizeof(*f));
	memset(src, 0, sizeof(*src));
	f->kn = kn;
	f->bad_layer = f->bad_expert = -1;
	pthread_mutex_init(&f->mu, NULL);
	pthread_cond_init(&f->open, NULL);
	src->n_layer = FAKE_LAYERS;
	src->n_expert = FAKE_EXPERTS;
	src->expert_bytes =
	    kern_mat_bytes(kn, 2 * FAKE_I, FAKE_H, kern_weights(kn)) +
	    kern_mat_bytes(kn, FAKE_H, FAKE_I, kern_weights(kn));
	src->has = fake_has;
	src->file_bytes = fake_file_bytes;
	src->load = fake_load;
	src->drop = fake_drop;
	src->arg = f;
}

static inline struct kern *
fake_kern(enum kern_dtype act)
{
	const struct kern_opt opt = { .isa = "ref", .act = act, .threads = 1 };
	char why[KERN_WHY];
	struct kern *kn;

	if (kern_open(&kn, &opt, why) == 0)
		return kn;
	printf("Bail out! %s\n", why);
	exit(1);
}

#endif
