/*
 * rt_place - who is to have which experts: see rt_core.h.
 *
 * Placement follows membership, with few copies moved (plan_adapt.h).  A server
 * that is away keeps its place for a while: front ends send its rows to others
 * meanwhile, and most come back.
 */
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "plan_adapt.h"
#include "rt_core.h"

/* Servers that come together are placed together. */
#define PLACE_DELAY_NS	20000000u
/* A server that this router has never seen may be slow to come. */
#define NEVER_SEEN	6	/* times the grace */

void
rt_place_soon(struct rt_core *c, uint64_t now_ns)
{
	if (c->place_ns == RT_NEVER)
		c->place_ns = now_ns + PLACE_DELAY_NS;
}

void
rt_place_mark(struct rt_core *c, uint64_t now_ns)
{
	const struct map *m;
	struct rt_member *r;
	size_t i, n = c->turn.use.n;
	int s;

	for (i = 0; i < c->reg.n; i++)
		c->reg.m[i].placed = false;
	for (i = 0; i <= n; i++) {
		m = i < n ? c->turn.use.p[i] : c->turn.next;
		for (s = 0; m != NULL && s < map_n_server(m); s++) {
			r = rt_reg_note(&c->reg, map_server_name(m, s),
			    map_server_addr(m, s), now_ns);
			if (r != NULL)
				r->placed = true;
		}
	}
}

uint64_t
rt_place_gone(struct rt_core *c, uint64_t now_ns)
{
	uint64_t next = RT_NEVER, since, due;
	struct rt_member *m;
	size_t i;

	for (i = 0; i < c->reg.n && c->o.grace_ns != 0; i++) {
		m = &c->reg.m[i];
		if (m->role != LINK_EXPERT || m->who != NULL || !m->placed ||
		    m->gone || m->dead)
			continue;
		since = m->lost_ns > c->begin_ns ? m->lost_ns : c->begin_ns;
		due = since + c->o.grace_ns *
		    (m->incarnation == 0 ? NEVER_SEEN : 1);
		if (now_ns < due) {
			next = due < next ? due : next;
			continue;
		}
		log_warn("expert %s has been away for too long: others take "
		    "its experts", m->name);
		m->gone = true;
		c->place_ns = now_ns;
	}
	return next;
}

/* ---- who can have experts ------------------------------------------------ */

static bool
stays(const struct rt_member *m)
{
	return m != NULL && !m->dead && !m->leaving && !m->gone;
}

/* A server that has no place yet and can have one.  Its shape is known to be
 * the model's by what it says it has. */
static bool
can_join(const struct rt_member *m)
{
	return m->role == LINK_EXPERT && m->who != NULL && stays(m) &&
	    m->report != NULL && m->has_hold && !m->pinned &&
	    m->addr[0] != '\0' && strcmp(m->state, "draining") != 0;
}

static int64_t
room(const struct map *goal, const struct rt_member *m)
{
	int s = map_server_find(goal, m->name);
	int64_t has = s < 0 ? 0 : map_count(goal, s);

	if (m->who == NULL || m->report == NULL)
		return 0;
	if (m->cap < 0)
		return -1;
	if (m->assigned > has)
		has = m->assigned;
	return m->cap > has ? m->cap - has : 0;
}

static void
offer(struct plan_server *list, int *n, const struct map *goal,
    const struct rt_member *m)
{
	list[(*n)++] = (struct plan_server){ m->name, m->addr, m->weight,
	    room(goal, m) };
}

/* Those that stay, as the goal has them, then those that are new. */
static int
candidates(struct rt_core *c, struct plan_server *list)
{
	const struct map *goal = rt_turn_goal(&c->turn);
	const struct rt_member *m;
	int n = 0, s;
	size_t i;

	for (s = 0; s < map_n_server(goal); s++) {
		m = rt_reg_find(&c->reg, map_server_name(goal, s),
		    LINK_EXPERT);
		if (stays(m) && n < MAP_MAX_SERVER)
			offer(list, &n, goal, m);
	}
	for (i = 0; i < c->reg.n && n < MAP_MAX_SERVER; i++) {
		m = &c->reg.m[i];
		if (can_join(m) && map_server_find(goal, m->name) < 0) {
			log_info("expert %s is new: it gets its share", m->name);
			offer(list, &n, goal, m);
		}
	}
	return n;
}

/* ---- the next map -------------------------------------------------------- */

/* Go for m, or stay with what the goal is.  Takes m over. */
static void
aim(struct rt_core *c, struct map *m, bool force)
{
	c->news = true;
	c->trouble[0] = '\0';
	if (!force && map_same(m, rt_turn_goal(&c->turn))) {
		map_unref(m);
		return;
	}
	if (!force && map_same(m, rt_turn_now(&c->turn))) {
		rt_turn_cancel(&c->turn);
		map_unref(m);
		return;
	}
	rt_turn_aim(&c->turn, m);
}

/* Masks end with the map after them.  One that was not needed in the end (the
 * server came back first) still needs that map. */
static bool
mask_lingers(const struct rt_core *c)
{
	size_t i;

	for (i = 0; i < c->reg.n; i++)
		if (c->reg.m[i].dead && c->reg.m[i].placed)
			return false;
	return c->masked;
}

int
rt_place(struct rt_core *c, struct err *err)
{
	const struct map *goal = rt_turn_goal(&c->turn);
	struct plan_server *list = mem_calloc(MAP_MAX_SERVER, sizeof(*list));
	struct plan_change pc = { .from = goal, .server = list,
	    .replicas = c->cluster->replicas, .level = c->level };
	struct plan_cost cost;
	struct map *m;
	int rc;

	c->place_ns = RT_NEVER;
	pc.version = map_version(goal);
	pc.n_server = candidates(c, list);
	rc = pc.n_server == 0 ? err_set(err, ERR_TEMP, "no server is left") :
	    plan_adapt(&pc, &m, &cost, err);
	mem_free(list);
	if (rc != 0)
		return err_ctx(err, "placing experts");
	c->level = false;
	c->loads += cost.loads;
	aim(c, m, mask_lingers(c));
	if (cost.missing > 0)
		log_warn("%lld copies of experts have no place: no server has "
		    "memory for them", (long long)cost.missing);
	return 0;
}

/* ---- a map by an operator's word ----------------------------------------- */

/* Can server s of m load what m adds to it? */
static int
check_server(struct rt_core *c, const struct map *m, int s, struct err *err)
{
	const struct map *goal = rt_turn_goal(&c->turn);
	const char *name = map_server_name(m, s);
	const struct rt_member *r = rt_reg_find(&c->reg, name, LINK_EXPERT);
	int was = map_server_find(goal, name), l, e;
	int64_t n = 0, have;

	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++)
			n += map_holds(m, s, l, e) &&
			    (was < 0 || !map_holds(goal, was, l, e));
	if (r != NULL && r->addr[0] != '\0' &&
	    strcmp(r->addr, map_server_addr(m, s)) != 0)
		return err_set(err, ERR_DATA, "server %s is at %s, not at %s",
		    name, r->addr, map_server_addr(m, s));
	if (n == 0)
		return 0;
	if (r == NULL || r->who == NULL || r->report == NULL || !stays(r))
		return err_set(err, ERR_TEMP, "server %s is %s: it cannot load "
		    "%lld experts", name, r == NULL ? "not known" :
		    rt_reg_state(r), (long long)n);
	have = room(goal, r);
	if (have >= 0 && have < n)
		return err_set(err, ERR_TEMP, "server %s would have to load "
		    "%lld experts before it lets any go, and its --memory has "
		    "room for %lld", name, (long long)n, (long long)have);
	c->loads += n;
	return 0;
}

static int
check_shape(const struct map *goal, const struct map *m, struct err *err)
{
	int l;

	if (map_n_layer(m) != map_n_layer(goal) ||
	    map_n_expert(m) != map_n_expert(goal))
		return err_set(err, ERR_DATA, "a map of %d layers of %d "
		    "experts, the model has %d of %d", map_n_layer(m),
		    map_n_expert(m), map_n_layer(goal), map_n_expert(goal));
	for (l = 0; l < map_n_layer(m); l++)
		if (map_layer_moe(m, l) != map_layer_moe(goal, l))
			return err_set(err, ERR_DATA, "layer %d has %s "
			    "experts in the model", l,
			    map_layer_moe(m, l) ? "no" : "");
	return map_check(m, err);
}

int
rt_place_map(struct rt_core *c, struct map *m, struct err *err)
{
	int rc = check_shape(rt_turn_goal(&c->turn), m, err), s;

	for (s = 0; rc == 0 && s < map_n_server(m); s++)
		rc = check_server(c, m, s, err);
	if (rc != 0) {
		map_unref(m);
		return -1;
	}
	aim(c, m, false);
	return 0;
}
