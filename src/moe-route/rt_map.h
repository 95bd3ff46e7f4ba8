/* rt_map - maps of a router: made from the cluster file, kept in a snapshot,
 * changed by an operator. */
#ifndef MOE_RT_MAP_H
#define MOE_RT_MAP_H

#include <stdint.h>

#include "cluster.h"
#include "err.h"
#include "map.h"

/* The even plan of a cluster for the model in dir (its config.json only). */
int	rt_map_plan(const struct cluster *c, const char *dir, struct map **out,
	    struct err *err);
/* A snapshot; *out is NULL when the file is not there. */
int	rt_map_load(struct map **out, const char *path, struct err *err);
/* Write the snapshot, by rename(2).  -1: ERR_TEMP. */
int	rt_map_save(const struct map *m, const char *path, struct err *err);

struct rt_map_move {
	const char *spec;	/* as of --experts; those that `from` has */
	const char *from, *to, *to_addr;
	int64_t moved, there;	/* result: moved; left, for `to` has them */
};

/* m with the experts of the list moved.  -1: ERR_USAGE (the list), ERR_DATA
 * (nothing to move). */
int	rt_map_move(const struct map *m, struct rt_map_move *o,
	    struct map **out, struct err *err);

#endif
