/*
 * chat_expr - operators of chat template expressions, weakest first: if-else,
 * or, and, not, comparisons, + -, ~, * / // %, **.  What binds stronger is in
 * chat_parse.c.
 *
 * F4, private to chat; one parser, one thread.
 */
#include "chat_priv.h"

static struct chat_node *
binary(struct chat_parser *p, enum chat_op op, struct chat_node *a,
    struct chat_node *(*operand)(struct chat_parser *))
{
	struct chat_node *n = chat_parse_node(p, CN_BIN);

	chat_parse_next(p);
	n->op = op;
	n->a = a;
	n->b = operand(p);
	return n;
}

static struct chat_node *
unary_filtered(struct chat_parser *p)
{
	return chat_parse_unary(p, true);
}

static struct chat_node *
power(struct chat_parser *p)
{
	struct chat_node *n = unary_filtered(p);

	while (!p->failed && chat_parse_is(p, "**"))
		n = binary(p, OP_POW, n, unary_filtered);
	return n;
}

static struct chat_node *
product(struct chat_parser *p)
{
	static const struct { const char *z; enum chat_op op; } ops[] = {
		{ "*", OP_MUL }, { "/", OP_DIV }, { "//", OP_FLOORDIV },
		{ "%", OP_MOD },
	};
	struct chat_node *n = power(p);
	size_t i = 0;

	while (!p->failed && i < 4) {
		for (i = 0; i < 4 && !chat_parse_is(p, ops[i].z); i++)
			;
		if (i < 4)
			n = binary(p, ops[i].op, n, power);
	}
	return n;
}

static struct chat_node *
concat(struct chat_parser *p)
{
	struct chat_node *first = product(p), *n, **tail;

	if (p->failed || !chat_parse_is(p, "~"))
		return first;
	n = chat_parse_node(p, CN_CONCAT);
	tail = &n->list;
	chat_parse_append(&tail, first);
	while (!p->failed && chat_parse_skip(p, "~"))
		chat_parse_append(&tail, product(p));
	return n;
}

static struct chat_node *
sum(struct chat_parser *p)
{
	struct chat_node *n = concat(p);

	for (;;) {
		if (p->failed)
			return NULL;
		if (chat_parse_is(p, "+"))
			n = binary(p, OP_ADD, n, concat);
		else if (chat_parse_is(p, "-"))
			n = binary(p, OP_SUB, n, concat);
		else
			return n;
	}
}

/* The comparison that begins at the current token (gone past), or -1. */
static int
compare_op(struct chat_parser *p)
{
	static const struct { const char *z; enum chat_op op; } ops[] = {
		{ "==", OP_EQ }, { "!=", OP_NE }, { "<", OP_LT },
		{ "<=", OP_LE }, { ">", OP_GT }, { ">=", OP_GE },
	};
	size_t i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (chat_parse_skip(p, ops[i].z))
			return (int)ops[i].op;
	if (chat_parse_skip_name(p, "in"))
		return OP_IN;
	if (chat_parse_is_name(p, "not") &&
	    chat_parse_tok(p->t + 1, CT_NAME, "in")) {
		p->t += 2;
		return OP_NOTIN;
	}
	return -1;
}

static struct chat_node *
compare(struct chat_parser *p)
{
	struct chat_node *first = sum(p), *n = NULL, **tail = NULL, *o;
	int op;

	while (!p->failed && (op = compare_op(p)) >= 0) {
		if (n == NULL) {
			n = chat_parse_node(p, CN_CMP);
			n->a = first;
			tail = &n->list;
		}
		o = chat_parse_node(p, CN_OPERAND);
		o->op = op;
		o->a = sum(p);
		chat_parse_append(&tail, o);
	}
	return n != NULL ? n : first;
}

static struct chat_node *
negation(struct chat_parser *p)
{
	struct chat_node *n = NULL;

	if (!chat_parse_is_name(p, "not"))
		return compare(p);
	if (chat_parse_deeper(p)) {
		n = chat_parse_node(p, CN_NOT);
		chat_parse_next(p);
		n->a = negation(p);
	}
	p->depth--;
	return n;
}

static struct chat_node *
logic(struct chat_parser *p, enum chat_node_kind kind, struct chat_node *a,
    struct chat_node *b)
{
	struct chat_node *n = chat_parse_node(p, kind);

	n->a = a;
	n->b = b;
	return n;
}

static struct chat_node *
conjunction(struct chat_parser *p)
{
	struct chat_node *n = negation(p);

	while (!p->failed && chat_parse_skip_name(p, "and"))
		n = logic(p, CN_AND, n, negation(p));
	return n;
}

static struct chat_node *
disjunction(struct chat_parser *p)
{
	struct chat_node *n = conjunction(p);

	while (!p->failed && chat_parse_skip_name(p, "or"))
		n = logic(p, CN_OR, n, conjunction(p));
	return n;
}

struct chat_node *
chat_expr(struct chat_parser *p)
{
	struct chat_node *n = NULL, *o;

	if (chat_parse_deeper(p)) {
		n = disjunction(p);
		while (!p->failed && chat_parse_skip_name(p, "if")) {
			o = chat_parse_node(p, CN_COND);
			o->b = n;
			o->a = disjunction(p);
			if (chat_parse_skip_name(p, "else"))
				o->c = chat_expr(p);
			n = o;
		}
	}
	p->depth--;
	return n;
}

struct chat_node *
chat_expr_tuple(struct chat_parser *p)
{
	return chat_parse_items(p, chat_expr, false);
}

struct chat_node *
chat_expr_iterable(struct chat_parser *p)
{
	return chat_parse_items(p, disjunction, false);
}

/* Turn what was parsed as a value into something to assign to. */
static void
as_target(struct chat_parser *p, struct chat_node *n)
{
	struct chat_node *o;

	if (n == NULL)
		return;
	if (n->kind == CN_NAME) {
		chat_parse_assign(p, n->sym);
		if (p->uses.n > 0)
			p->uses.n--;
	} else if (n->kind == CN_TUPLE) {
		for (o = n->list; o != NULL; o = o->next)
			as_target(p, o);
	} else {
		chat_parse_fail(p, n->line, "cannot assign to this");
	}
}

struct chat_node *
chat_expr_target(struct chat_parser *p, bool ns)
{
	struct chat_node *n;

	if (ns && p->t->kind == CT_NAME &&
	    chat_parse_tok(p->t + 1, CT_OP, ".")) {
		n = chat_parse_node(p, CN_NSREF);
		n->sym = chat_parse_sym(p, p->t->p, p->t->n);
		p->t += 2;
		n->k = chat_parse_take(p);
		return n;
	}
	n = chat_parse_items(p, chat_parse_primary, false);
	as_target(p, n);
	return p->failed ? NULL : n;
}
