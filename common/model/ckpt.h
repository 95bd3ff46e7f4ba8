/*
 * ckpt - the tensors of a checkpoint directory: safetensors, single or sharded.
 *
 * Opening reads only the headers and checks all of them: lengths, offsets,
 * dtypes, shapes, holes, overlaps, duplicate names.  Whatever is wrong is
 * ERR_DATA and names the file and the tensor.  Contents are read on demand
 * with pread(2); nothing is mapped.  After ckpt_open a struct ckpt does not
 * change: any number of threads may read through it.
 */
#ifndef MOE_CKPT_H
#define MOE_CKPT_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"

enum ckpt_dtype {
	CKPT_NONE = 0,
	CKPT_BOOL, CKPT_U8, CKPT_I8, CKPT_I16, CKPT_U16, CKPT_I32, CKPT_U32,
	CKPT_I64, CKPT_U64, CKPT_F16, CKPT_BF16, CKPT_F32, CKPT_F64,
	CKPT_F8_E4M3, CKPT_F8_E5M2, CKPT_F8_E8M0, CKPT_F8_E4M3FNUZ,
	CKPT_F8_E5M2FNUZ, CKPT_F4, CKPT_F6_E2M3, CKPT_F6_E3M2, CKPT_C64,
	CKPT_DTYPES
};

#define CKPT_RANK	8

struct ckpt_tensor {
	const char *name;
	enum ckpt_dtype dtype;
	int rank;
	size_t shape[CKPT_RANK];
	size_t elems;		/* product of shape; 1 for a scalar */
	int file;		/* index for ckpt_file() */
	uint64_t offset;	/* of the first byte, from the file's start */
	uint64_t bytes;
};

struct ckpt;

/* Open dir/model.safetensors.index.json and its shards, or, without an index,
 * dir/model.safetensors.  0, or -1: ERR_DATA (also when neither is there). */
int	ckpt_open(struct ckpt **c_p, const char *dir, struct err *err);
void	ckpt_close(struct ckpt *c);		/* NULL is fine */

/* By name; NULL when there is none.  Or by index, in order of file, offset. */
const struct ckpt_tensor *ckpt_find(const struct ckpt *c, const char *name);
size_t	ckpt_count(const struct ckpt *c);
const struct ckpt_tensor *ckpt_at(const struct ckpt *c, size_t i);

/* Base name of the file that holds t, and of the whole. */
const char *ckpt_file(const struct ckpt *c, const struct ckpt_tensor *t);
uint64_t ckpt_bytes(const struct ckpt *c);	/* of all tensors */

/* Read n bytes of t from byte `at` on into buf.  -1: ERR_DATA when the file
 * has become shorter, ERR_TEMP for I/O errors, naming file and tensor. */
int	ckpt_read(const struct ckpt *c, const struct ckpt_tensor *t,
	    uint64_t at, size_t n, void *buf, struct err *err);
/* The same bytes will be read soon: lets the system begin now, in its own time.
 * Only a hint. */
void	ckpt_read_ahead(const struct ckpt *c, const struct ckpt_tensor *t,
	    uint64_t at, size_t n);
/* "BF16"; "?" for none.  Bits of one element; 0 for none. */
const char *ckpt_dtype_name(enum ckpt_dtype t);
int	ckpt_dtype_bits(enum ckpt_dtype t);
/* What kernels call it: F32, F16, BF16, F8_E4M3; 0 for any other. */
int	ckpt_dtype_kern(enum ckpt_dtype t);

/*
 * 64-bit fingerprint of the tensors: a hash of every name, dtype and shape and
 * of the 64 bytes in the middle of every tensor (one small pread each).  Two
 * fine-tunes of a model differ in it; which file a tensor stands in does not
 * matter.  It guards against mix-ups, not against forgery.
 */
int	ckpt_fingerprint(const struct ckpt *c, uint64_t *out, struct err *err);

/* The hash it uses (FNV-1a, 64 bit): start with CKPT_HASH. */
#define CKPT_HASH	0xcbf29ce484222325ull
uint64_t ckpt_hash(uint64_t h, const void *p, size_t n);

#endif
