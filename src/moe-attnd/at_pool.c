/* at_pool - see at_pool.h. */
#include "at_pool.h"

#include <string.h>

#include "at_sched.h"
#include "mem.h"

void
at_pool_open(struct at_pool *p, const struct model_cfg *cfg,
    enum kern_dtype act, const struct at_disp *d, int n)
{
	size_t rows = (size_t)n, k = (size_t)cfg->top_k;
	int i;

	memset(p, 0, sizeof(*p));
	p->cfg = cfg;
	p->n = p->n_free = n;
	p->k = cfg->top_k;
	p->row_bytes = kern_dtype_bytes(act, (size_t)cfg->hidden);
	p->next = mem_calloc(rows, sizeof(*p->next));
	p->x = mem_aligned(64, rows * (size_t)cfg->hidden * sizeof(*p->x));
	p->xn = mem_aligned(64, rows * p->row_bytes);
	p->sh = mem_aligned(64, rows * p->row_bytes);
	p->sh_w = mem_calloc(rows, sizeof(*p->sh_w));
	p->id = mem_calloc(rows * k, sizeof(*p->id));
	p->w = mem_calloc(rows * k, sizeof(*p->w));
	p->row_left = mem_calloc(rows, sizeof(*p->row_left));
	p->owner = mem_calloc(rows, sizeof(struct at_unit *));
	p->ans = mem_calloc(rows * k, sizeof(*p->ans));
	p->unit = mem_calloc(rows, sizeof(*p->unit));
	at_flight_room(&p->all, d, n);
	for (i = 0; i < n; i++) {
		p->next[i] = i + 1 < n ? i + 1 : -1;
		p->unit[i].next = i + 1 < n ? &p->unit[i + 1] : NULL;
	}
	p->spare = p->unit;
}

void
at_pool_close(struct at_pool *p)
{
	void *const all[] = { p->next, p->x, p->xn, p->sh, p->sh_w, p->id,
	    p->w, p->row_left, p->owner, p->ans, p->unit };
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		mem_free(all[i]);
	at_flight_free(&p->all);
	memset(p, 0, sizeof(*p));
}

struct at_unit *
at_pool_take(struct at_pool *p, struct at_seq_state *st, int pos0, int m)
{
	struct at_unit *u = p->spare;
	int32_t slot = p->free;
	int i;

	BUG_ON(m < 1 || m > p->n_free);
	p->spare = u->next;
	memset(u, 0, sizeof(*u));
	u->st = st;
	u->pos0 = pos0;
	u->m = m;
	u->first = slot;
	for (i = 0; i < m; i++) {
		p->owner[slot] = u;
		p->all.dead[slot] = false;
		slot = p->next[slot];
	}
	p->free = slot;
	p->n_free -= m;
	return u;
}

void
at_pool_give(struct at_pool *p, struct at_unit *u)
{
	int32_t slot = u->first;
	int i;

	BUG_ON(u->out != 0);
	for (i = 1; i < u->m; i++)
		slot = p->next[slot];
	p->next[slot] = p->free;
	p->free = u->first;
	p->n_free += u->m;
	u->next = p->spare;
	p->spare = u;
}

bool
at_pool_dead(const struct at_pool *p, const struct at_unit *u)
{
	int32_t slot = u->first;
	int i;

	for (i = 0; i < u->m; i++, slot = p->next[slot])
		if (p->all.dead[slot])
			return true;
	return false;
}

/* ---- rows in and out ---- */

static void
copy_rows(void *to, int row, const void *from, int from_row, size_t bytes)
{
	memcpy((char *)to + (size_t)row * bytes,
	    (const char *)from + (size_t)from_row * bytes, bytes);
}

/* One row on its way: what combine needs of it. */
static void
gather_row(struct at_pool *p, int slot, struct at_rows *r, int row)
{
	size_t h = (size_t)p->cfg->hidden, k = (size_t)p->k;

	copy_rows(r->x, row, p->x, slot, h * sizeof(float));
	copy_rows(r->w, row, p->w, slot, k * sizeof(float));
	copy_rows(p->ans, row, p->all.ans, slot, k * sizeof(*p->ans));
	if (p->cfg->shared == CONFIG_SHARED_NONE)
		return;
	copy_rows(r->sh, row, p->sh, slot, p->row_bytes);
	r->sh_w[row] = p->sh_w[slot];
}

void
at_pool_gather(struct at_pool *p, const struct at_unit *u, bool fresh,
    struct at_rows *r)
{
	int32_t slot = u->first;
	int i;

	r->seq[r->n_seq++] = (struct kern_seq){ u->st->kv.page, u->pos0, u->m,
	    r->n };
	for (i = 0; i < u->m; i++, slot = p->next[slot]) {
		r->tok[r->n] = u->st->tok[u->pos0 + i];
		r->pos[r->n] = u->pos0 + i;
		r->seed[r->n] = u->st->s->sampling.seed;
		if (!fresh)
			gather_row(p, slot, r, r->n);
		r->n++;
	}
}

void
at_pool_scatter(struct at_pool *p, const struct at_unit *u,
    const struct at_rows *r, int row0)
{
	size_t h = (size_t)p->cfg->hidden, k = (size_t)p->k;
	int32_t slot = u->first;
	int row;

	for (row = row0; row < row0 + u->m; row++, slot = p->next[slot]) {
		copy_rows(p->x, slot, r->x, row, h * sizeof(float));
		copy_rows(p->xn, slot, r->xn, row, p->row_bytes);
		copy_rows(p->id, slot, r->id, row, k * sizeof(*p->id));
		copy_rows(p->w, slot, r->w, row, k * sizeof(*p->w));
	}
}

void
at_pool_shared(struct at_pool *p, const struct at_unit *u,
    const struct at_rows *r, int row0)
{
	int32_t slot = u->first;
	int row;

	for (row = row0; row < row0 + u->m; row++, slot = p->next[slot]) {
		copy_rows(p->sh, slot, r->sh, row, p->row_bytes);
		p->sh_w[slot] = r->sh_w[row];
	}
}
