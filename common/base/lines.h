/*
 * lines - text files with a statement a line: read whole, then line by line
 * and word by word, with errors that say FILE:LINE.
 *
 * Floor F0.  No state but the caller's.
 */
#ifndef MOE_LINES_H
#define MOE_LINES_H

#include <stddef.h>

#include "err.h"
#include "str.h"

struct lines {
	const char *path;	/* borrowed, for messages */
	int line;		/* the current one, from 1 */
	char *copy, *next;	/* NULL: no more */
};

/* The whole file of at most max bytes into *s, which is the caller's in any
 * case.  -1: ERR_USAGE (cannot be opened), ERR_DATA (larger). */
int	lines_load(struct str *s, const char *path, size_t max,
	    struct err *err);

/* Begin on a copy of text[0..n).  -1: ERR_DATA "PATH: not WHAT" when it is
 * longer than max or holds a NUL; nothing is to be closed then. */
int	lines_open(struct lines *l, const char *text, size_t n, size_t max,
	    const char *path, const char *what, struct err *err);
/* The next line without its end, which the caller may write to; NULL: none. */
char	*lines_next(struct lines *l);
void	lines_close(struct lines *l);

/* Cut the next word off *rest; "" when there is none. */
char	*lines_word(char **rest);

/* ERR_DATA "PATH:LINE: text"; returns -1. */
int	lines_bad(const struct lines *l, struct err *err, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));

#endif
