/* bench_e2e_roof - how many bytes a step of decoding must read. */
#ifndef MOE_BENCH_E2E_ROOF_H
#define MOE_BENCH_E2E_ROOF_H

#include "config.h"

/*
 * Bytes of weights and keys and values that a step of `streams` rows reads,
 * each of a context of ctx tokens, at elem bytes a weight and kv bytes a value
 * of the KV cache.  Of the experts those that are expected to be active when
 * the gate chooses evenly: E (1 - (1 - k/E)^streams).
 */
double	bench_e2e_roof_bytes(const struct model_cfg *c, int streams, double ctx,
	    double elem, double kv);

#endif
