/*
 * at_sched - which sequences are waiting and running, and what goes into the
 * next step of a group.
 *
 * Admission reserves every KV page a sequence can need, so a running sequence
 * is never put back.  A step takes one row of every sequence that decodes, then
 * prompt chunks in turn until the row budget is spent.  None of this can change
 * a token: only when it comes.
 *
 * Engine thread only.
 */
#ifndef MOE_AT_SCHED_H
#define MOE_AT_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "at_engine.h"
#include "at_kv.h"
#include "at_model.h"

struct at_unit;

struct at_seq_state {
	struct at_seq *s;
	uint32_t *tok;		/* prompt, then what was generated */
	int n_tok, cap_tok;
	int n_computed;		/* tokens whose KV is there */
	int n_gen;
	int n_cached;		/* of the prompt, from the prefix cache */
	struct at_kv_seq kv;
	int group;
	int row0, m;		/* its rows in the step under way; m 0: none */
	/* --groups free: */
	int n_sent;		/* tokens that are computed or in units */
	int n_unit;		/* units under way */
	struct at_unit *unit;	/* the last one */
	uint64_t submit_ns;
	bool cancelled;
	bool failed;		/* with status and text */
	int fail_status;
	char fail[200];
	struct at_seq_state *next;
};

#define AT_NO_SERVER	"no server has an expert that this request needs"

struct at_seq_list {
	struct at_seq_state *first, **last;
	int n;
};

struct at_sched_opt {
	int n_group;
	int max_seq;		/* running at once */
	int step_rows;		/* row budget of a step */
	int chunk_tok;		/* most prompt tokens of one sequence in a step */
	int prompt_rows;	/* prompt rows of a step, or under way */
};

struct at_sched {
	struct at_sched_opt o;
	struct at_kv *kv;
	struct at_seq_list waiting, running;
};

void	at_sched_init(struct at_sched *sc, const struct at_sched_opt *o,
	    struct at_kv *kv);

struct at_seq_state *at_seq_state_new(struct at_seq *s, uint64_t now_ns);
void	at_seq_state_free(struct at_seq_state *st);
void	at_list_init(struct at_seq_list *l);
void	at_list_add(struct at_seq_list *l, struct at_seq_state *st);
void	at_list_del(struct at_seq_list *l, struct at_seq_state *st);

/* Move what fits from waiting to running, oldest first; true: some did. */
bool	at_sched_admit(struct at_sched *sc);
/* Fill r with the next step of a group; false when it has nothing to do.
 * KV pages for the rows exist after that. */
bool	at_sched_form(struct at_sched *sc, int group, struct at_rows *r,
	    const struct at_model *am);
/* --groups free: whose prompt goes on next with *m rows, at most `room`: of
 * those with fewest units under way, the oldest.  NULL: nobody's. */
struct at_seq_state *at_sched_next(struct at_sched *sc, int room, int *m);
/* The step of st is over: its rows' KV is there (or worthless, if it failed). */
void	at_sched_computed(struct at_sched *sc, struct at_seq_state *st);
/* Leave running or waiting, give the pages back. */
void	at_sched_remove(struct at_sched *sc, struct at_seq_state *st);

/* Are rows of it under way?  Then it must not be removed. */
bool	at_seq_busy(const struct at_seq_state *st);
/* Tokens that no unit has; 0 if it will not go on. */
int	at_seq_left(const struct at_seq_state *st);
/* It fails with this HTTP status, unless it has failed already. */
void	at_seq_fail(struct at_seq_state *st, int status, const char *why);
/* Do the rows of the step under way end with the last known token? */
bool	at_seq_at_end(const struct at_seq_state *st);
void	at_seq_push(struct at_seq_state *st, uint32_t tok);

#endif
