/*
 * at_group - a group: token rows that go through the layers together.
 *
 *     IDLE -> form a step, embed -> [ attention, gate, dispatch -> AWAY (shared
 *     expert meanwhile) -> combine ] per layer -> logits, sampling -> IDLE
 *
 * One group is the barrier mode; with two, one computes attention while the
 * other's rows are away (double batching).  Engine thread only.
 */
#ifndef MOE_AT_GROUP_H
#define MOE_AT_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "at_disp.h"
#include "at_model.h"
#include "at_prof.h"
#include "at_sched.h"

struct at_group {
	int index;
	bool away;		/* rows are with the experts */
	bool active;		/* a step is under way */
	int layer;
	struct at_rows rows;
	struct at_flight flight;
	uint64_t away_ns;	/* since when */
	struct at_seq_state **done;	/* whose step is over, scratch */
	size_t cap_done;
};

/* What a group works with, shared by all groups of the engine. */
struct at_core {
	struct kern *kn;
	const struct model_cfg *cfg;
	struct at_model *am;
	struct at_kv *kv;
	struct at_sched *sched;
	struct at_disp *disp;
	struct at_prof prof;
	/* A step of these sequences is over: sample, report, remove.  Their rows
	 * are r's [row0, row0 + m); one with m 0 only comes to its end. */
	void (*finish)(void *arg, struct at_rows *r,
	    struct at_seq_state *const *st, int n);
	void *arg;
	uint64_t steps, step_rows, wait_ns;
	uint64_t passes, pass_rows;	/* of attention */
	uint64_t pass_bucket[AT_PASS_BUCKETS];	/* by rows */
};

/* Attention of a layer, counted. */
void	at_core_attn(struct at_core *c, int layer, struct at_rows *r);

/* Do the group's next piece of work, if there is some; false: it is idle with
 * nothing to form, or its rows are away. */
bool	at_group_advance(struct at_core *c, struct at_group *g);
void	at_group_free(struct at_group *g);

#endif
