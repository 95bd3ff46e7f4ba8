/*
 * http_parse - the grammar of HTTP/1.1 requests (RFC 9112): heads and chunked
 * bodies, from bytes that may be anything.  Pure functions, no I/O.  Floor F3.
 *
 * Strict where leniency lets two parsers disagree about where a request ends:
 * a length together with chunked, two lengths, folded fields, white space
 * before a colon, and control characters are all errors.  A bare LF ends a
 * line as CRLF does.
 */
#ifndef MOE_HTTP_PARSE_H
#define MOE_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "str.h"

#define HTTP_MAX_FIELD	100

struct http_field {
	const char *name, *value;
};

struct http_head {
	char *buf;		/* owned: all strings point into it */
	const char *method;
	const char *path;	/* percent-decoded, begins with / or is "*" */
	const char *query;	/* after the ?, "" if none */
	int minor;		/* HTTP/1.minor: 0 or 1 */
	struct http_field field[HTTP_MAX_FIELD];
	int n_field;
	uint64_t body_bytes;	/* Content-Length, 0 without */
	bool chunked;		/* then body_bytes means nothing */
	bool keep_alive;
	bool expect;		/* wants 100 Continue before it sends the body */
};

/* What is wrong with a request: the status to answer, and a sentence. */
struct http_bad {
	int status;
	char text[160];
};

/* Bytes of the head with its empty line, 0 when p[0..n) does not hold its end.
 * *from remembers how far earlier calls for the same head have looked. */
size_t	http_parse_end(const char *p, size_t n, size_t *from);
/* Parse a whole head (http_parse_end bytes).  0; -1 with bad, h then empty. */
int	http_parse_head(const char *p, size_t n, struct http_head *h,
	    struct http_bad *bad);
void	http_parse_free(struct http_head *h);
/* The first field of that name, any case; NULL if none. */
const char *http_parse_field(const struct http_head *h, const char *name);

/* A chunked body on its way; {0} at the beginning. */
struct http_chunk {
	int state;
	uint64_t left;		/* bytes of the chunk still to come */
	size_t line;		/* bytes of the current size line or trailer */
};
/* Append what p[0..n) holds of the body to body, *used_p bytes taken.  1 when
 * the body has ended; 0: more is needed; -1 with bad, 413 beyond max bytes. */
int	http_parse_chunk(struct http_chunk *c, const char *p, size_t n,
	    size_t max, struct str *body, size_t *used_p, struct http_bad *bad);

#endif
