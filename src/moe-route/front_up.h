/*
 * front_up - the front ends behind the door: which of them answer, how much
 * each has to do, and which one a request should go to.
 *
 * Each is asked for its health all the time: often while it is away or holds
 * streams, now and then otherwise.  What requests find out counts at once.  The
 * loop's thread only.
 */
#ifndef MOE_FRONT_UP_H
#define MOE_FRONT_UP_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"
#include "front_call.h"

#define FRONT_MAX_UP	64

enum front_state { FRONT_AWAY, FRONT_SICK, FRONT_WELL };

struct front_pool;

struct front_up {
	struct front_pool *pool;
	int index;
	char *name;
	struct front_addr addr;
	enum front_state state;
	char why[200];		/* not well: the reason */
	int in_flight;		/* requests that it works on */
	struct loop_timer *timer;	/* next probe, or the end of this one */
	struct front_call *probe;
	uint64_t probe_ns;	/* when it began */
	int probe_status;
	struct str probe_body;
};

struct front_pool_opt {
	struct loop *loop;
	uint64_t well_ns, away_ns;	/* between probes */
	uint64_t hang_ns;		/* a probe may take this long */
	int spread;		/* requests that the preferred one may have more
				 * than the least loaded */
	void (*well)(void *arg);	/* one of them is well again */
	/* It did not answer a probe in time; comes again with each probe. */
	void (*hung)(void *arg, struct front_up *u);
	void *arg;
};

struct front_pool {
	struct front_pool_opt o;
	struct front_up up[FRONT_MAX_UP];
	int n;
};

void	front_up_init(struct front_pool *p, const struct front_pool_opt *o);
/* -1: ERR_USAGE, too many or no such address.  A second one of the same
 * address is left out. */
int	front_up_add(struct front_pool *p, const char *name,
	    const char *addr, struct err *err);
void	front_up_start(struct front_pool *p);
void	front_up_stop(struct front_pool *p);

int	front_up_n_well(const struct front_pool *p);
/* The one for a request whose prompt begins with what hashes to hash, out of
 * those that are well and not in the set skip (bit i: up[i]); NULL: none. */
struct front_up *front_up_pick(struct front_pool *p, uint64_t hash,
	    uint64_t skip);
/* A request to u failed in a way that says that u is gone: look at once. */
void	front_up_failed(struct front_up *u, const char *why);

#endif
