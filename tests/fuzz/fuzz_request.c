/*
 * fuzz_request - bodies of completion and chat requests, with the bundled
 * model's tokenizer and template.  The first byte chooses which of the two.  A
 * request that passes must keep all that the engine relies on.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/moe-attnd/at_prompt.c"
#include "../../src/moe-attnd/at_req.c"
#include "../../src/moe-attnd/at_resume.c"

#define CTX	2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct at_req_ctx cx = { .model = "tales", .ctx_tok = CTX,
    .max_choice = 16, .defaults = { 1, 1, 0, 0, 0 } };

static void
load(void)
{
	const char *root = getenv("MOE_ROOT");
	char *dir = mem_printf("%s/models/tales", root != NULL ? root : ".");
	struct err e = ERR_INIT;
	struct token *t;
	struct chat *c;

	if (token_load(&t, dir, &e) != 0 || chat_load(&c, dir, NULL, &e) != 0)
		BUG("%s", e.text);
	cx.token = t;
	cx.chat = c;
	cx.n_vocab = (int)token_vocab_size(t);
	mem_free(dir);
}

static void
check(const struct at_req *q)
{
	size_t i, k;

	BUG_ON(q->n < 1 || q->prompt.n < 1);
	BUG_ON((size_t)q->n * q->prompt.n > (size_t)cx.max_choice);
	BUG_ON(q->n_top < -1 || q->n_top > AT_MAX_TOP);
	BUG_ON(!(q->sampling.temperature >= 0) || !(q->sampling.top_p > 0));
	for (i = 0; i < q->prompt.n; i++) {
		const struct at_prompt *p = &q->prompt.p[i];

		BUG_ON(p->id.n < 1 || at_req_max(q, &cx, i) < 0);
		BUG_ON(p->id.n + (size_t)at_req_max(q, &cx, i) > CTX);
		for (k = 0; k < p->id.n; k++)
			BUG_ON(p->id.p[k] >= (uint32_t)cx.n_vocab);
		/* A user's text gives no control token. */
		for (k = 0; p->text != NULL && k < p->id.n; k++)
			BUG_ON(token_is_control(cx.token, p->id.p[k]));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct at_bad bad = { 0 };
	struct at_req q;

	if (cx.token == NULL)
		load();
	if (n < 1)
		return 0;
	if (at_req_parse(&q, &cx, data[0] & 1, (const char *)data + 1, n - 1,
	    &bad) == 0) {
		check(&q);
		at_req_free(&q);
	} else {
		BUG_ON(bad.status < 400 || bad.status > 499);
		BUG_ON(bad.text[0] == '\0');
	}
	return 0;
}

#include "fuzz_main.h"
