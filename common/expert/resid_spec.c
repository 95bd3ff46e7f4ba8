/* resid_spec - the --experts option: see resid.h. */
#include "hold.h"
#include "resid.h"

int
resid_spec(struct resid *r, const char *spec, struct err *err)
{
	uint32_t n_layer = (uint32_t)resid_n_layer(r), l, e;
	uint32_t n_expert = (uint32_t)resid_n_expert(r);
	struct hold h;
	int rc;

	hold_init(&h, n_layer, n_expert);
	rc = hold_spec(&h, spec, err);
	for (l = 0; rc == 0 && l < n_layer; l++)
		for (e = 0; e < n_expert; e++)
			if (hold_has(&h, l, e))
				resid_assign(r, (int)l, (int)e);
	hold_free(&h);
	return rc;
}
