/*
 * token_added - added tokens: reading them, deciding which of them steer the
 * model, and finding them in a text.  Floor F4; see token.h for the rule of
 * what may match where.
 *
 * A set is an array sorted by content.  At a place of the text the entries
 * that agree with the first k bytes are a range of it, which each further
 * byte narrows; so the longest entry is found without building an automaton.
 */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "token_parts.h"

/* ---- characters ---------------------------------------------------------- */

static bool
is_space(unsigned cp)
{
	return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 ||
	    cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	    cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
	    cp == 0x3000;
}

/* \w: letters, marks, decimal and letter numbers, connectors, joiners. */
static bool
is_word(unsigned cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return true;
	default:
		return cp == 0x200c || cp == 0x200d;
	}
}

/* The character that ends at p[end), end > 0; *at_p = where it begins. */
static unsigned
char_before(const char *p, size_t end, size_t *at_p)
{
	size_t at = end - 1, len;

	while (at > 0 && end - at < 4 && ((uint8_t)p[at] & 0xc0) == 0x80)
		at--;
	*at_p = at;
	return str_utf8_next(p + at, end - at, &len);
}

/* ---- reading ------------------------------------------------------------- */

/*
 * Does the content look like a control token?  Delimited by <> or [], or
 * special; never one of white space only, which user text may hold.
 */
static bool
is_control(const char *s, size_t n, bool special)
{
	size_t len;

	while (n > 0 && is_space(str_utf8_next(s, n, &len))) {
		s += len;
		n -= len;
	}
	while (n > 0 && is_space((uint8_t)s[n - 1]))
		n--;
	if (n == 0 || special)
		return n > 0;
	return n > 2 && ((s[0] == '<' && s[n - 1] == '>') ||
	    (s[0] == '[' && s[n - 1] == ']'));
}

static int
read_one(struct token *t, const struct json_src *src)
{
	struct token_add a = { .content = STR_INIT };
	const char *content;
	int64_t id = 0;

	if (json_want_int(src, "id", 0, TOKEN_IDS - 1, &id) != 0 ||
	    json_want_str(src, "content", &content) != 0 ||
	    json_may_bool(src, "special", &a.special) != 0)
		return -1;
	a.normalized = !a.special;
	if (json_may_bool(src, "single_word", &a.single_word) != 0 ||
	    json_may_bool(src, "lstrip", &a.lstrip) != 0 ||
	    json_may_bool(src, "rstrip", &a.rstrip) != 0 ||
	    json_may_bool(src, "normalized", &a.normalized) != 0)
		return -1;
	if (*content == '\0')
		return json_want_fail(src, "content", "is empty");
	a.id = (uint32_t)id;
	if (!token_vocab_put(&t->vocab, &t->vocab.added, content,
	    strlen(content), a.id)) {
		if (token_vocab_find(&t->vocab, &t->vocab.added, content,
		    strlen(content)) == a.id)
			return 0;
		return json_want_fail(src, "content",
		    "\"%s\" has two ids", content);
	}
	str_adds(&a.content, content);
	if (a.normalized)
		VEC_PUSH(&t->normal, a);
	else
		VEC_PUSH(&t->raw, a);
	return 0;
}

int
token_added_read(struct token *t, const json_t *list, struct err *e)
{
	char at[64];
	struct json_src src = { .where = t->name, .at = at, .err = e };
	size_t i, n = json_array_size(list);

	token_vocab_room(&t->vocab.added, n);
	for (i = 0; i < n; i++) {
		snprintf(at, sizeof(at), "added_tokens[%zu].", i);
		src.obj = json_array_get(list, i);
		if (!json_is_object(src.obj))
			return err_set(e, ERR_DATA, "%s: added_tokens[%zu]: "
			    "not an object", t->name, i);
		if (read_one(t, &src) != 0)
			return -1;
	}
	return 0;
}

static int
by_content(const void *a, const void *b)
{
	const struct str *x = &((const struct token_add *)a)->content;
	const struct str *y = &((const struct token_add *)b)->content;
	int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

	return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

static void
ready(struct token *t, struct token_adds *set)
{
	struct token_add *a;
	size_t i;

	for (i = 0; i < set->n; i++) {
		a = &set->p[i];
		if (a->special)
			t->vocab.flag[a->id] |= TOKEN_F_SPECIAL;
		if (is_control(a->content.p, a->content.n, a->special))
			t->vocab.flag[a->id] |= TOKEN_F_CONTROL;
	}
}

static void
sort(struct token_adds *set)
{
	size_t i;

	if (set->n > 0)
		qsort(set->p, set->n, sizeof(*set->p), by_content);
	for (i = 0; i < set->n; i++)
		set->first[(uint8_t)set->p[i].content.p[0]] = true;
}

int
token_added_ready(struct token *t, struct err *e)
{
	struct token_masked m = { STR_INIT, STR_INIT };
	size_t i;

	ready(t, &t->raw);
	ready(t, &t->normal);
	for (i = 0; i < t->normal.n; i++) {
		m.text = t->normal.p[i].content;
		if (token_norm_run(&t->norm, &m, e) != 0)
			return err_ctx(e, "%s: added token %u", t->name,
			    t->normal.p[i].id);
		t->normal.p[i].content = m.text;
		if (m.text.n == 0)
			return err_set(e, ERR_DATA, "%s: added token %u "
			    "is normalized to nothing", t->name,
			    t->normal.p[i].id);
	}
	sort(&t->raw);
	sort(&t->normal);
	return 0;
}

void
token_added_free(struct token_adds *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		str_free(&s->p[i].content);
	VEC_FREE(s);
}

/* ---- matching ------------------------------------------------------------ */

static bool
may_match(const struct token_hunt *h, const struct token_add *a, size_t at)
{
	if ((h->flag[a->id] & TOKEN_F_CONTROL) == 0)
		return true;
	return h->control && (h->mask == NULL ||
	    memchr(h->mask + at, '\1', a->content.n) == NULL);
}

/* First entry of set[lo, hi), which agree up to byte k, whose byte k is at
 * least c (an entry that ends there counts as less than any). */
static size_t
bound(const struct token_adds *set, size_t lo, size_t hi, size_t k, int c)
{
	const struct str *s;
	size_t mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		s = &set->p[mid].content;
		if (k >= s->n || (uint8_t)s->p[k] < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The longest entry at h->p + at that may match there. */
static const struct token_add *
longest(const struct token_hunt *h, size_t at)
{
	const struct token_adds *set = h->set;
	const struct token_add *best = NULL;
	size_t lo = 0, hi = set->n, k;
	uint8_t c;

	for (k = 0; at + k < h->n; k++) {
		c = (uint8_t)h->p[at + k];
		lo = bound(set, lo, hi, k, c);
		hi = bound(set, lo, hi, k, c + 1);
		if (lo == hi)
			break;
		if (set->p[lo].content.n == k + 1 &&
		    may_match(h, &set->p[lo], at))
			best = &set->p[lo];
	}
	return best;
}

static bool
stands_alone(const struct token_hunt *h, size_t begin, size_t end)
{
	size_t x;

	return (begin == 0 || !is_word(char_before(h->p, begin, &x))) &&
	    (end == h->n || !is_word(str_utf8_next(h->p + end, h->n - end,
	    &x)));
}

bool
token_added_next(const struct token_hunt *h, size_t from,
    struct token_hit *hit)
{
	const struct token_add *a;
	size_t i = from, begin, end, x;

	while (i < h->n) {
		a = h->set->first[(uint8_t)h->p[i]] ? longest(h, i) : NULL;
		if (a == NULL) {
			i++;
			continue;
		}
		begin = i;
		end = i + a->content.n;
		if (a->single_word && !stands_alone(h, begin, end)) {
			i = end;
			continue;
		}
		while (a->lstrip && begin > from &&
		    is_space(char_before(h->p, begin, &x)))
			begin = x;
		while (a->rstrip && end < h->n &&
		    is_space(str_utf8_next(h->p + end, h->n - end, &x)))
			end += x;
		*hit = (struct token_hit){ begin, end, a->id };
		return true;
	}
	return false;
}
