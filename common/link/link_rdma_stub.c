/* link_rdma_stub.c - F3.  The place of the rdma: transport, which comes later. */
#include "link_tp.h"

const struct link_tp link_rdma_tp = {
	.name = "rdma",
	.absent = "rdma: is not in this version; use shm: or tcp:",
};
