/*
 * router_rig.h - the router's core with a link layer of the test's own: servers
 * and front ends that come, load, answer, die, and come back, in any order.
 *
 * The members here do what real ones do: a server loads what it is told to have
 * and says so, a front end takes a newer map and says so when it needs no older
 * one.
 */
#ifndef MOE_ROUTER_RIG_H
#define MOE_ROUTER_RIG_H

#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "rng.h"
#include "tap.h"

#include "../../src/moe-route/rt_ask.c"
#include "../../src/moe-route/rt_core.c"
#include "../../src/moe-route/rt_learn.c"
#include "../../src/moe-route/rt_map.c"
#include "../../src/moe-route/rt_place.c"
#include "../../src/moe-route/rt_reg.c"
#include "../../src/moe-route/rt_turn.c"

#define SERVERS		6
#define FRONTS		2
#define MEMBERS		(SERVERS + FRONTS)
#define TOOL		MEMBERS
#define PAIRS		(MEMBERS + 1)
#define GRACE_NS	1000000000u

static uint64_t fake_now = 1000000000;

uint64_t
clock_ns(void)
{
	return fake_now;
}

struct link_pair {		/* a member, and its connection */
	struct link_hello hello;
	bool up;		/* the process and the connection */
	struct hold has, told;	/* server */
	int64_t memory;		/* experts; 0: any number */
	struct map *map;	/* front end: it goes by */
	uint64_t by;
	bool ready;
	char masked[LINK_NAME];
	bool draining;
	json_t *reply;		/* tool: the last one */
	struct str text;	/* tool: the last map */
	unsigned n_want, n_map;
};

static struct link_pair pair[PAIRS];
static struct rt_core core;
static int n_layer, n_expert;

const struct link_hello *
link_peer(const struct link_pair *p)
{
	return &p->hello;
}

uint64_t
link_heard_ns(const struct link_pair *p)
{
	(void)p;
	return fake_now;
}

/* The router says something to a member. */
int
link_msg(struct link_pair *p, int type, const void *data, size_t n)
{
	json_t *o;
	const char *name;
	struct map *m;

	if (!p->up)
		return -1;
	switch (type) {
	case LINK_MSG_WANT:
		p->n_want++;
		BUG_ON(hold_decode(&p->told, data, n, NULL) != 0);
		break;
	case LINK_MSG_MAP:
		if (p == &pair[TOOL]) {
			str_clear(&p->text);
			str_add(&p->text, data, n);
			break;
		}
		p->n_map++;
		BUG_ON(map_read_text(&m, data, n, "map", NULL) != 0);
		if (p->map != NULL && map_version(m) <= map_version(p->map)) {
			map_unref(m);
			break;
		}
		map_unref(p->map);
		p->map = m;
		p->by = core.me;
		p->ready = false;
		p->masked[0] = '\0';
		break;
	case LINK_MSG_DRAIN:
		p->draining = true;
		break;
	case LINK_MSG_ASK:
		o = json_loadb(data, n, 0, NULL);
		name = json_string_value(json_object_get(o, "dead"));
		if (name != NULL)
			snprintf(p->masked, sizeof(p->masked), "%s", name);
		json_decref(o);
		break;
	case LINK_MSG_REPLY:
		json_decref(p->reply);
		p->reply = json_loadb(data, n, 0, NULL);
		break;
	}
	return 0;
}

/* ---- members ---- */

static void
event(int i, enum link_ev what, int type, const void *data, size_t n)
{
	struct link_event ev = { .what = what, .pair = &pair[i], .type = type,
	    .data = data, .n = n };

	snprintf(ev.reason, sizeof(ev.reason), "test");
	rt_core_event(&core, &ev);
}

static void
tell_hold(int i)
{
	struct str s = STR_INIT;

	hold_encode(&pair[i].has, &s);
	event(i, LINK_MSG, LINK_MSG_HOLD, s.p, s.n);
	str_free(&s);
}

static void
tell_report(int i, uint32_t map)
{
	char *text = mem_printf("{\"state\":\"serving\",\"address\":\"shm:%s\","
	    "\"assigned\":%d,\"memory\":%lld,\"expert_bytes\":1,\"map\":%u}",
	    pair[i].hello.name, (int)hold_count(&pair[i].has),
	    (long long)pair[i].memory, map);

	event(i, LINK_MSG, LINK_MSG_REPORT, text, strlen(text));
	mem_free(text);
}

static void
tell_map(int i)
{
	char *text = mem_printf("{\"map\":%u,\"by\":\"%llx\",\"ready\":%s}",
	    map_version(pair[i].map), (unsigned long long)pair[i].by,
	    pair[i].ready ? "true" : "false");

	event(i, LINK_MSG, LINK_MSG_REPLY, text, strlen(text));
	mem_free(text);
}

/* Its process starts: it has nothing, or the first map. */
static void
start(int i)
{
	static uint64_t incarnation = 1;

	pair[i].hello.incarnation = incarnation++;
	hold_free(&pair[i].has);
	hold_free(&pair[i].told);
	hold_init(&pair[i].has, (uint32_t)n_layer, (uint32_t)n_expert);
	hold_init(&pair[i].told, (uint32_t)n_layer, (uint32_t)n_expert);
	pair[i].draining = false;
	pair[i].masked[0] = '\0';
}

static void
connect_to(int i)
{
	pair[i].up = true;
	event(i, LINK_UP, 0, NULL, 0);
	if (i < SERVERS) {
		tell_hold(i);
		tell_report(i, 0);
	} else if (i < MEMBERS) {
		tell_map(i);
	}
}

static void
lose(int i)
{
	pair[i].up = false;
	event(i, LINK_DOWN, 0, NULL, 0);
}

/* A server does as it was told. */
static void
load(int i)
{
	bool same = hold_covers(&pair[i].has, &pair[i].told) &&
	    hold_covers(&pair[i].told, &pair[i].has);

	if (!pair[i].up || pair[i].n_want == 0 || same)
		return;
	memset(pair[i].has.bits, 0,
	    (size_t)n_layer * (size_t)((n_expert + 7) / 8));
	hold_join(&pair[i].has, &pair[i].told);
	pair[i].has.version++;
	tell_hold(i);
}

static int
server_of(const char *name)
{
	int i;

	for (i = 0; i < SERVERS; i++)
		if (strcmp(pair[i].hello.name, name) == 0)
			return i;
	return -1;
}

/* Has a server that front end f would ask it now? */
static bool
served(const struct link_pair *f, int l, int e)
{
	const uint16_t *s;
	int i, k, n = map_replicas(f->map, l, e, &s);

	for (i = 0; i < n; i++) {
		k = server_of(map_server_name(f->map, s[i]));
		if (k >= 0 && pair[k].up && strcmp(pair[k].hello.name,
		    f->masked) != 0 &&
		    hold_has(&pair[k].has, (uint32_t)l, (uint32_t)e))
			return true;
	}
	return false;
}

static int
unserved(const struct link_pair *f)
{
	int l, e, n = 0;

	for (l = 0; l < n_layer; l++)
		for (e = 0; e < n_expert; e++)
			n += !served(f, l, e);
	return n;
}

/* A front end needs no older map once all of its own is served. */
static void
settle(int i)
{
	if (!pair[i].up || pair[i].ready || unserved(&pair[i]) != 0)
		return;
	pair[i].ready = true;
	tell_map(i);
}

static void
tend(uint64_t ns)
{
	fake_now += ns;
	rt_core_tend(&core, fake_now);
}

/* Everybody does what there is to do, until nobody has. */
static void
quiet(void)
{
	int i, k;

	for (k = 0; k < 12; k++) {
		tend(30000000);
		for (i = 0; i < SERVERS; i++)
			load(i);
		for (; i < MEMBERS; i++)
			settle(i);
	}
}

static bool
asks(const char *question)
{
	json_decref(pair[TOOL].reply);
	pair[TOOL].reply = NULL;
	event(TOOL, LINK_MSG, LINK_MSG_ASK, question, strlen(question));
	tend(1);
	return pair[TOOL].reply != NULL;
}

static const char *
state(void)
{
	const char *s = json_string_value(json_object_get(pair[TOOL].reply,
	    "state"));
	const char *e = json_string_value(json_object_get(pair[TOOL].reply,
	    "error"));

	return s != NULL ? s : e != NULL ? e : "nothing";
}

/* ---- a cluster ---- */

static char path[] = "/tmp/moe-test-XXXXXX";

static void
write_cluster(int n, int copies)
{
	const char *root = getenv("MOE_ROOT");
	FILE *fp = fopen(path, "w");
	int i;

	fprintf(fp, "moe-cluster 1\nmodel %s/models/tales\nreplicas %d\n",
	    root ? root : ".", copies);
	for (i = 0; i < n; i++)
		fprintf(fp, "expert s%d shm:s%d\n", i, i);
	fprintf(fp, "route r shm:r\n");
	fclose(fp);
}

static void
open_router(void)
{
	const struct rt_core_opt o = { path, NULL, NULL, "r", GRACE_NS,
	    500000000 };
	struct err e = ERR_INIT;

	memset(&core, 0, sizeof(core));
	if (rt_core_open(&core, &o, &e) != 0) {
		printf("# %s\n", e.text);
		abort();
	}
	core.me = 0x1000 + fake_now;
}

/* n servers of the file, all up and loaded by the plan, and both front ends. */
static void
begin(int n, int copies)
{
	struct map *m;
	int i;

	write_cluster(n, copies);
	open_router();
	m = rt_turn_now(&core.turn);
	n_layer = map_n_layer(m);
	n_expert = map_n_expert(m);
	for (i = 0; i < PAIRS; i++) {
		memset(&pair[i], 0, sizeof(pair[i]));
		snprintf(pair[i].hello.name, sizeof(pair[i].hello.name),
		    i < SERVERS ? "s%d" : "f%d", i);
		pair[i].hello.role = i < SERVERS ? LINK_EXPERT :
		    i < MEMBERS ? LINK_FRONT : LINK_TOOL;
		start(i);
	}
	for (i = 0; i < n; i++) {
		rt_turn_bits(m, i, &pair[i].has);
		connect_to(i);
	}
	for (i = SERVERS; i < MEMBERS; i++) {
		pair[i].map = map_ref(m);
		pair[i].ready = true;
		connect_to(i);
	}
	pair[TOOL].up = true;
	quiet();
}

static void
end(void)
{
	int i;

	rt_core_close(&core);
	for (i = 0; i < PAIRS; i++) {
		hold_free(&pair[i].has);
		hold_free(&pair[i].told);
		map_unref(pair[i].map);
		str_free(&pair[i].text);
		json_decref(pair[i].reply);
	}
}

static bool
all_served(void)
{
	int i, n = 0;

	for (i = SERVERS; i < MEMBERS; i++)
		n += pair[i].up ? unserved(&pair[i]) : 0;
	return n == 0;
}

#endif
