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
 * Engine thread only.
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
};
void	at_kv_stat(const struct at_kv *kv, struct at_kv_stat *out);

#endif
