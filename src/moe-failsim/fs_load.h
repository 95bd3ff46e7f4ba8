/*
 * fs_load - the load of a drill: streams of completions whose tokens are known
 * from an undisturbed run, so that every wrong, lost or stalled one shows, and
 * the faults that were done meanwhile, so that stalls are told of the streams
 * that a fault touched.  One thread.
 *
 * A fault touches the streams that have brought a token and are not done when
 * it begins; its stall is the longest time without a token that overlaps the
 * fault or the FS_AFTER_NS behind it.
 */
#ifndef MOE_FS_LOAD_H
#define MOE_FS_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "fs_drill.h"
#include "hist.h"
#include "mem.h"
#include "oai.h"
#include "rec.h"

#define FS_AFTER_NS	50000000u
#define FS_STEP_NS	700000000u	/* what follows a fault belongs to it */

struct fs_answer {
	VEC(int32_t) id;
};

struct fs_fault {
	char kind[64];		/* "kill-expert", "link-delay" */
	uint64_t begin_ns, end_ns;	/* end: UINT64_MAX while it lasts */
};

struct fs_stream;

struct fs_load {
	const struct fs_drill *d;
	uint64_t seed;
	struct oai *c;
	char *model;
	struct fs_answer *ref;	/* [requests], of the undisturbed run */
	struct hist itl;	/* ns between tokens of that run */
	struct hist pace;	/* the same since pace_ns, of the judged run */
	uint64_t pace_ns;
	bool pace_step;		/* since then: a fault has just been */
	bool judging;		/* the reference is complete */
	struct rec_out *out;	/* events go here */
	uint64_t start_ns;	/* t_us 0 */
	uint64_t heard_ns;	/* when the last token came */
	uint64_t fill_ns;	/* no new streams before */
	int flying, want;	/* streams now, streams as there should be */
	VEC(struct fs_stream *) live;
	VEC(struct fs_fault) fault;	/* number n is at [n - 1] */
	uint64_t n_started, n_done, n_lost, n_wrong, n_refused, n_touched;
	uint64_t n_tok;		/* of the judged run so far */
	struct err err;		/* first failure of the reference or of output */
};

/* Write an event about subject; remembers a failure in l->err. */
void	fs_load_event(struct fs_load *l, const char *subject,
	    const char *event, const char *cause, const char *detail);
/* A fault begins (lasts: fs_load_fault_end follows); its number. */
int	fs_load_fault(struct fs_load *l, const char *kind, bool lasts);
/* Tell of the gaps between tokens up to now, if what begins now (a fault; the
 * end of the FS_STEP_NS after one) is another part of the run. */
void	fs_load_pace(struct fs_load *l, bool fault);
void	fs_load_fault_end(struct fs_load *l, int fault);
/* Run every request once, undisturbed, and keep the tokens.  -1: ERR_TEMP, a
 * request failed; ERR_UNAVAIL, the server gives no token ids. */
int	fs_load_reference(struct fs_load *l, struct err *err);
/* Start streams until l->want are in flight; after a lost or refused one it
 * waits a little, so that a server that is away is not flooded. */
void	fs_load_fill(struct fs_load *l);
void	fs_load_free(struct fs_load *l);

#endif
