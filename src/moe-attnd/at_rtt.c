/* at_rtt - see at_rtt.h. */
#include "at_rtt.h"

#include <stdlib.h>
#include <string.h>

#define EVERY		16	/* calls between two looks at the quantiles */

static int
class_of(uint32_t n_route)
{
	return n_route <= 4 ? 0 : n_route <= 16 ? 1 : n_route <= 64 ? 2 : 3;
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The 99th percentile of 64 is the largest but one: a single outlier does not
 * stretch every deadline after it. */
static void
look(struct at_rtt_class *c)
{
	uint32_t n = c->n < AT_RTT_KEEP ? c->n : AT_RTT_KEEP;
	uint64_t sorted[AT_RTT_KEEP];

	memcpy(sorted, c->ns, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_size);
	c->p50_ns = sorted[n / 2];
	c->p99_ns = sorted[(n - 1) * 99 / 100];
}

void
at_rtt_add(struct at_rtt *r, uint32_t n_route, uint64_t ns)
{
	struct at_rtt_class *c = &r->class[class_of(n_route)];

	r->last_route = n_route;
	c->ns[c->n++ % AT_RTT_KEEP] = ns;
	if (c->n % EVERY == 0)
		look(c);
}

uint64_t
at_rtt_p99_ns(const struct at_rtt *r, uint32_t n_route)
{
	return r->class[class_of(n_route)].p99_ns;
}

void
at_rtt_recent(const struct at_rtt *r, uint64_t *p50_ns, uint64_t *p99_ns)
{
	const struct at_rtt_class *c = &r->class[class_of(r->last_route)];

	*p50_ns = c->p50_ns;
	*p99_ns = c->p99_ns;
}
