/*
 * at_queue - the front end's micro-queues: one per stage, of units that wait
 * for attention, and the policy that says which stage runs next.
 *
 * A stage is what a unit passes without leaving the front end: attention of a
 * layer up to the next layer that has experts; the last one ends with the
 * logits.  A pick drains the queue of one stage whole.  The policies are the
 * expert servers' (policy.h): a stage is a layer with one queue, its blocks
 * form a ring because a sequence that leaves the last stage enters the first,
 * and the clients of whom `wait` waits are the sequences under way.
 *
 * Engine thread only.
 */
#ifndef MOE_AT_QUEUE_H
#define MOE_AT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "at_pool.h"
#include "policy.h"
#include "policy_auto.h"

struct at_queue_opt {
	const struct policy *policy;	/* NULL: fifo */
	uint64_t hold_ns, urgent_ns;	/* as in policy_view */
	uint32_t batch_rows, lookahead;
	double decay;
};

struct at_stage {
	struct policy_layer p;	/* first: the policies' view is cast back */
	struct policy_queue q;
	struct at_unit *head, **tail;
};

struct at_queue {
	struct at_queue_opt o;
	int n_stage;
	struct at_stage *stage;	/* [n_stage] */
	struct policy_layer **block;	/* [n_stage] of them */
	struct policy_layer *active;	/* those with units */
	uint64_t n_submit;
	struct policy_auto state;
	uint64_t n_urgent;	/* picks that were */
};

void	at_queue_open(struct at_queue *q, const struct at_queue_opt *o,
	    int n_stage);
void	at_queue_close(struct at_queue *q);

/* u, whose stage is set, waits from now on. */
void	at_queue_add(struct at_queue *q, struct at_unit *u, uint64_t now_ns);
/* The stage to run now, -1: none before *next_ns.  n_seq sequences are under
 * way. */
int	at_queue_pick(struct at_queue *q, uint64_t now_ns, uint32_t n_seq,
	    uint64_t *next_ns);
/* All units of a stage, the oldest first. */
struct at_unit *at_queue_take(struct at_queue *q, int stage);

#endif
