/*
 * chat_split - the methods of str that cut it into pieces.
 *
 * F4, private to chat.
 */
#include "chat_priv.h"

/* Where the run of (not) white space that begins at i ends. */
static size_t
space_run(struct chat_run *r, const struct chat_str *s, size_t i, bool space)
{
	size_t used;

	while (i < s->n && chat_value_step(r, 1) && chat_buf_space(
	    str_utf8_next(s->p + i, s->n - i, &used)) == space)
		i += used;
	return i;
}

/* split() at white space, at most max times (negative: no bound). */
static void
split_space(struct chat_run *r, const struct chat_str *s, int64_t max,
    struct chat_seq *q)
{
	size_t i = space_run(r, s, 0, true), k;

	while (i < s->n && !r->failed) {
		if (max-- == 0) {
			chat_value_push(r, q, chat_buf_slice(r, s, i,
			    s->n - i));
			return;
		}
		k = space_run(r, s, i, false);
		chat_value_push(r, q, chat_buf_slice(r, s, i, k - i));
		i = space_run(r, s, k, true);
	}
}

static void
split_at(struct chat_run *r, const struct chat_str *s,
    const struct chat_str *sep, int64_t max, struct chat_seq *q)
{
	size_t i = 0, k;

	for (; max != 0 && !r->failed; max--) {
		k = chat_buf_find(r, s, i, sep);
		if (k == SIZE_MAX)
			break;
		chat_value_push(r, q, chat_buf_slice(r, s, i, k - i));
		i = k + sep->n;
	}
	chat_value_push(r, q, chat_buf_slice(r, s, i, s->n - i));
}

/* As split_at, but counting from the right. */
static void
rsplit_at(struct chat_run *r, const struct chat_str *s,
    const struct chat_str *sep, int64_t max, struct chat_seq *q)
{
	struct chat_value v;
	size_t end = s->n, k, i;

	for (; max != 0 && !r->failed; max--) {
		k = chat_buf_rfind(r, s, end, sep);
		if (k == SIZE_MAX)
			break;
		chat_value_push(r, q, chat_buf_slice(r, s, k + sep->n,
		    end - k - sep->n));
		end = k;
	}
	chat_value_push(r, q, chat_buf_slice(r, s, 0, end));
	for (i = 0; i < q->n / 2; i++) {
		v = q->p[i];
		q->p[i] = q->p[q->n - 1 - i];
		q->p[q->n - 1 - i] = v;
	}
}

static struct chat_value
split(struct chat_run *r, const struct chat_in *in, bool right)
{
	struct chat_value out = chat_value_seq(r, CS_LIST);
	const struct chat_str *s = in->self.u.s, *sep;
	int64_t max = -1;

	out.dirty = in->self.dirty;
	if (in->v[1].kind != CV_MISSING && !chat_op_int(r, in->v[1],
	    "maxsplit", &max))
		return out;
	if (in->v[0].kind <= CV_NONE) {
		if (right && max >= 0)
			return chat_fail(r, "rsplit at white space with a "
			    "bound is not supported");
		split_space(r, s, max, out.u.q);
		return out;
	}
	sep = chat_method_str(r, &in->v[0], "split");
	if (sep->n == 0)
		return chat_fail(r, "split at an empty separator");
	if (right)
		rsplit_at(r, s, sep, max, out.u.q);
	else
		split_at(r, s, sep, max, out.u.q);
	return out;
}

struct chat_value
chat_split_left(struct chat_run *r, const struct chat_in *in)
{
	return split(r, in, false);
}

struct chat_value
chat_split_right(struct chat_run *r, const struct chat_in *in)
{
	return split(r, in, true);
}

static bool
line_end(unsigned cp)
{
	return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) ||
	    cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

struct chat_value
chat_split_lines(struct chat_run *r, const struct chat_str *s,
    bool keep_ends)
{
	struct chat_value out = chat_value_seq(r, CS_LIST);
	size_t i, from = 0, used, end;
	unsigned cp;

	for (i = 0; i < s->n && chat_value_step(r, 1); i += used) {
		cp = str_utf8_next(s->p + i, s->n - i, &used);
		if (!line_end(cp))
			continue;
		if (cp == '\r' && i + 1 < s->n && s->p[i + 1] == '\n')
			used = 2;
		end = keep_ends ? i + used : i;
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, from,
		    end - from));
		from = i + used;
	}
	if (from < s->n)
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, from,
		    s->n - from));
	return out;
}

struct chat_value
chat_split_by_line(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = chat_split_lines(r, in->self.u.s,
	    in->v[0].kind != CV_MISSING && chat_value_true(in->v[0]));

	v.dirty = in->self.dirty;
	return v;
}

static struct chat_value
partition(struct chat_run *r, const struct chat_in *in, bool right)
{
	const struct chat_str *s = in->self.u.s;
	const struct chat_str *w = chat_method_str(r, &in->v[0], "partition");
	struct chat_value out = chat_value_seq(r, CS_TUPLE), nothing;
	size_t at;

	if (w->n == 0)
		return chat_fail(r, "partition at an empty separator");
	nothing = chat_value_bytes(&r->arena, "", 0, false);
	at = right ? chat_buf_rfind(r, s, s->n, w) :
	    chat_buf_find(r, s, 0, w);
	if (at == SIZE_MAX) {
		chat_value_push(r, out.u.q, right ? nothing : in->self);
		chat_value_push(r, out.u.q, nothing);
		chat_value_push(r, out.u.q, right ? in->self : nothing);
	} else {
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, 0, at));
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, at, w->n));
		chat_value_push(r, out.u.q, chat_buf_slice(r, s, at + w->n,
		    s->n - at - w->n));
	}
	out.dirty = in->self.dirty;
	return out;
}

struct chat_value
chat_split_partition(struct chat_run *r, const struct chat_in *in)
{
	return partition(r, in, false);
}

struct chat_value
chat_split_rpartition(struct chat_run *r, const struct chat_in *in)
{
	return partition(r, in, true);
}
