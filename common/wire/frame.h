/*
 * frame - the 32-byte header of every message on a control connection.
 *
 *     0 magic "MCTL"   4 version   6 type   8 flags   12 length
 *     16 raw_length    20 crc32c of the body   24 zero
 *     28 crc32c of bytes 0..27
 *
 * `length` bytes of body follow.  A frame of unknown type is skipped when it
 * carries FRAME_OPTIONAL, otherwise the connection is closed.  The length is
 * held against the type's limit before anything is allocated.
 */
#ifndef MOE_FRAME_H
#define MOE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

#define FRAME_MAGIC	0x4c54434du	/* "MCTL" */
#define FRAME_VERSION	1
#define FRAME_HEAD	32
#define FRAME_BODY_MAX	(16u << 20)	/* of any type, packed or not */
#define FRAME_SKIP_MAX	(64u << 10)	/* of an unknown optional frame */

enum frame_type {		/* explicit numbers: they are the wire's */
	FRAME_HELLO = 1,	/* dialler: who I am, the ring I ask for */
	FRAME_WELCOME = 2,	/* acceptor: who I am, the ring you get */
	FRAME_REFUSE = 3,	/* acceptor: no, and why */
	FRAME_HEARTBEAT = 4,
	FRAME_BYE = 5,		/* either: closing on purpose, and why */
	FRAME_READY = 6,	/* the pair is up */
	FRAME_DATA = 7,		/* first and only frame of a data connection */
	FRAME_CHALLENGE = 8,	/* acceptor: prove that you have the key */
	FRAME_PROOF = 9,	/* dialler: here */
	/* 32 and up: messages of the programs (link.h) */
};

enum frame_flag {
	FRAME_OPTIONAL = 1 << 0,	/* skip me if you do not know my type */
	FRAME_ZSTD = 1 << 1,	/* the body is packed; raw_length is its size */
};

struct frame {
	uint16_t type;
	uint32_t flags;
	uint32_t length;	/* of the body that follows */
	uint32_t raw_length;	/* unpacked; 0 without FRAME_ZSTD */
	uint32_t crc;		/* of the body */
};

/* The longest body of this type; 0 for a type that is not known. */
uint32_t frame_max(int type);
const char *frame_name(int type);

/* Append header and body to *out; f->crc and f->length are made here. */
void	frame_put(struct str *out, const struct frame *f, const void *body,
	    size_t n);

/* Decode and check a header.  -1: ERR_DATA, with the value that is wrong; the
 * connection is to be closed. */
int	frame_get(const uint8_t raw[FRAME_HEAD], struct frame *f,
	    struct err *err);
/* The body of f has arrived whole: does it match the header's crc? */
int	frame_check(const struct frame *f, const void *body, struct err *err);

#endif
