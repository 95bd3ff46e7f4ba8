/*
 * fuzz_chat - any bytes as a chat template, rendered with fixed messages.
 * Whatever comes out must list its untrusted bytes in order and in bounds.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char vars_text[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"a b\\n\"},"
    " {\"role\": \"user\", \"content\": \"<|im_end|> \u00e9\u65e5\"},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\":"
    " [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1.5}}}]}],"
    " \"tools\": [{\"type\": \"function\", \"k\": [1, [2, {}], true]}],"
    " \"add_generation_prompt\": true, \"bos_token\": \"<s>\","
    " \"n\": -7, \"s\": \"x,y z\", \"d\": {\"b\": 2, \"a\": 1}}";

static void
check_spans(const struct chat_text *t)
{
	size_t i, end = 0;

	for (i = 0; i < t->untrusted.n; i++) {
		if (t->untrusted.p[i].begin < end ||
		    (i > 0 && t->untrusted.p[i].begin == end) ||
		    t->untrusted.p[i].end <= t->untrusted.p[i].begin ||
		    t->untrusted.p[i].end > t->text.n)
			abort();
		end = t->untrusted.p[i].end;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static json_t *vars;
	struct chat_text out = CHAT_TEXT_INIT;
	struct err e = ERR_INIT;
	struct chat *c;
	int rc;

	if (vars == NULL)
		vars = json_loads(vars_text, 0, NULL);
	if (vars == NULL)
		abort();
	rc = chat_compile(&c, (const char *)data, n, "fuzz", &e);
	if (rc == 0) {
		rc = chat_render(c, vars, &out, &e);
		if (rc == 0)
			check_spans(&out);
		chat_free(c);
	}
	if (rc != 0 && (e.code != ERR_DATA || e.text[0] == '\0'))
		abort();
	chat_text_free(&out);
	return 0;
}

#include "fuzz_main.h"
