/*
 * at_page - copies of KV pages on neighbour front ends, so that an answer that
 * has to go on elsewhere finds its context there.
 *
 * Every page that a sequence fills is sent to the neighbours in the background,
 * over control-only pairs of a port of its own (link.h): HELLO makes sure that
 * fingerprint, kernel variant, dtype and what keys and values are kept in are
 * equal, so equal tokens have equal bytes; every message is checksummed.  Correctness never needs a copy: one that
 * is missing costs its prefill.
 *
 * One thread of its own.  The engine only takes the cache's lock; bytes are
 * copied outside of it.  What is sent is bounded in bytes a second, and by what
 * the neighbour has acknowledged.
 */
#ifndef MOE_AT_PAGE_H
#define MOE_AT_PAGE_H

#include <stdint.h>

#include "at_kv.h"
#include "at_page_msg.h"
#include "link.h"

#define AT_PAGE_MAX_PEER	8

struct at_page;

struct at_page_opt {
	struct at_kv *kv;	/* must outlive it */
	struct at_page_shape shape;
	const struct link_opt *link;	/* of the port for rows: who we are, and
				 * keys; rings and mixed are not taken over */
	const char *listen;	/* link address; copied, as these are: */
	const char *peer[AT_PAGE_MAX_PEER];	/* neighbours */
	int n_peer;
	uint64_t rate;		/* bytes a second at most */
};

/* -1: ERR_USAGE, ERR_TEMP, ERR_UNAVAIL (a page is larger than a message). */
int	at_page_open(struct at_page **out, const struct at_page_opt *o,
	    struct err *err);
void	at_page_close(struct at_page *pg);	/* NULL is fine */

struct at_page_stat {
	uint64_t peers_up;
	uint64_t sent, sent_bytes;	/* pages acknowledged; bytes of them */
	uint64_t got, got_bytes;	/* pages taken from neighbours */
	uint64_t refused;	/* by us: no room, or not what came before */
};
/* Any thread.  pg NULL: zeros. */
void	at_page_stat(const struct at_page *pg, struct at_page_stat *out);

#endif
