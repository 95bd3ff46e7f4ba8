/*
 * fs_drill - a drill file, moe-drill(5): what load runs, and what is done to
 * whom and when.
 *
 *     moe-drill 1
 *     streams 8
 *     tokens 64
 *     at 500ms kill e1 restart 1s
 *     tokens-out 200 stop expert for 100ms-300ms
 *     every 2s count 4 link expert delay=5ms for 500ms
 */
#ifndef MOE_FS_DRILL_H
#define MOE_FS_DRILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "rng.h"

enum fs_action { FS_KILL = 1, FS_STOP, FS_CONT, FS_TERM, FS_START, FS_LINK,
	FS_LOAD, FS_DO, FS_ROLL, FS_DEAD, FS_DRAIN, FS_MOVE };

struct fs_span {		/* a time, or a random one between two */
	uint64_t lo_ns, hi_ns;
};

struct fs_step {
	int line;
	/* when: at from the start, or after that many tokens or answers of the
	 * whole load, or every, count times or until that time */
	struct fs_span at, every;
	uint64_t after_tok, after_answer, until_ns;	/* until 0: count */
	bool last;		/* or when all others are done and undone */
	int count;		/* 1 unless every */
	enum fs_action action;
	char who[48];		/* a member's id, a role (expert, front, route,
				 * door), any; "" for load and do */
	char text[200];		/* link: the faults; do: the command */
	double factor;		/* load: times as many streams */
	int n_move;		/* move: experts at once */
	bool undo;		/* restart, go on, heal ... */
	struct fs_span undo_after;	/* ... after this time */
};

struct fs_drill {
	char *path;
	uint64_t seed;
	int streams, requests;	/* at once; different ones */
	int tokens;		/* of each answer */
	double temperature[8];	/* requests use them in turn */
	int n_temperature;
	int words_lo, words_hi;	/* prompts are filled up to; 0: as they are */
	uint64_t limit_ns;	/* of a stream: then it is lost */
	uint64_t quiet_ns;	/* load goes on before the steps' clock starts */
	uint64_t settle_ns;	/* and after the last step */
	uint64_t rest_ns;	/* a role is left alone after each undo */
	char **prompt;
	size_t n_prompt, cap_prompt;
	struct fs_step *step;
	size_t n_step, cap_step;
};

#define FS_DRILL_MAX_BYTES	(1u << 20)
#define FS_DRILL_MAX_MOVE	64

/* 0; -1: ERR_DATA "FILE:LINE: ..." (ERR_USAGE when it cannot be opened). */
int	fs_drill_read(struct fs_drill **out, const char *path,
	    struct err *err);
int	fs_drill_parse(struct fs_drill **out, const char *text, size_t n,
	    const char *path, struct err *err);
void	fs_drill_free(struct fs_drill *d);	/* NULL is fine */
const char *fs_drill_action_name(enum fs_action a);
/* A time within it; draws only when it is a range. */
uint64_t fs_drill_draw(const struct fs_span *s, struct rng *r);

#endif
