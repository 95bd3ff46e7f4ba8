/*
 * token_stream - from ids to text.  Floor F4; the tables in struct token do
 * not change after load, a struct token_stream has one owner.
 *
 * Two kinds of decoder.  ByteLevel: each id is a few bytes, and their
 * concatenation is UTF-8 with replacement of what is broken.  A chain as of
 * SentencePiece: each id is text, except for <0xNN>, of which a whole run is
 * either UTF-8 or becomes one U+FFFD a byte; in the end leading spaces go.
 */
#include <string.h>

#include "token_parts.h"

#define REPLACEMENT	"\xef\xbf\xbd"		/* U+FFFD */

/* ---- reading ------------------------------------------------------------- */

/* The places of a chain, which must come in this order. */
enum { AT_REPLACE, AT_FALLBACK, AT_FUSE, AT_STRIP, AT_END };

struct chain {
	struct token_out *out;
	int place;
};

static int
read_strip(struct token_out *o, const struct json_src *src)
{
	const char *content;
	int64_t start = 0, stop = 0;
	size_t len;

	if (json_want_str(src, "content", &content) != 0 ||
	    json_want_int(src, "start", 0, UINT32_MAX, &start) != 0 ||
	    json_want_int(src, "stop", 0, UINT32_MAX, &stop) != 0)
		return -1;
	if (stop != 0)
		return json_want_fail(src, "stop", "must be 0");
	if (*content != '\0')
		(void)str_utf8_next(content, strlen(content), &len);
	if (*content == '\0' || content[len] != '\0')
		return json_want_fail(src, "content",
		    "must be one character");
	memcpy(o->strip, content, len + 1);
	o->n_strip = (uint32_t)start;
	return 0;
}

static int
read_step(void *arg, const struct json_src *src)
{
	static const struct {
		const char *type;
		int place, next;
	} order[] = {
		{ "Replace", AT_REPLACE, AT_REPLACE },
		{ "ByteFallback", AT_FALLBACK, AT_FUSE },
		{ "Fuse", AT_FUSE, AT_STRIP },
		{ "Strip", AT_STRIP, AT_END },
	};
	struct chain *c = arg;
	const char *type = token_load_type(src);
	size_t i;

	if (type == NULL)
		return -1;
	for (i = 0; i < 4; i++)
		if (strcmp(type, order[i].type) == 0)
			break;
	/* Strip before Fuse would work on each token: nobody does that. */
	if (i == 4 || c->place > order[i].place ||
	    (order[i].place == AT_STRIP && c->place != AT_STRIP))
		return json_want_fail(src, "type",
		    "decoder %s is not supported (here)", type);
	c->place = order[i].next;
	if (order[i].place == AT_REPLACE)
		return token_norm_read(&c->out->replace, src);
	if (order[i].place == AT_FALLBACK)
		c->out->byte_fallback = true;
	return order[i].place == AT_STRIP ? read_strip(c->out, src) : 0;
}

int
token_stream_read(struct token *t, const struct json_src *src)
{
	struct chain c = { .out = &t->out, .place = AT_REPLACE };
	const char *type = token_load_type(src);

	if (type == NULL)
		return -1;
	if (strcmp(type, "ByteLevel") == 0) {
		t->out.byte_level = true;
		return 0;
	}
	if (strcmp(type, "Sequence") == 0)
		return token_load_each(src, "decoders", read_step, &c);
	return read_step(&c, src);
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of "<0xNN>", or -1. */
static int
byte_code(const struct str *s)
{
	int hi, lo;

	if (s->n != 6 || memcmp(s->p, "<0x", 3) != 0 || s->p[5] != '>')
		return -1;
	hi = hex(s->p[3]);
	lo = hex(s->p[4]);
	return hi >= 0 && lo >= 0 ? hi << 4 | lo : -1;
}

/* The bytes of one id of a chain. */
static void
chain_bytes(struct token *t, uint32_t id, struct token_masked *m)
{
	struct err e = ERR_INIT;
	int byte;

	str_clear(&m->text);
	str_adds(&m->text, t->vocab.text.p + t->vocab.piece[id]);
	if (token_norm_run(&t->out.replace, m, &e) != 0)
		BUG("a Replace failed: %s", e.text);
	byte = t->out.byte_fallback ? byte_code(&m->text) : -1;
	if (byte >= 0) {
		t->vocab.flag[id] |= TOKEN_F_BYTE;
		str_addc(&t->out.bytes, (char)byte);
	} else {
		str_add(&t->out.bytes, m->text.p, m->text.n);
	}
}

void
token_stream_index(struct token *t)
{
	struct token_out *o = &t->out;
	struct token_masked m = { STR_INIT, STR_INIT };
	const char *piece;
	uint32_t i;

	o->at = mem_calloc((size_t)t->vocab.n + 1, sizeof(*o->at));
	str_adds(&o->bytes, "");
	for (i = 0; i < t->vocab.n; i++) {
		o->at[i] = (uint32_t)o->bytes.n;
		if (t->vocab.piece[i] == TOKEN_NONE)
			continue;
		piece = t->vocab.text.p + t->vocab.piece[i];
		if (o->byte_level)
			token_bytes_decode(piece, strlen(piece), &o->bytes);
		else
			chain_bytes(t, i, &m);
	}
	o->at[i] = (uint32_t)o->bytes.n;
	str_free(&m.text);
}

void
token_stream_drop(struct token_out *o)
{
	token_norm_free(&o->replace);
	str_free(&o->bytes);
	mem_free(o->at);
}

/* ---- decoding ------------------------------------------------------------ */

/* Length of the longest prefix of p[0..n) that can still become, or is, one
 * UTF-8 character; 0 if the first byte cannot begin one.  *whole_p: it is. */
static size_t
char_part(const char *p, size_t n, bool *whole_p)
{
	size_t len, part;

	*whole_p = str_utf8_next(p, n, &len) != 0xfffd || len > 1;
	if (*whole_p)
		return len;
	/* A part of a character is what str_utf8_whole would leave off. */
	for (part = n < 3 ? n : 3; part > 0; part--)
		if (str_utf8_whole(p, part) == 0)
			return part;
	return 0;
}

/*
 * Move to out what is certain of the bytes held; all of it when final.  Each
 * broken part of a character, as long as it could have become one, is one
 * U+FFFD (the Unicode standard's "maximal subparts", as in Rust's lossy).
 */
static void
flush_utf8(struct str *held, bool final, struct str *out)
{
	size_t i = 0, part;
	bool is_char;

	while (i < held->n) {
		part = char_part(held->p + i, held->n - i, &is_char);
		if (is_char)
			str_add(out, held->p + i, part);
		else if (part == held->n - i && !final)
			break;
		else
			str_adds(out, REPLACEMENT);
		i += part > 0 ? part : 1;
	}
	memmove(held->p, held->p + i, held->n - i);
	str_cut(held, held->n - i);
}

/* Append text, less the leading characters that Strip still takes. */
static void
emit(struct token_stream *st, const char *p, size_t n, struct str *out)
{
	const char *strip = st->t->out.strip;
	size_t len = strlen(strip);

	while (st->strip_left > 0 && n > 0) {
		if (n < len || memcmp(p, strip, len) != 0) {
			st->strip_left = 0;
			break;
		}
		p += len;
		n -= len;
		st->strip_left--;
	}
	str_add(out, p, n);
}

/* The end of a run of <0xNN>. */
static void
flush_run(struct token_stream *st, struct str *out)
{
	size_t i;

	if (st->held.n == 0)
		return;
	if (str_utf8_valid(st->held.p, st->held.n))
		emit(st, st->held.p, st->held.n, out);
	else
		for (i = 0; i < st->held.n; i++)
			emit(st, REPLACEMENT, 3, out);
	str_clear(&st->held);
}

void
token_stream_init(struct token_stream *st, const struct token *t,
    bool skip_special)
{
	*st = (struct token_stream){ .t = t, .skip_special = skip_special,
	    .strip_left = t->out.n_strip, .held = STR_INIT };
}

void
token_stream_put(struct token_stream *st, uint32_t id, struct str *out)
{
	const struct token *t = st->t;
	const char *p;
	size_t n;

	if (id >= t->vocab.n || t->vocab.piece[id] == TOKEN_NONE ||
	    (st->skip_special && token_is_special(t, id)))
		return;
	p = token_piece_bytes(t, id, &n);
	if (t->out.byte_level) {
		str_add(&st->held, p, n);
		flush_utf8(&st->held, false, out);
	} else if (t->vocab.flag[id] & TOKEN_F_BYTE) {
		str_add(&st->held, p, n);
	} else {
		flush_run(st, out);
		emit(st, p, n, out);
	}
}

void
token_stream_end(struct token_stream *st, struct str *out)
{
	if (st->held.n > 0 && st->t->out.byte_level)
		flush_utf8(&st->held, true, out);
	else
		flush_run(st, out);
	st->strip_left = st->t->out.n_strip;
}

void
token_stream_free(struct token_stream *st)
{
	str_free(&st->held);
}
