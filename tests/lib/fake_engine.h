/*
 * fake_engine.h - an engine for tests of the HTTP side: implements at_engine.h
 * without a model.  Every sequence generates the tokens of a script; all
 * logprobs follow from (position, rank).  Any thread.
 */
#ifndef MOE_FAKE_ENGINE_H
#define MOE_FAKE_ENGINE_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../src/moe-attnd/at_engine.h"
#include "mem.h"

#define FAKE_MAX	4096

struct at_engine {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fd;
	struct at_info info;
	/* the script, set with fake_script */
	uint32_t script[FAKE_MAX];
	int n_script;		/* then eos, unless max_tok comes first */
	int hold_after;		/* tokens, then wait for a cancel; -1: never */
	int fail_after;		/* tokens, then AT_FAIL; -1: never */
	int submit_code;	/* of the error that at_submit gives; 0: none */
	uint64_t wait_ns;	/* what at_wait_ns says */
	int submit_after;	/* sequences that are still taken before it */
	int n_cached;
	bool sick;
	/* what was submitted, in order */
	struct at_seq seen[64];	/* without prompts */
	int n_seen, n_cancel, n_live;
	struct at_seq *held[64];
	int n_held;
	VEC(struct at_out) out;
	size_t out_at;
};

static struct at_engine fake = { .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER, .hold_after = -1, .fail_after = -1 };

static float
fake_lp(int pos, int rank)
{
	return -0.25f * (float)(pos + 1) - (float)rank;
}

struct at_seq *
at_seq_new(const uint32_t *prompt, int n_prompt)
{
	struct at_seq *s = mem_zalloc(sizeof(*s));

	s->prompt = mem_dup(prompt, (size_t)n_prompt * sizeof(*prompt));
	s->n_prompt = n_prompt;
	return s;
}

void
at_seq_free(struct at_seq *s)
{
	mem_free(s->prompt);
	mem_free(s);
}

static void
fake_push(struct at_out *o)
{
	uint64_t one = 1;

	VEC_PUSH(&fake.out, *o);
	if (write(fake.fd, &one, sizeof(one)) < 0)
		perror("eventfd");
}

static void
fake_token(struct at_seq *s, enum at_kind kind, int pos, uint32_t id)
{
	struct at_out o = { .seq = s, .kind = kind, .pos = pos, .id = id };
	int i;

	if (s->n_top >= 0)
		o.lp = fake_lp(pos, 0);
	for (i = 0; i < s->n_top; i++) {
		o.top[i].id = (id + (uint32_t)i) % (uint32_t)fake.info.n_vocab;
		o.top[i].lp = fake_lp(pos, i);
	}
	o.n_top = s->n_top > 0 ? s->n_top : 0;
	fake_push(&o);
}

/* All of a sequence's outputs at once, up to where the script holds it. */
static void
fake_run(struct at_seq *s)
{
	struct at_out o = { .seq = s, .kind = AT_DONE, .n_cached =
	    fake.n_cached };
	int i;

	for (i = 1; s->prompt_lp && i < s->n_prompt; i++)
		fake_token(s, AT_PROMPT, i, 0);
	for (i = 0; i < s->max_tok && i < fake.n_script; i++) {
		if (i == fake.hold_after) {
			fake.held[fake.n_held++] = s;
			return;
		}
		if (i == fake.fail_after) {
			o.kind = AT_FAIL;
			o.fail_status = 504;
			snprintf(o.fail, sizeof(o.fail), "no server has it");
			break;
		}
		if (s->n_stop_id > 0 && fake.script[i] == s->stop_id[0]) {
			o.finish = AT_FINISH_STOP;
			o.stop_id = s->stop_id[0];
			break;
		}
		fake_token(s, AT_TOKEN, i, fake.script[i]);
	}
	if (o.kind == AT_DONE && o.finish == 0) {
		o.finish = i < s->max_tok ? AT_FINISH_STOP : AT_FINISH_LENGTH;
		o.stop_id = fake.info.eos[0];
	}
	fake_push(&o);
}

uint64_t
at_wait_ns(struct at_engine *e)
{
	return e->wait_ns;
}

int
at_submit(struct at_engine *e, struct at_seq *s, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	if (e->submit_code != 0 && e->submit_after-- <= 0) {
		rc = err_set(err, e->submit_code, "the queue says no");
	} else {
		e->n_live++;
		if (e->n_seen < 64) {
			e->seen[e->n_seen] = *s;
			e->seen[e->n_seen++].prompt = NULL;
		}
		fake_run(s);
	}
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
	return rc;
}

void
at_cancel(struct at_engine *e, struct at_seq *s)
{
	struct at_out o = { .seq = s, .kind = AT_DONE,
	    .finish = AT_FINISH_CANCEL };
	int i;

	pthread_mutex_lock(&e->lock);
	for (i = 0; i < e->n_held; i++)
		if (e->held[i] == s) {
			e->held[i] = e->held[--e->n_held];
			e->n_cancel++;
			fake_push(&o);
			break;
		}
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

bool
at_take(struct at_engine *e, struct at_out *out)
{
	uint64_t n;
	bool got = false;

	pthread_mutex_lock(&e->lock);
	if (e->out_at < e->out.n) {
		*out = e->out.p[e->out_at++];
		got = true;
		if (out->kind >= AT_DONE)
			e->n_live--;
	}
	if (e->out_at == e->out.n) {
		e->out.n = e->out_at = 0;
		if (read(e->fd, &n, sizeof(n)) < 0)
			n = 0;
	}
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
	return got;
}

int
at_out_fd(const struct at_engine *e)
{
	return e->fd;
}

bool
at_health(struct at_engine *e, char why[200])
{
	bool sick;

	pthread_mutex_lock(&e->lock);
	sick = e->sick;
	pthread_mutex_unlock(&e->lock);
	snprintf(why, 200, "layer 3 expert 5 has no server");
	return !sick;
}

const struct at_info *
at_engine_info(const struct at_engine *e)
{
	return &e->info;
}

void
at_metrics(struct at_engine *e, struct at_metrics *out)
{
	(void)e;
	memset(out, 0, sizeof(*out));
	out->n_running = 7;
	out->kv_pages = 100;
	out->kv_pages_used = 25;
	out->done_stop = 3;
}

/* Fields of the fake that the test sets or reads without the lock are set and
 * read by others before and after this. */
static void
fake_sync(void)
{
	pthread_mutex_lock(&fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

/* A new script; forgets what was seen. */
static void
fake_script(const uint32_t *id, int n)
{
	pthread_mutex_lock(&fake.lock);
	if (n > FAKE_MAX)
		n = FAKE_MAX;
	memcpy(fake.script, id, (size_t)n * sizeof(*id));
	fake.n_script = n;
	fake.hold_after = fake.fail_after = -1;
	fake.submit_code = fake.submit_after = fake.n_cached = 0;
	fake.n_seen = fake.n_cancel = 0;
	fake.sick = false;
	pthread_mutex_unlock(&fake.lock);
}

/* Wait until n sequences were cancelled and none lives; false after 20 s. */
static bool
fake_wait_cancelled(int n)
{
	struct timespec t;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 20;
	pthread_mutex_lock(&fake.lock);
	while ((fake.n_cancel < n || fake.n_live > 0) && rc == 0)
		rc = pthread_cond_timedwait(&fake.changed, &fake.lock, &t);
	pthread_mutex_unlock(&fake.lock);
	return rc == 0;
}

#endif
