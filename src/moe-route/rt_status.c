/* rt_status - `moe-route status`: the router's registry as a table, how front
 * ends find their servers (--pairs), and the map (--map). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "map.h"
#include "rec.h"
#include "rt.h"
#include "rt_client.h"

#define PROG	"moe-route status"

enum { C_ROLE, C_NAME, C_PID, C_ADDRESS, C_STATE, C_EXPERTS, C_BYTES, C_QUEUE,
    C_ROWS, C_RATE, C_HEARD, C_MAP, C_NEXT, C_GOES_BY, C_LOADING, C_RTT,
    C_DEADLINE, C_MASKED, C_N };

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
	[C_NEXT] = { "next", REC_INT, 0 },
	[C_GOES_BY] = { "goes_by", REC_INT, 0 },
	[C_LOADING] = { "loading", REC_INT, 0 },
	[C_RTT] = { "rtt_us", REC_INT, 0 },
	[C_DEADLINE] = { "deadline_us", REC_INT, 0 },
	[C_MASKED] = { "masked", REC_INT, 0 },
	[C_N] = { NULL, 0, 0 },
};

enum { P_FRONT, P_SERVER, P_STATE, P_RTT, P_DEV, P_DEADLINE, P_OUT, P_LATE,
    P_P50, P_P99, P_N };

static const struct rec_col pair_col[] = {
	[P_FRONT] = { "front", REC_STR, 0 },
	[P_SERVER] = { "server", REC_STR, 0 },
	[P_STATE] = { "state", REC_STR, 0 },
	[P_RTT] = { "rtt_us", REC_INT, 0 },
	[P_DEV] = { "dev_us", REC_INT, 0 },
	[P_DEADLINE] = { "deadline_us", REC_INT, 0 },
	[P_OUT] = { "calls", REC_INT, 0 },
	[P_LATE] = { "late", REC_INT, 0 },
	[P_P50] = { "rtt_p50_us", REC_INT, 0 },
	[P_P99] = { "rtt_p99_us", REC_INT, 0 },
	[P_N] = { NULL, 0, 0 },
};

struct want {
	struct rt_client_opt client;
	bool json, pairs, map;
};

static int
parse(struct want *w, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		RT_CLIENT_OPTIONS(&w->client),
		{ 't', "timeout", CLI_DUR, &w->client.limit_ns, "DUR",
		    "longest wait for the router (default 2s)", 0, 0, NULL },
		{ 0, "pairs", CLI_FLAG, &w->pairs, NULL,
		    "round trips and deadlines of each front end and server",
		    0, 0, NULL },
		{ 0, "map", CLI_FLAG, &w->map, NULL, "the map itself", 0, 0,
		    NULL },
		{ 'j', "json", CLI_FLAG, &w->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "status", "",
	    "Print the members of a cluster as its router knows them.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (at >= 0 && w->pairs && w->map)
		return err_set(err, ERR_USAGE, "--pairs and --map exclude each "
		    "other");
	return at < 0 ? -1 : 0;
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

static void
put_real(struct rec_out *o, const json_t *m, const char *key)
{
	const json_t *v = json_object_get(m, key);

	rec_put_real(o, json_is_number(v) ? json_number_value(v) : NAN);
}

/* How front ends find a server: the slowest of them, and how many mask it. */
struct seen {
	int64_t rtt_us, deadline_us, masked, n;
};

static void
see_pair(struct seen *s, const json_t *p)
{
	const char *state = json_string_value(json_object_get(p, "state"));
	int64_t rtt = json_integer_value(json_object_get(p, "rtt_us"));
	int64_t due = json_integer_value(json_object_get(p, "deadline_us"));

	s->n++;
	s->masked += state != NULL && strcmp(state, "up") != 0;
	s->rtt_us = rtt > s->rtt_us ? rtt : s->rtt_us;
	s->deadline_us = due > s->deadline_us ? due : s->deadline_us;
}

static json_t *
pairs_of(const json_t *member)
{
	return json_object_get(json_object_get(member, "report"), "pairs");
}

static struct seen
see(const json_t *members, const char *server)
{
	struct seen s = { 0, 0, 0, 0 };
	const char *name;
	json_t *m, *p;
	size_t i, k;

	json_array_foreach(members, i, m)
		json_array_foreach(pairs_of(m), k, p) {
			name = json_string_value(json_object_get(p, "server"));
			if (server != NULL && name != NULL &&
			    strcmp(name, server) == 0)
				see_pair(&s, p);
		}
	return s;
}

static int64_t
loading(const json_t *m)
{
	const json_t *r = json_object_get(m, "report");
	int64_t n = json_integer_value(json_object_get(r, "assigned")) -
	    json_integer_value(json_object_get(r, "resident"));

	return n > 0 ? n : 0;
}

static void
put_member(struct rec_out *o, const json_t *root, const json_t *m)
{
	const char *role = json_string_value(json_object_get(m, "role"));
	bool expert = role != NULL && strcmp(role, "expert") == 0;
	struct seen s = see(json_object_get(root, "members"), !expert ? NULL :
	    json_string_value(json_object_get(m, "name")));
	bool known = s.n > 0;

	put_str(o, m, "role");
	put_str(o, m, "name");
	put_int(o, m, "pid");
	put_str(o, m, "address");
	put_str(o, m, "state");
	put_int(o, m, "experts");
	put_int(o, m, "bytes");
	put_int(o, m, "queue");
	put_int(o, m, "rows");
	put_real(o, m, "rows_s");
	put_int(o, m, "heard_ms");
	put_int(o, root, "map");
	put_int(o, root, "next");
	put_int(o, m, "map");
	rec_put_int(o, expert ? loading(m) : 0);
	if (known && s.rtt_us > 0)
		rec_put_int(o, s.rtt_us);
	else
		rec_put_none(o);
	if (known)
		rec_put_int(o, s.deadline_us);
	else
		rec_put_none(o);
	rec_put_int(o, s.masked);
}

static int
print_members(const json_t *root, bool json, struct err *err)
{
	struct rec_out o;
	json_t *m;
	int rc = 0;
	size_t i;

	rec_out_open(&o, stdout, "member", 1, member_col, json);
	json_array_foreach(json_object_get(root, "members"), i, m) {
		put_member(&o, root, m);
		if ((rc = rec_end(&o, err)) != 0)
			break;
	}
	rec_out_close(&o);
	return rc;
}

static int
print_pairs(const json_t *root, bool json, struct err *err)
{
	struct rec_out o;
	json_t *m, *p;
	int rc = 0;
	size_t i, k;

	rec_out_open(&o, stdout, "pair", 1, pair_col, json);
	json_array_foreach(json_object_get(root, "members"), i, m) {
		json_array_foreach(pairs_of(m), k, p) {
			put_str(&o, m, "name");
			put_str(&o, p, "server");
			put_str(&o, p, "state");
			put_int(&o, p, "rtt_us");
			put_int(&o, p, "dev_us");
			put_int(&o, p, "deadline_us");
			put_int(&o, p, "calls");
			put_int(&o, p, "late");
			put_int(&o, p, "rtt_p50_us");
			put_int(&o, p, "rtt_p99_us");
			if (rc == 0)
				rc = rec_end(&o, err);
		}
	}
	rec_out_close(&o);
	return rc;
}

static int
print_map(struct rt_client *c, const struct want *w, struct err *err)
{
	struct str s = STR_INIT;
	struct map *m = NULL;
	int rc;

	rc = rt_client_ask(c, json_pack("{s:s}", "ask", "map"),
	    w->client.limit_ns, &s, err);
	if (rc == 0)
		rc = map_read_text(&m, str_c(&s), s.n, "the router's map", err);
	if (rc == 0)
		rc = map_write(m, stdout, w->json, err);
	map_unref(m);
	str_free(&s);
	return rc;
}

static int
print(struct rt_client *c, const struct want *w, struct err *err)
{
	const char *trouble;
	json_t *root;
	int rc;

	if (w->map)
		return print_map(c, w, err);
	root = rt_client_json(c, json_pack("{s:s}", "ask", "status"),
	    w->client.limit_ns, err);
	if (root == NULL)
		return -1;
	trouble = json_string_value(json_object_get(root, "trouble"));
	if (trouble != NULL && trouble[0] != '\0')
		fprintf(stderr, PROG ": %s\n", trouble);
	rc = w->pairs ? print_pairs(root, w->json, err) :
	    print_members(root, w->json, err);
	json_decref(root);
	return rc;
}

int
rt_status_main(int argc, char **argv)
{
	struct want w = { .client = { .limit_ns = 2000000000u } };
	struct err err = ERR_INIT;
	struct rt_client c = { 0 };
	int rc = parse(&w, argc, argv, &err);

	if (rc == 0)
		rc = rt_client_open(&c, &w.client, &err);
	if (rc == 0)
		rc = print(&c, &w, &err);
	rt_client_close(&c);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
