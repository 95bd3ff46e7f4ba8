/*
 * keep - packed experts in files, so that they outlive the process.
 *
 * Floor: beside resid, above store and kernels; host memory only (not cuda).
 * One file holds a block: experts first .. first + n - 1 of a layer, packed for
 * one kernel variant, each with a CRC-32C.  Two folders of such files, either or
 * both:
 *
 *   keep_dir   in memory (tmpfs).  The files are the weights: they are packed
 *              into, and mapped read-only and shared by every server that uses
 *              this folder, so the weights exist once in memory however many
 *              processes use them, and still do when none is left.
 *   cache_dir  on a disk.  The files are copies, read into memory of the
 *              process; a second start need not pack again.
 *
 * Why files and not memfds: a memfd can be sealed against its writer, but it is
 * gone with its last descriptor, so somebody would have to live for holding it.
 * A tmpfs file holds itself.  What seals give is had from the file system
 * instead: a file appears under its name only when it is whole (O_TMPFILE, then
 * linkat), is never written after that, has mode 0400, and is believed only
 * when it and its folder are the user's own, nobody else may write there, its
 * header is the expected one, and the CRC of every byte that will be computed
 * with matches.  What another process of the same user does on purpose is not
 * defended against, as it could as well write into this one.
 *
 * A file that is not believed is removed, with a warning; its block is packed
 * from the checkpoint and written anew.
 *
 * Threads: keep_load and keep_drop may run in several at once.
 */
#ifndef MOE_KEEP_H
#define MOE_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"
#include "model.h"

struct keep;

struct keep_opt {
	const struct kern *kn;
	const struct model *m;
	uint64_t fingerprint;	/* of m */
	const char *keep_dir, *cache_dir;	/* or NULL; made if missing */
	/* A file that is not believed, or cannot be written; by any thread.
	 * NULL: nobody wants to know. */
	void (*warn)(void *arg, const char *text);
	void *arg;
};

/* -1: ERR_USAGE (a folder that is somebody else's or open to others, keep_dir
 * not in memory), ERR_TEMP (it cannot be made). */
int	keep_open(struct keep **out, const struct keep_opt *o,
	    struct err *err);
/* Every expert has been dropped.  Files stay.  NULL is fine. */
void	keep_close(struct keep *k);

/* Load n experts from `first` on into w[0..n): from the files, or from the
 * checkpoint and then into the files.  -1: none is loaded. */
int	keep_load(struct keep *k, int layer, int first, int n,
	    struct kern_expert *w, struct err *err);
/* Give one expert back. */
void	keep_drop(struct keep *k, struct kern_expert *x);
/* The experts of this block leave memory for good: remove its file from
 * keep_dir (who has it mapped goes on).  As given to keep_load. */
void	keep_forget(struct keep *k, int layer, int first, int n);

struct keep_count {		/* experts, since keep_open */
	uint64_t mapped, cached, packed;	/* where they came from */
	uint64_t bad;		/* files not believed */
};
void	keep_count(const struct keep *k, struct keep_count *out);

#endif
