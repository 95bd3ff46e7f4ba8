/*
 * at_prom - numbers for Prometheus: histograms of requests, and the text of
 * GET /metrics, with vLLM's names for what vLLM has and moe_* for the rest.
 * The loop's thread only.
 */
#ifndef MOE_AT_PROM_H
#define MOE_AT_PROM_H

#include <stdint.h>

#include "at_engine.h"
#include "emu/emu.h"
#include "str.h"

#define AT_PROM_BUCKETS	24

struct at_prom_hist {
	uint64_t bucket[AT_PROM_BUCKETS];	/* not cumulative; last: +Inf */
	uint64_t n;
	double sum;		/* seconds */
};

enum at_prom_kind { AT_PROM_TTFT, AT_PROM_TPOT, AT_PROM_E2E, AT_PROM_KINDS };

struct at_prom {
	struct at_prom_hist hist[AT_PROM_KINDS];
	uint64_t aborted, errors;	/* requests: client gone, failed */
	uint64_t refused;		/* requests answered 4xx or 503 */
};

void	at_prom_add(struct at_prom *p, enum at_prom_kind kind, uint64_t ns);
/* Append the whole page; model is the value of the label model_name. */
void	at_prom_text(const struct at_prom *p, const struct at_metrics *m,
	    const char *model, struct str *out);
/* Append moe_experiment_info, a gauge that is 1; nothing for NULL. */
void	at_prom_experiment(const char *what, struct str *out);
/* Append what an emulated device did; nothing when it did nothing. */
void	at_prom_emu(const struct emu_stats *s, const struct at_metrics *m,
	    struct str *out);

#endif
