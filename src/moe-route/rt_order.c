/* rt_order - `moe-route move`, `drain`, `dead`, `apply`: orders to a router that
 * change the map. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "map.h"
#include "rec.h"
#include "rt.h"
#include "rt_client.h"

#define ACCEPT_NS	10000000000u
#define WAIT_NS		60000000000u

enum { C_VERSION, C_STATE, C_LOADS, C_N };

static const struct rec_col change_col[] = {
	[C_VERSION] = { "version", REC_INT, 0 },
	[C_STATE] = { "state", REC_STR, 0 },
	[C_LOADS] = { "loads", REC_INT, 0 },
	[C_N] = { NULL, 0, 0 },
};

struct order {
	const char *verb, *args, *what;
	int n_arg;
	struct rt_client_opt client;
	bool json, wait;
};

static int
parse(struct order *o, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		RT_CLIENT_OPTIONS(&o->client),
		{ 0, "wait", CLI_FLAG, &o->wait, NULL,
		    "return when every front end goes by the change and old "
		    "copies are unloaded", 0, 0, NULL },
		{ 't', "timeout", CLI_DUR, &o->client.limit_ns, "DUR",
		    "longest wait for the answer (default 10s; with --wait 60s)",
		    0, 0, NULL },
		{ 'j', "json", CLI_FLAG, &o->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", o->verb, o->args, o->what, opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at < 0)
		return -1;
	if (argc - at != o->n_arg)
		return err_set(err, ERR_USAGE, "%d operands, %d are needed (%s)",
		    argc - at, o->n_arg, o->args);
	if (o->client.limit_ns == 0)
		o->client.limit_ns = o->wait ? WAIT_NS : ACCEPT_NS;
	return at;
}

static int
print(const json_t *reply, bool json, struct err *err)
{
	const char *note = json_string_value(json_object_get(reply, "note"));
	struct rec_out o;
	int rc;

	rec_out_open(&o, stdout, "change", 1, change_col, json);
	rec_put_int(&o, json_integer_value(json_object_get(reply, "version")));
	rec_put_str(&o, json_string_value(json_object_get(reply, "state")));
	rec_put_int(&o, json_integer_value(json_object_get(reply, "loads")));
	rc = rec_end(&o, err);
	rec_out_close(&o);
	if (note != NULL && note[0] != '\0')
		fprintf(stderr, "moe-route: %s\n", note);
	return rc;
}

/* Takes the reference of ask. */
static int
give(const struct order *o, json_t *ask, struct err *err)
{
	struct rt_client c;
	json_t *reply = NULL;
	int rc;

	json_object_set_new(ask, "wait", json_boolean(o->wait));
	rc = rt_client_open(&c, &o->client, err);
	if (rc == 0)
		reply = rt_client_json(&c, ask, o->client.limit_ns, err);
	else
		json_decref(ask);
	rt_client_close(&c);
	if (reply == NULL)
		return -1;
	rc = print(reply, o->json, err);
	json_decref(reply);
	return rc;
}

static int
end(const struct order *o, int rc, const struct err *err)
{
	char prog[40];

	snprintf(prog, sizeof(prog), "moe-route %s", o->verb);
	return rc == 0 ? 0 : cli_fail(prog, err);
}

int
rt_move_main(int argc, char **argv)
{
	struct order o = { .verb = "move", .args = "EXPERTS FROM TO",
	    .what = "Move experts from one server to another.", .n_arg = 3 };
	struct err err = ERR_INIT;
	int at = parse(&o, argc, argv, &err), rc = -1;

	if (at >= 0)
		rc = give(&o, json_pack("{s:s, s:s, s:s, s:s}", "ask", "move",
		    "experts", argv[at], "from", argv[at + 1], "to",
		    argv[at + 2]), &err);
	return end(&o, rc, &err);
}

/* An order that takes one name. */
static int
about(struct order *o, int argc, char **argv)
{
	struct err err = ERR_INIT;
	int at = parse(o, argc, argv, &err), rc = -1;

	if (at >= 0)
		rc = give(o, json_pack("{s:s, s:s}", "ask", o->verb, "name",
		    argv[at]), &err);
	return end(o, rc, &err);
}

int
rt_drain_main(int argc, char **argv)
{
	struct order o = { .verb = "drain", .args = "NAME", .what =
	    "Give a member's work to others, then let it end.", .n_arg = 1 };

	return about(&o, argc, argv);
}

int
rt_dead_main(int argc, char **argv)
{
	struct order o = { .verb = "dead", .args = "NAME", .what =
	    "Declare an expert server dead: nobody asks it any more.",
	    .n_arg = 1 };

	return about(&o, argc, argv);
}

int
rt_apply_main(int argc, char **argv)
{
	struct order o = { .verb = "apply", .args = "< MAP", .what =
	    "Make the map on standard input the cluster's.", .n_arg = 0 };
	struct err err = ERR_INIT;
	struct str s = STR_INIT;
	struct map *m = NULL;
	int rc = parse(&o, argc, argv, &err);

	if (rc >= 0)
		rc = map_read(&m, stdin, "-", &err);
	if (rc == 0) {
		map_text(m, &s);
		rc = give(&o, json_pack("{s:s, s:s}", "ask", "apply", "map",
		    str_c(&s)), &err);
	}
	map_unref(m);
	str_free(&s);
	return end(&o, rc < 0 ? -1 : rc, &err);
}
