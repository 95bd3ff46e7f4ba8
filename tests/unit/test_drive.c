/* Unit tests of moe-bench drive (arrivals, inputs, numbers) and of the parsers
 * of a completion's stream under it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oai.h"
#include "sse.h"
#include "tap.h"

#include "../../src/moe-bench/bench_arrival.c"
#include "../../src/moe-bench/bench_drive_load.c"
#include "../../src/moe-bench/bench_drive_sum.c"

static bool
near(double a, double b)
{
	return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

static void
test_dist(void)
{
	double v[] = { 4, 1, 3, 2 }, w[] = { 7 };
	struct drive_dist d;

	drive_dist(v, 4, &d);
	OK(near(d.mean, 2.5) && near(d.median, 2.5) && near(d.max, 4),
	    "mean, median, max");
	OK(near(d.std, sqrt(1.25)), "deviation of the population");
	OK(near(d.p90, 3.7) && near(d.p99, 3.97),
	    "quantiles interpolate between neighbours");
	drive_dist(w, 1, &d);
	OK(near(d.p99, 7) && near(d.std, 0), "one value");
	drive_dist(w, 0, &d);
	OK(d.n == 0 && near(d.mean, 0), "none");
}

static void
test_arrival(void)
{
	double at = 0, sum = 0, sq = 0, before;
	int i, n = 20000;

	for (i = 1; i <= n; i++) {
		before = at;
		at = drive_arrival(5, (size_t)i, at, 10);
		sum += at - before;
		sq += (at - before) * (at - before);
	}
	OK(fabs(sum / n - 0.1) < 0.003, "10 a second: %.4f s apart", sum / n);
	OK(fabs(sq / n - 0.02) < 0.002, "exponential: second moment 2/rate^2");
	OK(near(drive_arrival(5, 9, 1, 10), drive_arrival(5, 9, 1, 10)) &&
	    !near(drive_arrival(6, 9, 1, 10), drive_arrival(5, 9, 1, 10)),
	    "a function of the seed");
	OK(near(drive_arrival(5, 9, 1, 0), 0), "without a rate: at once");
}

static void
test_time(void)
{
	double a, b;

	OK(bench_arrival_time("2023-11-16 18:17:03.9799600", &a) == 0 &&
	    bench_arrival_time("2023-11-16 18:17:04.0319600", &b) == 0 &&
	    fabs(b - a - 0.052) < 1e-6, "times of a trace");
	OK(bench_arrival_time("2023-11-16", &a) != 0 &&
	    bench_arrival_time("2023-11-16 18:17:03x", &a) != 0, "others are refused");
}

/* Write text to a file and load it. */
static int
load(struct drive *d, const char **which, const char *text, struct err *e)
{
	char path[] = "/tmp/moe-test-XXXXXX";
	int fd = mkstemp(path), rc;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	*which = path;
	memset(e, 0, sizeof(*e));
	rc = drive_load(d, e);
	unlink(path);
	return rc;
}

static void
test_inputs(void)
{
	struct drive d = { .o = { .max_tokens = 9, .vocab = 50, .n = 3 } };
	struct err e = ERR_INIT;
	int64_t i;
	bool good = true;

	d.o.random = "12,7";
	OK(drive_load(&d, &e) == 0 && d.n_req == 3, "random: n requests");
	for (i = 0; i < 12; i++)
		good = good && json_integer_value(json_array_get(
		    d.req[0].prompt, (size_t)i)) < 50;
	OK(good && json_array_size(d.req[0].prompt) == 12 &&
	    d.req[0].max_tok == 7 && !json_equal(d.req[0].prompt,
	    d.req[1].prompt), "IN ids below the vocabulary, OUT tokens");
	drive_load_free(&d);
	d.o.random = "12";
	OK(drive_load(&d, &e) != 0 && e.code == ERR_USAGE, "IN,OUT or nothing");

	d = (struct drive){ .o = { .max_tokens = 9 } };
	OK(load(&d, &d.o.prompts, "plain text\n\n{\"question\": \"q\"}\n"
	    "{\"turns\": [\"a\", \"b\"]}\n{\"prompt\": [1, 2]}\n", &e) == 0 &&
	    d.n_req == 4, "prompts: text and three kinds of JSON");
	EQ_STR(json_string_value(d.req[2].prompt), "a", "the first turn");
	OK(json_array_size(d.req[3].prompt) == 2, "token ids");
	drive_load_free(&d);
	d = (struct drive){ .o = { .max_tokens = 9 } };
	OK(load(&d, &d.o.prompts, "x\n{\"a\": 1}\n", &e) != 0 &&
	    e.code == ERR_DATA && strstr(e.text, ":2:") != NULL,
	    "an object without a prompt: file and line");
	drive_load_free(&d);
}

static void
test_trace(void)
{
	static const char text[] = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
	    "2023-11-16 18:00:00.0,100,44\n2023-11-16 18:00:01.0,7,3\n"
	    "2023-11-16 18:00:04.0,8,4\n";
	struct drive d = { .o = { .max_tokens = 9, .vocab = 50,
	    .max_input = 20 } };
	struct err e = ERR_INIT;

	OK(load(&d, &d.o.trace, text, &e) == 0 && d.n_req == 3, "a trace");
	OK(json_array_size(d.req[0].prompt) == 20 && d.req[0].max_tok == 9,
	    "lengths are cut to the limits");
	OK(near(d.req[1].at_s, 1) && near(d.req[2].at_s, 4), "its own times");
	drive_load_free(&d);
	d = (struct drive){ .o = { .max_tokens = 9, .vocab = 50,
	    .max_input = 20, .rate_text = "4", .rate = 4 } };
	OK(load(&d, &d.o.trace, text, &e) == 0 && near(d.req[2].at_s, 0.5) &&
	    near(d.req[1].at_s, 0.125), "--rate squeezes them");
	drive_load_free(&d);
	d = (struct drive){ .o = { .max_tokens = 9, .vocab = 50 } };
	OK(load(&d, &d.o.trace, "TIMESTAMP,ContextTokens,GeneratedTokens\n"
	    "yesterday,1,2\n", &e) != 0 && strstr(e.text, ":2:") != NULL,
	    "a line that is no request is named");
	drive_load_free(&d);
}

/* One request due at 1 s, sent 2 ms late, pieces at 1010, 1030, 1040 ms. */
static void
test_sum(void)
{
	struct drive_req r[2] = { { .at_s = 1 }, { .at_s = 2 } };
	struct drive d = { .req = r, .n_req = 2, .start_ns = 1, .peak = 1,
	    .model = (char[]){ "m" } };
	struct drive_sum s;
	json_t *o;

	r[0].due_ns = 1000000001;
	r[0].sent_ns = 1002000001;
	VEC_PUSH(&r[0].chunk_ns, 1010000001);
	VEC_PUSH(&r[0].chunk_ns, 1030000001);
	VEC_PUSH(&r[0].chunk_ns, 1040000001);
	r[0].output_tok = 4;
	r[0].prompt_tok = 6;
	r[0].sent = r[0].ok = true;
	d.end_ns = 2000000001;
	drive_sum(&d, &s);
	OK(near(s.ttft.mean, 10), "TTFT counts from when it was due");
	OK(near(s.e2el.mean, 40) && near(s.tpot.mean, 10), "E2E, TPOT");
	OK(near(s.itl.max, 20) && s.itl.n == 2, "ITL, a value for each gap");
	OK(near(s.late.max, 2), "the generator was 2 ms late");
	OK(s.completed == 1 && s.lost == 1, "what was not answered is lost");
	o = drive_sum_json(&d, &s);
	OK(near(json_real_value(json_object_get(o, "output_throughput")), 2) &&
	    near(json_real_value(json_object_get(o, "p99_itl_ms")), 19.9) &&
	    json_integer_value(json_object_get(o, "total_input_tokens")) == 6,
	    "the summary has the same numbers");
	OK(json_is_null(json_object_get(o, "wrong")),
	    "wrong is unknown without --check");
	json_decref(o);
	VEC_FREE(&r[0].chunk_ns);
}

static void
test_differ(void)
{
	static const int32_t a[] = { 1, 2, 3, 4 }, b[] = { 1, 9, 3 };

	OK(drive_differ(a, 4, a, 4) == 0, "nothing differs");
	OK(drive_differ(a, 4, b, 3) == 2 && drive_differ(b, 3, a, 4) == 2,
	    "a token that is another, and one that is missing");
	OK(drive_differ(a, 4, NULL, 0) == 4, "all are missing");
}

/* ---- streams ------------------------------------------------------------------ */

static void
note_event(void *arg, const char *event, const char *data, size_t n)
{
	str_addf(arg, "[%s|%.*s]", event, (int)n, data);
}

static void
test_sse(void)
{
	static const char text[] = ":c\r\ndata: a\ndata: b\n\nevent: error\r"
	    "data:x\r\rid: 3\ndata\n\ndata: cut off";
	static const char want[] = "[|a\nb][error|x][|]";
	struct str got = STR_INIT;
	struct sse s;
	size_t cut, i;
	bool good = true;

	for (cut = 1; cut < sizeof(text); cut++) {
		str_clear(&got);
		sse_init(&s, note_event, &got);
		for (i = 0; i < sizeof(text) - 1; i += cut)
			if (sse_feed(&s, text + i, i + cut < sizeof(text) - 1 ?
			    cut : sizeof(text) - 1 - i) != 0)
				good = false;
		good = good && strcmp(str_c(&got), want) == 0;
		sse_free(&s);
	}
	OK(good, "events are the same however the bytes are cut");
	str_free(&got);
}

static int
parse_text(struct oai_piece *p, const char *text)
{
	return oai_parse(p, text, strlen(text));
}

static void
test_piece(void)
{
	struct oai_piece p = { 0 };

	OK(parse_text(&p, "{\"choices\":[{\"text\":\"hi\",\"token_ids\":[3,4],"
	    "\"finish_reason\":\"stop\"}]}") == 0 && p.n_id == 2 &&
	    p.id[1] == 4 && !p.failed, "token ids");
	EQ_STR(str_c(&p.text), "hi", "text");
	EQ_STR(str_c(&p.finish), "stop", "finish_reason");
	OK(parse_text(&p, "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}") ==
	    0 && !p.have_id && strcmp(str_c(&p.text), "x") == 0, "a chat's");
	OK(parse_text(&p, "{\"choices\":[],\"usage\":{\"prompt_tokens\":5,"
	    "\"completion_tokens\":6}}") == 0 && p.prompt_tok == 5 &&
	    p.output_tok == 6 && p.n_id == 0, "usage");
	OK(parse_text(&p, "{\"error\":{\"message\":\"no\"}}") == 0 && p.failed &&
	    strcmp(str_c(&p.why), "no") == 0, "an error");
	OK(parse_text(&p, "[]") != 0 && parse_text(&p, "{}") != 0 &&
	    parse_text(&p, "{\"choices\":[{\"token_ids\":[-1]}]}") != 0,
	    "anything else is refused");
	oai_piece_free(&p);
}

int
main(void)
{
	test_dist();
	test_arrival();
	test_time();
	test_inputs();
	test_trace();
	test_sum();
	test_differ();
	test_sse();
	test_piece();
	return tap_done();
}
