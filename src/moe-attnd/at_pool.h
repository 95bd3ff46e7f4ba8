/*
 * at_pool - token rows on their way through the layers, each in a slot of its
 * own, for rows that travel alone (at_free).
 *
 * Between two passes of attention a row lives here: its residual stream, what
 * was sent to the experts and their answers.  A pass gathers the rows that it
 * runs into contiguous at_rows, and scatters them back.
 *
 * A *unit* is what moves as one: the rows of one sequence that one step
 * computes, one row to decode or a chunk of a prompt.  Slots and units are
 * made once; nothing is allocated per row.  Engine thread only.
 */
#ifndef MOE_AT_POOL_H
#define MOE_AT_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "at_disp.h"
#include "at_model.h"

struct at_seq_state;

enum at_unit_state {
	AT_UNIT_QUEUED = 1,	/* waits for attention */
	AT_UNIT_HELD,		/* would overtake the unit before it */
	AT_UNIT_AWAY,		/* rows are with the experts */
	AT_UNIT_RUN,		/* in the pass under way */
};

struct at_unit {
	struct at_seq_state *st;
	int32_t first;		/* its rows' slots: a chain through pool->next */
	int m, pos0;		/* rows; position of the first */
	bool prompt;		/* a chunk; not a row to decode */
	enum at_unit_state state;
	int stage;		/* that it enters next, see at_free.h */
	int out;		/* rows that are away */
	uint64_t since_ns;	/* queued, or sent */
	struct at_unit *next;	/* in a queue, a pass, or among the spare */
	struct at_unit *before, *after;	/* of the same sequence */
};

struct at_pool {
	const struct model_cfg *cfg;
	int n, n_free, k;
	size_t row_bytes;	/* of xn and sh */
	int32_t *next;		/* [n] chain of a unit, or of the free slots */
	int32_t free;		/* first free slot; -1 */
	float *x;		/* [n][hidden] */
	char *xn, *sh;		/* [n][hidden] act */
	float *sh_w;		/* [n] */
	int32_t *id;		/* [n][k] */
	float *w;		/* [n][k] */
	int *row_left;		/* [n] */
	struct at_unit **owner;	/* [n] */
	struct at_flight all;	/* answers */
	const void **ans;	/* [n * k] of the rows gathered */
	struct at_unit *unit;	/* [n] */
	struct at_unit *spare;
};

void	at_pool_open(struct at_pool *p, const struct model_cfg *cfg,
	    enum kern_dtype act, const struct at_disp *d, int n);
void	at_pool_close(struct at_pool *p);

/* A unit of m rows; m <= n_free. */
struct at_unit *at_pool_take(struct at_pool *p, struct at_seq_state *st,
	    int pos0, int m);
/* Its slots are free again.  None of its rows is away. */
void	at_pool_give(struct at_pool *p, struct at_unit *u);

/* Has a row of u lost a route? */
bool	at_pool_dead(const struct at_pool *p, const struct at_unit *u);

/*
 * Append the rows of u to r (there is room).  fresh: they begin, so only
 * tokens and positions; otherwise x, and with what the experts said (p->ans,
 * r->w, r->sh, r->sh_w) for at_model_combine.
 */
void	at_pool_gather(struct at_pool *p, const struct at_unit *u, bool fresh,
	    struct at_rows *r);
/* What goes to the experts, from row row0 of r on; then, once the shared
 * expert has run, what it made. */
void	at_pool_scatter(struct at_pool *p, const struct at_unit *u,
	    const struct at_rows *r, int row0);
void	at_pool_shared(struct at_pool *p, const struct at_unit *u,
	    const struct at_rows *r, int row0);

#endif
