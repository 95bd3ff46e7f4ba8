/* policy - see policy.h. */
#include "policy.h"

#include <string.h>

#include "err.h"

static const struct policy_layer *
oldest(const struct policy_layer *l)
{
	const struct policy_layer *best = l;

	for (; l != NULL; l = l->next)
		if (l->since_ns < best->since_ns)
			best = l;
	return best;
}

static bool
pick_fifo(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	(void)next_ns;
	pick->layer = oldest(v->layer)->layer;
	pick->expert = -1;
	return true;
}

/* When the layer is to run although not everybody is there: 0 is now. */
static uint64_t
ripe_ns(const struct policy_view *v, const struct policy_layer *l)
{
	if (l->n_client >= v->n_client)
		return 0;
	if (v->batch_rows != 0 && l->n_row >= v->batch_rows)
		return 0;
	if (l->since_ns > UINT64_MAX - v->hold_ns)
		return UINT64_MAX;
	return l->since_ns + v->hold_ns;
}

static bool
pick_wait(const struct policy_view *v, struct policy_pick *pick,
    uint64_t *next_ns)
{
	const struct policy_layer *l, *best = NULL;
	uint64_t t;

	*next_ns = UINT64_MAX;
	for (l = v->layer; l != NULL; l = l->next) {
		t = ripe_ns(v, l);
		if (t > v->now_ns) {
			if (t < *next_ns)
				*next_ns = t;
		} else if (best == NULL || l->since_ns < best->since_ns) {
			best = l;
		}
	}
	if (best == NULL)
		return false;
	pick->layer = best->layer;
	pick->expert = -1;
	return true;
}

static const struct policy table[] = {	/* the order of POLICY_NAMES */
	{ "fifo", pick_fifo },
	{ "wait", pick_wait },
};
#define N_POLICY	(int)(sizeof(table) / sizeof(table[0]))

const struct policy *
policy_at(int i)
{
	BUG_ON(i < 0 || i >= N_POLICY);
	return &table[i];
}

const struct policy *
policy_find(const char *name)
{
	int i;

	for (i = 0; i < N_POLICY; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}
