/* msg.c - F1.  Bodies of HELLO, WELCOME, REFUSE, BYE; no state, any thread. */
#include "msg.h"

#include <string.h>

#include "buf.h"

static const uint8_t zero[MSG_PROOF];

/* ---- writing --------------------------------------------------------------- */

static void
put_field(struct str *out, enum msg_field id, const void *p, size_t n)
{
	buf_put16(out, (uint16_t)id);
	buf_put16(out, (uint16_t)n);
	str_add(out, p, n);
}

/* A number of `bytes` bytes; zero is what a missing field means. */
static void
put_num(struct str *out, enum msg_field id, int bytes, uint64_t v)
{
	uint8_t raw[8];

	if (v == 0)
		return;
	buf_set64(raw, v);
	put_field(out, id, raw, (size_t)bytes);
}

static void
put_str(struct str *out, enum msg_field id, const char *s)
{
	if (s[0] != '\0')
		put_field(out, id, s, strlen(s));
}

void
msg_put_hello(struct str *out, const struct msg_hello *h)
{
	put_num(out, MSG_F_ROLE, 1, h->role);
	put_str(out, MSG_F_NAME, h->name);
	put_num(out, MSG_F_INCARNATION, 8, h->incarnation);
	put_num(out, MSG_F_FINGERPRINT, 8, h->fingerprint);
	put_str(out, MSG_F_VARIANT, h->variant);
	put_num(out, MSG_F_ACT, 1, h->act);
	put_num(out, MSG_F_WEIGHTS, 1, h->weights);
	put_num(out, MSG_F_MIXED, 1, h->mixed);
	put_num(out, MSG_F_HIDDEN, 4, h->hidden);
	put_num(out, MSG_F_LAYERS, 4, h->n_layer);
	put_num(out, MSG_F_EXPERTS, 4, h->n_expert);
	put_num(out, MSG_F_TOP_K, 4, h->top_k);
	put_num(out, MSG_F_SLOT_BYTES, 4, h->slot_bytes);
	put_num(out, MSG_F_DEPTH, 4, h->depth);
	put_num(out, MSG_F_HEARTBEAT_US, 4, h->heartbeat_us);
	put_num(out, MSG_F_FEATURES, 4, h->features);
	put_num(out, MSG_F_EPOCH, 2, h->epoch);
	if (memcmp(h->token, zero, MSG_TOKEN) != 0)
		put_field(out, MSG_F_TOKEN, h->token, MSG_TOKEN);
	if (msg_has_nonce(h))
		put_field(out, MSG_F_NONCE, h->nonce, MSG_PROOF);
	if (memcmp(h->proof, zero, MSG_PROOF) != 0)
		msg_put_proof(out, h->proof);
}

void
msg_put_proof(struct str *out, const uint8_t proof[MSG_PROOF])
{
	put_field(out, MSG_F_PROOF, proof, MSG_PROOF);
}

bool
msg_has_nonce(const struct msg_hello *h)
{
	return memcmp(h->nonce, zero, MSG_PROOF) != 0;
}

void
msg_put_text(struct str *out, const char *text)
{
	size_t n = strlen(text);

	str_add(out, text, n < MSG_TEXT ? n : MSG_TEXT - 1);
}

/* ---- reading --------------------------------------------------------------- */

/* Bytes of each numeric or fixed field; 0: text or not known. */
static size_t
fixed_bytes(int id)
{
	static const uint8_t size[] = {
		[MSG_F_ROLE] = 1, [MSG_F_INCARNATION] = 8,
		[MSG_F_FINGERPRINT] = 8, [MSG_F_ACT] = 1, [MSG_F_MIXED] = 1,
		[MSG_F_HIDDEN] = 4, [MSG_F_LAYERS] = 4, [MSG_F_EXPERTS] = 4,
		[MSG_F_TOP_K] = 4, [MSG_F_SLOT_BYTES] = 4, [MSG_F_DEPTH] = 4,
		[MSG_F_HEARTBEAT_US] = 4, [MSG_F_FEATURES] = 4,
		[MSG_F_EPOCH] = 2, [MSG_F_TOKEN] = MSG_TOKEN,
		[MSG_F_NONCE] = MSG_PROOF, [MSG_F_PROOF] = MSG_PROOF,
		[MSG_F_WEIGHTS] = 1,
	};

	return id < (int)sizeof(size) ? size[id] : 0;
}

static void
take_bytes(struct buf *v, uint8_t *to, size_t n)
{
	const void *p = buf_bytes(v, n);

	if (p != NULL)
		memcpy(to, p, n);
}

/* One field into *h; v holds exactly the field's bytes. */
static void
take_field(int id, struct buf *v, struct msg_hello *h)
{

	switch (id) {
	case MSG_F_ROLE:	h->role = buf_u8(v); break;
	case MSG_F_NAME:	buf_text(v, v->n, h->name, MSG_NAME); break;
	case MSG_F_INCARNATION:	h->incarnation = buf_u64(v); break;
	case MSG_F_FINGERPRINT:	h->fingerprint = buf_u64(v); break;
	case MSG_F_VARIANT:	buf_text(v, v->n, h->variant, MSG_NAME); break;
	case MSG_F_ACT:		h->act = buf_u8(v); break;
	case MSG_F_WEIGHTS:	h->weights = buf_u8(v); break;
	case MSG_F_MIXED:	h->mixed = buf_u8(v) != 0; break;
	case MSG_F_HIDDEN:	h->hidden = buf_u32(v); break;
	case MSG_F_LAYERS:	h->n_layer = buf_u32(v); break;
	case MSG_F_EXPERTS:	h->n_expert = buf_u32(v); break;
	case MSG_F_TOP_K:	h->top_k = buf_u32(v); break;
	case MSG_F_SLOT_BYTES:	h->slot_bytes = buf_u32(v); break;
	case MSG_F_DEPTH:	h->depth = buf_u32(v); break;
	case MSG_F_HEARTBEAT_US: h->heartbeat_us = buf_u32(v); break;
	case MSG_F_FEATURES:	h->features = buf_u32(v); break;
	case MSG_F_EPOCH:	h->epoch = buf_u16(v); break;
	case MSG_F_TOKEN:	take_bytes(v, h->token, MSG_TOKEN); break;
	case MSG_F_NONCE:	take_bytes(v, h->nonce, MSG_PROOF); break;
	case MSG_F_PROOF:	take_bytes(v, h->proof, MSG_PROOF); break;
	}
}

int
msg_get_hello(const void *p, size_t n, struct msg_hello *h, struct err *err)
{
	struct msg_hello d;
	struct buf b, v;
	uint32_t seen = 0;
	size_t want;
	int id, len;

	memset(&d, 0, sizeof(d));
	buf_init(&b, p, n);
	while (b.n > 0) {
		id = buf_u16(&b);
		len = buf_u16(&b);
		p = buf_bytes(&b, (size_t)len);
		if (b.bad)
			return err_set(err, ERR_DATA, "hello: cut within "
			    "field %d", id);
		want = fixed_bytes(id);
		if (want != 0 && (size_t)len != want)
			return err_set(err, ERR_DATA, "hello: field %d has %d "
			    "bytes, want %zu", id, len, want);
		if (id <= MSG_F_MAX && (seen >> id & 1) != 0)
			return err_set(err, ERR_DATA, "hello: field %d comes "
			    "twice", id);
		if (id <= MSG_F_MAX)
			seen |= 1u << id;
		buf_init(&v, p, (size_t)len);
		take_field(id, &v, &d);
		if (v.bad)
			return err_set(err, ERR_DATA, "hello: field %d is too "
			    "long or not text", id);
	}
	*h = d;
	return 0;
}

void
msg_get_text(const void *p, size_t n, char out[MSG_TEXT])
{
	const uint8_t *b = p;
	size_t i;

	if (n > MSG_TEXT - 1)
		n = MSG_TEXT - 1;
	for (i = 0; i < n; i++)
		out[i] = b[i] >= 0x20 && b[i] < 0x7f ? (char)b[i] : '?';
	out[n] = '\0';
}
