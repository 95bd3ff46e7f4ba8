/*
 * at_req - the JSON body of a completion request, checked and turned into
 * prompts of token ids and settings.  Bodies are hostile.  No state, no I/O.
 *
 * Fields that neither OpenAI nor vLLM gives a meaning to are ignored, as vLLM
 * does.  Those that would change the answer and that this program lacks
 * (penalties, logit_bias, response_format ...) are refused by name.
 */
#ifndef MOE_AT_REQ_H
#define MOE_AT_REQ_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "at_api.h"
#include "at_text.h"

/* Why a request is refused: an HTTP status, the field, a sentence. */
struct at_bad {
	int status;
	char param[64];		/* "" if no single field is wrong */
	char text[1000];
};
int	at_bad_set(struct at_bad *b, int status, const char *param,
	    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* What requests are checked against. */
struct at_req_ctx {
	const struct token *token;
	const struct chat *chat;	/* or NULL */
	const char *model;
	struct at_defaults defaults;
	int n_vocab, ctx_tok;
	int max_choice;
};

struct at_prompt {
	struct token_ids id;
	char *text;		/* as given; NULL when it came as ids */
};

/* What a choice has from before; see at_resume.h. */
struct at_resumed {
	struct token_ids id;
	bool finished;
};
struct at_resume {
	struct token_ids prompt;	/* of chat; empty: render it */
	VEC(struct at_resumed) choice;
};

struct at_req {
	json_t *body;		/* owned: stop strings point into it */
	bool chat;
	VEC(struct at_prompt) prompt;
	int64_t n, max_tok, min_tok;	/* max_tok per prompt: see at_req_max */
	struct at_sampling sampling;
	bool seeded;
	const char *stop[AT_MAX_STOP];
	int n_stop;
	uint32_t stop_id[AT_MAX_STOP_ID];
	int n_stop_id;
	int64_t n_top;		/* alternatives; -1: no logprobs */
	bool ignore_eos, include_stop, keep_special, echo, return_ids;
	bool stream, usage;	/* usage: a chunk with it ends the stream */
	double timeout_s;	/* 0: none */
	bool resumed;		/* resume holds what went before */
	struct at_resume resume;
};

/* 0, and q is the caller's to at_req_free; -1 with bad filled. */
int	at_req_parse(struct at_req *q, const struct at_req_ctx *cx, bool chat,
	    const char *body, size_t n, struct at_bad *bad);
void	at_req_free(struct at_req *q);

/* Tokens that prompt i may generate: max_tok, or up to the context's end. */
int	at_req_max(const struct at_req *q, const struct at_req_ctx *cx, size_t i);

/* at_prompt.c: fill q->prompt from the body. */
int	at_prompt_text(struct at_req *q, const struct at_req_ctx *cx,
	    bool add_special, struct at_bad *bad);
int	at_prompt_chat(struct at_req *q, const struct at_req_ctx *cx,
	    struct at_bad *bad);

/* One object from the body; NULL and a 400 with the position otherwise. */
json_t	*at_req_json(const char *body, size_t n, struct at_bad *bad);

#endif
