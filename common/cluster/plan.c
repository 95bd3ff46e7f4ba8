/*
 * plan - see plan.h.
 *
 * For each expert take the R servers with the least load in this layer.  As
 * long as the loads of a layer differ by at most one, adding one to each of the
 * R least loaded keeps it so, which makes the result even without any case
 * distinction.  With weights, the load is that after taking it, over weight.  Ties go to the server with fewer experts in all, then to the
 * one that shares the fewest experts with the servers already taken.
 */
#include "plan.h"

#include <string.h>

#include "mem.h"

struct work {
	const struct plan_opt *o;
	int n, copies;
	int *layer, *total;	/* [n] experts on each server */
	double *weight;		/* [n] */
	int *pair;		/* [n][n] experts that two servers share */
	bool *taken;		/* [n] for the expert at hand */
	int *got;		/* [copies] */
};

static int
shared_with(const struct work *w, int s, int n_got)
{
	int i, sum = 0;

	for (i = 0; i < n_got; i++)
		sum += w->pair[s * w->n + w->got[i]];
	return sum;
}

/* Is server a better than b for the next copy? */
static bool
better(const struct work *w, int a, int b, int n_got)
{
	double la = (w->layer[a] + 1) / w->weight[a];
	double lb = (w->layer[b] + 1) / w->weight[b];
	double ta = (w->total[a] + 1) / w->weight[a];
	double tb = (w->total[b] + 1) / w->weight[b];

	if (la < lb || la > lb)
		return la < lb;
	if (ta < tb || ta > tb)
		return ta < tb;
	return shared_with(w, a, n_got) < shared_with(w, b, n_got);
}

/* start rotates where the search begins, so that ties do not all go to the
 * first servers. */
static int
take(struct work *w, int n_got, int start)
{
	int best = -1, i, s;

	for (i = 0; i < w->n; i++) {
		s = (start + i) % w->n;
		if (!w->taken[s] && (best < 0 || better(w, s, best, n_got)))
			best = s;
	}
	w->taken[best] = true;
	w->got[n_got] = best;
	return best;
}

static void
place(struct work *w, struct map *m, int layer, int expert)
{
	int i, j, s;

	memset(w->taken, 0, (size_t)w->n * sizeof(*w->taken));
	for (i = 0; i < w->copies; i++) {
		s = take(w, i, layer);
		map_add(m, layer, expert, s, 1);
	}
	for (i = 0; i < w->copies; i++) {
		w->layer[w->got[i]]++;
		w->total[w->got[i]]++;
		for (j = 0; j < w->copies; j++)
			w->pair[w->got[i] * w->n + w->got[j]]++;
	}
}

int
plan_even(const struct plan_opt *o, struct map **out, struct err *err)
{
	struct work w = { .o = o, .n = o->n_server, .copies = o->replicas };
	size_t n = (size_t)o->n_server;
	struct map *m;
	int i, l, e;

	if (o->n_server < 1 || o->n_server > MAP_MAX_SERVER)
		return err_set(err, ERR_USAGE, "a plan over %d servers",
		    o->n_server);
	if (o->n_layer < 1 || o->n_expert < 1 || o->replicas < 1)
		return err_set(err, ERR_USAGE, "a plan of %d copies of %d "
		    "experts in %d layers", o->replicas, o->n_expert,
		    o->n_layer);
	if (w.copies > w.n)
		w.copies = w.n;
	w.layer = mem_calloc(n, sizeof(*w.layer));
	w.total = mem_calloc(n, sizeof(*w.total));
	w.weight = mem_calloc(n, sizeof(*w.weight));
	for (i = 0; i < w.n; i++)
		w.weight[i] = o->weight == NULL ? 1 : o->weight[i];
	w.pair = mem_calloc(n * n, sizeof(*w.pair));
	w.taken = mem_calloc(n, sizeof(*w.taken));
	w.got = mem_calloc((size_t)w.copies, sizeof(*w.got));
	m = map_new(o->version, o->n_layer, o->moe, o->n_expert);
	for (i = 0; i < o->n_server; i++)
		map_add_server(m, o->name[i], o->addr[i]);
	for (l = 0; l < o->n_layer; l++) {
		memset(w.layer, 0, n * sizeof(*w.layer));
		for (e = 0; map_layer_moe(m, l) && e < o->n_expert; e++)
			place(&w, m, l, e);
	}
	map_weigh(m, w.weight);
	mem_free(w.layer);
	mem_free(w.total);
	mem_free(w.weight);
	mem_free(w.pair);
	mem_free(w.taken);
	mem_free(w.got);
	*out = m;
	return 0;
}

int
plan_cluster(const struct cluster *c, int n_layer, const bool *moe,
    int n_expert, struct map **out, struct err *err)
{
	size_t n = cluster_count(c, CLUSTER_EXPERT), i, k = 0;
	const char **name = mem_calloc(n, sizeof(*name));
	const char **addr = mem_calloc(n, sizeof(*addr));
	double *weight = mem_calloc(n, sizeof(*weight));
	const struct plan_opt o = { 1, n_layer, moe, n_expert, c->replicas,
	    (int)n, name, addr, weight };
	int rc;

	for (i = 0; i < c->n_member; i++) {
		if (c->member[i].role != CLUSTER_EXPERT)
			continue;
		name[k] = c->member[i].name;
		weight[k] = c->member[i].weight;
		addr[k++] = c->member[i].addr;
	}
	if (n == 0)
		rc = err_set(err, ERR_DATA, "%s: no expert server", c->path);
	else
		rc = plan_even(&o, out, err);
	mem_free(name);
	mem_free(addr);
	mem_free(weight);
	return rc;
}
