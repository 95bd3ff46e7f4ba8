/* hold - see hold.h. */
#include "hold.h"

#include <string.h>

#include "mem.h"

#define HOLD_MAGIC	0x444c484du	/* "MHLD" */
#define HOLD_HEAD	16

static size_t
row_bytes(const struct hold *h)
{
	return ((size_t)h->n_expert + 7) / 8;
}

static size_t
set_bytes(const struct hold *h)
{
	return h->n_layer * row_bytes(h);
}

void
hold_init(struct hold *h, uint32_t n_layer, uint32_t n_expert)
{
	h->version = 0;
	h->n_layer = n_layer;
	h->n_expert = n_expert;
	h->bits = mem_calloc(n_layer, row_bytes(h));
}

void
hold_free(struct hold *h)
{
	mem_free(h->bits);
	memset(h, 0, sizeof(*h));
}

static uint8_t *
byte_of(const struct hold *h, uint32_t layer, uint32_t expert)
{
	BUG_ON(layer >= h->n_layer || expert >= h->n_expert);
	return h->bits + layer * row_bytes(h) + expert / 8;
}

bool
hold_has(const struct hold *h, uint32_t layer, uint32_t expert)
{
	return (*byte_of(h, layer, expert) >> (expert % 8)) & 1;
}

void
hold_set(struct hold *h, uint32_t layer, uint32_t expert, bool on)
{
	uint8_t *b = byte_of(h, layer, expert);
	uint8_t bit = (uint8_t)(1u << (expert % 8));

	*b = (uint8_t)(on ? *b | bit : *b & ~bit);
}

uint64_t
hold_count(const struct hold *h)
{
	size_t i, n = set_bytes(h);
	uint64_t sum = 0;

	for (i = 0; i < n; i++)
		sum += (unsigned)__builtin_popcount(h->bits[i]);
	return sum;
}

void
hold_join(struct hold *a, const struct hold *b)
{
	size_t i, n = set_bytes(a);

	BUG_ON(a->n_layer != b->n_layer || a->n_expert != b->n_expert);
	for (i = 0; i < n; i++)
		a->bits[i] |= b->bits[i];
}

bool
hold_covers(const struct hold *a, const struct hold *b)
{
	size_t i, n = set_bytes(a);

	BUG_ON(a->n_layer != b->n_layer || a->n_expert != b->n_expert);
	for (i = 0; i < n; i++)
		if (b->bits[i] & ~a->bits[i])
			return false;
	return true;
}

static void
put_u32(struct str *out, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16),
	    (uint8_t)(v >> 24) };

	str_add(out, b, sizeof(b));
}

static uint32_t
get_u32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

void
hold_encode(const struct hold *h, struct str *out)
{
	put_u32(out, HOLD_MAGIC);
	put_u32(out, h->version);
	put_u32(out, h->n_layer);
	put_u32(out, h->n_expert);
	str_add(out, h->bits, set_bytes(h));
}

int
hold_decode(struct hold *h, const void *data, size_t n, struct err *err)
{
	const uint8_t *p = data;
	size_t i, rb = row_bytes(h);
	uint8_t unused = (uint8_t)(h->n_expert % 8 == 0 ? 0 :
	    0xff << (h->n_expert % 8));

	if (n < HOLD_HEAD || get_u32(p) != HOLD_MAGIC)
		return err_set(err, ERR_DATA, "HOLD: %zu bytes that do not "
		    "start with its magic", n);
	if (get_u32(p + 8) != h->n_layer || get_u32(p + 12) != h->n_expert)
		return err_set(err, ERR_DATA, "HOLD: %u layers of %u experts, "
		    "the model has %u of %u", get_u32(p + 8), get_u32(p + 12),
		    h->n_layer, h->n_expert);
	if (n != HOLD_HEAD + set_bytes(h))
		return err_set(err, ERR_DATA, "HOLD: %zu bytes, %zu expected",
		    n, HOLD_HEAD + set_bytes(h));
	for (i = 0; i < h->n_layer && rb > 0; i++)
		if (p[HOLD_HEAD + (i + 1) * rb - 1] & unused)
			return err_set(err, ERR_DATA, "HOLD: layer %zu has "
			    "experts beyond %u", i, h->n_expert - 1);
	h->version = get_u32(p + 4);
	memcpy(h->bits, p + HOLD_HEAD, set_bytes(h));
	return 0;
}
