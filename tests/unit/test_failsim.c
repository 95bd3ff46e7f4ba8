/* Unit tests of drills and of the event stream between run and judge. */
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "mem.h"
#include "tap.h"

#include "../../src/moe-failsim/fs_bounds.c"
#include "../../src/moe-failsim/fs_drill.c"
#include "../../src/moe-failsim/fs_measure.c"
#include "../../src/moe-failsim/fs_random.c"
#include "../../src/moe-failsim/fs_tally.c"

static struct fs_drill *
good(const char *text)
{
	struct fs_drill *d = NULL;
	struct err e = ERR_INIT;

	OK(fs_drill_parse(&d, text, strlen(text), "d", &e) == 0, "a drill: %s",
	    e.text);
	BUG_ON(d == NULL);
	return d;
}

static void
test_good(void)
{
	struct fs_drill *d = good("# a comment\nmoe-drill 1\nseed 9\n"
	    "streams 3\nrequests 5\ntokens 17\ntemperature 0.5 0\nlimit 4s\n"
	    "words 3-90\nquiet 1s\nrest 2ms\nsettle 3s\nprompt  two  words \n"
	    "cluster -e 4 -- -x\njudge --max-lost 3\n"
	    "at 500ms kill e1 restart 1s\ntokens-out 200 stop expert for 30ms\n"
	    "every 2s count 4 term front restart 0ms\nat 1s cont e2\n");

	OK(d->seed == 9 && d->streams == 3 && d->requests == 5 &&
	    d->tokens == 17 && d->limit_ns == 4000000000u &&
	    d->n_temperature == 2 && d->temperature[1] == 0 &&
	    d->words_lo == 3 && d->words_hi == 90 &&
	    d->quiet_ns == 1000000000 && d->rest_ns == 2000000 &&
	    d->settle_ns == 3000000000u, "the load");
	EQ_STR(d->prompt[0], "two  words ", "a prompt is the rest of the line");
	EQ_INT(d->n_step, 4, "steps");
	OK(d->step[0].at.lo_ns == 500000000 && d->step[0].action == FS_KILL &&
	    d->step[0].undo && d->step[0].undo_after.lo_ns == 1000000000 &&
	    strcmp(d->step[0].who, "e1") == 0 && d->step[0].count == 1,
	    "at ... kill ... restart");
	OK(d->step[1].after_tok == 200 && d->step[1].action == FS_STOP &&
	    d->step[1].undo_after.lo_ns == 30000000,
	    "tokens-out ... stop ... for");
	OK(d->step[2].every.lo_ns == 2000000000u && d->step[2].count == 4 &&
	    d->step[2].undo && d->step[2].undo_after.lo_ns == 0,
	    "every ... count");
	OK(!d->step[3].undo && d->step[3].line == 19, "line numbers");
	fs_drill_free(d);
}

static void
test_more(void)
{
	struct fs_drill *d = good("moe-drill 1\n"
	    "every 100ms-200ms until 5s kill expert restart 10ms-20ms\n"
	    "at 1s link e1 delay=5ms,jitter=1ms for 300ms\n"
	    "at 2s load 10x for 60s\nat 3s do echo  a b\nanswers-out 7 roll any\n"
	    "at 4s start e3\nat 5s dead expert restart 1s\n"
	    "at 6s drain e2 restart 2s\nat 7s move\nat 8s move 5\nlast do true\n");
	struct rng r = { 1, 0 };
	uint64_t v, lo = UINT64_MAX, hi = 0;
	int i;

	OK(d->step[0].until_ns == 5000000000u && d->step[0].count == 1,
	    "every ... until");
	for (i = 0; i < 200; i++) {
		v = fs_drill_draw(&d->step[0].every, &r);
		lo = v < lo ? v : lo;
		hi = v > hi ? v : hi;
	}
	OK(lo >= 100000000 && hi <= 200000000 && lo < 110000000 &&
	    hi > 190000000, "random times within their range");
	OK(d->step[1].action == FS_LINK && d->step[1].undo &&
	    strcmp(d->step[1].text, "delay=5ms,jitter=1ms") == 0, "link");
	OK(d->step[2].action == FS_LOAD && d->step[2].factor == 10, "load");
	EQ_STR(d->step[3].text, "echo  a b", "do has the rest of the line");
	OK(d->step[4].after_answer == 7 && d->step[4].action == FS_ROLL,
	    "answers-out ... roll");
	OK(d->step[5].action == FS_START && !d->step[5].undo, "start");
	OK(d->step[6].action == FS_DEAD && d->step[6].undo &&
	    d->step[7].action == FS_DRAIN && d->step[7].undo_after.lo_ns ==
	    2000000000u, "dead and drain, with a restart");
	OK(d->step[8].action == FS_MOVE && d->step[8].n_move == 1 &&
	    d->step[9].n_move == 5, "move");
	OK(d->step[10].last && !d->step[9].last, "last");
	fs_drill_free(d);
}

/* The same seed makes the same drill, another one another; all can be read. */
static void
test_random(void)
{
	struct fs_proc p[] = {
		{ .role = "expertd", .id = "e1", .fault_file = "/tmp/f" },
		{ .role = "expertd", .id = "e2" },
		{ .role = "attnd", .id = "a1" }, { .role = "attnd", .id = "a2" },
		{ .role = "route", .id = "r1" }, { .role = "front", .id = "door" },
	};
	const struct fs_procs all = { p, 6, 6 };
	struct str a = STR_INIT, b = STR_INIT, c = STR_INIT;
	struct fs_drill *d;

	fs_random_text(&a, 5, 60000000000u, &all);
	fs_random_text(&b, 5, 60000000000u, &all);
	fs_random_text(&c, 6, 60000000000u, &all);
	EQ_STR(str_c(&a), str_c(&b), "the same seed, the same drill");
	OK(strcmp(str_c(&a), str_c(&c)) != 0, "another seed, another drill");
	OK(strstr(str_c(&a), " door ") == NULL &&
	    strstr(str_c(&a), "link e2") == NULL &&
	    strstr(str_c(&a), "link e1") != NULL, "whom it can be done to");
	d = good(str_c(&a));
	OK(d->n_step > 20 && d->step[d->n_step - 1].at.lo_ns < 60000000000u,
	    "%zu steps", d->n_step);
	fs_drill_free(d);
	str_free(&a);
	str_free(&b);
	str_free(&c);
}

static void
test_bad(void)
{
	static const struct { const char *text, *want; } bad[] = {
		{ "", "d:1: no line" }, { "at 1s kill e1", "d:1: the first" },
		{ "moe-drill 2\n", "d:1:" }, { "moe-drill 1\n", "without" },
		{ "moe-drill 1\nat 1s\n", "d:2: '' is no action" },
		{ "moe-drill 1\nat 1s kill\n", "d:2: kill whom" },
		{ "moe-drill 1\nat soon kill e1\n", "'soon'" },
		{ "moe-drill 1\nat 2s-1s kill e1\n", "'2s-1s'" },
		{ "moe-drill 1\nat 1s kill e1 for 1s\n", "does not go" },
		{ "moe-drill 1\nat 1s stop e1 restart 1s\n", "does not go" },
		{ "moe-drill 1\nat 1s start e1 for 1s\n", "does not go" },
		{ "moe-drill 1\nat 1s kill e1 restart\n", "'' is not a time" },
		{ "moe-drill 1\nat 1s kill e1 restart 1s 2\n", "too much" },
		{ "moe-drill 1\nat 1s link e1 dealy=1\n", "no such key 'dealy'" },
		{ "moe-drill 1\nat 1s link e1 @/x\n", "what?" },
		{ "moe-drill 1\nat 1s load manyx\n", "'many' is not a factor" },
		{ "moe-drill 1\nat 1s do\n", "do what" },
		{ "moe-drill 1\nat 1s move 0\n", "number from 1 to 64" },
		{ "moe-drill 1\nat 1s move 3 e1\n", "does not go" },
		{ "moe-drill 1\nat 1s dead\n", "dead whom" },
		{ "moe-drill 1\nevery 1s kill e1\n", "count" },
		{ "moe-drill 1\nevery 2s until 1s kill e1\n", "before the first" },
		{ "moe-drill 1\nevery 0s count 2 kill e1\n", "no interval" },
		{ "moe-drill 1\nstreams 0\n", "d:2: streams" },
		{ "moe-drill 1\nstreams 3 4\n", "too much" },
		{ "moe-drill 1\nwords 9-3\n", "words" },
		{ "moe-drill 1\ntemperature\n", "temperature" },
		{ "moe-drill 1\nprompt\n", "empty prompt" },
		{ "moe-drill 1\nprompts /no/such/file\n", "d:2: prompts: /no" },
		{ "moe-drill 1\nprompt \xff\n", "UTF-8" },
		{ "moe-drill 1\nnoise 3\n", "'noise' is not known" },
	};
	struct fs_drill *d;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		memset(&e, 0, sizeof(e));
		OK(fs_drill_parse(&d, bad[i].text, strlen(bad[i].text), "d",
		    &e) != 0 && e.code == ERR_DATA &&
		    strstr(e.text, bad[i].want) != NULL, "refused: %s",
		    e.text);
	}
}

/* ---- tally ---- */

#define HEAD	"#moe:event/1\tt_us\tsource\tsubject\tevent\tcause\tdetail\n"
#define ME	"\tmoe-failsim\t"

static const char whole[] = HEAD
    "0" ME "drill\tbegin\t-\titl_p50_us=1000\n"
    "0" ME "drill\ttokens\t-\tn=0\n"
    "1000000" ME "e1\tkill\tkill-expert\tfault=1 line=2\n"
    "1000000" ME "drill\ttokens\t-\tn=100\n"
    "1200000" ME "s1\ttouched\tkill-expert\tfault=1 stall_us=6000\n"
    "1200000" ME "s1\tdone\t-\tstall_us=6000 first_us=10 fault=1\n"
    "1300000" ME "s2\ttouched\tkill-expert\tfault=1 stall_us=900\n"
    "1300000" ME "s2\tdone\t-\tstall_us=900 first_us=30 fault=1\n"
    "2000000" ME "e1\trestart\tundo\tfault=1\n"
    "2000000" ME "drill\ttokens\t-\tn=150\n"
    "3000000" ME "drill\ttokens\t-\tn=350\n"
    "3000000" ME "drill\tclosing\t-\t-\n"
    "1002000\ta1\te1\tnoticed\tgone\t-\n"
    "1003000\ta1\te1\treplayed\t-\t-\n"
    "999000\ta1\te1\tmasked\t-\t-\n"
    "1500000\ta1\te2\tmasked\t-\t-\n";
#define END	"3000000" ME "drill\tend\t-\tstarted=2 done=2 lost=0 wrong=0 "	\
	"refused=0 touched=2 planned=1 executed=1 missed=0\n"

/* 0, or the error's code; the tally is the caller's. */
static int
tally(struct fs_tally *t, const char *a, const char *b, struct err *err)
{
	char *text = mem_printf("%s%s", a, b);
	FILE *fp = fmemopen(text, strlen(text), "r");
	struct rec_in in;
	struct event e;
	int rc;

	memset(t, 0, sizeof(*t));
	event_in_open(&in, fp, "-");
	while ((rc = event_next(&in, &e, err)) == 1)
		if ((rc = fs_tally_add(t, &e, err)) != 0)
			break;
	if (rc == 0)
		rc = fs_tally_end(t, err);
	rec_in_close(&in);
	fclose(fp);
	mem_free(text);
	return rc == 0 ? 0 : (int)err->code;
}

static void
test_tally(void)
{
	struct err err = ERR_INIT;
	struct fs_tally t;
	struct fs_kind *k;

	EQ_INT(tally(&t, whole, END, &err), 0, "a whole drill");
	OK(t.kind.n == 1 && t.done == 2 && t.executed == 1, "its counts");
	k = &t.kind.p[0];
	EQ_STR(k->name, "kill-expert", "the kind of fault");
	OK(k->stall_us.n == 2 && k->stall_us.p[0] == 900 &&
	    fs_tally_quantile(k->stall_us.p, 2, 0.99) == 6000, "its stalls");
	OK(k->stage_us[FS_NOTICED].p[0] == 2000 &&
	    k->stage_us[FS_REPLAYED].p[0] == 3000 && k->replayed == 1 &&
	    k->stage_us[FS_MASKED].n == 0 && k->stage_us[FS_REPAIRED].n == 0,
	    "what a daemon said of that member since then");
	OK((int)(fs_tally_rate(&t, 0, 1000000) + 0.5) == 100 &&
	    (int)(fs_tally_rate(&t, 1000000, 2000000) + 0.5) == 50 &&
	    (int)(fs_tally_rate(&t, 2000000, 3000000) + 0.5) == 200,
	    "tokens a second");
	fs_tally_free(&t);
}

/* ---- bounds ---- */

/* Calm for two seconds, a fault of one second, and two more. */
static const char more[] = HEAD
    "0" ME "drill\tbegin\t-\titl_p50_us=1000\n"
    "0" ME "drill\ttokens\t-\tn=0\n"
    "1000000" ME "s1\tdone\t-\tstall_us=900 first_us=5000 total_us=100000\n"
    "2000000" ME "drill\ttokens\t-\tn=200\n"
    "2000000" ME "drill\tpace\trest\tgaps=200 p50_us=900 p99_us=2000\n"
    "2000000" ME "e1\tkill\tkill-expert\tfault=1 line=2\n"
    "2500000" ME "drill\ttokens\t-\tn=210\n"
    "2700000" ME "drill\tpace\tstep\tgaps=300 p50_us=900 p99_us=6000\n"
    "2800000" ME "s2\tdone\t-\tstall_us=900 first_us=5000 total_us=700000\n"
    "3000000" ME "e1\trestart\tundo\tfault=1\n"
    "3000000" ME "drill\ttokens\t-\tn=250\n"
    "3500000" ME "s3\trefused\t-\tstall_us=0 first_us=-1 total_us=1000\n"
    "4000000" ME "drill\ttokens\t-\tn=350\n"
    "4000000" ME "drill\tpace\trest\tgaps=200 p50_us=900 p99_us=3000\n"
    "4000000" ME "drill\tclosing\t-\t-\n"
    "2001000\ta1\te1\tnoticed\tgone\t-\n"
    "2002000\ta1\te1\tserves\t-\t-\n"
    "3080000\ta1\te1\tserves\t-\t-\n"
    "4000000" ME "drill\tend\t-\tstarted=3 done=2 lost=0 wrong=0 refused=1 "
    "touched=0 planned=1 executed=1 missed=0\n";

static void
test_measure(void)
{
	struct err err = ERR_INIT;
	struct fs_measure m;
	struct fs_tally t;

	EQ_INT(tally(&t, more, "", &err), 0, "a whole drill");
	fs_measure(&t, &m);
	OK((int)(m.before + 0.5) == 100 && (int)(m.during + 0.5) == 50 &&
	    (int)(m.worst + 0.5) == 50 && (int)(m.after + 0.5) == 100,
	    "rates, also of the worst second");
	OK(m.step_ratio == 2, "the gaps after a fault, of those at rest");
	OK(m.serves == 1 && m.serves_p99_us == 80000, "from the start of a "
	    "server to its first answer (%lld us)", (long long)m.serves_p99_us);
	OK(m.calm_us == 100000 && m.loaded_us == 700000, "whole answers");
	EQ_INT(m.recovery_us, 500000, "until nobody is refused");
	EQ_INT(t.fate.p[0].stage_us[FS_NOTICED], 1000, "of one fault");
	fs_tally_free(&t);
}

static void
test_bounds(void)
{
	static const struct { const char *why; struct fs_bounds b; } bad[] = {
		{ "refused", { .refused = 0 } },
		{ "--min-during", { .refused = 1, .during_pct = 51 } },
		{ "--min-after", { .refused = 1, .after_pct = 101 } },
		{ "--min-worst", { .refused = 1, .worst_pct = 51 } },
		{ "--max-serves", { .refused = 1, .serves_ms = 79 } },
		{ "--max-step", { .refused = 1, .step = 1.9 } },
		{ "--max-slower", { .refused = 1, .slower = 2, .slower_ms = 490 } },
		{ "--max-recovery", { .refused = 1, .recovery_ms = 499 } },
	};
	const struct fs_bounds none = FS_BOUNDS_INIT;
	struct err err = ERR_INIT;
	struct fs_kind all = { .name = "all" };
	struct fs_measure m;
	struct fs_bounds b;
	struct fs_tally t;
	const struct fs_found f = { &t, &all, &m };
	char text[1000];
	FILE *fp;
	size_t i;

	EQ_INT(tally(&t, more, "", &err), 0, "a whole drill");
	fs_measure(&t, &m);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		b = none;
		b.refused = bad[i].b.refused;
		b.during_pct = bad[i].b.during_pct;
		b.after_pct = bad[i].b.after_pct;
		b.worst_pct = bad[i].b.worst_pct;
#define TAKE(x)	if (bad[i].b.x > 0) b.x = bad[i].b.x
		TAKE(serves_ms);
		TAKE(step);
		TAKE(slower);
		TAKE(slower_ms);
		TAKE(recovery_ms);
		fp = fmemopen(text, sizeof(text), "w");
		EQ_INT(fs_bounds_tell(&b, &f, "", fp), ERR_NO, "no");
		fclose(fp);
		OK(strncmp(text, "no: ", 4) == 0 &&
		    strstr(text, bad[i].why) != NULL, "%s", text);
		b.slack = 1.1;
		fp = fmemopen(text, sizeof(text), "w");
		EQ_INT(fs_bounds_tell(&b, &f, "", fp), i == 0 ? ERR_NO : 0,
		    "slack is for times and rates only");
		fclose(fp);
		OK(strstr(text, "slack 1.1") != NULL, "and is told");
	}
	fs_tally_free(&t);
}

static void
test_contradictions(void)
{
	static const struct { const char *last, *want; } bad[] = {
		{ "", "no end" },
		{ END "4" ME "s3\tdone\t-\tstall_us=1\n", "after the end" },
		{ "3000000" ME "s3\tlost\t-\tstall_us=1\n" END, "started" },
		{ "2999999" ME "s3\tlost\t-\tstall_us=1\n" END, "time goes" },
		{ "3000000" ME "s3\tlost\t-\tstall_us=1\n" END, "started" },
		{ "3000000" ME "s3\tdone\t-\t-\n" END, "no stall_us" },
		{ "3000000" ME "s3\ttouched\tx\tfault=2 stall_us=1\n",
		    "no fault that" },
		{ "3000000" ME "e1\tkill\tkill-expert\tfault=3\n", "one by one" },
		{ "3000000" ME "e1\tkill\tkill-expert\tfault=2\n" END,
		    "executed" },
		{ "3000000" ME "drill\ttokens\t-\tn=3\n" END, "go away" },
		{ "3000000" ME "drill\tbegin\t-\t-\n" END, "a second drill" },
		{ "3000000" ME "drill\tend\t-\tstarted=2 done=2 lost=0 wrong=0 "
		    "refused=0 touched=2 planned=2 executed=1 missed=0\n",
		    "nobody told" },
	};
	struct fs_tally t;
	struct err err;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		memset(&err, 0, sizeof(err));
		OK(tally(&t, whole, bad[i].last, &err) == ERR_DATA &&
		    strstr(err.text, bad[i].want) != NULL, "refused: %s",
		    err.text);
		fs_tally_free(&t);
	}
	memset(&err, 0, sizeof(err));
	OK(tally(&t, HEAD, "1" ME "s1\tdone\t-\tstall_us=1\n", &err) ==
	    ERR_DATA && strstr(err.text, "before the begin") != NULL,
	    "refused: %s", err.text);
	fs_tally_free(&t);
}

static void
test_events(void)
{
	const struct event e = { 12, "src", "s1", "done", NULL,
	    "stall_us=77 us=5 xstall_us=9" };
	const struct event f = { 13, "src", "e\t1", "kill", "line 3", NULL };
	struct event got;
	struct rec_out out;
	struct rec_in in;
	struct err err = ERR_INIT;
	char *p = NULL;
	size_t n = 0;
	int64_t v = 0;
	FILE *fp = open_memstream(&p, &n);

	event_out_open(&out, fp, false);
	OK(event_put(&out, &e, &err) == 0 && event_put(&out, &f, &err) == 0,
	    "two events out");
	rec_out_close(&out);
	fclose(fp);
	fp = fmemopen(p, n, "r");
	event_in_open(&in, fp, "-");
	OK(event_next(&in, &got, &err) == 1 && got.t_us == 12 &&
	    strcmp(got.event, "done") == 0 && got.cause == NULL, "and in");
	OK(event_int(&got, "stall_us", &v) && v == 77, "a number by its key");
	OK(event_int(&got, "us", &v) && v == 5, "keys are whole words");
	OK(!event_int(&got, "all_us", &v), "no such key");
	OK(event_next(&in, &got, &err) == 1 && got.detail == NULL &&
	    strcmp(got.subject, "e\t1") == 0 &&
	    strcmp(got.cause, "line 3") == 0, "the second");
	EQ_INT(event_next(&in, &got, &err), 0, "the end");
	rec_in_close(&in);
	fclose(fp);
	free(p);
}

int
main(void)
{
	test_good();
	test_more();
	test_random();
	test_bad();
	test_tally();
	test_measure();
	test_bounds();
	test_contradictions();
	test_events();
	return tap_done();
}
