/*
 * token_norm - normalizers: NFC, Prepend, Replace and Sequences of them.
 * Floor F4; a struct token_norm does not change after load.
 *
 * Beside the text goes a mask of the bytes that user text had a part in.
 * NFC may join a character of the template with a mark from the user, so the
 * mask follows it closely: what NFC leaves as it is keeps its mask, what it
 * changes is the user's when any of it was.
 */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "token_parts.h"

static int
read_replace(struct token_norm_step *s, const struct json_src *src)
{
	const json_t *pat = NULL;
	const char *from, *to;

	if (json_may_obj(src, "pattern", &pat) != 0 ||
	    json_want_str(src, "content", &to) != 0)
		return -1;
	from = json_string_value(json_object_get(pat, "String"));
	if (from == NULL || *from == '\0')
		return json_want_fail(src, "pattern",
		    "only a String that is not empty is supported");
	s->kind = TOKEN_REPLACE;
	s->from = mem_strdup(from);
	s->to = mem_strdup(to);
	return 0;
}

static int
read_one(void *arg, const struct json_src *src)
{
	return token_norm_read(arg, src);
}

int
token_norm_read(struct token_norm *norm, const struct json_src *src)
{
	const char *type = token_load_type(src), *text;
	struct token_norm_step s = { .kind = TOKEN_NFC };

	if (type == NULL)
		return -1;
	if (strcmp(type, "Sequence") == 0)
		return token_load_each(src, "normalizers", read_one, norm);
	if (strcmp(type, "Replace") == 0) {
		if (read_replace(&s, src) != 0)
			return -1;
	} else if (strcmp(type, "Prepend") == 0) {
		if (json_want_str(src, "prepend", &text) != 0)
			return -1;
		s.kind = TOKEN_PREPEND;
		s.to = mem_strdup(text);
	} else if (strcmp(type, "NFC") != 0) {
		return json_want_fail(src, "type",
		    "normalizer %s is not supported", type);
	}
	if (norm->n >= TOKEN_STEPS) {
		mem_free(s.from);
		mem_free(s.to);
		return json_want_fail(src, "type", "more than %d normalizers",
		    TOKEN_STEPS);
	}
	VEC_PUSH(norm, s);
	return 0;
}

/* Append n equal mask bytes. */
static void
fill(struct str *mask, char c, size_t n)
{
	while (n-- > 0)
		str_addc(mask, c);
}

static void
replace(const struct token_norm_step *s, struct token_masked *m)
{
	struct token_masked out = { STR_INIT, STR_INIT };
	size_t n_from = strlen(s->from), n_to = strlen(s->to), at = 0, hit;
	bool masked = m->mask.n > 0;
	const char *f;

	while ((f = memmem(m->text.p + at, m->text.n - at, s->from,
	    n_from)) != NULL) {
		hit = (size_t)(f - m->text.p);
		str_add(&out.text, m->text.p + at, hit - at);
		str_add(&out.text, s->to, n_to);
		if (masked) {
			str_add(&out.mask, m->mask.p + at, hit - at);
			fill(&out.mask, memchr(m->mask.p + hit, '\1', n_from) !=
			    NULL, n_to);
		}
		at = hit + n_from;
	}
	str_add(&out.text, m->text.p + at, m->text.n - at);
	if (masked)
		str_add(&out.mask, m->mask.p + at, m->text.n - at);
	str_free(&m->text);
	str_free(&m->mask);
	*m = out;
}

/* The library leaves an empty text empty. */
static void
prepend(const char *what, struct token_masked *m)
{
	struct token_masked out = { STR_INIT, STR_INIT };

	if (m->text.n == 0)
		return;
	str_adds(&out.text, what);
	if (m->mask.n > 0) {
		fill(&out.mask, '\0', out.text.n);
		str_add(&out.mask, m->mask.p, m->mask.n);
	}
	str_add(&out.text, m->text.p, m->text.n);
	str_free(&m->text);
	str_free(&m->mask);
	*m = out;
}

/*
 * Blocks whose characters NFC never changes and never joins to what stands
 * before them (no combining marks, no conjoining jamo): most text is these.
 */
static bool
is_plain(unsigned cp)
{
	return cp < 0x300 || (cp >= 0x400 && cp < 0x483) ||
	    (cp >= 0x2010 && cp < 0x2028) || (cp >= 0x3000 && cp < 0x302a) ||
	    (cp >= 0x3041 && cp < 0x3097) || (cp >= 0x30a0 && cp < 0x3100) ||
	    (cp >= 0x4e00 && cp < 0x9fff) || (cp >= 0xac00 && cp < 0xd7a4) ||
	    (cp >= 0xff01 && cp < 0xff5f) || (cp >= 0x1f300 && cp < 0x1fb00);
}

/* Append the normal form q[0..nq) of p[0..n) with its mask. */
static void
add_changed(struct token_masked *out, const char *q, size_t nq,
    const char *mask, const char *p, size_t n)
{
	size_t head = 0, tail = 0, least = n < nq ? n : nq;

	str_add(&out->text, q, nq);
	if (mask == NULL)
		return;
	while (head < least && p[head] == q[head])
		head++;
	while (tail < least - head && p[n - 1 - tail] == q[nq - 1 - tail])
		tail++;
	str_add(&out->mask, mask, head);
	fill(&out->mask, memchr(mask + head, '\1', n - head - tail) != NULL,
	    nq - head - tail);
	str_add(&out->mask, mask + n - tail, tail);
}

static int
nfc_part(struct token_masked *out, const char *p, const char *mask, size_t n,
    struct err *e)
{
	utf8proc_uint8_t *q = NULL;
	utf8proc_ssize_t nq;

	nq = utf8proc_map((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, &q,
	    UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (nq < 0)
		return err_set(e, ERR_DATA, "NFC of the text: %s",
		    utf8proc_errmsg(nq));
	add_changed(out, (const char *)q, (size_t)nq, mask, p, n);
	free(q);
	return 0;
}

/*
 * Plain characters are copied; a run of others is normalized together with
 * the plain character before it, which its first mark may join.
 */
static int
nfc(struct token_masked *m, struct err *e)
{
	struct token_masked out = { STR_INIT, STR_INIT };
	const char *p = m->text.p, *mask = m->mask.n > 0 ? m->mask.p : NULL;
	size_t n = m->text.n, at = 0, last = 0, done = 0, len, end;

	while (at < n) {
		if (is_plain(str_utf8_next(p + at, n - at, &len))) {
			last = at;
			at += len;
			continue;
		}
		for (end = at + len; end < n; end += len)
			if (is_plain(str_utf8_next(p + end, n - end, &len)))
				break;
		str_add(&out.text, p + done, last - done);
		if (mask != NULL)
			str_add(&out.mask, mask + done, last - done);
		if (nfc_part(&out, p + last, mask ? mask + last : NULL,
		    end - last, e) != 0) {
			str_free(&out.text);
			str_free(&out.mask);
			return -1;
		}
		done = last = at = end;
	}
	if (done == 0)
		return 0;
	str_add(&out.text, p + done, n - done);
	if (mask != NULL)
		str_add(&out.mask, mask + done, n - done);
	str_free(&m->text);
	str_free(&m->mask);
	*m = out;
	return 0;
}

int
token_norm_run(const struct token_norm *norm, struct token_masked *m,
    struct err *e)
{
	size_t i;

	for (i = 0; i < norm->n && m->text.n > 0; i++) {
		switch (norm->p[i].kind) {
		case TOKEN_NFC:
			if (nfc(m, e) != 0)
				return -1;
			break;
		case TOKEN_PREPEND:
			prepend(norm->p[i].to, m);
			break;
		case TOKEN_REPLACE:
			replace(&norm->p[i], m);
			break;
		}
		if (m->text.n > 2 * TOKEN_TEXT_BYTES)
			return err_set(e, ERR_DATA, "the normalized text is "
			    "longer than %zu bytes", 2 * TOKEN_TEXT_BYTES);
	}
	return 0;
}

void
token_norm_free(struct token_norm *norm)
{
	size_t i;

	for (i = 0; i < norm->n; i++) {
		mem_free(norm->p[i].from);
		mem_free(norm->p[i].to);
	}
	VEC_FREE(norm);
}
