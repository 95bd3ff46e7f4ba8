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

/* ---- str ------------------------------------------------------------------------ */

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

/* in->v[0] as a string that what needs. */
static const struct chat_str *
need_str(struct chat_run *r, const struct chat_value *v, const char *what)
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
	const struct chat_str *w = need_str(r, &in->v[0], "removeprefix");
	const struct chat_str *s = in->self.u.s;

	if (!has_end(s, w, false))
		return in->self;
	return chat_buf_slice(r, s, w->n, s->n - w->n);
}

static struct chat_value
m_removesuffix(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = need_str(r, &in->v[0], "removesuffix");
	const struct chat_str *s = in->self.u.s;

	if (w->n == 0 || !has_end(s, w, true))
		return in->self;
	return chat_buf_slice(r, s, 0, s->n - w->n);
}

/* Where the run of (not) white space that begins at i ends. */
static size_t
space_run(struct chat_run *r, const struct chat_str *s, size_t i, bool space)
{
	size_t used;

	while (i < s->n && chat_value_step(r, 1) && chat_buf_space(
	    str_utf8_next(s->p + i, s->n - i, &used)) == space)
		i += used;
	return i;
}

/* split() at white space, at most max times (negative: no bound). */
static void
split_space(struct chat_run *r, const struct chat_str *s, int64_t max,
    struct chat_seq *q)
{
	size_t i = space_run(r, s, 0, true), k;
	const struct chat_str *rest;

	while (i < s->n && !r->failed) {
		if (max-- == 0) {
			rest = chat_buf_strip(r, s, NULL, false, true).u.s;
			chat_value_push(r, q, chat_buf_slice(r, s, i,
			    rest->n - i));
			return;
		}
		k = space_run(r, s, i, false);
		chat_value_push(r, q, chat_buf_slice(r, s, i, k - i));
		i = space_run(r, s, k, true);
	}
}

static void
split_at(struct chat_run *r, const struct chat_str *s,
    const struct chat_str *sep, int64_t max, struct chat_seq *q)
{
	size_t i = 0, k;

	for (; max != 0 && !r->failed; max--) {
		k = chat_buf_find(r, s, i, sep);
		if (k == SIZE_MAX)
			break;
		chat_value_push(r, q, chat_buf_slice(r, s, i, k - i));
		i = k + sep->n;
	}
	chat_value_push(r, q, chat_buf_slice(r, s, i, s->n - i));
}

/* As split_at, but counting from the right. */
static void
rsplit_at(struct chat_run *r, const struct chat_str *s,
    const struct chat_str *sep, int64_t max, struct chat_seq *q)
{
	struct chat_value v;
	size_t end = s->n, k, i;

	for (; max != 0 && !r->failed; max--) {
		k = chat_buf_rfind(r, s, end, sep);
		if (k == SIZE_MAX)
			break;
		chat_value_push(r, q, chat_buf_slice(r, s, k + sep->n,
		    end - k - sep->n));
		end = k;
	}
	chat_value_push(r, q, chat_buf_slice(r, s, 0, end));
	for (i = 0; i < q->n / 2; i++) {
		v = q->p[i];
		q->p[i] = q->p[q->n - 1 - i];
		q->p[q->n - 1 - i] = v;
	}
}

static struct chat_value
split(struct chat_run *r, const struct chat_in *in, bool right)
{
	struct chat_value out = chat_value_seq(r, CS_LIST);
	const struct chat_str *s = in->self.u.s, *sep;
	int64_t max = -1;

	out.dirty = in->self.dirty;
	if (in->v[1].kind != CV_MISSING && !chat_op_int(r, in->v[1],
	    "maxsplit", &max))
		return out;
	if (in->v[0].kind <= CV_NONE) {
		if (right && max >= 0)
			return chat_fail(r, "rsplit at white space with a "
			    "bound is not supported");
		split_space(r, s, max, out.u.q);
		return out;
	}
	sep = need_str(r, &in->v[0], "split");
	if (sep->n == 0)
		return chat_fail(r, "split at an empty separator");
	if (right)
		rsplit_at(r, s, sep, max, out.u.q);
	else
		split_at(r, s, sep, max, out.u.q);
	return out;
}

static struct chat_value
m_split(struct chat_run *r, const struct chat_in *in)
{
	return split(r, in, false);
}

static struct chat_value
m_rsplit(struct chat_run *r, const struct chat_in *in)
{
	return split(r, in, true);
}

static bool
line_end(unsigned cp)
{
	return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) ||
	    cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

struct chat_value
chat_method_lines(struct chat_run *r, const struct chat_str *s,
    bool keep_ends)
{
	struct chat_value out = chat_value_seq(r, CS_LIST);
	size_t i, from = 0, used, end;
	unsigned cp;

	for (i = 0; i < s->n && chat_value_step(r, 1); i += used) {
		cp = str_utf8_next(s->p + i, s->n - i, &used);
		if (!line_end(cp))
			continue;
		if (cp == '\r' && i + 1 < s->n && s->p[i + 1] == '\n')
			used = 2;
		end = keep_ends ? i + used : i;
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, from,
		    end - from));
		from = i + used;
	}
	if (from < s->n)
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, from,
		    s->n - from));
	return out;
}

static struct chat_value
m_splitlines(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_method_lines(r, in->self.u.s,
	    in->v[0].kind != CV_MISSING && chat_value_true(in->v[0]));

	v.dirty = in->self.dirty;
	return v;
}

static struct chat_value
m_replace(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *from = need_str(r, &in->v[0], "replace");
	const struct chat_str *to = need_str(r, &in->v[1], "replace");
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
		chat_buf_str(r, b, need_str(r, &v, "join"));
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
	const struct chat_str *w = need_str(r, &in->v[0], "find");

	chat_value_step(r, in->self.u.s->n / 32);
	return point_index(in, chat_buf_find(r, in->self.u.s, 0, w));
}

static struct chat_value
m_rfind(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *w = need_str(r, &in->v[0], "rfind");

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
	const struct chat_str *w = need_str(r, &in->v[0], "count");
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

static struct chat_value
partition(struct chat_run *r, const struct chat_in *in, bool right)
{
	const struct chat_str *s = in->self.u.s;
	const struct chat_str *w = need_str(r, &in->v[0], "partition");
	struct chat_value out = chat_value_seq(r, CS_TUPLE), nothing;
	size_t at;

	if (w->n == 0)
		return chat_fail(r, "partition at an empty separator");
	nothing = chat_value_bytes(&r->arena, "", 0, false);
	at = right ? chat_buf_rfind(r, s, s->n, w) :
	    chat_buf_find(r, s, 0, w);
	if (at == SIZE_MAX) {
		chat_value_push(r, out.u.q, right ? nothing : in->self);
		chat_value_push(r, out.u.q, nothing);
		chat_value_push(r, out.u.q, right ? in->self : nothing);
	} else {
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, 0, at));
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, at, w->n));
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, at + w->n,
		    s->n - at - w->n));
	}
	out.dirty = in->self.dirty;
	return out;
}

static struct chat_value
m_partition(struct chat_run *r, const struct chat_in *in)
{
	return partition(r, in, false);
}

static struct chat_value
m_rpartition(struct chat_run *r, const struct chat_in *in)
{
	return partition(r, in, true);
}

/* ---- dict and list ----------------------------------------------------------------- */

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
	const struct chat_value *v = chat_value_get(r, in->self.u.d,
	    &in->v[0]);

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
	{ "split", "sep maxsplit", 0, m_split },
	{ "rsplit", "sep maxsplit", 0, m_rsplit },
	{ "splitlines", "keepends", 0, m_splitlines },
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
	{ "partition", "sep", 1, m_partition },
	{ "rpartition", "sep", 1, m_rpartition },
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
	for (z = refused(v); fn == NULL && *z != NULL; z++)
		if (chat_buf_eq(name, *z))
			*known = true;
	return fn;
}
