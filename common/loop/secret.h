/*
 * secret - keys come from files or descriptors, never from command lines.
 *
 * Floor F2; any thread.
 */
#ifndef MOE_SECRET_H
#define MOE_SECRET_H

#include <stdbool.h>

#include "err.h"
#include "str.h"

#define SECRET_MAX	(1u << 20)	/* bytes of a file of keys */

/*
 * Read "FILE", or "fd:N" to its end (and close it).  *open_p: others than the
 * file's owner may read it (never for a descriptor).  Give the text to
 * secret_free.  -1: ERR_DATA (not there, unreadable, too large), ERR_USAGE (not
 * a descriptor's number).
 */
int	secret_read(struct str *out, const char *from, bool *open_p,
	    struct err *err);
void	secret_free(struct str *s);	/* wipes it */

/* The next line that is neither blank nor a # comment, without the white space
 * around it, cut out of *at; NULL: no more. */
char	*secret_line(char **at);

#endif
