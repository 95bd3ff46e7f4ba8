/*
 * mem - memory.  Running out of it aborts the program with one line on
 * stderr, so callers need no check; sizes that come from a file or a peer must
 * be bounded *before* they get here (mem_mul says whether a product fits).
 */
#ifndef MOE_MEM_H
#define MOE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* p; when it is NULL, that abort: n bytes (0: who knows) that a library wanted
 * for us could not be had. */
void	*mem_must(void *p, size_t n);

/* n bytes, not cleared / cleared.  n == 0 gives a valid pointer. */
void	*mem_alloc(size_t n);
void	*mem_zalloc(size_t n);
/* n elements of size bytes each, cleared; aborts when the product overflows. */
void	*mem_calloc(size_t n, size_t size);
void	*mem_realloc(void *p, size_t n);
/* Cleared memory whose address is a multiple of align (a power of two). */
void	*mem_aligned(size_t align, size_t n);
void	*mem_dup(const void *p, size_t n);
char	*mem_strdup(const char *s);
/* printf into fresh memory. */
char	*mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void	mem_free(void *p);		/* NULL is fine */

/* *out = a * b; false (and *out untouched) when that does not fit. */
bool	mem_mul(size_t a, size_t b, size_t *out);

/*
 * Make room for need elements of size elem in the array *p_p of capacity
 * *cap_p, at least doubling.  VEC_PUSH is the usual way to call it.
 */
void	mem_grow(void **p_p, size_t *cap_p, size_t need, size_t elem);

/* A growable array: VEC(int) v = {0}; VEC_PUSH(&v, 3); v.p[0]; VEC_FREE(&v). */
#define VEC(T)		struct { T *p; size_t n, cap; }
#define VEC_ROOM(v, extra)						\
	mem_grow((void **)&(v)->p, &(v)->cap, (v)->n + (extra), sizeof(*(v)->p))
#define VEC_PUSH(v, x)							\
	do {								\
		VEC_ROOM(v, 1);						\
		(v)->p[(v)->n++] = (x);					\
	} while (0)
#define VEC_FREE(v)							\
	do {								\
		mem_free((v)->p);					\
		(v)->p = NULL;						\
		(v)->n = (v)->cap = 0;					\
	} while (0)

/*
 * Cleared, page-aligned anonymous memory straight from the kernel, for weights
 * and KV pages; asks for transparent huge pages from 2 MiB up.  NULL with errno
 * set when the kernel refuses (the one allocation that callers do check).
 */
void	*mem_map(size_t n);
void	mem_unmap(void *p, size_t n);

/* Resident set of this process in bytes; 0 where /proc cannot tell. */
size_t	mem_resident(void);

#endif
