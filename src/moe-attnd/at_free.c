/* at_free - see at_free.h. */
#include "at_free.h"

#include <string.h>

#include "clock.h"
#include "mem.h"

/* ---- units in their sequence ---- */

/* u waits for attention, or for the unit before it to have passed its stage. */
static void
enter(struct at_free *f, struct at_unit *u, uint64_t now_ns)
{
	if (u->before == NULL || u->before->stage > u->stage)
		at_queue_add(&f->queue, u, now_ns);
	else
		u->state = AT_UNIT_HELD;
}

/* The unit before u has gone on. */
static void
follow(struct at_free *f, struct at_unit *u, uint64_t now_ns)
{
	if (u != NULL && u->state == AT_UNIT_HELD)
		enter(f, u, now_ns);
}

static void
form_unit(struct at_free *f, struct at_seq_state *st, int m, bool prompt)
{
	struct at_unit *u = at_pool_take(&f->pool, st, st->n_sent, m);

	at_kv_grow(f->c->kv, &st->kv, st->n_sent + m);
	st->n_sent += m;
	u->prompt = prompt;
	f->n_prompt += prompt ? m : 0;
	u->before = st->unit;
	if (u->before != NULL)
		u->before->after = u;
	st->unit = u;
	f->n_seq += st->n_unit++ == 0;
	enter(f, u, clock_ns());
}

/* u is out of its sequence, its slots are free. */
static void
leave(struct at_free *f, struct at_unit *u)
{
	struct at_seq_state *st = u->st;
	struct at_unit *after = u->after;

	if (u->before != NULL)
		u->before->after = after;
	if (after != NULL)
		after->before = u->before;
	else
		st->unit = u->before;
	f->n_seq -= --st->n_unit == 0;
	f->n_prompt -= u->prompt ? u->m : 0;
	f->formed = false;
	at_pool_give(&f->pool, u);
	follow(f, after, clock_ns());
}

/* u's sequence has failed or was cancelled: nobody wants its rows. */
static void
drop(struct at_free *f, struct at_unit *u)
{
	struct at_seq_state *st = u->st;

	leave(f, u);
	if (st->n_unit == 0)
		f->c->finish(f->c->arg, NULL, &st, 1);
}

/* ---- forming ---- */

/* Rows to decode first, then chunks of prompts in turn. */
static void
form(struct at_free *f)
{
	struct at_sched *sc = f->c->sched;
	struct at_seq_state *st;
	int room, m;

	if (f->formed)
		return;
	f->formed = true;
	for (st = sc->running.first; st != NULL; st = st->next)
		if (at_seq_left(st) == 1 && f->pool.n_free > 0)
			form_unit(f, st, 1, false);
	for (;;) {
		room = sc->o.prompt_rows - f->n_prompt;
		if (room > f->pool.n_free)
			room = f->pool.n_free;
		st = at_sched_next(sc, room, &m);
		if (st == NULL)
			return;
		form_unit(f, st, m, true);
	}
}

void
at_free_news(struct at_free *f)
{
	f->formed = false;
}

/* ---- away and back ---- */

static void
row_in(struct at_flight *flight, int row)
{
	struct at_free *f = flight->user;
	struct at_unit *u = f->pool.owner[row];
	uint64_t now;

	if (--u->out > 0)
		return;
	now = clock_ns();
	f->c->wait_ns += now - u->since_ns;
	enter(f, u, now);
}

static struct at_pass *
new_pass(struct at_free *f, int n)
{
	struct at_pass **at = &f->away, *p;

	while ((p = *at) != NULL) {
		if (p->flight.left > 0) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		p->next = f->spare;
		f->spare = p;
	}
	p = f->spare;
	if (p == NULL)
		p = mem_zalloc(sizeof(*p));
	else
		f->spare = p->next;
	p->next = f->away;
	f->away = p;
	mem_grow((void **)&p->row, &p->cap, (size_t)n, sizeof(*p->row));
	at_flight_lend(&p->flight, &f->pool.all, f->c->disp, n);
	return p;
}

/* Gate.  A sequence with a row whose logits are NaN fails. */
static void
route(struct at_free *f, int layer, struct at_unit *list)
{
	struct at_rows *r = &f->rows;
	struct at_unit *u;
	int bad, row0;

	while (at_model_route(f->c->am, layer, r, &bad) != 0) {
		for (u = list, row0 = 0; bad >= row0 + u->m; u = u->next)
			row0 += u->m;
		at_seq_fail(u->st, 500, "the model's router gave NaN");
		memset((char *)r->xn + (size_t)row0 * f->pool.row_bytes, 0,
		    (size_t)u->m * f->pool.row_bytes);
	}
}

static void
send_away(struct at_free *f, int layer, struct at_unit *list)
{
	struct at_pool *pool = &f->pool;
	struct at_pass *p = new_pass(f, f->rows.n);
	struct at_flight *a = &p->flight;
	uint64_t now = clock_ns();
	struct at_unit *u;
	int32_t slot;
	int row0 = 0, n = 0, i;

	for (u = list; u != NULL; row0 += u->m, u = u->next) {
		if (u->st->failed)
			continue;
		at_pool_scatter(pool, u, &f->rows, row0);
		for (i = 0, slot = u->first; i < u->m; i++) {
			p->row[n++] = slot;
			slot = pool->next[slot];
		}
		u->out = u->m;
		u->state = AT_UNIT_AWAY;
		u->stage++;
		u->since_ns = now;
	}
	a->layer = layer;
	a->n_row = n;
	a->xn = pool->xn;
	a->id = pool->id;
	a->w = pool->w;
	a->row = p->row;
	a->row_left = pool->row_left;
	a->row_in = row_in;
	a->user = f;
	at_disp_send(f->c->disp, a);
}

static void
dispatch(struct at_free *f, int layer, struct at_unit *list)
{
	struct at_unit *u, *next;
	uint64_t now;
	int row0 = 0;

	route(f, layer, list);
	send_away(f, layer, list);
	/* While the rows are away. */
	at_model_shared(f->c->am, layer, &f->rows);
	now = clock_ns();
	for (u = list; u != NULL; u = next) {
		next = u->next;
		if (f->c->cfg->shared != CONFIG_SHARED_NONE)
			at_pool_shared(&f->pool, u, &f->rows, row0);
		row0 += u->m;
		if (u->st->failed)
			drop(f, u);
		else
			follow(f, u->after, now);
	}
}

/* ---- a pass ---- */

/* All layers are done. */
static void
finish(struct at_free *f, struct at_unit *list)
{
	struct at_seq_state *st;
	struct at_unit *u, *next;
	int row0 = 0, n = 0;

	for (u = list; u != NULL; u = next) {
		next = u->next;
		st = u->st;
		BUG_ON(st->n_computed != u->pos0);
		st->row0 = row0;
		st->m = u->m;
		row0 += u->m;
		f->done[n++] = st;
		leave(f, u);
	}
	f->c->finish(f->c->arg, &f->rows, f->done, n);
}

/* Units of a stage that still make sense. */
static struct at_unit *
take(struct at_free *f, int stage, int *n, int *n_seq)
{
	struct at_unit *list = NULL, **tail = &list, *u, *next;

	*n = *n_seq = 0;
	for (u = at_queue_take(&f->queue, stage); u != NULL; u = next) {
		next = u->next;
		if (at_pool_dead(&f->pool, u))
			at_seq_fail(u->st, 503, AT_NO_SERVER);
		if (u->st->failed || u->st->cancelled) {
			drop(f, u);
			continue;
		}
		u->state = AT_UNIT_RUN;
		*tail = u;
		tail = &u->next;
		*n += u->m;
		++*n_seq;
	}
	*tail = NULL;
	return list;
}

static void
gather(struct at_free *f, int stage, const struct at_unit *list, int n,
    int n_seq)
{
	struct at_core *c = f->c;
	const struct at_unit *u;

	at_rows_room(&f->rows, c->am, n, n_seq);
	f->rows.n = f->rows.n_seq = 0;
	for (u = list; u != NULL; u = u->next)
		at_pool_gather(&f->pool, u, stage == 0, &f->rows);
	if (stage > 0) {
		at_model_angles(c->am, &f->rows);
		at_model_combine(c->am, &f->rows, f->pool.ans);
		return;
	}
	c->steps++;
	c->step_rows += (uint64_t)n;
	at_model_embed(c->am, &f->rows);
}

static void
run(struct at_free *f, int stage)
{
	struct at_core *c = f->c;
	int n, n_seq, layer;
	struct at_unit *list = take(f, stage, &n, &n_seq);

	if (list == NULL)
		return;
	gather(f, stage, list, n, n_seq);
	for (layer = f->first[stage]; layer < c->cfg->n_layer; layer++) {
		at_core_attn(c, layer, &f->rows);
		if (c->cfg->layer[layer].moe) {
			dispatch(f, layer, list);
			return;
		}
		at_model_dense(c->am, layer, &f->rows);
	}
	finish(f, list);
}

bool
at_free_advance(struct at_free *f)
{
	int stage;

	form(f);
	stage = at_queue_pick(&f->queue, clock_ns(), (uint32_t)f->n_seq,
	    &f->next_ns);
	if (stage < 0)
		return false;
	run(f, stage);
	return true;
}

/* ---- opening and closing ---- */

void
at_free_open(struct at_free *f, struct at_core *c,
    const struct at_queue_opt *o, int n_row)
{
	const struct model_cfg *cfg = c->cfg;
	int l, n = 0;

	memset(f, 0, sizeof(*f));
	f->c = c;
	f->next_ns = UINT64_MAX;
	f->first = mem_calloc((size_t)cfg->n_layer + 1, sizeof(*f->first));
	for (l = 0; l < cfg->n_layer; l++)
		if (cfg->layer[l].moe)
			f->first[++n] = l + 1;
	at_queue_open(&f->queue, o, n + 1);
	at_pool_open(&f->pool, cfg, kern_act(c->kn), c->disp, n_row);
	f->done = mem_calloc((size_t)n_row, sizeof(struct at_seq_state *));
}

static void
free_passes(struct at_pass *p)
{
	struct at_pass *next;

	for (; p != NULL; p = next) {
		next = p->next;
		at_flight_free(&p->flight);
		mem_free(p->row);
		mem_free(p);
	}
}

void
at_free_close(struct at_free *f)
{
	free_passes(f->away);
	free_passes(f->spare);
	at_rows_free(&f->rows);
	at_queue_close(&f->queue);
	if (f->c != NULL)
		at_pool_close(&f->pool);
	mem_free(f->first);
	mem_free(f->done);
	memset(f, 0, sizeof(*f));
}
