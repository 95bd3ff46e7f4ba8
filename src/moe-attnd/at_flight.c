/* at_flight - see at_disp.h: the memory of flights, and what is left of them. */
#include "at_call.h"

/* A local job writes here what goes on from there. */
static void
job_room(struct at_flight *f, const struct at_disp *d, size_t routes)
{
	mem_free(f->job_out);
	f->job_out = mem_aligned(64, routes * d->row_bytes);
}

void
at_flight_room(struct at_flight *f, const struct at_disp *d, int n)
{
	size_t routes;

	if (n <= f->cap_row)
		return;
	BUG_ON(f->left != 0);
	f->cap_row = n + n / 4 + 4;
	routes = (size_t)f->cap_row * (size_t)d->k;
	mem_free(f->ans);
	mem_free(f->dead);
	mem_free(f->buf);
	mem_free(f->homeless);
	mem_free(f->rs);
	f->ans = mem_calloc(routes, sizeof(*f->ans));
	f->dead = mem_calloc((size_t)f->cap_row, sizeof(*f->dead));
	f->buf = mem_aligned(64, routes * d->ans_bytes);
	f->homeless = mem_calloc(routes, sizeof(*f->homeless));
	f->rs = mem_calloc(routes, sizeof(*f->rs));
	if (d->o.xeng != NULL && d->o.reduce != KERN_SUM_NONE)
		job_room(f, d, routes);
}

void
at_flight_lend(struct at_flight *f, const struct at_flight *pool,
    const struct at_disp *d, int n)
{
	size_t routes;

	BUG_ON(f->left != 0);
	f->lent = true;
	f->ans = pool->ans;
	f->dead = pool->dead;
	f->buf = pool->buf;
	f->rs = pool->rs;
	f->n_pool = pool->cap_row;
	if (n <= f->cap_row)
		return;
	f->cap_row = n + n / 4 + 4;
	routes = (size_t)f->cap_row * (size_t)d->k;
	mem_free(f->homeless);
	f->homeless = mem_calloc(routes, sizeof(*f->homeless));
	if (d->o.xeng != NULL)
		job_room(f, d, routes);
}

void
at_flight_free(struct at_flight *f)
{
	if (!f->lent) {
		mem_free(f->ans);
		mem_free(f->dead);
		mem_free(f->buf);
		mem_free(f->rs);
	}
	mem_free(f->job_out);
	mem_free(f->homeless);
	xeng_job_free(&f->job);
}

void
at_flight_settle(const struct at_disp *d, struct at_flight *f,
    const uint32_t *route, uint32_t n)
{
	uint32_t i;
	int row;

	f->left -= (int)n;
	for (i = 0; f->row != NULL && i < n; i++) {
		row = (int)(route[i] / (uint32_t)d->k);
		if (--f->row_left[row] == 0)
			f->row_in(f, row);
	}
}
