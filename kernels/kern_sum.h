/*
 * kern_sum.h - the answers of a row's experts, added up where they are made.
 *
 * A *part* is the weighted sum of some of a row's answers: those that one
 * server made.  Parts are joined where the row lives.  Two rules:
 *
 * FLOAT: fp32, in order.  Which answers share a part changes the rounding, so
 * the bits of a row depend on where its experts are.
 *
 * EXACT: they do not.  A product weight * value (exact in double) is cut into
 * digits of B bits that stand at fixed places: digit q of place p counts
 * 2^(B (p - 128)) / 2^(B q).  A block of KERN_SUM_BLOCK values has one place,
 * that of its largest product, and keeps the digits from there down, 2 for bf16
 * and 3 for f32; the digits of all answers are added as integers.  Parts of
 * different places are joined at the highest, and what lies below its last
 * digit falls away.  What a product puts into a digit depends on nothing but
 * the product, and integers add up in any order, so any grouping of answers
 * into parts gives the same digits, and one rounding to fp32 at the end the
 * same bits.  B is 15 less log2 of the most addends: sums fit 16 bits.
 * The error of a value is below addends * 2^(1 - B (digits - 1)) of its block's
 * largest product, usually by half of B bits.
 *
 * A part of n values, EXACT: one byte per block (0: all zero, 255: a value is
 * not finite, else the place), to a multiple of 16; then plane by plane, first
 * digits first, n int16 each.  FLOAT: n fp32.  Little endian.
 */
#ifndef MOE_KERN_SUM_H
#define MOE_KERN_SUM_H

#include "kern.h"

#define KERN_SUM_BLOCK	32
#define KERN_SUM_ADD_MAX	64	/* addends of a row at most */

enum kern_sum_rule {		/* as enum slot_reduce: the wire's numbers */
	KERN_SUM_NONE = 0,	/* no parts: kern_combine */
	KERN_SUM_FLOAT = 1,
	KERN_SUM_EXACT = 2,
};

struct kern_sum {
	enum kern_sum_rule rule;	/* not NONE */
	enum kern_dtype act;	/* of answers: KERN_F32 or KERN_BF16 */
	int n;			/* values of a row */
	int k;			/* most answers of a row, 1..ADD_MAX */
};

/* Bytes of a part; a multiple of 4. */
size_t	kern_sum_bytes(const struct kern_sum *s);
/* part = sum of w[j] * row[j], j < m <= k; w NULL: all 1.  Any alignment of
 * rows; part is 4-byte aligned and overlaps none. */
void	kern_sum_part(const struct kern_sum *s, const void *const *row,
	    const float *w, int m, void *part);
/* y[0..n) = the sum of m parts; a NULL one counts as zero.  Parts may come
 * from a peer: any bytes give some y. */
void	kern_sum_join(const struct kern_sum *s, const void *const *part, int m,
	    float *y);

#endif
