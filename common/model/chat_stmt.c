/*
 * chat_stmt - statements of a chat template.  Which field of a node holds
 * what:
 *
 *   TEXT   k                        PRINT  a
 *   IF     list of BRANCH(a test or NULL for else, list body)
 *   FOR    a target, b iterable, c test or NULL, list body,
 *          other else part, op recursive
 *   SET    a target, b value        SETBLOCK    a target, b filters, list
 *   MACRO  sym, a first PARAM(sym, a default), op CM_*, list body
 *   CALLBLOCK  a first PARAM, b call, list
 *   FILTERBLOCK  b filters around CAPTURED, list
 *   SCOPE  a first SET, evaluated outside, list   BODY  list
 *
 * F4, private to chat; one parser, one thread.
 */
#include <string.h>

#include "chat_priv.h"

#define MAX_BLOCKS	100

static struct chat_node *statement(struct chat_parser *p);

static struct chat_node *
text(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_TEXT);

	n->k = chat_value_bytes(&p->c->arena, p->t->p, p->t->n, false);
	chat_parse_next(p);
	return n;
}

static void
end_of_tag(struct chat_parser *p, enum chat_tok_kind kind)
{
	char seen[64];

	if (p->failed)
		return;
	if (p->t->kind != kind)
		chat_parse_fail(p, p->t->line,
		    "expected the end of the tag, got %s",
		    chat_parse_seen(p, seen));
	chat_parse_next(p);
}

static struct chat_node *
print(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_PRINT);

	chat_parse_next(p);
	n->a = chat_expr_tuple(p);
	end_of_tag(p, CT_VAR_END);
	return n;
}

/* Is the current token one of the names in the blank-separated list. */
static bool
one_of(const struct chat_parser *p, const char *names)
{
	size_t n = p->t->n;
	const char *q;

	if (p->t->kind != CT_NAME)
		return false;
	for (q = names; *q != '\0'; q += strcspn(q, " "), q += *q == ' ')
		if (strcspn(q, " ") == n && memcmp(q, p->t->p, n) == 0)
			return true;
	return false;
}

/* Statements up to a tag named in ends (NULL: up to the end), which is the
 * current token then; line is where the block begins. */
static struct chat_node *
statements(struct chat_parser *p, const char *ends, int line)
{
	struct chat_node *first = NULL, **tail = &first, *n;

	while (!p->failed && p->t->kind != CT_EOF) {
		if (p->t->kind == CT_DATA) {
			n = text(p);
		} else if (p->t->kind == CT_VAR_BEGIN) {
			n = print(p);
		} else {
			chat_parse_next(p);
			if (ends != NULL && one_of(p, ends))
				return first;
			n = statement(p);
			end_of_tag(p, CT_BLOCK_END);
		}
		if (n != NULL) {
			*tail = n;
			tail = &n->next;
		}
	}
	if (ends != NULL && !p->failed)
		chat_parse_fail(p, line,
		    "no %s for the block that begins here",
		    strrchr(ends, ' ') ? strrchr(ends, ' ') + 1 : ends);
	return first;
}

/* The end of the opening tag, then statements up to one of ends. */
static struct chat_node *
block(struct chat_parser *p, const char *ends)
{
	int line = p->t->line;

	chat_parse_skip(p, ":");
	end_of_tag(p, CT_BLOCK_END);
	return statements(p, ends, line);
}

static struct chat_node *
if_block(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_IF), **tail = &n->list;
	struct chat_node *b;
	bool more = true;

	chat_parse_next(p);
	while (more && !p->failed) {
		b = chat_parse_node(p, CN_BRANCH);
		*tail = b;
		tail = &b->next;
		b->a = chat_expr_iterable(p);
		b->list = block(p, "elif else endif");
		more = chat_parse_skip_name(p, "elif");
	}
	if (!p->failed && chat_parse_skip_name(p, "else")) {
		b = chat_parse_node(p, CN_BRANCH);
		*tail = b;
		b->list = block(p, "endif");
	}
	chat_parse_next(p);
	return n;
}

static struct chat_node *
for_block(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_FOR);
	char seen[64];

	chat_parse_next(p);
	n->a = chat_expr_target(p, false);
	if (!chat_parse_skip_name(p, "in"))
		return chat_parse_fail(p, p->t->line, "expected 'in', got %s",
		    chat_parse_seen(p, seen));
	n->b = chat_expr_iterable(p);
	if (chat_parse_skip_name(p, "if"))
		n->c = chat_expr(p);
	n->op = chat_parse_skip_name(p, "recursive");
	p->in_loop++;
	n->list = block(p, "else endfor");
	p->in_loop--;
	if (!p->failed && chat_parse_skip_name(p, "else"))
		n->other = block(p, "endfor");
	chat_parse_next(p);
	return n;
}

static struct chat_node *
captured(struct chat_parser *p, bool first)
{
	return chat_parse_filters(p, chat_parse_node(p, CN_CAPTURED), first);
}

static struct chat_node *
set(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_SET);

	chat_parse_next(p);
	n->a = chat_expr_target(p, true);
	if (chat_parse_skip(p, "=")) {
		n->b = chat_expr_tuple(p);
		return n;
	}
	n->kind = CN_SETBLOCK;
	n->b = captured(p, false);
	n->list = block(p, "endset");
	chat_parse_next(p);
	return n;
}

/* `(a, b=1)`: a list of PARAM. */
static struct chat_node *
signature(struct chat_parser *p)
{
	struct chat_node *first = NULL, **tail = &first, *n;
	bool defaults = false;
	char seen[64];

	chat_parse_expect(p, "(");
	while (!p->failed && !chat_parse_is(p, ")")) {
		if (first != NULL)
			chat_parse_expect(p, ",");
		if (p->t->kind != CT_NAME)
			return chat_parse_fail(p, p->t->line,
			    "expected a parameter, got %s",
			    chat_parse_seen(p, seen));
		n = chat_parse_node(p, CN_PARAM);
		n->sym = chat_parse_sym(p, p->t->p, p->t->n);
		chat_parse_assign(p, n->sym);
		chat_parse_next(p);
		if (chat_parse_skip(p, "=")) {
			n->a = chat_expr(p);
			defaults = true;
		} else if (defaults) {
			chat_parse_fail(p, n->line, "a parameter without a "
			    "default behind one with a default");
		}
		*tail = n;
		tail = &n->next;
	}
	chat_parse_expect(p, ")");
	return first;
}

/* The body of a macro or call block, with what it uses noted in n->op. */
static void
macro_body(struct chat_parser *p, struct chat_node *n, const char *end)
{
	int outer = p->macro_bits, loops = p->in_loop;

	p->macro_bits = 0;
	p->in_loop = 0;
	n->list = block(p, end);
	chat_parse_next(p);
	n->op = p->macro_bits;
	p->macro_bits |= outer;
	p->in_loop = loops;
}

static struct chat_node *
macro(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_MACRO);
	char seen[64];

	chat_parse_next(p);
	if (p->t->kind != CT_NAME)
		return chat_parse_fail(p, p->t->line,
		    "expected the name of the macro, got %s",
		    chat_parse_seen(p, seen));
	n->sym = chat_parse_sym(p, p->t->p, p->t->n);
	chat_parse_assign(p, n->sym);
	chat_parse_next(p);
	n->a = signature(p);
	macro_body(p, n, "endmacro");
	return n;
}

static struct chat_node *
call_block(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_CALLBLOCK);

	chat_parse_next(p);
	if (chat_parse_is(p, "("))
		n->a = signature(p);
	n->b = chat_expr(p);
	if (!p->failed && n->b->kind != CN_CALL)
		return chat_parse_fail(p, n->line, "expected a call");
	macro_body(p, n, "endcall");
	return n;
}

static struct chat_node *
filter_block(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_FILTERBLOCK);

	chat_parse_next(p);
	n->b = captured(p, true);
	n->list = block(p, "endfilter");
	chat_parse_next(p);
	return n;
}

static struct chat_node *
with_block(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_SCOPE), **tail = &n->a;
	struct chat_node *s;

	chat_parse_next(p);
	while (!p->failed && p->t->kind != CT_BLOCK_END) {
		if (tail != &n->a)
			chat_parse_expect(p, ",");
		s = chat_parse_node(p, CN_SET);
		s->a = chat_expr_target(p, false);
		chat_parse_expect(p, "=");
		s->b = chat_expr(p);
		*tail = s;
		tail = &s->next;
	}
	n->list = block(p, "endwith");
	chat_parse_next(p);
	return n;
}

/* HF marks what the model generates; it renders as if it were not there. */
static struct chat_node *
generation(struct chat_parser *p)
{
	struct chat_node *n = chat_parse_node(p, CN_SCOPE);

	chat_parse_next(p);
	n->list = block(p, "endgeneration");
	chat_parse_next(p);
	return n;
}

static struct chat_node *
jump(struct chat_parser *p, enum chat_node_kind kind)
{
	struct chat_node *n = chat_parse_node(p, kind);

	if (p->in_loop == 0)
		return chat_parse_fail(p, p->t->line, "'%.*s' outside of a "
		    "loop", (int)p->t->n, p->t->p);
	chat_parse_next(p);
	return n;
}

static struct chat_node *
statement_kind(struct chat_parser *p)
{
	static const struct {
		const char *word;
		struct chat_node *(*parse)(struct chat_parser *);
	} words[] = {
		{ "if", if_block }, { "for", for_block }, { "set", set },
		{ "macro", macro }, { "call", call_block },
		{ "filter", filter_block }, { "with", with_block },
		{ "generation", generation },
	};
	size_t i;
	char seen[64];

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (chat_parse_is_name(p, words[i].word))
			return words[i].parse(p);
	if (chat_parse_is_name(p, "break"))
		return jump(p, CN_BREAK);
	if (chat_parse_is_name(p, "continue"))
		return jump(p, CN_CONTINUE);
	return chat_parse_fail(p, p->t->line, "unknown tag %s",
	    chat_parse_seen(p, seen));
}

static struct chat_node *
statement(struct chat_parser *p)
{
	struct chat_node *n = NULL;

	if (++p->block_depth > MAX_BLOCKS)
		chat_parse_fail(p, p->t->line,
		    "blocks nested deeper than %d levels", MAX_BLOCKS);
	else
		n = statement_kind(p);
	p->block_depth--;
	return n;
}

/*
 * Names that are read but never set in the template: variables of the caller,
 * or functions of the reference that are not here, which would be silently
 * undefined.
 */
static void
check_names(struct chat_parser *p)
{
	static const char *const absent[] = { "lipsum", "cycler", "joiner",
	    "self", "super" };
	const struct chat_node *n;
	const struct chat_str *s;
	size_t i, k;

	for (i = 0; i < p->uses.n; i++) {
		n = p->uses.p[i];
		s = p->c->syms.p[n->sym];
		if (p->assigned.p[n->sym])
			continue;
		for (k = 0; k < sizeof(absent) / sizeof(absent[0]); k++)
			if (chat_buf_eq(s, absent[k]))
				chat_parse_fail(p, n->line,
				    "'%s' is not supported", absent[k]);
		if (n->op && chat_func_find(s->p, s->n) == NULL)
			chat_parse_fail(p, n->line, "unknown function '%.*s'",
			    (int)s->n, s->p);
	}
}

int
chat_stmt_parse(struct chat *c, const struct chat_tok *t, struct err *e)
{
	static const char *const implicit[] = { "loop", "caller", "varargs",
	    "kwargs" };
	struct chat_parser p = { .c = c, .t = t, .e = e };
	size_t i;

	for (i = 0; i < sizeof(implicit) / sizeof(implicit[0]); i++)
		chat_parse_assign(&p, chat_parse_sym(&p, implicit[i],
		    strlen(implicit[i])));
	c->body = chat_parse_node(&p, CN_BODY);
	c->body->list = statements(&p, NULL, 1);
	if (!p.failed)
		check_names(&p);
	VEC_FREE(&p.assigned);
	VEC_FREE(&p.uses);
	return p.failed ? -1 : 0;
}
