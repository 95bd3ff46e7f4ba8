/* int8 weights: the rule by which values become integers, products against
 * double and against a bound, what is no number, and the same bits from every
 * instruction set.  (test_linear.c and test_ffn.c take q8 through odd shapes,
 * batches and threads.) */
#include "kt.h"

#include "cpu/cpu_q8.h"

#define BLOCK	32

static float
rounded(float v, enum kern_dtype t)
{
	uint32_t room = 0;

	kern_convert(&room, t, &v, KERN_F32, 1);
	kern_convert(&v, KERN_F32, &room, t, 1);
	return v;
}

/* ---- the rule ------------------------------------------------------------ */

/* kern.h's words once more: what the weights of a block become. */
static void
rule(float *out, const float *w, int n)
{
	float max = 0, s;
	int i;

	for (i = 0; i < n; i++)
		max = fmaxf(max, fabsf(w[i]));
	s = rounded(max / 127, KERN_BF16);
	for (i = 0; i < n; i++)
		out[i] = s < 0x1p-126f ? 0 : s * rintf(w[i] * (1 / s)) + 0;
}

/* Values of all sizes: each block has its own, some are all zeros. */
static float *
values(int n, int k, enum kern_dtype src)
{
	float *w = kt_floats((size_t)n * (size_t)k, 1);
	int i, lo = src == KERN_F16 ? -14 : -140, hi = src == KERN_F16 ? 10 : 60;
	double mul = 1;

	for (i = 0; i < n * k; i++) {
		if (i % k % BLOCK == 0)
			mul = kt_int(0, 7) ? ldexp(1, kt_int(lo, hi)) : 0;
		w[i] = rounded((float)((double)w[i] * mul), src);
	}
	return w;
}

static void
test_rule(const struct kern *kn, enum kern_dtype src)
{
	int n = kt_int(1, 40), k = kt_int(1, 200), i, j, len;
	size_t kk = (size_t)k, wrong = 0;
	float *w = values(n, k, src), *got = mem_calloc(kk, sizeof(*got));
	float want[BLOCK];
	void *base, *s = kt_as(w, (size_t)n * kk, src, &base);
	struct kern_mat m;
	struct kern_pack p = { .dst = &m, .rows = n, .src = s,
	    .src_dtype = src, .rs = kk, .cs = 1 };

	kt_mat_init(kn, &m, n, k, KERN_Q8);
	kern_mat_pack(kn, &p);
	for (i = 0; i < n; i++) {
		kern_mat_row(kn, &m, i, got);
		for (j = 0; j < k; j += BLOCK) {
			len = k - j < BLOCK ? k - j : BLOCK;
			rule(want, w + i * k + j, len);
			wrong += memcmp(want, got + j,
			    (size_t)len * sizeof(*want)) != 0;
		}
	}
	EQ_INT(wrong, 0, "weights of %s [%d][%d] become what the rule says",
	    kern_dtype_name(src), n, k);
	kern_mem_free(kn, m.data, m.bytes);
	mem_free(base);
	mem_free(w);
	mem_free(got);
}

/* Halves round to even; the largest stays 127 when its scale was rounded down
 * as far as can be. */
static void
test_ties(void)
{
	float v[BLOCK] = { 127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f, -127 };
	const int want[] = { 127, 0, 2, 2, 0, -2, 126, -127 };
	struct cpu_q8_x x;
	int i, bad = 0, sum = 0;

	cpu_q8_quant(&x, v, BLOCK);
	for (i = 0; i < 8; i++) {
		bad += x.v[i] != want[i];
		sum += want[i];
	}
	EQ_INT(bad, 0, "ties go to the even integer");
	OK(x.scale == 1 && x.bias == -128 * sum, "scale 1, bias of the sum");
}

static void
test_clip(const struct kern *kn)
{
	struct kern_mat m;
	struct kern_pack p = { .dst = &m, .rows = 1, .src_dtype = KERN_F32,
	    .rs = 1, .cs = 1 };
	float w, got, worst = 0;
	int i;

	kt_mat_init(kn, &m, 1, 1, KERN_Q8);
	p.src = &w;
	for (i = 0; i < 20000; i++) {
		w = 127 * (1 + (float)i / 20000);
		kern_mat_pack(kn, &p);
		kern_mat_row(kn, &m, 0, &got);
		worst = fmaxf(worst, fabsf(got - w) / w);
	}
	OK(worst <= 0x1p-8f, "a largest value is off by 2^-8 at most: %g",
	    (double)worst);
	kern_mem_free(kn, m.data, m.bytes);
}

/* ---- products ------------------------------------------------------------ */

/* y of one kern for m rows, [m][n]. */
static float *
product(const char *isa, enum kern_dtype act, const struct kern_mat *w,
    const void *x, int m)
{
	struct kern *kn = kt_open(isa, act, 2);
	float *y = mem_calloc((size_t)m * (size_t)w->n, sizeof(*y));
	struct kern_linear a = { .w = w, .x = x, .ldx = (size_t)w->k, .y = y,
	    .ldy = (size_t)w->n, .ydt = KERN_F32, .m = m };

	kern_linear(kn, &a);
	kern_close(kn);
	return y;
}

/* What a sum can be off at most: half a step of each factor in every block. */
static double
bound(const float *w, const float *x, int k)
{
	double sum = 0;
	int i, j;

	for (i = 0; i < k; i += BLOCK) {
		double mw = 0, mx = 0, aw = 0, ax = 0;

		for (j = i; j < k && j < i + BLOCK; j++) {
			mw = fmax(mw, fabs((double)w[j]));
			mx = fmax(mx, fabs((double)x[j]));
			aw += fabs((double)w[j]);
			ax += fabs((double)x[j]);
		}
		/* 0.504: the scale of weights is a bf16. */
		sum += mw / 127 * 0.504 * ax + mx / 127 * 0.5 * aw +
		    BLOCK * 0.26 * mw * mx / (127 * 127);
	}
	return sum;
}

static void
test_double(const char *isa, enum kern_dtype act)
{
	int m = kt_int(1, 5), n = kt_int(1, 70), k = kt_int(1, 700), r, i, j;
	size_t kk = (size_t)k, wrong = 0;
	float *xf = kt_rounded((size_t)m * kk, 1, act), *y;
	double err = 0, size = 0;
	struct kern *kn = kt_open(isa, act, 1);
	void *base, *x = kt_as(xf, (size_t)m * kk, act, &base);
	struct kt_mat w;

	kt_mat_make(kn, &w, n, k, KERN_Q8);
	y = product(isa, act, &w.m, x, m);
	for (r = 0; r < m; r++) {
		for (i = 0; i < n; i++) {
			const float *xr = xf + (size_t)r * kk;
			const float *wr = w.w + (size_t)i * kk;
			double sum = 0, d;

			for (j = 0; j < k; j++)
				sum += (double)wr[j] * (double)xr[j];
			d = (double)y[r * n + i] - sum;
			err += d * d;
			size += sum * sum;
			wrong += !(fabs(d) <= bound(wr, xr, k) + 1e-6);
		}
	}
	EQ_INT(wrong, 0, "%s %s [%d][%d][%d] against double: within the bound, "
	    "rms error %.2g of the values", isa, kern_dtype_name(act), m, n, k,
	    sqrt(err / size));
	kt_mat_free(kn, &w);
	kern_close(kn);
	mem_free(base);
	mem_free(xf);
	mem_free(y);
}

/* Rows of odd sizes, and of what is no number: the reference's bits. */
static void
test_odd_rows(const char *isa, enum kern_dtype act)
{
	enum { M = 11, N = 37 };
	int k = kt_int(33, 300), r;
	size_t kk = (size_t)k, n_nan = 0, i;
	float *xf = kt_rounded(M * kk, 1, act), *want, *got;
	struct kern *kn = kt_open("ref", act, 1);
	void *base, *x;
	struct kt_mat w;

	for (r = 0; r < M; r++)
		for (i = 0; i < kk; i++)
			xf[(size_t)r * kk + i] *= (float)ldexp(1,
			    r < 8 ? -120 + 30 * r : 0);
	memset(xf, 0, kk * sizeof(*xf));
	xf[8 * kk + (size_t)kt_int(0, k - 1)] = NAN;
	xf[9 * kk + (size_t)kt_int(0, k - 1)] = INFINITY;
	xf[10 * kk + kk - 1] = -INFINITY;
	x = kt_as(xf, M * kk, act, &base);
	kt_mat_make(kn, &w, N, k, KERN_Q8);
	want = product("ref", act, &w.m, x, M);
	got = product(isa, act, &w.m, x, M);
	for (i = 0; i < (size_t)M * N; i++)
		n_nan += isnan(got[i]);
	OK(memcmp(want, got, (size_t)M * N * sizeof(*got)) == 0 &&
	    n_nan == 3 * N && got[0] == 0, "%s %s: rows of 2^-120 to 2^90 as "
	    "the reference; NaN and infinity give NaN in their rows only",
	    isa, kern_dtype_name(act));
	kt_mat_free(kn, &w);
	kern_close(kn);
	mem_free(base);
	mem_free(xf);
	mem_free(want);
	mem_free(got);
}

/* The largest integers everywhere: no step of a sum may saturate. */
static void
test_extreme(const char *isa)
{
	enum { N = 16, K = 96, M = 7 };
	float w[N * K], x[M * K], *y;
	struct kern *kn = kt_open("ref", KERN_F32, 1);
	struct kern_mat m;
	struct kern_pack p = { .dst = &m, .rows = N, .src = w,
	    .src_dtype = KERN_F32, .rs = K, .cs = 1 };
	int i, bad = 0;

	for (i = 0; i < N * K; i++)
		w[i] = i / K % 2 ? 127 : -127;
	for (i = 0; i < M * K; i++)
		x[i] = i / K % 2 ? -127 : 127;
	kt_mat_init(kn, &m, N, K, KERN_Q8);
	kern_mat_pack(kn, &p);
	y = product(isa, KERN_F32, &m, x, M);
	for (i = 0; i < M * N; i++)
		bad += y[i] != ((i / N % 2 == i % 2) ? -127.f * 127 * K :
		    127.f * 127 * K);
	EQ_INT(bad, 0, "%s: 127 x 127 everywhere is exact", isa);
	kern_mem_free(kn, m.data, m.bytes);
	kern_close(kn);
	mem_free(y);
}

/* ---- the expert ---------------------------------------------------------- */

/* One expert over 9 rows; out [9][h] of act. */
static void *
expert(const char *isa, enum kern_dtype act, const struct kern_expert *e,
    const void *x, float *scale)
{
	enum { M = 9 };
	struct kern *kn = kt_open(isa, act, 2);
	size_t row = kern_dtype_bytes(act, (size_t)e->down.n);
	char *out = mem_zalloc(M * row);
	const void *in_p[M];
	void *out_p[M];
	struct kern_group g = { e, 0, M };
	struct kern_ffn a = { .h = e->down.n, .i = e->down.k,
	    .glu = KERN_SILU, .n_group = 1, .group = &g, .in = in_p,
	    .out = out_p, .scale = scale };
	int i;

	for (i = 0; i < M; i++) {
		in_p[i] = (const char *)x + (size_t)i * row;
		out_p[i] = out + (size_t)i * row;
	}
	kern_ffn(kn, &a);
	kern_close(kn);
	return out;
}

/* Every variant with vector loops gives the same bits, the reference (another
 * exp) the same numbers. */
static void
test_expert(enum kern_dtype act, bool scaled)
{
	int h = kt_int(1, 150), f = kt_int(1, 150), part;
	size_t n = 9 * (size_t)h;
	const char *const *isa = kern_isas();
	struct kern *kn = kt_open("ref", act, 1);
	float *xf = kt_floats(n, 1), *scale = kt_floats(9, 1);
	void *base, *x = kt_as(xf, n, act, &base), *want, *got, *ref;
	struct kern_expert e = { 0 };

	kt_mat_init(kn, &e.gate_up, 2 * f, h, KERN_Q8);
	kt_mat_init(kn, &e.down, h, f, KERN_Q8);
	for (part = KERN_GATE; part <= KERN_DOWN; part++) {
		size_t k = (size_t)(part == KERN_DOWN ? f : h);
		float *w = kt_floats((size_t)h * (size_t)f, 2 / sqrt((double)k));
		struct kern_pack p = { .src = w, .src_dtype = KERN_F32,
		    .rs = k, .cs = 1 };

		kern_expert_pack(kn, &e, (enum kern_part)part, &p);
		mem_free(w);
	}
	ref = expert("ref", act, &e, x, scaled ? scale : NULL);
	want = expert(*isa, act, &e, x, scaled ? scale : NULL);
	for (; *isa != NULL; isa++) {
		got = expert(*isa, act, &e, x, scaled ? scale : NULL);
		if (strcmp(*isa, "ref") != 0)
			OK(memcmp(got, want, kern_dtype_bytes(act, n)) == 0,
			    "%s %s h %d f %d scale %d: the same bits", *isa,
			    kern_dtype_name(act), h, f, scaled);
		mem_free(got);
	}
	/* A middle value may round to the next integer: 1/127 of a block. */
	EQ_INT(kt_wrong(want, ref, act, n, 6e-2, 4), 0, "%s h %d f %d scale "
	    "%d: near the reference", kern_dtype_name(act), h, f, scaled);
	kern_mem_free(kn, e.gate_up.data, e.gate_up.bytes);
	kern_mem_free(kn, e.down.data, e.down.bytes);
	kern_close(kn);
	mem_free(ref);
	mem_free(want);
	mem_free(base);
	mem_free(xf);
	mem_free(scale);
}

/* ---- opening ------------------------------------------------------------- */

static void
test_open(void)
{
	struct kern_opt o = { .act = KERN_BF16, .threads = 1, .isa = "ref",
	    .weights = KERN_Q8 };
	char why[KERN_WHY] = "";
	struct kern *kn;

	OK(kern_open(&kn, &o, why) == 0, "q8 opens");
	EQ_STR(kern_variant(kn), "cpu-ref-bf16-q8", "its variant");
	EQ_INT(kern_weights(kn), KERN_Q8, "its weights");
	EQ_INT(kern_act(kn), KERN_BF16, "its rows");
	kern_close(kn);
	kn = kt_open("ref", KERN_F32, 1);
	EQ_INT(kern_weights(kn), KERN_F32, "without: those of act");
	EQ_INT(kern_mat_bytes(kn, 16, 64, KERN_Q8), 64 + 16 * 64,
	    "a byte a weight and two a block");
	EQ_INT(kern_mat_bytes(kn, 17, 65, KERN_Q8), 2 * (128 + 16 * 96),
	    "odd ends are filled");
	kern_close(kn);
	o.backend = "cuda";
	o.isa = NULL;
	OK(kern_open(&kn, &o, why) == -1 && strstr(why, "q8") != NULL,
	    "cuda: %s", why);
}

int
main(void)
{
	static const enum kern_dtype acts[] = { KERN_F32, KERN_BF16 };
	static const enum kern_dtype srcs[] = { KERN_F32, KERN_F16, KERN_BF16 };
	const char *const *isa;
	struct kern *kn;
	int a, i;

	kt_seed();
	kn = kt_open("ref", KERN_F32, 1);
	for (i = 0; i < 6; i++)
		test_rule(kn, srcs[i % 3]);
	test_ties();
	test_clip(kn);
	kern_close(kn);
	for (isa = kern_isas(); *isa != NULL; isa++) {
		for (a = 0; a < 2; a++) {
			for (i = 0; i < 3; i++)
				test_double(*isa, acts[a]);
			test_odd_rows(*isa, acts[a]);
		}
		test_extreme(*isa);
	}
	for (i = 0; i < 8; i++)
		test_expert(acts[i % 2], i % 4 > 1);
	test_open();
	return tap_done();
}
