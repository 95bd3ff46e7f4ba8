/* at_req - see at_req.h: the fields that all requests share. */
#include "at_req.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "at_resume.h"
#include "json.h"
#include "mem.h"

int
at_bad_set(struct at_bad *b, int status, const char *param, const char *fmt,
    ...)
{
	va_list ap;

	b->status = status;
	snprintf(b->param, sizeof(b->param), "%s", param != NULL ? param : "");
	va_start(ap, fmt);
	vsnprintf(b->text, sizeof(b->text), fmt, ap);
	va_end(ap);
	return -1;
}

json_t *
at_req_json(const char *body, size_t n, struct at_bad *bad)
{
	json_error_t je;
	/* Whoever reads a field that holds an integer beyond 64 bits refuses
	 * it by its name. */
	json_t *v = json_parse(body, n, JSON_REJECT_DUPLICATES, &je);

	if (v == NULL && json_error_code(&je) == json_error_null_character) {
		at_bad_set(bad, 400, NULL, "line %d column %d of the body: "
		    "texts with \\u0000 are not accepted", je.line, je.column);
	} else if (v == NULL) {
		at_bad_set(bad, 400, NULL, "the body is not JSON: line %d "
		    "column %d: %s", je.line, je.column, je.text);
	} else if (!json_is_object(v)) {
		json_decref(v);
		v = NULL;
		at_bad_set(bad, 400, NULL, "the body is not a JSON object");
	}
	return v;
}

/* ---- plain fields ---------------------------------------------------------- */

/* What a body may hold, before it is put into a struct at_req. */
struct fields {
	int64_t max_tok, max_tok2, min_tok, n, best_of, top_k, seed, logprobs;
	int64_t top_logprobs;
	double temperature, top_p, min_p, presence, frequency, repetition;
	double timeout;
	bool stream, echo, ignore_eos, return_ids, add_special, include_stop;
	bool skip_special, want_logprobs;
};

enum field_type { FIELD_INT, FIELD_REAL, FIELD_BOOL };

struct field {
	const char *key;
	enum field_type type;
	size_t at;
	double lo, hi;
};

#define INT(key, name, lo, hi)						\
	{ key, FIELD_INT, offsetof(struct fields, name), lo, hi }
#define REAL(key, name, lo, hi)						\
	{ key, FIELD_REAL, offsetof(struct fields, name), lo, hi }
#define BOOL(key, name)							\
	{ key, FIELD_BOOL, offsetof(struct fields, name), 0, 0 }

static const struct field both[] = {
	INT("max_tokens", max_tok, 0, 1 << 30),
	INT("min_tokens", min_tok, 0, 1 << 30),
	INT("n", n, 1, 1 << 20),
	INT("top_k", top_k, -1, INT32_MAX),
	INT("seed", seed, (double)INT64_MIN, (double)INT64_MAX),
	REAL("temperature", temperature, 0, 100),
	REAL("top_p", top_p, 0, 1),
	REAL("min_p", min_p, 0, 1),
	REAL("presence_penalty", presence, -2, 2),
	REAL("frequency_penalty", frequency, -2, 2),
	REAL("repetition_penalty", repetition, 0, 1e6),
	REAL("timeout", timeout, 0, 1e6),
	BOOL("stream", stream),
	BOOL("ignore_eos", ignore_eos),
	BOOL("return_token_ids", return_ids),
	BOOL("include_stop_str_in_output", include_stop),
	BOOL("skip_special_tokens", skip_special),
	BOOL("echo", echo),
	{ NULL, FIELD_INT, 0, 0, 0 },
};
static const struct field completion_only[] = {
	INT("logprobs", logprobs, 0, AT_MAX_TOP),
	INT("best_of", best_of, 1, 1 << 20),
	BOOL("add_special_tokens", add_special),
	{ NULL, FIELD_INT, 0, 0, 0 },
};
static const struct field chat_only[] = {
	INT("max_completion_tokens", max_tok2, 1, 1 << 30),
	INT("top_logprobs", top_logprobs, 0, AT_MAX_TOP),
	BOOL("logprobs", want_logprobs),
	{ NULL, FIELD_INT, 0, 0, 0 },
};

static int
read_fields(const json_t *body, const struct field *t, struct fields *f,
    struct at_bad *bad)
{
	struct err e = ERR_INIT;
	struct json_src s = { body, "request", "", ERR_USAGE, &e };
	int rc = 0;

	for (; t->key != NULL && rc == 0; t++) {
		void *at = (char *)f + t->at;

		switch (t->type) {
		case FIELD_INT:
			rc = json_may_int(&s, t->key, t->lo <=
			    (double)INT64_MIN ? INT64_MIN : (int64_t)t->lo,
			    t->hi >= (double)INT64_MAX ? INT64_MAX :
			    (int64_t)t->hi, at);
			break;
		case FIELD_REAL:
			rc = json_may_real(&s, t->key, t->lo, t->hi, at);
			break;
		case FIELD_BOOL:
			rc = json_may_bool(&s, t->key, at);
			break;
		}
		if (rc != 0)
			(void)at_bad_set(bad, 400, t->key, "%s", e.text);
	}
	return rc;
}

/* ---- what this program does not do -------------------------------------------- */

/* Nothing is asked for by null, false, 0, "", [] and {}. */
static bool
is_nothing(const json_t *v)
{
	return v == NULL || json_is_null(v) || json_is_false(v) ||
	    (json_is_number(v) && json_number_value(v) == 0) ||
	    (json_is_string(v) && json_string_length(v) == 0) ||
	    (json_is_array(v) && json_array_size(v) == 0) ||
	    (json_is_object(v) && json_object_size(v) == 0);
}

/* {"type": "text"} is what everybody gets. */
static bool
is_plain_format(const json_t *v)
{
	const char *type = json_string_value(json_object_get(v, "type"));

	return type != NULL && strcmp(type, "text") == 0;
}

static int
refuse_unknown(const json_t *b, const struct fields *f, struct at_bad *bad)
{
	static const char *const lacking[] = { "suffix", "logit_bias",
	    "prompt_logprobs", "use_beam_search", "bad_words",
	    "allowed_token_ids", "structured_outputs", "guided_json",
	    "guided_regex", "guided_choice", "guided_grammar",
	    "guided_decoding_backend", "grammar", "json_schema",
	    "chat_template", "documents", "length_penalty", "typical_p",
	    "no_repeat_ngram_size", "functions", "audio",
	    "truncate_prompt_tokens", "continue_final_message",
	    "prompt_embeds", "logits_processors", NULL };
	const json_t *v = json_object_get(b, "response_format");
	int i;

	for (i = 0; lacking[i] != NULL; i++)
		if (!is_nothing(json_object_get(b, lacking[i])))
			return at_bad_set(bad, 400, lacking[i],
			    "%s is not supported", lacking[i]);
	if (!is_nothing(v) && !is_plain_format(v))
		return at_bad_set(bad, 400, "response_format", "only "
		    "response_format {\"type\": \"text\"} is supported");
	if (f->presence != 0 || f->frequency != 0)
		return at_bad_set(bad, 400, f->presence != 0 ?
		    "presence_penalty" : "frequency_penalty",
		    "penalties other than 0 are not supported");
	if (f->repetition != 1)
		return at_bad_set(bad, 400, "repetition_penalty",
		    "a repetition_penalty other than 1 is not supported");
	if (f->best_of >= 0 && f->best_of != f->n)
		return at_bad_set(bad, 400, "best_of", "best_of %lld is not "
		    "n = %lld: choosing among candidates is not supported",
		    (long long)f->best_of, (long long)f->n);
	return 0;
}

/* ---- lists ---------------------------------------------------------------------- */

static int
read_stop(struct at_req *q, struct at_bad *bad)
{
	json_t *v = json_object_get(q->body, "stop"), *s;
	size_t i, n;

	if (v == NULL || json_is_null(v))
		return 0;
	n = json_is_array(v) ? json_array_size(v) : 1;
	if (n > AT_MAX_STOP)
		return at_bad_set(bad, 400, "stop", "%zu stop strings are more "
		    "than %d", n, AT_MAX_STOP);
	for (i = 0; i < n; i++) {
		s = json_is_array(v) ? json_array_get(v, i) : v;
		if (!json_is_string(s) || json_string_length(s) == 0)
			return at_bad_set(bad, 400, "stop", "stop must be a "
			    "string or an array of strings, none empty");
		q->stop[q->n_stop++] = json_string_value(s);
	}
	return 0;
}

static int
read_stop_ids(struct at_req *q, const struct at_req_ctx *cx,
    struct at_bad *bad)
{
	json_t *v = json_object_get(q->body, "stop_token_ids"), *s;
	size_t i;

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_array(v) || json_array_size(v) > AT_MAX_STOP_ID)
		return at_bad_set(bad, 400, "stop_token_ids", "stop_token_ids "
		    "must be an array of at most %d token ids",
		    AT_MAX_STOP_ID);
	json_array_foreach(v, i, s) {
		if (!json_is_integer(s) || json_integer_value(s) < 0 ||
		    json_integer_value(s) >= cx->n_vocab)
			return at_bad_set(bad, 400, "stop_token_ids",
			    "stop_token_ids[%zu] is not a token id of this "
			    "model (0..%d)", i, cx->n_vocab - 1);
		q->stop_id[q->n_stop_id++] = (uint32_t)json_integer_value(s);
	}
	return 0;
}

static int
read_stream_options(struct at_req *q, struct at_bad *bad)
{
	json_t *v = json_object_get(q->body, "stream_options");
	struct err e = ERR_INIT;
	struct json_src s = { v, "request", "stream_options.", ERR_USAGE, &e };

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return at_bad_set(bad, 400, "stream_options",
		    "stream_options must be an object");
	if (!q->stream)
		return at_bad_set(bad, 400, "stream_options",
		    "stream_options is allowed only with stream: true");
	if (json_may_bool(&s, "include_usage", &q->usage) != 0)
		return at_bad_set(bad, 400, "stream_options", "%s", e.text);
	return 0;
}

static int
check_model(const json_t *body, const struct at_req_ctx *cx,
    struct at_bad *bad)
{
	const json_t *v = json_object_get(body, "model");

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return at_bad_set(bad, 400, "model", "model must be a string");
	if (strcmp(json_string_value(v), cx->model) != 0)
		return at_bad_set(bad, 404, "model", "the model '%.200s' does "
		    "not exist here; '%s' does", json_string_value(v),
		    cx->model);
	return 0;
}

/* ---- all of it ------------------------------------------------------------------ */

static void
take_fields(struct at_req *q, const struct fields *f)
{
	q->n = f->n;
	q->min_tok = f->min_tok;
	q->max_tok = q->chat && f->max_tok2 >= 0 ? f->max_tok2 : f->max_tok;
	q->sampling.temperature = f->temperature;
	q->sampling.top_p = f->top_p;
	q->sampling.min_p = f->min_p;
	q->sampling.top_k = f->top_k < 0 ? 0 : (int)f->top_k;
	q->sampling.seed = (uint64_t)f->seed;
	q->seeded = !json_is_null(json_object_get(q->body, "seed")) &&
	    json_object_get(q->body, "seed") != NULL;
	q->n_top = q->chat ? (f->want_logprobs ? f->top_logprobs : -1) :
	    f->logprobs;
	q->timeout_s = f->timeout;
	q->ignore_eos = f->ignore_eos;
	q->include_stop = f->include_stop;
	q->keep_special = !f->skip_special;
	q->echo = f->echo;
	q->return_ids = f->return_ids;
	q->stream = f->stream;
}

static int
check_fields(const struct at_req *q, const struct fields *f,
    struct at_bad *bad)
{
	if (f->top_p == 0)
		return at_bad_set(bad, 400, "top_p", "top_p must be above 0");
	if (q->chat && q->echo)
		return at_bad_set(bad, 400, "echo",
		    "echo is not supported for chat");
	if (q->chat && q->max_tok == 0)
		return at_bad_set(bad, 400, "max_tokens",
		    "max_tokens must be at least 1");
	if (q->max_tok == 0 && !q->echo)
		return at_bad_set(bad, 400, "max_tokens", "max_tokens 0 needs "
		    "echo: there would be nothing to answer");
	if (q->chat && f->top_logprobs > 0 && !f->want_logprobs)
		return at_bad_set(bad, 400, "top_logprobs",
		    "top_logprobs needs logprobs: true");
	if (q->max_tok >= 0 && q->min_tok > q->max_tok)
		return at_bad_set(bad, 400, "min_tokens", "min_tokens %lld is "
		    "more than max_tokens %lld", (long long)q->min_tok,
		    (long long)q->max_tok);
	return 0;
}

/* Every prompt and its answer must fit the context. */
static int
check_lengths(const struct at_req *q, const struct at_req_ctx *cx,
    struct at_bad *bad)
{
	const char *param = q->chat ? "messages" : "prompt";
	size_t i;

	if ((size_t)q->n * q->prompt.n > (size_t)cx->max_choice)
		return at_bad_set(bad, 400, "n", "n = %lld for %zu prompts "
		    "makes more than %d choices", (long long)q->n, q->prompt.n,
		    cx->max_choice);
	for (i = 0; i < q->prompt.n; i++) {
		size_t n = q->prompt.p[i].id.n;

		if (n == 0)
			return at_bad_set(bad, 400, param,
			    "prompt %zu has no tokens", i);
		if (n > (size_t)cx->ctx_tok ||
		    (n == (size_t)cx->ctx_tok && q->max_tok != 0))
			return at_bad_set(bad, 400, param, "the prompt has %zu "
			    "tokens, the context holds %d", n, cx->ctx_tok);
		if (q->max_tok > cx->ctx_tok - (int64_t)n)
			return at_bad_set(bad, 400, "max_tokens", "%zu prompt "
			    "tokens and max_tokens %lld are more than the "
			    "context of %d", n, (long long)q->max_tok,
			    cx->ctx_tok);
	}
	return 0;
}

int
at_req_max(const struct at_req *q, const struct at_req_ctx *cx, size_t i)
{
	int left = cx->ctx_tok - (int)q->prompt.p[i].id.n;

	if (q->max_tok >= 0)
		return (int)q->max_tok;
	return cx->defaults.max_tok > 0 && cx->defaults.max_tok < left ?
	    cx->defaults.max_tok : left;
}

static int
parse(struct at_req *q, const struct at_req_ctx *cx, struct at_bad *bad)
{
	const struct at_defaults *d = &cx->defaults;
	struct fields f = { .max_tok = q->chat ? -1 : 16, .max_tok2 = -1,
	    .n = 1, .best_of = -1, .logprobs = -1, .top_k = d->top_k,
	    .temperature = d->temperature, .top_p = d->top_p,
	    .min_p = d->min_p, .repetition = 1, .add_special = true,
	    .skip_special = true };

	if (check_model(q->body, cx, bad) != 0 ||
	    read_fields(q->body, both, &f, bad) != 0 ||
	    read_fields(q->body, q->chat ? chat_only : completion_only, &f,
	    bad) != 0 || refuse_unknown(q->body, &f, bad) != 0)
		return -1;
	take_fields(q, &f);
	if (check_fields(q, &f, bad) != 0 || read_stop(q, bad) != 0 ||
	    read_stop_ids(q, cx, bad) != 0 ||
	    read_stream_options(q, bad) != 0 ||
	    at_resume_parse(q, cx, bad) != 0)
		return -1;
	if ((q->chat ? at_prompt_chat(q, cx, bad) :
	    at_prompt_text(q, cx, f.add_special, bad)) != 0)
		return -1;
	return check_lengths(q, cx, bad) != 0 ? -1 :
	    at_resume_check(q, cx, bad);
}

int
at_req_parse(struct at_req *q, const struct at_req_ctx *cx, bool chat,
    const char *body, size_t n, struct at_bad *bad)
{
	memset(q, 0, sizeof(*q));
	q->chat = chat;
	q->body = at_req_json(body, n, bad);
	if (q->body == NULL)
		return -1;
	if (parse(q, cx, bad) == 0)
		return 0;
	at_req_free(q);
	return -1;
}

void
at_req_free(struct at_req *q)
{
	size_t i;

	for (i = 0; i < q->prompt.n; i++) {
		VEC_FREE(&q->prompt.p[i].id);
		mem_free(q->prompt.p[i].text);
	}
	VEC_FREE(&q->prompt);
	at_resume_free(&q->resume);
	json_decref(q->body);
	q->body = NULL;
}
