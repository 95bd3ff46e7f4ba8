/*
 * fs_tally - what a drill's events say: the faults by kind, the streams that
 * they touched, what the daemons noted of them, and the tokens over time.
 * Events that contradict each other are refused.
 */
#ifndef MOE_FS_TALLY_H
#define MOE_FS_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "event.h"
#include "mem.h"

enum fs_stage { FS_NOTICED, FS_MASKED, FS_REPLAYED, FS_REPAIRED, FS_SERVES,
	FS_STAGES };

struct fs_fate {		/* one fault */
	int kind;
	char subject[48];
	int64_t t_us, end_us;	/* end: when it was undone; t_us if never */
	bool undone;
	int64_t stage_us[FS_STAGES];	/* since t_us; -1: nobody said so */
	long touched;
	int64_t stall_us;	/* the longest of the streams touched */
};

struct fs_kind {		/* all faults of a kind, or all */
	char name[64];
	long faults, lost, wrong, replayed;
	VEC(int64_t) stall_us;	/* of the streams touched, raw */
	VEC(int64_t) stage_us[FS_STAGES];	/* from the fault */
};

struct fs_said {		/* by a daemon */
	char subject[48];
	enum fs_stage stage;
	int64_t t_us;
};

struct fs_answer_time {		/* a stream that was answered or refused */
	int64_t sent_us, first_us, total_us;	/* first: -1, none */
	bool refused;
};

struct fs_pace {		/* gaps between tokens in a part of the run */
	int64_t t_us, gaps, p99_us;
	bool step;		/* beginning with a fault; false: at rest */
};

struct fs_count {		/* tokens so far */
	int64_t t_us, n, flying;
};

struct fs_memory {		/* of a member's latest process */
	char id[48];
	int64_t first_kb, max_kb, pid;
};

struct fs_tally {
	bool begun, ended;
	bool watched;		/* the load was not ours */
	int64_t itl_us;		/* of the undisturbed run, median */
	int64_t closing_us, last_us;
	long started, done, lost, wrong, refused, missed, touched, executed;
	int64_t stall_max_us;	/* of any stream */
	VEC(int64_t) first_us;
	VEC(struct fs_fate) fate;	/* number n at [n - 1] */
	VEC(struct fs_kind) kind;
	VEC(struct fs_said) said;
	VEC(struct fs_count) tokens;
	VEC(struct fs_answer_time) answer;
	VEC(struct fs_pace) pace;
	VEC(struct fs_memory) memory;
};

/* -1: ERR_DATA, this cannot follow what came before. */
int	fs_tally_add(struct fs_tally *t, const struct event *e,
	    struct err *err);
/* All events are in.  Sorts stalls and stages.  -1: ERR_DATA, they are not
 * those of a whole drill, or their counts do not agree. */
int	fs_tally_end(struct fs_tally *t, struct err *err);
void	fs_tally_free(struct fs_tally *t);

void	fs_tally_sort(int64_t *v, size_t n);
/* Of sorted values; 0 when there are none. */
int64_t	fs_tally_quantile(const int64_t *v, size_t n, double q);
/* Tokens a second between two times; 0 when that is no time. */
double	fs_tally_rate(const struct fs_tally *t, int64_t from_us,
	    int64_t to_us);

#endif
