/* sse - see sse.h. */
#include "sse.h"

#include <string.h>

void
sse_init(struct sse *s, sse_fn *fn, void *arg)
{
	memset(s, 0, sizeof(*s));
	s->fn = fn;
	s->arg = arg;
}

void
sse_free(struct sse *s)
{
	str_free(&s->line);
	str_free(&s->data);
	str_free(&s->event);
}

static void
dispatch(struct sse *s)
{
	if (s->have_data)
		s->fn(s->arg, str_c(&s->event), str_c(&s->data), s->data.n);
	s->have_data = false;
	str_clear(&s->data);
	str_clear(&s->event);
}

/* The value after "NAME:" and one blank, or NULL when the line is no such
 * field.  *n_p is the value's length. */
static const char *
field(const struct sse *s, const char *name, size_t *n_p)
{
	const char *line = str_c(&s->line);
	size_t k = strlen(name);

	if (s->line.n < k || memcmp(line, name, k) != 0 ||
	    (s->line.n > k && line[k] != ':'))
		return NULL;
	if (s->line.n > k)
		k++;
	if (s->line.n > k && line[k] == ' ')
		k++;
	*n_p = s->line.n - k;
	return line + k;
}

static int
end_line(struct sse *s)
{
	const char *v;
	size_t n;

	if (s->line.n == 0) {
		dispatch(s);
		return 0;
	}
	if ((v = field(s, "data", &n)) != NULL) {
		if (s->data.n + n >= SSE_MAX_BYTES)
			return -1;
		if (s->have_data)
			str_addc(&s->data, '\n');
		str_add(&s->data, v, n);
		s->have_data = true;
	} else if ((v = field(s, "event", &n)) != NULL) {
		str_clear(&s->event);
		str_add(&s->event, v, n);
	}
	str_clear(&s->line);
	return 0;
}

int
sse_feed(struct sse *s, const void *p, size_t n)
{
	const char *at = p, *end = at + n;
	size_t k;

	while (at < end) {
		if (s->after_cr && *at == '\n') {	/* CRLF: one end */
			s->after_cr = false;
			at++;
			continue;
		}
		s->after_cr = false;
		for (k = 0; at + k < end && at[k] != '\n' && at[k] != '\r'; k++)
			;
		if (s->line.n + k > SSE_MAX_BYTES)
			return -1;
		str_add(&s->line, at, k);
		at += k;
		if (at == end)
			break;
		s->after_cr = *at++ == '\r';
		if (end_line(s) != 0)
			return -1;
	}
	return 0;
}
