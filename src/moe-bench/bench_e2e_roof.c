/* bench_e2e_roof - see bench_e2e_roof.h. */
#include "bench_e2e_roof.h"

#include <math.h>

/* Weights of a layer but its experts. */
static double
layer_weights(const struct model_cfg *c, const struct model_layer *l)
{
	double h = c->hidden, n;

	n = h * c->dk * (c->n_head + c->n_kv_head) +
	    h * c->dv * (c->n_head + c->n_kv_head);
	if (!l->moe)
		return n + 3 * h * c->inter_dense;
	n += h * c->n_expert + 3 * h * c->inter_shared;
	return n + (c->shared == CONFIG_SHARED_GATED ? h : 0);
}

double
bench_e2e_roof_bytes(const struct model_cfg *c, int streams, double ctx,
    double elem, double kv)
{
	double e = c->n_expert, expert = 3.0 * c->hidden * c->inter;
	double active = e > 0 ? e * (1 - pow(1 - c->top_k / e, streams)) : 0;
	double n = (double)c->hidden * c->vocab, keys = 0;
	int i;

	for (i = 0; i < c->n_layer; i++) {
		const struct model_layer *l = &c->layer[i];
		double seen = l->window > 0 && l->window < ctx ? l->window :
		    ctx;

		n += layer_weights(c, l) + (l->moe ? active * expert : 0);
		keys += seen * c->n_kv_head * (c->dk + c->dv);
	}
	return n * elem + keys * kv * streams;
}
