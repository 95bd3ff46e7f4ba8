/*
 * hold - the body of LINK_MSG_HOLD: which experts a server has in memory.
 *
 * Sent by an expert server to every client, and to its router, when the pair
 * comes up, and again whenever the set has changed.  A front end may send to
 * experts that are not in the set, but they answer late or SLOT_COLD.
 *
 * LINK_MSG_WANT has the same body: which experts a router wants a server to
 * have; its version is that of the map then.
 *
 *     +0   u32 magic "MHLD", little endian like all that follows
 *     +4   u32 version: counts changes from 1; a lower one is older news
 *     +8   u32 n_layer
 *     +12  u32 n_expert
 *     +16  n_layer x ceil(n_expert / 8) bytes; expert e of a layer is bit
 *          e % 8 of byte e / 8; unused bits are 0
 */
#ifndef MOE_HOLD_H
#define MOE_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

struct hold {
	uint32_t version;
	uint32_t n_layer, n_expert;
	uint8_t *bits;		/* [n_layer][(n_expert + 7) / 8]; owned */
};

/* An empty set, version 0. */
void	hold_init(struct hold *h, uint32_t n_layer, uint32_t n_expert);
void	hold_free(struct hold *h);

/* Out-of-range indices abort. */
bool	hold_has(const struct hold *h, uint32_t layer, uint32_t expert);
void	hold_set(struct hold *h, uint32_t layer, uint32_t expert, bool on);
uint64_t hold_count(const struct hold *h);
/* Of the same shape: a = a | b; is every expert of b in a? */
void	hold_join(struct hold *a, const struct hold *b);
bool	hold_covers(const struct hold *a, const struct hold *b);

/* Set what a list names: "all", or parts with commas between: E or E-E (of
 * every layer), L:E, L:E-E, L-L:E-E.  -1: ERR_USAGE with the part and the range
 * that it may have; then nothing has been set. */
int	hold_spec(struct hold *h, const char *spec, struct err *err);

/* Append the body to *out. */
void	hold_encode(const struct hold *h, struct str *out);
/* Take a peer's body over into *h (initialised: its shape is what is
 * expected).  -1 with ERR_DATA, *h unchanged: wrong magic, length or shape. */
int	hold_decode(struct hold *h, const void *data, size_t n,
	    struct err *err);

#endif
