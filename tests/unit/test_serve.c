/*
 * The router at work, with a link layer of the test's own: servers and front
 * ends that come, load, answer, die, and come back, in any order.
 *
 * The members here do what real ones do: a server loads what it is told to have
 * and says so, a front end takes a newer map and says so when it needs no older
 * one.  What is checked after every step is what nobody may ever see: an expert
 * of a map that a front end goes by which none of its servers there has.
 */
#include <stdlib.h>
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

/* ---- tests ---- */

static void
test_move(void)
{
	uint32_t had;

	begin(3, 1);
	OK(core.settled && all_served(), "three servers, two front ends");
	EQ_INT(pair[6].n_map, 0, "the first map is everybody's own");
	had = (uint32_t)hold_count(&pair[0].has);
	asks("{\"ask\":\"move\",\"experts\":\"0-5\",\"from\":\"s0\","
	    "\"to\":\"s1\"}");
	EQ_STR(state(), "accepted", "an order is accepted");
	OK(asks("{\"ask\":\"move\",\"experts\":\"0-5\",\"from\":\"s2\","
	    "\"to\":\"s1\",\"wait\":true}") == false, "another one waits");
	tend(1000000);
	OK(rt_turn_version(&core.turn) == 1 && hold_covers(&pair[0].told,
	    &pair[0].has), "nothing is published or unloaded yet");
	load(1);
	tend(1000000);
	OK(rt_turn_version(&core.turn) == 2 && map_version(pair[6].map) == 2,
	    "loaded: published");
	load(0);
	OK(hold_count(&pair[0].has) == had, "but the old copies stay");
	settle(6);
	tend(1000000);
	load(0);
	OK(hold_count(&pair[0].has) == had && state()[0] == 'n',
	    "while one front end goes by the old map");
	settle(7);
	tend(1000000);
	load(0);
	load(2);
	OK(hold_count(&pair[0].has) < had, "then they go");
	tend(1000000);
	EQ_STR(state(), "done", "and it is done");
	OK(all_served(), "nothing was ever missing");
	OK(asks("{\"ask\":\"map\"}") == false &&
	    strstr(str_c(&pair[TOOL].text), "#moe:map/1") != NULL,
	    "the map can be read");
	end();
}

/* A front end that is gone is not waited for, nor is a server that dies while
 * it loads. */
static void
test_gone(void)
{
	begin(3, 2);
	asks("{\"ask\":\"drain\",\"name\":\"s2\",\"wait\":true}");
	load(0);
	load(1);
	tend(1000000);
	settle(6);
	EQ_STR(state(), "nothing", "drain: one front end is not there yet");
	lose(7);
	quiet();
	OK(pair[2].draining, "it has gone: the server may go");
	EQ_STR(state(), "nothing", "and is waited for");
	lose(2);
	tend(1);
	EQ_STR(state(), "done", "until it has");
	connect_to(7);
	quiet();
	OK(map_version(pair[7].map) == 2 && all_served(),
	    "the front end hears of the map when it is back");
	asks("{\"ask\":\"drain\",\"name\":\"s1\"}");
	quiet();
	lose(1);
	OK(all_served(), "down to one server");
	asks("{\"ask\":\"drain\",\"name\":\"s0\"}");
	OK(strstr(state(), "no server is left") != NULL, "not to none: %s", state());
	start(4);
	connect_to(4);
	tend(30000000);
	lose(4);
	quiet();
	OK(all_served() && core.turn.next != NULL,
	    "one that dies while it loads is waited for");
	tend(GRACE_NS);
	quiet();
	OK(rt_turn_still(&core.turn) && all_served(), "but not for ever");
	end();
}

static void
test_dead(void)
{
	begin(3, 2);
	asks("{\"ask\":\"dead\",\"name\":\"s1\",\"wait\":true}");
	EQ_STR(pair[6].masked, "s1", "an operator's word reaches front ends at "
	    "once");
	quiet();
	EQ_STR(state(), "done", "others have its experts");
	OK(map_server_find(rt_turn_now(&core.turn), "s1") < 0 && all_served(),
	    "and it is not in the map");
	lose(1);
	connect_to(1);		/* it only hung */
	quiet();
	OK(map_server_find(rt_turn_now(&core.turn), "s1") < 0,
	    "the same process is not let in again");
	lose(1);
	start(1);
	connect_to(1);
	quiet();
	OK(map_server_find(rt_turn_now(&core.turn), "s1") >= 0 && all_served(),
	    "a new one is");

	/* Back before anything had changed: the mask must end. */
	asks("{\"ask\":\"dead\",\"name\":\"s0\"}");
	lose(0);
	start(0);
	connect_to(0);
	quiet();
	OK(pair[6].masked[0] == '\0' && all_served() &&
	    map_server_find(rt_turn_now(&core.turn), "s0") >= 0,
	    "back at once: no mask is left");
	asks("{\"ask\":\"dead\",\"name\":\"s9\"}");
	OK(strstr(state(), "'s9'") != NULL, "nobody: %s", state());
	end();
}

/* A front end that connects after the word hears it, too. */
static void
test_dead_late(void)
{
	int i;

	begin(2, 1);
	for (i = 0; i < 2; i++)
		pair[i].memory = (int64_t)hold_count(&pair[i].has) + 1;
	for (i = 0; i < 2; i++)
		tell_report(i, 1);
	lose(7);
	asks("{\"ask\":\"dead\",\"name\":\"s1\",\"wait\":true}");
	OK(strstr(state(), "on no server") != NULL, "no memory: %s", state());
	OK(map_server_find(rt_turn_now(&core.turn), "s1") >= 0,
	    "it stays in the map");
	connect_to(7);
	tend(1);
	EQ_STR(pair[7].masked, "s1", "masked for who comes later, too");
	start(3);
	connect_to(3);
	quiet();
	OK(all_served() && map_server_find(rt_turn_now(&core.turn), "s1") < 0,
	    "a server that comes takes its place");
	end();
}

/* From 1 to 6 and back, two copies: each new server has its share. */
static void
test_elastic(void)
{
	bool ok = true, share = true;
	char order[60];
	int i, n;

	begin(1, 2);
	for (i = 1; i < SERVERS; i++) {
		start(i);
		connect_to(i);
		tend(30000000);
		ok &= all_served();
		quiet();
		ok &= all_served() && rt_turn_still(&core.turn);
		n = (int)hold_count(&pair[i].has) * (i + 1);
		share &= n >= 2 * n_layer * n_expert - 6 * n_layer * (i + 1);
	}
	OK(ok && share, "1 to 6");
	lose(3);
	tend(GRACE_NS / 2);
	quiet();
	n = (int)rt_turn_version(&core.turn);
	connect_to(3);
	quiet();
	EQ_INT(rt_turn_version(&core.turn), n, "a short absence moves nothing");
	lose(3);
	tend(GRACE_NS * 2);
	quiet();
	OK(map_server_find(rt_turn_now(&core.turn), "s3") < 0 && all_served(),
	    "a long one does");
	for (i = SERVERS - 1; i > 0; i--) {
		if (i == 3)
			continue;
		snprintf(order, sizeof(order),
		    "{\"ask\":\"drain\",\"name\":\"s%d\"}", i);
		asks(order);
		ok &= strcmp(state(), "accepted") == 0;
		quiet();
		ok &= all_served() && pair[i].draining;
		lose(i);
		quiet();
		ok &= all_served();
	}
	OK(ok && hold_count(&pair[0].has) == (uint64_t)(n_layer * n_expert),
	    "and back to 1");
	end();
}

/* The router is killed in the middle of a change, in every state of it, and
 * another one takes over. */
static void
test_restart(void)
{
	bool ok = true, higher = true;
	uint32_t version;
	int step, i;

	for (step = 0; step < 5; step++) {
		begin(3, 1);
		for (i = 0; i < 3; i++) {	/* some history */
			asks(i % 2 == 0 ? "{\"ask\":\"move\",\"experts\":\"all\","
			    "\"from\":\"s0\",\"to\":\"s1\"}" :
			    "{\"ask\":\"move\",\"experts\":\"0-3\",\"from\":"
			    "\"s1\",\"to\":\"s0\"}");
			quiet();
		}
		asks("{\"ask\":\"move\",\"experts\":\"all\",\"from\":\"s2\","
		    "\"to\":\"s0\"}");
		tend(1000000);
		if (step > 0)
			load(0);
		if (step > 1)
			tend(1000000);
		if (step > 2)
			settle(6);
		if (step > 3) {
			settle(7);
			tend(1000000);
		}
		version = map_version(pair[6].map);
		for (i = 0; i < MEMBERS; i++)
			if (pair[i].up)
				lose(i);
		rt_core_close(&core);
		fake_now += 60000000000u;
		open_router();
		for (i = 0; i < 3; i++)
			connect_to(i);
		connect_to(6);
		if (core.teacher != NULL) {
			struct str s = STR_INIT;

			map_text(pair[6].map, &s);
			event(6, LINK_MSG, LINK_MSG_MAP, s.p, s.n);
			str_free(&s);
		}
		connect_to(7);
		quiet();
		tend(600000000);
		ok &= all_served();
		quiet();
		higher &= rt_turn_version(&core.turn) >= version &&
		    rt_turn_still(&core.turn) && !core.keep_held;
		ok &= all_served() && pair[6].ready && pair[7].ready;
		asks("{\"ask\":\"move\",\"experts\":\"0-3\",\"from\":\"s0\","
		    "\"to\":\"s2\",\"wait\":true}");
		quiet();
		ok &= strcmp(state(), "done") == 0 ||
		    strstr(state(), "has none") != NULL;
		higher &= map_version(pair[6].map) >= version;
		end();
	}
	OK(ok, "a router killed in any state of a change: all is served");
	OK(higher, "and versions go on");
}

/* Two routers have made a version of the same number. */
static void
test_race(void)
{
	struct map *other;

	begin(2, 1);
	asks("{\"ask\":\"move\",\"experts\":\"0-3\",\"from\":\"s0\",\"to\":"
	    "\"s1\"}");
	quiet();
	EQ_INT(map_version(pair[7].map), 2, "version 2 is ours");
	lose(7);
	other = map_copy(pair[7].map);
	map_unref(pair[7].map);
	pair[7].map = other;
	pair[7].by = 0xdead;
	connect_to(7);
	tend(1000000);
	quiet();
	OK(map_version(pair[7].map) == 3 && pair[7].by == core.me &&
	    map_version(pair[6].map) == 3 && all_served(),
	    "version 2 of another router: everybody goes on by 3");
	lose(7);
	map_set_version(pair[7].map, 40);
	pair[7].by = 0xbeef;
	connect_to(7);
	quiet();
	OK(map_version(pair[7].map) == 41 && map_version(pair[6].map) == 41,
	    "version 40 of another: by 41");
	end();
}

/* No front end is there to learn from: servers know the version, and what they
 * have is the map. */
static void
test_servers_only(void)
{
	struct map *before;
	int i;

	begin(2, 1);
	start(2);
	connect_to(2);
	quiet();
	before = map_ref(rt_turn_now(&core.turn));
	for (i = 0; i < MEMBERS; i++)
		if (pair[i].up)
			lose(i);
	rt_core_close(&core);
	open_router();
	for (i = 0; i < 3; i++) {
		pair[i].up = true;
		event(i, LINK_UP, 0, NULL, 0);
		tell_hold(i);
		tell_report(i, map_version(before));
	}
	tend(600000000);
	tend(600000000);
	OK(map_same(before, rt_turn_now(&core.turn)) &&
	    rt_turn_version(&core.turn) >= map_version(before),
	    "the map is what servers have");
	map_unref(before);
	end();
}

/* Bytes of members are hostile. */
static void
test_nonsense(void)
{
	static const char *const bad[] = { "", "{", "[]", "{\"ask\":1}",
	    "{\"ask\":\"fly\"}", "{\"ask\":\"move\"}", "{\"ask\":\"drain\"}",
	    "{\"ask\":\"apply\",\"map\":\"x\"}", "{\"map\":-1,\"by\":\"1\"}",
	    "{\"map\":4294967295,\"by\":\"1\",\"ready\":true}",
	    "{\"ask\":\"move\",\"experts\":\"0\",\"from\":\"s0\"}" };
	static const int type[] = { LINK_MSG_ASK, LINK_MSG_REPORT,
	    LINK_MSG_HOLD, LINK_MSG_REPLY, LINK_MSG_MAP, LINK_MSG_WANT };
	size_t i, k;
	int m;

	begin(2, 2);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (k = 0; k < sizeof(type) / sizeof(type[0]); k++)
			for (m = 0; m < MEMBERS; m += 3)
				if (pair[m].up || m == 0)
					event(m, LINK_MSG, type[k], bad[i],
					    strlen(bad[i]));
	quiet();
	OK(all_served() && rt_turn_now(&core.turn) != NULL,
	    "nonsense changes nothing");
	end();
}

int
main(void)
{
	close(mkstemp(path));
	log_init("test", NULL, LOG_ERROR);
	test_move();
	test_gone();
	test_dead();
	test_dead_late();
	test_elastic();
	test_restart();
	test_race();
	test_servers_only();
	test_nonsense();
	unlink(path);
	return tap_done();
}
