/*
 * token_bpe - byte-pair encoding of one piece of text.  Floor F4; a struct
 * token_bpe does not change after load.
 *
 * The symbols of the piece form a linked list; the mergeable pairs wait in a
 * heap by (rank, position).  Popping the best pair, merging it and pushing the
 * two new pairs costs O(log n), so a piece of n characters takes O(n log n)
 * whatever it holds.  A pair that has changed since it was pushed is known by
 * what it would merge into.
 */
#include <string.h>

#include "token_parts.h"

#define SPM_SPACE	"\xe2\x96\x81"		/* U+2581, SentencePiece's */

/* ---- reading ------------------------------------------------------------- */

static uint32_t
pair_hash(uint32_t left, uint32_t right)
{
	uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32 ^ h >> 15);
}

/* The merge of left and right; its id is TOKEN_NONE when there is none. */
static struct token_merge *
find_merge(const struct token_bpe *b, uint32_t left, uint32_t right)
{
	uint32_t i = pair_hash(left, right) & b->mask;
	struct token_merge *m;

	for (;; i = (i + 1) & b->mask) {
		m = &b->merge[i];
		if (m->id == TOKEN_NONE ||
		    (m->left == left && m->right == right))
			return m;
	}
}

/* The id of a symbol that BPE may use: not one of a control token. */
static uint32_t
symbol(const struct token *t, const char *s, size_t n)
{
	uint32_t id = token_vocab_find(&t->vocab, &t->vocab.model, s, n);

	if (id != TOKEN_NONE && (t->vocab.flag[id] & TOKEN_F_CONTROL))
		return TOKEN_NONE;
	return id;
}

/* The two halves of merge number i, "a b" or ["a", "b"]. */
static int
halves(const json_t *v, struct str *a, struct str *b)
{
	const char *s, *gap;
	const json_t *x, *y;

	str_clear(a);
	str_clear(b);
	if (json_is_string(v)) {
		s = json_string_value(v);
		gap = strchr(s, ' ');
		if (gap == NULL || strchr(gap + 1, ' ') != NULL)
			return -1;
		str_add(a, s, (size_t)(gap - s));
		str_adds(b, gap + 1);
		return 0;
	}
	x = json_array_get(v, 0);
	y = json_array_get(v, 1);
	if (json_array_size(v) != 2 || !json_is_string(x) ||
	    !json_is_string(y))
		return -1;
	str_add(a, json_string_value(x), json_string_length(x));
	str_add(b, json_string_value(y), json_string_length(y));
	return 0;
}

/* Does U+2581 stand in s after another character? */
static bool
joins_words(const struct str *s)
{
	const char *p = s->p, *end = s->p + s->n;

	while ((size_t)(end - p) >= 3 && memcmp(p, SPM_SPACE, 3) == 0)
		p += 3;
	return memmem(p, (size_t)(end - p), SPM_SPACE, 3) != NULL;
}

static int
add_merge(struct token *t, uint32_t rank, struct str *a, struct str *b)
{
	const struct token_map *map = &t->vocab.model;
	struct token_merge *m;
	uint32_t left = token_vocab_find(&t->vocab, map, a->p, a->n);
	uint32_t right = token_vocab_find(&t->vocab, map, b->p, b->n);
	uint32_t id;

	str_add(a, b->p, b->n);
	id = token_vocab_find(&t->vocab, map, a->p, a->n);
	if (left == TOKEN_NONE || right == TOKEN_NONE || id == TOKEN_NONE)
		return -1;
	/* User text must not grow into a control token. */
	if (t->vocab.flag[id] & TOKEN_F_CONTROL)
		return 0;
	if (joins_words(a))
		t->bpe.cut_words = false;
	/* Of two equal pairs the later counts, as in the library. */
	m = find_merge(&t->bpe, left, right);
	*m = (struct token_merge){ left, right, rank, id };
	return 0;
}

static int
read_merges(struct token *t, const struct json_src *src)
{
	const json_t *list = NULL;
	struct str a = STR_INIT, b = STR_INIT;
	size_t i, n;
	uint32_t slots = 16;
	int rc = 0;

	if (json_may_array(src, "merges", &list) != 0)
		return -1;
	if (list == NULL)
		return json_want_fail(src, "merges", "is missing");
	n = json_array_size(list);
	while (slots < 2 * n)
		slots *= 2;
	t->bpe.merge = mem_alloc(slots * sizeof(*t->bpe.merge));
	t->bpe.mask = slots - 1;
	for (i = 0; i < slots; i++)
		t->bpe.merge[i].id = TOKEN_NONE;
	for (i = 0; i < n && rc == 0; i++) {
		/* str_add makes an empty half a string too. */
		str_add(&a, "", 0);
		str_add(&b, "", 0);
		if (halves(json_array_get(list, i), &a, &b) != 0)
			rc = json_want_fail(src, "merges",
			    "number %zu is not a pair of strings", i);
		else if (add_merge(t, (uint32_t)i, &a, &b) != 0)
			rc = json_want_fail(src, "merges", "number %zu: "
			    "a part or the whole is not in the vocabulary",
			    i);
	}
	str_free(&a);
	str_free(&b);
	return rc;
}

/* Fields that would change the result and that no MoE model uses. */
static int
refuse_others(const struct json_src *src)
{
	static const char *const affix[] = {
	    "continuing_subword_prefix", "end_of_word_suffix" };
	const char *s;
	double dropout = 0;
	size_t i;

	for (i = 0; i < 2; i++) {
		s = "";
		if (json_may_str(src, affix[i], &s) != 0)
			return -1;
		if (*s != '\0')
			return json_want_fail(src, affix[i],
			    "\"%s\" is not supported", s);
	}
	if (json_may_real(src, "dropout", 0, 1, &dropout) != 0)
		return -1;
	return dropout == 0 ? 0 : json_want_fail(src, "dropout",
	    "random merges are not supported");
}

static void
read_bytes(struct token *t)
{
	struct str s = STR_INIT;
	char code[8];
	unsigned i;

	for (i = 0; i < 256; i++) {
		str_clear(&s);
		str_addu(&s, token_bytes_stand_in((uint8_t)i));
		t->bpe.byte[i] = symbol(t, s.p, s.n);
		snprintf(code, sizeof(code), "<0x%02X>", i);
		t->bpe.fallback[i] = token_vocab_find(&t->vocab,
		    &t->vocab.model, code, 6);
	}
	str_free(&s);
}

int
token_bpe_read(struct token *t, const struct json_src *src)
{
	struct token_bpe *b = &t->bpe;
	const char *unk = NULL;

	b->unk = TOKEN_NONE;
	/* (An unknown U+2581 could be fused with an unknown before it.) */
	b->cut_words = symbol(t, SPM_SPACE, 3) != TOKEN_NONE;
	if (refuse_others(src) != 0 ||
	    json_may_bool(src, "byte_fallback", &b->byte_fallback) != 0 ||
	    json_may_bool(src, "fuse_unk", &b->fuse_unk) != 0 ||
	    json_may_bool(src, "ignore_merges", &b->ignore_merges) != 0 ||
	    json_may_str(src, "unk_token", &unk) != 0)
		return -1;
	if (unk != NULL) {
		b->unk = token_vocab_find(&t->vocab, &t->vocab.model, unk,
		    strlen(unk));
		if (b->unk == TOKEN_NONE)
			return json_want_fail(src, "unk_token",
			    "\"%s\" is not in the vocabulary", unk);
	}
	if (read_merges(t, src) != 0)
		return -1;
	b->byte_level = t->split.byte_level;
	read_bytes(t);
	return 0;
}

void
token_bpe_free(struct token_bpe *b)
{
	mem_free(b->merge);
}

void
token_bpe_work_free(struct token_bpe_work *w)
{
	VEC_FREE(&w->sym);
	VEC_FREE(&w->heap);
	str_free(&w->text);
}

/* ---- the heap ------------------------------------------------------------ */

static void
heap_push(struct token_bpe_work *w, struct token_bpe_cand c)
{
	struct token_bpe_cand *h;
	size_t i, up;

	VEC_PUSH(&w->heap, c);
	h = w->heap.p;
	for (i = w->heap.n - 1; i > 0; i = up) {
		up = (i - 1) / 2;
		if (h[up].key <= c.key)
			break;
		h[i] = h[up];
	}
	h[i] = c;
}

static struct token_bpe_cand
heap_pop(struct token_bpe_work *w)
{
	struct token_bpe_cand *h = w->heap.p, top = h[0], last;
	size_t i = 0, kid, n = --w->heap.n;

	last = h[n];
	while ((kid = 2 * i + 1) < n) {
		if (kid + 1 < n && h[kid + 1].key < h[kid].key)
			kid++;
		if (last.key <= h[kid].key)
			break;
		h[i] = h[kid];
		i = kid;
	}
	h[i] = last;
	return top;
}

/* ---- merging ------------------------------------------------------------- */

static void
sym_push(struct token_bpe_work *w, uint32_t id)
{
	uint32_t n = (uint32_t)w->sym.n;

	VEC_PUSH(&w->sym, ((struct token_bpe_sym){ .id = id,
	    .pair = TOKEN_NONE, .prev = n - 1, .next = n + 1 }));
}

/* Look up what symbol i and its next one merge into, and queue it. */
static void
consider(const struct token_bpe *b, struct token_bpe_work *w, uint32_t i)
{
	struct token_bpe_sym *s = &w->sym.p[i];
	const struct token_merge *m;

	s->pair = TOKEN_NONE;
	if (s->next == TOKEN_NONE)
		return;
	m = find_merge(b, s->id, w->sym.p[s->next].id);
	if (m->id == TOKEN_NONE)
		return;
	s->pair = m->id;
	heap_push(w, (struct token_bpe_cand){
	    .key = (uint64_t)m->rank << 32 | i, .id = m->id });
}

/* Symbol i swallows its next one. */
static void
merge(const struct token_bpe *b, struct token_bpe_work *w, uint32_t i)
{
	struct token_bpe_sym *s = w->sym.p, *gone = &s[s[i].next];

	s[i].id = s[i].pair;
	s[i].next = gone->next;
	gone->id = gone->pair = TOKEN_NONE;
	if (s[i].next != TOKEN_NONE)
		s[s[i].next].prev = i;
	if (s[i].prev != TOKEN_NONE)
		consider(b, w, s[i].prev);
	consider(b, w, i);
}

static void
merge_all(const struct token_bpe *b, struct token_bpe_work *w,
    struct token_ids *out)
{
	struct token_bpe_cand c;
	size_t n = w->sym.n;
	uint32_t i;

	if (n == 0)
		return;
	/* The first one's prev, 0 - 1, is TOKEN_NONE as it is. */
	w->sym.p[n - 1].next = TOKEN_NONE;
	w->heap.n = 0;
	for (i = 0; i + 1 < n; i++)
		consider(b, w, i);
	while (w->heap.n > 0) {
		c = heap_pop(w);
		i = (uint32_t)c.key;
		if (w->sym.p[i].pair == c.id)
			merge(b, w, i);
	}
	VEC_ROOM(out, n);
	for (i = 0; i != TOKEN_NONE; i = w->sym.p[i].next)
		out->p[out->n++] = w->sym.p[i].id;
}

/* ---- from text to symbols ------------------------------------------------ */

/* The character p[0..n) as <0xNN>; false if the vocabulary lacks one. */
static bool
fall_back(const struct token_bpe *b, struct token_bpe_work *w,
    const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (b->fallback[(uint8_t)p[i]] == TOKEN_NONE)
			return false;
	for (i = 0; i < n; i++)
		sym_push(w, b->fallback[(uint8_t)p[i]]);
	return true;
}

static void
unknown(const struct token_bpe *b, struct token_bpe_work *w)
{
	size_t n = w->sym.n;

	if (b->unk == TOKEN_NONE ||
	    (b->fuse_unk && n > 0 && w->sym.p[n - 1].id == b->unk))
		return;
	sym_push(w, b->unk);
}

static void
run_chars(const struct token *t, struct token_bpe_work *w, const char *p,
    size_t n, struct token_ids *out)
{
	const struct token_bpe *b = &t->bpe;
	size_t i, len;
	uint32_t id;
	bool space, was_space = true;

	w->sym.n = 0;
	for (i = 0; i < n; i += len) {
		(void)str_utf8_next(p + i, n - i, &len);
		space = len == 3 && memcmp(p + i, SPM_SPACE, 3) == 0;
		/* Words that no merge can join are done one by one. */
		if (space && !was_space && b->cut_words) {
			merge_all(b, w, out);
			w->sym.n = 0;
		}
		was_space = space;
		id = symbol(t, p + i, len);
		if (id != TOKEN_NONE)
			sym_push(w, id);
		else if (!b->byte_fallback || !fall_back(b, w, p + i, len))
			unknown(b, w);
	}
	merge_all(b, w, out);
}

static void
run_bytes(const struct token_bpe *b, struct token_bpe_work *w,
    const char *p, size_t n, struct token_ids *out)
{
	size_t i;

	w->sym.n = 0;
	for (i = 0; i < n; i++) {
		if (b->byte[(uint8_t)p[i]] != TOKEN_NONE)
			sym_push(w, b->byte[(uint8_t)p[i]]);
		else
			unknown(b, w);
	}
	merge_all(b, w, out);
}

/* The id of the whole piece, for ignore_merges; TOKEN_NONE if it has none. */
static uint32_t
whole(const struct token *t, struct token_bpe_work *w, const char *p,
    size_t n)
{
	size_t i;

	if (!t->bpe.byte_level)
		return symbol(t, p, n);
	str_clear(&w->text);
	for (i = 0; i < n; i++)
		str_addu(&w->text, token_bytes_stand_in((uint8_t)p[i]));
	return symbol(t, w->text.p, w->text.n);
}

void
token_bpe_run(const struct token *t, struct token_bpe_work *w,
    const char *p, size_t n, struct token_ids *out)
{
	uint32_t id = t->bpe.ignore_merges ? whole(t, w, p, n) : TOKEN_NONE;

	if (id != TOKEN_NONE)
		VEC_PUSH(out, id);
	else if (t->bpe.byte_level)
		run_bytes(&t->bpe, w, p, n, out);
	else
		run_chars(t, w, p, n, out);
}
