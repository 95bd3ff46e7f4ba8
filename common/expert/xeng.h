/*
 * xeng - the engine of an expert server, and of a front end that runs its
 * experts itself (--local).
 *
 * Floor: above common/model and kernels.  A *job* is what one client wants of
 * one layer: rows, and routes that say which expert each row goes through.
 * The receptor (xeng_submit) hangs every route into the micro-queue of its
 * (layer, expert); the policy picks what runs next (policy.h); the executor
 * runs the rows of a pick through their experts in one grouped pass, reading
 * rows and writing answers where they lie; a job whose last route is in is
 * handed back by its done function.  A route's answer depends on its row and
 * its expert only, so nothing here can change a result, only when it comes.
 *
 * Threads: one engine thread calls everything here; nothing blocks.  Cost of
 * a pick: proportional to the rows it runs and the layers that have any, not
 * to how many experts there are; nothing is allocated per route once a job's
 * route array has grown.
 */
#ifndef MOE_XENG_H
#define MOE_XENG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hist.h"
#include "kern.h"
#include "policy.h"
#include "slot.h"

struct xeng;
struct xeng_job;
struct resid;

struct xeng_route {
	struct slot_route r;	/* filled by the caller before xeng_submit */
	struct xeng_route *next;	/* this and below: the engine's */
	struct xeng_job *job;
};

/* status: SLOT_OK (every answer row is written), SLOT_EXPIRED or SLOT_COLD (an
 * expert could not be loaded).  The job is the caller's again; it may be
 * submitted anew from within. */
typedef void (xeng_done_fn)(struct xeng_job *job, enum slot_status status);

/* Zero it once (or xeng_job_free, later); reuse it as often as you like. */
struct xeng_job {
	/* The caller's, constant while the job is queued. */
	int layer;
	uint32_t n_row, n_route;	/* 1 or more each */
	const void *in;		/* row i at in + i * in_stride, `act` values; a
				 * peer may change them meanwhile */
	size_t in_stride;	/* bytes */
	void *out;		/* answer of route j at out + j * out_stride */
	size_t out_stride;
	bool weight_in;		/* routes' weights multiply the input (R7) */
	int client;		/* of xeng_client_up */
	uint64_t submit_ns;	/* when it arrived: orders fifo, starts holds */
	uint64_t deadline_ns;	/* not computed after it; 0: none */
	xeng_done_fn *done;
	void *user;

	/* The engine's; read only. */
	struct xeng_route *route;
	size_t cap_route;
	uint32_t left;
	enum slot_status status;
	struct xeng_job *next;
};

struct xeng_opt {
	struct kern *kn;
	struct resid *resid;	/* whose experts; its owner calls resid_poll */
	int hidden, inter;
	enum kern_glu glu;
	const struct policy *policy;	/* policy_find(); NULL: fifo */
	/* wait, defrag: */
	uint64_t hold_ns;	/* longest that a row waits for company */
	uint32_t batch_rows;	/* so many rows are enough; 0: no limit */
	/* mtfs, flfs, defrag: */
	uint64_t urgent_ns;	/* who has waited for it goes first */
	uint32_t lookahead;	/* defrag: K */
	double decay;		/* defrag: delta */
	uint32_t pass_rows;	/* most rows of one pass; 0 = 4096 */
	uint32_t cold_rows;	/* most routes that may wait for experts being
				 * loaded; jobs beyond it are SLOT_COLD */
};

struct xeng *xeng_open(const struct xeng_opt *opt);
/* Jobs still queued are forgotten (as by xeng_client_down).  Neither the kern
 * nor the resid is closed. */
void	xeng_close(struct xeng *x);

/* A client has come: the number to put into its jobs (small, reused).  The
 * wait policy waits for every client that has lately been heard of. */
int	xeng_client_up(struct xeng *x);
/* It has gone: its queued jobs are forgotten (done is not called, they are the
 * caller's again) and nobody waits for it.  Not from within a done function. */
void	xeng_client_down(struct xeng *x, int client);

/* Room for n routes in the job: fill [0..n).r, each from one read of the
 * source.  Kept for the next use of the job. */
struct xeng_route *xeng_job_routes(struct xeng_job *job, uint32_t n);
/* Give back the job's route array (not the job); it must not be queued. */
void	xeng_job_free(struct xeng_job *job);

/*
 * Queue a job whose routes are filled in.  SLOT_OK: it is queued, and done will
 * be called by a later xeng_step.  Anything else: not queued, done is not
 * called, and xeng_why has a sentence: SLOT_BAD (layer, row or expert out of
 * range, no rows, no routes, more than 65536 rows), SLOT_NOT_HERE (an expert
 * that is not assigned to this server), SLOT_COLD (cold_rows would be exceeded,
 * or nobody is loading the expert, which is not one of resid_want's).
 */
enum slot_status xeng_submit(struct xeng *x, struct xeng_job *job);
const char *xeng_why(const struct xeng *x);

/*
 * Do one pick, if there is one to do now: true when something was done (call
 * again).  false: nothing to do before *next_ns (UINT64_MAX: until something is
 * submitted or resid_poll has taken something over).  now_ns is on the clock of
 * submit_ns and deadline_ns, which is the caller's.
 */
bool	xeng_step(struct xeng *x, uint64_t now_ns, uint64_t *next_ns);

/* Unload the blocks that have had no rows for idle_ns (resid_park): a job that
 * needs one of them later waits while it loads again.  Experts unloaded. */
uint32_t xeng_park(struct xeng *x, uint64_t now_ns, uint64_t idle_ns);

/* What runs next from now on, whatever is queued; between any two calls, also
 * from within a done function. */
void	xeng_set_policy(struct xeng *x, const struct policy *policy);
const struct policy *xeng_policy(const struct xeng *x);
/* What the auto policy has measured since it was set; zeros under others. */
const struct policy_auto *xeng_auto(const struct xeng *x);

struct xeng_picks {		/* passes under one policy */
	uint64_t picks, rows;
	uint64_t urgent;	/* picks made because of urgent_ns */
	struct hist rows_per_pick;
};

struct xeng_stats {
	uint64_t jobs, rows;	/* done; rows counts routes */
	uint64_t picks;
	uint64_t busy_ns;	/* in kern_ffn, by clock_ns() */
	uint64_t bad, not_here, cold, expired;	/* jobs refused or given up */
	uint64_t queued_jobs;	/* now */
	uint64_t queued_rows;	/* now, runnable; the rest waits for loading */
	uint64_t cold_rows;	/* now, waiting for loading */
	struct xeng_picks by_policy[POLICY_N];	/* as policy_at */
};
/* Valid until the engine is closed; the engine thread may read it. */
const struct xeng_stats *xeng_stats(const struct xeng *x);
/* Routes queued now for a layer. */
uint32_t xeng_layer_rows(const struct xeng *x, int layer);

#endif
