/*
 * at_kv_page - the pages of a KV cache: the index that finds them, the lists of
 * those nobody holds, and their count of holders.  Internal to at_kv*.c.
 *
 * The index is a hash table over (chain id of the page before, the page's own
 * tokens).  Chain ids are never reused, and the tokens are compared, so a hit
 * is exact: no hash collision can hand out a wrong page.
 *
 * The lock is held by whoever calls a function of this file.
 */
#ifndef MOE_AT_KV_PAGE_H
#define MOE_AT_KV_PAGE_H

#include <pthread.h>

#include "at_kv.h"
#include "mem.h"

#define TOK	KERN_PAGE_TOK

struct at_kv_page {
	int ref;		/* sequences that hold it, loans */
	bool named;		/* in the index */
	bool copy;		/* of another front end's; no sequence's yet */
	uint64_t id, parent;	/* chain ids: own, and of the page before */
	int32_t before;		/* that page, while it has that id */
	uint32_t tok[TOK];
	int32_t next;		/* in its hash bucket */
	int32_t older, newer;	/* in a list of named pages nobody holds */
};

struct at_kv_idle {			/* named pages that nobody holds */
	int32_t oldest, newest;	/* -1: none; the oldest is taken first */
	int n;
};

struct at_kv {
	pthread_mutex_t lock;	/* all that follows "lock" */
	struct kern_kv *layer;	/* [n_layer]; constant, as these are */
	int n_layer, n_page, max_copy;
	size_t page_bytes;
	bool prefix;
	/* lock */
	struct at_kv_page *page;
	int32_t *bucket;	/* [n_bucket], -1: empty */
	uint32_t n_bucket;	/* a power of two */
	int32_t *free;		/* stack of pages that hold nothing */
	int n_free;
	struct at_kv_idle own, copies;
	int n_reserved;		/* promised over all sequences */
	int n_copy;		/* named pages that are copies, idle or held */
	int n_taken;		/* by at_kv_take, not given yet */
	uint64_t next_id;
	uint64_t copy_hits;
	VEC(struct at_kv_ref) noted;
	void (*wake)(void *arg);	/* NULL: nothing is noted */
	void *wake_arg;
};

/* The page that comes after the one with chain id `parent` and holds tok; -1:
 * there is none. */
int32_t	at_kv_page_find(const struct at_kv *kv, uint64_t parent,
	    const uint32_t *tok);
/* Put p into the index. */
void	at_kv_page_name(struct at_kv *kv, int32_t p, struct at_kv_ref before,
	    const uint32_t *tok);
/* Pages that could be had beyond those that are promised. */
int	at_kv_page_spare(const struct at_kv *kv);
/* A page for a sequence, within its reservation. */
int32_t	at_kv_page_take(struct at_kv *kv);
void	at_kv_page_hold(struct at_kv *kv, int32_t p);
void	at_kv_page_drop(struct at_kv *kv, int32_t p);
/* Hold it for a sequence: it is no mere copy any more. */
void	at_kv_page_adopt(struct at_kv *kv, int32_t p);
/* Take an idle page out of list and index. */
void	at_kv_page_forget(struct at_kv *kv, int32_t p);
/* It is the newest of its idle list again. */
void	at_kv_page_touch(struct at_kv *kv, int32_t p);
/* For at_kv_noted. */
void	at_kv_page_note(struct at_kv *kv, int32_t p);

#endif
