/* at_kv_copy - see at_kv.h: pages that go to other front ends, and theirs. */
#include <string.h>

#include "at_kv_page.h"


/* ---- pages for other front ends ---- */

void
at_kv_watch(struct at_kv *kv, void (*wake)(void *arg), void *arg)
{
	pthread_mutex_lock(&kv->lock);
	kv->wake = wake;
	kv->wake_arg = arg;
	pthread_mutex_unlock(&kv->lock);
}

int
at_kv_noted(struct at_kv *kv, struct at_kv_ref *out, int max)
{
	size_t n;

	pthread_mutex_lock(&kv->lock);
	n = kv->noted.n < (size_t)max ? kv->noted.n : (size_t)max;
	if (n > 0)
		memcpy(out, kv->noted.p, n * sizeof(*out));
	kv->noted.n -= n;
	if (kv->noted.n > 0)
		memmove(kv->noted.p, kv->noted.p + n,
		    kv->noted.n * sizeof(*out));
	pthread_mutex_unlock(&kv->lock);
	return (int)n;
}

int
at_kv_held(struct at_kv *kv, int32_t from, int n_look, struct at_kv_ref *out)
{
	int32_t p;
	int n = 0;

	pthread_mutex_lock(&kv->lock);
	for (p = from; p < kv->n_page && p - from < n_look; p++)
		if (kv->page[p].named && kv->page[p].ref > 0)
			out[n++] = (struct at_kv_ref){ kv->page[p].id, p };
	pthread_mutex_unlock(&kv->lock);
	return n;
}

/* Refs of peers come here, too: any page number. */
static bool
is_there(const struct at_kv *kv, struct at_kv_ref r)
{
	return r.page >= 0 && r.page < kv->n_page && kv->page[r.page].named &&
	    kv->page[r.page].id == r.id;
}

bool
at_kv_before(struct at_kv *kv, struct at_kv_ref r, struct at_kv_ref *before)
{
	bool ok;

	pthread_mutex_lock(&kv->lock);
	ok = is_there(kv, r);
	if (ok)
		*before = (struct at_kv_ref){ kv->page[r.page].parent,
		    kv->page[r.page].before };
	pthread_mutex_unlock(&kv->lock);
	return ok;
}

bool
at_kv_lend(struct at_kv *kv, struct at_kv_ref r, uint32_t tok[TOK])
{
	bool ok;

	pthread_mutex_lock(&kv->lock);
	ok = is_there(kv, r) && (kv->page[r.page].ref > 0 || at_kv_page_spare(kv) > 0);
	if (ok) {
		at_kv_page_hold(kv, r.page);
		memcpy(tok, kv->page[r.page].tok, TOK * sizeof(*tok));
	}
	pthread_mutex_unlock(&kv->lock);
	return ok;
}

void
at_kv_unlend(struct at_kv *kv, struct at_kv_ref r)
{
	pthread_mutex_lock(&kv->lock);
	at_kv_page_drop(kv, r.page);
	pthread_mutex_unlock(&kv->lock);
}

/* ---- pages of other front ends ---- */

/* A page for a copy, or -1.  With all the room for copies in use the oldest one
 * makes way. */
static int32_t
copy_room(struct at_kv *kv)
{
	int32_t p;

	if (at_kv_page_spare(kv) < 1)
		return -1;
	if (kv->n_copy + kv->n_taken >= kv->max_copy)
		p = kv->copies.oldest;
	else if (kv->n_free > 0)
		return kv->free[--kv->n_free];
	else
		p = kv->own.n > 0 ? kv->own.oldest : kv->copies.oldest;
	if (p >= 0)
		at_kv_page_forget(kv, p);
	return p;
}

static enum at_kv_took
take(struct at_kv *kv, struct at_kv_ref before, const uint32_t *tok,
    struct at_kv_ref *page)
{
	int32_t p;

	if (!kv->prefix)
		return AT_KV_FULL;
	if (before.id != 0 && !is_there(kv, before))
		return AT_KV_LOST;
	p = at_kv_page_find(kv, before.id, tok);
	if (p >= 0) {
		*page = (struct at_kv_ref){ kv->page[p].id, p };
		return AT_KV_HAVE;
	}
	/* The page before stays: held until the copy is given or not. */
	if (before.id != 0 && kv->page[before.page].ref == 0 &&
	    at_kv_page_spare(kv) < 2)
		return AT_KV_FULL;
	if (before.id != 0)
		at_kv_page_hold(kv, before.page);
	p = copy_room(kv);
	if (p < 0) {
		if (before.id != 0)
			at_kv_page_drop(kv, before.page);
		return AT_KV_FULL;
	}
	kv->page[p].ref = 1;
	kv->n_taken++;
	*page = (struct at_kv_ref){ 0, p };
	return AT_KV_TAKEN;
}

enum at_kv_took
at_kv_take(struct at_kv *kv, struct at_kv_ref before, const uint32_t tok[TOK],
    struct at_kv_ref *page)
{
	enum at_kv_took took;

	pthread_mutex_lock(&kv->lock);
	took = take(kv, before, tok, page);
	pthread_mutex_unlock(&kv->lock);
	return took;
}

/* Copies of a chain leave from its end: those before are the newer ones. */
static void
touch(struct at_kv *kv, struct at_kv_ref r)
{
	struct at_kv_page *g;

	for (; r.id != 0 && is_there(kv, r);
	    r = (struct at_kv_ref){ g->parent, g->before }) {
		g = &kv->page[r.page];
		if (g->ref > 0 || !g->copy)
			continue;
		at_kv_page_touch(kv, r.page);
	}
}

static void
untake(struct at_kv *kv, struct at_kv_ref before, int32_t p)
{
	kv->n_taken--;
	at_kv_page_drop(kv, p);
	if (before.id != 0)
		at_kv_page_drop(kv, before.page);
}

void
at_kv_give(struct at_kv *kv, struct at_kv_ref before, const uint32_t tok[TOK],
    struct at_kv_ref *page)
{
	int32_t p = page->page, have;

	pthread_mutex_lock(&kv->lock);
	have = at_kv_page_find(kv, before.id, tok);
	if (have < 0) {
		at_kv_page_name(kv, p, before, tok);
		kv->page[p].copy = true;
		kv->n_copy++;
		have = p;
	}
	*page = (struct at_kv_ref){ kv->page[have].id, have };
	untake(kv, before, p);
	touch(kv, before);
	pthread_mutex_unlock(&kv->lock);
}

void
at_kv_untake(struct at_kv *kv, struct at_kv_ref before, struct at_kv_ref page)
{
	pthread_mutex_lock(&kv->lock);
	untake(kv, before, page.page);
	pthread_mutex_unlock(&kv->lock);
}
