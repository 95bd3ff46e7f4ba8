/*
 * at_free - rows without a barrier (--groups free): a unit whose answers are
 * all in joins the next pass of attention at its stage with whoever is there.
 *
 *     form -> QUEUED -> pass: [ combine, attention, gate, dispatch ] -> AWAY
 *               ^ ^                                                      |
 *               | +--- (all answers of its rows are in) <----------------+
 *             HELD, while the unit before it in its sequence has not passed
 *
 * Units of a sequence never overtake each other: one enters a stage only when
 * the one before it has left it, so the KV that it reads is written, tokens
 * are sampled in order, and a decode row exists only when its token has been
 * drawn.  Chunks of a long prompt follow each other through the layers like
 * this, several on the way at once.
 *
 * A token's bits depend on its own sequence only (at_model.h), so the order
 * of passes changes none.  Engine thread only.
 */
#ifndef MOE_AT_FREE_H
#define MOE_AT_FREE_H

#include "at_group.h"
#include "at_queue.h"

struct at_pass {		/* rows of a pass that are away */
	struct at_flight flight;
	int32_t *row;
	size_t cap;
	struct at_pass *next;
};

struct at_free {
	struct at_core *c;
	struct at_pool pool;
	struct at_queue queue;
	int *first;		/* [n_stage] layer that the stage begins with */
	struct at_rows rows;	/* of the pass under way */
	struct at_seq_state **done;	/* [pool rows] whose step is over */
	struct at_pass *away, *spare;
	int n_seq;		/* sequences with units */
	int n_prompt;		/* rows of prompts under way */
	bool formed;		/* nothing more can be formed now */
	uint64_t next_ns;	/* a policy holds rows until then */
};

/* n_row slots: the rows that can be under way. */
void	at_free_open(struct at_free *f, struct at_core *c,
	    const struct at_queue_opt *o, int n_row);
void	at_free_close(struct at_free *f);

/* Form what can be formed and run one pass; false: nothing to do before an
 * answer comes or f->next_ns. */
bool	at_free_advance(struct at_free *f);
/* Sequences have come, or have ended. */
void	at_free_news(struct at_free *f);

#endif
