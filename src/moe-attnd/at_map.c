/*
 * at_map - a new map from the router, while rows are in flight; and what else
 * the router has to say and wants to know.
 *
 * Servers are matched by name and address.  Those that stay keep their pair
 * and their calls; new ones are dialled.  Servers that are not in the new map,
 * and copies that it does not name, are needed until a server of the new map
 * answers for every expert and no call under the old one is out; then the router
 * is told, and has them unloaded.  Until then rows go where their expert is held,
 * as always: a map that is ahead of the servers costs time only.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "at_call.h"
#include "clock.h"
#include "json.h"
#include "log.h"

/* While a new map is not served in full, it is looked at this often. */
#define LOOK_NS		10000000u

static bool
fits(const struct at_disp *d, const struct map *map)
{
	const struct model_cfg *c = d->o.cfg;
	int l;

	if (map_n_layer(map) != c->n_layer || map_n_expert(map) != c->n_expert)
		return false;
	for (l = 0; l < c->n_layer; l++)
		if (map_layer_moe(map, l) != c->layer[l].moe)
			return false;
	return true;
}

/* The server of the old map that is number i of the new one; NULL: none. */
static struct at_server *
take_old(struct at_server **old, int n_old, const struct map *map, int i)
{
	struct at_server *s;
	int k;

	for (k = 0; k < n_old; k++) {
		s = old[k];
		if (s == NULL || strcmp(s->name, map_server_name(map, i)) != 0 ||
		    strcmp(s->addr, map_server_addr(map, i)) != 0)
			continue;
		old[k] = NULL;
		s->index = i;
		return s;
	}
	return NULL;
}

/* Its calls that were not sent find a server by the new map. */
static void
requeue(struct at_server *s)
{
	struct at_call *c;

	while ((c = s->queue) != NULL) {
		s->queue = c->next;
		if (s->queue == NULL)
			s->queue_tail = &s->queue;
		at_disp_again(s->d, c);
	}
}

/* Servers of the old list that the new map has not: kept behind those that it
 * has, if they are of any use. */
static void
keep_old(struct at_disp *d, struct at_server **old, int n_old)
{
	int i;

	for (i = 0; i < n_old; i++) {
		if (old[i] == NULL)
			continue;
		if (!old[i]->up || old[i]->masked) {
			at_server_close(old[i]);
			continue;
		}
		old[i]->index = d->n_server;
		d->server[d->n_server++] = old[i];
	}
}

/* Back to the old map: `was` is the list as it was. */
static void
undo(struct at_disp *d, struct at_server **was, int n_was, struct map *map)
{
	int i, k;

	for (i = 0; i < d->n_server; i++) {
		for (k = 0; k < n_was && was[k] != d->server[i]; k++)
			;
		if (k == n_was)
			at_server_close(d->server[i]);
	}
	for (i = 0; i < n_was; i++)
		was[i]->index = i;
	mem_free(d->server);
	map_unref(d->map);
	d->server = was;
	d->n_server = n_was;
	d->map = map;
}

int
at_map_use(struct at_disp *d, struct map *map, struct err *err)
{
	struct at_server **was = d->server, **old, *s;
	int n_was = d->n_server, n = map_n_server(map), i;
	struct map *map_was = d->map;

	if (!fits(d, map))
		return err_set(err, ERR_DATA, "map version %u is of another "
		    "model", map_version(map));
	old = mem_dup(was, (size_t)n_was * sizeof(*was));
	d->map = map_ref(map);
	d->server = mem_calloc((size_t)(n + n_was), sizeof(*d->server));
	d->n_server = 0;
	for (i = 0; i < n; i++) {
		s = take_old(old, n_was, map, i);
		if (s == NULL && at_server_open(&s, d, i, err) != 0)
			break;
		d->server[d->n_server++] = s;
	}
	if (i < n) {		/* an address that cannot be dialled */
		mem_free(old);
		undo(d, was, n_was, map_was);
		return -1;
	}
	keep_old(d, old, n_was);
	for (i = 0; i < d->n_server; i++) {
		d->server[i]->masked = false;
		requeue(d->server[i]);
	}
	mem_free(old);
	mem_free(was);
	map_unref(map_was);
	d->map_ns = clock_ns();
	d->map_look_ns = 0;
	d->map_news = true;
	at_disp_news(d);
	return 0;
}

/* ---- when the old map is not needed any more ------------------------------ */

static bool
served(struct at_disp *d, int layer, int expert)
{
	const uint16_t *list;
	int n = map_replicas(d->map, layer, expert, &list), i;

	for (i = 0; i < n; i++)
		if (at_server_has(d->server[list[i]], layer, expert))
			return true;
	return false;
}

static bool
all_served(struct at_disp *d)
{
	int l, e;

	for (l = 0; l < map_n_layer(d->map); l++)
		for (e = 0; map_layer_moe(d->map, l) &&
		    e < map_n_expert(d->map); e++)
			if (!served(d, l, e))
				return false;
	return true;
}

/* Is a call out that went by the old map, or any to a server that leaves? */
static bool
old_calls(const struct at_disp *d)
{
	const struct at_server *s;
	const struct at_call *c;
	int i;

	for (i = 0; i < d->n_server; i++) {
		s = d->server[i];
		if (i >= map_n_server(d->map) &&
		    (s->out != NULL || s->queue != NULL))
			return true;
		for (c = s->out; c != NULL; c = c->next)
			if (c->sent_ns < d->map_ns)
				return true;
	}
	return false;
}

/* Tell the router which map we go by, and whether older ones are needed. */
static void
say(const struct at_disp *d)
{
	char text[120];

	if (d->router == NULL || d->map == NULL)
		return;
	snprintf(text, sizeof(text), "{\"map\":%u,\"by\":\"%llx\",\"ready\":%s}",
	    map_version(d->map), (unsigned long long)d->map_by,
	    d->map_news ? "false" : "true");
	(void)link_msg(d->router, LINK_MSG_REPLY, text, strlen(text));
}

uint64_t
at_map_tend(struct at_disp *d, uint64_t now_ns)
{
	if (!d->map_news)
		return UINT64_MAX;
	if (now_ns < d->map_look_ns)
		return d->map_look_ns;
	d->map_look_ns = now_ns + LOOK_NS;
	if (old_calls(d) || !all_served(d))
		return d->map_look_ns;
	while (d->n_server > map_n_server(d->map)) {
		log_info("server %s: has left",
		    d->server[d->n_server - 1]->name);
		at_server_close(d->server[--d->n_server]);
	}
	d->map_news = false;
	say(d);
	return UINT64_MAX;
}

/* ---- the router ------------------------------------------------------------ */

static void
take_map(struct at_disp *d, const struct link_event *ev)
{
	struct err err = ERR_INIT;
	struct map *map = NULL;
	int rc = map_read_text(&map, ev->data, ev->n, "the router's map", &err);

	if (rc == 0 && map_version(map) > map_version(d->map) &&
	    (rc = at_map_use(d, map, &err)) == 0) {
		d->map_by = link_peer(ev->pair)->incarnation;
		log_info("map version %u: %d servers", map_version(map),
		    map_n_server(map));
	}
	map_unref(map);
	if (rc != 0)
		log_warn("%s", err.text);
	say(d);
}

/* An operator's word: nobody waits for this server any more. */
static void
mask(struct at_disp *d, const char *name)
{
	struct at_server *s;
	int i;

	for (i = 0; i < d->n_server; i++) {
		s = d->server[i];
		if (strcmp(s->name, name) != 0)
			continue;
		log_warn("server %s: dead by an operator's word", s->name);
		s->masked = true;
		requeue(s);
		if (s->up) {
			s->up = false;
			link_break(s->pair, "masked");
		}
		at_disp_news(d);
	}
}

static const char *
state_of(const struct at_disp *d, const struct at_server *s)
{
	if (s->masked)
		return "masked";
	if (!s->up)
		return "down";
	if (s->index >= map_n_server(d->map))
		return "leaving";
	return s->draining ? "draining" : "up";
}

static json_t *
pairs_json(const struct at_disp *d)
{
	json_t *a = json_array(), *o;
	const struct at_server *s;
	const struct at_call *c;
	uint64_t p50_ns, p99_ns;
	int i, n;

	for (i = 0; d->map != NULL && i < d->n_server; i++) {
		s = d->server[i];
		for (n = 0, c = s->out; c != NULL; c = c->next)
			n++;
		at_rtt_recent(&s->rtt, &p50_ns, &p99_ns);
		o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:i, s:i}",
		    "server", s->name, "state", state_of(d, s),
		    "rtt_us", (json_int_t)(s->rtt_ns / 1e3),
		    "dev_us", (json_int_t)(s->rtt_var_ns / 1e3),
		    "rtt_p50_us", (json_int_t)(p50_ns / 1000),
		    "rtt_p99_us", (json_int_t)(p99_ns / 1000),
		    "deadline_us", (json_int_t)(at_server_patience_ns(s,
		    s->rtt.last_route) / 1000),
		    "calls", n, "late", s->late);
		json_array_append_new(a, o);
	}
	return a;
}

static void
answer_ask(struct at_disp *d, const struct link_event *ev)
{
	json_t *o = json_loadb(ev->data, ev->n, 0, NULL);
	const char *what = json_string_value(json_object_get(o, "ask"));
	const char *dead = json_string_value(json_object_get(o, "dead"));
	struct str s = STR_INIT;

	if (dead != NULL)
		mask(d, dead);
	if (what != NULL && strcmp(what, "map") == 0 && d->map != NULL) {
		map_text(d->map, &s);
		(void)link_msg(ev->pair, LINK_MSG_MAP, s.p, s.n);
		str_free(&s);
	}
	if (what != NULL && strcmp(what, "report") == 0 &&
	    d->o.report != NULL)
		d->o.report(d->o.report_arg, pairs_json(d));
	json_decref(o);
}

void
at_map_event(struct at_disp *d, const struct link_event *ev)
{
	if (ev->what == LINK_UP) {
		d->router = ev->pair;
		say(d);
	} else if (ev->what == LINK_DOWN) {
		d->router = NULL;
	}
	if (ev->what != LINK_MSG)
		return;
	if (ev->type == LINK_MSG_ASK)
		answer_ask(d, ev);
	else if (ev->type == LINK_MSG_MAP && d->map != NULL)
		take_map(d, ev);
	else if (ev->type == LINK_MSG_DRAIN)
		kill(getpid(), SIGTERM);	/* as by hand */
}
