/* front_job - see front_job.h. */
#include "front_job.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "front_cut.h"
#include "log.h"
#include "mem.h"
#include "num.h"
#include "rng.h"

/* A request that loses this many front ends in a row without a token between
 * may well be what kills them. */
#define MAX_LOSSES	6
#define RETRY_NS	50000000u	/* while no front end takes it */
#define MAX_REPLY	(8u << 20)	/* that is no stream */

static void	look_for(struct front_job *j);

/* ---- the end ------------------------------ */

/* Let go of the front end. */
static void
release(struct front_job *j)
{
	front_call_cancel(j->call);
	j->call = NULL;
	if (j->up != NULL)
		j->up->in_flight--;
	j->up = NULL;
	sse_free(&j->sse);
	memset(&j->sse, 0, sizeof(j->sse));
	str_clear(&j->reply);
	j->status = 0;
	j->verdict = FRONT_GOES;
}

static void
free_job(struct front_job *j)
{
	struct front_door *d = j->door;

	release(j);
	if (j->kept != NULL)
		front_keep_drop(&d->keep, j->kept);
	*j->prev_p = j->next;
	if (j->next != NULL)
		j->next->prev_p = j->prev_p;
	loop_timer_free(j->timer);
	front_ask_free(&j->ask);
	front_answer_free(&j->answer);
	str_free(&j->reply);
	mem_free(j->auth);
	mem_free(j);
	d->n_job--;
	front_door_left(d);
}

static void
done(struct front_job *j)
{
	front_read_done(j);
	if (j->kept != NULL) {
		j->kept->job = NULL;
		j->kept->done_ns = clock_ns();
		j->kept = NULL;
	}
	free_job(j);
}

static void
fail(struct front_job *j, int status, const char *json, size_t n)
{
	if (status >= 500)
		j->door->stat.failed++;
	front_read_fail(j, status, json, n);
	free_job(j);
}

/* For messages. */
static const char *
job_name(const struct front_job *j)
{
	return j->answer.id.n > 0 ? j->answer.id.p : "(no token yet)";
}

/* No front end goes on with it. */
static void
give_up(struct front_job *j)
{
	json_t *o = json_pack("{s{ss+% ss sn si}}", "error", "message",
	    "no front end could answer: ", j->why,
	    str_utf8_whole(j->why, strlen(j->why)), "type",
	    http_error_type(503), "param", "code", 503);
	char *s;

	if (o == NULL)		/* text that is not UTF-8 */
		o = json_pack("{s{ss ss sn si}}", "error", "message",
		    "no front end could answer", "type",
		    http_error_type(503), "param", "code", 503);
	s = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	log_warn("request %s: given up after %llu tokens: %s", job_name(j),
	    (unsigned long long)j->answer.n_tok,
	    j->why);
	snprintf(j->retry_after, sizeof(j->retry_after), "1");
	fail(j, 503, s, strlen(s));
	free(s);
}

void
front_job_unread(struct front_job *j)
{
	/* With a key the client may come back for it. */
	if (j->reader == NULL && j->kept == NULL)
		free_job(j);
}

/* ---- going on elsewhere ------------------------------ */

/* The front end that works on j will not go on with it. */
static void
lose(struct front_job *j, const char *why, bool is_gone)
{
	struct front_up *u = j->up;

	snprintf(j->why, sizeof(j->why), "%.40s: %.200s", u->name, why);
	log_info("request %s: %s; %llu tokens were sent", job_name(j), j->why,
	    (unsigned long long)j->answer.n_tok);
	if (front_answer_complete(&j->answer)) {
		if (is_gone)
			front_up_failed(u, why);
		done(j);
		return;
	}
	if (front_answer_begun(&j->answer))
		j->door->stat.resumes++;
	else
		j->door->stat.moves++;
	j->moved = true;
	j->wait_ns = 0;
	j->skip |= UINT64_C(1) << u->index;
	release(j);
	if (is_gone)
		front_up_failed(u, why);
	if (++j->losses >= MAX_LOSSES)
		give_up(j);
	else
		look_for(j);
}

/* A reply that is no stream has come: an error. */
static void
take_reply(struct front_job *j)
{
	struct front_up *u = j->up;
	int status = j->status;
	struct str s = j->reply;

	memset(&j->reply, 0, sizeof(j->reply));
	if (status != 429 && status != 503) {
		if (front_answer_begun(&j->answer))
			lose(j, "it does not go on with the request", false);
		else
			fail(j, status, str_c(&s), s.n);
		str_free(&s);
		return;
	}
	(void)front_call_header(j->call, "Retry-After", j->retry_after,
	    sizeof(j->retry_after));
	snprintf(j->why, sizeof(j->why), "%.40s: refused with status %d",
	    u->name, status);
	if (j->wait_ns == 0)
		j->wait_ns = clock_ns();
	j->door->stat.refused++;
	j->skip |= UINT64_C(1) << u->index;
	release(j);
	/* It is for the client to come back, unless it has a part already. */
	if (!front_answer_begun(&j->answer) && front_up_pick(&j->door->pool,
	    j->ask.hash, j->skip) == NULL)
		fail(j, status, str_c(&s), s.n);
	else
		look_for(j);
	str_free(&s);
}

/* An error event that no other front end would spare the client. */
static void
fail_error(struct front_job *j)
{
	struct str s = j->reply;
	const struct front_cut all = { str_c(&s), s.n };
	uint64_t status;

	memset(&j->reply, 0, sizeof(j->reply));
	if (!front_cut_int(front_cut_get(front_cut_get(all, "error"), "code"),
	    599, &status) || status < 400)
		status = 500;
	fail(j, (int)status, str_c(&s), s.n);
	str_free(&s);
}

/* Do what the bytes that came have led to; j may be gone after it. */
static void
act(struct front_job *j)
{
	char why[256];

	snprintf(why, sizeof(why), "%s", j->why);
	switch (j->verdict) {
	case FRONT_GOES:
		front_job_unread(j);	/* what was kept may be no more */
		break;
	case FRONT_LOST:
		lose(j, why, false);
		break;
	case FRONT_FAILED:
		fail_error(j);
		break;
	case FRONT_DONE:
		done(j);
		break;
	}
}

/* ---- what front ends say ------------------------------ */

static void
verdict(struct front_job *j, enum front_verdict v, const char *why)
{
	j->verdict = v;
	snprintf(j->why, sizeof(j->why), "%.200s", why);
}

/* The stream ends with an error: of this front end, or of the request. */
static void
take_error(struct front_job *j, struct front_cut all, struct front_cut error)
{
	struct front_cut text = front_cut_inner(front_cut_get(error,
	    "message"));
	char why[200];

	snprintf(why, sizeof(why), "%.*s", (int)text.n, text.p);
	verdict(j, front_cut_is(front_cut_get(error, "code"), "503") ?
	    FRONT_LOST : FRONT_FAILED, why);
	str_add(&j->reply, all.p, all.n);
}

static void
take_token(struct front_job *j)
{
	uint64_t now = clock_ns();
	char t[NUM_TEXT];

	if (j->moved) {
		front_metrics_stall(j->door, now - j->came_ns);
		log_info("request %s: goes on at %s after %s", job_name(j),
		    j->up->name, num_dur_text(now - j->came_ns, t));
	}
	j->moved = false;
	j->wait_ns = 0;
	j->losses = 0;
	j->skip = 0;
	j->came_ns = now;
}

static void
on_event(void *arg, const char *event, const char *data, size_t n)
{
	struct front_job *j = arg;
	const struct front_cut all = { data, n };
	struct front_cut error;
	struct err err = ERR_INIT;
	struct str out = STR_INIT;

	(void)event;
	if (j->verdict != FRONT_GOES)
		return;
	if (front_cut_is(all, "[DONE]")) {
		if (front_answer_complete(&j->answer))
			verdict(j, FRONT_DONE, "");
		else
			verdict(j, FRONT_LOST, "its stream ended early");
		return;
	}
	error = front_cut_get(all, "error");
	if (error.p != NULL) {
		take_error(j, all, error);
		return;
	}
	if (front_answer_take(&j->answer, data, n, &out, &err) != 0) {
		verdict(j, FRONT_LOST, err.text);
		return;
	}
	take_token(j);
	if (out.n > 0)
		front_read_put(j, &out);
	str_free(&out);
}

static void
on_head(void *user, int status)
{
	struct front_job *j = user;
	char v[64];

	j->status = status;
	if (status != 200)
		return;
	if (!front_call_header(j->call, "Content-Type", v, sizeof(v)) ||
	    strncmp(v, "text/event-stream", 17) != 0)
		verdict(j, FRONT_LOST, "its reply is no event stream");
	else if (front_answer_begun(&j->answer) &&
	    !front_call_header(j->call, "Moe-Resumed", v, sizeof(v)))
		verdict(j, FRONT_LOST, "it cannot resume");
	act(j);
}

static void
on_data(void *user, const char *p, size_t n)
{
	struct front_job *j = user;

	if (j->status != 200) {
		if (j->reply.n + n <= MAX_REPLY)
			str_add(&j->reply, p, n);
		return;
	}
	if (sse_feed(&j->sse, p, n) != 0)
		verdict(j, FRONT_LOST, "an event is too large");
	act(j);
}

static void
on_end(void *user, const char *why)
{
	struct front_job *j = user;

	if (why == NULL && j->status != 200) {
		take_reply(j);
		return;
	}
	lose(j, why != NULL ? why : "its stream ended early", why != NULL);
}

static const struct front_call_fn call_fn = { on_head, on_data, on_end };

/* ---- asking a front end ------------------------------ */

static void
ask(struct front_job *j, struct front_up *u)
{
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
	j->up = u;
	u->in_flight++;
	loop_timer_stop(j->timer);
	sse_init(&j->sse, on_event, j);
	j->call = front_call_start(j->door->o.loop, &u->addr, &r, &call_fn, j);
	str_free(&body);
}

/* Give j to a front end, or let it wait for one. */
static void
look_for(struct front_job *j)
{
	struct front_door *d = j->door;
	struct front_up *u = front_up_pick(&d->pool, j->ask.hash, j->skip);
	uint64_t now;

	if (u != NULL) {
		ask(j, u);
		return;
	}
	now = clock_ns();
	if (j->wait_ns == 0)
		j->wait_ns = now;
	if (now - j->wait_ns >= d->o.stall_ns) {
		if (j->why[0] == '\0')
			front_door_why(d, j->why, sizeof(j->why));
		give_up(j);
		return;
	}
	j->skip = 0;
	loop_timer_in(j->timer, RETRY_NS);
}

static void
on_timer(void *arg)
{
	look_for(arg);
}

void
front_job_well(struct front_door *d)
{
	struct front_job *j, *next;

	for (j = d->job; j != NULL; j = next) {
		next = j->next;
		if (j->up == NULL)
			look_for(j);
	}
}

void
front_job_hung(struct front_door *d, struct front_up *u)
{
	struct front_job *j, *next;

	for (j = d->job; j != NULL; j = next) {
		next = j->next;
		if (j->up == u && front_call_heard_ns(j->call) < u->probe_ns)
			lose(j, "it hangs", false);
	}
}

void
front_job_stop(struct front_door *d)
{
	struct front_job *j;

	while ((j = d->job) != NULL) {
		if (j->kept != NULL)
			front_keep_drop(&d->keep, j->kept);
		j->kept = NULL;
		free_job(j);
	}
}

/* ---- beginning ------------------------------ */

/* A request whose key is known: true, it has been seen to. */
static bool
is_known(struct front_door *d, struct http_req *r, const char *name,
    uint64_t hash)
{
	struct front_kept *e = front_keep_find(&d->keep, name);
	const struct http_error bad = { .status = 422 };

	if (e == NULL)
		return false;
	if (e->ask != hash) {
		http_fail(r, &bad, "this Idempotency-Key belongs to another "
		    "request");
		return true;
	}
	d->stat.replayed++;
	if (e->job != NULL)
		front_read_add(e->job, r);
	else
		front_read_replay(e, r);
	return true;
}

/* The draws of a request without a seed.  With a key they follow from it: a
 * client that comes to another door gets the same tokens. */
static uint64_t
choose_seed(struct front_door *d, const char *name)
{
	uint64_t seed = name != NULL ? front_ask_hash(name, strlen(name), 0) :
	    rng_at(d->seed, 5, d->n_seed++);

	return seed >> 1;
}

static struct front_job *
new_job(struct front_door *d, struct http_req *r, bool chat,
    const struct front_ask *q)
{
	struct front_job *j = mem_zalloc(sizeof(*j));
	const char *auth = http_header(r, "authorization");

	j->door = d;
	j->next = d->job;
	j->prev_p = &d->job;
	if (d->job != NULL)
		d->job->prev_p = &j->next;
	d->job = j;
	d->n_job++;
	j->ask = *q;
	j->path = chat ? "/v1/chat/completions" : "/v1/completions";
	j->auth = auth != NULL ? mem_strdup(auth) : NULL;
	front_answer_init(&j->answer, q->n_choice);
	j->answer.chat = chat;
	j->answer.stream = q->stream;
	j->answer.want_ids = q->want_ids;
	j->answer.want_usage = q->want_usage;
	j->timer = loop_timer(d->o.loop, on_timer, j);
	j->came_ns = clock_ns();
	return j;
}

/* NULL when there is no key, or a bad one: then *refused, with a reply. */
static char *
read_key(struct http_req *r, bool *refused)
{
	const char *key = http_header(r, "idempotency-key");
	const struct http_error bad = { .status = 400 };

	*refused = key != NULL && (key[0] == '\0' ||
	    strlen(key) > FRONT_MAX_KEY);
	if (*refused)
		http_fail(r, &bad, "Idempotency-Key must have 1 to %d bytes",
		    FRONT_MAX_KEY);
	return key == NULL || *refused ? NULL : front_keep_name(http_path(r),
	    http_header(r, "authorization"), key);
}

void
front_job_start(struct front_door *d, struct http_req *r, bool chat)
{
	struct front_ask q;
	struct front_job *j;
	bool refused;
	char *name = read_key(r, &refused);
	size_t n;
	const char *body = http_body(r, &n);
	uint64_t hash = front_ask_hash(body, n, 0);

	if (refused || (name != NULL && is_known(d, r, name, hash))) {
		mem_free(name);
		return;
	}
	if (!front_ask_read(&q, chat, body, n, choose_seed(d, name))) {
		mem_free(name);
		front_relay_start(d, r);
		return;
	}
	d->stat.requests++;
	j = new_job(d, r, chat, &q);
	if (name != NULL) {
		j->kept = front_keep_new(&d->keep, name, hash);
		if (j->kept != NULL) {
			j->kept->job = j;
			j->kept->stream = q.stream;
		}
	}
	front_read_add(j, r);
	look_for(j);
}
