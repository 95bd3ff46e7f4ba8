/* ckpt - see ckpt.h.  Floor F4; immutable after ckpt_open. */
#include "ckpt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ckpt_safetensors.h"
#include "json.h"
#include "mem.h"

#define INDEX_FILE	"model.safetensors.index.json"
#define SINGLE_FILE	"model.safetensors"
#define INDEX_MAX	(256u << 20)	/* bytes; the largest seen have 10 MB */
#define SHARD_MAX	4096
#define SAMPLE_BYTES	64

struct shard {
	char *name;		/* base name */
	char *path;
	int fd;
};

struct ckpt {
	char *dir;
	struct { struct shard *p; size_t n, cap; } shard;
	struct ckpt_tensors t;
	uint32_t *slot;		/* open addressing: index into t + 1, 0 empty */
	size_t slots;		/* a power of two */
	uint64_t bytes;
};

static const struct {
	const char *name;
	int bits, kern;
} dtypes[CKPT_DTYPES] = {
	[CKPT_NONE] = { "?", 0, 0 },
	[CKPT_BOOL] = { "BOOL", 8, 0 },
	[CKPT_U8] = { "U8", 8, 0 },
	[CKPT_I8] = { "I8", 8, 0 },
	[CKPT_I16] = { "I16", 16, 0 },
	[CKPT_U16] = { "U16", 16, 0 },
	[CKPT_I32] = { "I32", 32, 0 },
	[CKPT_U32] = { "U32", 32, 0 },
	[CKPT_I64] = { "I64", 64, 0 },
	[CKPT_U64] = { "U64", 64, 0 },
	[CKPT_F16] = { "F16", 16, KERN_F16 },
	[CKPT_BF16] = { "BF16", 16, KERN_BF16 },
	[CKPT_F32] = { "F32", 32, KERN_F32 },
	[CKPT_F64] = { "F64", 64, 0 },
	[CKPT_F8_E4M3] = { "F8_E4M3", 8, KERN_F8E4M3 },
	[CKPT_F8_E5M2] = { "F8_E5M2", 8, 0 },
	[CKPT_F8_E8M0] = { "F8_E8M0", 8, 0 },
	[CKPT_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8, 0 },
	[CKPT_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8, 0 },
	[CKPT_F4] = { "F4", 4, 0 },
	[CKPT_F6_E2M3] = { "F6_E2M3", 6, 0 },
	[CKPT_F6_E3M2] = { "F6_E3M2", 6, 0 },
	[CKPT_C64] = { "C64", 64, 0 },
};

const char *
ckpt_dtype_name(enum ckpt_dtype t)
{
	return t >= CKPT_NONE && t < CKPT_DTYPES ? dtypes[t].name : "?";
}

int
ckpt_dtype_bits(enum ckpt_dtype t)
{
	return t >= CKPT_NONE && t < CKPT_DTYPES ? dtypes[t].bits : 0;
}

int
ckpt_dtype_kern(enum ckpt_dtype t)
{
	return t >= CKPT_NONE && t < CKPT_DTYPES ? dtypes[t].kern : 0;
}

/* FNV-1a (Fowler, Noll, Vo). */
uint64_t
ckpt_hash(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;
	size_t i;

	for (i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	return h;
}

/* ---- opening ---------------------------------------------------------- */

/* The index of the shard called name, or -1. */
static int
shard_find(const struct ckpt *c, const char *name)
{
	size_t i;

	for (i = c->shard.n; i-- > 0; )	/* the last one is the likely one */
		if (strcmp(c->shard.p[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int
shard_open(struct ckpt *c, const char *name, struct err *err)
{
	struct shard s = { NULL, NULL, -1 };
	struct stat st;

	s.path = mem_printf("%s/%s", c->dir, name);
	/* Without O_NONBLOCK a FIFO of that name would stop us here. */
	s.fd = open(s.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s.fd < 0 || fstat(s.fd, &st) != 0) {
		err_sys(err, errno == ENOENT || errno == EACCES ? ERR_DATA :
		    ERR_TEMP, errno, "%s", s.path);
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(err, ERR_DATA, "%s: not a regular file", s.path);
		goto fail;
	}
	s.name = mem_strdup(name);
	VEC_PUSH(&c->shard, s);
	return ckpt_safetensors_read(s.fd, s.path, (int)c->shard.n - 1, &c->t,
	    err);
fail:
	if (s.fd >= 0)
		close(s.fd);
	mem_free(s.path);
	return -1;
}

/* Open every file that the index names. */
static int
open_index(struct ckpt *c, const json_t *map, const struct json_src *s)
{
	const char *tensor, *file;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)map, tensor, v) {
		file = json_string_value(v);
		if (file == NULL)
			return json_want_fail(s, tensor, "not a file name");
		if (file[0] == '\0' || strchr(file, '/') != NULL ||
		    strstr(file, "..") != NULL)
			return json_want_fail(s, tensor, "\"%s\": a file name "
			    "with '/' or '..' is refused", file);
		if (shard_find(c, file) >= 0)
			continue;
		if (c->shard.n == SHARD_MAX)
			return json_want_fail(s, tensor, "more than %d files",
			    SHARD_MAX);
		if (shard_open(c, file, s->err) != 0)
			return -1;
	}
	if (c->shard.n == 0)
		return json_want_fail(s, "", "names no tensor");
	return 0;
}

/* Names -> slots.  A name in two places is an error. */
static int
build_hash(struct ckpt *c, struct err *err)
{
	size_t i;

	for (c->slots = 16; c->slots < c->t.n * 2; )
		c->slots *= 2;
	c->slot = mem_calloc(c->slots, sizeof(*c->slot));
	for (i = 0; i < c->t.n; i++) {
		const struct ckpt_tensor *t = &c->t.p[i], *u;
		size_t j = ckpt_hash(CKPT_HASH, t->name, strlen(t->name));

		for (; c->slot[j & (c->slots - 1)] != 0; j++) {
			u = &c->t.p[c->slot[j & (c->slots - 1)] - 1];
			if (strcmp(u->name, t->name) == 0)
				return err_set(err, ERR_DATA,
				    "%s: tensor %s is in %s as well",
				    c->shard.p[t->file].path, t->name,
				    c->shard.p[u->file].name);
		}
		c->slot[j & (c->slots - 1)] = (uint32_t)i + 1;
		c->bytes += t->bytes;
	}
	return 0;
}

/* Every tensor of the index must be in the file that the index says. */
static int
check_index(const struct ckpt *c, const json_t *map, const struct json_src *s)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)map, name, v) {
		const struct ckpt_tensor *t = ckpt_find(c, name);

		if (t == NULL || strcmp(ckpt_file(c, t),
		    json_string_value(v)) != 0)
			return json_want_fail(s, name, "that tensor is not in "
			    "%s", json_string_value(v));
	}
	return 0;
}

static int
open_sharded(struct ckpt *c, const json_t *root, const char *path,
    struct err *err)
{
	struct json_src top = { root, path, "", ERR_DATA, err };
	struct json_src s = { NULL, path, "weight_map: ", ERR_DATA, err };

	if (json_may_obj(&top, "weight_map", &s.obj) != 0)
		return -1;
	if (s.obj == NULL)
		return json_want_fail(&top, "weight_map", "missing");
	if (open_index(c, s.obj, &s) != 0 || build_hash(c, err) != 0)
		return -1;
	return check_index(c, s.obj, &s);
}

int
ckpt_open(struct ckpt **c_p, const char *dir, struct err *err)
{
	struct ckpt *c = mem_zalloc(sizeof(*c));
	char *path = mem_printf("%s/%s", dir, INDEX_FILE);
	bool missing;
	json_t *root;
	int rc;

	c->dir = mem_strdup(dir);
	root = json_want_file(path, INDEX_MAX, &missing, err);
	if (root != NULL)
		rc = open_sharded(c, root, path, err);
	else if (!missing)
		rc = -1;
	else
		rc = shard_open(c, SINGLE_FILE, err) != 0 ? -1 :
		    build_hash(c, err);
	json_decref(root);
	mem_free(path);
	if (rc != 0) {
		ckpt_close(c);
		return -1;
	}
	*c_p = c;
	return 0;
}

void
ckpt_close(struct ckpt *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->shard.n; i++) {
		close(c->shard.p[i].fd);
		mem_free(c->shard.p[i].name);
		mem_free(c->shard.p[i].path);
	}
	for (i = 0; i < c->t.n; i++)
		mem_free((void *)(uintptr_t)c->t.p[i].name);
	VEC_FREE(&c->shard);
	VEC_FREE(&c->t);
	mem_free(c->slot);
	mem_free(c->dir);
	mem_free(c);
}

/* ---- looking up and reading ------------------------------------------- */

const struct ckpt_tensor *
ckpt_find(const struct ckpt *c, const char *name)
{
	size_t j = ckpt_hash(CKPT_HASH, name, strlen(name));
	uint32_t s;

	for (; (s = c->slot[j & (c->slots - 1)]) != 0; j++)
		if (strcmp(c->t.p[s - 1].name, name) == 0)
			return &c->t.p[s - 1];
	return NULL;
}

size_t
ckpt_count(const struct ckpt *c)
{
	return c->t.n;
}

const struct ckpt_tensor *
ckpt_at(const struct ckpt *c, size_t i)
{
	BUG_ON(i >= c->t.n);
	return &c->t.p[i];
}

const char *
ckpt_file(const struct ckpt *c, const struct ckpt_tensor *t)
{
	return c->shard.p[t->file].name;
}

uint64_t
ckpt_bytes(const struct ckpt *c)
{
	return c->bytes;
}

int
ckpt_read(const struct ckpt *c, const struct ckpt_tensor *t, uint64_t at,
    size_t n, void *buf, struct err *err)
{
	const struct shard *s = &c->shard.p[t->file];
	int rc;

	BUG_ON(at > t->bytes || n > t->bytes - at);
	rc = ckpt_safetensors_pread(s->fd, buf, n, t->offset + at);
	if (rc < 0)
		return err_sys(err, ERR_TEMP, errno, "%s: tensor %s", s->path,
		    t->name);
	if (rc > 0)
		return err_set(err, ERR_DATA, "%s: tensor %s: the file ends "
		    "before it does (truncated after it was opened?)", s->path,
		    t->name);
	return 0;
}

void
ckpt_read_ahead(const struct ckpt *c, const struct ckpt_tensor *t, uint64_t at,
    size_t n)
{
	posix_fadvise(c->shard.p[t->file].fd, (off_t)(t->offset + at),
	    (off_t)n, POSIX_FADV_WILLNEED);
}

/* ---- fingerprint ------------------------------------------------------ */

static uint64_t
hash_u64(uint64_t h, uint64_t v)
{
	unsigned char b[8];
	int i;

	for (i = 0; i < 8; i++)
		b[i] = (unsigned char)(v >> 8 * i);
	return ckpt_hash(h, b, sizeof(b));
}

int
ckpt_fingerprint(const struct ckpt *c, uint64_t *out, struct err *err)
{
	unsigned char sample[SAMPLE_BYTES];
	uint64_t sum = 0, h;
	size_t i, n;
	int d;

	for (i = 0; i < c->t.n; i++) {
		const struct ckpt_tensor *t = &c->t.p[i];

		n = t->bytes < SAMPLE_BYTES ? (size_t)t->bytes : SAMPLE_BYTES;
		if (ckpt_read(c, t, (t->bytes - n) / 2, n, sample, err) != 0)
			return -1;
		h = ckpt_hash(CKPT_HASH, t->name, strlen(t->name) + 1);
		h = hash_u64(h, (uint64_t)t->dtype);
		for (d = 0; d < t->rank; d++)
			h = hash_u64(h, t->shape[d]);
		h = ckpt_hash(h, sample, n);
		/* A sum does not depend on the order; hashing each term once
		 * more keeps equal parts from cancelling. */
		sum += hash_u64(CKPT_HASH, h);
	}
	*out = hash_u64(CKPT_HASH, sum);
	return 0;
}
