/*
 * link_tp - a transport as a table of operations, and the rings it moves.
 * Internal to common/link.
 *
 * A ring (struct link_ring) is one incarnation of a pair's memory: it is made
 * by the control thread while the pair is being set up, handed to the data
 * thread with LINK_UP, and used by that thread alone until it is closed.
 */
#ifndef MOE_LINK_TP_H
#define MOE_LINK_TP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"
#include "link.h"
#include "slot.h"

struct tls;

enum link_slot_state {
	LINK_S_FREE = 0,	/* server: a request may arrive here */
	LINK_S_HELD,		/* client: reserved, being filled */
	LINK_S_FLIGHT,		/* client: sent, no answer yet */
	LINK_S_GOT,		/* arrived; the program has it */
};

struct link_slot {
	uint8_t state;		/* enum link_slot_state */
	uint8_t kind;		/* of the request in it */
	bool crc;		/* server: that request has SLOT_CRC_BODY */
	uint32_t got;		/* header + body bytes that arrived; 0: unknown */
	uint64_t seq, req_id;
	uint64_t seen;		/* shm: the last commit word looked at */
	void *user;
};

struct link_ring {
	const struct link_tp *tp;
	bool server;
	uint16_t epoch;
	uint32_t depth, slot_bytes;
	uint8_t *req, *ans;	/* depth slots each */
	uint64_t next;		/* seq: client: to send; server: expected */
	int fd;			/* what epoll watches for this ring; -1 none */
	struct tls *tls;	/* sockets: over it, NULL: in the clear; owned */
	bool ready;		/* sockets: epoll says there may be input */
	bool want_out;		/* sockets: output waits for room */
	bool armed_out;		/* epoll has been told so */
	uint64_t stale;		/* commit words of another epoch */
	struct link_slot slot[LINK_DEPTH_MAX];
};

/* What a new ring is to be. */
struct link_geom {
	uint32_t depth, slot_bytes;
	uint16_t epoch;
};

#define LINK_FDS	2	/* handed over with WELCOME at most */

#define LINK_IDLE	(-1)	/* poll: nothing has arrived */
#define LINK_BROKEN	(-2)	/* poll: err says; ERR_DATA: the peer's fault */

struct link_tp {
	const char *name;	/* "shm" */
	const char *absent;	/* the sentence, if this version cannot do it */
	bool second;		/* rows travel on a connection of their own */
	bool pass_fds;		/* WELCOME carries descriptors */
	bool net;		/* a socket that may leave this machine: TLS */
	bool crc_body;		/* bytes may change on the way: slots carry a
				 * checksum of all they hold */

	/* Any thread.  A listening non-blocking socket; a->sa gets the true
	 * port. */
	int (*listen)(struct addr *a, struct err *err);
	/* Remove what listen() left behind, given the open socket. */
	void (*unlisten)(const struct addr *a, int fd);
	/* Set options on a control connection; heartbeat_ns 0: on one that
	 * carries rows. */
	void (*tune)(int fd, uint64_t heartbeat_ns);

	/* Control thread.  Server side: a new ring, and the descriptors for
	 * the client (the caller closes them). */
	struct link_ring *(*offer)(const struct link_geom *g, int fd[LINK_FDS],
	    int *n_fd, struct err *err);
	/* Client side: the ring for a WELCOME.  The descriptors stay the
	 * caller's. */
	struct link_ring *(*take)(const struct link_geom *g, const int *fd,
	    int n_fd, struct err *err);

	/* Data thread.  Slot i (request or answer, by side) is encoded, bytes
	 * in all from SLOT_HEAD on: send it.  -1: the pair is broken. */
	int (*put)(struct link_ring *r, int i, uint32_t bytes,
	    struct err *err);
	/* The next slot that has arrived whole (its state is set to GOT), or
	 * LINK_IDLE or LINK_BROKEN. */
	int (*poll)(struct link_ring *r, struct err *err);
	/* Would poll return something else than LINK_IDLE? */
	bool (*peek)(struct link_ring *r);
	/* About to sleep: true if the peer knows that it must wake us. */
	void (*doze)(struct link_ring *r);
	/* Awake again; readable: fd was. */
	void (*rouse)(struct link_ring *r, bool readable);
	void (*close)(struct link_ring *r);
};

extern const struct link_tp link_shm_tp, link_tcp_tp, link_rdma_tp,
    link_cuda_tp, link_nccl_tp;

/* The transport of an address; of a fault: the one behind.  NULL with
 * ERR_UNAVAIL and its sentence. */
const struct link_tp *link_tp_of(const struct addr *a, struct err *err);

static inline uint8_t *
link_ring_req(const struct link_ring *r, int i)
{
	return r->req + (size_t)i * r->slot_bytes;
}

static inline uint8_t *
link_ring_ans(const struct link_ring *r, int i)
{
	return r->ans + (size_t)i * r->slot_bytes;
}

#endif
