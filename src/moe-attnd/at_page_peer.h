/* at_page_peer - what at_page.c (the thread, what comes in) and at_page_peer.c
 * (what goes out to one neighbour) share.  The page thread only. */
#ifndef MOE_AT_PAGE_PEER_H
#define MOE_AT_PAGE_PEER_H

#include <pthread.h>
#include <stdatomic.h>

#include "at_page.h"
#include "mem.h"

#define AT_PAGE_WINDOW	4	/* runs on the way to a neighbour */

/* What a neighbour has of a page of ours. */
struct at_page_mark {
	uint64_t id;		/* of the page that it is about; 0: nothing */
	struct at_kv_ref theirs;	/* id 0: on its way */
};

struct at_page_want {
	struct at_kv_ref page;
	bool again;		/* its chain was lost there once */
};

struct at_page_flight {
	uint64_t seq;		/* 0: free */
	int n;
	bool again;
	struct at_kv_ref page[AT_PAGE_RUN];
};

struct at_page_peer {
	struct at_page *pg;
	struct link_pair *pair;
	bool up;
	struct at_page_mark *mark;	/* [pages of the cache] */
	VEC(struct at_page_want) want;	/* want_at: the first one */
	size_t want_at;
	struct at_page_flight flight[AT_PAGE_WINDOW];
	int n_flight;
	uint64_t seq;
};

struct at_page {
	struct at_page_opt o;
	struct at_page_peer peer[AT_PAGE_MAX_PEER];
	struct link_port *port;
	pthread_t thread;
	bool started;
	atomic_bool stop;
	int n_page;		/* of the cache */
	int run_max;		/* pages of a run */
	uint64_t next_ns;	/* nothing goes out before */
	VEC(struct at_kv_ref) chain;
	struct str msg;
	_Atomic uint64_t peers_up, sent, sent_bytes, got, got_bytes, refused;
};

void	at_page_peer_up(struct at_page_peer *r);
void	at_page_peer_down(struct at_page_peer *r);
void	at_page_peer_want(struct at_page_peer *r, struct at_kv_ref page,
	    bool again);
/* Send what may be sent now.  true: more waits for nothing but time. */
bool	at_page_peer_pump(struct at_page_peer *r);
/* -1: ERR_DATA, it is about nothing that was sent. */
int	at_page_peer_ack(struct at_page_peer *r, const struct at_page_ack *a,
	    struct err *err);

#endif
