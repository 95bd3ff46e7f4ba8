/* fs_measure - see fs_measure.h. */
#include "fs_measure.h"

#include <string.h>

#define SECOND_US	1000000
#define FEW_GAPS	50	/* fewer have no 99th percentile */

/* Frees v; -1: it is empty. */
static int64_t
p99_of(int64_t *v, size_t n)
{
	int64_t p99 = -1;

	if (n > 0) {
		fs_tally_sort(v, n);
		p99 = fs_tally_quantile(v, n, 0.99);
	}
	mem_free(v);
	return p99;
}

/* From the first fault until the last one is undone; false: no faults. */
static bool
span(const struct fs_tally *t, int64_t *from, int64_t *to)
{
	size_t i;

	if (t->fate.n == 0)
		return false;
	*from = t->fate.p[0].t_us;
	for (i = 0, *to = *from; i < t->fate.n; i++)
		if (t->fate.p[i].end_us > *to)
			*to = t->fate.p[i].end_us;
	return true;
}

static void
rates(const struct fs_tally *t, int64_t from, int64_t to,
    struct fs_measure *m)
{
	int64_t at;
	double r;

	m->before = fs_tally_rate(t, 0, from);
	m->during = fs_tally_rate(t, from, to);
	m->after = fs_tally_rate(t, to, t->closing_us);
	m->worst = m->during;
	for (at = from; at + SECOND_US <= to; at += SECOND_US / 4) {
		r = fs_tally_rate(t, at, at + SECOND_US);
		if (r < m->worst)
			m->worst = r;
	}
}

/* The larger p99 at rest next to part i of the run. */
static int64_t
at_rest(const struct fs_tally *t, size_t i)
{
	int64_t before = 0, after = 0;
	size_t k;

	for (k = i; k > 0 && before == 0; k--)
		if (!t->pace.p[k - 1].step && t->pace.p[k - 1].gaps >= FEW_GAPS)
			before = t->pace.p[k - 1].p99_us;
	for (k = i + 1; k < t->pace.n && after == 0; k++)
		if (!t->pace.p[k].step && t->pace.p[k].gaps >= FEW_GAPS)
			after = t->pace.p[k].p99_us;
	return before > after ? before : after;
}

static double
step_ratio(const struct fs_tally *t)
{
	double most = 0, r;
	int64_t rest;
	size_t i;

	for (i = 0; i < t->pace.n; i++) {
		if (!t->pace.p[i].step || t->pace.p[i].gaps < FEW_GAPS ||
		    (rest = at_rest(t, i)) == 0)
			continue;
		r = (double)t->pace.p[i].p99_us / (double)rest;
		if (r > most)
			most = r;
	}
	return most;
}

static void
serves(const struct fs_tally *t, struct fs_measure *m)
{
	VEC(int64_t) all = { NULL, 0, 0 };
	const struct fs_kind *k;
	size_t i, j;

	for (i = 0; i < t->kind.n; i++) {
		k = &t->kind.p[i];
		for (j = 0; j < k->stage_us[FS_SERVES].n; j++)
			VEC_PUSH(&all, k->stage_us[FS_SERVES].p[j]);
	}
	m->serves = (long)all.n;
	m->serves_p99_us = p99_of(all.p, all.n);
}

/* Whole answers, or first tokens, of what was sent between two times. */
static int64_t
answers_p99(const struct fs_tally *t, int64_t from, int64_t to, bool first)
{
	const struct fs_answer_time *a;
	VEC(int64_t) all = { NULL, 0, 0 };
	size_t i;

	for (i = 0; i < t->answer.n; i++) {
		a = &t->answer.p[i];
		if (!a->refused && a->first_us >= 0 && a->sent_us >= from &&
		    a->sent_us < to)
			VEC_PUSH(&all, first ? a->first_us : a->total_us);
	}
	return p99_of(all.p, all.n);
}

static int64_t
recovery(const struct fs_tally *t, int64_t from, int64_t to)
{
	int64_t most = 2 * answers_p99(t, 0, from, true), last = 0, at;
	const struct fs_answer_time *a;
	size_t i;

	if (most < 0)
		return -1;
	for (i = 0; i < t->answer.n; i++) {
		a = &t->answer.p[i];
		if (a->sent_us < to || (!a->refused && a->first_us <= most))
			continue;
		at = a->sent_us + (a->refused ? a->total_us : a->first_us) - to;
		if (at > last)
			last = at;
	}
	return last;
}

static void
growth(const struct fs_tally *t, struct fs_measure *m)
{
	int64_t kb;
	size_t i;

	m->grown = "-";
	for (i = 0; i < t->memory.n; i++) {
		kb = t->memory.p[i].max_kb - t->memory.p[i].first_kb;
		if (kb > m->growth_kb) {
			m->growth_kb = kb;
			m->grown = t->memory.p[i].id;
		}
	}
}

void
fs_measure(const struct fs_tally *t, struct fs_measure *out)
{
	int64_t from, to;

	memset(out, 0, sizeof(*out));
	out->calm_us = out->loaded_us = out->recovery_us = -1;
	growth(t, out);
	serves(t, out);
	out->step_ratio = step_ratio(t);
	if (!span(t, &from, &to))
		return;
	rates(t, from, to, out);
	out->calm_us = answers_p99(t, 0, from, false);
	out->loaded_us = answers_p99(t, from, to, false);
	out->recovery_us = recovery(t, from, to);
}
