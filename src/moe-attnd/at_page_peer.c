/* at_page_peer - see at_page_peer.h: which pages go to a neighbour, and when. */
#include "at_page_peer.h"

#include <string.h>

#include "clock.h"

#define MAX_WANT	65536	/* one that is left out comes as the page
				 * before another */
#define LOOK		4096	/* pages looked at under one lock */

/* ---- what is wanted there ---- */

void
at_page_peer_want(struct at_page_peer *r, struct at_kv_ref page, bool again)
{
	if (r->want.n - r->want_at < MAX_WANT)
		VEC_PUSH(&r->want, ((struct at_page_want){ page, again }));
}

static void
next_want(struct at_page_peer *r)
{
	if (++r->want_at < r->want.n / 2 && r->want_at < 1024)
		return;
	r->want.n -= r->want_at;
	if (r->want.n > 0)
		memmove(r->want.p, r->want.p + r->want_at,
		    r->want.n * sizeof(*r->want.p));
	r->want_at = 0;
}

/* It may be a new process, or have been away: it is taken to have nothing, and
 * to want what sequences hold. */
void
at_page_peer_up(struct at_page_peer *r)
{
	struct at_page *pg = r->pg;
	struct at_kv_ref held[LOOK];
	int32_t from;
	int n, i;

	if (r->mark == NULL)
		r->mark = mem_calloc((size_t)pg->n_page, sizeof(*r->mark));
	memset(r->mark, 0, (size_t)pg->n_page * sizeof(*r->mark));
	memset(r->flight, 0, sizeof(r->flight));
	r->n_flight = 0;
	r->want.n = r->want_at = 0;
	r->up = true;
	for (from = 0; from < pg->n_page; from += LOOK) {
		n = at_kv_held(pg->o.kv, from, LOOK, held);
		for (i = 0; i < n; i++)
			at_page_peer_want(r, held[i], false);
	}
}

void
at_page_peer_down(struct at_page_peer *r)
{
	r->up = false;
	r->want.n = r->want_at = 0;
}

/* ---- runs ---- */

enum chain { CHAIN_RUN, CHAIN_KNOWN, CHAIN_WAIT, CHAIN_GONE };

static bool
is_marked(const struct at_page_peer *r, struct at_kv_ref page)
{
	return r->mark[page.page].id == page.id;
}

/* All of page's chain that the neighbour lacks, the last one first, to
 * pg->chain; and what it comes after there. */
static enum chain
find_chain(struct at_page_peer *r, struct at_kv_ref page,
    struct at_kv_ref *before)
{
	struct at_page *pg = r->pg;

	pg->chain.n = 0;
	*before = (struct at_kv_ref){ 0, 0 };
	while (page.id != 0) {
		if (is_marked(r, page)) {
			*before = r->mark[page.page].theirs;
			if (before->id == 0)
				return CHAIN_WAIT;
			break;
		}
		VEC_PUSH(&pg->chain, page);
		if (!at_kv_before(pg->o.kv, page, &page))
			return CHAIN_GONE;
	}
	return pg->chain.n > 0 ? CHAIN_RUN : CHAIN_KNOWN;
}

/* Lend the pages of f; fewer if some cannot be had.  Their tokens to tok. */
static void
lend(struct at_page *pg, struct at_page_flight *f, uint32_t *tok)
{
	int i;

	for (i = 0; i < f->n; i++)
		if (!at_kv_lend(pg->o.kv, f->page[i], tok + i * KERN_PAGE_TOK))
			break;
	f->n = i;
}

static void
add_page(struct at_page *pg, struct at_kv_ref page)
{
	const struct at_page_shape *s = &pg->o.shape;
	const struct kern_kv *l;
	int i;

	for (i = 0; i < s->n_layer; i++) {
		l = at_kv_layer(pg->o.kv, i);
		str_add(&pg->msg, (const char *)l->arena +
		    (size_t)page.page * s->layer_bytes, s->layer_bytes);
	}
}

static void
send_run(struct at_page_peer *r, struct at_page_flight *f,
    struct at_kv_ref before)
{
	struct at_page *pg = r->pg;
	uint32_t tok[AT_PAGE_RUN * KERN_PAGE_TOK];
	struct at_page_run run = { .seq = r->seq + 1, .before = before };
	int i;

	lend(pg, f, tok);
	if (f->n == 0)
		return;
	run.n = f->n;
	str_clear(&pg->msg);
	at_page_msg_put(&pg->msg, &pg->o.shape, &run, tok);
	for (i = 0; i < f->n; i++) {
		add_page(pg, f->page[i]);
		at_kv_unlend(pg->o.kv, f->page[i]);
	}
	/* If it fails, the pair is going down, and all starts anew. */
	(void)link_msg(r->pair, LINK_MSG_PAGES, pg->msg.p, pg->msg.n);
	for (i = 0; i < f->n; i++)
		r->mark[f->page[i].page] = (struct at_page_mark){
		    f->page[i].id, { 0, 0 } };
	f->seq = ++r->seq;
	r->n_flight++;
	pg->next_ns = clock_ns() + (uint64_t)((double)pg->msg.n * 1e9 /
	    (double)pg->o.rate);
}

/* Those that wait next and go on where f ends. */
static void
extend(struct at_page_peer *r, struct at_page_flight *f)
{
	struct at_kv_ref before, next;

	while (f->n < r->pg->run_max && r->want_at < r->want.n) {
		next = r->want.p[r->want_at].page;
		if (!at_kv_before(r->pg->o.kv, next, &before) ||
		    before.id != f->page[f->n - 1].id || is_marked(r, next))
			return;
		f->page[f->n++] = next;
		next_want(r);
	}
}

static struct at_page_flight *
free_flight(struct at_page_peer *r)
{
	int i;

	for (i = 0; i < AT_PAGE_WINDOW; i++)
		if (r->flight[i].seq == 0)
			return &r->flight[i];
	return NULL;
}

/* The first page that is wanted, with what it needs before it.  false: it has
 * to wait for an acknowledgement. */
static bool
send_first(struct at_page_peer *r, struct at_page_flight *f)
{
	struct at_page *pg = r->pg;
	struct at_page_want w = r->want.p[r->want_at];
	struct at_kv_ref before;
	enum chain c = find_chain(r, w.page, &before);
	int i;

	if (c == CHAIN_WAIT)
		return false;
	if (c != CHAIN_RUN) {
		next_want(r);
		return true;
	}
	f->n = pg->chain.n < (size_t)pg->run_max ? (int)pg->chain.n :
	    pg->run_max;
	f->again = w.again;
	for (i = 0; i < f->n; i++)
		f->page[i] = pg->chain.p[pg->chain.n - 1 - (size_t)i];
	if (f->page[f->n - 1].id == w.page.id) {
		next_want(r);
		extend(r, f);
	}
	send_run(r, f, before);
	return true;
}

bool
at_page_peer_pump(struct at_page_peer *r)
{
	struct at_page_flight *f;
	size_t waiting = 0;

	while (r->up && r->want_at < r->want.n &&
	    waiting < r->want.n - r->want_at &&
	    (f = free_flight(r)) != NULL) {
		if (clock_ns() < r->pg->next_ns)
			return true;
		if (send_first(r, f))
			continue;
		/* Let other chains pass. */
		at_page_peer_want(r, r->want.p[r->want_at].page,
		    r->want.p[r->want_at].again);
		next_want(r);
		waiting++;
	}
	return false;
}

/* ---- acknowledgements ---- */

/* The neighbour has dropped something that f comes after. */
static void
lost(struct at_page_peer *r, const struct at_page_flight *f)
{
	struct at_kv_ref page = f->page[0];

	while (at_kv_before(r->pg->o.kv, page, &page) && page.id != 0 &&
	    is_marked(r, page))
		r->mark[page.page].id = 0;
	if (!f->again)
		at_page_peer_want(r, f->page[f->n - 1], true);
}

int
at_page_peer_ack(struct at_page_peer *r, const struct at_page_ack *a,
    struct err *err)
{
	struct at_page *pg = r->pg;
	struct at_page_flight *f = NULL;
	struct at_page_mark *m;
	int i;

	for (i = 0; i < AT_PAGE_WINDOW; i++)
		if (r->flight[i].seq == a->seq && a->seq != 0)
			f = &r->flight[i];
	if (f == NULL || a->n > f->n)
		return err_set(err, ERR_DATA, "pages: an acknowledgement of "
		    "%d pages that were not sent", a->n);
	for (i = 0; i < f->n; i++) {
		m = &r->mark[f->page[i].page];
		if (m->id != f->page[i].id)
			continue;
		if (i < a->n)
			m->theirs = a->page[i];
		else
			m->id = 0;
	}
	pg->sent += (uint64_t)a->n;
	pg->sent_bytes += (uint64_t)a->n * pg->o.shape.layer_bytes *
	    (uint64_t)pg->o.shape.n_layer;
	if (a->n < f->n && a->status == AT_PAGE_LOST)
		lost(r, f);
	f->seq = 0;
	r->n_flight--;
	return 0;
}
