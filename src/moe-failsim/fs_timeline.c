/* fs_timeline - see fs_bounds.h: what became of each fault, from the moment it
 * was done. */
#include "event.h"
#include "fs_bounds.h"

enum { C_AT, C_FAULT, C_SUBJECT, C_NOTICED, C_MASKED, C_REPLAYED, C_REPAIRED,
	C_SERVES, C_UNDONE, C_TOUCHED, C_STALL, C_N };

static const struct rec_col col[] = {
	[C_AT] = { "at_ms", REC_REAL, 0 },
	[C_FAULT] = { "fault", REC_STR, 0 },
	[C_SUBJECT] = { "subject", REC_STR, 0 },
	[C_NOTICED] = { "noticed_ms", REC_REAL, 0 },
	[C_MASKED] = { "masked_ms", REC_REAL, 0 },
	[C_REPLAYED] = { "replayed_ms", REC_REAL, 0 },
	[C_REPAIRED] = { "repaired_ms", REC_REAL, 0 },
	[C_SERVES] = { "serves_ms", REC_REAL, 0 },
	[C_UNDONE] = { "undone_ms", REC_REAL, 0 },
	[C_TOUCHED] = { "touched", REC_INT, 0 },
	[C_STALL] = { "stall_ms", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

static void
put_ms(struct rec_out *o, int64_t us)
{
	if (us < 0)
		rec_put_none(o);
	else
		rec_put_real(o, (double)us / 1000);
}

int
fs_timeline(const struct fs_tally *t, bool json, struct err *err)
{
	const struct fs_fate *f;
	struct rec_out o;
	size_t i;
	int rc = 0, s;

	rec_out_open(&o, stdout, "timeline", 1, col, json);
	for (i = 0; i < t->fate.n && rc == 0; i++) {
		f = &t->fate.p[i];
		put_ms(&o, f->t_us);
		rec_put_str(&o, t->kind.p[f->kind].name);
		rec_put_str(&o, f->subject);
		for (s = 0; s < FS_STAGES; s++)
			put_ms(&o, f->stage_us[s]);
		put_ms(&o, f->undone ? f->end_us - f->t_us : -1);
		rec_put_int(&o, f->touched);
		if (f->touched > 0)
			rec_put_real(&o, fs_bounds_beyond_ms(t, f->stall_us));
		else
			rec_put_none(&o);
		rc = rec_end(&o, err);
	}
	rec_out_close(&o);
	return rc;
}
