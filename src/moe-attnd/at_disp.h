/*
 * at_disp - dispatch: token rows to the experts that the gate chose, answers
 * back, whatever happens to the servers.
 *
 * A *flight* is one layer's rows of one group.  Its routes are spread over the
 * servers that hold the experts; an expert's rows of a flight stay together, so
 * its weights are read once.  Calls that fail (link down, deadline, BUSY,
 * DRAINING, ...) go to a replica under the same req_id.  With hedging a call that
 * is late is sent to a replica as well, and the first answer wins.  Every route
 * is counted once: its first answer marks it done, and a call of before (the
 * route has been sent anew since, under another req_id) is heard no more.  A
 * part of a sum (reduce) counts for all routes in it or, when one of them has
 * been answered otherwise, for none.
 *
 * Without servers (--local) the flight is a job of an engine in this process.
 *
 * Engine thread only.
 */
#ifndef MOE_AT_DISP_H
#define MOE_AT_DISP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "kern.h"
#include "kern_sum.h"
#include "link.h"
#include "xeng.h"

struct map;
struct at_disp;
struct at_prof;

struct at_disp_opt {
	const struct model_cfg *cfg;
	enum kern_dtype act;
	struct link_port *port;	/* always there: it is what the engine waits on */
	struct map *map;	/* whose servers are dialled (a reference is
				 * taken); NULL: local */
	struct xeng *xeng;	/* local: not NULL */
	uint64_t deadline_ns;	/* a call's time beyond what the server usually takes */
	uint64_t stall_ns;	/* longest wait for any server that has an expert */
	/* The router asks how we are; pairs (the callee's) is how each server
	 * does.  NULL: nobody answers. */
	void (*report)(void *arg, json_t *pairs);
	void *report_arg;
	double hedge;		/* ask a replica, too, after so many times the
				 * usual (99 of 100) round trip; 0: never */
	struct at_prof *prof;	/* or NULL */
	enum kern_sum_rule reduce;	/* NONE: an answer a route; else parts
				 * of sums, see at_flight.ans */
};

int	at_disp_open(struct at_disp **out, const struct at_disp_opt *o,
	    struct err *err);
void	at_disp_close(struct at_disp *d);

/* Ring that a front end asks for: room for ~128 routes a slot. */
void	at_disp_ring(const struct model_cfg *cfg, enum kern_dtype act,
	    uint32_t *slot_bytes, uint32_t *depth);

struct at_route {		/* what is known of a route, for its flight */
	uint64_t req_id;	/* of the flight that sent it last */
	uint8_t n_out;		/* calls that carry it */
	bool done;		/* it is answered or given up */
};

struct at_flight {
	/* set by the group before at_disp_send; constant while left > 0 */
	int layer, n_row;
	const void *xn;		/* [n_row][hidden] act */
	const int32_t *id;	/* [n_row][top_k] */
	const float *w;		/* [n_row][top_k] */

	/* results, [n_row * top_k] and [n_row] */
	const void **ans;	/* answer rows; NULL: given up.  With parts of
				 * sums (kern_sum.h): a part stands at the first
				 * of the routes that are in it, the others are
				 * NULL */
	bool *dead;		/* a row that lost a route; never cleared here */
	int left;		/* routes that are out; 0: complete */

	/*
	 * Rows of a pool (at_flight_lend): all arrays are the pool's, so that
	 * several flights share them, and row[0..n_row) are the rows that this
	 * flight sends.  Each is reported as soon as none of its routes is
	 * out, from within at_disp_poll.
	 */
	const int32_t *row;	/* NULL: 0 .. n_row - 1, nothing is reported */
	int *row_left;		/* [pool] routes of a row that are out */
	void (*row_in)(struct at_flight *f, int row);
	void *user;

	/* internal */
	int cap_row;
	struct at_disp *d;
	int n_pool;		/* rows of the pool */
	bool lent;		/* ans, dead and buf are another flight's */
	char *buf;		/* [n_row * top_k][ans_bytes] */
	char *job_out;		/* local, lent or with parts: where the job
				 * writes */
	struct at_route *rs;	/* [n_row * top_k] */
	uint32_t *homeless;	/* routes that no server has now */
	int n_homeless;
	uint64_t homeless_ns;	/* since when */
	uint64_t req_id;
	struct xeng_job job;
	struct at_flight *next;
};

/* Room for n rows (before id, w, dead are used). */
void	at_flight_room(struct at_flight *f, const struct at_disp *d, int n);
/* f is to send up to n of the rows of pool, which at_flight_room has made and
 * which outlives it.  Again: for another n. */
void	at_flight_lend(struct at_flight *f, const struct at_flight *pool,
	    const struct at_disp *d, int n);
void	at_flight_free(struct at_flight *f);

/* Send the routes of all rows that are not dead. */
void	at_disp_send(struct at_disp *d, struct at_flight *f);

/* Handle what has happened; true when anything did.  Local: one pick. */
bool	at_disp_poll(struct at_disp *d, uint64_t now_ns);
/* Sleep until something happens, at_disp_wake, or until_ns. */
void	at_disp_wait(struct at_disp *d, uint64_t until_ns);

/* Is every expert of every layer on a server that answers?  false: why. */
bool	at_disp_covered(struct at_disp *d, char why[200]);

struct at_disp_stat {
	uint64_t up, down;	/* servers now */
	uint64_t stalled;	/* flights now with rows that no server takes */
	uint64_t calls, replays, deadline_missed, given_up;
	uint64_t hedges, late;	/* sent to a replica, too; answers too late */
	uint64_t bytes_out, bytes_in;	/* bodies of requests, of answers */
};
void	at_disp_stat(const struct at_disp *d, struct at_disp_stat *out);

#endif
