/*
 * mac - SHA-256, HMAC-SHA-256 and a comparison that takes the same time
 * whatever differs.  From libcrypto; a build without it says so in mac_check,
 * and calling anything else there is a bug.
 *
 * Floor F1; no state, any thread.
 */
#ifndef MOE_MAC_H
#define MOE_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define MAC_BYTES	32

/* 0, or -1 with ERR_UNAVAIL and a sentence: not in this build. */
int	mac_check(struct err *err);

void	mac_sha256(const void *p, size_t n, uint8_t out[MAC_BYTES]);
/* RFC 2104 with SHA-256; a key of any length. */
void	mac_hmac(const void *key, size_t n_key, const void *p, size_t n,
	    uint8_t out[MAC_BYTES]);
bool	mac_same(const void *a, const void *b, size_t n);

#endif
