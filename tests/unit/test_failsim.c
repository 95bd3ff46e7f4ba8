/* Unit tests of drills and of the event stream between run and judge. */
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "tap.h"

#include "../../src/moe-failsim/fs_drill.c"

static void
test_good(void)
{
	static const char text[] = "# a comment\nmoe-drill 1\nseed 9\n"
	    "streams 3\nrequests 5\ntokens 17\ntemperature 0.5\nlimit 4s\n"
	    "prompt  two  words \n"
	    "at 500ms kill e1 restart 1s\ntokens-out 200 stop expert for 30ms\n"
	    "every 2s count 4 term front restart 0ms\nat 1s cont e2\n";
	struct fs_drill *d;
	struct err e = ERR_INIT;

	if (!OK(fs_drill_parse(&d, text, strlen(text), "d", &e) == 0,
	    "a drill with everything: %s", e.text))
		return;
	OK(d->seed == 9 && d->streams == 3 && d->requests == 5 &&
	    d->tokens == 17 && d->limit_ns == 4000000000u, "the load");
	EQ_STR(d->prompt[0], "two  words ", "a prompt is the rest of the line");
	EQ_INT(d->n_step, 4, "steps");
	OK(d->step[0].at_ns == 500000000 && d->step[0].action == FS_KILL &&
	    d->step[0].undo && d->step[0].undo_ns == 1000000000 &&
	    strcmp(d->step[0].who, "e1") == 0 && d->step[0].count == 1,
	    "at ... kill ... restart");
	OK(d->step[1].after_tok == 200 && d->step[1].action == FS_STOP &&
	    d->step[1].undo_ns == 30000000, "tokens-out ... stop ... for");
	OK(d->step[2].every_ns == 2000000000u && d->step[2].count == 4 &&
	    d->step[2].undo && d->step[2].undo_ns == 0, "every ... count");
	OK(!d->step[3].undo && d->step[3].line == 13, "line numbers");
	fs_drill_free(d);
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
		{ "moe-drill 1\nat 1s kill e1 for 1s\n", "does not go" },
		{ "moe-drill 1\nat 1s stop e1 restart 1s\n", "does not go" },
		{ "moe-drill 1\nat 1s kill e1 restart\n", "'' is not a time" },
		{ "moe-drill 1\nat 1s kill e1 restart 1s 2\n", "too much" },
		{ "moe-drill 1\nevery 1s kill e1\n", "count" },
		{ "moe-drill 1\nevery 0s count 2 kill e1\n", "no interval" },
		{ "moe-drill 1\nstreams 0\n", "d:2: streams" },
		{ "moe-drill 1\nstreams 3 4\n", "too much" },
		{ "moe-drill 1\nprompt\n", "empty prompt" },
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
	test_bad();
	test_events();
	return tap_done();
}
