/*
 * at_kv - the paged KV cache: which page holds which tokens.
 *
 * A page is KERN_PAGE_TOK tokens of one sequence in every layer; one block
 * table serves all layers.  A page is private until it is full and computed;
 * then it is immutable and may be found again by the tokens it holds and those
 * before it.  Because a token's KV depends only on the tokens before it
 * (kern.h), a hit changes no bit of the output.
 *
 * Admission is by reservation: a sequence starts only when every page it can
 * ever need is there, so nothing is ever pushed out in the middle.
 *
 * Some pages are copies of another front end's (at_page.h): at most half of
 * them all, and the first to go when sequences need the room.  A page is known
 * by the page before it and its own tokens, so a copy's place in a chain is
 * exact; nothing rests on hashes.
 *
 * The engine thread calls everything but what is said to be for any thread.
 * One lock inside, held for moments.
 */
#ifndef MOE_AT_KV_H
#define MOE_AT_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"

struct at_kv;

/* n_page pages for n_layer layers. */
struct at_kv_opt {
	int n_layer, hk, dk, dv;
	enum kern_dtype kvt;
	uint64_t bytes;		/* of all layers together; rounded down to pages */
	bool prefix;		/* keep full pages for re-use */
};
int	at_kv_open(struct at_kv **kv_p, const struct at_kv_opt *o,
	    struct err *err);
void	at_kv_close(struct at_kv *kv);
const struct kern_kv *at_kv_layer(const struct at_kv *kv, int layer);

/* A sequence's pages. */
struct at_kv_seq {
	int32_t *page;		/* [cap]; page[i]: positions 16i .. 16i+15 */
	int n, cap;
	int reserved;		/* pages promised and not yet taken */
	int n_named;		/* leading pages known to the prefix index */
	uint64_t parent;	/* chain id after those pages; 0 at the start */
	int32_t parent_page;	/* the page of that id */
};

/*
 * Reserve room for n_tok tokens and take what the index has of tok[0 ..
 * n_match): whole pages only.  *cached = tokens found (their KV is there).
 * false when the pages are not to be had now; nothing changed then.
 */
bool	at_kv_start(struct at_kv *kv, struct at_kv_seq *s, int n_tok,
	    const uint32_t *tok, int n_match, int *cached);
/* Pages for positions < n_tok exist after this; within the reservation. */
void	at_kv_grow(struct at_kv *kv, struct at_kv_seq *s, int n_tok);
/* The KV of tok[0 .. n_tok) is computed: name the pages that are full. */
void	at_kv_computed(struct at_kv *kv, struct at_kv_seq *s,
	    const uint32_t *tok, int n_tok);
/* Give everything back; named pages stay findable until they are needed. */
void	at_kv_end(struct at_kv *kv, struct at_kv_seq *s);

/* Could n_tok tokens ever be held (by an empty cache)? */
bool	at_kv_fits(const struct at_kv *kv, int n_tok);

struct at_kv_stat {
	uint64_t pages, used, cached;	/* used: by sequences */
	uint64_t page_bytes;	/* of all layers */
	uint64_t copies;	/* of the cached: of another front end's pages */
	uint64_t copy_hits;	/* copies that sequences took up, ever */
};
void	at_kv_stat(struct at_kv *kv, struct at_kv_stat *out);	/* any thread */

/* ---- copies on other front ends; any thread ------------------------------ */

/* A page in the index; page is worth nothing once the index has no such id. */
struct at_kv_ref {
	uint64_t id;		/* 0: none, the beginning of every chain */
	int32_t page;
};

/* From now on pages that sequences have filled, or found as copies, are noted;
 * wake is called when the first one is, under the lock. */
void	at_kv_watch(struct at_kv *kv, void (*wake)(void *arg), void *arg);
/* Take up to max of the noted ones, oldest first.  How many. */
int	at_kv_noted(struct at_kv *kv, struct at_kv_ref *out, int max);
/* Pages of sequences out of n_look pages from number `from` on, at most n_look
 * of them.  How many. */
int	at_kv_held(struct at_kv *kv, int32_t from, int n_look,
	    struct at_kv_ref *out);
/* The page before r's.  false: r has gone. */
bool	at_kv_before(struct at_kv *kv, struct at_kv_ref r,
	    struct at_kv_ref *before);
/* r's bytes stay as they are until at_kv_unlend.  false: it has gone, or
 * sequences need the room. */
bool	at_kv_lend(struct at_kv *kv, struct at_kv_ref r,
	    uint32_t tok[KERN_PAGE_TOK]);
void	at_kv_unlend(struct at_kv *kv, struct at_kv_ref r);

enum at_kv_took {
	AT_KV_TAKEN = 1,	/* fill *page, then at_kv_give or at_kv_untake */
	AT_KV_HAVE,		/* *page has it already */
	AT_KV_LOST,		/* there is no page `before` */
	AT_KV_FULL,		/* no room for copies */
};
/* Room for a copy of the page that comes after `before` and holds tok. */
enum at_kv_took at_kv_take(struct at_kv *kv, struct at_kv_ref before,
	    const uint32_t tok[KERN_PAGE_TOK], struct at_kv_ref *page);
/* It is filled: into the index with it.  *page gets its id, or is the page that
 * came first. */
void	at_kv_give(struct at_kv *kv, struct at_kv_ref before,
	    const uint32_t tok[KERN_PAGE_TOK], struct at_kv_ref *page);
void	at_kv_untake(struct at_kv *kv, struct at_kv_ref before,
	    struct at_kv_ref page);

#endif
