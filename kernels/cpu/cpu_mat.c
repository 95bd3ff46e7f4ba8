/*
 * cpu_mat.c - packed matrices of the cpu backend: packing, reading a row.
 * No pool: callers pack from threads of their own.
 */
#include "cpu.h"

#include <string.h>

#include "kern_num.h"

static float
load(const void *src, enum kern_dtype t, size_t i)
{
	const char *p = (const char *)src + kern_dtype_bytes(t, i);
	uint16_t h;
	float f;

	if (t == KERN_F32) {
		memcpy(&f, p, sizeof(f));
		return f;
	}
	memcpy(&h, p, sizeof(h));
	return t == KERN_BF16 ? kern_num_from_bf16(h) : kern_num_from_f16(h);
}

/* Where packed row `row` of m begins: its block, and its lane. */
static void *
row_block(const struct kern_mat *m, int row, size_t *lane_p)
{
	*lane_p = (size_t)row % CPU_LANES;
	return (char *)m->data +
	    (size_t)row / CPU_LANES * cpu_block_bytes(m);
}

/* Source row i of p into packed row `row`: any dtypes, any strides. */
static void
pack_row(struct kern_mat *m, int row, const struct kern_pack *p, size_t i)
{
	size_t lane, k, at, n = (size_t)m->k;
	void *b = row_block(m, row, &lane);

	for (k = 0; k < n; k++) {
		float v = load(p->src, p->src_dtype, i * p->rs + k * p->cs);

		at = cpu_at(m->dtype, lane, k);
		if (m->dtype == KERN_F32)
			((float *)b)[at] = v;
		else
			((uint16_t *)b)[at] = kern_num_to_bf16(v);
	}
}

/* The common case: contiguous bf16 to bf16, a copy of pairs. */
static void
pack_row_bf16(struct kern_mat *m, int row, const struct kern_pack *p, size_t i)
{
	size_t lane, k, n = (size_t)m->k;
	uint32_t *b = row_block(m, row, &lane);
	const char *s = (const char *)p->src + 2 * i * p->rs;

	b += lane;
	for (k = 0; k < n / 2; k++)
		memcpy(&b[k * CPU_LANES], s + 4 * k, 4);
	if (n % 2 != 0)
		memcpy(&b[k * CPU_LANES], s + 4 * k, 2);
}

static void
pack_any(struct kern_mat *m, int row, const struct kern_pack *p, size_t i)
{
	if (m->dtype == KERN_BF16 && p->src_dtype == KERN_BF16 && p->cs == 1)
		pack_row_bf16(m, row, p, i);
	else
		pack_row(m, row, p, i);
}

void
cpu_mat_pack(const struct kern *kn, const struct kern_pack *p)
{
	int i;

	(void)kn;
	for (i = 0; i < p->rows; i++)
		pack_any(p->dst, p->row0 + i, p, (size_t)i);
}

/*
 * gate_up: every block holds 8 gates (lanes 0-7) and the 8 ups of the same
 * outputs (lanes 8-15), so that a tile has both halves of the unit and
 * ceil(i / 8) blocks are exactly the ceil(2i / 16) of kern_mat_bytes.
 */
void
cpu_mat_glu_pack(const struct kern *kn, struct kern_mat *m,
    enum kern_part part, const struct kern_pack *p)
{
	int i;

	(void)kn;
	for (i = 0; i < p->rows; i++)
		pack_any(m, i / 8 * 16 + i % 8 + (part == KERN_UP ? 8 : 0), p,
		    (size_t)i);
}

void
cpu_mat_row(const struct kern *kn, const struct kern_mat *m, int i, float *out)
{
	size_t lane, k, n = (size_t)m->k;
	const void *b = row_block(m, i, &lane);

	(void)kn;
	for (k = 0; k < n; k++) {
		size_t at = cpu_at(m->dtype, lane, k);

		out[k] = m->dtype == KERN_F32 ? ((const float *)b)[at] :
		    kern_num_from_bf16(((const uint16_t *)b)[at]);
	}
}
