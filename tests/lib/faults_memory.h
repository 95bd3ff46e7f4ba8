/*
 * faults_memory.h - the part of faults.h that stands in for malloc and its
 * like; faults.h includes it.  Not under a sanitizer, whose own these functions
 * are: it counts leaks itself.
 */
#ifndef MOE_FAULTS_MEMORY_H
#define MOE_FAULTS_MEMORY_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULT_HAS_MEMORY	0
#else
#define FAULT_HAS_MEMORY	1

/* The program's own code, by the linker. */
extern char __executable_start, etext;

static bool
fault_memory(const void *caller)
{
	const char *at = caller;

	return (fault.all_memory || at < &__executable_start ||
	    at >= &etext) && fault_now(FAULT_MEMORY);
}

/* What dlsym asks for while it looks for the true malloc. */
static char fault_early[4096];
static size_t fault_early_n;

void	*malloc(size_t n);
void	*calloc(size_t n, size_t size);
void	*realloc(void *p, size_t n);
void	*aligned_alloc(size_t align, size_t n);
int	posix_memalign(void **p_p, size_t align, size_t n);
void	free(void *p);

void *
malloc(size_t n)
{
	static bool looking;
	static void *(*real)(size_t);
	void *p;

	if (real == NULL && !looking) {
		looking = true;
		*(void **)&real = dlsym(RTLD_NEXT, "malloc");
		looking = false;
	}
	if (real == NULL) {
		p = fault_early + fault_early_n;
		fault_early_n += (n + 15) & ~(size_t)15;
		return fault_early_n <= sizeof(fault_early) ? p : NULL;
	}
	if (fault_memory(__builtin_return_address(0)) ||
	    (p = real(n)) == NULL)
		return NULL;
	atomic_fetch_add(&fault.live, 1);
	return p;
}

static bool
fault_is_early(const void *p)
{
	return (const char *)p >= fault_early &&
	    (const char *)p < fault_early + sizeof(fault_early);
}

void *
calloc(size_t n, size_t size)
{
	static bool looking;
	static void *(*real)(size_t, size_t);
	void *p;

	if (real == NULL && !looking) {
		looking = true;
		*(void **)&real = dlsym(RTLD_NEXT, "calloc");
		looking = false;
	}
	if (real == NULL)
		return malloc(n * size);	/* early: never used before */
	if (fault_memory(__builtin_return_address(0)) ||
	    (p = real(n, size)) == NULL)
		return NULL;
	atomic_fetch_add(&fault.live, 1);
	return p;
}

void *
realloc(void *old, size_t n)
{
	FAULT_REAL(void *(void *, size_t), "realloc");
	void *p;

	if (fault_memory(__builtin_return_address(0)))
		return NULL;
	p = real(old, n);
	if (old == NULL && p != NULL)
		atomic_fetch_add(&fault.live, 1);
	else if (old != NULL && p == NULL && n == 0)
		atomic_fetch_sub(&fault.live, 1);
	return p;
}

void *
aligned_alloc(size_t align, size_t n)
{
	FAULT_REAL(void *(size_t, size_t), "aligned_alloc");
	void *p = real(align, n);

	if (p != NULL)
		atomic_fetch_add(&fault.live, 1);
	return p;
}

int
posix_memalign(void **p_p, size_t align, size_t n)
{
	FAULT_REAL(int(void **, size_t, size_t), "posix_memalign");
	int rc = real(p_p, align, n);

	if (rc == 0)
		atomic_fetch_add(&fault.live, 1);
	return rc;
}

void
free(void *p)
{
	FAULT_REAL(void(void *), "free");

	if (p == NULL || fault_is_early(p))
		return;
	atomic_fetch_sub(&fault.live, 1);
	real(p);
}

/* mem_printf's, which aborts. */
int
vasprintf(char **s_p, const char *fmt, va_list ap)
{
	FAULT_REAL(int(char **, const char *, va_list), "vasprintf");
	bool was = fault_off;
	int n;

	fault_off = !fault.all_memory;
	n = real(s_p, fmt, ap);
	fault_off = was;
	return n;
}

/* Functions whose want of memory is an abort (mem_must): it does not fail
 * there. */
#define FAULT_SPARED(type, name, params, types, args)			\
	type	name params;						\
									\
	type								\
	name params							\
	{								\
		FAULT_REAL(type types, #name);				\
		bool was = fault_off;					\
		type got_;						\
									\
		fault_off = !fault.all_memory;				\
		got_ = real args;					\
		fault_off = was;					\
		return got_;						\
	}

FAULT_SPARED(void *, pcre2_match_data_create_8, (uint32_t n, void *c),
    (uint32_t, void *), (n, c))
FAULT_SPARED(void *, pcre2_match_context_create_8, (void *c), (void *), (c))
FAULT_SPARED(void *, SSL_new, (void *x), (void *), (x))
FAULT_SPARED(void *, BIO_new, (const void *m), (const void *), (m))
FAULT_SPARED(int, EVP_Digest, (const void *p, size_t n, void *out,
    unsigned *n_p, const void *md, void *e),
    (const void *, size_t, void *, unsigned *, const void *, void *),
    (p, n, out, n_p, md, e))
FAULT_SPARED(void *, HMAC, (const void *md, const void *key, int n_key,
    const void *p, size_t n, void *out, unsigned *n_p),
    (const void *, const void *, int, const void *, size_t, void *, unsigned *),
    (md, key, n_key, p, n, out, n_p))

#endif

#endif
