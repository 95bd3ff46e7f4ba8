/* clock - see clock.h.  Floor F0. */
#include "clock.h"

#include <time.h>

uint64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t
clock_left(uint64_t deadline_ns)
{
	uint64_t now = clock_ns();

	return deadline_ns > now ? deadline_ns - now : 0;
}
