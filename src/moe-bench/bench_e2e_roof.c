/* bench_e2e_roof - see bench_e2e_roof.h. */
#include "bench_e2e_roof.h"

#include <math.h>

/* Bytes of the weights of a layer but its experts. */
static double
layer_bytes(const struct model_cfg *c, const struct model_layer *l,
    const struct bench_e2e_roof *b)
{
	double h = c->hidden, n, gates;

	n = h * c->dk * (c->n_head + c->n_kv_head) +
	    h * c->dv * (c->n_head + c->n_kv_head);
	if (!l->moe)
		return (n + 3 * h * c->inter_dense) * b->mat;
	gates = h * c->n_expert + (c->shared == CONFIG_SHARED_GATED ? h : 0);
	return (n + 3 * h * c->inter_shared) * b->mat + gates * b->act;
}

double
bench_e2e_roof_bytes(const struct model_cfg *c, int streams, double ctx,
    const struct bench_e2e_roof *b)
{
	double e = c->n_expert, expert = 3.0 * c->hidden * c->inter;
	double active = e > 0 ? e * (1 - pow(1 - c->top_k / e, streams)) : 0;
	double n = (double)c->hidden * c->vocab * (c->tied ? b->act : b->mat);
	double keys = 0;
	int i;

	for (i = 0; i < c->n_layer; i++) {
		const struct model_layer *l = &c->layer[i];
		double seen = l->window > 0 && l->window < ctx ? l->window :
		    ctx;

		n += layer_bytes(c, l, b) +
		    (l->moe ? active * expert * b->mat : 0);
		keys += seen * c->n_kv_head * (c->dk + c->dv);
	}
	return n + keys * b->kv * streams;
}
