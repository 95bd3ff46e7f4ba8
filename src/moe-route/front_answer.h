/*
 * front_answer - an answer as it has come so far: enough to go on with it on
 * another front end, and to tell it to a client that wants it whole.
 *
 * Front ends are always asked for a stream with token ids.  What a client gets
 * are their bytes: of each chunk only the answer's id and time are replaced by
 * those of its first one (the id by own_id, where there is one), and token ids
 * left out if it did not ask for them.
 * Pure: no I/O.
 */
#ifndef MOE_FRONT_ANSWER_H
#define MOE_FRONT_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

#define FRONT_MAX_LP	4	/* lists in an object of logprobs */

struct front_list {
	struct str key, item;	/* item: joined with commas */
};

struct front_choice {
	struct str ids;		/* token ids so far, "1,2,3" */
	bool begun, finished;
	/* of an answer that is told whole; raw JSON */
	struct str text, finish, stop, prompt_ids;
	struct front_list lp[FRONT_MAX_LP];
	int n_lp;
};

struct front_answer {
	/* as the client asked */
	bool chat, stream, want_ids, want_usage;
	struct str own_id;	/* raw JSON: the id whoever answers; "": that of
				 * the first chunk */
	struct front_choice *choice;
	int n_choice, n_open;	/* n_open: not finished */
	struct str id, created, model, usage;	/* raw JSON */
	struct str prompt_ids;	/* of chat, "1,2,3" */
	uint64_t n_tok;		/* of all choices */
};

void	front_answer_init(struct front_answer *a, int n_choice);
void	front_answer_free(struct front_answer *a);

/* One chunk of a front end.  For a client that streams, what it is to be sent
 * is appended to out: one event, or nothing.  -1: ERR_DATA, the chunk is none,
 * and a is as it was. */
int	front_answer_take(struct front_answer *a, const char *p, size_t n,
	    struct str *out, struct err *err);

/* Has anything of it come? */
bool	front_answer_begun(const struct front_answer *a);
/* Has all of it come? */
bool	front_answer_complete(const struct front_answer *a);
/* Append the field moe_resume: `"moe_resume":{...}`. */
void	front_answer_resume(const struct front_answer *a, struct str *out);
/* Append the whole reply, once all choices are finished. */
void	front_answer_whole(const struct front_answer *a, struct str *out);

#endif
