/*
 * token_bytes - the byte-level alphabet of GPT-2: every byte has a printable
 * character that stands for it in a vocabulary.  Bytes 33-126, 161-172 and
 * 174-255 are their own; the other 68 are U+0100, U+0101, ... in order.
 * Floor F4; no state.
 */
#include "token_parts.h"

#define LAST_STAND_IN	0x143

static bool
is_own(unsigned byte)
{
	return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
	    byte >= 174;
}

unsigned
token_bytes_stand_in(uint8_t byte)
{
	unsigned b, nth = 0;

	if (is_own(byte))
		return byte;
	for (b = 0; b < byte; b++)
		nth += !is_own(b);
	return 0x100 + nth;
}

/* The byte that code point cp stands for, or -1. */
static int
byte_of(unsigned cp)
{
	unsigned b, nth = 0x100;

	if (cp < 0x100)
		return is_own(cp) ? (int)cp : -1;
	if (cp > LAST_STAND_IN)
		return -1;
	for (b = 0; b < 256; b++) {
		if (is_own(b))
			continue;
		if (nth++ == cp)
			return (int)b;
	}
	return -1;
}

void
token_bytes_decode(const char *s, size_t n, struct str *out)
{
	size_t i, len, start = out->n;
	int b;

	for (i = 0; i < n; i += len) {
		b = byte_of(str_utf8_next(s + i, n - i, &len));
		if (b < 0) {
			str_cut(out, start);
			str_add(out, s, n);
			return;
		}
		str_addc(out, (char)b);
	}
}
