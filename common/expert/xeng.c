/* xeng - see xeng.h.  Here: clients, the receptor, the micro-queues; xeng_run.c
 * has the scheduler's call and the executor. */
#include "xeng.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "resid.h"
#include "xeng_queue.h"

#define XENG_PASS_ROWS	4096
#define XENG_MAX_ROW	65536u	/* a route's row is 16 bits */
/* A client counts for the wait policy until it has been silent this many
 * holds: an idle front end must not cost the others a hold per pick. */
#define XENG_QUIET	10

struct xeng *
xeng_open(const struct xeng_opt *opt)
{
	struct xeng *x = mem_zalloc(sizeof(*x));
	int i;

	x->opt = *opt;
	if (x->opt.policy == NULL)
		x->opt.policy = policy_at(0);
	if (x->opt.pass_rows == 0)
		x->opt.pass_rows = XENG_PASS_ROWS;
	x->n_layer = resid_n_layer(opt->resid);
	x->n_expert = resid_n_expert(opt->resid);
	x->layer = mem_calloc((size_t)x->n_layer, sizeof(*x->layer));
	for (i = 0; i < x->n_layer; i++) {
		x->layer[i].p.layer = i;
		x->layer[i].by_rows.key = XENG_HEAP_ROWS;
		x->layer[i].by_age.key = XENG_HEAP_AGE;
	}
	x->block = mem_calloc((size_t)x->n_layer, sizeof(*x->block));
	x->block_seen = UINT64_MAX;
	x->done_tail = &x->done;
	x->cold_due_ns = UINT64_MAX;
	xeng_pass_init(&x->pass, x->opt.pass_rows, x->n_expert);
	return x;
}

void
xeng_close(struct xeng *x)
{
	int i;

	if (x == NULL)
		return;
	for (i = 0; i < x->n_layer; i++) {
		mem_free(x->layer[i].q);
		mem_free(x->layer[i].by_rows.q);
		mem_free(x->layer[i].by_age.q);
		mem_free(x->layer[i].client_rows);
	}
	mem_free(x->layer);
	mem_free(x->block);
	mem_free(x->client);
	xeng_pass_free(&x->pass);
	mem_free(x);
}

/* ---- clients ------------------------------------------------------------- */

static void
grow_clients(struct xeng *x)
{
	int i, n = x->n_client == 0 ? 8 : 2 * x->n_client;
	size_t old = (size_t)x->n_client, add = (size_t)(n - x->n_client);
	struct xlayer *l;

	x->client = mem_realloc(x->client, (size_t)n * sizeof(*x->client));
	memset(x->client + old, 0, add * sizeof(*x->client));
	for (i = 0; i < x->n_layer; i++) {
		l = &x->layer[i];
		l->client_rows = mem_realloc(l->client_rows,
		    (size_t)n * sizeof(*l->client_rows));
		memset(l->client_rows + old, 0, add * sizeof(*l->client_rows));
	}
	x->n_client = n;
}

int
xeng_client_up(struct xeng *x)
{
	int i;

	for (i = 0; i < x->n_client && x->client[i].up; i++)
		;
	if (i == x->n_client)
		grow_clients(x);
	x->client[i].up = true;
	x->client[i].heard = false;
	return i;
}

uint32_t
xeng_live_clients(const struct xeng *x, uint64_t now_ns)
{
	uint64_t quiet_ns = XENG_QUIET * x->opt.hold_ns;
	const struct xclient *c;
	uint32_t n = 0;

	for (c = x->client; c < x->client + x->n_client; c++)
		if (c->up && c->heard && now_ns - c->heard_ns <= quiet_ns)
			n++;
	return n;
}

/* Take the client's routes out of one queue; runnable says which account the
 * rows stand in. */
static void
forget_in(struct xeng *x, struct xqueue *q, int client, bool runnable)
{
	struct xeng_route **at = &q->head, *r;

	q->tail = &q->head;
	while ((r = *at) != NULL) {
		if (r->job->client != client) {
			at = &r->next;
			q->tail = at;
			continue;
		}
		*at = r->next;
		q->p.n--;
		if (runnable)
			xeng_layer_less(x, q->l, client);
		else
			x->stats.cold_rows--;
		if (--r->job->left == 0)
			x->stats.queued_jobs--;
	}
}

static void
forget_in_layer(struct xeng *x, struct xlayer *l, int client)
{
	struct xqueue *q;

	for (q = l->q; q < l->q + x->n_expert; q++) {
		if (!q->active)
			continue;
		forget_in(x, q, client, true);
		xeng_settle(x, q);
	}
}

void
xeng_client_down(struct xeng *x, int client)
{
	struct policy_layer *pl, *next;
	struct xqueue **at, *q;

	BUG_ON(client < 0 || client >= x->n_client || !x->client[client].up);
	x->client[client].up = false;
	for (pl = x->active; pl != NULL; pl = next) {
		next = pl->next;
		forget_in_layer(x, (struct xlayer *)pl, client);
	}
	for (at = &x->cold; (q = *at) != NULL;) {
		forget_in(x, q, client, false);
		if (q->p.n == 0) {
			*at = q->next_cold;
			q->cold = false;
		} else {
			at = &q->next_cold;
		}
	}
}

/* ---- queues -------------------------------------------------------------- */

void
xeng_layer_more(struct xeng *x, struct xlayer *l, int client)
{
	if (l->p.n_row++ == 0) {
		l->p.next = x->active;
		x->active = &l->p;
	}
	x->stats.queued_rows++;
	if (l->client_rows[client]++ == 0)
		l->p.n_client++;
}

void
xeng_layer_less(struct xeng *x, struct xlayer *l, int client)
{
	l->p.n_row--;
	x->stats.queued_rows--;
	if (--l->client_rows[client] == 0)
		l->p.n_client--;
}

static void
unlink_layer(struct xeng *x, struct xlayer *l)
{
	struct policy_layer **at = &x->active;

	while (*at != &l->p)
		at = &(*at)->next;
	*at = l->p.next;
}

/* A queue is in both heaps while it has runnable rows. */
static void
place(struct xlayer *l, struct xqueue *q)
{
	if (q->p.n == 0) {
		xeng_heap_drop(&l->by_rows, &q->p);
		xeng_heap_drop(&l->by_age, &q->p);
		q->active = false;
		return;
	}
	q->p.since_ns = q->head->job->submit_ns;
	if (q->active) {
		xeng_heap_moved(&l->by_rows, &q->p);
		xeng_heap_moved(&l->by_age, &q->p);
		return;
	}
	xeng_heap_add(&l->by_rows, &q->p);
	xeng_heap_add(&l->by_age, &q->p);
	q->active = true;
}

void
xeng_settle(struct xeng *x, struct xqueue *q)
{
	struct xlayer *l = q->l;

	if (q->p.n != 0 || q->active)
		place(l, q);
	l->p.n_queue = l->by_rows.n;
	l->p.most = xeng_heap_top(&l->by_rows);
	l->p.oldest = xeng_heap_top(&l->by_age);
	if (l->p.oldest != NULL)
		l->p.since_ns = l->p.oldest->since_ns;
	else
		unlink_layer(x, l);
}

static void
first_use(struct xeng *x, struct xlayer *l)
{
	size_t n = (size_t)x->n_expert;
	int i;

	l->q = mem_calloc(n, sizeof(*l->q));
	l->by_rows.q = mem_calloc(n, sizeof(struct policy_queue *));
	l->by_age.q = mem_calloc(n, sizeof(struct policy_queue *));
	for (i = 0; i < x->n_expert; i++) {
		l->q[i].p.expert = i;
		l->q[i].l = l;
		l->q[i].tail = &l->q[i].head;
	}
}

static void
push_cold(struct xeng *x, struct xqueue *q, const struct xeng_job *job)
{
	if (!q->cold) {
		q->next_cold = x->cold;
		x->cold = q;
		q->cold = true;
	}
	x->stats.cold_rows++;
	if (job->deadline_ns != 0 && job->deadline_ns < x->cold_due_ns)
		x->cold_due_ns = job->deadline_ns;
}

static void
push(struct xeng *x, struct xeng_route *r)
{
	struct xeng_job *job = r->job;
	struct xlayer *l = &x->layer[job->layer];
	struct xqueue *q;

	if (l->q == NULL)
		first_use(x, l);
	q = &l->q[r->r.expert];
	resid_use(x->opt.resid, job->layer, r->r.expert, job->submit_ns);
	r->next = NULL;
	*q->tail = r;
	q->tail = &r->next;
	q->p.n++;
	/* A cold queue stays one until xeng_step has seen that its expert is
	 * here, so that its rows keep their order. */
	if (q->cold ||
	    resid_get(x->opt.resid, job->layer, r->r.expert) == NULL) {
		push_cold(x, q, job);
		return;
	}
	xeng_layer_more(x, l, job->client);
	xeng_settle(x, q);
}

/* ---- receptor ------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void
set_why(struct xeng *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->why, sizeof(x->why), fmt, ap);
	va_end(ap);
}

const char *
xeng_why(const struct xeng *x)
{
	return x->why;
}

struct xeng_route *
xeng_job_routes(struct xeng_job *job, uint32_t n)
{
	mem_grow((void **)&job->route, &job->cap_route, n,
	    sizeof(*job->route));
	return job->route;
}

void
xeng_job_free(struct xeng_job *job)
{
	mem_free(job->route);
	job->route = NULL;
	job->cap_route = 0;
}

static enum slot_status
check_job(struct xeng *x, const struct xeng_job *job)
{
	if (job->layer < 0 || job->layer >= x->n_layer) {
		set_why(x, "layer %d of %d", job->layer, x->n_layer);
		return SLOT_BAD;
	}
	if (job->n_row == 0 || job->n_row > XENG_MAX_ROW || job->n_route == 0) {
		set_why(x, "%u rows, %u routes", job->n_row, job->n_route);
		return SLOT_BAD;
	}
	return SLOT_OK;
}

/* Routes in range; then, what state their experts are in.  A bad route weighs
 * more than a missing expert. */
static enum slot_status
check_routes(struct xeng *x, const struct xeng_job *job)
{
	enum slot_status st = SLOT_OK;
	const struct slot_route *r;
	enum resid_state state;
	uint32_t j, n_cold = 0;

	for (j = 0; j < job->n_route; j++) {
		r = &job->route[j].r;
		if (r->row >= job->n_row || r->expert >= x->n_expert) {
			set_why(x, "route %u: row %u of %u, expert %u of %d",
			    j, r->row, job->n_row, r->expert, x->n_expert);
			return SLOT_BAD;
		}
		if (st == SLOT_NOT_HERE)
			continue;
		state = resid_state(x->opt.resid, job->layer, r->expert);
		if (state == RESID_DISK &&
		    resid_want(x->opt.resid, job->layer, r->expert))
			state = RESID_LOADING;
		switch (state) {
		case RESID_HERE:
			continue;
		case RESID_LOADING:
			if (++n_cold + x->stats.cold_rows <= x->opt.cold_rows)
				continue;
			/* FALLTHROUGH */
		case RESID_DISK:
			st = SLOT_COLD;
			break;
		case RESID_ABSENT:
		case RESID_LEAVING:
			st = SLOT_NOT_HERE;
			break;
		}
		set_why(x, "expert %u of layer %d is not %s", r->expert,
		    job->layer, st == SLOT_COLD ? "loaded yet" : "served here");
	}
	return st;
}

enum slot_status
xeng_submit(struct xeng *x, struct xeng_job *job)
{
	enum slot_status st;
	struct xclient *c;
	uint32_t j;

	BUG_ON(job->client < 0 || job->client >= x->n_client ||
	    !x->client[job->client].up);
	st = check_job(x, job);
	if (st == SLOT_OK)
		st = check_routes(x, job);
	x->stats.bad += st == SLOT_BAD;
	x->stats.not_here += st == SLOT_NOT_HERE;
	x->stats.cold += st == SLOT_COLD;
	if (st != SLOT_OK)
		return st;
	c = &x->client[job->client];
	c->heard = true;
	c->heard_ns = job->submit_ns;
	job->left = job->n_route;
	job->status = SLOT_OK;
	x->stats.queued_jobs++;
	x->n_submit++;
	for (j = 0; j < job->n_route; j++) {
		job->route[j].job = job;
		push(x, &job->route[j]);
	}
	return SLOT_OK;
}

void
xeng_set_policy(struct xeng *x, const struct policy *policy)
{
	x->opt.policy = policy;
	memset(&x->auto_state, 0, sizeof(x->auto_state));
}

const struct policy *
xeng_policy(const struct xeng *x)
{
	return x->opt.policy;
}

const struct policy_auto *
xeng_auto(const struct xeng *x)
{
	return &x->auto_state;
}

const struct xeng_stats *
xeng_stats(const struct xeng *x)
{
	return &x->stats;
}

uint32_t
xeng_layer_rows(const struct xeng *x, int layer)
{
	BUG_ON(layer < 0 || layer >= x->n_layer);
	return x->layer[layer].p.n_row;
}
