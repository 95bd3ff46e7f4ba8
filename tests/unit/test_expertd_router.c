/*
 * moe-expertd and a router: reports, newer maps, and a router that is absent.
 */
#include <jansson.h>

#include "expertd_rig.h"

static json_t *report;
static struct link_pair *server;	/* as the router sees it */

/* The router's side: until a report says so many resident experts and state
 * "serving"; false when the limit passes. */
static bool
report_until(struct link_port *p, int resident)
{
	uint64_t end = clock_ns() + LIMIT_NS;
	struct link_event ev;

	for (;;) {
		while (link_next(p, &ev)) {
			if (ev.what == LINK_UP)
				server = ev.pair;
			if (ev.what != LINK_MSG || ev.type != LINK_MSG_REPORT)
				continue;
			json_decref(report);
			report = json_loadb(ev.data, ev.n, 0, NULL);
		}
		if (report != NULL && json_integer_value(json_object_get(report,
		    "resident")) == resident && strcmp(json_string_value(
		    json_object_get(report, "state")), "serving") == 0)
			return true;
		if (clock_ns() >= end)
			return false;
		link_wait(p, end);
	}
}

/* The router wants the first n experts of every layer. */
static void
send_want(uint32_t version, int n)
{
	struct str body = STR_INIT;
	struct hold h;
	int l, e;

	hold_init(&h, (uint32_t)cfg->n_layer, (uint32_t)cfg->n_expert);
	h.version = version;
	for (l = 0; l < cfg->n_layer; l++)
		for (e = 0; e < n; e++)
			hold_set(&h, (uint32_t)l, (uint32_t)e, true);
	hold_encode(&h, &body);
	link_msg(server, LINK_MSG_WANT, body.p, body.n);
	str_free(&body);
	hold_free(&h);
}

static bool
has_all(const struct front *f)
{
	return hold_count(&f->hold) == (uint64_t)(cfg->n_layer * cfg->n_expert);
}

/* The router's side: what the server says to an order. */
static bool
replies(struct link_port *p, const char *order, const char *want)
{
	uint64_t end = clock_ns() + LIMIT_NS;
	struct link_event ev;
	bool good;

	link_msg(server, LINK_MSG_ASK, order, strlen(order));
	while (clock_ns() < end) {
		while (link_next(p, &ev)) {
			if (ev.what != LINK_MSG || ev.type != LINK_MSG_REPLY)
				continue;
			good = memmem(ev.data, ev.n, want, strlen(want)) !=
			    NULL;
			if (!good)
				printf("# %.*s\n", (int)ev.n,
				    (const char *)ev.data);
			return good;
		}
		link_wait(p, end);
	}
	return false;
}

/* Another policy while rows come and go. */
static void
test_order(struct link_port *p, struct front *f)
{
	static const char *const name[] = { "defrag", "mtfs", "auto", "flfs",
	    "wait", "fifo" };
	char order[64], want[64];
	unsigned ok = f->n_ok;
	json_t *a;
	size_t i;

	for (i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(order, sizeof(order), "{\"policy\": \"%s\"}", name[i]);
		snprintf(want, sizeof(want), "{\"policy\":\"%s\"}", name[i]);
		ask_many(f, 10, cfg->n_expert);
		OK(replies(p, order, want), "order: %s", name[i]);
	}
	OK(until(f, is_idle) && f->n_ok == ok + 60, "the answers are the same");
	OK(replies(p, "{\"policy\": \"none\"}", "{\"error\":") &&
	    replies(p, "{\"policy\": 3}", "{\"error\":") &&
	    replies(p, "{}", "{\"error\":") &&
	    replies(p, "nonsense", "{\"error\":"), "bad orders are refused");
	json_decref(report);
	report = NULL;
	link_msg(server, LINK_MSG_ASK, "{\"ask\": \"report\"}", 17);
	OK(report_until(p, cfg->n_layer * cfg->n_expert),
	    "a report, as it is asked for");
	EQ_STR(json_string_value(json_object_get(report, "policy")), "fifo",
	    "it has the policy");
	a = json_object_get(report, "policies");
	OK(json_array_size(a) >= 1 && json_integer_value(json_object_get(
	    json_array_get(a, 0), "rows")) > 0, "and the rows of each");
}

static void
test_router(const char *addr)
{
	struct link_opt o = { .slot_bytes = SLOT_ALIGN };
	char raddr[LINK_ADDR], conf[128], more[160];
	struct link_port *p;
	struct daemon d;
	struct front f;
	FILE *fp;

	o.me.role = LINK_ROUTE;
	strcpy(o.me.name, "r1");
	snprintf(raddr, sizeof(raddr), "shm:%s/r.sock", dir);
	snprintf(conf, sizeof(conf), "%s/c.conf", dir);
	if ((fp = fopen(conf, "w")) == NULL)
		exit(1);
	fprintf(fp, "moe-cluster 1\nexpert e1 %s\nexpert e2 shm:%s/e2\n"
	    "route r1 %s\n", addr, dir, raddr);
	fclose(fp);
	snprintf(more, sizeof(more), "-f %s", conf);
	daemon_start(&d, addr, more);
	OK(daemon_ready(&d), "ready without its router");
	front_open(&f, addr);
	OK(link_port_open(&p, &o, NULL) == 0 &&
	    link_listen(p, raddr, raddr, NULL) == 0, "the router comes late");
	OK(report_until(p, cfg->n_layer * cfg->n_expert / 2),
	    "reports the half that the plan gives it");
	EQ_STR(json_string_value(json_object_get(report, "name")), "e1",
	    "by name");
	EQ_INT(json_integer_value(json_object_get(report, "pid")), d.pid,
	    "and process");
	send_want(7, 3);
	OK(report_until(p, cfg->n_layer * 3),
	    "an order: what is not wanted leaves, what is missing is loaded");
	send_want(7, cfg->n_expert);
	OK(report_until(p, cfg->n_layer * cfg->n_expert),
	    "the next one: the rest is loaded while it serves");
	EQ_INT(json_integer_value(json_object_get(report, "map")), 7,
	    "the report names the version");
	OK(until(&f, has_all), "front ends are told");
	ask_many(&f, 20, cfg->n_expert);
	OK(until(&f, is_idle) && f.n_ok == 20, "and served");
	send_want(3, 1);
	link_msg(server, LINK_MSG_WANT, "nonsense", 8);
	link_port_close(p);
	ask_many(&f, 5, cfg->n_expert);
	OK(until(&f, is_idle) && f.n_ok == 25,
	    "old orders, nonsense, and the router's end change nothing");

	json_decref(report);
	report = NULL;
	OK(link_port_open(&p, &o, NULL) == 0 &&
	    link_listen(p, raddr, raddr, NULL) == 0 &&
	    report_until(p, cfg->n_layer * cfg->n_expert),
	    "a new router gets reports again");
	test_order(p, &f);
	link_msg(server, LINK_MSG_DRAIN, NULL, 0);
	OK(until(&f, is_draining), "and orders to drain");
	EQ_INT(daemon_end(&d, 0), 0, "it ends with 0");
	link_port_close(p);
	front_close(&f);
	json_decref(report);
	unlink(conf);
}

int
main(void)
{
	char addr[LINK_ADDR];

	if (!rig_open())
		return 0;
	snprintf(addr, sizeof(addr), "shm:%s/e.sock", dir);
	test_router(addr);
	rig_close();
	return tap_done();
}
