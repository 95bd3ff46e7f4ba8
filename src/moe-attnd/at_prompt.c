/* at_prompt - see at_req.h: prompts and messages to token ids. */
#include <string.h>

#include "at_req.h"
#include "mem.h"
#include "str.h"

/* ---- completions ------------------------------------------------------------- */

static struct at_prompt *
new_prompt(struct at_req *q)
{
	struct at_prompt none = { { NULL, 0, 0 }, NULL };

	VEC_PUSH(&q->prompt, none);
	return &q->prompt.p[q->prompt.n - 1];
}

static int
encode(struct at_prompt *p, const struct at_req_ctx *cx,
    const struct token_text *text, const char *param, struct at_bad *bad)
{
	struct err e = ERR_INIT;
	size_t i;

	if (token_encode(cx->token, text, &p->id, &e) != 0)
		return at_bad_set(bad, 400, param, "%s", e.text);
	/* A tokenizer may know more tokens than the model has rows. */
	for (i = 0; i < p->id.n; i++)
		if (p->id.p[i] >= (uint32_t)cx->n_vocab)
			return at_bad_set(bad, 400, param, "token %u of the "
			    "text is not one of this model (0..%d)",
			    p->id.p[i], cx->n_vocab - 1);
	return 0;
}

/* Text of a user: no control token comes out of it. */
static int
take_text(struct at_req *q, const struct at_req_ctx *cx, const json_t *v,
    bool add_special, struct at_bad *bad)
{
	struct at_prompt *p = new_prompt(q);
	struct token_text t = { .p = json_string_value(v),
	    .n = json_string_length(v), .add_special = add_special };

	p->text = mem_strdup(t.p);
	return encode(p, cx, &t, "prompt", bad);
}

static int
take_ids(struct at_req *q, const struct at_req_ctx *cx, const json_t *v,
    struct at_bad *bad)
{
	struct at_prompt *p = new_prompt(q);
	json_t *id;
	size_t i;

	json_array_foreach(v, i, id) {
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) >= cx->n_vocab)
			return at_bad_set(bad, 400, "prompt", "prompt: element "
			    "%zu is not a token id of this model (0..%d)", i,
			    cx->n_vocab - 1);
		VEC_PUSH(&p->id, (uint32_t)json_integer_value(id));
	}
	return 0;
}

/* A string, token ids, or an array of either. */
int
at_prompt_text(struct at_req *q, const struct at_req_ctx *cx,
    bool add_special, struct at_bad *bad)
{
	json_t *v = json_object_get(q->body, "prompt"), *one;
	size_t i;
	int rc = 0;

	if (v == NULL || json_is_null(v))
		return at_bad_set(bad, 400, "prompt", "prompt is missing");
	if (json_is_string(v))
		return take_text(q, cx, v, add_special, bad);
	if (!json_is_array(v) || json_array_size(v) == 0)
		return at_bad_set(bad, 400, "prompt", "prompt must be a string,"
		    " an array of token ids, or a non-empty array of either");
	if (json_is_integer(json_array_get(v, 0)))
		return take_ids(q, cx, v, bad);
	if (json_array_size(v) > (size_t)cx->max_choice)
		return at_bad_set(bad, 400, "prompt", "%zu prompts are more "
		    "than %d", json_array_size(v), cx->max_choice);
	json_array_foreach(v, i, one) {
		if (json_is_string(one))
			rc = take_text(q, cx, one, add_special, bad);
		else if (json_is_array(one))
			rc = take_ids(q, cx, one, bad);
		else
			rc = at_bad_set(bad, 400, "prompt", "prompt[%zu] is "
			    "neither a string nor an array of token ids", i);
		if (rc != 0)
			break;
	}
	return rc;
}

/* ---- chat -------------------------------------------------------------------- */

/* [{"type": "text", "text": ...}, ...] to one string, parts on lines of their
 * own as in vLLM.  NULL and bad for anything else. */
static json_t *
join_parts(const json_t *parts, size_t msg, struct at_bad *bad)
{
	struct str s = STR_INIT;
	const json_t *part, *text;
	const char *type;
	json_t *out;
	size_t i;

	json_array_foreach(parts, i, part) {
		type = json_string_value(json_object_get(part, "type"));
		text = json_object_get(part, "text");
		if (type == NULL || strcmp(type, "text") != 0 ||
		    !json_is_string(text)) {
			str_free(&s);
			at_bad_set(bad, 400, "messages", "messages[%zu]."
			    "content[%zu]: only {\"type\": \"text\", \"text\": "
			    "...} is supported", msg, i);
			return NULL;
		}
		if (i > 0)
			str_addc(&s, '\n');
		str_add(&s, json_string_value(text), json_string_length(text));
	}
	out = json_stringn(str_c(&s), s.n);
	str_free(&s);
	return out;
}

/* Templates want a call's arguments as an object, clients send a string. */
static int
open_arguments(json_t *calls, size_t msg, struct at_bad *bad)
{
	json_t *call, *f, *a, *v;
	size_t i;

	json_array_foreach(calls, i, call) {
		f = json_object_get(call, "function");
		a = json_object_get(f, "arguments");
		if (!json_is_string(a))
			continue;
		v = json_loadb(json_string_value(a), json_string_length(a), 0,
		    NULL);
		if (v == NULL)
			return at_bad_set(bad, 400, "messages", "messages[%zu]."
			    "tool_calls[%zu].function.arguments is not JSON",
			    msg, i);
		json_object_set_new(f, "arguments", v);
	}
	return 0;
}

/* A copy of the messages in the form that templates take; NULL and bad. */
static json_t *
read_messages(const json_t *body, struct at_bad *bad)
{
	json_t *v = json_object_get(body, "messages"), *out, *m, *c;
	size_t i;

	if (!json_is_array(v) || json_array_size(v) == 0) {
		at_bad_set(bad, 400, "messages",
		    "messages must be a non-empty array");
		return NULL;
	}
	out = json_deep_copy(v);
	json_array_foreach(out, i, m) {
		c = json_object_get(m, "content");
		if (!json_is_string(json_object_get(m, "role"))) {
			at_bad_set(bad, 400, "messages", "messages[%zu] has no "
			    "role", i);
			break;
		}
		if (json_is_array(c)) {
			if ((c = join_parts(c, i, bad)) == NULL)
				break;
			json_object_set_new(m, "content", c);
		} else if (!json_is_string(c) && !(json_is_null(c) || c == NULL)) {
			at_bad_set(bad, 400, "messages", "messages[%zu]."
			    "content must be a string or an array of parts", i);
			break;
		}
		if (open_arguments(json_object_get(m, "tool_calls"), i,
		    bad) != 0)
			break;
	}
	if (i == json_array_size(out))
		return out;
	json_decref(out);
	return NULL;
}

/* The variables of special tokens are trusted by the template's renderer. */
static bool
is_reserved(const char *key)
{
	size_t n = strlen(key);

	return strcmp(key, "messages") == 0 ||
	    (n >= 6 && strcmp(key + n - 6, "_token") == 0);
}

static int
add_kwargs(json_t *vars, const json_t *body, struct at_bad *bad)
{
	json_t *kw = json_object_get(body, "chat_template_kwargs"), *v;
	const char *key;

	if (kw == NULL || json_is_null(kw))
		return 0;
	if (!json_is_object(kw))
		return at_bad_set(bad, 400, "chat_template_kwargs",
		    "chat_template_kwargs must be an object");
	json_object_foreach(kw, key, v) {
		if (is_reserved(key))
			return at_bad_set(bad, 400, "chat_template_kwargs",
			    "chat_template_kwargs may not set '%.60s'", key);
		json_object_set(vars, key, v);
	}
	return 0;
}

static int
add_tools(json_t *vars, const json_t *body, struct at_bad *bad)
{
	json_t *tools = json_object_get(body, "tools");
	json_t *choice = json_object_get(body, "tool_choice");
	const char *word = json_string_value(choice);

	if (choice != NULL && !json_is_null(choice) && (word == NULL ||
	    (strcmp(word, "auto") != 0 && strcmp(word, "none") != 0)))
		return at_bad_set(bad, 400, "tool_choice",
		    "only tool_choice \"auto\" and \"none\" are supported");
	if (tools == NULL || json_is_null(tools) ||
	    (word != NULL && strcmp(word, "none") == 0))
		return 0;
	if (!json_is_array(tools))
		return at_bad_set(bad, 400, "tools", "tools must be an array");
	if (json_array_size(tools) > 0)
		json_object_set(vars, "tools", tools);
	return 0;
}

static void
add_special_strings(json_t *vars, const struct token *t)
{
	const struct {
		const char *key;
		int32_t id;
	} s[] = { { "bos_token", token_bos(t) }, { "eos_token", token_eos(t) },
	    { "pad_token", token_pad(t) } };
	const char *piece;
	size_t i;

	for (i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
		piece = s[i].id >= 0 ? token_piece(t, (uint32_t)s[i].id) : NULL;
		if (piece != NULL)
			json_object_set_new(vars, s[i].key, json_string(piece));
	}
}

/* Render vars and encode: bytes of users become no control token. */
static int
render(struct at_req *q, const struct at_req_ctx *cx, json_t *vars,
    struct at_bad *bad)
{
	struct chat_text ct = CHAT_TEXT_INIT;
	VEC(struct token_span) span = { NULL, 0, 0 };
	struct token_text t = { .parse_special = true };
	struct err e = ERR_INIT;
	size_t i;
	int rc;

	if (chat_render(cx->chat, vars, &ct, &e) != 0) {
		chat_text_free(&ct);
		return at_bad_set(bad, 400, "messages", "%s", e.text);
	}
	for (i = 0; i < ct.untrusted.n; i++) {
		struct token_span s = { ct.untrusted.p[i].begin,
		    ct.untrusted.p[i].end };

		VEC_PUSH(&span, s);
	}
	t.p = str_c(&ct.text);
	t.n = ct.text.n;
	t.untrusted = span.p;
	t.n_untrusted = span.n;
	rc = encode(new_prompt(q), cx, &t, "messages", bad);
	VEC_FREE(&span);
	chat_text_free(&ct);
	return rc;
}

int
at_prompt_chat(struct at_req *q, const struct at_req_ctx *cx,
    struct at_bad *bad)
{
	json_t *vars, *messages, *gen;
	int rc = -1;

	if (q->resume.prompt.n > 0) {	/* as it was rendered then */
		new_prompt(q)->id = q->resume.prompt;
		memset(&q->resume.prompt, 0, sizeof(q->resume.prompt));
		return 0;
	}
	if (cx->chat == NULL)
		return at_bad_set(bad, 400, NULL, "the model '%s' has no chat "
		    "template: use /v1/completions", cx->model);
	gen = json_object_get(q->body, "add_generation_prompt");
	if (gen != NULL && !json_is_boolean(gen) && !json_is_null(gen))
		return at_bad_set(bad, 400, "add_generation_prompt",
		    "add_generation_prompt must be true or false");
	messages = read_messages(q->body, bad);
	if (messages == NULL)
		return -1;
	vars = json_object();
	if (add_kwargs(vars, q->body, bad) == 0 &&
	    add_tools(vars, q->body, bad) == 0) {
		json_object_set(vars, "messages", messages);
		json_object_set_new(vars, "add_generation_prompt",
		    json_boolean(!json_is_false(gen)));
		add_special_strings(vars, cx->token);
		rc = render(q, cx, vars, bad);
	}
	json_decref(messages);
	json_decref(vars);
	return rc;
}
