/*
 * chat_repr - values as text, as Python's str, repr, json.dumps, % and
 * str.format write them.
 *
 * F4, private to chat.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "chat_priv.h"

void
chat_repr_float(double f, char out[40])
{
	char z[26], *e;	/* sign, 17 digits, point, exponent */
	int prec, x, digits;

	if (isnan(f) || isinf(f)) {
		strcpy(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	for (prec = 0; prec < 17; prec++) {
		snprintf(z, sizeof(z), "%.*e", prec, f);
		if (strtod(z, NULL) == f)
			break;
	}
	e = strchr(z, 'e');
	x = atoi(e + 1);
	*e = '\0';
	if (x < -4 || x >= 16) {
		snprintf(out, 40, "%se%c%02d", z, x < 0 ? '-' : '+', abs(x));
		return;
	}
	digits = prec - x;
	snprintf(out, 40, "%.*f", digits > 0 ? digits : 1, f);
}

/* Is cp shown as it is by repr(). */
static bool
printable(unsigned cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return false;
	case UTF8PROC_CATEGORY_ZS:
		return cp == ' ';
	default:
		return true;
	}
}

static void
repr_char(struct chat_run *r, struct chat_buf *b, unsigned cp, char quote,
    bool dirty)
{
	char z[16];

	if (cp == (unsigned char)quote || cp == '\\')
		snprintf(z, sizeof(z), "\\%c", (char)cp);
	else if (cp == '\n' || cp == '\r' || cp == '\t')
		snprintf(z, sizeof(z), "\\%c", cp == '\n' ? 'n' :
		    cp == '\r' ? 'r' : 't');
	else if (cp < 0x20 || (cp >= 0x7f && !printable(cp) && cp < 0x100))
		snprintf(z, sizeof(z), "\\x%02x", cp);
	else if (cp >= 0x7f && !printable(cp))
		snprintf(z, sizeof(z), cp < 0x10000 ? "\\u%04x" : "\\U%08x",
		    cp);
	else {
		chat_buf_addu(r, b, cp, dirty);
		return;
	}
	chat_buf_adds(r, b, z, dirty);
}

static void
repr_str(struct chat_run *r, struct chat_buf *b, const struct chat_str *s)
{
	char quote = memchr(s->p, '\'', s->n) != NULL &&
	    memchr(s->p, '"', s->n) == NULL ? '"' : '\'';
	bool dirty = chat_buf_dirty(s);
	size_t i, used;
	unsigned cp;

	chat_buf_add(r, b, &quote, 1, dirty);
	for (i = 0; i < s->n && chat_value_step(r, 1); i += used) {
		cp = str_utf8_next(s->p + i, s->n - i, &used);
		repr_char(r, b, cp, quote, chat_buf_dirty_at(s, i));
	}
	chat_buf_add(r, b, &quote, 1, dirty);
}

static void
repr_seq(struct chat_run *r, struct chat_buf *b, struct chat_value v)
{
	const struct chat_seq *q = v.u.q;
	bool tuple = q->kind == CS_TUPLE;
	size_t i;

	if (q->kind != CS_LIST && !tuple) {
		chat_fail(r, "a %s has no text; use the list filter first",
		    chat_value_type(&v));
		return;
	}
	chat_buf_adds(r, b, tuple ? "(" : "[", v.dirty);
	for (i = 0; i < q->n && !r->failed; i++) {
		if (i > 0)
			chat_buf_adds(r, b, ", ", v.dirty);
		chat_repr_add(r, b, q->p[i]);
	}
	if (tuple && q->n == 1)
		chat_buf_adds(r, b, ",", v.dirty);
	chat_buf_adds(r, b, tuple ? ")" : "]", v.dirty);
}

static void
repr_dict(struct chat_run *r, struct chat_buf *b, struct chat_value v)
{
	const struct chat_dict *d = v.u.d;
	size_t i;

	chat_buf_adds(r, b, "{", v.dirty);
	for (i = 0; i < d->n && !r->failed; i++) {
		if (i > 0)
			chat_buf_adds(r, b, ", ", v.dirty);
		chat_repr_add(r, b, d->p[i].k);
		chat_buf_adds(r, b, ": ", v.dirty);
		chat_repr_add(r, b, d->p[i].v);
	}
	chat_buf_adds(r, b, "}", v.dirty);
}

void
chat_repr_add(struct chat_run *r, struct chat_buf *b, struct chat_value v)
{
	char z[40];

	if (!chat_value_enter(r))
		goto out;
	switch (v.kind) {
	case CV_UNDEF:
		chat_buf_adds(r, b, "Undefined", v.dirty);
		break;
	case CV_NONE:
		chat_buf_adds(r, b, "None", v.dirty);
		break;
	case CV_BOOL:
		chat_buf_adds(r, b, v.u.b ? "True" : "False", v.dirty);
		break;
	case CV_INT:
		snprintf(z, sizeof(z), "%lld", (long long)v.u.i);
		chat_buf_adds(r, b, z, v.dirty);
		break;
	case CV_FLOAT:
		chat_repr_float(v.u.f, z);
		chat_buf_adds(r, b, z, v.dirty);
		break;
	case CV_STR:
		if (v.u.s->safe)
			chat_fail(r, "the repr of safe text is not supported");
		repr_str(r, b, v.u.s);
		break;
	case CV_SEQ:
		repr_seq(r, b, v);
		break;
	case CV_DICT:
		repr_dict(r, b, v);
		break;
	default:
		chat_fail(r, "a %s has no text", chat_value_type(&v));
	}
out:
	chat_value_leave(r);
}

const struct chat_str *
chat_repr_str(struct chat_run *r, struct chat_value v)
{
	static const struct chat_str empty = { .p = "" };
	struct chat_buf *b;
	struct chat_value s;

	if (v.kind == CV_STR)
		return v.u.s;
	if (v.kind == CV_UNDEF || r->failed)
		return &empty;
	b = chat_buf_new(r);
	chat_repr_add(r, b, v);
	s = chat_buf_done(r, b);
	return s.u.s;
}

/* ---- JSON -------------------------------------------------------- */

static void
json_char(struct chat_run *r, struct chat_buf *b, unsigned cp, bool ascii,
    bool dirty)
{
	static const char from[] = "\"\\\n\r\t\b\f";
	static const char to[] = "\"\\nrtbf";
	const char *q = cp != 0 && cp < 0x80 ? strchr(from, (int)cp) : NULL;
	char z[16];

	if (q != NULL)
		snprintf(z, sizeof(z), "\\%c", to[q - from]);
	else if (cp < 0x20 || (ascii && cp >= 0x7f && cp < 0x10000 &&
	    cp != 0x7f))
		snprintf(z, sizeof(z), "\\u%04x", cp);
	else if (ascii && cp >= 0x10000)
		snprintf(z, sizeof(z), "\\u%04x\\u%04x",
		    0xd800 + ((cp - 0x10000) >> 10),
		    0xdc00 + ((cp - 0x10000) & 0x3ff));
	else {
		chat_buf_addu(r, b, cp, dirty);
		return;
	}
	chat_buf_adds(r, b, z, dirty);
}

static void
json_str(struct chat_run *r, struct chat_buf *b, const struct chat_str *s,
    bool ascii)
{
	bool dirty = chat_buf_dirty(s);
	size_t i, used;
	unsigned cp;

	chat_buf_adds(r, b, "\"", dirty);
	for (i = 0; i < s->n && chat_value_step(r, 1); i += used) {
		cp = str_utf8_next(s->p + i, s->n - i, &used);
		json_char(r, b, cp, ascii, chat_buf_dirty_at(s, i));
	}
	chat_buf_adds(r, b, "\"", dirty);
}

struct json_at {
	const struct chat_json_style *st;
	size_t level;
};

static void json_value(struct chat_run *r, struct chat_buf *b,
    struct chat_value v, struct json_at at);

static void
json_newline(struct chat_run *r, struct chat_buf *b, struct json_at at,
    bool dirty)
{
	size_t i;

	if (at.st->indent == NULL)
		return;
	chat_buf_adds(r, b, "\n", dirty);
	for (i = 0; i < at.level && !r->failed; i++)
		chat_buf_str(r, b, at.st->indent);
}

static void
json_seq(struct chat_run *r, struct chat_buf *b, struct chat_value v,
    struct json_at at)
{
	const struct chat_seq *q = v.u.q;
	struct json_at in = { at.st, at.level + 1 };
	size_t i;

	if (q->kind != CS_LIST && q->kind != CS_TUPLE) {
		chat_fail(r, "a %s is not JSON serializable",
		    chat_value_type(&v));
		return;
	}
	chat_buf_adds(r, b, "[", v.dirty);
	for (i = 0; i < q->n && !r->failed; i++) {
		if (i > 0)
			chat_buf_adds(r, b, at.st->item_sep, v.dirty);
		json_newline(r, b, in, v.dirty);
		json_value(r, b, q->p[i], in);
	}
	if (q->n > 0)
		json_newline(r, b, at, v.dirty);
	chat_buf_adds(r, b, "]", v.dirty);
}

/* The order of d's pairs in the output: as they are, or by key. */
static const struct chat_pair **
json_order(struct chat_run *r, const struct chat_dict *d, bool sort)
{
	const struct chat_pair **o = chat_value_alloc(&r->arena,
	    (d->n + 1) * sizeof(*o)), *x;
	size_t i, k;

	for (i = 0; i < d->n && !r->failed; i++) {
		x = &d->p[i];
		for (k = i; sort && k > 0 && chat_op_less(r, x->k, o[k - 1]->k);
		    k--)
			o[k] = o[k - 1];
		o[k] = x;
	}
	return o;
}

static void
json_key(struct chat_run *r, struct chat_buf *b, struct chat_value k,
    struct json_at at)
{
	if (k.kind == CV_STR) {
		json_str(r, b, k.u.s, at.st->ascii);
		return;
	}
	if (k.kind < CV_NONE || k.kind > CV_FLOAT) {
		chat_fail(r, "JSON keys cannot be of type %s",
		    chat_value_type(&k));
		return;
	}
	chat_buf_adds(r, b, "\"", k.dirty);
	json_value(r, b, k, at);
	chat_buf_adds(r, b, "\"", k.dirty);
}

static void
json_dict(struct chat_run *r, struct chat_buf *b, struct chat_value v,
    struct json_at at)
{
	const struct chat_dict *d = v.u.d;
	struct json_at in = { at.st, at.level + 1 };
	const struct chat_pair **o = json_order(r, d, at.st->sort);
	size_t i;

	chat_buf_adds(r, b, "{", v.dirty);
	for (i = 0; i < d->n && !r->failed; i++) {
		if (i > 0)
			chat_buf_adds(r, b, at.st->item_sep, v.dirty);
		json_newline(r, b, in, v.dirty);
		json_key(r, b, o[i]->k, in);
		chat_buf_adds(r, b, at.st->key_sep, v.dirty);
		json_value(r, b, o[i]->v, in);
	}
	if (d->n > 0)
		json_newline(r, b, at, v.dirty);
	chat_buf_adds(r, b, "}", v.dirty);
}

static void
json_float(struct chat_run *r, struct chat_buf *b, struct chat_value v)
{
	char z[40];

	if (isnan(v.u.f))
		strcpy(z, "NaN");
	else if (isinf(v.u.f))
		strcpy(z, v.u.f < 0 ? "-Infinity" : "Infinity");
	else
		chat_repr_float(v.u.f, z);
	chat_buf_adds(r, b, z, v.dirty);
}

static void
json_value(struct chat_run *r, struct chat_buf *b, struct chat_value v,
    struct json_at at)
{
	if (!chat_value_enter(r))
		goto out;
	switch (v.kind) {
	case CV_NONE:
		chat_buf_adds(r, b, "null", v.dirty);
		break;
	case CV_BOOL:
		chat_buf_adds(r, b, v.u.b ? "true" : "false", v.dirty);
		break;
	case CV_INT:
		chat_repr_add(r, b, v);
		break;
	case CV_FLOAT:
		json_float(r, b, v);
		break;
	case CV_STR:
		json_str(r, b, v.u.s, at.st->ascii);
		break;
	case CV_SEQ:
		json_seq(r, b, v, at);
		break;
	case CV_DICT:
		json_dict(r, b, v, at);
		break;
	default:
		chat_fail(r, "Object of type %s is not JSON serializable",
		    chat_value_type(&v));
	}
out:
	chat_value_leave(r);
}

void
chat_repr_json(struct chat_run *r, struct chat_buf *b, struct chat_value v,
    const struct chat_json_style *st)
{
	json_value(r, b, v, (struct json_at){ st, 0 });
}
