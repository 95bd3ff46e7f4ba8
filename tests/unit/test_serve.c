/*
 * Unit tests of the router at work (router_rig.h).  What is checked after every
 * step is what nobody may ever see: an expert of a map that a front end goes by
 * which none of its servers there has.
 */
#include "router_rig.h"

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
