/* ex_hold - tells clients and the router which experts are in memory
 * (LINK_MSG_HOLD), people how far loading is, and main() when it has ended.  Engine thread only. */
#ifndef MOE_EX_HOLD_H
#define MOE_EX_HOLD_H

#include "ex.h"

/* Take over what was loaded, and pass it on; returns when to come again. */
uint64_t ex_hold_tend(struct ex *ex, uint64_t now_ns);
/* The set as it is, to a pair that has just come up. */
void	ex_hold_greet(struct ex *ex, struct link_pair *pair);

#endif
