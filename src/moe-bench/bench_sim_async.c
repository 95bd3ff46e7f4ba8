/*
 * bench_sim_async - attention devices and expert servers that never meet.
 *
 * An attention device runs one batch at a time: a group (all its rows have
 * their answers), or with SIM_FREE whatever the policy picks of its queues by
 * layer.  Rows then go to expert servers, a message to each, and a server's
 * answers go back likewise.  A message occupies its sender's way out and its
 * receiver's way in for its bytes (so many to one queue up), and takes
 * link_us.  With colocate both parts take turns on one device, and a message to
 * itself costs nothing.
 *
 * What moves as one is a unit: the row of a sequence, or a chunk of its prompt.
 * A chunk enters a layer when the attention of the chunk before it has left it.
 */
#include <math.h>
#include <string.h>

#include "bench_sim.h"
#include "bench_sim_event.h"
#include "mem.h"

#define BF16	2.0

struct way {			/* in and out of a device, free from then on */
	double out_us, in_us;
};

struct node {			/* a device, or its part */
	bool *busy, own_busy;
	double wake_us;		/* < 0: no wake is under way */
	struct sim_queues *q;	/* experts; free attention */
	VEC(int) ready;		/* groups that can go on, in order */
	size_t ready_at;
	VEC(struct sim_route) run;	/* rows of the batch under way */
	int run_layer;
	int prompt_rows;	/* under way */
	struct way *way, own_way;
};

struct group {
	VEC(int) seq, join;	/* join: at its next layer 0 */
	int pending, layer;
	bool idle;
};

struct async {
	struct sim *s;
	struct sim_events ev;
	struct node *attn, *expert;
	struct group *group;	/* [attention device][group]; not SIM_FREE */
	VEC(struct sim_route) *out;	/* by destination, while sending */
	int *mark;		/* [device][expert] of out, + 1; chunks */
};

static void start(struct async *a, int dev, bool expert);

static struct group *
group_of(struct async *a, const struct sim_seq *q)
{
	return &a->group[q->dev * a->s->o.groups + q->group];
}

/* ---- links ---------------------------------------------------------------- */

static double
arrival(struct async *a, struct way *from, struct way *to, int rows)
{
	struct sim *s = a->s;
	double us = 1e6 * rows * s->o.shape.hidden * BF16 /
	    s->o.dev.link_byte_s;

	if (from == to)
		return s->now_us;
	from->out_us = fmax(s->now_us, from->out_us) + us;
	s->n_message++;
	s->way_us += fmax(0, to->in_us + us - from->out_us);
	to->in_us = fmax(from->out_us, to->in_us + us);
	return to->in_us + s->o.dev.link_us;
}

/* Send what is in a->out[0..n). */
static void
send_out(struct async *a, struct node *from, struct node *to, int n,
    enum sim_kind kind, int layer)
{
	struct sim_event e = { .kind = kind, .layer = layer };
	int d, i, rows;

	for (d = 0; d < n; d++) {
		if (a->out[d].n == 0)
			continue;
		e.dev = d;
		e.n = (int)a->out[d].n;
		e.r = mem_dup(a->out[d].p, a->out[d].n * sizeof(*e.r));
		for (i = rows = 0; i < e.n; i++)
			rows += e.r[i].n;
		e.at_us = arrival(a, from->way, to[d].way, rows);
		a->out[d].n = 0;
		sim_events_put(&a->ev, e);
	}
}

/* ---- what attention may run ----------------------------------------------- */

static void
unit_goes(struct async *a, int i, int layer)
{
	struct sim_seq *q = &a->s->seq.p[i];
	struct group *g;

	q->waits = q->may <= layer;
	if (q->waits)
		return;
	if (a->group == NULL) {
		sim_queues_add(a->attn[q->dev].q, layer, 0,
		    (struct sim_route){ i, 0, q->rows }, 0, a->s->now_us);
		return;
	}
	g = group_of(a, q);
	if (--g->pending == 0) {
		g->layer = layer;
		VEC_PUSH(&a->attn[q->dev].ready, q->group);
	}
}

/* Chunks of prompts, as many as may be under way. */
static void
admit(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	int c;

	while ((n->prompt_rows == 0 ||
	    n->prompt_rows + a->s->o.chunk <= a->s->o.prompt_rows) &&
	    (c = sim_cut(a->s, dev)) >= 0) {
		n->prompt_rows += a->s->seq.p[c].rows;
		unit_goes(a, c, 0);
	}
}

/* A chunk has left the last layer. */
static void
chunk_done(struct async *a, int i)
{
	struct sim_seq *q = &a->s->seq.p[i];
	int dev = q->dev;

	a->attn[dev].prompt_rows -= q->rows;
	if (q->chunk) {
		if (a->s->seq.p[q->next].cut == i)
			a->s->seq.p[q->next].cut = -1;
		sim_drop(a->s, i);
	} else {
		q->computes = false;
		q->ctx += q->rows;
		q->rows = 1;
		unit_goes(a, i, 0);
	}
	admit(a, dev);
}

/* All answers of a unit are in. */
static void
unit_ready(struct async *a, int i)
{
	struct sim_seq *q = &a->s->seq.p[i];
	int layer = (q->layer + 1) % a->s->o.shape.n_layer;

	if (layer == 0 && (q->chunk || q->computes))
		chunk_done(a, i);
	else
		unit_goes(a, i, layer);
}

/* The attention of a unit at a layer is done: what follows it may enter. */
static void
let_follow(struct async *a, const struct sim_seq *q)
{
	struct sim_seq *next;

	if (q->next < 0)
		return;
	next = &a->s->seq.p[q->next];
	next->may = q->layer + 1;
	if (next->waits)
		unit_goes(a, q->next, (next->layer + 1) %
		    a->s->o.shape.n_layer);
}

/* ---- attention ------------------------------------------------------------ */

static void
take_group(struct async *a, struct node *n, struct group *g)
{
	size_t i;

	if (g->layer == 0) {
		for (i = 0; i < g->join.n; i++)
			VEC_PUSH(&g->seq, g->join.p[i]);
		g->join.n = 0;
	}
	for (i = 0; i < g->seq.n; i++)
		VEC_PUSH(&n->run, ((struct sim_route){ g->seq.p[i], 0,
		    a->s->seq.p[g->seq.p[i]].rows }));
	n->run_layer = g->layer;
}

/* Rows of the batch that starts: the next group that is ready, or a pick. */
static bool
next_batch(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	struct sim_taken t;
	double next;
	int i;

	n->run.n = 0;
	if (n->q != NULL) {
		if (!sim_queues_take(n->q, a->s->now_us, &t, &next))
			return false;
		for (i = 0; i < t.n; i++)
			VEC_PUSH(&n->run, t.route[i]);
		n->run_layer = t.layer;
		return true;
	}
	if (n->ready_at == n->ready.n)
		return false;
	take_group(a, n, &a->group[dev * a->s->o.groups +
	    n->ready.p[n->ready_at++]]);
	if (n->ready_at == n->ready.n)
		n->ready.n = n->ready_at = 0;
	return n->run.n > 0;
}

static bool
start_attn(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	struct sim *s = a->s;
	const struct sim_seq *q;
	double ctx = 0, keys = 0, us;
	int rows = 0, heads = 0;
	size_t i;

	if (!next_batch(a, dev))
		return false;
	for (i = 0; i < n->run.n; i++) {
		q = &s->seq.p[n->run.p[i].seq];
		sim_context(q, &ctx, &keys);
		rows += q->rows;
		heads += n->run_layer == 0 && !q->fresh;
	}
	us = emu_step_us(&s->o.dev, &s->o.shape, rows, ctx, keys) +
	    sim_head_us(s, heads);
	*n->busy = true;
	s->attn_busy_us += us;
	sim_events_put(&a->ev, (struct sim_event){ .at_us = s->now_us + us,
	    .kind = SIM_EV_ATTN, .dev = dev });
	return true;
}

/* Rows of a unit at its layer, into a->out; a chunk's rows for the same expert
 * travel as one. */
static void
route(struct async *a, int i)
{
	struct sim *s = a->s;
	struct sim_seq *q = &s->seq.p[i];
	int k = s->o.shape.top_k, n = s->o.shape.n_expert, r, j, d, *mark;
	int32_t ids[SIM_MAX_K];

	q->pending = 0;
	if (q->rows > 1)
		memset(a->mark, 0, (size_t)(s->o.experts * n) *
		    sizeof(*a->mark));
	for (r = 0; r < q->rows; r++) {
		sim_experts(s, q, q->ctx + r, q->layer, ids);
		for (j = 0; j < k; j++) {
			d = sim_place(s, q, q->ctx + r, q->layer, ids[j]);
			mark = &a->mark[d * n + ids[j]];
			if (q->rows > 1 && *mark > 0) {
				a->out[d].p[*mark - 1].n++;
				continue;
			}
			VEC_PUSH(&a->out[d], ((struct sim_route){ i, ids[j],
			    1 }));
			*mark = (int)a->out[d].n;
			q->pending++;
		}
	}
}

/* A group loses those that have ended. */
static void
keep_group(struct async *a, struct group *g, int dev, int no)
{
	size_t i, n = 0;

	for (i = 0; i < g->seq.n; i++)
		if (!a->s->seq.p[g->seq.p[i]].dead)
			g->seq.p[n++] = g->seq.p[i];
	g->seq.n = n;
	g->pending = (int)n;
	g->idle = n == 0 && g->join.n == 0;
	if (n == 0 && g->join.n > 0)
		VEC_PUSH(&a->attn[dev].ready, no);
}

/* Layer 0 begins with the logits of the pass before: a token is there. */
static void
attn_done(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	struct sim *s = a->s;
	int no = s->seq.p[n->run.p[0].seq].group, u;
	struct sim_seq *q;
	size_t i;

	*n->busy = false;
	for (i = 0; i < n->run.n; i++) {
		u = n->run.p[i].seq;
		q = &s->seq.p[u];
		if (n->run_layer == 0 && !q->fresh && !sim_token(s, u))
			continue;
		q->fresh = false;
		q->layer = n->run_layer;
		route(a, u);
		let_follow(a, q);
	}
	if (n->q == NULL)
		keep_group(a, &a->group[dev * s->o.groups + no], dev, no);
	send_out(a, n, a->expert, s->o.experts, SIM_EV_TO_EXPERT,
	    n->run_layer);
	start(a, dev, s->o.colocate);
}

static void
request(struct async *a)
{
	struct sim *s = a->s;
	int i = sim_arrive(s), dev = s->seq.p[i].dev;
	struct group *g;

	if (s->o.prompts) {
		admit(a, dev);
	} else if (a->group == NULL) {
		unit_goes(a, i, 0);
	} else {
		g = group_of(a, &s->seq.p[i]);
		VEC_PUSH(&g->join, i);
		if (g->idle) {
			g->idle = false;
			g->layer = 0;
			VEC_PUSH(&a->attn[dev].ready, s->seq.p[i].group);
		}
	}
	sim_events_put(&a->ev, (struct sim_event){ .at_us = sim_next_us(s),
	    .kind = SIM_EV_REQUEST });
	start(a, dev, false);
}

/* ---- experts -------------------------------------------------------------- */

/* Attention devices that have anything to do. */
static int
clients(const struct sim *s)
{
	int d, n = 0;

	for (d = 0; d < s->o.attn; d++)
		n += s->load[d] > 0;
	return n;
}

static bool
start_expert(struct async *a, int dev)
{
	struct node *n = &a->expert[dev];
	struct sim *s = a->s;
	struct sim_taken t;
	double us, next;
	int i;

	sim_queues_clients(n->q, clients(s));
	if (!sim_queues_take(n->q, s->now_us, &t, &next)) {
		if (next >= 0 && (n->wake_us < 0 || next < n->wake_us)) {
			n->wake_us = next;
			sim_events_put(&a->ev, (struct sim_event){
			    .at_us = next, .kind = SIM_EV_WAKE, .dev = dev });
		}
		return false;
	}
	us = emu_ffn_us(&s->o.dev, s->o.shape.hidden, s->o.shape.inter,
	    t.n_of, t.n_queue);
	n->run.n = 0;
	for (i = 0; i < t.n; i++)
		VEC_PUSH(&n->run, t.route[i]);
	n->run_layer = t.layer;
	*n->busy = true;
	s->expert_busy_us += us;
	if (s->on)
		hist_add(&s->rows, (uint64_t)t.rows);
	sim_events_put(&a->ev, (struct sim_event){ .at_us = s->now_us + us,
	    .kind = SIM_EV_EXPERT, .dev = dev });
	return true;
}

static void
expert_done(struct async *a, int dev)
{
	struct node *n = &a->expert[dev];
	size_t i;

	*n->busy = false;
	for (i = 0; i < n->run.n; i++)
		VEC_PUSH(&a->out[a->s->seq.p[n->run.p[i].seq].dev],
		    n->run.p[i]);
	send_out(a, n, a->attn, a->s->o.attn, SIM_EV_TO_ATTN, n->run_layer);
	start(a, dev, !a->s->o.colocate);
}

/* A part of a device may have something to run now; where both parts share it,
 * the other one is asked next. */
static void
start(struct async *a, int dev, bool expert)
{
	bool both = a->s->o.colocate;

	if (expert && !*a->expert[dev].busy)
		(void)(start_expert(a, dev) || (both && start_attn(a, dev)));
	else if (!expert && !*a->attn[dev].busy)
		(void)(start_attn(a, dev) || (both && start_expert(a, dev)));
}

/* ---- the loop ------------------------------------------------------------- */

static void
handle(struct async *a, struct sim_event *e)
{
	struct sim *s = a->s;
	int i;

	switch (e->kind) {
	case SIM_EV_ATTN:
		attn_done(a, e->dev);
		break;
	case SIM_EV_EXPERT:
		expert_done(a, e->dev);
		break;
	case SIM_EV_TO_EXPERT:
		for (i = 0; i < e->n; i++)
			sim_queues_add(a->expert[e->dev].q, e->layer,
			    e->r[i].expert, e->r[i],
			    s->seq.p[e->r[i].seq].dev, s->now_us);
		start(a, e->dev, true);
		break;
	case SIM_EV_TO_ATTN:
		for (i = 0; i < e->n; i++)
			if (--s->seq.p[e->r[i].seq].pending == 0)
				unit_ready(a, e->r[i].seq);
		start(a, e->dev, false);
		break;
	case SIM_EV_WAKE:
		if (a->expert[e->dev].wake_us <= e->at_us)
			a->expert[e->dev].wake_us = -1;
		start(a, e->dev, true);
		break;
	case SIM_EV_REQUEST:
		request(a);
		break;
	}
	mem_free(e->r);
}

static void
open_node(struct node *n, struct sim_queues *q)
{
	n->q = q;
	n->wake_us = -1;
	n->busy = &n->own_busy;
	n->way = &n->own_way;
}

static void
open_nodes(struct async *a)
{
	const struct sim_opt *o = &a->s->o;
	int i, n = o->attn > o->experts ? o->attn : o->experts;

	a->attn = mem_calloc((size_t)o->attn, sizeof(*a->attn));
	a->expert = mem_calloc((size_t)o->experts, sizeof(*a->expert));
	a->out = mem_calloc((size_t)n, sizeof(*a->out));
	a->mark = mem_calloc((size_t)(o->experts * o->shape.n_expert),
	    sizeof(*a->mark));
	for (i = 0; i < o->attn; i++)
		open_node(&a->attn[i], o->groups != SIM_FREE ? NULL :
		    sim_queues_open(o, o->attn_policy, o->shape.n_layer, 1,
		    1));
	for (i = 0; i < o->experts; i++) {
		open_node(&a->expert[i], sim_queues_open(o, o->policy,
		    o->shape.n_layer, o->shape.n_expert, o->attn));
		if (o->colocate) {
			a->expert[i].busy = a->attn[i].busy;
			a->expert[i].way = a->attn[i].way;
		}
	}
	if (o->groups != SIM_FREE)
		a->group = mem_calloc((size_t)(o->attn * o->groups),
		    sizeof(*a->group));
}

/* Everybody stands before layer 0; groups an equal part of a pass apart would
 * come about by themselves. */
static void
begin(struct async *a)
{
	struct sim *s = a->s;
	struct group *g;
	int i;

	for (i = 0; a->group != NULL && i < s->o.attn * s->o.groups; i++)
		a->group[i].idle = true;
	for (i = 0; a->group != NULL && i < s->o.running; i++) {
		g = group_of(a, &s->seq.p[i]);
		VEC_PUSH(&g->seq, i);
		g->pending++;
		g->idle = false;
	}
	for (i = 0; i < s->o.running; i++)
		unit_goes(a, i, 0);
	for (i = 0; i < s->o.attn; i++)
		start(a, i, false);
	if (s->o.rate > 0)
		sim_events_put(&a->ev, (struct sim_event){
		    .at_us = sim_next_us(s), .kind = SIM_EV_REQUEST });
}

static void
close_nodes(struct node *node, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		if (node[i].q != NULL)
			sim_queues_close(node[i].q);
		VEC_FREE(&node[i].ready);
		VEC_FREE(&node[i].run);
	}
	mem_free(node);
}

static void
close_all(struct async *a)
{
	const struct sim_opt *o = &a->s->o;
	int i, n = o->attn > o->experts ? o->attn : o->experts;

	close_nodes(a->attn, o->attn);
	close_nodes(a->expert, o->experts);
	for (i = 0; a->group != NULL && i < o->attn * o->groups; i++) {
		VEC_FREE(&a->group[i].seq);
		VEC_FREE(&a->group[i].join);
	}
	for (i = 0; i < n; i++)
		VEC_FREE(&a->out[i]);
	sim_events_free(&a->ev);
	mem_free(a->group);
	mem_free(a->out);
	mem_free(a->mark);
}

void
sim_async(struct sim *s)
{
	struct async a = { .s = s };
	struct sim_event e;

	open_nodes(&a);
	begin(&a);
	while (!sim_over(s) && a.ev.heap.n > 0) {
		e = sim_events_take(&a.ev);
		s->now_us = e.at_us;
		sim_place_tick(s);
		handle(&a, &e);
	}
	close_all(&a);
}
