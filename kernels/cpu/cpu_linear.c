/*
 * cpu_linear.c - y = W x for many rows: items are (group of output blocks,
 * chunk of rows), taken dynamically; no item depends on another, so the split
 * cannot change a bit.
 */
#include "cpu.h"

#include <string.h>

/* Rows of an item: their copies and one block of weights share L2/L3. */
#define CHUNK		(16 * CPU_ROWS)
/* Multiplications below which waking threads costs more than it saves. */
#define SOLO_MACS	60000

struct job {
	struct cpu *c;
	const struct kern_linear *a;
	cpu_tile_fn *tile;
	const void **x;		/* [m] rows as the tile wants them */
	enum cpu_form form;
	char *rows;		/* in that form; NULL: they go in as they are */
	size_t row_bytes;
	size_t chunks;
	int nb, blocks;
};

/* Write one row's lanes of one block: + bias, rounded to y's dtype. */
static void
store(const struct job *j, float *v, int row, int block)
{
	const struct kern_linear *a = j->a;
	int n0 = block * CPU_LANES, i;
	int n = a->w->n - n0 < CPU_LANES ? a->w->n - n0 : CPU_LANES;
	size_t at = (size_t)row * a->ldy + (size_t)n0;

	if (a->bias != NULL)
		for (i = 0; i < n; i++)
			v[i] += a->bias[n0 + i];
	if (a->ydt == KERN_F32)
		memcpy((float *)a->y + at, v, (size_t)n * sizeof(*v));
	else
		j->c->isa->narrow((uint16_t *)a->y + at, v, (size_t)n);
}

static void
do_item(const struct job *j, size_t item)
{
	_Alignas(64) float acc[CPU_BLOCKS * CPU_ROWS * CPU_LANES];
	const struct kern_mat *w = j->a->w;
	int b0 = (int)(item / j->chunks) * j->nb;
	int nb = j->blocks - b0 < j->nb ? j->blocks - b0 : j->nb;
	int r = (int)(item % j->chunks) * CHUNK;
	int end = j->a->m - r < CHUNK ? j->a->m : r + CHUNK, m, b, i;
	const char *wp = (const char *)w->data +
	    (size_t)b0 * cpu_block_bytes(w);

	for (; r < end; r += m) {
		m = cpu_tile_rows(end - r);
		j->tile(acc, wp, j->x + r, m, nb, w->k);
		for (b = 0; b < nb; b++)
			for (i = 0; i < m; i++)
				store(j, acc + (b * m + i) * CPU_LANES, r + i,
				    b0 + b);
	}
}

static void
row_item(void *arg, int thread, size_t row)
{
	const struct job *j = arg;

	(void)thread;
	cpu_row_make(j->c, j->form, j->rows + row * j->row_bytes,
	    (const char *)j->a->x +
	    kern_dtype_bytes(j->c->k.act, row * j->a->ldx),
	    (size_t)j->a->w->k, NULL);
}

static void
tile_item(void *arg, int thread, size_t item)
{
	(void)thread;
	do_item(arg, item);
}

void
cpu_linear(struct kern *kn, const struct kern_linear *a)
{
	struct cpu *c = cpu_of(kn);
	struct job j = { .c = c, .a = a };
	size_t k = (size_t)a->w->k, m = (size_t)a->m, i, groups;
	size_t xb = kern_dtype_bytes(kn->act, 1);

	j.tile = cpu_tile(c, a->w, &j.form);
	j.x = cpu_scratch(c, CPU_PTR, m * sizeof(*j.x));
	j.row_bytes = cpu_row_bytes(c, j.form, k);
	if (j.form != CPU_AS_IS)
		j.rows = cpu_scratch(c, CPU_X, m * j.row_bytes);
	for (i = 0; i < m; i++)
		j.x[i] = j.rows != NULL ? j.rows + i * j.row_bytes :
		    (const char *)a->x + i * a->ldx * xb;
	j.blocks = (a->w->n + CPU_LANES - 1) / CPU_LANES;
	j.nb = a->m <= CPU_ROWS ? c->isa->nb_few : c->isa->nb_many;
	while (j.nb > 1 && j.blocks / j.nb < 4 * kn->threads)
		j.nb /= 2;
	groups = (size_t)((j.blocks + j.nb - 1) / j.nb);
	j.chunks = (m + CHUNK - 1) / CHUNK;
	pool_run(c->pool, (size_t)a->w->n * k * m < SOLO_MACS,
	    (struct pool_stage[]){ { row_item, j.rows != NULL ? m : 0 },
	    { tile_item, groups * j.chunks } }, 2, &j);
}
