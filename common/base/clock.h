/*
 * clock - one clock for everything: monotonic nanoseconds since boot.
 *
 * For emulations the clock of a process can be dilated: n real nanoseconds
 * are one of it.  Then all durations that are measured with it or waited for,
 * such as deadlines, heartbeats and holds, are n times longer.  Processes of the
 * same n agree on the time.
 */
#ifndef MOE_CLOCK_H
#define MOE_CLOCK_H

#include <stdint.h>

uint64_t clock_ns(void);
/* Real nanoseconds left until deadline_ns, 0 when it has passed: what to give
 * to the kernel for a wait. */
uint64_t clock_left(uint64_t deadline_ns);
/* Real nanoseconds of a duration on this clock, UINT64_MAX at most. */
uint64_t clock_real(uint64_t ns);

#define CLOCK_MAX_DILATION	1000
/* n: 1 .. CLOCK_MAX_DILATION.  Before any thread is started. */
void	clock_dilate(int n);
int	clock_dilation(void);	/* 1: real time */

#endif
