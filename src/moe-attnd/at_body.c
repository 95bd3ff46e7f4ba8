/* at_body - see at_job.h: replies as JSON, in OpenAI's and vLLM's formats. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "at_job.h"
#include "mem.h"

/* A float in nine digits is that float. */
#define DUMP	(JSON_COMPACT | JSON_REAL_PRECISION(9))

/* JSON has no infinity; vLLM says -9999 as well. */
static json_t *
real_lp(float lp)
{
	return json_real(isfinite(lp) ? (double)lp : -9999.0);
}

/* The text of a token by itself.  Bytes that are no whole characters become
 * "bytes:\xe2\x82", as in OpenAI's completions. */
static void
token_text(const struct token *t, uint32_t id, struct str *out)
{
	size_t n, i;
	const char *p = token_piece_bytes(t, id, &n);

	str_clear(out);
	if (str_utf8_valid(p, n)) {
		str_add(out, p, n);
		return;
	}
	str_adds(out, "bytes:");
	for (i = 0; i < n; i++)
		str_addf(out, "\\x%02x", (unsigned char)p[i]);
}

static json_t *
token_json(const struct token *t, uint32_t id)
{
	struct str s = STR_INIT;
	json_t *v;

	token_text(t, id, &s);
	v = json_stringn(str_c(&s), s.n);
	str_free(&s);
	return v;
}

/* ---- logprobs ------------------------------------------------------------------ */

/* {token: logprob} of the alternatives and of the token itself. */
static json_t *
top_map(const struct at_choice *c, const struct at_tok *k)
{
	const struct token *t = c->job->api->o.token;
	struct str s = STR_INIT;
	json_t *o = json_object();
	int i;

	for (i = 0; i < k->n_top; i++) {
		const struct at_lp *lp = &c->top.p[k->top + (size_t)i];

		token_text(t, lp->id, &s);
		if (json_object_getn(o, str_c(&s), s.n) == NULL)
			json_object_setn_new(o, str_c(&s), s.n,
			    real_lp(lp->lp));
	}
	token_text(t, k->id, &s);
	if (json_object_getn(o, str_c(&s), s.n) == NULL)
		json_object_setn_new(o, str_c(&s), s.n, real_lp(k->lp));
	str_free(&s);
	return o;
}

static json_t *
completion_logprobs(const struct at_choice *c)
{
	const struct token *t = c->job->api->o.token;
	json_t *offset = json_array(), *lp = json_array();
	json_t *token = json_array(), *top = json_array();
	size_t i;

	for (i = 0; i < c->tok.n; i++) {
		const struct at_tok *k = &c->tok.p[i];

		json_array_append_new(offset, json_integer((json_int_t)k->offset));
		json_array_append_new(token, token_json(t, k->id));
		json_array_append_new(lp, k->has_lp ? real_lp(k->lp) :
		    json_null());
		json_array_append_new(top, k->has_lp ? top_map(c, k) :
		    json_null());
	}
	return json_pack("{so so so so}", "tokens", token, "token_logprobs", lp,
	    "top_logprobs", top, "text_offset", offset);
}

/* A token of a chat reply: what is not UTF-8 becomes U+FFFD, bytes is exact. */
static json_t *
chat_token(const struct token *t, uint32_t id, float lp)
{
	struct str s = STR_INIT;
	json_t *bytes = json_array(), *o;
	size_t n, i, used;
	const char *p = token_piece_bytes(t, id, &n);

	for (i = 0; i < n; i++)
		json_array_append_new(bytes,
		    json_integer((unsigned char)p[i]));
	for (; n > 0; p += used, n -= used)
		str_addu(&s, str_utf8_next(p, n, &used));
	o = json_pack("{so so so}", "token", json_stringn(str_c(&s), s.n),
	    "logprob", real_lp(lp), "bytes", bytes);
	str_free(&s);
	return o;
}

static json_t *
chat_logprobs(const struct at_choice *c)
{
	const struct token *t = c->job->api->o.token;
	json_t *content = json_array(), *top, *o;
	size_t i;
	int j;

	for (i = 0; i < c->tok.n; i++) {
		const struct at_tok *k = &c->tok.p[i];

		top = json_array();
		for (j = 0; j < k->n_top; j++) {
			const struct at_lp *lp = &c->top.p[k->top + (size_t)j];

			json_array_append_new(top, chat_token(t, lp->id, lp->lp));
		}
		o = chat_token(t, k->id, k->lp);
		json_object_set_new(o, "top_logprobs", top);
		json_array_append_new(content, o);
	}
	return json_pack("{so}", "content", content);
}

static json_t *
logprobs(const struct at_choice *c)
{
	if (c->job->q.n_top < 0)
		return json_null();
	return c->job->q.chat ? chat_logprobs(c) : completion_logprobs(c);
}

/* ---- choices -------------------------------------------------------------------- */

static json_t *
finish_reason(const struct at_choice *c)
{
	if (!c->done)
		return json_null();
	return json_string(c->finish == AT_FINISH_LENGTH ? "length" : "stop");
}

/* vLLM's: the stop string or the id of stop_token_ids that ended it. */
static json_t *
stop_reason(const struct at_choice *c)
{
	if (c->done && c->match.hit >= 0)
		return json_string(c->match.stop[c->match.hit]);
	if (c->done && c->stop_id >= 0)
		return json_integer(c->stop_id);
	return json_null();
}

static void
ids_json(json_t *o, const struct at_choice *c)
{
	const struct token_ids *p = &c->job->q.prompt.p[c->prompt].id;
	json_t *ids = json_array(), *prompt;
	size_t i;

	for (i = 0; i < c->tok.n; i++)
		if (!c->tok.p[i].prompt)
			json_array_append_new(ids,
			    json_integer(c->tok.p[i].id));
	json_object_set_new(o, "token_ids", ids);
	if (c->begun)		/* told in the first chunk */
		return;
	prompt = json_array();
	for (i = 0; i < p->n; i++)
		json_array_append_new(prompt, json_integer(p->p[i]));
	json_object_set_new(o, "prompt_token_ids", prompt);
}

static json_t *
choice_json(const struct at_choice *c, bool chunk)
{
	json_t *text = json_stringn(str_c(&c->text), c->text.n), *o, *m;
	const struct at_req *q = &c->job->q;

	o = json_pack("{si}", "index", c->index);
	if (!q->chat) {
		json_object_set_new(o, "text", text);
	} else {
		m = json_object();
		if (!chunk || !c->begun)
			json_object_set_new(m, "role", json_string("assistant"));
		json_object_set_new(m, "content", text);
		json_object_set_new(o, chunk ? "delta" : "message", m);
	}
	json_object_set_new(o, "logprobs", logprobs(c));
	json_object_set_new(o, "finish_reason", finish_reason(c));
	json_object_set_new(o, "stop_reason", stop_reason(c));
	if (q->return_ids)
		ids_json(o, c);
	return o;
}

/* ---- whole objects ---------------------------------------------------------------- */

static json_t *
usage_json(const struct at_job *j)
{
	json_int_t prompt = 0, gen = 0, cached = 0;
	size_t i;
	int k;

	for (i = 0; i < j->q.prompt.n; i++)
		prompt += (json_int_t)j->q.prompt.p[i].id.n;
	for (k = 0; k < j->n_choice; k++) {
		gen += j->choice[k].n_tok;
		if (k % j->q.n == 0)	/* a prompt counts once */
			cached += j->choice[k].n_cached;
	}
	return json_pack("{sI sI sI s{sI}}", "prompt_tokens", prompt,
	    "completion_tokens", gen, "total_tokens", prompt + gen,
	    "prompt_tokens_details", "cached_tokens", cached);
}

/* The frame that all replies have; takes choices and usage (or NULL) over. */
static char *
frame(const struct at_job *j, const char *object, json_t *choices,
    json_t *usage, size_t *n_p)
{
	json_t *o = json_pack("{ss ss sI ss so}", "id", j->id, "object", object,
	    "created", (json_int_t)j->created, "model", j->api->o.model,
	    "choices", choices);
	char *s;

	BUG_ON(o == NULL);
	if (usage != NULL)
		json_object_set_new(o, "usage", usage);
	s = json_dumps(o, DUMP);
	BUG_ON(s == NULL);
	json_decref(o);
	*n_p = strlen(s);
	return s;
}

char *
at_body_whole(const struct at_job *j, size_t *n_p)
{
	json_t *choices = json_array();
	int i;

	for (i = 0; i < j->n_choice; i++)
		json_array_append_new(choices,
		    choice_json(&j->choice[i], false));
	return frame(j, j->q.chat ? "chat.completion" : "text_completion",
	    choices, usage_json(j), n_p);
}

char *
at_body_chunk(const struct at_job *j, const struct at_choice *c, size_t *n_p)
{
	json_t *choices = json_array();

	if (c != NULL)
		json_array_append_new(choices, choice_json(c, true));
	return frame(j, j->q.chat ? "chat.completion.chunk" : "text_completion",
	    choices, c == NULL ? usage_json(j) : NULL, n_p);
}
