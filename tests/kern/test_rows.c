/* Number formats, and the operations on rows and logits: every variant against
 * the reference; same bits for a row alone and in a batch. */
#include "kt.h"

/* ---- conversions --------------------------------------------------------- */


/* What a half-precision pattern means, from the definition of the format. */
static double
f16_value(unsigned h)
{
	int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
	double v = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);

	if (e == 31)
		v = m ? NAN : INFINITY;
	return h & 0x8000 ? -v : v;
}

static void
test_f16(void)
{
	unsigned h, bad = 0, bad_mid = 0;

	for (h = 0; h < 65536; h++) {
		uint16_t in = (uint16_t)h, out, up;
		float f, mid;
		double v = f16_value(h);

		kern_convert(&f, KERN_F32, &in, KERN_F16, 1);
		kern_convert(&out, KERN_F16, &f, KERN_F32, 1);
		if (isnan(v)) {
			bad += !isnan(f) || (out & 0x7fff) <= 0x7c00;
			continue;
		}
		bad += (double)f != v || out != in;
		/* Half-way to the next: to even; a bit more: up. */
		if ((h & 0x7fff) >= 0x7bff)
			continue;
		mid = (float)((v + f16_value(h + 1)) / 2);
		kern_convert(&out, KERN_F16, &mid, KERN_F32, 1);
		bad_mid += out != (h & 1 ? h + 1 : h);
		mid = nextafterf(mid, h & 0x8000 ? -INFINITY : INFINITY);
		kern_convert(&up, KERN_F16, &mid, KERN_F32, 1);
		bad_mid += up != h + 1;
	}
	EQ_INT(bad, 0, "every f16 to fp32 and back");
	EQ_INT(bad_mid, 0, "fp32 to f16: nearest, ties to even");
}

static void
test_bf16(void)
{
	float cases[] = { 1.00390625f, 1.01171875f, 3.4e38f, -0.0f, 1e-40f,
	    INFINITY, NAN };
	uint16_t want[] = { 0x3f80, 0x3f82, 0x7f80, 0x8000, 0x0001, 0x7f80 };
	uint16_t out[7];
	size_t i, bad = 0;

	kern_convert(out, KERN_BF16, cases, KERN_F32, 7);
	for (i = 0; i < 6; i++)
		bad += out[i] != want[i];
	EQ_INT(bad, 0, "fp32 to bf16: ties to even, overflow, zero, denormal");
	OK((out[6] & 0x7fff) > 0x7f80, "a NaN stays one");
	EQ_STR(kern_dtype_name(KERN_BF16), "bf16", "names");
	EQ_INT(kern_dtype_bytes(KERN_Q8, 32), 0, "block formats have no size");
}

/* ---- rows ---------------------------------------------------------------- */

static void
test_norm(struct kern *kn, struct kern *ref, enum kern_dtype ydt, bool center)
{
	int m = kt_int(1, 40), n = kt_int(1, 3000);
	size_t ldx = (size_t)n + 2, ldy = (size_t)n + 1, r, bad = 0;
	float *x = kt_floats((size_t)m * ldx, 3);
	float *w = kt_int(0, 2) ? kt_floats((size_t)n, 1) : NULL;
	float *b = kt_int(0, 2) ? kt_floats((size_t)n, 1) : NULL;
	size_t bytes = kern_dtype_bytes(ydt, (size_t)m * ldy);
	char *y = mem_zalloc(bytes), *z = mem_zalloc(bytes);
	char *one = mem_zalloc(bytes);
	struct kern_norm a = { .x = x, .ldx = ldx, .y = y, .ldy = ldy,
	    .ydt = ydt, .m = m, .n = n, .w = w, .bias = b, .eps = 1e-5f,
	    .center = center };

	kern_norm(kn, &a);
	a.y = z;
	kern_norm(ref, &a);
	EQ_INT(kt_wrong(y, z, ydt, (size_t)m * ldy, 2e-6, 4), 0,
	    "%s: norm [%d][%d] center %d -> %s", kern_variant(kn), m, n, center,
	    kern_dtype_name(ydt));
	a.m = 1;
	for (r = 0; r < (size_t)m; r++) {
		a.x = x + r * ldx;
		a.y = one;
		kern_norm(kn, &a);
		bad += memcmp(one, y + kern_dtype_bytes(ydt, r * ldy),
		    kern_dtype_bytes(ydt, (size_t)n)) != 0;
	}
	EQ_INT(bad, 0, "  each row alone: the same bits");
	if (ydt == KERN_F32) {
		a.y = x;
		a.x = x;
		a.m = m;
		a.ldy = ldx;
		kern_norm(kn, &a);
		OK(memcmp(x, y, (size_t)n * 4) == 0, "  in place");
	}
	mem_free(x);
	mem_free(w);
	mem_free(b);
	mem_free(y);
	mem_free(z);
	mem_free(one);
}

/* Pieces of a row: the bits of as many calls. */
static void
test_norm_heads(struct kern *kn)
{
	int m = kt_int(1, 20), n = kt_int(1, 200), heads = kt_int(2, 9), j;
	size_t ld = (size_t)(heads * n + 3), all = (size_t)m * ld;
	float *x = kt_floats(all, 2), *y = mem_dup(x, all * 4);
	float *w = kt_floats((size_t)n, 1);
	struct kern_norm a = { .x = x, .ldx = ld, .y = x, .ldy = ld,
	    .ydt = KERN_F32, .m = m, .n = n, .w = w, .eps = 1e-6f,
	    .heads = heads };

	kern_norm(kn, &a);
	a.heads = 1;
	for (j = 0; j < heads; j++) {
		a.x = a.y = y + j * n;
		kern_norm(kn, &a);
	}
	OK(memcmp(x, y, all * 4) == 0, "%s: norm of %d pieces of %d, %d rows",
	    kern_variant(kn), heads, n, m);
	mem_free(x);
	mem_free(y);
	mem_free(w);
}

static void
test_rope(struct kern *kn, struct kern *ref, bool interleaved)
{
	int m = kt_int(1, 50), heads = kt_int(1, 9), d = kt_int(2, 200), i;
	int rot = kt_int(1, d / 2) * 2;
	size_t ldx = (size_t)(heads * d + 1), n = (size_t)m * ldx;
	float *x = kt_floats(n, 1), *y = mem_dup(x, n * 4);
	float *old = mem_dup(x, n * 4), *again = mem_dup(x, n * 4);
	float *inv = mem_alloc((size_t)rot * 4);
	float *angle = mem_alloc((size_t)(m * rot) * 4);
	int32_t *pos = mem_alloc((size_t)m * sizeof(*pos));
	struct kern_rope a = { .x = x, .ldx = ldx, .m = m, .heads = heads,
	    .d = d, .rot = rot, .pos = pos, .inv_freq = inv, .mscale = 1.25f,
	    .interleaved = interleaved };
	double before = 0, after = 0;

	for (i = 0; i < rot / 2; i++)
		inv[i] = (float)pow(10000, -2.0 * i / rot);
	for (i = 0; i < m; i++)
		pos[i] = kt_int(0, 200000);
	kern_rope(kn, &a);
	a.x = y;
	kern_rope(ref, &a);
	a.x = again;
	a.angle = angle;
	kern_rope_angles(angle, pos, m, inv, rot, a.mscale);
	kern_rope(kn, &a);
	OK(memcmp(again, x, n * 4) == 0, "%s: rope with angles made before: "
	    "the same bits", kern_variant(kn));
	EQ_INT(kt_wrong(x, y, KERN_F32, n, 1e-6, 2), 0,
	    "%s: rope %d rows, %d heads of %d, %d rotated, interleaved %d",
	    kern_variant(kn), m, heads, d, rot, interleaved);
	for (i = 0; i < rot; i++) {
		before += (double)old[i] * (double)old[i];
		after += (double)x[i] * (double)x[i];
	}
	OK(fabs(after / before - 1.25 * 1.25) < 1e-5,
	    "  length of the rotated part: times mscale");
	OK(memcmp(x + rot, old + rot, (size_t)(d - rot) * 4) == 0,
	    "  the rest of the head is untouched");
	mem_free(x);
	mem_free(y);
	mem_free(old);
	mem_free(again);
	mem_free(angle);
	mem_free(inv);
	mem_free(pos);
}

static void
test_sums(struct kern *kn, struct kern *ref)
{
	int m = kt_int(1, 30), n = kt_int(1, 2500), k = kt_int(1, 8), i;
	enum kern_dtype act = kern_act(kn);
	size_t mn = (size_t)m * (size_t)n, mk = (size_t)(m * k);
	float *xf = kt_floats(mn * (size_t)k, 1), *w = kt_floats(mk, 1);
	void *base, *x = kt_as(xf, mn * (size_t)k, act, &base);
	float *y = kt_floats(mn, 1), *z = mem_dup(y, mn * 4);
	const void **row = mem_calloc(mk, sizeof(*row));
	struct kern_axpy a = { y, (size_t)n, x, (size_t)n, act,
	    kt_int(0, 1) ? w : NULL, m, n };
	struct kern_combine c = { y, (size_t)n, row, kt_int(0, 3) ? w : NULL,
	    m, k, n };

	kern_axpy(kn, &a);
	a.y = z;
	kern_axpy(ref, &a);
	OK(memcmp(y, z, mn * 4) == 0, "%s: axpy [%d][%d], the reference's bits",
	    kern_variant(kn), m, n);
	for (i = 0; i < m * k; i++)
		row[i] = kt_int(0, 4) ? (char *)x + kern_dtype_bytes(act,
		    (size_t)i * (size_t)n) : NULL;
	kern_combine(kn, &c);
	c.y = z;
	kern_combine(ref, &c);
	OK(memcmp(y, z, mn * 4) == 0,
	    "%s: combine [%d][%d] of %d, the reference's bits",
	    kern_variant(kn), m, n, k);
	mem_free(xf);
	mem_free(base);
	mem_free(w);
	mem_free(y);
	mem_free(z);
	mem_free(row);
}

/* ---- logits -------------------------------------------------------------- */

static void
test_logits(struct kern *kn, struct kern *ref)
{
	int n = kt_int(1, 40000), at = kt_int(0, n - 1);
	float *x = kt_floats((size_t)n, 8), m, rm, t;
	double s, rs;

	t = (float)kt_int(1, 30) / 10;
	if (n > 1)
		x[(at + 1) % n] = -INFINITY;
	kern_softmax_sum(kn, x, n, t, &m, &s);
	kern_softmax_sum(ref, x, n, t, &rm, &rs);
	OK(m == rm && fabs(s - rs) < 1e-6 * rs, "%s: softmax_sum of %d",
	    kern_variant(kn), n);
	EQ_INT(kern_argmax(kn, x, n), kern_argmax(ref, x, n), "  argmax");
	x[at] = 1000;
	x[n - 1] = 1000;
	EQ_INT(kern_argmax(kn, x, n), at, "  argmax: ties to the lowest");
	x[at] = NAN;
	EQ_INT(kern_argmax(kn, x, n), -1, "  argmax: NaN at %d", at);
	mem_free(x);
}

int
main(void)
{
	const char *const *isa;
	int i, dt;

	kt_seed();
	test_f16();
	test_bf16();
	for (isa = kern_isas(); *isa != NULL; isa++) {
		for (i = 0; i < 6; i++) {
			enum kern_dtype act = i % 2 ? KERN_BF16 : KERN_F32;
			struct kern *kn = kt_open(*isa, act, kt_int(1, 3));
			struct kern *ref = kt_open("ref", act, 1);

			for (dt = 0; dt < 4; dt++)
				test_norm(kn, ref, dt & 1 ? KERN_BF16 :
				    KERN_F32, dt & 2);
			test_norm_heads(kn);
			test_rope(kn, ref, i % 2);
			test_sums(kn, ref);
			test_logits(kn, ref);
			kern_close(kn);
			kern_close(ref);
		}
	}
	return tap_done();
}
