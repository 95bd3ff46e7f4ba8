/*
 * bench_kern_peak.c - see bench_kern_peak.h.
 *
 * Threads start together at a barrier and are timed from there to the last
 * one's end, so that the figure is what they reach at the same time.
 */
#include "bench_kern_peak.h"

#include <immintrin.h>
#include <pthread.h>
#include <string.h>

#include "clock.h"
#include "err.h"
#include "mem.h"

#define CHAINS	12		/* independent accumulators: latency x width */
#define ROUNDS	100000
#define FLOPS_256	(2.0 * 8 * CHAINS * ROUNDS)

struct task {
	void (*fn)(const char *p, size_t n, float *out);
	const char *p;
	size_t n;
	pthread_barrier_t *start;
	uint64_t begin_ns, end_ns;
	float out;		/* keeps the compiler from dropping the work */
};

struct bench_kern_peak {
	int threads;
	char *mem;
	size_t bytes;
};

/* Four streams, prefetched, as fast loops over memory have them. */
__attribute__((target("avx2"))) static void
read_avx2(const char *p, size_t n, float *out)
{
	__m256i s[8] = { { 0 } };
	size_t quarter = n / 4 / 64 * 64, i;
	int j;

	for (i = 0; i < quarter; i += 64) {
		_Pragma("GCC unroll 4")
		for (j = 0; j < 4; j++) {
			const char *q = p + (size_t)j * quarter + i;
			const __m256i *v = (const __m256i *)(const void *)q;

			_mm_prefetch(q + 1024, _MM_HINT_T0);
			s[2 * j] = _mm256_xor_si256(s[2 * j],
			    _mm256_load_si256(v));
			s[2 * j + 1] = _mm256_xor_si256(s[2 * j + 1],
			    _mm256_load_si256(v + 1));
		}
	}
	for (j = 1; j < 8; j++)
		s[0] = _mm256_xor_si256(s[0], s[j]);
	*out = (float)_mm256_extract_epi32(s[0], 0);
}

static void
read_plain(const char *p, size_t n, float *out)
{
	uint64_t s = 0, v;
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		memcpy(&v, p + i, 8);
		s ^= v;
	}
	*out = (float)s;
}

#define FMA_LOOP(T, SET, FMA, x)					\
	T c[CHAINS], a = SET(1.0001f + *out), b = SET(0.9999f);		\
	int i, j;							\
									\
	(void)p;							\
	for (j = 0; j < CHAINS; j++)					\
		c[j] = SET((float)j);					\
	for (i = 0; i < ROUNDS; i++) {					\
		_Pragma("GCC unroll 12")				\
		for (j = 0; j < CHAINS; j++)				\
			c[j] = FMA;					\
	}								\
	for (j = 1; j < CHAINS; j++)					\
		c[0] = c[0] + c[j];					\
	*out = ((const float *)&c[0])[n & 1];

__attribute__((target("avx2,fma"))) static void
fma_avx2(const char *p, size_t n, float *out)
{
	FMA_LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps(c[j], a, b), 8)
}

__attribute__((target("avx512f"))) static void
fma_avx512(const char *p, size_t n, float *out)
{
	FMA_LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps(c[j], a, b), 16)
}

__attribute__((target("avx512f,avx512bf16"))) static void
fma_bf16(const char *p, size_t n, float *out)
{
	FMA_LOOP(__m512, _mm512_set1_ps, _mm512_dpbf16_ps(c[j], (__m512bh)a,
	    (__m512bh)b), 32)
}

static void
fma_plain(const char *p, size_t n, float *out)
{
	FMA_LOOP(float, , c[j] * a + b, 1)
}

static void *
task_main(void *arg)
{
	struct task *t = arg;

	pthread_barrier_wait(t->start);
	t->begin_ns = clock_ns();
	t->fn(t->p, t->n, &t->out);
	t->end_ns = clock_ns();
	return NULL;
}

/* Seconds from the first begin to the last end of fn on all threads. */
static double
time_all(struct bench_kern_peak *p,
    void (*fn)(const char *, size_t, float *))
{
	struct task *t = mem_calloc((size_t)p->threads, sizeof(*t));
	pthread_t *id = mem_calloc((size_t)p->threads, sizeof(*id));
	size_t share = p->bytes / (size_t)p->threads / 4096 * 4096;
	pthread_barrier_t start;
	uint64_t begin = UINT64_MAX, end = 0;
	int i;

	pthread_barrier_init(&start, NULL, (unsigned)p->threads);
	for (i = 0; i < p->threads; i++) {
		t[i] = (struct task){ .fn = fn, .n = share, .start = &start,
		    .p = p->mem + (size_t)i * share };
		BUG_ON(pthread_create(&id[i], NULL, task_main, &t[i]) != 0);
	}
	for (i = 0; i < p->threads; i++) {
		pthread_join(id[i], NULL);
		begin = t[i].begin_ns < begin ? t[i].begin_ns : begin;
		end = t[i].end_ns > end ? t[i].end_ns : end;
	}
	pthread_barrier_destroy(&start);
	mem_free(t);
	mem_free(id);
	return (double)(end - begin) * 1e-9;
}

struct bench_kern_peak *
bench_kern_peak_new(int threads, size_t bytes)
{
	struct bench_kern_peak *p = mem_zalloc(sizeof(*p));

	p->threads = threads;
	p->bytes = bytes;
	p->mem = mem_map(bytes);
	if (p->mem == NULL) {
		mem_free(p);
		return NULL;
	}
	memset(p->mem, 1, bytes);
	return p;
}

void
bench_kern_peak_free(struct bench_kern_peak *p)
{
	if (p == NULL)
		return;
	mem_unmap(p->mem, p->bytes);
	mem_free(p);
}

double
bench_kern_peak_read(struct bench_kern_peak *p)
{
	size_t share = p->bytes / (size_t)p->threads / 4096 * 4096;
	double s = time_all(p, __builtin_cpu_supports("avx2") ? read_avx2 :
	    read_plain);

	return (double)share * p->threads / s;
}

double
bench_kern_peak_fma(struct bench_kern_peak *p, const char *isa,
    enum kern_dtype act)
{
	void (*fn)(const char *, size_t, float *) = fma_plain;
	double flops = FLOPS_256 / 8;

	if (strcmp(isa, "avx2") == 0) {
		fn = fma_avx2;
		flops = FLOPS_256;
	} else if (strcmp(isa, "avx512bf16") == 0) {
		fn = act == KERN_BF16 ? fma_bf16 : fma_avx512;
		flops = FLOPS_256 * (act == KERN_BF16 ? 4 : 2);
	}
	return flops * p->threads / time_all(p, fn);
}
