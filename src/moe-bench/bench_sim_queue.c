/* bench_sim_queue - micro-queues as common/expert/xeng keeps them, for the
 * policies of common/expert/policy.c. */
#include <string.h>

#include "bench_sim.h"
#include "mem.h"
#include "policy_auto.h"

struct entry {			/* first: the policies' view is cast back */
	struct policy_queue p;
	VEC(struct sim_route) r;
	VEC(int) client;	/* of each of them */
};

struct sim_queues {
	const struct policy *policy;
	struct policy_view view;
	struct policy_auto state;
	struct policy_layer *layer, *active;
	struct policy_layer **block;
	struct entry *entry;	/* [layer][queue] */
	int *client_rows;	/* [layer][client] */
	int n_layer, n_queue, n_client;
	VEC(struct sim_route) taken;
	VEC(int) n_of;
	int n_taken;		/* rows */
};

static uint64_t
ns(double us)
{
	return us < 1e15 ? (uint64_t)(us * 1000) : UINT64_MAX;
}

struct sim_queues *
sim_queues_open(const struct sim_opt *o, const struct policy *p, int n_layer,
    int n_queue, int n_client)
{
	struct sim_queues *q = mem_zalloc(sizeof(*q));
	int i, j;

	q->policy = p;
	q->n_layer = n_layer;
	q->n_queue = n_queue;
	q->n_client = n_client;
	q->layer = mem_calloc((size_t)n_layer, sizeof(*q->layer));
	q->block = mem_calloc((size_t)n_layer, sizeof(*q->block));
	q->entry = mem_calloc((size_t)(n_layer * n_queue), sizeof(*q->entry));
	q->client_rows = mem_calloc((size_t)(n_layer * n_client), sizeof(int));
	for (i = 0; i < n_layer; i++) {
		q->layer[i] = (struct policy_layer){ .layer = i,
		    .block = (uint32_t)i, .n_expert = (uint32_t)n_queue };
		q->block[i] = &q->layer[i];
		for (j = 0; j < n_queue; j++)
			q->entry[i * n_queue + j].p.expert = j;
	}
	q->view = (struct policy_view){ .block = q->block,
	    .n_block = (uint32_t)n_layer, .hold_ns = ns(o->hold_us),
	    .urgent_ns = ns(o->urgent_us), .n_client = (uint32_t)n_client,
	    .lookahead = (uint32_t)o->lookahead, .decay = o->decay,
	    .state = &q->state };
	return q;
}

void
sim_queues_close(struct sim_queues *q)
{
	int i;

	for (i = 0; i < q->n_layer * q->n_queue; i++) {
		VEC_FREE(&q->entry[i].r);
		VEC_FREE(&q->entry[i].client);
	}
	VEC_FREE(&q->taken);
	VEC_FREE(&q->n_of);
	mem_free(q->layer);
	mem_free(q->block);
	mem_free(q->entry);
	mem_free(q->client_rows);
	mem_free(q);
}

void
sim_queues_add(struct sim_queues *q, int layer, int queue, struct sim_route r,
    int client, double now_us)
{
	struct policy_layer *l = &q->layer[layer];
	struct entry *e = &q->entry[layer * q->n_queue + queue];

	if (l->n_row == 0) {
		l->next = q->active;
		q->active = l;
		l->most = l->oldest = &e->p;
		l->since_ns = ns(now_us);
	}
	if (e->p.n == 0) {
		e->p.since_ns = ns(now_us);
		l->n_queue++;
	}
	e->p.n += (uint32_t)r.n;
	if (e->p.n > l->most->n)
		l->most = &e->p;
	l->n_row += (uint32_t)r.n;
	l->n_client += q->client_rows[layer * q->n_client + client]++ == 0;
	VEC_PUSH(&e->r, r);
	VEC_PUSH(&e->client, client);
	q->view.n_submit++;
}

/* The layer's figures, after a queue was emptied. */
static void
settle(struct sim_queues *q, struct policy_layer *l)
{
	struct policy_layer **at = &q->active;
	const struct policy_queue *p;
	int i;

	if (l->n_row == 0) {
		while (*at != l)
			at = &(*at)->next;
		*at = l->next;
		return;
	}
	l->most = l->oldest = NULL;
	for (i = 0; i < q->n_queue; i++) {
		p = &q->entry[l->layer * q->n_queue + i].p;
		if (p->n == 0)
			continue;
		if (l->most == NULL || p->n > l->most->n ||
		    (p->n == l->most->n && p->since_ns < l->most->since_ns))
			l->most = p;
		if (l->oldest == NULL || p->since_ns < l->oldest->since_ns)
			l->oldest = p;
	}
	l->since_ns = l->oldest->since_ns;
}

void
sim_queues_clients(struct sim_queues *q, int n)
{
	q->view.n_client = (uint32_t)n;
}

static void
take_queue(struct sim_queues *q, struct policy_layer *l, struct entry *e)
{
	size_t i;

	if (e->p.n == 0)
		return;
	VEC_PUSH(&q->n_of, (int)e->p.n);
	for (i = 0; i < e->r.n; i++) {
		VEC_PUSH(&q->taken, e->r.p[i]);
		l->n_client -= --q->client_rows[l->layer * q->n_client +
		    e->client.p[i]] == 0;
	}
	q->n_taken += (int)e->p.n;
	l->n_row -= e->p.n;
	l->n_queue--;
	e->p.n = 0;
	e->r.n = e->client.n = 0;
}

bool
sim_queues_take(struct sim_queues *q, double now_us, struct sim_taken *out,
    double *next_us)
{
	struct policy_pick pick;
	struct policy_layer *l;
	uint64_t next = UINT64_MAX;
	int i;

	*next_us = -1;
	if (q->active == NULL)
		return false;
	q->view.layer = q->active;
	q->view.now_ns = ns(now_us);
	if (!q->policy->pick(&q->view, &pick, &next)) {
		*next_us = next == UINT64_MAX ? -1 :
		    (double)next / 1000 + 0.001;
		return false;
	}
	l = &q->layer[pick.layer];
	q->taken.n = q->n_of.n = 0;
	q->n_taken = 0;
	if (pick.expert >= 0)
		take_queue(q, l, &q->entry[pick.layer * q->n_queue +
		    pick.expert]);
	for (i = 0; pick.expert < 0 && i < q->n_queue; i++)
		take_queue(q, l, &q->entry[pick.layer * q->n_queue + i]);
	settle(q, l);
	*out = (struct sim_taken){ pick.layer, q->taken.p, (int)q->taken.n,
	    q->n_taken, q->n_of.p, (int)q->n_of.n };
	return true;
}
