/*
 * at_resume - a request whose answer has begun elsewhere: the field moe_resume.
 *
 *	"moe_resume": {
 *	    "prompt_token_ids": [...],		chat only, may be absent
 *	    "choices": [ { "token_ids": [...], "finished": false }, ... ] }
 *
 * Everything else of the request is as it was the first time, with a seed.
 * choices has an entry for each choice, in the order of their indices: the
 * tokens that its client has, and whether that was all of it.  These tokens
 * are not sent again, but they count: for max_tokens, min_tokens, stop strings,
 * text offsets and usage.  So what follows is what would have followed there.
 */
#ifndef MOE_AT_RESUME_H
#define MOE_AT_RESUME_H

#include <jansson.h>
#include <stdbool.h>

#include "at_req.h"

/* q->resume from the body, which may have none.  Needs q->seeded. */
int	at_resume_parse(struct at_req *q, const struct at_req_ctx *cx,
	    struct at_bad *bad);
/* Does it fit the prompts and the limits?  After both are known. */
int	at_resume_check(const struct at_req *q, const struct at_req_ctx *cx,
	    struct at_bad *bad);
/* What choice number index has already; NULL: the request is a new one. */
const struct at_resumed *at_resume_of(const struct at_req *q, int index);
void	at_resume_free(struct at_resume *r);

#endif
