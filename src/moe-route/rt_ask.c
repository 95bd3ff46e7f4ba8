/*
 * rt_ask - what tools ask of a router: see rt_core.h.
 *
 * A question is an object with "ask": status, map, move, drain, dead, apply;
 * the answer is an object, for map a LINK_MSG_MAP.  Orders are answered when
 * they are accepted, or with "wait" when they are carried out.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "rt_core.h"
#include "rt_map.h"

/* Members that do not report within this are shown as they were. */
#define REPORT_LIMIT_NS	300000000u
#define MAX_WAITS	1024

enum wait_for { WAIT_SETTLED, WAIT_REPORTS, WAIT_DONE };

struct rt_wait {
	struct link_pair *pair;
	enum wait_for what;
	json_t *ask;		/* WAIT_SETTLED: the question itself */
	uint32_t version;	/* WAIT_DONE: the map that carries it out */
	int64_t loads;		/* that the order caused */
	char leaver[LINK_NAME];	/* WAIT_DONE: who has to go; "" */
	uint64_t due_ns;
	struct rt_wait *next;
};

/* ---- waiting ------------------------------------------------------------- */

static struct rt_wait *
hold_on(struct rt_core *c, struct link_pair *pair, enum wait_for what)
{
	struct rt_wait *w = mem_zalloc(sizeof(*w));

	w->pair = pair;
	w->what = what;
	w->due_ns = RT_NEVER;
	w->next = c->waits;
	c->waits = w;
	return w;
}

static void
wait_free(struct rt_wait *w)
{
	json_decref(w->ask);
	mem_free(w);
}

void
rt_ask_gone(struct rt_core *c, const struct link_pair *pair)
{
	struct rt_wait **at = &c->waits, *w;

	while ((w = *at) != NULL) {
		if (w->pair != pair) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		wait_free(w);
	}
}

void
rt_ask_free(struct rt_core *c)
{
	struct rt_wait *w;

	while ((w = c->waits) != NULL) {
		c->waits = w->next;
		wait_free(w);
	}
}

/* ---- answers ------------------------------------------------------------- */

/* Takes the reference. */
static void
say(struct link_pair *pair, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	BUG_ON(text == NULL);
	(void)link_msg(pair, LINK_MSG_REPLY, text, strlen(text));
	free(text);
	json_decref(o);
}

static void
say_err(struct link_pair *pair, const struct err *err)
{
	say(pair, json_pack("{s:s, s:i}", "error", err->text, "code",
	    err->code));
}

static void
say_status(struct rt_core *c, struct link_pair *pair)
{
	struct rt_member *m;
	json_t *o;
	size_t i;

	for (i = 0; i < c->reg.n; i++) {
		m = &c->reg.m[i];
		if (m->who != NULL && link_heard_ns(rt_core_pair(m)) != 0)
			m->heard_ns = link_heard_ns(rt_core_pair(m));
	}
	o = json_pack("{s:I, s:I, s:b, s:b, s:s, s:I, s:I, s:o}",
	    "map", (json_int_t)rt_turn_version(&c->turn),
	    "next", c->turn.next == NULL ? (json_int_t)0 :
	    (json_int_t)map_version(c->turn.next),
	    "settled", c->settled,
	    "still", rt_turn_still(&c->turn) && rt_core_clean(c),
	    "trouble", c->trouble,
	    "messages", (json_int_t)c->n_msg, "bytes", (json_int_t)c->n_byte,
	    "members", rt_reg_json(&c->reg, clock_ns()));
	BUG_ON(o == NULL);
	say(pair, o);
}

static void
say_map(struct rt_core *c, struct link_pair *pair)
{
	struct str s = STR_INIT;
	struct err err = ERR_INIT;

	if (rt_turn_now(&c->turn) == NULL) {
		err_set(&err, ERR_TEMP, "there is no map");
		say_err(pair, &err);
		return;
	}
	map_text(rt_turn_now(&c->turn), &s);
	(void)link_msg(pair, LINK_MSG_MAP, s.p, s.n);
	str_free(&s);
}

/* The version that carries out what has just been ordered. */
static uint32_t
version_to_come(const struct rt_core *c)
{
	const struct map *goal = rt_turn_goal(&c->turn);

	return goal == NULL ? 0 : map_version(goal);
}

static void
say_change(struct rt_core *c, struct link_pair *pair, uint32_t version,
    const char *state, int64_t loads)
{
	say(pair, json_pack("{s:I, s:s, s:I, s:s}", "version",
	    (json_int_t)version, "state", state, "loads",
	    (json_int_t)loads, "note", c->trouble));
}

/* An order has been taken: say so now or when it is done. */
static void
accept(struct rt_core *c, struct link_pair *pair, const json_t *ask,
    const char *leaver)
{
	struct rt_wait *w;

	if (!json_is_true(json_object_get(ask, "wait"))) {
		say_change(c, pair, version_to_come(c), "accepted", c->loads);
		return;
	}
	w = hold_on(c, pair, WAIT_DONE);
	w->version = version_to_come(c);
	w->loads = c->loads;
	snprintf(w->leaver, sizeof(w->leaver), "%s", leaver);
}

/* ---- orders -------------------------------------------------------------- */

static struct json_src
source(const json_t *ask, struct err *err)
{
	return (struct json_src){ ask, "the order", "", 0, err };
}

static int
want_server(struct rt_core *c, const char *name, struct rt_member **out,
    struct err *err)
{
	*out = rt_reg_find(&c->reg, name, LINK_EXPERT);
	return *out != NULL ? 0 : err_set(err, ERR_DATA, "no expert server is "
	    "called '%.47s'", name);
}

static int
do_move(struct rt_core *c, struct link_pair *pair, const json_t *ask,
    struct err *err)
{
	const struct json_src s = source(ask, err);
	struct rt_map_move mv = { 0 };
	struct rt_member *to;
	struct map *m;

	if (json_want_str(&s, "experts", &mv.spec) != 0 ||
	    json_want_str(&s, "from", &mv.from) != 0 ||
	    json_want_str(&s, "to", &mv.to) != 0 ||
	    want_server(c, mv.to, &to, err) != 0)
		return -1;
	mv.to_addr = to->addr;
	if (rt_map_move(rt_turn_goal(&c->turn), &mv, &m, err) != 0 ||
	    rt_place_map(c, m, err) != 0)
		return -1;
	if (mv.there > 0)
		log_info("move: %lld experts stay on %s, for %s has them",
		    (long long)mv.there, mv.from, mv.to);
	accept(c, pair, ask, "");
	return 0;
}

static int
do_apply(struct rt_core *c, struct link_pair *pair, const json_t *ask,
    struct err *err)
{
	const struct json_src s = source(ask, err);
	const char *text;
	struct map *m;

	if (json_want_str(&s, "map", &text) != 0 ||
	    map_read_text(&m, text, strlen(text), "the map", err) != 0 ||
	    rt_place_map(c, m, err) != 0)
		return -1;
	accept(c, pair, ask, "");
	return 0;
}

static int
do_drain(struct rt_core *c, struct link_pair *pair, const json_t *ask,
    struct err *err)
{
	const struct json_src s = source(ask, err);
	const char *name;
	struct rt_member *m;

	if (json_want_str(&s, "name", &name) != 0)
		return -1;
	if ((m = rt_reg_find(&c->reg, name, LINK_FRONT)) == NULL &&
	    want_server(c, name, &m, err) != 0)
		return -1;
	if (m->who == NULL)
		return err_set(err, ERR_TEMP, "%s is %s", name,
		    rt_reg_state(m));
	m->leaving = true;
	c->news = true;
	if (m->role == LINK_EXPERT && rt_place(c, err) != 0) {
		m->leaving = false;
		return -1;
	}
	accept(c, pair, ask, name);
	return 0;
}

static int
do_dead(struct rt_core *c, struct link_pair *pair, const json_t *ask,
    struct err *err)
{
	const struct json_src s = source(ask, err);
	struct err why = ERR_INIT;
	struct rt_member *m, *f;
	const char *name;
	size_t i;

	if (json_want_str(&s, "name", &name) != 0 ||
	    want_server(c, name, &m, err) != 0)
		return -1;
	m->dead = true;
	c->masked = c->news = true;
	for (i = 0; i < c->reg.n; i++) {
		f = &c->reg.m[i];
		if (f->role == LINK_FRONT)
			rt_core_send_json(c, f, LINK_MSG_ASK,
			    json_pack("{s:s}", "dead", name));
	}
	log_warn("expert %s is dead by an operator's word", name);
	if (rt_place(c, &why) != 0) {
		snprintf(c->trouble, sizeof(c->trouble), "%.250s", why.text);
		if (json_is_true(json_object_get(ask, "wait")))
			return err_set(err, ERR_TEMP, "%s is masked, but stays "
			    "in the map: %s", name, why.text);
	}
	accept(c, pair, ask, "");
	return 0;
}

static void
obey(struct rt_core *c, struct link_pair *pair, const json_t *ask)
{
	static const struct {
		const char *name;
		int (*fn)(struct rt_core *, struct link_pair *, const json_t *,
		    struct err *);
	} verb[] = {
		{ "move", do_move }, { "apply", do_apply },
		{ "drain", do_drain }, { "dead", do_dead },
	};
	const char *what = json_string_value(json_object_get(ask, "ask"));
	struct err err = ERR_INIT;
	size_t i;

	for (i = 0; i < sizeof(verb) / sizeof(verb[0]); i++)
		if (strcmp(what, verb[i].name) == 0)
			break;
	if (i == sizeof(verb) / sizeof(verb[0]))
		err_set(&err, ERR_USAGE, "asked for nothing known (status, "
		    "map, move, drain, dead, apply)");
	else if (rt_turn_now(&c->turn) == NULL)
		err_set(&err, ERR_TEMP, "there is no map to change");
	else if (verb[i].fn(c, pair, ask, &err) == 0)
		return;
	say_err(pair, &err);
}

void
rt_ask(struct rt_core *c, const struct link_event *ev)
{
	struct err err = ERR_INIT;
	json_t *ask = json_want_text(ev->data, ev->n, "the question", ERR_DATA,
	    &err);
	const struct json_src s = { ask, "the question", "", 0, &err };
	const struct rt_wait *w;
	const char *what;
	int n = 0;

	for (w = c->waits; w != NULL; w = w->next)
		n++;
	if (ask == NULL || json_want_str(&s, "ask", &what) != 0) {
		say_err(ev->pair, &err);
	} else if (n >= MAX_WAITS) {
		err_set(&err, ERR_TEMP, "%d tools wait already", n);
		say_err(ev->pair, &err);
	} else if (strcmp(what, "status") == 0) {
		rt_core_ask_reports(c);
		hold_on(c, ev->pair, WAIT_REPORTS)->due_ns = clock_ns() +
		    REPORT_LIMIT_NS;
	} else if (strcmp(what, "map") == 0) {
		say_map(c, ev->pair);
	} else if (!c->settled) {
		/* First it has to know what it changes. */
		hold_on(c, ev->pair, WAIT_SETTLED)->ask = json_incref(ask);
	} else {
		obey(c, ev->pair, ask);
	}
	json_decref(ask);
}

/* ---- when the time has come ---------------------------------------------- */

static bool
done(struct rt_core *c, const struct rt_wait *w)
{
	const struct rt_member *m;

	if (w->leaver[0] != '\0') {
		m = rt_reg_find(&c->reg, w->leaver, LINK_EXPERT);
		if (m == NULL)
			m = rt_reg_find(&c->reg, w->leaver, LINK_FRONT);
		if (m != NULL && m->leaving && m->who != NULL)
			return false;
	}
	return c->settled && rt_turn_still(&c->turn) &&
	    rt_turn_version(&c->turn) >= w->version && !c->keep_held &&
	    rt_core_clean(c);
}

static bool
ripe(struct rt_core *c, const struct rt_wait *w, uint64_t now_ns)
{
	switch (w->what) {
	case WAIT_SETTLED:
		return c->settled;
	case WAIT_REPORTS:
		return now_ns >= w->due_ns || !rt_core_reports_due(c);
	case WAIT_DONE:
		return done(c, w);
	}
	return false;
}

uint64_t
rt_ask_tend(struct rt_core *c, uint64_t now_ns)
{
	struct rt_wait **at = &c->waits, *w;
	uint64_t next = RT_NEVER;

	while ((w = *at) != NULL) {
		if (!ripe(c, w, now_ns)) {
			next = w->due_ns < next ? w->due_ns : next;
			at = &w->next;
			continue;
		}
		*at = w->next;
		if (w->what == WAIT_SETTLED)
			obey(c, w->pair, w->ask);
		else if (w->what == WAIT_REPORTS)
			say_status(c, w->pair);
		else
			say_change(c, w->pair, w->version, "done", w->loads);
		wait_free(w);
		if (c->news)		/* an order was obeyed */
			next = 0;
	}
	return next;
}
