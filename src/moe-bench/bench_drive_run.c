/*
 * bench_drive_run - send the requests when they are due, whatever became of
 * those before (open loop), and note when every piece came.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench_drive.h"
#include "clock.h"

#define CHECK_FLYING	8	/* requests at once to the server compared with */

struct flight {			/* user pointer of a stream */
	struct drive *d;
	struct drive_req *r;
};

char *
drive_body(const struct drive *d, size_t i, const char *model)
{
	const struct drive_req *r = &d->req[i];
	json_t *o = json_pack("{s:s, s:O, s:I, s:f, s:I, s:b, s:{s:b}, s:b, "
	    "s:b}", "model", model, "prompt", r->prompt, "max_tokens",
	    (json_int_t)r->max_tok, "temperature", d->o.temperature, "seed",
	    (json_int_t)(d->o.seed + (int64_t)i), "stream", 1,
	    "stream_options", "include_usage", 1, "return_token_ids", 1,
	    "ignore_eos", d->o.ignore_eos);
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	BUG_ON(text == NULL);
	return text;
}

static void
on_chunk(void *user, const struct oai_chunk *c)
{
	struct drive_req *r = ((struct flight *)user)->r;
	size_t i;

	VEC_PUSH(&r->chunk_ns, c->now_ns);
	for (i = 0; i < c->n_id; i++)
		VEC_PUSH(&r->id, c->id[i]);
	str_adds(&r->text, c->text);
}

static void
on_end(void *user, const struct oai_end *e)
{
	struct flight *f = user;
	struct drive_req *r = f->r;

	r->ok = e->ok && r->chunk_ns.n > 0;
	r->end_ns = e->now_ns;
	if (e->prompt_tok >= 0)
		r->prompt_tok = e->prompt_tok;
	r->output_tok = r->id.n > 0 ? (int64_t)r->id.n :
	    e->output_tok >= 0 ? e->output_tok : (int64_t)r->chunk_ns.n;
	snprintf(r->why, sizeof(r->why), "%s",
	    e->ok && !r->ok ? "a stream without a token" : e->why);
	f->d->free_ns = e->now_ns;
	f->d->flying--;
	mem_free(f);
}

static const struct oai_fn run_fn = { on_chunk, on_end };

static void
send_next(struct drive *d, struct oai *c, uint64_t due_ns)
{
	struct drive_req *r = &d->req[d->next];
	struct flight *f = mem_alloc(sizeof(*f));
	char *body = drive_body(d, d->next, d->model);

	*f = (struct flight){ d, r };
	d->next++;
	if (++d->flying > d->peak)
		d->peak = d->flying;
	r->sent = true;
	r->due_ns = due_ns;
	r->free_ns = d->free_ns;
	r->sent_ns = clock_ns();
	oai_stream(c, DRIVE_PATH, body, d->o.limit_ns, &run_fn, f);
	free(body);
}

/* When the next request is due.  Without a rate and with a bound on how many
 * are in flight, it is when one of them has ended: a closed loop. */
static uint64_t
due(const struct drive *d)
{
	const struct drive_req *r = &d->req[d->next];
	uint64_t at = d->start_ns + (uint64_t)(r->at_s * 1e9);

	if (d->o.rate <= 0 && d->o.trace == NULL && d->o.concurrency > 0 &&
	    d->free_ns > at)
		return d->free_ns;
	return at;
}

static bool
has_slot(const struct drive *d)
{
	return d->o.concurrency == 0 ||
	    d->flying < (size_t)d->o.concurrency;
}

/* libcurl waits in milliseconds; a timer in its poll set is exact. */
static void
arm(int fd, uint64_t left_ns)
{
	struct itimerspec t = { { 0, 0 },
	    { (time_t)(left_ns / 1000000000),
	    (long)(left_ns % 1000000000) } };

	if (left_ns == 0)
		t.it_value.tv_nsec = 1;
	timerfd_settime(fd, 0, &t, NULL);
}

int
drive_run(struct drive *d, struct oai *c, struct err *err)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	uint64_t at, now;

	if (fd < 0)
		return err_set(err, ERR_TEMP, "no timer");
	d->start_ns = d->free_ns = clock_ns();
	while (d->next < d->n_req || d->flying > 0) {
		at = UINT64_MAX;
		now = clock_ns();
		while (d->next < d->n_req && has_slot(d) &&
		    (at = due(d)) <= now)
			send_next(d, c, at);
		if (d->next == d->n_req || !has_slot(d)) {
			oai_poll(c, 1000000000, -1);
			continue;
		}
		arm(fd, clock_left(at));
		oai_poll(c, 1000000000, fd);
	}
	d->end_ns = clock_ns();
	close(fd);
	return 0;
}

/* ---- comparing ----------------------------------------------------------- */

struct check {
	struct drive *d;
	struct drive_req *r;
	VEC(int32_t) id;
	struct str text;
	size_t *flying;
};

static void
check_chunk(void *user, const struct oai_chunk *c)
{
	struct check *k = user;
	size_t i;

	for (i = 0; i < c->n_id; i++)
		VEC_PUSH(&k->id, c->id[i]);
	str_adds(&k->text, c->text);
}

/* By the text when one of the servers gives no ids: all of it or nothing. */
static int64_t
count_wrong(const struct check *k)
{
	if (k->id.n > 0 && k->r->id.n > 0)
		return drive_differ(k->id.p, k->id.n, k->r->id.p, k->r->id.n);
	return strcmp(str_c(&k->text), str_c(&k->r->text)) == 0 ? 0 :
	    k->r->output_tok > 0 ? k->r->output_tok : 1;
}

static void
check_end(void *user, const struct oai_end *e)
{
	struct check *k = user;

	k->r->unchecked = !e->ok;
	k->r->wrong = e->ok ? count_wrong(k) : 0;
	if (!e->ok)
		snprintf(k->r->why, sizeof(k->r->why), "check: %.150s",
		    e->why);
	--*k->flying;
	VEC_FREE(&k->id);
	str_free(&k->text);
	mem_free(k);
}

void
drive_check(struct drive *d, struct oai *c)
{
	static const struct oai_fn fn = { check_chunk, check_end };
	size_t i = 0, flying = 0;
	struct check *k;
	char *body;

	while (i < d->n_req || flying > 0) {
		if (i == d->n_req || flying == CHECK_FLYING) {
			oai_poll(c, 1000000000, -1);
			continue;
		}
		if (d->req[i].ok) {
			k = mem_zalloc(sizeof(*k));
			k->d = d;
			k->r = &d->req[i];
			k->flying = &flying;
			body = drive_body(d, i, d->check_model);
			flying++;
			oai_stream(c, DRIVE_PATH, body, d->o.limit_ns, &fn, k);
			free(body);
		}
		i++;
	}
}
