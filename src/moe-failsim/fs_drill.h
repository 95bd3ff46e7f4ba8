/*
 * fs_drill - a drill file, moe-drill(5): what load runs, and what is done to
 * whom and when.
 *
 *     moe-drill 1
 *     streams 8
 *     tokens 64
 *     at 500ms kill e1 restart 1s
 *     tokens-out 200 stop expert for 300ms
 *     every 2s count 4 kill expert restart 500ms
 */
#ifndef MOE_FS_DRILL_H
#define MOE_FS_DRILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum fs_action { FS_KILL = 1, FS_STOP, FS_CONT, FS_TERM };

struct fs_step {
	int line;
	/* when: at_ns from the start, or after_tok tokens of the whole load,
	 * or every_ns, count times */
	uint64_t at_ns, after_tok, every_ns;
	int count;		/* 1 unless every_ns */
	enum fs_action action;
	char who[48];		/* a member's id, or a role: expert, front, route */
	bool undo;		/* restart (kill, term) or go on (stop) ... */
	uint64_t undo_ns;	/* ... after this time */
};

struct fs_drill {
	char *path;
	uint64_t seed;
	int streams, requests;	/* at once; different ones */
	int tokens;		/* of each answer */
	double temperature;
	uint64_t limit_ns;	/* of a stream: then it is lost */
	char **prompt;
	size_t n_prompt, cap_prompt;
	struct fs_step *step;
	size_t n_step, cap_step;
};

#define FS_DRILL_MAX_BYTES	(1u << 20)

/* 0; -1: ERR_DATA "FILE:LINE: ..." (ERR_USAGE when it cannot be opened). */
int	fs_drill_read(struct fs_drill **out, const char *path,
	    struct err *err);
int	fs_drill_parse(struct fs_drill **out, const char *text, size_t n,
	    const char *path, struct err *err);
void	fs_drill_free(struct fs_drill *d);	/* NULL is fine */
const char *fs_drill_action_name(enum fs_action a);

#endif
