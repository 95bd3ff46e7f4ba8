/*
 * cpu_row.c - rows on their way into a product: scaled, rounded to act, widened
 * or quantised.  Any thread.
 */
#include <string.h>

#include "cpu.h"
#include "kern_num.h"

#define PIECE	256		/* values at a time: whole blocks of q8 */

size_t
cpu_row_bytes(const struct cpu *c, enum cpu_form form, size_t n)
{
	if (form == CPU_QUANT)
		return (n + CPU_Q8 - 1) / CPU_Q8 * c->q8->quant_bytes;
	return kern_dtype_bytes(form == CPU_WIDE ? KERN_F32 : c->k.act, n);
}

/* v, which holds values of act already. */
static void
put(const struct cpu *c, enum cpu_form form, void *dst, const float *v,
    size_t n)
{
	if (form == CPU_QUANT)
		c->q8->quant(dst, v, n);
	else if (form == CPU_WIDE || c->k.act == KERN_F32)
		memcpy(dst, v, n * sizeof(*v));
	else
		c->isa->narrow(dst, v, n);
}

void
cpu_row_put(const struct cpu *c, enum cpu_form form, void *dst, const float *v,
    size_t n)
{
	uint16_t h[PIECE];
	float room[PIECE];
	size_t i, len;

	if (c->k.act == KERN_F32 || form == CPU_AS_IS) {
		put(c, form, dst, v, n);
		return;
	}
	for (i = 0; i < n; i += len) {
		len = n - i < PIECE ? n - i : PIECE;
		c->isa->narrow(h, v + i, len);
		c->isa->widen(room, h, len);
		put(c, form, (char *)dst + cpu_row_bytes(c, form, i), room,
		    len);
	}
}

/* n values of act as fp32, multiplied. */
static void
fetch(const struct cpu *c, float *v, const char *src, size_t n,
    const float *scale)
{
	size_t i;

	if (c->k.act == KERN_F32)
		memcpy(v, src, n * sizeof(*v));
	else
		c->isa->widen(v, (const uint16_t *)(const void *)src, n);
	for (i = 0; scale != NULL && i < n; i++)
		v[i] *= *scale;
}

void
cpu_row_make(const struct cpu *c, enum cpu_form form, void *dst,
    const void *src, size_t n, const float *scale)
{
	size_t i, len, elem = kern_dtype_bytes(c->k.act, 1);
	float v[PIECE];
	char *at;

	if (form == CPU_AS_IS && scale == NULL) {
		memcpy(dst, src, n * elem);
		return;
	}
	for (i = 0; i < n; i += len) {
		len = n - i < PIECE ? n - i : PIECE;
		at = (char *)dst + cpu_row_bytes(c, form, i);
		fetch(c, v, (const char *)src + i * elem, len, scale);
		if (scale != NULL)
			cpu_row_put(c, form, at, v, len);
		else
			put(c, form, at, v, len);
	}
}
