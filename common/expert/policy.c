/* policy - see policy.h. */
#include "policy.h"

#include <string.h>

#include "err.h"
#include "policy_auto.h"

static const struct policy_layer *
oldest(const struct policy_layer *l)
{
	const struct policy_layer *best = l;

	for (; l != NULL; l = l->next)
		if (l->since_ns < best->since_ns)
			best = l;
	return best;
}

static uint64_t
later(uint64_t t_ns, uint64_t by_ns)
{
	return t_ns > UINT64_MAX - by_ns ? UINT64_MAX : t_ns + by_ns;
}

static bool
take(struct policy_pick *pick, int layer, int expert)
{
	pick->layer = layer;
	pick->expert = expert;
	pick->urgent = false;
	return true;
}

/* A row that has waited long enough goes first. */
static bool
pick_urgent(const struct policy_view *v, bool whole, struct policy_pick *pick)
{
	const struct policy_layer *l = oldest(v->layer);

	if (later(l->since_ns, v->urgent_ns) > v->now_ns)
		return false;
	take(pick, l->layer, whole ? -1 : l->oldest->expert);
	pick->urgent = true;
	return true;
}

static bool
pick_fifo(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	(void)next_ns;
	return take(pick, oldest(v->layer)->layer, -1);
}

/* When the layer is to run although not everybody is there: 0 is now. */
static uint64_t
ripe_ns(const struct policy_view *v, const struct policy_layer *l)
{
	if (l->n_client >= v->n_client)
		return 0;
	if (v->batch_rows != 0 && l->n_row >= v->batch_rows)
		return 0;
	return later(l->since_ns, v->hold_ns);
}

/* Is it ripe?  If not, *next_ns is no later than when it will be. */
static bool
is_ripe(const struct policy_view *v, const struct policy_layer *l,
    uint64_t *next_ns)
{
	uint64_t t = ripe_ns(v, l);

	if (t > v->now_ns && t < *next_ns)
		*next_ns = t;
	return t <= v->now_ns;
}

static bool
pick_wait(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	const struct policy_layer *l, *best = NULL;

	*next_ns = UINT64_MAX;
	for (l = v->layer; l != NULL; l = l->next)
		if (is_ripe(v, l, next_ns) &&
		    (best == NULL || l->since_ns < best->since_ns))
			best = l;
	return best != NULL && take(pick, best->layer, -1);
}

/* Does a's longest queue, with score sa, go before b's? */
static bool
before(const struct policy_layer *a, double sa, const struct policy_layer *b,
    double sb)
{
	if (b == NULL || sa != sb)
		return b == NULL || sa > sb;
	if (a->most->since_ns != b->most->since_ns)
		return a->most->since_ns < b->most->since_ns;
	return a->layer < b->layer;
}

static bool
pick_mtfs(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	const struct policy_layer *l, *best = NULL;

	(void)next_ns;
	if (pick_urgent(v, false, pick))
		return true;
	for (l = v->layer; l != NULL; l = l->next)
		if (before(l, l->most->n, best, best ? best->most->n : 0))
			best = l;
	return take(pick, best->layer, best->most->expert);
}

static bool
pick_flfs(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	const struct policy_layer *l, *best = v->layer;

	(void)next_ns;
	if (pick_urgent(v, true, pick))
		return true;
	for (l = v->layer; l != NULL; l = l->next)
		if (l->layer < best->layer)
			best = l;
	return take(pick, best->layer, -1);
}

/* Algorithm 1 adds up all of Q[b][e].  That makes the longest queue win nearly
 * always, so that all queues are served when they are equally long, none of them
 * full, and rows of a layer never come together.  Rows beyond a few do not make
 * a queue more urgent: then the layers ahead decide, rows behind catch up, and
 * waves form.  (bench/fig-policy.) */
static double
own(const struct policy_layer *l)
{
	return l->most->n < POLICY_DEFRAG_FULL ? l->most->n :
	    POLICY_DEFRAG_FULL;
}

/* What the rows of the K blocks behind this one in the ring add to its
 * queues: LScore of the paper. */
static double
ahead(const struct policy_view *v, const struct policy_layer *l)
{
	const struct policy_layer *at;
	double sum = 0, weight = 1;
	uint32_t k, i = l->block;

	for (k = 0; k < v->lookahead; k++) {
		weight *= v->decay;
		i = i + 1 == v->n_block ? 0 : i + 1;
		at = v->block[i];
		sum += weight * (double)at->n_row / (double)at->n_expert;
	}
	return sum;
}

static bool
pick_defrag(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	const struct policy_layer *l, *best = NULL;
	double score, best_score = 0;
	uint64_t urgent = later(oldest(v->layer)->since_ns, v->urgent_ns);

	if (pick_urgent(v, false, pick))
		return true;
	*next_ns = urgent;
	for (l = v->layer; l != NULL; l = l->next) {
		if (!is_ripe(v, l, next_ns))
			continue;
		score = own(l) + ahead(v, l);
		if (before(l, score, best, best_score)) {
			best = l;
			best_score = score;
		}
	}
	return best != NULL && take(pick, best->layer, best->most->expert);
}

static bool
pick_auto(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	if (policy_auto_defrag(v->state, v))
		return pick_defrag(v, pick, next_ns);
	return pick_wait(v, pick, next_ns);
}

static const struct policy table[POLICY_N] = {	/* as in POLICY_NAMES */
	{ "fifo", pick_fifo },
	{ "wait", pick_wait },
	{ "mtfs", pick_mtfs },
	{ "flfs", pick_flfs },
	{ "defrag", pick_defrag },
	{ "auto", pick_auto },
};

const struct policy *
policy_at(int i)
{
	BUG_ON(i < 0 || i >= POLICY_N);
	return &table[i];
}

const struct policy *
policy_find(const char *name)
{
	int i;

	for (i = 0; i < POLICY_N; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

int
policy_index(const struct policy *p)
{
	BUG_ON(p < table || p >= table + POLICY_N);
	return (int)(p - table);
}
