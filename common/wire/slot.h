/*
 * slot - the one data structure between a front end and an expert server.
 *
 *     slot (a multiple of 4096 bytes)
 *     +0    commit word, alone in its 64-byte line: epoch << 48 | seq, last
 *     +64   header, 64 bytes, little endian, below
 *     +128  routes: n_route x { u16 row, u16 expert, f32 weight }
 *           rows, from the next multiple of 16
 *
 * A request carries n_row rows of row_bytes and n_route routes; its answer
 * carries one row per route, in route order (SLOT_REDUCE_NONE), no routes.
 * The bytes may be changed by the peer at any time: decode copies the header
 * once and checks the copy; readers copy each route before they check it.
 */
#ifndef MOE_SLOT_H
#define MOE_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define SLOT_MAGIC	0x544c534du	/* "MSLT" */
#define SLOT_COMMIT	0
#define SLOT_HEAD	64
#define SLOT_BODY	128
#define SLOT_ALIGN	4096u
#define SLOT_SEQ_MASK	0xffffffffffffull

enum slot_kind {		/* explicit numbers: they are the wire's */
	SLOT_REQUEST = 1,
	SLOT_ANSWER = 2,
	SLOT_PING = 3,		/* moe-bench link: answered with the same body */
};

enum slot_flag {
	SLOT_LAST = 1 << 0,	/* last part of one layer's batch of this client */
	SLOT_REPLAY = 1 << 1,	/* same req_id was sent to another server before */
	SLOT_HEDGE = 1 << 2,
	SLOT_CRC_BODY = 1 << 3,	/* crc covers routes and rows, not only header + routes */
	SLOT_WEIGHT_IN = 1 << 4,	/* the weight multiplies the input row (R7) */
};

enum slot_status {		/* of an answer */
	SLOT_OK = 0,
	SLOT_BUSY = 1,		/* try again or elsewhere */
	SLOT_COLD = 2,		/* the expert is not resident yet */
	SLOT_NOT_HERE = 3,	/* this server is not in charge of that expert */
	SLOT_DRAINING = 4,
	SLOT_BAD = 5,		/* the request breaks the contract; link closes */
	SLOT_EXPIRED = 6,	/* budget_us ran out before it was computed */
};

enum slot_reduce {
	SLOT_REDUCE_NONE = 0,	/* one row per route */
	SLOT_REDUCE_SUM = 1,
	SLOT_REDUCE_EXACT = 2,
};

struct slot_route {		/* 8 bytes on the wire, little endian */
	uint16_t row, expert;
	float weight;
};

/* The header, decoded.  64 bytes on the wire; offsets in slot.c and
 * moe-wire(7). */
struct slot_head {
	uint8_t kind;		/* enum slot_kind */
	uint8_t reduce;		/* enum slot_reduce */
	uint16_t flags;		/* enum slot_flag */
	uint16_t epoch;
	uint16_t status;	/* enum slot_status */
	uint64_t seq;		/* 48 bits, counts slots of this pair from 1 */
	uint64_t req_id;	/* the same on every replay */
	uint16_t layer;
	uint8_t dtype_in, dtype_out;	/* enum kern_dtype */
	uint16_t n_row, n_route;
	uint32_t row_bytes;
	uint32_t bytes;		/* of the body: routes, padding, rows */
	uint32_t map_version;
	uint32_t budget_us;	/* relative; 0: none */
	uint16_t tenant;
	uint32_t crc;		/* crc32c, set by encode */
};

/* Bytes of a body with these counts; 0 when it does not fit a u32. */
uint32_t slot_body_bytes(uint32_t n_route, uint32_t n_row, uint32_t row_bytes);
/* Where the rows start within a slot. */
size_t	slot_rows_at(uint32_t n_route);

/* Write *h at slot + SLOT_HEAD; the body must be in place (crc). */
void	slot_encode(void *slot, const struct slot_head *h);

/* Copy the header out of the slot and check magic, kind, flags, dtypes, counts
 * against each other and against slot_bytes, and the crc.  -1 with ERR_DATA
 * says what is wrong, with both values; *h is no good then.  What the numbers
 * mean to a program (layer, dtype wanted, row and expert of each route) is the
 * caller's to check. */
int	slot_decode(const void *slot, size_t slot_bytes, struct slot_head *h,
	    struct err *err);

/* Route i of a slot's body, copied once. */
struct slot_route slot_route_get(const void *slot, uint32_t i);
void	slot_route_put(void *slot, uint32_t i, struct slot_route r);

uint64_t slot_commit_word(uint16_t epoch, uint64_t seq);
const char *slot_status_name(int status);

/* CRC-32C (Castagnoli), hardware where there is some; start with crc = 0. */
uint32_t slot_crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the processor's instruction: what tests compare with. */
uint32_t slot_crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
