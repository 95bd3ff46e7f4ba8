/* ex_place - see ex_place.h. */
#include "ex_place.h"

#include <stdio.h>

#include "cluster.h"
#include "log.h"
#include "map.h"
#include "mem.h"
#include "plan.h"

struct ex_place {
	struct cluster *cluster;
	uint32_t map_version;	/* of the newest map taken over */
};

static const struct cluster_member *
myself(const struct ex *ex, const struct cluster *c, struct err *err)
{
	const struct cluster_member *me;

	me = cluster_find(c, CLUSTER_EXPERT, ex->opt.name);
	if (me == NULL)
		err_set(err, ERR_USAGE, "%s: no expert server is called '%s'",
		    c->path, ex->opt.name);
	return me;
}

int
ex_place_open(struct ex *ex, struct err *err)
{
	const struct cluster_member *me;
	struct cluster *c;

	if (cluster_read(&c, ex->opt.cluster, err) != 0)
		return -1;
	if ((me = myself(ex, c, err)) == NULL) {
		cluster_free(c);
		return -1;
	}
	ex->place = mem_zalloc(sizeof(*ex->place));
	ex->place->cluster = c;
	if (ex->opt.model == NULL)
		ex->opt.model = c->model;
	if (ex->opt.listen == NULL)
		ex->opt.listen = me->addr;
	return 0;
}

void
ex_place_free(struct ex *ex)
{
	if (ex->place == NULL)
		return;
	cluster_free(ex->place->cluster);
	mem_free(ex->place);
	ex->place = NULL;
}

const char *
ex_place_router(const struct ex *ex)
{
	const struct cluster_member *r;

	if (ex->place == NULL)
		return NULL;
	r = cluster_find(ex->place->cluster, CLUSTER_ROUTE, NULL);
	return r == NULL ? NULL : r->addr;
}

/* ---- from a map to assigned experts -------------------------------------- */

static struct map *
plan_of(const struct ex *ex, const struct cluster *c, struct err *err)
{
	int n = ex->cfg->n_layer, i;
	bool *moe = mem_calloc((size_t)n, sizeof(*moe));
	struct map *m = NULL;

	for (i = 0; i < n; i++)
		moe[i] = ex->cfg->layer[i].moe;
	if (plan_cluster(c, n, moe, ex->cfg->n_expert, &m, err) != 0)
		m = NULL;
	mem_free(moe);
	return m;
}

static void
assign_map(struct ex *ex, const struct map *m)
{
	int me = map_server_find(m, ex->opt.name), l, e;

	if (me < 0)
		return;
	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++)
			if (map_holds(m, me, l, e))
				resid_assign(ex->resid, l, e);
}

int
ex_place_assign(struct ex *ex, struct err *err)
{
	struct map *m;

	if (ex->opt.experts != NULL || ex->place == NULL)
		return resid_spec(ex->resid, ex->opt.experts == NULL ? "all" :
		    ex->opt.experts, err);
	if ((m = plan_of(ex, ex->place->cluster, err)) == NULL)
		return -1;
	assign_map(ex, m);
	ex->place->map_version = map_version(m);
	map_unref(m);
	return 0;
}

/* ---- changes while serving ----------------------------------------------- */

/* What a newer placement adds is loaded; what it takes away stays until the
 * server is started again. */
static void
grow(struct ex *ex, const struct map *m, const char *what)
{
	struct resid_count before, after;
	struct err e = ERR_INIT;

	resid_count(ex->resid, &before);
	assign_map(ex, m);
	resid_count(ex->resid, &after);
	log_info("%s: %u more experts are this server's", what,
	    after.assigned - before.assigned);
	if (resid_fits(ex->resid, &e) != 0)
		log_warn("%s: %s; the rest stays on disk", what, e.text);
	resid_load_all(ex->resid);
}

void
ex_place_reload(struct ex *ex)
{
	struct cluster *c = NULL;
	struct map *m = NULL;
	struct err e = ERR_INIT;

	if (ex->place == NULL) {
		log_info("HUP: no cluster file to read");
		return;
	}
	if (cluster_read(&c, ex->opt.cluster, &e) != 0 ||
	    myself(ex, c, &e) == NULL ||
	    (m = plan_of(ex, c, &e)) == NULL) {
		log_error("%s; going on as before", e.text);
		cluster_free(c);
		return;
	}
	cluster_free(ex->place->cluster);
	ex->place->cluster = c;
	if (ex->opt.experts == NULL)
		grow(ex, m, ex->opt.cluster);
	map_unref(m);
}

void
ex_place_map(struct ex *ex, const void *data, size_t n)
{
	void *copy = mem_dup(data, n);	/* fmemopen wants it writable */
	FILE *fp = n == 0 ? NULL : fmemopen(copy, n, "r");
	struct map *m = NULL;
	struct err e = ERR_INIT;

	if (fp == NULL)
		err_set(&e, ERR_DATA, "an empty map");
	else if (map_read(&m, fp, "the router's map", &e) == 0 &&
	    (map_n_layer(m) != ex->cfg->n_layer ||
	    map_n_expert(m) != ex->cfg->n_expert))
		err_set(&e, ERR_DATA, "the router's map has %d layers of %d "
		    "experts, the model has %d of %d", map_n_layer(m),
		    map_n_expert(m), ex->cfg->n_layer, ex->cfg->n_expert);
	if (e.code != 0) {
		log_error("%s; going on as before", e.text);
	} else if (map_version(m) > ex->place->map_version) {
		ex->place->map_version = map_version(m);
		if (ex->opt.experts == NULL)
			grow(ex, m, "the router's map");
	}
	if (fp != NULL)
		fclose(fp);
	map_unref(m);
	mem_free(copy);
}
