/*
 * plan - which expert goes to which server.
 *
 * plan_even: R copies of every expert on distinct servers, any number of
 * servers, no divisibility rule.  Within a layer the servers' loads differ by
 * at most one expert, and over all layers by at most one; copies are paired so
 * that the experts of a dead server have their other copies spread over the
 * rest.  A function of its arguments alone: every member of a cluster computes
 * the same plan from the same cluster file.
 *
 * With weights, a server's experts are in proportion to its weight, as far as it
 * can hold an expert only once; shares make up for the rest.
 */
#ifndef MOE_PLAN_H
#define MOE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"
#include "err.h"
#include "map.h"

struct plan_opt {
	uint32_t version;
	int n_layer;
	const bool *moe;	/* [n_layer]; NULL: all layers have experts */
	int n_expert;
	int replicas;		/* more than servers: one on each */
	int n_server;
	const char *const *name, *const *addr;	/* [n_server] */
	const double *weight;	/* [n_server], above 0; NULL: all the same */
};

/* -1: ERR_USAGE (no server, no layer, no expert, no copy). */
int	plan_even(const struct plan_opt *o, struct map **out, struct err *err);

/* Version 1 of a cluster's map: plan_even over the file's expert servers. */
int	plan_cluster(const struct cluster *c, int n_layer, const bool *moe,
	    int n_expert, struct map **out, struct err *err);

#endif
