/* rt_client - see rt_client.h. */
#include "rt_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "mem.h"
#include "rng.h"

static int
find(struct rt_client *c, const struct rt_client_opt *o, struct err *err)
{
	const struct cluster_member *r;

	if (o->addr != NULL) {
		snprintf(c->addr, sizeof(c->addr), "%s", o->addr);
		return 0;
	}
	if (o->file == NULL)
		return err_set(err, ERR_USAGE, "-f CLUSTER or -r ADDR is "
		    "needed");
	if (cluster_read(&c->cluster, o->file, err) != 0)
		return -1;
	r = cluster_find(c->cluster, CLUSTER_ROUTE, o->name);
	if (r == NULL)
		return err_set(err, ERR_DATA, "%s: no line 'route %s ADDR'",
		    o->file, o->name != NULL ? o->name : "NAME");
	snprintf(c->addr, sizeof(c->addr), "%s", r->addr);
	return 0;
}

int
rt_client_open(struct rt_client *c, const struct rt_client_opt *o,
    struct err *err)
{
	struct link_opt lo = { .hello_ns = o->limit_ns };
	const char *key = o->sec.psk_file;

	memset(c, 0, sizeof(*c));
	if (o->scale > 0)
		clock_dilate((int)o->scale);
	if (find(c, o, err) != 0)
		return -1;
	if (key == NULL && c->cluster != NULL)
		key = c->cluster->psk_file;
	if (link_sec_load(&lo.sec, key, o->sec.tls, o->sec.insecure, err) != 0)
		return -1;
	lo.me.role = LINK_TOOL;
	lo.me.mixed = true;
	snprintf(lo.me.name, sizeof(lo.me.name), "tool-%d", (int)getpid());
	lo.me.incarnation = rng_at(clock_ns(), (uint64_t)getpid(), 0);
	if (link_port_open(&c->port, &lo, err) != 0)
		return -1;
	c->pair = link_dial(c->port, c->addr, NULL, err);
	return c->pair != NULL ? 0 : -1;
}

void
rt_client_close(struct rt_client *c)
{
	if (c->port != NULL)
		link_port_close(c->port);
	cluster_free(c->cluster);
}

/* The router's refusal, as it is. */
static int
refusal(const struct str *s, struct err *err)
{
	json_t *o = json_loadb(str_c(s), s->n, 0, NULL);
	const char *text = json_string_value(json_object_get(o, "error"));
	int code = (int)json_integer_value(json_object_get(o, "code"));
	int rc = 0;

	if (text != NULL)
		rc = err_set(err, code == ERR_USAGE || code == ERR_DATA ?
		    code : ERR_TEMP, "%.900s", text);
	json_decref(o);
	return rc;
}

static int
no_answer(struct rt_client *c, struct err *err)
{
	char why[256];

	link_why(c->pair, why);
	return err_set(err, ERR_TEMP, "the router at %s: %s", c->addr,
	    link_is_up(c->pair) || why[0] == '\0' ? "no answer" : why);
}

/* Asked once only: a router that goes away may have obeyed. */
static int
exchange(struct rt_client *c, const char *ask, uint64_t deadline_ns,
    struct str *out, struct err *err)
{
	struct link_event ev;
	bool asked = link_is_up(c->pair) && link_msg(c->pair, LINK_MSG_ASK,
	    ask, strlen(ask)) == 0;

	do {
		while (link_next(c->port, &ev)) {
			if (ev.what == LINK_UP && !asked)
				asked = link_msg(ev.pair, LINK_MSG_ASK, ask,
				    strlen(ask)) == 0;
			if (ev.what == LINK_DOWN && (asked || ev.refused))
				return no_answer(c, err);
			if (ev.what != LINK_MSG || (ev.type !=
			    LINK_MSG_REPLY && ev.type != LINK_MSG_MAP))
				continue;
			str_clear(out);
			str_add(out, ev.data, ev.n);
			return ev.type == LINK_MSG_MAP ? 0 : refusal(out, err);
		}
		link_wait(c->port, deadline_ns);
	} while (clock_ns() < deadline_ns);
	return no_answer(c, err);
}

int
rt_client_ask(struct rt_client *c, json_t *ask, uint64_t limit_ns,
    struct str *out, struct err *err)
{
	char *text = json_dumps(ask, JSON_COMPACT);
	int rc;

	BUG_ON(text == NULL);
	json_decref(ask);
	rc = exchange(c, text, clock_ns() + limit_ns, out, err);
	free(text);
	return rc;
}

json_t *
rt_client_json(struct rt_client *c, json_t *ask, uint64_t limit_ns,
    struct err *err)
{
	struct str s = STR_INIT;
	json_t *o = NULL;

	if (rt_client_ask(c, ask, limit_ns, &s, err) == 0)
		o = json_want_text(str_c(&s), s.n, "the router's reply",
		    ERR_DATA, err);
	str_free(&s);
	return o;
}
