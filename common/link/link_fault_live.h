/*
 * link_fault_live - which faults a pair suffers now: those of its address, or
 * those of a file that is looked at again and again (fault:@FILE:ADDRESS), so
 * that links of a running cluster can be disturbed and healed.
 *
 * Internal to common/link.  Any thread.
 */
#ifndef MOE_LINK_FAULT_LIVE_H
#define MOE_LINK_FAULT_LIVE_H

#include "link_fault.h"

struct link_fault_use {
	struct link_fault_spec s;
	uint64_t born_ns;	/* after= and until= count from here */
	struct link_fault_use *older;
};

struct link_fault_live;

/* NULL: ERR_USAGE, the file cannot be opened. */
struct link_fault_live *link_fault_live_new(const struct link_fault_spec *s,
	    struct err *err);
void	link_fault_live_free(struct link_fault_live *l);	/* NULL is fine */
/* What is in use now; stays as it is until link_fault_live_free. */
const struct link_fault_use *link_fault_live_now(struct link_fault_live *l,
	    uint64_t now_ns);
/* Does that disturb anything at this time? */
bool	link_fault_live_in_force(const struct link_fault_use *u,
	    uint64_t now_ns);
/* When that cuts a connection that came up at up_ns; UINT64_MAX: never. */
uint64_t link_fault_live_cut_ns(const struct link_fault_use *u,
	    uint64_t up_ns);

#endif
