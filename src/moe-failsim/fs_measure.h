/*
 * fs_measure - what a drill's bounds are about, computed from its events: see
 * the options of `moe-failsim judge`.  Pure.
 */
#ifndef MOE_FS_MEASURE_H
#define MOE_FS_MEASURE_H

#include "fs_tally.h"

struct fs_measure {
	/* tokens a second before the first fault, until the last is undone, and
	 * then; and in the worst second of those until it is undone */
	double before, during, after, worst;
	/* the largest p99 of the gaps between tokens right after a fault, over
	 * the larger of those at rest on both sides; 0: not enough of them */
	double step_ratio;
	int64_t serves_p99_us;	/* a server's start to its first answer; -1 */
	long serves;		/* how many of them */
	/* 99th percentiles of whole answers that were sent before the first
	 * fault, and while one lasted; -1: none */
	int64_t calm_us, loaded_us;
	/* from the end of the last fault to the last answer that was refused, or
	 * waited for its first token longer than twice the p99 of before; -1 */
	int64_t recovery_us;
	int64_t growth_kb;	/* of the member that has grown most */
	const char *grown;	/* its name; "-" */
};

/* t is complete (fs_tally_end).  out points into it. */
void	fs_measure(const struct fs_tally *t, struct fs_measure *out);

#endif
