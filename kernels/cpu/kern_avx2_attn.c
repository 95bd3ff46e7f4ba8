/* kern_avx2_attn.c - inner loops of attention for AVX2 + FMA. */
#include "kern_v8.h"

#include "kern_avx2.h"
#include "kern_loop_attn.h"

void
kern_avx2_attn(struct cpu_query *q, int n, const struct cpu_keys *b)
{
	kern_loop_attn(q, n, b);
}

void
kern_avx2_attn_merge(struct cpu_query *to, const struct cpu_query *from, int dv)
{
	kern_loop_merge(to, from, dv);
}
