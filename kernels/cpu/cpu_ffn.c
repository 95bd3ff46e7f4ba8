/*
 * cpu_ffn.c - the grouped expert FFN.
 *
 * One job of two stages for the whole call: gate+up+glu, barrier, down.  The
 * items of all groups stand in one list (prefix sums per group), so 64 experts
 * of one row cost two barriers, and one row of one expert is shared by all
 * threads.  Within a stage the order of items is group by group, block by
 * block, rows innermost: a block of weights is read from memory once.
 */
#include "cpu.h"

#include <string.h>

#define CHUNK		(16 * CPU_ROWS)	/* rows of an item */
#define SOLO_MACS	60000

/* Per group: where its items begin in each stage's list, and their shape. */
struct plan {
	size_t item0[2];	/* [0] gate_up, [1] down */
	size_t chunks;
	int nb[2];		/* blocks of an item */
};

struct job {
	struct cpu *c;
	const struct kern_ffn *a;
	cpu_tile_fn *tile;
	struct plan *plan;
	size_t items[2];
	size_t rows;
	const void **x;		/* input rows as the tile wants them; NULL for
				 * an entry that is in no group */
	char *gather;		/* copies of rows; NULL: x are the caller's */
	size_t x_bytes;		/* of one row in gather */
	char *mid;		/* activations between the stages */
	size_t mid_bytes;	/* of one row */
	enum cpu_form form;	/* of gather and mid */
};

/* Blocks of gate_up (8 outputs each) that fill a block of q8: an item makes
 * whole ones. */
#define QUANT_NB	(CPU_Q8 / 8)

/* ---- the two products -------------------------------------------------- */

/* The group that an item of a stage belongs to. */
static int
find_group(const struct job *j, int stage, size_t item)
{
	int lo = 0, hi = j->a->n_group;

	while (hi - lo > 1) {
		int mid = (lo + hi) / 2;

		if (j->plan[mid].item0[stage] <= item)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* 8 values of each of a row's nb blocks, side by side, into mid. */
static void
put_mid(const struct job *j, const float *acc, int m, int row, const int at[3])
{
	_Alignas(64) float v[CPU_BLOCKS * 8];
	int n0 = at[1] * 8, nb = at[2], b;
	int n = j->a->i - n0 < nb * 8 ? j->a->i - n0 : nb * 8;

	for (b = 0; b < nb; b++)
		memcpy(v + b * 8, acc + (b * m + row) * CPU_LANES,
		    8 * sizeof(*v));
	cpu_row_put(j->c, j->form, j->mid + (size_t)(at[0] + row) *
	    j->mid_bytes + cpu_row_bytes(j->c, j->form, (size_t)n0), v,
	    (size_t)n);
}

/* glu of a tile: at is its first row, first block, and number of blocks. */
static void
finish_up(const struct job *j, const struct kern_group *g, float *acc,
    int m, const int at[3])
{
	const struct kern_expert *x = g->x;
	int b0 = at[1], nb = at[2], b, r, i;

	for (b = 0; b < nb; b++) {
		int n0 = (b0 + b) * 8;
		int n = j->a->i - n0 < 8 ? j->a->i - n0 : 8;
		float *v = acc + b * m * CPU_LANES;

		for (r = 0; r < m; r++) {
			for (i = 0; x->bias_gate != NULL && i < n; i++)
				v[r * 16 + i] += x->bias_gate[n0 + i];
			for (i = 0; x->bias_up != NULL && i < n; i++)
				v[r * 16 + 8 + i] += x->bias_up[n0 + i];
		}
		j->c->isa->glu(v, m, j->a->glu);
	}
	for (r = 0; r < m; r++)
		put_mid(j, acc, m, r, at);
}

static void
finish_down(const struct job *j, const struct kern_group *g, float *acc,
    int m, const int at[3])
{
	const float *bias = g->x->bias_down;
	int row = at[0], b0 = at[1], nb = at[2], b, r, i;

	for (b = 0; b < nb; b++) {
		int n0 = (b0 + b) * CPU_LANES;
		int n = j->a->h - n0 < CPU_LANES ? j->a->h - n0 : CPU_LANES;

		for (r = 0; r < m; r++) {
			float *v = acc + (b * m + r) * CPU_LANES;
			void *out = j->a->out[row + r];

			for (i = 0; bias != NULL && i < n; i++)
				v[i] += bias[n0 + i];
			if (j->c->k.act == KERN_F32)
				memcpy((float *)out + n0, v,
				    (size_t)n * sizeof(*v));
			else
				j->c->isa->narrow((uint16_t *)out + n0, v,
				    (size_t)n);
		}
	}
}

static void
do_item(const struct job *j, int stage, size_t item)
{
	_Alignas(64) float acc[CPU_BLOCKS * CPU_ROWS * CPU_LANES];
	int gi = find_group(j, stage, item);
	const struct kern_group *g = &j->a->group[gi];
	const struct plan *p = &j->plan[gi];
	const struct kern_mat *w = stage == 0 ? &g->x->gate_up : &g->x->down;
	size_t it = item - p->item0[stage];
	int blocks = (w->n + CPU_LANES - 1) / CPU_LANES;
	int b0 = (int)(it / p->chunks) * p->nb[stage];
	int nb = blocks - b0 < p->nb[stage] ? blocks - b0 : p->nb[stage];
	int r = (int)(it % p->chunks) * CHUNK;
	int end = g->n - r < CHUNK ? g->n : r + CHUNK, m;
	const char *wp = (const char *)w->data +
	    (size_t)b0 * cpu_block_bytes(w);

	for (; r < end; r += m) {
		int row = g->first + r, i;
		int at[3] = { row, b0, nb };
		const void *mid[CPU_ROWS];

		m = cpu_tile_rows(end - r);
		if (stage == 0) {
			j->tile(acc, wp, j->x + row, m, nb, w->k);
			finish_up(j, g, acc, m, at);
			continue;
		}
		for (i = 0; i < m; i++)
			mid[i] = j->mid + (size_t)(row + i) * j->mid_bytes;
		j->tile(acc, wp, mid, m, nb, w->k);
		finish_down(j, g, acc, m, at);
	}
}

static void
gather_item(void *arg, int thread, size_t row)
{
	const struct job *j = arg;

	(void)thread;
	if (j->x[row] != NULL)
		cpu_row_make(j->c, j->form, j->gather + row * j->x_bytes,
		    j->a->in[row], (size_t)j->a->h, j->a->scale != NULL ?
		    &j->a->scale[row] : NULL);
}

static void
up_item(void *arg, int thread, size_t item)
{
	(void)thread;
	do_item(arg, 0, item);
}

static void
down_item(void *arg, int thread, size_t item)
{
	(void)thread;
	do_item(arg, 1, item);
}

/* ---- planning ---------------------------------------------------------- */

static size_t
n_items(int blocks, int nb, const struct plan *p)
{
	return (size_t)((blocks + nb - 1) / nb) * p->chunks;
}

/* Lay the groups' items out; returns the multiplications of the call. */
static size_t
make_plan(struct job *j)
{
	const struct kern_ffn *a = j->a;
	const struct cpu_isa *isa = j->c->isa;
	int up = (a->i + 7) / 8, down = (a->h + 15) / 16, g, least, nb;
	size_t macs = 0;

	least = up < down ? up : down;
	for (g = 0; g < a->n_group; g++) {
		const struct kern_group *gr = &a->group[g];
		struct plan *p = &j->plan[g];
		size_t end = (size_t)gr->first + (size_t)gr->n;

		p->chunks = ((size_t)gr->n + CHUNK - 1) / CHUNK;
		nb = gr->n <= CPU_ROWS ? isa->nb_few : isa->nb_many;
		while (nb > 1 &&
		    least / nb * a->n_group < 4 * j->c->k.threads)
			nb /= 2;
		p->nb[0] = j->form == CPU_QUANT ? QUANT_NB : nb;
		p->nb[1] = nb;
		p->item0[0] = j->items[0];
		p->item0[1] = j->items[1];
		j->items[0] += n_items(up, p->nb[0], p);
		j->items[1] += n_items(down, nb, p);
		j->rows = end > j->rows ? end : j->rows;
		macs += 3 * (size_t)gr->n * (size_t)a->h * (size_t)a->i;
	}
	return macs;
}

static void
make_rows(struct job *j)
{
	const struct kern_ffn *a = j->a;
	struct cpu *c = j->c;
	size_t r;
	int g, i;

	j->x = cpu_scratch(c, CPU_PTR, j->rows * sizeof(*j->x));
	j->x_bytes = (cpu_row_bytes(c, j->form, (size_t)a->h) + 63) / 64 * 64;
	j->mid_bytes = (cpu_row_bytes(c, j->form, (size_t)a->i) + 63) / 64 * 64;
	j->mid = cpu_scratch(c, CPU_MID, j->rows * j->mid_bytes);
	if (j->form != CPU_AS_IS || a->scale != NULL)
		j->gather = cpu_scratch(c, CPU_X, j->rows * j->x_bytes);
	memset(j->x, 0, j->rows * sizeof(*j->x));
	for (g = 0; g < a->n_group; g++) {
		for (i = 0; i < a->group[g].n; i++) {
			r = (size_t)(a->group[g].first + i);
			j->x[r] = j->gather != NULL ?
			    j->gather + r * j->x_bytes : a->in[r];
		}
	}
}

void
cpu_ffn(struct kern *kn, const struct kern_ffn *a)
{
	struct cpu *c = cpu_of(kn);
	struct job j = { .c = c, .a = a };
	size_t macs;
	int g;

	j.tile = cpu_tile(c, &a->group[0].x->down, &j.form);
	for (g = 1; g < a->n_group; g++)
		KERN_CHECK(a->group[g].x->down.dtype ==
		    a->group[0].x->down.dtype);
	j.plan = cpu_scratch(c, CPU_PLAN, (size_t)a->n_group * sizeof(*j.plan));
	macs = make_plan(&j);
	make_rows(&j);
	pool_run(c->pool, macs < SOLO_MACS, (struct pool_stage[]){
	    { gather_item, j.gather != NULL ? j.rows : 0 },
	    { up_item, j.items[0] }, { down_item, j.items[1] } }, 3, &j);
}
