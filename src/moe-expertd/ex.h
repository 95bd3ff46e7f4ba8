/*
 * ex - what the files of moe-expertd share.
 *
 * Two threads of our own.  The main thread parses options, opens everything
 * and then runs the loop of the daemon's life (signals, readiness, the bound on
 * draining).  The engine thread (ex_engine.c) has all the rest to itself: the
 * port with its pairs, the engine, residency.  They talk through `order`
 * (main -> engine, with link_wake) and `news` (engine -> main, with a bell).
 */
#ifndef MOE_EX_H
#define MOE_EX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "hold.h"
#include "keep.h"
#include "kern.h"
#include "link.h"
#include "loop.h"
#include "model.h"
#include "resid.h"
#include "xeng.h"

struct ex_client;
struct ex_place;

struct ex_opt {
	const char *model, *cluster, *listen, *name, *experts, *isa, *device;
	const char *keep, *cache;
	struct link_sec_opt sec;
	int dtype, weights, policy;	/* of CLI_ENUM */
	int64_t threads, batch, block, lookahead, ready_fd, scale;
	uint64_t memory, hold_ns, urgent_ns, drain_ns, idle_ns;
	double decay;
	bool mixed, dry_run, quiet, no_sandbox;
	int verbose;
};

enum ex_order {			/* bits of ex.order */
	EX_STOP = 1 << 0,	/* leave now */
	EX_DRAIN = 1 << 1,
	EX_RELOAD = 1 << 2,
	EX_DUMP = 1 << 3,
};

enum ex_news {			/* bits of ex.news */
	EX_READY = 1 << 0,
	EX_DRAINED = 1 << 1,
	EX_FAILED = 1 << 2,	/* ex.fail says how */
};

enum ex_state { EX_LOADING, EX_SERVING, EX_DRAINING };

struct ex {
	struct ex_opt opt;
	struct model *model;
	const struct model_cfg *cfg;
	struct kern *kern;
	struct keep *keep;	/* NULL: no files of packed weights */
	struct resid *resid;
	struct xeng *xeng;
	struct link_port *port;
	struct link_wire_opt wire;	/* of an emulated device */
	struct ex_place *place;	/* what the cluster file says; NULL without */
	char bound[LINK_ADDR];
	uint64_t start_ns;

	/* between the threads */
	atomic_uint order, news;
	struct loop_bell *bell;
	struct err fail;	/* before EX_FAILED is set */

	/* the engine thread's */
	enum ex_state state;
	struct ex_client *clients;
	size_t row_bytes;
	uint64_t n_bad;		/* requests that broke the contract */
	uint64_t draining_ns;	/* when draining began */
	uint64_t heard_ns;	/* last request or answer of anybody */
	struct hold hold;
	uint64_t hold_seen;	/* resid_version that hold matches */
	uint64_t hold_next_ns;	/* not sent again before it */
	uint64_t show_next_ns;	/* progress on a terminal */
	uint64_t park_next_ns;	/* next look for blocks that idle */
	struct link_pair *router;	/* control only; NULL: none named */
	uint64_t report_next_ns;
	uint64_t report_busy_ns, report_at_ns;	/* of the last report */
};

#define EX_NEVER	UINT64_MAX

/* ex_engine.c: the engine thread; arg is the struct ex. */
void	*ex_engine_run(void *arg);
/* Tell the main thread. */
void	ex_engine_say(struct ex *ex, enum ex_news news);

#endif
