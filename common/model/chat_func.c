/*
 * chat_func - calling what is built in, and the global functions of chat
 * templates.
 *
 * F4, private to chat.
 */
#include <string.h>
#include <time.h>

#include "chat_priv.h"

const struct chat_fn *
chat_func_lookup(const struct chat_fn *t, const char *p, size_t n)
{
	for (; t->name != NULL; t++)
		if (strlen(t->name) == n && memcmp(t->name, p, n) == 0)
			return t;
	return NULL;
}

/* The position of the parameter called s in the list params, or -1. */
static int
param_index(const char *params, const struct chat_str *s)
{
	size_t n;
	int i;

	for (i = 0; *params != '\0'; i++) {
		n = strcspn(params, " ");
		if (n == s->n && memcmp(params, s->p, n) == 0)
			return i;
		params += n;
		params += *params == ' ';
	}
	return -1;
}

static size_t
param_count(const char *params)
{
	size_t n = *params != '\0';

	for (; *params != '\0'; params++)
		n += *params == ' ';
	return n;
}

struct chat_value
chat_func_call(struct chat_run *r, const struct chat_fn *fn,
    struct chat_value self, const struct chat_args *a)
{
	struct chat_in in = { .self = self, .raw = a };
	size_t i;
	int k;

	if (!chat_value_step(r, 1))
		return chat_value_undef(NULL);
	if (fn->fn == NULL)
		return chat_fail(r, "'%s' is not supported", fn->name);
	if (fn->params == NULL)
		return fn->fn(r, &in);
	if (a->n > param_count(fn->params))
		return chat_fail(r, "too many arguments for %s", fn->name);
	for (i = 0; i < a->n; i++)
		in.v[i] = a->v[i];
	for (i = 0; i < a->n_kw; i++) {
		k = param_index(fn->params, a->kw[i]);
		if (k < 0 || in.v[k].kind != CV_MISSING)
			return chat_fail(r, "%s %s argument '%.*s'", fn->name,
			    k < 0 ? "has no" : "got twice the",
			    (int)a->kw[i]->n, a->kw[i]->p);
		in.v[k] = a->v[a->n + i];
	}
	for (k = 0; k < fn->need; k++)
		if (in.v[k].kind == CV_MISSING)
			return chat_fail(r, "too few arguments for %s",
			    fn->name);
	return fn->fn(r, &in);
}

static struct chat_value
range(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_value_seq(r, CS_RANGE);
	int64_t lo = 0, hi, step = 1, n;
	bool two = in->v[1].kind != CV_MISSING;

	if (!chat_op_int(r, in->v[two ? 1 : 0], "range()", &hi) ||
	    (two && !chat_op_int(r, in->v[0], "range()", &lo)) ||
	    (in->v[2].kind != CV_MISSING &&
	    !chat_op_int(r, in->v[2], "range()", &step)))
		return v;
	if (step == 0)
		return chat_fail(r, "range() with a step of zero");
	for (n = 0; step > 0 ? lo < hi : lo > hi; n++) {
		if (n == CHAT_MAX_RANGE)
			return chat_fail(r, "range() of more than %d elements",
			    CHAT_MAX_RANGE);
		chat_value_push(r, v.u.q, chat_value_int(lo,
		    in->v[0].dirty || in->v[1].dirty || in->v[2].dirty));
		if (r->failed || __builtin_add_overflow(lo, step, &lo))
			break;
	}
	return v;
}

/* dict() and namespace(): at most one dict or list of pairs, and keywords. */
static struct chat_value
make_dict(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_args *a = in->raw;
	struct chat_value d = chat_value_dict(r);
	struct chat_dict *from;
	size_t i;

	if (a->n > 1 || (a->n == 1 && a->v[0].kind != CV_DICT))
		return chat_fail(r, "only one dict and keywords are supported "
		    "here");
	if (a->n == 1) {
		from = a->v[0].u.d;
		d.dirty = a->v[0].dirty;
		for (i = 0; i < from->n && !r->failed; i++)
			chat_value_set(r, d.u.d, from->p[i].k, from->p[i].v);
	}
	for (i = 0; i < a->n_kw; i++)
		chat_value_set(r, d.u.d, chat_value_str(a->kw[i]),
		    a->v[a->n + i]);
	return d;
}

static struct chat_value
make_namespace(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = make_dict(r, in);

	if (v.kind == CV_DICT)
		v.kind = CV_NS;
	return v;
}

static struct chat_value
raise_exception(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *s = chat_repr_str(r, in->v[0]);

	return chat_fail(r, "%.*s", s->n < 500 ? (int)s->n : 500, s->p);
}

static struct chat_value
strftime_now(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *f = in->v[0].u.s;
	char fmt[200], out[1000], *copy;
	time_t now = time(NULL);
	struct tm tm;
	size_t n;

	if (in->v[0].kind != CV_STR || f->n >= sizeof(fmt) ||
	    memchr(f->p, '\0', f->n) != NULL)
		return chat_fail(r, "strftime_now needs a short format");
	memcpy(fmt, f->p, f->n);
	fmt[f->n] = '\0';
	if (strstr(fmt, "%f") != NULL)
		return chat_fail(r, "%%f in strftime_now is not supported");
	localtime_r(&now, &tm);
	n = strftime(out, sizeof(out), fmt, &tm);
	copy = chat_value_alloc(&r->arena, n + 1);
	memcpy(copy, out, n);
	return chat_value_bytes(&r->arena, copy, n, in->v[0].dirty);
}

static const struct chat_fn functions[] = {
	{ "range", "start stop step", 1, range },
	{ "dict", NULL, 0, make_dict },
	{ "namespace", NULL, 0, make_namespace },
	{ "raise_exception", "message", 1, raise_exception },
	{ "strftime_now", "format", 1, strftime_now },
	{ NULL, NULL, 0, NULL },
};

const struct chat_fn *
chat_func_find(const char *p, size_t n)
{
	return chat_func_lookup(functions, p, n);
}

static struct chat_value
loop_cycle(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_args *a = in->raw;

	if (a->n == 0)
		return chat_fail(r, "loop.cycle() without arguments");
	return a->v[in->self.u.l->index0 % a->n];
}

static struct chat_value
loop_changed(struct chat_run *r, const struct chat_in *in)
{
	struct chat_loop *l = in->self.u.l;
	struct chat_value v = chat_value_seq(r, CS_TUPLE);
	size_t i;
	bool same;

	for (i = 0; i < in->raw->n; i++)
		chat_value_push(r, v.u.q, in->raw->v[i]);
	same = l->changed_set && chat_op_eq(r, v, l->changed);
	l->changed = v;
	l->changed_set = true;
	return chat_value_bool(!same, v.dirty);
}

static const struct chat_fn loop_methods[] = {
	{ "cycle", NULL, 0, loop_cycle },
	{ "changed", NULL, 0, loop_changed },
	{ NULL, NULL, 0, NULL },
};

const struct chat_fn *
chat_func_loop(const char *p, size_t n)
{
	return chat_func_lookup(loop_methods, p, n);
}
