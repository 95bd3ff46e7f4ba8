/*
 * at_kv - see at_kv.h.
 *
 * The index is a hash table over (chain id of the page before, the page's own
 * tokens).  Chain ids are never reused, and the tokens are compared, so a hit
 * is exact: no hash collision can hand out a wrong page.
 */
#include "at_kv.h"

#include <string.h>

#include "mem.h"

#define TOK	KERN_PAGE_TOK

struct page {
	int ref;		/* sequences that hold it */
	bool named;		/* in the index */
	uint64_t id, parent;	/* chain ids: own, and of the page before */
	uint32_t tok[TOK];
	int32_t next;		/* in its hash bucket */
	int32_t older, newer;	/* in the list of named pages nobody holds */
};

struct at_kv {
	struct kern_kv *layer;	/* [n_layer] */
	int n_layer, n_page;
	size_t page_bytes;
	bool prefix;
	struct page *page;
	int32_t *bucket;	/* [n_bucket], -1: empty */
	uint32_t n_bucket;	/* a power of two */
	int32_t *free;		/* stack of pages that hold nothing */
	int n_free;
	int32_t oldest, newest;	/* idle named pages, next to be taken first */
	int n_idle;
	int n_reserved;		/* promised over all sequences */
	uint64_t next_id;
};

static uint32_t
hash_of(const struct at_kv *kv, uint64_t parent, const uint32_t *tok)
{
	uint64_t h = parent * 0x9e3779b97f4a7c15ull;
	int i;

	for (i = 0; i < TOK; i++) {
		h ^= tok[i];
		h *= 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return (uint32_t)h & (kv->n_bucket - 1);
}

/* ---- opening ---- */

int
at_kv_open(struct at_kv **kv_p, const struct at_kv_opt *o, struct err *err)
{
	size_t page_bytes = kern_kv_page_bytes(o->hk, o->dk, o->dv, o->kvt);
	uint64_t n = o->bytes / (page_bytes * (size_t)o->n_layer);
	struct at_kv *kv;
	int i;

	if (n < 1)
		return err_set(err, ERR_USAGE, "--kv-memory: %llu bytes hold "
		    "no page of %d tokens (%zu bytes)",
		    (unsigned long long)o->bytes, TOK,
		    page_bytes * (size_t)o->n_layer);
	if (n > INT32_MAX / 2)
		n = INT32_MAX / 2;
	kv = mem_zalloc(sizeof(*kv));
	kv->n_layer = o->n_layer;
	kv->n_page = (int)n;
	kv->page_bytes = page_bytes;
	kv->prefix = o->prefix;
	kv->next_id = 1;
	kv->layer = mem_calloc((size_t)o->n_layer, sizeof(*kv->layer));
	for (i = 0; i < o->n_layer; i++) {
		kv->layer[i] = (struct kern_kv){ NULL, page_bytes, o->hk,
		    o->dk, o->dv, o->kvt };
		kv->layer[i].arena = mem_map((size_t)n * page_bytes);
		if (kv->layer[i].arena == NULL) {
			at_kv_close(kv);
			return err_set(err, ERR_TEMP, "no memory for the KV "
			    "cache (%llu bytes)", (unsigned long long)o->bytes);
		}
	}
	kv->page = mem_calloc((size_t)n, sizeof(*kv->page));
	kv->free = mem_calloc((size_t)n, sizeof(*kv->free));
	for (i = 0; i < kv->n_page; i++)
		kv->free[kv->n_free++] = kv->n_page - 1 - i;
	for (kv->n_bucket = 16; kv->n_bucket < n; kv->n_bucket *= 2)
		continue;
	kv->bucket = mem_alloc(kv->n_bucket * sizeof(*kv->bucket));
	memset(kv->bucket, 0xff, kv->n_bucket * sizeof(*kv->bucket));
	kv->oldest = kv->newest = -1;
	*kv_p = kv;
	return 0;
}

void
at_kv_close(struct at_kv *kv)
{
	int i;

	if (kv == NULL)
		return;
	for (i = 0; i < kv->n_layer; i++)
		mem_unmap(kv->layer[i].arena,
		    (size_t)kv->n_page * kv->page_bytes);
	mem_free(kv->layer);
	mem_free(kv->page);
	mem_free(kv->free);
	mem_free(kv->bucket);
	mem_free(kv);
}

const struct kern_kv *
at_kv_layer(const struct at_kv *kv, int layer)
{
	return &kv->layer[layer];
}

/* ---- the list of idle named pages ---- */

static void
idle_add(struct at_kv *kv, int32_t p)
{
	kv->page[p].older = kv->newest;
	kv->page[p].newer = -1;
	if (kv->newest >= 0)
		kv->page[kv->newest].newer = p;
	else
		kv->oldest = p;
	kv->newest = p;
	kv->n_idle++;
}

static void
idle_del(struct at_kv *kv, int32_t p)
{
	struct page *g = &kv->page[p];

	if (g->older >= 0)
		kv->page[g->older].newer = g->newer;
	else
		kv->oldest = g->newer;
	if (g->newer >= 0)
		kv->page[g->newer].older = g->older;
	else
		kv->newest = g->older;
	kv->n_idle--;
}

/* ---- the index ---- */

static int32_t
index_find(const struct at_kv *kv, uint64_t parent, const uint32_t *tok)
{
	int32_t p = kv->bucket[hash_of(kv, parent, tok)];

	while (p >= 0 && (kv->page[p].parent != parent ||
	    memcmp(kv->page[p].tok, tok, sizeof(kv->page[p].tok)) != 0))
		p = kv->page[p].next;
	return p;
}

static void
index_add(struct at_kv *kv, int32_t p, uint64_t parent, const uint32_t *tok)
{
	struct page *g = &kv->page[p];
	uint32_t b = hash_of(kv, parent, tok);

	g->named = true;
	g->id = kv->next_id++;
	g->parent = parent;
	memcpy(g->tok, tok, sizeof(g->tok));
	g->next = kv->bucket[b];
	kv->bucket[b] = p;
}

static void
index_del(struct at_kv *kv, int32_t p)
{
	struct page *g = &kv->page[p];
	int32_t *at = &kv->bucket[hash_of(kv, g->parent, g->tok)];

	while (*at != p)
		at = &kv->page[*at].next;
	*at = g->next;
	g->named = false;
}

/* ---- taking and giving pages ---- */

static int32_t
page_take(struct at_kv *kv)
{
	int32_t p;

	if (kv->n_free > 0) {
		p = kv->free[--kv->n_free];
	} else {
		p = kv->oldest;
		BUG_ON(p < 0);	/* a reservation was broken */
		idle_del(kv, p);
		index_del(kv, p);
	}
	kv->page[p].ref = 1;
	return p;
}

static void
page_hold(struct at_kv *kv, int32_t p)
{
	if (kv->page[p].ref++ == 0)
		idle_del(kv, p);
}

static void
page_drop(struct at_kv *kv, int32_t p)
{
	if (--kv->page[p].ref > 0)
		return;
	if (kv->page[p].named)
		idle_add(kv, p);
	else
		kv->free[kv->n_free++] = p;
}

static void
seq_push(struct at_kv_seq *s, int32_t p)
{
	size_t cap = (size_t)s->cap;

	mem_grow((void **)&s->page, &cap, (size_t)s->n + 1, sizeof(*s->page));
	s->cap = (int)cap;
	s->page[s->n++] = p;
}

static int
pages_for(int n_tok)
{
	return (n_tok + TOK - 1) / TOK;
}

bool
at_kv_fits(const struct at_kv *kv, int n_tok)
{
	return pages_for(n_tok) <= kv->n_page;
}

bool
at_kv_start(struct at_kv *kv, struct at_kv_seq *s, int n_tok,
    const uint32_t *tok, int n_match, int *cached)
{
	uint64_t parent = 0;
	int need = pages_for(n_tok), i;
	int32_t p;

	memset(s, 0, sizeof(*s));
	for (i = 0; kv->prefix && (i + 1) * TOK <= n_match; i++) {
		p = index_find(kv, parent, tok + i * TOK);
		if (p < 0)
			break;
		page_hold(kv, p);	/* holding keeps it from being counted free */
		seq_push(s, p);
		parent = kv->page[p].id;
	}
	if (kv->n_free + kv->n_idle - kv->n_reserved < need - s->n) {
		at_kv_end(kv, s);
		return false;
	}
	s->parent = parent;
	s->n_named = s->n;
	s->reserved = need - s->n;
	kv->n_reserved += s->reserved;
	*cached = s->n * TOK;
	return true;
}

void
at_kv_grow(struct at_kv *kv, struct at_kv_seq *s, int n_tok)
{
	while (s->n < pages_for(n_tok)) {
		BUG_ON(s->reserved == 0);
		s->reserved--;
		kv->n_reserved--;
		seq_push(s, page_take(kv));
	}
}

void
at_kv_computed(struct at_kv *kv, struct at_kv_seq *s, const uint32_t *tok,
    int n_tok)
{
	int32_t have;

	if (!kv->prefix)
		return;
	for (; (s->n_named + 1) * TOK <= n_tok; s->n_named++) {
		have = index_find(kv, s->parent, tok + s->n_named * TOK);
		if (have < 0) {
			have = s->page[s->n_named];
			index_add(kv, have, s->parent, tok + s->n_named * TOK);
		}
		/* Else another sequence was first: ours stays private, and the
		 * chain goes on from the named twin. */
		s->parent = kv->page[have].id;
	}
}

void
at_kv_end(struct at_kv *kv, struct at_kv_seq *s)
{
	int i;

	/* Last page first: the tail of a chain is the first to be taken. */
	for (i = s->n - 1; i >= 0; i--)
		page_drop(kv, s->page[i]);
	kv->n_reserved -= s->reserved;
	mem_free(s->page);
	memset(s, 0, sizeof(*s));
}

void
at_kv_stat(const struct at_kv *kv, struct at_kv_stat *out)
{
	out->pages = (uint64_t)kv->n_page;
	out->cached = (uint64_t)kv->n_idle;
	out->used = (uint64_t)(kv->n_page - kv->n_free - kv->n_idle);
}
