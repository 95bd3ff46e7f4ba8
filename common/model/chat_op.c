/*
 * chat_op - the operators of chat templates, with Python's semantics.
 *
 * Integers are 64 bits wide; where Python would go beyond, this fails.
 *
 * F4, private to chat.
 */
#include <math.h>
#include <string.h>

#include "chat_priv.h"

static bool
is_number(const struct chat_value *v)
{
	return v->kind == CV_INT || v->kind == CV_BOOL || v->kind == CV_FLOAT;
}

static int64_t
as_int(const struct chat_value *v)
{
	return v->kind == CV_BOOL ? v->u.b : v->u.i;
}

static double
as_float(const struct chat_value *v)
{
	return v->kind == CV_FLOAT ? v->u.f : (double)as_int(v);
}

bool
chat_op_int(struct chat_run *r, struct chat_value v, const char *what,
    int64_t *out)
{
	if (v.kind != CV_INT && v.kind != CV_BOOL) {
		chat_fail(r, "%s must be an integer, not %s", what,
		    chat_value_type(&v));
		return false;
	}
	*out = as_int(&v);
	return true;
}

/* ---- arithmetic -------------------------------------------------- */

static const char *
op_text(enum chat_op op)
{
	static const char *const t[] = { "+", "-", "*", "/", "//", "%", "**",
	    "==", "!=", "<", "<=", ">", ">=", "in", "not in" };

	return t[op];
}

static struct chat_value
int_power(struct chat_run *r, int64_t a, int64_t b, bool dirty)
{
	int64_t x = 1;

	if (b < 0) {
		if (a == 0)
			return chat_fail(r, "0 to a negative power");
		return chat_value_float(pow((double)a, (double)b), dirty);
	}
	if (a == 0 || a == 1 || a == -1)
		return chat_value_int(b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 :
		    a, dirty);
	for (; b > 0; b--)
		if (__builtin_mul_overflow(x, a, &x))
			return chat_fail(r, "integer too large");
	return chat_value_int(x, dirty);
}

static struct chat_value
int_divide(struct chat_run *r, enum chat_op op, int64_t a, int64_t b,
    bool dirty)
{
	int64_t q, m;

	if (b == 0)
		return chat_fail(r, "division by zero");
	if (op == OP_DIV)
		return chat_value_float((double)a / (double)b, dirty);
	if (b == -1)
		return op == OP_MOD ? chat_value_int(0, dirty) :
		    a == INT64_MIN ? chat_fail(r, "integer too large") :
		    chat_value_int(-a, dirty);
	q = a / b;
	m = a % b;
	if (m != 0 && (m < 0) != (b < 0)) {
		q--;
		m += b;
	}
	return chat_value_int(op == OP_MOD ? m : q, dirty);
}

static struct chat_value
int_op(struct chat_run *r, enum chat_op op, int64_t a, int64_t b, bool dirty)
{
	int64_t x;
	bool over;

	if (op == OP_POW)
		return int_power(r, a, b, dirty);
	if (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD)
		return int_divide(r, op, a, b, dirty);
	over = op == OP_ADD ? __builtin_add_overflow(a, b, &x) :
	    op == OP_SUB ? __builtin_sub_overflow(a, b, &x) :
	    __builtin_mul_overflow(a, b, &x);
	if (over)
		return chat_fail(r, "integer too large");
	return chat_value_int(x, dirty);
}

static struct chat_value
float_op(struct chat_run *r, enum chat_op op, double a, double b, bool dirty)
{
	double m;

	switch (op) {
	case OP_ADD:
		return chat_value_float(a + b, dirty);
	case OP_SUB:
		return chat_value_float(a - b, dirty);
	case OP_MUL:
		return chat_value_float(a * b, dirty);
	case OP_POW:
		m = pow(a, b);
		if ((!isfinite(m) || (a < 0 && b != floor(b))) &&
		    isfinite(a) && isfinite(b))
			return chat_fail(r, "power out of range");
		return chat_value_float(m, dirty);
	default:
		break;
	}
	if (b == 0)
		return chat_fail(r, "division by zero");
	if (op == OP_DIV)
		return chat_value_float(a / b, dirty);
	m = fmod(a, b);
	if (m != 0 && (m < 0) != (b < 0))
		m += b;
	else if (m == 0)
		m = copysign(0, b);
	if (op == OP_MOD)
		return chat_value_float(m, dirty);
	return chat_value_float(rint((a - m) / b), dirty);
}

static struct chat_value
seq_add(struct chat_run *r, struct chat_value a, struct chat_value b)
{
	struct chat_value v = chat_value_seq(r, a.u.q->kind);
	size_t i;

	for (i = 0; i < a.u.q->n && !r->failed; i++)
		chat_value_push(r, v.u.q, a.u.q->p[i]);
	for (i = 0; i < b.u.q->n && !r->failed; i++)
		chat_value_push(r, v.u.q, b.u.q->p[i]);
	v.dirty = a.dirty || b.dirty;
	return v;
}

/* A string, list or tuple, times an integer. */
static struct chat_value
repeat(struct chat_run *r, struct chat_value v, int64_t n)
{
	struct chat_buf *b;
	struct chat_value o;
	size_t i;

	if (v.kind == CV_STR) {
		b = chat_buf_new(r);
		for (; n > 0 && v.u.s->n > 0 && chat_value_step(r, 1); n--)
			chat_buf_str(r, b, v.u.s);
		o = chat_buf_done(r, b);
		return v.u.s->safe ? chat_buf_safe(r, o) : o;
	}
	o = chat_value_seq(r, v.u.q->kind);
	for (; n > 0 && v.u.q->n > 0 && !r->failed; n--)
		for (i = 0; i < v.u.q->n && !r->failed; i++)
			chat_value_push(r, o.u.q, v.u.q->p[i]);
	o.dirty = v.dirty;
	return o;
}

static bool
is_array(const struct chat_value *v)
{
	return v->kind == CV_SEQ &&
	    (v->u.q->kind == CS_LIST || v->u.q->kind == CS_TUPLE);
}

static struct chat_value
join_two(struct chat_run *r, const struct chat_str *a, const struct chat_str *b)
{
	struct chat_value v;

	if (a->safe == b->safe)
		v = chat_buf_concat(r, a, b);
	else if (a->safe)
		v = chat_buf_concat(r, a, chat_buf_escape(r, b).u.s);
	else
		v = chat_buf_concat(r, chat_buf_escape(r, a).u.s, b);
	return (a->safe || b->safe) && !r->failed ? chat_buf_safe(r, v) : v;
}

static struct chat_value
no_such_op(struct chat_run *r, enum chat_op op, struct chat_value a,
    struct chat_value b)
{
	const struct chat_value *u = a.kind == CV_UNDEF ? &a : &b;

	if (u->kind == CV_UNDEF && u->u.s != NULL)
		return chat_fail(r, "'%.*s' is undefined", (int)u->u.s->n,
		    u->u.s->p);
	return chat_fail(r, "unsupported operand types for %s: '%s' and '%s'",
	    op_text(op), chat_value_type(&a), chat_value_type(&b));
}

struct chat_value
chat_op_binary(struct chat_run *r, enum chat_op op, struct chat_value a,
    struct chat_value b)
{
	bool dirty = a.dirty || b.dirty;

	if (!chat_value_step(r, 1))
		return chat_value_undef(NULL);
	if (a.kind == CV_UNDEF || b.kind == CV_UNDEF)
		return no_such_op(r, op, a, b);
	if (is_number(&a) && is_number(&b)) {
		if (a.kind == CV_FLOAT || b.kind == CV_FLOAT)
			return float_op(r, op, as_float(&a), as_float(&b),
			    dirty);
		return int_op(r, op, as_int(&a), as_int(&b), dirty);
	}
	if (op == OP_ADD && a.kind == CV_STR && b.kind == CV_STR)
		return join_two(r, a.u.s, b.u.s);
	if (op == OP_ADD && is_array(&a) && is_array(&b) &&
	    a.u.q->kind == b.u.q->kind)
		return seq_add(r, a, b);
	if (op == OP_MUL && (a.kind == CV_STR || is_array(&a)) &&
	    (b.kind == CV_INT || b.kind == CV_BOOL))
		return repeat(r, a, as_int(&b));
	if (op == OP_MUL && (b.kind == CV_STR || is_array(&b)) &&
	    (a.kind == CV_INT || a.kind == CV_BOOL))
		return repeat(r, b, as_int(&a));
	if (op == OP_MOD && a.kind == CV_STR && !a.u.s->safe)
		return chat_format_percent(r, a.u.s, b);
	return no_such_op(r, op, a, b);
}

/* ---- comparison -------------------------------------------------- */

static bool
seq_eq(struct chat_run *r, const struct chat_seq *a, const struct chat_seq *b)
{
	size_t i;

	if (a == b)
		return true;
	if (a->kind != b->kind || a->n != b->n || a->kind >= CS_VIEW)
		return false;
	for (i = 0; i < a->n && !r->failed; i++)
		if (!chat_op_eq(r, a->p[i], b->p[i]))
			return false;
	return true;
}

static bool
dict_eq(struct chat_run *r, const struct chat_dict *a,
    const struct chat_dict *b)
{
	const struct chat_value *v;
	size_t i;

	if (a->n != b->n)
		return false;
	for (i = 0; i < a->n && !r->failed; i++) {
		v = chat_value_get(r, b, &a->p[i].k);
		if (v == NULL || !chat_op_eq(r, a->p[i].v, *v))
			return false;
	}
	return true;
}

static bool
number_eq(const struct chat_value *a, const struct chat_value *b)
{
	if (a->kind == CV_FLOAT || b->kind == CV_FLOAT)
		return as_float(a) == as_float(b);
	return as_int(a) == as_int(b);
}

bool
chat_op_eq(struct chat_run *r, struct chat_value a, struct chat_value b)
{
	bool same = false;

	if (!chat_value_enter(r))
		goto out;
	if (is_number(&a) && is_number(&b)) {
		same = number_eq(&a, &b);
	} else if (a.kind == b.kind) {
		switch (a.kind) {
		case CV_UNDEF:
		case CV_NONE:
			same = true;
			break;
		case CV_STR:
			same = a.u.s->n == b.u.s->n &&
			    memcmp(a.u.s->p, b.u.s->p, a.u.s->n) == 0;
			break;
		case CV_SEQ:
			same = seq_eq(r, a.u.q, b.u.q);
			break;
		case CV_DICT:
			same = dict_eq(r, a.u.d, b.u.d);
			break;
		default:
			same = a.u.d == b.u.d;
		}
	}
out:
	chat_value_leave(r);
	return same;
}

static bool
str_less(const struct chat_str *a, const struct chat_str *b)
{
	int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);

	return c != 0 ? c < 0 : a->n < b->n;
}

static bool
seq_less(struct chat_run *r, const struct chat_seq *a,
    const struct chat_seq *b)
{
	size_t i;

	for (i = 0; i < a->n && i < b->n && !r->failed; i++)
		if (!chat_op_eq(r, a->p[i], b->p[i]))
			return chat_op_less(r, a->p[i], b->p[i]);
	return a->n < b->n;
}

bool
chat_op_less(struct chat_run *r, struct chat_value a, struct chat_value b)
{
	bool less = false;

	if (!chat_value_enter(r))
		goto out;
	if (is_number(&a) && is_number(&b))
		less = a.kind == CV_FLOAT || b.kind == CV_FLOAT ?
		    as_float(&a) < as_float(&b) : as_int(&a) < as_int(&b);
	else if (a.kind == CV_STR && b.kind == CV_STR)
		less = str_less(a.u.s, b.u.s);
	else if (is_array(&a) && is_array(&b) && a.u.q->kind == b.u.q->kind)
		less = seq_less(r, a.u.q, b.u.q);
	else
		no_such_op(r, OP_LT, a, b);
out:
	chat_value_leave(r);
	return less;
}

bool
chat_op_in(struct chat_run *r, struct chat_value a, struct chat_value b)
{
	struct chat_seq *q;
	struct chat_value v;

	if (b.kind == CV_STR) {
		if (a.kind != CV_STR) {
			chat_fail(r, "'in <string>' needs a string, not %s",
			    chat_value_type(&a));
			return false;
		}
		return chat_buf_find(r, b.u.s, 0, a.u.s) != SIZE_MAX;
	}
	if (b.kind == CV_DICT)
		return chat_value_hashable(r, &a) &&
		    chat_value_get(r, b.u.d, &a) != NULL;
	q = chat_value_iter(r, b);
	while (!r->failed && chat_value_next(q, &v))
		if (chat_op_eq(r, a, v))
			return true;
	return false;
}

bool
chat_op_compare(struct chat_run *r, enum chat_op op, struct chat_value a,
    struct chat_value b)
{
	switch (op) {
	case OP_EQ:
		return chat_op_eq(r, a, b);
	case OP_NE:
		return !chat_op_eq(r, a, b);
	case OP_LT:
		return chat_op_less(r, a, b);
	case OP_GT:
		return chat_op_less(r, b, a);
	case OP_LE:
		return chat_op_less(r, a, b) || chat_op_eq(r, a, b);
	case OP_GE:
		return chat_op_less(r, b, a) || chat_op_eq(r, a, b);
	case OP_IN:
		return chat_op_in(r, a, b);
	default:
		return !chat_op_in(r, a, b);
	}
}

/* ---- access ------------------------------------------------------ */

struct chat_value
chat_op_attr(struct chat_run *r, struct chat_value v,
    const struct chat_str *name)
{
	struct chat_value key = chat_value_str(name), out;
	const struct chat_value *found = NULL;
	const struct chat_fn *fn;
	bool known = false;

	if (v.kind == CV_UNDEF)
		return chat_fail(r, "'%.*s' of something undefined (%.*s)",
		    (int)name->n, name->p, v.u.s ? (int)v.u.s->n : 0,
		    v.u.s ? v.u.s->p : "");
	if (name->n > 1 && memcmp(name->p, "__", 2) == 0)
		return chat_fail(r, "access to '%.*s' is not allowed",
		    (int)name->n, name->p);
	if (v.kind == CV_NS)
		found = chat_value_get(r, v.u.d, &key);
	else if (v.kind == CV_LOOP) {
		if (chat_exec_loop_attr(r, v.u.l, name, &out))
			return out;
	} else {
		fn = chat_method_find(&v, name, &known);
		if (fn != NULL) {
			out = (struct chat_value){ .kind = CV_METHOD };
			out.u.bound = chat_value_alloc(&r->arena,
			    sizeof(*out.u.bound));
			out.u.bound->self = v;
			out.u.bound->fn = fn;
			return out;
		}
		if (known)
			return chat_fail(r, "'%.*s' of a %s is not supported",
			    (int)name->n, name->p, chat_value_type(&v));
		if (v.kind == CV_DICT)
			found = chat_value_get(r, v.u.d, &key);
	}
	return found != NULL ? *found : chat_value_undef(name);
}

/* Element i, counted from the end when negative. */
static struct chat_value
element(struct chat_run *r, struct chat_value v, int64_t i)
{
	size_t n = chat_value_len(r, v), off, used;

	if (i < 0)
		i += (int64_t)n;
	if (i < 0 || (uint64_t)i >= n)
		return chat_value_undef(NULL);
	if (v.kind == CV_SEQ)
		return v.u.q->p[i];
	off = chat_buf_offset(v.u.s, (size_t)i);
	str_utf8_next(v.u.s->p + off, v.u.s->n - off, &used);
	return chat_buf_slice(r, v.u.s, off, used);
}

struct chat_value
chat_op_item(struct chat_run *r, struct chat_value v, struct chat_value k)
{
	const struct chat_value *found;

	if (v.kind == CV_UNDEF)
		return chat_fail(r, "an item of something undefined (%.*s)",
		    v.u.s ? (int)v.u.s->n : 0, v.u.s ? v.u.s->p : "");
	if (v.kind == CV_DICT) {
		found = chat_value_get(r, v.u.d, &k);
		if (found != NULL)
			return *found;
	} else if ((v.kind == CV_STR || (v.kind == CV_SEQ &&
	    v.u.q->kind <= CS_RANGE)) &&
	    (k.kind == CV_INT || k.kind == CV_BOOL)) {
		return element(r, v, as_int(&k));
	}
	if (k.kind == CV_STR && !r->failed)
		return chat_op_attr(r, v, k.u.s);
	return chat_value_undef(NULL);
}

/* Python's slice arithmetic: clamp one end to [lo, hi]. */
static int64_t
clamp_end(int64_t i, int64_t n, int64_t lo, int64_t hi)
{
	if (i < 0)
		i = i < -n ? lo : i + n;
	return i < lo ? lo : i > hi ? hi : i;
}

static struct chat_value
slice_str(struct chat_run *r, const struct chat_str *s, int64_t lo,
    int64_t hi, int64_t step)
{
	struct chat_value chars, o;
	struct chat_buf *b;
	size_t from, to;

	if (step == 1) {
		if (hi < lo)
			hi = lo;
		from = chat_buf_offset(s, (size_t)lo);
		to = chat_buf_offset(s, (size_t)hi);
		return chat_buf_slice(r, s, from, to - from);
	}
	chars.u.q = chat_value_iter(r, chat_value_str(s));
	b = chat_buf_new(r);
	for (; (step > 0 ? lo < hi : lo > hi) && chat_value_step(r, 1);
	    lo += step) {
		o = chars.u.q->p[lo];
		chat_buf_str(r, b, o.u.s);
	}
	o = chat_buf_done(r, b);
	return s->safe ? chat_buf_safe(r, o) : o;
}

struct chat_value
chat_op_slice(struct chat_run *r, struct chat_value v,
    const struct chat_value part[3])
{
	int64_t n, lo, hi, step = 1;
	struct chat_value o;

	if (v.kind != CV_STR && (v.kind != CV_SEQ || v.u.q->kind > CS_RANGE))
		return chat_fail(r, "a %s cannot be sliced",
		    chat_value_type(&v));
	n = (int64_t)chat_value_len(r, v);
	if (part[2].kind > CV_NONE && !chat_op_int(r, part[2], "a slice step",
	    &step))
		return chat_value_undef(NULL);
	if (step == 0)
		return chat_fail(r, "a slice step of zero");
	if (step > n + 1 || step < -n - 1)	/* one element, no overflow */
		step = step > 0 ? n + 1 : -n - 1;
	lo = step > 0 ? 0 : n - 1;
	hi = step > 0 ? n : -1;
	if (part[0].kind > CV_NONE) {
		if (!chat_op_int(r, part[0], "a slice index", &lo))
			return chat_value_undef(NULL);
		lo = clamp_end(lo, n, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
	}
	if (part[1].kind > CV_NONE) {
		if (!chat_op_int(r, part[1], "a slice index", &hi))
			return chat_value_undef(NULL);
		hi = clamp_end(hi, n, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
	}
	if (v.kind == CV_STR)
		return slice_str(r, v.u.s, lo, hi, step);
	o = chat_value_seq(r, v.u.q->kind);
	o.dirty = v.dirty;
	for (; (step > 0 ? lo < hi : lo > hi) && !r->failed; lo += step)
		chat_value_push(r, o.u.q, v.u.q->p[lo]);
	return o;
}
