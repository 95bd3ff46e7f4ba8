/* at_kv_page - see at_kv_page.h. */
#include <string.h>

#include "at_kv_page.h"

/* Noted pages that nobody fetches; one that is left out is found again as the
 * page before another one. */
#define MAX_NOTED	4096

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

/* ---- the lists of idle named pages ---- */

static struct at_kv_idle *
idle_of(struct at_kv *kv, int32_t p)
{
	return kv->page[p].copy ? &kv->copies : &kv->own;
}

static void
idle_add(struct at_kv *kv, int32_t p)
{
	struct at_kv_idle *l = idle_of(kv, p);

	kv->page[p].older = l->newest;
	kv->page[p].newer = -1;
	if (l->newest >= 0)
		kv->page[l->newest].newer = p;
	else
		l->oldest = p;
	l->newest = p;
	l->n++;
}

static void
idle_del(struct at_kv *kv, int32_t p)
{
	struct at_kv_idle *l = idle_of(kv, p);
	struct at_kv_page *g = &kv->page[p];

	if (g->older >= 0)
		kv->page[g->older].newer = g->newer;
	else
		l->oldest = g->newer;
	if (g->newer >= 0)
		kv->page[g->newer].older = g->older;
	else
		l->newest = g->older;
	l->n--;
}

int
at_kv_page_spare(const struct at_kv *kv)
{
	return kv->n_free + kv->own.n + kv->copies.n - kv->n_reserved;
}

void
at_kv_page_touch(struct at_kv *kv, int32_t p)
{
	idle_del(kv, p);
	idle_add(kv, p);
}

/* ---- the index ---- */

int32_t
at_kv_page_find(const struct at_kv *kv, uint64_t parent, const uint32_t *tok)
{
	int32_t p = kv->bucket[hash_of(kv, parent, tok)];

	while (p >= 0 && (kv->page[p].parent != parent ||
	    memcmp(kv->page[p].tok, tok, sizeof(kv->page[p].tok)) != 0))
		p = kv->page[p].next;
	return p;
}

void
at_kv_page_name(struct at_kv *kv, int32_t p, struct at_kv_ref before,
    const uint32_t *tok)
{
	struct at_kv_page *g = &kv->page[p];
	uint32_t b = hash_of(kv, before.id, tok);

	g->named = true;
	g->copy = false;
	g->id = kv->next_id++;
	g->parent = before.id;
	g->before = before.page;
	memcpy(g->tok, tok, sizeof(g->tok));
	g->next = kv->bucket[b];
	kv->bucket[b] = p;
}

static void
index_del(struct at_kv *kv, int32_t p)
{
	struct at_kv_page *g = &kv->page[p];
	int32_t *at = &kv->bucket[hash_of(kv, g->parent, g->tok)];

	while (*at != p)
		at = &kv->page[*at].next;
	*at = g->next;
	g->named = false;
}

/* ---- taking and giving pages ---- */

void
at_kv_page_forget(struct at_kv *kv, int32_t p)
{
	idle_del(kv, p);
	index_del(kv, p);
	kv->n_copy -= kv->page[p].copy;
	kv->page[p].copy = false;
}

int32_t
at_kv_page_take(struct at_kv *kv)
{
	int32_t p;

	if (kv->n_free > 0) {
		p = kv->free[--kv->n_free];
	} else {
		p = kv->own.n > 0 ? kv->own.oldest : kv->copies.oldest;
		BUG_ON(p < 0);	/* a reservation was broken */
		at_kv_page_forget(kv, p);
	}
	kv->page[p].ref = 1;
	return p;
}

void
at_kv_page_hold(struct at_kv *kv, int32_t p)
{
	if (kv->page[p].ref++ == 0)
		idle_del(kv, p);
}

void
at_kv_page_drop(struct at_kv *kv, int32_t p)
{
	if (--kv->page[p].ref > 0)
		return;
	if (kv->page[p].named)
		idle_add(kv, p);
	else
		kv->free[kv->n_free++] = p;
}

void
at_kv_page_note(struct at_kv *kv, int32_t p)
{
	if (kv->wake == NULL || kv->noted.n == MAX_NOTED)
		return;
	VEC_PUSH(&kv->noted, ((struct at_kv_ref){ kv->page[p].id, p }));
	if (kv->noted.n == 1)
		kv->wake(kv->wake_arg);
}

void
at_kv_page_adopt(struct at_kv *kv, int32_t p)
{
	at_kv_page_hold(kv, p);
	if (!kv->page[p].copy)
		return;
	kv->page[p].copy = false;
	kv->n_copy--;
	kv->copy_hits++;
	at_kv_page_note(kv, p);
}
