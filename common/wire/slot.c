/*
 * slot.c - F1.  The slot header on the wire; no state, any thread.
 *
 * All numbers little endian, offsets from the header's start:
 *
 *     0 magic   4 kind   5 reduce   6 flags   8 epoch   10 status
 *     12 layer  14 tenant  16 seq  24 req_id
 *     32 dtype_in  33 dtype_out  34 n_row  36 n_route  38 zero
 *     40 row_bytes  44 bytes  48 map_version  52 budget_us  56 zero
 *     60 crc32c
 */
#include "slot.h"

#include <string.h>

#include "buf.h"
#include "kern.h"	/* enum kern_dtype */

#define HEAD_BYTES	(SLOT_BODY - SLOT_HEAD)
#define CRC_AT		60
#define FLAG_ALL	(SLOT_LAST | SLOT_REPLAY | SLOT_HEDGE |		\
			SLOT_CRC_BODY | SLOT_WEIGHT_IN)
#define ROUTE_BYTES	8u

static uint64_t
routes_padded(uint32_t n_route)
{
	return ((uint64_t)n_route * ROUTE_BYTES + 15) & ~15ull;
}

uint32_t
slot_body_bytes(uint32_t n_route, uint32_t n_row, uint32_t row_bytes)
{
	uint64_t n;

	/* 2^32 * 2^32 wraps: bound the product by a division first. */
	if (row_bytes != 0 && n_row > UINT32_MAX / row_bytes)
		return 0;
	n = routes_padded(n_route) + (uint64_t)n_row * row_bytes;
	return n > UINT32_MAX ? 0 : (uint32_t)n;
}

size_t
slot_rows_at(uint32_t n_route)
{
	return SLOT_BODY + (size_t)routes_padded(n_route);
}

/* crc over the header without its last word, then routes or the body. */
static uint32_t
head_crc(const uint8_t *raw, const uint8_t *body, const struct slot_head *h)
{
	uint32_t crc = slot_crc32c(0, raw, CRC_AT);
	size_t n = h->flags & SLOT_CRC_BODY ? h->bytes :
	    (size_t)h->n_route * ROUTE_BYTES;

	return n == 0 ? crc : slot_crc32c(crc, body, n);
}

/* In whole words, so that neither the crc nor the copy has to wait for narrow
 * stores to drain: this is on the path of every slot. */
void
slot_encode(void *slot, const struct slot_head *h)
{
	uint8_t *p = (uint8_t *)slot + SLOT_HEAD;
	uint64_t w[HEAD_BYTES / 8];
	uint8_t raw[HEAD_BYTES];
	int i;

	w[0] = SLOT_MAGIC | (uint64_t)h->kind << 32 |
	    (uint64_t)h->reduce << 40 | (uint64_t)h->flags << 48;
	w[1] = h->epoch | (uint64_t)h->status << 16 |
	    (uint64_t)h->layer << 32 | (uint64_t)h->tenant << 48;
	w[2] = h->seq;
	w[3] = h->req_id;
	w[4] = h->dtype_in | (uint64_t)h->dtype_out << 8 |
	    (uint64_t)h->n_row << 16 | (uint64_t)h->n_route << 32;
	w[5] = h->row_bytes | (uint64_t)h->bytes << 32;
	w[6] = h->map_version | (uint64_t)h->budget_us << 32;
	w[7] = 0;
	for (i = 0; i < HEAD_BYTES / 8; i++)
		buf_set64(raw + i * 8, w[i]);
	w[7] = (uint64_t)head_crc(raw, p + HEAD_BYTES, h) << 32;
	for (i = 0; i < HEAD_BYTES / 8; i++)
		buf_set64(p + i * 8, w[i]);
}

static int
bad(struct err *err, const char *what, uint64_t got, uint64_t want)
{
	return err_set(err, ERR_DATA, "slot header: %s is %llu, want %llu",
	    what, (unsigned long long)got, (unsigned long long)want);
}

static int
too_big(struct err *err, const char *what, uint64_t got, uint64_t most)
{
	return err_set(err, ERR_DATA, "slot header: %s is %llu, at most %llu",
	    what, (unsigned long long)got, (unsigned long long)most);
}

/* Numbers that stand for something, and bytes that must be zero. */
static int
check_codes(const uint8_t *raw, const struct slot_head *h, struct err *err)
{
	if (h->kind < SLOT_REQUEST || h->kind > SLOT_PING)
		return too_big(err, "kind", h->kind, SLOT_PING);
	if (h->reduce > SLOT_REDUCE_EXACT)
		return too_big(err, "reduce", h->reduce, SLOT_REDUCE_EXACT);
	if ((h->flags & ~FLAG_ALL) != 0)
		return bad(err, "an unknown flag", h->flags & ~FLAG_ALL, 0);
	if (h->status > SLOT_EXPIRED)
		return too_big(err, "status", h->status, SLOT_EXPIRED);
	if (h->dtype_in > KERN_MXFP4)
		return too_big(err, "dtype_in", h->dtype_in, KERN_MXFP4);
	if (h->dtype_out > KERN_MXFP4)
		return too_big(err, "dtype_out", h->dtype_out, KERN_MXFP4);
	if (h->seq == 0 || h->seq > SLOT_SEQ_MASK)
		return too_big(err, "seq", h->seq, SLOT_SEQ_MASK);
	if (buf_le16(raw + 38) != 0 || buf_le32(raw + 56) != 0)
		return bad(err, "a reserved byte", 1, 0);
	return 0;
}

static int
check_counts(const struct slot_head *h, size_t slot_bytes, struct err *err)
{
	uint64_t want = routes_padded(h->n_route) +
	    (uint64_t)h->n_row * h->row_bytes;

	if (slot_bytes < SLOT_BODY)
		return too_big(err, "its place", SLOT_BODY, slot_bytes);
	if (want > slot_bytes - SLOT_BODY)
		return too_big(err, "routes and rows", want,
		    slot_bytes - SLOT_BODY);
	if (h->bytes != want)
		return bad(err, "bytes", h->bytes, want);
	if (h->n_row != 0 && h->row_bytes == 0)
		return bad(err, "row_bytes", 0, 1);
	return 0;
}

int
slot_decode(const void *slot, size_t slot_bytes, struct slot_head *h,
    struct err *err)
{
	const uint8_t *p = (const uint8_t *)slot + SLOT_HEAD;
	uint8_t raw[HEAD_BYTES];
	uint32_t crc;

	memcpy(raw, p, sizeof(raw));
	if (buf_le32(raw) != SLOT_MAGIC)
		return bad(err, "magic", buf_le32(raw), SLOT_MAGIC);
	*h = (struct slot_head){
		.kind = raw[4], .reduce = raw[5],
		.flags = buf_le16(raw + 6), .epoch = buf_le16(raw + 8),
		.status = buf_le16(raw + 10), .layer = buf_le16(raw + 12),
		.tenant = buf_le16(raw + 14), .seq = buf_le64(raw + 16),
		.req_id = buf_le64(raw + 24),
		.dtype_in = raw[32], .dtype_out = raw[33],
		.n_row = buf_le16(raw + 34), .n_route = buf_le16(raw + 36),
		.row_bytes = buf_le32(raw + 40), .bytes = buf_le32(raw + 44),
		.map_version = buf_le32(raw + 48),
		.budget_us = buf_le32(raw + 52), .crc = buf_le32(raw + CRC_AT),
	};
	if (check_codes(raw, h, err) != 0 ||
	    check_counts(h, slot_bytes, err) != 0)
		return -1;
	crc = head_crc(raw, p + HEAD_BYTES, h);
	return crc == h->crc ? 0 : bad(err, "crc", h->crc, crc);
}

struct slot_route
slot_route_get(const void *slot, uint32_t i)
{
	const uint8_t *p = (const uint8_t *)slot + SLOT_BODY +
	    (size_t)i * ROUTE_BYTES;
	uint8_t raw[ROUTE_BYTES];
	struct slot_route r;
	uint32_t w;

	memcpy(raw, p, sizeof(raw));
	r.row = buf_le16(raw);
	r.expert = buf_le16(raw + 2);
	w = buf_le32(raw + 4);
	memcpy(&r.weight, &w, sizeof(w));
	return r;
}

void
slot_route_put(void *slot, uint32_t i, struct slot_route r)
{
	uint8_t *p = (uint8_t *)slot + SLOT_BODY + (size_t)i * ROUTE_BYTES;
	uint32_t w;

	memcpy(&w, &r.weight, sizeof(w));
	buf_set16(p, r.row);
	buf_set16(p + 2, r.expert);
	buf_set32(p + 4, w);
}

uint64_t
slot_commit_word(uint16_t epoch, uint64_t seq)
{
	return (uint64_t)epoch << 48 | (seq & SLOT_SEQ_MASK);
}

const char *
slot_status_name(int status)
{
	static const char *const name[] = {
		[SLOT_OK] = "ok", [SLOT_BUSY] = "busy", [SLOT_COLD] = "cold",
		[SLOT_NOT_HERE] = "not-here", [SLOT_DRAINING] = "draining",
		[SLOT_BAD] = "bad", [SLOT_EXPIRED] = "expired",
	};

	return status >= 0 && status <= SLOT_EXPIRED ? name[status] : "?";
}
