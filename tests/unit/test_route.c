/* Unit tests of the router: registry, map versions, evenness. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "tap.h"

#include "../../src/moe-route/rt_load.c"
#include "../../src/moe-route/rt_map.c"
#include "../../src/moe-route/rt_reg.c"

static struct cluster *
cluster(const char *text)
{
	struct cluster *c = NULL;
	struct err e = ERR_INIT;

	if (cluster_parse(&c, text, strlen(text), "c", &e) != 0) {
		printf("# %s\n", e.text);
		abort();
	}
	return c;
}

static const char two[] = "moe-cluster 1\nreplicas 1\nexpert e1 shm:a\n"
    "expert e2 shm:b\nfront f1 127.0.0.1:1\nroute r1 shm:c\n";
static const char three[] = "moe-cluster 1\nreplicas 1\nexpert e1 shm:a\n"
    "expert e3 shm:d\nroute r1 shm:c\n";

static void
test_reg(void)
{
	struct rt_reg g = { NULL, 0, 0 };
	struct link_hello hello = { .role = LINK_EXPERT, .name = "e1" };
	struct cluster *a = cluster(two), *b = cluster(three);
	struct err e = ERR_INIT;
	struct rt_member *m;
	char p1, p2, p3;
	static const char r1[] = "{\"state\":\"serving\",\"pid\":7,"
	    "\"resident\":64,\"queued_rows\":-3,\"rows\":100}";
	static const char r2[] = "{\"rows\":350,\"state\":\"BAD\"}";

	rt_reg_file(&g, a);
	EQ_INT(g.n, 4, "members of the file, all down");
	m = rt_reg_up(&g, &hello, &p1, 5);
	OK(m != NULL && rt_reg_of(&g, &p1) == m && g.n == 4, "one comes up");
	OK(rt_reg_report(m, r1, strlen(r1), 1000000000, &e) == 0 &&
	    m->pid == 7 && m->experts == 64 && m->queue == -1 &&
	    strcmp(m->state, "serving") == 0, "its report; a wrong count says "
	    "nothing");
	OK(rt_reg_report(m, r2, strlen(r2), 3000000000u, &e) == 0 &&
	    fabs(m->rows_s - 125) < 1e-9, "rows a second between reports");
	OK(rt_reg_report(m, "[", 1, 4, &e) != 0 && e.code == ERR_DATA,
	    "no JSON: refused");
	m = rt_reg_up(&g, &hello, &p2, 6);
	rt_reg_down(&g, &p1, 9);
	OK(rt_reg_of(&g, &p2) == m && m->who == &p2 && m->pid == -1,
	    "a newer connection takes the place, the older's end is no news");
	snprintf(hello.name, sizeof(hello.name), "stranger");
	rt_reg_up(&g, &hello, &p3, 7);
	EQ_INT(g.n, 5, "somebody who is not in the file");
	rt_reg_down(&g, &p3, 9);
	EQ_INT(g.n, 4, "is forgotten when it goes");
	m = rt_reg_up(&g, &hello, &p3, 7);
	m->dead = true;
	rt_reg_down(&g, &p3, 8);
	OK(g.n == 5 && strcmp(rt_reg_state(&g.m[4]), "dead") == 0,
	    "but not when it is dead by an operator's word");
	rt_reg_up(&g, &hello, &p3, 9);
	OK(g.m[4].dead, "which holds for this process,");
	hello.incarnation = 99;
	rt_reg_up(&g, &hello, &p3, 9);
	OK(!g.m[4].dead, "not for the next");
	rt_reg_down(&g, &p3, 9);
	EQ_INT(g.n, 4, "that goes, too");
	hello.role = LINK_TOOL;
	OK(rt_reg_up(&g, &hello, &p3, 8) == NULL, "a tool is no member");
	rt_reg_file(&g, b);
	EQ_INT(g.n, 3, "a new file: e2 and f1 go, e3 comes");
	rt_reg_free(&g);
	cluster_free(a);
	cluster_free(b);
}

static void
test_map(void)
{
	const char *root = getenv("MOE_ROOT");
	char *dir = mem_printf("%s/models/tales", root ? root : ".");
	char path[] = "/tmp/moe-test-XXXXXX";
	struct rt_map_move mv = { "0-7", "e1", "e2", "shm:b", 0, 0 };
	struct cluster *c = cluster(two);
	struct map *m = NULL, *n = NULL, *moved = NULL;
	struct err e = ERR_INIT;

	OK(rt_map_plan(c, dir, &m, &e) == 0 && map_version(m) == 1,
	    "version 1: %s", e.text);
	map_set_version(m, 7);
	close(mkstemp(path));
	OK(rt_map_save(m, path, &e) == 0 && rt_map_load(&n, path, &e) == 0 &&
	    map_version(n) == 7 && map_same(m, n), "a snapshot keeps the map");
	unlink(path);
	map_unref(n);
	OK(rt_map_load(&n, path, &e) == 0 && n == NULL, "no snapshot is fine");
	OK(rt_map_save(m, "/nowhere/x", &e) == -1 && e.code == ERR_TEMP,
	    "a snapshot that cannot be written");

	OK(rt_map_move(m, &mv, &moved, &e) == 0 && mv.moved > 0 &&
	    mv.there == 0 && map_count(moved, 0) + (int)mv.moved ==
	    map_count(m, 0) && map_count(moved, 1) - (int)mv.moved ==
	    map_count(m, 1) && map_check(moved, &e) == 0, "experts move");
	OK(rt_map_move(moved, &mv, &n, &e) == -1 && e.code == ERR_DATA,
	    "none is left: %s", e.text);
	mv.spec = "9:99";
	OK(rt_map_move(m, &mv, &n, &e) == -1 && e.code == ERR_USAGE,
	    "a bad list: %s", e.text);
	mv.from = "e7";
	OK(rt_map_move(m, &mv, &n, &e) == -1 && e.code == ERR_DATA,
	    "from nobody: %s", e.text);
	map_unref(moved);
	mv = (struct rt_map_move){ "all", "e1", "e3", "shm:c", 0, 0 };
	OK(rt_map_move(m, &mv, &moved, &e) == 0 &&
	    map_count(moved, map_server_find(moved, "e3")) ==
	    map_count(m, 0) && map_count(moved, 0) == 0,
	    "all to a server that is new");
	map_unref(moved);
	map_unref(m);
	cluster_free(c);
	mem_free(dir);
}

static void
test_load(void)
{
	double v[] = { 3, 1, 0, 0 }, even[] = { 2, 2 }, zero[] = { 0, 0 };
	double count[] = { 10, 4 }, load[2] = { 0, 0 };
	struct map *m = map_new(1, 1, NULL, 2);
	char line[] = "arxiv,7,1,2,3", broken[] = "arxiv,7,1,x";
	struct rt_counts c = { 0 };
	struct err e = ERR_INIT;
	struct rt_load r;

	rt_load(v, 4, &r);
	OK(fabs(r.ratio - 3) < 1e-12 && fabs(r.gini - 0.625) < 1e-12 &&
	    fabs(r.cv - sqrt(1.5)) < 1e-12, "max/mean, Gini, deviation");
	rt_load(even, 2, &r);
	OK(fabs(r.ratio - 1) < 1e-12 && fabs(r.gini) < 1e-12, "even");
	rt_load(zero, 2, &r);
	OK(isnan(r.gini) && r.total < 1e-12, "nothing has no evenness");
	map_add_server(m, "a", "a");
	map_add_server(m, "b", "b");
	map_add(m, 0, 0, 0, 3);
	map_add(m, 0, 0, 1, 1);
	map_add(m, 0, 1, 1, 1);
	rt_load_servers(m, 0, count, load);
	OK(fabs(load[0] - 7.5) < 1e-12 && fabs(load[1] - 6.5) < 1e-12,
	    "a count is split by shares");
	map_unref(m);
	OK(rt_counts_line(&c, line, &e) == 0 && c.n == 3 && c.layer == 7 &&
	    strcmp(c.domain, "arxiv") == 0, "a line of counts");
	OK(rt_counts_line(&c, broken, &e) != 0 && e.code == ERR_DATA,
	    "a broken one");
	rt_counts_free(&c);
}

int
main(void)
{
	test_reg();
	test_map();
	test_load();
	return tap_done();
}
