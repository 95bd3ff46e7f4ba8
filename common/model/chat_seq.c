/*
 * chat_seq - the filters of chat templates that work on lists and dicts.
 *
 * What the reference gives as a generator is one here, too (CS_GEN): it can be
 * gone through once, has no length and is always true.
 *
 * F4, private to chat.
 */
#include <string.h>

#include "chat_priv.h"

static bool
given(const struct chat_value *v)
{
	return v->kind != CV_MISSING;
}

static bool
flag(const struct chat_value *v)
{
	return given(v) && chat_value_true(*v);
}

/* item, or what `a.b.0` of it is; a missing one becomes dflt. */
static struct chat_value
attribute(struct chat_run *r, struct chat_value item, struct chat_value path,
    struct chat_value dflt)
{
	const struct chat_str *s = path.u.s;
	struct chat_value part;
	size_t i = 0, k, d;
	int64_t num;

	if (path.kind <= CV_NONE)
		return item;
	if (path.kind == CV_INT)
		return chat_op_item(r, item, path);
	if (path.kind != CV_STR)
		return chat_fail(r, "an attribute must be a name");
	while (!r->failed) {
		for (k = i, d = i, num = 0; k < s->n && s->p[k] != '.'; k++)
			if (s->p[k] >= '0' && s->p[k] <= '9' && k - i < 9) {
				num = num * 10 + (s->p[k] - '0');
				d++;
			}
		part = d == k && k > i ? chat_value_int(num, false) :
		    chat_buf_slice(r, s, i, k - i);
		item = chat_op_item(r, item, part);
		if (item.kind == CV_UNDEF && given(&dflt))
			item = dflt;
		if (k >= s->n)
			break;
		i = k + 1;
	}
	return item;
}

/* The key to order or compare by: without its case unless that counts. */
static struct chat_value
fold(struct chat_run *r, struct chat_value v, bool sensitive)
{
	if (sensitive || v.kind != CV_STR)
		return v;
	return chat_buf_case(r, v.u.s, CC_LOWER);
}

static struct chat_value
f_join(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v, none = { 0 };
	const struct chat_str *d = NULL;
	struct chat_buf *b = chat_buf_new(r);
	struct chat_seq *q = chat_value_iter(r, in->self);
	bool first = true;

	if (given(&in->v[0]))
		d = chat_repr_str(r, in->v[0]);
	while (!r->failed && chat_value_next(q, &v)) {
		if (!first && d != NULL)
			chat_buf_str(r, b, d);
		first = false;
		v = attribute(r, v, in->v[1], none);
		chat_buf_str(r, b, chat_repr_str(r, v));
	}
	return chat_buf_done(r, b);
}

static struct chat_value
f_items(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_value_seq(r, CS_GEN);

	if (in->self.kind == CV_UNDEF)
		return v;
	if (in->self.kind != CV_DICT)
		return chat_fail(r, "items of a %s",
		    chat_value_type(&in->self));
	chat_method_pairs(r, in->self.u.d, v.u.q);
	return v;
}

/* ---- order ------------------------------------------------------- */

struct keyed {
	struct chat_value key, v;
};

/* A stable merge sort by key of the n at k; tmp has room for as many. */
static void
merge_sort(struct chat_run *r, struct keyed *k, struct keyed *tmp, size_t n,
    bool reverse)
{
	size_t half = n / 2, i = 0, j = half, o = 0;
	bool right;

	if (n < 2 || r->failed)
		return;
	merge_sort(r, k, tmp, half, reverse);
	merge_sort(r, k + half, tmp, n - half, reverse);
	while (i < half && j < n && !r->failed) {
		right = reverse ? chat_op_less(r, k[i].key, k[j].key) :
		    chat_op_less(r, k[j].key, k[i].key);
		tmp[o++] = right ? k[j++] : k[i++];
	}
	while (i < half)
		tmp[o++] = k[i++];
	memcpy(k, tmp, o * sizeof(*k));
}

/* q's elements in the order of keys[]. */
static struct chat_value
sorted(struct chat_run *r, struct keyed *k, size_t n, bool reverse)
{
	struct chat_value out = chat_value_seq(r, CS_LIST);
	struct keyed *tmp = chat_value_alloc(&r->arena, (n + 1) * sizeof(*k));
	size_t i;

	merge_sort(r, k, tmp, n, reverse);
	for (i = 0; i < n && !r->failed; i++)
		chat_value_push(r, out.u.q, k[i].v);
	return out;
}

static struct chat_value
f_sort(struct chat_run *r, const struct chat_in *in)
{
	struct chat_seq *q = chat_value_iter(r, in->self);
	struct chat_value none = { 0 }, out;
	size_t n = q->n - q->pos, i;
	struct keyed *k = chat_value_alloc(&r->arena, (n + 1) * sizeof(*k));

	if (in->v[2].kind == CV_STR && memchr(in->v[2].u.s->p, ',',
	    in->v[2].u.s->n) != NULL)
		return chat_fail(r, "sort by several attributes is not "
		    "supported");
	for (i = 0; i < n && !r->failed && chat_value_next(q, &k[i].v); i++)
		k[i].key = fold(r, attribute(r, k[i].v, in->v[2], none),
		    flag(&in->v[1]));
	if (r->failed)
		return none;
	out = sorted(r, k, n, flag(&in->v[0]));
	out.dirty = in->self.dirty;
	return out;
}

static struct chat_value
f_dictsort(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value pairs = chat_value_seq(r, CS_LIST), out;
	bool by_value = false;
	struct keyed *k;
	size_t i, n;

	if (in->self.kind != CV_DICT)
		return chat_fail(r, "dictsort of a %s",
		    chat_value_type(&in->self));
	if (given(&in->v[1])) {
		by_value = in->v[1].kind == CV_STR &&
		    chat_buf_eq(in->v[1].u.s, "value");
		if (!by_value && (in->v[1].kind != CV_STR ||
		    !chat_buf_eq(in->v[1].u.s, "key")))
			return chat_fail(r, "dictsort by key or value");
	}
	chat_method_pairs(r, in->self.u.d, pairs.u.q);
	n = pairs.u.q->n;
	k = chat_value_alloc(&r->arena, (n + 1) * sizeof(*k));
	for (i = 0; i < n && !r->failed; i++) {
		k[i].v = pairs.u.q->p[i];
		k[i].key = fold(r, k[i].v.u.q->p[by_value], flag(&in->v[0]));
	}
	if (r->failed)
		return pairs;
	out = sorted(r, k, n, flag(&in->v[2]));
	out.dirty = in->self.dirty;
	return out;
}

static struct chat_value
extreme(struct chat_run *r, const struct chat_in *in, bool max)
{
	struct chat_seq *q = chat_value_iter(r, in->self);
	struct chat_value v, best = chat_value_undef(NULL), key, bkey = best;
	struct chat_value none = { 0 };
	bool first = true;

	while (!r->failed && chat_value_next(q, &v)) {
		key = fold(r, attribute(r, v, in->v[1], none),
		    flag(&in->v[0]));
		if (first || (max ? chat_op_less(r, bkey, key) :
		    chat_op_less(r, key, bkey))) {
			best = v;
			bkey = key;
		}
		first = false;
	}
	return best;
}

static struct chat_value
f_min(struct chat_run *r, const struct chat_in *in)
{
	return extreme(r, in, false);
}

static struct chat_value
f_max(struct chat_run *r, const struct chat_in *in)
{
	return extreme(r, in, true);
}

static struct chat_value
f_unique(struct chat_run *r, const struct chat_in *in)
{
	struct chat_seq *q = chat_value_iter(r, in->self);
	struct chat_value out = chat_value_seq(r, CS_GEN), v, key;
	struct chat_value seen = chat_value_dict(r), none = { 0 };

	while (!r->failed && chat_value_next(q, &v)) {
		key = fold(r, attribute(r, v, in->v[1], none),
		    flag(&in->v[0]));
		if (chat_value_get(r, seen.u.d, &key) != NULL)
			continue;
		chat_value_set(r, seen.u.d, key, chat_value_none());
		chat_value_push(r, out.u.q, v);
	}
	return out;
}

/* ---- ends -------------------------------------------------------- */

static struct chat_value
f_first(struct chat_run *r, const struct chat_in *in)
{
	struct chat_seq *q = chat_value_iter(r, in->self);
	struct chat_value v;

	return !r->failed && chat_value_next(q, &v) ? v :
	    chat_value_undef(NULL);
}

/* The elements from the last to the first, as a generator. */
static struct chat_value
backwards(struct chat_run *r, struct chat_value from)
{
	struct chat_value out = chat_value_seq(r, CS_GEN);
	struct chat_seq *q = chat_value_iter(r, from);
	size_t i;

	for (i = q->n; i > q->pos && !r->failed; i--)
		chat_value_push(r, out.u.q, q->p[i - 1]);
	if (from.kind == CV_SEQ && from.u.q->kind == CS_GEN)
		q->pos = q->n;
	return out;
}

static struct chat_value
f_last(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v;

	if (in->self.kind == CV_SEQ && in->self.u.q->kind == CS_GEN)
		return chat_fail(r, "last of a %s",
		    chat_value_type(&in->self));
	v = backwards(r, in->self);
	return !r->failed && v.u.q->n > 0 ? v.u.q->p[0] :
	    chat_value_undef(NULL);
}

static struct chat_value
f_reverse(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = backwards(r, in->self);
	struct chat_buf *b;
	size_t i;

	/* A generator has to be collected first, and that list is given. */
	if (in->self.kind == CV_SEQ && in->self.u.q->kind == CS_GEN)
		v.u.q->kind = CS_LIST;
	if (in->self.kind != CV_STR)
		return v;
	b = chat_buf_new(r);
	for (i = 0; i < v.u.q->n && !r->failed; i++)
		chat_buf_str(r, b, v.u.q->p[i].u.s);
	v = chat_buf_done(r, b);
	return in->self.u.s->safe ? chat_buf_safe(r, v) : v;
}

static struct chat_value
f_list(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value out = chat_value_seq(r, CS_LIST), v;
	struct chat_seq *q = chat_value_iter(r, in->self);

	while (!r->failed && chat_value_next(q, &v))
		chat_value_push(r, out.u.q, v);
	out.dirty = in->self.dirty;
	return out;
}

static struct chat_value
f_sum(struct chat_run *r, const struct chat_in *in)
{
	struct chat_seq *q = chat_value_iter(r, in->self);
	struct chat_value sum = chat_value_int(0, false), v, none = { 0 };

	if (given(&in->v[1]))
		sum = in->v[1];
	if (sum.kind == CV_STR)
		return chat_fail(r, "sum of strings; use join");
	while (!r->failed && chat_value_next(q, &v))
		sum = chat_op_binary(r, OP_ADD, sum, attribute(r, v,
		    in->v[0], none));
	return sum;
}

static struct chat_value
f_batch(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value out = chat_value_seq(r, CS_GEN), v, row = { 0 };
	struct chat_seq *q = chat_value_iter(r, in->self);
	int64_t n;

	if (!chat_op_int(r, in->v[0], "the size of batch", &n))
		return out;
	if (n < 1)
		return chat_fail(r, "batch needs a size of at least 1");
	while (!r->failed && chat_value_next(q, &v)) {
		if (!given(&row) || row.u.q->n == (size_t)n) {
			row = chat_value_seq(r, CS_LIST);
			row.dirty = in->self.dirty;
			chat_value_push(r, out.u.q, row);
		}
		chat_value_push(r, row.u.q, v);
	}
	while (given(&row) && in->v[1].kind > CV_NONE && !r->failed &&
	    row.u.q->n < (size_t)n)
		chat_value_push(r, row.u.q, in->v[1]);
	return out;
}

/* ---- filters that apply others ----------------------------------- */

/* The arguments of a from number skip on. */
static void
skip_args(const struct chat_args *a, size_t skip, struct chat_args *out)
{
	size_t i;

	out->n = a->n - skip;
	out->n_kw = a->n_kw;
	for (i = 0; i < out->n + out->n_kw; i++)
		out->v[i] = a->v[i + skip];
	for (i = 0; i < a->n_kw; i++)
		out->kw[i] = a->kw[i];
}

static const struct chat_value *
keyword(const struct chat_args *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->n_kw; i++)
		if (chat_buf_eq(a->kw[i], name))
			return &a->v[a->n + i];
	return NULL;
}

static struct chat_value
map_attribute(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_value *path = keyword(in->raw, "attribute");
	const struct chat_value *dflt = keyword(in->raw, "default");
	struct chat_value out = chat_value_seq(r, CS_GEN), v, none = { 0 };
	struct chat_seq *q = chat_value_iter(r, in->self);

	if (path == NULL || in->raw->n_kw != (dflt ? 2 : 1))
		return chat_fail(r, "map needs a filter or attribute=");
	while (!r->failed && chat_value_next(q, &v))
		chat_value_push(r, out.u.q, attribute(r, v, *path,
		    dflt ? *dflt : none));
	return out;
}

static struct chat_value
f_map(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value out = chat_value_seq(r, CS_GEN), v, name;
	const struct chat_fn *fn = NULL;
	struct chat_args rest;
	struct chat_seq *q;

	if (!chat_value_true(in->self))
		return out;		/* none is as good as an empty list */
	if (in->raw->n == 0)
		return map_attribute(r, in);
	name = in->raw->v[0];
	if (name.kind == CV_STR)
		fn = chat_filter_find(name.u.s->p, name.u.s->n);
	if (fn == NULL)
		return chat_fail(r, "unknown filter in map");
	skip_args(in->raw, 1, &rest);
	q = chat_value_iter(r, in->self);
	while (!r->failed && chat_value_next(q, &v))
		chat_value_push(r, out.u.q, chat_func_call(r, fn, v, &rest));
	return out;
}

/* select, reject and, with an attribute first, their attr forms. */
static struct chat_value
choose(struct chat_run *r, const struct chat_in *in, bool attr, bool want)
{
	struct chat_value out = chat_value_seq(r, CS_GEN), v, x, none = { 0 };
	const struct chat_args *a = in->raw;
	const struct chat_fn *fn = NULL;
	struct chat_args rest = { .n = 0 };
	struct chat_seq *q;

	if (!chat_value_true(in->self))
		return out;
	if (attr && a->n == 0)
		return chat_fail(r, "missing attribute name");
	if (a->n > attr) {
		if (a->v[attr].kind == CV_STR)
			fn = chat_is_find(a->v[attr].u.s->p,
			    a->v[attr].u.s->n);
		if (fn == NULL)
			return chat_fail(r, "unknown test");
		skip_args(a, 1 + (size_t)attr, &rest);
	}
	q = chat_value_iter(r, in->self);
	while (!r->failed && chat_value_next(q, &v)) {
		x = attr ? attribute(r, v, a->v[0], none) : v;
		if (fn != NULL && !r->failed)
			x = chat_func_call(r, fn, x, &rest);
		if (chat_value_true(x) == want)
			chat_value_push(r, out.u.q, v);
	}
	return out;
}

static struct chat_value
f_select(struct chat_run *r, const struct chat_in *in)
{
	return choose(r, in, false, true);
}

static struct chat_value
f_reject(struct chat_run *r, const struct chat_in *in)
{
	return choose(r, in, false, false);
}

static struct chat_value
f_selectattr(struct chat_run *r, const struct chat_in *in)
{
	return choose(r, in, true, true);
}

static struct chat_value
f_rejectattr(struct chat_run *r, const struct chat_in *in)
{
	return choose(r, in, true, false);
}

const struct chat_fn chat_seq_filters[] = {
	{ "join", "d attribute", 0, f_join },
	{ "items", "", 0, f_items },
	{ "sort", "reverse case_sensitive attribute", 0, f_sort },
	{ "dictsort", "case_sensitive by reverse", 0, f_dictsort },
	{ "min", "case_sensitive attribute", 0, f_min },
	{ "max", "case_sensitive attribute", 0, f_max },
	{ "unique", "case_sensitive attribute", 0, f_unique },
	{ "first", "", 0, f_first },
	{ "last", "", 0, f_last },
	{ "reverse", "", 0, f_reverse },
	{ "list", "", 0, f_list },
	{ "sum", "attribute start", 0, f_sum },
	{ "batch", "linecount fill_with", 1, f_batch },
	{ "map", NULL, 0, f_map },
	{ "select", NULL, 0, f_select },
	{ "reject", NULL, 0, f_reject },
	{ "selectattr", NULL, 0, f_selectattr },
	{ "rejectattr", NULL, 0, f_rejectattr },
	{ NULL, NULL, 0, NULL },
};
