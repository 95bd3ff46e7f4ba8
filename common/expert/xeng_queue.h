/*
 * xeng_queue - the engine's micro-queues, between xeng.c (which fills them) and
 * xeng_run.c (which empties them).  Nobody else includes this.
 *
 * A layer with runnable rows is in x->active; such a layer's queues with rows
 * are in its two heaps.  Queues whose expert is still being loaded are in
 * x->cold instead, with their rows in no layer's account.
 */
#ifndef MOE_XENG_QUEUE_H
#define MOE_XENG_QUEUE_H

#include "policy.h"
#include "policy_auto.h"
#include "xeng.h"
#include "xeng_heap.h"

struct xlayer;

struct xqueue {
	struct policy_queue p;	/* first: the policies' view is cast back */
	struct xlayer *l;
	struct xeng_route *head, **tail;
	bool active;		/* in its layer's heaps */
	bool cold;		/* in x->cold */
	struct xqueue *next_cold;
};

struct xlayer {
	struct policy_layer p;	/* first, too */
	struct xeng_heap by_rows, by_age;	/* of q's active ones */
	struct xqueue *q;	/* [n_expert]; NULL until first used */
	uint32_t *client_rows;	/* [x->n_client] runnable rows of each */
};

struct xclient {
	bool up;
	bool heard;		/* has submitted since it came up */
	uint64_t heard_ns;
};

/* What one pass gathers: arrays of `cap` rows and of n_expert groups. */
struct xeng_pass {
	uint32_t cap, n, n_group;
	bool scaled;		/* some job has weight_in */
	struct kern_group *group;
	struct xeng_route **route;
	const void **in;
	void **out;
	float *scale;
};

struct xeng {
	struct xeng_opt opt;
	int n_layer, n_expert, n_client;
	struct xlayer *layer;
	struct policy_layer *active;
	struct policy_layer **block;	/* layers with experts here */
	uint32_t n_block;
	uint64_t block_seen;	/* resid_version that they match */
	uint64_t n_submit;
	struct policy_auto auto_state;
	struct xqueue *cold;
	uint64_t cold_due_ns;	/* no cold job expires before it */
	uint64_t resid_seen;	/* resid_version that cold queues match */
	struct xclient *client;
	struct xeng_job *done, **done_tail;	/* to be handed back */
	struct xeng_pass pass;
	struct xeng_stats stats;
	char why[200];
};

/* Clients that the wait policy waits for. */
uint32_t xeng_live_clients(const struct xeng *x, uint64_t now_ns);
/* One runnable row more or less in a layer's account. */
void	xeng_layer_more(struct xeng *x, struct xlayer *l, int client);
void	xeng_layer_less(struct xeng *x, struct xlayer *l, int client);
/* After rows came into or went out of a queue's list and its layer's account:
 * put heaps, the layer's figures and x->active right. */
void	xeng_settle(struct xeng *x, struct xqueue *q);

void	xeng_pass_init(struct xeng_pass *p, uint32_t rows, int n_expert);
void	xeng_pass_free(struct xeng_pass *p);

#endif
