/*
 * fs_load - the load of a drill: streams of completions whose tokens are known
 * from an undisturbed run, so that every wrong, lost or stalled one shows.
 * One thread.
 */
#ifndef MOE_FS_LOAD_H
#define MOE_FS_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "fs_drill.h"
#include "mem.h"
#include "oai.h"
#include "rec.h"

struct fs_answer {
	VEC(int32_t) id;
};

struct fs_load {
	const struct fs_drill *d;
	uint64_t seed;
	struct oai *c;
	char *model;
	struct fs_answer *ref;	/* [requests], of the undisturbed run */
	bool judging;		/* the reference is complete */
	struct rec_out *out;	/* events go here */
	uint64_t start_ns;	/* t_us 0 */
	uint64_t heard_ns;	/* when the last token came */
	uint64_t fill_ns;	/* no new streams before */
	int flying;
	uint64_t n_started, n_done, n_lost, n_wrong;
	uint64_t n_tok;		/* of the judged run so far */
	struct err err;		/* first failure of the reference or of output */
};

/* Write an event about subject; remembers a failure in l->err. */
void	fs_load_event(struct fs_load *l, const char *subject,
	    const char *event, const char *cause, const char *detail);
/* Run every request once, undisturbed, and keep the tokens.  -1: ERR_TEMP, a
 * request failed; ERR_UNAVAIL, the server gives no token ids. */
int	fs_load_reference(struct fs_load *l, struct err *err);
/* Start streams until d->streams are in flight; after a lost one it waits a
 * little, so that a server that is away is not flooded. */
void	fs_load_fill(struct fs_load *l);
void	fs_load_free(struct fs_load *l);

#endif
