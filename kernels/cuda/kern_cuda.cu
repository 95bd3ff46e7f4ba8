/*
 * kern_cuda.cu - device half of the cuda backend: memory, and the two products
 * of the expert FFN.
 *
 * The packed layout of the cpu backend serves the tensor cores as it is.  A
 * block holds 16 outputs as 32-bit words [k / 2][16], a pair of k each: just
 * what a thread of mma.m16n8k16 wants in a register of its A operand (16
 * outputs by 16 k).  Rows of activations are the B operand's columns, 8 at a
 * time.  So weights go from memory to registers once per 32 rows.
 *
 * The order of sums: k ascending, 16 per instruction (bf16) or 1 per fused
 * multiply-add (fp32), one accumulator per output; a column of an mma never
 * sees another column, so a row's bits do not depend on its neighbours.
 */
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#include "kern_cuda.h"

#define WARPS	4		/* of a thread block: one packed block each */
#define COLS	8		/* rows per mma */
#define TILES	(KERN_CUDA_ROWS / COLS)
#define F32_ROWS	8	/* rows per thread in the fp32 kernel */

/* ---- device -------------------------------------------------------------- */

__device__ static float
sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

__device__ static float
glu_value(int kind, float g, float u)
{
	switch (kind) {
	case KERN_SILU:
		return g * sigmoid(g) * u;
	case KERN_GELU:
		return g * sigmoid(1.5957691216f *
		    (g + 0.044715f * g * g * g)) * u;
	default:	/* KERN_CLAMP; comparisons keep a NaN */
		g = g > 7 ? 7 : g;
		u = u > 7 ? 7 : u < -7 ? -7 : u;
		return (u + 1) * g * sigmoid(1.702f * g);
	}
}

__device__ static float
bias_at(const float *bias, int n)
{
	return bias != NULL ? bias[n] : 0;
}

/* c += A B for 16 outputs, 16 k, 8 rows. */
__device__ static void
mma(float c[4], const uint32_t a[4], const uint32_t b[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),
	      "r"(b[0]), "r"(b[1]));
}

/*
 * Products of one packed block with the n rows of a tile, by one warp.  In
 * the terms of the mma, thread (g = lane / 4, t = lane % 4) gets outputs g
 * (c[][0..1]) and g + 8 (c[][2..3]) of rows 8 i + 2 t and 8 i + 2 t + 1.
 * x: the tile's first row, ldx (a multiple of 16) values apart.
 */
__device__ static void
block_bf16(float c[TILES][4], const uint32_t *w, int k,
    const __nv_bfloat16 *x, int ldx, int n)
{
	int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
	int pairs = (k + 1) / 2, p, i;
	const uint32_t *xw = (const uint32_t *)x;
	uint32_t a[4], b[2];

	for (i = 0; i < TILES; i++)
		c[i][0] = c[i][1] = c[i][2] = c[i][3] = 0;
#pragma unroll 4
	for (p = t; p - t < pairs; p += 8) {
		bool lo = p < pairs, hi = p + 4 < pairs;

		a[0] = lo ? __ldg(w + p * 16 + g) : 0;
		a[1] = lo ? __ldg(w + p * 16 + g + 8) : 0;
		a[2] = hi ? __ldg(w + (p + 4) * 16 + g) : 0;
		a[3] = hi ? __ldg(w + (p + 4) * 16 + g + 8) : 0;
#pragma unroll
		for (i = 0; i < TILES; i++) {
			int row = i * COLS + g;

			if (i * COLS >= n)	/* the same for the warp */
				break;
			b[0] = row < n ? xw[row * (ldx / 2) + p] : 0;
			b[1] = row < n ? xw[row * (ldx / 2) + p + 4] : 0;
			mma(c[i], a, b);
		}
	}
}

/* The packed block of this warp, or -1 when there are no more. */
__device__ static int
warp_block(int blocks)
{
	int b = blockIdx.x * WARPS + threadIdx.x / 32;

	return b < blocks ? b : -1;
}

/* gate, up and glu: a block has 8 gates (outputs 0-7) and their 8 ups, so a
 * thread holds both halves of what it writes. */
__global__ static void
up_bf16(struct kern_cuda_job j)
{
	struct kern_cuda_tile tile = j.tile[blockIdx.y];
	struct kern_cuda_group g = j.group[tile.group];
	int b = warp_block((j.i + 7) / 8), lane = threadIdx.x % 32;
	int n = b * 8 + lane / 4, i, s;
	float c[TILES][4];

	if (b < 0)
		return;
	block_bf16(c, (const uint32_t *)g.gate_up +
	    (size_t)b * ((j.h + 1) / 2) * 16, j.h, (const __nv_bfloat16 *)j.x +
	    (size_t)tile.row * j.hp, j.hp, tile.n);
	for (i = 0; i < TILES; i++) {
		for (s = 0; s < 2; s++) {
			int row = i * COLS + lane % 4 * 2 + s;
			float v;

			if (row >= tile.n || n >= j.i)
				continue;
			v = glu_value(j.glu,
			    c[i][s] + bias_at(g.bias_gate, n),
			    c[i][s + 2] + bias_at(g.bias_up, n));
			((__nv_bfloat16 *)j.mid)[(size_t)(tile.row + row) *
			    j.ip + n] = __float2bfloat16_rn(v);
		}
	}
}

__global__ static void
down_bf16(struct kern_cuda_job j)
{
	struct kern_cuda_tile tile = j.tile[blockIdx.y];
	struct kern_cuda_group g = j.group[tile.group];
	int b = warp_block((j.h + 15) / 16), lane = threadIdx.x % 32, i, s;
	float c[TILES][4];

	if (b < 0)
		return;
	block_bf16(c, (const uint32_t *)g.down +
	    (size_t)b * ((j.i + 1) / 2) * 16, j.i,
	    (const __nv_bfloat16 *)j.mid + (size_t)tile.row * j.ip, j.ip,
	    tile.n);
	for (i = 0; i < TILES; i++) {
		for (s = 0; s < 4; s++) {
			int row = i * COLS + lane % 4 * 2 + s % 2;
			int n = b * 16 + lane / 4 + s / 2 * 8;

			if (row >= tile.n || n >= j.h)
				continue;
			((__nv_bfloat16 *)j.y)[(size_t)(tile.row + row) * j.h +
			    n] = __float2bfloat16_rn(c[i][s] +
			    bias_at(g.bias_down, n));
		}
	}
}

/* fp32: a thread is one output of a packed block, for F32_ROWS rows; 16
 * threads read 16 weights in one go, and a row's value is a broadcast. */
__device__ static void
block_f32(float c[F32_ROWS], const float *w, int k, const float *x, int ldx,
    int n)
{
	int lane = threadIdx.x % 16, i, r;

	for (r = 0; r < F32_ROWS; r++)
		c[r] = 0;
#pragma unroll 4
	for (i = 0; i < k; i++) {
		float v = __ldg(w + i * 16 + lane);

#pragma unroll
		for (r = 0; r < F32_ROWS; r++)
			if (r < n)
				c[r] = fmaf(v, x[r * ldx + i], c[r]);
	}
}

/* The packed block of these 16 threads; the last ones may repeat it, so that
 * all threads of a warp stay together for the shuffle. */
__device__ static int
half_block(int blocks, bool *mine)
{
	int b = (blockIdx.x * blockDim.x + threadIdx.x) / 16;

	*mine = b < blocks;
	return *mine ? b : blocks - 1;
}

__global__ static void
up_f32(struct kern_cuda_job j)
{
	struct kern_cuda_tile tile = j.tile[blockIdx.y];
	struct kern_cuda_group g = j.group[tile.group];
	bool mine;
	int b = half_block((j.i + 7) / 8, &mine), lane = threadIdx.x % 16;
	int n = b * 8 + lane % 8, r0, r;
	float c[F32_ROWS];

	for (r0 = 0; r0 < tile.n; r0 += F32_ROWS) {
		block_f32(c, (const float *)g.gate_up + (size_t)b * j.h * 16,
		    j.h, (const float *)j.x + (size_t)(tile.row + r0) * j.hp,
		    j.hp, tile.n - r0);
		for (r = 0; r < F32_ROWS; r++) {
			float u = __shfl_down_sync(~0u, c[r], 8, 16);

			if (!mine || lane >= 8 || n >= j.i || r0 + r >= tile.n)
				continue;
			((float *)j.mid)[(size_t)(tile.row + r0 + r) * j.ip +
			    n] = glu_value(j.glu,
			    c[r] + bias_at(g.bias_gate, n),
			    u + bias_at(g.bias_up, n));
		}
	}
}

__global__ static void
down_f32(struct kern_cuda_job j)
{
	struct kern_cuda_tile tile = j.tile[blockIdx.y];
	struct kern_cuda_group g = j.group[tile.group];
	bool mine;
	int b = half_block((j.h + 15) / 16, &mine);
	int n = b * 16 + threadIdx.x % 16, r0, r;
	float c[F32_ROWS];

	for (r0 = 0; r0 < tile.n; r0 += F32_ROWS) {
		block_f32(c, (const float *)g.down + (size_t)b * j.i * 16,
		    j.i, (const float *)j.mid + (size_t)(tile.row + r0) * j.ip,
		    j.ip, tile.n - r0);
		for (r = 0; r < F32_ROWS; r++)
			if (mine && n < j.h && r0 + r < tile.n)
				((float *)j.y)[(size_t)(tile.row + r0 + r) *
				    j.h + n] = c[r] + bias_at(g.bias_down, n);
	}
}

/* ---- host ---------------------------------------------------------------- */

static void
must(cudaError_t e, const char *what)
{
	if (e == cudaSuccess)
		return;
	fprintf(stderr, "kern: %s: %s\n", what, cudaGetErrorString(e));
	abort();
}

extern "C" int
kern_cuda_probe(char why[KERN_WHY])
{
	cudaDeviceProp prop;
	int n = 0;
	cudaError_t e = cudaGetDeviceCount(&n);

	if (e == cudaSuccess && n == 0)
		e = cudaErrorNoDevice;
	if (e != cudaSuccess) {
		snprintf(why, KERN_WHY, "no CUDA device: cudaGetDeviceCount "
		    "says %s", cudaGetErrorString(e));
		return -1;
	}
	e = cudaGetDeviceProperties(&prop, 0);
	if (e == cudaSuccess)
		e = cudaFree(NULL);	/* makes the context */
	if (e != cudaSuccess) {
		snprintf(why, KERN_WHY, "CUDA device 0 does not start: %s",
		    cudaGetErrorString(e));
		return -1;
	}
	if (prop.major < 8) {
		snprintf(why, KERN_WHY, "CUDA device 0 (%.99s) has compute "
		    "capability %d.%d; bf16 needs 8.0", prop.name, prop.major,
		    prop.minor);
		return -1;
	}
	return prop.major * 10 + prop.minor;
}

extern "C" void *
kern_cuda_alloc(size_t bytes)
{
	void *p = NULL;

	if (cudaMalloc(&p, bytes ? bytes : 1) != cudaSuccess) {
		cudaGetLastError();	/* a lack of room is not sticky */
		return NULL;
	}
	must(cudaMemset(p, 0, bytes), "cudaMemset");
	return p;
}

extern "C" void
kern_cuda_free(void *p)
{
	must(cudaFree(p), "cudaFree");
}

extern "C" void *
kern_cuda_pin(size_t bytes)
{
	void *p = NULL;

	must(cudaMallocHost(&p, bytes ? bytes : 1), "cudaMallocHost");
	return p;
}

extern "C" void
kern_cuda_unpin(void *p)
{
	must(cudaFreeHost(p), "cudaFreeHost");
}

extern "C" void
kern_cuda_download(void *host, const void *dev, size_t bytes)
{
	must(cudaMemcpy(host, dev, bytes, cudaMemcpyDeviceToHost),
	    "cudaMemcpy");
}

extern "C" void
kern_cuda_upload(void *dev, const void *host, size_t bytes)
{
	must(cudaMemcpy(dev, host, bytes, cudaMemcpyHostToDevice),
	    "cudaMemcpy");
}

extern "C" void
kern_cuda_send(void *dev, const void *host, size_t bytes)
{
	must(cudaMemcpyAsync(dev, host, bytes, cudaMemcpyHostToDevice, 0),
	    "cudaMemcpyAsync");
}

extern "C" void
kern_cuda_clear(void *dev, size_t bytes)
{
	must(cudaMemsetAsync(dev, 0, bytes, 0), "cudaMemsetAsync");
}

extern "C" void
kern_cuda_launch(const struct kern_cuda_job *j)
{
	int up = (j->i + 7) / 8, down = (j->h + 15) / 16, first, n;
	int per = j->bf16 ? WARPS : WARPS * 2;	/* blocks per thread block */

	/* gridDim.y ends at 65535. */
	for (first = 0; first < j->n_tile; first += n) {
		struct kern_cuda_job part = *j;

		n = j->n_tile - first < 65535 ? j->n_tile - first : 65535;
		part.tile += first;
		dim3 ug((up + per - 1) / per, n), dg((down + per - 1) / per, n);
		if (j->bf16) {
			up_bf16<<<ug, WARPS * 32>>>(part);
			down_bf16<<<dg, WARPS * 32>>>(part);
		} else {
			up_f32<<<ug, WARPS * 32>>>(part);
			down_f32<<<dg, WARPS * 32>>>(part);
		}
		must(cudaGetLastError(), "launch of the expert FFN");
	}
}

extern "C" void
kern_cuda_fetch(void *host, const void *dev, size_t bytes)
{
	must(cudaMemcpyAsync(host, dev, bytes, cudaMemcpyDeviceToHost, 0),
	    "cudaMemcpyAsync");
	must(cudaStreamSynchronize(0), "the expert FFN");
}
