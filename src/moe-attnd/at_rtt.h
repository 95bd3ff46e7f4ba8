/*
 * at_rtt - recent round trips to one expert server: quantiles by the size of
 * the call, since a prompt's chunk takes longer than a token's row.
 *
 * A class holds the last 64 calls of about a size; its quantiles are known from
 * 16 on and brought up to date every 16.  Engine thread only.
 */
#ifndef MOE_AT_RTT_H
#define MOE_AT_RTT_H

#include <stdint.h>

#define AT_RTT_CLASSES	4
#define AT_RTT_KEEP	64

struct at_rtt {			/* zero: nothing known */
	struct at_rtt_class {
		uint64_t ns[AT_RTT_KEEP];	/* a ring */
		uint32_t n;		/* ever */
		uint64_t p50_ns, p99_ns;
	} class[AT_RTT_CLASSES];
	uint32_t last_route;		/* of the last call */
};

/* A call of n_route routes took ns. */
void	at_rtt_add(struct at_rtt *r, uint32_t n_route, uint64_t ns);
/* Of calls of that size; 0: not known yet. */
uint64_t at_rtt_p99_ns(const struct at_rtt *r, uint32_t n_route);
/* Of calls of the last one's size; 0: not known yet. */
void	at_rtt_recent(const struct at_rtt *r, uint64_t *p50_ns,
	    uint64_t *p99_ns);

#endif
