/*
 * Unit tests of page copies: two caches whose pages hold what their chain of
 * tokens says, neighbours over a real socket, one that comes back empty, one
 * that is too small, and peers whose bytes are wrong.
 */
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "rng.h"
#include "scratch.h"
#include "tap.h"

#include "../../src/moe-attnd/at_kv.c"
#include "../../src/moe-attnd/at_kv_copy.c"
#include "../../src/moe-attnd/at_kv_page.c"
#include "../../src/moe-attnd/at_page.c"
#include "../../src/moe-attnd/at_page_msg.c"
#include "../../src/moe-attnd/at_page_peer.c"

#define LAYERS	2
#define MAX_TOK	400
#define LIMIT_NS	30000000000u

struct side {
	char addr[300];
	struct link_opt link;
	struct at_kv *kv;
	struct at_page *pg;
};

struct live {
	struct at_kv_seq kv;
	uint32_t tok[MAX_TOK];
	int n;
};

static void
open_side(struct side *s, const char *name, int n_page, const char *peer)
{
	const struct at_kv_opt o = { LAYERS, 1, 16, 16, KERN_F32,
	    (uint64_t)n_page * LAYERS * kern_kv_page_bytes(1, 16, 16,
	    KERN_F32), true };
	struct at_page_opt po = { .n_peer = peer != NULL, .rate = 1u << 30 };
	struct err err = ERR_INIT;

	memset(s, 0, sizeof(*s));
	snprintf(s->addr, sizeof(s->addr), "shm:%s/%s", scratch_dir, name);
	s->link.me.role = LINK_FRONT;
	snprintf(s->link.me.name, sizeof(s->link.me.name), "%s", name);
	snprintf(s->link.me.variant, sizeof(s->link.me.variant), "v");
	s->link.me.fingerprint = 7;
	s->link.me.act = KERN_F32;
	OK(at_kv_open(&s->kv, &o, &err) == 0, "%s: a cache of %d pages", name,
	    n_page);
	po.kv = s->kv;
	po.shape = (struct at_page_shape){ LAYERS, s->kv->page_bytes,
	    KERN_F32 };
	po.link = &s->link;
	po.listen = s->addr;
	po.peer[0] = peer;
	OK(at_page_open(&s->pg, &po, &err) == 0, "%s: takes copies %s", name,
	    err.text);
}

static void
close_side(struct side *s)
{
	at_page_close(s->pg);
	at_kv_close(s->kv);
}

/* What page i of a chain holds at token k, in a layer. */
static uint64_t *
cell(struct at_kv *kv, int layer, int32_t page, int k)
{
	return (uint64_t *)(void *)((char *)kv->layer[layer].arena +
	    (size_t)page * kv->page_bytes) + k;
}

static uint64_t
chain(const uint32_t *tok, int n, int layer)
{
	uint64_t h = 1 + (uint64_t)layer;
	int i;

	for (i = 0; i < n; i++)
		h = (h ^ tok[i]) * 0x9e3779b97f4a7c15ull + 1;
	return h;
}

static void
compute(struct at_kv *kv, struct live *l, int upto)
{
	int i, k;

	at_kv_grow(kv, &l->kv, upto);
	for (i = l->n; i < upto; i++)
		for (k = 0; k < LAYERS; k++)
			*cell(kv, k, l->kv.page[i / TOK], i % TOK) =
			    chain(l->tok, i + 1, k);
	l->n = upto;
	at_kv_computed(kv, &l->kv, l->tok, upto);
}

static void
choose(struct live *l, struct rng *r)
{
	uint32_t first = (uint32_t)rng_below(r, 3);
	int i;

	memset(l, 0, sizeof(*l));
	for (i = 0; i < MAX_TOK; i++)
		l->tok[i] = i < 90 ? first : (uint32_t)rng_below(r, 1000);
}

static bool
is_right(struct at_kv *kv, const struct at_kv_seq *s, const uint32_t *tok,
    int n)
{
	int i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < LAYERS; k++)
			if (*cell(kv, k, s->page[i / TOK], i % TOK) !=
			    chain(tok, i + 1, k))
				return false;
	return true;
}

static void
nap(void)
{
	const struct timespec t = { 0, 1000000 };

	nanosleep(&t, NULL);
}

/* Wait until kv has at least want tokens of l; are they right? */
static bool
arrives(struct at_kv *kv, const struct live *l, int want)
{
	uint64_t end = clock_ns() + LIMIT_NS;
	struct at_kv_seq s;
	int cached = 0;
	bool right;

	do {
		nap();
		if (!at_kv_start(kv, &s, l->n + 1, l->tok, l->n, &cached))
			continue;
		right = is_right(kv, &s, l->tok, cached);
		at_kv_end(kv, &s);
		if (!right)
			return false;
	} while (cached < want && clock_ns() < end);
	return cached >= want;
}

/* Pages on their way to a neighbour are in use until it has them. */
static void
start(struct at_kv *kv, struct live *l)
{
	uint64_t end = clock_ns() + LIMIT_NS;
	int cached;

	while (!at_kv_start(kv, &l->kv, MAX_TOK, l->tok, MAX_TOK - 1,
	    &cached)) {
		BUG_ON(clock_ns() > end);
		nap();
	}
	l->n = cached;
}

static void
test_neighbours(void)
{
	struct side a, b;
	struct rng r = { 5, 0 };
	struct at_page_stat st;
	struct at_kv_stat kst;
	struct live l, held;
	bool ok = true;
	int i;

	open_side(&b, "b", 300, NULL);
	open_side(&a, "a", 300, b.addr);
	for (i = 0; i < 30; i++) {
		choose(&l, &r);
		start(a.kv, &l);
		while (l.n < 350)
			compute(a.kv, &l, l.n + 1 + (int)rng_below(&r, 50));
		ok &= arrives(b.kv, &l, l.n / TOK * TOK);
		at_kv_end(a.kv, &l.kv);
	}
	OK(ok, "what one computes the other has, to the bit");
	at_page_stat(b.pg, &st);
	at_kv_stat(b.kv, &kst);
	OK(st.got > 400 && kst.copy_hits > 300, "%llu pages came, %llu were "
	    "used", (unsigned long long)st.got,
	    (unsigned long long)kst.copy_hits);
	at_page_stat(a.pg, &st);
	OK(st.sent > 400 && st.peers_up == 1, "and were sent");

	choose(&held, &r);
	start(a.kv, &held);
	compute(a.kv, &held, 320);
	close_side(&b);
	open_side(&b, "b", 300, NULL);
	OK(ok && arrives(b.kv, &held, 320),
	    "a neighbour that comes back gets what is in use");
	/* The copies there go; the next page brings those before it along. */
	for (i = 0; i < 20; i++) {
		choose(&l, &r);
		l.tok[0] = 100000 + (uint32_t)i;
		start(b.kv, &l);
		compute(b.kv, &l, MAX_TOK);
		at_kv_end(b.kv, &l.kv);
	}
	compute(a.kv, &held, 352);
	OK(ok && arrives(b.kv, &held, 352), "a lost chain is sent again");
	at_page_stat(b.pg, &st);
	OK(st.refused > 0, "after it was said to be lost");
	at_kv_end(a.kv, &held.kv);
	at_kv_stat(a.kv, &kst);
	EQ_INT(kst.used, 0, "no page stays lent");
	close_side(&a);
	close_side(&b);
}

static void
test_small(void)
{
	struct side a, b;
	struct rng r = { 6, 0 };
	struct at_kv_stat st;
	struct at_page_stat pst;
	uint64_t end = clock_ns() + LIMIT_NS;
	struct live l, m;
	bool ok = true;
	int i;

	open_side(&b, "b", 26, NULL);
	open_side(&a, "a", 200, b.addr);
	do {
		nap();
		at_page_stat(a.pg, &pst);
	} while (pst.peers_up == 0 && clock_ns() < end);
	for (i = 0; i < 40; i++) {
		choose(&l, &r);
		choose(&m, &r);
		start(a.kv, &l);
		compute(a.kv, &l, MAX_TOK);
		/* All but one of its pages: copies make way at once. */
		start(b.kv, &m);
		compute(b.kv, &m, MAX_TOK);
		ok &= is_right(b.kv, &m.kv, m.tok, MAX_TOK);
		at_kv_end(b.kv, &m.kv);
		at_kv_end(a.kv, &l.kv);
	}
	OK(ok, "a small cache always has room for its own");
	do {
		nap();
		at_page_stat(b.pg, &pst);
	} while (pst.refused + pst.got == 0 && clock_ns() < end);
	at_kv_stat(b.kv, &st);
	OK(st.copies <= 13, "copies fill half of it at most (%llu)",
	    (unsigned long long)st.copies);
	close_side(&a);
	close_side(&b);
}

/* ---- bytes that are wrong ---- */

static void
test_messages(void)
{
	const struct at_page_shape s = { 3, 64, KERN_F32 };
	struct at_page_run in = { .seq = 9, .before = { 77, 3 }, .n = 2 }, out;
	struct at_page_ack ack = { .seq = 4, .status = AT_PAGE_LOST, .n = 1,
	    .page = { { 8, 2 } } }, back;
	uint32_t tok[2 * TOK] = { 1, 2, 3 };
	uint8_t data[2 * 3 * 64] = { 5 };
	struct rng r = { 1, 0 };
	struct str m = STR_INIT, k = STR_INIT;
	bool refused = true;
	size_t i;
	int n;

	at_page_msg_put(&m, &s, &in, tok);
	str_add(&m, data, sizeof(data));
	EQ_INT(m.n, at_page_msg_bytes(&s, 2), "a run's size");
	OK(at_page_msg_get(m.p, m.n, &s, &out, NULL) == 0 && out.seq == 9 &&
	    out.before.id == 77 && out.before.page == 3 && out.n == 2 &&
	    buf_le32(out.tok + 8) == 3 && out.data[0] == 5, "a run");
	at_page_ack_put(&k, &ack);
	OK(at_page_ack_get(k.p, k.n, &back, NULL) == 0 && back.n == 1 &&
	    back.status == AT_PAGE_LOST && back.page[0].id == 8 &&
	    back.page[0].page == 2, "an acknowledgement");
	for (i = 0; i < m.n; i++)
		refused &= at_page_msg_get(m.p, i, &s, &out, NULL) != 0;
	for (i = 0; i < k.n; i++)
		refused &= at_page_ack_get(k.p, i, &back, NULL) != 0;
	OK(refused, "every cut is noticed");
	for (n = 0; n < 20000; n++) {
		m.p[rng_below(&r, AT_PAGE_HEAD)] = (char)rng_below(&r, 256);
		if (at_page_msg_get(m.p, m.n, &s, &out, NULL) == 0)
			refused &= out.n == 2 && out.tok + out.n * TOK * 4 ==
			    out.data;
		k.p[rng_below(&r, k.n)] = (char)rng_below(&r, 256);
		if (at_page_ack_get(k.p, k.n, &back, NULL) == 0)
			refused &= back.n == 1;
	}
	OK(refused, "and no byte leads out of a message");
	str_free(&m);
	str_free(&k);
}

/* Dial b as o says, send a message if it is let in; why it went down. */
static void
offend(const struct side *b, const struct link_opt *o, int type,
    const struct str *msg, char why[256])
{
	uint64_t end = clock_ns() + LIMIT_NS;
	struct link_port *port;
	struct link_event ev;
	struct err err = ERR_INIT;
	bool down = false;

	why[0] = '\0';
	if (link_port_open(&port, o, &err) != 0)
		return;
	(void)link_dial(port, b->addr, NULL, &err);
	while (!down && clock_ns() < end) {
		while (!down && link_next(port, &ev)) {
			if (ev.what == LINK_UP)
				(void)link_msg(ev.pair, type, str_c(msg),
				    msg->n);
			down = ev.what == LINK_DOWN;
			if (down)
				snprintf(why, 256, "%s", ev.reason);
		}
		link_wait(port, clock_ns() + 10000000);
	}
	link_port_close(port);
}

static void
test_hostile(void)
{
	const struct at_page_shape wrong = { LAYERS + 1, 64, KERN_F32 };
	const struct at_page_run run = { .n = 1 };
	const struct at_page_ack ack = { .seq = 1 };
	uint32_t tok[TOK] = { 0 };
	struct link_opt o;
	struct str m = STR_INIT;
	struct side b;
	char why[256];

	open_side(&b, "b", 20, NULL);
	o = b.link;
	snprintf(o.me.name, sizeof(o.me.name), "x");
	snprintf(o.me.variant, sizeof(o.me.variant), "v kv-f32-%d",
	    KERN_KV_LAYOUT);
	at_page_msg_put(&m, &wrong, &run, tok);
	str_add(&m, (const char[3 * 64]){ 0 }, 3 * 64);
	offend(&b, &o, LINK_MSG_PAGES, &m, why);
	OK(why[0] != '\0', "another shape: the pair ends: %s", why);
	str_clear(&m);
	at_page_ack_put(&m, &ack);
	offend(&b, &o, LINK_MSG_PAGES_ACK, &m, why);
	OK(why[0] != '\0', "an answer to nothing: %s", why);
	offend(&b, &o, LINK_MSG_MAP, &m, why);
	OK(why[0] != '\0', "another message: %s", why);
	o.me.role = LINK_EXPERT;
	offend(&b, &o, LINK_MSG_PAGES, &m, why);
	OK(why[0] != '\0', "no front end: %s", why);
	o.me.role = LINK_FRONT;
	o.me.fingerprint = 8;
	offend(&b, &o, LINK_MSG_PAGES, &m, why);
	OK(strstr(why, "fingerprint") != NULL, "another model: %s", why);
	o.me.fingerprint = 7;
	o.me.mixed = true;
	snprintf(o.me.variant, sizeof(o.me.variant), "v kv-bf16-%d",
	    KERN_KV_LAYOUT);
	offend(&b, &o, LINK_MSG_PAGES, &m, why);
	OK(strstr(why, "kv-bf16") != NULL && strstr(why, "kv-f32") != NULL,
	    "keys and values in another type: %s", why);
	o.me.variant[0] = 'w';
	offend(&b, &o, LINK_MSG_PAGES, &m, why);
	OK(strstr(why, "variant") != NULL, "other bits: %s", why);
	EQ_INT(b.pg->got, 0, "nothing of it was taken");
	str_free(&m);
	close_side(&b);
}

int
main(void)
{
	log_init("test", NULL, LOG_ERROR);
	scratch_begin();
	test_messages();
	test_neighbours();
	test_small();
	test_hostile();
	return tap_done();
}
