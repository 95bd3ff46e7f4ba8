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
	char fault_file[128];	/* its address is fault:@FILE:...; "": not */
};

struct fs_procs {
	struct fs_proc *p;
	size_t n, cap;
};

/* -1: ERR_USAGE (no procs.tsv), ERR_DATA. */
int	fs_procs_read(struct fs_procs *out, const char *dir, struct err *err);
void	fs_procs_free(struct fs_procs *s);
/* NULL: there is none of that id. */
const struct fs_proc *fs_procs_find(const struct fs_procs *s, const char *id);
/* Run a line of sh with the cluster's variables (DIR/env), its output to
 * standard error.  -1: ERR_TEMP.  The child is the caller's to wait for. */
int	fs_procs_command(const char *dir, const char *text, pid_t *pid,
	    struct err *err);
/* Does the #moe:member/1 in file say that p serves, as the process that it is
 * now?  false, too, when there is no such file. */
bool	fs_procs_serves(const char *file, const struct fs_proc *p);
/* Start the member by DIR/cmd/ID, in a session of its own.  -1: ERR_TEMP. */
int	fs_procs_start(const char *dir, const char *id, struct err *err);
long	fs_procs_rss_kb(pid_t pid);	/* 0: no such process */
/* The value of NAME= in DIR/env, to be freed; NULL: ERR_TEMP, none. */
char	*fs_procs_env(const char *dir, const char *name, struct err *err);

#endif
