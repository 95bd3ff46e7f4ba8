/*
 * front_ask - a client's request for an answer, and what front ends are asked
 * in its place: always a stream with token ids, always with a seed, so that it
 * can be asked again elsewhere.
 *
 * Whether a request is right is for front ends to say.  One that the door
 * cannot read is passed on to be refused there.  Pure: no I/O.
 */
#ifndef MOE_FRONT_ASK_H
#define MOE_FRONT_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "str.h"

#define FRONT_MAX_CHOICE	128	/* moe-attnd refuses more */

struct front_ask {
	bool stream, want_ids, want_usage;	/* what the client asked for */
	int n_choice;
	struct str body;	/* for front ends, its last brace left off */
	uint64_t hash;		/* of the prompt's beginning */
};

/* seed: for a request without one, 0..2^63 - 1.  false: pass it on as it is,
 * there is nothing to free. */
bool	front_ask_read(struct front_ask *q, bool chat, const char *body,
	    size_t n, uint64_t seed);
void	front_ask_free(struct front_ask *q);

/* 64 bits of n bytes, the same everywhere. */
uint64_t front_ask_hash(const void *p, size_t n, uint64_t h);

#endif
