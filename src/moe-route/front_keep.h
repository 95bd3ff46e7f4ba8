/*
 * front_keep - answers remembered by their Idempotency-Key, so that a client
 * that has lost its connection gets the same answer and no second one is
 * computed.
 *
 * Bounded in number, bytes and time; the oldest complete answers go first.
 * Keys are told apart by path and Authorization as well.  No I/O.
 */
#ifndef MOE_FRONT_KEEP_H
#define MOE_FRONT_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "str.h"

#define FRONT_MAX_KEPT	4096
#define FRONT_MAX_KEY	256	/* bytes of an Idempotency-Key */
#define FRONT_MAX_REPLY	(8u << 20)	/* bytes of an answer that is kept */

struct front_job;

struct front_kept {
	struct front_kept *next, **prev_p;
	char *name;
	uint64_t ask;		/* hash of the request's body */
	struct front_job *job;	/* who is working on it; NULL: complete */
	bool stream;
	struct str reply;	/* as it was sent so far */
	uint64_t done_ns;
};

struct front_keep {
	uint64_t max_bytes, keep_ns;
	struct front_kept *first;	/* newest first */
	size_t n;
	uint64_t bytes;		/* of all replies */
};

/* The name under which an answer is kept, to be freed. */
char	*front_keep_name(const char *path, const char *auth, const char *key);
struct front_kept *front_keep_find(const struct front_keep *k,
	    const char *name);
/* NULL: too many are being worked on.  name is taken over in any case. */
struct front_kept *front_keep_new(struct front_keep *k, char *name,
	    uint64_t ask);
/* Append to the reply.  false: there is no room, drop it. */
bool	front_keep_add(struct front_keep *k, struct front_kept *e,
	    const void *p, size_t n);
void	front_keep_drop(struct front_keep *k, struct front_kept *e);
/* Drop complete answers that are older than keep_ns. */
void	front_keep_expire(struct front_keep *k, uint64_t now_ns);
/* Drop all; none may be worked on. */
void	front_keep_clear(struct front_keep *k);

#endif
