/*
 * chat_parse - expressions of a chat template.
 *
 * Recursive descent with the binding strengths of Jinja2; here from the signs
 * - and + inwards, the operators are in chat_expr.c.  Which field of a node
 * holds what:
 *
 *   LIST TUPLE CONCAT  list         DICT   list of PAIR(a key, b value)
 *   ATTR  a object, k name          ITEM   a object, b key or SLICE(a, b, c)
 *   CALL  a callee, list of arguments and KWARG(k name, a value)
 *   FILTER TEST  a operand, fn, list of arguments; TEST op: negated
 *   COND  a test, b then, c else    CMP    a, list of OPERAND(op, a)
 *   BIN   op, a, b                  NSREF  sym, k attribute
 *
 * F4, private to chat; one parser, one thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chat_priv.h"

#define MAX_NEST	150

void *
chat_parse_fail(struct chat_parser *p, int line, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (!p->failed) {
		p->failed = true;
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		text[str_utf8_whole(text, strlen(text))] = '\0';
		err_set(p->e, ERR_DATA, "%s line %d: %s", p->c->name, line,
		    text);
	}
	return NULL;
}

struct chat_node *
chat_parse_node(struct chat_parser *p, enum chat_node_kind kind)
{
	struct chat_node *n = chat_value_alloc(&p->c->arena, sizeof(*n));

	n->kind = kind;
	n->line = p->t->line;
	n->sym = -1;
	return n;
}

const char *
chat_parse_seen(const struct chat_parser *p, char buf[64])
{
	const struct chat_tok *t = p->t;

	if (t->kind == CT_EOF)
		return "the end of the template";
	if (t->kind == CT_BLOCK_END || t->kind == CT_VAR_END)
		return "the end of the tag";
	snprintf(buf, 64, "'%.*s'", (int)(t->n < 40 ? t->n : 40), t->p);
	return buf;
}

void
chat_parse_next(struct chat_parser *p)
{
	if (p->t->kind != CT_EOF)
		p->t++;
}

bool
chat_parse_tok(const struct chat_tok *t, enum chat_tok_kind kind, const char *z)
{
	return t->kind == kind && t->n == strlen(z) &&
	    memcmp(t->p, z, t->n) == 0;
}

bool
chat_parse_is(const struct chat_parser *p, const char *op)
{
	return chat_parse_tok(p->t, CT_OP, op);
}

bool
chat_parse_is_name(const struct chat_parser *p, const char *name)
{
	return chat_parse_tok(p->t, CT_NAME, name);
}

bool
chat_parse_skip(struct chat_parser *p, const char *op)
{
	if (!chat_parse_is(p, op))
		return false;
	chat_parse_next(p);
	return true;
}

bool
chat_parse_skip_name(struct chat_parser *p, const char *name)
{
	if (!chat_parse_is_name(p, name))
		return false;
	chat_parse_next(p);
	return true;
}

void
chat_parse_expect(struct chat_parser *p, const char *op)
{
	char seen[64];

	if (!chat_parse_skip(p, op))
		chat_parse_fail(p, p->t->line, "expected '%s', got %s", op,
		    chat_parse_seen(p, seen));
}

int
chat_parse_sym(struct chat_parser *p, const char *s, size_t n)
{
	struct chat *c = p->c;
	size_t i;

	for (i = 0; i < c->syms.n; i++)
		if (c->syms.p[i]->n == n && memcmp(c->syms.p[i]->p, s, n) == 0)
			return (int)i;
	if (c->syms.n >= CHAT_MAX_SYMS) {
		chat_parse_fail(p, p->t->line, "too many different names");
		return 0;
	}
	VEC_PUSH(&c->syms, chat_value_bytes(&c->arena, s, n, false).u.s);
	VEC_PUSH(&p->assigned, 0);
	return (int)i;
}

void
chat_parse_assign(struct chat_parser *p, int sym)
{
	if (!p->failed)
		p->assigned.p[sym] = 1;
}

struct chat_value
chat_parse_take(struct chat_parser *p)
{
	struct chat_value v = chat_value_bytes(&p->c->arena, p->t->p, p->t->n,
	    false);
	char seen[64];

	if (p->t->kind != CT_NAME)
		chat_parse_fail(p, p->t->line, "expected a name, got %s",
		    chat_parse_seen(p, seen));
	chat_parse_next(p);
	return v;
}

static struct chat_node *
constant(struct chat_parser *p, struct chat_value v)
{
	struct chat_node *n = chat_parse_node(p, CN_CONST);

	n->k = v;
	return n;
}

static struct chat_node *
name(struct chat_parser *p)
{
	struct chat_node *n;

	if (chat_parse_is_name(p, "true") || chat_parse_is_name(p, "True"))
		n = constant(p, chat_value_bool(true, false));
	else if (chat_parse_is_name(p, "false") ||
	    chat_parse_is_name(p, "False"))
		n = constant(p, chat_value_bool(false, false));
	else if (chat_parse_is_name(p, "none") || chat_parse_is_name(p, "None"))
		n = constant(p, chat_value_none());
	else {
		n = chat_parse_node(p, CN_NAME);
		n->sym = chat_parse_sym(p, p->t->p, p->t->n);
		if (n->sym == CSYM_CALLER)
			p->macro_bits |= CM_CALLER;
		else if (n->sym == CSYM_VARARGS)
			p->macro_bits |= CM_VARARGS;
		else if (n->sym == CSYM_KWARGS)
			p->macro_bits |= CM_KWARGS;
		VEC_PUSH(&p->uses, n);
	}
	chat_parse_next(p);
	return n;
}

/* One string, or several in a row, which are one. */
static struct chat_node *
string(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_CONST);
	const struct chat_tok *t;
	size_t len = 0;
	char *q;

	for (t = p->t; t->kind == CT_STRING; t++)
		len += t->n;
	q = chat_value_alloc(&p->c->arena, len + 1);
	n->k = chat_value_bytes(&p->c->arena, q, len, false);
	for (; p->t->kind == CT_STRING; chat_parse_next(p)) {
		memcpy(q, p->t->p, p->t->n);
		q += p->t->n;
	}
	return n;
}

void
chat_parse_append(struct chat_node ***tail_p, struct chat_node *n)
{
	if (n != NULL) {
		**tail_p = n;
		*tail_p = &n->next;
	}
}

static struct chat_node *
list_literal(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_LIST), **tail = &n->list;

	chat_parse_next(p);
	while (!p->failed && !chat_parse_is(p, "]")) {
		if (tail != &n->list) {
			chat_parse_expect(p, ",");
			if (chat_parse_is(p, "]"))
				break;
		}
		chat_parse_append(&tail, chat_expr(p));
	}
	chat_parse_expect(p, "]");
	return n;
}

static struct chat_node *
dict_literal(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_DICT), **tail = &n->list;
	struct chat_node *pair;

	chat_parse_next(p);
	while (!p->failed && !chat_parse_is(p, "}")) {
		if (tail != &n->list) {
			chat_parse_expect(p, ",");
			if (chat_parse_is(p, "}"))
				break;
		}
		pair = chat_parse_node(p, CN_PAIR);
		pair->a = chat_expr(p);
		chat_parse_expect(p, ":");
		pair->b = chat_expr(p);
		chat_parse_append(&tail, pair);
	}
	chat_parse_expect(p, "}");
	return n;
}

/* Where a tuple without brackets may end. */
static bool
tuple_end(const struct chat_parser *p)
{
	return p->t->kind == CT_VAR_END || p->t->kind == CT_BLOCK_END ||
	    p->t->kind == CT_EOF || chat_parse_is(p, ")") ||
	    chat_parse_is_name(p, "in") || chat_parse_is_name(p, "recursive");
}

struct chat_node *
chat_parse_items(struct chat_parser *p,
    struct chat_node *(*item)(struct chat_parser *), bool may_be_empty)
{
	struct chat_node *n = chat_parse_node(p, CN_TUPLE), **tail = &n->list;
	char seen[64];
	bool comma = false;

	while (!p->failed && !tuple_end(p)) {
		chat_parse_append(&tail, item(p));
		if (!chat_parse_skip(p, ","))
			break;
		comma = true;
	}
	if (comma)
		return n;
	if (n->list != NULL)
		return n->list;
	if (!may_be_empty)
		return chat_parse_fail(p, p->t->line,
		    "expected an expression, got %s",
		    chat_parse_seen(p, seen));
	return n;
}

struct chat_node *
chat_parse_primary(struct chat_parser *p)
{
	struct chat_node *n;
	char seen[64];

	switch (p->t->kind) {
	case CT_NAME:
		return name(p);
	case CT_STRING:
		return string(p);
	case CT_INT:
		n = constant(p, chat_value_int(p->t->i, false));
		break;
	case CT_FLOAT:
		n = constant(p, chat_value_float(p->t->f, false));
		break;
	default:
		if (chat_parse_is(p, "["))
			return list_literal(p);
		if (chat_parse_is(p, "{"))
			return dict_literal(p);
		if (!chat_parse_is(p, "("))
			return chat_parse_fail(p, p->t->line, "unexpected %s",
			    chat_parse_seen(p, seen));
		chat_parse_next(p);
		n = chat_parse_items(p, chat_expr, true);
		chat_parse_expect(p, ")");
		return n;
	}
	chat_parse_next(p);
	return n;
}

/* Behind `[`: an index, or lo:hi:step. */
static struct chat_node *
subscript(struct chat_parser *p)
{
	struct chat_node *s = chat_parse_node(p, CN_SLICE);

	if (!chat_parse_is(p, ":")) {
		s->a = chat_expr(p);
		if (!chat_parse_is(p, ":"))
			return s->a;
	}
	chat_parse_expect(p, ":");
	if (!chat_parse_is(p, ":") && !chat_parse_is(p, "]"))
		s->b = chat_expr(p);
	if (chat_parse_skip(p, ":") && !chat_parse_is(p, "]"))
		s->c = chat_expr(p);
	return s;
}

/* `(a, b, key=c)` into n->list. */
static void
call_args(struct chat_parser *p, struct chat_node *n)
{
	struct chat_node **tail = &n->list, *kw;
	bool named = false;

	chat_parse_expect(p, "(");
	while (!p->failed && !chat_parse_is(p, ")")) {
		if (tail != &n->list) {
			chat_parse_expect(p, ",");
			if (chat_parse_is(p, ")"))
				break;
		}
		if (chat_parse_is(p, "*") || chat_parse_is(p, "**")) {
			chat_parse_fail(p, p->t->line,
			    "* and ** arguments are not supported");
		} else if (p->t->kind == CT_NAME &&
		    chat_parse_tok(p->t + 1, CT_OP, "=")) {
			kw = chat_parse_node(p, CN_KWARG);
			kw->k = chat_parse_take(p);
			chat_parse_next(p);
			kw->a = chat_expr(p);
			chat_parse_append(&tail, kw);
			named = true;
		} else {
			if (named)
				chat_parse_fail(p, p->t->line,
				    "an argument behind a named one");
			chat_parse_append(&tail, chat_expr(p));
		}
	}
	chat_parse_expect(p, ")");
}

struct chat_node *
chat_parse_call(struct chat_parser *p, struct chat_node *callee)
{
	struct chat_node *n = chat_parse_node(p, CN_CALL);

	n->a = callee;
	if (callee->kind == CN_NAME)
		callee->op = 1;		/* read to be called */
	call_args(p, n);
	return n;
}

static struct chat_node *
postfix(struct chat_parser *p, struct chat_node *n)
{
	struct chat_node *o;

	while (!p->failed) {
		if (chat_parse_is(p, "(")) {
			n = chat_parse_call(p, n);
		} else if (chat_parse_is(p, "[")) {
			o = chat_parse_node(p, CN_ITEM);
			chat_parse_next(p);
			o->a = n;
			o->b = subscript(p);
			chat_parse_expect(p, "]");
			n = o;
		} else if (chat_parse_is(p, ".")) {
			chat_parse_next(p);
			o = chat_parse_node(p, p->t->kind == CT_INT ?
			    CN_ITEM : CN_ATTR);
			o->a = n;
			if (p->t->kind == CT_INT)
				o->b = chat_parse_primary(p);
			else
				o->k = chat_parse_take(p);
			n = o;
		} else {
			break;
		}
	}
	return n;
}

/* map('upper'), select('eq', 1): the name must be one we have, too. */
static void
check_inner_name(struct chat_parser *p, const struct chat_node *n)
{
	const struct chat_node *arg = n->list;
	const char *by = n->fn->name;
	const struct chat_str *s;

	if (strstr(by, "attr") != NULL && arg != NULL)
		arg = arg->next;
	if (arg == NULL || arg->kind != CN_CONST || arg->k.kind != CV_STR)
		return;
	s = arg->k.u.s;
	if (strcmp(by, "map") == 0) {
		if (chat_filter_find(s->p, s->n) == NULL)
			chat_parse_fail(p, arg->line, "unknown filter '%.*s'",
			    (int)s->n, s->p);
	} else if (strncmp(by, "select", 6) == 0 ||
	    strncmp(by, "reject", 6) == 0) {
		if (chat_is_find(s->p, s->n) == NULL)
			chat_parse_fail(p, arg->line, "unknown test '%.*s'",
			    (int)s->n, s->p);
	}
}

struct chat_node *
chat_parse_filters(struct chat_parser *p, struct chat_node *in, bool first)
{
	struct chat_node *n;

	while (!p->failed && (first || chat_parse_skip(p, "|"))) {
		first = false;
		n = chat_parse_node(p, CN_FILTER);
		n->a = in;
		if (p->t->kind == CT_NAME)
			n->fn = chat_filter_find(p->t->p, p->t->n);
		if (p->t->kind == CT_NAME && n->fn == NULL)
			return chat_parse_fail(p, p->t->line,
			    "unknown filter '%.*s'", (int)p->t->n, p->t->p);
		chat_parse_take(p);
		if (chat_parse_is(p, "("))
			call_args(p, n);
		if (!p->failed)
			check_inner_name(p, n);
		in = n;
	}
	return in;
}

/* May the current token begin the one argument of a test without brackets. */
static bool
begins_argument(const struct chat_parser *p)
{
	switch (p->t->kind) {
	case CT_STRING:
	case CT_INT:
	case CT_FLOAT:
		return true;
	case CT_NAME:
		return !chat_parse_is_name(p, "else") &&
		    !chat_parse_is_name(p, "or") &&
		    !chat_parse_is_name(p, "and");
	default:
		return chat_parse_is(p, "[") || chat_parse_is(p, "{");
	}
}

static struct chat_node *
test(struct chat_parser *p, struct chat_node *in)
{
	struct chat_node *n = chat_parse_node(p, CN_TEST);

	n->a = in;
	chat_parse_next(p);
	n->op = chat_parse_skip_name(p, "not");
	if (p->t->kind == CT_NAME)
		n->fn = chat_is_find(p->t->p, p->t->n);
	if (p->t->kind == CT_NAME && n->fn == NULL)
		return chat_parse_fail(p, p->t->line, "unknown test '%.*s'",
		    (int)p->t->n, p->t->p);
	chat_parse_take(p);
	if (chat_parse_is(p, "(")) {
		call_args(p, n);
	} else if (begins_argument(p)) {
		if (chat_parse_is_name(p, "is"))
			return chat_parse_fail(p, p->t->line,
			    "tests with 'is' cannot be chained");
		n->list = chat_parse_primary(p);
		if (n->list != NULL)
			n->list = postfix(p, n->list);
	}
	return n;
}

static struct chat_node *
filter_expr(struct chat_parser *p, struct chat_node *n)
{
	while (!p->failed) {
		if (chat_parse_is(p, "|"))
			n = chat_parse_filters(p, n, false);
		else if (chat_parse_is_name(p, "is"))
			n = test(p, n);
		else if (chat_parse_is(p, "("))
			n = chat_parse_call(p, n);
		else
			break;
	}
	return n;
}

bool
chat_parse_deeper(struct chat_parser *p)
{
	if (++p->depth > MAX_NEST)
		chat_parse_fail(p, p->t->line,
		    "expression nested deeper than %d levels", MAX_NEST);
	return !p->failed;
}

struct chat_node *
chat_parse_unary(struct chat_parser *p, bool with_filter)
{
	struct chat_node *n = NULL;
	bool neg = chat_parse_is(p, "-");

	if (chat_parse_deeper(p)) {
		if (neg || chat_parse_is(p, "+")) {
			n = chat_parse_node(p, neg ? CN_NEG : CN_POS);
			chat_parse_next(p);
			n->a = chat_parse_unary(p, false);
		} else {
			n = chat_parse_primary(p);
		}
		if (n != NULL)
			n = postfix(p, n);
		if (n != NULL && with_filter)
			n = filter_expr(p, n);
	}
	p->depth--;
	return n;
}
