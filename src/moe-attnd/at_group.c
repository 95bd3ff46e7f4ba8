/* at_group - see at_group.h. */
#include "at_group.h"

#include <string.h>

#include "clock.h"
#include "mem.h"

void
at_core_attn(struct at_core *c, int layer, struct at_rows *r)
{
	int b = 0;

	while (b < AT_PASS_BUCKETS - 1 && r->n > 1 << b)
		b++;
	c->passes++;
	c->pass_rows += (uint64_t)r->n;
	c->pass_bucket[b]++;
	at_model_attn(c->am, c->kv, layer, r);
}

/* Fail the sequence that row belongs to; its rows leave the routing. */
static void
fail_row(struct at_core *c, struct at_group *g, int row, int status,
    const char *why)
{
	struct at_seq_state *st;
	int i;

	for (st = c->sched->running.first; st != NULL; st = st->next) {
		if (st->group != g->index || st->m == 0 || row < st->row0 ||
		    row >= st->row0 + st->m)
			continue;
		for (i = st->row0; i < st->row0 + st->m; i++)
			g->flight.dead[i] = true;
		at_seq_fail(st, status, why);
		return;
	}
	BUG("row %d is nobody's", row);
}

/* Rows that lost a route take the rest of their sequence with them. */
static void
spread_death(struct at_core *c, struct at_group *g)
{
	int i;

	for (i = 0; i < g->rows.n; i++)
		if (g->flight.dead[i])
			fail_row(c, g, i, 503, AT_NO_SERVER);
}

/* Gate, without the rows whose logits are NaN. */
static void
route(struct at_core *c, struct at_group *g)
{
	struct at_rows *r = &g->rows;
	int bad, i;

	while (at_model_route(c->am, g->layer, r, &bad) != 0) {
		fail_row(c, g, bad, 500, "the model's router gave NaN");
		for (i = 0; i < r->n; i++)
			if (g->flight.dead[i])
				memset((char *)r->xn + (size_t)i *
				    kern_dtype_bytes(kern_act(c->kn),
				    (size_t)c->cfg->hidden), 0,
				    kern_dtype_bytes(kern_act(c->kn),
				    (size_t)c->cfg->hidden));
	}
}

static void
dispatch(struct at_core *c, struct at_group *g)
{
	struct at_flight *f = &g->flight;

	route(c, g);
	f->layer = g->layer;
	f->n_row = g->rows.n;
	f->xn = g->rows.xn;
	f->id = g->rows.id;
	f->w = g->rows.w;
	at_disp_send(c->disp, f);
	g->away = true;
	g->away_ns = clock_ns();
	/* While the rows are away. */
	at_model_shared(c->am, g->layer, &g->rows);
}

static bool
start(struct at_core *c, struct at_group *g)
{
	if (!at_sched_form(c->sched, g->index, &g->rows, c->am))
		return false;
	at_flight_room(&g->flight, c->disp, g->rows.n);
	memset(g->flight.dead, 0, (size_t)g->rows.n * sizeof(*g->flight.dead));
	g->active = true;
	g->layer = 0;
	c->steps++;
	c->step_rows += (uint64_t)g->rows.n;
	at_model_embed(c->am, &g->rows);
	return true;
}

static void
finish(struct at_core *c, struct at_group *g)
{
	struct at_seq_state *st;
	int n = 0;

	mem_grow((void **)&g->done, &g->cap_done, (size_t)g->rows.n_seq,
	    sizeof(struct at_seq_state *));
	for (st = c->sched->running.first; st != NULL; st = st->next)
		if (st->group == g->index && st->m > 0)
			g->done[n++] = st;
	g->active = false;
	c->finish(c->arg, &g->rows, g->done, n);
}

bool
at_group_advance(struct at_core *c, struct at_group *g)
{
	if (g->away) {
		if (g->flight.left > 0)
			return false;
		g->away = false;
		c->wait_ns += clock_ns() - g->away_ns;
		spread_death(c, g);
		at_model_combine(c->am, &g->rows, g->flight.ans);
		g->layer++;
	} else if (!g->active && !start(c, g)) {
		return false;
	}
	for (; g->layer < c->cfg->n_layer; g->layer++) {
		at_core_attn(c, g->layer, &g->rows);
		if (c->cfg->layer[g->layer].moe) {
			dispatch(c, g);
			return true;
		}
		at_model_dense(c->am, g->layer, &g->rows);
	}
	finish(c, g);
	return true;
}

void
at_group_free(struct at_group *g)
{
	at_rows_free(&g->rows);
	at_flight_free(&g->flight);
	mem_free(g->done);
	memset(g, 0, sizeof(*g));
}
