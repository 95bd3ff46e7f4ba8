/* rt_reg - see rt_reg.h. */
#include "rt_reg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

const char *
rt_reg_role(enum link_role role)
{
	switch (role) {
	case LINK_EXPERT: return "expert";
	case LINK_FRONT: return "front";
	case LINK_ROUTE: return "route";
	case LINK_TOOL: return "tool";
	}
	return "?";
}

static enum link_role
role_of(enum cluster_role role)
{
	switch (role) {
	case CLUSTER_EXPERT: return LINK_EXPERT;
	case CLUSTER_FRONT: return LINK_FRONT;
	case CLUSTER_ROUTE: return LINK_ROUTE;
	}
	BUG("role %d", (int)role);
}

struct rt_member *
rt_reg_find(struct rt_reg *g, const char *name, enum link_role role)
{
	size_t i;

	for (i = 0; i < g->n; i++)
		if (g->m[i].role == role && strcmp(g->m[i].name, name) == 0)
			return &g->m[i];
	return NULL;
}

/* Nothing is known of a member that is not there. */
static void
forget(struct rt_member *m)
{
	m->who = NULL;
	m->state[0] = '\0';
	m->pid = m->experts = m->bytes = m->queue = m->rows = -1;
	m->rows_s = -1;
	m->report_ns = 0;
	json_decref(m->report);
	m->report = NULL;
	hold_free(&m->hold);
	hold_free(&m->want);
	m->has_hold = m->has_want = m->told_drain = false;
	m->pinned = m->ready = m->asked = false;
	m->cap = m->assigned = 0;
	m->map = m->sent_map = 0;
	m->map_by = 0;
}

static struct rt_member *
add(struct rt_reg *g, const char *name, enum link_role role)
{
	struct rt_member *m;

	if (g->n == RT_REG_MAX)
		return NULL;
	mem_grow((void **)&g->m, &g->cap, g->n + 1, sizeof(*g->m));
	m = &g->m[g->n++];
	memset(m, 0, sizeof(*m));
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->role = role;
	m->weight = 1;
	forget(m);
	return m;
}

struct rt_member *
rt_reg_note(struct rt_reg *g, const char *name, const char *addr,
    uint64_t now_ns)
{
	struct rt_member *m = rt_reg_find(g, name, LINK_EXPERT);

	if (m == NULL && (m = add(g, name, LINK_EXPERT)) != NULL) {
		snprintf(m->addr, sizeof(m->addr), "%s", addr);
		m->lost_ns = now_ns;
	}
	return m;
}

static void
drop_strangers(struct rt_reg *g)
{
	size_t i, k = 0;

	for (i = 0; i < g->n; i++)
		if (g->m[i].in_file || g->m[i].self || g->m[i].placed ||
		    g->m[i].dead || g->m[i].who != NULL)
			g->m[k++] = g->m[i];
	g->n = k;
}

void
rt_reg_file(struct rt_reg *g, const struct cluster *c)
{
	const struct cluster_member *cm;
	struct rt_member *m;
	size_t i;

	for (i = 0; i < g->n; i++) {
		g->m[i].in_file = false;
		g->m[i].weight = 1;
	}
	for (i = 0; i < c->n_member; i++) {
		cm = &c->member[i];
		m = rt_reg_find(g, cm->name, role_of(cm->role));
		if (m == NULL &&
		    (m = add(g, cm->name, role_of(cm->role))) == NULL)
			break;
		m->in_file = true;
		m->weight = cm->weight;
		snprintf(m->addr, sizeof(m->addr), "%s", cm->addr);
	}
	drop_strangers(g);
}

void
rt_reg_free(struct rt_reg *g)
{
	size_t i;

	for (i = 0; i < g->n; i++)
		forget(&g->m[i]);
	mem_free(g->m);
	*g = (struct rt_reg){ NULL, 0, 0 };
}

void
rt_reg_self(struct rt_reg *g, const char *name, int64_t pid)
{
	struct rt_member *m = rt_reg_find(g, name, LINK_ROUTE);

	if (m == NULL && (m = add(g, name, LINK_ROUTE)) == NULL)
		return;
	m->self = true;
	m->pid = pid;
	snprintf(m->state, sizeof(m->state), "serving");
}

struct rt_member *
rt_reg_up(struct rt_reg *g, const struct link_hello *peer, const void *who,
    uint64_t now_ns)
{
	struct rt_member *m;

	if (peer->role == LINK_TOOL)
		return NULL;
	m = rt_reg_find(g, peer->name, peer->role);
	if (m == NULL && (m = add(g, peer->name, peer->role)) == NULL)
		return NULL;
	if (m->self)		/* somebody else of our name */
		return NULL;
	forget(m);
	m->who = who;
	m->heard_ns = now_ns;
	m->gone = false;
	if (m->incarnation != peer->incarnation)	/* a word about its
							 * predecessor */
		m->dead = m->leaving = false;
	m->incarnation = peer->incarnation;
	return m;
}

struct rt_member *
rt_reg_of(struct rt_reg *g, const void *who)
{
	size_t i;

	for (i = 0; i < g->n; i++)
		if (g->m[i].who == who)
			return &g->m[i];
	return NULL;
}

void
rt_reg_down(struct rt_reg *g, const void *who, uint64_t now_ns)
{
	struct rt_member *m = rt_reg_of(g, who);

	if (m == NULL)
		return;
	forget(m);
	m->lost_ns = now_ns;
	drop_strangers(g);
}

/* A count of the report, or -1; a wrong one says nothing. */
static int64_t
number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ?
	    json_integer_value(v) : -1;
}

static void
take_rate(struct rt_member *m, int64_t rows, uint64_t now_ns)
{
	if (m->report_ns != 0 && rows >= m->rows && m->rows >= 0 &&
	    now_ns > m->report_ns)
		m->rows_s = (double)(rows - m->rows) * 1e9 /
		    (double)(now_ns - m->report_ns);
	m->rows = rows;
	m->report_ns = now_ns;
}

/* What placement needs to know. */
static void
take_expert(struct rt_member *m, const json_t *o)
{
	int64_t memory = number(o, "memory"), each = number(o, "expert_bytes");
	int64_t map = number(o, "map");

	m->pinned = json_is_true(json_object_get(o, "pinned"));
	m->assigned = number(o, "assigned");
	m->cap = m->pinned ? 0 : memory <= 0 || each <= 0 ? -1 :
	    memory / each;
	m->map = map > 0 && map <= UINT32_MAX ? (uint32_t)map : 0;
}

/* Where one is that the file does not know. */
static void
take_addr(struct rt_member *m, const json_t *o)
{
	const char *addr = json_string_value(json_object_get(o, "address"));

	if (!m->in_file && addr != NULL && strlen(addr) < sizeof(m->addr) &&
	    addr[strcspn(addr, "\t\n\r ")] == '\0')
		snprintf(m->addr, sizeof(m->addr), "%s", addr);
}

/* A front end's report without pairs leaves those of the one before. */
static void
keep_report(struct rt_member *m, json_t *o)
{
	json_t *pairs = json_object_get(m->report, "pairs");

	if (json_object_get(o, "pairs") == NULL && pairs != NULL)
		json_object_set(o, "pairs", pairs);
	json_decref(m->report);
	m->report = o;
}

int
rt_reg_report(struct rt_member *m, const void *data, size_t n,
    uint64_t now_ns, struct err *err)
{
	const char *text;
	json_t *o;

	if (n > RT_REG_REPORT)
		return err_set(err, ERR_DATA, "%s: a report of %zu bytes",
		    m->name, n);
	if ((o = json_want_text(data, n, "a report", ERR_DATA, err)) == NULL)
		return err_ctx(err, "%s", m->name);
	m->heard_ns = now_ns;
	m->asked = false;
	m->pid = number(o, "pid");
	m->experts = number(o, "resident");
	m->bytes = number(o, "resident_bytes");
	m->queue = m->role == LINK_FRONT ? number(o, "waiting") :
	    number(o, "queued_rows");
	take_rate(m, number(o, "rows"), now_ns);
	text = json_string_value(json_object_get(o, "state"));
	if (text != NULL && strlen(text) < sizeof(m->state) &&
	    text[strspn(text, "abcdefghijklmnopqrstuvwxyz")] == '\0')
		snprintf(m->state, sizeof(m->state), "%s", text);
	if (m->role == LINK_EXPERT)
		take_expert(m, o);
	take_addr(m, o);
	keep_report(m, o);
	return 0;
}

bool
rt_reg_map(struct rt_member *m, const json_t *o)
{
	const char *by = json_string_value(json_object_get(o, "by"));
	int64_t v = number(o, "map");
	char *end;

	if (by == NULL || v < 1 || v > UINT32_MAX)
		return false;
	m->map_by = strtoull(by, &end, 16);
	m->map = (uint32_t)v;
	m->ready = json_is_true(json_object_get(o, "ready"));
	return true;
}

static void
set_int(json_t *o, const char *key, int64_t v)
{
	json_object_set_new(o, key, v < 0 ? json_null() : json_integer(v));
}

const char *
rt_reg_state(const struct rt_member *m)
{
	if (m->dead)
		return "dead";
	if (m->who == NULL && !m->self)
		return m->gone ? "gone" : "down";
	if (m->leaving)
		return "draining";
	return m->state[0] ? m->state : "up";
}

static json_t *
member_json(const struct rt_member *m, uint64_t now_ns)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "role",
	    rt_reg_role(m->role), "name", m->name, "address", m->addr,
	    "state", rt_reg_state(m));

	BUG_ON(o == NULL);
	set_int(o, "pid", m->pid);
	set_int(o, "experts", m->experts);
	set_int(o, "bytes", m->bytes);
	set_int(o, "queue", m->queue);
	set_int(o, "rows", m->rows);
	json_object_set_new(o, "rows_s", m->rows_s < 0 ? json_null() :
	    json_real(m->rows_s));
	set_int(o, "heard_ms", m->self ? 0 : m->heard_ns == 0 ? -1 :
	    (int64_t)((now_ns - m->heard_ns) / 1000000));
	set_int(o, "map", m->map == 0 ? -1 : (int64_t)m->map);
	json_object_set_new(o, "placed", json_boolean(m->placed));
	if (m->report != NULL)
		json_object_set(o, "report", m->report);
	return o;
}

json_t *
rt_reg_json(const struct rt_reg *g, uint64_t now_ns)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < g->n; i++)
		json_array_append_new(a, member_json(&g->m[i], now_ns));
	return a;
}
