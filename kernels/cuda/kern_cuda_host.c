/*
 * kern_cuda_host.c - host half of the cuda backend: packing, gathering the
 * rows of a call, describing it to the device, scattering the answers.
 *
 * Rows, scales and biases are host memory, weights device memory; one copy in
 * and one copy out per call, through pinned buffers that only grow.
 */
#include "kern_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "kern_impl.h"
#include "kern_num.h"

/* A buffer on both sides, or on one (bytes of the other: 0). */
struct room {
	char *host, *dev;
	size_t host_bytes, dev_bytes;
};

struct cuda {
	struct kern k;
	struct room x, mid, y, group, tile, bias;
};

static void
room_host(struct room *r, size_t bytes)
{
	if (bytes <= r->host_bytes)
		return;
	if (r->host != NULL)
		kern_cuda_unpin(r->host);
	r->host_bytes = bytes + bytes / 2;
	r->host = kern_cuda_pin(r->host_bytes);
}

static void
room_dev(struct room *r, size_t bytes)
{
	if (bytes <= r->dev_bytes)
		return;
	if (r->dev != NULL)
		kern_cuda_free(r->dev);
	r->dev_bytes = bytes + bytes / 2;
	r->dev = kern_cuda_alloc(r->dev_bytes);
	KERN_CHECK(r->dev != NULL);
}

static void
room_both(struct room *r, size_t bytes)
{
	room_host(r, bytes);
	room_dev(r, bytes);
}

static void
room_free(struct room *r)
{
	if (r->host != NULL)
		kern_cuda_unpin(r->host);
	if (r->dev != NULL)
		kern_cuda_free(r->dev);
}

/* ---- weights ---------------------------------------------------------- */

/* Blocks [b0, b1) of m into host memory, and back with `fill` done to them:
 * other rows of the first and last block keep what they hold. */
static void
edit_blocks(struct kern_mat *m, size_t b0, size_t b1,
    void (*fill)(struct kern_mat *, void *), void *arg)
{
	size_t one = cpu_block_bytes(m);
	char *dev = (char *)m->data + b0 * one;
	struct kern_mat host = *m;

	host.bytes = (b1 - b0) * one;
	host.n = (int)(b1 - b0) * CPU_LANES;
	host.data = kern_alloc(host.bytes);
	kern_cuda_download(host.data, dev, host.bytes);
	fill(&host, arg);
	kern_cuda_upload(dev, host.data, host.bytes);
	free(host.data);
}

static void
fill_plain(struct kern_mat *host, void *arg)
{
	struct kern_pack p = *(const struct kern_pack *)arg;

	p.dst = host;
	p.row0 %= CPU_LANES;
	cpu_mat_pack(NULL, &p);
}

static void
mat_pack(const struct kern *kn, const struct kern_pack *p)
{
	size_t b0 = (size_t)p->row0 / CPU_LANES;
	size_t b1 = ((size_t)p->row0 + (size_t)p->rows + CPU_LANES - 1) /
	    CPU_LANES;
	struct kern_pack copy = *p;

	(void)kn;
	if (p->rows > 0)
		edit_blocks(p->dst, b0, b1, fill_plain, &copy);
}

struct glu_fill {
	const struct kern_pack *p;
	enum kern_part part;
};

static void
fill_glu(struct kern_mat *host, void *arg)
{
	const struct glu_fill *f = arg;

	cpu_mat_glu_pack(NULL, host, f->part, f->p);
}

static void
glu_pack(const struct kern *kn, struct kern_mat *m, enum kern_part part,
    const struct kern_pack *p)
{
	struct glu_fill f = { p, part };

	(void)kn;
	edit_blocks(m, 0, ((size_t)m->n + CPU_LANES - 1) / CPU_LANES, fill_glu,
	    &f);
}

/* ---- the expert FFN --------------------------------------------------- */

/* Row `row` of the call into its place in x, scaled and rounded to act. */
static void
gather_row(const struct cuda *c, const struct kern_ffn *a, size_t row,
    char *dst)
{
	size_t elem = kern_dtype_bytes(c->k.act, 1), h = (size_t)a->h, i;

	memcpy(dst, a->in[row], h * elem);
	memset(dst + h * elem, 0, ((h + 15) / 16 * 16 - h) * elem);
	if (a->scale == NULL)
		return;
	for (i = 0; i < h; i++) {
		uint16_t *b = (uint16_t *)(void *)dst + i;

		if (c->k.act == KERN_F32)
			((float *)(void *)dst)[i] *= a->scale[row];
		else
			*b = kern_num_to_bf16(kern_num_from_bf16(*b) *
			    a->scale[row]);
	}
}

/* Copy a bias to the staging area; its place on the device, or NULL. */
static const float *
stage_bias(struct cuda *c, size_t *at, const float *bias, int n)
{
	const float *dev = (const float *)(const void *)c->bias.dev + *at;

	if (bias == NULL)
		return NULL;
	memcpy((float *)(void *)c->bias.host + *at, bias,
	    (size_t)n * sizeof(*bias));
	*at += (size_t)n;
	return dev;
}

static void
stage_groups(struct cuda *c, const struct kern_ffn *a)
{
	size_t n = (size_t)a->n_group, at = 0, bytes;
	struct kern_cuda_group *d;
	int g;

	bytes = n * (2 * (size_t)a->i + (size_t)a->h) * sizeof(float);
	room_both(&c->bias, bytes);
	room_both(&c->group, n * sizeof(*d));
	d = (struct kern_cuda_group *)(void *)c->group.host;
	for (g = 0; g < a->n_group; g++) {
		const struct kern_expert *x = a->group[g].x;

		KERN_CHECK(x->down.dtype == c->k.act);
		d[g].gate_up = x->gate_up.data;
		d[g].down = x->down.data;
		d[g].bias_gate = stage_bias(c, &at, x->bias_gate, a->i);
		d[g].bias_up = stage_bias(c, &at, x->bias_up, a->i);
		d[g].bias_down = stage_bias(c, &at, x->bias_down, a->h);
	}
	if (at > 0)
		kern_cuda_send(c->bias.dev, c->bias.host, at * sizeof(float));
	kern_cuda_send(c->group.dev, c->group.host, n * sizeof(*d));
}

/* Rows of the call stand group after group in x, whatever gaps its arrays
 * have; tiles say which rows those are.  Returns how many tiles. */
static int
stage_tiles(struct cuda *c, const struct kern_ffn *a)
{
	struct kern_cuda_tile *t;
	size_t most = 0;
	int g, r, n = 0, row = 0;

	for (g = 0; g < a->n_group; g++)
		most += (size_t)a->group[g].n / KERN_CUDA_ROWS + 1;
	room_both(&c->tile, most * sizeof(*t));
	t = (struct kern_cuda_tile *)(void *)c->tile.host;
	for (g = 0; g < a->n_group; g++) {
		int end = a->group[g].n;

		for (r = 0; r < end; r += KERN_CUDA_ROWS, n++) {
			t[n].group = g;
			t[n].row = row + r;
			t[n].n = end - r < KERN_CUDA_ROWS ? end - r :
			    KERN_CUDA_ROWS;
		}
		row += end;
	}
	kern_cuda_send(c->tile.dev, c->tile.host, (size_t)n * sizeof(*t));
	return n;
}

/* Room for all rows, and the input rows sent. */
static void
stage_rows(struct cuda *c, const struct kern_ffn *a,
    const struct kern_cuda_job *j)
{
	size_t elem = kern_dtype_bytes(c->k.act, 1), rows = 0, row = 0;
	size_t x_row = (size_t)j->hp * elem;
	int g, r;

	for (g = 0; g < a->n_group; g++)
		rows += (size_t)a->group[g].n;
	room_both(&c->x, rows * x_row);
	room_both(&c->y, rows * (size_t)a->h * elem);
	room_dev(&c->mid, rows * (size_t)j->ip * elem);
	for (g = 0; g < a->n_group; g++)
		for (r = 0; r < a->group[g].n; r++)
			gather_row(c, a, (size_t)(a->group[g].first + r),
			    c->x.host + row++ * x_row);
	kern_cuda_send(c->x.dev, c->x.host, rows * x_row);
	if (j->ip != a->i)
		kern_cuda_clear(c->mid.dev, rows * (size_t)j->ip * elem);
}

static void
scatter(const struct cuda *c, const struct kern_ffn *a)
{
	size_t bytes = kern_dtype_bytes(c->k.act, (size_t)a->h), row = 0;
	int g, r;

	for (g = 0; g < a->n_group; g++)
		for (r = 0; r < a->group[g].n; r++)
			memcpy(a->out[a->group[g].first + r],
			    c->y.host + row++ * bytes, bytes);
}

static void
ffn(struct kern *kn, const struct kern_ffn *a)
{
	struct cuda *c = (struct cuda *)kn;
	struct kern_cuda_job j = { .h = a->h, .i = a->i, .glu = (int)a->glu,
	    .hp = (a->h + 15) / 16 * 16, .ip = (a->i + 15) / 16 * 16,
	    .bf16 = kn->act == KERN_BF16 };
	size_t rows = 0;
	int g;

	for (g = 0; g < a->n_group; g++)
		rows += (size_t)a->group[g].n;
	stage_groups(c, a);
	j.n_tile = stage_tiles(c, a);
	stage_rows(c, a, &j);
	j.group = (const struct kern_cuda_group *)(void *)c->group.dev;
	j.tile = (const struct kern_cuda_tile *)(void *)c->tile.dev;
	j.x = c->x.dev;
	j.mid = c->mid.dev;
	j.y = c->y.dev;
	kern_cuda_launch(&j);
	kern_cuda_fetch(c->y.host, c->y.dev,
	    rows * kern_dtype_bytes(kn->act, (size_t)a->h));
	scatter(c, a);
}

/* ---- opening ---------------------------------------------------------- */

static void
close_cuda(struct kern *kn)
{
	struct cuda *c = (struct cuda *)kn;
	struct room *r[] = { &c->x, &c->mid, &c->y, &c->group, &c->tile,
	    &c->bias };
	size_t i;

	for (i = 0; i < sizeof(r) / sizeof(r[0]); i++)
		room_free(r[i]);
	free(c);
}

static void
mem_free_dev(void *p, size_t bytes)
{
	(void)bytes;
	kern_cuda_free(p);
}

static const struct kern_ops cuda_ops = {
	.close = close_cuda,
	.mem_alloc = kern_cuda_alloc,
	.mem_free = mem_free_dev,
	.mat_pack = mat_pack,
	.glu_pack = glu_pack,
	.ffn = ffn,
};

int
kern_cuda_open(struct kern **k_p, const struct kern_opt *opt,
    char why[KERN_WHY])
{
	int sm = kern_cuda_probe(why);
	struct cuda *c;

	if (sm < 0)
		return -1;
	if (opt->isa != NULL) {
		snprintf(why, KERN_WHY, "the cuda backend has no instruction "
		    "set '%s'", opt->isa);
		return -1;
	}
	c = kern_alloc(sizeof(*c));
	memset(c, 0, sizeof(*c));
	c->k.ops = &cuda_ops;
	c->k.act = opt->act;
	c->k.weights = opt->weights;
	c->k.threads = 1;
	/* Other generations add up otherwise inside one mma. */
	snprintf(c->k.variant, sizeof(c->k.variant), "cuda-sm%d-%s", sm,
	    kern_dtype_name(opt->act));
	*k_p = &c->k;
	return 0;
}
