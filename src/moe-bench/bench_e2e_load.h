/*
 * bench_e2e_load - the load of `moe-bench e2e`: streams that decode together,
 * or one prompt that is read.  One thread.
 */
#ifndef MOE_BENCH_E2E_LOAD_H
#define MOE_BENCH_E2E_LOAD_H

#include <stdint.h>

#include "err.h"
#include "oai.h"

struct bench_e2e_load {
	const char *model;	/* name at the server */
	int vocab;		/* ids of prompts are below it */
	uint64_t seed;
	int streams, prompt_tok, tokens;	/* of each stream */
	uint64_t limit_ns;	/* of a request */
};

/*
 * Decode: all streams at once.  *tok_s: tokens a second, of all streams, from
 * when the last of them has its first token until the first one ends, so that
 * the reading of prompts is not in it.  ids[streams * tokens] gets the answers;
 * what did not come is -1.  -1: ERR_TEMP, a stream failed.
 */
int	bench_e2e_load_decode(struct oai *c, const struct bench_e2e_load *l,
	    int32_t *ids, double *tok_s, struct err *err);
/* Prefill: tokens of one prompt over the time to the first token. */
int	bench_e2e_load_prefill(struct oai *c, const struct bench_e2e_load *l,
	    double *tok_s, struct err *err);

#endif
