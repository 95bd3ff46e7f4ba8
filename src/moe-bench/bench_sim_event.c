/* bench_sim_event - see bench_sim_event.h. */
#include "bench_sim_event.h"

#include <stdbool.h>

static bool
earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->no < b->no);
}

void
sim_events_put(struct sim_events *h, struct sim_event e)
{
	size_t i, up;

	e.no = h->n++;
	VEC_PUSH(&h->heap, e);
	for (i = h->heap.n - 1; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!earlier(&e, &h->heap.p[up]))
			break;
		h->heap.p[i] = h->heap.p[up];
	}
	h->heap.p[i] = e;
}

struct sim_event
sim_events_take(struct sim_events *h)
{
	struct sim_event first = h->heap.p[0], last = h->heap.p[--h->heap.n];
	size_t i = 0, c;

	for (; (c = 2 * i + 1) < h->heap.n; i = c) {
		if (c + 1 < h->heap.n &&
		    earlier(&h->heap.p[c + 1], &h->heap.p[c]))
			c++;
		if (!earlier(&h->heap.p[c], &last))
			break;
		h->heap.p[i] = h->heap.p[c];
	}
	if (h->heap.n > 0)
		h->heap.p[i] = last;
	return first;
}

void
sim_events_free(struct sim_events *h)
{
	size_t i;

	for (i = 0; i < h->heap.n; i++)
		mem_free(h->heap.p[i].r);
	VEC_FREE(&h->heap);
}
