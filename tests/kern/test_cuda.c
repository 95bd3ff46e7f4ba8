/*
 * The cuda backend against the reference, over odd shapes, and its promise bit
 * by bit.  Without a device (or without CUDA in the build) all of it is
 * skipped, unless MOE_REQUIRE names cuda.
 */
#include "kt.h"

#define MAX_GROUP	40

struct shape {
	int h, i, n_group, rows_max;
	enum kern_glu glu;
};

/* The same experts for both kerns, and one call on them. */
struct call {
	struct shape s;
	enum kern_dtype act;
	struct kern_expert cpu[MAX_GROUP], gpu[MAX_GROUP];
	struct kern_group group[MAX_GROUP];
	int rows;
	void *in_base;
	const void **in;
	void **out;
	char *y;
	float *scale;
};

static struct kern *
open_cuda(enum kern_dtype act, char why[KERN_WHY])
{
	struct kern_opt o = { "cuda", NULL, act, 0, 0 };
	struct kern *k = NULL;

	return kern_open(&k, &o, why) == 0 ? k : NULL;
}

static void
make_expert(const struct kern *kn, struct kern_expert *x,
    const struct shape *s, float *const part[3])
{
	int p;

	kt_mat_init(kn, &x->gate_up, 2 * s->i, s->h, kern_act(kn));
	kt_mat_init(kn, &x->down, s->h, s->i, kern_act(kn));
	for (p = 0; p < 3; p++) {
		struct kern_pack pk = { .src = part[p], .src_dtype = KERN_F32,
		    .rs = (size_t)(p == KERN_DOWN ? s->i : s->h), .cs = 1 };

		kern_expert_pack(kn, x, (enum kern_part)p, &pk);
	}
}

static void
make_call(struct call *c, struct shape s, const struct kern *cpu,
    const struct kern *gpu)
{
	size_t elem, h = (size_t)s.h, r;
	float *xf;
	char *x;
	int g, p;

	memset(c, 0, sizeof(*c));
	c->s = s;
	c->act = kern_act(cpu);
	elem = kern_dtype_bytes(c->act, 1);
	for (g = 0; g < s.n_group; g++) {
		float *part[3];

		for (p = 0; p < 3; p++)
			part[p] = kt_rounded((size_t)(s.h * s.i),
			    2 / sqrt(p == KERN_DOWN ? s.i : s.h), c->act);
		make_expert(cpu, &c->cpu[g], &s, part);
		make_expert(gpu, &c->gpu[g], &s, part);
		for (p = 0; p < 3; p++)
			mem_free(part[p]);
		if (g % 2) {
			c->cpu[g].bias_gate = kt_floats((size_t)s.i, 1);
			c->cpu[g].bias_up = kt_floats((size_t)s.i, 1);
			c->cpu[g].bias_down = kt_floats(h, 1);
			c->gpu[g].bias_gate = c->cpu[g].bias_gate;
			c->gpu[g].bias_up = c->cpu[g].bias_up;
			c->gpu[g].bias_down = c->cpu[g].bias_down;
		}
		/* One entry of each three belongs to no group. */
		c->group[g].first = c->rows + g % 3 / 2;
		c->group[g].n = kt_int(1, s.rows_max);
		c->rows = c->group[g].first + c->group[g].n;
	}
	xf = kt_floats((size_t)c->rows * h, 1);
	x = kt_as(xf, (size_t)c->rows * h, c->act, &c->in_base);
	c->in = mem_calloc((size_t)c->rows, sizeof(*c->in));
	c->out = mem_calloc((size_t)c->rows, sizeof(*c->out));
	c->y = mem_zalloc((size_t)c->rows * h * elem);
	for (r = 0; r < (size_t)c->rows; r++) {
		c->in[r] = x + r * h * elem;
		c->out[r] = c->y + r * h * elem;
	}
	c->scale = kt_int(0, 1) ? kt_floats((size_t)c->rows, 1) : NULL;
	mem_free(xf);
}

static void
free_call(struct call *c, const struct kern *cpu, const struct kern *gpu)
{
	int g;

	for (g = 0; g < c->s.n_group; g++) {
		kern_mem_free(cpu, c->cpu[g].gate_up.data,
		    c->cpu[g].gate_up.bytes);
		kern_mem_free(cpu, c->cpu[g].down.data, c->cpu[g].down.bytes);
		kern_mem_free(gpu, c->gpu[g].gate_up.data,
		    c->gpu[g].gate_up.bytes);
		kern_mem_free(gpu, c->gpu[g].down.data, c->gpu[g].down.bytes);
		free((void *)(uintptr_t)c->cpu[g].bias_gate);
		free((void *)(uintptr_t)c->cpu[g].bias_up);
		free((void *)(uintptr_t)c->cpu[g].bias_down);
	}
	mem_free(c->in_base);
	mem_free(c->in);
	mem_free(c->out);
	mem_free(c->y);
	mem_free(c->scale);
}

/* The whole call; a copy of its answers. */
static char *
run(struct kern *kn, struct call *c, const struct kern_expert *x)
{
	struct kern_ffn a = { .h = c->s.h, .i = c->s.i, .glu = c->s.glu,
	    .n_group = c->s.n_group, .group = c->group, .in = c->in,
	    .out = c->out, .scale = c->scale };
	size_t bytes = kern_dtype_bytes(c->act,
	    (size_t)c->rows * (size_t)c->s.h);
	int g;

	for (g = 0; g < c->s.n_group; g++)
		c->group[g].x = &x[g];
	memset(c->y, 0, bytes);
	kern_ffn(kn, &a);
	return mem_dup(c->y, bytes);
}

/* Rows of the call that differ when each is computed alone. */
static int
differ_alone(struct kern *gpu, struct call *c, const char *y)
{
	size_t row = kern_dtype_bytes(c->act, (size_t)c->s.h);
	int g, r, bad = 0;

	for (g = 0; g < c->s.n_group; g++) {
		for (r = c->group[g].first;
		    r < c->group[g].first + c->group[g].n; r++) {
			struct kern_group one = { &c->gpu[g], 0, 1 };
			struct kern_ffn a = { .h = c->s.h, .i = c->s.i,
			    .glu = c->s.glu, .n_group = 1, .group = &one,
			    .in = c->in + r, .out = c->out + r,
			    .scale = c->scale ? c->scale + r : NULL };

			kern_ffn(gpu, &a);
			bad += memcmp(c->out[r], y + (size_t)r * row, row) != 0;
		}
	}
	return bad;
}

static void
test_shape(struct shape s, enum kern_dtype act)
{
	char why[KERN_WHY];
	struct kern *cpu = kt_open("ref", act, 1), *gpu = open_cuda(act, why);
	struct call c;
	char *y, *z;

	make_call(&c, s, cpu, gpu);
	y = run(cpu, &c, c.cpu);
	z = run(gpu, &c, c.gpu);
	EQ_INT(kt_wrong(z, y, act, (size_t)c.rows * (size_t)s.h,
	    act == KERN_F32 ? 2e-5 : 6e-2, 4), 0,
	    "%s: h %d i %d, %d groups of <= %d, glu %d, scale %d",
	    kern_variant(gpu), s.h, s.i, s.n_group, s.rows_max, (int)s.glu,
	    c.scale != NULL);
	EQ_INT(differ_alone(gpu, &c, z), 0, "  each row alone: the same bits");
	mem_free(y);
	mem_free(z);
	free_call(&c, cpu, gpu);
	kern_close(cpu);
	kern_close(gpu);
}

int
main(void)
{
	static const struct shape shapes[] = {
		{ 1, 1, 1, 1, KERN_SILU }, { 96, 40, 10, 3, KERN_SILU },
		{ 33, 7, 5, 20, KERN_CLAMP }, { 50, 130, 40, 1, KERN_GELU },
		{ 256, 128, 4, 9, KERN_SILU }, { 40, 24, 2, 250, KERN_CLAMP },
		{ 2048, 1024, 1, 70, KERN_SILU },
	};
	const char *require = getenv("MOE_REQUIRE");
	char why[KERN_WHY] = "";
	struct kern *k = open_cuda(KERN_BF16, why);
	size_t i;

	if (k == NULL && (require == NULL || strstr(require, "cuda") == NULL)) {
		printf("1..0 # skip %s\n", why);
		return 0;
	}
	if (!OK(k != NULL, "a CUDA device opens: %s", why))
		return tap_done();
	kern_close(k);
	kt_seed();
	for (i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		test_shape(shapes[i], KERN_F32);
		test_shape(shapes[i], KERN_BF16);
	}
	return tap_done();
}
