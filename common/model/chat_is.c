/*
 * chat_is - the tests of chat templates: what may follow `is`.
 *
 * F4, private to chat.
 */
#include <string.h>

#include "chat_priv.h"

static struct chat_value
yes(const struct chat_in *in, bool b)
{
	return chat_value_bool(b, in->self.dirty);
}

#define KIND_TEST(name, cond)						\
static struct chat_value						\
name(struct chat_run *r, const struct chat_in *in)			\
{									\
	const struct chat_value v = in->self;				\
									\
	(void)r;							\
	return yes(in, cond);						\
}

KIND_TEST(is_defined, v.kind != CV_UNDEF)
KIND_TEST(is_undefined, v.kind == CV_UNDEF)
KIND_TEST(is_none, v.kind == CV_NONE)
KIND_TEST(is_boolean, v.kind == CV_BOOL)
KIND_TEST(is_true, v.kind == CV_BOOL && v.u.b)
KIND_TEST(is_false, v.kind == CV_BOOL && !v.u.b)
KIND_TEST(is_integer, v.kind == CV_INT)
KIND_TEST(is_float, v.kind == CV_FLOAT)
KIND_TEST(is_number, v.kind == CV_INT || v.kind == CV_FLOAT ||
    v.kind == CV_BOOL)
KIND_TEST(is_string, v.kind == CV_STR)
KIND_TEST(is_mapping, v.kind == CV_DICT)
KIND_TEST(is_sequence, v.kind == CV_STR || v.kind == CV_DICT ||
    v.kind == CV_UNDEF || (v.kind == CV_SEQ && v.u.q->kind <= CS_RANGE))
KIND_TEST(is_iterable, v.kind == CV_STR || v.kind == CV_DICT ||
    v.kind == CV_SEQ || v.kind == CV_UNDEF || v.kind == CV_LOOP)
KIND_TEST(is_callable, v.kind >= CV_MACRO || v.kind == CV_UNDEF)
KIND_TEST(is_escaped, v.kind == CV_STR && v.u.s->safe)

#define COMPARE_TEST(name, op)						\
static struct chat_value						\
name(struct chat_run *r, const struct chat_in *in)			\
{									\
	return yes(in, chat_op_compare(r, op, in->self, in->v[0]));	\
}

COMPARE_TEST(is_eq, OP_EQ)
COMPARE_TEST(is_ne, OP_NE)
COMPARE_TEST(is_lt, OP_LT)
COMPARE_TEST(is_le, OP_LE)
COMPARE_TEST(is_gt, OP_GT)
COMPARE_TEST(is_ge, OP_GE)
COMPARE_TEST(is_in, OP_IN)

/* self modulo by, compared with want. */
static struct chat_value
modulo(struct chat_run *r, const struct chat_in *in, struct chat_value by,
    int64_t want)
{
	struct chat_value m = chat_op_binary(r, OP_MOD, in->self, by);

	return yes(in, chat_op_eq(r, m, chat_value_int(want, false)));
}

static struct chat_value
is_odd(struct chat_run *r, const struct chat_in *in)
{
	return modulo(r, in, chat_value_int(2, false), 1);
}

static struct chat_value
is_even(struct chat_run *r, const struct chat_in *in)
{
	return modulo(r, in, chat_value_int(2, false), 0);
}

static struct chat_value
is_divisible(struct chat_run *r, const struct chat_in *in)
{
	return modulo(r, in, in->v[0], 0);
}

/* Identity, where that is not an accident of the reference's memory. */
static struct chat_value
is_same(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value a = in->self, b = in->v[0];

	if (a.kind == CV_NONE || b.kind == CV_NONE)
		return yes(in, a.kind == b.kind);
	if (a.kind == CV_BOOL || b.kind == CV_BOOL)
		return yes(in, a.kind == b.kind && a.u.b == b.u.b);
	return chat_fail(r, "'sameas' is supported for none, true and false");
}

/* Python's islower and isupper: cased characters, all of them so. */
static struct chat_value
has_case(struct chat_run *r, const struct chat_in *in, enum chat_case how)
{
	const struct chat_str *s = chat_repr_str(r, in->self);
	struct chat_value same = chat_buf_case(r, s, how), other;

	other = chat_buf_case(r, s, how == CC_UPPER ? CC_LOWER : CC_UPPER);
	if (r->failed)
		return same;
	return yes(in, chat_op_eq(r, same, chat_value_str(s)) &&
	    !chat_op_eq(r, same, other));
}

static struct chat_value
is_upper(struct chat_run *r, const struct chat_in *in)
{
	return has_case(r, in, CC_UPPER);
}

static struct chat_value
is_lower(struct chat_run *r, const struct chat_in *in)
{
	return has_case(r, in, CC_LOWER);
}

static const struct chat_fn tests[] = {
	{ "defined", "", 0, is_defined },
	{ "undefined", "", 0, is_undefined },
	{ "none", "", 0, is_none },
	{ "boolean", "", 0, is_boolean },
	{ "true", "", 0, is_true },
	{ "false", "", 0, is_false },
	{ "integer", "", 0, is_integer },
	{ "float", "", 0, is_float },
	{ "number", "", 0, is_number },
	{ "string", "", 0, is_string },
	{ "mapping", "", 0, is_mapping },
	{ "sequence", "", 0, is_sequence },
	{ "iterable", "", 0, is_iterable },
	{ "callable", "", 0, is_callable },
	{ "escaped", "", 0, is_escaped },
	{ "odd", "", 0, is_odd },
	{ "even", "", 0, is_even },
	{ "divisibleby", "num", 1, is_divisible },
	{ "sameas", "other", 1, is_same },
	{ "lower", "", 0, is_lower },
	{ "upper", "", 0, is_upper },
	{ "eq", "other", 1, is_eq }, { "equalto", "other", 1, is_eq },
	{ "==", "other", 1, is_eq },
	{ "ne", "other", 1, is_ne }, { "!=", "other", 1, is_ne },
	{ "lt", "other", 1, is_lt }, { "lessthan", "other", 1, is_lt },
	{ "<", "other", 1, is_lt },
	{ "le", "other", 1, is_le }, { "<=", "other", 1, is_le },
	{ "gt", "other", 1, is_gt }, { "greaterthan", "other", 1, is_gt },
	{ ">", "other", 1, is_gt },
	{ "ge", "other", 1, is_ge }, { ">=", "other", 1, is_ge },
	{ "in", "seq", 1, is_in },
	{ NULL, NULL, 0, NULL },
};

const struct chat_fn *
chat_is_find(const char *p, size_t n)
{
	return chat_func_lookup(tests, p, n);
}
