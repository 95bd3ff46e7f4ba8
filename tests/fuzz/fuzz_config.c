/* fuzz_config - any bytes as config.json, and, after a line of "---", as
 * generation_config.json: no crash, and what is accepted is in bounds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "err.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct model_cfg *c)
{
	float inv[ROPE_MAX_DIM / 2], mscale;
	int i;

	if (c->n_layer < 1 || c->n_layer > CONFIG_MAX_LAYER ||
	    c->top_k > c->n_expert || c->hidden < 1 || c->dk < 1 ||
	    c->n_head % c->n_kv_head != 0 || c->rope.dim > c->dk)
		abort();
	rope_table(&c->rope, c->max_pos, inv, &mscale);
	for (i = 0; i < c->rope.dim / 2; i++)
		if (!isfinite(inv[i]))
			abort();
	if (!isfinite(mscale))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *cut;
	const char *gen = NULL;
	struct model_cfg *c = NULL;
	struct err e = ERR_INIT;
	size_t n_gen = 0, n = size;

	cut = memmem(text, size, "\n---\n", 5);
	if (cut != NULL) {
		n = (size_t)(cut - text);
		gen = cut + 5;
		n_gen = size - n - 5;
	}
	if (config_parse(&c, text, n, gen, n_gen, &e) == 0)
		check(c);
	else if (e.code == 0 || e.text[0] == '\0')
		abort();
	config_free(c);
	return 0;
}

#include "fuzz_main.h"
