/*
 * link_ring.c - F3.  Slots: reserve, send, receive, answer.  Data thread; what
 * is the same for every transport.
 */
#include "clock.h"
#include "link_port.h"
#include "link_wire.h"

#define SWEEP_EVERY	32	/* slots between two looks at all sockets */

/* ---- receiving ------------------------------------------------------------------------ */

static int
wrong(struct err *err, const char *what, uint64_t got, uint64_t want)
{
	return err_set(err, ERR_DATA, "slot header: %s is %llu, want %llu",
	    what, (unsigned long long)got, (unsigned long long)want);
}

/* What slot_decode cannot know: is it what is due in this slot of this pair? */
static int
check_head(const struct link_port *p, const struct link_ring *r, int i,
    const struct slot_head *h, struct err *err)
{
	const struct link_slot *s = &r->slot[i];
	uint8_t act = p->opt.me.act;

	if (h->epoch != r->epoch)
		return wrong(err, "epoch", h->epoch, r->epoch);
	if (h->seq != s->seq)
		return wrong(err, "seq", h->seq, s->seq);
	if (s->got != 0 && h->bytes != s->got - (SLOT_BODY - SLOT_HEAD))
		return wrong(err, "bytes", h->bytes,
		    s->got - (SLOT_BODY - SLOT_HEAD));
	if (r->server) {
		if (h->kind != SLOT_REQUEST && h->kind != SLOT_PING)
			return wrong(err, "kind", h->kind, SLOT_REQUEST);
		if (h->kind == SLOT_REQUEST && act != 0 && h->dtype_in != act)
			return wrong(err, "dtype_in", h->dtype_in, act);
		return 0;
	}
	if (h->kind != s->kind)
		return wrong(err, "kind", h->kind, s->kind);
	if (h->req_id != s->req_id)
		return wrong(err, "req_id", h->req_id, s->req_id);
	if (h->n_route != 0)
		return wrong(err, "n_route", h->n_route, 0);
	return 0;
}

static int
take_slot(struct link_port *p, struct link_pair *pair, int i,
    struct link_event *ev, struct err *err)
{
	struct link_ring *r = pair->ring;
	const uint8_t *mem = r->server ? link_ring_req(r, i) :
	    link_ring_ans(r, i);

	if (slot_decode(mem, r->slot_bytes, &ev->head, err) != 0 ||
	    check_head(p, r, i, &ev->head, err) != 0)
		return -1;
	r->slot[i].kind = ev->head.kind;
	r->slot[i].crc = (ev->head.flags & SLOT_CRC_BODY) != 0;
	r->slot[i].req_id = ev->head.req_id;
	ev->what = r->server ? LINK_REQ : LINK_ANS;
	ev->pair = pair;
	ev->slot = i;
	ev->mem = mem;
	ev->user = r->server ? NULL : r->slot[i].user;
	p->count.bytes_in += SLOT_BODY + ev->head.bytes;
	if (r->server)
		p->count.req++;
	else
		p->count.ans++;
	return 0;
}

/* Once around all pairs with rings, from where the last event was. */
static bool
once_around(struct link_port *p, struct link_event *ev)
{
	struct link_pair *pair;
	struct err err;
	size_t k, n = p->live.n;
	int i;

	for (k = 0; k < n; k++) {
		if (++p->turn >= n)
			p->turn = 0;
		pair = p->live.p[p->turn];
		if (pair->broken || (p->n_sock > LINK_FEW_SOCKETS &&
		    pair->ring->tp->second && !pair->ring->ready &&
		    !pair->ring->want_out))
			continue;
		i = pair->ring->tp->poll(pair->ring, &err);
		if (i == LINK_IDLE)
			continue;
		if (i != LINK_BROKEN && take_slot(p, pair, i, ev, &err) == 0)
			return true;
		link_pair_bad(pair, &err);
	}
	return false;
}

/* The next slot whose bytes are here. */
static bool
arrived(struct link_port *p, struct link_event *ev)
{
	if (p->n_sock > LINK_FEW_SOCKETS && ++p->n_polled >= SWEEP_EVERY) {
		p->n_polled = 0;
		(void)link_wait_sweep(p);
	}
	return once_around(p, ev) ||
	    (link_wait_sweep(p) && once_around(p, ev));
}

bool
link_ring_next(struct link_port *p, struct link_event *ev)
{
	uint64_t now;

	if (p->wire == NULL)
		return arrived(p, ev);
	now = clock_ns();
	while (arrived(p, ev))
		link_wire_put(p->wire, ev, SLOT_BODY + ev->head.bytes, now);
	ev->what = LINK_NONE;
	return link_wire_take(p->wire, now, ev);
}

/* ---- client ---------------------------------------------------------------------------- */

static struct link_ring *
ring_of(struct link_pair *pair, int slot)
{
	if (!link_is_up(pair) || pair->ring == NULL)
		return NULL;
	BUG_ON(slot < 0 || slot >= (int)pair->ring->depth);
	return pair->ring;
}

int
link_reserve(struct link_pair *pair, void **mem)
{
	struct link_ring *r = ring_of(pair, 0);
	int i;

	if (r == NULL || r->server)
		return -1;
	for (i = 0; i < (int)r->depth; i++) {
		if (r->slot[i].state != LINK_S_FREE)
			continue;
		r->slot[i].state = LINK_S_HELD;
		*mem = link_ring_req(r, i);
		return i;
	}
	return -1;
}

/* Fill in what is the ring's, encode, and let the transport have it. */
static void
commit(struct link_pair *pair, int i, uint8_t *mem, struct slot_head *h)
{
	struct link_ring *r = pair->ring;
	struct err err = ERR_INIT;

	h->epoch = r->epoch;
	h->seq = r->slot[i].seq;
	h->bytes = slot_body_bytes(h->n_route, h->n_row, h->row_bytes);
	BUG_ON(h->bytes == 0 && (h->n_route > 0 || h->n_row > 0));
	BUG_ON(h->bytes > r->slot_bytes - SLOT_BODY);
	slot_encode(mem, h);
	pair->port->count.bytes_out += SLOT_BODY + h->bytes;
	if (r->tp->put(r, i, SLOT_BODY - SLOT_HEAD + h->bytes, &err) != 0)
		link_pair_bad(pair, &err);
}

void
link_send(struct link_pair *pair, int slot, struct slot_head *head, void *user)
{
	struct link_ring *r = ring_of(pair, slot);
	struct link_slot *s;

	if (r == NULL)
		return;
	s = &r->slot[slot];
	BUG_ON(s->state != LINK_S_HELD);
	if (head->kind != SLOT_PING)
		head->kind = SLOT_REQUEST;
	if (r->tp->crc_body || pair->port->opt.crc)
		head->flags |= SLOT_CRC_BODY;
	s->seq = r->next++;
	s->kind = head->kind == SLOT_PING ? SLOT_PING : SLOT_ANSWER;
	s->req_id = head->req_id;
	s->user = user;
	s->state = LINK_S_FLIGHT;
	pair->port->count.req++;
	commit(pair, slot, link_ring_req(r, slot), head);
}

void
link_release(struct link_pair *pair, int slot)
{
	struct link_ring *r = ring_of(pair, slot);

	if (r == NULL)
		return;
	BUG_ON(r->slot[slot].state != LINK_S_GOT);
	r->slot[slot].state = LINK_S_FREE;
}

void
link_unreserve(struct link_pair *pair, int slot)
{
	struct link_ring *r = ring_of(pair, slot);

	if (r == NULL)
		return;
	BUG_ON(r->slot[slot].state != LINK_S_HELD);
	r->slot[slot].state = LINK_S_FREE;
}

/* ---- server ---------------------------------------------------------------------------- */

void *
link_answer_rows(struct link_pair *pair, int slot)
{
	BUG_ON(pair->ring == NULL || slot < 0 ||
	    slot >= (int)pair->ring->depth);
	return link_ring_ans(pair->ring, slot) + SLOT_BODY;
}

void
link_answer(struct link_pair *pair, int slot, struct slot_head *head)
{
	struct link_ring *r = ring_of(pair, slot);
	struct link_slot *s;

	if (r == NULL)
		return;
	s = &r->slot[slot];
	BUG_ON(!r->server || s->state != LINK_S_GOT);
	head->kind = s->kind == SLOT_PING ? SLOT_PING : SLOT_ANSWER;
	head->n_route = 0;
	/* Whoever had its request checked wants to check the answer. */
	head->flags &= (uint16_t)~SLOT_CRC_BODY;
	if (s->crc)
		head->flags |= SLOT_CRC_BODY;
	s->state = LINK_S_FREE;
	pair->port->count.ans++;
	commit(pair, slot, link_ring_ans(r, slot), head);
}
