/* fuzz_map - maps as text, as routers send them and `moe-route apply` reads
 * them; with a first byte of 0, the body of HOLD and WANT instead.  What is
 * taken must come back from its own text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hold.h"
#include "map.h"
#include "mem.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define LAYERS	3
#define EXPERTS	13	/* not a multiple of 8 */

static void
try_hold(const uint8_t *p, size_t n)
{
	struct str out = STR_INIT;
	struct hold h;
	uint32_t l, e, sum = 0;

	hold_init(&h, LAYERS, EXPERTS);
	if (hold_decode(&h, p, n, NULL) == 0) {
		for (l = 0; l < LAYERS; l++)
			for (e = 0; e < EXPERTS; e++)
				sum += hold_has(&h, l, e);
		hold_encode(&h, &out);
		if (sum != hold_count(&h) || out.n != n)
			abort();
	}
	hold_free(&h);
	str_free(&out);
}

static void
try_map(const uint8_t *p, size_t n)
{
	struct str text = STR_INIT;
	struct map *m, *again;
	struct err e = ERR_INIT;

	if (map_read_text(&m, p, n, "fuzz", &e) != 0) {
		if (e.text[0] == '\0')
			abort();
		return;
	}
	map_text(m, &text);
	if (map_read_text(&again, text.p, text.n, "again", &e) != 0 ||
	    map_version(again) != map_version(m) || !map_same(m, again))
		abort();
	map_unref(again);
	map_unref(m);
	str_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n > 0 && data[0] == 0)
		try_hold(data + 1, n - 1);
	else
		try_map(data, n);
	return 0;
}

#include "fuzz_main.h"
