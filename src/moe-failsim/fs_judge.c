/* fs_judge - `moe-failsim judge`: one line of verdict on a drill's events. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "event.h"
#include "fs.h"
#include "mem.h"

#define PROG	"moe-failsim judge"

struct tally {
	long done, lost, wrong, fault, missed;
	bool begun, ended;
	VEC(int64_t) stall_us, first_us;
};

static bool
is_fault(const char *event)
{
	return strcmp(event, "kill") == 0 || strcmp(event, "stop") == 0 ||
	    strcmp(event, "term") == 0;
}

static void
count(struct tally *t, const struct event *e)
{
	bool stream = true;
	int64_t us;

	if (strcmp(e->event, "done") == 0)
		t->done++;
	else if (strcmp(e->event, "lost") == 0)
		t->lost++;
	else if (strcmp(e->event, "wrong") == 0)
		t->wrong++;
	else
		stream = false;
	if (stream && event_int(e, "stall_us", &us))
		VEC_PUSH(&t->stall_us, us);
	if (stream && event_int(e, "first_us", &us) && us >= 0)
		VEC_PUSH(&t->first_us, us);
	t->fault += is_fault(e->event);
	t->missed += strcmp(e->event, "missed") == 0;
	if (strcmp(e->subject, "drill") == 0) {
		t->begun |= strcmp(e->event, "begin") == 0;
		t->ended |= strcmp(e->event, "end") == 0;
	}
}

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Sorted, so that the last is the longest. */
static double
median_ms(int64_t *v, size_t n, double *max_p)
{
	*max_p = 0;
	if (n == 0)
		return 0;
	qsort(v, n, sizeof(*v), by_value);
	*max_p = (double)v[n - 1] / 1000;
	return (double)(v[(n - 1) / 2] + v[n / 2]) / 2000;
}

/* Why the verdict is no; NULL: it is yes. */
static const char *
fault_of(const struct tally *t, double stall_ms, double limit_ms)
{
	if (!t->begun || !t->ended)
		return "the events are not those of a whole drill";
	if (t->done + t->lost + t->wrong == 0)
		return "no streams";
	if (t->wrong > 0)
		return "wrong tokens";
	if (t->lost > 0)
		return "lost streams";
	if (t->missed > 0)
		return "steps that did not happen";
	if (limit_ms >= 0 && stall_ms > limit_ms)
		return "a stall above the limit";
	return NULL;
}

static int
verdict(struct tally *t, double limit_ms)
{
	double stall_max, first_max;
	double stall = median_ms(t->stall_us.p, t->stall_us.n, &stall_max);
	double first = median_ms(t->first_us.p, t->first_us.n, &first_max);
	const char *why = fault_of(t, stall_max, limit_ms);

	printf("%s: %ld streams, %ld lost, %ld wrong, %ld faults, %ld missed, "
	    "stall median %.1f ms max %.1f ms, first token median %.1f ms max "
	    "%.1f ms%s%s\n", why == NULL ? "ok" : "no",
	    t->done + t->lost + t->wrong, t->lost, t->wrong, t->fault,
	    t->missed, stall, stall_max, first, first_max,
	    why == NULL ? "" : ": ", why == NULL ? "" : why);
	if (fflush(stdout) != 0)
		return ERR_TEMP;
	return why == NULL ? 0 : ERR_NO;
}

int
fs_judge_main(int argc, char **argv)
{
	double limit_ms = -1;
	const struct cli_opt opt[] = {
		{ 0, "max-stall", CLI_REAL, &limit_ms, "MS",
		    "longest time between two tokens of a stream", 0, 1e9,
		    NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-failsim", "judge", "< EVENTS",
	    "Say in one line whether a drill went well.", opt };
	struct tally t = { 0 };
	struct err err = ERR_INIT;
	struct rec_in in;
	struct event e;
	int at = cli_parse(&c, argc, argv, &err), rc;

	if (at >= 0 && at < argc)
		at = err_set(&err, ERR_USAGE, "the events come on stdin");
	if (at < 0)
		return cli_fail(PROG, &err);
	event_in_open(&in, stdin, "-");
	while ((rc = event_next(&in, &e, &err)) == 1)
		count(&t, &e);
	rec_in_close(&in);
	rc = rc < 0 ? cli_fail(PROG, &err) : verdict(&t, limit_ms);
	VEC_FREE(&t.stall_us);
	VEC_FREE(&t.first_us);
	return rc;
}
