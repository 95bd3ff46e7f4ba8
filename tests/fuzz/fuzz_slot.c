/* fuzz_slot - a slot as a peer may leave it, from its header on: decoded,
 * read, and encoded again to the same bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "mem.h"
#include "slot.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Let the input past the crc, so that there is something behind it. */
static void
mend_crc(uint8_t *slot, const struct err *err)
{
	unsigned long long got, want;

	if (sscanf(err->text, "slot header: crc is %llu, want %llu", &got,
	    &want) == 2)
		buf_set32(slot + SLOT_HEAD + 60, (uint32_t)want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err err = ERR_INIT;
	struct slot_head h, again;
	uint8_t *slot, *copy;
	double sum = 0;
	uint32_t i;

	if (n < SLOT_BODY - SLOT_HEAD || n > 1 << 20)
		return 0;
	slot = mem_zalloc(SLOT_HEAD + n);
	memcpy(slot + SLOT_HEAD, data, n);
	if (slot_decode(slot, SLOT_HEAD + n, &h, &err) != 0)
		mend_crc(slot, &err);
	if (slot_decode(slot, SLOT_HEAD + n, &h, &err) == 0) {
		for (i = 0; i < h.n_route; i++)
			sum += slot_route_get(slot, i).weight;
		for (i = 0; i < (uint32_t)h.n_row * h.row_bytes; i++)
			sum += slot[slot_rows_at(h.n_route) + i];
		copy = mem_dup(slot, SLOT_HEAD + n);
		slot_encode(copy, &h);
		if (memcmp(copy, slot, SLOT_HEAD + n) != 0 ||
		    slot_decode(copy, SLOT_HEAD + n, &again, NULL) != 0 ||
		    sum == 0.123)
			abort();
		mem_free(copy);
	}
	mem_free(slot);
	return 0;
}

#include "fuzz_main.h"
