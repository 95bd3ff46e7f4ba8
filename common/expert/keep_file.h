/*
 * keep_file - one file of a block: its header, its name, its checks.  Only
 * keep.c includes this.  No state.
 */
#ifndef MOE_KEEP_FILE_H
#define MOE_KEEP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "kern.h"

#define KEEP_PAGE	4096u
#define KEEP_MAX_RUN	65536	/* experts of a file */

/*
 * In the byte order of the machine that wrote it (another order fails at
 * `version`).  After it, n checksums, then zeros up to the next page; expert i
 * begins `stride` bytes after expert i - 1, gate_up first, down at down_at.
 */
struct keep_head {
	char magic[8];		/* "MOEKEEP" */
	uint32_t version;
	uint32_t layout;	/* of packed values, see keep_layout */
	uint64_t fingerprint;	/* of the checkpoint */
	char variant[64];	/* of the kernels */
	uint64_t gate_up_bytes, down_at, down_bytes, stride;
	uint32_t dtype, hidden, inter;
	uint32_t layer, first, n;
	uint32_t crc;		/* of the header with this 0, and the sums */
	uint32_t zero;
};

/* The CRC of a small matrix that this build packs: two builds whose kernels
 * pack in another order do not read each other's files. */
uint32_t keep_layout(const struct kern *kn);

/* Fill what does not depend on the block. */
void	keep_head_init(struct keep_head *h, const struct kern *kn,
	    uint64_t fingerprint, const struct kern_expert *shape);
/* Bytes before the first expert; of the whole file. */
size_t	keep_head_bytes(const struct keep_head *h);
size_t	keep_file_bytes(const struct keep_head *h);

#define KEEP_NAME	160
void	keep_name(const struct keep_head *h, char name[KEEP_NAME]);

/* Open, make if missing, and check a folder: -1 or its descriptor. */
int	keep_dir_open(const char *path, bool in_memory, struct err *err);

/* Open the file of block *h and compare all but the experts' bytes; sum[n] is
 * filled.  The descriptor; -1: there is none, *why is NULL; or it is not
 * believed, *why says why. */
int	keep_file_open(int dir, const struct keep_head *h, uint32_t *sum,
	    const char **why);

/* All n bytes, or not (errno). */
bool	keep_file_read(int fd, void *p, size_t n, off_t at);
int	keep_file_write(int fd, const void *p, size_t n, off_t at);

/* A file without a name yet, of full length; its room is taken now, so that
 * filling it cannot fail.  -1 with errno. */
int	keep_file_new(int dir, const struct keep_head *h);
/* Write the header, seal, and give it its name.  0; -1 with errno, EEXIST: it
 * has been made by another process meanwhile. */
int	keep_file_seal(int fd, int dir, const struct keep_head *h,
	    const uint32_t *sum);

#endif
