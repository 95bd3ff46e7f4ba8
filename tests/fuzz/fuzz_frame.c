/* fuzz_frame - a control connection's bytes: frame after frame, and the bodies
 * of each. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "frame.h"
#include "mem.h"
#include "msg.h"
#include "slot.h"
#include "zbuf.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define UNPACK_MAX	(1u << 20)	/* keeps the runs fast */

static void
try_hello(const uint8_t *body, size_t n)
{
	struct msg_hello h, again;
	struct str s = STR_INIT;

	if (msg_get_hello(body, n, &h, NULL) != 0)
		return;
	msg_put_hello(&s, &h);
	if (msg_get_hello(str_c(&s), s.n, &again, NULL) != 0 ||
	    strcmp(h.name, again.name) != 0 || h.epoch != again.epoch ||
	    memcmp(h.token, again.token, MSG_TOKEN) != 0 ||
	    memcmp(h.nonce, again.nonce, MSG_PROOF) != 0 ||
	    memcmp(h.proof, again.proof, MSG_PROOF) != 0)
		abort();
	str_free(&s);
}

static void
try_body(const struct frame *f, const uint8_t *data)
{
	uint8_t *body = mem_dup(data, f->length);
	struct str out = STR_INIT;
	char text[MSG_TEXT];

	(void)frame_check(f, body, NULL);
	if (f->flags & FRAME_ZSTD) {
		if (f->raw_length <= UNPACK_MAX && zbuf_unpack(&out, body,
		    f->length, f->raw_length, NULL) == 0 &&
		    out.n != f->raw_length)
			abort();
	} else if (f->type == FRAME_HELLO || f->type == FRAME_WELCOME) {
		try_hello(body, f->length);
	} else {
		msg_get_text(body, f->length, text);
		if (strlen(text) >= MSG_TEXT)
			abort();
	}
	str_free(&out);
	mem_free(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t head[FRAME_HEAD];
	struct frame f;

	while (n >= FRAME_HEAD) {
		memcpy(head, data, FRAME_HEAD);
		/* Past the checksum, else nothing behind it is ever tried. */
		buf_set32(head + 28, slot_crc32c(0, head, 28));
		if (frame_get(head, &f, NULL) != 0)
			return 0;
		if (f.length > FRAME_BODY_MAX || f.raw_length > FRAME_BODY_MAX)
			abort();
		data += FRAME_HEAD;
		n -= FRAME_HEAD;
		if (f.length > n)
			return 0;
		try_body(&f, data);
		data += f.length;
		n -= f.length;
	}
	return 0;
}

#include "fuzz_main.h"
