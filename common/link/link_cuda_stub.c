/* link_cuda_stub.c - F3.  The place of the cuda: transport, which comes later. */
#include "link_tp.h"

const struct link_tp link_cuda_tp = {
	.name = "cuda",
	.absent = "cuda: is not in this version; use shm: or tcp:",
};
