/*
 * Tests of common/wire: slots, frames, HELLO, packed bodies.  The
 * golden bytes in tests/golden/wire were made by another implementation, from
 * moe-wire(7).
 */
#include <dirent.h>
#include <stdlib.h>

#include "buf.h"
#include "err.h"
#include "frame.h"
#include "hold.h"
#include "link.h"
#include "mem.h"
#include "msg.h"
#include "rng.h"
#include "slot.h"
#include "str.h"
#include "tap.h"
#include "zbuf.h"

/* ---- crc ------------------------------------------------------------------------------ */

static void
test_crc(void)
{
	uint8_t b[300];
	struct rng r = { 1, 0 };
	size_t i, n, bad = 0;

	/* RFC 3720, B.4. */
	memset(b, 0, 32);
	OK(slot_crc32c(0, b, 32) == 0x8a9136aa, "crc of zeros");
	memset(b, 0xff, 32);
	OK(slot_crc32c(0, b, 32) == 0x62a8ab43, "crc of ones");
	OK(slot_crc32c(0, "123456789", 9) == 0xe3069283, "crc of 1..9");
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)rng_next(&r);
	for (n = 0; n < sizeof(b); n++) {
		bad += slot_crc32c(5, b, n) != slot_crc32c_portable(5, b, n);
		bad += slot_crc32c(slot_crc32c(0, b, n), b + n,
		    sizeof(b) - n) != slot_crc32c(0, b, sizeof(b));
	}
	EQ_INT(bad, 0, "both ways agree, and it can go on");
}

/* Lengths on both sides of every multiple of what goes side by side. */
static void
test_crc_long(void)
{
	static uint8_t b[20000];
	struct rng r = { 2, 0 };
	size_t i, k, bad = 0;

	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)rng_next(&r);
	for (i = 3072; i < sizeof(b); i += 3072)
		for (k = i - 9; k < i + 9; k++)
			bad += slot_crc32c(7, b + k % 8, k) !=
			    slot_crc32c_portable(7, b + k % 8, k);
	EQ_INT(bad, 0, "both ways agree on long ones");
}

/* ---- slots ------------------------------------------------------------------------------ */

#define SLOT_BYTES	4096

static void
make_slot(uint8_t *slot, struct slot_head *h, int flags)
{
	size_t i;

	memset(slot, 0, SLOT_BYTES);
	*h = (struct slot_head){ .kind = SLOT_REQUEST, .reduce = 1,
	    .flags = (uint16_t)(flags | SLOT_LAST), .epoch = 0xabcd,
	    .status = SLOT_COLD, .layer = 61, .tenant = 3,
	    .seq = 0x123456789abcull, .req_id = ~0ull, .dtype_in = 3,
	    .dtype_out = 1, .n_row = 2, .n_route = 3, .row_bytes = 10,
	    .map_version = 0xdeadbeef, .budget_us = 77 };
	h->bytes = slot_body_bytes(3, 2, 10);
	for (i = 0; i < 3; i++)
		slot_route_put(slot, (uint32_t)i, (struct slot_route){
		    (uint16_t)(i % 2), (uint16_t)(255 + i), 0.125f });
	for (i = 0; i < 20; i++)
		slot[slot_rows_at(3) + i] = (uint8_t)i;
	slot_encode(slot, h);
}

static void
test_slot(void)
{
	uint8_t *slot = mem_aligned(4096, SLOT_BYTES), keep[SLOT_BYTES];
	struct slot_head h, d;
	struct slot_route r;
	struct err err = ERR_INIT;
	size_t i, n, last;
	int flags, missed = 0;

	EQ_INT(slot_body_bytes(3, 2, 10), 52, "routes, padding, rows");
	EQ_INT(slot_rows_at(3), 128 + 32, "rows are 16-byte aligned");
	EQ_INT(slot_body_bytes(1, 0x10000, 0x10000), 0, "too large is 0");
	EQ_INT(slot_body_bytes(1, 0xffffffff, 0xffffffff), 0, "far too large");
	OK(slot_commit_word(0xabcd, 5) == 0xabcd000000000005ull, "commit word");
	for (flags = 0; flags <= SLOT_CRC_BODY; flags += SLOT_CRC_BODY) {
		make_slot(slot, &h, flags);
		OK(slot_decode(slot, SLOT_BYTES, &d, &err) == 0, "%s",
		    err.text);
		h.crc = d.crc;
		OK(memcmp(&h.seq, &d.seq, sizeof(h.seq)) == 0 &&
		    h.kind == d.kind && h.reduce == d.reduce &&
		    h.flags == d.flags && h.epoch == d.epoch &&
		    h.status == d.status && h.layer == d.layer &&
		    h.tenant == d.tenant && h.req_id == d.req_id &&
		    h.dtype_in == d.dtype_in && h.dtype_out == d.dtype_out &&
		    h.n_row == d.n_row && h.n_route == d.n_route &&
		    h.row_bytes == d.row_bytes && h.bytes == d.bytes &&
		    h.map_version == d.map_version &&
		    h.budget_us == d.budget_us, "every field comes back");
		r = slot_route_get(slot, 2);
		OK(r.row == 0 && r.expert == 257 && r.weight == 0.125f,
		    "and the routes");
		memcpy(keep, slot, SLOT_BYTES);
		/* With the body's crc any bit counts, else up to the routes. */
		last = flags ? 128 + h.bytes : 128 + 3 * 8;
		for (i = 64; i < last; i++) {
			for (n = 0; n < 8; n++) {
				slot[i] ^= (uint8_t)(1u << n);
				missed += slot_decode(slot, SLOT_BYTES, &d,
				    NULL) == 0;
				slot[i] = keep[i];
			}
		}
		EQ_INT(missed, 0, "flags %d: every flipped bit is noticed",
		    flags);
		for (n = 0; n < 128 + h.bytes; n++)
			missed += slot_decode(slot, n, &d, NULL) == 0;
		EQ_INT(missed, 0, "flags %d: no smaller slot holds it", flags);
	}
	OK(slot_decode(slot, 128 + h.bytes, &d, NULL) == 0, "exact fit");
	EQ_STR(slot_status_name(SLOT_NOT_HERE), "not-here", "status name");
	EQ_STR(slot_status_name(99), "?", "unknown status");
	mem_free(slot);
}

/* ---- frames ----------------------------------------------------------------------------- */

static void
test_frame(void)
{
	struct frame f = { .type = 33 }, d;
	struct str s = STR_INIT;
	struct err err = ERR_INIT;
	uint8_t raw[FRAME_HEAD];
	int i, n, missed = 0;

	frame_put(&s, &f, "hello", 5);
	EQ_INT(s.n, FRAME_HEAD + 5, "length");
	memcpy(raw, s.p, FRAME_HEAD);
	OK(frame_get(raw, &d, &err) == 0 && d.type == 33 && d.length == 5 &&
	    d.flags == 0 && frame_check(&d, s.p + FRAME_HEAD, &err) == 0,
	    "there and back");
	OK(frame_check(&d, "jello", &err) == -1 && err.code == ERR_DATA,
	    "a wrong body");
	for (i = 0; i < FRAME_HEAD; i++)
		for (n = 0; n < 8; n++) {
			raw[i] ^= (uint8_t)(1u << n);
			missed += frame_get(raw, &d, NULL) == 0;
			raw[i] ^= (uint8_t)(1u << n);
		}
	EQ_INT(missed, 0, "every flipped bit of a header is noticed");
	str_free(&s);
}

/* A header with these values and right crcs. */
static int
try_frame(int type, uint32_t flags, uint32_t length, uint32_t raw_length)
{
	uint8_t raw[FRAME_HEAD] = { 0 };
	struct frame d;

	buf_set32(raw, FRAME_MAGIC);
	buf_set16(raw + 4, FRAME_VERSION);
	buf_set16(raw + 6, (uint16_t)type);
	buf_set32(raw + 8, flags);
	buf_set32(raw + 12, length);
	buf_set32(raw + 16, raw_length);
	buf_set32(raw + 28, slot_crc32c(0, raw, 28));
	return frame_get(raw, &d, NULL);
}

static void
test_frame_limits(void)
{
	int type, bad = 0;

	for (type = 0; type < 100; type++) {
		if (frame_max(type) == 0)
			continue;
		bad += try_frame(type, 0, frame_max(type), 0) != 0;
		bad += try_frame(type, 0, frame_max(type) + 1, 0) == 0;
	}
	EQ_INT(bad, 0, "each type's longest body, and one more byte");
	EQ_INT(frame_max(LINK_MSG_MAP), LINK_MSG_MAX, "programs' messages");
	OK(try_frame(31, 0, 0, 0) == -1, "unknown type");
	OK(try_frame(31, FRAME_OPTIONAL, FRAME_SKIP_MAX, 0) == 0, "optional");
	OK(try_frame(31, FRAME_OPTIONAL, FRAME_SKIP_MAX + 1, 0) == -1,
	    "optional, but too long to skip");
	OK(try_frame(33, 1u << 9, 0, 0) == -1, "unknown flag");
	OK(try_frame(33, FRAME_ZSTD, 10, 0) == -1, "unpacks to nothing");
	OK(try_frame(33, FRAME_ZSTD, 10, LINK_MSG_MAX + 1) == -1, "to too much");
	OK(try_frame(33, 0, 10, 10) == -1, "raw length without zstd");
	OK(try_frame(FRAME_HELLO, FRAME_ZSTD, 10, 10) == -1, "packed HELLO");
}

static struct msg_hello
some_hello(void)
{
	struct msg_hello h = { .role = 2, .act = 3, .weights = 4, .mixed = true,
	    .name = "f0", .variant = "cpu", .incarnation = 1,
	    .fingerprint = 2, .hidden = 3, .n_layer = 4, .n_expert = 5,
	    .top_k = 6, .slot_bytes = 4096, .depth = 8, .heartbeat_us = 9,
	    .features = 1, .epoch = 10, .token = { 1, 2, 3 } };

	return h;
}

static void
test_msg(void)
{
	struct msg_hello h = some_hello(), d;
	struct str s = STR_INIT;
	struct err err = ERR_INIT;
	size_t n, whole = 0;
	char text[MSG_TEXT];
	uint8_t *copy;

	msg_put_hello(&s, &h);
	OK(msg_get_hello(s.p, s.n, &d, &err) == 0 && d.role == 2 &&
	    d.act == 3 && d.weights == 4 && d.mixed &&
	    strcmp(d.name, "f0") == 0 &&
	    strcmp(d.variant, "cpu") == 0 && d.incarnation == 1 &&
	    d.fingerprint == 2 && d.hidden == 3 && d.n_layer == 4 &&
	    d.n_expert == 5 && d.top_k == 6 && d.slot_bytes == 4096 &&
	    d.depth == 8 && d.heartbeat_us == 9 && d.features == 1 &&
	    d.epoch == 10 && memcmp(d.token, h.token, MSG_TOKEN) == 0,
	    "every field comes back");
	for (n = 0; n < s.n; n++) {
		copy = mem_dup(s.p, n);
		whole += msg_get_hello(copy, n, &d, NULL) == 0;
		mem_free(copy);
	}
	EQ_INT(whole, 18, "cut anywhere but between two fields: an error");
	str_add(&s, "\x63\x00\x03\x00" "abc", 7);
	OK(msg_get_hello(s.p, s.n, &d, &err) == 0, "an unknown field is skipped");
	str_add(&s, "\x01\x00\x01\x00\x02", 5);
	OK(msg_get_hello(s.p, s.n, &d, &err) == -1 &&
	    strstr(err.text, "twice") != NULL, "%s", err.text);
	OK(msg_get_hello("\x01\x00\x02\x00\x02\x02", 6, &d, &err) == -1,
	    "%s", err.text);
	OK(msg_get_hello("\x02\x00\x02\x00" "a\n", 6, &d, &err) == -1,
	    "%s", err.text);
	str_clear(&s);
	str_add(&s, "\x02\x00\x30\x00", 4);
	for (n = 0; n < 48; n++)
		str_addc(&s, 'x');
	OK(msg_get_hello(s.p, s.n, &d, &err) == -1, "%s", err.text);
	msg_get_text("a\033[2Jb", 6, text);
	EQ_STR(text, "a?[2Jb", "no control characters for the terminal");
	str_free(&s);
}

/* ---- golden bytes ----------------------------------------------------------------------- */

static void
describe_secret(const char *name, const uint8_t *p, struct str *out)
{
	static const uint8_t none[MSG_PROOF];
	int i;

	if (memcmp(p, none, MSG_PROOF) == 0)
		return;
	str_adds(out, name);
	for (i = 0; i < MSG_PROOF; i++)
		str_addf(out, "%02x", p[i]);
}

static void
describe_hello(const struct msg_hello *h, struct str *out)
{
	int i;

	str_addf(out, " role=%u name=%s incarnation=%llx fingerprint=%llx "
	    "variant=%s act=%u mixed=%d hidden=%u layers=%u experts=%u "
	    "top_k=%u slot_bytes=%u depth=%u heartbeat_us=%u features=%u "
	    "epoch=%u token=", h->role, h->name,
	    (unsigned long long)h->incarnation,
	    (unsigned long long)h->fingerprint, h->variant, h->act, h->mixed,
	    h->hidden, h->n_layer, h->n_expert, h->top_k, h->slot_bytes,
	    h->depth, h->heartbeat_us, h->features, h->epoch);
	for (i = 0; i < MSG_TOKEN; i++)
		str_addf(out, "%02x", h->token[i]);
	describe_secret(" nonce=", h->nonce, out);
	describe_secret(" proof=", h->proof, out);
}

static void
describe_want(const void *body, size_t n, struct str *out)
{
	struct hold h;
	uint32_t l, e;

	hold_init(&h, 2, 10);
	if (hold_decode(&h, body, n, NULL) != 0)
		str_adds(out, " broken");
	str_addf(out, " map=%u", h.version);
	for (l = 0; l < h.n_layer; l++)
		for (e = 0; e < h.n_expert; e++)
			if (hold_has(&h, l, e))
				str_addf(out, " %u:%u", l, e);
	hold_free(&h);
}

static void
describe_frame(const uint8_t *p, size_t n, struct str *out)
{
	const uint8_t *body = p + FRAME_HEAD;
	struct msg_hello h;
	struct frame f;
	struct err err;
	char text[MSG_TEXT];
	size_t i;

	if (n < FRAME_HEAD || frame_get(p, &f, &err) != 0 ||
	    n - FRAME_HEAD != f.length || frame_check(&f, body, &err) != 0) {
		str_adds(out, "broken");
		return;
	}
	str_adds(out, frame_name(f.type));
	if (frame_max(f.type) == 0) {
		str_addf(out, " optional length=%u", f.length);
	} else if (f.type == FRAME_HELLO || f.type == FRAME_WELCOME) {
		if (msg_get_hello(body, f.length, &h, &err) == 0)
			describe_hello(&h, out);
	} else if (f.type >= FRAME_DATA && f.type <= FRAME_PROOF) {
		str_addc(out, ' ');
		for (i = 0; i < f.length; i++)
			str_addf(out, "%02x", body[i]);
	} else if (f.type == LINK_MSG_WANT) {
		describe_want(body, f.length, out);
	} else if (f.length > 0) {
		msg_get_text(body, f.length, text);
		if (f.type >= LINK_MSG_MAP)
			str_addf(out, " type=%u", f.type);
		str_addf(out, " %s", text);
	}
}

static void
describe_slot(const uint8_t *p, size_t n, struct str *out)
{
	struct slot_route r;
	struct slot_head h;
	uint32_t i;

	if (slot_decode(p, n, &h, NULL) != 0) {
		str_adds(out, "broken");
		return;
	}
	str_addf(out, "slot commit=%016llx kind=%u reduce=%u flags=%u "
	    "epoch=%u status=%u layer=%u tenant=%u seq=%llu req_id=%llu "
	    "dtype=%u,%u rows=%u routes=%u row_bytes=%u bytes=%u map=%u "
	    "budget_us=%u", (unsigned long long)buf_le64(p), h.kind, h.reduce,
	    h.flags, h.epoch, h.status, h.layer, h.tenant,
	    (unsigned long long)h.seq, (unsigned long long)h.req_id,
	    h.dtype_in, h.dtype_out, h.n_row, h.n_route, h.row_bytes, h.bytes,
	    h.map_version, h.budget_us);
	for (i = 0; i < h.n_route; i++) {
		r = slot_route_get(p, i);
		str_addf(out, " (%u,%u,%g)", r.row, r.expert,
		    (double)r.weight);
	}
}

/* Bytes and expected text of one .hex file. */
static void
read_golden(const char *path, struct str *bytes, char *text, size_t max)
{
	FILE *f = fopen(path, "re");
	char line[4096], *p;
	unsigned v;
	int n;

	text[0] = '\0';
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '=')
			snprintf(text, max, "%s", line + 2);
		if (line[0] == '=' || line[0] == '#')
			continue;
		for (p = line; sscanf(p, "%2x%n", &v, &n) == 1; p += n)
			str_addc(bytes, (char)v);
	}
	if (f != NULL)
		fclose(f);
}

/* What this implementation writes for the same content. */
static void
test_again(const char *name, const uint8_t *p, size_t n)
{
	struct str body = STR_INIT, out = STR_INIT;
	struct msg_hello h;
	struct slot_head sh;
	struct frame f;
	uint8_t *slot;

	if (p[0] != 'M') {
		slot = mem_dup(p, n);
		if (slot_decode(p, n, &sh, NULL) == 0) {
			memset(slot + SLOT_HEAD, 0, 64);
			slot_encode(slot, &sh);
		}
		OK(memcmp(slot, p, n) == 0, "%s: the same bytes", name);
		mem_free(slot);
		return;
	}
	if (frame_get(p, &f, NULL) == 0 && (f.type == FRAME_HELLO ||
	    f.type == FRAME_WELCOME)) {
		if (msg_get_hello(p + FRAME_HEAD, f.length, &h, NULL) == 0)
			msg_put_hello(&body, &h);
	} else {
		str_add(&body, p + FRAME_HEAD, n - FRAME_HEAD);
	}
	frame_put(&out, &f, str_c(&body), body.n);
	OK(out.n == n && memcmp(out.p, p, n) == 0, "%s: the same bytes", name);
	str_free(&body);
	str_free(&out);
}

static void
test_golden(const char *root)
{
	struct dirent **ent;
	char *dir = mem_printf("%s/tests/golden/wire", root), *path, want[4096];
	struct str bytes = STR_INIT, got = STR_INIT;
	int i, n = scandir(dir, &ent, NULL, alphasort), seen = 0;

	for (i = 0; i < n; i++) {
		if (strstr(ent[i]->d_name, ".hex") != NULL) {
			path = mem_printf("%s/%s", dir, ent[i]->d_name);
			str_clear(&bytes);
			str_clear(&got);
			read_golden(path, &bytes, want, sizeof(want));
			if (bytes.n > 0 && bytes.p[0] == 'M')
				describe_frame((uint8_t *)bytes.p, bytes.n,
				    &got);
			else
				describe_slot((uint8_t *)bytes.p, bytes.n,
				    &got);
			EQ_STR(str_c(&got), want, "%s", ent[i]->d_name);
			test_again(ent[i]->d_name, (uint8_t *)bytes.p, bytes.n);
			mem_free(path);
			seen++;
		}
		free(ent[i]);
	}
	if (n >= 0)
		free(ent);
	EQ_INT(seen, 17, "golden files");
	str_free(&bytes);
	str_free(&got);
	mem_free(dir);
}

/* ---- the manual -------------------------------------------------------------------------- */

/* Is there a line ".It Sy NUMBER NAME" in the manual? */
static int
in_manual(const char *page, const char *name, int number)
{
	char *want = mem_printf(".It Sy %d Ta %s ", number, name);
	int yes = strstr(page, want) != NULL;

	if (!yes)
		printf("# not in moe-wire.7: %s\n", want);
	mem_free(want);
	return yes;
}

#define NAMED(x)	{ #x, x }

static void
test_manual(const char *root)
{
	static const struct {
		const char *name;
		int number;
	} t[] = {
		NAMED(FRAME_HELLO), NAMED(FRAME_WELCOME), NAMED(FRAME_REFUSE),
		NAMED(FRAME_HEARTBEAT), NAMED(FRAME_BYE), NAMED(FRAME_READY),
		NAMED(FRAME_DATA), NAMED(FRAME_CHALLENGE),
		NAMED(FRAME_PROOF), NAMED(FRAME_OPTIONAL), NAMED(FRAME_ZSTD),
		NAMED(LINK_MSG_WANT),
		NAMED(LINK_MSG_MAP), NAMED(LINK_MSG_REPORT),
		NAMED(LINK_MSG_DRAIN), NAMED(LINK_MSG_HOLD),
		NAMED(LINK_MSG_ASK), NAMED(LINK_MSG_REPLY),
		NAMED(LINK_MSG_PAGES), NAMED(LINK_MSG_PAGES_ACK),
		NAMED(MSG_F_ROLE), NAMED(MSG_F_NAME), NAMED(MSG_F_INCARNATION),
		NAMED(MSG_F_FINGERPRINT), NAMED(MSG_F_VARIANT),
		NAMED(MSG_F_ACT), NAMED(MSG_F_MIXED), NAMED(MSG_F_HIDDEN),
		NAMED(MSG_F_LAYERS), NAMED(MSG_F_EXPERTS), NAMED(MSG_F_TOP_K),
		NAMED(MSG_F_SLOT_BYTES), NAMED(MSG_F_DEPTH),
		NAMED(MSG_F_HEARTBEAT_US), NAMED(MSG_F_FEATURES),
		NAMED(MSG_F_EPOCH), NAMED(MSG_F_TOKEN), NAMED(MSG_F_NONCE),
		NAMED(MSG_F_PROOF), NAMED(MSG_ZSTD),
		NAMED(LINK_EXPERT), NAMED(LINK_FRONT), NAMED(LINK_ROUTE),
		NAMED(LINK_TOOL),
		NAMED(SLOT_REQUEST), NAMED(SLOT_ANSWER), NAMED(SLOT_PING),
		NAMED(SLOT_LAST), NAMED(SLOT_REPLAY), NAMED(SLOT_HEDGE),
		NAMED(SLOT_CRC_BODY), NAMED(SLOT_WEIGHT_IN),
		NAMED(SLOT_OK), NAMED(SLOT_BUSY), NAMED(SLOT_COLD),
		NAMED(SLOT_NOT_HERE), NAMED(SLOT_DRAINING), NAMED(SLOT_BAD),
		NAMED(SLOT_EXPIRED), NAMED(SLOT_REDUCE_NONE),
		NAMED(SLOT_REDUCE_SUM), NAMED(SLOT_REDUCE_EXACT),
	};
	char *path = mem_printf("%s/man/moe-wire.7", root);
	struct str page = STR_INIT;
	size_t i, missing = 0;

	OK(str_read_file(&page, path, 1 << 20) == 0, "the manual is there");
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		missing += !in_manual(str_c(&page), t[i].name, t[i].number);
	EQ_INT(missing, 0, "moe-wire(7) has every number of the wire");
	str_free(&page);
	mem_free(path);
}

/* ---- packed bodies ----------------------------------------------------------------------- */

static void
test_zbuf(void)
{
	struct str packed = STR_INIT, out = STR_INIT;
	struct err err = ERR_INIT;
	char text[10000];
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 7);
	if (!zbuf_have()) {
		OK(!zbuf_pack(&packed, text, sizeof(text)) && packed.n == 0,
		    "without zstd nothing is packed");
		OK(zbuf_unpack(&out, text, 10, 10, &err) == -1 &&
		    err.code == ERR_UNAVAIL, "nor unpacked");
		return;
	}
	OK(zbuf_pack(&packed, text, sizeof(text)) && packed.n < 1000,
	    "packed to %zu bytes", packed.n);
	OK(zbuf_unpack(&out, packed.p, packed.n, sizeof(text), &err) == 0 &&
	    out.n == sizeof(text) && memcmp(out.p, text, out.n) == 0,
	    "and back");
	str_clear(&out);
	OK(zbuf_unpack(&out, packed.p, packed.n, sizeof(text) - 1, &err) ==
	    -1 && out.n == 0, "a bomb is refused: %s", err.text);
	OK(zbuf_unpack(&out, packed.p, packed.n, sizeof(text) + 1, &err) ==
	    -1 && out.n == 0, "too little is refused: %s", err.text);
	OK(zbuf_unpack(&out, text, 100, 100, &err) == -1 && out.n == 0,
	    "garbage is refused: %s", err.text);
	str_free(&packed);
	str_free(&out);
}

int
main(void)
{
	const char *root = getenv("MOE_ROOT");

	if (root == NULL)
		root = ".";
	test_crc();
	test_crc_long();
	test_slot();
	test_frame();
	test_frame_limits();
	test_msg();
	test_golden(root);
	test_manual(root);
	test_zbuf();
	return tap_done();
}
