/* rt_core - see rt_core.h. */
#include "rt_core.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "rng.h"
#include "rt_map.h"

int
rt_core_open(struct rt_core *c, const struct rt_core_opt *o, struct err *err)
{
	const char *dir;
	struct map *m = NULL;

	c->o = *o;
	c->begin_ns = clock_ns();
	c->place_ns = RT_NEVER;
	c->me = rng_at(c->begin_ns, (uint64_t)getpid(), 0);
	if (cluster_read(&c->cluster, o->file, err) != 0)
		return -1;
	rt_reg_file(&c->reg, c->cluster);
	if (o->snapshot != NULL && rt_map_load(&m, o->snapshot, err) != 0)
		return -1;
	dir = o->model != NULL ? o->model : c->cluster->model;
	if (m == NULL && dir != NULL &&
	    rt_map_plan(c->cluster, dir, &m, err) != 0)
		return -1;
	if (m != NULL)
		rt_turn_start(&c->turn, m);
	rt_place_mark(c, c->begin_ns);
	return 0;
}

void
rt_core_close(struct rt_core *c)
{
	rt_ask_free(c);
	rt_turn_free(&c->turn);
	rt_reg_free(&c->reg);
	str_free(&c->text);
	cluster_free(c->cluster);
}

/* ---- messages ------------------------------------------------------------ */

struct link_pair *
rt_core_pair(const struct rt_member *m)
{
	return (struct link_pair *)(uintptr_t)m->who;
}

void
rt_core_send(struct rt_core *c, struct rt_member *m, int type,
    const void *data, size_t n)
{
	if (m->who == NULL || link_msg(rt_core_pair(m), type, data, n) != 0)
		return;
	c->n_msg++;
	c->n_byte += n;
}

void
rt_core_send_json(struct rt_core *c, struct rt_member *m, int type, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	BUG_ON(text == NULL);
	rt_core_send(c, m, type, text, strlen(text));
	free(text);
	json_decref(o);
}

/* The map, to front ends that do not go by it. */
static void
tell_fronts(struct rt_core *c)
{
	uint32_t version = rt_turn_version(&c->turn);
	struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (m->role != LINK_FRONT || m->who == NULL ||
		    m->map >= version || m->sent_map == version)
			continue;
		if (c->text_version != version)
			map_text(rt_turn_now(&c->turn), &c->text);
		c->text_version = version;
		m->sent_map = version;
		rt_core_send(c, m, LINK_MSG_MAP, c->text.p, c->text.n);
	}
}

/* What a server is to have; false: there is no map to say so. */
static bool
wanted(const struct rt_core *c, const struct rt_member *m, struct hold *out)
{
	const struct map *now = rt_turn_now(&c->turn);

	if (now == NULL)
		return false;
	hold_init(out, (uint32_t)map_n_layer(now), (uint32_t)map_n_expert(now));
	rt_turn_want(&c->turn, m->name, out);
	if (c->keep_held && m->has_hold)
		hold_join(out, &m->hold);
	return true;
}

static void
tell_server(struct rt_core *c, struct rt_member *m)
{
	struct str s = STR_INIT;
	struct hold h;

	if (m->role != LINK_EXPERT || m->who == NULL || m->told_drain ||
	    !wanted(c, m, &h))
		return;
	if (m->has_want && hold_covers(&m->want, &h) &&
	    hold_covers(&h, &m->want)) {
		hold_free(&h);
		return;
	}
	hold_free(&m->want);
	h.version = rt_turn_version(&c->turn);
	m->want = h;
	m->has_want = true;
	hold_encode(&h, &s);
	rt_core_send(c, m, LINK_MSG_WANT, s.p, s.n);
	str_free(&s);
}

/* Servers that were told to go, once no map needs them. */
static void
tell_leavers(struct rt_core *c)
{
	struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (!m->leaving || m->who == NULL || m->told_drain ||
		    m->placed || c->keep_held)
			continue;
		log_info("%s %s is not needed any more: it drains",
		    rt_reg_role(m->role), m->name);
		m->told_drain = true;
		rt_core_send(c, m, LINK_MSG_DRAIN, NULL, 0);
	}
}

void
rt_core_ask_reports(struct rt_core *c)
{
	struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (m->who == NULL || m->self)
			continue;
		m->asked = true;
		rt_core_send_json(c, m, LINK_MSG_ASK,
		    json_pack("{s:s}", "ask", "report"));
	}
}

bool
rt_core_reports_due(const struct rt_core *c)
{
	size_t i;

	for (i = 0; i < c->reg.n; i++)
		if (c->reg.m[i].who != NULL && c->reg.m[i].asked)
			return true;
	return false;
}

/* ---- events -------------------------------------------------------------- */

static void
on_up(struct rt_core *c, const struct link_event *ev)
{
	struct rt_member *m, *d;
	size_t i;

	m = rt_reg_up(&c->reg, link_peer(ev->pair), ev->pair, clock_ns());
	if (m == NULL)
		return;
	log_info("%s %s is up", rt_reg_role(m->role), m->name);
	for (i = 0; i < c->reg.n && m->role == LINK_FRONT; i++) {
		d = &c->reg.m[i];
		if (d->dead && d->placed)
			rt_core_send_json(c, m, LINK_MSG_ASK,
			    json_pack("{s:s}", "dead", d->name));
	}
	/* To a server that waits for a word, this one says that there is none
	 * yet. */
	if (m->role == LINK_FRONT || !c->settled)
		rt_core_send_json(c, m, LINK_MSG_ASK,
		    json_pack("{s:s}", "ask", "report"));
	if (m->role == LINK_EXPERT && c->settled)
		rt_place_soon(c, clock_ns());
}

static void
on_hold(struct rt_core *c, struct rt_member *m, const struct link_event *ev)
{
	const struct map *now = rt_turn_now(&c->turn);
	struct err err = ERR_INIT;

	if (now == NULL || m->role != LINK_EXPERT)
		return;
	if (!m->has_hold)
		hold_init(&m->hold, (uint32_t)map_n_layer(now),
		    (uint32_t)map_n_expert(now));
	if (hold_decode(&m->hold, ev->data, ev->n, &err) != 0) {
		log_warn("%s: %s", m->name, err.text);
		if (!m->has_hold)
			hold_free(&m->hold);
		return;
	}
	if (!m->has_hold && c->settled)
		rt_place_soon(c, clock_ns());
	m->has_hold = true;
}

static void
on_report(struct rt_core *c, struct rt_member *m, const struct link_event *ev)
{
	bool first = m->report == NULL;
	struct err err = ERR_INIT;

	if (rt_reg_report(m, ev->data, ev->n, clock_ns(), &err) != 0) {
		log_warn("%s", err.text);
		return;
	}
	if (m->role != LINK_EXPERT)
		return;
	if (m->map > c->seen)
		c->seen = m->map;
	if (first && c->settled)	/* it may be new */
		rt_place_soon(c, clock_ns());
}

/* What a daemon says to an order: a front end, which map it goes by. */
static void
on_reply(struct rt_core *c, struct rt_member *m, const struct link_event *ev)
{
	json_t *o = json_loadb(ev->data, ev->n, 0, NULL);
	const char *text = json_string_value(json_object_get(o, "error"));

	if (text != NULL)
		log_warn("%s %s: %.200s", rt_reg_role(m->role), m->name, text);
	else if (m->role == LINK_FRONT && rt_reg_map(m, o))
		rt_learn_version(c, m);
	json_decref(o);
}

static void
on_msg(struct rt_core *c, const struct link_event *ev)
{
	struct rt_member *m = rt_reg_of(&c->reg, ev->pair);

	if (ev->type == LINK_MSG_ASK)
		rt_ask(c, ev);
	if (m == NULL)
		return;
	if (ev->type == LINK_MSG_REPORT)
		on_report(c, m, ev);
	else if (ev->type == LINK_MSG_HOLD)
		on_hold(c, m, ev);
	else if (ev->type == LINK_MSG_REPLY)
		on_reply(c, m, ev);
	else if (ev->type == LINK_MSG_MAP)
		rt_learn_map(c, m, ev->data, ev->n);
}

void
rt_core_event(struct rt_core *c, const struct link_event *ev)
{
	struct rt_member *m;

	switch (ev->what) {
	case LINK_UP:
		on_up(c, ev);
		break;
	case LINK_DOWN:
		m = rt_reg_of(&c->reg, ev->pair);
		if (m != NULL)
			log_info("%s %s is down: %s", rt_reg_role(m->role),
			    m->name, ev->reason);
		if (c->teacher == ev->pair)
			c->teacher = NULL;
		rt_reg_down(&c->reg, ev->pair, clock_ns());
		rt_ask_gone(c, ev->pair);
		break;
	case LINK_MSG:
		on_msg(c, ev);
		break;
	case LINK_REQ:
	case LINK_ANS:
	case LINK_NONE:
		return;		/* pairs without rings have none */
	}
	c->news = true;
}

void
rt_core_reload(struct rt_core *c)
{
	struct cluster *file = NULL;
	struct err err = ERR_INIT;

	if (cluster_read(&file, c->o.file, &err) != 0) {
		log_error("%s; going on as before", err.text);
		return;
	}
	cluster_free(c->cluster);
	c->cluster = file;
	rt_reg_file(&c->reg, file);
	rt_place_mark(c, clock_ns());
	c->level = true;
	rt_place_soon(c, clock_ns());
	log_info("%s: read again", c->o.file);
}

/* ---- what follows -------------------------------------------------------- */

/* The oldest version that a front end which is there may need. */
static uint32_t
oldest_needed(const struct rt_core *c)
{
	uint32_t version = rt_turn_version(&c->turn), v;
	const struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (m->role != LINK_FRONT || m->who == NULL)
			continue;
		v = m->ready ? m->map : 0;
		if (v < version)
			version = v;
	}
	return version;
}

static const struct hold *
holds(void *arg, const char *server)
{
	struct rt_core *c = arg;
	const struct rt_member *m = rt_reg_find(&c->reg, server, LINK_EXPERT);

	return m != NULL && m->who != NULL && m->has_hold ? &m->hold : NULL;
}

static void
publish(struct rt_core *c)
{
	struct err err = ERR_INIT;

	rt_turn_publish(&c->turn);
	c->by = c->me;
	c->masked = false;
	c->loads = 0;
	log_info("map version %u: %d servers", rt_turn_version(&c->turn),
	    map_n_server(rt_turn_now(&c->turn)));
	/* For the next start: without it, this one goes on. */
	if (c->o.snapshot != NULL && rt_map_save(rt_turn_now(&c->turn),
	    c->o.snapshot, &err) != 0)
		log_warn("snapshot: %s", err.text);
}

bool
rt_core_clean(const struct rt_core *c)
{
	const struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (m->role != LINK_EXPERT || m->who == NULL || m->pinned ||
		    m->dead)
			continue;
		if (m->leaving && !m->told_drain)
			return false;
		if (m->told_drain)
			continue;
		if (!m->has_want || !m->has_hold ||
		    !hold_covers(&m->want, &m->hold) ||
		    !hold_covers(&m->hold, &m->want))
			return false;
	}
	return true;
}

static void
advance(struct rt_core *c, uint64_t now_ns)
{
	uint32_t oldest;
	size_t i;

	if (c->turn.next != NULL && rt_turn_loaded(&c->turn, holds, c, NULL))
		publish(c);
	tell_fronts(c);
	oldest = oldest_needed(c);
	rt_turn_used(&c->turn, oldest);
	if (c->keep_held && oldest == rt_turn_version(&c->turn) &&
	    c->turn.next == NULL)
		c->keep_held = false;
	rt_place_mark(c, now_ns);
	for (i = 0; i < c->reg.n; i++)
		tell_server(c, &c->reg.m[i]);
	tell_leavers(c);
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t
rt_core_tend(struct rt_core *c, uint64_t now_ns)
{
	uint64_t next = RT_NEVER;
	struct err err = ERR_INIT;

	if (!c->settled)
		next = rt_learn_tend(c, now_ns);
	if (c->settled && rt_turn_now(&c->turn) != NULL) {
		next = rt_place_gone(c, now_ns);
		if (now_ns >= c->place_ns && rt_place(c, &err) != 0 &&
		    strcmp(err.text, c->trouble) != 0) {
			snprintf(c->trouble, sizeof(c->trouble), "%.250s",
			    err.text);
			log_warn("%s", c->trouble);
		}
		if (c->news)
			advance(c, now_ns);
		next = sooner(next, c->place_ns);
	}
	c->news = false;
	return sooner(next, rt_ask_tend(c, now_ns));
}
