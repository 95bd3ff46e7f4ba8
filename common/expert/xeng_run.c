/* xeng_run - the engine's scheduler and executor: see xeng.h, xeng_queue.h. */
#include "clock.h"
#include "err.h"
#include "mem.h"
#include "resid.h"
#include "xeng.h"
#include "xeng_queue.h"

void
xeng_pass_init(struct xeng_pass *p, uint32_t rows, int n_expert)
{
	p->cap = rows;
	p->group = mem_calloc((size_t)n_expert, sizeof(*p->group));
	p->route = mem_calloc(rows, sizeof(*p->route));
	p->in = mem_calloc(rows, sizeof(*p->in));
	p->out = mem_calloc(rows, sizeof(*p->out));
	p->scale = mem_calloc(rows, sizeof(*p->scale));
}

void
xeng_pass_free(struct xeng_pass *p)
{
	mem_free(p->group);
	mem_free(p->route);
	mem_free(p->in);
	mem_free(p->out);
	mem_free(p->scale);
}

/* ---- finishing ----------------------------------------------------------- */

/* A route needs no more work. */
static void
route_over(struct xeng *x, struct xeng_job *job)
{
	if (--job->left != 0)
		return;
	job->next = NULL;
	*x->done_tail = job;
	x->done_tail = &job->next;
}

/* Hand finished jobs back.  A done function may submit, so the list is taken
 * first and the queues are in order by now. */
static void
hand_back(struct xeng *x)
{
	struct xeng_job *job = x->done, *next;

	x->done = NULL;
	x->done_tail = &x->done;
	for (; job != NULL; job = next) {
		next = job->next;
		x->stats.queued_jobs--;
		x->stats.jobs += job->status == SLOT_OK;
		x->stats.expired += job->status == SLOT_EXPIRED;
		x->stats.cold += job->status == SLOT_COLD;
		job->done(job, job->status);
	}
}

static bool
given_up(struct xeng_job *job, uint64_t now_ns)
{
	if (job->status == SLOT_OK && job->deadline_ns != 0 &&
	    now_ns > job->deadline_ns)
		job->status = SLOT_EXPIRED;
	return job->status != SLOT_OK;
}

/* ---- experts that come and go -------------------------------------------- */

/* The expert of a cold queue is here: its rows can run. */
static void
warm_up(struct xeng *x, struct xqueue *q)
{
	struct xeng_route *r;

	x->stats.cold_rows -= q->p.n;
	for (r = q->head; r != NULL; r = r->next)
		xeng_layer_more(x, q->l, r->job->client);
	xeng_settle(x, q);
}

/* Take rows of given-up jobs out of a cold queue; with `all`, every row is
 * given up because the expert will not come. */
static void
thin_out(struct xeng *x, struct xqueue *q, bool all, uint64_t now_ns)
{
	struct xeng_route **at = &q->head, *r;

	q->tail = &q->head;
	while ((r = *at) != NULL) {
		struct xeng_job *job = r->job;

		if (all && job->status == SLOT_OK)
			job->status = SLOT_COLD;
		if (given_up(job, now_ns)) {
			*at = r->next;
			q->p.n--;
			x->stats.cold_rows--;
			route_over(x, job);
			continue;
		}
		if (job->deadline_ns != 0 && job->deadline_ns < x->cold_due_ns)
			x->cold_due_ns = job->deadline_ns;
		at = &r->next;
		q->tail = at;
	}
}

/* Look through the cold queues when an expert's state has changed or a cold
 * job may have expired. */
static void
tend_cold(struct xeng *x, uint64_t now_ns)
{
	uint64_t version = resid_version(x->opt.resid);
	struct xqueue **at = &x->cold, *q;
	enum resid_state state;

	if (version == x->resid_seen && now_ns <= x->cold_due_ns)
		return;
	x->resid_seen = version;
	x->cold_due_ns = UINT64_MAX;
	while ((q = *at) != NULL) {
		state = resid_state(x->opt.resid, q->l->p.layer, q->p.expert);
		if (state == RESID_HERE || state == RESID_LEAVING)
			warm_up(x, q);
		else
			thin_out(x, q, state != RESID_LOADING, now_ns);
		if (q->active || q->p.n == 0) {
			*at = q->next_cold;
			q->cold = false;
		} else {
			at = &q->next_cold;
		}
	}
}

static bool
is_busy(void *arg, int layer, int expert)
{
	const struct xlayer *l = &((struct xeng *)arg)->layer[layer];

	return l->q != NULL && l->q[expert].p.n != 0;
}

uint32_t
xeng_park(struct xeng *x, uint64_t now_ns, uint64_t idle_ns)
{
	return resid_park(x->opt.resid, now_ns, idle_ns, is_busy, x);
}

/* ---- the executor -------------------------------------------------------- */

static void
add_row(struct xeng_pass *p, struct xeng_route *r)
{
	struct xeng_job *job = r->job;
	size_t j = (size_t)(r - job->route);

	p->route[p->n] = r;
	p->in[p->n] = (const char *)job->in + r->r.row * job->in_stride;
	p->out[p->n] = (char *)job->out + j * job->out_stride;
	/* A factor of 1 changes no bit, so jobs with and without mix. */
	p->scale[p->n] = job->weight_in ? r->r.weight : 1.0f;
	p->scaled |= job->weight_in;
	p->n++;
}

/* Move rows of one queue into the pass, up to its capacity. */
static void
gather_rows(struct xeng *x, struct xqueue *q, uint64_t now_ns)
{
	struct xeng_pass *p = &x->pass;
	uint32_t first = p->n;
	struct xeng_route *r;

	while ((r = q->head) != NULL && p->n < p->cap) {
		q->head = r->next;
		q->p.n--;
		xeng_layer_less(x, q->l, r->job->client);
		if (given_up(r->job, now_ns))
			route_over(x, r->job);
		else
			add_row(p, r);
	}
	if (q->head == NULL)
		q->tail = &q->head;
	xeng_settle(x, q);
	if (p->n == first)
		return;
	p->group[p->n_group].x = resid_get(x->opt.resid, q->l->p.layer,
	    q->p.expert);
	BUG_ON(p->group[p->n_group].x == NULL);
	p->group[p->n_group].first = (int)first;
	p->group[p->n_group].n = (int)(p->n - first);
	p->n_group++;
}

static void
compute(struct xeng *x)
{
	struct xeng_pass *p = &x->pass;
	const struct kern_ffn ffn = {
		.h = x->opt.hidden, .i = x->opt.inter, .glu = x->opt.glu,
		.n_group = (int)p->n_group, .group = p->group,
		.in = p->in, .out = p->out,
		.scale = p->scaled ? p->scale : NULL,
	};
	uint64_t t0 = clock_ns();
	uint32_t j;

	kern_ffn(x->opt.kn, &ffn);
	x->stats.busy_ns += clock_ns() - t0;
	x->stats.rows += p->n;
	x->stats.picks++;
	for (j = 0; j < p->n; j++)
		route_over(x, p->route[j]->job);
}

/* The queues of a pick: of a layer, the oldest first, so that no row is left
 * behind younger ones when the pass is full. */
static void
gather(struct xeng *x, const struct policy_pick *pick, uint64_t now_ns)
{
	struct xlayer *l = &x->layer[pick->layer];
	struct policy_queue *pq;

	x->pass.n = x->pass.n_group = 0;
	x->pass.scaled = false;
	if (pick->expert >= 0) {
		gather_rows(x, &l->q[pick->expert], now_ns);
		return;
	}
	while ((pq = xeng_heap_top(&l->by_age)) != NULL &&
	    x->pass.n < x->pass.cap)
		gather_rows(x, (struct xqueue *)pq, now_ns);
}

static void
count_pick(struct xeng *x, const struct policy_pick *pick)
{
	struct xeng_picks *st =
	    &x->stats.by_policy[policy_index(x->opt.policy)];

	st->picks++;
	st->rows += x->pass.n;
	st->urgent += pick->urgent;
	hist_add(&st->rows_per_pick, x->pass.n);
}

static void
run_pick(struct xeng *x, const struct policy_pick *pick, uint64_t now_ns)
{
	gather(x, pick, now_ns);
	if (x->pass.n == 0)
		return;
	count_pick(x, pick);
	compute(x);
}

/* Layers of which experts are here, in order, and how many. */
static void
find_blocks(struct xeng *x)
{
	uint64_t version = resid_version(x->opt.resid);
	struct policy_layer *l;
	int i;

	if (version == x->block_seen)
		return;
	x->block_seen = version;
	x->n_block = 0;
	for (i = 0; i < x->n_layer; i++) {
		l = &x->layer[i].p;
		l->n_expert = resid_layer_assigned(x->opt.resid, i);
		if (l->n_expert == 0)
			continue;
		l->block = x->n_block;
		x->block[x->n_block++] = l;
	}
}

static bool
pick_and_run(struct xeng *x, uint64_t now_ns, uint64_t *next_ns)
{
	const struct policy_view v = {
		.layer = x->active,
		.block = x->block, .n_block = x->n_block,
		.now_ns = now_ns, .hold_ns = x->opt.hold_ns,
		.urgent_ns = x->opt.urgent_ns,
		.batch_rows = x->opt.batch_rows,
		.n_client = xeng_live_clients(x, now_ns),
		.lookahead = x->opt.lookahead, .decay = x->opt.decay,
		.n_submit = x->n_submit, .state = &x->auto_state,
	};
	struct policy_pick pick;

	if (!x->opt.policy->pick(&v, &pick, next_ns))
		return false;
	run_pick(x, &pick, now_ns);
	return true;
}

bool
xeng_step(struct xeng *x, uint64_t now_ns, uint64_t *next_ns)
{
	bool did;

	*next_ns = UINT64_MAX;
	tend_cold(x, now_ns);
	did = x->done != NULL;
	if (x->active != NULL) {
		find_blocks(x);
		did |= pick_and_run(x, now_ns, next_ns);
	}
	hand_back(x);
	if (resid_any_leaving(x->opt.resid))
		resid_reap(x->opt.resid, is_busy, x);
	/* One past it: a job expires after its deadline, not at it. */
	if (x->cold_due_ns < *next_ns)
		*next_ns = x->cold_due_ns + 1;
	return did;
}
