/* at_disp - see at_disp.h: where the routes of flights go. */
#include "at_disp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "at_call.h"
#include "at_prof.h"
#include "clock.h"
#include "log.h"

/* An active expert costs its server as much as this many rows do: reading its
 * weights outweighs the arithmetic of a few rows. */
#define EXPERT_COST	8
/* How often flights that no server can take are tried again without news. */
#define RETRY_NS	20000000u

void
at_disp_ring(const struct model_cfg *cfg, enum kern_dtype act,
    uint32_t *slot_bytes, uint32_t *depth)
{
	size_t row = kern_dtype_bytes(act, (size_t)cfg->hidden);
	size_t want = (row + sizeof(struct slot_route)) * 128 + SLOT_BODY;
	uint32_t b = 64u << 10;

	while (b < want && b < (8u << 20))
		b *= 2;
	*slot_bytes = b;
	*depth = 4;
}

int
at_disp_open(struct at_disp **out, const struct at_disp_opt *o,
    struct err *err)
{
	struct at_disp *d = mem_zalloc(sizeof(*d));
	int n = o->map != NULL ? map_n_server(o->map) : 0, i;

	BUG_ON((o->map == NULL) == (o->xeng == NULL));
	d->o = *o;
	if (o->map != NULL)
		d->map = map_ref(o->map);
	d->k = o->cfg->top_k;
	d->row_bytes = kern_dtype_bytes(o->act, (size_t)o->cfg->hidden);
	at_sum_open(d);
	d->to = mem_calloc((size_t)o->cfg->n_expert, sizeof(*d->to));
	d->rows = mem_calloc((size_t)o->cfg->n_expert, sizeof(*d->rows));
	d->next_req = 1;
	d->retry_ns = UINT64_MAX;
	if (o->xeng != NULL)
		d->client = xeng_client_up(o->xeng);
	d->server = mem_calloc((size_t)n, sizeof(*d->server));
	for (i = 0; i < n; i++) {
		if (at_server_open(&d->server[i], d, i, err) != 0) {
			at_disp_close(d);
			return -1;
		}
		d->n_server = i + 1;
	}
	*out = d;
	return 0;
}

void
at_disp_close(struct at_disp *d)
{
	struct at_call *c;
	int i;

	if (d == NULL)
		return;
	if (d->o.xeng != NULL)
		xeng_client_down(d->o.xeng, d->client);
	for (i = 0; i < d->n_server; i++)
		at_server_close(d->server[i]);
	while ((c = d->spare) != NULL) {
		d->spare = c->next;
		mem_free(c->route);
		mem_free(c);
	}
	mem_free(d->server);
	mem_free(d->to);
	mem_free(d->rows);
	mem_free(d->pick);
	at_sum_close(d);
	map_unref(d->map);
	mem_free(d);
}

/* ---- calls and flights ---- */

struct at_call *
at_call_new(struct at_disp *d)
{
	struct at_call *c = d->spare;

	if (c == NULL)
		return mem_zalloc(sizeof(*c));
	d->spare = c->next;
	c->next = NULL;
	c->n = 0;
	c->hedged = c->trial = false;
	return c;
}

void
at_call_free(struct at_disp *d, struct at_call *c)
{
	c->next = d->spare;
	d->spare = c;
}

/* ---- choosing servers ---- */

/* A server that may be asked, and what that costs. */
struct offer {
	int server;		/* -1: none */
	bool suspect;
	double cost;
};

/* Keep the better one: a suspect only when nobody else can be asked. */
static void
consider(const struct at_disp *d, struct offer *best, int s, double cost)
{
	bool suspect = d->server[s]->suspect ||
	    at_server_on_trial(d->server[s]);

	if (best->server < 0 || suspect < best->suspect ||
	    (suspect == best->suspect && cost < best->cost))
		*best = (struct offer){ s, suspect, cost };
}

/* The server that costs least of those that may be asked for this expert, other
 * than `not` (NULL: any); -1. */
static int
choose(struct at_disp *d, int layer, int expert, const struct at_server *not)
{
	const uint16_t *list;
	int n = map_replicas(d->map, layer, expert, &list), i, k, s;
	struct offer best = { -1, false, 0 };

	for (i = 0; i < n; i++) {
		s = list[k = (i + d->turn) % n];
		if (d->server[s] != not &&
		    at_server_has(d->server[s], layer, expert))
			consider(d, &best, s,
			    (d->server[s]->load + EXPERT_COST) /
			    map_share(d->map, layer, expert, k));
	}
	if (best.server >= 0)
		return best.server;
	/* The map may be behind: ask whoever says that it has the expert. */
	for (s = 0; s < d->n_server; s++)
		if (d->server[s] != not && d->server[s]->knows_hold &&
		    at_server_has(d->server[s], layer, expert))
			consider(d, &best, s, d->server[s]->load);
	return best.server;
}

static void
stall(struct at_disp *d, struct at_flight *f, uint32_t route)
{
	if (f->n_homeless == 0) {
		f->next = d->stalled;
		d->stalled = f;
		if (f->homeless_ns == 0)
			f->homeless_ns = clock_ns();
	}
	f->homeless[f->n_homeless++] = route;
	d->retry_ns = clock_ns() + RETRY_NS;
}

/* Copy a flight's list to d->pick: assign may write to the original. */
static void
pick(struct at_disp *d, const uint32_t *route, size_t n)
{
	mem_grow((void **)&d->pick, &d->cap_pick, n, sizeof(*d->pick));
	memcpy(d->pick, route, n * sizeof(*d->pick));
}

/*
 * A server that has missed a deadline and has not answered since gets a copy of
 * one route that somebody else is asked, and no more until it answers that: a
 * link may be dialled again and still bring nothing, and who waits for it a
 * second time waits longer than the first.
 */
static void
try_out(struct at_server *s, struct at_flight *f, const uint32_t *route,
    int n)
{
	int i;

	if (!at_server_on_trial(s) || s->out != NULL || s->queue != NULL ||
	    s->open != NULL)
		return;
	for (i = 0; i < n; i++) {
		if (f->rs[route[i]].n_out == 0 ||
		    !at_server_has(s, f->layer, f->id[route[i]]))
			continue;
		at_server_try(s, f, route[i]);
		return;
	}
}

/* Give every route of route[0..n) (ascending) to a server, or stall it. */
static void
assign(struct at_disp *d, struct at_flight *f, const uint32_t *route, int n,
    bool replay)
{
	int i, e, s;

	for (s = 0; s < d->n_server; s++)
		d->server[s]->load = 0;
	memset(d->rows, 0, (size_t)d->o.cfg->n_expert * sizeof(*d->rows));
	for (i = 0; i < n; i++)
		d->rows[f->id[route[i]]]++;
	d->turn++;
	for (e = 0; e < d->o.cfg->n_expert; e++) {
		if (d->rows[e] == 0)
			continue;
		d->to[e] = s = choose(d, f->layer, e, NULL);
		if (s >= 0)
			d->server[s]->load += EXPERT_COST + d->rows[e];
	}
	for (i = 0; i < n; i++) {
		s = d->to[f->id[route[i]]];
		if (s >= 0)
			at_server_add(d->server[s], f, route[i], replay);
		else
			stall(d, f, route[i]);
	}
	for (i = 0; i < d->n_server; i++)
		try_out(d->server[i], f, route, n);
	for (i = 0; i < d->n_server; i++) {
		s = (i + d->turn) % d->n_server;	/* no two clients in step */
		at_server_flush(d->server[s]);
		at_server_pump(d->server[s]);
	}
}

void
at_route_lost(struct at_disp *d, struct at_flight *f, uint32_t route)
{
	struct at_route *r = &f->rs[route];

	/* Through the stalled list, not at once: the caller is walking a
	 * server's lists.  Not what another call carries, too. */
	if (--r->n_out == 0 && !r->done)
		stall(d, f, route);
}

void
at_disp_again(struct at_disp *d, struct at_call *c)
{
	struct at_flight *f = c->flight;
	uint32_t i;

	for (i = 0; i < c->n && !c->trial; i++)
		if (f->rs[c->route[i]].req_id == c->req_id)
			at_route_lost(d, f, c->route[i]);
	at_call_free(d, c);
}

bool
at_call_trim(struct at_call *c)
{
	struct at_route *r;
	uint32_t i, n = 0;

	for (i = 0; i < c->n; i++) {
		r = &c->flight->rs[c->route[i]];
		if (r->req_id == c->req_id && !r->done)
			c->route[n++] = c->route[i];
		else if (r->req_id == c->req_id)
			r->n_out -= !c->trial;
	}
	c->n = n;
	return n > 0;
}

void
at_disp_hedge(struct at_disp *d, struct at_server *s, struct at_call *c)
{
	struct at_flight *f = c->flight;
	const struct at_route *r;
	bool any = false;
	uint32_t i;
	int to;

	c->hedged = true;
	for (to = 0; to < d->n_server; to++)
		d->server[to]->load = 0;
	for (i = 0; i < c->n; i++) {
		r = &f->rs[c->route[i]];
		if (r->req_id != c->req_id || r->done || r->n_out > 1)
			continue;
		to = choose(d, f->layer, f->id[c->route[i]], s);
		if (to < 0)
			continue;
		at_server_add(d->server[to], f, c->route[i], true);
		if (d->server[to]->open != NULL)
			d->server[to]->open->hedged = true;
		any = true;
	}
	d->stat.hedges += any;
	s->suspect |= any;
	for (to = 0; to < d->n_server; to++) {
		at_server_flush(d->server[to]);
		at_server_pump(d->server[to]);
	}
}

void
at_disp_news(struct at_disp *d)
{
	d->retry_ns = 0;
}

/* No server came in time: these routes count as zero and their rows are dead. */
static void
give_up(struct at_disp *d, struct at_flight *f)
{
	uint32_t n;
	int i;

	log_error("layer %d: no server has expert %d", f->layer,
	    f->id[f->homeless[0]]);
	for (i = 0; i < f->n_homeless; i++) {
		f->ans[f->homeless[i]] = NULL;
		f->rs[f->homeless[i]].done = true;
		f->dead[f->homeless[i] / (uint32_t)d->k] = true;
	}
	d->stat.given_up += (uint64_t)f->n_homeless;
	n = (uint32_t)f->n_homeless;
	f->n_homeless = 0;
	at_flight_settle(d, f, f->homeless, n);
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
retry(struct at_disp *d, uint64_t now_ns)
{
	struct at_flight *f = d->stalled, *next;
	int n;

	d->stalled = NULL;
	d->retry_ns = UINT64_MAX;
	for (; f != NULL; f = next) {
		next = f->next;
		n = f->n_homeless;
		if (now_ns - f->homeless_ns > d->o.stall_ns &&
		    now_ns > f->homeless_ns) {
			give_up(d, f);
			continue;
		}
		pick(d, f->homeless, (size_t)n);
		qsort(d->pick, (size_t)n, sizeof(*d->pick), by_number);
		f->n_homeless = 0;
		assign(d, f, d->pick, n, true);
		if (f->n_homeless == 0)
			f->homeless_ns = 0;
	}
}

/* ---- sending ---- */

void
at_disp_send(struct at_disp *d, struct at_flight *f)
{
	enum at_part was = at_prof_to(d->o.prof, AT_PART_DISPATCH);
	uint32_t n = 0, k = (uint32_t)d->k, row, j;
	int i;

	f->req_id = d->next_req++;
	f->homeless_ns = 0;
	f->d = d;
	for (i = 0; i < f->n_row; i++) {
		row = (uint32_t)(f->row != NULL ? f->row[i] : i);
		for (j = 0; j < k; j++) {
			f->ans[row * k + j] = NULL;
			f->rs[row * k + j] = (struct at_route){ f->req_id, 0,
			    f->dead[row] };
			if (!f->dead[row])
				f->homeless[n++] = row * k + j;
		}
		if (f->row != NULL)
			f->row_left[row] = d->k;
	}
	f->left = (int)n;
	f->n_homeless = 0;
	if (n > 0 && d->o.xeng != NULL) {
		at_local_send(d, f, n);
	} else if (n > 0) {
		pick(d, f->homeless, n);
		assign(d, f, d->pick, (int)n, false);
	}
	at_prof_to(d->o.prof, was);
}

/* ---- the engine's loop ---- */

/* A pick of the experts in this process: kernels, and the queues around them. */
static bool
step_local(struct at_disp *d, uint64_t now_ns)
{
	uint64_t busy = xeng_stats(d->o.xeng)->busy_ns, next;
	bool any = xeng_step(d->o.xeng, now_ns, &next);

	at_prof_to(d->o.prof, AT_PART_DISPATCH);	/* charge it */
	at_prof_move(d->o.prof, AT_PART_DISPATCH, AT_PART_EXPERTS,
	    xeng_stats(d->o.xeng)->busy_ns - busy);
	return any;
}

bool
at_disp_poll(struct at_disp *d, uint64_t now_ns)
{
	enum at_part was = at_prof_to(d->o.prof, AT_PART_DISPATCH);
	struct link_event ev;
	bool any = false;
	int i;

	while (link_next(d->o.port, &ev)) {
		struct at_server *s = link_user(ev.pair);

		any = true;
		if (s != NULL)
			at_server_event(s, &ev);
		else		/* the router's pair */
			at_map_event(d, &ev);
	}
	for (i = 0; i < d->n_server; i++)
		at_server_check(d->server[i], now_ns);
	if (d->stalled != NULL && now_ns >= d->retry_ns) {
		retry(d, now_ns);
		any = true;
	}
	at_map_tend(d, now_ns);
	if (d->o.xeng != NULL)
		any |= step_local(d, now_ns);
	at_prof_to(d->o.prof, was);
	return any;
}

void
at_disp_wait(struct at_disp *d, uint64_t until_ns)
{
	uint64_t due;
	int i;

	if (d->stalled != NULL && d->retry_ns < until_ns)
		until_ns = d->retry_ns;
	if (d->map_news && d->map_look_ns < until_ns)
		until_ns = d->map_look_ns;
	for (i = 0; i < d->n_server; i++) {
		due = at_server_due(d->server[i]);
		if (due < until_ns)
			until_ns = due;
	}
	link_wait(d->o.port, until_ns);
}

bool
at_disp_covered(struct at_disp *d, char why[200])
{
	const struct model_cfg *c = d->o.cfg;
	int l, e;

	if (d->o.xeng != NULL)
		return true;
	for (l = 0; l < c->n_layer; l++) {
		if (!c->layer[l].moe)
			continue;
		for (e = 0; e < c->n_expert; e++) {
			if (choose(d, l, e, NULL) >= 0)
				continue;
			snprintf(why, 200, "expert %d of layer %d is on no "
			    "server that answers", e, l);
			return false;
		}
	}
	return true;
}

void
at_disp_stat(const struct at_disp *d, struct at_disp_stat *out)
{
	const struct at_flight *f;
	int i;

	*out = d->stat;
	out->up = out->down = out->stalled = 0;
	for (f = d->stalled; f != NULL; f = f->next)
		out->stalled++;
	for (i = 0; i < d->n_server; i++)
		*(d->server[i]->up ? &out->up : &out->down) += 1;
}
