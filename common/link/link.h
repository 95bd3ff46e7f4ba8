/*
 * link - pairs of (front end, expert server) and what travels between them.
 *
 * A *port* belongs to one data thread and holds all its pairs.  A *pair* is
 * made, fails and is rebuilt alone.  It consists of a control connection
 * (Unix socket for shm:, TCP for tcp:) and, if it carries rows, a ring of
 * request slots in the server's memory and a ring of answer slots in the
 * client's memory, of `depth` slots each (slot.h).  The answer to the request
 * in slot i comes in slot i and frees both; answers come in any order.
 *
 * Threads: a port runs one control thread of its own (accept, dial, HELLO,
 * heartbeats); everything below is called by the data thread unless it says
 * "any thread".  Nothing here blocks but link_wait.
 *
 * What a peer sends is hostile: whatever breaks the protocol closes that pair,
 * raises link_counters.bad, and nothing else.
 */
#ifndef MOE_LINK_H
#define MOE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "link_sec.h"
#include "slot.h"

#define LINK_NAME	48
#define LINK_VARIANT	48
#define LINK_DEPTH_MAX	64	/* slots of a ring at most */
#define LINK_SLOT_MAX	(64u << 20)	/* bytes of a slot at most */

enum link_role { LINK_EXPERT = 1, LINK_FRONT = 2, LINK_ROUTE = 3, LINK_TOOL = 4 };

/* What each side says of itself in HELLO.  A mismatch of version, fingerprint,
 * shape, dtypes or (unless both allow mixed) variant is refused with both
 * values in the text; zero/empty fields of a tool or router are not compared. */
struct link_hello {
	enum link_role role;
	char name[LINK_NAME];	/* unique in the cluster */
	uint64_t incarnation;	/* random per process start */
	uint64_t fingerprint;	/* of the model */
	char variant[LINK_VARIANT];	/* kern_variant() */
	uint8_t act;		/* enum kern_dtype of rows */
	uint8_t weights;	/* of packed matrices; 0: the same as act */
	bool mixed;		/* other variants are welcome */
	uint32_t hidden, n_layer, n_expert, top_k;
};

/* The network card of an emulated device, that all of a port's slots arrive
 * through, one after the other; zeros: none. */
struct link_wire_opt {
	uint64_t latency_ns;	/* of every slot, beside its bytes' time */
	double byte_ns;		/* of a byte of a slot */
};

struct link_opt {
	struct link_hello me;
	/* As a client: ask for this ring.  As a server: the most it grants.
	 * depth 0: control only. */
	uint32_t slot_bytes, depth;	/* a multiple of SLOT_ALIGN; 1..64 */
	uint32_t max_pair;	/* server: more are refused; 0 = 1024 */
	uint64_t heartbeat_ns;	/* interval; 0 = 250 ms; silence of 5 = death */
	uint64_t hello_ns;	/* limit on connecting + HELLO; 0 = 5 s */
	int spin_cores;		/* cores that may be spun on; 0 = find out */
	bool crc;		/* client: SLOT_CRC_BODY over every transport,
				 * else over tcp: and fault: only; a server's
				 * answer has it when its request had */
	struct link_sec sec;	/* copied, wiped by link_port_close */
	struct link_wire_opt wire;
};

struct link_port;
struct link_pair;

int	link_port_open(struct link_port **out, const struct link_opt *opt,
	    struct err *err);
/* Closes every pair; peers see EOF at once. */
void	link_port_close(struct link_port *p);

/* Accept on addr: "shm:/path/to.sock" or "tcp:host:port" (port 0: any).
 * fault:SPEC:ADDR listens on ADDR: faults are the dialling side's.
 * An address that other machines reach needs a key in opt.sec, or insecure
 * (ERR_USAGE).
 * Unlinks a stale socket of a dead server, never that of a live one
 * (ERR_TEMP).  *bound (LINK_ADDR bytes) gets the address with the true port.
 * May be called several times. */
#define LINK_ADDR	200
int	link_listen(struct link_port *p, const char *addr, char *bound,
	    struct err *err);
/* Stop accepting; existing pairs go on. */
void	link_unlisten(struct link_port *p);

/*
 * Keep a pair to addr: dials now, and again whenever it is down (every 5 ms for
 * a second, then with back-off to 500 ms; 2 s after a refusal), until
 * link_undial.  The
 * link_pair stays valid (and its user pointer) until link_undial, whatever
 * happens to the connection; LINK_UP and LINK_DOWN tell its state.  A refusal
 * is a LINK_DOWN without a LINK_UP, once for each new reason.  A host name
 * is looked up here, once, and may take as long as the resolver does; numeric
 * addresses take no time.  An address on another machine needs a key, or
 * insecure, as above.
 */
struct link_pair *link_dial(struct link_port *p, const char *addr, void *user,
	    struct err *err);
void	link_undial(struct link_pair *pair);

/* ---- events ------------------------------------------------------------ */

enum link_ev {
	LINK_NONE = 0,
	LINK_UP,		/* HELLO done; accepted or dialled */
	LINK_DOWN,		/* all in-flight slots of the pair are gone; an
				 * accepted pair is freed when its LINK_DOWN has
				 * been returned and link_next is called again */
	LINK_REQ,		/* server: a request is in ev.slot */
	LINK_ANS,		/* client: an answer is in ev.slot */
	LINK_MSG,		/* a control message for the program */
};

/* ev.mem and everything else of a pair's rings stays readable until the next
 * link_next after its LINK_DOWN. */
struct link_event {
	enum link_ev what;
	struct link_pair *pair;
	/* LINK_REQ, LINK_ANS */
	int slot;		/* 0 .. depth-1 */
	struct slot_head head;	/* decoded and checked against the geometry */
	const void *mem;	/* the slot itself; slot_route_get(mem, i),
				 * rows at mem + slot_rows_at(n_route) */
	void *user;		/* LINK_ANS: given to link_send */
	/* LINK_MSG: valid until the next link_next */
	int type;		/* enum link_msg */
	const void *data;
	size_t n;
	/* LINK_DOWN */
	bool refused;		/* by HELLO; reason has both values */
	char reason[256];
};

/* Next thing that happened; false when there is nothing.  Never blocks. */
bool	link_next(struct link_port *p, struct link_event *ev);

/* fd (borrowed) wakes link_wait when it is readable, until it is closed or
 * link_unwatch. */
int	link_watch(struct link_port *p, int fd, struct err *err);
void	link_unwatch(struct link_port *p, int fd);

/*
 * Until something may have happened, link_wake, or deadline_ns (clock_ns()
 * time; 0: now, UINT64_MAX: never): spins a little while cores are free,
 * yields, then sleeps in epoll.  also_fd-s given to link_watch wake it, too.
 */
void	link_wait(struct link_port *p, uint64_t deadline_ns);
void	link_wake(struct link_port *p);		/* any thread, signal-safe */

/* ---- pairs ------------------------------------------------------------- */

bool	link_is_up(const struct link_pair *pair);
void	*link_user(const struct link_pair *pair);
void	link_set_user(struct link_pair *pair, void *user);
const struct link_hello *link_peer(const struct link_pair *pair);	/* once up */
const char *link_addr(const struct link_pair *pair);	/* for messages */
uint32_t link_depth(const struct link_pair *pair);	/* as granted */
uint32_t link_slot_bytes(const struct link_pair *pair);
uint64_t link_epoch(const struct link_pair *pair);	/* changes with every UP */
uint64_t link_heard_ns(const struct link_pair *pair);	/* last sign of life */
/* Why the last attempt or connection of this pair ended; "" if it never did. */
void	link_why(struct link_pair *pair, char out[256]);

/* Close the connection now (deadline missed, bad bytes): LINK_DOWN follows; a
 * dialled pair dials again with a new epoch and new memory, so nothing late
 * can land in a slot of the new incarnation. */
void	link_break(struct link_pair *pair, const char *why);

/* ---- client: requests ---------------------------------------------------- */

/* A free request slot (index), or -1 when depth are in flight or the pair is
 * down.  *mem: write routes (slot_route_put) and rows there. */
int	link_reserve(struct link_pair *pair, void **mem);
/* Fill head's epoch, seq, bytes, kind = SLOT_REQUEST (or keep SLOT_PING), and
 * commit.  The counts must fit the slot.  user comes back in LINK_ANS; nothing
 * happens when the pair has gone down. */
void	link_send(struct link_pair *pair, int slot, struct slot_head *head,
	    void *user);
/* Done with a LINK_ANS's memory: the slot is free again. */
void	link_release(struct link_pair *pair, int slot);
/* Give back a reserved slot unused. */
void	link_unreserve(struct link_pair *pair, int slot);

/* ---- server: answers ------------------------------------------------------ */

/* Where the answer's rows go (at least slot_bytes - 128 of room), 16-byte
 * aligned: rows may be written there while computing. */
void	*link_answer_rows(struct link_pair *pair, int slot);
/* Push the answer to the request in `slot`: head->status, n_row, row_bytes,
 * dtype_out, req_id (that of the request, else the client closes the pair) are
 * the caller's; kind, epoch, seq, n_route, bytes are filled in.  Ignored when
 * the pair has gone down. */
void	link_answer(struct link_pair *pair, int slot, struct slot_head *head);

/* ---- control messages ------------------------------------------------------ */

enum link_msg {			/* explicit numbers; 1..31 are link's own */
	LINK_MSG_MAP = 32,	/* router -> front ends, and back when asked: a map
				 * as TSV text (moe-stream(5)) */
	LINK_MSG_REPORT = 33,	/* daemon -> router: state as JSON */
	LINK_MSG_DRAIN = 34,	/* server -> clients: send no more; or order */
	LINK_MSG_HOLD = 35,	/* expert server -> clients, router: what is resident */
	LINK_MSG_ASK = 36,	/* tool -> router -> daemon: a request as JSON */
	LINK_MSG_REPLY = 37,	/* the way back */
	LINK_MSG_WANT = 38,	/* router -> expert server: what is to be resident */
	LINK_MSG_PAGES = 40,	/* front end -> front end: copies of KV pages;
				 * never packed */
	LINK_MSG_PAGES_ACK = 41,	/* the way back */
};
#define LINK_MSG_MAX	(16u << 20)
/* A peer with more bytes of messages that wait for link_next breaks the
 * protocol. */
#define LINK_UNREAD_MAX	(64u << 20)

/* Queue a control message (copied).  -1 when the pair is down or n is too
 * large.  Any thread. */
int	link_msg(struct link_pair *pair, int type, const void *data, size_t n);

struct link_counters {
	uint64_t bad;		/* pairs closed for breaking the protocol */
	uint64_t refused;	/* HELLOs that did not match */
	uint64_t up, down;
	uint64_t req, ans, bytes_in, bytes_out;
	uint64_t stale;		/* commit words of an old epoch seen */
	uint64_t sleeps;	/* times link_wait went to sleep */
	/* Of link_opt.wire: what came through, how long the card was busy with
	 * it, and how long slots waited behind others. */
	uint64_t wire_slots, wire_bytes, wire_busy_ns;
	uint64_t wire_behind_ns, wire_behind_max_ns;
};
void	link_counters(struct link_port *p, struct link_counters *out);
#define LINK_SAY	256
/* What an emulated card had to do; NULL: nothing, or there is none. */
const char *link_wire_say(const struct link_counters *c, char out[LINK_SAY]);

/* What a dialled fault: pair has suffered so far, over all its connections;
 * zeros for any other pair. */
struct link_faults {
	uint64_t slots[2];	/* that went out (requests), came in (answers) */
	uint64_t delayed, dropped, corrupted, reordered, duplicated;
	uint64_t silenced;	/* slots lost to half-open */
	uint64_t cut;		/* connections cut after N slots */
};
void	link_faults(const struct link_pair *pair, struct link_faults *out);

/* 0 when this build and machine can do addr's transport; -1: ERR_UNAVAIL (not
 * in this build) or ERR_USAGE (not an address). */
int	link_addr_check(const char *addr, struct err *err);

#endif
