/* link_wire.c - F3.  See link_wire.h. */
#include "link_wire.h"

#include <stdio.h>

#include "link_port.h"
#include "mem.h"
#include "num.h"

struct waiting {
	struct link_event ev;	/* pair NULL: forgotten */
	uint64_t due_ns;	/* later for later ones */
};

struct link_wire {
	struct link_wire_opt o;
	VEC(struct waiting) q;
	size_t first;		/* of q, that waits */
	uint64_t free_ns;	/* the card is busy until then */
	uint64_t slots, bytes, busy_ns, behind_ns, behind_max_ns;
};

struct link_wire *
link_wire_new(const struct link_wire_opt *o)
{
	struct link_wire *w;

	if (o->latency_ns == 0 && o->byte_ns <= 0)
		return NULL;
	w = mem_zalloc(sizeof(*w));
	w->o = *o;
	return w;
}

void
link_wire_free(struct link_wire *w)
{
	if (w != NULL)
		VEC_FREE(&w->q);
	mem_free(w);
}

void
link_wire_put(struct link_wire *w, const struct link_event *ev, uint32_t bytes,
    uint64_t now_ns)
{
	uint64_t takes = (uint64_t)(w->o.byte_ns * bytes), behind;
	struct waiting n = { *ev, 0 };

	if (w->free_ns < now_ns)
		w->free_ns = now_ns;
	behind = w->free_ns - now_ns;
	w->free_ns += takes;
	n.due_ns = w->free_ns + w->o.latency_ns;
	VEC_PUSH(&w->q, n);
	w->slots++;
	w->bytes += bytes;
	w->busy_ns += takes;
	w->behind_ns += behind;
	if (behind > w->behind_max_ns)
		w->behind_max_ns = behind;
}

static void
skip_forgotten(struct link_wire *w)
{
	const struct link_pair *pair;

	while (w->first < w->q.n) {
		pair = w->q.p[w->first].ev.pair;
		if (pair != NULL && !pair->broken)
			return;
		w->first++;
	}
	w->first = w->q.n = 0;
}

bool
link_wire_take(struct link_wire *w, uint64_t now_ns, struct link_event *ev)
{
	skip_forgotten(w);
	if (link_wire_due(w) > now_ns)
		return false;
	*ev = w->q.p[w->first++].ev;
	return true;
}

uint64_t
link_wire_due(const struct link_wire *w)
{
	return w->first < w->q.n ? w->q.p[w->first].due_ns : UINT64_MAX;
}

void
link_wire_forget(struct link_wire *w, const struct link_pair *pair)
{
	size_t i;

	for (i = w->first; i < w->q.n; i++)
		if (w->q.p[i].ev.pair == pair)
			w->q.p[i].ev.pair = NULL;
}

void
link_wire_count(const struct link_wire *w, struct link_counters *out)
{
	out->wire_slots = w->slots;
	out->wire_bytes = w->bytes;
	out->wire_busy_ns = w->busy_ns;
	out->wire_behind_ns = w->behind_ns;
	out->wire_behind_max_ns = w->behind_max_ns;
}

const char *
link_wire_say(const struct link_counters *c, char out[LINK_SAY])
{
	char busy[NUM_TEXT], behind[NUM_TEXT], most[NUM_TEXT], size[NUM_TEXT];

	if (c->wire_slots == 0)
		return NULL;
	snprintf(out, LINK_SAY, "emulated link: %llu slots in, %s; busy %s; "
	    "behind others %s, at most %s", (unsigned long long)c->wire_slots,
	    num_size_text(c->wire_bytes, size),
	    num_dur_text(c->wire_busy_ns, busy),
	    num_dur_text(c->wire_behind_ns, behind),
	    num_dur_text(c->wire_behind_max_ns, most));
	return out;
}
