/* fs_load - see fs_load.h. */
#include "fs_load.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "event.h"
#include "str.h"

#define PATH	"/v1/completions"
#define PAUSE_NS	100000000u	/* after a lost or refused stream */

static const char *const own_prompt[] = {
	"Once upon a time", "The old man of the sea", "There was a little girl",
	"In the middle of the forest", "\"Who is there?\" asked the king",
	"It was a dark night, and", "The fox said to the hare",
	"When the sun came up",
};

/* What prompts are filled up with. */
static const char *const filling[] = {
	"the", "king", "said", "that", "a", "little", "bird", "and", "his",
	"daughter", "went", "into", "wood", "where", "an", "old", "woman",
	"lived", "with", "her", "golden", "apples", "until", "morning", "came",
};

struct touch {			/* a fault and a stream */
	int fault;
	uint64_t stall_ns;
};

struct fs_stream {		/* one completion in flight */
	struct fs_load *l;
	int request;		/* which of the different ones */
	uint64_t no;		/* counts streams from 1 */
	uint64_t sent_ns, first_ns, last_ns, stall_ns;
	VEC(int32_t) id;
	VEC(struct touch) touch;
};

void
fs_load_event(struct fs_load *l, const char *subject, const char *event,
    const char *cause, const char *detail)
{
	const struct event e = {
	    (int64_t)((clock_ns() - l->start_ns) / 1000), "moe-failsim",
	    subject, event, cause, detail };
	struct err err = ERR_INIT;

	if (event_put(l->out, &e, &err) != 0 && l->err.code == 0)
		l->err = err;
}

/* ---- faults ---- */

void
fs_load_pace(struct fs_load *l, bool fault)
{
	uint64_t now = clock_ns();
	char detail[80];

	if (fault && l->pace_step && now - l->pace_ns < FS_STEP_NS) {
		l->pace_ns = now;	/* one more of the same step */
		return;
	}
	if (!fault && (!l->pace_step || now - l->pace_ns < FS_STEP_NS))
		return;
	snprintf(detail, sizeof(detail), "gaps=%llu p50_us=%llu p99_us=%llu",
	    (unsigned long long)l->pace.n,
	    (unsigned long long)(hist_quantile(&l->pace, 0.5) / 1000),
	    (unsigned long long)(hist_quantile(&l->pace, 0.99) / 1000));
	fs_load_event(l, "drill", "pace", l->pace_step ? "step" : "rest",
	    detail);
	hist_clear(&l->pace);
	l->pace_ns = now;
	l->pace_step = fault;
}

int
fs_load_fault(struct fs_load *l, const char *kind, bool lasts)
{
	struct fs_fault f = { .begin_ns = clock_ns() };
	struct touch t = { 0, 0 };
	size_t i;

	fs_load_pace(l, true);
	snprintf(f.kind, sizeof(f.kind), "%s", kind);
	f.end_ns = lasts ? UINT64_MAX : f.begin_ns;
	VEC_PUSH(&l->fault, f);
	t.fault = (int)l->fault.n;
	for (i = 0; i < l->live.n; i++)
		if (l->live.p[i]->first_ns != 0)
			VEC_PUSH(&l->live.p[i]->touch, t);
	return t.fault;
}

void
fs_load_fault_end(struct fs_load *l, int fault)
{
	l->fault.p[fault - 1].end_ns = clock_ns();
}

/* No token between from and to: a stall of the faults of that time. */
static void
note_gap(struct fs_stream *s, uint64_t from, uint64_t to)
{
	const struct fs_fault *f;
	struct touch *t;
	size_t i;

	if (to - from > s->stall_ns)
		s->stall_ns = to - from;
	for (i = 0; i < s->touch.n; i++) {
		t = &s->touch.p[i];
		f = &s->l->fault.p[t->fault - 1];
		if (to > f->begin_ns && (f->end_ns == UINT64_MAX ||
		    from < f->end_ns + FS_AFTER_NS) && to - from > t->stall_ns)
			t->stall_ns = to - from;
	}
}

static void
tell_touches(struct fs_stream *s, const char *name)
{
	char detail[80];
	size_t i;

	for (i = 0; i < s->touch.n; i++) {
		snprintf(detail, sizeof(detail), "fault=%d stall_us=%llu",
		    s->touch.p[i].fault,
		    (unsigned long long)(s->touch.p[i].stall_ns / 1000));
		fs_load_event(s->l, name, "touched",
		    s->l->fault.p[s->touch.p[i].fault - 1].kind, detail);
		s->l->n_touched++;
	}
}

/* ---- streams ---- */

static void
on_chunk(void *user, const struct oai_chunk *c)
{
	struct fs_stream *s = user;
	size_t i;

	if (c->n_id == 0)
		return;
	if (s->first_ns == 0)
		s->first_ns = c->now_ns;
	else
		note_gap(s, s->last_ns, c->now_ns);
	if (s->last_ns != 0)
		hist_add(s->l->judging ? &s->l->pace : &s->l->itl,
		    c->now_ns - s->last_ns);
	s->last_ns = s->l->heard_ns = c->now_ns;
	for (i = 0; i < c->n_id; i++)
		VEC_PUSH(&s->id, c->id[i]);
	if (s->l->judging)
		s->l->n_tok += c->n_id;
}

/* The first token at which the stream differs from the reference, -1: none. */
static int64_t
first_wrong(const struct fs_stream *s, const struct fs_answer *ref,
    bool whole)
{
	size_t i;

	for (i = 0; i < s->id.n && i < ref->id.n; i++)
		if (s->id.p[i] != ref->id.p[i])
			return (int64_t)i;
	return s->id.n > ref->id.n || (whole && s->id.n < ref->id.n) ?
	    (int64_t)i : -1;
}

/* Refused with a reason before anything was promised. */
static bool
refused(const struct fs_stream *s, const struct oai_end *e)
{
	return s->first_ns == 0 && (e->status == 429 || e->status == 503);
}

static void
judge(struct fs_stream *s, const struct oai_end *e)
{
	struct fs_load *l = s->l;
	int64_t at = first_wrong(s, &l->ref[s->request], e->ok);
	int fault = s->touch.n > 0 ? s->touch.p[s->touch.n - 1].fault : 0;
	char name[32], detail[200];
	int n;

	if (s->first_ns != 0 && !e->ok)
		note_gap(s, s->last_ns, e->now_ns);
	snprintf(name, sizeof(name), "s%llu", (unsigned long long)s->no);
	tell_touches(s, name);
	n = snprintf(detail, sizeof(detail), "request=%d tokens=%zu first_us=%lld "
	    "stall_us=%lld total_us=%lld fault=%d", s->request, s->id.n,
	    s->first_ns ? (long long)((s->first_ns - s->sent_ns) / 1000) : -1,
	    (long long)(s->stall_ns / 1000),
	    (long long)((e->now_ns - s->sent_ns) / 1000), fault);
	if (at >= 0) {
		snprintf(detail + n, sizeof(detail) - (size_t)n, " at=%lld",
		    (long long)at);
		l->n_wrong++;
		fs_load_event(l, name, "wrong", "tokens differ", detail);
	} else if (e->ok) {
		l->n_done++;
		fs_load_event(l, name, "done", NULL, detail);
	} else if (refused(s, e)) {
		l->n_refused++;
		l->fill_ns = e->now_ns + PAUSE_NS;
		fs_load_event(l, name, "refused", e->why, detail);
	} else {
		l->n_lost++;
		l->fill_ns = e->now_ns + PAUSE_NS;
		fs_load_event(l, name, "lost", e->why, detail);
	}
}

static void
keep(struct fs_stream *s, const struct oai_end *e)
{
	struct fs_load *l = s->l;
	size_t i;

	if (!e->ok && l->err.code == 0)
		err_set(&l->err, ERR_TEMP, "the undisturbed run: request %d: "
		    "%s", s->request, e->why);
	else if (s->id.n == 0 && l->err.code == 0)
		err_set(&l->err, ERR_UNAVAIL, "%s gives no token ids "
		    "(return_token_ids)", oai_url(l->c));
	for (i = 0; i < s->id.n; i++)
		VEC_PUSH(&l->ref[s->request].id, s->id.p[i]);
}

static void
stream_free(struct fs_stream *s)
{
	VEC_FREE(&s->id);
	VEC_FREE(&s->touch);
	mem_free(s);
}

static void
on_end(void *user, const struct oai_end *e)
{
	struct fs_stream *s = user;
	struct fs_load *l = s->l;
	size_t i;

	l->flying--;
	for (i = 0; l->live.p[i] != s; i++)
		;
	l->live.p[i] = l->live.p[--l->live.n];
	if (l->judging)
		judge(s, e);
	else
		keep(s, e);
	stream_free(s);
}

/* ---- requests ---- */

static char *
prompt_of(const struct fs_load *l, int request)
{
	const struct fs_drill *d = l->d;
	size_t n = d->n_prompt ? d->n_prompt :
	    sizeof(own_prompt) / sizeof(*own_prompt);
	const char *text = d->n_prompt ? d->prompt[(size_t)request % n] :
	    own_prompt[(size_t)request % n];
	uint64_t key = rng_at(l->seed, 7, (uint64_t)request);
	uint64_t more, i;
	struct str s = STR_INIT;

	if (d->words_hi > 0) {
		more = (uint64_t)d->words_lo + rng_at(key, 0, 0) %
		    (uint64_t)(d->words_hi - d->words_lo + 1);
		for (i = 0; i < more; i++)
			str_addf(&s, "%s ", filling[rng_at(key, 1, i) %
			    (sizeof(filling) / sizeof(*filling))]);
	}
	str_adds(&s, text);
	return s.p;
}

static char *
body(const struct fs_load *l, int request)
{
	const struct fs_drill *d = l->d;
	char *prompt = prompt_of(l, request);
	json_t *o = json_pack("{s:s, s:s, s:i, s:f, s:I, s:b, s:b, s:b}",
	    "model", l->model, "prompt", prompt, "max_tokens", d->tokens,
	    "temperature", d->temperature[request % d->n_temperature], "seed",
	    (json_int_t)((l->seed + (uint64_t)request) & INT64_MAX),
	    "stream", 1, "ignore_eos", 1, "return_token_ids", 1);
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	mem_free(prompt);
	BUG_ON(text == NULL);
	return text;
}

static void
send_one(struct fs_load *l)
{
	static const struct oai_fn fn = { on_chunk, on_end };
	struct fs_stream *s = mem_zalloc(sizeof(*s));
	char *text;

	s->l = l;
	s->request = (int)(l->n_started % (uint64_t)l->d->requests);
	s->no = ++l->n_started;
	s->sent_ns = clock_ns();
	l->flying++;
	VEC_PUSH(&l->live, s);
	text = body(l, s->request);
	oai_stream(l->c, PATH, text, l->d->limit_ns, &fn, s);
	free(text);
}

void
fs_load_fill(struct fs_load *l)
{
	while (l->flying < l->want && clock_ns() >= l->fill_ns)
		send_one(l);
}

int
fs_load_reference(struct fs_load *l, struct err *err)
{
	uint64_t n = (uint64_t)l->d->requests;

	l->ref = mem_calloc(n, sizeof(*l->ref));
	l->want = l->d->streams;
	while (l->flying > 0 || (l->n_started < n && l->err.code == 0)) {
		while (l->n_started < n && l->flying < l->want)
			send_one(l);
		oai_poll(l->c, 1000000000, -1);
	}
	if (l->err.code != 0) {
		*err = l->err;
		return -1;
	}
	l->judging = true;
	l->n_started = 0;
	return 0;
}

void
fs_load_free(struct fs_load *l)
{
	int i;

	for (i = 0; l->ref != NULL && i < l->d->requests; i++)
		VEC_FREE(&l->ref[i].id);
	mem_free(l->ref);
	oai_close(l->c);
	while (l->live.n > 0)
		stream_free(l->live.p[--l->live.n]);
	VEC_FREE(&l->live);
	VEC_FREE(&l->fault);
	mem_free(l->model);
}
