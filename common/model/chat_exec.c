/*
 * chat_exec - running the statements of a chat template.
 *
 * A for body, a macro, a with or generation block and a captured block are
 * scopes of their own: what they set is gone behind them.  An if is none.
 *
 * F4, private to chat.
 */
#include <string.h>

#include "chat_priv.h"

static void
assign(struct chat_run *r, const struct chat_node *target,
    struct chat_value v)
{
	const struct chat_node *o;
	struct chat_value *ns, x;
	struct chat_seq *q;

	if (r->failed)
		return;
	if (target->kind == CN_NAME) {
		chat_eval_bind(r, target->sym, v);
		return;
	}
	if (target->kind == CN_NSREF) {
		ns = chat_eval_lookup(r, target->sym);
		if (ns == NULL || ns->kind != CV_NS)
			chat_fail(r, "cannot set an attribute of something "
			    "that is no namespace");
		else
			chat_value_set(r, ns->u.d, target->k, v);
		return;
	}
	q = chat_value_iter(r, v);
	for (o = target->list; o != NULL && !r->failed; o = o->next) {
		if (!chat_value_next(q, &x))
			chat_fail(r, "not enough values to unpack");
		else
			assign(r, o, x);
	}
	if (!r->failed && chat_value_next(q, &x))
		chat_fail(r, "too many values to unpack");
}

/* The output of list, in a scope that is already in place. */
static struct chat_value
capture(struct chat_run *r, const struct chat_node *list)
{
	struct chat_buf *out = r->out, *b = chat_buf_new(r);

	r->out = b;
	chat_exec_body(r, list);
	r->out = out;
	return chat_buf_done(r, b);
}

static void
print(struct chat_run *r, struct chat_value v)
{
	if (!r->failed)
		chat_buf_str(r, r->out, chat_repr_str(r, v));
}

/* Run list in a new scope and put its output through the filters in chain. */
static struct chat_value
filtered(struct chat_run *r, const struct chat_node *list,
    const struct chat_node *chain)
{
	struct chat_value saved = r->captured, v;
	struct chat_scope *outer = r->scope;

	chat_eval_push(r, outer);
	v = capture(r, list);
	r->scope = outer;
	if (r->failed)
		return v;
	r->captured = v;
	v = chat_eval(r, chain);
	r->captured = saved;
	return v;
}

static void
exec_if(struct chat_run *r, const struct chat_node *n)
{
	const struct chat_node *b;

	for (b = n->list; b != NULL && !r->failed; b = b->next)
		if (b->a == NULL || chat_value_true(chat_eval(r, b->a))) {
			if (!r->failed)
				chat_exec_body(r, b->list);
			return;
		}
}

static void
exec_scope(struct chat_run *r, const struct chat_node *n)
{
	struct chat_scope *outer = r->scope, *inner;
	const struct chat_node *s;
	struct chat_value v;

	chat_eval_push(r, outer);
	inner = r->scope;
	for (s = n->a; s != NULL && !r->failed; s = s->next) {
		r->scope = outer;
		v = chat_eval(r, s->b);
		r->scope = inner;
		assign(r, s->a, v);
	}
	chat_exec_body(r, n->list);
	r->scope = outer;
}

/* ---- for --------------------------------------------------------- */

/* Does v pass the filter of the loop. */
static bool
passes(struct chat_run *r, struct chat_loop *l, struct chat_value v)
{
	struct chat_scope *saved = r->scope;
	bool yes;

	if (l->node->c == NULL)
		return true;
	chat_eval_push(r, l->outer);
	assign(r, l->node->a, v);
	yes = !r->failed && chat_value_true(chat_eval(r, l->node->c));
	r->scope = saved;
	return yes;
}

/* Take elements until number i is there; false when there are not so many. */
static bool
loop_fill(struct chat_run *r, struct chat_loop *l, size_t i)
{
	struct chat_value v;

	while (l->taken.n <= i && !r->failed && chat_value_next(l->src, &v))
		if (passes(r, l, v))
			chat_value_push(r, &l->taken, v);
	return !r->failed && l->taken.n > i;
}

static size_t
loop_length(struct chat_run *r, struct chat_loop *l)
{
	loop_fill(r, l, SIZE_MAX - 1);
	return l->taken.n;
}

/* The numbers of a loop by name; -1 for another name. */
static int64_t
loop_number(struct chat_run *r, struct chat_loop *l,
    const struct chat_str *name)
{
	if (chat_buf_eq(name, "index"))
		return (int64_t)l->index0 + 1;
	if (chat_buf_eq(name, "index0"))
		return (int64_t)l->index0;
	if (chat_buf_eq(name, "length"))
		return (int64_t)loop_length(r, l);
	if (chat_buf_eq(name, "revindex"))
		return (int64_t)(loop_length(r, l) - l->index0);
	if (chat_buf_eq(name, "revindex0"))
		return (int64_t)(loop_length(r, l) - l->index0) - 1;
	if (chat_buf_eq(name, "depth"))
		return l->depth0 + 1;
	if (chat_buf_eq(name, "depth0"))
		return l->depth0;
	return -1;
}

bool
chat_exec_loop_attr(struct chat_run *r, struct chat_loop *l,
    const struct chat_str *name, struct chat_value *out)
{
	int64_t i = loop_number(r, l, name);
	const struct chat_fn *fn;

	if (i >= 0) {
		*out = chat_value_int(i, false);
	} else if (chat_buf_eq(name, "first")) {
		*out = chat_value_bool(l->index0 == 0, false);
	} else if (chat_buf_eq(name, "last")) {
		*out = chat_value_bool(!loop_fill(r, l, l->index0 + 1), false);
	} else if (chat_buf_eq(name, "nextitem")) {
		*out = loop_fill(r, l, l->index0 + 1) ?
		    l->taken.p[l->index0 + 1] : chat_value_undef(name);
	} else if (chat_buf_eq(name, "previtem")) {
		*out = l->index0 > 0 ? l->taken.p[l->index0 - 1] :
		    chat_value_undef(name);
	} else {
		fn = chat_func_loop(name->p, name->n);
		if (fn == NULL)
			return false;
		*out = (struct chat_value){ .kind = CV_METHOD };
		out->u.bound = chat_value_alloc(&r->arena,
		    sizeof(*out->u.bound));
		out->u.bound->fn = fn;
		out->u.bound->self = (struct chat_value){ .kind = CV_LOOP,
		    .u.l = l };
	}
	return true;
}

/* Run the body for each element; the scope of the statement is l->outer. */
static void
run_loop(struct chat_run *r, struct chat_loop *l)
{
	struct chat_scope *saved = r->scope;
	struct chat_value self = { .kind = CV_LOOP, .u.l = l };

	for (; loop_fill(r, l, l->index0); l->index0++) {
		chat_eval_push(r, l->outer);
		chat_eval_bind(r, CSYM_LOOP, self);
		assign(r, l->node->a, l->taken.p[l->index0]);
		chat_exec_body(r, l->node->list);
		if (r->jump == CJ_BREAK) {
			r->jump = CJ_NONE;
			break;
		}
		r->jump = CJ_NONE;
	}
	if (l->taken.n == 0 && l->node->other != NULL && !r->failed) {
		chat_eval_push(r, l->outer);
		chat_exec_body(r, l->node->other);
	}
	r->scope = saved;
}

static struct chat_loop *
new_loop(struct chat_run *r, const struct chat_node *n,
    struct chat_scope *outer, struct chat_value items)
{
	struct chat_loop *l = chat_value_alloc(&r->arena, sizeof(*l));

	l->node = n;
	l->outer = outer;
	l->src = chat_value_iter(r, items);
	return l;
}

static void
exec_for(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value items = chat_eval(r, n->b);
	struct chat_loop *l;

	if (r->failed)
		return;
	l = new_loop(r, n, r->scope, items);
	run_loop(r, l);
}

struct chat_value
chat_exec_recurse(struct chat_run *r, struct chat_loop *l,
    struct chat_value items)
{
	struct chat_buf *out = r->out, *b;
	struct chat_loop *inner;

	if (!l->node->op)
		return chat_fail(r, "loop() in a loop that is not recursive");
	if (!chat_value_enter(r)) {
		chat_value_leave(r);
		return chat_value_undef(NULL);
	}
	inner = new_loop(r, l->node, l->outer, items);
	inner->depth0 = l->depth0 + 1;
	r->out = b = chat_buf_new(r);
	run_loop(r, inner);
	r->out = out;
	chat_value_leave(r);
	return chat_buf_done(r, b);
}

/* ---- macros ------------------------------------------------------ */

static struct chat_value
new_macro(struct chat_run *r, const struct chat_node *n)
{
	struct chat_macro *m = chat_value_alloc(&r->arena, sizeof(*m));

	m->node = n;
	m->scope = r->scope;
	return (struct chat_value){ .kind = CV_MACRO, .u.m = m };
}

/* The keyword argument called name, marked as used; NULL when not given. */
static const struct chat_value *
keyword(const struct chat_args *a, const struct chat_str *name, uint64_t *used)
{
	size_t i;

	for (i = 0; i < a->n_kw; i++)
		if (a->kw[i]->n == name->n &&
		    memcmp(a->kw[i]->p, name->p, name->n) == 0) {
			*used |= 1ull << i;
			return &a->v[a->n + i];
		}
	return NULL;
}

/* Bind varargs and kwargs, or refuse arguments that nobody takes. */
static void
bind_rest(struct chat_run *r, const struct chat_node *n,
    const struct chat_args *a, size_t taken, uint64_t used)
{
	struct chat_value list = chat_value_seq(r, CS_TUPLE);
	struct chat_value dict = chat_value_dict(r);
	size_t i;

	for (i = taken; i < a->n; i++)
		chat_value_push(r, list.u.q, a->v[i]);
	for (i = 0; i < a->n_kw; i++)
		if ((used >> i & 1) == 0)
			chat_value_set(r, dict.u.d, chat_value_str(a->kw[i]),
			    a->v[a->n + i]);
	if (n->op & CM_VARARGS)
		chat_eval_bind(r, CSYM_VARARGS, list);
	else if (list.u.q->n > 0)
		chat_fail(r, "macro takes not more than %zu arguments", taken);
	if (n->op & CM_KWARGS)
		chat_eval_bind(r, CSYM_KWARGS, dict);
	else if (dict.u.d->n > 0)
		chat_fail(r, "macro takes no argument '%.*s'",
		    (int)dict.u.d->p[0].k.u.s->n, dict.u.d->p[0].k.u.s->p);
}

static void
bind_args(struct chat_run *r, const struct chat_node *n,
    const struct chat_args *a)
{
	const struct chat_node *param;
	const struct chat_value *kw;
	const struct chat_str *name;
	uint64_t used = 0;
	size_t i = 0;

	if (n->op & CM_CALLER) {
		kw = keyword(a, r->c->syms.p[CSYM_CALLER], &used);
		chat_eval_bind(r, CSYM_CALLER, kw ? *kw :
		    chat_value_undef(r->c->syms.p[CSYM_CALLER]));
	}
	for (param = n->a; param != NULL && !r->failed; param = param->next) {
		name = r->c->syms.p[param->sym];
		kw = keyword(a, name, &used);
		if (i < a->n) {
			if (kw != NULL)
				chat_fail(r, "argument '%.*s' given twice",
				    (int)name->n, name->p);
			chat_eval_bind(r, param->sym, a->v[i++]);
		} else if (kw != NULL) {
			chat_eval_bind(r, param->sym, *kw);
		} else {
			chat_eval_bind(r, param->sym, param->a != NULL ?
			    chat_eval(r, param->a) : chat_value_undef(name));
		}
	}
	bind_rest(r, n, a, i, used);
}

struct chat_value
chat_exec_macro(struct chat_run *r, struct chat_macro *m,
    const struct chat_args *a)
{
	struct chat_scope *saved = r->scope;
	struct chat_value v = chat_value_undef(NULL);

	if (chat_value_enter(r)) {
		chat_eval_push(r, m->scope);
		bind_args(r, m->node, a);
		v = capture(r, m->node->list);
	}
	r->scope = saved;
	chat_value_leave(r);
	return v;
}

static void
exec_call_block(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value callee = chat_eval(r, n->b->a);
	struct chat_args a;

	chat_eval_args(r, n->b->list, &a);
	if (r->failed)
		return;
	a.kw[a.n_kw] = r->c->syms.p[CSYM_CALLER];
	a.v[a.n + a.n_kw++] = new_macro(r, n);
	print(r, chat_eval_call(r, callee, &a));
}

/* ---- statements -------------------------------------------------- */

static void
exec_node(struct chat_run *r, const struct chat_node *n)
{
	switch (n->kind) {
	case CN_TEXT:
		chat_buf_str(r, r->out, n->k.u.s);
		break;
	case CN_PRINT:
		print(r, chat_eval(r, n->a));
		break;
	case CN_IF:
		exec_if(r, n);
		break;
	case CN_FOR:
		exec_for(r, n);
		break;
	case CN_SET:
		assign(r, n->a, chat_eval(r, n->b));
		break;
	case CN_SETBLOCK:
		assign(r, n->a, filtered(r, n->list, n->b));
		break;
	case CN_FILTERBLOCK:
		print(r, filtered(r, n->list, n->b));
		break;
	case CN_MACRO:
		chat_eval_bind(r, n->sym, new_macro(r, n));
		break;
	case CN_CALLBLOCK:
		exec_call_block(r, n);
		break;
	case CN_SCOPE:
		exec_scope(r, n);
		break;
	case CN_BREAK:
		r->jump = CJ_BREAK;
		break;
	case CN_CONTINUE:
		r->jump = CJ_CONTINUE;
		break;
	default:
		BUG("chat: node %d is not a statement", n->kind);
	}
}

void
chat_exec_body(struct chat_run *r, const struct chat_node *list)
{
	if (chat_value_enter(r))
		for (; list != NULL && !r->failed && r->jump == CJ_NONE;
		    list = list->next) {
			r->line = list->line;
			chat_value_step(r, 1);
			exec_node(r, list);
		}
	chat_value_leave(r);
}
