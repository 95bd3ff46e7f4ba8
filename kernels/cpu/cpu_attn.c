/*
 * cpu_attn.c - KV pages, and causal attention over them.
 *
 * An item is (up to TILE rows of one sequence, one KV head).  It walks the
 * key positions in blocks of CPU_KEYS aligned to absolute position, and lets
 * every query of the tile (rows x query heads of this KV head) take it in.  A
 * query's arithmetic sees only its own visible keys and the alignment of
 * blocks, never the tile: chunking changes no bit.
 */
#include "cpu.h"

#include <math.h>
#include <string.h>

#include "kern_num.h"

#define TILE		16		/* rows of an item */
#define MANY		8		/* queries worth a copy of bf16 keys */
#define SOLO_MACS	60000

/* Where an item's scratch of one thread begins, in floats. */
struct job {
	struct cpu *c;
	const struct kern_attn *a;
	size_t *item0;		/* [n_seq]: first row tile of each sequence */
	size_t tiles;
	int group;		/* query heads of a KV head */
	int dk, dv;		/* padded to 8 */
	bool padded;
	float *scratch;
	size_t thread_floats;
};

/* One thread's scratch, cut up. */
struct tile {
	float *k, *v, *q, *o;
	struct cpu_query *query;
	int n_query;
};

/* K (or V) of token `tok` of a page for KV head j. */
static size_t
k_at(const struct kern_kv *kv, int j, int tok)
{
	return ((size_t)j * KERN_PAGE_TOK + (size_t)tok) * (size_t)kv->dk;
}

static size_t
v_at(const struct kern_kv *kv, int j, int tok)
{
	return (size_t)kv->hk * KERN_PAGE_TOK * (size_t)kv->dk +
	    ((size_t)j * KERN_PAGE_TOK + (size_t)tok) * (size_t)kv->dv;
}

static char *
page_of(const struct kern_kv *kv, const struct kern_seq *s, int pos)
{
	return (char *)kv->arena +
	    (size_t)s->page[pos / KERN_PAGE_TOK] * kv->page_bytes;
}

/* ---- put --------------------------------------------------------------- */

static void
put(const struct cpu *c, const struct kern_kv *kv, char *page, size_t at,
    const float *src, size_t n)
{
	char *dst = page + kern_dtype_bytes(kv->kvt, at);

	if (kv->kvt == KERN_F32)
		memcpy(dst, src, n * sizeof(*src));
	else
		c->isa->narrow((uint16_t *)(void *)dst, src, n);
}

void
cpu_attn_put(struct kern *kn, const struct kern_kv_put *a)
{
	const struct cpu *c = cpu_of(kn);
	const struct kern_kv *kv = a->kv;
	size_t dk = (size_t)kv->dk, dv = (size_t)kv->dv;
	int s, i, j;

	for (s = 0; s < a->n_seq; s++) {
		const struct kern_seq *q = &a->seq[s];

		for (i = 0; i < q->m; i++) {
			size_t row = (size_t)(q->row0 + i);
			int tok = (q->pos0 + i) % KERN_PAGE_TOK;
			char *page = page_of(kv, q, q->pos0 + i);

			for (j = 0; j < kv->hk; j++) {
				put(c, kv, page, k_at(kv, j, tok),
				    a->k + row * a->ldk + (size_t)j * dk, dk);
				put(c, kv, page, v_at(kv, j, tok),
				    a->v + row * a->ldv + (size_t)j * dv, dv);
			}
		}
	}
}

/* ---- attention --------------------------------------------------------- */

static void
widen(const struct job *j, float *dst, const char *page, size_t at, int n)
{
	const char *src = page + kern_dtype_bytes(j->a->kv->kvt, at);

	if (j->a->kv->kvt == KERN_F32)
		memcpy(dst, src, (size_t)n * sizeof(*dst));
	else
		j->c->isa->widen(dst, (const uint16_t *)(const void *)src,
		    (size_t)n);
}

/* Keys lo .. hi - 1 of the block at base, copied to t->k, t->v as fp32.  The
 * padding of each row was cleared once and stays. */
static void
copy_keys(const struct job *j, const struct tile *t,
    const struct kern_seq *s, int head, const int range[3])
{
	const struct kern_kv *kv = j->a->kv;
	int i;

	for (i = range[1]; i < range[2]; i++) {
		const char *page = page_of(kv, s, range[0] + i);
		int tok = i % KERN_PAGE_TOK;

		widen(j, t->k + i * j->dk, page, k_at(kv, head, tok), kv->dk);
		widen(j, t->v + i * j->dv, page, v_at(kv, head, tok), kv->dv);
	}
}

/* The block of keys at range[0], of which range[1] .. range[2] - 1 are wanted:
 * in place, or copied where rows need padding or many queries share them. */
static struct cpu_keys
find_keys(const struct job *j, const struct tile *t,
    const struct kern_seq *s, int head, const int range[3])
{
	const struct kern_kv *kv = j->a->kv;
	struct cpu_keys b = { .dk = j->dk, .dv = j->dv,
	    .scale = j->a->scale };
	bool bf16 = kv->kvt == KERN_BF16;
	int p;

	if (j->padded || (bf16 && t->n_query > MANY)) {
		copy_keys(j, t, s, head, range);
		for (p = 0; p < CPU_PAGES; p++) {
			b.k[p] = t->k + p * KERN_PAGE_TOK * j->dk;
			b.v[p] = t->v + p * KERN_PAGE_TOK * j->dv;
		}
		return b;
	}
	b.bf16 = bf16;
	for (p = range[1] / KERN_PAGE_TOK; p * KERN_PAGE_TOK < range[2]; p++) {
		const char *page = page_of(kv, s,
		    range[0] + p * KERN_PAGE_TOK);

		b.k[p] = page + kern_dtype_bytes(kv->kvt, k_at(kv, head, 0));
		b.v[p] = page + kern_dtype_bytes(kv->kvt, v_at(kv, head, 0));
	}
	return b;
}

/* First position that the query at pos sees. */
static int
first_key(const struct kern_attn *a, int pos)
{
	int lo = 0;

	if (a->window > 0 && pos - a->window + 1 > lo)
		lo = pos - a->window + 1;
	if (a->chunk > 0 && pos / a->chunk * a->chunk > lo)
		lo = pos / a->chunk * a->chunk;
	return lo;
}

static struct tile
cut_scratch(const struct job *j, int thread)
{
	size_t nq = (size_t)(TILE * j->group);
	struct tile t;

	t.k = j->scratch + (size_t)thread * j->thread_floats;
	t.v = t.k + (size_t)(CPU_KEYS * j->dk);
	t.q = t.v + (size_t)(CPU_KEYS * j->dv);
	t.o = t.q + nq * (size_t)j->dk;
	t.query = (struct cpu_query *)(void *)(t.o + nq * (size_t)j->dv);
	return t;
}

/* Query heads of KV head `head` of rows [r0, r0 + m) of s. */
static void
start_queries(const struct job *j, const struct tile *t,
    const struct kern_seq *s, int head, const int rows[2])
{
	const struct kern_attn *a = j->a;
	int dk = a->kv->dk, r, g;

	for (r = 0; r < rows[1]; r++) {
		size_t row = (size_t)(s->row0 + rows[0] + r);

		for (g = 0; g < j->group; g++) {
			int i = r * j->group + g, h = head * j->group + g;
			struct cpu_query *q = &t->query[i];
			float *qv = t->q + (size_t)(i * j->dk);

			memcpy(qv, a->q + row * a->ldq +
			    (size_t)h * (size_t)dk, (size_t)dk * sizeof(*qv));
			memset(qv + dk, 0, (size_t)(j->dk - dk) * sizeof(*qv));
			q->q = qv;
			q->o = t->o + (size_t)(i * j->dv);
			memset(q->o, 0, (size_t)j->dv * sizeof(*q->o));
			/* A sink is one more key whose value is zero. */
			q->max = a->sink != NULL ? a->sink[h] : -INFINITY;
			q->sum = a->sink != NULL ? 1 : 0;
		}
	}
}

static void
finish_queries(const struct job *j, const struct tile *t,
    const struct kern_seq *s, int head, const int rows[2])
{
	const struct kern_attn *a = j->a;
	size_t dv = (size_t)a->kv->dv;
	int r, g;

	for (r = 0; r < rows[1]; r++) {
		size_t row = (size_t)(s->row0 + rows[0] + r);

		for (g = 0; g < j->group; g++) {
			struct cpu_query *q = &t->query[r * j->group + g];
			size_t at = row * a->ldo +
			    (size_t)(head * j->group + g) * dv;
			struct cpu_affine f = { 0, 1 / q->sum, NULL, NULL };

			j->c->isa->affine(q->o, q->o, (int)dv, &f);
			if (j->c->k.act == KERN_F32)
				memcpy((float *)a->out + at, q->o,
				    dv * sizeof(*q->o));
			else
				j->c->isa->narrow((uint16_t *)a->out + at,
				    q->o, dv);
		}
	}
}

/* What each query of the tile sees of the block at base. */
static void
set_ranges(const struct job *j, const struct tile *t,
    const struct kern_seq *s, int base, const int rows[2])
{
	int i;

	for (i = 0; i < t->n_query; i++) {
		struct cpu_query *q = &t->query[i];
		int pos = s->pos0 + rows[0] + i / j->group;
		int lo = first_key(j->a, pos) - base, hi = pos + 1 - base;

		q->lo = lo > 0 ? lo : 0;
		q->hi = hi < CPU_KEYS ? hi : CPU_KEYS;
	}
}

/* Ask for the keys of the block at base, while the one before it is worked
 * on: a head's part of a page is too short for the hardware to notice. */
static void
prefetch_keys(const struct job *j, const struct kern_seq *s, int head, int base,
    int end)
{
	const struct kern_kv *kv = j->a->kv;
	size_t k = kern_dtype_bytes(kv->kvt, k_at(kv, head, 0)), i;
	size_t v = kern_dtype_bytes(kv->kvt, v_at(kv, head, 0));
	size_t nk = kern_dtype_bytes(kv->kvt, (size_t)kv->dk) * KERN_PAGE_TOK;
	size_t nv = kern_dtype_bytes(kv->kvt, (size_t)kv->dv) * KERN_PAGE_TOK;
	int p;

	for (p = base; p < end && p < base + CPU_KEYS; p += KERN_PAGE_TOK) {
		const char *page = page_of(kv, s, p);

		for (i = 0; i < nk; i += 64)
			__builtin_prefetch(page + k + i, 0, 2);
		for (i = 0; i < nv; i += 64)
			__builtin_prefetch(page + v + i, 0, 2);
	}
}

static void
do_tile(const struct job *j, struct tile *t, const struct kern_seq *s,
    int head, int r0)
{
	int rows[2] = { r0, s->m - r0 < TILE ? s->m - r0 : TILE };
	int first = first_key(j->a, s->pos0 + r0);
	int end = s->pos0 + r0 + rows[1], base;

	t->n_query = rows[1] * j->group;
	start_queries(j, t, s, head, rows);
	for (base = first / CPU_KEYS * CPU_KEYS; base < end; base += CPU_KEYS) {
		int range[3] = { base, first > base ? first - base : 0,
		    end - base < CPU_KEYS ? end - base : CPU_KEYS };
		struct cpu_keys keys = find_keys(j, t, s, head, range);

		prefetch_keys(j, s, head, base + CPU_KEYS, end);
		set_ranges(j, t, s, base, rows);
		j->c->isa->attn(t->query, t->n_query, &keys);
	}
	finish_queries(j, t, s, head, rows);
}

static void
tile_item(void *arg, int thread, size_t item)
{
	const struct job *j = arg;
	size_t hk = (size_t)j->a->kv->hk, tile = item / hk;
	struct tile t = cut_scratch(j, thread);
	int s = 0;

	if (j->padded)
		memset(t.k, 0,
		    (size_t)(CPU_KEYS * (j->dk + j->dv)) * sizeof(float));
	while (s + 1 < j->a->n_seq && j->item0[s + 1] <= tile)
		s++;
	do_tile(j, &t, &j->a->seq[s], (int)(item % hk),
	    (int)(tile - j->item0[s]) * TILE);
}

void
cpu_attn(struct kern *kn, const struct kern_attn *a)
{
	struct cpu *c = cpu_of(kn);
	struct job j = { .c = c, .a = a };
	size_t macs = 0, nq;
	int s;

	j.group = a->h / a->kv->hk;
	j.dk = (a->kv->dk + 7) / 8 * 8;
	j.dv = (a->kv->dv + 7) / 8 * 8;
	j.padded = j.dk != a->kv->dk || j.dv != a->kv->dv;
	j.item0 = cpu_scratch(c, CPU_PLAN,
	    (size_t)a->n_seq * sizeof(*j.item0) + 1);
	for (s = 0; s < a->n_seq; s++) {
		const struct kern_seq *q = &a->seq[s];

		j.item0[s] = j.tiles;
		j.tiles += (size_t)((q->m + TILE - 1) / TILE);
		macs += (size_t)q->m * (size_t)(q->pos0 + q->m) *
		    (size_t)a->h * (size_t)(a->kv->dk + a->kv->dv);
	}
	nq = (size_t)(TILE * j.group);
	j.thread_floats = (size_t)CPU_KEYS * (size_t)(j.dk + j.dv) +
	    nq * (size_t)(j.dk + j.dv) +
	    nq * sizeof(struct cpu_query) / sizeof(float);
	j.thread_floats = (j.thread_floats + 15) / 16 * 16;
	j.scratch = cpu_scratch(c, CPU_ATTN, (size_t)kn->threads *
	    j.thread_floats * sizeof(float));
	pool_run(c->pool, macs < SOLO_MACS, &(struct pool_stage){ tile_item,
	    j.tiles * (size_t)a->kv->hk }, 1, &j);
}
