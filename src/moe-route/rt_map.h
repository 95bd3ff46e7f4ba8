/* rt_map - the map that a router is in charge of: made from the cluster file,
 * numbered on from a snapshot, kept as text ready to be sent. */
#ifndef MOE_RT_MAP_H
#define MOE_RT_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"
#include "err.h"
#include "map.h"
#include "str.h"

struct rt_map {
	struct map *map;	/* NULL: there is no model to make one for */
	struct str text;	/* #moe:map/1 */
};

/* The even plan of a cluster for the model in dir (its config.json only). */
int	rt_map_plan(const struct cluster *c, const char *dir, struct map **out,
	    struct err *err);
/* Make it anew from the cluster file.  A placement other than before gets the
 * next version and sets *changed.  dir NULL: the file's model; none: no map.
 * -1: *m as before. */
int	rt_map_make(struct rt_map *m, const struct cluster *c, const char *dir,
	    bool *changed, struct err *err);
/* Take over a snapshot's map, if the file is there. */
int	rt_map_load(struct rt_map *m, const char *path, struct err *err);
/* Write the snapshot, by rename(2).  -1: ERR_TEMP. */
int	rt_map_save(const struct rt_map *m, const char *path, struct err *err);
void	rt_map_free(struct rt_map *m);

#endif
