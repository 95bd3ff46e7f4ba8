/* ex_client - see ex_client.h. */
#include "ex_client.h"

#include <string.h>

#include "clock.h"
#include "ex_hold.h"
#include "kern_sum.h"
#include "log.h"
#include "mem.h"

struct ex_job {
	struct xeng_job job;
	struct ex_client *client;
	int slot;
	bool busy;
	struct slot_head head;	/* of the request, then of the answer */
	char *row;		/* answers that are to be summed */
	size_t cap_row;
};

struct ex_client {
	struct ex *ex;
	struct link_pair *pair;
	int id;			/* the engine's number */
	uint32_t depth;
	struct ex_job *job;	/* [depth], by slot */
	struct ex_client *next;
};

void
ex_client_up(struct ex *ex, struct link_pair *pair)
{
	struct ex_client *c = mem_zalloc(sizeof(*c));
	uint32_t i;

	c->ex = ex;
	c->pair = pair;
	c->id = xeng_client_up(ex->xeng);
	c->depth = link_depth(pair);
	c->job = mem_calloc(c->depth, sizeof(*c->job));
	for (i = 0; i < c->depth; i++) {
		c->job[i].client = c;
		c->job[i].slot = (int)i;
	}
	c->next = ex->clients;
	ex->clients = c;
	link_set_user(pair, c);
	ex_hold_greet(ex, pair);
	if (ex->state == EX_DRAINING)
		link_msg(pair, LINK_MSG_DRAIN, NULL, 0);
	log_info("%s has come (%s, %u slots of %u bytes)",
	    link_peer(pair)->name, link_addr(pair), c->depth,
	    link_slot_bytes(pair));
}

static void
client_free(struct ex_client *c)
{
	uint32_t i;

	for (i = 0; i < c->depth; i++) {
		xeng_job_free(&c->job[i].job);
		mem_free(c->job[i].row);
	}
	mem_free(c->job);
	mem_free(c);
}

void
ex_client_down(struct ex *ex, struct link_pair *pair)
{
	struct ex_client **at, *c = link_user(pair);

	if (c == NULL)
		return;
	for (at = &ex->clients; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	link_set_user(pair, NULL);
	xeng_client_down(ex->xeng, c->id);
	client_free(c);
}

void
ex_client_free_all(struct ex *ex)
{
	struct ex_client *c;

	while ((c = ex->clients) != NULL) {
		ex->clients = c->next;
		xeng_client_down(ex->xeng, c->id);
		client_free(c);
	}
}

void
ex_client_tell(struct ex *ex, int type, const void *data, size_t n)
{
	const struct ex_client *c;

	for (c = ex->clients; c != NULL; c = c->next)
		link_msg(c->pair, type, data, n);
}

uint32_t
ex_client_count(const struct ex *ex)
{
	const struct ex_client *c;
	uint32_t n = 0;

	for (c = ex->clients; c != NULL; c = c->next)
		n++;
	return n;
}

/* ---- requests ------------------------------------------------------------ */

/* Answer without rows. */
static void
refuse(const struct ex_client *c, int slot, const struct slot_head *req,
    enum slot_status status)
{
	struct slot_head h = *req;

	h.status = (uint16_t)status;
	h.n_row = h.n_route = 0;
	h.bytes = 0;
	link_answer(c->pair, slot, &h);
}

/* A request that breaks the contract costs its sender the pair. */
static void
bad(struct ex_client *c, int slot, const struct slot_head *req,
    const char *why)
{
	c->ex->n_bad++;
	log_warn("%s (%s) sent a bad request: %s", link_peer(c->pair)->name,
	    link_addr(c->pair), why);
	refuse(c, slot, req, SLOT_BAD);
	link_break(c->pair, why);
}

/* moe-bench link: the same body comes back. */
static void
echo(const struct ex_client *c, const struct link_event *ev)
{
	struct slot_head h = ev->head;

	memcpy(link_answer_rows(c->pair, ev->slot),
	    (const char *)ev->mem + slot_rows_at(h.n_route),
	    (size_t)h.n_row * h.row_bytes);
	h.n_route = 0;
	h.status = SLOT_OK;
	link_answer(c->pair, ev->slot, &h);
}

static struct kern_sum
sum_of(const struct ex *ex, const struct slot_head *h)
{
	return (struct kern_sum){ (enum kern_sum_rule)h->reduce,
	    kern_act(ex->kern), ex->cfg->hidden, ex->cfg->top_k };
}

static size_t
part_bytes(const struct ex *ex, const struct slot_head *h)
{
	const struct kern_sum s = sum_of(ex, h);

	return kern_sum_bytes(&s);
}

/* What slot_decode cannot know: NULL when the request suits this server. */
static const char *
unsuitable(const struct ex_client *c, const struct slot_head *h)
{
	const struct ex *ex = c->ex;
	enum kern_dtype act = kern_act(ex->kern);

	if (h->dtype_in != act || h->dtype_out != act)
		return "rows of another dtype than this server's";
	if (h->row_bytes != ex->row_bytes)
		return "rows of another length than the model's";
	if (h->reduce != SLOT_REDUCE_NONE && h->n_row * part_bytes(ex, h) >
	    link_slot_bytes(c->pair) - SLOT_BODY)
		return "more rows than an answer slot holds sums";
	if (h->reduce == SLOT_REDUCE_NONE && h->n_route * ex->row_bytes > link_slot_bytes(c->pair) - SLOT_BODY)
		return "more routes than an answer slot holds";
	return NULL;
}

/* Routes of a job that are to be summed stand row by row, and no row lacks
 * routes or has more than top-k: NULL, or what is wrong. */
static const char *
unsummable(const struct xeng_job *job, uint32_t top_k)
{
	uint32_t i, row = 0, n = 0;

	for (i = 0; i < job->n_route; i++) {
		if (job->route[i].r.row == row + 1 && n > 0) {
			row++;
			n = 0;
		}
		if (job->route[i].r.row != row)
			return "a sum's routes are not in the order of rows";
		if (++n > top_k)
			return "a sum of more routes than top-k";
	}
	return row + 1 == job->n_row ? NULL : "a sum of no routes";
}

/* The part of every row (unsummable's order), into the answer's slot. */
static void
sum_rows(const struct ex_job *j)
{
	const struct ex *ex = j->client->ex;
	const struct kern_sum s = sum_of(ex, &j->head);
	const struct xeng_job *job = &j->job;
	size_t bytes = kern_sum_bytes(&s);
	char *out = link_answer_rows(j->client->pair, j->slot);
	const void *row[KERN_SUM_ADD_MAX];
	float w[KERN_SUM_ADD_MAX];
	uint32_t i = 0;
	int n;

	while (i < job->n_route) {
		n = 0;
		do {
			row[n] = j->row + (size_t)i * job->out_stride;
			w[n++] = job->route[i++].r.weight;
		} while (i < job->n_route &&
		    job->route[i].r.row == job->route[i - 1].r.row);
		kern_sum_part(&s, row, job->weight_in ? NULL : w, n, out);
		out += bytes;
	}
}

static void
on_done(struct xeng_job *job, enum slot_status status)
{
	struct ex_job *j = job->user;
	struct slot_head *h = &j->head;

	j->busy = false;
	h->status = (uint16_t)status;
	h->n_row = 0;
	if (status == SLOT_OK && h->reduce != SLOT_REDUCE_NONE) {
		sum_rows(j);
		h->n_row = (uint16_t)job->n_row;
		h->row_bytes = (uint32_t)part_bytes(j->client->ex, h);
	} else if (status == SLOT_OK) {
		h->n_row = (uint16_t)job->n_route;
	}
	h->n_route = 0;
	h->bytes = 0;
	link_answer(j->client->pair, j->slot, h);
	j->client->ex->heard_ns = clock_ns();
}

static void
fill_job(struct ex_job *j, const struct link_event *ev, uint64_t now_ns)
{
	const struct slot_head *h = &ev->head;
	struct xeng_job *job = &j->job;
	struct xeng_route *r;
	uint32_t i;

	j->head = *h;
	job->layer = h->layer;
	job->n_row = h->n_row;
	job->n_route = h->n_route;
	job->in = (const char *)ev->mem + slot_rows_at(h->n_route);
	if (h->reduce == SLOT_REDUCE_NONE) {
		job->out = link_answer_rows(ev->pair, ev->slot);
	} else {
		mem_grow((void **)&j->row, &j->cap_row, h->n_route,
		    h->row_bytes);
		job->out = j->row;
	}
	job->in_stride = job->out_stride = h->row_bytes;
	job->weight_in = (h->flags & SLOT_WEIGHT_IN) != 0;
	job->client = j->client->id;
	job->submit_ns = now_ns;
	job->deadline_ns = h->budget_us == 0 ? 0 :
	    now_ns + (uint64_t)h->budget_us * 1000;
	job->done = on_done;
	job->user = j;
	r = xeng_job_routes(job, h->n_route);
	for (i = 0; i < h->n_route; i++)
		r[i].r = slot_route_get(ev->mem, i);
}

void
ex_client_request(struct ex *ex, const struct link_event *ev, uint64_t now_ns)
{
	struct ex_client *c = link_user(ev->pair);
	struct ex_job *j;
	enum slot_status st;
	const char *why;

	ex->heard_ns = now_ns;
	if (ev->head.kind == SLOT_PING) {
		echo(c, ev);
		return;
	}
	j = &c->job[ev->slot];
	if (j->busy) {
		bad(c, ev->slot, &ev->head, "a slot that is still in use");
		return;
	}
	if ((why = unsuitable(c, &ev->head)) != NULL) {
		bad(c, ev->slot, &ev->head, why);
		return;
	}
	if (ex->state == EX_DRAINING) {
		refuse(c, ev->slot, &ev->head, SLOT_DRAINING);
		return;
	}
	fill_job(j, ev, now_ns);
	if (ev->head.reduce != SLOT_REDUCE_NONE && (why =
	    unsummable(&j->job, (uint32_t)ex->cfg->top_k)) != NULL) {
		bad(c, ev->slot, &ev->head, why);
		return;
	}
	st = xeng_submit(ex->xeng, &j->job);
	j->busy = st == SLOT_OK;
	if (st == SLOT_BAD)
		bad(c, ev->slot, &ev->head, xeng_why(ex->xeng));
	else if (st != SLOT_OK)
		refuse(c, ev->slot, &ev->head, st);
}
