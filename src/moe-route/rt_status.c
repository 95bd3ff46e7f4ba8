/* rt_status - `moe-route status`: the router's registry as a table. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "cluster.h"
#include "json.h"
#include "link.h"
#include "rec.h"
#include "rng.h"
#include "rt.h"
#include "str.h"

#define PROG	"moe-route status"

enum { C_ROLE, C_NAME, C_PID, C_ADDRESS, C_STATE, C_EXPERTS, C_BYTES, C_QUEUE,
    C_ROWS, C_RATE, C_HEARD, C_MAP, C_N };

static const struct rec_col member_col[] = {
	[C_ROLE] = { "role", REC_STR, 0 },
	[C_NAME] = { "name", REC_STR, 0 },
	[C_PID] = { "pid", REC_INT, 0 },
	[C_ADDRESS] = { "address", REC_STR, 0 },
	[C_STATE] = { "state", REC_STR, 0 },
	[C_EXPERTS] = { "experts", REC_INT, 0 },
	[C_BYTES] = { "bytes", REC_INT, 0 },
	[C_QUEUE] = { "queue", REC_INT, 0 },
	[C_ROWS] = { "rows", REC_INT, 0 },
	[C_RATE] = { "rows_s", REC_REAL, 0 },
	[C_HEARD] = { "heard_ms", REC_INT, 0 },
	[C_MAP] = { "map", REC_INT, 0 },
	[C_N] = { NULL, 0, 0 },
};

struct ask {
	const char *file, *name, *addr;
	uint64_t limit_ns;
	bool json;
};

static int
parse(struct ask *a, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'f', "cluster", CLI_STR, &a->file, "CLUSTER",
		    "cluster file, for the router's address", 0, 0,
		    "MOE_CLUSTER" },
		{ 'i', "name", CLI_STR, &a->name, "NAME",
		    "which router of the file (default: its first)", 0, 0,
		    NULL },
		{ 'r', "route", CLI_STR, &a->addr, "ADDR",
		    "the router's address, instead of a file", 0, 0, NULL },
		{ 't', "timeout", CLI_DUR, &a->limit_ns, "DUR",
		    "longest wait for the router (default 2s)", 0, 0, NULL },
		{ 'j', "json", CLI_FLAG, &a->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "status", "",
	    "Print the members of a cluster as its router knows them.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (at >= 0 && a->file == NULL && a->addr == NULL)
		return err_set(err, ERR_USAGE, "-f CLUSTER or -r ADDR is "
		    "needed");
	return at < 0 ? -1 : 0;
}

/* Wait for the reply to what is asked as soon as the pair is up. */
static int
wait_reply(struct link_port *port, const char *addr, uint64_t deadline_ns,
    struct str *out, struct err *err)
{
	static const char question[] = "{\"ask\":\"status\"}";
	char why[256] = "no answer";
	struct link_event ev;

	do {
		while (link_next(port, &ev)) {
			if (ev.what == LINK_UP)
				(void)link_msg(ev.pair, LINK_MSG_ASK, question,
				    sizeof(question) - 1);
			if (ev.what == LINK_DOWN)
				memcpy(why, ev.reason, sizeof(why));
			if (ev.what == LINK_MSG &&
			    ev.type == LINK_MSG_REPLY) {
				str_add(out, ev.data, ev.n);
				return 0;
			}
		}
		link_wait(port, deadline_ns);
	} while (clock_ns() < deadline_ns);
	return err_set(err, ERR_TEMP, "the router at %s: %s", addr, why);
}

static int
ask_router(const struct ask *a, const char *addr, struct str *out,
    struct err *err)
{
	uint64_t deadline = clock_ns() + a->limit_ns;
	struct link_opt lo = { .hello_ns = a->limit_ns };
	struct link_port *port;
	struct link_pair *pair;
	int rc = -1;

	lo.me.role = LINK_TOOL;
	lo.me.mixed = true;
	snprintf(lo.me.name, sizeof(lo.me.name), "status-%d", (int)getpid());
	lo.me.incarnation = rng_at(clock_ns(), (uint64_t)getpid(), 0);
	if (link_port_open(&port, &lo, err) != 0)
		return -1;
	if ((pair = link_dial(port, addr, NULL, err)) != NULL) {
		rc = wait_reply(port, addr, deadline, out, err);
		if (rc != 0 && !link_is_up(pair)) {
			char why[256];

			link_why(pair, why);
			if (why[0] != '\0')
				err_set(err, ERR_TEMP, "the router at %s: %s",
				    addr, why);
		}
	}
	link_port_close(port);
	return rc;
}

static void
put_int(struct rec_out *o, const json_t *m, const char *key)
{
	const json_t *v = json_object_get(m, key);

	if (json_is_integer(v))
		rec_put_int(o, json_integer_value(v));
	else
		rec_put_none(o);
}

static void
put_str(struct rec_out *o, const json_t *m, const char *key)
{
	rec_put_str(o, json_string_value(json_object_get(m, key)));
}

static int
print(const struct str *reply, bool json, struct err *err)
{
	json_t *root = json_want_text(str_c(reply), reply->n, "the router's "
	    "reply", ERR_DATA, err), *list, *m;
	struct rec_out o;
	int rc = 0;
	size_t i;

	if (root == NULL)
		return -1;
	list = json_object_get(root, "members");
	rec_out_open(&o, stdout, "member", 1, member_col, json);
	for (i = 0; i < json_array_size(list) && rc == 0; i++) {
		m = json_array_get(list, i);
		put_str(&o, m, "role");
		put_str(&o, m, "name");
		put_int(&o, m, "pid");
		put_str(&o, m, "address");
		put_str(&o, m, "state");
		put_int(&o, m, "experts");
		put_int(&o, m, "bytes");
		put_int(&o, m, "queue");
		put_int(&o, m, "rows");
		rec_put_real(&o, json_is_number(json_object_get(m, "rows_s")) ?
		    json_number_value(json_object_get(m, "rows_s")) : NAN);
		put_int(&o, m, "heard_ms");
		put_int(&o, root, "map");
		rc = rec_end(&o, err);
	}
	rec_out_close(&o);
	json_decref(root);
	return rc;
}

int
rt_status_main(int argc, char **argv)
{
	struct ask a = { .limit_ns = 2000000000u };
	struct err err = ERR_INIT;
	struct cluster *c = NULL;
	const struct cluster_member *r;
	struct str reply = STR_INIT;
	int rc = parse(&a, argc, argv, &err);

	if (rc == 0 && a.addr == NULL &&
	    (rc = cluster_read(&c, a.file, &err)) == 0) {
		r = cluster_find(c, CLUSTER_ROUTE, a.name);
		if (r != NULL)
			a.addr = r->addr;
		else
			rc = err_set(&err, ERR_DATA, "%s: no line 'route %s "
			    "ADDR'", a.file, a.name != NULL ? a.name : "NAME");
	}
	if (rc == 0)
		rc = ask_router(&a, a.addr, &reply, &err);
	if (rc == 0)
		rc = print(&reply, a.json, &err);
	str_free(&reply);
	cluster_free(c);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
