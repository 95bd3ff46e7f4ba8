/* rt_load - how even a list of loads is; routing counts as CSV. */
#ifndef MOE_RT_LOAD_H
#define MOE_RT_LOAD_H

#include <stddef.h>

#include "err.h"
#include "map.h"

struct rt_load {
	double total, mean, max;
	double ratio, gini, cv;	/* NAN when total is 0 */
};

/* Sorts v. */
void	rt_load(double *v, size_t n, struct rt_load *out);
/* load[server] += an expert's count, split over its copies by their shares. */
void	rt_load_servers(const struct map *m, int layer, const double *count,
	    double *load);

#define RT_COUNTS_MAX	65535

struct rt_counts {		/* one line of routing counts */
	const char *domain;	/* within the line */
	int layer, line;
	double *v;		/* [n] */
	size_t n, cap;
};

/* The first line must be "domain,layer,e0,..."; -1: ERR_DATA. */
int	rt_counts_head(const char *text, struct err *err);
/* Takes the line apart, in place.  -1: ERR_DATA. */
int	rt_counts_line(struct rt_counts *c, char *text, struct err *err);
void	rt_counts_free(struct rt_counts *c);

#endif
