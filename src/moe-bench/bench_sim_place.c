/*
 * bench_sim_place - which device has which experts: see bench_sim.h.
 *
 * By load: experts of a layer, a copy of the most loaded one again and again
 * (EPLB: replicate_experts), then each copy onto the least loaded device that
 * has room (balanced_packing).  A barrier needs every layer even, so a layer is
 * packed by itself; without one only the sum over all layers counts, so loads
 * are carried from a layer to the next.
 */
#include <string.h>

#include "bench_sim.h"
#include "mem.h"
#include "rng.h"

struct pack {			/* of one layer */
	const double *load;	/* [expert] */
	int *copies;		/* [expert] */
	bool *done;
	int *used;		/* [device] places; of all layers if carried */
	double *sum;		/* [device] load */
	int room;
};

static int
hottest(const struct pack *p, int n)
{
	int i, best = -1;

	for (i = 0; i < n; i++)
		if (!p->done[i] && (best < 0 || p->load[i] / p->copies[i] >
		    p->load[best] / p->copies[best]))
			best = i;
	return best;
}

static int
emptiest(const struct pack *p, int n)
{
	int i, best = -1;

	for (i = 0; i < n; i++)
		if (p->used[i] < p->room &&
		    (best < 0 || p->sum[i] < p->sum[best]))
			best = i;
	return best;
}

static void
pack_layer(struct sim *s, struct pack *p, int layer)
{
	int n = s->o.shape.n_expert, i, e, c, d;
	int16_t **at = s->place + (size_t)layer * (size_t)n;

	p->load = s->known + (size_t)layer * (size_t)n;
	memset(p->done, 0, (size_t)n * sizeof(*p->done));
	for (i = 0; i < n; i++)
		p->copies[i] = 1;
	for (i = 0; i < s->o.spare; i++)
		p->copies[hottest(p, n)]++;
	for (i = 0; i < n; i++) {
		e = hottest(p, n);
		p->done[e] = true;
		mem_free(at[e]);
		at[e] = mem_calloc((size_t)p->copies[e] + 1, sizeof(**at));
		at[e][0] = (int16_t)p->copies[e];
		for (c = 1; c <= p->copies[e]; c++) {
			d = emptiest(p, s->o.experts);
			p->used[d]++;
			p->sum[d] += p->load[e] / p->copies[e];
			at[e][c] = (int16_t)d;
		}
	}
}

static void
pack_all(struct sim *s)
{
	int n = s->o.shape.n_expert, nd = s->o.experts, l;
	int nl = s->o.shape.n_layer, total = n + s->o.spare;
	bool carry = s->o.mode == SIM_ASYNC;
	struct pack p = { .copies = mem_calloc((size_t)n, sizeof(int)),
	    .done = mem_calloc((size_t)n, sizeof(bool)),
	    .used = mem_calloc((size_t)nd, sizeof(int)),
	    .sum = mem_calloc((size_t)nd, sizeof(double)) };

	if (carry)
		total *= nl;
	p.room = (total + nd - 1) / nd;
	for (l = 0; l < nl; l++) {
		if (!carry) {
			memset(p.used, 0, (size_t)nd * sizeof(*p.used));
			memset(p.sum, 0, (size_t)nd * sizeof(*p.sum));
		}
		pack_layer(s, &p, l);
	}
	mem_free(p.copies);
	mem_free(p.done);
	mem_free(p.used);
	mem_free(p.sum);
}

/* Nobody looks at loads. */
static void
place_plain(struct sim *s)
{
	int n = s->o.shape.n_expert, nl = s->o.shape.n_layer, i;

	for (i = 0; i < n * nl; i++) {
		s->place[i] = mem_calloc(2, sizeof(**s->place));
		s->place[i][0] = 1;
		s->place[i][1] = (int16_t)((s->o.place == SIM_PLACE_TURN ? i :
		    i % n) % s->o.experts);
	}
}

void
sim_place_open(struct sim *s)
{
	int n = s->o.shape.n_expert, l, e;
	size_t all = (size_t)n * (size_t)s->o.shape.n_layer;

	s->place = mem_calloc(all, sizeof(*s->place));
	s->known = mem_calloc(all, sizeof(*s->known));
	s->count = mem_calloc(all, sizeof(*s->count));
	for (l = 0; l < s->o.shape.n_layer; l++)
		for (e = 0; e < n; e++)
			s->known[l * n + e] = skew_share(s->skew[0], l, e);
	if (s->o.spare > 0 || s->o.place == SIM_PLACE_LOAD)
		pack_all(s);
	else
		place_plain(s);
	s->rebalance_at_us = s->o.rebalance_us;
}

void
sim_place_close(struct sim *s)
{
	int i;

	for (i = 0; i < s->o.shape.n_layer * s->o.shape.n_expert; i++)
		mem_free(s->place[i]);
	mem_free(s->place);
	mem_free(s->known);
	mem_free(s->count);
}

void
sim_place_tick(struct sim *s)
{
	int i, n = s->o.shape.n_layer * s->o.shape.n_expert;

	if (s->o.rebalance_us <= 0 || s->now_us < s->rebalance_at_us ||
	    (s->o.spare == 0 && s->o.place != SIM_PLACE_LOAD))
		return;
	s->rebalance_at_us += s->o.rebalance_us;
	for (i = 0; i < n; i++) {
		s->known[i] = (double)s->count[i];
		s->count[i] = 0;
	}
	pack_all(s);
}

int
sim_place(const struct sim *s, const struct sim_seq *q, int64_t pos, int layer,
    int expert)
{
	const int16_t *at = s->place[layer * s->o.shape.n_expert + expert];

	return at[1 + (at[0] == 1 ? 0 : rng_at(q->seed, (uint64_t)pos,
	    (uint64_t)layer) % (unsigned)at[0])];
}
