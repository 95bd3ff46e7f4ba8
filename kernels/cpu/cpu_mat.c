/*
 * cpu_mat.c - packed matrices of the cpu backend: packing, reading a row.
 * No pool: callers pack from threads of their own.
 */
#include "cpu.h"

#include <string.h>

#include "kern_num.h"

#define PIECE	256		/* values converted at a time: blocks of q8 */

/* out[0..n) = elements at, at + step, ... of an array of 2-byte values. */
static void
read_halves(float *out, const char *src, size_t step, size_t n, bool bf16)
{
	uint16_t h;
	size_t i;

	for (i = 0; i < n; i++) {
		memcpy(&h, src + i * step, sizeof(h));
		out[i] = bf16 ? kern_num_from_bf16(h) : kern_num_from_f16(h);
	}
}

/* Columns [k, k + n) of source row i as fp32. */
static void
read_part(float *out, const struct kern_pack *p, size_t i, size_t k, size_t n)
{
	size_t elem = kern_dtype_bytes(p->src_dtype, 1), j;
	const char *src = (const char *)p->src + (i * p->rs + k * p->cs) * elem;

	if (p->src_dtype == KERN_F32)
		for (j = 0; j < n; j++)
			memcpy(&out[j], src + j * p->cs * 4, 4);
	else if (p->src_dtype == KERN_BF16)
		read_halves(out, src, p->cs * 2, n, true);
	else
		read_halves(out, src, p->cs * 2, n, false);
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
	size_t lane, k, j, len, n = (size_t)m->k;
	void *b = row_block(m, row, &lane);
	float v[PIECE];

	for (k = 0; k < n; k += len) {
		len = n - k < PIECE ? n - k : PIECE;
		read_part(v, p, i, k, len);
		if (m->dtype == KERN_Q8)
			cpu_q8_put(b, lane, k, v, len);
		else if (m->dtype == KERN_F32)
			for (j = 0; j < len; j++)
				((float *)b)[cpu_at(KERN_F32, lane, k + j)] =
				    v[j];
		else
			for (j = 0; j < len; j++)
				((uint16_t *)b)[cpu_at(KERN_BF16, lane,
				    k + j)] = kern_num_to_bf16(v[j]);
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

/* Source rows i .. i + 7 into packed rows row .. row + 7, whose lanes stand side
 * by side (row is a multiple of 8): each store goes on where the last one
 * ended, while a row by itself touches every line of its block for 4 bytes. */
static void
pack_eight_bf16(struct kern_mat *m, int row, const struct kern_pack *p,
    size_t i)
{
	size_t lane, k, r, n = (size_t)m->k / 2;
	uint32_t *b = row_block(m, row, &lane);
	const char *s = (const char *)p->src + 2 * i * p->rs;

	b += lane;
	for (k = 0; k < n; k++)
		for (r = 0; r < 8; r++)
			memcpy(&b[k * CPU_LANES + r], s + 2 * r * p->rs +
			    4 * k, 4);
}

/* Source row i, or the eight rows from it on where that can be; packed row
 * `row`, of `left` in the source.  Returns how many. */
static int
pack_some(struct kern_mat *m, int row, const struct kern_pack *p, int i,
    int left)
{
	bool pairs = m->dtype == KERN_BF16 && p->src_dtype == KERN_BF16 &&
	    p->cs == 1;

	if (pairs && row % 8 == 0 && left >= 8 && m->k % 2 == 0) {
		pack_eight_bf16(m, row, p, (size_t)i);
		return 8;
	}
	if (pairs)
		pack_row_bf16(m, row, p, (size_t)i);
	else
		pack_row(m, row, p, (size_t)i);
	return 1;
}

void
cpu_mat_pack(const struct kern *kn, const struct kern_pack *p)
{
	int i, n;

	(void)kn;
	for (i = 0; i < p->rows; i += n)
		n = pack_some(p->dst, p->row0 + i, p, i, p->rows - i);
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
	int i, n;

	(void)kn;
	for (i = 0; i < p->rows; i += n)
		n = pack_some(m, i / 8 * 16 + i % 8 + (part == KERN_UP ? 8 : 0),
		    p, i, p->rows - i);
}

void
cpu_mat_row(const struct kern *kn, const struct kern_mat *m, int i, float *out)
{
	size_t lane, k, n = (size_t)m->k;
	const void *b = row_block(m, i, &lane);

	(void)kn;
	if (m->dtype == KERN_Q8) {
		cpu_q8_get(b, lane, n, out);
		return;
	}
	for (k = 0; k < n; k++) {
		size_t at = cpu_at(m->dtype, lane, k);

		out[k] = m->dtype == KERN_F32 ? ((const float *)b)[at] :
		    kern_num_from_bf16(((const uint16_t *)b)[at]);
	}
}
