/*
 * xeng_heap - the queues of a layer with the one to run first on top: binary
 * heaps, in which every queue knows its place.  Between xeng.c and xeng_run.c;
 * nobody else includes this.
 */
#ifndef MOE_XENG_HEAP_H
#define MOE_XENG_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "policy.h"

enum xeng_heap_key {		/* index into policy_queue.at */
	XENG_HEAP_ROWS,		/* most rows; equal: older; then by expert */
	XENG_HEAP_AGE,		/* oldest; equal: by expert */
};

struct xeng_heap {
	enum xeng_heap_key key;
	uint32_t n;
	struct policy_queue **q;	/* room for all that may come */
};

/* Put a queue in that is in it nowhere. */
void	xeng_heap_add(struct xeng_heap *h, struct policy_queue *q);
/* A queue in it has changed. */
void	xeng_heap_moved(struct xeng_heap *h, struct policy_queue *q);
void	xeng_heap_drop(struct xeng_heap *h, struct policy_queue *q);

static inline struct policy_queue *
xeng_heap_top(const struct xeng_heap *h)
{
	return h->n == 0 ? NULL : h->q[0];
}

#endif
