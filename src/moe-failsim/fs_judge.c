/* fs_judge - `moe-failsim judge`: the table of a drill's faults, and one line
 * of verdict. */
#include <string.h>

#include "cli.h"
#include "event.h"
#include "fs.h"
#include "fs_bounds.h"

#define PROG	"moe-failsim judge"

struct judge {
	struct fs_bounds b;
	bool json, brief, timeline;
	struct fs_tally t;
};

enum { C_FAULT, C_COUNT, C_TOUCHED, C_P50, C_P99, C_MAX, C_LOST, C_WRONG,
	C_REPLAYED, C_NOTICED, C_MASKED, C_REPLAY, C_REPAIRED, C_SERVES,
	C_BEFORE, C_DURING, C_AFTER, C_WORST, C_N };

static const struct rec_col col[] = {
	[C_FAULT] = { "fault", REC_STR, 0 },
	[C_COUNT] = { "count", REC_INT, 0 },
	[C_TOUCHED] = { "touched", REC_INT, 0 },
	[C_P50] = { "stall_p50_ms", REC_REAL, 0 },
	[C_P99] = { "stall_p99_ms", REC_REAL, 0 },
	[C_MAX] = { "stall_max_ms", REC_REAL, 0 },
	[C_LOST] = { "lost", REC_INT, 0 },
	[C_WRONG] = { "wrong", REC_INT, 0 },
	[C_REPLAYED] = { "replayed", REC_INT, 0 },
	[C_NOTICED] = { "noticed_ms", REC_REAL, 0 },
	[C_MASKED] = { "masked_ms", REC_REAL, 0 },
	[C_REPLAY] = { "replayed_ms", REC_REAL, 0 },
	[C_REPAIRED] = { "repaired_ms", REC_REAL, 0 },
	[C_SERVES] = { "serves_ms", REC_REAL, 0 },
	[C_BEFORE] = { "before_tok_s", REC_REAL, 0 },
	[C_DURING] = { "during_tok_s", REC_REAL, 0 },
	[C_AFTER] = { "after_tok_s", REC_REAL, 0 },
	[C_WORST] = { "worst_tok_s", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

static void
put_rate(struct rec_out *o, double v)
{
	if (v > 0)
		rec_put_real(o, (double)(int64_t)(v + 0.5));
	else
		rec_put_none(o);
}

static int
put_row(struct rec_out *o, const struct fs_tally *t, const struct fs_kind *k,
    const struct fs_measure *r, struct err *err)
{
	static const double q[] = { 0.5, 0.99, 1 };
	int i;

	rec_put_str(o, k->name);
	rec_put_int(o, k->faults);
	rec_put_int(o, (int64_t)k->stall_us.n);
	for (i = 0; i < 3; i++)
		rec_put_real(o, fs_bounds_beyond_ms(t, fs_tally_quantile(k->stall_us.p,
		    k->stall_us.n, q[i])));
	rec_put_int(o, k->lost);
	rec_put_int(o, k->wrong);
	rec_put_int(o, k->replayed);
	for (i = 0; i < FS_STAGES; i++) {
		if (k->stage_us[i].n == 0)
			rec_put_none(o);
		else
			rec_put_real(o, (double)fs_tally_quantile(
			    k->stage_us[i].p, k->stage_us[i].n, 0.5) / 1000);
	}
	put_rate(o, r != NULL ? r->before : 0);
	put_rate(o, r != NULL ? r->during : 0);
	put_rate(o, r != NULL ? r->after : 0);
	put_rate(o, r != NULL ? r->worst : 0);
	return rec_end(o, err);
}

/* All kinds together. */
static struct fs_kind
sum(const struct fs_tally *t)
{
	struct fs_kind all = { .name = "all" };
	const struct fs_kind *k;
	size_t i, j;

	for (i = 0; i < t->kind.n; i++) {
		k = &t->kind.p[i];
		all.faults += k->faults;
		all.replayed += k->replayed;
		for (j = 0; j < k->stall_us.n; j++)
			VEC_PUSH(&all.stall_us, k->stall_us.p[j]);
	}
	all.lost = t->lost;
	all.wrong = t->wrong;
	fs_tally_sort(all.stall_us.p, all.stall_us.n);
	return all;
}

static int
tell(struct judge *j, struct err *err)
{
	struct fs_kind all = sum(&j->t);
	struct fs_measure m;
	struct rec_out o;
	size_t i;
	int rc = 0;

	fs_measure(&j->t, &m);
	if (!j->brief && j->timeline) {
		rc = fs_timeline(&j->t, j->json, err);
	} else if (!j->brief) {
		rec_out_open(&o, stdout, "faults", 1, col, j->json);
		for (i = 0; i < j->t.kind.n && rc == 0; i++)
			rc = put_row(&o, &j->t, &j->t.kind.p[i], NULL, err);
		if (rc == 0)
			rc = put_row(&o, &j->t, &all, &m, err);
		rec_out_close(&o);
	}
	if (rc == 0) {
		rc = fs_bounds_tell(&j->b, &(struct fs_found){ &j->t, &all,
		    &m }, j->json || j->brief ? "" : "# ",
		    j->json ? stderr : stdout);
		if (rc != 0)
			err->code = rc;
		if (fflush(stdout) != 0)
			rc = err_set(err, ERR_TEMP, "cannot write to stdout");
	}
	VEC_FREE(&all.stall_us);
	return rc;
}

static int
parse(struct judge *j, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		FS_BOUNDS_OPTIONS(&j->b),
		{ 0, "timeline", CLI_FLAG, &j->timeline, NULL,
		    "a row for each fault instead of each kind", 0, 0, NULL },
		{ 'b', "brief", CLI_FLAG, &j->brief, NULL,
		    "the verdict only", 0, 0, NULL },
		{ 'j', "json", CLI_FLAG, &j->json, NULL,
		    "NDJSON, the verdict to standard error", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-failsim", "judge", "< EVENTS",
	    "Say what each kind of fault did, and whether a drill went well.",
	    opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		at = err_set(err, ERR_USAGE, "the events come on stdin");
	return at < 0 ? -1 : 0;
}

int
fs_judge_main(int argc, char **argv)
{
	struct judge j = { .b = FS_BOUNDS_INIT };
	struct err err = ERR_INIT;
	struct rec_in in;
	struct event e;
	int rc;

	if (parse(&j, argc, argv, &err) != 0)
		return cli_fail(PROG, &err);
	event_in_open(&in, stdin, "-");
	while ((rc = event_next(&in, &e, &err)) == 1)
		if ((rc = fs_tally_add(&j.t, &e, &err)) != 0)
			break;
	rec_in_close(&in);
	if (rc == 0)
		rc = fs_tally_end(&j.t, &err);
	if (rc == 0)
		rc = tell(&j, &err);
	fs_tally_free(&j.t);
	if (rc == ERR_NO)
		return ERR_NO;
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
