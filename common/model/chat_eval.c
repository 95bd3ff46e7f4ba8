/*
 * chat_eval - the value of an expression.
 *
 * F4, private to chat.
 */
#include <string.h>

#include "chat_priv.h"

void
chat_eval_push(struct chat_run *r, struct chat_scope *parent)
{
	struct chat_scope *s = chat_value_alloc(&r->arena, sizeof(*s));

	s->parent = parent;
	r->scope = s;
}

void
chat_eval_bind(struct chat_run *r, int sym, struct chat_value v)
{
	struct chat_scope *s = r->scope;
	struct chat_binding *p;
	size_t i;

	for (i = 0; i < s->n; i++)
		if (s->p[i].sym == sym) {
			s->p[i].v = v;
			return;
		}
	if (s->n == s->cap) {
		s->cap = s->cap == 0 ? 4 : s->cap * 2;
		p = chat_value_alloc(&r->arena, s->cap * sizeof(*p));
		if (s->n > 0)
			memcpy(p, s->p, s->n * sizeof(*p));
		s->p = p;
	}
	s->p[s->n].sym = sym;
	s->p[s->n++].v = v;
}

struct chat_value *
chat_eval_lookup(struct chat_run *r, int sym)
{
	struct chat_scope *s;
	size_t i;

	for (s = r->scope; s != NULL; s = s->parent) {
		if (!chat_value_step(r, s->n / 8 + 1))
			return NULL;
		for (i = 0; i < s->n; i++)
			if (s->p[i].sym == sym)
				return &s->p[i].v;
	}
	return NULL;
}

static struct chat_value
eval_name(struct chat_run *r, const struct chat_node *n)
{
	const struct chat_value *v = chat_eval_lookup(r, n->sym);
	const struct chat_str *s = r->c->syms.p[n->sym];
	struct chat_value f = { .kind = CV_FUNC };

	if (v != NULL)
		return *v;
	f.u.fn = chat_func_find(s->p, s->n);
	return f.u.fn != NULL ? f : chat_value_undef(s);
}

void
chat_eval_args(struct chat_run *r, const struct chat_node *list,
    struct chat_args *a)
{
	struct chat_value v;

	a->n = a->n_kw = 0;
	for (; list != NULL && !r->failed; list = list->next) {
		if (a->n + a->n_kw >= CHAT_MAX_ARGS - 1) {
			chat_fail(r, "more than %d arguments",
			    CHAT_MAX_ARGS - 1);
			return;
		}
		if (list->kind == CN_KWARG) {
			v = chat_eval(r, list->a);
			a->kw[a->n_kw] = list->k.u.s;
			a->v[a->n + a->n_kw++] = v;
		} else {
			v = chat_eval(r, list);
			a->v[a->n++] = v;
		}
	}
}

struct chat_value
chat_eval_call(struct chat_run *r, struct chat_value callee,
    const struct chat_args *a)
{
	if (r->failed)
		return chat_value_undef(NULL);
	switch (callee.kind) {
	case CV_FUNC:
		return chat_func_call(r, callee.u.fn, chat_value_none(), a);
	case CV_METHOD:
		return chat_func_call(r, callee.u.bound->fn,
		    callee.u.bound->self, a);
	case CV_MACRO:
		return chat_exec_macro(r, callee.u.m, a);
	case CV_LOOP:
		if (a->n != 1 || a->n_kw != 0)
			return chat_fail(r, "loop() takes one argument");
		return chat_exec_recurse(r, callee.u.l, a->v[0]);
	case CV_UNDEF:
		return chat_fail(r, "'%.*s' is undefined and cannot be called",
		    callee.u.s ? (int)callee.u.s->n : 0,
		    callee.u.s ? callee.u.s->p : "");
	default:
		return chat_fail(r, "'%s' object is not callable",
		    chat_value_type(&callee));
	}
}

static struct chat_value
eval_call(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value callee = chat_eval(r, n->a), v;
	struct chat_args a;

	chat_eval_args(r, n->list, &a);
	r->line = n->line;
	v = chat_eval_call(r, callee, &a);
	r->line = n->line;
	return v;
}

/* A filter or a test. */
static struct chat_value
eval_fn(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value self = chat_eval(r, n->a), v;
	struct chat_args a;

	chat_eval_args(r, n->list, &a);
	if (r->failed)
		return chat_value_undef(NULL);
	r->line = n->line;
	v = chat_func_call(r, n->fn, self, &a);
	if (n->kind == CN_TEST && n->op && !r->failed)
		v.u.b = !v.u.b;
	return v;
}

static struct chat_value
eval_list(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value v = chat_value_seq(r, n->kind == CN_TUPLE ?
	    CS_TUPLE : CS_LIST);
	const struct chat_node *o;

	for (o = n->list; o != NULL && !r->failed; o = o->next)
		chat_value_push(r, v.u.q, chat_eval(r, o));
	return v;
}

static struct chat_value
eval_dict(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value d = chat_value_dict(r), k, v;
	const struct chat_node *o;

	for (o = n->list; o != NULL && !r->failed; o = o->next) {
		k = chat_eval(r, o->a);
		v = chat_eval(r, o->b);
		chat_value_set(r, d.u.d, k, v);
	}
	return d;
}

static struct chat_value
eval_item(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value v = chat_eval(r, n->a), part[3] = { { 0 } };

	if (n->b->kind != CN_SLICE)
		return chat_op_item(r, v, chat_eval(r, n->b));
	if (n->b->a != NULL)
		part[0] = chat_eval(r, n->b->a);
	if (n->b->b != NULL)
		part[1] = chat_eval(r, n->b->b);
	if (n->b->c != NULL)
		part[2] = chat_eval(r, n->b->c);
	return r->failed ? v : chat_op_slice(r, v, part);
}

static struct chat_value
eval_compare(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value a = chat_eval(r, n->a), b;
	const struct chat_node *o;
	bool dirty = a.dirty;

	for (o = n->list; o != NULL && !r->failed; o = o->next) {
		b = chat_eval(r, o->a);
		dirty |= b.dirty;
		r->line = n->line;
		if (r->failed || !chat_op_compare(r, (enum chat_op)o->op, a,
		    b))
			return chat_value_bool(false, dirty);
		a = b;
	}
	return chat_value_bool(true, dirty);
}

/* Unlike +, ~ does not escape what is joined to safe text. */
static struct chat_value
eval_concat(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value v = chat_eval(r, n->list), w;
	const struct chat_node *o;

	v = chat_value_str(chat_repr_str(r, v));
	for (o = n->list->next; o != NULL && !r->failed; o = o->next) {
		w = chat_eval(r, o);
		if (!r->failed)
			v = chat_buf_concat(r, v.u.s, chat_repr_str(r, w));
	}
	return v;
}

static struct chat_value
eval_sign(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value v = chat_eval(r, n->a);

	if (v.kind == CV_FLOAT)
		return n->kind == CN_NEG ? chat_value_float(-v.u.f, v.dirty) :
		    v;
	return chat_op_binary(r, n->kind == CN_NEG ? OP_SUB : OP_ADD,
	    chat_value_int(0, false), v);
}

static struct chat_value
eval_cond(struct chat_run *r, const struct chat_node *n)
{
	bool yes = chat_value_true(chat_eval(r, n->a));

	if (yes)
		return chat_eval(r, n->b);
	return n->c != NULL ? chat_eval(r, n->c) : chat_value_undef(NULL);
}

static struct chat_value
eval_logic(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value v = chat_eval(r, n->a);

	if (n->kind == CN_NOT)
		return chat_value_bool(!chat_value_true(v), v.dirty);
	if (chat_value_true(v) == (n->kind == CN_AND))
		return chat_eval(r, n->b);
	return v;
}

static struct chat_value
eval_node(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value a, b;

	switch (n->kind) {
	case CN_CONST:
		return n->k;
	case CN_NAME:
		return eval_name(r, n);
	case CN_LIST:
	case CN_TUPLE:
		return eval_list(r, n);
	case CN_DICT:
		return eval_dict(r, n);
	case CN_ATTR:
		a = chat_eval(r, n->a);
		r->line = n->line;
		return r->failed ? a : chat_op_attr(r, a, n->k.u.s);
	case CN_ITEM:
		return eval_item(r, n);
	case CN_CALL:
		return eval_call(r, n);
	case CN_FILTER:
	case CN_TEST:
		return eval_fn(r, n);
	case CN_COND:
		return eval_cond(r, n);
	case CN_AND:
	case CN_OR:
	case CN_NOT:
		return eval_logic(r, n);
	case CN_NEG:
	case CN_POS:
		return eval_sign(r, n);
	case CN_BIN:
		a = chat_eval(r, n->a);
		b = chat_eval(r, n->b);
		r->line = n->line;
		return chat_op_binary(r, (enum chat_op)n->op, a, b);
	case CN_CONCAT:
		return eval_concat(r, n);
	case CN_CMP:
		return eval_compare(r, n);
	case CN_CAPTURED:
		return r->captured;
	default:
		BUG("chat: node %d is not an expression", n->kind);
	}
}

struct chat_value
chat_eval(struct chat_run *r, const struct chat_node *n)
{
	struct chat_value v = chat_value_undef(NULL);

	r->line = n->line;
	if (chat_value_enter(r))
		v = eval_node(r, n);
	chat_value_leave(r);
	return r->failed ? chat_value_undef(NULL) : v;
}
