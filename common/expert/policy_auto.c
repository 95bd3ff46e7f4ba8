/* policy_auto - see policy_auto.h. */
#include "policy_auto.h"

#include <stddef.h>

#include "policy.h"

#define SMOOTH	(1.0 / 16)

static void
measure(struct policy_auto *a, const struct policy_view *v)
{
	const struct policy_layer *l;
	double rows = 0, queues = 0, most = 0, skew;

	for (l = v->layer; l != NULL; l = l->next) {
		rows += l->n_row;
		queues += l->n_queue;
		if (l->most->n > most)
			most = l->most->n;
	}
	skew = most * queues / rows;
	if (!a->begun) {
		a->begun = true;
		a->depth = rows;
		a->skew = skew;
	}
	a->depth += SMOOTH * (rows - a->depth);
	a->skew += SMOOTH * (skew - a->skew);
}

bool
policy_auto_defrag(struct policy_auto *a, const struct policy_view *v)
{
	bool want;

	if (a->begun && a->n_submit == v->n_submit)
		return a->defrag;
	a->n_submit = v->n_submit;
	measure(a, v);
	if (a->defrag)
		want = a->depth >= POLICY_AUTO_DEPTH_OFF &&
		    a->skew >= POLICY_AUTO_SKEW_OFF;
	else
		want = a->depth >= POLICY_AUTO_DEPTH_ON &&
		    a->skew >= POLICY_AUTO_SKEW_ON;
	if (want == a->defrag) {
		a->unsure = false;
	} else if (!a->unsure) {
		a->unsure = true;
		a->since_ns = v->now_ns;
	} else if (v->now_ns - a->since_ns >= POLICY_AUTO_DWELL_NS) {
		a->unsure = false;
		a->defrag = want;
		a->n_switch++;
	}
	return a->defrag;
}
