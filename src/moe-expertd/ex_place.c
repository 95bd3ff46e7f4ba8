/* ex_place - see ex_place.h. */
#include "ex_place.h"

#include "cluster.h"
#include "ex_report.h"
#include "hold.h"
#include "log.h"
#include "map.h"
#include "mem.h"
#include "plan.h"

/* A router that is there answers within this. */
#define WORD_NS		1000000000u

struct ex_place {
	struct cluster *cluster;
	bool in_file;		/* it names this server */
	bool begun;		/* loading has */
	bool told;		/* by a router, what to have */
	uint32_t version;	/* of the newest order */
};

/* *me_p: NULL when it is not in the file and may join through the router. */
static int
myself(const struct ex *ex, const struct cluster *c,
    const struct cluster_member **me_p, struct err *err)
{
	*me_p = cluster_find(c, CLUSTER_EXPERT, ex->opt.name);
	if (*me_p != NULL)
		return 0;
	if (cluster_find(c, CLUSTER_ROUTE, NULL) != NULL &&
	    ex->opt.listen != NULL)
		return 0;
	return err_set(err, ERR_USAGE, "%s: no expert server is called '%s' "
	    "(one that is to join needs -l ADDR, and a route line)", c->path,
	    ex->opt.name);
}

int
ex_place_open(struct ex *ex, struct err *err)
{
	const struct cluster_member *me;
	struct cluster *c;

	if (cluster_read(&c, ex->opt.cluster, err) != 0)
		return -1;
	if (myself(ex, c, &me, err) != 0) {
		cluster_free(c);
		return -1;
	}
	ex->place = mem_zalloc(sizeof(*ex->place));
	ex->place->cluster = c;
	ex->place->in_file = me != NULL;
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
ex_place_psk(const struct ex *ex)
{
	return ex->place == NULL ? NULL : ex->place->cluster->psk_file;
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
	map_unref(m);
	return 0;
}

bool
ex_place_pinned(const struct ex *ex)
{
	return ex->opt.experts != NULL || ex->place == NULL;
}

uint32_t
ex_place_version(const struct ex *ex)
{
	return ex->place == NULL ? 0 : ex->place->version;
}

bool
ex_place_begin(struct ex *ex, uint64_t now_ns, uint64_t *next_ns)
{
	struct ex_place *p = ex->place;

	if (p != NULL && !p->begun && !ex_place_pinned(ex) &&
	    ex->router != NULL && now_ns < ex->start_ns + WORD_NS) {
		*next_ns = ex->start_ns + WORD_NS;
		return false;
	}
	if (p != NULL && p->begun)
		return true;
	if (p != NULL)
		p->begun = true;
	resid_load_all(ex->resid);
	return true;
}

void
ex_place_alone(struct ex *ex)
{
	uint64_t next;

	(void)ex_place_begin(ex, UINT64_MAX, &next);
}

/* ---- changes while serving ----------------------------------------------- */

static void
load(struct ex *ex, const char *what)
{
	struct err e = ERR_INIT;

	if (resid_fits(ex->resid, &e) != 0)
		log_warn("%s: %s; the rest stays on disk", what, e.text);
	resid_load_all(ex->resid);
	if (ex->place != NULL)
		ex->place->begun = true;
}

/* What the file adds is loaded; what it takes away stays: a router would have
 * said when nobody needs it. */
static void
grow(struct ex *ex, const struct map *m)
{
	struct resid_count before, after;

	resid_count(ex->resid, &before);
	assign_map(ex, m);
	resid_count(ex->resid, &after);
	log_info("%s: %u more experts are this server's", ex->opt.cluster,
	    after.assigned - before.assigned);
	load(ex, ex->opt.cluster);
}

void
ex_place_reload(struct ex *ex)
{
	const struct cluster_member *me;
	struct cluster *c = NULL;
	struct map *m = NULL;
	struct err e = ERR_INIT;

	if (ex->place == NULL) {
		log_info("HUP: no cluster file to read");
		return;
	}
	if (cluster_read(&c, ex->opt.cluster, &e) != 0 ||
	    myself(ex, c, &me, &e) != 0 ||
	    (m = plan_of(ex, c, &e)) == NULL) {
		log_error("%s; going on as before", e.text);
		cluster_free(c);
		return;
	}
	cluster_free(ex->place->cluster);
	ex->place->cluster = c;
	ex->place->in_file = me != NULL;
	if (!ex_place_pinned(ex) && !ex->place->told)
		grow(ex, m);
	map_unref(m);
}

/* First what leaves, block by block, then what stays or comes: a block of which
 * something is wanted stays as far as it is. */
static void
want(struct ex *ex, const struct hold *h)
{
	uint32_t l, e, n = 0;

	for (l = 0; l < h->n_layer; l++)
		for (e = 0; e < h->n_expert; e++)
			if (!hold_has(h, l, e) && resid_state(ex->resid,
			    (int)l, (int)e) != RESID_ABSENT) {
				resid_leave(ex->resid, (int)l, (int)e);
				n++;
			}
	for (l = 0; l < h->n_layer; l++)
		for (e = 0; e < h->n_expert; e++)
			if (hold_has(h, l, e))
				resid_assign(ex->resid, (int)l, (int)e);
	log_info("map version %u: %llu experts are this server's, %u leave",
	    h->version, (unsigned long long)hold_count(h), n);
	load(ex, "the router's order");
}

void
ex_place_want(struct ex *ex, const void *data, size_t n)
{
	struct err e = ERR_INIT;
	struct hold h;

	hold_init(&h, (uint32_t)ex->cfg->n_layer, (uint32_t)ex->cfg->n_expert);
	if (hold_decode(&h, data, n, &e) != 0) {
		log_error("the router's order: %s; going on as before",
		    e.text);
	} else if (ex_place_pinned(ex)) {
		log_info("--experts holds, whatever the router wants");
	} else if (h.version < ex->place->version) {
		/* It will learn of ours by the report, and go on above it. */
		log_warn("an order by map version %u after one by %u: ignored",
		    h.version, ex->place->version);
	} else if (ex->state != EX_DRAINING) {
		ex->place->version = h.version;
		ex->place->told = true;
		want(ex, &h);
	}
	ex_report_soon(ex);
	hold_free(&h);
}
