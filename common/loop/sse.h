/*
 * sse - the data of a stream of server-sent events, from bytes as they come.
 *
 * Lines end with LF, CR or CRLF; the `data:` lines of an event are joined with
 * a newline and handed over at the blank line that ends it, with the event's
 * name (`event:`, "" if none).  Comments and other fields are skipped; an event
 * that the end of the stream cuts off is dropped.  Bytes are hostile: the size
 * of an event is bounded.
 *
 * Floor F3.  No threads: one owner.
 */
#ifndef MOE_SSE_H
#define MOE_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

#define SSE_MAX_BYTES	(8u << 20)	/* of one event or line */

/* data is NUL-terminated after n bytes and lives until the return. */
typedef void (sse_fn)(void *arg, const char *event, const char *data,
	    size_t n);

struct sse {
	sse_fn *fn;
	void *arg;
	struct str line, data, event;
	bool after_cr, have_data;
};

void	sse_init(struct sse *s, sse_fn *fn, void *arg);
void	sse_free(struct sse *s);
/* Calls fn for each event that p[0..n) completes.  -1: an event is too large. */
int	sse_feed(struct sse *s, const void *p, size_t n);

#endif
