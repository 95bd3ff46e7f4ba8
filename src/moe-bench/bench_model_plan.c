/* bench_model_plan - see bench_model_plan.h. */
#include "bench_model_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "model.h"

struct collect {
	struct bench_model_plan *p;
	const struct model_cfg *cfg;
};

/* Matrices keep the size of what goes through them (1 / sqrt(inputs)); the
 * router and the head are sharper, so that choices are not near ties. */
static double
deviation(const struct model_cfg *c, enum model_role role, size_t inputs)
{
	switch (role) {
	case MODEL_FINAL_NORM:
	case MODEL_IN_NORM:
	case MODEL_POST_NORM:
	case MODEL_Q_NORM:
	case MODEL_K_NORM:
		return 0;
	case MODEL_Q_BIAS:
	case MODEL_K_BIAS:
	case MODEL_V_BIAS:
	case MODEL_O_BIAS:
		return 0.02;
	case MODEL_EMBED:
		return c->tied ? 3 / sqrt((double)inputs) : 1;
	case MODEL_LM_HEAD:
		return 3 / sqrt((double)inputs);
	case MODEL_ROUTER:
		return 2 / sqrt((double)inputs);
	default:
		return 1 / sqrt((double)inputs);
	}
}

static int
collect(const char *name, enum model_role role, int rank, const size_t *shape,
    void *arg)
{
	struct collect *c = arg;
	struct bench_model_tensor t = { .rank = rank, .elems = 1 };
	int i;

	for (i = 0; i < rank; i++) {
		t.shape[i] = shape[i];
		t.elems *= shape[i];
	}
	t.name = mem_strdup(name);
	t.sd = deviation(c->cfg, role, shape[rank - 1]);
	VEC_PUSH(&c->p->tensor, t);
	return 0;
}

/* Give every tensor its file and place. */
static void
place(struct bench_model_plan *p, size_t elem_bytes, uint64_t shard_bytes)
{
	struct bench_model_file *f = NULL;
	size_t i;

	for (i = 0; i < p->tensor.n; i++) {
		struct bench_model_tensor *t = &p->tensor.p[i];
		uint64_t bytes = (uint64_t)t->elems * elem_bytes;

		if (f == NULL || (f->data_bytes > 0 &&
		    f->data_bytes + bytes > shard_bytes)) {
			struct bench_model_file new = { 0 };

			VEC_PUSH(&p->file, new);
			f = &p->file.p[p->file.n - 1];
		}
		t->file = (int)p->file.n - 1;
		t->begin = f->data_bytes;
		f->data_bytes += bytes;
		p->bytes += bytes;
	}
}

static void
add_tensor(struct str *s, const struct bench_model_tensor *t,
    enum ckpt_dtype dtype)
{
	uint64_t bytes = (uint64_t)t->elems *
	    (uint64_t)ckpt_dtype_bits(dtype) / 8;
	int i;

	str_addf(s, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name,
	    ckpt_dtype_name(dtype));
	for (i = 0; i < t->rank; i++)
		str_addf(s, "%s%zu", i ? "," : "", t->shape[i]);
	str_addf(s, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t->begin,
	    t->begin + bytes);
}

/* Header texts: room for the length word, JSON, spaces up to 8 bytes. */
static void
make_headers(struct bench_model_plan *p, enum ckpt_dtype dtype)
{
	size_t i, b;

	for (i = 0; i < p->file.n; i++)
		str_adds(&p->file.p[i].header,
		    "LLLLLLLL{\"__metadata__\":{\"format\":\"pt\"}");
	for (i = 0; i < p->tensor.n; i++)
		add_tensor(&p->file.p[p->tensor.p[i].file].header,
		    &p->tensor.p[i], dtype);
	for (i = 0; i < p->file.n; i++) {
		struct str *h = &p->file.p[i].header;

		str_addc(h, '}');
		while (h->n % 8 != 0)
			str_addc(h, ' ');
		for (b = 0; b < 8; b++)
			h->p[b] = (char)((uint64_t)(h->n - 8) >> 8 * b & 0xff);
	}
}

static void
make_names(struct bench_model_plan *p)
{
	size_t i;

	if (p->file.n == 1) {
		p->file.p[0].name = mem_strdup("model.safetensors");
		return;
	}
	for (i = 0; i < p->file.n; i++)
		p->file.p[i].name = mem_printf(
		    "model-%05zu-of-%05zu.safetensors", i + 1, p->file.n);
	str_addf(&p->index, "{\n \"metadata\": {\"total_size\": %" PRIu64
	    "},\n \"weight_map\": {", p->bytes);
	for (i = 0; i < p->tensor.n; i++)
		str_addf(&p->index, "%s\n  \"%s\": \"%s\"", i ? "," : "",
		    p->tensor.p[i].name, p->file.p[p->tensor.p[i].file].name);
	str_adds(&p->index, "\n }\n}\n");
}

void
bench_model_plan(struct bench_model_plan *p, const struct model_cfg *cfg,
    enum ckpt_dtype dtype, uint64_t shard_bytes)
{
	struct collect c = { p, cfg };

	memset(p, 0, sizeof(*p));
	model_each_tensor(cfg, collect, &c);
	place(p, (size_t)ckpt_dtype_bits(dtype) / 8, shard_bytes);
	make_headers(p, dtype);
	make_names(p);
}

void
bench_model_plan_free(struct bench_model_plan *p)
{
	size_t i;

	for (i = 0; i < p->tensor.n; i++)
		mem_free(p->tensor.p[i].name);
	for (i = 0; i < p->file.n; i++) {
		mem_free(p->file.p[i].name);
		str_free(&p->file.p[i].header);
	}
	VEC_FREE(&p->tensor);
	VEC_FREE(&p->file);
	str_free(&p->index);
}
