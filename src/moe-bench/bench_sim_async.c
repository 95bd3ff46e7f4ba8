/*
 * bench_sim_async - attention devices and expert servers that never meet.
 *
 * An attention device runs one batch at a time: a group (all its rows have
 * their answers), or with SIM_FREE whatever the policy picks of its queues by
 * layer.  Rows then go to expert servers, a message to each, and a server's
 * answers go back likewise.  A message occupies its sender's way out and its
 * receiver's way in for its bytes (so many to one queue up), and takes
 * link_us.
 */
#include <math.h>
#include <string.h>

#include "bench_sim.h"
#include "mem.h"

#define BF16	2.0

enum kind { EV_ATTN, EV_EXPERT, EV_TO_EXPERT, EV_TO_ATTN, EV_WAKE };

struct event {
	double at_us;
	uint64_t no;		/* equal times: in order of making */
	enum kind kind;
	int dev, layer;
	struct sim_route *r;	/* messages; owned */
	int n;
};

struct way {			/* in and out of a device, free from then on */
	double out_us, in_us;
};

struct node {			/* a device */
	bool busy;
	double wake_us;		/* < 0: no wake is under way */
	struct sim_queues *q;	/* experts; free attention */
	VEC(int) ready;		/* groups that can go on, in order */
	size_t ready_at;
	VEC(struct sim_route) run;	/* rows of the batch under way */
	int run_layer;
	struct way way;
};

struct group {
	VEC(int) seq;
	int pending, layer;
};

struct async {
	struct sim *s;
	VEC(struct event) heap;
	uint64_t n_event;
	struct node *attn, *expert;
	struct group *group;	/* [attention device][group]; not SIM_FREE */
	VEC(struct sim_route) *out;	/* by destination, while sending */
};

/* ---- events --------------------------------------------------------------- */

static bool
earlier(const struct event *a, const struct event *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->no < b->no);
}

static void
push(struct async *a, struct event e)
{
	size_t i, up;
	struct event t;

	e.no = a->n_event++;
	VEC_PUSH(&a->heap, e);
	for (i = a->heap.n - 1; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!earlier(&a->heap.p[i], &a->heap.p[up]))
			break;
		t = a->heap.p[i];
		a->heap.p[i] = a->heap.p[up];
		a->heap.p[up] = t;
	}
}

static struct event
pop(struct async *a)
{
	struct event first = a->heap.p[0], t;
	size_t i = 0, c;

	a->heap.p[0] = a->heap.p[--a->heap.n];
	for (; (c = 2 * i + 1) < a->heap.n; i = c) {
		if (c + 1 < a->heap.n &&
		    earlier(&a->heap.p[c + 1], &a->heap.p[c]))
			c++;
		if (!earlier(&a->heap.p[c], &a->heap.p[i]))
			break;
		t = a->heap.p[i];
		a->heap.p[i] = a->heap.p[c];
		a->heap.p[c] = t;
	}
	return first;
}

/* ---- links ---------------------------------------------------------------- */

static double
arrival(struct async *a, struct way *from, struct way *to, int rows)
{
	const struct sim_opt *o = &a->s->o;
	double us = 1e6 * rows * o->shape.hidden * BF16 / o->dev.link_byte_s;

	from->out_us = fmax(a->s->now_us, from->out_us) + us;
	to->in_us = fmax(from->out_us, to->in_us + us);
	return to->in_us + o->dev.link_us;
}

/* Send what is in a->out[0..n). */
static void
send_out(struct async *a, struct node *from, struct node *to, int n,
    enum kind kind, int layer)
{
	struct event e = { .kind = kind, .layer = layer };
	int d;

	for (d = 0; d < n; d++) {
		if (a->out[d].n == 0)
			continue;
		e.dev = d;
		e.n = (int)a->out[d].n;
		e.r = mem_dup(a->out[d].p, a->out[d].n * sizeof(*e.r));
		e.at_us = arrival(a, &from->way, &to[d].way, e.n);
		a->out[d].n = 0;
		push(a, e);
	}
}

/* ---- attention ------------------------------------------------------------ */

/* Rows of the batch that starts: the next group that is ready, or a pick. */
static bool
next_batch(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	struct sim_taken t;
	struct group *g;
	double next;
	size_t i;

	n->run.n = 0;
	if (n->q != NULL) {
		if (!sim_queues_take(n->q, a->s->now_us, &t, &next))
			return false;
		for (i = 0; i < (size_t)t.n; i++)
			VEC_PUSH(&n->run, t.row[i]);
		n->run_layer = t.layer;
		return true;
	}
	if (n->ready_at == n->ready.n)
		return false;
	g = &a->group[dev * a->s->o.groups + n->ready.p[n->ready_at++]];
	if (n->ready_at == n->ready.n)
		n->ready.n = n->ready_at = 0;
	for (i = 0; i < g->seq.n; i++)
		VEC_PUSH(&n->run, ((struct sim_route){ g->seq.p[i], 0 }));
	n->run_layer = g->layer;
	return n->run.n > 0;
}

static void
start_attn(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	struct sim *s = a->s;
	double ctx = 0, us;
	size_t i;

	if (n->busy || !next_batch(a, dev))
		return;
	for (i = 0; i < n->run.n; i++)
		ctx += s->seq[n->run.p[i].seq].ctx;
	us = emu_step_us(&s->o.dev, &s->o.shape, (int)n->run.n, ctx);
	if (n->run_layer == 0)
		us += sim_head_us(s, (int)n->run.n);
	n->busy = true;
	s->attn_busy_us += us;
	push(a, (struct event){ .at_us = s->now_us + us, .kind = EV_ATTN,
	    .dev = dev });
}

/* Layer 0 begins with the logits of the pass before: a token is there. */
static void
attn_done(struct async *a, int dev)
{
	struct node *n = &a->attn[dev];
	struct sim *s = a->s;
	int k = s->o.shape.top_k, j;
	int32_t ids[SIM_MAX_K];
	struct sim_seq *q;
	size_t i;

	n->busy = false;
	for (i = 0; i < n->run.n; i++) {
		q = &s->seq[n->run.p[i].seq];
		if (n->run_layer == 0)
			sim_token(s, q);
		sim_experts(s, q, n->run_layer, ids);
		q->layer = n->run_layer;
		q->pending = k;
		for (j = 0; j < k; j++)
			VEC_PUSH(&a->out[sim_place(s, q, q->layer, ids[j])],
			    ((struct sim_route){ n->run.p[i].seq, ids[j] }));
	}
	if (n->q == NULL)
		a->group[dev * s->o.groups + s->seq[n->run.p[0].seq].group]
		    .pending = (int)n->run.n;
	send_out(a, n, a->expert, s->o.experts, EV_TO_EXPERT, n->run_layer);
	start_attn(a, dev);
}

/* All answers of a sequence are in. */
static void
seq_ready(struct async *a, int i)
{
	struct sim *s = a->s;
	struct sim_seq *q = &s->seq[i];
	int layer = (q->layer + 1) % s->o.shape.n_layer;
	struct group *g;

	if (a->group == NULL) {
		sim_queues_add(a->attn[q->dev].q, layer, 0,
		    (struct sim_route){ i, 0 }, 0, s->now_us);
		return;
	}
	g = &a->group[q->dev * s->o.groups + q->group];
	if (--g->pending == 0) {
		g->layer = layer;
		VEC_PUSH(&a->attn[q->dev].ready, q->group);
	}
}

/* ---- experts -------------------------------------------------------------- */

static void
start_expert(struct async *a, int dev)
{
	struct node *n = &a->expert[dev];
	struct sim *s = a->s;
	struct sim_taken t;
	double us, next;
	int i;

	if (n->busy)
		return;
	if (!sim_queues_take(n->q, s->now_us, &t, &next)) {
		if (next >= 0 && (n->wake_us < 0 || next < n->wake_us)) {
			n->wake_us = next;
			push(a, (struct event){ .at_us = next,
			    .kind = EV_WAKE, .dev = dev });
		}
		return;
	}
	us = emu_ffn_us(&s->o.dev, s->o.shape.hidden, s->o.shape.inter,
	    t.n_of, t.n_queue);
	n->run.n = 0;
	for (i = 0; i < t.n; i++)
		VEC_PUSH(&n->run, t.row[i]);
	n->run_layer = t.layer;
	n->busy = true;
	s->expert_busy_us += us;
	if (s->on)
		hist_add(&s->rows, (uint64_t)t.n);
	push(a, (struct event){ .at_us = s->now_us + us, .kind = EV_EXPERT,
	    .dev = dev });
}

static void
expert_done(struct async *a, int dev)
{
	struct node *n = &a->expert[dev];
	size_t i;

	n->busy = false;
	for (i = 0; i < n->run.n; i++)
		VEC_PUSH(&a->out[a->s->seq[n->run.p[i].seq].dev],
		    n->run.p[i]);
	send_out(a, n, a->attn, a->s->o.attn, EV_TO_ATTN, n->run_layer);
	start_expert(a, dev);
}

/* ---- the loop ------------------------------------------------------------- */

static void
handle(struct async *a, struct event *e)
{
	struct sim *s = a->s;
	int i;

	switch (e->kind) {
	case EV_ATTN:
		attn_done(a, e->dev);
		break;
	case EV_EXPERT:
		expert_done(a, e->dev);
		break;
	case EV_TO_EXPERT:
		for (i = 0; i < e->n; i++)
			sim_queues_add(a->expert[e->dev].q, e->layer,
			    e->r[i].expert, e->r[i], s->seq[e->r[i].seq].dev,
			    s->now_us);
		start_expert(a, e->dev);
		break;
	case EV_TO_ATTN:
		for (i = 0; i < e->n; i++)
			if (--s->seq[e->r[i].seq].pending == 0)
				seq_ready(a, e->r[i].seq);
		start_attn(a, e->dev);
		break;
	case EV_WAKE:
		if (a->expert[e->dev].wake_us <= e->at_us)
			a->expert[e->dev].wake_us = -1;
		start_expert(a, e->dev);
		break;
	}
	mem_free(e->r);
}

static void
open_nodes(struct async *a)
{
	const struct sim_opt *o = &a->s->o;
	int i, n = o->attn > o->experts ? o->attn : o->experts;

	a->attn = mem_calloc((size_t)o->attn, sizeof(*a->attn));
	a->expert = mem_calloc((size_t)o->experts, sizeof(*a->expert));
	a->out = mem_calloc((size_t)n, sizeof(*a->out));
	for (i = 0; i < o->attn && o->groups == SIM_FREE; i++)
		a->attn[i].q = sim_queues_open(o, o->attn_policy,
		    o->shape.n_layer, 1, 1);
	for (i = 0; i < o->experts; i++) {
		a->expert[i].wake_us = -1;
		a->expert[i].q = sim_queues_open(o, o->policy,
		    o->shape.n_layer, o->shape.n_expert, o->attn);
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

	for (i = 0; i < s->o.running; i++) {
		s->seq[i].layer = s->o.shape.n_layer - 1;
		if (a->group == NULL) {
			seq_ready(a, i);
			continue;
		}
		g = &a->group[s->seq[i].dev * s->o.groups + s->seq[i].group];
		VEC_PUSH(&g->seq, i);
		g->pending++;
	}
	for (i = 0; a->group != NULL && i < s->o.running; i++)
		seq_ready(a, i);
	for (i = 0; i < s->o.attn; i++)
		start_attn(a, i);
}

static void
close_all(struct async *a)
{
	const struct sim_opt *o = &a->s->o;
	int i, n = o->attn > o->experts ? o->attn : o->experts;
	size_t j;

	for (j = 0; j < a->heap.n; j++)
		mem_free(a->heap.p[j].r);
	for (i = 0; i < o->attn; i++) {
		if (a->attn[i].q != NULL)
			sim_queues_close(a->attn[i].q);
		VEC_FREE(&a->attn[i].ready);
		VEC_FREE(&a->attn[i].run);
	}
	for (i = 0; i < o->experts; i++) {
		sim_queues_close(a->expert[i].q);
		VEC_FREE(&a->expert[i].run);
	}
	for (i = 0; a->group != NULL && i < o->attn * o->groups; i++)
		VEC_FREE(&a->group[i].seq);
	for (i = 0; i < n; i++)
		VEC_FREE(&a->out[i]);
	VEC_FREE(&a->heap);
	mem_free(a->attn);
	mem_free(a->expert);
	mem_free(a->group);
	mem_free(a->out);
}

void
sim_async(struct sim *s)
{
	struct async a = { .s = s };
	struct event e;

	open_nodes(&a);
	begin(&a);
	while (!sim_over(s) && a.heap.n > 0) {
		e = pop(&a);
		s->now_us = e.at_us;
		handle(&a, &e);
	}
	close_all(&a);
}
