/*
 * link_port - what a port, a pair and a connection consist of.  Internal to
 * common/link.
 *
 * Two threads.  The control thread (link_ctl.c, link_conn.c) owns every
 * struct link_conn and holds port->lock whenever it is not waiting in epoll.
 * The data thread (link.c, link_wait.c) takes the lock only for what is rare:
 * taking an event, dialling, closing, messages.  What each field belongs to is
 * said at the field.  Nobody frees the other's objects: the data thread marks
 * a connection dead, the control thread closes it; the control thread queues
 * LINK_DOWN, the data thread frees the pair.
 */
#ifndef MOE_LINK_PORT_H
#define MOE_LINK_PORT_H

#include <pthread.h>
#include <stdatomic.h>

#include "addr.h"
#include "frame.h"
#include "link.h"
#include "link_tp.h"
#include "mem.h"
#include "msg.h"
#include "str.h"
#include "tls.h"

#define LINK_WHY	256

/* ---- an event on its way to the data thread ---------------------------------- */

struct link_wire;

struct link_note {
	struct link_note *next;
	enum link_ev what;
	struct link_pair *pair;
	struct link_ring *ring;		/* LINK_UP; owned until taken */
	struct link_hello peer;		/* LINK_UP */
	int type;			/* LINK_MSG */
	struct str data;		/* LINK_MSG; owned */
	bool refused;			/* LINK_DOWN */
	char reason[LINK_WHY];		/* LINK_DOWN */
};

/* ---- pairs ---------------------------------------------------------------------- */

enum link_dial_state {
	LINK_D_WAIT,		/* dial at redial_ns */
	LINK_D_BUSY,		/* conn is set: connecting, or up */
	LINK_D_TOLD,		/* LINK_DOWN is queued; go on once it was taken */
};

struct link_pair {
	struct link_port *port;
	struct link_pair *next;		/* lock: all pairs of the port */
	struct addr addr;		/* constant */
	char text[LINK_ADDR];		/* constant */
	bool accepted;			/* constant */
	struct link_fault *fault;	/* constant; NULL: none */

	/* data thread */
	void *user;
	bool up, broken;
	struct link_ring *ring;		/* NULL: down, or control only */
	struct link_hello peer;
	uint64_t n_up;

	/* lock */
	struct link_conn *conn;		/* NULL unless D_BUSY */
	enum link_dial_state dial;
	uint64_t redial_ns, backoff_ns;
	int n_quick;			/* tries since it was up */
	char why[LINK_WHY];		/* the last end */
	char refusal[LINK_WHY];		/* the last refusal told to the program */
	size_t unread_bytes;		/* of messages not taken by link_next */

	_Atomic uint64_t heard_ns;
};

/* ---- what the control thread's epoll points at ------------------------------------- */

enum link_src { LINK_SRC_LISTEN = 1, LINK_SRC_CONN };

struct link_listener {
	enum link_src src;		/* first */
	struct link_listener *next;
	const struct link_tp *tp;
	struct addr addr;
	char text[LINK_ADDR];
	int fd;				/* lock; -1: no longer listening */
};

enum link_conn_state {
	LINK_C_CONNECT = 1,	/* client: connect(2) under way */
	LINK_C_HELLO,		/* server: HELLO or DATA must come */
	LINK_C_PROOF,		/* server: PROOF must come */
	LINK_C_WELCOME,		/* client: WELCOME or REFUSE must come */
	LINK_C_READY,		/* READY must come */
	LINK_C_SECOND,		/* server: the data connection must come */
	LINK_C_UP,
	LINK_C_FLUSH,		/* what is queued goes out, then it closes */
	LINK_C_DATA,		/* client: data connection, connecting */
	LINK_C_MARK,		/* client: data connection, DATA goes out */
};

struct link_conn {		/* a control connection; or, for a moment, a
				 * data connection until its ring has it */
	enum link_src src;		/* first */
	struct link_conn *next;
	struct link_port *port;
	struct link_pair *pair;		/* dialled: always; accepted: once up */
	struct link_conn *parent;	/* C_DATA, C_MARK: its control
					 * connection */
	const struct link_tp *tp;
	char text[LINK_ADDR];
	enum link_conn_state state;
	int fd;
	bool dialled, dead;
	bool was_up, refused, say_bye;
	char why[LINK_WHY];
	uint64_t limit_ns;		/* until up: give up then */
	uint64_t cut_ns;		/* a fault ends it then */
	uint64_t heard_ns, beat_ns;	/* last arrival; next heartbeat due */
	uint64_t interval_ns;		/* as agreed */

	/* receiving one frame at a time */
	uint8_t head[FRAME_HEAD];
	size_t have;			/* of head, then of body */
	bool in_body;
	struct frame f;
	uint8_t *body;

	/* sending */
	struct str out;
	size_t out_at;
	bool want_out;
	int fds[LINK_FDS];		/* server: go with the first byte of
					 * out; client: came with WELCOME */
	int n_fd;

	struct msg_hello peer;
	struct link_ring *ring;		/* until LINK_UP */
	uint8_t token[MSG_TOKEN];

	struct tls *tls;		/* NULL: in the clear; owned */
	bool sniffed;			/* server: TLS or not is known */
	bool more;			/* tls holds bytes that epoll will not
					 * tell of */
	struct str hello;		/* HELLO's body, for the proofs */
	uint8_t nonce[MSG_PROOF];	/* the server's */
};

/* ---- ports ------------------------------------------------------------------------- */

struct link_port {
	struct link_opt opt;		/* constant, defaults filled in */
	struct tls_ctx *tls;		/* NULL: never TLS */

	/* data thread */
	VEC(struct link_pair *) live;	/* pairs with rings */
	size_t turn;			/* whose turn in live */
	int n_sock;			/* of them on sockets */
	unsigned n_polled;		/* slots taken since the last sweep */
	struct link_note *last;		/* its message is with the program */
	struct link_ring *old_ring;	/* closed by the next link_next */
	struct link_pair *old_pair;	/* freed likewise */
	int ep, wake_fd;
	int spin_cores;
	struct link_counters count;	/* req, ans, bytes, stale, sleeps */
	struct link_wire *wire;		/* emulated; NULL: none */

	_Atomic int n_note;		/* queued */
	_Atomic int woken, asleep;

	pthread_mutex_t lock;
	/* lock */
	struct link_note *first_note, **last_note;
	struct link_pair *pairs;
	struct link_conn *conns;
	struct link_listener *listeners;
	int n_conn;
	uint16_t epoch;			/* the last one minted */
	bool closing;
	struct link_counters ctl_count;	/* bad, refused, up, down */

	/* control thread */
	pthread_t thread;
	int ctl_ep, ctl_fd;
};

/* link.c: lock held.  Queue a note and wake the data thread. */
void	link_note_put(struct link_port *p, struct link_note *n);
struct link_note *link_note_new(enum link_ev what, struct link_pair *pair);
void	link_note_free(struct link_note *n);

/* link.c: data thread.  err says what the transport or a slot did wrong:
 * ERR_DATA is the peer's fault and is counted. */
void	link_pair_bad(struct link_pair *pair, const struct err *err);

/* link_ring.c: data thread.  The next slot that has arrived on any pair. */
bool	link_ring_next(struct link_port *p, struct link_event *ev);

/* link_wait.c: data thread.  Up to so many sockets are looked at one by one;
 * for more of them, ask epoll which have something (ring->ready), without
 * waiting.  true: some have. */
#define LINK_FEW_SOCKETS	4
bool	link_wait_sweep(struct link_port *p);

/* link_ctl.c */
int	link_ctl_start(struct link_port *p, struct err *err);
void	link_ctl_stop(struct link_port *p);	/* joins; closes everything */
void	link_ctl_poke(struct link_port *p);	/* any thread */

/* link_conn.c: control thread, lock held, unless said otherwise. */
struct link_conn *link_conn_new(struct link_port *p, const struct link_tp *tp,
	    int fd, enum link_conn_state state, const char *text);
void	link_conn_event(struct link_conn *c, uint32_t events);
/* Also by the data thread: close it at the next turn.  bad: the peer broke
 * the protocol. */
void	link_conn_fail(struct link_conn *c, bool bad, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));
void	link_conn_send(struct link_conn *c, int type, uint32_t flags,
	    const void *body, size_t n, uint32_t raw_length);
void	link_conn_flush(struct link_conn *c);
void	link_conn_free(struct link_conn *c);

/* link_shake.c: one whole frame has arrived on a connection that is not up;
 * connect(2) has succeeded; something may go out on a data connection. */
void	link_shake_frame(struct link_conn *c);
void	link_shake_connected(struct link_conn *c);
void	link_shake_mark(struct link_conn *d);
/* link_shake.c: the server does not want c: say so, then close. */
void	link_shake_refuse(struct link_conn *c, const char *text);

/* link_prove.c: what both sides of a pair show each other of their key, and
 * where TLS is due.  Control thread, lock held. */
/* The dialled connection c has been made: begin TLS if the port wants it. */
void	link_prove_dialled(struct link_conn *c);
/* The first byte of an accepted connection is there: is it TLS? */
void	link_prove_sniff(struct link_conn *c);
/* Server, HELLO is in c->hello and c->peer: false when it was refused, or has
 * been challenged and PROOF must come first. */
bool	link_prove_asked(struct link_conn *c);
/* Client: the answer to CHALLENGE. */
void	link_prove_answer(struct link_conn *c);
/* Server: is the body the right PROOF?  false: it was refused. */
bool	link_prove_check(struct link_conn *c);
/* Server: the proof at the end of a WELCOME. */
void	link_prove_welcome(const struct link_conn *c, struct str *body);
/* Client: is that of the WELCOME in c->body right?  -1 with the text. */
int	link_prove_server(const struct link_conn *c, struct err *err);
/* Client: DATA of the connection c: token and proof, into out; its length. */
size_t	link_prove_data(const struct link_conn *c, const uint8_t *token,
	    uint8_t out[MSG_TOKEN + MSG_PROOF]);

/* link_hello.c */
/* 0, or -1 with both values in the text. */
int	link_hello_match(const struct link_hello *me,
	    const struct link_hello *peer, struct err *err);
void	link_hello_to_msg(const struct link_hello *h, struct msg_hello *m);
void	link_hello_from_msg(const struct msg_hello *m, struct link_hello *h);

#endif
