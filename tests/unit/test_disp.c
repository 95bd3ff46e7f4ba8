/*
 * Unit tests of dispatch: flights over servers that answer, refuse, die, come
 * back and stay silent, with a link layer and a clock of the test's own.  An
 * expert's "answer" is a function of row and expert, so every route can be
 * checked, whichever server gave it and however often it was sent.
 */
#include <stdlib.h>

#include "mem.h"
#include "plan.h"
#include "rng.h"
#include "slot.h"
#include "tap.h"

#include "../../src/moe-attnd/at_disp.c"
#include "../../src/moe-attnd/at_map.c"
#include "../../src/moe-attnd/at_rtt.c"
#include "../../src/moe-attnd/at_server.c"

#define H	8
#define K	2
#define LAYERS	2
#define EXPERTS	6
#define SERVERS	3
#define MAX_PAIR	8
#define DEPTH	2
#define SLOT	4096
#define ROWS	40

static double hedge;		/* of open_disp */
static uint64_t fake_now = 1000000000;

uint64_t
clock_ns(void)
{
	return fake_now;
}

uint64_t
clock_left(uint64_t deadline_ns)
{
	return deadline_ns > fake_now ? deadline_ns - fake_now : 0;
}

#include "../lib/fake_pairs.h"

/* ---- flights ---- */

static struct model_layer layers[LAYERS] = { { .moe = true }, { .moe = true } };
static struct model_cfg cfg = { .hidden = H, .n_layer = LAYERS,
    .n_expert = EXPERTS, .top_k = K, .rule = KERN_ROUTE_SOFTMAX,
    .layer = layers };

struct batch {
	struct at_flight f;
	float xn[ROWS * H], w[ROWS * K];
	int32_t id[ROWS * K];
};

static void
fill_batch(struct batch *b, const struct at_disp *d, struct rng *r)
{
	int i, n = 1 + (int)rng_below(r, ROWS);

	at_flight_room(&b->f, d, n);
	for (i = 0; i < n * H; i++)
		b->xn[i] = (float)rng_below(r, 1000);
	for (i = 0; i < n; i++) {
		b->f.dead[i] = false;
		b->id[i * K] = (int32_t)rng_below(r, EXPERTS);
		b->id[i * K + 1] = (b->id[i * K] + 1 +
		    (int32_t)rng_below(r, EXPERTS - 1)) % EXPERTS;
		b->w[i * K] = b->w[i * K + 1] = 0.5f;
	}
	b->f.layer = (int)rng_below(r, LAYERS);
	b->f.n_row = n;
	b->f.xn = b->xn;
	b->f.id = b->id;
	b->f.w = b->w;
}

static bool
batch_right(const struct batch *b)
{
	const float *a;
	int i, j;

	for (i = 0; i < b->f.n_row * K; i++) {
		a = b->f.ans[i];
		if (a == NULL)
			return false;
		for (j = 0; j < H; j++)
			if (a[j] != expert_value(b->xn + i / K * H, b->id[i], j))
				return false;
	}
	return true;
}

static uint64_t patience_ns = 1000000;

static struct at_disp *
open_disp(uint64_t stall_ns)
{
	static const char *const name[] = { "a", "b", "c" };
	const struct plan_opt po = { 1, LAYERS, NULL, EXPERTS, 2, SERVERS,
	    name, name, NULL };
	struct at_disp_opt o = { .cfg = &cfg, .act = KERN_F32,
	    .deadline_ns = patience_ns, .stall_ns = stall_ns, .hedge = hedge };
	const struct link_event up = { .what = LINK_UP, .pair = &router_pair };
	struct err err = ERR_INIT;
	struct map *map;
	struct at_disp *d;

	n_pair = n_broken = 0;
	BUG_ON(plan_even(&po, &map, &err) != 0);
	o.map = map;
	BUG_ON(at_disp_open(&d, &o, &err) != 0);
	map_unref(map);		/* d holds its own */
	at_map_event(d, &up);
	return d;
}

static void
close_disp(struct at_disp *d)
{
	at_disp_close(d);
}

/* Time goes on, and whatever was broken is noticed. */
static void
tick(struct at_disp *d, uint64_t ns)
{
	int s;

	fake_now += ns;
	at_disp_poll(d, fake_now);
	for (s = 0; s < SERVERS; s++)
		if (pair[s].broken)
			event(s, LINK_DOWN);
}

static void
answer_all(void)
{
	int s, i;

	for (s = 0; s < SERVERS; s++)
		for (i = 0; i < DEPTH; i++)
			if (pair[s].slot[i].sent)
				answer_slot(s, i, SLOT_OK, false);
}

static void
test_plain(void)
{
	struct at_disp *d = open_disp(1000000000);
	static struct batch b;
	struct rng r = { 1, 0 };
	char why[200];
	bool right = true;
	int i, s;

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

/* One random thing happens to one server. */
static void
mishap(struct rng *r)
{
	static const int status[] = { SLOT_BUSY, SLOT_NOT_HERE, SLOT_DRAINING,
	    SLOT_EXPIRED, SLOT_COLD };
	int s = (int)rng_below(r, SERVERS), i = (int)rng_below(r, DEPTH);
	struct hold h;
	struct str body = STR_INIT;
	struct link_event ev = { 0 };
	int l, e;

	if (!pair[s].up) {
		event(s, LINK_UP);
		return;
	}
	/* Who hedges has to know servers for a while. */
	switch (rng_below(r, hedge > 0 ? 400 : 12)) {
	case 0:
		event(s, LINK_DOWN);
		break;
	case 1:
	case 2:
		if (pair[s].slot[i].sent)
			answer_slot(s, i, status[rng_below(r, 5)], false);
		break;
	case 3:
		if (pair[s].slot[i].sent)
			answer_slot(s, i, SLOT_OK, true);
		break;
	case 4:			/* a fresh HOLD: everything is here */
		hold_init(&h, LAYERS, EXPERTS);
		for (l = 0; l < LAYERS; l++)
			for (e = 0; e < EXPERTS; e++)
				hold_set(&h, (uint32_t)l, (uint32_t)e, true);
		hold_encode(&h, &body);
		ev.what = LINK_MSG;
		ev.pair = &pair[s];
		ev.type = LINK_MSG_HOLD;
		ev.data = body.p;
		ev.n = body.n;
		at_server_event(pair[s].user, &ev);
		str_free(&body);
		hold_free(&h);
		break;
	default:
		if (pair[s].slot[i].sent)
			answer_slot(s, i, SLOT_OK, false);
		break;
	}
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
	do {
		fill_batch(&b, d, &r);
	} while (b.f.n_row < 20);
	at_disp_send(d, &b.f);
	for (i = 0; i < DEPTH; i++) {	/* server 0 is silent */
		for (s = 1; s < SERVERS; s++)
			if (pair[s].slot[i].sent)
				answer_slot(s, i, SLOT_OK, false);
	}
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
	event(0, LINK_UP);
	do {
		fill_batch(&b, d, &r);
	} while (b.f.n_row < 20);
	at_disp_send(d, &b.f);
	OK(pair[0].slot[0].sent, "it is back, and silent again");
	for (i = 0; i < DEPTH; i++)
		for (s = 1; s < SERVERS; s++)
			if (pair[s].slot[i].sent)
				answer_slot(s, i, SLOT_OK, false);
	tick(d, 100000000);
	EQ_INT(d->stat.deadline_missed, 2, "its first call has the others' "
	    "time, not seconds");
	for (i = 0; i < 4 && b.f.left > 0; i++) {
		tick(d, 30000000);
		answer_all();
	}
	OK(b.f.left == 0 && batch_right(&b), "answered by others again");
	at_flight_free(&b.f);
	close_disp(d);
}

/* Flights over rows of one pool, each row free to go as soon as it is in. */
#define POOL		48
#define POOL_ROWS	8	/* of a flight */

static struct {
	struct at_flight all, f[3];
	float xn[POOL * H], w[POOL * K];
	int32_t id[POOL * K], row[3][POOL_ROWS];
	int left[POOL], n_in, wrong;
	bool out[POOL];
} pool;

static void
on_row_in(struct at_flight *f, int row)
{
	const float *a;
	int i, j;

	pool.n_in++;
	pool.wrong += !pool.out[row] || f->dead[row];
	pool.out[row] = false;
	for (i = row * K; i < row * K + K; i++) {
		a = f->ans[i];
		for (j = 0; j < H; j++)
			pool.wrong += a == NULL || a[j] !=
			    expert_value(pool.xn + row * H, pool.id[i], j);
	}
}

/* Send some rows from `first` on that are not out; how many. */
static int
send_rows(struct at_disp *d, int number, int first, struct rng *r)
{
	struct at_flight *f = &pool.f[number];
	int i, j, n = 0;

	at_flight_lend(f, &pool.all, d, POOL_ROWS);
	for (i = first; i < POOL && n < POOL_ROWS; i++) {
		if (pool.out[i])
			continue;
		pool.out[i] = true;
		pool.row[number][n++] = i;
		for (j = 0; j < H; j++)
			pool.xn[i * H + j] = (float)rng_below(r, 1000);
		pool.id[i * K] = (int32_t)rng_below(r, EXPERTS);
		pool.id[i * K + 1] = (pool.id[i * K] + 1) % EXPERTS;
	}
	f->layer = (int)rng_below(r, LAYERS);
	f->n_row = n;
	f->row = pool.row[number];
	f->row_left = pool.left;
	f->row_in = on_row_in;
	f->xn = pool.xn;
	f->id = pool.id;
	f->w = pool.w;
	at_disp_send(d, f);
	return n;
}

static void
test_pool(void)
{
	struct at_disp *d = open_disp(1000000000000);
	struct rng r = { 11, 0 };
	int sent = 0, steps, i, left = 1;

	memset(&pool, 0, sizeof(pool));
	at_flight_room(&pool.all, d, POOL);
	for (steps = 0; steps < 20000; steps++) {
		for (i = 0; i < 3; i++)
			if (pool.f[i].left == 0)
				sent += send_rows(d, i,
				    (int)rng_below(&r, POOL), &r);
		mishap(&r);
		tick(d, 1000000);
	}
	for (i = 0; i < SERVERS; i++)
		event(i, LINK_DOWN);
	for (i = 0; i < SERVERS; i++)
		event(i, LINK_UP);
	for (steps = 0; steps < 1000 && left > 0; steps++) {
		tick(d, 30000000);
		answer_all();
		left = pool.f[0].left + pool.f[1].left + pool.f[2].left;
	}
	EQ_INT(left, 0, "pool: all routes are in");
	OK(sent > 5000, "pool: through mishaps (%d rows)", sent);
	EQ_INT(pool.n_in, sent, "pool: every row was reported once");
	OK((d->stat.hedges > 0) == (hedge > 0) &&
	    (d->stat.late > 0) == (hedge > 0), "pool: %d hedged, %d late",
	    (int)d->stat.hedges, (int)d->stat.late);
	EQ_INT(pool.wrong, 0, "pool: when its answers were there, right");
	for (i = 0; i < 3; i++)
		at_flight_free(&pool.f[i]);
	at_flight_free(&pool.all);
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
tell(struct at_disp *d, const char *order)
{
	struct link_event ev = { .what = LINK_MSG, .pair = &router_pair,
	    .type = LINK_MSG_ASK, .data = order, .n = strlen(order) };

	at_map_event(d, &ev);
}

static json_t *last_pairs;

static void
take_pairs(void *arg, json_t *pairs)
{
	(void)arg;
	json_decref(last_pairs);
	last_pairs = pairs;
}

static const char *
state_in(int i)
{
	return json_string_value(json_object_get(json_array_get(last_pairs,
	    (size_t)i), "state"));
}

static json_int_t
us_in(int i, const char *name)
{
	return json_integer_value(json_object_get(json_array_get(last_pairs,
	    (size_t)i), name));
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

/* Servers 1 and 2 answer what they have, server 0 nothing. */
static void
all_but_first(void)
{
	int s, i;

	for (s = 1; s < SERVERS; s++)
		for (i = 0; i < DEPTH; i++)
			if (pair[s].slot[i].sent)
				answer_slot(s, i, SLOT_OK, false);
}

/* Big flights that are answered after 0.4 ms, or more. */
static void
learn(struct at_disp *d, struct batch *b, struct rng *r)
{
	int i;

	for (i = 0; i < 80; i++) {
		do {
			fill_batch(b, d, r);
		} while (b->f.n_row < 20);
		at_disp_send(d, &b->f);
		while (b->f.left > 0) {
			fake_now += 400000;
			answer_all();
		}
	}
}

/* A late call goes to a replica, too: the first answer counts, the late one is
 * dropped, be it in the same flight or in the next; a pair that breaks
 * meanwhile sends nothing a third time. */
static void
test_hedge(void)
{
	static struct batch b;
	json_int_t p50, p99;
	struct rng r = { 9, 0 };
	struct at_disp *d;
	int i, k, s;

	hedge = 3;
	patience_ns = 100000000;
	d = open_disp(1000000000000);
	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	learn(d, &b, &r);
	d->o.report = take_pairs;
	tell(d, "{\"ask\":\"report\"}");
	p50 = us_in(0, "rtt_p50_us");
	p99 = us_in(0, "rtt_p99_us");
	OK(p50 >= 400 && p99 >= p50, "round trips are reported: %d, %d us",
	    (int)p50, (int)p99);
	EQ_INT(us_in(0, "deadline_us"), 25000, "a quarter of the deadline");
	EQ_INT(d->stat.hedges, 0, "nobody was late");
	for (k = 0; k < 3; k++) {
		learn(d, &b, &r);
		do {
			fill_batch(&b, d, &r);
		} while (b.f.n_row < 20);
		d->stat.hedges = d->stat.late = 0;
		at_disp_send(d, &b.f);
		all_but_first();
		OK(b.f.left > 0, "server 0 is late");
		tick(d, 300000);
		EQ_INT(d->stat.hedges, 0, "not by much");
		tick(d, 9000000);
		OK(d->stat.hedges > 0, "then others are asked");
		if (k == 1) {	/* it dies: its calls are with others */
			pair[0].broken = true;
			tick(d, 0);
		}
		for (i = 0; i < 4 && b.f.left > 0; i++)
			all_but_first();
		OK(b.f.left == 0 && batch_right(&b), "whose answers count");
		if (k == 1) {
			tick(d, 30000000);
			event(0, LINK_UP);
			OK(!pair[1].slot[0].sent &&
			    !pair[2].slot[0].sent, "nothing is sent again");
		} else if (k == 0) {
			answer_all();
			OK(d->stat.late > 0 && batch_right(&b),
			    "the late answer changes nothing");
		}
	}
	/* The last one's is still out: it comes during the next flight. */
	fill_batch(&b, d, &r);
	at_disp_send(d, &b.f);
	for (i = 0; i < 8 && b.f.left > 0; i++)
		answer_all();
	OK(b.f.left == 0 && batch_right(&b), "an answer to the flight before");
	json_decref(last_pairs);
	last_pairs = NULL;
	at_flight_free(&b.f);
	close_disp(d);
	hedge = 0;
	patience_ns = 1000000;
}

/* Experts that server 0 may be asked for. */
static int
n_first_has(const struct at_disp *d)
{
	int l, e, n = 0;

	for (l = 0; l < LAYERS; l++)
		for (e = 0; e < EXPERTS; e++)
			n += at_server_has(d->server[0], l, e);
	return n;
}

/* All rows of flight 0 are in, and a call to server 0 is out still. */
static void
leave_late(struct at_disp *d, struct rng *r)
{
	int i;

	for (i = 0; i < 80; i++) {	/* how fast servers are */
		send_rows(d, 0, 0, r);
		while (pool.f[0].left > 0) {
			fake_now += 400000;
			answer_all();
		}
	}
	do {			/* until server 0 is asked, too */
		answer_all();
		send_rows(d, 0, 0, r);
		for (i = 0; i < 9 && pool.f[0].left > 0; i++)
			all_but_first();
		if (pool.f[0].left > 0)
			tick(d, 9000000);
		for (i = 0; i < 9 && pool.f[0].left > 0; i++)
			all_but_first();
		BUG_ON(pool.f[0].left > 0);
	} while (!pair[0].slot[0].sent && !pair[0].slot[1].sent);
}

/* What server 0 says so late is for nobody: number's flight is out. */
static bool
late_is_nothing(const struct at_disp *d, int number, int status)
{
	static char was[POOL * K * H * sizeof(float)];
	int left = pool.f[number].left, n_in = pool.n_in, i, row_left[POOL];
	int has = n_first_has(d);

	memcpy(was, pool.all.buf, sizeof(was));
	memcpy(row_left, pool.left, sizeof(row_left));
	for (i = 0; i < DEPTH; i++)
		if (pair[0].slot[i].sent)
			answer_slot(0, i, status, false);
	return pool.f[number].left == left && pool.n_in == n_in &&
	    memcmp(was, pool.all.buf, sizeof(was)) == 0 &&
	    memcmp(row_left, pool.left, sizeof(row_left)) == 0 &&
	    n_first_has(d) == has;
}

/*
 * A call that lost against a replica answers when its rows are back and out
 * again: with the same flight, with another, or the flight is out with other
 * rows.  No memory of theirs is written, no count changes, and a refusal says
 * nothing of the layer that the flight is at now.
 */
static void
test_pool_late(void)
{
	static const int number[] = { 0, 1, 0 }, first[] = { 0, 0, POOL_ROWS };
	static const int status[] = { SLOT_OK, SLOT_NOT_HERE };
	struct at_disp *d;
	struct rng r = { 29, 0 };
	int i, k, s, bad[3] = { 0 };

	hedge = 3;
	patience_ns = 100000000;
	d = open_disp(1000000000000);
	memset(&pool, 0, sizeof(pool));
	at_flight_room(&pool.all, d, POOL);
	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	for (i = 0; i < 60; i++) {
		k = i % 3;
		leave_late(d, &r);
		send_rows(d, number[k], first[k], &r);
		bad[k] += !late_is_nothing(d, number[k], status[i % 2]);
		while (pool.f[number[k]].left > 0)
			answer_all();
		event(0, LINK_DOWN);	/* nobody suspects it any more */
		event(0, LINK_UP);
	}
	EQ_INT(bad[0], 0, "pool: late, the same flight has the rows");
	EQ_INT(bad[1], 0, "pool: late, another flight has the rows");
	EQ_INT(bad[2], 0, "pool: late, the flight has other rows");
	EQ_INT(pool.wrong, 0, "pool: late, all rows right");
	OK(d->stat.hedges >= 60 && d->stat.deadline_missed == 0,
	    "pool: late, not lost");
	for (i = 0; i < 3; i++)
		at_flight_free(&pool.f[i]);
	at_flight_free(&pool.all);
	close_disp(d);
	hedge = 0;
	patience_ns = 1000000;
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
	test_pool();
	hedge = 1;
	patience_ns = 200000000;
	test_pool();
	patience_ns = 1000000;
	test_mishaps();
	hedge = 0;
	test_hedge();
	test_pool_late();
	test_nobody();
	return tap_done();
}
