/*
 * hist - a log-linear histogram of non-negative integers (latencies in ns):
 * 64 steps an octave, so any quantile is within 1.6 %.  Fixed size, no
 * allocation, mergeable over processes.
 */
#ifndef MOE_HIST_H
#define MOE_HIST_H

#include <stdint.h>

#define HIST_STEPS	64
#define HIST_BUCKETS	(HIST_STEPS * 59)

struct hist {
	uint64_t n, sum, min, max;
	uint64_t bucket[HIST_BUCKETS];
};

void	hist_clear(struct hist *h);
void	hist_add(struct hist *h, uint64_t v);
void	hist_merge(struct hist *h, const struct hist *more);
uint64_t hist_quantile(const struct hist *h, double q);	/* q in 0..1; 0 if empty */
double	hist_mean(const struct hist *h);

#endif
