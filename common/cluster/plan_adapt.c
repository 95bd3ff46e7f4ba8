/*
 * plan_adapt - see plan_adapt.h.
 *
 * Layer by layer: keep, trim to the wanted number of copies, fill (experts with
 * the fewest copies first, so that little room goes where it is needed most),
 * level.  The total over all layers breaks ties; it counts what later layers
 * keep from the start.
 */
#include "plan_adapt.h"

#include <string.h>

#include "mem.h"

#define EPS	1e-9	/* of a load over a weight */

struct work {
	const struct plan_change *c;
	struct map *m;
	struct plan_cost *cost;
	int n, n_expert;
	int *layer, *total;	/* [n] copies of each server */
	int *n_copy, *want;	/* [n_expert] */
	int64_t *room;		/* [n]; < 0: any */
	bool *fresh;		/* [n] not in `from` */
	bool *stuck;		/* [n][n] nothing can move from a to b */
	int l;			/* the layer at hand */
};

static double
over(int load, const struct work *w, int s)
{
	return load / w->c->server[s].weight;
}

static void
give(struct work *w, int e, int s)
{
	map_add(w->m, w->l, e, s, 1);
	w->layer[s]++;
	w->n_copy[e]++;
}

static void
take(struct work *w, int e, int s)
{
	map_drop(w->m, w->l, e, s);
	w->layer[s]--;
	w->total[s]--;
	w->n_copy[e]--;
}

/* A copy that has to be loaded. */
static void
load(struct work *w, int e, int s)
{
	give(w, e, s);
	w->total[s]++;
	if (w->room[s] > 0)
		w->room[s]--;
	w->cost->loads++;
}

/* Is a copy better put on a than on b (or taken off b than off a)? */
static bool
lighter(const struct work *w, int a, int b)
{
	double la = over(w->layer[a] + 1, w, a), lb = over(w->layer[b] + 1, w, b);

	if (la < lb - EPS || la > lb + EPS)
		return la < lb;
	return over(w->total[a] + 1, w, a) < over(w->total[b] + 1, w, b) - EPS;
}

/* ---- keep ---------------------------------------------------------------- */

/* Number of server s of `from` in the new map; -1: it is not there. */
static int
number(const struct plan_change *c, int s)
{
	int i;

	for (i = 0; i < c->n_server; i++)
		if (strcmp(c->server[i].name,
		    map_server_name(c->from, s)) == 0)
			return strcmp(c->server[i].addr,
			    map_server_addr(c->from, s)) == 0 ? i : -1;
	return -1;
}

static void
keep(struct work *w, const int *to)
{
	const uint16_t *s;
	int e, i, n;

	for (e = 0; e < w->n_expert; e++) {
		n = map_replicas(w->c->from, w->l, e, &s);
		w->want[e] = w->c->level || n < w->c->replicas ?
		    w->c->replicas : n;
		if (w->want[e] > w->n)
			w->want[e] = w->n;
		for (i = 0; i < n; i++)
			if (to[s[i]] >= 0)
				give(w, e, to[s[i]]);
	}
}

static void
trim(struct work *w)
{
	const uint16_t *s;
	int e, i, worst;

	for (e = 0; e < w->n_expert; e++) {
		while (map_replicas(w->m, w->l, e, &s) > w->want[e]) {
			worst = s[0];
			for (i = 1; i < w->n_copy[e]; i++)
				if (lighter(w, worst, s[i]))
					worst = s[i];
			take(w, e, worst);
		}
	}
}

/* ---- fill ---------------------------------------------------------------- */

static int
best_for(const struct work *w, int e)
{
	int best = -1, i, s;

	for (i = 0; i < w->n; i++) {
		s = (w->l + i) % w->n;
		if (w->room[s] != 0 && !map_holds(w->m, s, w->l, e) &&
		    (best < 0 || lighter(w, s, best)))
			best = s;
	}
	return best;
}

static void
fill(struct work *w)
{
	int round, e, s;

	for (round = 1; round <= w->n; round++)
		for (e = 0; e < w->n_expert; e++)
			if (w->n_copy[e] < round && round <= w->want[e] &&
			    (s = best_for(w, e)) >= 0)
				load(w, e, s);
	for (e = 0; e < w->n_expert; e++)
		w->cost->missing += w->want[e] - w->n_copy[e];
}

/* ---- level --------------------------------------------------------------- */

/* How much more even the layer gets by moving a copy from a to b; < 0: not at
 * all.  A layer that stays as even is worth it for the total. */
static double
gain(const struct work *w, int a, int b)
{
	double d = over(w->layer[a], w, a) - over(w->layer[b] + 1, w, b);

	if (d > EPS)
		return d;
	if (d < -EPS || over(w->total[a], w, a) <=
	    over(w->total[b] + 1, w, b) + EPS)
		return -1;
	return 0;
}

/* An expert of a's that b has not got; -1. */
static int
movable(const struct work *w, int a, int b)
{
	int i, e;

	for (i = 0; i < w->n_expert; i++) {
		/* Not always the first ones: they would meet on b. */
		e = (i + a * 7 + w->l) % w->n_expert;
		if (map_holds(w->m, a, w->l, e) && !map_holds(w->m, b, w->l, e))
			return e;
	}
	return -1;
}

static bool
level_once(struct work *w)
{
	int a, b, from = -1, to = -1, e;
	double best = -1, g;

	for (b = 0; b < w->n; b++) {
		if (w->room[b] == 0 || !(w->fresh[b] || w->c->level))
			continue;
		for (a = 0; a < w->n; a++) {
			if (a == b || w->stuck[a * w->n + b] ||
			    (g = gain(w, a, b)) <= best)
				continue;
			best = g;
			from = a;
			to = b;
		}
	}
	if (from < 0)
		return false;
	if ((e = movable(w, from, to)) < 0) {
		w->stuck[from * w->n + to] = true;
		return true;
	}
	take(w, e, from);
	load(w, e, to);
	return true;
}

static void
one_layer(struct work *w, const int *to)
{
	size_t n = (size_t)w->n;

	memset(w->layer, 0, n * sizeof(*w->layer));
	memset(w->n_copy, 0, (size_t)w->n_expert * sizeof(*w->n_copy));
	memset(w->stuck, 0, n * n * sizeof(*w->stuck));
	keep(w, to);
	trim(w);
	fill(w);
	while (level_once(w))
		;
}

/* ---- all of it ----------------------------------------------------------- */

static void
run(struct work *w)
{
	int n_old = map_n_server(w->c->from), s;
	int *to = mem_calloc((size_t)n_old, sizeof(*to));

	for (s = 0; s < w->n; s++) {
		w->room[s] = w->c->server[s].room;
		w->fresh[s] = true;
		map_add_server(w->m, w->c->server[s].name,
		    w->c->server[s].addr);
	}
	for (s = 0; s < n_old; s++) {
		to[s] = number(w->c, s);
		if (to[s] < 0)
			continue;
		w->total[to[s]] = map_count(w->c->from, s);
		w->fresh[to[s]] = w->total[to[s]] == 0;
	}
	for (w->l = 0; w->l < map_n_layer(w->m); w->l++)
		if (map_layer_moe(w->m, w->l))
			one_layer(w, to);
	mem_free(to);
}

static struct map *
empty_like(const struct plan_change *c)
{
	int n = map_n_layer(c->from), l;
	bool *moe = mem_calloc((size_t)n, sizeof(*moe));
	struct map *m;

	for (l = 0; l < n; l++)
		moe[l] = map_layer_moe(c->from, l);
	m = map_new(c->version, n, moe, map_n_expert(c->from));
	mem_free(moe);
	return m;
}

static void
weigh(const struct work *w)
{
	double *weight = mem_calloc((size_t)w->n, sizeof(*weight));
	int s;

	for (s = 0; s < w->n; s++)
		weight[s] = w->c->server[s].weight;
	map_weigh(w->m, weight);
	mem_free(weight);
}

int
plan_adapt(const struct plan_change *c, struct map **out,
    struct plan_cost *cost, struct err *err)
{
	struct work w = { .c = c, .cost = cost, .n = c->n_server };
	size_t n = (size_t)c->n_server;

	*cost = (struct plan_cost){ 0, 0 };
	if (c->n_server < 1 || c->n_server > MAP_MAX_SERVER)
		return err_set(err, ERR_USAGE, "a plan over %d servers",
		    c->n_server);
	w.m = empty_like(c);
	w.n_expert = map_n_expert(c->from);
	w.layer = mem_calloc(n, sizeof(*w.layer));
	w.total = mem_calloc(n, sizeof(*w.total));
	w.n_copy = mem_calloc((size_t)w.n_expert, sizeof(*w.n_copy));
	w.want = mem_calloc((size_t)w.n_expert, sizeof(*w.want));
	w.room = mem_calloc(n, sizeof(*w.room));
	w.fresh = mem_calloc(n, sizeof(*w.fresh));
	w.stuck = mem_calloc(n * n, sizeof(*w.stuck));
	run(&w);
	weigh(&w);
	mem_free(w.layer);
	mem_free(w.total);
	mem_free(w.n_copy);
	mem_free(w.want);
	mem_free(w.room);
	mem_free(w.fresh);
	mem_free(w.stuck);
	if (map_check(w.m, err) != 0) {
		map_unref(w.m);
		if (err != NULL)
			err->code = ERR_TEMP;
		return -1;
	}
	*out = w.m;
	return 0;
}
