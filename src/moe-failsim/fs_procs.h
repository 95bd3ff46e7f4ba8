/*
 * fs_procs - the members of a run directory: who runs, and under which number.
 *
 * procs.tsv is read anew for every action, as members that are started again
 * note their new number there.
 */
#ifndef MOE_FS_PROCS_H
#define MOE_FS_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

struct fs_proc {
	char role[16], id[48];
	pid_t pid;
	bool alive, stopped;	/* alive: runs, and is this directory's member */
};

struct fs_procs {
	struct fs_proc *p;
	size_t n, cap;
};

/* -1: ERR_USAGE (no procs.tsv), ERR_DATA. */
int	fs_procs_read(struct fs_procs *out, const char *dir, struct err *err);
void	fs_procs_free(struct fs_procs *s);
/* Start the member by DIR/cmd/ID, in a session of its own.  -1: ERR_TEMP. */
int	fs_procs_start(const char *dir, const char *id, struct err *err);
/* The value of NAME= in DIR/env, to be freed; NULL: ERR_TEMP, none. */
char	*fs_procs_env(const char *dir, const char *name, struct err *err);

#endif
