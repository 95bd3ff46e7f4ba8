/* at_sum - sums of answers by parts (--reduce): which form an answer comes in,
 * and what of it counts.  See at_call.h, kern_sum.h. */
#include <string.h>

#include "at_call.h"

void
at_sum_open(struct at_disp *d)
{
	size_t k = (size_t)d->k;

	d->ans_bytes = d->row_bytes;
	if (d->o.reduce == KERN_SUM_NONE)
		return;
	d->sum = (struct kern_sum){ d->o.reduce, d->o.act, d->o.cfg->hidden,
	    d->k };
	d->ans_bytes = kern_sum_bytes(&d->sum);
	d->part_row = mem_calloc(k, sizeof(*d->part_row));
	d->part_w = mem_calloc(k, sizeof(*d->part_w));
}

void
at_sum_close(struct at_disp *d)
{
	mem_free(d->part_row);
	mem_free(d->part_w);
}

enum slot_reduce
at_sum_reduce(const struct at_disp *d, const struct at_call *c)
{
	if (d->o.reduce == KERN_SUM_NONE || (size_t)c->n * d->row_bytes <=
	    (size_t)c->n_row * d->ans_bytes)
		return SLOT_REDUCE_NONE;
	return (enum slot_reduce)d->o.reduce;
}

bool
at_sum_fits(const struct at_disp *d, const struct at_call *c,
    const struct slot_head *h)
{
	bool parts = c->reduce != SLOT_REDUCE_NONE;

	return h->n_row == (parts ? c->n_row : c->n) && h->n_route == 0 &&
	    h->row_bytes == (parts ? d->ans_bytes : d->row_bytes) &&
	    h->reduce == c->reduce && h->dtype_out == d->o.act &&
	    h->req_id == c->req_id;
}

uint32_t
at_sum_routes(const struct at_disp *d, const uint32_t *route, uint32_t n)
{
	uint32_t row = route[0] / (uint32_t)d->k, i = 1;

	while (i < n && route[i] / (uint32_t)d->k == row)
		i++;
	return i;
}

void
at_sum_make(struct at_disp *d, struct at_flight *f, const uint32_t *route,
    uint32_t n, const char *rows)
{
	bool weight_in = d->o.cfg->rule == KERN_ROUTE_SIGMOID_INPUT;
	char *part = f->buf + (size_t)route[0] * d->ans_bytes;
	uint32_t i;

	for (i = 0; i < n; i++) {
		d->part_row[i] = rows + (size_t)i * d->row_bytes;
		d->part_w[i] = f->w[route[i]];
	}
	kern_sum_part(&d->sum, d->part_row, weight_in ? NULL : d->part_w,
	    (int)n, part);
	f->ans[route[0]] = part;
}

/* Does nobody else answer any of these routes, which are one row's? */
static bool
counts(const struct at_call *c, uint32_t i, uint32_t m)
{
	const struct at_route *r;

	for (; m > 0; i++, m--) {
		r = &c->flight->rs[c->route[i]];
		if (r->req_id != c->req_id || r->done)
			return false;
	}
	return true;
}

uint32_t
at_sum_accept(struct at_disp *d, struct at_call *c, const char *rows)
{
	bool made = c->reduce != SLOT_REDUCE_NONE;
	struct at_flight *f = c->flight;
	uint32_t i, j, m, r, n = 0;
	char *to;

	/* The same routes are with others, in other parts. */
	if (c->trial)
		return 0;
	for (i = 0; i < c->n; i += m) {
		m = at_sum_routes(d, c->route + i, c->n - i);
		if (!counts(c, i, m)) {
			for (j = i; j < i + m; j++)
				if (f->rs[c->route[j]].req_id == c->req_id)
					at_route_lost(d, f, c->route[j]);
			rows += made ? d->ans_bytes : m * d->row_bytes;
			continue;
		}
		if (made) {
			to = f->buf + (size_t)c->route[i] * d->ans_bytes;
			f->ans[c->route[i]] = memcpy(to, rows, d->ans_bytes);
			rows += d->ans_bytes;
		} else {
			at_sum_make(d, f, c->route + i, m, rows);
			rows += m * d->row_bytes;
		}
		for (j = i; j < i + m; j++) {
			r = c->route[j];
			f->rs[r].n_out--;
			f->rs[r].done = true;
			c->route[n++] = r;
		}
	}
	return n;
}
