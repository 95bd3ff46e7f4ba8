/*
 * at_page_msg - the two messages that carry copies of KV pages between front
 * ends, LINK_MSG_PAGES and LINK_MSG_PAGES_ACK of moe-wire(7).
 *
 * A run is a few pages of one chain, each after the one before, in the terms of
 * the receiver: the page that they come after is named as the receiver named it
 * in an acknowledgement.  Decoders take bytes of a peer: every length is
 * checked before anything is used, and a view stays within them.  Pure.
 */
#ifndef MOE_AT_PAGE_MSG_H
#define MOE_AT_PAGE_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "at_kv.h"
#include "err.h"
#include "str.h"

#define AT_PAGE_HEAD	32	/* bytes before the tokens */
#define AT_PAGE_RUN	64	/* pages of a run at most */

struct at_page_shape {		/* equal on both sides */
	int n_layer;
	size_t layer_bytes;	/* of a page in one layer */
	enum kern_dtype kvt;	/* HELLO compares it: at_page.c */
};

struct at_page_run {
	uint64_t seq;
	struct at_kv_ref before;	/* the receiver's */
	int n;			/* pages */
	const uint8_t *tok;	/* [n][KERN_PAGE_TOK] 4 bytes each */
	const uint8_t *data;	/* [n][n_layer][layer_bytes] */
};

enum at_page_status { AT_PAGE_OK = 0, AT_PAGE_LOST = 1, AT_PAGE_FULL = 2 };

struct at_page_ack {
	uint64_t seq;
	enum at_page_status status;	/* of the first page not taken */
	int n;			/* pages taken */
	struct at_kv_ref page[AT_PAGE_RUN];
};

/* Bytes of a run of n pages. */
size_t	at_page_msg_bytes(const struct at_page_shape *s, int n);
/* Append all of a run but its data, which the caller appends. */
void	at_page_msg_put(struct str *out, const struct at_page_shape *s,
	    const struct at_page_run *r, const uint32_t *tok);
/* -1: ERR_DATA, with the value that is wrong. */
int	at_page_msg_get(const void *p, size_t n, const struct at_page_shape *s,
	    struct at_page_run *r, struct err *err);

void	at_page_ack_put(struct str *out, const struct at_page_ack *a);
int	at_page_ack_get(const void *p, size_t n, struct at_page_ack *a,
	    struct err *err);

#endif
