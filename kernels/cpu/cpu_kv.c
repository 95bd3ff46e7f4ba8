/*
 * cpu_kv.c - writing keys and values into their pages.
 *
 * An item is what a call has for one page.  A token's K goes to one lane of
 * every packed line of its head, so the tokens of a page are written one after
 * the other while its lines are in the nearest cache; a decoding step touches
 * lines that attention is about to read.
 */
#include "cpu.h"

#include <string.h>

#define SOLO_VALUES	50000	/* below: not worth a wake-up */
#define PIECE		256	/* values converted at a time on the stack */

struct job {
	struct cpu *c;
	const struct kern_kv_put *a;
	size_t *item0;		/* [n_seq]: first item of each sequence */
};

static void
put_k(const struct kern_kv *kv, char *page, const float *x, int j, int tok)
{
	float *dst = (float *)(void *)page + cpu_k_at(kv, j, tok, 0);
	int i;

	for (i = 0; i < kv->dk; i++)
		dst[i * KERN_PAGE_TOK] = x[i];
}

static void
put_v(const struct kern_kv *kv, char *page, const float *x, int j, int tok)
{
	float *dst = (float *)(void *)page;
	int i;

	for (i = 0; i < kv->dv; i += 16)
		memcpy(dst + cpu_v_at(kv, j, tok, i), x + i,
		    (size_t)(kv->dv - i < 16 ? kv->dv - i : 16) * sizeof(*x));
}

/* In bf16: pairs of values of one token, */
static void
put_k_pairs(const struct cpu *c, const struct kern_kv *kv, char *page,
    const float *x, int at[2])
{
	uint32_t pair[PIECE / 2] = { 0 };
	uint32_t *dst = (uint32_t *)(void *)(page +
	    kern_dtype_bytes(kv->kvt, cpu_k_at(kv, at[0], at[1], 0)));
	int i, k, n;

	for (i = 0; i < kv->dk; i += n) {
		n = kv->dk - i < PIECE ? kv->dk - i : PIECE;
		if (n % 2 != 0)
			pair[n / 2] = 0;
		c->isa->narrow((uint16_t *)(void *)pair, x + i, (size_t)n);
		for (k = 0; k < n; k += 2, dst += KERN_PAGE_TOK)
			*dst = pair[k / 2];
	}
}

/* and one half of pairs of tokens. */
static void
put_v_pairs(const struct cpu *c, const struct kern_kv *kv, char *page,
    const float *x, int at[2])
{
	uint16_t half[PIECE], *dst = (uint16_t *)(void *)page;
	int i, k, n;

	for (i = 0; i < kv->dv; i += n) {
		n = kv->dv - i < PIECE ? kv->dv - i : PIECE;
		c->isa->narrow(half, x + i, (size_t)n);
		for (k = 0; k < n; k++)
			dst[cpu_v_at(kv, at[0], at[1], i + k)] = half[k];
	}
}

static void
put_row(const struct job *j, const struct kern_seq *q, int i)
{
	const struct kern_kv_put *a = j->a;
	const struct kern_kv *kv = a->kv;
	size_t row = (size_t)(q->row0 + i);
	int at[2] = { 0, (q->pos0 + i) % KERN_PAGE_TOK };
	char *page = (char *)kv->arena + kv->page_bytes *
	    (size_t)q->page[(q->pos0 + i) / KERN_PAGE_TOK];

	for (; at[0] < kv->hk; at[0]++) {
		const float *k = a->k + row * a->ldk +
		    (size_t)(at[0] * kv->dk);
		const float *v = a->v + row * a->ldv +
		    (size_t)(at[0] * kv->dv);

		if (kv->kvt == KERN_F32) {
			put_k(kv, page, k, at[0], at[1]);
			put_v(kv, page, v, at[0], at[1]);
		} else {
			put_k_pairs(j->c, kv, page, k, at);
			put_v_pairs(j->c, kv, page, v, at);
		}
	}
}

/* Pages that the rows of a sequence go to. */
static size_t
pages_of(const struct kern_seq *q)
{
	return q->m == 0 ? 0 : (size_t)((q->pos0 + q->m - 1) / KERN_PAGE_TOK -
	    q->pos0 / KERN_PAGE_TOK + 1);
}

static void
put_item(void *arg, int thread, size_t item)
{
	const struct job *j = arg;
	const struct kern_seq *q;
	int s = 0, first, i;

	(void)thread;
	while (s + 1 < j->a->n_seq && j->item0[s + 1] <= item)
		s++;
	q = &j->a->seq[s];
	first = (q->pos0 / KERN_PAGE_TOK + (int)(item - j->item0[s])) *
	    KERN_PAGE_TOK - q->pos0;
	for (i = first > 0 ? first : 0; i < first + KERN_PAGE_TOK && i < q->m;
	    i++)
		put_row(j, q, i);
}

void
cpu_kv_put(struct kern *kn, const struct kern_kv_put *a)
{
	struct job j = { .c = cpu_of(kn), .a = a };
	size_t n = 0, rows = 0;
	int s;

	j.item0 = cpu_scratch(j.c, CPU_PLAN,
	    (size_t)a->n_seq * sizeof(*j.item0) + 1);
	for (s = 0; s < a->n_seq; s++) {
		j.item0[s] = n;
		n += pages_of(&a->seq[s]);
		rows += (size_t)a->seq[s].m;
	}
	pool_run(j.c->pool, rows * (size_t)(a->kv->hk *
	    (a->kv->dk + a->kv->dv)) < SOLO_VALUES,
	    &(struct pool_stage){ put_item, n }, 1, &j);
}
