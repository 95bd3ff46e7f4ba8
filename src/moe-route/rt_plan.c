/* rt_plan - `moe-route plan`: an even placement as a map. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "cluster.h"
#include "map.h"
#include "mem.h"
#include "plan.h"
#include "plan_adapt.h"
#include "rt.h"
#include "rt_map.h"

#define PROG	"moe-route plan"

struct want {
	const char *file, *model, *from;
	int64_t layers, experts, servers, replicas;
	bool json;
};

static int
parse(struct want *w, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'f', "cluster", CLI_STR, &w->file, "CLUSTER",
		    "cluster file: servers, copies, model", 0, 0,
		    "MOE_CLUSTER" },
		{ 'm', "model", CLI_STR, &w->model, "DIR",
		    "checkpoint, instead of the file's", 0, 0, NULL },
		{ 0, "layers", CLI_INT, &w->layers, "N",
		    "layers, all with experts", 1, 4096, NULL },
		{ 0, "experts", CLI_INT, &w->experts, "N",
		    "experts of a layer", 1, 65535, NULL },
		{ 0, "servers", CLI_INT, &w->servers, "N",
		    "servers e1, e2, ... instead of a file's", 1,
		    MAP_MAX_SERVER, NULL },
		{ 0, "replicas", CLI_INT, &w->replicas, "N",
		    "copies of each expert (default: the file's, or 1)", 1, 64,
		    NULL },
		{ 0, "from", CLI_STR, &w->from, "MAP",
		    "move as few copies of this map as balance needs", 0, 0,
		    NULL },
		{ 'j', "json", CLI_FLAG, &w->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "plan", "",
	    "Print the even placement of a model's experts.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at < 0)
		return -1;
	if (at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (w->servers == 0 && w->file == NULL)
		return err_set(err, ERR_USAGE, "-f CLUSTER or --servers N is "
		    "needed");
	if (w->from != NULL && (w->layers != 0 || w->model != NULL))
		return err_set(err, ERR_USAGE, "--from has the model's numbers: "
		    "no -m, no --layers");
	if ((w->layers == 0) != (w->experts == 0))
		return err_set(err, ERR_USAGE, "--layers and --experts go "
		    "together");
	if (w->servers != 0 && w->layers == 0 && w->model == NULL &&
	    w->from == NULL)
		return err_set(err, ERR_USAGE, "--servers needs -m DIR, or "
		    "--layers and --experts");
	return 0;
}

/* A cluster of n servers that exist on paper only. */
static int
paper_cluster(int64_t n, struct cluster **out, struct err *err)
{
	struct str s = STR_INIT;
	int64_t i;
	int rc;

	str_adds(&s, "moe-cluster 1\n");
	for (i = 1; i <= n; i++)
		str_addf(&s, "expert e%lld shm:e%lld\n", (long long)i,
		    (long long)i);
	rc = cluster_parse(out, s.p, s.n, "--servers", err);
	str_free(&s);
	return rc;
}

/* From the map that is to the cluster's servers. */
static int
adapt(const struct want *w, const struct cluster *c, struct map **out,
    struct err *err)
{
	struct plan_server *list = mem_calloc(c->n_member, sizeof(*list));
	struct plan_change pc = { .server = list, .replicas = c->replicas };
	FILE *fp = fopen(w->from, "re");
	struct plan_cost cost;
	struct map *from = NULL;
	int rc = fp == NULL ? err_sys(err, ERR_USAGE, errno, "%s", w->from) :
	    map_read(&from, fp, w->from, err);
	size_t i;

	if (fp != NULL)
		fclose(fp);
	for (i = 0; i < c->n_member; i++)
		if (c->member[i].role == CLUSTER_EXPERT)
			list[pc.n_server++] = (struct plan_server){
			    c->member[i].name, c->member[i].addr,
			    c->member[i].weight, -1 };
	if (rc == 0) {
		pc.from = from;
		pc.version = map_version(from) + 1;
		rc = plan_adapt(&pc, out, &cost, err);
	}
	if (rc == 0)
		fprintf(stderr, PROG ": %lld copies are new on their server\n",
		    (long long)cost.loads);
	map_unref(from);
	mem_free(list);
	return rc;
}

static int
plan(const struct want *w, struct cluster *c, struct map **out,
    struct err *err)
{
	const char *dir = w->model != NULL ? w->model : c->model;

	if (w->replicas != 0)
		c->replicas = (int)w->replicas;
	if ((size_t)c->replicas > cluster_count(c, CLUSTER_EXPERT))
		fprintf(stderr, PROG ": %d copies on %zu servers: one on "
		    "each\n", c->replicas, cluster_count(c, CLUSTER_EXPERT));
	if (w->from != NULL)
		return adapt(w, c, out, err);
	if (w->layers != 0)
		return plan_cluster(c, (int)w->layers, NULL, (int)w->experts,
		    out, err);
	if (dir == NULL)
		return err_set(err, ERR_USAGE, "%s has no model line: -m DIR, "
		    "or --layers and --experts", c->path);
	return rt_map_plan(c, dir, out, err);
}

int
rt_plan_main(int argc, char **argv)
{
	struct want w = { 0 };
	struct err err = ERR_INIT;
	struct cluster *c = NULL;
	struct map *map = NULL;
	int rc = parse(&w, argc, argv, &err);

	if (rc == 0)
		rc = w.servers != 0 ? paper_cluster(w.servers, &c, &err) :
		    cluster_read(&c, w.file, &err);
	if (rc == 0)
		rc = plan(&w, c, &map, &err);
	if (rc == 0)
		rc = map_write(map, stdout, w.json, &err);
	map_unref(map);
	cluster_free(c);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
