/* Unit tests of moe-bench gen: arrivals, lengths, traces; and of skew: shares
 * and draws. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "skew.h"
#include "tap.h"

#include "../../src/moe-bench/bench_arrival.c"
#include "../../src/moe-bench/bench_gen.c"

static char tmp[] = "/tmp/moe-gen.XXXXXX";

static const char *
with_text(const char *text)
{
	FILE *fp = fopen(tmp, "w");

	fputs(text, fp);
	fclose(fp);
	return tmp;
}

static bool
near(double a, double b, double tol)
{
	return fabs(a - b) <= tol;
}

static void
test_gaps(void)
{
	struct bench_gen_opt o = { .rate = 4, .cv = 2, .lengths = "short",
	    .n = 20000 };
	bench_gen_list a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
	struct err e = ERR_INIT;
	double sum, sq, gap, want[] = { 1, 2, 0 };
	size_t i;

	for (o.kind = BENCH_GEN_POISSON; o.kind <= BENCH_GEN_EVEN; o.kind++) {
		a.n = 0;
		sum = sq = 0;
		if (!OK(bench_gen(&o, &a, &e) == 0 && a.n == 20000, "kind %d",
		    o.kind))
			continue;
		for (i = 1; i < a.n; i++) {
			gap = (a.p[i].at_s - a.p[i - 1].at_s) * 4;
			sum += gap;
			sq += gap * gap;
		}
		sum /= 19999;
		sq = sqrt(sq / 19999 - sum * sum > 0 ?
		    sq / 19999 - sum * sum : 0);
		OK(near(sum, 1, 0.06), "mean gap of kind %d: %g", o.kind, sum);
		OK(near(sq, want[o.kind], 0.12), "its deviation: %g", sq);
	}
	o.kind = BENCH_GEN_GAMMA;
	a.n = 0;
	OK(bench_gen(&o, &a, &e) == 0 && bench_gen(&o, &b, &e) == 0 &&
	    memcmp(a.p, b.p, a.n * sizeof(*a.p)) == 0, "the same seed");
	o.seed = 1;
	b.n = 0;
	OK(bench_gen(&o, &b, &e) == 0 &&
	    memcmp(a.p, b.p, a.n * sizeof(*a.p)) != 0, "another seed");
	VEC_FREE(&a);
	VEC_FREE(&b);
}

static void
check_range(const char *spec, const int64_t want[4])
{
	struct bench_gen_opt o = { .cv = 1, .lengths = spec, .n = 5000 };
	bench_gen_list a = { NULL, 0, 0 };
	int64_t got[4] = { 1 << 30, 0, 1 << 30, 0 };
	struct err e = ERR_INIT;
	size_t i;

	if (!OK(bench_gen(&o, &a, &e) == 0, "%s", spec))
		return;
	for (i = 0; i < a.n; i++) {
		got[0] = a.p[i].in_tok < got[0] ? a.p[i].in_tok : got[0];
		got[1] = a.p[i].in_tok > got[1] ? a.p[i].in_tok : got[1];
		got[2] = a.p[i].out_tok < got[2] ? a.p[i].out_tok : got[2];
		got[3] = a.p[i].out_tok > got[3] ? a.p[i].out_tok : got[3];
	}
	OK(memcmp(got, want, sizeof(got)) == 0, "%s: the whole range", spec);
	OK(near(a.p[a.n - 1].at_s, 0, 0), "rate 0: all at once");
	VEC_FREE(&a);
}

static void
test_lengths(void)
{
	static const char *const bad[] = { "", "long", "1", "0,5", "5-4,1",
	    "1,2-", "1,9999999" };
	struct bench_gen_opt o = { .cv = 1 };
	bench_gen_list a = { NULL, 0, 0 };
	struct err e;
	size_t i;

	check_range("short", (const int64_t[]){ 30, 70, 70, 130 });
	check_range("medium", (const int64_t[]){ 50, 150, 50, 250 });
	check_range("reasonable", (const int64_t[]){ 100, 300, 100, 500 });
	check_range("7,3-4", (const int64_t[]){ 7, 7, 3, 4 });
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e = (struct err)ERR_INIT;
		o.lengths = bad[i];
		OK(bench_gen(&o, &a, &e) != 0 && e.code == ERR_USAGE,
		    "refused: '%s'", bad[i]);
	}
}

static int
first_two(void *arg, const struct bench_arrival *a, struct err *err)
{
	struct bench_arrival *v = arg;

	(void)err;
	v[v[2].out_tok++ % 2] = *a;
	return 0;
}

static void
test_trace(void)
{
	static const char *const good[] = {
	    ("TIMESTAMP,ContextTokens,GeneratedTokens\n"
	    "2023-11-16 18:17:03.9799600,4808,10\n"
	    "2023-11-16 18:17:04.9799600,3180,8\n"),
	    ("{\"timestamp\": 5000, \"input_length\": 4808, "
	    "\"output_length\": 10}\n{\"timestamp\": 6000, "
	    "\"input_length\": 3180, \"output_length\": 8, "
	    "\"hash_ids\": []}\n"),
	    ("#moe:arrival/1\toutput_tok\tat_s\tinput_tok\n"
	    "10\t3\t4808\n8\t4\t3180\n") };
	static const char *const bad[] = { "", "x\n", "{\"timestamp\": 1}\n",
	    ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023,1,1\n"),
	    ("TIMESTAMP,ContextTokens,GeneratedTokens\n"
	    "2023-11-16 18:17:03,0,1\n"), "#moe:arrival/1\tat_s\n1\n" };
	struct err e;
	size_t i;

	for (i = 0; i < 3; i++) {
		struct bench_arrival v[3] = { { 0, 0, 0 } };

		e = (struct err)ERR_INIT;
		OK(bench_arrival_read(with_text(good[i]), first_two, v, &e) ==
		    0 && v[2].out_tok == 2 && v[0].in_tok == 4808 &&
		    v[0].out_tok == 10 && near(v[0].at_s, 0, 0) &&
		    v[1].in_tok == 3180 && near(v[1].at_s, 1, 1e-6),
		    "trace form %zu", i);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bench_arrival v[3] = { { 0, 0, 0 } };

		e = (struct err)ERR_INIT;
		OK(bench_arrival_read(with_text(bad[i]), first_two, v, &e) !=
		    0 && e.code == ERR_DATA, "refused: %zu: %s", i, e.text);
	}
}

/* The largest share of a layer, and that they add up to 1. */
static double
largest(const struct skew *s, int layer, int n)
{
	double sum = 0, max = 0, p;
	int i;

	for (i = 0; i < n; i++) {
		p = skew_share(s, layer, i);
		sum += p;
		max = p > max ? p : max;
	}
	OK(near(sum, 1, 1e-9), "shares add up to 1");
	return max;
}

static void
test_shares(void)
{
	static const struct {
		const char *spec;
		double max;
	} t[] = { { "uniform", 0.125 }, { "exp", (1 + 1.0 / 2 + 1.0 / 3 +
	    1.0 / 4 + 1.0 / 5 + 1.0 / 6 + 1.0 / 7 + 1.0 / 8) / 8 },
	    { "exp:0.5", 0.400810 }, { "zipf:1", 0.367937 } };
	struct err e = ERR_INIT;
	struct skew *s;
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (!OK(skew_open(&s, t[i].spec, 3, 8, 1, &e) == 0, "%s",
		    t[i].spec))
			continue;
		OK(near(largest(s, 2, 8), t[i].max, 1e-6), "its hottest: %g",
		    largest(s, 2, 8));
		skew_close(s);
	}
}

static void
test_files(void)
{
	const char *counts = "domain,layer,e0,e1,e2,e3\na,0,80,40,20,10\n"
	    "b,0,1,1,1,1\na,7,10,20,40,80\n";
	char spec[80];
	struct err e = ERR_INIT;
	struct skew *s;
	FILE *fp;

	with_text(counts);
	snprintf(spec, sizeof(spec), "counts:%s:a", tmp);
	OK(skew_open(&s, spec, 3, 4, 0, &e) == 0 &&
	    near(skew_share(s, 0, 0), 80.0 / 150, 1e-9) &&
	    near(skew_share(s, 1, 3), 80.0 / 150, 1e-9) &&
	    near(skew_share(s, 2, 0), 80.0 / 150, 1e-9),
	    "counts of a domain, layers in turn");
	fp = fopen(tmp, "w");
	OK(skew_write(s, fp, false, &e) == 0, "written");
	fclose(fp);
	skew_close(s);
	OK(skew_open(&s, tmp, 4, 4, 0, &e) == 0 &&
	    near(skew_share(s, 0, 0), 80.0 / 150, 1e-5) &&
	    near(skew_share(s, 3, 0), 80.0 / 150, 1e-5), "and read");
	skew_close(s);
	e = (struct err)ERR_INIT;
	OK(skew_open(&s, tmp, 1, 3, 0, &e) != 0 && e.code == ERR_DATA,
	    "an expert too many");
	e = (struct err)ERR_INIT;
	OK(skew_open(&s, tmp, 1, 5, 0, &e) != 0 && e.code == ERR_DATA,
	    "or too few");
	with_text(counts);
	snprintf(spec, sizeof(spec), "fit:%s:a", tmp);
	e = (struct err)ERR_INIT;
	OK(skew_open(&s, spec, 5, 4, 0, &e) == 0 &&
	    near(largest(s, 4, 4), 8.0 / 15, 1e-6), "a fit that is exact: %s",
	    e.text);
	skew_close(s);
	snprintf(spec, sizeof(spec), "counts:%s:c", tmp);
	OK(skew_open(&s, spec, 1, 4, 0, &e) != 0 && e.code == ERR_DATA,
	    "no such domain");
	OK(skew_open(&s, "exp:x", 1, 4, 0, &e) != 0 && e.code == ERR_USAGE,
	    "no number");
	OK(skew_open(&s, "/none/such", 1, 4, 0, &e) != 0 &&
	    e.code == ERR_USAGE, "no rule, no file");
}

static void
test_draws(void)
{
	enum { N = 20000 };
	struct err e = ERR_INIT;
	struct skew *s;
	int32_t id[8], again[8];
	double n[8] = { 0 }, second = 0, want = 0, p;
	float w[8], w2[8];
	bool all = true, sum = true, same = true;
	int i, j;

	OK(skew_open(&s, "exp", 2, 8, 3, &e) == 0, "open");
	for (i = 0; i < N; i++) {
		skew_pick(s, (uint64_t)i, i % 100, 1, 2, id, w);
		skew_pick(s, (uint64_t)i, i % 100, 1, 2, again, w2);
		n[id[0]]++;
		second += id[1] == 0;
		all &= id[0] != id[1];
		sum &= w[0] >= w[1] && w[1] >= 0.33f &&
		    fabsf(w[0] + w[1] - 1) < 1e-6f;
		same &= memcmp(id, again, 8) == 0 && memcmp(w, w2, 8) == 0;
	}
	OK(all && sum && same, "different experts, weights, no state");
	for (j = 0; j < 8; j++) {
		p = skew_share(s, 1, j);
		OK(near(n[j] / N, p, 4 * sqrt(p / N)), "expert %d: %g, share "
		    "%g", j, n[j] / N, p);
		if (j != 0)
			want += p * skew_share(s, 1, 0) / (1 - p);
	}
	OK(near(second / N, want, 0.012), "the second, without replacement: "
	    "%g, not %g", second / N, want);
	skew_pick(s, 5, 0, 0, 8, id, w);
	for (i = j = 0; i < 8; i++)
		j |= 1 << id[i];
	OK(j == 255, "all of them");
	skew_close(s);
}

int
main(void)
{
	int fd = mkstemp(tmp);

	if (fd < 0)
		return 1;
	close(fd);
	test_gaps();
	test_lengths();
	test_trace();
	test_shares();
	test_files();
	test_draws();
	unlink(tmp);
	return tap_done();
}
