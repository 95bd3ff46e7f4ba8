/* fs_judge - `moe-failsim judge`: the table of a drill's faults, and one line
 * of verdict. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "event.h"
#include "fs.h"
#include "fs_tally.h"

#define PROG	"moe-failsim judge"

struct judge {
	double stall_ms, p50_ms, p99_ms;	/* bounds; < 0: none */
	double during_pct;
	int64_t lost, wrong, refused, missed;
	uint64_t growth;	/* bytes of any member; 0: no bound */
	bool json, brief;
	struct fs_tally t;
};

enum { C_FAULT, C_COUNT, C_TOUCHED, C_P50, C_P99, C_MAX, C_LOST, C_WRONG,
	C_REPLAYED, C_NOTICED, C_MASKED, C_REPLAY, C_REPAIRED, C_BEFORE,
	C_DURING, C_AFTER, C_N };

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
	[C_BEFORE] = { "before_tok_s", REC_REAL, 0 },
	[C_DURING] = { "during_tok_s", REC_REAL, 0 },
	[C_AFTER] = { "after_tok_s", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

/* Beyond what the undisturbed run needs between two tokens. */
static double
beyond_ms(const struct fs_tally *t, int64_t us)
{
	return us > t->itl_us ? (double)(us - t->itl_us) / 1000 : 0;
}

struct rates { double before, during, after; };

/* Before the first fault, until the last is undone, and then. */
static struct rates
rates(const struct fs_tally *t)
{
	struct rates r = { 0, 0, 0 };
	int64_t from, to = 0, close = t->closing_us;
	size_t i;

	if (t->fate.n == 0)
		return r;
	from = t->fate.p[0].t_us;
	for (i = 0; i < t->fate.n; i++)
		if (t->fate.p[i].end_us > to)
			to = t->fate.p[i].end_us;
	r.before = fs_tally_rate(t, 0, from);
	r.during = fs_tally_rate(t, from, to);
	r.after = fs_tally_rate(t, to, close);
	return r;
}

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
    const struct rates *r, struct err *err)
{
	static const double q[] = { 0.5, 0.99, 1 };
	int i;

	rec_put_str(o, k->name);
	rec_put_int(o, k->faults);
	rec_put_int(o, (int64_t)k->stall_us.n);
	for (i = 0; i < 3; i++)
		rec_put_real(o, beyond_ms(t, fs_tally_quantile(k->stall_us.p,
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
	return rec_end(o, err);
}

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
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
	if (all.stall_us.n > 1)
		qsort(all.stall_us.p, all.stall_us.n,
		    sizeof(*all.stall_us.p), by_value);
	return all;
}

/* The member that has grown most, in KB. */
static int64_t
growth_kb(const struct fs_tally *t, const char **who)
{
	int64_t most = 0, kb;
	size_t i;

	*who = "-";
	for (i = 0; i < t->memory.n; i++) {
		kb = t->memory.p[i].max_kb - t->memory.p[i].first_kb;
		if (kb > most) {
			most = kb;
			*who = t->memory.p[i].id;
		}
	}
	return most;
}

/* Why the verdict is no; NULL: it is yes. */
static const char *
fault_of(const struct judge *j, const struct fs_kind *all,
    const struct rates *r)
{
	const struct fs_tally *t = &j->t;
	const char *who;

	if (t->done + t->lost + t->wrong + t->refused == 0)
		return "no streams";
	if (t->wrong > j->wrong)
		return "wrong tokens";
	if (t->lost > j->lost)
		return "lost streams";
	if (t->refused > j->refused)
		return "refused requests";
	if (t->missed > j->missed)
		return "steps that did not happen";
	if (j->stall_ms >= 0 && (double)t->stall_max_us / 1000 > j->stall_ms)
		return "a stall above --max-stall";
	if (j->p50_ms >= 0 && beyond_ms(t, fs_tally_quantile(
	    all->stall_us.p, all->stall_us.n, 0.5)) > j->p50_ms)
		return "stalls above --max-p50";
	if (j->p99_ms >= 0 && beyond_ms(t, fs_tally_quantile(
	    all->stall_us.p, all->stall_us.n, 0.99)) > j->p99_ms)
		return "stalls above --max-p99";
	if (j->during_pct > 0 && r->during < r->before * j->during_pct / 100)
		return "throughput below --min-during";
	if (j->growth > 0 && (uint64_t)growth_kb(t, &who) * 1024 > j->growth)
		return "memory grows beyond --max-growth";
	return NULL;
}

static int
verdict(struct judge *j, const struct fs_kind *all, const struct rates *r,
    FILE *fp)
{
	const char *why = fault_of(j, all, r), *who;
	const struct fs_tally *t = &j->t;
	int64_t kb = growth_kb(t, &who);

	fprintf(fp, "%s%s: %ld streams, %ld lost, %ld wrong, %ld faults, %ld "
	    "missed, %ld refused, stall p50 %.1f ms p99 %.1f ms max %.1f ms, "
	    "first token p50 %.1f ms p99 %.1f ms, memory +%lld KB (%s)%s%s\n",
	    j->json || j->brief ? "" : "# ", why == NULL ? "ok" : "no",
	    t->done + t->lost + t->wrong + t->refused, t->lost, t->wrong,
	    t->executed, t->missed, t->refused,
	    beyond_ms(t, fs_tally_quantile(all->stall_us.p, all->stall_us.n,
	    0.5)), beyond_ms(t, fs_tally_quantile(all->stall_us.p,
	    all->stall_us.n, 0.99)), beyond_ms(t, fs_tally_quantile(
	    all->stall_us.p, all->stall_us.n, 1)),
	    (double)fs_tally_quantile(t->first_us.p, t->first_us.n, 0.5) /
	    1000, (double)fs_tally_quantile(t->first_us.p, t->first_us.n,
	    0.99) / 1000, (long long)kb, who, why == NULL ? "" : ": ",
	    why == NULL ? "" : why);
	return why == NULL ? 0 : ERR_NO;
}

static int
tell(struct judge *j, struct err *err)
{
	struct rates r = rates(&j->t);
	struct fs_kind all = sum(&j->t);
	struct rec_out o;
	size_t i;
	int rc = 0;

	if (!j->brief) {
		rec_out_open(&o, stdout, "faults", 1, col, j->json);
		for (i = 0; i < j->t.kind.n && rc == 0; i++)
			rc = put_row(&o, &j->t, &j->t.kind.p[i], NULL, err);
		if (rc == 0)
			rc = put_row(&o, &j->t, &all, &r, err);
		rec_out_close(&o);
	}
	if (rc == 0) {
		rc = verdict(j, &all, &r, j->json ? stderr : stdout);
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
		{ 0, "max-stall", CLI_REAL, &j->stall_ms, "MS",
		    "longest time between two tokens of any stream", 0, 1e9,
		    NULL },
		{ 0, "max-p50", CLI_REAL, &j->p50_ms, "MS",
		    "median of the stalls of touched streams", 0, 1e9, NULL },
		{ 0, "max-p99", CLI_REAL, &j->p99_ms, "MS",
		    "99th percentile of them", 0, 1e9, NULL },
		{ 0, "max-lost", CLI_INT, &j->lost, "N",
		    "streams that may be lost (default 0)", 0, 1e9, NULL },
		{ 0, "max-wrong", CLI_INT, &j->wrong, "N",
		    "streams with wrong tokens (default 0)", 0, 1e9, NULL },
		{ 0, "max-refused", CLI_INT, &j->refused, "N",
		    "requests refused with 429 or 503 (default 0)", 0, 1e9,
		    NULL },
		{ 0, "max-missed", CLI_INT, &j->missed, "N",
		    "steps that did not happen (default 0)", 0, 1e9, NULL },
		{ 0, "min-during", CLI_REAL, &j->during_pct, "PCT",
		    "tokens a second during faults, of those before", 0, 1000,
		    NULL },
		{ 0, "max-growth", CLI_SIZE, &j->growth, "SIZE",
		    "memory that a member may grow by", 0, 0, NULL },
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
	struct judge j = { .stall_ms = -1, .p50_ms = -1, .p99_ms = -1 };
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
