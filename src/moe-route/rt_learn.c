/*
 * rt_learn - what the cluster goes by, after a start: see rt_core.h.
 *
 * A router that starts knows a map from its snapshot, or the first one of the
 * cluster file, and listens first.  Front ends say which version they go by; the
 * newest is asked for its map.  Without front ends, what servers have is the
 * map.  Then the router goes on from there.  Whoever turns up later with a
 * number above, or with the same number by another router, gets this router's
 * map under a number above that: numbers order maps, incarnations tell maps of
 * one number apart.
 */
#include "clock.h"
#include "log.h"
#include "rt_core.h"

/* Somebody goes by version v of another router. */
static void
overtake(struct rt_core *c, uint32_t v)
{
	rt_turn_renumber(&c->turn, v + 1);
	c->by = c->me;
	c->news = true;
	log_info("version %u of another router is about: the map is version %u "
	    "now", v, rt_turn_version(&c->turn));
}

void
rt_learn_version(struct rt_core *c, struct rt_member *m)
{
	uint32_t version = rt_turn_version(&c->turn);

	c->news = true;
	if (!c->settled) {
		if (m->map > version && c->teacher == NULL) {
			c->teacher = m->who;
			rt_core_send_json(c, m, LINK_MSG_ASK,
			    json_pack("{s:s}", "ask", "map"));
		}
		return;
	}
	if (version == 0)
		return;
	if (m->map > version || (m->map == version && m->map_by != 0 &&
	    m->map_by != c->me && m->map_by != c->by))
		overtake(c, m->map);
}

void
rt_learn_map(struct rt_core *c, struct rt_member *m, const void *data,
    size_t n)
{
	const struct map *now = rt_turn_now(&c->turn);
	struct err err = ERR_INIT;
	struct map *map = NULL;

	if (c->settled || m->who != c->teacher)
		return;
	c->teacher = NULL;
	if (map_read_text(&map, data, n, "the map", &err) != 0) {
		log_warn("%s: %s", m->name, err.text);
		return;
	}
	if (now != NULL && (map_n_layer(map) != map_n_layer(now) ||
	    map_n_expert(map) != map_n_expert(now) ||
	    map_version(map) <= map_version(now))) {
		log_warn("%s: a map of another model, or none that is newer",
		    m->name);
		map_unref(map);
		return;
	}
	log_info("map version %u, learned from %s", map_version(map), m->name);
	rt_turn_start(&c->turn, map);
	c->by = m->map_by;
	rt_place_mark(c, clock_ns());
}

/* No front end knows, but servers have heard of a newer map: it was what they
 * have. */
static void
from_servers(struct rt_core *c)
{
	const struct map *now = rt_turn_now(&c->turn);
	const struct rt_member *r;
	struct err err = ERR_INIT;
	uint32_t l, e;
	struct map *m;
	size_t i;
	int s;

	m = map_copy(now);
	map_set_version(m, c->seen);
	for (l = 0; l < (uint32_t)map_n_layer(m); l++)
		for (e = 0; e < (uint32_t)map_n_expert(m); e++)
			for (s = 0; s < map_n_server(now); s++)
				map_drop(m, (int)l, (int)e, s);
	for (i = 0; i < c->reg.n; i++) {
		r = &c->reg.m[i];
		if (r->role != LINK_EXPERT || r->who == NULL || !r->has_hold ||
		    hold_count(&r->hold) == 0 || r->addr[0] == '\0')
			continue;
		if ((s = map_server_find(m, r->name)) < 0)
			s = map_add_server(m, r->name, r->addr);
		for (l = 0; l < r->hold.n_layer; l++)
			for (e = 0; e < r->hold.n_expert; e++)
				if (hold_has(&r->hold, l, e))
					map_add(m, (int)l, (int)e, s, 1);
	}
	if (map_check(m, &err) != 0) {
		log_warn("servers went by version %u, and do not have all of "
		    "it: %s", c->seen, err.text);
		map_unref(m);
		return;
	}
	log_info("map version %u, learned from servers", c->seen);
	rt_turn_start(&c->turn, m);
}

/* Has everybody of the cluster file said what there is to say? */
static bool
heard_all(const struct rt_core *c)
{
	const struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (!m->in_file || m->role == LINK_ROUTE)
			continue;
		if (m->who == NULL)
			return false;
		if (m->role == LINK_FRONT ? m->map == 0 :
		    m->report == NULL || !m->has_hold)
			return false;
	}
	return c->teacher == NULL;
}

/* Maps of our number by two other routers differ, or might. */
static void
settle_makers(struct rt_core *c)
{
	const struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (m->role != LINK_FRONT || m->who == NULL ||
		    m->map != rt_turn_version(&c->turn) || m->map_by == 0)
			continue;
		if (c->by == 0)
			c->by = m->map_by;
		if (m->map_by != c->by) {
			overtake(c, m->map);
			return;
		}
	}
}

uint64_t
rt_learn_tend(struct rt_core *c, uint64_t now_ns)
{
	uint64_t due = c->begin_ns + c->o.settle_ns;

	/* A front end that was asked gets as long again. */
	if (c->teacher != NULL)
		due += c->o.settle_ns;
	if (!heard_all(c) && now_ns < due)
		return due;
	c->settled = true;
	c->teacher = NULL;
	c->keep_held = true;
	c->news = true;
	if (rt_turn_now(&c->turn) == NULL)
		return RT_NEVER;
	if (c->seen > rt_turn_version(&c->turn))
		from_servers(c);
	if (c->seen > rt_turn_version(&c->turn))
		overtake(c, c->seen);
	settle_makers(c);
	rt_place_soon(c, now_ns);
	rt_place_mark(c, now_ns);
	log_info("map version %u: in charge", rt_turn_version(&c->turn));
	return c->place_ns;
}
