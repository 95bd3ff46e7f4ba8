/* fuzz_page - what a neighbour sends of KV pages: a run of them or, with an odd
 * first byte, an acknowledgement; a view must stay within the message, and what
 * is taken must come back from its own encoding. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "../../src/moe-attnd/at_page_msg.c"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
try_run(const uint8_t *p, size_t n)
{
	const struct at_page_shape s = { .n_layer = 1, .layer_bytes = 16 };
	struct at_page_run r;
	uint32_t *tok;
	struct str out = STR_INIT;
	int i;

	if (at_page_msg_get(p, n, &s, &r, NULL) != 0)
		return;
	if (r.n < 1 || r.n > AT_PAGE_RUN || r.tok < p ||
	    r.data + (size_t)r.n * s.layer_bytes != p + n)
		abort();
	tok = mem_calloc((size_t)r.n * KERN_PAGE_TOK, sizeof(*tok));
	for (i = 0; i < r.n * KERN_PAGE_TOK; i++)
		tok[i] = buf_le32(r.tok + 4 * (size_t)i);
	at_page_msg_put(&out, &s, &r, tok);
	/* A page number that none can have is read as -1. */
	if (r.before.page >= 0 && memcmp(out.p, p, out.n) != 0)
		abort();
	str_free(&out);
	mem_free(tok);
}

static void
try_ack(const uint8_t *p, size_t n)
{
	struct at_page_ack a, again;
	struct str out = STR_INIT;

	if (at_page_ack_get(p, n, &a, NULL) != 0)
		return;
	at_page_ack_put(&out, &a);
	if (a.n > AT_PAGE_RUN || out.n != n ||
	    at_page_ack_get(out.p, out.n, &again, NULL) != 0 ||
	    again.seq != a.seq || again.n != a.n || again.status != a.status)
		abort();
	str_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 1)
		return 0;
	if (data[0] & 1)
		try_ack(data + 1, n - 1);
	else
		try_run(data + 1, n - 1);
	return 0;
}

#include "fuzz_main.h"
