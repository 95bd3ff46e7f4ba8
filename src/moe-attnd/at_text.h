/*
 * at_text - stop strings in text that comes in pieces.
 *
 * The text ends before the first byte at which some stop string is complete (of
 * several, the longest); how the text was cut into pieces does not matter.
 * What may be the beginning of a stop string is held back until that is known.
 * No threads.
 */
#ifndef MOE_AT_TEXT_H
#define MOE_AT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

#define AT_MAX_STOP	16

struct at_text {
	const char *const *stop;	/* not empty, valid UTF-8; not copied */
	int n_stop;
	bool include;		/* the stop string itself is part of the text */
	struct str held;
	int hit;		/* index of the stop string that ended it; -1 */
};

void	at_text_init(struct at_text *t, const char *const *stop, int n_stop,
	    bool include);
/* Append to out what of the text is certain now.  True once a stop string is
 * complete; what comes after it is ignored. */
bool	at_text_put(struct at_text *t, const char *p, size_t n,
	    struct str *out);
/* The text has ended: append what was held back. */
void	at_text_end(struct at_text *t, struct str *out);
void	at_text_free(struct at_text *t);

#endif
