/* bench_e2e_roof - how many bytes a step of decoding must read. */
#ifndef MOE_BENCH_E2E_ROOF_H
#define MOE_BENCH_E2E_ROOF_H

#include "config.h"

/* Bytes of a value in memory. */
struct bench_e2e_roof {
	double mat;		/* of what --weights packs (at_load.c's form_of):
				 * experts and projections */
	double act;		/* of gates, and of an embedding that is the
				 * head, too */
	double kv;		/* of the KV cache */
};

/*
 * Bytes of weights and keys and values that a step of `streams` rows reads,
 * each of a context of ctx tokens.  Of the experts those that are expected to
 * be active when the gate chooses evenly: E (1 - (1 - k/E)^streams).
 */
double	bench_e2e_roof_bytes(const struct model_cfg *c, int streams, double ctx,
	    const struct bench_e2e_roof *b);

#endif
