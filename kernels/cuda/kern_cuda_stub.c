/* kern_cuda_stub.c - the cuda backend of a build without the CUDA Toolkit. */
#include <stdio.h>

#include "kern_impl.h"

int
kern_cuda_open(struct kern **k_p, const struct kern_opt *opt,
    char why[KERN_WHY])
{
	(void)k_p;
	(void)opt;
	snprintf(why, KERN_WHY, "this build has no CUDA (see make features)");
	return -1;
}
