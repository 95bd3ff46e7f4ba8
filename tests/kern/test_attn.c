/* kern_kv_put and kern_attn: variants against the reference, and the promise:
 * chunking, batching and threads change no bit, nor do the spans that threads
 * share a long context by. */
#include "kt.h"

struct shape {
	int h, hk, dk, dv, window, chunk, sink, max_len;
};

#define MAX_LEN	1300

/* One sequence and the rows of all its tokens. */
struct text {
	int len;
	int32_t page[MAX_LEN / KERN_PAGE_TOK + 1];
	float *q, *k, *v;		/* [len] rows */
};

struct world {
	struct shape s;
	enum kern_dtype act;
	struct kern_kv kv;
	struct text t[3];
	float *sink;
	size_t arena_bytes;
};

static void
make_world(struct world *w, struct shape s, enum kern_dtype act,
    enum kern_dtype kvt)
{
	int i, j, pages = 0;

	memset(w, 0, sizeof(*w));
	w->s = s;
	w->act = act;
	w->kv = (struct kern_kv){ .hk = s.hk, .dk = s.dk, .dv = s.dv,
	    .kvt = kvt };
	w->kv.page_bytes = kern_kv_page_bytes(s.hk, s.dk, s.dv, kvt);
	for (i = 0; i < 3; i++) {
		struct text *t = &w->t[i];
		size_t n;

		t->len = i == 0 && s.max_len == MAX_LEN ?
		    kt_int(MAX_LEN - 200, MAX_LEN) : kt_int(1, s.max_len);
		n = (size_t)t->len;
		/* Pages of the sequences are interleaved, in falling order. */
		for (j = 0; j <= (t->len - 1) / KERN_PAGE_TOK; j++, pages++)
			t->page[j] = 3 * (MAX_LEN / KERN_PAGE_TOK + 1) - 1 - i - 3 * j;
		t->q = kt_floats(n * (size_t)(s.h * s.dk), 1);
		t->k = kt_floats(n * (size_t)(s.hk * s.dk), 1);
		t->v = kt_floats(n * (size_t)(s.hk * s.dv), 1);
	}
	w->arena_bytes = 3 * (MAX_LEN / KERN_PAGE_TOK + 1) * w->kv.page_bytes;
	w->kv.arena = mem_aligned(64, w->arena_bytes);
	if (s.sink)
		w->sink = kt_floats((size_t)s.h, 2);
}

static void
free_world(struct world *w)
{
	int i;

	for (i = 0; i < 3; i++) {
		mem_free(w->t[i].q);
		mem_free(w->t[i].k);
		mem_free(w->t[i].v);
	}
	mem_free(w->kv.arena);
	mem_free(w->sink);
}

/* Put and attend tokens [p, p + n) of text i; out: rows of the whole text. */
static void
step(struct kern *kn, struct world *w, int i, int p, int n, void *out)
{
	const struct shape *s = &w->s;
	struct text *t = &w->t[i];
	size_t qd = (size_t)(s->h * s->dk), od = (size_t)(s->h * s->dv);
	struct kern_seq q = { t->page, p, n, p };
	struct kern_kv_put put = { &w->kv, &q, 1, t->k, t->v,
	    (size_t)(s->hk * s->dk), (size_t)(s->hk * s->dv) };
	struct kern_attn a = { .kv = &w->kv, .seq = &q, .n_seq = 1, .q = t->q,
	    .ldq = qd, .out = out, .ldo = od, .h = s->h,
	    .scale = (float)(1 / sqrt(s->dk)), .window = s->window,
	    .chunk = s->chunk, .sink = w->sink };

	kern_kv_put(kn, &put);
	kern_attn(kn, &a);
}

/* Text i in pieces of n tokens. */
static void *
in_pieces(struct kern *kn, struct world *w, int i, int n)
{
	struct text *t = &w->t[i];
	char *out = mem_zalloc(kern_dtype_bytes(w->act,
	    (size_t)t->len * (size_t)(w->s.h * w->s.dv)));
	int p, m;

	memset(w->kv.arena, 0xff, w->arena_bytes);	/* NaN everywhere */
	for (p = 0; p < t->len; p += m) {
		m = t->len - p < n ? t->len - p : n;
		step(kn, w, i, p, m, out);
	}
	return out;
}

/* All three texts in one call: rows one text after the other. */
static void *
together(struct kern *kn, struct world *w, int i)
{
	const struct shape *s = &w->s;
	size_t qd = (size_t)(s->h * s->dk), kd = (size_t)(s->hk * s->dk);
	size_t vd = (size_t)(s->hk * s->dv), od = (size_t)(s->h * s->dv), n = 0;
	struct kern_seq q[3];
	struct kern_kv_put put = { &w->kv, q, 3, NULL, NULL, kd, vd };
	struct kern_attn a = { .kv = &w->kv, .seq = q, .n_seq = 3, .ldq = qd,
	    .ldo = od, .h = s->h, .scale = (float)(1 / sqrt(s->dk)),
	    .window = s->window, .chunk = s->chunk, .sink = w->sink };
	float *qq, *kk, *vv;
	char *out, *mine;
	int j;

	for (j = 0; j < 3; n += (size_t)w->t[j++].len)
		q[j] = (struct kern_seq){ w->t[j].page, 0, w->t[j].len,
		    (int)n };
	qq = mem_alloc(n * qd * 4);
	kk = mem_alloc(n * kd * 4);
	vv = mem_alloc(n * vd * 4);
	out = mem_zalloc(kern_dtype_bytes(w->act, n * od));
	for (j = 0; j < 3; j++) {
		size_t r = (size_t)q[j].row0, m = (size_t)q[j].m;

		memcpy(qq + r * qd, w->t[j].q, m * qd * 4);
		memcpy(kk + r * kd, w->t[j].k, m * kd * 4);
		memcpy(vv + r * vd, w->t[j].v, m * vd * 4);
	}
	put.k = kk;
	put.v = vv;
	a.q = qq;
	a.out = out;
	kern_kv_put(kn, &put);
	kern_attn(kn, &a);
	mine = mem_dup(out + kern_dtype_bytes(w->act, (size_t)q[i].row0 * od),
	    kern_dtype_bytes(w->act, (size_t)q[i].m * od));
	mem_free(qq);
	mem_free(kk);
	mem_free(vv);
	mem_free(out);
	return mine;
}

static void
test_one(const char *isa, struct shape s, enum kern_dtype act,
    enum kern_dtype kvt)
{
	struct kern *ref = kt_open("ref", act, 1), *kn = kt_open(isa, act, 2);
	struct kern *kn1 = kt_open(isa, act, 1);
	static const int pieces[] = { 1, 7, 64, 100 };
	struct world w;
	size_t n, i;
	void *whole, *other;

	make_world(&w, s, act, kvt);
	n = (size_t)w.t[0].len * (size_t)(s.h * s.dv);
	whole = in_pieces(kn, &w, 0, MAX_LEN);
	other = in_pieces(ref, &w, 0, MAX_LEN);
	EQ_INT(kt_wrong(whole, other, act, n, 1e-5, 2), 0,
	    "%s: attention %d/%d heads, d %d/%d, kv %s, window %d, chunk %d, "
	    "sink %d, %d tokens", kern_variant(kn), s.h, s.hk, s.dk, s.dv,
	    kern_dtype_name(kvt), s.window, s.chunk, s.sink, w.t[0].len);
	mem_free(other);
	/* The reference has neither tiles nor threads. */
	for (i = strcmp(isa, "ref") == 0 ? 3 : 0; i < 4; i++) {
		other = in_pieces(i % 2 ? kn : kn1, &w, 0, pieces[i]);
		OK(memcmp(whole, other, kern_dtype_bytes(act, n)) == 0,
		    "  in pieces of %d: the same bits", pieces[i]);
		mem_free(other);
	}
	other = together(kn, &w, 0);
	OK(memcmp(whole, other, kern_dtype_bytes(act, n)) == 0,
	    "  beside two other sequences: the same bits");
	mem_free(other);
	mem_free(whole);
	free_world(&w);
	kern_close(ref);
	kern_close(kn);
	kern_close(kn1);
}

int
main(void)
{
	static const struct shape shapes[] = {
		{ 4, 2, 64, 64, 0, 0, 0, 300 }, { 6, 6, 24, 16, 0, 0, 0, 300 },
		{ 6, 2, 16, 16, 16, 0, 1, 300 },
		{ 6, 2, 16, 16, 0, 32, 0, 300 },
		{ 8, 1, 5, 3, 0, 0, 0, 300 },
		{ 8, 4, 128, 128, 70, 0, 1, 200 },
		{ 1, 1, 40, 100, 1, 0, 0, 300 },
		{ 100, 1, 8, 16, 0, 0, 0, 150 },
		{ 3, 1, 16, 24, 0, 0, 1, MAX_LEN },
		{ 2, 2, 7, 16, 700, 0, 0, MAX_LEN },
	};
	const char *const *isa;
	size_t i;

	kt_seed();
	for (isa = kern_isas(); *isa != NULL; isa++) {
		for (i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
			test_one(*isa, shapes[i], KERN_F32, KERN_F32);
			test_one(*isa, shapes[i], KERN_BF16, KERN_BF16);
			test_one(*isa, shapes[i], KERN_F32, KERN_BF16);
		}
	}
	return tap_done();
}
