/* front_cut - see front_cut.h. */
#include "front_cut.h"

#include <string.h>

static const char *
skip_blank(const char *p, const char *end)
{
	while (p < end && strchr(" \t\r\n", *p) != NULL && *p != '\0')
		p++;
	return p;
}

/* After the closing quote; NULL: there is none. */
static const char *
skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return NULL;
}

/* After the bracket that closes the one at p. */
static const char *
skip_nested(const char *p, const char *end)
{
	size_t depth = 0;

	while (p != NULL && p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		depth += *p == '{' || *p == '[';
		if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
		p++;
	}
	return NULL;
}

static const char *
skip_value(const char *p, const char *end)
{
	const char *at = p;

	if (p >= end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_nested(p, end);
	while (p < end && strchr(",]} \t\r\n", *p) == NULL)
		p++;
	return p > at ? p : NULL;
}

bool
front_cut_walk(struct front_walk *w, struct front_cut v)
{
	memset(w, 0, sizeof(*w));
	if (v.n < 2 || (v.p[0] != '{' && v.p[0] != '['))
		return false;
	w->object = v.p[0] == '{';
	w->at = v.p + 1;
	w->end = v.p + v.n - 1;
	return true;
}

static bool
broken(struct front_walk *w)
{
	w->bad = true;
	return false;
}

bool
front_cut_next(struct front_walk *w, struct front_cut *key,
    struct front_cut *value)
{
	const char *p = skip_blank(w->at, w->end), *q;

	*key = (struct front_cut){ NULL, 0 };
	if (p < w->end && *p == ',')
		p = skip_blank(p + 1, w->end);
	if (p >= w->end)
		return false;
	if (w->object) {
		q = *p == '"' ? skip_string(p, w->end) : NULL;
		if (q == NULL)
			return broken(w);
		*key = (struct front_cut){ p, (size_t)(q - p) };
		p = skip_blank(q, w->end);
		if (p >= w->end || *p != ':')
			return broken(w);
		p = skip_blank(p + 1, w->end);
	}
	q = skip_value(p, w->end);
	if (q == NULL)
		return broken(w);
	*value = (struct front_cut){ p, (size_t)(q - p) };
	w->at = q;
	return true;
}

bool
front_cut_is(struct front_cut v, const char *text)
{
	return v.p != NULL && v.n == strlen(text) &&
	    memcmp(v.p, text, v.n) == 0;
}

struct front_cut
front_cut_inner(struct front_cut v)
{
	if (v.n < 2)
		return (struct front_cut){ "", 0 };
	return (struct front_cut){ v.p + 1, v.n - 2 };
}

struct front_cut
front_cut_get(struct front_cut object, const char *name)
{
	struct front_cut key, value;
	struct front_walk w;

	if (front_cut_walk(&w, object) && w.object)
		while (front_cut_next(&w, &key, &value))
			if (front_cut_is(front_cut_inner(key), name))
				return value;
	return (struct front_cut){ NULL, 0 };
}

bool
front_cut_int(struct front_cut v, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9' || n > max / 10)
			return false;
		n = n * 10 + (uint64_t)(v.p[i] - '0');
	}
	*out = n;
	return v.n > 0 && n <= max;
}
