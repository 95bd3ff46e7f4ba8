/* frame.c - F1.  Control frame headers; no state, any thread. */
#include "frame.h"

#include <string.h>

#include "buf.h"
#include "slot.h"	/* slot_crc32c */

#define FLAG_ALL	(FRAME_OPTIONAL | FRAME_ZSTD)
#define FIRST_PROGRAM	32
#define LAST_PROGRAM	63

uint32_t
frame_max(int type)
{
	static const uint32_t own[] = {
		[FRAME_HELLO] = 4096, [FRAME_WELCOME] = 4096,
		[FRAME_REFUSE] = 4096, [FRAME_HEARTBEAT] = 64,
		[FRAME_BYE] = 4096, [FRAME_READY] = 64, [FRAME_DATA] = 64,
		[FRAME_CHALLENGE] = 64, [FRAME_PROOF] = 64,
	};

	if (type >= FIRST_PROGRAM && type <= LAST_PROGRAM)
		return FRAME_BODY_MAX;
	if (type < 0 || type >= (int)(sizeof(own) / sizeof(own[0])))
		return 0;
	return own[type];
}

const char *
frame_name(int type)
{
	static const char *const name[] = {
		[FRAME_HELLO] = "hello", [FRAME_WELCOME] = "welcome",
		[FRAME_REFUSE] = "refuse", [FRAME_HEARTBEAT] = "heartbeat",
		[FRAME_BYE] = "bye", [FRAME_READY] = "ready",
		[FRAME_DATA] = "data", [FRAME_CHALLENGE] = "challenge",
		[FRAME_PROOF] = "proof",
	};

	if (type >= FIRST_PROGRAM && type <= LAST_PROGRAM)
		return "program";
	if (frame_max(type) == 0)
		return "?";
	return name[type];
}

void
frame_put(struct str *out, const struct frame *f, const void *body, size_t n)
{
	uint8_t raw[FRAME_HEAD] = { 0 };

	BUG_ON(n > FRAME_BODY_MAX);
	buf_set32(raw + 0, FRAME_MAGIC);
	buf_set16(raw + 4, FRAME_VERSION);
	buf_set16(raw + 6, f->type);
	buf_set32(raw + 8, f->flags);
	buf_set32(raw + 12, (uint32_t)n);
	buf_set32(raw + 16, f->raw_length);
	buf_set32(raw + 20, slot_crc32c(0, body, n));
	buf_set32(raw + 28, slot_crc32c(0, raw, 28));
	str_add(out, raw, sizeof(raw));
	str_add(out, body, n);
}

/* Is this length allowed for this type and these flags? */
static int
check_length(const struct frame *f, struct err *err)
{
	uint32_t max = frame_max(f->type);

	if (max == 0) {
		if (!(f->flags & FRAME_OPTIONAL))
			return err_set(err, ERR_DATA, "frame: type %u is not "
			    "known and not optional", f->type);
		max = FRAME_SKIP_MAX;
	}
	if (f->length > max)
		return err_set(err, ERR_DATA, "frame: type %u has %u bytes, "
		    "at most %u", f->type, f->length, max);
	if (!(f->flags & FRAME_ZSTD)) {
		if (f->raw_length != 0)
			return err_set(err, ERR_DATA, "frame: raw_length is %u "
			    "on a body that is not packed", f->raw_length);
		return 0;
	}
	if (f->type < FIRST_PROGRAM)
		return err_set(err, ERR_DATA, "frame: type %u must not be "
		    "packed", f->type);
	if (f->raw_length > max || f->raw_length == 0)
		return err_set(err, ERR_DATA, "frame: type %u unpacks to %u "
		    "bytes, at most %u", f->type, f->raw_length, max);
	return 0;
}

int
frame_get(const uint8_t raw[FRAME_HEAD], struct frame *f, struct err *err)
{
	uint32_t crc = slot_crc32c(0, raw, 28);

	if (buf_le32(raw) != FRAME_MAGIC)
		return err_set(err, ERR_DATA, "frame: magic is %08x, want %08x",
		    buf_le32(raw), FRAME_MAGIC);
	if (buf_le16(raw + 4) != FRAME_VERSION)
		return err_set(err, ERR_DATA, "frame: wire version is %u, "
		    "want %d", buf_le16(raw + 4), FRAME_VERSION);
	if (buf_le32(raw + 28) != crc)
		return err_set(err, ERR_DATA, "frame: header crc is %08x, "
		    "want %08x", buf_le32(raw + 28), crc);
	f->type = buf_le16(raw + 6);
	f->flags = buf_le32(raw + 8);
	f->length = buf_le32(raw + 12);
	f->raw_length = buf_le32(raw + 16);
	f->crc = buf_le32(raw + 20);
	if ((f->flags & ~(uint32_t)FLAG_ALL) != 0)
		return err_set(err, ERR_DATA, "frame: unknown flags %08x",
		    f->flags & ~(uint32_t)FLAG_ALL);
	return check_length(f, err);
}

int
frame_check(const struct frame *f, const void *body, struct err *err)
{
	uint32_t crc = slot_crc32c(0, body, f->length);

	if (crc != f->crc)
		return err_set(err, ERR_DATA, "frame: body crc is %08x, "
		    "want %08x", crc, f->crc);
	return 0;
}
