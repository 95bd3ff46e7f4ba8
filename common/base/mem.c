/* mem - see mem.h.  Floor F0. */
#include "mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES	((size_t)2 << 20)

void *
mem_must(void *p, size_t n)
{
	if (p == NULL) {
		fprintf(stderr, "out of memory (%zu bytes wanted)\n", n);
		abort();
	}
	return p;
}

void *
mem_alloc(size_t n)
{
	return mem_must(malloc(n ? n : 1), n);
}

void *
mem_zalloc(size_t n)
{
	return mem_must(calloc(1, n ? n : 1), n);
}

void *
mem_calloc(size_t n, size_t size)
{
	return mem_must(calloc(n ? n : 1, size ? size : 1), n);
}

void *
mem_realloc(void *p, size_t n)
{
	return mem_must(realloc(p, n ? n : 1), n);
}

void *
mem_aligned(size_t align, size_t n)
{
	size_t room = (n + align - 1) & ~(align - 1);
	void *p = mem_must(aligned_alloc(align, room ? room : align), n);

	memset(p, 0, room);
	return p;
}

void *
mem_dup(const void *p, size_t n)
{
	void *q = mem_alloc(n);

	if (n > 0)
		memcpy(q, p, n);
	return q;
}

char *
mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

char *
mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return mem_must(s, 0);
}

void
mem_free(void *p)
{
	free(p);
}

bool
mem_mul(size_t a, size_t b, size_t *out)
{
	size_t r;

	if (__builtin_mul_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

void
mem_grow(void **p_p, size_t *cap_p, size_t need, size_t elem)
{
	size_t cap = *cap_p, bytes;

	if (need <= cap)
		return;
	cap = cap * 2 > need ? cap * 2 : need;
	if (cap < 8)
		cap = 8;
	if (!mem_mul(cap, elem, &bytes))
		mem_must(NULL, SIZE_MAX);
	*p_p = mem_realloc(*p_p, bytes);
	*cap_p = cap;
}

void *
mem_map(size_t n)
{
	void *p = mmap(NULL, n ? n : 1, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (n >= HUGE_BYTES)
		(void)madvise(p, n, MADV_HUGEPAGE);	/* a wish, not a need */
	return p;
}

void
mem_unmap(void *p, size_t n)
{
	if (p != NULL)
		munmap(p, n ? n : 1);
}

size_t
mem_resident(void)
{
	unsigned long size, res = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &res) != 2)
		res = 0;
	fclose(f);
	return (size_t)res * (size_t)sysconf(_SC_PAGESIZE);
}
