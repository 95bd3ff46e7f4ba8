/* bench_sim_event - what happens next: a heap by time; of equal times that which
 * was put in first. */
#ifndef MOE_BENCH_SIM_EVENT_H
#define MOE_BENCH_SIM_EVENT_H

#include <stdint.h>

#include "bench_sim.h"
#include "mem.h"

enum sim_kind { SIM_EV_ATTN, SIM_EV_EXPERT, SIM_EV_TO_EXPERT, SIM_EV_TO_ATTN,
    SIM_EV_WAKE, SIM_EV_REQUEST };

struct sim_event {
	double at_us;
	uint64_t no;		/* set by sim_events_put */
	enum sim_kind kind;
	int dev, layer;
	struct sim_route *r;	/* of a message; its taker frees it */
	int n;
};

struct sim_events {		/* begins as zeros */
	VEC(struct sim_event) heap;
	uint64_t n;
};

void	sim_events_put(struct sim_events *h, struct sim_event e);
/* There is one. */
struct sim_event sim_events_take(struct sim_events *h);
void	sim_events_free(struct sim_events *h);

#endif
