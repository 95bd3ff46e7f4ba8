/* link_nccl_stub.c - F3.  The place of the nccl: transport, which comes later. */
#include "link_tp.h"

const struct link_tp link_nccl_tp = {
	.name = "nccl",
	.absent = "nccl: is not in this version; use shm: or tcp:",
};
