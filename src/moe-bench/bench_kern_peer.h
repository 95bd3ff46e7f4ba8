/*
 * bench_kern_peer - another library's expert FFN on the data of ours, for
 * `moe-bench kern --peer`.  onednn is the only one: bench_kern_peer_dnnl.c,
 * or bench_kern_peer_stub.c in a build without it.
 */
#ifndef MOE_BENCH_KERN_PEER_H
#define MOE_BENCH_KERN_PEER_H

#include <stddef.h>

#include "err.h"
#include "kern.h"

struct bench_kern_peer;

struct bench_kern_peer_make {
	enum kern_dtype dtype;	/* of its rows and weights */
	int h, f, rows, threads;
	size_t cold_bytes, max_bytes;	/* as of bench_kern_op_new */
	const float *gate, *up, *down;	/* [f][h], [f][h], [h][f] */
	const float *x;			/* [rows][h] */
};

/* 0, or -1: ERR_UNAVAIL when this build, this processor or the library has no
 * product of that dtype, or there is no room. */
int	bench_kern_peer_new(struct bench_kern_peer **p_p,
	    const struct bench_kern_peer_make *m, struct err *err);
void	bench_kern_peer_free(struct bench_kern_peer *p);	/* NULL: fine */

/* What ran: library, version, its own name of the kernels, and the layout of
 * the weights: "onednn-2.6.3-brg:avx512_core_bf16-packed". */
const char *bench_kern_peer_name(const struct bench_kern_peer *p);
/* Call number i: y = down(silu(gate x) * up x) on copy i of the weights. */
void	bench_kern_peer_run(struct bench_kern_peer *p, size_t i);
/* End its threads: they would spin for milliseconds into what comes next. */
void	bench_kern_peer_rest(struct bench_kern_peer *p);
/* The results of the last call, [rows][h] of the dtype that was asked for. */
const void *bench_kern_peer_y(const struct bench_kern_peer *p);

#endif
