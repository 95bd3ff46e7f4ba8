/*
 * chat_buf - strings whose bytes remember where they came from.
 *
 * Every byte is trusted (text of the template) or not (the caller's data), and
 * keeps that through cutting and joining.  Work on strings is in code points,
 * as in Python; offsets inside here are bytes.
 *
 * F4, private to chat; strings belong to one run and one thread.
 */
#include <string.h>
#include <utf8proc.h>

#include "chat_priv.h"

struct chat_buf *
chat_buf_new(struct chat_run *r)
{
	return chat_value_alloc(&r->arena, sizeof(struct chat_buf));
}

/* Make room for n more bytes; false (failed) when that is too much. */
static bool
buf_room(struct chat_run *r, struct chat_buf *b, size_t n)
{
	size_t cap;
	char *p;
	unsigned char *t;

	if (!chat_value_step(r, n / 64))
		return false;
	if (n > CHAT_MAX_OUTPUT_BYTES || b->n + n > CHAT_MAX_OUTPUT_BYTES) {
		chat_fail(r, "a text of more than %zu bytes",
		    CHAT_MAX_OUTPUT_BYTES);
		return false;
	}
	if (b->n + n <= b->cap)
		return true;
	for (cap = b->cap ? b->cap * 2 : 64; cap < b->n + n; cap *= 2)
		;
	p = chat_value_alloc(&r->arena, cap);
	t = chat_value_alloc(&r->arena, cap);
	if (b->n > 0) {
		memcpy(p, b->p, b->n);
		memcpy(t, b->t, b->n);
	}
	b->p = p;
	b->t = t;
	b->cap = cap;
	return true;
}

void
chat_buf_add(struct chat_run *r, struct chat_buf *b, const char *p, size_t n,
    bool dirty)
{
	if (n == 0 || !buf_room(r, b, n))
		return;
	memcpy(b->p + b->n, p, n);
	memset(b->t + b->n, dirty, n);
	b->n += n;
}

void
chat_buf_adds(struct chat_run *r, struct chat_buf *b, const char *z,
    bool dirty)
{
	chat_buf_add(r, b, z, strlen(z), dirty);
}

void
chat_buf_addu(struct chat_run *r, struct chat_buf *b, unsigned cp, bool dirty)
{
	utf8proc_uint8_t c[4];

	chat_buf_add(r, b, (const char *)c,
	    (size_t)utf8proc_encode_char((utf8proc_int32_t)cp, c), dirty);
}

void
chat_buf_part(struct chat_run *r, struct chat_buf *b,
    const struct chat_str *s, size_t off, size_t n)
{
	if (s->t == NULL) {
		chat_buf_add(r, b, s->p + off, n, s->dirty);
		return;
	}
	if (n == 0 || !buf_room(r, b, n))
		return;
	memcpy(b->p + b->n, s->p + off, n);
	memcpy(b->t + b->n, s->t + off, n);
	b->n += n;
}

void
chat_buf_str(struct chat_run *r, struct chat_buf *b, const struct chat_str *s)
{
	chat_buf_part(r, b, s, 0, s->n);
}

/* The string b->p[off .. b->n). */
static struct chat_value
buf_view(struct chat_run *r, struct chat_buf *b, size_t off)
{
	struct chat_str *s = chat_value_alloc(&r->arena, sizeof(*s));
	struct chat_value v;

	s->p = b->p ? b->p + off : "";
	s->n = b->n - off;
	s->t = b->t ? b->t + off : NULL;
	s->home = b;
	v = chat_value_str(s);
	v.dirty = chat_buf_dirty(s);
	return v;
}

struct chat_value
chat_buf_done(struct chat_run *r, struct chat_buf *b)
{
	return buf_view(r, b, 0);
}

struct chat_value
chat_buf_safe(struct chat_run *r, struct chat_value v)
{
	struct chat_str *o = chat_value_alloc(&r->arena, sizeof(*o));

	*o = *v.u.s;
	o->safe = true;
	o->home = NULL;
	v.u.s = o;
	return v;
}

struct chat_value
chat_buf_slice(struct chat_run *r, const struct chat_str *s, size_t off,
    size_t n)
{
	struct chat_str *o = chat_value_alloc(&r->arena, sizeof(*o));

	*o = *s;
	o->p += off;
	o->n = n;
	if (o->t != NULL)
		o->t += off;
	return chat_value_str(o);
}

/*
 * a + b.  Where a is the end of a buffer, b is put behind it in place, so that
 * a template that collects its prompt piece by piece stays linear.
 */
struct chat_value
chat_buf_concat(struct chat_run *r, const struct chat_str *a,
    const struct chat_str *b)
{
	struct chat_buf *buf = a->home;
	size_t off;

	if (buf == NULL || a->n == 0 || a->p + a->n != buf->p + buf->n ||
	    a->n < buf->n / 2) {
		buf = chat_buf_new(r);
		chat_buf_str(r, buf, a);
		off = 0;
	} else {
		off = buf->n - a->n;
	}
	chat_buf_str(r, buf, b);
	if (r->failed)
		return chat_value_undef(NULL);
	return buf_view(r, buf, off);
}

bool
chat_buf_dirty_at(const struct chat_str *s, size_t i)
{
	return s->t != NULL ? s->t[i] != 0 : s->dirty;
}

bool
chat_buf_dirty(const struct chat_str *s)
{
	return s->t != NULL ? memchr(s->t, 1, s->n) != NULL : s->dirty;
}

bool
chat_buf_eq(const struct chat_str *s, const char *z)
{
	size_t n = strlen(z);

	return s->n == n && memcmp(s->p, z, n) == 0;
}

size_t
chat_buf_points(const struct chat_str *s)
{
	size_t i, used, k = 0;

	for (i = 0; i < s->n; i += used, k++) {
		used = 1;
		if ((unsigned char)s->p[i] >= 0x80)
			str_utf8_next(s->p + i, s->n - i, &used);
	}
	return k;
}

size_t
chat_buf_offset(const struct chat_str *s, size_t i)
{
	size_t off, used;

	for (off = 0; i > 0 && off < s->n; off += used, i--) {
		used = 1;
		if ((unsigned char)s->p[off] >= 0x80)
			str_utf8_next(s->p + off, s->n - off, &used);
	}
	return off;
}

bool
chat_buf_space(unsigned cp)
{
	return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20) ||
	    cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
	    (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
	    cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* Is the code point of n bytes at p one that strip takes away. */
static bool
strips(const struct chat_str *chars, const char *p, size_t n)
{
	size_t i, used;

	if (chars == NULL)
		return chat_buf_space(str_utf8_next(p, n, &used));
	for (i = 0; i < chars->n; i += used) {
		str_utf8_next(chars->p + i, chars->n - i, &used);
		if (used == n && memcmp(chars->p + i, p, n) == 0)
			return true;
	}
	return false;
}

struct chat_value
chat_buf_strip(struct chat_run *r, const struct chat_str *s,
    const struct chat_str *chars, bool left, bool right)
{
	size_t b = 0, e = s->n, k, used;
	size_t cost = chars ? chars->n + 1 : 1;

	while (left && b < e && chat_value_step(r, cost)) {
		str_utf8_next(s->p + b, e - b, &used);
		if (!strips(chars, s->p + b, used))
			break;
		b += used;
	}
	while (right && e > b && chat_value_step(r, cost)) {
		for (k = e - 1; k > b && ((unsigned char)s->p[k] & 0xc0) ==
		    0x80 && e - k < 4; k--)
			;
		str_utf8_next(s->p + k, e - k, &used);
		if (used != e - k) {		/* broken UTF-8 */
			k = e - 1;
			used = 1;
		}
		if (!strips(chars, s->p + k, used))
			break;
		e = k;
	}
	return chat_buf_slice(r, s, b, e - b);
}

size_t
chat_buf_find(struct chat_run *r, const struct chat_str *s, size_t off,
    const struct chat_str *w)
{
	const char *p;

	if (off > s->n)
		return SIZE_MAX;
	p = memmem(s->p + off, s->n - off, w->p, w->n);
	chat_value_step(r, (p ? (size_t)(p - s->p) - off : s->n - off) / 16);
	return p ? (size_t)(p - s->p) : SIZE_MAX;
}

size_t
chat_buf_rfind(struct chat_run *r, const struct chat_str *s, size_t end,
    const struct chat_str *w)
{
	size_t i;

	if (w->n > end)
		return SIZE_MAX;
	for (i = end - w->n;; i--) {
		if (!chat_value_step(r, 1))
			return SIZE_MAX;
		if (memcmp(s->p + i, w->p, w->n) == 0)
			return i;
		if (i == 0)
			return SIZE_MAX;
	}
}

/* replace() with an empty `from`: `to` before each character and at the end. */
static void
replace_empty(struct chat_run *r, struct chat_buf *b,
    const struct chat_str *s, const struct chat_str *to, int64_t count)
{
	size_t i = 0, used;

	while (!r->failed && count != 0) {
		chat_buf_str(r, b, to);
		count--;
		if (i >= s->n)
			return;
		str_utf8_next(s->p + i, s->n - i, &used);
		chat_buf_part(r, b, s, i, used);
		i += used;
		chat_value_step(r, 1);
	}
	chat_buf_part(r, b, s, i, s->n - i);
}

struct chat_value
chat_buf_replace(struct chat_run *r, const struct chat_str *s,
    const struct chat_str *from, const struct chat_str *to, int64_t count)
{
	struct chat_buf *b = chat_buf_new(r);
	size_t off = 0, at;

	if (from->n == 0) {
		replace_empty(r, b, s, to, count);
		return chat_buf_done(r, b);
	}
	for (; count != 0 && chat_value_step(r, 1); count--) {
		at = chat_buf_find(r, s, off, from);
		if (at == SIZE_MAX)
			break;
		chat_buf_part(r, b, s, off, at - off);
		chat_buf_str(r, b, to);
		off = at + from->n;
	}
	chat_buf_part(r, b, s, off, s->n - off);
	return chat_buf_done(r, b);
}

/* Characters whose upper case is more than one character (from Unicode's
 * SpecialCasing), as far as they occur in Latin text; the others are refused
 * so that no prompt is silently different. */
static const struct {
	unsigned cp;
	const char *upper, *title;
} special_case[] = {
	{ 0x00df, "SS", "Ss" }, { 0x0149, "\xca\xbcN", "\xca\xbcN" },
	{ 0x01f0, "J\xcc\x8c", "J\xcc\x8c" }, { 0xfb00, "FF", "Ff" },
	{ 0xfb01, "FI", "Fi" }, { 0xfb02, "FL", "Fl" },
	{ 0xfb03, "FFI", "Ffi" }, { 0xfb04, "FFL", "Ffl" },
	{ 0xfb05, "ST", "St" }, { 0xfb06, "ST", "St" },
};

/* Does the upper case of cp need a table that is not here. */
static bool
odd_upper(unsigned cp)
{
	return cp == 0x390 || cp == 0x3b0 || cp == 0x587 ||
	    (cp >= 0x1e96 && cp <= 0x1e9a) || (cp >= 0x1f50 && cp <= 0x1ffc) ||
	    (cp >= 0x1f80 && cp <= 0x1faf) || (cp >= 0xfb13 && cp <= 0xfb17) ||
	    (cp >= 0x10d0 && cp <= 0x10ff);
}

static void
add_upper(struct chat_run *r, struct chat_buf *b, unsigned cp, bool title,
    bool dirty)
{
	size_t i;

	for (i = 0; i < sizeof(special_case) / sizeof(special_case[0]); i++)
		if (special_case[i].cp == cp) {
			chat_buf_adds(r, b, title ? special_case[i].title :
			    special_case[i].upper, dirty);
			return;
		}
	if (odd_upper(cp))
		chat_fail(r, "the upper case of U+%04X is not supported", cp);
	else
		chat_buf_addu(r, b, (unsigned)(title ?
		    utf8proc_totitle((utf8proc_int32_t)cp) :
		    utf8proc_toupper((utf8proc_int32_t)cp)), dirty);
}

static bool
cased(unsigned cp)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);

	return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL ||
	    c == UTF8PROC_CATEGORY_LT || cp == 0xaa || cp == 0xba;
}

static void
add_lower(struct chat_run *r, struct chat_buf *b, unsigned cp, bool dirty)
{
	if (cp == 0x130)
		chat_buf_adds(r, b, "i\xcc\x87", dirty);
	else if (cp == 0x3a3)
		chat_fail(r, "the lower case of U+03A3 is not supported");
	else
		chat_buf_addu(r, b, (unsigned)utf8proc_tolower(
		    (utf8proc_int32_t)cp), dirty);
}

/* Does a word of the title filter begin behind cp. */
static bool
word_break(unsigned cp)
{
	return chat_buf_space(cp) || cp == '-' || cp == '(' || cp == '{' ||
	    cp == '[' || cp == '<';
}

struct chat_value
chat_buf_case(struct chat_run *r, const struct chat_str *s, enum chat_case how)
{
	struct chat_buf *b = chat_buf_new(r);
	bool first = true, dirty;
	size_t i, used;
	unsigned cp;

	for (i = 0; i < s->n && chat_value_step(r, 1); i += used) {
		cp = str_utf8_next(s->p + i, s->n - i, &used);
		dirty = chat_buf_dirty_at(s, i);
		if (how == CC_UPPER || (how == CC_WORDS && first))
			add_upper(r, b, cp, false, dirty);
		else if (how != CC_LOWER && first)
			add_upper(r, b, cp, true, dirty);
		else
			add_lower(r, b, cp, dirty);
		if (how == CC_TITLE)
			first = !cased(cp);
		else
			first = how == CC_WORDS && word_break(cp);
	}
	return s->safe ? chat_buf_safe(r, chat_buf_done(r, b)) :
	    chat_buf_done(r, b);
}

struct chat_value
chat_buf_escape(struct chat_run *r, const struct chat_str *s)
{
	static const char from[] = "&<>'\"";
	static const char *const to[] = { "&amp;", "&lt;", "&gt;", "&#39;",
	    "&#34;" };
	struct chat_buf *b = chat_buf_new(r);
	const char *q;
	size_t i;

	for (i = 0; i < s->n && chat_value_step(r, 1); i++) {
		q = s->p[i] != '\0' ? strchr(from, s->p[i]) : NULL;
		if (q != NULL)
			chat_buf_adds(r, b, to[q - from],
			    chat_buf_dirty_at(s, i));
		else
			chat_buf_part(r, b, s, i, 1);
	}
	return chat_buf_safe(r, chat_buf_done(r, b));
}
