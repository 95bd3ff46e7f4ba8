/*
 * zbuf - big control messages packed with zstd, when both sides have it (they
 * say so in HELLO).  A build without zstd links zbuf_stub.c: zbuf_have() is
 * false and nothing is packed.
 */
#ifndef MOE_ZBUF_H
#define MOE_ZBUF_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

#define ZBUF_WORTH	4096	/* shorter bodies are sent as they are */

bool	zbuf_have(void);
/* Append the packed form of p[0..n).  false: no zstd, or it does not get
 * shorter; *out is as before. */
bool	zbuf_pack(struct str *out, const void *p, size_t n);
/* Append exactly raw bytes unpacked from p[0..n).  raw has been bounded by the
 * caller.  -1: ERR_DATA (broken, or another size), ERR_UNAVAIL without zstd;
 * *out is as before. */
int	zbuf_unpack(struct str *out, const void *p, size_t n, size_t raw,
	    struct err *err);

#endif
