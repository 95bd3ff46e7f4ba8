/* at_page - see at_page.h: the thread, and what neighbours send. */
#include "at_page.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "at_page_peer.h"
#include "buf.h"
#include "log.h"

#define RUN_BYTES	(1u << 20)	/* of a run, unless a page has more */
#define NOTED		64

/* ---- what neighbours send ---- */

static void
fill(struct at_page *pg, int32_t page, const uint8_t *data)
{
	const struct at_page_shape *s = &pg->o.shape;
	const struct kern_kv *l;
	int i;

	for (i = 0; i < s->n_layer; i++) {
		l = at_kv_layer(pg->o.kv, i);
		memcpy((char *)l->arena + (size_t)page * s->layer_bytes,
		    data + (size_t)i * s->layer_bytes, s->layer_bytes);
	}
}

/* One page of a run, to come after `before`, which becomes it. */
static enum at_page_status
take_page(struct at_page *pg, const struct at_page_run *r, int i,
    struct at_kv_ref *before)
{
	size_t bytes = pg->o.shape.layer_bytes * (size_t)pg->o.shape.n_layer;
	uint32_t tok[KERN_PAGE_TOK];
	struct at_kv_ref page;
	int k;

	for (k = 0; k < KERN_PAGE_TOK; k++)
		tok[k] = buf_le32(r->tok +
		    4 * ((size_t)i * KERN_PAGE_TOK + (size_t)k));
	switch (at_kv_take(pg->o.kv, *before, tok, &page)) {
	case AT_KV_LOST:
		return AT_PAGE_LOST;
	case AT_KV_FULL:
		return AT_PAGE_FULL;
	case AT_KV_HAVE:
		break;
	case AT_KV_TAKEN:
		fill(pg, page.page, r->data + (size_t)i * bytes);
		at_kv_give(pg->o.kv, *before, tok, &page);
		pg->got++;
		pg->got_bytes += bytes;
		break;
	}
	*before = page;
	return AT_PAGE_OK;
}

static int
on_pages(struct at_page *pg, const struct link_event *ev, struct err *err)
{
	struct at_page_ack a = { .status = AT_PAGE_OK };
	struct at_kv_ref before;
	struct str out = STR_INIT;
	struct at_page_run r;

	if (at_page_msg_get(ev->data, ev->n, &pg->o.shape, &r, err) != 0)
		return -1;
	a.seq = r.seq;
	before = r.before;
	for (; a.n < r.n; a.n++) {
		a.status = take_page(pg, &r, a.n, &before);
		if (a.status != AT_PAGE_OK)
			break;
		a.page[a.n] = before;
	}
	pg->refused += (uint64_t)(r.n - a.n);
	at_page_ack_put(&out, &a);
	(void)link_msg(ev->pair, LINK_MSG_PAGES_ACK, out.p, out.n);
	str_free(&out);
	return 0;
}

static int
on_msg(struct at_page *pg, const struct link_event *ev, struct err *err)
{
	struct at_page_peer *r = link_user(ev->pair);
	struct at_page_ack a;

	if (link_peer(ev->pair)->role != LINK_FRONT)
		return err_set(err, ERR_DATA, "only front ends have pages");
	if (ev->type == LINK_MSG_PAGES && r == NULL)
		return on_pages(pg, ev, err);
	if (ev->type == LINK_MSG_PAGES_ACK && r != NULL)
		return at_page_ack_get(ev->data, ev->n, &a, err) != 0 ? -1 :
		    at_page_peer_ack(r, &a, err);
	return err_set(err, ERR_DATA, "message %d is not expected here",
	    ev->type);
}

static void
on_event(struct at_page *pg, const struct link_event *ev)
{
	struct at_page_peer *r = link_user(ev->pair);
	struct err err = ERR_INIT;

	if (ev->what == LINK_MSG && on_msg(pg, ev, &err) != 0) {
		log_warn("pages: %s: %s", link_peer(ev->pair)->name, err.text);
		link_break(ev->pair, err.text);
	} else if (ev->what == LINK_UP && r != NULL) {
		log_info("pages: %s takes copies", link_peer(ev->pair)->name);
		at_page_peer_up(r);
		pg->peers_up++;
	} else if (ev->what == LINK_DOWN && r != NULL) {
		log_info("pages: %s is away: %s", link_addr(ev->pair),
		    ev->reason);
		if (r->up)
			pg->peers_up--;
		at_page_peer_down(r);
	}
}

/* ---- the thread ---- */

static void
take_noted(struct at_page *pg)
{
	struct at_kv_ref page[NOTED];
	int n, i, k;

	while ((n = at_kv_noted(pg->o.kv, page, NOTED)) > 0)
		for (i = 0; i < n; i++)
			for (k = 0; k < pg->o.n_peer; k++)
				if (pg->peer[k].up)
					at_page_peer_want(&pg->peer[k],
					    page[i], false);
}

static void *
run(void *arg)
{
	struct at_page *pg = arg;
	struct link_event ev;
	bool more;
	int k;

	while (!atomic_load(&pg->stop)) {
		while (link_next(pg->port, &ev))
			on_event(pg, &ev);
		take_noted(pg);
		more = false;
		for (k = 0; k < pg->o.n_peer; k++)
			more |= at_page_peer_pump(&pg->peer[k]);
		link_wait(pg->port, more ? pg->next_ns : UINT64_MAX);
	}
	return NULL;
}

static void
on_noted(void *arg)
{
	struct at_page *pg = arg;

	link_wake(pg->port);
}

/* ---- opening and closing ---- */

/* The variant that HELLO compares: how pages are laid out belongs to it. */
static int
name_pages(const struct at_page *pg, char out[LINK_VARIANT], struct err *err)
{
	int n = snprintf(out, LINK_VARIANT, "%s kv-%s-%d",
	    pg->o.link->me.variant, kern_dtype_name(pg->o.shape.kvt),
	    KERN_KV_LAYOUT);

	if (n < 0 || n >= LINK_VARIANT)
		return err_set(err, ERR_USAGE, "the name of variant %s is too "
		    "long", pg->o.link->me.variant);
	return 0;
}

static int
open_port(struct at_page *pg, struct err *err)
{
	struct link_opt o = *pg->o.link;
	char bound[LINK_ADDR];
	int k;

	if (name_pages(pg, o.me.variant, err) != 0)
		return -1;
	o.depth = o.slot_bytes = 0;
	o.me.mixed = false;	/* copies must have the same bits */
	o.spin_cores = -1;
	if (link_port_open(&pg->port, &o, err) != 0 ||
	    link_listen(pg->port, pg->o.listen, bound, err) != 0)
		return -1;
	for (k = 0; k < pg->o.n_peer; k++) {
		pg->peer[k].pg = pg;
		pg->peer[k].pair = link_dial(pg->port, pg->o.peer[k],
		    &pg->peer[k], err);
		if (pg->peer[k].pair == NULL)
			return -1;
	}
	return 0;
}

static int
open_parts(struct at_page *pg, struct err *err)
{
	const struct at_page_shape *s = &pg->o.shape;
	size_t one = at_page_msg_bytes(s, 1), page = at_page_msg_bytes(s, 2) -
	    one;
	struct at_kv_stat kv;
	int rc;

	if (one > LINK_MSG_MAX)
		return err_set(err, ERR_UNAVAIL, "--page-copies: a page has "
		    "%zu bytes, a message at most %u", one, LINK_MSG_MAX);
	pg->run_max = (int)(RUN_BYTES / page);
	if (pg->run_max < 1)
		pg->run_max = 1;
	if (pg->run_max > AT_PAGE_RUN)
		pg->run_max = AT_PAGE_RUN;
	at_kv_stat(pg->o.kv, &kv);
	pg->n_page = (int)kv.pages;
	if (open_port(pg, err) != 0)
		return err_ctx(err, "--page-copies");
	at_kv_watch(pg->o.kv, on_noted, pg);
	rc = pthread_create(&pg->thread, NULL, run, pg);
	if (rc != 0)
		return err_sys(err, ERR_TEMP, rc, "page thread");
	pg->started = true;
	return 0;
}

int
at_page_open(struct at_page **out, const struct at_page_opt *o,
    struct err *err)
{
	struct at_page *pg = mem_zalloc(sizeof(*pg));

	pg->o = *o;
	if (open_parts(pg, err) != 0) {
		at_page_close(pg);
		return -1;
	}
	*out = pg;
	return 0;
}

void
at_page_close(struct at_page *pg)
{
	int k;

	if (pg == NULL)
		return;
	at_kv_watch(pg->o.kv, NULL, NULL);
	atomic_store(&pg->stop, true);
	if (pg->started) {
		link_wake(pg->port);
		pthread_join(pg->thread, NULL);
	}
	if (pg->port != NULL)
		link_port_close(pg->port);
	for (k = 0; k < AT_PAGE_MAX_PEER; k++) {
		mem_free(pg->peer[k].mark);
		VEC_FREE(&pg->peer[k].want);
	}
	VEC_FREE(&pg->chain);
	str_free(&pg->msg);
	mem_free(pg);
}

void
at_page_stat(const struct at_page *pg, struct at_page_stat *out)
{
	memset(out, 0, sizeof(*out));
	if (pg == NULL)
		return;
	out->peers_up = pg->peers_up;
	out->sent = pg->sent;
	out->sent_bytes = pg->sent_bytes;
	out->got = pg->got;
	out->got_bytes = pg->got_bytes;
	out->refused = pg->refused;
}
