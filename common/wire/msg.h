/*
 * msg - the bodies of link's own control frames.
 *
 * HELLO and WELCOME are lists of fields {u16 id, u16 length, bytes}, in any
 * order; a reader skips ids that it does not know and takes a missing one as
 * 0 or "".  REFUSE and BYE are a text, HEARTBEAT and READY are empty, DATA is
 * the 16-byte token, CHALLENGE a nonce, PROOF a proof (and so does DATA end,
 * where there is a key).
 */
#ifndef MOE_MSG_H
#define MOE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

#define MSG_NAME	48
#define MSG_TOKEN	16
#define MSG_PROOF	32	/* of a nonce, and of a proof */
#define MSG_TEXT	512

enum msg_field {		/* explicit numbers: they are the wire's */
	MSG_F_ROLE = 1,		/* u8, enum link_role */
	MSG_F_NAME = 2,		/* text */
	MSG_F_INCARNATION = 3,	/* u64 */
	MSG_F_FINGERPRINT = 4,	/* u64 */
	MSG_F_VARIANT = 5,	/* text */
	MSG_F_ACT = 6,		/* u8, enum kern_dtype */
	MSG_F_MIXED = 7,	/* u8, 0 or 1 */
	MSG_F_HIDDEN = 8,	/* u32 */
	MSG_F_LAYERS = 9,	/* u32 */
	MSG_F_EXPERTS = 10,	/* u32 */
	MSG_F_TOP_K = 11,	/* u32 */
	MSG_F_SLOT_BYTES = 12,	/* u32: HELLO asks, WELCOME grants */
	MSG_F_DEPTH = 13,	/* u32: likewise */
	MSG_F_HEARTBEAT_US = 14,	/* u32: likewise; the larger one holds */
	MSG_F_FEATURES = 15,	/* u32, enum msg_feature */
	MSG_F_EPOCH = 16,	/* u16, WELCOME */
	MSG_F_TOKEN = 17,	/* 16 bytes, WELCOME over tcp with a ring */
	MSG_F_NONCE = 18,	/* 32 bytes, HELLO of who has a key */
	MSG_F_PROOF = 19,	/* 32 bytes, WELCOME's last field, if HELLO had a
				 * nonce */
	MSG_F_WEIGHTS = 20,	/* u8, enum kern_dtype; none: the same as ACT */
};
#define MSG_F_MAX	MSG_F_WEIGHTS

#define MSG_PROOF_FIELD	(4 + MSG_PROOF)	/* bytes that it takes */

enum msg_feature {
	MSG_ZSTD = 1 << 0,	/* can unpack FRAME_ZSTD */
};

struct msg_hello {		/* HELLO and WELCOME */
	uint8_t role, act, weights;
	bool mixed;
	char name[MSG_NAME], variant[MSG_NAME];
	uint64_t incarnation, fingerprint;
	uint32_t hidden, n_layer, n_expert, top_k;
	uint32_t slot_bytes, depth, heartbeat_us, features;
	uint16_t epoch;
	uint8_t token[MSG_TOKEN];
	uint8_t nonce[MSG_PROOF], proof[MSG_PROOF];
};

/* proof comes last. */
void	msg_put_hello(struct str *out, const struct msg_hello *h);
/* The field of a proof alone, for the end of a body that it covers. */
void	msg_put_proof(struct str *out, const uint8_t proof[MSG_PROOF]);
/* Is there a nonce (not all zeros)? */
bool	msg_has_nonce(const struct msg_hello *h);
/* -1: ERR_DATA, naming the field (wrong length, twice, text too long, cut). */
int	msg_get_hello(const void *p, size_t n, struct msg_hello *h,
	    struct err *err);

/* The text of REFUSE and BYE; text is cut at MSG_TEXT - 1 bytes, and bytes
 * that are not printable are read as '?': it ends up on terminals. */
void	msg_put_text(struct str *out, const char *text);
void	msg_get_text(const void *p, size_t n, char out[MSG_TEXT]);

#endif
