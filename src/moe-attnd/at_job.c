/* at_job - see at_job.h. */
#include "at_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "at_resume.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"

/* Prompt tokens before the answer that its decoding must know of: leading
 * spaces and characters cut in two. */
#define CONTEXT_TOK	6
#define MAX_RETRY_S	60	/* told to those who are sent away */

void
at_job_refuse(struct at_api *a, struct http_req *r, const struct at_bad *bad)
{
	struct http_error e = { .status = bad->status,
	    .param = bad->param[0] != '\0' ? bad->param : NULL };
	uint64_t s = a->draining ? 5 : 1;
	char text[24];

	a->prom.refused++;
	if (bad->status == 429)
		s += at_wait_ns(a->o.engine) / 1000000000;
	snprintf(text, sizeof(text), "%llu",
	    (unsigned long long)(s < MAX_RETRY_S ? s : MAX_RETRY_S));
	if (bad->status == 503 || bad->status == 429)
		http_add_header(r, "Retry-After", text);
	http_fail(r, &e, "%s", bad->text);
}

/* ---- ending ------------------------------------------------------------------ */

static void
free_choice(struct at_choice *c)
{
	token_stream_free(&c->stream);
	at_text_free(&c->match);
	str_free(&c->text);
	VEC_FREE(&c->tok);
	VEC_FREE(&c->top);
}

static void
free_job(struct at_job *j)
{
	struct at_api *a = j->api;
	int i;

	for (i = 0; i < j->n_choice; i++)
		free_choice(&j->choice[i]);
	mem_free(j->choice);
	at_req_free(&j->q);
	*j->prev_p = j->next;
	if (j->next != NULL)
		j->next->prev_p = j->prev_p;
	mem_free(j);
	a->n_job--;
	if (a->n_job == 0 && a->draining)
		loop_timer_in(a->idle, 0);
}

/* The reply has ended; the engine may still hold sequences. */
static void
end_job(struct at_job *j)
{
	int i;

	j->r = NULL;
	j->ended = true;
	loop_timer_free(j->limit);
	j->limit = NULL;
	for (i = 0; i < j->n_choice; i++)
		if (j->choice[i].seq != NULL)
			at_cancel(j->api->o.engine, j->choice[i].seq);
	if (j->n_seq == 0)
		free_job(j);
}

static void
on_gone(struct http_req *r, void *arg)
{
	struct at_job *j = arg;

	(void)r;
	j->api->prom.aborted++;
	end_job(j);
}

/* ---- sending ------------------------------------------------------------------ */

static void
put_event(struct at_job *j, char *json, size_t n)
{
	struct str s = STR_INIT;

	if (!j->streaming) {
		j->streaming = true;
		http_stream_begin(j->r, 200, "text/event-stream");
	}
	str_adds(&s, "data: ");
	str_add(&s, json, n);
	str_adds(&s, "\n\n");
	/* false: the client is too slow, and on_gone comes by itself */
	(void)http_stream_put(j->r, s.p, s.n);
	str_free(&s);
	free(json);		/* jansson's */
}

/* Send what a choice has, if that is anything a client asked for. */
static void
send_chunk(struct at_choice *c)
{
	struct at_job *j = c->job;
	char *json;
	size_t n;

	if (c->text.n == 0 && !c->done &&
	    (c->tok.n == 0 || (j->q.n_top < 0 && !j->q.return_ids)))
		return;
	json = at_body_chunk(j, c, &n);
	put_event(j, json, n);
	c->begun = true;
	str_clear(&c->text);
	c->tok.n = c->top.n = 0;
}

static void
finish_job(struct at_job *j)
{
	struct http_req *r = j->r;
	char *json;
	size_t n;

	at_prom_add(&j->api->prom, AT_PROM_E2E, clock_ns() - j->began_ns);
	if (!j->q.stream) {
		json = at_body_whole(j, &n);
		http_reply(r, 200, "application/json", json, n);
		free(json);
	} else {
		if (j->q.usage) {
			json = at_body_chunk(j, NULL, &n);
			put_event(j, json, n);
		}
		(void)http_stream_put(r, "data: [DONE]\n\n", 14);
		http_stream_end(r);
	}
	end_job(j);
}

/* The request cannot go on.  A stream says so in an event and ends. */
static void
fail_job(struct at_job *j, int status, const char *text)
{
	struct at_bad bad = { .status = status };
	json_t *o;
	char *json;

	j->api->prom.errors++;
	if (!j->streaming) {
		snprintf(bad.text, sizeof(bad.text), "%s", text);
		/* What the engine can never take is too long. */
		if (status == 400)
			snprintf(bad.param, sizeof(bad.param), "max_tokens");
		at_job_refuse(j->api, j->r, &bad);
		end_job(j);
		return;
	}
	o = json_pack("{s{ss ss sn si}}", "error", "message", text, "type",
	    http_error_type(status), "param", "code", status);
	if (o == NULL)		/* text that is not UTF-8 */
		o = json_pack("{s{ss ss sn si}}", "error", "message",
		    "the request cannot go on", "type",
		    http_error_type(status), "param", "code", status);
	json = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	put_event(j, json, strlen(json));
	http_stream_end(j->r);
	end_job(j);
}

/* Said here and not only by the engine, which sees it after the step that is
 * under way: that may wait for a server. */
static void
on_limit(void *arg)
{
	fail_job(arg, 504, "the request's time is over");
}

/* When it must be answered; 0: any time. */
static uint64_t
deadline_of(const struct at_job *j)
{
	uint64_t ns = j->api->o.deadline_ns;
	uint64_t own_ns = (uint64_t)(j->q.timeout_s * 1e9);

	if (ns == 0 || (own_ns != 0 && own_ns < ns))
		ns = own_ns;
	return ns == 0 ? 0 : j->began_ns + ns;
}

static void
set_limit(struct at_job *j)
{
	uint64_t at = deadline_of(j);

	if (at == 0)
		return;
	j->limit = loop_timer(j->api->o.loop, on_limit, j);
	loop_timer_in(j->limit, clock_left(at));
}

void
at_job_cut(struct at_job *j)
{
	if (!j->ended)
		fail_job(j, 503, "the server is shutting down");
}

/* ---- outputs of the engine ------------------------------------------------------ */

static void
add_tok(struct at_choice *c, const struct at_out *o, uint32_t id)
{
	struct at_tok k = { .id = id, .prompt = o->kind == AT_PROMPT,
	    .has_lp = o->kind == AT_TOKEN || o->pos > 0, .lp = o->lp,
	    .n_top = o->n_top, .top = c->top.n, .offset = c->n_char };
	int i;

	for (i = 0; i < o->n_top; i++)
		VEC_PUSH(&c->top, o->top[i]);
	VEC_PUSH(&c->tok, k);
}

static size_t
count_chars(const char *p, size_t n)
{
	size_t count = 0, i;

	for (i = 0; i < n; i++)
		count += ((unsigned char)p[i] & 0xc0) != 0x80;
	return count;
}

/* Decoded text: through the stop strings to the text that is sent. */
static void
add_text(struct at_choice *c, const struct str *s)
{
	c->n_char += count_chars(str_c(s), s->n);
	if (c->n_tok <= c->job->q.min_tok && c->match.held.n == 0)
		str_add(&c->text, str_c(s), s->n);
	else if (at_text_put(&c->match, str_c(s), s->n, &c->text) &&
	    c->seq != NULL) {
		c->seq->stopped = true;
		at_cancel(c->job->api->o.engine, c->seq);
	}
}

static void
on_token(struct at_choice *c, const struct at_out *o)
{
	struct at_job *j = c->job;
	struct str s = STR_INIT;
	uint64_t now = clock_ns();

	if (c->match.hit >= 0)	/* generated before the cancel came */
		return;
	if (!j->first) {
		j->first = true;
		at_prom_add(&j->api->prom, AT_PROM_TTFT, now - j->began_ns);
	}
	if (c->last_ns != 0)
		at_prom_add(&j->api->prom, AT_PROM_TPOT, now - c->last_ns);
	c->last_ns = now;
	c->n_tok++;
	add_tok(c, o, o->id);
	token_stream_put(&c->stream, o->id, &s);
	add_text(c, &s);
	str_free(&s);
	if (j->q.stream)
		send_chunk(c);
}

/* A token of an echoed prompt: its text has been added as a whole. */
static void
on_prompt(struct at_choice *c, const struct at_out *o)
{
	const struct token_ids *p = &c->job->q.prompt.p[c->prompt].id;
	struct str s = STR_INIT;

	if (o->pos < 0 || (size_t)o->pos >= p->n)
		BUG("logprob of prompt token %d of %zu", o->pos, p->n);
	add_tok(c, o, p->p[o->pos]);
	token_stream_put(&c->stream, p->p[o->pos], &s);
	c->n_char += count_chars(str_c(&s), s.n);
	str_free(&s);
}

static void
on_done(struct at_choice *c, const struct at_out *o)
{
	struct at_job *j = c->job;
	struct str s = STR_INIT;

	c->n_cached = o->n_cached;
	if (j->q.resumed &&	/* the answer's own tokens may be cached */
	    (size_t)c->n_cached > j->q.prompt.p[c->prompt].id.n)
		c->n_cached = (int)j->q.prompt.p[c->prompt].id.n;
	c->finish = o->finish;
	token_stream_end(&c->stream, &s);
	if (c->match.hit < 0)
		add_text(c, &s);
	str_free(&s);
	at_text_end(&c->match, &c->text);
	if (c->match.hit >= 0)
		c->finish = AT_FINISH_STOP;
	else if (o->finish == AT_FINISH_STOP) {
		int i;

		for (i = 0; i < j->q.n_stop_id; i++)
			if (j->q.stop_id[i] == o->stop_id)
				c->stop_id = o->stop_id;
	}
	c->done = true;
	if (j->q.stream)
		send_chunk(c);
	if (--j->n_open == 0)
		finish_job(j);
}

/* Nobody cancelled it but the engine says so: it is shutting down. */
static bool
was_cut(const struct at_choice *c, const struct at_out *o)
{
	return o->kind == AT_DONE && o->finish == AT_FINISH_CANCEL &&
	    c->match.hit < 0;
}

void
at_job_output(const struct at_out *o)
{
	struct at_choice *c = o->seq->user;
	struct at_job *j = c->job;
	bool last = o->kind == AT_DONE || o->kind == AT_FAIL;

	if (last) {
		at_seq_free(c->seq);
		c->seq = NULL;
		j->n_seq--;
	}
	if (j->ended) {
		if (j->n_seq == 0)
			free_job(j);
	} else if (o->kind == AT_TOKEN) {
		on_token(c, o);
	} else if (o->kind == AT_PROMPT) {
		on_prompt(c, o);
	} else if (was_cut(c, o)) {
		fail_job(j, 503, "the server is shutting down");
	} else if (o->kind == AT_DONE || c->match.hit >= 0) {
		on_done(c, o);
	} else {
		fail_job(j, o->fail_status, o->fail);
	}
}

/* ---- starting --------------------------------------------------------------------- */

/* The seed of a choice: the request's own for the first of each prompt. */
static uint64_t
choice_seed(const struct at_job *j, int index)
{
	uint64_t i = (uint64_t)index % (uint64_t)j->q.n;

	if (!j->q.seeded)
		return rng_at(j->q.sampling.seed, 1, (uint64_t)index);
	return i == 0 ? j->q.sampling.seed : rng_at(j->q.sampling.seed, 2, i);
}

static bool
has_tokens(const struct at_choice *c)
{
	const struct at_resumed *r = at_resume_of(&c->job->q, c->index);

	return r != NULL && r->id.n > 0;
}

/* The echoed prompt is the first of the text.  What decodes the answer starts
 * within the prompt: from its beginning when each token's offset is wanted. */
static void
begin_text(struct at_choice *c)
{
	const struct at_req *q = &c->job->q;
	const struct at_prompt *p = &q->prompt.p[c->prompt];
	const struct token *t = c->job->api->o.token;
	struct at_out o = { .kind = AT_PROMPT };
	struct str s = STR_INIT;
	size_t i;

	if (q->echo && p->text != NULL)
		str_adds(&c->text, p->text);
	else if (q->echo)
		token_decode(t, p->id.p, p->id.n, !q->keep_special, &c->text);
	token_stream_init(&c->stream, t, !q->keep_special);
	if (q->echo && q->n_top >= 0) {
		on_prompt(c, &o);	/* it has no logprob; others come */
		if (has_tokens(c))	/* they have come */
			while ((size_t)++o.pos < p->id.n)
				on_prompt(c, &o);
		return;
	}
	i = p->id.n > CONTEXT_TOK ? p->id.n - CONTEXT_TOK : 0;
	for (; i < p->id.n; i++)
		token_stream_put(&c->stream, p->id.p[i], &s);
	c->n_char = count_chars(str_c(&c->text), c->text.n);
	str_free(&s);
}

/* Tokens that were sent before: they bring the text to where it was then. */
static void
replay(struct at_choice *c, const struct at_resumed *r)
{
	struct str s = STR_INIT;
	size_t i;

	for (i = 0; i < r->id.n; i++) {
		c->n_tok++;
		token_stream_put(&c->stream, r->id.p[i], &s);
		add_text(c, &s);
		str_clear(&s);
	}
	str_free(&s);
	c->begun = r->id.n > 0;
	if (!c->begun)
		return;
	str_clear(&c->text);
	c->tok.n = c->top.n = 0;
}

/* The sequence that makes a choice, from the tokens that it has already. */
static struct at_seq *
choice_seq(const struct at_choice *c)
{
	const struct at_req *q = &c->job->q;
	const struct token_ids *p = &q->prompt.p[c->prompt].id;
	const struct at_resumed *r = at_resume_of(q, c->index);
	struct token_ids all = { NULL, 0, 0 };
	struct at_seq *s;

	if (!has_tokens(c))
		return at_seq_new(p->p, (int)p->n);
	VEC_ROOM(&all, p->n + r->id.n);
	memcpy(all.p, p->p, p->n * sizeof(*all.p));
	memcpy(all.p + p->n, r->id.p, r->id.n * sizeof(*all.p));
	s = at_seq_new(all.p, (int)(p->n + r->id.n));
	VEC_FREE(&all);
	return s;
}

static void
begin_choice(struct at_job *j, int index)
{
	struct at_choice *c = &j->choice[index];
	const struct at_req *q = &j->q;
	const struct at_resumed *r = at_resume_of(q, index);
	int max_tok, had = r != NULL ? (int)r->id.n : 0, i;
	struct at_seq *s;

	c->job = j;
	c->index = index;
	c->prompt = index / (int)q->n;
	c->stop_id = -1;
	at_text_init(&c->match, q->stop, q->n_stop, q->include_stop);
	begin_text(c);
	if (r != NULL)
		replay(c, r);
	max_tok = at_req_max(q, &j->api->cx, (size_t)c->prompt);
	if (r != NULL && (r->finished || c->match.hit >= 0 ||
	    (had > 0 && had == max_tok))) {
		c->done = r->finished;
		j->n_open -= r->finished;
		return;
	}
	s = choice_seq(c);
	s->max_tok = max_tok - had;
	s->min_tok = (int)(q->min_tok < max_tok ? q->min_tok : max_tok) - had;
	s->ignore_eos = q->ignore_eos;
	memcpy(s->stop_id, q->stop_id, sizeof(q->stop_id));
	s->n_stop_id = q->n_stop_id;
	s->sampling = q->sampling;
	s->sampling.seed = choice_seed(j, index);
	s->n_top = (int)q->n_top;
	s->prompt_lp = q->echo && q->n_top >= 0 && had == 0;
	s->deadline_ns = deadline_of(j);
	for (i = 0; i < index; i++)
		s->follows |= j->choice[i].seq != NULL;
	s->user = c;
	c->seq = s;
}

/* Resumed choices that have all their tokens, but whose end was not sent. */
static void
end_complete(struct at_job *j)
{
	const struct at_out end = { .kind = AT_DONE,
	    .finish = AT_FINISH_LENGTH };
	int i, left = 0;

	if (j->n_open == 0) {
		finish_job(j);
		return;
	}
	for (i = 0; i < j->n_choice; i++)
		left += j->choice[i].seq == NULL && !j->choice[i].done;
	for (i = 0; left > 0; i++)	/* the last one may free j */
		if (j->choice[i].seq == NULL && !j->choice[i].done) {
			left--;
			on_done(&j->choice[i], &end);
		}
}

/* All sequences to the engine, or none: the first refusal ends the request. */
static void
submit(struct at_job *j)
{
	struct err e = ERR_INIT;
	int i;

	for (i = 0; i < j->n_choice; i++) {
		if (j->choice[i].seq == NULL)
			continue;
		if (at_submit(j->api->o.engine, j->choice[i].seq, &e) == 0) {
			j->n_seq++;
			continue;
		}
		for (; i < j->n_choice; i++) {
			at_seq_free(j->choice[i].seq);
			j->choice[i].seq = NULL;
		}
		fail_job(j, e.code == ERR_USAGE ? 400 :
		    e.code == ERR_NO ? 429 : 503, e.text);
		return;
	}
	end_complete(j);
}

void
at_job_start(struct at_api *a, struct http_req *r, bool chat)
{
	struct at_job *j = mem_zalloc(sizeof(*j));
	struct at_bad bad = { 0 };
	const char *body;
	size_t n;
	int i;

	body = http_body(r, &n);
	if (at_req_parse(&j->q, &a->cx, chat, body, n, &bad) != 0) {
		mem_free(j);
		at_job_refuse(a, r, &bad);
		return;
	}
	a->n_request++;
	j->api = a;
	j->r = r;
	j->next = a->job;
	j->prev_p = &a->job;
	if (a->job != NULL)
		a->job->prev_p = &j->next;
	a->job = j;
	a->n_job++;
	j->created = (int64_t)time(NULL);
	j->began_ns = http_began_ns(r);
	snprintf(j->id, sizeof(j->id), "%s-%016llx", chat ? "chatcmpl" : "cmpl",
	    (unsigned long long)rng_at(a->seed, 0, a->n_request));
	if (!j->q.seeded)
		j->q.sampling.seed = rng_at(a->seed, 3, a->n_request);
	j->n_choice = j->n_open = (int)((size_t)j->q.n * j->q.prompt.n);
	j->choice = mem_calloc((size_t)j->n_choice, sizeof(*j->choice));
	for (i = 0; i < j->n_choice; i++)
		begin_choice(j, i);
	http_on_gone(r, on_gone, j);
	if (j->q.resumed)	/* who does not know the field says nothing */
		http_add_header(r, "Moe-Resumed", "1");
	set_limit(j);
	submit(j);
}
