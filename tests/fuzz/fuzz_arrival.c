/* fuzz_arrival - requests to replay: traces of three kinds, as moe-bench takes
 * them.  Lengths and times of what is taken are within bounds. */
#include <stdint.h>
#include <stdlib.h>

#include "../../src/moe-bench/bench_arrival.c"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int
take(void *arg, const struct bench_arrival *a, struct err *err)
{
	(void)arg;
	(void)err;
	if (a->in_tok < 1 || a->in_tok > BENCH_MAX_TOK || a->out_tok < 1 ||
	    a->out_tok > BENCH_MAX_TOK || !isfinite(a->at_s))
		abort();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct reader r = { .path = "fuzz", .fn = take };
	struct str text = STR_INIT;
	struct err e = ERR_INIT;
	int rc;

	if (n == 0)
		return 0;
	str_add(&text, data, n);
	rc = text.p[0] == '#' ? read_stream(&r, text.p, text.n, &e) :
	    read_lines(&r, text.p, &e);
	if (rc < 0 && e.text[0] == '\0')
		abort();
	str_free(&text);
	return 0;
}

#include "fuzz_main.h"
