/*
 * Unit tests of dispatch: flights of a whole batch over servers that misbehave,
 * maps that change under them, and what an operator says (disp_rig.h).
 */
#include "disp_rig.h"

static void
test_plain(void)
{
	struct at_disp *d = open_disp(1000000000);
	static struct batch b;
	struct rng r = { 1, 0 };
	char why[200];
	bool right = true;
	int i, s;

	memset(&b, 0, sizeof(b));
	OK(!at_disp_covered(d, why), "no server: not covered");
	EQ_STR(why, "expert 0 of layer 0 is on no server that answers", "why");
	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	OK(at_disp_covered(d, why), "all up: covered");
	event(1, LINK_DOWN);
	OK(at_disp_covered(d, why), "one down of two copies: still covered");
	event(1, LINK_UP);
	for (i = 0; i < 300; i++) {
		fill_batch(&b, d, &r);
		at_disp_send(d, &b.f);
		while (b.f.left > 0)
			answer_all();
		right &= batch_right(&b);
	}
	OK(right, "300 batches, every route answered by its expert");
	EQ_INT(d->stat.replays, 0, "nothing was sent twice");
	at_flight_free(&b.f);
	close_disp(d);
}

static void
test_mishaps(void)
{
	struct at_disp *d = open_disp(1000000000000);
	static struct batch b[2];
	struct rng r = { 3, 0 };
	int done = 0, wrong = 0, steps, i;

	memset(b, 0, sizeof(b));
	for (steps = 0; steps < 400000 && done < 2000; steps++) {
		for (i = 0; i < 2; i++) {
			if (b[i].f.left > 0)
				continue;
			if (b[i].f.n_row > 0) {
				done++;
				wrong += !batch_right(&b[i]);
			}
			fill_batch(&b[i], d, &r);
			at_disp_send(d, &b[i].f);
		}
		mishap(&r);
		tick(d, 1000000);
	}
	OK(done >= 2000, "2000 batches through all mishaps (%d)", done);
	EQ_INT(wrong, 0, "every one of them right");
	OK(d->stat.replays > (hedge > 0 ? 100 : 1000),
	    "many calls were replayed (%d)", (int)d->stat.replays);
	OK(n_broken > (hedge > 0 ? 5 : 100),
	    "answers that do not fit break the pair (%d)", n_broken);
	/* Let the last two land before their memory goes. */
	for (i = 0; i < SERVERS; i++)
		event(i, LINK_DOWN);
	for (i = 0; i < SERVERS; i++)
		event(i, LINK_UP);
	for (steps = 0; steps < 1000 && b[0].f.left + b[1].f.left > 0; steps++) {
		tick(d, 30000000);
		answer_all();
	}
	EQ_INT(b[0].f.left + b[1].f.left, 0, "the last ones land, too");
	at_flight_free(&b[0].f);
	at_flight_free(&b[1].f);
	close_disp(d);
}

/* What servers other than 0 say to what they have been asked. */
static void
answer_others(void)
{
	int s, i;

	for (i = 0; i < DEPTH; i++)
		for (s = 1; s < SERVERS; s++)
			if (pair[s].slot[i].sent)
				answer_slot(s, i, SLOT_OK, false);
}

static void
send_many(struct at_disp *d, struct batch *b, struct rng *r)
{
	do {
		fill_batch(b, d, r);
	} while (b->f.n_row < 20);
	at_disp_send(d, &b->f);
}

/* All answer, after a while all of it; false: they do not, or wrongly. */
static bool
settle(struct at_disp *d, const struct batch *b)
{
	int i;

	for (i = 0; i < 500 && b->f.left > 0; i++) {
		answer_all();
		tick(d, 100000);
	}
	return b->f.left == 0 && batch_right(b);
}

/* Server 0 has missed a deadline and is back: it is tried out. */
static void
check_trial(struct at_disp *d, struct batch *b, struct rng *r)
{
	event(0, LINK_UP);
	send_many(d, b, r);
	OK(pair[0].slot[0].sent && !pair[0].slot[1].sent &&
	    pair[0].slot[0].head.n_route == 1,
	    "it is back, and asked one route");
	answer_others();
	OK(b->f.left == 0 && batch_right(b), "that others are asked as well");
	send_many(d, b, r);
	answer_others();
	OK(b->f.left == 0 && !pair[0].slot[1].sent, "and no more until it "
	    "answers");
	tick(d, 100000000);
	EQ_INT(d->stat.deadline_missed, 2, "its first call has the others' "
	    "time, not seconds");
	event(0, LINK_UP);
	send_many(d, b, r);
	event(1, LINK_DOWN);
	event(2, LINK_DOWN);
	tick(d, 1000);
	OK(b->f.left > 0 && pair[0].slot[1].sent, "when nobody else is left it "
	    "is asked all");
	event(1, LINK_UP);
	event(2, LINK_UP);
	OK(settle(d, b), "and says all");
	send_many(d, b, r);
	OK(pair[0].slot[0].head.n_route > 1, "then it is one of them again");
	OK(settle(d, b), "and answers");
}

static void
test_deadline(void)
{
	struct at_disp *d = open_disp(1000000000000);
	static struct batch b;
	struct rng r = { 5, 0 };
	int s, i;

	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	for (i = 0; i < 50; i++) {	/* they learn how fast servers are */
		fill_batch(&b, d, &r);
		at_disp_send(d, &b.f);
		while (b.f.left > 0) {
			fake_now += 100000;
			answer_all();
		}
	}
	send_many(d, &b, &r);
	answer_others();	/* server 0 is silent */
	OK(b.f.left > 0, "routes are with the silent server");
	tick(d, 500000);
	EQ_INT(d->stat.deadline_missed, 0, "patience for the deadline");
	tick(d, 10000000);
	EQ_INT(d->stat.deadline_missed, 1, "then it is given up, once");
	for (i = 0; i < 4 && b.f.left > 0; i++) {
		tick(d, 30000000);
		answer_all();
	}
	OK(b.f.left == 0 && batch_right(&b), "and its rows are answered by others");
	check_trial(d, &b, &r);
	at_flight_free(&b.f);
	close_disp(d);
}

static void
test_nobody(void)
{
	struct at_disp *d = open_disp(100000000);
	static struct batch b;
	struct rng r = { 9, 0 };
	bool all_dead = true;
	int i;

	fill_batch(&b, d, &r);
	at_disp_send(d, &b.f);
	tick(d, 50000000);
	OK(b.f.left > 0, "without a server rows wait");
	tick(d, 200000000);
	EQ_INT(b.f.left, 0, "but not for ever");
	for (i = 0; i < b.f.n_row; i++)
		all_dead &= b.f.dead[i] && b.f.ans[i * K] == NULL;
	OK(all_dead, "and their rows are marked dead");
	at_disp_send(d, &b.f);
	EQ_INT(b.f.left, 0, "dead rows are not sent");
	at_flight_free(&b.f);
	close_disp(d);
}

/* The router's map, version 2, over these servers. */
static void
push_map(struct at_disp *d, uint32_t version, int n, const char *const *name)
{
	const struct plan_opt po = { version, LAYERS, NULL, EXPERTS, 2, n,
	    name, name, NULL };
	struct err err = ERR_INIT;
	struct link_event ev = { 0 };
	struct map *map;
	char *text;
	size_t len;
	FILE *fp = open_memstream(&text, &len);

	BUG_ON(plan_even(&po, &map, &err) != 0);
	BUG_ON(map_write(map, fp, false, &err) != 0);
	fclose(fp);
	map_unref(map);
	ev.what = LINK_MSG;
	ev.pair = &router_pair;
	ev.type = LINK_MSG_MAP;
	ev.data = text;
	ev.n = len;
	at_map_event(d, &ev);
	free(text);
}

/* A server of the old map says what it has. */
static void
hello_hold(int s)
{
	struct link_event ev = { .what = LINK_MSG, .pair = &pair[s],
	    .type = LINK_MSG_HOLD };
	struct str body = STR_INIT;
	struct hold h;
	uint32_t l, e;

	hold_init(&h, LAYERS, EXPERTS);
	for (l = 0; l < LAYERS; l++)
		for (e = 0; e < EXPERTS; e++)
			hold_set(&h, l, e, (int)(e % SERVERS) == s);
	hold_encode(&h, &body);
	ev.data = body.p;
	ev.n = body.n;
	at_server_event(pair[s].user, &ev);
	str_free(&body);
	hold_free(&h);
}

static void
test_map(void)
{
	static const char *const more[] = { "a", "c", "x", "y" };
	struct at_disp *d = open_disp(1000000000000);
	static struct batch b;
	struct rng r = { 13, 0 };
	int s, i;

	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	do {
		fill_batch(&b, d, &r);
	} while (b.f.n_row < 20);
	at_disp_send(d, &b.f);
	push_map(d, 1, 4, more);
	EQ_INT(n_pair, 3, "a map that is not newer changes nothing");
	push_map(d, 2, 4, more);
	EQ_INT(n_pair, 5, "two servers of the new map are dialled");
	OK(pair[0].dialled && pair[1].dialled && pair[2].dialled,
	    "those that stay keep their pair, and so does who leaves");
	EQ_INT(map_version(d->map), 2, "the version is the new map's");
	EQ_STR(said, "{\"map\":2,\"by\":\"abc\",\"ready\":false}",
	    "the router hears that the old one is needed still");
	event(3, LINK_UP);
	event(4, LINK_UP);
	for (i = 0; i < 20 && b.f.left > 0; i++) {
		tick(d, 100000);
		for (s = 0; s < n_pair; s++)
			if (pair[s].slot[i % DEPTH].sent)
				answer_slot(s, i % DEPTH, SLOT_OK, false);
	}
	OK(b.f.left == 0 && batch_right(&b),
	    "rows that were under way are answered");
	EQ_INT(d->stat.deadline_missed, 0, "in time");
	tick(d, 30000000);
	EQ_STR(said, "{\"map\":2,\"by\":\"abc\",\"ready\":true}",
	    "then it is not");
	OK(!pair[1].dialled && d->n_server == 4, "and who leaves is left");
	at_flight_free(&b.f);
	close_disp(d);
}

/* The only copy of everything goes from one server to another that comes up
 * late: nothing is refused, nothing is lost, and the old one is kept. */
static void
test_map_late(void)
{
	static const char *const next[] = { "x" };
	struct at_disp *d = open_disp(1000000000000);
	static struct batch b;
	struct rng r = { 21, 0 };
	int s, i;

	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	push_map(d, 2, 1, next);
	for (i = 0; i < SERVERS; i++) {
		hello_hold(i);
		tick(d, 50000000);
	}
	OK(strstr(said, "false") != NULL, "a server that is not up is no "
	    "reason to forget the old ones");
	fill_batch(&b, d, &r);
	at_disp_send(d, &b.f);
	for (i = 0; i < 20 && b.f.left > 0; i++) {
		tick(d, 100000);
		answer_all();
	}
	OK(b.f.left == 0 && batch_right(&b), "old servers answer");
	event(3, LINK_UP);
	tick(d, 50000000);
	OK(strstr(said, "true") != NULL && d->n_server == 1,
	    "until the new one does");
	fill_batch(&b, d, &r);
	at_disp_send(d, &b.f);
	for (i = 0; i < 40 && b.f.left > 0; i++) {
		tick(d, 100000);
		if (pair[3].slot[i % DEPTH].sent)
			answer_slot(3, i % DEPTH, SLOT_OK, false);
	}
	OK(b.f.left == 0 && batch_right(&b), "then it does all");
	at_flight_free(&b.f);
	close_disp(d);
}

static void
test_dead(void)
{
	static const char *const same[] = { "a", "b", "c" };
	struct at_disp *d = open_disp(1000000000000);
	static struct batch b;
	struct rng r = { 17, 0 };
	int s, i;

	d->o.report = take_pairs;
	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	do {
		fill_batch(&b, d, &r);
	} while (b.f.n_row < 20);
	at_disp_send(d, &b.f);
	tell(d, "{\"dead\":\"b\"}");
	OK(pair[1].broken, "an operator's word: its pair is cut at once");
	event(1, LINK_DOWN);
	event(1, LINK_UP);
	for (i = 0; i < 20 && b.f.left > 0; i++) {
		tick(d, 100000);
		for (s = 0; s < SERVERS; s++)
			if (s != 1 && pair[s].slot[i % DEPTH].sent)
				answer_slot(s, i % DEPTH, SLOT_OK, false);
	}
	OK(b.f.left == 0 && batch_right(&b),
	    "its rows go to others, though it is up again");
	tell(d, "{\"ask\":\"report\"}");
	OK(json_array_size(last_pairs) == 3 &&
	    strcmp(state_in(0), "up") == 0 &&
	    strcmp(state_in(1), "masked") == 0, "the report says so");
	push_map(d, 2, 3, same);
	tell(d, "{\"ask\":\"report\"}");
	EQ_STR(state_in(1), "up", "until the next map that has it");
	tell(d, "nonsense");
	tell(d, "{\"dead\":7,\"ask\":[]}");
	tell(d, "{\"dead\":\"nobody\"}");
	OK(d->n_server == 3, "nonsense changes nothing");
	json_decref(last_pairs);
	last_pairs = NULL;
	at_flight_free(&b.f);
	close_disp(d);
}

int
main(void)
{
	test_map();
	test_map_late();
	test_dead();
	test_plain();
	test_mishaps();
	test_deadline();
	patience_ns = 200000000;
	hedge = 1;
	test_mishaps();
	hedge = 0;
	patience_ns = 1000000;
	test_nobody();
	for (reduce = KERN_SUM_FLOAT; reduce <= KERN_SUM_EXACT; reduce++) {
		test_plain();
		test_mishaps();
	}
	return tap_done();
}
