/*
 * fs_bounds - the bounds of a drill, and the line of verdict.
 */
#ifndef MOE_FS_BOUNDS_H
#define MOE_FS_BOUNDS_H

#include <stdio.h>

#include "fs_measure.h"

struct fs_bounds {		/* < 0: no bound */
	double stall_ms, p50_ms, p99_ms, serves_ms, recovery_ms, step;
	double during_pct, after_pct, worst_pct;	/* of before; 0: none */
	double slower, slower_ms;	/* whole answers: times, and beyond */
	int64_t lost, wrong, refused, missed;
	uint64_t growth;	/* bytes of any member; 0: no bound */
	double slack;		/* times are that much looser */
};

#define FS_BOUNDS_INIT	{ .stall_ms = -1, .p50_ms = -1, .p99_ms = -1, \
    .serves_ms = -1, .recovery_ms = -1, .step = -1, .slower = -1, .slack = 1 }

/* Entries of an option table for what p points to. */
#define FS_BOUNDS_OPTIONS(p) \
	{ 0, "max-stall", CLI_REAL, &(p)->stall_ms, "MS", \
	    "longest time between two tokens of any stream", 0, 1e9, NULL }, \
	{ 0, "max-p50", CLI_REAL, &(p)->p50_ms, "MS", \
	    "median of the stalls of touched streams", 0, 1e9, NULL }, \
	{ 0, "max-p99", CLI_REAL, &(p)->p99_ms, "MS", \
	    "99th percentile of them", 0, 1e9, NULL }, \
	{ 0, "max-serves", CLI_REAL, &(p)->serves_ms, "MS", \
	    "99th percentile from a server's start to its first answer", 0, \
	    1e9, NULL }, \
	{ 0, "max-step", CLI_REAL, &(p)->step, "F", \
	    "p99 of time between tokens after a fault, of that at rest", 0, \
	    1e6, NULL }, \
	{ 0, "max-slower", CLI_REAL, &(p)->slower, "F", \
	    "p99 of whole answers during faults, of that before", 0, 1e6, \
	    NULL }, \
	{ 0, "queue", CLI_REAL, &(p)->slower_ms, "MS", \
	    "and so much beyond (default 0)", 0, 1e9, NULL }, \
	{ 0, "max-recovery", CLI_REAL, &(p)->recovery_ms, "MS", \
	    "from the last fault's end until nobody is refused or late", 0, \
	    1e9, NULL }, \
	{ 0, "max-lost", CLI_INT, &(p)->lost, "N", \
	    "streams that may be lost (default 0)", 0, 1e9, NULL }, \
	{ 0, "max-wrong", CLI_INT, &(p)->wrong, "N", \
	    "streams with wrong tokens (default 0)", 0, 1e9, NULL }, \
	{ 0, "max-refused", CLI_INT, &(p)->refused, "N", \
	    "requests refused with 429 or 503 (default 0)", 0, 1e9, NULL }, \
	{ 0, "max-missed", CLI_INT, &(p)->missed, "N", \
	    "steps that did not happen (default 0)", 0, 1e9, NULL }, \
	{ 0, "min-during", CLI_REAL, &(p)->during_pct, "PCT", \
	    "tokens a second during faults, of those before", 0, 1000, \
	    NULL }, \
	{ 0, "min-after", CLI_REAL, &(p)->after_pct, "PCT", \
	    "the same after the last fault", 0, 1000, NULL }, \
	{ 0, "min-worst", CLI_REAL, &(p)->worst_pct, "PCT", \
	    "the same in the worst second during faults", 0, 1000, NULL }, \
	{ 0, "max-growth", CLI_SIZE, &(p)->growth, "SIZE", \
	    "memory that a member may grow by", 0, 0, NULL }, \
	{ 0, "slack", CLI_REAL, &(p)->slack, "F", \
	    "bounds on times and rates are F times looser, and it is said " \
	    "so (default 1)", 1, 1e6, NULL }

struct fs_found {
	const struct fs_tally *t;
	const struct fs_kind *all;	/* all kinds together */
	const struct fs_measure *m;
};

/* Beyond what the undisturbed run needs between two tokens. */
double	fs_bounds_beyond_ms(const struct fs_tally *t, int64_t us);
/* Write the line of verdict, after mark.  0, or ERR_NO. */
int	fs_bounds_tell(const struct fs_bounds *b, const struct fs_found *f,
	    const char *mark, FILE *fp);
/* fs_timeline.c: a record #moe:timeline/1 for each fault.  -1: ERR_TEMP. */
int	fs_timeline(const struct fs_tally *t, bool json, struct err *err);

#endif
