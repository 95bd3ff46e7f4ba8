/*
 * disp_rig.h - dispatch over servers that answer, refuse, die, come back and
 * stay silent, with a link layer and a clock of the test's own.  An expert's
 * "answer" is a function of row and expert, so every route can be checked,
 * whichever server gave it and however often it was sent.
 */
#ifndef MOE_DISP_RIG_H
#define MOE_DISP_RIG_H

#include <stdlib.h>

#include "mem.h"
#include "plan.h"
#include "rng.h"
#include "slot.h"
#include "tap.h"

#include "../../src/moe-attnd/at_disp.c"
#include "../../src/moe-attnd/at_flight.c"
#include "../../src/moe-attnd/at_local.c"
#include "../../src/moe-attnd/at_map.c"
#include "../../src/moe-attnd/at_prof.c"
#include "../../src/moe-attnd/at_sum.c"
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
static enum kern_sum_rule reduce;	/* likewise */
static uint64_t fake_now = 1000000000;

uint64_t
clock_ns(void)
{
	return fake_now;
}

uint64_t
clock_real(uint64_t ns)
{
	return ns;
}

uint64_t
clock_left(uint64_t deadline_ns)
{
	return deadline_ns > fake_now ? deadline_ns - fake_now : 0;
}

#include "fake_pairs.h"

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

/* Parts that hold every answer once.  Values and weights are such that any
 * order of adding gives the same. */
static bool
row_sum_right(const struct at_flight *f, int row, const float *xn,
    const int32_t *id)
{
	const struct kern_sum s = { reduce, KERN_F32, H, K };
	float y[H], want;
	int i, j;

	kern_sum_join(&s, f->ans + row * K, K, y);
	for (j = 0; j < H; j++) {
		for (want = 0, i = row * K; i < row * K + K; i++)
			want += f->w[i] * expert_value(xn + row * H, id[i], j);
		if (y[j] != want)
			return false;
	}
	return true;
}

static bool
batch_right(const struct batch *b)
{
	const float *a;
	int i, j;

	for (i = 0; reduce != KERN_SUM_NONE && i < b->f.n_row; i++)
		if (!row_sum_right(&b->f, i, b->xn, b->id))
			return false;
	if (reduce != KERN_SUM_NONE)
		return true;
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
	    .deadline_ns = patience_ns, .stall_ns = stall_ns, .hedge = hedge,
	    .reduce = reduce };
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

/* One random thing happens to one server. */
__attribute__((unused)) static void
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

__attribute__((unused)) static void
tell(struct at_disp *d, const char *order)
{
	struct link_event ev = { .what = LINK_MSG, .pair = &router_pair,
	    .type = LINK_MSG_ASK, .data = order, .n = strlen(order) };

	at_map_event(d, &ev);
}

static json_t *last_pairs;

__attribute__((unused)) static void
take_pairs(void *arg, json_t *pairs)
{
	(void)arg;
	json_decref(last_pairs);
	last_pairs = pairs;
}

__attribute__((unused)) static const char *
state_in(int i)
{
	return json_string_value(json_object_get(json_array_get(last_pairs,
	    (size_t)i), "state"));
}

__attribute__((unused)) static json_int_t
us_in(int i, const char *name)
{
	return json_integer_value(json_object_get(json_array_get(last_pairs,
	    (size_t)i), name));
}

#endif
