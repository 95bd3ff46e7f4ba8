/* link_fault.c - F3.  The place of the fault: transport, which comes later. */
#include "link_tp.h"

const struct link_tp link_fault_tp = {
	.name = "fault",
	.absent = "fault: is not in this version; use shm: or tcp:",
};
