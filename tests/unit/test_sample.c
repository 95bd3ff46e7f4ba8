/*
 * Unit tests of at_sample: against a naive sampler (full sort, libm), and
 * against the distribution that it should draw from.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/moe-attnd/at_sample.c"
#include "clock.h"
#include "tap.h"

static struct kern *kern;

/* ---- the naive reference ---------------------------------------------------- */

struct ref {
	double x, p;
	int id;
};

static int
ref_order(const void *pa, const void *pb)
{
	const struct ref *a = pa, *b = pb;

	if (a->x != b->x)
		return a->x > b->x ? -1 : 1;
	return a->id - b->id;
}

static int
ref_by_id(const void *pa, const void *pb)
{
	return ((const struct ref *)pa)->id - ((const struct ref *)pb)->id;
}

/* The kept tokens with their probabilities, by id; returns how many. */
static int
ref_kept(const struct at_sample_in *in, struct ref *r)
{
	const struct at_sampling *s = in->s;
	double sum = 0, acc = 0;
	int i, j, n = 0, keep;

	for (i = 0; i < in->n; i++) {
		for (j = 0; j < in->n_ban; j++)
			if (in->ban[j] == (uint32_t)i)
				break;
		if (j < in->n_ban || in->logits[i] == -INFINITY)
			continue;
		r[n].x = in->logits[i];
		r[n++].id = i;
	}
	qsort(r, (size_t)n, sizeof(*r), ref_order);
	for (i = n - 1; i >= 0; i--)
		r[i].p = exp((r[i].x - r[0].x) / s->temperature);
	for (i = 0; i < n && r[i].p >= s->min_p; i++)
		;
	n = i;
	if (s->top_k > 0 && s->top_k < n)
		n = s->top_k;
	for (i = 0; i < n; i++)
		sum += r[i].p;
	for (keep = 0; keep < n && (keep == 0 || acc < s->top_p * sum); keep++)
		acc += r[keep].p;
	for (i = 0; i < keep; i++)
		r[i].p /= acc;
	qsort(r, (size_t)keep, sizeof(*r), ref_by_id);
	return keep;
}

static int
ref_draw(const struct at_sample_in *in, struct ref *r)
{
	double u = rng_unit(in->s->seed, (uint64_t)in->pos, 0), acc = 0;
	int i, n = ref_kept(in, r);

	for (i = 0; i < n - 1; i++)
		if ((acc += r[i].p) > u)
			break;
	return r[i].id;
}

/* ---- tests -------------------------------------------------------------------- */

static void
fill(float *x, int n, struct rng *g, double spread, bool coarse)
{
	int i;

	for (i = 0; i < n; i++) {
		x[i] = (float)(rng_next_normal(g) * spread);
		if (coarse)	/* many ties */
			x[i] = roundf(x[i]);
	}
}

static void
test_against_reference(void)
{
	static const double temp[] = { 1, 0.7, 0.05, 1.9 };
	static const double top_p[] = { 1, 0.9, 0.3, 0.999, 1e-9 };
	static const double min_p[] = { 0, 0.05, 0.5 };
	static const int top_k[] = { 0, 1, 5, 40, 100000 };
	enum { N = 3000, LARGE = 60000, DRAWS = 1200 };
	static float x[LARGE];
	static struct ref r[LARGE];
	struct at_sample_mem mem = { 0 };
	struct rng g = { 11, 0 };
	int i, j, bad = 0;

	for (i = 0; i < DRAWS + 120; i++) {
		struct at_sampling s = { temp[i % 4], top_p[i % 5],
		    min_p[i / 5 % 3], top_k[i / 7 % 5], (uint64_t)i };
		uint32_t ban[3] = { 5, 17, 2999 };
		struct at_sample_in in = { .s = &s, .kern = kern, .logits = x,
		    .n = 1 + (int)rng_below(&g, i < DRAWS ? N : LARGE),
		    .pos = i, .n_top = -1,
		    .ban = ban, .n_ban = i % 2 ? 3 : 0 };
		struct at_sampled out;

		if (in.n < 100)
			in.n = 100;
		fill(x, in.n, &g, i % 3 ? 4 : 0.3, i % 11 == 0);
		if (i % 13 == 0)
			x[rng_below(&g, (uint64_t)in.n)] = -INFINITY;
		for (j = 2000; i >= DRAWS && i % 3 == 0 && j < in.n / 2; j++)
			x[j] = -INFINITY;	/* whole blocks of them */
		if (at_sample(&in, &mem, &out) != 0 ||
		    (int)out.id != ref_draw(&in, r))
			bad++;
	}
	EQ_INT(bad, 0, "%d draws equal the naive sampler's", i);
	at_sample_mem_free(&mem);
}

/* Draws at many positions against the exact probabilities, by chi squared. */
static void
test_frequency(void)
{
	enum { N = 12, DRAWS = 40000 };
	static const float x[N] = { 1, 0, 2.5f, -1, 2.5f, 0.3f, -4, 1.7f, 0.9f,
	    -0.2f, 3, 0.1f };
	static struct ref r[N];
	struct at_sampling s = { 0.8, 0.97, 0.02, 9, 12345 };
	struct at_sample_in in = { .s = &s, .kern = kern, .logits = x, .n = N,
	    .n_top = -1 };
	struct at_sample_mem mem = { 0 };
	struct at_sampled out;
	long count[N] = { 0 }, stray = 0, want = 0;
	double chi = 0;
	int i, n = ref_kept(&in, r);

	for (in.pos = 0; in.pos < DRAWS; in.pos++)
		if (at_sample(&in, &mem, &out) == 0)
			count[out.id]++;
	for (i = 0; i < n; i++) {
		double e = r[i].p * DRAWS, d = (double)count[r[i].id] - e;

		chi += d * d / e;
		want += count[r[i].id];
	}
	stray = DRAWS - want;
	EQ_INT(stray, 0, "nothing outside the kept set was drawn");
	EQ_INT(n, 7, "top_p, top_k and min_p together keep seven of twelve");
	OK(chi < 22.5, "frequencies fit: chi squared %.1f, 6 degrees", chi);
	at_sample_mem_free(&mem);
}

static void
test_greedy(void)
{
	float x[6] = { 1, 3, 3, -INFINITY, 2, 3 };
	uint32_t ban[2] = { 1, 2 }, all[6] = { 0, 1, 2, 3, 4, 5 };
	struct at_sampling s = { 0, 1, 0, 0, 9 };
	struct at_sample_in in = { .s = &s, .kern = kern, .logits = x, .n = 6,
	    .n_top = 4 };
	struct at_sample_mem mem = { 0 };
	struct at_sampled o;
	double sum = exp(-2) + 3 + exp(-1);

	OK(at_sample(&in, &mem, &o) == 0 && o.id == 1,
	    "greedy, ties to the lowest id");
	OK(fabs(o.lp + log(sum)) < 1e-6, "its logprob");
	OK(o.n_top == 4 && o.top[0].id == 1 && o.top[1].id == 2 &&
	    o.top[2].id == 5 && o.top[3].id == 4, "alternatives, ties by id");
	OK(fabs(o.top[3].lp + 1 + log(sum)) < 1e-6, "an alternative's logprob");
	s.temperature = 1e-7;
	OK(at_sample(&in, &mem, &o) == 0 && o.id == 1, "nearly 0 is greedy");
	in.ban = ban;
	in.n_ban = 2;
	OK(at_sample(&in, &mem, &o) == 0 && o.id == 5 && o.top[0].id == 1,
	    "a banned id is not chosen, but its logprob is told");
	OK(fabs(o.lp + log(sum)) < 1e-6, "logprobs do not know of bans");
	s.temperature = 1;
	in.ban = all;
	in.n_ban = 6;
	OK(at_sample(&in, &mem, &o) == -1, "nothing left is an error");
	OK(at_sample_score(&in, 4, &o) == 0 && o.id == 4 &&
	    fabs(o.lp + 1 + log(sum)) < 1e-6, "the score of a given token");
	OK(at_sample_score(&in, 3, &o) == 0 && o.lp == -INFINITY,
	    "an impossible token scores -infinity");
	at_sample_mem_free(&mem);
}

static void
test_bad_logits(void)
{
	static const float poison[] = { NAN, INFINITY };
	float x[40];
	struct at_sampling s = { 0, 0.9, 0, 0, 9 };
	struct at_sample_in in = { .s = &s, .kern = kern, .logits = x, .n = 40,
	    .n_top = -1 };
	struct at_sample_mem mem = { 0 };
	struct at_sampled o;
	int i, j, t, passed = 0;

	for (j = 0; j < 2; j++)
		for (i = 0; i < 40; i++)
			for (t = 0; t < 2; t++) {
				memset(x, 0, sizeof(x));
				x[i] = poison[j];
				s.temperature = t;
				in.n_top = i % 3 - 1;
				passed += at_sample(&in, &mem, &o) != -1;
				passed += at_sample_score(&in, 2, &o) != -1;
			}
	EQ_INT(passed, 0, "a NaN or +infinity anywhere is an error");
	for (i = 0; i < 40; i++)
		x[i] = -INFINITY;
	OK(at_sample(&in, &mem, &o) == -1, "so are only -infinities");
	at_sample_mem_free(&mem);
}

static void
test_exp(void)
{
	double worst = 0, z;

	for (z = 0; z <= Z_MAX; z += 0.00037)
		worst = fmax(worst, fabs(exp_minus(z) / exp(-z) - 1));
	OK(worst < 2e-15, "exp_minus: relative error %.1e", worst);
	OK(exp_minus(0) == 1.0, "exp_minus(0) is 1");
}

/* A vocabulary of 150 k in well under the time of a forward pass; the bound is
 * loose, it is there to catch a full sort or worse. */
static void
test_large(void)
{
	enum { N = 151936 };
	static const struct at_sampling kinds[] = {
		{ 0, 1, 0, 0, 1 }, { 1, 1, 0, 0, 1 }, { 0.7, 0.8, 0, 20, 1 },
		{ 1, 0.95, 0, 0, 1 }, { 1, 1, 0.05, 0, 1 },
	};
	float *x = mem_alloc(N * sizeof(*x));
	struct ref *r = mem_alloc(N * sizeof(*r));
	struct at_sample_mem mem = { 0 };
	struct rng g = { 3, 0 };
	size_t k;

	fill(x, N, &g, 3, false);
	for (k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct at_sample_in in = { .s = &kinds[k], .kern = kern,
		    .logits = x, .n = N, .n_top = -1 };
		struct at_sampled o;
		uint64_t t = clock_ns();
		int i, bad = 0;

		for (i = 0; i < 20; i++) {
			in.pos = i;
			bad += at_sample(&in, &mem, &o) != 0;
		}
		t = (clock_ns() - t) / 20;
		if (kinds[k].temperature > 0)
			bad += (int)o.id != ref_draw(&in, r);
		OK(bad == 0 && t < 1000000000, "150k ids, T %g top_p %g top_k "
		    "%d min_p %g: %.2f ms", kinds[k].temperature,
		    kinds[k].top_p, kinds[k].top_k, kinds[k].min_p,
		    (double)t / 1e6);
	}
	mem_free(x);
	mem_free(r);
	at_sample_mem_free(&mem);
}

int
main(void)
{
	struct kern_opt o = { .backend = "cpu", .act = KERN_F32, .threads = 1 };
	char why[KERN_WHY];

	if (!OK(kern_open(&kern, &o, why) == 0, "a kern opens"))
		return tap_done();
	test_exp();
	test_greedy();
	test_bad_logits();
	test_against_reference();
	test_frequency();
	test_large();
	kern_close(kern);
	return tap_done();
}
