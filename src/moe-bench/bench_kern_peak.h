/*
 * bench_kern_peak - what this machine can do at best, measured: reading
 * memory, and multiply-adds in registers.
 */
#ifndef MOE_BENCH_KERN_PEAK_H
#define MOE_BENCH_KERN_PEAK_H

#include <stddef.h>

#include "kern.h"

struct bench_kern_peak;

/* threads measuring threads, each with its own share of `bytes` to read. */
struct bench_kern_peak *bench_kern_peak_new(int threads, size_t bytes);
void	bench_kern_peak_free(struct bench_kern_peak *p);

/* One pass over the memory: bytes per second of all threads together. */
double	bench_kern_peak_read(struct bench_kern_peak *p);
/* Multiply-adds (2 flop each) in the widest form that variant isa uses for
 * products of act: flop per second of all threads together. */
double	bench_kern_peak_fma(struct bench_kern_peak *p, const char *isa,
	    enum kern_dtype act);

#endif
