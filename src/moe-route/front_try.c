/* front_try - see front_job.h: one front end is asked for the rest of an answer,
 * and what it says. */
#include <string.h>
#include <stdio.h>

#include "front_cut.h"
#include "front_job.h"

#define MAX_REPLY	(8u << 20)	/* that is no stream */

struct front_try *
front_try_other(struct front_try *t)
{
	struct front_try *o = &t->job->try[t == &t->job->try[0]];

	return o->up != NULL ? o : NULL;
}

void
front_try_drop(struct front_try *t)
{
	if (t->up == NULL)
		return;
	front_call_cancel(t->call);
	t->call = NULL;
	front_up_end(t->up);
	t->up = NULL;
	t->hedge = false;
	sse_free(&t->sse);
	memset(&t->sse, 0, sizeof(t->sse));
	str_free(&t->reply);
	t->status = 0;
	t->verdict = FRONT_GOES;
}

/* ---- what it says ------------------------------ */

static void
verdict(struct front_try *t, enum front_verdict v, const char *why)
{
	t->verdict = v;
	snprintf(t->why, sizeof(t->why), "%.200s", why);
}

/* A reply that is no stream has come: an error. */
static void
take_reply(struct front_try *t)
{
	struct str s = t->reply;

	memset(&t->reply, 0, sizeof(t->reply));
	if (t->status == 429 || t->status == 503)
		front_job_refused(t, &s);
	else if (front_answer_begun(&t->job->answer) ||
	    front_try_other(t) != NULL)
		front_job_lose(t, "it does not go on with the request", false);
	else
		front_job_fail(t->job, t->status, str_c(&s), s.n);
	str_free(&s);
}

/* An error event that no other front end would spare the client. */
static void
fail_error(struct front_try *t)
{
	struct str s = t->reply;
	const struct front_cut all = { str_c(&s), s.n };
	uint64_t status;

	memset(&t->reply, 0, sizeof(t->reply));
	if (!front_cut_int(front_cut_get(front_cut_get(all, "error"), "code"),
	    599, &status) || status < 400)
		status = 500;
	front_job_fail(t->job, (int)status, str_c(&s), s.n);
	str_free(&s);
}

/* Do what the bytes that came have led to; t and its job may be gone after
 * it. */
static void
act(struct front_try *t)
{
	char why[256];

	snprintf(why, sizeof(why), "%s", t->why);
	switch (t->verdict) {
	case FRONT_GOES:
		front_job_unread(t->job);	/* what was kept may be no more */
		break;
	case FRONT_LOST:
		front_job_lose(t, why, false);
		break;
	case FRONT_FAILED:
		fail_error(t);
		break;
	case FRONT_DONE:
		front_job_done(t->job);
		break;
	}
}

/* The stream ends with an error: of this front end, or of the request. */
static void
take_error(struct front_try *t, struct front_cut all, struct front_cut error)
{
	struct front_cut text = front_cut_inner(front_cut_get(error,
	    "message"));
	char why[200];

	snprintf(why, sizeof(why), "%.*s", (int)text.n, text.p);
	verdict(t, front_cut_is(front_cut_get(error, "code"), "503") ?
	    FRONT_LOST : FRONT_FAILED, why);
	str_add(&t->reply, all.p, all.n);
}

static void
on_event(void *arg, const char *event, const char *data, size_t n)
{
	struct front_try *t = arg;
	struct front_job *j = t->job;
	const bool begun = front_answer_begun(&j->answer);
	const struct front_cut all = { data, n };
	struct front_cut error;
	struct err err = ERR_INIT;
	struct str out = STR_INIT;

	(void)event;
	if (t->verdict != FRONT_GOES)
		return;
	if (front_cut_is(all, "[DONE]")) {
		if (front_answer_complete(&j->answer))
			verdict(t, FRONT_DONE, "");
		else
			verdict(t, FRONT_LOST, "its stream ended early");
		return;
	}
	error = front_cut_get(all, "error");
	if (error.p != NULL) {
		take_error(t, all, error);
		return;
	}
	if (front_answer_take(&j->answer, data, n, &out, &err) != 0) {
		verdict(t, FRONT_LOST, err.text);
		return;
	}
	front_job_took(t, begun);
	if (out.n > 0)
		front_read_put(j, &out);
	str_free(&out);
}

static void
on_head(void *user, int status)
{
	struct front_try *t = user;
	char v[64];

	front_up_heard(t->up);
	t->status = status;
	if (status != 200)
		return;
	if (!front_call_header(t->call, "Content-Type", v, sizeof(v)) ||
	    strncmp(v, "text/event-stream", 17) != 0)
		verdict(t, FRONT_LOST, "its reply is no event stream");
	else if (front_answer_begun(&t->job->answer) &&
	    !front_call_header(t->call, "Moe-Resumed", v, sizeof(v)))
		verdict(t, FRONT_LOST, "it cannot resume");
	act(t);
}

static void
on_data(void *user, const char *p, size_t n)
{
	struct front_try *t = user;

	front_up_heard(t->up);
	if (t->status != 200) {
		if (t->reply.n + n <= MAX_REPLY)
			str_add(&t->reply, p, n);
		return;
	}
	if (sse_feed(&t->sse, p, n) != 0)
		verdict(t, FRONT_LOST, "an event is too large");
	act(t);
}

static void
on_end(void *user, const char *why)
{
	struct front_try *t = user;

	if (why == NULL && t->status != 200) {
		take_reply(t);
		return;
	}
	front_job_lose(t, why != NULL ? why : "its stream ended early",
	    why != NULL);
}

static const struct front_call_fn call_fn = { on_head, on_data, on_end };

/* ---- asking ------------------------------ */

void
front_try_start(struct front_try *t, struct front_up *u, bool hedge)
{
	struct front_job *j = t->job;
	struct front_req r = { .method = "POST", .path = j->path,
	    .auth = j->auth };
	struct str body = STR_INIT;

	str_add(&body, str_c(&j->ask.body), j->ask.body.n);
	if (front_answer_begun(&j->answer)) {
		str_addc(&body, ',');
		front_answer_resume(&j->answer, &body);
	}
	str_addc(&body, '}');
	r.body = body.p;
	r.n_body = body.n;
	t->up = u;
	t->hedge = hedge;
	front_up_begin(u);
	sse_init(&t->sse, on_event, t);
	t->call = front_call_start(j->door->o.loop, &u->addr, &r, &call_fn, t);
	str_free(&body);
}
