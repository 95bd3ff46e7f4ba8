/* xeng_heap - see xeng_heap.h. */
#include "xeng_heap.h"

#include <stdbool.h>

static bool
before(const struct xeng_heap *h, const struct policy_queue *a,
    const struct policy_queue *b)
{
	if (h->key == XENG_HEAP_ROWS && a->n != b->n)
		return a->n > b->n;
	if (a->since_ns != b->since_ns)
		return a->since_ns < b->since_ns;
	return a->expert < b->expert;
}

static void
set(struct xeng_heap *h, uint32_t i, struct policy_queue *q)
{
	h->q[i] = q;
	q->at[h->key] = i;
}

/* q's place is i or above. */
static void
rise(struct xeng_heap *h, uint32_t i, struct policy_queue *q)
{
	for (; i > 0 && before(h, q, h->q[(i - 1) / 2]); i = (i - 1) / 2)
		set(h, i, h->q[(i - 1) / 2]);
	set(h, i, q);
}

/* q's place is i or below. */
static void
sink(struct xeng_heap *h, uint32_t i, struct policy_queue *q)
{
	uint32_t c;

	for (; (c = 2 * i + 1) < h->n; i = c) {
		if (c + 1 < h->n && before(h, h->q[c + 1], h->q[c]))
			c++;
		if (!before(h, h->q[c], q))
			break;
		set(h, i, h->q[c]);
	}
	set(h, i, q);
}

void
xeng_heap_add(struct xeng_heap *h, struct policy_queue *q)
{
	rise(h, h->n++, q);
}

void
xeng_heap_moved(struct xeng_heap *h, struct policy_queue *q)
{
	rise(h, q->at[h->key], q);
	sink(h, q->at[h->key], q);
}

void
xeng_heap_drop(struct xeng_heap *h, struct policy_queue *q)
{
	struct policy_queue *last = h->q[--h->n];

	if (last == q)
		return;
	set(h, q->at[h->key], last);
	xeng_heap_moved(h, last);
}
