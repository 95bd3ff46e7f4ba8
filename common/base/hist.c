/* hist - see hist.h.  Floor F0. */
#include "hist.h"

#include <string.h>

#define LOG_STEPS	6	/* log2(HIST_STEPS) */

/* Values below HIST_STEPS have their own bucket; above, the top LOG_STEPS+1
 * bits select it. */
static unsigned
index_of(uint64_t v)
{
	unsigned top;

	if (v < HIST_STEPS)
		return (unsigned)v;
	top = 63u - (unsigned)__builtin_clzll(v);
	return (top - LOG_STEPS + 1) * HIST_STEPS +
	    (unsigned)((v >> (top - LOG_STEPS)) - HIST_STEPS);
}

/* Upper edge of bucket i. */
static uint64_t
value_of(unsigned i)
{
	unsigned oct = i / HIST_STEPS, step = i % HIST_STEPS;

	if (oct == 0)
		return step;
	return ((uint64_t)(HIST_STEPS + step + 1) << (oct - 1)) - 1;
}

void
hist_clear(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

void
hist_add(struct hist *h, uint64_t v)
{
	if (h->n == 0 || v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->n++;
	h->sum += v;
	h->bucket[index_of(v)]++;
}

void
hist_merge(struct hist *h, const struct hist *more)
{
	unsigned i;

	if (more->n == 0)
		return;
	if (h->n == 0 || more->min < h->min)
		h->min = more->min;
	if (more->max > h->max)
		h->max = more->max;
	h->n += more->n;
	h->sum += more->sum;
	for (i = 0; i < HIST_BUCKETS; i++)
		h->bucket[i] += more->bucket[i];
}

uint64_t
hist_quantile(const struct hist *h, double q)
{
	uint64_t want, seen = 0, v;
	unsigned i;

	if (h->n == 0)
		return 0;
	want = (uint64_t)(q * (double)h->n);
	if (want >= h->n)
		return h->max;
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > want) {
			v = value_of(i);
			return v < h->max ? (v > h->min ? v : h->min) : h->max;
		}
	}
	return h->max;
}

double
hist_mean(const struct hist *h)
{
	return h->n ? (double)h->sum / (double)h->n : 0;
}
