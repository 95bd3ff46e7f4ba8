/* buf.c - F1.  The read cursor and its writer; no state, any thread. */
#include "buf.h"

#include <string.h>

void
buf_init(struct buf *b, const void *p, size_t n)
{
	b->p = p;
	b->n = n;
	b->bad = false;
}

const void *
buf_bytes(struct buf *b, size_t n)
{
	const void *at = b->p;

	if (b->bad || n > b->n) {
		b->bad = true;
		return NULL;
	}
	b->p += n;
	b->n -= n;
	return at;
}

uint8_t
buf_u8(struct buf *b)
{
	const uint8_t *p = buf_bytes(b, 1);

	return p == NULL ? 0 : *p;
}

uint16_t
buf_u16(struct buf *b)
{
	const void *p = buf_bytes(b, 2);

	return p == NULL ? 0 : buf_le16(p);
}

uint32_t
buf_u32(struct buf *b)
{
	const void *p = buf_bytes(b, 4);

	return p == NULL ? 0 : buf_le32(p);
}

uint64_t
buf_u64(struct buf *b)
{
	const void *p = buf_bytes(b, 8);

	return p == NULL ? 0 : buf_le64(p);
}

void
buf_text(struct buf *b, size_t n, char *out, size_t size)
{
	const uint8_t *p = buf_bytes(b, n);
	size_t i;

	out[0] = '\0';
	if (p == NULL)
		return;
	for (i = 0; i < n; i++)
		if (p[i] < 0x20 || p[i] == 0x7f)
			b->bad = true;
	if (n >= size)
		b->bad = true;
	if (b->bad)
		return;
	memcpy(out, p, n);
	out[n] = '\0';
}

void
buf_put8(struct str *s, uint8_t v)
{
	str_add(s, &v, 1);
}

void
buf_put16(struct str *s, uint16_t v)
{
	uint8_t b[2];

	buf_set16(b, v);
	str_add(s, b, sizeof(b));
}

void
buf_put32(struct str *s, uint32_t v)
{
	uint8_t b[4];

	buf_set32(b, v);
	str_add(s, b, sizeof(b));
}

void
buf_put64(struct str *s, uint64_t v)
{
	uint8_t b[8];

	buf_set64(b, v);
	str_add(s, b, sizeof(b));
}
