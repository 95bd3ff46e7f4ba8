/*
 * buf - bytes of a peer or a file, read through a cursor that cannot leave
 * them; and little-endian numbers at an address.  Every decoder of the wire
 * goes through this file.
 */
#ifndef MOE_BUF_H
#define MOE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "str.h"

/* ---- numbers at an address; compilers make one load or store of these ----- */

static inline uint16_t
buf_le16(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t
buf_le32(const void *p)
{
	const uint8_t *b = p;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
	    (uint32_t)b[3] << 24;
}

static inline uint64_t
buf_le64(const void *p)
{
	const uint8_t *b = p;

	return buf_le32(b) | (uint64_t)buf_le32(b + 4) << 32;
}

static inline void
buf_set16(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}

static inline void
buf_set32(void *p, uint32_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
	b[2] = (uint8_t)(v >> 16);
	b[3] = (uint8_t)(v >> 24);
}

static inline void
buf_set64(void *p, uint64_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
	b[2] = (uint8_t)(v >> 16);
	b[3] = (uint8_t)(v >> 24);
	b[4] = (uint8_t)(v >> 32);
	b[5] = (uint8_t)(v >> 40);
	b[6] = (uint8_t)(v >> 48);
	b[7] = (uint8_t)(v >> 56);
}

/* ---- reading: a cursor ------------------------------------------------------ */

struct buf {
	const uint8_t *p;	/* what is left */
	size_t n;
	bool bad;		/* sticky: something did not fit */
};

void	buf_init(struct buf *b, const void *p, size_t n);
/* The next number; 0, and b->bad, when there are too few bytes left. */
uint8_t	buf_u8(struct buf *b);
uint16_t buf_u16(struct buf *b);
uint32_t buf_u32(struct buf *b);
uint64_t buf_u64(struct buf *b);
/* The next n bytes, within the original memory; NULL, and b->bad, when there
 * are fewer. */
const void *buf_bytes(struct buf *b, size_t n);
/* The next n bytes as text into out[size], NUL-terminated.  bad when they do
 * not fit, or hold a control character. */
void	buf_text(struct buf *b, size_t n, char *out, size_t size);

/* ---- writing: append to a str ------------------------------------------------- */

void	buf_put8(struct str *s, uint8_t v);
void	buf_put16(struct str *s, uint16_t v);
void	buf_put32(struct str *s, uint32_t v);
void	buf_put64(struct str *s, uint64_t v);

#endif
