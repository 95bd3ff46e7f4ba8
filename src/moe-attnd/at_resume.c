/* at_resume - see at_resume.h. */
#include "at_resume.h"

#include "mem.h"

static int
resume_ids(const json_t *v, const char *what, const struct at_req_ctx *cx,
    struct token_ids *out, struct at_bad *bad)
{
	json_t *id;
	size_t i;

	if (!json_is_array(v))
		return at_bad_set(bad, 400, "moe_resume", "moe_resume: %s must "
		    "be an array of token ids", what);
	json_array_foreach(v, i, id) {
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) >= cx->n_vocab)
			return at_bad_set(bad, 400, "moe_resume", "moe_resume: "
			    "%s[%zu] is not a token id of this model (0..%d)",
			    what, i, cx->n_vocab - 1);
		VEC_PUSH(out, (uint32_t)json_integer_value(id));
	}
	return 0;
}

static int
resume_choices(struct at_resume *r, const json_t *list,
    const struct at_req_ctx *cx, struct at_bad *bad)
{
	const json_t *finished;
	json_t *one;
	size_t i;

	if (!json_is_array(list) ||
	    json_array_size(list) > (size_t)cx->max_choice)
		return at_bad_set(bad, 400, "moe_resume", "moe_resume: choices "
		    "must be an array of at most %d", cx->max_choice);
	json_array_foreach(list, i, one) {
		struct at_resumed none = { { NULL, 0, 0 }, false };

		VEC_PUSH(&r->choice, none);
		if (resume_ids(json_object_get(one, "token_ids"), "token_ids",
		    cx, &r->choice.p[i].id, bad) != 0)
			return -1;
		finished = json_object_get(one, "finished");
		if (finished != NULL && !json_is_boolean(finished))
			return at_bad_set(bad, 400, "moe_resume", "moe_resume: "
			    "finished must be true or false");
		r->choice.p[i].finished = json_is_true(finished);
	}
	return 0;
}

int
at_resume_parse(struct at_req *q, const struct at_req_ctx *cx,
    struct at_bad *bad)
{
	const json_t *v = json_object_get(q->body, "moe_resume"), *prompt;

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return at_bad_set(bad, 400, "moe_resume",
		    "moe_resume must be an object");
	if (!q->seeded)
		return at_bad_set(bad, 400, "moe_resume", "moe_resume needs a "
		    "seed: the same as the first time");
	q->resumed = true;
	prompt = json_object_get(v, "prompt_token_ids");
	if (prompt != NULL && !q->chat)
		return at_bad_set(bad, 400, "moe_resume", "moe_resume: "
		    "prompt_token_ids is for chat: a completion has its "
		    "prompt");
	if (prompt != NULL && resume_ids(prompt, "prompt_token_ids", cx,
	    &q->resume.prompt, bad) != 0)
		return -1;
	return resume_choices(&q->resume, json_object_get(v, "choices"), cx,
	    bad);
}

int
at_resume_check(const struct at_req *q, const struct at_req_ctx *cx,
    struct at_bad *bad)
{
	size_t want = (size_t)q->n * q->prompt.n, i;

	if (!q->resumed)
		return 0;
	if (q->resume.choice.n != want)
		return at_bad_set(bad, 400, "moe_resume", "moe_resume: %zu "
		    "choices, the request makes %zu", q->resume.choice.n, want);
	for (i = 0; i < want; i++)
		if (q->resume.choice.p[i].id.n >
		    (size_t)at_req_max(q, cx, i / (size_t)q->n))
			return at_bad_set(bad, 400, "moe_resume", "moe_resume: "
			    "choice %zu has more tokens than max_tokens", i);
	return 0;
}

const struct at_resumed *
at_resume_of(const struct at_req *q, int index)
{
	return q->resumed ? &q->resume.choice.p[index] : NULL;
}

void
at_resume_free(struct at_resume *r)
{
	size_t i;

	for (i = 0; i < r->choice.n; i++)
		VEC_FREE(&r->choice.p[i].id);
	VEC_FREE(&r->choice);
	VEC_FREE(&r->prompt);
}
