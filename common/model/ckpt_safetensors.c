/*
 * ckpt_safetensors - see ckpt_safetensors.h.  Floor F4; no state.
 *
 * Format: huggingface/safetensors, README.  The header comes from strangers:
 * every number is bounded before it is used or multiplied.
 */
#include "ckpt_safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "mem.h"
#include "num.h"

int
ckpt_safetensors_pread(int fd, void *buf, size_t n, uint64_t at)
{
	char *p = buf;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)at);

		if (got == 0)
			return 1;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		p += got;
		n -= (size_t)got;
		at += (uint64_t)got;
	}
	return 0;
}

static enum ckpt_dtype
dtype_by_name(const char *s)
{
	int t;

	for (t = CKPT_NONE + 1; t < CKPT_DTYPES; t++)
		if (strcmp(ckpt_dtype_name((enum ckpt_dtype)t), s) == 0)
			return (enum ckpt_dtype)t;
	return CKPT_NONE;
}

/* shape -> t->rank, shape, elems. */
static int
parse_shape(const struct json_src *s, struct ckpt_tensor *t)
{
	const json_t *v;
	size_t i;

	if (json_may_array(s, "shape", &v) != 0)
		return -1;
	if (v == NULL)
		return json_want_fail(s, "shape", "missing");
	if (json_array_size(v) > CKPT_RANK)
		return json_want_fail(s, "shape", "%zu dimensions, at most %d "
		    "are read", json_array_size(v), CKPT_RANK);
	t->rank = (int)json_array_size(v);
	t->elems = 1;
	for (i = 0; i < json_array_size(v); i++) {
		const json_t *d = json_array_get(v, i);

		if (!json_is_integer(d) || json_integer_value(d) < 0)
			return json_want_fail(s, "shape",
			    "a dimension is not a natural number");
		t->shape[i] = (size_t)json_integer_value(d);
		if (!mem_mul(t->elems, t->shape[i], &t->elems))
			return json_want_fail(s, "shape",
			    "the number of elements overflows");
	}
	return 0;
}

/* data_offsets -> t->offset (relative to the data) and t->bytes. */
static int
parse_offsets(const struct json_src *s, struct ckpt_tensor *t,
    uint64_t data_bytes)
{
	const json_t *v, *b, *e;
	json_int_t begin, end;

	if (json_may_array(s, "data_offsets", &v) != 0)
		return -1;
	b = json_array_get(v, 0);
	e = json_array_get(v, 1);
	if (json_array_size(v) != 2 || !json_is_integer(b) ||
	    !json_is_integer(e))
		return json_want_fail(s, "data_offsets",
		    "not an array of two integers");
	begin = json_integer_value(b);
	end = json_integer_value(e);
	if (begin < 0 || end < begin)
		return json_want_fail(s, "data_offsets", "[%lld, %lld] is not "
		    "a range", (long long)begin, (long long)end);
	if ((uint64_t)end > data_bytes)
		return json_want_fail(s, "data_offsets", "ends at byte %lld, "
		    "but the file has %" PRIu64 " bytes of data (truncated?)",
		    (long long)end, data_bytes);
	t->offset = (uint64_t)begin;
	t->bytes = (uint64_t)(end - begin);
	return 0;
}

static int
parse_tensor(const struct json_src *s, struct ckpt_tensor *t,
    uint64_t data_bytes)
{
	const char *dtype;
	size_t bits;

	if (json_want_str(s, "dtype", &dtype) != 0)
		return -1;
	t->dtype = dtype_by_name(dtype);
	if (t->dtype == CKPT_NONE)
		return json_want_fail(s, "dtype", "\"%s\" is not a dtype of "
		    "safetensors", dtype);
	if (parse_shape(s, t) != 0 || parse_offsets(s, t, data_bytes) != 0)
		return -1;
	if (!mem_mul(t->elems, (size_t)ckpt_dtype_bits(t->dtype), &bits) ||
	    bits % 8 != 0 || bits / 8 != t->bytes)
		return json_want_fail(s, "data_offsets", "%" PRIu64 " bytes do "
		    "not hold %zu values of %s", t->bytes, t->elems, dtype);
	return 0;
}

static int
by_offset(const void *a, const void *b)
{
	const struct ckpt_tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	/* Empty tensors stand before the one that begins there. */
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors must cover the data exactly: t is sorted. */
static int
check_tiling(const struct ckpt_tensor *t, size_t n, uint64_t data_bytes,
    const char *name, struct err *err)
{
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < n; at = t[i].offset + t[i].bytes, i++)
		if (t[i].offset != at)
			return err_set(err, ERR_DATA, "%s: tensor %s begins at "
			    "byte %" PRIu64 " of the data, the one before it "
			    "(%s) ends at %" PRIu64 ": %s", name, t[i].name,
			    t[i].offset, i ? t[i - 1].name : "none", at,
			    t[i].offset < at ? "they overlap" : "a hole");
	if (at != data_bytes)
		return err_set(err, ERR_DATA, "%s: %" PRIu64 " bytes of data, "
		    "but the last tensor (%s) ends at %" PRIu64, name,
		    data_bytes, n ? t[n - 1].name : "none", at);
	return 0;
}

static int
check_metadata(const struct json_src *s)
{
	const json_t *meta, *v;
	const char *key;

	if (json_may_obj(s, "__metadata__", &meta) != 0)
		return -1;
	/* jansson's iteration macro wants a mutable object. */
	json_object_foreach((json_t *)(uintptr_t)meta, key, v)
		if (!json_is_string(v))
			return json_want_fail(s, "__metadata__",
			    "the value of %s is not a string", key);
	return 0;
}

struct header {
	const char *name;	/* of the file */
	int file;
	uint64_t data, data_bytes;	/* where the tensors begin; how many */
};

static int
parse_all(const json_t *root, const struct header *h, struct ckpt_tensors *out,
    struct err *err)
{
	struct json_src top = { root, h->name, "", ERR_DATA, err };
	struct ckpt_tensor *mine = NULL;
	size_t first = out->n, i;
	const char *key;
	json_t *v;

	if (check_metadata(&top) != 0)
		return -1;
	json_object_foreach((json_t *)(uintptr_t)root, key, v) {
		struct ckpt_tensor t = { .file = h->file };
		char *at;
		struct json_src s = { v, h->name, NULL, ERR_DATA, err };
		int rc;

		if (strcmp(key, "__metadata__") == 0)
			continue;
		if (!json_is_object(v))
			return json_want_fail(&top, key, "not an object");
		s.at = at = mem_printf("tensor %s: ", key);
		rc = parse_tensor(&s, &t, h->data_bytes);
		mem_free(at);
		if (rc != 0)
			return -1;
		t.name = mem_strdup(key);
		VEC_PUSH(out, t);
	}
	if (out->n > 0) {
		mine = out->p + first;
		qsort(mine, out->n - first, sizeof(*mine), by_offset);
	}
	if (check_tiling(mine, out->n - first, h->data_bytes, h->name,
	    err) != 0)
		return -1;
	for (i = first; i < out->n; i++)
		out->p[i].offset += h->data;
	return 0;
}

/* Read the length word and the JSON; *text_p is the caller's to free. */
static int
read_header(int fd, struct header *h, char **text_p, size_t *n_p,
    struct err *err)
{
	unsigned char word[8];
	uint64_t n = 0;
	struct stat st;
	int i, rc;

	if (fstat(fd, &st) != 0)
		return err_sys(err, ERR_TEMP, errno, "%s", h->name);
	if (st.st_size < 8)
		return err_set(err, ERR_DATA, "%s: %lld bytes are too few for "
		    "a safetensors file", h->name, (long long)st.st_size);
	rc = ckpt_safetensors_pread(fd, word, sizeof(word), 0);
	for (i = 7; rc == 0 && i >= 0; i--)
		n = n << 8 | word[i];
	if (rc == 0 && n > CKPT_HEADER_MAX)
		return err_set(err, ERR_DATA, "%s: a header of %" PRIu64
		    " bytes: more than %u, not a safetensors file?", h->name,
		    n, CKPT_HEADER_MAX);
	if (rc == 0 && n > (uint64_t)st.st_size - 8)
		return err_set(err, ERR_DATA, "%s: the header says %" PRIu64
		    " bytes, past the end of the file of %lld bytes "
		    "(truncated?)", h->name, n, (long long)st.st_size);
	*text_p = mem_alloc((size_t)n);
	*n_p = (size_t)n;
	if (rc == 0)
		rc = ckpt_safetensors_pread(fd, *text_p, (size_t)n, 8);
	h->data = 8 + n;
	h->data_bytes = (uint64_t)st.st_size - h->data;
	if (rc < 0)
		err_sys(err, ERR_TEMP, errno, "%s", h->name);
	else if (rc > 0)
		err_set(err, ERR_DATA, "%s: ends within its header", h->name);
	else if (n == 0 || (*text_p)[0] != '{')
		rc = err_set(err, ERR_DATA, "%s: the header is not JSON (no "
		    "'{'): not a safetensors file?", h->name);
	if (rc != 0)
		mem_free(*text_p);
	return rc != 0 ? -1 : 0;
}

int
ckpt_safetensors_read(int fd, const char *name, int file,
    struct ckpt_tensors *out, struct err *err)
{
	struct header h = { .name = name, .file = file };
	char *text = NULL;
	size_t n = 0;
	json_t *root;
	int rc;

	if (read_header(fd, &h, &text, &n, err) != 0)
		return -1;
	root = json_want_text(text, n, name, ERR_DATA, err);
	mem_free(text);
	if (root == NULL)
		return -1;
	rc = parse_all(root, &h, out, err);
	json_decref(root);
	return rc;
}
