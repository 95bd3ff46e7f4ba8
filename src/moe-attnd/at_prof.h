/*
 * at_prof - where the engine thread's time goes.
 *
 * The thread is always in one part, and each switch charges what has passed to
 * the part that it leaves: the parts add up to the thread's life, and nothing
 * can be missed.  A switch is one read of the clock, some 30 ns, about a dozen
 * of them a layer: always on.
 *
 * Parts that may nest say what they return to:
 *
 *     enum at_part was = at_prof_to(p, AT_PART_COPY);
 *     ...
 *     at_prof_to(p, was);
 *
 * Engine thread only; others see the copy in struct at_metrics.
 */
#ifndef MOE_AT_PROF_H
#define MOE_AT_PROF_H

#include <stddef.h>
#include <stdint.h>

#include "clock.h"

enum at_part {
	AT_PART_OTHER,		/* of the engine's loop, nothing of below */
	/* kernels */
	AT_PART_EMBED,
	AT_PART_NORM,		/* and adding a branch to the residual */
	AT_PART_DENSE,		/* q, k, v, o; of a dense layer its MLP */
	AT_PART_ROPE,		/* and norms of q and k */
	AT_PART_ATTN,		/* and writing K and V */
	AT_PART_GATE,
	AT_PART_EXPERTS,	/* --local */
	AT_PART_SHARED,
	AT_PART_COMBINE,
	AT_PART_HEAD,		/* final norm and logits */
	/* the step around them */
	AT_PART_SAMPLE,
	AT_PART_COPY,		/* rows into slots, answers out of them */
	AT_PART_DISPATCH,	/* routes to servers, links; --local: queues */
	AT_PART_SCHED,		/* admission, forming steps, moving rows */
	AT_PART_OUTPUT,		/* tokens to the HTTP thread */
	/* not computing */
	AT_PART_WAIT,		/* requests run, but nothing to do for them */
	AT_PART_IDLE,		/* no requests */
	AT_PARTS
};

enum at_part_kind {
	AT_KIND_KERNEL, AT_KIND_AROUND, AT_KIND_WAIT, AT_KIND_IDLE
};

extern const struct at_part_name {
	const char *name;
	enum at_part_kind kind;
} at_part_name[AT_PARTS];
const char *at_kind_name(enum at_part_kind kind);

struct at_prof {
	uint64_t ns[AT_PARTS];
	uint64_t since_ns;	/* in this part; 0: not begun */
	enum at_part now;
};

/* Enter a part; returns the one that was left.  NULL: nobody counts. */
static inline enum at_part
at_prof_to(struct at_prof *p, enum at_part part)
{
	enum at_part was;
	uint64_t t;

	if (p == NULL)
		return part;
	was = p->now;
	t = clock_ns();
	p->ns[was] += t - p->since_ns;
	p->since_ns = t;
	p->now = part;
	return was;
}

/* The thread begins. */
void	at_prof_begin(struct at_prof *p);
/* ns of `from`, which has been left, were spent in `to`. */
void	at_prof_move(struct at_prof *p, enum at_part from, enum at_part to,
	    uint64_t ns);

#endif
