/* at_queue - see at_queue.h. */
#include "at_queue.h"

#include <string.h>

#include "mem.h"

void
at_queue_open(struct at_queue *q, const struct at_queue_opt *o, int n_stage)
{
	struct at_stage *s;
	int i;

	memset(q, 0, sizeof(*q));
	q->o = *o;
	if (q->o.policy == NULL)
		q->o.policy = policy_at(0);
	q->n_stage = n_stage;
	q->stage = mem_calloc((size_t)n_stage, sizeof(*q->stage));
	q->block = mem_calloc((size_t)n_stage, sizeof(struct policy_layer *));
	for (i = 0; i < n_stage; i++) {
		s = &q->stage[i];
		s->tail = &s->head;
		s->p.layer = i;
		s->p.block = (uint32_t)i;
		s->p.n_expert = 1;
		s->p.most = s->p.oldest = &s->q;
		q->block[i] = &s->p;
	}
}

void
at_queue_close(struct at_queue *q)
{
	mem_free(q->stage);
	mem_free(q->block);
	memset(q, 0, sizeof(*q));
}

void
at_queue_add(struct at_queue *q, struct at_unit *u, uint64_t now_ns)
{
	struct at_stage *s = &q->stage[u->stage];

	u->state = AT_UNIT_QUEUED;
	u->since_ns = now_ns;
	u->next = NULL;
	if (s->head == NULL) {
		s->p.next = q->active;
		q->active = &s->p;
		s->p.n_queue = 1;
		s->p.since_ns = s->q.since_ns = now_ns;
	}
	*s->tail = u;
	s->tail = &u->next;
	s->q.n += (uint32_t)u->m;
	s->p.n_row = s->q.n;
	/* Units of a sequence are at different stages, see at_free.c. */
	s->p.n_client++;
	q->n_submit++;
}

int
at_queue_pick(struct at_queue *q, uint64_t now_ns, uint32_t n_seq,
    uint64_t *next_ns)
{
	const struct policy_view v = {
		.layer = q->active,
		.block = q->block, .n_block = (uint32_t)q->n_stage,
		.now_ns = now_ns, .hold_ns = q->o.hold_ns,
		.urgent_ns = q->o.urgent_ns, .batch_rows = q->o.batch_rows,
		.n_client = n_seq,
		.lookahead = q->o.lookahead, .decay = q->o.decay,
		.n_submit = q->n_submit, .state = &q->state,
	};
	struct policy_pick pick;

	*next_ns = UINT64_MAX;
	if (q->active == NULL || !q->o.policy->pick(&v, &pick, next_ns))
		return -1;
	q->n_urgent += pick.urgent;
	return pick.layer;
}

struct at_unit *
at_queue_take(struct at_queue *q, int stage)
{
	struct at_stage *s = &q->stage[stage];
	struct policy_layer **at = &q->active;
	struct at_unit *u = s->head;

	while (*at != &s->p)
		at = &(*at)->next;
	*at = s->p.next;
	s->head = NULL;
	s->tail = &s->head;
	s->q.n = s->p.n_row = s->p.n_client = s->p.n_queue = 0;
	return u;
}
