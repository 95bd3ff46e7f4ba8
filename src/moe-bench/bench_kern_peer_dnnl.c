/*
 * bench_kern_peer_dnnl.c - see bench_kern_peer.h: oneDNN's matmul, three times.
 *
 * The weights stand in the layout that oneDNN asks for (format "any"); where it
 * asks for none, as checkpoints have them, [out][in].  silu and the product of
 * gate and up are post-operations of the first two.  Its threads are OpenMP's.
 */
#include "bench_kern_peer.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "num.h"

/* Of OpenMP 5.0, whose header clang often comes without. */
void	omp_set_num_threads(int n);
int	omp_pause_resource_all(int kind);
#define PAUSE_HARD	2

enum { GATE, UP, DOWN, PRODUCTS };

struct product {
	dnnl_primitive_desc_t pd;
	dnnl_primitive_t prim;
	dnnl_memory_desc_t w;	/* of the weights */
	const char *impl;	/* oneDNN's name of the kernel */
	bool packed;
};

struct bench_kern_peer {
	struct bench_kern_peer_make m;
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_data_type_t dt;
	struct product p[PRODUCTS];
	size_t sets;
	dnnl_memory_t *w;	/* [sets][PRODUCTS] */
	dnnl_memory_t x, gate, mid, y;
	char name[96];
};

/* Calls that fail only when this file is wrong, or memory is short. */
#define MUST(call)							\
	do {								\
		dnnl_status_t st_ = (call);				\
		if (st_ != dnnl_success)				\
			BUG("oneDNN: %s: status %d", #call, (int)st_);	\
	} while (0)

/* ---- primitives --------------------------------------------------------- */

static dnnl_memory_desc_t
desc(const struct bench_kern_peer *p, int rows, int cols,
    dnnl_format_tag_t tag)
{
	dnnl_dims_t d = { rows, cols };
	dnnl_memory_desc_t md;

	MUST(dnnl_memory_desc_init_by_tag(&md, 2, d, p->dt, tag));
	return md;
}

/* gate: silu of the sum; up: times what gate gave; down: nothing. */
static dnnl_primitive_attr_t
attributes(const struct bench_kern_peer *p, int which)
{
	dnnl_memory_desc_t mid = desc(p, p->m.rows, p->m.f, dnnl_ab);
	dnnl_primitive_attr_t attr;
	dnnl_post_ops_t ops;

	MUST(dnnl_primitive_attr_create(&attr));
	MUST(dnnl_post_ops_create(&ops));
	if (which == GATE)
		MUST(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish,
		    1, 0));
	else if (which == UP)
		MUST(dnnl_post_ops_append_binary(ops, dnnl_binary_mul, &mid));
	MUST(dnnl_primitive_attr_set_post_ops(attr, ops));
	MUST(dnnl_post_ops_destroy(ops));
	return attr;
}

static int
describe(struct bench_kern_peer *p, int which, dnnl_format_tag_t tag)
{
	struct product *q = &p->p[which];
	int k = which == DOWN ? p->m.f : p->m.h;
	int n = which == DOWN ? p->m.h : p->m.f;
	dnnl_memory_desc_t src = desc(p, p->m.rows, k, dnnl_ab);
	dnnl_memory_desc_t dst = desc(p, p->m.rows, n, dnnl_ab);
	dnnl_memory_desc_t w = desc(p, k, n, tag);
	dnnl_primitive_attr_t attr = attributes(p, which);
	dnnl_matmul_desc_t d;
	dnnl_status_t st;

	MUST(dnnl_matmul_desc_init(&d, &src, &w, NULL, &dst));
	st = dnnl_primitive_desc_create(&q->pd, &d, attr, p->engine, NULL);
	MUST(dnnl_primitive_attr_destroy(attr));
	if (st != dnnl_success)
		return -1;
	q->w = *dnnl_primitive_desc_query_md(q->pd, dnnl_query_weights_md, 0);
	MUST(dnnl_primitive_desc_query(q->pd, dnnl_query_impl_info_str, 0,
	    (void *)&q->impl));
	return 0;
}

/* -1: oneDNN has no such product here, or only its plain reference. */
static int
make_product(struct bench_kern_peer *p, int which)
{
	struct product *q = &p->p[which];

	if (describe(p, which, dnnl_format_tag_any) != 0)
		return -1;
	q->packed = q->w.format_desc.blocking.inner_nblks > 0;
	if (!q->packed) {
		MUST(dnnl_primitive_desc_destroy(q->pd));
		q->pd = NULL;
		if (describe(p, which, dnnl_ba) != 0)
			return -1;
	}
	if (strncmp(q->impl, "ref", 3) == 0)
		return -1;
	MUST(dnnl_primitive_create(&q->prim, q->pd));
	return 0;
}

/* ---- memory ------------------------------------------------------------- */

static dnnl_memory_t
room(const struct bench_kern_peer *p, const dnnl_memory_desc_t *md)
{
	dnnl_memory_t m;

	MUST(dnnl_memory_create(&m, md, p->engine, DNNL_MEMORY_ALLOCATE));
	return m;
}

static void *
data(dnnl_memory_t m)
{
	void *p;

	MUST(dnnl_memory_get_data_handle(m, &p));
	return p;
}

/* The weights of one product from src [out][in], in its layout. */
static dnnl_memory_t
weights(struct bench_kern_peer *p, int which, const float *src)
{
	int k = which == DOWN ? p->m.f : p->m.h;
	int n = which == DOWN ? p->m.h : p->m.f;
	dnnl_memory_desc_t md = desc(p, k, n, dnnl_ba);
	dnnl_memory_t plain = room(p, &md), packed = room(p, &p->p[which].w);
	dnnl_primitive_desc_t pd;
	dnnl_primitive_t prim;

	kern_convert(data(plain), p->m.dtype, src, KERN_F32,
	    (size_t)k * (size_t)n);
	MUST(dnnl_reorder_primitive_desc_create(&pd, &md, p->engine,
	    &p->p[which].w, p->engine, NULL));
	MUST(dnnl_primitive_create(&prim, pd));
	dnnl_exec_arg_t arg[] = { { DNNL_ARG_FROM, plain },
	    { DNNL_ARG_TO, packed } };
	MUST(dnnl_primitive_execute(prim, p->stream, 2, arg));
	MUST(dnnl_stream_wait(p->stream));
	MUST(dnnl_primitive_destroy(prim));
	MUST(dnnl_primitive_desc_destroy(pd));
	MUST(dnnl_memory_destroy(plain));
	return packed;
}

static int
make_weights(struct bench_kern_peer *p, struct err *err)
{
	const float *src[PRODUCTS] = { p->m.gate, p->m.up, p->m.down };
	size_t bytes = 0, i;
	char one[NUM_TEXT];
	int j;

	for (j = 0; j < PRODUCTS; j++)
		bytes += dnnl_memory_desc_get_size(&p->p[j].w);
	p->sets = p->m.cold_bytes / bytes + 2;
	if (p->sets * bytes > p->m.max_bytes)
		return err_set(err, ERR_UNAVAIL, "oneDNN: %zu copies of %s do "
		    "not fit into --memory", p->sets, num_size_text(bytes,
		    one));
	p->w = mem_calloc(p->sets * PRODUCTS, sizeof(*p->w));
	for (j = 0; j < PRODUCTS; j++)
		p->w[j] = weights(p, j, src[j]);
	for (i = PRODUCTS; i < p->sets * PRODUCTS; i++) {
		j = (int)(i % PRODUCTS);
		p->w[i] = room(p, &p->p[j].w);
		memcpy(data(p->w[i]), data(p->w[j]),
		    dnnl_memory_desc_get_size(&p->p[j].w));
	}
	return 0;
}

static void
make_rows(struct bench_kern_peer *p)
{
	dnnl_memory_desc_t wide = desc(p, p->m.rows, p->m.h, dnnl_ab);
	dnnl_memory_desc_t mid = desc(p, p->m.rows, p->m.f, dnnl_ab);

	p->x = room(p, &wide);
	p->y = room(p, &wide);
	p->gate = room(p, &mid);
	p->mid = room(p, &mid);
	kern_convert(data(p->x), p->m.dtype, p->m.x, KERN_F32,
	    (size_t)p->m.rows * (size_t)p->m.h);
}

/* ---- contract ----------------------------------------------------------- */

int
bench_kern_peer_new(struct bench_kern_peer **p_p,
    const struct bench_kern_peer_make *m, struct err *err)
{
	struct bench_kern_peer *p = mem_zalloc(sizeof(*p));
	const dnnl_version_t *v = dnnl_version();
	int j;

	p->m = *m;
	p->dt = m->dtype == KERN_BF16 ? dnnl_bf16 : dnnl_f32;
	omp_set_num_threads(m->threads);
	MUST(dnnl_engine_create(&p->engine, dnnl_cpu, 0));
	MUST(dnnl_stream_create(&p->stream, p->engine,
	    dnnl_stream_default_flags));
	for (j = 0; j < PRODUCTS; j++) {
		if (make_product(p, j) == 0)
			continue;
		err_set(err, ERR_UNAVAIL, "oneDNN %d.%d.%d has no %s product "
		    "for this processor", v->major, v->minor, v->patch,
		    kern_dtype_name(m->dtype));
		goto fail;
	}
	if (make_weights(p, err) != 0)
		goto fail;
	make_rows(p);
	snprintf(p->name, sizeof(p->name), "onednn-%d.%d.%d-%s-%s", v->major,
	    v->minor, v->patch, p->p[GATE].impl,
	    p->p[GATE].packed ? "packed" : "plain");
	*p_p = p;
	return 0;
fail:
	bench_kern_peer_free(p);
	return -1;
}

void
bench_kern_peer_free(struct bench_kern_peer *p)
{
	dnnl_memory_t row[4];
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; p->w != NULL && i < p->sets * PRODUCTS; i++)
		dnnl_memory_destroy(p->w[i]);
	mem_free(p->w);
	memcpy(row, (dnnl_memory_t[]){ p->x, p->gate, p->mid, p->y },
	    sizeof(row));
	for (i = 0; i < 4; i++)
		if (row[i] != NULL)
			dnnl_memory_destroy(row[i]);
	for (i = 0; i < PRODUCTS; i++) {
		if (p->p[i].prim != NULL)
			dnnl_primitive_destroy(p->p[i].prim);
		if (p->p[i].pd != NULL)
			dnnl_primitive_desc_destroy(p->p[i].pd);
	}
	dnnl_stream_destroy(p->stream);
	dnnl_engine_destroy(p->engine);
	bench_kern_peer_rest(p);
	mem_free(p);
}

const char *
bench_kern_peer_name(const struct bench_kern_peer *p)
{
	return p->name;
}

void
bench_kern_peer_run(struct bench_kern_peer *p, size_t i)
{
	dnnl_memory_t *w = p->w + i % p->sets * PRODUCTS;
	const dnnl_exec_arg_t gate[] = { { DNNL_ARG_SRC, p->x },
	    { DNNL_ARG_WEIGHTS, w[GATE] }, { DNNL_ARG_DST, p->gate } };
	const dnnl_exec_arg_t up[] = { { DNNL_ARG_SRC, p->x },
	    { DNNL_ARG_WEIGHTS, w[UP] }, { DNNL_ARG_DST, p->mid },
	    { DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, p->gate } };
	const dnnl_exec_arg_t down[] = { { DNNL_ARG_SRC, p->mid },
	    { DNNL_ARG_WEIGHTS, w[DOWN] }, { DNNL_ARG_DST, p->y } };

	MUST(dnnl_primitive_execute(p->p[GATE].prim, p->stream, 3, gate));
	MUST(dnnl_primitive_execute(p->p[UP].prim, p->stream, 4, up));
	MUST(dnnl_primitive_execute(p->p[DOWN].prim, p->stream, 3, down));
	MUST(dnnl_stream_wait(p->stream));
}

void
bench_kern_peer_rest(struct bench_kern_peer *p)
{
	(void)p;
	omp_pause_resource_all(PAUSE_HARD);
	omp_set_num_threads(p->m.threads);
}

const void *
bench_kern_peer_y(const struct bench_kern_peer *p)
{
	return data(p->y);
}
