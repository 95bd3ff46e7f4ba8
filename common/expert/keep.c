/* keep - see keep.h.  An expert's two matrices stand in one mapping of `stride`
 * bytes, of the file or of anonymous memory: dropping is the same for both. */
#include "keep.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keep_file.h"
#include "mem.h"
#include "slot.h"
#include "store.h"

struct keep {
	struct keep_opt o;
	struct kern_expert shape;
	struct keep_head head;	/* without layer, first, n, crc */
	int keep_fd, cache_fd;	/* folders; -1: not wanted */
	atomic_ullong n_mapped, n_cached, n_packed, n_bad;
};

struct block {			/* one call of keep_load */
	struct keep *k;
	struct keep_head head;
	struct kern_expert *w;
	uint32_t *sum;		/* [n] */
};

__attribute__((format(printf, 2, 3))) static void
warn(const struct keep *k, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (k->o.warn == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->o.warn(k->o.arg, text);
}

int
keep_open(struct keep **out, const struct keep_opt *o, struct err *err)
{
	struct keep *k = mem_zalloc(sizeof(*k));

	k->o = *o;
	k->keep_fd = k->cache_fd = -1;
	store_expert_shape(o->kn, o->m, &k->shape);
	keep_head_init(&k->head, o->kn, o->fingerprint, &k->shape);
	if (o->keep_dir != NULL &&
	    (k->keep_fd = keep_dir_open(o->keep_dir, true, err)) < 0)
		goto fail;
	if (o->cache_dir != NULL &&
	    (k->cache_fd = keep_dir_open(o->cache_dir, false, err)) < 0)
		goto fail;
	*out = k;
	return 0;
fail:
	keep_close(k);
	return -1;
}

void
keep_close(struct keep *k)
{
	if (k == NULL)
		return;
	if (k->keep_fd >= 0)
		close(k->keep_fd);
	if (k->cache_fd >= 0)
		close(k->cache_fd);
	mem_free(k);
}

/* ---- memory -------------------------------------------------------------- */

static void
place(const struct keep *k, struct kern_expert *x, void *at)
{
	*x = k->shape;
	x->gate_up.data = at;
	x->down.data = (char *)at + k->head.down_at;
}

void
keep_drop(struct keep *k, struct kern_expert *x)
{
	if (x->gate_up.data != NULL)
		munmap(x->gate_up.data, k->head.stride);
	x->gate_up.data = x->down.data = NULL;
}

static void
drop_some(const struct block *b, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		keep_drop(b->k, &b->w[i]);
}

static int
place_anonymous(const struct block *b, struct err *err)
{
	uint32_t i;
	void *at;

	for (i = 0; i < b->head.n; i++) {
		at = mem_map(b->head.stride);
		if (at == NULL) {
			drop_some(b, i);
			return err_set(err, ERR_TEMP, "no memory for %llu "
			    "bytes of weights",
			    (unsigned long long)b->head.stride);
		}
		place(b->k, &b->w[i], at);
	}
	return 0;
}

/* Every page is mapped now: all of it will be summed, or has been written. */
static int
place_mapped(const struct block *b, int fd, int prot)
{
	off_t at = (off_t)keep_head_bytes(&b->head);
	uint32_t i;
	void *p;

	for (i = 0; i < b->head.n; i++, at += (off_t)b->head.stride) {
		p = mmap(NULL, b->head.stride, prot, MAP_SHARED | MAP_POPULATE,
		    fd, at);
		if (p == MAP_FAILED) {
			drop_some(b, i);
			return -1;
		}
		place(b->k, &b->w[i], p);
	}
	return 0;
}

static uint32_t
sum_of(const struct kern_expert *x)
{
	return slot_crc32c(slot_crc32c(0, x->gate_up.data, x->gate_up.bytes),
	    x->down.data, x->down.bytes);
}

/* The expert whose bytes are not those that were written; -1: none. */
static int
first_bad(const struct block *b)
{
	uint32_t i;

	for (i = 0; i < b->head.n; i++)
		if (sum_of(&b->w[i]) != b->sum[i])
			return (int)i;
	return -1;
}

/* ---- from a file --------------------------------------------------------- */

static void
disbelieve(const struct block *b, int dir, const char *why)
{
	char name[KEEP_NAME];

	keep_name(&b->head, name);
	atomic_fetch_add(&b->k->n_bad, 1);
	warn(b->k, "%s/%s: %s: removed, its experts come from the checkpoint",
	    dir == b->k->keep_fd ? b->k->o.keep_dir : b->k->o.cache_dir, name,
	    why);
	(void)unlinkat(dir, name, 0);
}

static bool
take_kept(const struct block *b)
{
	const char *why;
	int fd = keep_file_open(b->k->keep_fd, &b->head, b->sum, &why), bad;

	if (fd >= 0) {
		if (place_mapped(b, fd, PROT_READ) != 0) {
			/* Not the file's fault: it stays. */
			warn(b->k, "%s: a block of experts cannot be mapped: "
			    "%s", b->k->o.keep_dir, strerror(errno));
			close(fd);
			return false;
		} else if ((bad = first_bad(b)) >= 0) {
			drop_some(b, b->head.n);
			why = "the checksum of an expert is wrong";
		}
		close(fd);
	}
	if (why != NULL)
		disbelieve(b, b->k->keep_fd, why);
	return fd >= 0 && why == NULL;
}

/* Into memory that has been placed. */
static bool
take_cached(const struct block *b)
{
	off_t at = (off_t)keep_head_bytes(&b->head);
	const char *why;
	int fd = keep_file_open(b->k->cache_fd, &b->head, b->sum, &why);
	uint32_t i;

	for (i = 0; fd >= 0 && why == NULL && i < b->head.n; i++)
		if (!keep_file_read(fd, b->w[i].gate_up.data,
		    (size_t)(b->head.down_at + b->head.down_bytes),
		    at + (off_t)(i * b->head.stride)))
			why = "it cannot be read";
		else if (sum_of(&b->w[i]) != b->sum[i])
			why = "the checksum of an expert is wrong";
	if (fd >= 0)
		close(fd);
	if (why == NULL)
		return fd >= 0;
	disbelieve(b, b->k->cache_fd, why);
	/* Packing wants zeros. */
	for (i = 0; i < b->head.n; i++)
		memset(b->w[i].gate_up.data, 0, b->head.stride);
	return false;
}

/* ---- into a file --------------------------------------------------------- */

static void
cannot_write(const struct keep *k, const char *dir)
{
	warn(k, "%s: a block of experts cannot be written: %s", dir,
	    strerror(errno));
}

/* A copy on the disk; the server does without if need be. */
static void
put_cached(const struct block *b)
{
	off_t at = (off_t)keep_head_bytes(&b->head);
	int fd = keep_file_new(b->k->cache_fd, &b->head);
	bool good = fd >= 0;
	uint32_t i;

	for (i = 0; good && i < b->head.n; i++, at += (off_t)b->head.stride)
		good = keep_file_write(fd, b->w[i].gate_up.data,
		    b->head.stride, at) == 0;
	if (good)
		good = keep_file_seal(fd, b->k->cache_fd, &b->head, b->sum) ==
		    0 || errno == EEXIST;
	if (!good)
		cannot_write(b->k, b->k->o.cache_dir);
	if (fd >= 0)
		close(fd);
}

/* The experts stand in fd's writable mapping: seal it, and hold it as any other
 * process will.  When another server was faster, its file is used. */
static int
put_kept(const struct block *b, int fd, struct err *err)
{
	int rc = keep_file_seal(fd, b->k->keep_fd, &b->head, b->sum);

	drop_some(b, b->head.n);
	if (rc != 0 && errno == EEXIST) {
		if (take_kept(b))
			return 0;
		rc = keep_file_seal(fd, b->k->keep_fd, &b->head, b->sum);
	}
	if (rc != 0)
		cannot_write(b->k, b->k->o.keep_dir);
	if (place_mapped(b, fd, PROT_READ) == 0)
		return 0;
	return err_sys(err, ERR_TEMP, errno, "mapping weights of layer %u",
	    b->head.layer);
}

/* ---- loading ------------------------------------------------------------- */

static int
pack_all(const struct block *b, struct err *err)
{
	uint32_t i;

	for (i = 0; i < b->head.n; i++)
		if (store_pack_expert(b->k->o.kn, b->k->o.m,
		    (int)b->head.layer, (int)(b->head.first + i), &b->w[i],
		    err) != 0)
			return -1;
	return 0;
}

/* Fill the placed memory from the cache or the checkpoint; sums are known
 * after it. */
static int
fill(const struct block *b, struct err *err)
{
	uint32_t i;

	if (b->k->cache_fd >= 0 && take_cached(b)) {
		atomic_fetch_add(&b->k->n_cached, b->head.n);
		return 0;
	}
	if (pack_all(b, err) != 0)
		return -1;
	atomic_fetch_add(&b->k->n_packed, b->head.n);
	for (i = 0; i < b->head.n; i++)
		b->sum[i] = sum_of(&b->w[i]);
	if (b->k->cache_fd >= 0)
		put_cached(b);
	return 0;
}

static int
make(const struct block *b, struct err *err)
{
	int fd = -1, rc;

	if (b->k->keep_fd >= 0) {
		fd = keep_file_new(b->k->keep_fd, &b->head);
		if (fd < 0 ||
		    place_mapped(b, fd, PROT_READ | PROT_WRITE) != 0) {
			cannot_write(b->k, b->k->o.keep_dir);
			if (fd >= 0)
				close(fd);
			fd = -1;
		}
	}
	if (fd < 0 && place_anonymous(b, err) != 0)
		return -1;
	rc = fill(b, err);
	if (rc != 0)
		drop_some(b, b->head.n);
	else if (fd >= 0)
		rc = put_kept(b, fd, err);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void
set_block(struct keep_head *h, int layer, int first, int n)
{
	BUG_ON(n < 1 || n > KEEP_MAX_RUN);
	h->layer = (uint32_t)layer;
	h->first = (uint32_t)first;
	h->n = (uint32_t)n;
}

int
keep_load(struct keep *k, int layer, int first, int n, struct kern_expert *w,
    struct err *err)
{
	struct block b = { .k = k, .head = k->head, .w = w };
	int rc = 0;

	set_block(&b.head, layer, first, n);
	b.sum = mem_calloc((size_t)n, sizeof(*b.sum));
	if (k->keep_fd >= 0 && take_kept(&b))
		atomic_fetch_add(&k->n_mapped, (uint64_t)n);
	else
		rc = make(&b, err);
	mem_free(b.sum);
	return rc;
}

void
keep_forget(struct keep *k, int layer, int first, int n)
{
	struct keep_head h = k->head;
	char name[KEEP_NAME];

	if (k->keep_fd < 0)
		return;
	set_block(&h, layer, first, n);
	keep_name(&h, name);
	(void)unlinkat(k->keep_fd, name, 0);
}

void
keep_count(const struct keep *k, struct keep_count *out)
{
	out->mapped = atomic_load(&k->n_mapped);
	out->cached = atomic_load(&k->n_cached);
	out->packed = atomic_load(&k->n_packed);
	out->bad = atomic_load(&k->n_bad);
}
