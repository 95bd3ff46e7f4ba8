/* fs_tally - see fs_tally.h. */
#include "fs_tally.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FAULT	1000000

static const char *const stage_name[FS_STAGES] = {
	"noticed", "masked", "replayed", "repaired", "serves",
};
static const char *const fault_name[] = {
	"kill", "stop", "cont", "term", "start", "link", "load", "do", "roll",
	"dead", "drain", "move",
};
static const char *const end_name[] = {
	"cont", "restart", "healed", "unload", "did", "back",
};

static bool
one_of(const char *const *list, size_t n, const char *s)
{
	size_t i;

	for (i = 0; i < n && strcmp(list[i], s) != 0; i++)
		;
	return i < n;
}

#define ONE_OF(list, s)	one_of(list, sizeof(list) / sizeof(*(list)), s)

static int
contradiction(const struct event *e, const char *what, struct err *err)
{
	return err_set(err, ERR_DATA, "at %lld us, %s %s: %s",
	    (long long)e->t_us, e->subject, e->event, what);
}

static int
kind_of(struct fs_tally *t, const char *name)
{
	struct fs_kind k;
	size_t i;

	for (i = 0; i < t->kind.n; i++)
		if (strcmp(t->kind.p[i].name, name) == 0)
			return (int)i;
	memset(&k, 0, sizeof(k));
	snprintf(k.name, sizeof(k.name), "%s", name);
	VEC_PUSH(&t->kind, k);
	return (int)t->kind.n - 1;
}

/* The fault that the event names; NULL: none that is known. */
static struct fs_fate *
fate_of(struct fs_tally *t, const struct event *e)
{
	int64_t n;

	if (!event_int(e, "fault", &n) || n < 1 || n > (int64_t)t->fate.n)
		return NULL;
	return &t->fate.p[n - 1];
}

static int
add_fault(struct fs_tally *t, const struct event *e, struct err *err)
{
	struct fs_fate f = { .t_us = e->t_us, .end_us = e->t_us };
	int64_t n;

	if (!event_int(e, "fault", &n) || n != (int64_t)t->fate.n + 1 ||
	    n > MAX_FAULT)
		return contradiction(e, "faults are not counted one by one",
		    err);
	memset(f.stage_us, 0xff, sizeof(f.stage_us));
	f.kind = kind_of(t, e->cause != NULL ? e->cause : e->event);
	snprintf(f.subject, sizeof(f.subject), "%s", e->subject);
	VEC_PUSH(&t->fate, f);
	t->kind.p[f.kind].faults++;
	t->executed++;
	return 0;
}

static int
add_touch(struct fs_tally *t, const struct event *e, struct err *err)
{
	struct fs_fate *f = fate_of(t, e);
	int64_t us;

	if (f == NULL || !event_int(e, "stall_us", &us) || us < 0)
		return contradiction(e, "by no fault that there was", err);
	t->touched++;
	f->touched++;
	if (us > f->stall_us)
		f->stall_us = us;
	VEC_PUSH(&t->kind.p[f->kind].stall_us, us);
	return 0;
}

static void
add_answer(struct fs_tally *t, const struct event *e)
{
	struct fs_answer_time a = { .first_us = -1 };

	if (!event_int(e, "total_us", &a.total_us))
		return;
	(void)event_int(e, "first_us", &a.first_us);
	a.sent_us = e->t_us - a.total_us;
	a.refused = strcmp(e->event, "refused") == 0;
	VEC_PUSH(&t->answer, a);
}

static void
add_pace(struct fs_tally *t, const struct event *e)
{
	struct fs_pace p = { .t_us = e->t_us };

	if (!event_int(e, "gaps", &p.gaps) || !event_int(e, "p99_us",
	    &p.p99_us))
		return;
	p.step = e->cause != NULL && strcmp(e->cause, "step") == 0;
	VEC_PUSH(&t->pace, p);
}

/* A stream has ended. */
static int
add_stream(struct fs_tally *t, const struct event *e, struct err *err)
{
	struct fs_fate *f = fate_of(t, e);
	struct fs_kind *k = f != NULL ? &t->kind.p[f->kind] : NULL;
	int64_t us;

	if (!event_int(e, "stall_us", &us))
		return contradiction(e, "no stall_us", err);
	if (us > t->stall_max_us)
		t->stall_max_us = us;
	add_answer(t, e);
	if (event_int(e, "first_us", &us) && us >= 0)
		VEC_PUSH(&t->first_us, us);
	if (strcmp(e->event, "lost") == 0) {
		t->lost++;
		if (k != NULL)
			k->lost++;
	} else if (strcmp(e->event, "wrong") == 0) {
		t->wrong++;
		if (k != NULL)
			k->wrong++;
	} else if (strcmp(e->event, "refused") == 0) {
		t->refused++;
	} else {
		t->done++;
	}
	return 0;
}

static void
add_memory(struct fs_tally *t, const struct event *e)
{
	int64_t kb = 0, pid = 0;
	size_t i;

	if (!event_int(e, "rss_kb", &kb) || !event_int(e, "pid", &pid))
		return;
	for (i = 0; i < t->memory.n; i++)
		if (strcmp(t->memory.p[i].id, e->subject) == 0)
			break;
	if (i == t->memory.n) {
		VEC_ROOM(&t->memory, 1);
		memset(&t->memory.p[t->memory.n++], 0, sizeof(*t->memory.p));
		snprintf(t->memory.p[i].id, sizeof(t->memory.p[i].id), "%s",
		    e->subject);
	}
	if (t->memory.p[i].pid != pid) {	/* another process: anew */
		t->memory.p[i].pid = pid;
		t->memory.p[i].first_kb = t->memory.p[i].max_kb = kb;
	}
	if (kb > t->memory.p[i].max_kb)
		t->memory.p[i].max_kb = kb;
}

/* Do the counts of the end agree with what was told? */
static int
check_end(struct fs_tally *t, const struct event *e, struct err *err)
{
	const struct {
		const char *key;
		int64_t n;
	} want[] = {
		{ "started", t->done + t->lost + t->wrong + t->refused },
		{ "done", t->done }, { "lost", t->lost },
		{ "wrong", t->wrong }, { "refused", t->refused },
		{ "touched", t->touched }, { "executed", t->executed },
		{ "missed", t->missed },
	};
	char text[120];
	int64_t n;
	size_t i;

	for (i = 0; i < sizeof(want) / sizeof(*want); i++) {
		if (event_int(e, want[i].key, &n) && n == want[i].n)
			continue;
		snprintf(text, sizeof(text), "%s does not agree with the %lld "
		    "of the events before", want[i].key,
		    (long long)want[i].n);
		return contradiction(e, text, err);
	}
	if (event_int(e, "planned", &n) && n > t->executed + t->missed)
		return contradiction(e, "steps that nobody told of", err);
	t->ended = true;
	return 0;
}

static int
add_drill(struct fs_tally *t, const struct event *e, struct err *err)
{
	int64_t n = 0;

	if (strcmp(e->event, "begin") == 0) {
		if (t->begun)
			return contradiction(e, "a second drill", err);
		t->begun = true;
		(void)event_int(e, "itl_p50_us", &t->itl_us);
		t->watched = event_int(e, "watched", &n) && n == 1;
	} else if (strcmp(e->event, "tokens") == 0) {
		if (!event_int(e, "n", &n) || (t->tokens.n > 0 &&
		    n < t->tokens.p[t->tokens.n - 1].n))
			return contradiction(e, "tokens go away", err);
		VEC_ROOM(&t->tokens, 1);
		t->tokens.p[t->tokens.n].t_us = e->t_us;
		t->tokens.p[t->tokens.n].flying = 0;
		(void)event_int(e, "flying",
		    &t->tokens.p[t->tokens.n].flying);
		t->tokens.p[t->tokens.n++].n = n;
	} else if (strcmp(e->event, "pace") == 0) {
		add_pace(t, e);
	} else if (strcmp(e->event, "closing") == 0) {
		t->closing_us = e->t_us;
	} else if (strcmp(e->event, "end") == 0) {
		return check_end(t, e, err);
	}
	return 0;
}

static void
add_said(struct fs_tally *t, const struct event *e)
{
	struct fs_said s = { .t_us = e->t_us };
	int i;

	for (i = 0; i < FS_STAGES; i++) {
		if (strcmp(e->event, stage_name[i]) != 0)
			continue;
		s.stage = (enum fs_stage)i;
		snprintf(s.subject, sizeof(s.subject), "%s", e->subject);
		VEC_PUSH(&t->said, s);
	}
}

static int
add_own(struct fs_tally *t, const struct event *e, struct err *err)
{
	struct fs_fate *f;

	if (e->t_us < t->last_us)
		return contradiction(e, "time goes back", err);
	t->last_us = e->t_us;
	if (strcmp(e->subject, "drill") == 0 &&
	    strcmp(e->event, "missed") != 0)
		return add_drill(t, e, err);
	if (strcmp(e->event, "missed") == 0) {
		t->missed++;
		return 0;
	}
	if (strcmp(e->event, "touched") == 0)
		return add_touch(t, e, err);
	if (strcmp(e->event, "done") == 0 || strcmp(e->event, "lost") == 0 ||
	    strcmp(e->event, "wrong") == 0 || strcmp(e->event, "refused") == 0)
		return add_stream(t, e, err);
	if (strcmp(e->event, "memory") == 0) {
		add_memory(t, e);
		return 0;
	}
	if (e->cause != NULL && strcmp(e->cause, "undo") == 0 &&
	    (f = fate_of(t, e)) == NULL && ONE_OF(end_name, e->event))
		return contradiction(e, "of no fault that there was", err);
	if (ONE_OF(end_name, e->event) && (f = fate_of(t, e)) != NULL &&
	    (e->cause == NULL || strcmp(e->cause, "undo") == 0)) {
		f->end_us = e->t_us;
		f->undone = true;
		return 0;
	}
	return ONE_OF(fault_name, e->event) ? add_fault(t, e, err) : 0;
}

int
fs_tally_add(struct fs_tally *t, const struct event *e, struct err *err)
{
	if (t->ended)
		return contradiction(e, "after the end", err);
	if (strcmp(e->source, "moe-failsim") != 0) {
		add_said(t, e);
		return 0;
	}
	if (!t->begun && strcmp(e->event, "begin") != 0)
		return contradiction(e, "before the begin", err);
	return add_own(t, e, err);
}

/* ---- the end ---- */

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

void
fs_tally_sort(int64_t *v, size_t n)
{
	if (n > 1)
		qsort(v, n, sizeof(*v), by_value);
}

/* When a member of fault f is to answer again: it was started, or undone. */
static bool
is_restart(const struct fs_tally *t, const struct fs_fate *f)
{
	const char *kind = t->kind.p[f->kind].name;

	return strncmp(kind, "kill-", 5) == 0 ||
	    strncmp(kind, "term-", 5) == 0 ||
	    strncmp(kind, "drain-", 6) == 0 ||
	    strncmp(kind, "dead-", 5) == 0;
}

/* What was said of the member of fault i before its next one. */
static void
find_stages(struct fs_tally *t, size_t i)
{
	struct fs_fate *f = &t->fate.p[i];
	int64_t until = INT64_MAX, from;
	size_t j;

	for (j = i + 1; j < t->fate.n && until == INT64_MAX; j++)
		if (strcmp(t->fate.p[j].subject, f->subject) == 0)
			until = t->fate.p[j].t_us;
	for (j = 0; j < t->said.n; j++) {
		const struct fs_said *d = &t->said.p[j];

		/* Before it is started again it may still answer the old way. */
		from = d->stage == FS_SERVES && is_restart(t, f) ? f->end_us :
		    f->t_us;
		if (d->t_us < from || d->t_us >= until ||
		    strcmp(d->subject, f->subject) != 0)
			continue;
		if (f->stage_us[d->stage] < 0 ||
		    d->t_us - f->t_us < f->stage_us[d->stage])
			f->stage_us[d->stage] = d->t_us - f->t_us;
	}
}

/* The first word of each stage about fault i, to those of its kind.  Time to
 * serve counts from its start. */
static void
follow(struct fs_tally *t, size_t i)
{
	const struct fs_fate *f = &t->fate.p[i];
	struct fs_kind *k = &t->kind.p[f->kind];
	int s;

	find_stages(t, i);
	if (f->stage_us[FS_SERVES] >= 0 && (f->undone || strncmp(k->name,
	    "start-", 6) == 0))
		VEC_PUSH(&k->stage_us[FS_SERVES], f->stage_us[FS_SERVES] -
		    (is_restart(t, f) ? f->end_us - f->t_us : 0));
	if (f->stage_us[FS_NOTICED] < 0)
		return;		/* nobody had to do with that member */
	k->replayed += f->stage_us[FS_REPLAYED] >= 0;
	for (s = 0; s < FS_SERVES; s++)
		if (f->stage_us[s] >= 0)
			VEC_PUSH(&k->stage_us[s], f->stage_us[s]);
}

int
fs_tally_end(struct fs_tally *t, struct err *err)
{
	size_t i;
	int s;

	if (!t->begun || !t->ended)
		return err_set(err, ERR_DATA, "the events are not those of a "
		    "whole drill: no %s", t->begun ? "end" : "begin");
	for (i = 0; i < t->fate.n; i++)
		follow(t, i);
	for (i = 0; i < t->kind.n; i++) {
		fs_tally_sort(t->kind.p[i].stall_us.p, t->kind.p[i].stall_us.n);
		for (s = 0; s < FS_STAGES; s++)
			fs_tally_sort(t->kind.p[i].stage_us[s].p,
			    t->kind.p[i].stage_us[s].n);
	}
	fs_tally_sort(t->first_us.p, t->first_us.n);
	return 0;
}

void
fs_tally_free(struct fs_tally *t)
{
	size_t i;
	int s;

	for (i = 0; i < t->kind.n; i++) {
		VEC_FREE(&t->kind.p[i].stall_us);
		for (s = 0; s < FS_STAGES; s++)
			VEC_FREE(&t->kind.p[i].stage_us[s]);
	}
	VEC_FREE(&t->kind);
	VEC_FREE(&t->fate);
	VEC_FREE(&t->said);
	VEC_FREE(&t->tokens);
	VEC_FREE(&t->answer);
	VEC_FREE(&t->pace);
	VEC_FREE(&t->memory);
	VEC_FREE(&t->first_us);
}

/* ---- numbers ---- */

int64_t
fs_tally_quantile(const int64_t *v, size_t n, double q)
{
	size_t i = (size_t)(q * (double)n);

	return n == 0 ? 0 : v[i < n ? i : n - 1];
}

/* Tokens at a time, in between two counts by their line. */
static double
tokens_at(const struct fs_tally *t, int64_t us)
{
	size_t i;
	double part;

	for (i = 0; i < t->tokens.n && t->tokens.p[i].t_us < us; i++)
		;
	if (i == t->tokens.n)
		return i == 0 ? 0 : (double)t->tokens.p[i - 1].n;
	if (i == 0)
		return (double)t->tokens.p[0].n;
	part = (double)(us - t->tokens.p[i - 1].t_us) /
	    (double)(t->tokens.p[i].t_us - t->tokens.p[i - 1].t_us + 1);
	return (double)t->tokens.p[i - 1].n + part *
	    (double)(t->tokens.p[i].n - t->tokens.p[i - 1].n);
}

double
fs_tally_rate(const struct fs_tally *t, int64_t from_us, int64_t to_us)
{
	return to_us <= from_us ? 0 : (tokens_at(t, to_us) -
	    tokens_at(t, from_us)) * 1e6 / (double)(to_us - from_us);
}
