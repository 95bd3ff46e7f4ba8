/*
 * ckpt_safetensors - the header of one safetensors file: a 64-bit little
 * endian length, then JSON, then the tensors end to end.  Private to ckpt.
 */
#ifndef MOE_CKPT_SAFETENSORS_H
#define MOE_CKPT_SAFETENSORS_H

#include <stddef.h>

#include "ckpt.h"
#include "err.h"

#define CKPT_HEADER_MAX	100000000u	/* bytes of JSON, as the format says */

struct ckpt_tensors {
	struct ckpt_tensor *p;
	size_t n, cap;
};

/*
 * Read and check the header of the file behind fd, which errors call name, and
 * append its tensors, in order of offset, with their file member set to file.
 * Their names are fresh memory that the caller frees (also after -1).
 */
int	ckpt_safetensors_read(int fd, const char *name, int file,
	    struct ckpt_tensors *out, struct err *err);

/* pread all of n bytes.  0; 1 when the file ends before; -1 with errno. */
int	ckpt_safetensors_pread(int fd, void *buf, size_t n, uint64_t at);

#endif
