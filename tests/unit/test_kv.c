/* Unit tests of the paged KV cache and its prefix index, against a plain model:
 * what a page holds is remembered by the tokens that lead to it. */
#include <stdlib.h>

#include "mem.h"
#include "rng.h"
#include "tap.h"

#include "../../src/moe-attnd/at_kv.c"
#include "../../src/moe-attnd/at_kv_copy.c"
#include "../../src/moe-attnd/at_kv_page.c"

#define MAX_SEQ	24
#define MAX_TOK	200

struct live {
	bool on;
	struct at_kv_seq kv;
	uint32_t tok[MAX_TOK];
	int n, total;		/* computed; reserved for */
};

/* What the arena of layer 0 says about a page's token: its chain of tokens. */
static uint64_t *
cell(struct at_kv *kv, int32_t page, int i)
{
	char *arena = kv->layer[0].arena;

	return (uint64_t *)(void *)(arena + (size_t)page * kv->page_bytes) + i;
}

static uint64_t
chain(const uint32_t *tok, int n)
{
	uint64_t h = 1;
	int i;

	for (i = 0; i < n; i++)
		h = (h ^ tok[i]) * 0x9e3779b97f4a7c15ull + 1;
	return h;
}

static bool
contents_right(struct at_kv *kv, const struct live *l)
{
	int i;

	for (i = 0; i < l->n; i++)
		if (*cell(kv, l->kv.page[i / TOK], i % TOK) !=
		    chain(l->tok, i + 1))
			return false;
	return true;
}

static void
compute(struct at_kv *kv, struct live *l, int m)
{
	int i;

	at_kv_grow(kv, &l->kv, l->n + m);
	for (i = l->n; i < l->n + m; i++)
		*cell(kv, l->kv.page[i / TOK], i % TOK) = chain(l->tok, i + 1);
	l->n += m;
	at_kv_computed(kv, &l->kv, l->tok, l->n);
}

static void
test_random(void)
{
	const struct at_kv_opt o = { 1, 1, 16, 16, KERN_F32,
	    (uint64_t)40 * TOK * 32 * 4, true };
	static struct live seq[MAX_SEQ];
	struct err err = ERR_INIT;
	struct rng r = { 11, 0 };
	struct at_kv_stat st;
	struct at_kv *kv;
	bool right = true;
	int step, i, j, cached, hits = 0, refused = 0, prompt;
	struct live *l;

	OK(at_kv_open(&kv, &o, &err) == 0, "open");
	at_kv_stat(kv, &st);
	EQ_INT(st.pages, 40, "pages for the bytes given");
	for (step = 0; step < 20000; step++) {
		l = &seq[rng_below(&r, MAX_SEQ)];
		if (!l->on) {
			l->total = 1 + (int)rng_below(&r, MAX_TOK);
			/* Few distinct beginnings: prefixes repeat. */
			j = (int)rng_below(&r, 4);
			for (i = 0; i < l->total; i++)
				l->tok[i] = i < 70 ? (uint32_t)j :
				    (uint32_t)rng_below(&r, 2);
			prompt = 1 + (int)rng_below(&r, (uint64_t)l->total);
			if (!at_kv_start(kv, &l->kv, l->total, l->tok,
			    prompt - 1, &cached)) {
				refused++;
				continue;
			}
			l->on = true;
			l->n = cached;
			hits += cached > 0;
			right &= cached % TOK == 0 && cached < prompt;
		} else if (l->n < l->total) {
			compute(kv, l, 1 + (int)rng_below(&r,
			    (uint64_t)(l->total - l->n)));
		} else {
			at_kv_end(kv, &l->kv);
			l->on = false;
			continue;
		}
		right &= contents_right(kv, l);
	}
	OK(right, "every page holds what its sequence computed");
	OK(hits > 100, "prefixes were found (%d)", hits);
	OK(refused > 100, "admission refused some (%d)", refused);
	for (i = 0; i < MAX_SEQ; i++)
		if (seq[i].on)
			at_kv_end(kv, &seq[i].kv);
	at_kv_stat(kv, &st);
	EQ_INT(st.used, 0, "nothing is held at the end");
	EQ_INT(kv->n_reserved, 0, "nothing is reserved at the end");
	EQ_INT(kv->n_free + kv->own.n, 40, "no page is lost");
	at_kv_close(kv);
}

static void
test_limits(void)
{
	struct at_kv_opt o = { 2, 1, 16, 16, KERN_BF16, 100, true };
	struct err err = ERR_INIT;
	struct at_kv_seq a, b;
	uint32_t tok[64] = { 0 };
	struct at_kv *kv;
	int cached;

	OK(at_kv_open(&kv, &o, &err) == -1 && err.code == ERR_USAGE,
	    "memory for less than a page is refused");
	o.bytes = 2ull * 3 * TOK * 32 * 2;
	o.prefix = false;
	OK(at_kv_open(&kv, &o, &err) == 0, "three pages");
	OK(at_kv_fits(kv, 48) && !at_kv_fits(kv, 49), "what can ever fit");
	OK(at_kv_start(kv, &a, 32, tok, 31, &cached) && cached == 0,
	    "two pages reserved");
	OK(!at_kv_start(kv, &b, 17, tok, 16, &cached),
	    "a reservation counts before a page is taken");
	OK(at_kv_start(kv, &b, 16, tok, 15, &cached), "the third page");
	at_kv_grow(kv, &a, 32);
	at_kv_computed(kv, &a, tok, 32);
	at_kv_end(kv, &a);
	OK(at_kv_start(kv, &a, 32, tok, 31, &cached) && cached == 0,
	    "without the prefix cache nothing is found");
	at_kv_end(kv, &a);
	at_kv_end(kv, &b);
	at_kv_close(kv);
}

int
main(void)
{
	test_random();
	test_limits();
	return tap_done();
}
