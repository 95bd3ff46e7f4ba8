/* kern_ffn: every variant against the reference over odd shapes and groups,
 * the reference against double, and the promise bit by bit. */
#include "kt.h"

#define MAX_GROUP	70

/* A call with everything it points to. */
struct call {
	struct kern_ffn a;
	enum kern_dtype act;
	int rows;
	struct kern_group group[MAX_GROUP];
	struct kern_expert *x;		/* one per group */
	float **part;			/* [3 * n_group]: unpacked parts */
	void *in_base;
	const void **in;
	void **out;
	char *out_base;
	size_t out_bytes;
	float *scale;
};

struct shape {
	int h, i, n_group, rows_max;
	enum kern_glu glu;
};

static void
make_expert(const struct kern *kn, struct kern_expert *x, float **part,
    struct shape s, enum kern_dtype t)
{
	int bias = kt_int(0, 1), p;

	memset(x, 0, sizeof(*x));
	kt_mat_init(kn, &x->gate_up, 2 * s.i, s.h, t);
	kt_mat_init(kn, &x->down, s.h, s.i, t);
	for (p = 0; p < 3; p++) {
		size_t k = (size_t)(p == KERN_DOWN ? s.i : s.h);
		struct kern_pack pk = { .src_dtype = KERN_F32, .rs = k,
		    .cs = 1 };

		part[p] = kt_rounded((size_t)s.h * (size_t)s.i,
		    2 / sqrt((double)k), t);
		pk.src = part[p];
		kern_expert_pack(kn, x, (enum kern_part)p, &pk);
	}
	if (bias) {
		x->bias_gate = kt_floats((size_t)s.i, 1);
		x->bias_up = kt_floats((size_t)s.i, 1);
		x->bias_down = kt_floats((size_t)s.h, 1);
	}
}

/* Output rows apart from each other, on addresses aligned to the element. */
static void
make_rows(struct call *c, struct shape s)
{
	size_t elem = kern_dtype_bytes(c->act, 1), h = (size_t)s.h, r;
	float *xf = kt_floats((size_t)c->rows * h, 1);
	char *x = kt_as(xf, (size_t)c->rows * h, c->act, &c->in_base);

	c->in = mem_calloc((size_t)c->rows, sizeof(*c->in));
	c->out = mem_calloc((size_t)c->rows, sizeof(*c->out));
	c->out_bytes = (size_t)c->rows * (h + 1) * elem + elem;
	c->out_base = mem_alloc(c->out_bytes);
	for (r = 0; r < (size_t)c->rows; r++) {
		/* A third of the rows repeat another one. */
		size_t from = kt_int(0, 2) ? r :
		    (size_t)kt_int(0, c->rows - 1);

		c->in[r] = x + from * h * elem;
		c->out[r] = c->out_base + elem + r * (h + 1) * elem;
	}
	mem_free(xf);
}

static void
make_call(const struct kern *kn, struct call *c, struct shape s,
    enum kern_dtype wt)
{
	int g;

	memset(c, 0, sizeof(*c));
	c->act = kern_act(kn);
	c->x = mem_calloc((size_t)s.n_group, sizeof(*c->x));
	c->part = mem_calloc(3 * (size_t)s.n_group, sizeof(*c->part));
	for (g = 0; g < s.n_group; g++) {
		make_expert(kn, &c->x[g], c->part + 3 * g, s, wt);
		c->group[g].x = &c->x[g];
		c->group[g].n = kt_int(1, s.rows_max);
		c->group[g].first = c->rows;
		c->rows += c->group[g].n;
	}
	make_rows(c, s);
	if (kt_int(0, 1)) {
		c->scale = kt_floats((size_t)c->rows, 1);
		c->a.scale = c->scale;
	}
	c->a.h = s.h;
	c->a.i = s.i;
	c->a.glu = s.glu;
	c->a.n_group = s.n_group;
	c->a.group = c->group;
	c->a.in = c->in;
	c->a.out = c->out;
}

static void
free_call(const struct kern *kn, struct call *c)
{
	int g, p;

	for (g = 0; g < c->a.n_group; g++) {
		struct kern_expert *x = &c->x[g];

		kern_mem_free(kn, x->gate_up.data, x->gate_up.bytes);
		kern_mem_free(kn, x->down.data, x->down.bytes);
		for (p = 0; p < 3; p++)
			mem_free(c->part[3 * g + p]);
		free((void *)(uintptr_t)x->bias_gate);
		free((void *)(uintptr_t)x->bias_up);
		free((void *)(uintptr_t)x->bias_down);
	}
	mem_free(c->x);
	mem_free(c->part);
	mem_free(c->in_base);
	mem_free(c->in);
	mem_free(c->out);
	mem_free(c->out_base);
	mem_free(c->scale);
}

/* Run c on kn; a copy of all output memory, guards included. */
static char *
run(struct kern *kn, struct call *c)
{
	memset(c->out_base, 0x55, c->out_bytes);
	kern_ffn(kn, &c->a);
	return mem_dup(c->out_base, c->out_bytes);
}

/* ---- the reference against double --------------------------------------- */

static double
glu_double(enum kern_glu k, double g, double u)
{
	switch (k) {
	case KERN_SILU:
		return g / (1 + exp(-g)) * u;
	case KERN_GELU:
		return 0.5 * g * (1 + tanh(sqrt(2 / M_PI) *
		    (g + 0.044715 * g * g * g))) * u;
	case KERN_CLAMP:
		g = g > 7 ? 7 : g;
		u = u > 7 ? 7 : u < -7 ? -7 : u;
		return (u + 1) * g / (1 + exp(-1.702 * g));
	}
	return NAN;
}

/* Row r of group g in double throughout, from the unpacked parts. */
static void
row_double(const struct call *c, int g, int r, double *y)
{
	const struct kern_expert *x = &c->x[g];
	float *const *p = c->part + 3 * g;
	size_t h = (size_t)c->a.h, i = (size_t)c->a.i, n, k;
	double *mid = mem_calloc(i, sizeof(*mid));
	double s = c->scale != NULL ? (double)c->scale[r] : 1;

	for (n = 0; n < i; n++) {
		double a = x->bias_gate != NULL ? (double)x->bias_gate[n] : 0;
		double b = x->bias_up != NULL ? (double)x->bias_up[n] : 0;

		for (k = 0; k < h; k++) {
			double v = kt_at(c->in[r], c->act, k) * s;

			a += (double)p[KERN_GATE][n * h + k] * v;
			b += (double)p[KERN_UP][n * h + k] * v;
		}
		mid[n] = glu_double(c->a.glu, a, b);
	}
	for (n = 0; n < h; n++) {
		y[n] = x->bias_down != NULL ? (double)x->bias_down[n] : 0;
		for (k = 0; k < i; k++)
			y[n] += (double)p[KERN_DOWN][n * i + k] * mid[k];
	}
	mem_free(mid);
}

static void
test_reference(enum kern_dtype act, enum kern_glu glu)
{
	struct shape s = { kt_int(1, 60), kt_int(1, 40), 3, 4, glu };
	struct kern *kn = kt_open("ref", act, 1);
	double *y = mem_calloc((size_t)s.h, sizeof(*y)), tol;
	size_t bad = 0, k;
	struct call c;
	int g, j;

	/* bf16 rounds the scaled input and the middle: both feed sums. */
	tol = act == KERN_F32 ? 2e-5 : 8 * 0x1p-8;
	make_call(kn, &c, s, act);
	mem_free(run(kn, &c));
	for (g = 0; g < s.n_group; g++) {
		for (j = 0; j < c.group[g].n; j++) {
			int r = c.group[g].first + j;
			double mag = 0;

			row_double(&c, g, r, y);
			for (k = 0; k < (size_t)s.h; k++)
				mag = fabs(y[k]) > mag ? fabs(y[k]) : mag;
			for (k = 0; k < (size_t)s.h; k++)
				bad += !(fabs(kt_at(c.out[r], act, k) - y[k])
				    <= tol * (1 + mag));
		}
	}
	EQ_INT(bad, 0, "ref %s glu %d h %d i %d against double",
	    kern_dtype_name(act), (int)glu, s.h, s.i);
	mem_free(y);
	free_call(kn, &c);
	kern_close(kn);
}

/* ---- variants ------------------------------------------------------------ */

static void
test_variant(const char *isa, struct shape s, enum kern_dtype act,
    enum kern_dtype wt)
{
	struct kern *ref = kt_open("ref", act, 1);
	struct kern *kn = kt_open(isa, act, kt_int(1, 3));
	struct call c;
	char *y, *z;
	/* Different exp, and vdpbf16ps: a few units of act in the middle. */
	double abs = act == KERN_F32 ? 2e-5 : 6e-2;

	make_call(ref, &c, s, wt);
	y = run(ref, &c);
	z = run(kn, &c);
	EQ_INT(kt_wrong(z, y, act, c.out_bytes / kern_dtype_bytes(act, 1),
	    abs, 4), 0, "%s weights %s h %d i %d, %d groups of <= %d, glu %d, "
	    "scale %d", kern_variant(kn), kern_dtype_name(wt), s.h, s.i,
	    s.n_group, s.rows_max, (int)s.glu, c.scale != NULL);
	mem_free(y);
	mem_free(z);
	free_call(ref, &c);
	kern_close(ref);
	kern_close(kn);
}

/* Every row of a grouped call, alone in a call of its own on another number of
 * threads: the same bits. */
static void
test_promise(const char *isa, struct shape s, enum kern_dtype act,
    enum kern_dtype wt)
{
	struct kern *kn = kt_open(isa, act, 2), *kn1 = kt_open(isa, act, 1);
	struct kern *kn3 = kt_open(isa, act, 3);
	size_t row = kern_dtype_bytes(act, (size_t)s.h);
	char *y, *one = mem_alloc(row);
	struct call c;
	int g, j, bad = 0, total;

	make_call(kn, &c, s, wt);
	total = c.rows;
	y = run(kn, &c);
	for (g = 0; g < s.n_group; g++) {
		for (j = 0; j < c.group[g].n; j++) {
			int r = c.group[g].first + j;
			struct kern_group gr = { &c.x[g], 0, 1 };
			void *out = one;
			struct kern_ffn a = c.a;

			a.n_group = 1;
			a.group = &gr;
			a.in = c.in + r;
			a.out = &out;
			a.scale = c.scale != NULL ? c.scale + r : NULL;
			kern_ffn(r % 2 ? kn1 : kn3, &a);
			bad += memcmp(one, y + ((char *)c.out[r] - c.out_base),
			    row) != 0;
		}
	}
	EQ_INT(bad, 0, "%s weights %s: %d rows in %d groups, each alone: the "
	    "same bits", kern_variant(kn), kern_dtype_name(wt), total,
	    s.n_group);
	mem_free(y);
	mem_free(one);
	free_call(kn, &c);
	kern_close(kn);
	kern_close(kn1);
	kern_close(kn3);
}

/* Groups need not cover the arrays: other entries are not touched. */
static void
test_gaps(const char *isa, enum kern_dtype act)
{
	struct shape s = { 24, 20, 3, 3, KERN_SILU };
	struct kern *kn = kt_open(isa, act, 2);
	struct call c;
	char *y;
	size_t i, n = 0;
	const unsigned char *p;

	make_call(kn, &c, s, act);
	c.group[1] = c.group[2];
	c.a.n_group = 2;
	for (i = (size_t)c.x[0].gate_up.n, i = 0; i < (size_t)c.rows; i++)
		if (i >= (size_t)c.group[0].n &&
		    i < (size_t)c.group[1].first)
			c.in[i] = NULL;
	y = run(kn, &c);
	p = (const unsigned char *)c.out[c.group[0].n];
	for (i = 0; c.out[c.group[0].n] != c.out[c.group[1].first] &&
	    i < kern_dtype_bytes(act, (size_t)s.h); i++)
		n += p[i] != 0x55;
	EQ_INT(n, 0, "%s: entries in no group are left alone",
	    kern_variant(kn));
	c.a.n_group = 3;
	mem_free(y);
	free_call(kn, &c);
	kern_close(kn);
}

static void
test_isa(const char *isa)
{
	static const struct shape shapes[] = {
		{ 1, 1, 1, 1, KERN_SILU }, { 96, 40, 10, 3, KERN_SILU },
		{ 33, 7, 5, 20, KERN_CLAMP }, { 50, 130, 64, 1, KERN_GELU },
		{ 256, 128, 4, 9, KERN_SILU }, { 40, 24, 1, 250, KERN_CLAMP },
		{ 300, 200, 1, 1, KERN_SILU },
	};
	size_t i;
	int a;

	for (i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		for (a = 0; a < 4; a++)
			test_variant(isa, shapes[i],
			    a & 1 ? KERN_BF16 : KERN_F32,
			    a & 2 ? KERN_BF16 : KERN_F32);
		test_promise(isa, shapes[i], KERN_F32, KERN_F32);
		test_promise(isa, shapes[i], KERN_BF16, KERN_BF16);
		test_promise(isa, shapes[i], KERN_F32, KERN_Q8);
		test_promise(isa, shapes[i], KERN_BF16, KERN_Q8);
	}
	test_gaps(isa, KERN_BF16);
	test_gaps(isa, KERN_F32);
}

int
main(void)
{
	const char *const *isa;
	int g;

	kt_seed();
	for (g = KERN_SILU; g <= KERN_CLAMP; g++) {
		test_reference(KERN_F32, (enum kern_glu)g);
		test_reference(KERN_BF16, (enum kern_glu)g);
	}
	for (isa = kern_isas(); *isa != NULL; isa++)
		test_isa(*isa);
	return tap_done();
}
