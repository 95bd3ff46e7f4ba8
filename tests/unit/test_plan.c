/* Properties of the even plan, over many sizes: what plan.h promises. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "plan.h"
#include "rng.h"
#include "tap.h"

#define MAX_SERVER	33

static char name_text[MAX_SERVER][16];
static const char *name[MAX_SERVER];

static struct map *
plan(int n_layer, const bool *moe, int n_expert, int replicas, int n_server)
{
	struct plan_opt o = { 1, n_layer, moe, n_expert, replicas, n_server,
	    name, name, NULL };
	struct map *m = NULL;
	struct err e = ERR_INIT;

	if (plan_even(&o, &m, &e) != 0)
		return NULL;
	return m;
}

/* Copies of each expert: as many as asked for, each on another server. */
static bool
copies_ok(const struct map *m, int want)
{
	const uint16_t *s;
	int l, e, i, j, n;

	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++) {
			if ((n = map_replicas(m, l, e, &s)) != want)
				return false;
			for (i = 0; i < n; i++)
				for (j = 0; j < i; j++)
					if (s[i] == s[j])
						return false;
		}
	return true;
}

/* Largest minus smallest number of experts on a server; layer -1: in all. */
static int
spread(const struct map *m, int layer)
{
	int lo = 1 << 30, hi = 0, s, n;

	for (s = 0; s < map_n_server(m); s++) {
		n = layer < 0 ? map_count(m, s) :
		    map_layer_count(m, s, layer);
		if (n < lo)
			lo = n;
		if (n > hi)
			hi = n;
	}
	return hi - lo;
}

static bool
one(int n_layer, int n_expert, int replicas, int n_server)
{
	struct map *m = plan(n_layer, NULL, n_expert, replicas, n_server);
	int want = replicas < n_server ? replicas : n_server, l;
	struct err e = ERR_INIT;
	bool good;

	if (m == NULL)
		return false;
	good = map_check(m, &e) == 0 && copies_ok(m, want) &&
	    spread(m, -1) <= 1;
	for (l = 0; l < n_layer && good; l++)
		good = spread(m, l) <= 1;
	map_unref(m);
	if (!good)
		printf("# %d layers, %d experts, %d copies, %d servers\n",
		    n_layer, n_expert, replicas, n_server);
	return good;
}

static void
test_sizes(void)
{
	struct rng r = { 4, 0 };
	bool good = true;
	int s, copies, i;

	for (s = 1; s <= MAX_SERVER && good; s++)
		for (copies = 1; copies <= 4 && good; copies++)
			good = one(3, 1, copies, s) &&
			    one(3, 8, copies, s) && one(2, 257, copies, s) &&
			    one(4, 1 + (int)rng_below(&r, 257), copies, s);
	OK(good, "1..33 servers, 1..4 copies: even in each layer and in all");
	for (i = 0; i < 200 && good; i++)
		good = one(1 + (int)rng_below(&r, 9),
		    1 + (int)rng_below(&r, 257), 1 + (int)rng_below(&r, 4),
		    1 + (int)rng_below(&r, MAX_SERVER));
	OK(good, "200 random sizes: the same");
}

/* Experts of dead server d that have another copy on server s. */
static int
inherits(const struct map *m, int d, int s)
{
	int l, e, n = 0;

	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++)
			n += map_holds(m, d, l, e) && map_holds(m, s, l, e);
	return n;
}

static void
test_death(void)
{
	int n_server, d, s, n, lo, hi, sum, worst = 0;
	struct map *m;
	bool all = true;

	for (n_server = 3; n_server <= 9; n_server++) {
		m = plan(12, NULL, 64, 2, n_server);
		for (d = 0; d < n_server; d++) {
			lo = 1 << 30;
			hi = sum = 0;
			for (s = 0; s < n_server; s++) {
				if (s == d)
					continue;
				n = inherits(m, d, s);
				lo = n < lo ? n : lo;
				hi = n > hi ? n : hi;
				sum += n;
			}
			all = all && lo > 0;
			if (hi * (n_server - 1) * 100 / sum > worst)
				worst = hi * (n_server - 1) * 100 / sum;
		}
		map_unref(m);
	}
	OK(all, "the experts of a dead server have copies on every other one");
	OK(worst <= 150, "and the most loaded heir gets at most half more than "
	    "the mean (%d %%)", worst);
}

static bool
same_map(const struct map *a, const struct map *b)
{
	int s, l, e;

	for (l = 0; l < map_n_layer(a); l++)
		for (e = 0; e < map_n_expert(a); e++)
			for (s = 0; s < map_n_server(a); s++)
				if (map_holds(a, s, l, e) !=
				    map_holds(b, s, l, e))
					return false;
	return true;
}

static void
test_rest(void)
{
	const bool moe[4] = { false, true, false, true };
	struct map *a = plan(5, NULL, 60, 3, 7), *b = plan(5, NULL, 60, 3, 7);
	struct err e = ERR_INIT;

	OK(same_map(a, b), "a plan is a function of its arguments");
	map_unref(a);
	map_unref(b);
	a = plan(4, moe, 10, 2, 3);
	EQ_INT(map_layer_count(a, 0, 0), 0, "a dense layer has no experts");
	OK(!map_layer_moe(a, 2) && map_layer_moe(a, 3), "and the map says so");
	OK(map_check(a, &e) == 0, "such a map is whole");
	map_unref(a);
	OK(plan(1, NULL, 4, 1, 0) == NULL, "no server: no plan");
	OK(plan(1, NULL, 4, 0, 2) == NULL, "no copy: no plan");
}

int
main(void)
{
	int i;

	for (i = 0; i < MAX_SERVER; i++) {
		snprintf(name_text[i], sizeof(name_text[i]), "e%d", i);
		name[i] = name_text[i];
	}
	test_sizes();
	test_death();
	test_rest();
	return tap_done();
}
