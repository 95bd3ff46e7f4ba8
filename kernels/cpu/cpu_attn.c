/*
 * cpu_attn.c - causal attention over KV pages; cpu_kv.c fills them.
 *
 * A tile is a few rows of one sequence.  An item is a tile and one KV head:
 * every query of it (rows x query heads of that KV head) takes in the tile's
 * key positions, in blocks of CPU_KEYS within spans of CPU_SPAN, both aligned
 * to absolute position.  A span is summed up by itself and then merged into
 * those before it, so a long context can be cut: where a tile would keep one
 * thread busy while others have nothing to do, an item is one span of it, and a
 * second stage merges.  A query's arithmetic sees its own visible keys and the
 * alignment of blocks and spans, never tile or item: neither chunking nor
 * threads change a bit.
 *
 * Floor: a tile's keys are read once for all of its queries.  Up to about 30
 * (bf16: 15) multiply-adds a byte that is memory, above it the multiply-adds.
 */
#include "cpu.h"

#include <math.h>
#include <string.h>

#define TILE_QUERIES	96	/* about: rows x query heads of a KV head */
#define SOLO_MACS	60000
#define SHARES		3	/* items a thread should find, at least */
#define PART_BYTES	((size_t)64 << 20)	/* for spans to be merged */

struct tile {
	const struct kern_seq *s;
	int row, m;		/* rows [row, row + m) of s */
	int first, end;		/* key positions that some of them see */
	int span0, n_span;
	bool split;		/* items are spans */
	size_t item0;		/* first item, of all heads */
	size_t part0;		/* split: first part, in queries */
	size_t merge0;		/* split: first item of the second stage */
};

struct job {
	struct cpu *c;
	const struct kern_attn *a;
	struct tile *tile;
	size_t n_tile, n_item, n_part, n_merge;
	int group;		/* query heads of a KV head */
	int rows;		/* of a tile */
	int dv;			/* padded to 16 */
	size_t part_floats;	/* of a query: values, maximum, sum */
	size_t thread_floats;	/* scratch of a thread, of two sets of queries */
	float *scratch, *part;
};

/* One thread's scratch, cut up: sums of a span, sums of all before it. */
struct sums {
	struct cpu_query *span, *all;
};

static const char *
page_of(const struct kern_kv *kv, const struct kern_seq *s, int pos)
{
	return (const char *)kv->arena +
	    (size_t)s->page[pos / KERN_PAGE_TOK] * kv->page_bytes;
}

static int
least(int a, int b)
{
	return a < b ? a : b;
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

/* ---- one span ----------------------------------------------------------- */

/* The block of keys at base; pages from end on are not touched. */
static void
find_keys(const struct job *j, const struct tile *t, int head, int base,
    int end, struct cpu_keys *b)
{
	const struct kern_kv *kv = j->a->kv;
	size_t k = kern_dtype_bytes(kv->kvt, cpu_k_at(kv, head, 0, 0));
	size_t v = kern_dtype_bytes(kv->kvt, cpu_v_at(kv, head, 0, 0));
	int p;

	*b = (struct cpu_keys){ .bf16 = kv->kvt == KERN_BF16, .dk = kv->dk,
	    .dv = j->dv, .scale = j->a->scale };
	for (p = t->first > base ? (t->first - base) / KERN_PAGE_TOK : 0;
	    p < CPU_PAGES + CPU_AHEAD; p++) {
		const char *page = page_of(kv, t->s, least(end - 1,
		    base + p * KERN_PAGE_TOK));

		b->k[p] = page + k;
		b->v[p] = page + v;
	}
}

/* What each query of the tile sees of the block at base. */
static void
set_ranges(const struct job *j, const struct tile *t, struct cpu_query *q,
    int base)
{
	int r, g, pos, lo, hi;

	for (r = 0; r < t->m; r++) {
		pos = t->s->pos0 + t->row + r;
		lo = first_key(j->a, pos) - base;
		hi = least(pos + 1 - base, CPU_KEYS);
		for (g = 0; g < j->group; g++, q++) {
			q->lo = lo > 0 ? lo : 0;
			q->hi = hi;
		}
	}
}

/* Sums of span number i (from position 0 on) for queries q, which have o. */
static void
do_span(const struct job *j, const struct tile *t, int head, int i,
    struct cpu_query *q)
{
	const struct kern_attn *a = j->a;
	int base = i * CPU_SPAN, end = least(t->end, base + CPU_SPAN);
	int n = t->m * j->group, r, g;
	struct cpu_keys b;

	for (r = 0; r < t->m; r++) {
		size_t row = (size_t)(t->s->row0 + t->row + r);

		for (g = 0; g < j->group; g++) {
			struct cpu_query *x = &q[r * j->group + g];

			x->q = a->q + row * a->ldq +
			    (size_t)((head * j->group + g) * a->kv->dk);
			x->max = -INFINITY;
			x->sum = 0;
			memset(x->o, 0, (size_t)j->dv * sizeof(*x->o));
		}
	}
	if (t->first > base)
		base = t->first / CPU_KEYS * CPU_KEYS;
	for (; base < end; base += CPU_KEYS) {
		find_keys(j, t, head, base, end, &b);
		set_ranges(j, t, q, base);
		j->c->isa->attn(q, n, &b);
	}
}

/* ---- spans together ------------------------------------------------------ */

/* Before the first span: nothing, or a sink, one more key whose value is 0. */
static void
begin(const struct job *j, const struct tile *t, int head, struct cpu_query *q)
{
	const float *sink = j->a->sink;
	int i, h;

	for (i = 0; i < t->m * j->group; i++) {
		h = head * j->group + i % j->group;
		q[i].max = sink != NULL ? sink[h] : -INFINITY;
		q[i].sum = sink != NULL ? 1 : 0;
		memset(q[i].o, 0, (size_t)j->dv * sizeof(*q[i].o));
	}
}

/* A query that saw nothing of the span is left alone. */
static void
merge(const struct job *j, const struct cpu_query *from, struct cpu_query *to,
    int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (from[i].sum != 0)
			j->c->isa->attn_merge(&to[i], &from[i], j->dv);
}

static void
finish(const struct job *j, const struct tile *t, int head,
    const struct cpu_query *q)
{
	const struct kern_attn *a = j->a;
	size_t dv = (size_t)a->kv->dv;
	int i;

	for (i = 0; i < t->m * j->group; i++) {
		size_t row = (size_t)(t->s->row0 + t->row + i / j->group);
		size_t at = row * a->ldo +
		    (size_t)(head * j->group + i % j->group) * dv;
		struct cpu_affine f = { 0, 1 / q[i].sum, NULL, NULL };

		j->c->isa->affine(q[i].o, q[i].o, (int)dv, &f);
		if (j->c->k.act == KERN_F32)
			memcpy((float *)a->out + at, q[i].o,
			    dv * sizeof(*q[i].o));
		else
			j->c->isa->narrow((uint16_t *)a->out + at, q[i].o, dv);
	}
}

static struct sums
cut_scratch(const struct job *j, int thread)
{
	size_t n = (size_t)(j->rows * j->group), i;
	float *p = j->scratch + (size_t)thread * j->thread_floats;
	struct sums s;

	s.span = (struct cpu_query *)(void *)(p + 2 * n * (size_t)j->dv);
	s.all = s.span + n;
	for (i = 0; i < n; i++) {
		s.span[i].o = p + i * (size_t)j->dv;
		s.all[i].o = p + (n + i) * (size_t)j->dv;
	}
	return s;
}

/* ---- stages -------------------------------------------------------------- */

static float *
part_of(const struct job *j, const struct tile *t, int head, int span)
{
	size_t n = (size_t)(t->m * j->group);

	return j->part + j->part_floats * (t->part0 +
	    (size_t)(head * t->n_span + span) * n);
}

/* The last tile that begins at or before an item. */
static const struct tile *
tile_of(const struct job *j, size_t item, bool merging)
{
	size_t lo = 0, hi = j->n_tile, mid;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if ((merging ? j->tile[mid].merge0 : j->tile[mid].item0) <=
		    item)
			lo = mid;
		else
			hi = mid;
	}
	return &j->tile[lo];
}

static void
sum_item(void *arg, int thread, size_t item)
{
	const struct job *j = arg;
	const struct tile *t = tile_of(j, item, false);
	int n = t->m * j->group, i, head, span;
	struct sums s = cut_scratch(j, thread);
	float *p;

	item -= t->item0;
	if (!t->split) {
		head = (int)item;
		begin(j, t, head, s.all);
		for (i = 0; i < t->n_span; i++) {
			do_span(j, t, head, t->span0 + i, s.span);
			merge(j, s.span, s.all, n);
		}
		finish(j, t, head, s.all);
		return;
	}
	head = (int)item / t->n_span;
	span = (int)item % t->n_span;
	p = part_of(j, t, head, span);
	for (i = 0; i < n; i++)
		s.span[i].o = p + (size_t)i * j->part_floats;
	do_span(j, t, head, t->span0 + span, s.span);
	for (i = 0; i < n; i++) {
		s.span[i].o[j->dv] = s.span[i].max;
		s.span[i].o[j->dv + 1] = s.span[i].sum;
	}
}

static void
merge_item(void *arg, int thread, size_t item)
{
	const struct job *j = arg;
	const struct tile *t = tile_of(j, item, true);
	int head = (int)(item - t->merge0), n = t->m * j->group, span, i;
	struct sums s = cut_scratch(j, thread);

	begin(j, t, head, s.all);
	for (span = 0; span < t->n_span; span++) {
		float *p = part_of(j, t, head, span);

		for (i = 0; i < n; i++, p += j->part_floats) {
			s.span[i].o = p;
			s.span[i].max = p[j->dv];
			s.span[i].sum = p[j->dv + 1];
		}
		merge(j, s.span, s.all, n);
	}
	finish(j, t, head, s.all);
}

/* ---- the plan ------------------------------------------------------------ */

/* Multiply-adds of a tile for one KV head, about. */
static double
work(const struct job *j, const struct tile *t)
{
	return (double)(t->m * j->group) * (t->end - t->first) *
	    (j->a->kv->dk + j->a->kv->dv);
}

static void
add_tiles(struct job *j, const struct kern_seq *s)
{
	int row, pos;

	for (row = 0; row < s->m; row += j->rows) {
		struct tile *t = &j->tile[j->n_tile++];

		pos = s->pos0 + row;
		*t = (struct tile){ .s = s, .row = row,
		    .m = least(j->rows, s->m - row) };
		t->first = first_key(j->a, pos);
		t->end = pos + t->m;
		t->span0 = t->first / CPU_SPAN;
		t->n_span = (t->end + CPU_SPAN - 1) / CPU_SPAN - t->span0;
	}
}

/* Which tiles are cut, and who does what. */
static void
number_items(struct job *j, double total)
{
	size_t hk = (size_t)j->a->kv->hk, n, i;
	int threads = j->c->k.threads;
	struct tile *t;

	for (i = 0; i < j->n_tile; i++) {
		t = &j->tile[i];
		n = hk * (size_t)(t->n_span * t->m * j->group);
		t->split = threads > 1 && t->n_span > 1 &&
		    work(j, t) * threads * SHARES > total &&
		    (j->n_part + n) * j->part_floats * sizeof(float) <=
		    PART_BYTES;
		t->item0 = j->n_item;
		t->part0 = j->n_part;
		t->merge0 = j->n_merge;
		j->n_item += t->split ? hk * (size_t)t->n_span : hk;
		j->n_part += t->split ? n : 0;
		j->n_merge += t->split ? hk : 0;
	}
}

static void
make_plan(struct job *j)
{
	const struct kern_attn *a = j->a;
	double total = 0;
	size_t n = 0, q, i;
	int s;

	j->group = a->h / a->kv->hk;
	j->rows = j->group < TILE_QUERIES ? TILE_QUERIES / j->group : 1;
	j->dv = (a->kv->dv + 15) / 16 * 16;
	j->part_floats = (size_t)j->dv + 16;
	for (s = 0; s < a->n_seq; s++)
		n += (size_t)((a->seq[s].m + j->rows - 1) / j->rows);
	j->tile = cpu_scratch(j->c, CPU_PLAN, n * sizeof(*j->tile) + 1);
	for (s = 0; s < a->n_seq; s++)
		add_tiles(j, &a->seq[s]);
	for (i = 0; i < j->n_tile; i++)
		total += work(j, &j->tile[i]) * a->kv->hk;
	number_items(j, total);
	q = (size_t)(j->rows * j->group);
	j->thread_floats = 2 * q * ((size_t)j->dv +
	    sizeof(struct cpu_query) / sizeof(float));
	j->thread_floats = (j->thread_floats + 15) / 16 * 16;
	n = (size_t)j->c->k.threads * j->thread_floats;
	j->scratch = cpu_scratch(j->c, CPU_ATTN,
	    (n + j->n_part * j->part_floats) * sizeof(float));
	j->part = j->scratch + n;
}

void
cpu_attn(struct kern *kn, const struct kern_attn *a)
{
	struct job j = { .c = cpu_of(kn), .a = a };
	struct pool_stage stage[2];
	double macs = 0;
	int s;

	make_plan(&j);
	for (s = 0; s < a->n_seq; s++)
		macs += (double)a->seq[s].m * (a->seq[s].pos0 + a->seq[s].m) *
		    a->h * (a->kv->dk + a->kv->dv);
	stage[0] = (struct pool_stage){ sum_item, j.n_item };
	stage[1] = (struct pool_stage){ merge_item, j.n_merge };
	pool_run(j.c->pool, macs < SOLO_MACS, stage, j.n_merge > 0 ? 2 : 1, &j);
}
