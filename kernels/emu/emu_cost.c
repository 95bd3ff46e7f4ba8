/* emu_cost - what an operation costs on a device: see emu.h. */
#include <math.h>

#include "emu/emu.h"

#define BF16	2.0		/* bytes */

static double
roof_us(const struct emu_device *d, double flop, double bytes)
{
	return 1e6 * fmax(flop / (d->flop_s * d->flop_share),
	    bytes / (d->byte_s * d->byte_share));
}

static double
product_us(const struct emu_device *d, double m, double n, double k)
{
	return roof_us(d, 2 * m * n * k, BF16 * (n * k + m * (n + k)));
}

double
emu_linear_us(const struct emu_device *d, int m, int n, int k)
{
	return m > 0 ? d->launch_us + product_us(d, m, n, k) : 0;
}

double
emu_ffn_us(const struct emu_device *d, int hidden, int inter, const int *n,
    int n_group)
{
	double us = 0;
	int g;

	for (g = 0; g < n_group; g++)
		if (n[g] > 0)
			us += product_us(d, n[g], 2.0 * inter, hidden) +
			    product_us(d, n[g], hidden, inter);
	/* Two grouped products, however many experts. */
	return us > 0 ? us + 2 * d->launch_us + d->expert_us : 0;
}

double
emu_attn_us(const struct emu_device *d, const struct emu_shape *s, int rows,
    double ctx, double keys)
{
	double kv = 2.0 * s->n_kv_head * s->d_head * BF16;

	if (rows <= 0)
		return 0;
	return d->launch_us + roof_us(d,
	    4.0 * ctx * s->n_head * s->d_head, keys * kv);
}

double
emu_step_us(const struct emu_device *d, const struct emu_shape *s, int rows,
    double ctx, double keys)
{
	int q = s->n_head * s->d_head, kv = s->n_kv_head * s->d_head;

	if (rows <= 0)
		return 0;
	return d->attn_us + emu_linear_us(d, rows, q + 2 * kv, s->hidden) +
	    emu_attn_us(d, s, rows, ctx, keys) +
	    emu_linear_us(d, rows, s->hidden, q) +
	    emu_linear_us(d, rows, s->n_expert, s->hidden);
}

void
emu_wire(const struct emu_opt *o, size_t row_bytes, uint64_t *latency_ns,
    double *byte_ns)
{
	double as = o->as.hidden > 0 ? BF16 * o->as.hidden / (double)row_bytes :
	    1;

	*latency_ns = o->no_link ? 0 : (uint64_t)(1e3 * o->device.link_us);
	*byte_ns = o->no_link ? 0 : as * 1e9 / o->device.link_byte_s;
}

double
emu_link_us(const struct emu_device *d, double bytes)
{
	return d->link_us + 1e6 * bytes / d->link_byte_s;
}
