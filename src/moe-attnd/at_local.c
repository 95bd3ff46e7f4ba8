/* at_local - flights whose experts are in this process (--local).  See
 * at_call.h. */
#include <string.h>

#include "at_call.h"
#include "clock.h"

static void
local_done(struct xeng_job *job, enum slot_status status)
{
	struct at_flight *f = job->user;
	struct at_disp *d = f->d;
	uint32_t i, n, route;
	char *out;

	for (i = 0; i < job->n_route; i += n) {
		/* The routes of dead rows were left out. */
		route = f->homeless[i];
		out = (char *)job->out + (size_t)i * job->out_stride;
		n = d->o.reduce == KERN_SUM_NONE ? 1 :
		    at_sum_routes(d, f->homeless + i, job->n_route - i);
		if (status != SLOT_OK) {
			f->dead[route / (uint32_t)d->k] = true;
		} else if (d->o.reduce != KERN_SUM_NONE) {
			at_sum_make(d, f, f->homeless + i, n, out);
		} else {
			if (f->lent)
				out = memcpy(f->buf + (size_t)route *
				    d->row_bytes, out, d->row_bytes);
			f->ans[route] = out;
		}
	}
	at_flight_settle(d, f, f->homeless, job->n_route);
}

void
at_local_send(struct at_disp *d, struct at_flight *f, uint32_t n)
{
	struct xeng_route *r = xeng_job_routes(&f->job, n);
	struct xeng_job *j = &f->job;
	uint32_t i, route;

	for (i = 0; i < n; i++) {
		route = f->homeless[i];
		r[i].r = (struct slot_route){
		    (uint16_t)(route / (uint32_t)d->k),
		    (uint16_t)f->id[route], f->w[route] };
	}
	j->layer = f->layer;
	j->n_row = (uint32_t)(f->lent ? f->n_pool : f->n_row);
	j->n_route = n;
	j->in = f->xn;
	j->in_stride = d->row_bytes;
	j->out = f->job_out != NULL ? f->job_out : f->buf;
	j->out_stride = d->row_bytes;
	j->weight_in = d->o.cfg->rule == KERN_ROUTE_SIGMOID_INPUT;
	j->client = d->client;
	j->submit_ns = clock_ns();
	j->deadline_ns = 0;
	j->done = local_done;
	j->user = f;
	if (xeng_submit(d->o.xeng, j) != SLOT_OK)
		BUG("local experts: %s", xeng_why(d->o.xeng));
}
