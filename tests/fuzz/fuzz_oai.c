/* Fuzz target: the bytes of a completion's stream, cut in two places. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oai.h"
#include "sse.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
on_event(void *arg, const char *event, const char *data, size_t n)
{
	struct oai_piece *p = arg;

	if (data[n] != '\0' || strchr(event, '\n') != NULL)
		abort();
	if (oai_parse(p, data, n) == 0 && p->failed && p->why.n == 0 &&
	    p->n_id != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct oai_piece p = { 0 };
	struct sse s;
	size_t cut = n > 0 ? data[0] % n : 0;

	sse_init(&s, on_event, &p);
	if (sse_feed(&s, data, cut) == 0)
		(void)sse_feed(&s, data + cut, n - cut);
	sse_free(&s);
	oai_piece_free(&p);
	return 0;
}

#include "fuzz_main.h"
