/*
 * kern_cuda.h - between the host half of the cuda backend (kern_cuda_host.c:
 * C, no CUDA headers) and the device half (kern_cuda.cu).
 *
 * The device half has one stream and one context: the first visible device.
 * Every function but kern_cuda_probe and kern_cuda_alloc aborts, with the
 * text of the CUDA error, when the device fails: there is nobody to ask.
 */
#ifndef MOE_KERN_CUDA_H
#define MOE_KERN_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Most rows of a tile: 4 column tiles of the tensor cores' 8. */
#define KERN_CUDA_ROWS	32

/* One group of kern_ffn as the device sees it; pointers into device memory. */
struct kern_cuda_group {
	const void *gate_up, *down;	/* packed blocks */
	const float *bias_gate, *bias_up, *bias_down;	/* or NULL */
};

/* Up to KERN_CUDA_ROWS rows of one group. */
struct kern_cuda_tile {
	int32_t group, row, n;
};

/*
 * One call.  x [rows][hp], mid [rows][ip], y [rows][h] hold act values; hp and
 * ip are h and i rounded up to 16, the rest zero.  Weights and activations
 * are both bf16 (bf16 true) or both fp32.
 */
struct kern_cuda_job {
	const struct kern_cuda_group *group;
	const struct kern_cuda_tile *tile;
	int n_tile;
	int h, i, hp, ip;
	int glu;		/* enum kern_glu */
	bool bf16;
	const void *x;
	void *mid, *y;
};

/* Is there a device?  Its compute capability, 90 for 9.0; or -1 and why. */
int	kern_cuda_probe(char why[KERN_WHY]);

/* Device memory, zero; NULL when there is no room. */
void	*kern_cuda_alloc(size_t bytes);
void	kern_cuda_free(void *p);
/* Host memory that the device reads and writes quickly. */
void	*kern_cuda_pin(size_t bytes);
void	kern_cuda_unpin(void *p);

/* Done when they return. */
void	kern_cuda_download(void *host, const void *dev, size_t bytes);
void	kern_cuda_upload(void *dev, const void *host, size_t bytes);
/* In order with kern_cuda_launch; host must be pinned. */
void	kern_cuda_send(void *dev, const void *host, size_t bytes);
void	kern_cuda_clear(void *dev, size_t bytes);
void	kern_cuda_launch(const struct kern_cuda_job *j);
/* Wait for all of that, with y back in host memory. */
void	kern_cuda_fetch(void *host, const void *dev, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
