/* Properties of the plan with few moves, over many histories: what
 * plan_adapt.h promises. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "plan.h"
#include "plan_adapt.h"
#include "rng.h"
#include "tap.h"

#define LAYERS	3
#define MAX	24

static char name_text[MAX][16];
static const char *name[MAX];

static struct map *
even(int n_expert, int replicas, int n_server)
{
	struct plan_opt o = { 1, LAYERS, NULL, n_expert, replicas, n_server,
	    name, name, NULL };
	struct map *m = NULL;

	BUG_ON(plan_even(&o, &m, NULL) != 0);
	return m;
}

/* The servers of a bit set, each with this room. */
static int
servers(struct plan_server *list, unsigned set, int64_t room)
{
	int n = 0, i;

	for (i = 0; i < MAX; i++)
		if (set & (1u << i))
			list[n++] = (struct plan_server){ name[i], name[i], 1,
			    room };
	return n;
}

static struct map *
adapt(const struct map *from, unsigned set, int replicas,
    struct plan_cost *cost)
{
	struct plan_server list[MAX];
	struct plan_change c = { 9, from, list, servers(list, set, -1),
	    replicas, false };
	struct err e = ERR_INIT;
	struct map *m;

	if (plan_adapt(&c, &m, cost, &e) != 0) {
		printf("# %s\n", e.text);
		return NULL;
	}
	return m;
}

static bool
copies_ok(const struct map *m, int want)
{
	const uint16_t *s;
	int l, e;

	for (l = 0; l < LAYERS; l++)
		for (e = 0; e < map_n_expert(m); e++)
			if (map_replicas(m, l, e, &s) != want)
				return false;
	return true;
}

static int
spread(const struct map *m, int layer)
{
	int lo = 1 << 30, hi = 0, s, n;

	for (s = 0; s < map_n_server(m); s++) {
		n = layer < 0 ? map_count(m, s) : map_layer_count(m, s, layer);
		lo = n < lo ? n : lo;
		hi = n > hi ? n : hi;
	}
	return hi - lo;
}

/* Copies that are on their server in both. */
static int
kept(const struct map *a, const struct map *b)
{
	int l, e, s, t, n = 0;

	for (s = 0; s < map_n_server(a); s++) {
		if ((t = map_server_find(b, map_server_name(a, s))) < 0)
			continue;
		for (l = 0; l < LAYERS; l++)
			for (e = 0; e < map_n_expert(a); e++)
				n += map_holds(a, s, l, e) &&
				    map_holds(b, t, l, e);
	}
	return n;
}

static int
total(const struct map *m)
{
	int s, n = 0;

	for (s = 0; s < map_n_server(m); s++)
		n += map_count(m, s);
	return n;
}

/* One joins: it is as full as the others, everything that moved went there. */
static void
test_join(void)
{
	bool whole = true, filled = true, few = true, level = true;
	int n, r, l, s, t, k;
	struct plan_cost cost;
	struct map *a, *b;

	for (n = 1; n < 16; n++) {
		for (r = 1; r <= 3; r++) {
			a = even(16, r, n);
			b = adapt(a, (2u << n) - 1, r, &cost);
			k = r < n + 1 ? r : n + 1;
			s = map_server_find(b, name[n]);
			whole &= copies_ok(b, k);
			t = map_count(b, s);
			filled &= t >= total(b) / (n + 1) - LAYERS &&
			    t <= total(b) / (n + 1) + LAYERS;
			few &= r <= n ? cost.loads == t && kept(a, b) ==
			    total(a) - t : cost.loads <= total(b);
			for (l = 0; l < LAYERS; l++)
				level &= spread(b, l) <= 2;
			map_unref(a);
			map_unref(b);
		}
	}
	OK(whole, "every expert has its copies");
	OK(filled, "the new server has its share");
	OK(few, "nothing moved but to the new server");
	OK(level, "layers stay even");
}

static void
test_leave(void)
{
	bool whole = true, few = true, level = true;
	int n, r, gone, lost;
	struct plan_cost cost;
	struct map *a, *b;

	for (n = 3; n < 16; n++) {
		for (r = 1; r < 3; r++) {
			a = even(16, r, n);
			gone = n / 2;
			b = adapt(a, ((1u << n) - 1) & ~(1u << gone), r,
			    &cost);
			lost = map_count(a, gone);
			whole &= copies_ok(b, r);
			few &= cost.loads == lost && kept(a, b) ==
			    total(a) - lost;
			level &= spread(b, -1) <= 3;
			map_unref(a);
			map_unref(b);
		}
	}
	OK(whole, "one leaves: every expert has its copies");
	OK(few, "only what was lost is loaded");
	OK(level, "over all who stay");
}

/* Servers come and go for ever: copies stay, and loads stay even. */
static void
test_history(void)
{
	struct rng r = { 4, 0 };
	unsigned set = 1, bit;
	struct map *m = even(12, 1, 1), *next;
	bool whole = true, level = true, same = true;
	struct plan_cost cost;
	int i, n;

	for (i = 0; i < 300; i++) {
		bit = 1u << rng_below(&r, 10);
		if (set == bit)
			continue;
		set ^= bit;
		n = __builtin_popcount(set);
		next = adapt(m, set, 2, &cost);
		whole &= copies_ok(next, n < 2 ? n : 2);
		level &= spread(next, -1) <= 2 * LAYERS;
		map_unref(m);
		m = next;
		next = adapt(m, set, 2, &cost);
		same &= map_same(m, next) && cost.loads == 0;
		map_unref(next);
	}
	OK(whole, "300 comings and goings: copies are whole");
	OK(level, "loads are even");
	OK(same, "and nothing moves when nobody comes or goes");
	map_unref(m);
}

static void
test_room(void)
{
	struct map *a = even(8, 2, 3), *m;
	struct plan_server list[MAX];
	struct plan_change c = { 2, a, list, 0, 2, false };
	struct plan_cost cost;
	struct err e = ERR_INIT;
	const uint16_t *s;
	int l, x;
	bool one = true;

	/* a alone is left, with room for no more. */
	c.n_server = servers(list, 1, 0);
	OK(plan_adapt(&c, &m, &cost, &e) == -1 && e.code == ERR_TEMP &&
	    strstr(e.text, "is on no server") != NULL, "no room: %s", e.text);
	/* Room for those that have no copy: no second ones. */
	c.n_server = servers(list, 1, LAYERS * 8 - map_count(a, 0));
	OK(plan_adapt(&c, &m, &cost, &e) == 0 && cost.loads ==
	    LAYERS * 8 - map_count(a, 0) && cost.missing == 0,
	    "room for what has no copy");
	map_unref(m);
	/* Two are left with little room: first copies come before second. */
	c.n_server = servers(list, 3, 2);
	OK(plan_adapt(&c, &m, &cost, &e) == 0 && cost.loads == 4 &&
	    cost.missing > 0, "some copies are missing");
	for (l = 0; l < LAYERS; l++)
		for (x = 0; x < 8; x++)
			one &= map_replicas(m, l, x, &s) >= 1;
	OK(one, "no expert is without one");
	map_unref(m);
	c.n_server = 0;
	OK(plan_adapt(&c, &m, &cost, &e) == -1 && e.code == ERR_USAGE,
	    "no server");
	map_unref(a);
}

/* More copies of one expert by an operator's word stay. */
static void
test_keeps_more(void)
{
	struct map *a = even(8, 1, 4), *m;
	struct plan_cost cost;
	const uint16_t *s;

	map_add(a, 1, 5, 0, 1);
	map_add(a, 1, 5, 1, 1);
	map_add(a, 1, 5, 2, 1);
	m = adapt(a, 0x1e, 1, &cost);	/* a goes, one comes */
	OK(map_replicas(m, 1, 5, &s) == map_replicas(a, 1, 5, &s),
	    "an expert with more copies keeps as many");
	map_unref(m);
	map_unref(a);
}

static void
test_weight(void)
{
	static const double w[3] = { 2, 1, 1 };
	struct plan_opt o = { 1, LAYERS, NULL, 16, 1, 3, name, name, w };
	double load[3] = { 0, 0, 0 }, sum;
	const uint16_t *s;
	struct plan_server list[MAX];
	struct plan_change c = { 2, NULL, list, 0, 1, true };
	struct plan_cost cost;
	struct map *m = NULL, *b;
	int l, e, i, n;

	OK(plan_even(&o, &m, NULL) == 0 && map_count(m, 0) == LAYERS * 8 &&
	    map_count(m, 1) == LAYERS * 4, "twice the weight, twice the experts");
	map_unref(m);
	o.replicas = 2;
	o.n_server = 2;
	plan_even(&o, &m, NULL);
	for (l = 0; l < LAYERS; l++)
		for (e = 0; e < 16; e++) {
			n = map_replicas(m, l, e, &s);
			for (sum = 0, i = 0; i < n; i++)
				sum += map_share(m, l, e, i);
			for (i = 0; i < n; i++)
				load[s[i]] += map_share(m, l, e, i) / sum;
		}
	OK(load[0] > 1.99 * load[1] && load[0] < 2.01 * load[1],
	    "where both have everything, shares make it so");
	map_unref(m);
	m = even(16, 1, 3);
	c.from = m;
	c.n_server = servers(list, 7, -1);
	list[0].weight = 2;
	OK(plan_adapt(&c, &b, &cost, NULL) == 0 &&
	    map_layer_count(b, 0, 0) == 8 && map_layer_count(b, 1, 1) == 4 &&
	    !map_same(m, b), "a weight that changes moves experts");
	map_unref(b);
	map_unref(m);
}

int
main(void)
{
	int i;

	for (i = 0; i < MAX; i++) {
		snprintf(name_text[i], sizeof(name_text[i]), "s%d", i);
		name[i] = name_text[i];
	}
	test_join();
	test_leave();
	test_history();
	test_room();
	test_keeps_more();
	test_weight();
	return tap_done();
}
