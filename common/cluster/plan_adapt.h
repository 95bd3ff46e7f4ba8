/*
 * plan_adapt - from one map to the next with few copies moved.
 *
 * Servers come, go and get other weights; what a server that stays has, it
 * keeps, as far as balance allows.  Copies that are missing are put on the
 * servers with the least load for their weight; a server that comes is filled
 * from the fullest ones until moving more to it would not make a layer more
 * even.  A function of its arguments alone.
 */
#ifndef MOE_PLAN_ADAPT_H
#define MOE_PLAN_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "map.h"

struct plan_server {
	const char *name, *addr;
	double weight;		/* above 0 */
	int64_t room;		/* copies it can load beside what `from` gives
				 * it; < 0: any number */
};

struct plan_change {
	uint32_t version;	/* of the new map */
	const struct map *from;
	const struct plan_server *server;	/* who is to be in it, numbered
						 * so in the new map */
	int n_server;
	int replicas;		/* at least so many copies of each expert, and
				 * as many as `from` has; more than servers:
				 * one on each */
	bool level;		/* exactly `replicas` copies, and even out the
				 * servers that stay, too */
};

struct plan_cost {
	int64_t loads;		/* copies that are new on their server */
	int64_t missing;	/* copies fewer than wanted, for want of room */
};

/* -1: ERR_TEMP when an expert would be on no server (the text names it), or
 * ERR_USAGE (no server).  A copy by name and address is kept; the room of a
 * server counts loads only, because it lets nothing go before the new map is in
 * use. */
int	plan_adapt(const struct plan_change *c, struct map **out,
	    struct plan_cost *cost, struct err *err);

#endif
