/* kern_cuda.cu - the cuda backend: so far only the search for a device. */
#include <cuda_runtime.h>
#include <stdio.h>

extern "C" {
#include "kern_impl.h"

int
kern_cuda_open(struct kern **k_p, const struct kern_opt *opt,
    char why[KERN_WHY])
{
	int n = 0;
	cudaError_t e = cudaGetDeviceCount(&n);

	(void)k_p;
	(void)opt;
	if (e != cudaSuccess || n == 0)
		snprintf(why, KERN_WHY, "no CUDA device: cudaGetDeviceCount "
		    "says %s", e != cudaSuccess ? cudaGetErrorString(e) :
		    "there is none");
	else
		snprintf(why, KERN_WHY, "the CUDA kernels are not ready yet");
	return -1;
}
}
