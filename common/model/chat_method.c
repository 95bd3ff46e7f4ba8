/*
 * chat_method - the methods of str, dict and list in chat templates.
 *
 * A method that Python has and that is not here is refused by name, never
 * taken for an undefined attribute.
 *
 * F4, private to chat.
 */
#include <string.h>
#include <utf8proc.h>

#include "chat_priv.h"

/* ---- str --------------------------------------------------------- */

static struct chat_value
strip(struct chat_run *r, const struct chat_in *in, bool left, bool right)
{
	const struct chat_str *chars = NULL;

	if (in->v[0].kind == CV_STR)
		chars = in->v[0].u.s;
	else if (in->v[0].kind != CV_MISSING && in->v[0].kind != CV_NONE)
		return chat_fail(r, "strip needs a string, not %s",
		    chat_value_type(&in->v[0]));
	return chat_buf_strip(r, in->self.u.s, chars, left, right);
}

static struct chat_value
m_strip(struct chat_run *r, const struct chat_in *in)
{
	return strip(r, in, true, true);
}

static struct chat_value
m_lstrip(struct chat_run *r, const struct chat_in *in)
{
	return strip(r, in, true, false);
}

static struct chat_value
m_rstrip(struct chat_run *r, const struct chat_in *in)
{
	return strip(r, in, false, true);
}

/* Does s have w at its start (or end). */
static bool
has_end(const struct chat_str *s, const struct chat_str *w, bool end)
{
	return w->n <= s->n &&
	    memcmp(s->p + (end ? s->n - w->n : 0), w->p, w->n) == 0;
}

static struct chat_value
with_end(struct chat_run *r, const struct chat_in *in, bool end)
{
	const struct chat_value *v = &in->v[0];
	size_t n = 1, i;
	bool dirty = in->self.dirty;

	if (v->kind == CV_SEQ && v->u.q->kind == CS_TUPLE) {
		n = v->u.q->n;
		v = v->u.q->p;
	}
	for (i = 0; i < n; i++) {
		if (v[i].kind != CV_STR)
			return chat_fail(r, "%s needs a string or a tuple of "
			    "strings", end ? "endswith" : "startswith");
		if (has_end(in->self.u.s, v[i].u.s, end))
			return chat_value_bool(true, dirty);
	}
	return chat_value_bool(false, dirty);
}

static struct chat_value
m_startswith(struct chat_run *r, const struct chat_in *in)
{
	return with_end(r, in, false);
}

static struct chat_value
m_endswith(struct chat_run *r, const struct chat_in *in)
{
	return with_end(r, in, true);
}

const struct chat_str *
chat_method_str(struct chat_run *r, const struct chat_value *v,
    const char *what)
{
	static const struct chat_str empty = { .p = "" };

	if (v->kind == CV_STR)
		return v->u.s;
	chat_fail(r, "%s needs a string, not %s", what, chat_value_type(v));
	return &empty;
}

static struct chat_value
m_removeprefix(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = chat_method_str(r, &in->v[0],
	    "removeprefix");
	const struct chat_str *s = in->self.u.s;

	if (!has_end(s, w, false))
		return in->self;
	return chat_buf_slice(r, s, w->n, s->n - w->n);
}

static struct chat_value
m_removesuffix(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = chat_method_str(r, &in->v[0],
	    "removesuffix");
	const struct chat_str *s = in->self.u.s;

	if (w->n == 0 || !has_end(s, w, true))
		return in->self;
	return chat_buf_slice(r, s, 0, s->n - w->n);
}

static struct chat_value
m_replace(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *from = chat_method_str(r, &in->v[0], "replace");
	const struct chat_str *to = chat_method_str(r, &in->v[1], "replace");
	int64_t count = -1;

	if (in->v[2].kind != CV_MISSING && !chat_op_int(r, in->v[2],
	    "the count of replace", &count))
		return in->self;
	return chat_buf_replace(r, in->self.u.s, from, to, count);
}

static struct chat_value
m_upper(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, in->self.u.s, CC_UPPER);
}

static struct chat_value
m_lower(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, in->self.u.s, CC_LOWER);
}

static struct chat_value
m_capitalize(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, in->self.u.s, CC_CAPITALIZE);
}

static struct chat_value
m_title(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, in->self.u.s, CC_TITLE);
}

static struct chat_value
m_join(struct chat_run *r, const struct chat_in *in)
{
	struct chat_seq *q = chat_value_iter(r, in->v[0]);
	struct chat_buf *b = chat_buf_new(r);
	struct chat_value v;
	bool first = true;

	while (!r->failed && chat_value_next(q, &v)) {
		if (!first)
			chat_buf_str(r, b, in->self.u.s);
		first = false;
		chat_buf_str(r, b, chat_method_str(r, &v, "join"));
	}
	return chat_buf_done(r, b);
}

static struct chat_value
m_format(struct chat_run *r, const struct chat_in *in)
{
	return chat_format_braces(r, in->self.u.s, in->raw);
}

/* The code point index of byte off, or -1. */
static struct chat_value
point_index(const struct chat_in *in, size_t off)
{
	struct chat_str s = *in->self.u.s;

	if (off == SIZE_MAX)
		return chat_value_int(-1, in->self.dirty);
	s.n = off;
	return chat_value_int((int64_t)chat_buf_points(&s), in->self.dirty);
}

static struct chat_value
m_find(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = chat_method_str(r, &in->v[0], "find");

	chat_value_step(r, in->self.u.s->n / 32);
	return point_index(in, chat_buf_find(r, in->self.u.s, 0, w));
}

static struct chat_value
m_rfind(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = chat_method_str(r, &in->v[0], "rfind");

	chat_value_step(r, in->self.u.s->n / 32);
	return point_index(in, chat_buf_rfind(r, in->self.u.s,
	    in->self.u.s->n, w));
}

static struct chat_value
m_index(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = m_find(r, in);

	return v.u.i < 0 ? chat_fail(r, "substring not found") : v;
}

static struct chat_value
m_count(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = chat_method_str(r, &in->v[0], "count");
	const struct chat_str *s = in->self.u.s;
	int64_t n = 0;
	size_t at = 0;

	if (w->n == 0)
		return chat_value_int((int64_t)chat_buf_points(s) + 1,
		    in->self.dirty);
	while (!r->failed && (at = chat_buf_find(r, s, at, w)) != SIZE_MAX) {
		at += w->n;
		n++;
		chat_value_step(r, 1);
	}
	return chat_value_int(n, in->self.dirty);
}

/* Is every character of self of the kind; false for an empty string. */
static struct chat_value
all_of(struct chat_run *r, const struct chat_in *in, bool (*is)(unsigned))
{
	const struct chat_str *s = in->self.u.s;
	size_t i, used;
	bool yes = s->n > 0;

	for (i = 0; i < s->n && yes && chat_value_step(r, 1); i += used)
		yes = is(str_utf8_next(s->p + i, s->n - i, &used));
	return chat_value_bool(yes, in->self.dirty);
}

static bool
alpha(unsigned cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
		return true;
	default:
		return false;
	}
}

/* Decimal digits, and the superscripts that Python counts as digits. */
static bool
digit(unsigned cp)
{
	return utf8proc_category((utf8proc_int32_t)cp) ==
	    UTF8PROC_CATEGORY_ND || cp == 0xb2 || cp == 0xb3 || cp == 0xb9 ||
	    cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079) ||
	    (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468);
}

static struct chat_value
m_isdigit(struct chat_run *r, const struct chat_in *in)
{
	return all_of(r, in, digit);
}

static struct chat_value
m_isalpha(struct chat_run *r, const struct chat_in *in)
{
	return all_of(r, in, alpha);
}

static struct chat_value
m_isspace(struct chat_run *r, const struct chat_in *in)
{
	return all_of(r, in, chat_buf_space);
}

/* ---- dict and list ----------------------------------------------- */

void
chat_method_pairs(struct chat_run *r, const struct chat_dict *d,
    struct chat_seq *q)
{
	struct chat_value pair;
	size_t i;

	for (i = 0; i < d->n && !r->failed; i++) {
		pair = chat_value_seq(r, CS_TUPLE);
		pair.dirty = d->p[i].k.dirty || d->p[i].v.dirty;
		chat_value_push(r, pair.u.q, d->p[i].k);
		chat_value_push(r, pair.u.q, d->p[i].v);
		chat_value_push(r, q, pair);
	}
}

static struct chat_value
m_items(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_value_seq(r, CS_VIEW);

	chat_method_pairs(r, in->self.u.d, v.u.q);
	v.dirty = in->self.dirty;
	return v;
}

static struct chat_value
m_keys(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_value_seq(r, CS_VIEW);
	size_t i;

	for (i = 0; i < in->self.u.d->n && !r->failed; i++)
		chat_value_push(r, v.u.q, in->self.u.d->p[i].k);
	v.dirty = in->self.dirty;
	return v;
}

static struct chat_value
m_values(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_value_seq(r, CS_VIEW);
	size_t i;

	for (i = 0; i < in->self.u.d->n && !r->failed; i++)
		chat_value_push(r, v.u.q, in->self.u.d->p[i].v);
	v.dirty = in->self.dirty;
	return v;
}

static struct chat_value
m_get(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_value *v;

	if (!chat_value_hashable(r, &in->v[0]))
		return in->v[0];
	v = chat_value_get(r, in->self.u.d, &in->v[0]);
	if (v != NULL)
		return *v;
	return in->v[1].kind != CV_MISSING ? in->v[1] : chat_value_none();
}

static struct chat_value
m_same(struct chat_run *r, const struct chat_in *in)
{
	(void)r;
	return in->self;
}

/* The number of elements equal to in->v[0], or the index of the first. */
static struct chat_value
find_equal(struct chat_run *r, const struct chat_in *in, bool index)
{
	const struct chat_seq *q = in->self.u.q;
	int64_t n = 0;
	size_t i;

	for (i = 0; i < q->n && !r->failed; i++)
		if (chat_op_eq(r, q->p[i], in->v[0])) {
			n++;
			if (index)
				return chat_value_int((int64_t)i,
				    in->self.dirty);
		}
	return index ? chat_fail(r, "value is not in the list") :
	    chat_value_int(n, in->self.dirty);
}

static struct chat_value
m_list_count(struct chat_run *r, const struct chat_in *in)
{
	return find_equal(r, in, false);
}

static struct chat_value
m_list_index(struct chat_run *r, const struct chat_in *in)
{
	return find_equal(r, in, true);
}

static const struct chat_fn str_methods[] = {
	{ "strip", "chars", 0, m_strip },
	{ "lstrip", "chars", 0, m_lstrip },
	{ "rstrip", "chars", 0, m_rstrip },
	{ "startswith", "prefix", 1, m_startswith },
	{ "endswith", "suffix", 1, m_endswith },
	{ "removeprefix", "prefix", 1, m_removeprefix },
	{ "removesuffix", "suffix", 1, m_removesuffix },
	{ "split", "sep maxsplit", 0, chat_split_left },
	{ "rsplit", "sep maxsplit", 0, chat_split_right },
	{ "splitlines", "keepends", 0, chat_split_by_line },
	{ "replace", "old new count", 2, m_replace },
	{ "upper", "", 0, m_upper },
	{ "lower", "", 0, m_lower },
	{ "capitalize", "", 0, m_capitalize },
	{ "title", "", 0, m_title },
	{ "join", "iterable", 1, m_join },
	{ "format", NULL, 0, m_format },
	{ "find", "sub", 1, m_find },
	{ "rfind", "sub", 1, m_rfind },
	{ "index", "sub", 1, m_index },
	{ "count", "sub", 1, m_count },
	{ "isdigit", "", 0, m_isdigit },
	{ "isalpha", "", 0, m_isalpha },
	{ "isspace", "", 0, m_isspace },
	{ "partition", "sep", 1, chat_split_partition },
	{ "rpartition", "sep", 1, chat_split_rpartition },
	{ NULL, NULL, 0, NULL },
};

static const struct chat_fn dict_methods[] = {
	{ "items", "", 0, m_items },
	{ "keys", "", 0, m_keys },
	{ "values", "", 0, m_values },
	{ "get", "key default", 1, m_get },
	{ "copy", "", 0, m_same },
	{ NULL, NULL, 0, NULL },
};

static const struct chat_fn list_methods[] = {
	{ "count", "value", 1, m_list_count },
	{ "index", "value", 1, m_list_index },
	{ "copy", "", 0, m_same },
	{ NULL, NULL, 0, NULL },
};

/* Everything else that Python would find, by type; ended by NULL. */
static const char *const other_str[] = { "casefold", "center", "encode",
    "expandtabs", "format_map", "isalnum", "isascii", "isdecimal",
    "isidentifier", "islower", "isnumeric", "isprintable", "istitle",
    "isupper", "ljust", "maketrans", "rindex", "rjust", "swapcase",
    "translate", "zfill", NULL };
static const char *const other_dict[] = { "clear", "fromkeys", "pop",
    "popitem", "setdefault", "update", NULL };
static const char *const other_seq[] = { "append", "clear", "extend",
    "insert", "pop", "remove", "reverse", "sort", "start", "stop", "step",
    "isdisjoint", "mapping", "send", "throw", "close", "copy", "count",
    "index", NULL };
static const char *const other_num[] = { "as_integer_ratio", "bit_count",
    "bit_length", "conjugate", "denominator", "from_bytes", "fromhex", "hex",
    "imag", "is_integer", "numerator", "real", "to_bytes", NULL };
static const char *const other_macro[] = { "name", "arguments", "catch_kwargs",
    "catch_varargs", "caller", "explicit_caller", NULL };

static const char *const *
refused(const struct chat_value *v)
{
	static const char *const none[] = { NULL };

	switch (v->kind) {
	case CV_STR:
		return other_str;
	case CV_DICT:
		return other_dict;
	case CV_SEQ:
		return other_seq;
	case CV_BOOL:
	case CV_INT:
	case CV_FLOAT:
		return other_num;
	case CV_MACRO:
		return other_macro;
	default:
		return none;
	}
}

/* Methods that would escape what they are given. */
static bool
escapes(const struct chat_fn *fn)
{
	return fn->fn == m_replace || fn->fn == m_join || fn->fn == m_format;
}

const struct chat_fn *
chat_method_find(const struct chat_value *v, const struct chat_str *name,
    bool *known)
{
	const struct chat_fn *fn = NULL;
	const char *const *z;

	if (v->kind == CV_STR)
		fn = chat_func_lookup(str_methods, name->p, name->n);
	else if (v->kind == CV_DICT)
		fn = chat_func_lookup(dict_methods, name->p, name->n);
	else if (v->kind == CV_SEQ && v->u.q->kind <= CS_TUPLE)
		fn = chat_func_lookup(list_methods, name->p, name->n);
	if (fn != NULL && v->kind == CV_STR && v->u.s->safe && escapes(fn)) {
		*known = true;
		return NULL;
	}
	for (z = refused(v); fn == NULL && *z != NULL; z++)
		if (chat_buf_eq(name, *z))
			*known = true;
	return fn;
}
