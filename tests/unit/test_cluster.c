/* Unit tests of the cluster file, the map and the even plan. */
#include <stdlib.h>

#include "cluster.h"
#include "map.h"
#include "mem.h"
#include "plan.h"
#include "tap.h"

static const char good[] =
    "# a cluster\n"
    "moe-cluster 1\n"
    "model models/tales   # bundled\n"
    "\n"
    "replicas 2\n"
    "expert e1 shm:/run/e1.sock\n"
    "expert e2 tcp:10.0.0.2:7001\n"
    "front f1 127.0.0.1:8080\n"
    "front f2 127.0.0.1:8081 shm:/run/f2.sock\n"
    "route r1 tcp:127.0.0.1:7000\n";

static void
test_file(void)
{
	struct cluster *c, *d;
	struct err err = ERR_INIT;
	struct str a = STR_INIT, b = STR_INIT;

	if (!OK(cluster_parse(&c, good, strlen(good), "x", &err) == 0, "parse"))
		return;
	EQ_INT(c->n_member, 5, "members");
	EQ_INT(c->replicas, 2, "replicas");
	EQ_STR(c->model, "models/tales", "model");
	EQ_STR(cluster_find(c, CLUSTER_EXPERT, "e2")->addr,
	    "tcp:10.0.0.2:7001", "address");
	OK(cluster_find(c, CLUSTER_FRONT, "e2") == NULL, "role counts");
	OK(cluster_find(c, CLUSTER_FRONT, "f1")->pages == NULL,
	    "no address for pages");
	EQ_STR(cluster_find(c, CLUSTER_FRONT, "f2")->pages,
	    "shm:/run/f2.sock", "an address for pages");
	cluster_write(c, &a);
	OK(cluster_parse(&d, a.p, a.n, "y", &err) == 0, "canonical text parses");
	cluster_write(d, &b);
	EQ_STR(str_c(&b), str_c(&a), "and is a fixed point");
	cluster_free(c);
	cluster_free(d);
	str_free(&a);
	str_free(&b);
}

static void
test_refused(void)
{
	static const struct {
		const char *text, *want;
	} bad[] = {
		{ "", "x:1: no line 'moe-cluster 1'" },
		{ "model m\n", "x:1: the first line must be 'moe-cluster 1'" },
		{ "moe-cluster 2\n",
		    "x:1: format version 2 is not known (1 is)" },
		{ "moe-cluster 1\nexpert e1\n",
		    "x:2: expert takes a name and an address" },
		{ "moe-cluster 1\nexpert e1 a:b c\n", "x:2: expert takes a "
		    "name, an address and perhaps weight=W, not 'c'" },
		{ "moe-cluster 1\nexpert e1 shm:/a weight=0\n", "x:2: weight: "
		    "'0' is not a number from 0.01 to 100" },
		{ "moe-cluster 1\nroute r1 shm:/a weight=1\n",
		    "x:2: route takes a name and an address" },
		{ "moe-cluster 1\nexpert e/1 shm:/a\n", "x:2: 'e/1' is no name "
		    "(letters, digits, - _ . and at most 47)" },
		{ "moe-cluster 1\nexpert e1 nowhere\n", "x:2: nowhere: not an "
		    "address (shm:PATH, tcp:HOST:PORT)" },
		{ "moe-cluster 1\nexpert e1 fault:dorp=1:shm:/a\n",
		    "x:2: fault:dorp=1:shm:/a: fault: no such key 'dorp'" },
		{ "moe-cluster 1\nexpert e1 fault:drop=1:shm:/a\n"
		    "expert e2 shm:/a\n",
		    "x:3: the address 'shm:/a' is taken" },
		{ "moe-cluster 1\nexpert e1 shm:/a\nfront e1 h:1\n",
		    "x:3: the name 'e1' is taken" },
		{ "moe-cluster 1\nexpert e1 shm:/a\nexpert e2 shm:/a\n",
		    "x:3: the address 'shm:/a' is taken" },
		{ "moe-cluster 1\nfront f1 h:1 h:2\n", "x:2: h:2: not an "
		    "address (shm:PATH, tcp:HOST:PORT)" },
		{ "moe-cluster 1\nfront f1 h:1 shm:/a\nexpert e1 shm:/a\n",
		    "x:3: the address 'shm:/a' is taken" },
		{ "moe-cluster 1\nfront f1\n", "x:2: front takes a name, an "
		    "address, and perhaps one for pages" },
		{ "moe-cluster 1\nreplicas 0\n",
		    "x:2: replicas: '0' is not a number from 1 to 64" },
		{ "moe-cluster 1\n\nfoo bar\n", "x:3: 'foo' is not known here "
		    "(model, replicas, psk-file, expert, front, route)" },
	};
	struct err err = ERR_INIT;
	struct cluster *c;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		OK(cluster_parse(&c, bad[i].text, strlen(bad[i].text), "x",
		    &err) == -1 && err.code == ERR_DATA, "refused: %zu", i);
		EQ_STR(err.text, bad[i].want, "and why");
	}
	OK(cluster_read(&c, "/nonexistent", &err) == -1 &&
	    err.code == ERR_USAGE, "a file that is not there");
}

static struct map *
plan(int layers, int experts, int servers, int replicas)
{
	static char name[64][16];
	static const char *list[64];
	struct plan_opt o = { 1, layers, NULL, experts, replicas, servers,
	    list, list, NULL };
	struct err err = ERR_INIT;
	struct map *m = NULL;
	int i;

	for (i = 0; i < servers; i++) {
		snprintf(name[i], sizeof(name[i]), "s%d", i);
		list[i] = name[i];
	}
	if (plan_even(&o, &m, &err) != 0)
		printf("# %s\n", err.text);
	return m;
}

/* Largest and smallest of n counts differ by at most `by`. */
static bool
even(const int *v, int n, int by)
{
	int lo = v[0], hi = v[0], i;

	for (i = 1; i < n; i++) {
		lo = v[i] < lo ? v[i] : lo;
		hi = v[i] > hi ? v[i] : hi;
	}
	return hi - lo <= by;
}

static void
test_plan_even(void)
{
	static const int expert_set[] = { 1, 2, 7, 8, 16, 60, 64, 257 };
	int servers, replicas, l, e, s, n, i, total[64], layer[64];
	bool ok_layer = true, ok_total = true, ok_copies = true;
	const uint16_t *list;
	struct map *m;
	size_t x;

	for (servers = 1; servers <= 33; servers++)
	for (replicas = 1; replicas <= 4; replicas++)
	for (x = 0; x < sizeof(expert_set) / sizeof(expert_set[0]); x++) {
		m = plan(3, expert_set[x], servers, replicas);
		memset(total, 0, sizeof(total));
		for (l = 0; l < 3; l++) {
			memset(layer, 0, sizeof(layer));
			for (e = 0; e < expert_set[x]; e++) {
				n = map_replicas(m, l, e, &list);
				ok_copies &= n == (replicas < servers ?
				    replicas : servers);
				for (i = 0; i < n; i++)
					layer[list[i]]++;
			}
			ok_layer &= even(layer, servers, 1);
			for (s = 0; s < servers; s++)
				total[s] += layer[s];
		}
		ok_total &= even(total, servers, 1);
		map_unref(m);
	}
	OK(ok_copies, "every expert has its copies, on distinct servers");
	OK(ok_layer, "a layer's loads differ by at most one");
	OK(ok_total, "loads over all layers differ by at most one");
}

/* When server 0 dies, who takes over how much? */
static void
test_plan_spread(void)
{
	struct map *m = plan(8, 64, 8, 2);
	int heir[64] = { 0 }, l, e;
	const uint16_t *list;

	for (l = 0; l < 8; l++)
		for (e = 0; e < 64; e++)
			if (map_holds(m, 0, l, e)) {
				map_replicas(m, l, e, &list);
				heir[list[0] == 0 ? list[1] : list[0]]++;
			}
	OK(even(heir + 1, 7, 4), "a dead server's experts go to all others");
	map_unref(m);
}

static void
test_map_text(void)
{
	struct map *m = plan(2, 5, 3, 2), *r = NULL;
	struct err err = ERR_INIT;
	char *text = NULL, *again = NULL;
	size_t n, n2;
	FILE *fp = open_memstream(&text, &n);

	OK(map_write(m, fp, false, &err) == 0, "write");
	fclose(fp);
	fp = fmemopen(text, n, "r");
	OK(map_read(&r, fp, "map", &err) == 0, "read: %s", err.text);
	fclose(fp);
	fp = open_memstream(&again, &n2);
	map_write(r, fp, false, &err);
	fclose(fp);
	EQ_STR(again, text, "the same text again");
	EQ_INT(map_count(r, 0), map_count(m, 0), "the same loads");
	free(again);
	map_unref(r);
	map_unref(m);
	free(text);
	text = mem_strdup("#moe:map/1\tversion\tlayers\texperts\tlayer\texpert"
	    "\tserver\taddress\n1\t1\t2\t0\t0\ta\tshm:/a\n");
	fp = fmemopen(text, strlen(text), "r");
	OK(map_read(&r, fp, "m", &err) == -1 && err.code == ERR_DATA,
	    "an expert without a server is refused");
	EQ_STR(err.text, "map version 1: expert 1 of layer 0 is on no server",
	    "and named");
	fclose(fp);
	mem_free(text);
	text = mem_strdup("#moe:map/1\tversion\tlayers\texperts\tlayer\texpert"
	    "\tserver\taddress\n1\t4096\t65535\t0\t0\ta\tshm:/a\n");
	err.text[0] = '\0';
	OK(map_read_text(&r, text, strlen(text), "m", &err) == -1 &&
	    strstr(err.text, "65535 experts: out of range") != NULL,
	    "sizes that no message has records for are refused: %s", err.text);
	mem_free(text);
}

int
main(void)
{
	test_file();
	test_refused();
	test_plan_even();
	test_plan_spread();
	test_map_text();
	return tap_done();
}
