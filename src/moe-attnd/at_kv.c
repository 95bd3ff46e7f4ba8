/* at_kv - see at_kv.h: opening, and the pages of sequences. */
#include <string.h>

#include "at_kv_page.h"


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
	pthread_mutex_init(&kv->lock, NULL);
	kv->n_layer = o->n_layer;
	kv->n_page = (int)n;
	kv->max_copy = kv->n_page / 2;
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
	kv->own = kv->copies = (struct at_kv_idle){ -1, -1, 0 };
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
	VEC_FREE(&kv->noted);
	pthread_mutex_destroy(&kv->lock);
	mem_free(kv);
}

const struct kern_kv *
at_kv_layer(const struct at_kv *kv, int layer)
{
	return &kv->layer[layer];
}

static void
seq_push(struct at_kv_seq *s, int32_t p)
{
	BUG_ON(s->n == s->cap);
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

static void
seq_end(struct at_kv *kv, struct at_kv_seq *s)
{
	int i;

	/* Last page first: the tail of a chain is the first to be taken. */
	for (i = s->n - 1; i >= 0; i--)
		at_kv_page_drop(kv, s->page[i]);
	kv->n_reserved -= s->reserved;
	mem_free(s->page);
	memset(s, 0, sizeof(*s));
}

static bool
seq_start(struct at_kv *kv, struct at_kv_seq *s, int n_tok,
    const uint32_t *tok, int n_match)
{
	int need = pages_for(n_tok), i;
	int32_t p;

	/* Room for all of them now, so that no step has to make any. */
	s->cap = need;
	s->page = mem_calloc((size_t)need, sizeof(*s->page));
	for (i = 0; kv->prefix && (i + 1) * TOK <= n_match; i++) {
		p = at_kv_page_find(kv, s->parent, tok + i * TOK);
		if (p < 0)
			break;
		at_kv_page_adopt(kv, p);	/* so it is not counted as spare */
		seq_push(s, p);
		s->parent = kv->page[p].id;
		s->parent_page = p;
	}
	if (at_kv_page_spare(kv) < need - s->n) {
		seq_end(kv, s);
		return false;
	}
	s->n_named = s->n;
	s->reserved = need - s->n;
	kv->n_reserved += s->reserved;
	return true;
}

bool
at_kv_start(struct at_kv *kv, struct at_kv_seq *s, int n_tok,
    const uint32_t *tok, int n_match, int *cached)
{
	bool ok;

	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&kv->lock);
	ok = seq_start(kv, s, n_tok, tok, n_match);
	pthread_mutex_unlock(&kv->lock);
	if (ok)
		*cached = s->n * TOK;
	return ok;
}

void
at_kv_grow(struct at_kv *kv, struct at_kv_seq *s, int n_tok)
{
	int need = pages_for(n_tok);

	if (s->n >= need)
		return;
	pthread_mutex_lock(&kv->lock);
	while (s->n < need) {
		BUG_ON(s->reserved == 0);
		s->reserved--;
		kv->n_reserved--;
		seq_push(s, at_kv_page_take(kv));
	}
	pthread_mutex_unlock(&kv->lock);
}

void
at_kv_computed(struct at_kv *kv, struct at_kv_seq *s, const uint32_t *tok,
    int n_tok)
{
	int32_t have;

	if (!kv->prefix || (s->n_named + 1) * TOK > n_tok)
		return;
	pthread_mutex_lock(&kv->lock);
	for (; (s->n_named + 1) * TOK <= n_tok; s->n_named++) {
		have = at_kv_page_find(kv, s->parent, tok + s->n_named * TOK);
		if (have < 0) {
			have = s->page[s->n_named];
			at_kv_page_name(kv, have, (struct at_kv_ref){ s->parent,
			    s->parent_page }, tok + s->n_named * TOK);
			at_kv_page_note(kv, have);
		}
		/* Else another sequence was first: ours stays private, and the
		 * chain goes on from the named twin. */
		s->parent = kv->page[have].id;
		s->parent_page = have;
	}
	pthread_mutex_unlock(&kv->lock);
}

void
at_kv_end(struct at_kv *kv, struct at_kv_seq *s)
{
	pthread_mutex_lock(&kv->lock);
	seq_end(kv, s);
	pthread_mutex_unlock(&kv->lock);
}

void
at_kv_stat(struct at_kv *kv, struct at_kv_stat *out)
{
	pthread_mutex_lock(&kv->lock);
	out->pages = (uint64_t)kv->n_page;
	out->page_bytes = kv->page_bytes * (uint64_t)kv->n_layer;
	out->cached = (uint64_t)(kv->own.n + kv->copies.n);
	out->used = (uint64_t)kv->n_page - (uint64_t)kv->n_free - out->cached;
	out->copies = (uint64_t)kv->n_copy;
	out->copy_hits = kv->copy_hits;
	pthread_mutex_unlock(&kv->lock);
}

