/* clock - one clock for everything: monotonic nanoseconds since boot. */
#ifndef MOE_CLOCK_H
#define MOE_CLOCK_H

#include <stdint.h>

uint64_t clock_ns(void);
/* Nanoseconds left until deadline_ns, 0 when it has passed. */
uint64_t clock_left(uint64_t deadline_ns);

#endif
