/*
 * chat_format - the % operator and str.format of chat templates: the plain
 * forms; widths, precisions and conversions are refused.
 *
 * F4, private to chat.
 */
#include <math.h>
#include <string.h>

#include "chat_priv.h"

static void
percent_one(struct chat_run *r, struct chat_buf *b, char conv,
    struct chat_value v)
{
	switch (conv) {
	case 's':
		chat_buf_str(r, b, chat_repr_str(r, v));
		break;
	case 'r':
		chat_repr_add(r, b, v);
		break;
	case 'd':
	case 'i':
		if (v.kind == CV_BOOL)
			v = chat_value_int(v.u.b, v.dirty);
		if (v.kind == CV_FLOAT && fabs(v.u.f) < 9e18)
			v = chat_value_int((int64_t)v.u.f, v.dirty);
		if (v.kind != CV_INT)
			chat_fail(r, "%%%c needs a number, not %s", conv,
			    chat_value_type(&v));
		else
			chat_repr_add(r, b, v);
		break;
	default:
		chat_fail(r, "%%%c in a format is not supported", conv);
	}
}

struct chat_value
chat_format_percent(struct chat_run *r, const struct chat_str *fmt,
    struct chat_value arg)
{
	bool tuple = arg.kind == CV_SEQ && arg.u.q->kind == CS_TUPLE;
	const struct chat_value *v = tuple ? arg.u.q->p : &arg;
	size_t n = tuple ? arg.u.q->n : 1, used = 0, i;
	struct chat_buf *b = chat_buf_new(r);

	for (i = 0; i < fmt->n && chat_value_step(r, 1); i++) {
		if (fmt->p[i] != '%' || i + 1 == fmt->n) {
			if (fmt->p[i] == '%')
				chat_fail(r, "incomplete format");
			chat_buf_part(r, b, fmt, i, 1);
		} else if (fmt->p[++i] == '%') {
			chat_buf_part(r, b, fmt, i, 1);
		} else if (used == n) {
			chat_fail(r, "not enough arguments for the format");
		} else {
			percent_one(r, b, fmt->p[i], v[used++]);
		}
	}
	/* What can be indexed might be a mapping, so Python lets it pass. */
	if (used < n && (tuple || (arg.kind != CV_DICT && (arg.kind != CV_SEQ ||
	    arg.u.q->kind > CS_RANGE))))
		chat_fail(r, "not all arguments of the format were used");
	return chat_buf_done(r, b);
}

/* The argument that the field [p, p + n) of a {} format names. */
static struct chat_value
format_field(struct chat_run *r, const char *p, size_t n,
    const struct chat_args *a, int *next_p)
{
	size_t i, k = 0;

	for (i = 0; i < n; i++)
		if (strchr(".[]:!{}", p[i]) != NULL)
			return chat_fail(r, "the format field {%.*s} is not "
			    "supported", (int)(n < 40 ? n : 40), p);
	for (i = 0; i < n && p[i] >= '0' && p[i] <= '9' && k < 1000; i++)
		k = k * 10 + (size_t)(p[i] - '0');
	if (i == n) {
		if ((n == 0) != (*next_p >= 0) && *next_p != 0)
			return chat_fail(r, "{} and {0} in one format");
		if (n == 0)
			k = (size_t)(*next_p)++;
		else
			*next_p = -1;
		if (k < a->n)
			return a->v[k];
	} else {
		for (i = 0; i < a->n_kw; i++)
			if (a->kw[i]->n == n &&
			    memcmp(a->kw[i]->p, p, n) == 0)
				return a->v[a->n + i];
	}
	return chat_fail(r, "no argument for the format field {%.*s}",
	    (int)(n < 40 ? n : 40), p);
}

struct chat_value
chat_format_braces(struct chat_run *r, const struct chat_str *fmt,
    const struct chat_args *a)
{
	struct chat_buf *b = chat_buf_new(r);
	struct chat_value v;
	const char *p = fmt->p, *q;
	size_t i;
	int next = 0;

	for (i = 0; i < fmt->n && chat_value_step(r, 1); i++) {
		if (p[i] != '{' && p[i] != '}') {
			chat_buf_part(r, b, fmt, i, 1);
		} else if (i + 1 < fmt->n && p[i + 1] == p[i]) {
			chat_buf_part(r, b, fmt, i++, 1);
		} else {
			q = memchr(p + i, '}', fmt->n - i);
			if (p[i] == '}' || q == NULL) {
				chat_fail(r, "a single '%c' in a format",
				    p[i]);
				break;
			}
			v = format_field(r, p + i + 1,
			    (size_t)(q - p) - i - 1, a, &next);
			chat_buf_str(r, b, chat_repr_str(r, v));
			i = (size_t)(q - p);
		}
	}
	return chat_buf_done(r, b);
}
