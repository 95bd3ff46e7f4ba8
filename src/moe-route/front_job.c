/* front_job - see front_job.h. */
#include "front_job.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "event_log.h"
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

static void
free_job(struct front_job *j)
{
	struct front_door *d = j->door;
	int i;

	for (i = 0; i < FRONT_TRIES; i++)
		front_try_drop(&j->try[i]);
	if (j->kept != NULL)
		front_keep_drop(&d->keep, j->kept);
	*j->prev_p = j->next;
	if (j->next != NULL)
		j->next->prev_p = j->prev_p;
	loop_timer_free(j->timer);
	front_ask_free(&j->ask);
	front_answer_free(&j->answer);
	mem_free(j->auth);
	mem_free(j);
	d->n_job--;
	front_door_left(d);
}

void
front_job_done(struct front_job *j)
{
	front_read_done(j);
	if (j->kept != NULL) {
		j->kept->job = NULL;
		j->kept->done_ns = clock_ns();
		j->kept = NULL;
	}
	free_job(j);
}

void
front_job_fail(struct front_job *j, int status, const char *json, size_t n)
{
	if (status >= 500)
		j->door->stat.failed++;
	front_read_fail(j, status, json, n);
	free_job(j);
}

const char *
front_job_name(const struct front_job *j)
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
	log_warn("request %s: given up after %llu tokens: %s", front_job_name(j),
	    (unsigned long long)j->answer.n_tok,
	    j->why);
	snprintf(j->retry_after, sizeof(j->retry_after), "1");
	front_job_fail(j, 503, s, strlen(s));
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

/* Nobody works on j any more. */
static void
go_on(struct front_job *j)
{
	if (front_answer_begun(&j->answer))
		j->door->stat.resumes++;
	else
		j->door->stat.moves++;
	j->moved = true;
	j->wait_ns = 0;
	if (++j->losses >= MAX_LOSSES)
		give_up(j);
	else
		look_for(j);
}

void
front_job_lose(struct front_try *t, const char *why, bool is_gone)
{
	struct front_try *other = front_try_other(t);
	struct front_job *j = t->job;
	struct front_up *u = t->up;

	snprintf(j->why, sizeof(j->why), "%.40s: %.200s", u->name, why);
	log_info("request %s: %s; %llu tokens were sent", front_job_name(j),
	    j->why, (unsigned long long)j->answer.n_tok);
	j->lost_up = u;
	event_log_put(u->name, "masked", NULL);
	j->skip |= UINT64_C(1) << u->index;
	front_try_drop(t);
	if (is_gone)
		front_up_failed(u, why);
	if (front_answer_complete(&j->answer))
		front_job_done(j);
	else if (other == NULL)
		go_on(j);
}

void
front_job_refused(struct front_try *t, const struct str *body)
{
	struct front_try *other = front_try_other(t);
	struct front_job *j = t->job;
	int status = t->status;

	(void)front_call_header(t->call, "Retry-After", j->retry_after,
	    sizeof(j->retry_after));
	snprintf(j->why, sizeof(j->why), "%.40s: refused with status %d",
	    t->up->name, status);
	j->door->stat.refused++;
	j->skip |= UINT64_C(1) << t->up->index;
	front_try_drop(t);
	if (other != NULL)
		return;
	if (!front_answer_begun(&j->answer))
		j->last = -1;	/* no pages of it are anywhere */
	if (j->wait_ns == 0)
		j->wait_ns = clock_ns();
	/* It is for the client to come back, unless it has a part already; but
	 * one that leaves while another is not back yet (a rolling restart)
	 * is no refusal of all: that other one is waited for. */
	if (!front_answer_begun(&j->answer) && front_up_pick(&j->door->pool,
	    j->ask.hash, j->skip) == NULL && (status == 429 ||
	    front_up_n_well(&j->door->pool) == j->door->pool.n))
		front_job_fail(j, status, str_c(body), body->n);
	else
		look_for(j);
}

void
front_job_took(struct front_try *t, bool begun)
{
	struct front_try *other = front_try_other(t);
	struct front_job *j = t->job;
	uint64_t now = clock_ns();
	char text[NUM_TEXT];

	if (t->hedge) {
		j->moved = true;
		if (begun)
			j->door->stat.resumes++;
		else
			j->door->stat.moves++;
	} else if (other != NULL) {
		j->door->stat.hedges_lost++;
	}
	if (other != NULL) {
		j->lost_up = other->up;
		front_try_drop(other);
	}
	if (j->moved) {
		front_metrics_stall(j->door, now - j->came_ns);
		if (j->lost_up != NULL)
			event_log_put(j->lost_up->name, "replayed", NULL);
		log_info("request %s: goes on at %s after %s",
		    front_job_name(j), t->up->name,
		    num_dur_text(now - j->came_ns, text));
	}
	t->hedge = false;
	j->moved = false;
	j->wait_ns = 0;
	j->losses = 0;
	j->skip = 0;
	j->last = t->up->index;
	j->came_ns = now;
}

/* ---- asking front ends ------------------------------ */

/* Where j should go on: where the pages of its context are, if anywhere. */
static struct front_up *
choose(struct front_job *j, uint64_t skip)
{
	struct front_pool *p = &j->door->pool;
	struct front_up *u = j->last < 0 ? NULL : front_up_heir(p, j->last,
	    skip);

	return u != NULL ? u : front_up_pick(p, j->ask.hash, skip);
}

/* Give j to a front end, or let it wait for one. */
static void
look_for(struct front_job *j)
{
	struct front_door *d = j->door;
	struct front_up *u = choose(j, j->skip);
	uint64_t now;

	if (u != NULL) {
		loop_timer_stop(j->timer);
		j->last = u->index;
		front_try_start(&j->try[0], u, false);
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

static bool
is_tried(const struct front_job *j)
{
	return j->try[0].up != NULL || j->try[1].up != NULL;
}

void
front_job_well(struct front_door *d)
{
	struct front_job *j, *next;

	for (j = d->job; j != NULL; j = next) {
		next = j->next;
		if (!is_tried(j))
			look_for(j);
	}
}

/* The try of j at u; NULL: none. */
static struct front_try *
try_at(struct front_job *j, const struct front_up *u)
{
	int i;

	for (i = 0; i < FRONT_TRIES; i++)
		if (j->try[i].up == u)
			return &j->try[i];
	return NULL;
}

void
front_job_hung(struct front_door *d, struct front_up *u)
{
	struct front_job *j, *next;
	struct front_try *t;

	for (j = d->job; j != NULL; j = next) {
		next = j->next;
		t = try_at(j, u);
		if (t != NULL && front_call_heard_ns(t->call) < u->probe_ns)
			front_job_lose(t, "it hangs", false);
	}
}

/* Ask another one beside t, which is silent. */
static void
hedge(struct front_job *j, struct front_try *t)
{
	struct front_try *other = front_try_other(t), *to;
	uint64_t skip = j->skip | UINT64_C(1) << t->up->index;
	struct front_up *u;

	if (other != NULL && !other->up->suspect)
		return;
	if (other != NULL)
		skip |= UINT64_C(1) << other->up->index;
	u = choose(j, skip);
	if (u == NULL || u->suspect)
		return;
	/* Both are silent: the one that was tried first makes way. */
	to = other == NULL ? &j->try[t == &j->try[0]] :
	    other->hedge ? t : other;
	front_try_drop(to);
	j->door->stat.hedges++;
	front_try_start(to, u, true);
}

void
front_job_suspect(struct front_door *d, struct front_up *u)
{
	struct front_try *t;
	struct front_job *j;

	for (j = d->job; j != NULL; j = j->next) {
		t = try_at(j, u);
		if (t != NULL)
			hedge(j, t);
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

/* The id of an answer with a key follows from key and request: who has paid for
 * it at another door, which is gone, sees that it is the same one. */
static void
choose_id(struct front_answer *a, struct http_req *r, uint64_t hash)
{
	const char *key = http_header(r, "idempotency-key");

	str_addf(&a->own_id, "\"%s-%016llx%016llx\"",
	    a->chat ? "chatcmpl" : "cmpl",
	    (unsigned long long)front_ask_hash(key, strlen(key), 0),
	    (unsigned long long)hash);
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
	j->try[0].job = j->try[1].job = j;
	j->last = -1;
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
		choose_id(&j->answer, r, hash);
		j->kept = front_keep_new(&d->keep, name, hash);
		if (j->kept != NULL) {
			j->kept->job = j;
			j->kept->stream = q.stream;
		}
	}
	front_read_add(j, r);
	look_for(j);
}
