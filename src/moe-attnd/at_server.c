/* at_server - one expert server as a front end sees it: its pair, the calls
 * that are out, and how long it usually takes.  See at_call.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "at_call.h"
#include "at_prof.h"
#include "clock.h"
#include "event_log.h"
#include "log.h"

/* Weight of a new sample in the smoothed round trip (as in RFC 6298). */
#define RTT_GAIN	0.125
#define RTT_VAR_GAIN	0.25
/* Until any server has answered once, grant them this much more. */
#define FIRST_CALL_NS	5e9
#define MAX_LATE	5	/* doublings of the allowance */
#define PATIENCE	8
#define HEDGE_MIN_NS	1e6

int
at_server_open(struct at_server **out, struct at_disp *d, int index,
    struct err *err)
{
	struct at_server *s = mem_zalloc(sizeof(*s));
	const struct model_cfg *c = d->o.cfg;

	s->d = d;
	s->index = index;
	s->name = mem_strdup(map_server_name(d->map, index));
	s->addr = mem_strdup(map_server_addr(d->map, index));
	s->queue_tail = &s->queue;
	hold_init(&s->hold, (uint32_t)c->n_layer, (uint32_t)c->n_expert);
	s->pair = link_dial(d->o.port, s->addr, s, err);
	if (s->pair == NULL) {
		err_ctx(err, "server %s", s->name);
		at_server_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

void
at_server_close(struct at_server *s)
{
	struct at_call *c;

	if (s->pair != NULL)
		link_undial(s->pair);
	while ((c = s->queue) != NULL) {
		s->queue = c->next;
		at_disp_again(s->d, c);
	}
	while ((c = s->out) != NULL) {
		s->out = c->next;
		at_disp_again(s->d, c);
	}
	hold_free(&s->hold);
	mem_free(s->name);
	mem_free(s->addr);
	mem_free(s);
}

bool
at_server_has(const struct at_server *s, int layer, int expert)
{
	if (!s->up || s->draining || s->masked)
		return false;
	if (s->knows_hold)
		return hold_has(&s->hold, (uint32_t)layer, (uint32_t)expert);
	return map_holds(s->d->map, s->index, layer, expert);
}

bool
at_server_on_trial(const struct at_server *s)
{
	return s->up && s->late > 0;
}

/* ---- filling and sending calls ---- */

void
at_server_add(struct at_server *s, struct at_flight *f, uint32_t route,
    bool replay)
{
	struct at_call *c = s->open;
	size_t cap;

	if (c == NULL) {
		c = s->open = at_call_new(s->d);
		c->flight = f;
		c->req_id = f->req_id;
		c->replay = replay;
	}
	f->rs[route].n_out++;
	cap = c->cap;
	mem_grow((void **)&c->route, &cap, (size_t)c->n + 1, sizeof(*c->route));
	c->cap = (uint32_t)cap;
	c->route[c->n++] = route;
	if (c->n >= s->max_route)
		at_server_flush(s);
}

void
at_server_flush(struct at_server *s)
{
	if (s->open == NULL)
		return;
	*s->queue_tail = s->open;
	s->queue_tail = &s->open->next;
	s->open = NULL;
}

void
at_server_try(struct at_server *s, struct at_flight *f, uint32_t route)
{
	BUG_ON(s->open != NULL || s->queue != NULL);
	at_server_add(s, f, route, true);
	f->rs[route].n_out--;
	/* The only one in its queue, if it holds a single route. */
	(s->open != NULL ? s->open : s->queue)->hedged = true;
	(s->open != NULL ? s->open : s->queue)->trial = true;
	at_server_flush(s);
}

/* Write routes and rows into the slot; each row once.  Returns the number of
 * rows. */
static uint32_t
fill(const struct at_disp *d, const struct at_call *c, void *mem)
{
	const struct at_flight *f = c->flight;
	enum at_part was = at_prof_to(d->o.prof, AT_PART_COPY);
	char *rows = (char *)mem + slot_rows_at(c->n);
	uint32_t i, row, last = UINT32_MAX, n = 0;

	for (i = 0; i < c->n; i++) {
		row = c->route[i] / (uint32_t)d->k;
		if (row != last) {
			memcpy(rows + (size_t)n * d->row_bytes,
			    (const char *)f->xn + (size_t)row * d->row_bytes,
			    d->row_bytes);
			last = row;
			n++;
		}
		slot_route_put(mem, i, (struct slot_route){ (uint16_t)(n - 1),
		    (uint16_t)f->id[c->route[i]], f->w[c->route[i]] });
	}
	at_prof_to(d->o.prof, was);
	return n;
}

/* What a call to s usually takes: what it took there since it came up; for its
 * first call, what the slowest of the others takes. */
static double
usual_ns(const struct at_server *s)
{
	const struct at_disp *d = s->d;
	const struct at_server *o;
	double most = 0, ns;
	int i;

	if (s->rtt_ns > 0)
		return s->rtt_ns + 4 * s->rtt_var_ns;
	for (i = 0; i < d->n_server; i++) {
		o = d->server[i];
		ns = o->rtt_ns + 4 * o->rtt_var_ns;
		if (o->rtt_ns > 0 && ns > most)
			most = ns;
	}
	return most > 0 ? most : FIRST_CALL_NS;
}

/*
 * PATIENCE times what 99 of 100 recent calls of the size took; at least a
 * quarter of --deadline, since a busy machine may put anybody aside for that
 * long, and at most --deadline beyond the usual time, which is also what holds
 * before enough calls have been answered.  Twice as long after each miss in a
 * row: a server that has become slower than it was is not cut off for ever.
 */
uint64_t
at_server_patience_ns(const struct at_server *s, uint32_t n_route)
{
	uint64_t most = s->d->o.deadline_ns + (uint64_t)(4 * usual_ns(s));
	uint64_t least = s->d->o.deadline_ns / 4;
	uint64_t ns = PATIENCE * at_rtt_p99_ns(&s->rtt, n_route);

	if (ns == 0 || ns > most)
		ns = most;
	if (ns < least)
		ns = least;
	return ns << (s->late < MAX_LATE ? s->late : MAX_LATE);
}

/* When to ask a replica, too; not within HEDGE_MIN_NS, which is noise. */
static uint64_t
hedge_at(const struct at_server *s, const struct at_call *c)
{
	uint64_t p99 = at_rtt_p99_ns(&s->rtt, c->n);
	double ns = s->d->o.hedge * (double)p99;

	if (s->d->o.hedge <= 0 || p99 == 0 || c->hedged)
		return UINT64_MAX;
	return c->sent_ns + (uint64_t)fmax(ns, HEDGE_MIN_NS);
}

static void
send_call(struct at_server *s, struct at_call *c, int slot, void *mem)
{
	struct at_disp *d = s->d;
	struct slot_head h = { 0 };

	h.kind = SLOT_REQUEST;
	h.flags = c->replay ? SLOT_REPLAY : 0;
	if (d->o.cfg->rule == KERN_ROUTE_SIGMOID_INPUT)
		h.flags |= SLOT_WEIGHT_IN;
	if (s->queue == NULL)
		h.flags |= SLOT_LAST;
	h.req_id = c->req_id;
	h.layer = (uint16_t)c->flight->layer;
	h.dtype_in = h.dtype_out = (uint8_t)d->o.act;
	h.n_route = (uint16_t)c->n;
	h.n_row = c->n_row = (uint16_t)fill(d, c, mem);
	h.reduce = c->reduce = (uint8_t)at_sum_reduce(d, c);
	h.row_bytes = (uint32_t)d->row_bytes;
	h.bytes = slot_body_bytes(h.n_route, h.n_row, h.row_bytes);
	h.map_version = map_version(d->map);
	c->sent_ns = clock_ns();
	c->deadline_ns = c->sent_ns + at_server_patience_ns(s, c->n);
	c->hedge_ns = hedge_at(s, c);
	h.budget_us = (uint32_t)fmin(4e9,
	    (double)(c->deadline_ns - c->sent_ns) / 1e3);
	c->next = s->out;
	s->out = c;
	d->stat.calls++;
	d->stat.bytes_out += h.bytes;
	if (c->replay)
		d->stat.replays++;
	link_send(s->pair, slot, &h, c);
}

void
at_server_pump(struct at_server *s)
{
	struct at_call *c;
	void *mem;
	bool wanted;
	int slot = -1;

	while (s->up && (c = s->queue) != NULL) {
		wanted = at_call_trim(c);
		if (wanted && (slot = link_reserve(s->pair, &mem)) < 0)
			return;
		s->queue = c->next;
		if (s->queue == NULL)
			s->queue_tail = &s->queue;
		if (wanted)
			send_call(s, c, slot, mem);
		else		/* answered by another meanwhile */
			at_call_free(s->d, c);
	}
}

void
at_server_check(struct at_server *s, uint64_t now_ns)
{
	struct at_call *c;

	if (!s->up || at_server_due(s) > now_ns)
		return;
	for (c = s->out; c != NULL; c = c->next)
		if (!c->hedged && c->hedge_ns <= now_ns)
			at_disp_hedge(s->d, s, c);
	/* What waits behind such a call goes to others altogether. */
	while (s->suspect && (c = s->queue) != NULL) {
		s->queue = c->next;
		if (s->queue == NULL)
			s->queue_tail = &s->queue;
		at_disp_again(s->d, c);
		at_disp_news(s->d);
	}
	if (at_server_due(s) > now_ns)
		return;
	s->d->stat.deadline_missed++;
	s->late++;
	/* Not membership, only our own suspicion: the pair is rebuilt with new
	 * memory, so nothing that comes late can be taken for an answer. */
	log_warn("server %s: a call's deadline has passed", s->name);
	s->up = false;
	s->noticed = true;
	event_log_put(s->name, "noticed", "deadline");
	link_break(s->pair, "a call's deadline has passed");
}

uint64_t
at_server_due(const struct at_server *s)
{
	const struct at_call *c;
	uint64_t due = UINT64_MAX, most = UINT64_MAX, at;

	/* A first call was sent with patience; others have answered since. */
	if (s->out != NULL && s->rtt_ns <= 0)
		most = at_server_patience_ns(s, 0);
	for (c = s->out; c != NULL; c = c->next) {
		at = c->deadline_ns;
		if (most != UINT64_MAX && c->sent_ns + most < at)
			at = c->sent_ns + most;
		if (!c->hedged && c->hedge_ns < at)
			at = c->hedge_ns;
		if (at < due)
			due = at;
	}
	return due;
}

/* ---- events ---- */

static void
up(struct at_server *s)
{
	s->up = true;
	s->draining = s->suspect = s->serves = false;
	s->knows_hold = false;
	s->last_why[0] = '\0';
	s->max_route = (link_slot_bytes(s->pair) - SLOT_BODY - 16) /
	    (uint32_t)(s->d->row_bytes + sizeof(struct slot_route));
	if (s->max_route > UINT16_MAX)
		s->max_route = UINT16_MAX;
	if (s->max_route == 0) {	/* it granted less than a row */
		s->up = false;
		link_break(s->pair, "its slots hold no row");
		return;
	}
	log_info("server %s: up (%s)", s->name, link_addr(s->pair));
	if (s->was_down)
		event_log_put(s->name, "repaired", NULL);
	s->noticed = s->was_down = false;
	at_disp_news(s->d);
}

/* Its calls, sent or not, go elsewhere. */
static void
down(struct at_server *s, const struct link_event *ev)
{
	struct at_call *c;

	/* A server that stays away says the same every time: say it once. */
	if (strncmp(s->last_why, ev->reason, sizeof(s->last_why) - 1) != 0) {
		snprintf(s->last_why, sizeof(s->last_why), "%s", ev->reason);
		log_warn("server %s: %s", s->name, ev->reason);
	}
	if (s->up && !s->noticed)
		event_log_put(s->name, "noticed", ev->reason);
	s->owes_replay = s->out != NULL || s->queue != NULL;
	if (s->up || s->noticed) {
		s->was_down = true;
		event_log_put(s->name, "masked", NULL);
	}
	s->up = s->noticed = false;
	s->rtt_ns = 0;
	memset(&s->rtt, 0, sizeof(s->rtt));
	while ((c = s->out) != NULL) {
		s->out = c->next;
		at_disp_again(s->d, c);
	}
	while ((c = s->queue) != NULL) {
		s->queue = c->next;
		if (s->queue == NULL)
			s->queue_tail = &s->queue;
		at_disp_again(s->d, c);
	}
	at_disp_news(s->d);
}

static void
measure(struct at_server *s, const struct at_call *c)
{
	double rtt = (double)(clock_ns() - c->sent_ns), diff;

	if (!s->serves)
		event_log_put(s->name, "serves", NULL);
	s->serves = true;
	s->late = 0;
	s->suspect = false;
	at_rtt_add(&s->rtt, c->n, (uint64_t)rtt);
	if (s->rtt_ns <= 0) {
		s->rtt_ns = rtt;
		s->rtt_var_ns = rtt / 2;
		return;
	}
	diff = fabs(rtt - s->rtt_ns);
	s->rtt_var_ns += RTT_VAR_GAIN * (diff - s->rtt_var_ns);
	s->rtt_ns += RTT_GAIN * (rtt - s->rtt_ns);
}

/* Take c out of the list of calls that are out; false: it is not there. */
static bool
unlink_out(struct at_server *s, const struct at_call *c)
{
	struct at_call **at;

	for (at = &s->out; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			return true;
		}
	}
	return false;
}

/* The first answer to calls that were sent again. */
static void
note_replay(struct at_disp *d)
{
	int i;

	for (i = 0; i < d->n_server; i++) {
		if (!d->server[i]->owes_replay)
			continue;
		d->server[i]->owes_replay = false;
		event_log_put(d->server[i]->name, "replayed", NULL);
	}
}

/* Copy the answer's rows to the flight: those that nobody else has given.
 * Returns how many routes they answer, which then are first in c->route. */
static uint32_t
accept_rows(struct at_disp *d, struct at_call *c, const char *rows)
{
	struct at_flight *f = c->flight;
	uint32_t i, r, n = 0;
	char *to;

	for (i = 0; i < c->n; i++) {
		r = c->route[i];
		if (f->rs[r].req_id != c->req_id)
			continue;
		f->rs[r].n_out -= !c->trial;
		if (f->rs[r].done)
			continue;
		to = f->buf + (size_t)r * d->row_bytes;
		memcpy(to, rows + (size_t)i * d->row_bytes, d->row_bytes);
		f->ans[r] = to;
		f->rs[r].done = true;
		c->route[n++] = r;
	}
	return n;
}

static void
accept(struct at_server *s, struct at_call *c, const void *mem)
{
	struct at_disp *d = s->d;
	const char *rows = (const char *)mem + slot_rows_at(0);
	enum at_part was = at_prof_to(d->o.prof, AT_PART_COPY);
	uint32_t n;

	n = d->o.reduce == KERN_SUM_NONE ? accept_rows(d, c, rows) :
	    at_sum_accept(d, c, rows);
	at_prof_to(d->o.prof, was);
	at_flight_settle(d, c->flight, c->route, n);
	d->stat.late += n == 0 && !c->trial;
	measure(s, c);
	if (c->replay && n > 0)
		note_replay(d);
	at_call_free(d, c);
}

/* The server says that it has not got these experts: believe it until its next
 * HOLD. */
static void
unhold(struct at_server *s, const struct at_call *c)
{
	const struct map *map = s->d->map;
	uint32_t i, e, layer = (uint32_t)c->flight->layer;
	int l, x;

	/* The flight is out with other rows: what this call was for is
	 * forgotten. */
	if (c->flight->req_id != c->req_id)
		return;
	if (!s->knows_hold) {
		for (l = 0; l < s->d->o.cfg->n_layer; l++)
			for (x = 0; x < s->d->o.cfg->n_expert; x++)
				hold_set(&s->hold, (uint32_t)l, (uint32_t)x,
				    map_holds(map, s->index, l, x));
		s->knows_hold = true;
	}
	for (i = 0; i < c->n; i++) {
		/* Nor is it known of a pool's route that another has sent. */
		if (c->flight->rs[c->route[i]].req_id != c->req_id)
			continue;
		e = (uint32_t)c->flight->id[c->route[i]];
		hold_set(&s->hold, layer, e, false);
	}
}

static void
answer(struct at_server *s, const struct link_event *ev)
{
	struct at_call *c = ev->user;
	const struct slot_head *h = &ev->head;

	if (!unlink_out(s, c))
		BUG("answer to a call that is not out");
	s->d->stat.bytes_in += h->bytes;
	if (h->status == SLOT_OK && !at_sum_fits(s->d, c, h)) {
		link_release(s->pair, ev->slot);
		at_disp_again(s->d, c);
		link_break(s->pair, "an answer does not fit its request");
		return;
	}
	if (h->status == SLOT_OK)
		accept(s, c, ev->mem);
	link_release(s->pair, ev->slot);
	switch (h->status) {
	case SLOT_OK:
		break;
	case SLOT_DRAINING:
		s->draining = true;
		at_disp_again(s->d, c);
		at_disp_news(s->d);
		break;
	case SLOT_NOT_HERE:
	case SLOT_COLD:
		unhold(s, c);
		at_disp_again(s->d, c);
		at_disp_news(s->d);
		break;
	default:		/* BUSY, EXPIRED, BAD: somebody else, or later */
		log_debug("server %s: answered %s", s->name,
		    slot_status_name(h->status));
		at_disp_again(s->d, c);
		break;
	}
}

static void
message(struct at_server *s, const struct link_event *ev)
{
	struct err err = ERR_INIT;

	if (ev->type == LINK_MSG_DRAIN) {
		log_info("server %s: drains", s->name);
		s->draining = true;
		at_disp_news(s->d);
	} else if (ev->type == LINK_MSG_HOLD) {
		if (hold_decode(&s->hold, ev->data, ev->n, &err) != 0) {
			link_break(s->pair, err.text);
			return;
		}
		s->knows_hold = true;
		at_disp_news(s->d);
	}
}

void
at_server_event(struct at_server *s, const struct link_event *ev)
{
	switch (ev->what) {
	case LINK_UP:
		up(s);
		break;
	case LINK_DOWN:
		down(s, ev);
		break;
	case LINK_ANS:
		answer(s, ev);
		break;
	case LINK_MSG:
		message(s, ev);
		break;
	default:
		break;		/* a server asks nothing of us */
	}
	at_server_pump(s);
}
