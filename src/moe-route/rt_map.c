/* rt_map - see rt_map.h. */
#include "rt_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "hold.h"
#include "mem.h"
#include "plan.h"

int
rt_map_plan(const struct cluster *c, const char *dir, struct map **out,
    struct err *err)
{
	struct model_cfg *cfg;
	bool *moe;
	int rc, l;

	if (config_read(&cfg, dir, err) != 0)
		return -1;
	moe = mem_calloc((size_t)cfg->n_layer, sizeof(*moe));
	for (l = 0; l < cfg->n_layer; l++)
		moe[l] = cfg->layer[l].moe;
	rc = plan_cluster(c, cfg->n_layer, moe, cfg->n_expert, out, err);
	mem_free(moe);
	config_free(cfg);
	return rc;
}

int
rt_map_load(struct map **out, const char *path, struct err *err)
{
	FILE *fp = fopen(path, "re");
	int rc;

	*out = NULL;
	if (fp == NULL)
		return errno == ENOENT ? 0 :
		    err_sys(err, ERR_USAGE, errno, "%s", path);
	rc = map_read(out, fp, path, err);
	fclose(fp);
	return rc;
}

int
rt_map_save(const struct map *m, const char *path, struct err *err)
{
	char *tmp = mem_printf("%s.new", path);
	FILE *fp = fopen(tmp, "we");
	bool ok = false;

	if (fp != NULL) {
		ok = map_write(m, fp, false, NULL) == 0 && fflush(fp) == 0 &&
		    fsync(fileno(fp)) == 0;
		ok = fclose(fp) == 0 && ok && rename(tmp, path) == 0;
	}
	if (!ok)
		err_sys(err, ERR_TEMP, errno, "%s", path);
	mem_free(tmp);
	return ok ? 0 : -1;
}

/* The share stays with the copy. */
static void
move_one(struct map *m, struct rt_map_move *o, int l, int e)
{
	int from = map_server_find(m, o->from), to = map_server_find(m, o->to);
	const uint16_t *server;
	double share;
	int i;

	if (!map_holds(m, from, l, e))
		return;
	if (map_holds(m, to, l, e)) {
		o->there++;
		return;
	}
	map_replicas(m, l, e, &server);
	for (i = 0; server[i] != from; i++)
		;
	share = map_share(m, l, e, i);
	map_drop(m, l, e, from);
	map_add(m, l, e, to, share);
	o->moved++;
}

int
rt_map_move(const struct map *m, struct rt_map_move *o, struct map **out,
    struct err *err)
{
	struct map *copy;
	struct hold h;
	int l, e;

	if (map_server_find(m, o->from) < 0)
		return err_set(err, ERR_DATA, "%s is not in the map", o->from);
	hold_init(&h, (uint32_t)map_n_layer(m), (uint32_t)map_n_expert(m));
	if (hold_spec(&h, o->spec, err) != 0) {
		hold_free(&h);
		return -1;
	}
	copy = map_copy(m);
	if (map_server_find(copy, o->to) < 0)
		map_add_server(copy, o->to, o->to_addr);
	o->moved = o->there = 0;
	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++)
			if (hold_has(&h, (uint32_t)l, (uint32_t)e))
				move_one(copy, o, l, e);
	hold_free(&h);
	if (o->moved == 0) {
		map_unref(copy);
		return err_set(err, ERR_DATA, o->there != 0 ?
		    "%s has all of '%s' that %s has" :
		    "%s has none of '%s' that could go to %s",
		    o->there != 0 ? o->to : o->from, o->spec,
		    o->there != 0 ? o->from : o->to);
	}
	*out = copy;
	return 0;
}
