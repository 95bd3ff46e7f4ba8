/* rt_reg - see rt_reg.h. */
#include "rt_reg.h"

#include <stdio.h>
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

static struct rt_member *
find(struct rt_reg *g, const char *name, enum link_role role)
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
	forget(m);
	return m;
}

static void
drop_strangers(struct rt_reg *g)
{
	size_t i, k = 0;

	for (i = 0; i < g->n; i++)
		if (g->m[i].in_file || g->m[i].self || g->m[i].who != NULL)
			g->m[k++] = g->m[i];
	g->n = k;
}

void
rt_reg_file(struct rt_reg *g, const struct cluster *c)
{
	const struct cluster_member *cm;
	struct rt_member *m;
	size_t i;

	for (i = 0; i < g->n; i++)
		g->m[i].in_file = false;
	for (i = 0; i < c->n_member; i++) {
		cm = &c->member[i];
		m = find(g, cm->name, role_of(cm->role));
		if (m == NULL &&
		    (m = add(g, cm->name, role_of(cm->role))) == NULL)
			break;
		m->in_file = true;
		snprintf(m->addr, sizeof(m->addr), "%s", cm->addr);
	}
	drop_strangers(g);
}

void
rt_reg_free(struct rt_reg *g)
{
	mem_free(g->m);
	*g = (struct rt_reg){ NULL, 0, 0 };
}

void
rt_reg_self(struct rt_reg *g, const char *name, int64_t pid)
{
	struct rt_member *m = find(g, name, LINK_ROUTE);

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
	m = find(g, peer->name, peer->role);
	if (m == NULL && (m = add(g, peer->name, peer->role)) == NULL)
		return NULL;
	if (m->self)		/* somebody else of our name */
		return NULL;
	forget(m);
	m->who = who;
	m->heard_ns = now_ns;
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
rt_reg_down(struct rt_reg *g, const void *who)
{
	struct rt_member *m = rt_reg_of(g, who);

	if (m == NULL)
		return;
	forget(m);
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

int
rt_reg_report(struct rt_member *m, const void *data, size_t n,
    uint64_t now_ns, struct err *err)
{
	json_t *o = json_want_text(data, n, "a report", ERR_DATA, err);
	const char *text;

	if (o == NULL)
		return err_ctx(err, "%s", m->name);
	m->heard_ns = now_ns;
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
	json_decref(o);
	return 0;
}

static void
set_int(json_t *o, const char *key, int64_t v)
{
	json_object_set_new(o, key, v < 0 ? json_null() : json_integer(v));
}

static json_t *
member_json(const struct rt_member *m, uint64_t now_ns)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "role",
	    rt_reg_role(m->role), "name", m->name, "address", m->addr,
	    "state", m->who == NULL && !m->self ? "down" :
	    m->state[0] ? m->state : "up");

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
