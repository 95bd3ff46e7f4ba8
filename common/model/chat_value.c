/*
 * chat_value - memory, limits, and the values of a chat template.
 *
 * F4, private to chat.  A value belongs to the run (or compiled template)
 * whose arena it was made in, and to one thread.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chat_priv.h"

struct chat_chunk {
	struct chat_chunk *next;
	size_t n, cap;
	_Alignas(16) char p[];
};

#define CHUNK_BYTES	(64u << 10)

void *
chat_value_alloc(struct chat_arena *a, size_t n)
{
	struct chat_chunk *c = a->head;
	size_t cap;
	void *p;

	n = (n + 15) & ~(size_t)15;
	if (c == NULL || c->cap - c->n < n) {
		cap = n > CHUNK_BYTES / 4 ? n : CHUNK_BYTES;
		c = mem_zalloc(sizeof(*c) + cap);
		c->cap = cap;
		/* A chunk of its own goes behind the one still in use. */
		if (cap == n && a->head != NULL) {
			c->next = a->head->next;
			a->head->next = c;
		} else {
			c->next = a->head;
			a->head = c;
		}
	}
	p = c->p + c->n;
	c->n += n;
	a->bytes += n;
	return p;
}

void
chat_value_free(struct chat_arena *a)
{
	struct chat_chunk *c, *next;

	for (c = a->head; c != NULL; c = next) {
		next = c->next;
		mem_free(c);
	}
	a->head = NULL;
	a->bytes = 0;
}

struct chat_value
chat_fail(struct chat_run *r, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	char *nl;

	if (!r->failed) {
		r->failed = true;
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		text[str_utf8_whole(text, strlen(text))] = '\0';
		for (nl = text; *nl != '\0'; nl++)
			if (*nl == '\n' || *nl == '\r')
				*nl = ' ';
		err_set(r->e, ERR_DATA, "%s line %d: %s", r->c->name, r->line,
		    text);
	}
	return chat_value_undef(NULL);
}

bool
chat_value_step(struct chat_run *r, size_t n)
{
	r->steps += n;
	if (r->steps > CHAT_MAX_STEPS)
		chat_fail(r, "more than %llu steps", CHAT_MAX_STEPS);
	if (r->arena.bytes > CHAT_MAX_MEMORY_BYTES)
		chat_fail(r, "more than %zu bytes of memory",
		    CHAT_MAX_MEMORY_BYTES);
	return !r->failed;
}

bool
chat_value_enter(struct chat_run *r)
{
	if (++r->depth > CHAT_MAX_DEPTH)
		chat_fail(r, "nested deeper than %d levels", CHAT_MAX_DEPTH);
	return chat_value_step(r, 1);
}

void
chat_value_leave(struct chat_run *r)
{
	r->depth--;
}

struct chat_value
chat_value_none(void)
{
	return (struct chat_value){ .kind = CV_NONE };
}

struct chat_value
chat_value_bool(bool b, bool dirty)
{
	return (struct chat_value){ .kind = CV_BOOL, .dirty = dirty,
	    .u.b = b };
}

struct chat_value
chat_value_int(int64_t i, bool dirty)
{
	return (struct chat_value){ .kind = CV_INT, .dirty = dirty, .u.i = i };
}

struct chat_value
chat_value_float(double f, bool dirty)
{
	return (struct chat_value){ .kind = CV_FLOAT, .dirty = dirty,
	    .u.f = f };
}

struct chat_value
chat_value_undef(const struct chat_str *name)
{
	return (struct chat_value){ .kind = CV_UNDEF, .u.s = name };
}

struct chat_value
chat_value_str(const struct chat_str *s)
{
	return (struct chat_value){ .kind = CV_STR, .dirty = s->dirty,
	    .u.s = s };
}

struct chat_value
chat_value_bytes(struct chat_arena *a, const char *p, size_t n, bool dirty)
{
	struct chat_str *s = chat_value_alloc(a, sizeof(*s));

	s->p = p;
	s->n = n;
	s->dirty = dirty;
	return chat_value_str(s);
}

const char *
chat_value_cstr(struct chat_run *r, const struct chat_str *s)
{
	char *z = chat_value_alloc(&r->arena, s->n + 1);

	memcpy(z, s->p, s->n);
	return z;
}

struct chat_value
chat_value_seq(struct chat_run *r, enum chat_seq_kind kind)
{
	struct chat_seq *q = chat_value_alloc(&r->arena, sizeof(*q));

	q->kind = kind;
	return (struct chat_value){ .kind = CV_SEQ, .u.q = q };
}

/* Room for one more element in an array of the arena. */
static void *
room(struct chat_run *r, void *p, size_t n, size_t *cap, size_t elem)
{
	void *q;

	if (n < *cap)
		return p;
	*cap = *cap < 8 ? 8 : *cap * 2;
	q = chat_value_alloc(&r->arena, *cap * elem);
	if (n > 0)
		memcpy(q, p, n * elem);
	return q;
}

void
chat_value_push(struct chat_run *r, struct chat_seq *q, struct chat_value v)
{
	if (!chat_value_step(r, 1))
		return;
	q->p = room(r, q->p, q->n, &q->cap, sizeof(*q->p));
	q->p[q->n++] = v;
}

struct chat_value
chat_value_dict(struct chat_run *r)
{
	return (struct chat_value){ .kind = CV_DICT,
	    .u.d = chat_value_alloc(&r->arena, sizeof(struct chat_dict)) };
}

const struct chat_value *
chat_value_get(struct chat_run *r, const struct chat_dict *d,
    const struct chat_value *k)
{
	const struct chat_value *o;
	size_t i;

	if (!chat_value_step(r, d->n / 8 + 1))
		return NULL;
	for (i = 0; i < d->n; i++) {
		o = &d->p[i].k;
		if (o->kind == CV_STR && k->kind == CV_STR) {
			if (o->u.s->n == k->u.s->n && memcmp(o->u.s->p,
			    k->u.s->p, k->u.s->n) == 0)
				return &d->p[i].v;
		} else if (chat_op_eq(r, *o, *k)) {
			return &d->p[i].v;
		}
	}
	return NULL;
}

/* Append without looking for the key. */
static void
dict_add(struct chat_run *r, struct chat_dict *d, struct chat_value k,
    struct chat_value v)
{
	d->p = room(r, d->p, d->n, &d->cap, sizeof(*d->p));
	d->p[d->n].k = k;
	d->p[d->n++].v = v;
}

/* Python's hash() succeeds; tuples within tuples are not looked into. */
bool
chat_value_hashable(struct chat_run *r, const struct chat_value *v)
{
	bool yes = v->kind != CV_DICT;
	size_t i;

	if (v->kind == CV_SEQ) {
		yes = v->u.q->kind == CS_TUPLE || v->u.q->kind == CS_RANGE;
		for (i = 0; i < v->u.q->n && yes; i++)
			yes = v->u.q->p[i].kind != CV_SEQ &&
			    v->u.q->p[i].kind != CV_DICT;
	}
	if (!yes)
		chat_fail(r, "unhashable type: '%s'", chat_value_type(v));
	return yes;
}

void
chat_value_set(struct chat_run *r, struct chat_dict *d, struct chat_value k,
    struct chat_value v)
{
	const struct chat_value *old;
	size_t i;

	if (!chat_value_hashable(r, &k))
		return;
	old = chat_value_get(r, d, &k);
	if (r->failed)
		return;
	if (old == NULL) {
		dict_add(r, d, k, v);
		return;
	}
	for (i = 0; &d->p[i].v != old; i++)
		;
	d->p[i].v = v;
}

const char *
chat_value_type(const struct chat_value *v)
{
	static const char *const seq[] = { "list", "tuple", "range", "view",
	    "generator" };
	static const char *const other[] = { "missing", "Undefined",
	    "NoneType", "bool", "int", "float", "str", "list", "dict",
	    "namespace", "macro", "loop", "function", "method" };

	return v->kind == CV_SEQ ? seq[v->u.q->kind] : other[v->kind];
}

bool
chat_value_true(struct chat_value v)
{
	switch (v.kind) {
	case CV_MISSING:
	case CV_UNDEF:
	case CV_NONE:
		return false;
	case CV_BOOL:
		return v.u.b;
	case CV_INT:
		return v.u.i != 0;
	case CV_FLOAT:
		return v.u.f != 0;
	case CV_STR:
		return v.u.s->n > 0;
	case CV_SEQ:
		return v.u.q->kind == CS_GEN || v.u.q->n > 0;
	case CV_DICT:
		return v.u.d->n > 0;
	default:
		return true;
	}
}

size_t
chat_value_len(struct chat_run *r, struct chat_value v)
{
	if (v.kind == CV_STR) {
		chat_value_step(r, v.u.s->n / 32);
		return chat_buf_points(v.u.s);
	}
	if (v.kind == CV_SEQ && v.u.q->kind != CS_GEN)
		return v.u.q->n;
	if (v.kind == CV_DICT)
		return v.u.d->n;
	if (v.kind != CV_UNDEF)
		chat_fail(r, "object of type '%s' has no len()",
		    chat_value_type(&v));
	return 0;
}

static void
iter_chars(struct chat_run *r, const struct chat_str *s, struct chat_seq *q)
{
	size_t i, used;

	for (i = 0; i < s->n && !r->failed; i += used) {
		str_utf8_next(s->p + i, s->n - i, &used);
		chat_value_push(r, q, chat_buf_slice(r, s, i, used));
	}
}

struct chat_seq *
chat_value_iter(struct chat_run *r, struct chat_value v)
{
	struct chat_seq *q;
	size_t i;

	if (v.kind == CV_SEQ && v.u.q->kind == CS_GEN)
		return v.u.q;
	q = chat_value_seq(r, CS_GEN).u.q;
	switch (v.kind) {
	case CV_SEQ:
		/* Lists never change, so the elements can be shared. */
		q->p = v.u.q->p;
		q->n = q->cap = v.u.q->n;
		break;
	case CV_DICT:
		for (i = 0; i < v.u.d->n; i++)
			chat_value_push(r, q, v.u.d->p[i].k);
		break;
	case CV_STR:
		iter_chars(r, v.u.s, q);
		break;
	case CV_UNDEF:
		break;
	default:
		chat_fail(r, "'%s' object is not iterable",
		    chat_value_type(&v));
	}
	return q;
}

bool
chat_value_next(struct chat_seq *q, struct chat_value *out)
{
	if (q->pos >= q->n)
		return false;
	*out = q->p[q->pos++];
	return true;
}

static struct chat_value
json_bytes(struct chat_run *r, const char *p, size_t n, bool dirty, bool copy)
{
	char *q;

	if (copy) {
		q = chat_value_alloc(&r->arena, n + 1);
		memcpy(q, p, n);
		p = q;
	}
	return chat_value_bytes(&r->arena, p, n, dirty);
}

static struct chat_value
from_object(struct chat_run *r, json_t *j, bool dirty, bool copy)
{
	struct chat_value d = chat_value_dict(r), k;
	const char *key;
	json_t *v;

	d.dirty = dirty;
	json_object_foreach(j, key, v) {
		if (!chat_value_step(r, 1))
			break;
		k = json_bytes(r, key, strlen(key), dirty, copy);
		dict_add(r, d.u.d, k, chat_value_json(r, v, dirty, copy));
	}
	return d;
}

struct chat_value
chat_value_json(struct chat_run *r, json_t *j, bool dirty, bool copy)
{
	struct chat_value v = chat_value_none();
	size_t i;

	if (!chat_value_enter(r))
		goto out;
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		v = from_object(r, j, dirty, copy);
		break;
	case JSON_ARRAY:
		v = chat_value_seq(r, CS_LIST);
		for (i = 0; i < json_array_size(j) && !r->failed; i++)
			chat_value_push(r, v.u.q, chat_value_json(r,
			    json_array_get(j, i), dirty, copy));
		break;
	case JSON_STRING:
		v = json_bytes(r, json_string_value(j), json_string_length(j),
		    dirty, copy);
		break;
	case JSON_INTEGER:
		v = chat_value_int(json_integer_value(j), dirty);
		break;
	case JSON_REAL:
		v = chat_value_float(json_real_value(j), dirty);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		v = chat_value_bool(json_is_true(j), dirty);
		break;
	case JSON_NULL:
		break;
	}
	v.dirty = dirty;
out:
	chat_value_leave(r);
	return v;
}
