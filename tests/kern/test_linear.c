/* Packing, kern_mat_row, kern_linear: every variant against the reference,
 * the reference against double, and the promise bit by bit. */
#include "kt.h"

static const enum kern_dtype types[] = { KERN_F32, KERN_BF16, KERN_Q8 };

/* Elements of any source dtype and stride land where kern_mat_row finds
 * them. */
static void
test_pack(const struct kern *kn, enum kern_dtype src, enum kern_dtype dst)
{
	int n = kt_int(1, 70), k = kt_int(1, 50), i, j, bad = 0;
	size_t rs = (size_t)kt_int(1, 3), cs = rs * (size_t)n;
	float *w = kt_rounded(cs * (size_t)k, 1, KERN_F16), *row;
	struct kern_mat m;
	struct kern_pack p = { .dst = &m, .src_dtype = src, .rs = rs,
	    .cs = cs };
	void *base, *s = kt_as(w, cs * (size_t)k, src, &base);
	float *out = mem_alloc((size_t)k * sizeof(*out));

	kt_mat_init(kn, &m, n, k, dst);
	for (i = 0; i < n; i += p.rows) {	/* in uneven parts */
		p.row0 = i;
		p.rows = n - i < 17 ? n - i : 17;
		p.src = (char *)s + kern_dtype_bytes(src, (size_t)i * rs);
		kern_mat_pack(kn, &p);
	}
	for (i = 0; i < n; i++) {
		kern_mat_row(kn, &m, i, out);
		for (j = 0; j < k; j++) {
			uint32_t a = 0, b = 0;

			row = w + (size_t)i * rs + (size_t)j * cs;
			kern_convert(&a, src, row, KERN_F32, 1);
			kern_convert(&b, dst, &a, src, 1);
			if (src != KERN_F32 && dst != src) {
				float f;

				kern_convert(&f, KERN_F32, &a, src, 1);
				kern_convert(&b, dst, &f, KERN_F32, 1);
			}
			bad += kt_at(&b, dst, 0) != (double)out[j];
		}
	}
	EQ_INT(bad, 0, "%s: pack [%d][%d] %s -> %s, strides %zu %zu",
	    kern_variant(kn), n, k, kern_dtype_name(src), kern_dtype_name(dst),
	    rs, cs);
	kern_mem_free(kn, m.data, m.bytes);
	mem_free(base);
	mem_free(w);
	mem_free(out);
}

struct shape {
	int m, n, k;
};

/* y = W x + bias of one kern, into fresh memory [m][ldy]. */
static void *
product(struct kern *kn, const struct kt_mat *w, const float *bias,
    const void *x, struct kern_linear a)
{
	size_t ldy = (size_t)w->m.n + 3;
	char *y = mem_zalloc(kern_dtype_bytes(a.ydt, (size_t)a.m * ldy));

	a.w = &w->m;
	a.bias = bias;
	a.x = x;
	a.y = y;
	a.ldy = ldy;
	kern_linear(kn, &a);
	return y;
}

/* The reference against a sum in double. */
static void
test_reference(struct shape s, enum kern_dtype act, enum kern_dtype wt)
{
	struct kern *kn = kt_open("ref", act, 1);
	size_t k = (size_t)s.k, n = (size_t)s.n, r, i, j, bad = 0;
	float *xf = kt_rounded((size_t)s.m * k, 1, act);
	struct kern_linear a = { .ldx = k, .ydt = KERN_F32, .m = s.m };
	struct kt_mat w;
	void *base, *x = kt_as(xf, (size_t)s.m * k, act, &base);
	float *y;

	kt_mat_make(kn, &w, s.n, s.k, wt);
	y = product(kn, &w, NULL, x, a);
	for (r = 0; r < (size_t)s.m; r++) {
		for (i = 0; i < n; i++) {
			double sum = 0, mag = 0;

			for (j = 0; j < k; j++) {
				double p = (double)w.w[i * k + j] *
				    (double)xf[r * k + j];

				sum += p;
				mag += fabs(p);
			}
			bad += !(fabs((double)y[r * (n + 3) + i] - sum) <=
			    1e-7 * mag * sqrt((double)k) + 1e-7);
		}
	}
	EQ_INT(bad, 0, "ref %s x %s [%d][%d][%d] against double",
	    kern_dtype_name(wt), kern_dtype_name(act), s.m, s.n, s.k);
	kt_mat_free(kn, &w);
	mem_free(xf);
	mem_free(base);
	mem_free(y);
	kern_close(kn);
}

/* A variant against the reference.  fp32 sums and q8: the same bits (see the
 * order in kern_ref.c), but for vdpbf16ps, which rounds more often. */
static void
test_variant(const char *isa, struct shape s, enum kern_dtype act,
    enum kern_dtype wt, enum kern_dtype ydt)
{
	struct kern *ref = kt_open("ref", act, 1);
	struct kern *kn = kt_open(isa, act, kt_int(1, 3));
	size_t k = (size_t)s.k, ldx = k + (size_t)kt_int(0, 3);
	float *xf = kt_floats((size_t)s.m * ldx, 1);
	float *bias = kt_int(0, 1) ? kt_floats((size_t)s.n, 1) : NULL;
	struct kern_linear a = { .ldx = ldx, .ydt = ydt, .m = s.m };
	bool dp = strcmp(isa, "avx512bf16") == 0 && act == KERN_BF16 &&
	    wt == KERN_BF16;
	struct kt_mat w;
	void *base, *x = kt_as(xf, (size_t)s.m * ldx, act, &base), *y, *z;

	kt_mat_make(ref, &w, s.n, s.k, wt);
	y = product(ref, &w, bias, x, a);
	z = product(kn, &w, bias, x, a);
	EQ_INT(kt_wrong(z, y, ydt, (size_t)s.m * ((size_t)s.n + 3),
	    dp ? 3e-5 : 0, dp ? 2 : 0), 0,
	    "%s: %s weights [%d][%d][%d] -> %s, bias %d", kern_variant(kn),
	    kern_dtype_name(wt), s.m, s.n, s.k, kern_dtype_name(ydt),
	    bias != NULL);
	kt_mat_free(ref, &w);
	mem_free(xf);
	mem_free(bias);
	mem_free(base);
	mem_free(y);
	mem_free(z);
	kern_close(kn);
	kern_close(ref);
}

/* Row 0 of a batch of m is the row alone, for m = 1..70 and 1..3 threads. */
static void
test_promise(const char *isa, enum kern_dtype act, enum kern_dtype wt)
{
	int n = kt_int(30, 90), k = kt_int(20, 200), m, t, bad = 0;
	size_t rows = 70, kk = (size_t)k, nn = (size_t)n;
	float *xf = kt_floats(rows * kk, 1), *alone = mem_alloc(rows * nn * 4);
	struct kt_mat w;
	void *base, *x = kt_as(xf, rows * kk, act, &base);
	struct kern *kn = kt_open(isa, act, 1);
	struct kern_linear a = { .w = &w.m, .ldx = kk, .ldy = nn,
	    .ydt = KERN_F32 };
	float *y = mem_alloc(rows * nn * 4);
	size_t r;

	kt_mat_make(kn, &w, n, k, wt);
	for (r = 0; r < rows; r++) {
		a.m = 1;
		a.x = (char *)x + kern_dtype_bytes(act, r * kk);
		a.y = alone + r * nn;
		kern_linear(kn, &a);
	}
	kern_close(kn);
	a.x = x;
	a.y = y;
	for (t = 1; t <= 3; t++) {
		kn = kt_open(isa, act, t);
		for (m = 1; m <= (int)rows; m++) {
			a.m = m;
			memset(y, 0xff, rows * nn * 4);
			kern_linear(kn, &a);
			bad += memcmp(y, alone, (size_t)m * nn * 4) != 0;
		}
		kern_close(kn);
	}
	EQ_INT(bad, 0, "%s act %s weights %s [%d][%d]: 1..70 rows, 1..3 "
	    "threads, the same bits", isa, kern_dtype_name(act),
	    kern_dtype_name(wt), n, k);
	kn = kt_open("ref", act, 1);
	kt_mat_free(kn, &w);
	kern_close(kn);
	mem_free(base);
	mem_free(xf);
	mem_free(alone);
	mem_free(y);
}

static void
test_isa(const char *isa)
{
	static const struct shape shapes[] = { { 1, 1, 1 }, { 1, 16, 2 },
	    { 1, 17, 3 }, { 2, 64, 31 }, { 3, 100, 64 }, { 4, 33, 7 },
	    { 5, 48, 129 }, { 6, 1000, 20 }, { 13, 96, 96 }, { 64, 130, 77 },
	    { 200, 40, 33 }, { 1, 700, 300 } };
	size_t i, a, w;

	for (a = 0; a < 2; a++) {
		for (w = 0; w < 3; w++) {
			for (i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
				test_variant(isa, shapes[i], types[a],
				    types[w], i % 2 ? KERN_F32 : types[a]);
			test_promise(isa, types[a], types[w]);
		}
	}
}

int
main(void)
{
	const char *const *isa;
	struct kern *kn;
	int a, w, i;

	kt_seed();
	for (isa = kern_isas(); *isa != NULL; isa++) {
		kn = kt_open(*isa, KERN_F32, 1);
		for (a = 1; a <= 3; a++)
			for (w = 0; w < 2; w++)
				test_pack(kn, (enum kern_dtype)a, types[w]);
		kern_close(kn);
	}
	for (a = 0; a < 2; a++)
		for (w = 0; w < 2; w++)
			for (i = 0; i < 3; i++)
				test_reference((struct shape){ kt_int(1, 5),
				    kt_int(1, 70), kt_int(1, 300) }, types[a],
				    types[w]);
	for (isa = kern_isas(); *isa != NULL; isa++)
		test_isa(*isa);
	return tap_done();
}
