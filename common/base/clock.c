/* clock - see clock.h.  Floor F0. */
#include "clock.h"

#include <time.h>

#include "err.h"

static uint64_t dilation = 1;

uint64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) /
	    dilation;
}

uint64_t
clock_real(uint64_t ns)
{
	return ns > UINT64_MAX / dilation ? UINT64_MAX : ns * dilation;
}

uint64_t
clock_left(uint64_t deadline_ns)
{
	uint64_t now = clock_ns();

	return deadline_ns > now ? clock_real(deadline_ns - now) : 0;
}

void
clock_dilate(int n)
{
	BUG_ON(n < 1 || n > CLOCK_MAX_DILATION);
	dilation = (uint64_t)n;
}

int
clock_dilation(void)
{
	return (int)dilation;
}
