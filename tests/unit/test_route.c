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
	rt_reg_down(&g, &p1);
	OK(rt_reg_of(&g, &p2) == m && m->who == &p2 && m->pid == -1,
	    "a newer connection takes the place, the older's end is no news");
	snprintf(hello.name, sizeof(hello.name), "stranger");
	rt_reg_up(&g, &hello, &p3, 7);
	EQ_INT(g.n, 5, "somebody who is not in the file");
	rt_reg_down(&g, &p3);
	EQ_INT(g.n, 4, "is forgotten when it goes");
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
	struct cluster *a = cluster(two), *b = cluster(three);
	struct rt_map m = { NULL, STR_INIT }, n = { NULL, STR_INIT };
	struct err e = ERR_INIT;
	bool changed;

	OK(rt_map_make(&m, a, NULL, &changed, &e) == 0 && m.map == NULL,
	    "no model: no map");
	OK(rt_map_make(&m, a, dir, &changed, &e) == 0 && changed &&
	    map_version(m.map) == 1, "version 1: %s", e.text);
	OK(rt_map_make(&m, a, dir, &changed, &e) == 0 && !changed &&
	    map_version(m.map) == 1, "the same again: the same version");
	OK(rt_map_make(&m, b, dir, &changed, &e) == 0 && changed &&
	    map_version(m.map) == 2, "another file: version 2");
	close(mkstemp(path));
	OK(rt_map_save(&m, path, &e) == 0 && rt_map_load(&n, path, &e) == 0 &&
	    map_version(n.map) == 2, "a snapshot keeps the version");
	OK(rt_map_make(&n, b, dir, &changed, &e) == 0 && !changed,
	    "and the map");
	unlink(path);
	OK(rt_map_load(&n, path, &e) == 0, "no snapshot is fine");
	rt_map_free(&m);
	rt_map_free(&n);
	cluster_free(a);
	cluster_free(b);
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
