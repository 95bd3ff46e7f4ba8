/* at_prof_table - see at_prof_table.h. */
#include "at_prof_table.h"

#include <time.h>

#include "rec.h"

static const struct rec_col cols[] = {
	{ "part", REC_STR, 0 }, { "kind", REC_STR, 0 },
	{ "seconds", REC_REAL, 0 }, { "us_step", REC_REAL, 0 },
	{ "pct", REC_REAL, 0 }, { NULL, 0, 0 }
};

struct table {
	struct rec_out out;
	double busy_ns, steps;	/* busy: all but idle */
};

static int
put(struct table *t, const char *part, const char *kind, double ns,
    struct err *err)
{
	rec_put_str(&t->out, part);
	rec_put_str(&t->out, kind);
	rec_put_real(&t->out, ns / 1e9);
	rec_put_real(&t->out, t->steps > 0 ? ns / 1e3 / t->steps : 0);
	rec_put_real(&t->out, t->busy_ns > 0 ? 100 * ns / t->busy_ns : 0);
	return rec_end(&t->out, err);
}

static double
thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return ((double)t.tv_sec * 1e9 + (double)t.tv_nsec) /
	    clock_dilation();
}

int
at_prof_table(const struct at_metrics *m, FILE *fp, struct err *err)
{
	struct table t = { .steps = (double)m->steps };
	int i, rc = 0;

	rec_out_open(&t.out, fp, "profile", 1, cols, false);
	for (i = 0; i < AT_PART_IDLE; i++)
		t.busy_ns += (double)m->part_ns[i];
	rec_note(&t.out, "%llu steps of %.1f rows; %.3f s idle",
	    (unsigned long long)m->steps, m->steps > 0 ?
	    (double)m->rows / (double)m->steps : 0,
	    (double)m->part_ns[AT_PART_IDLE] / 1e9);
	for (i = 0; i < AT_PART_IDLE && rc == 0; i++)
		rc = put(&t, at_part_name[i].name,
		    at_kind_name(at_part_name[i].kind),
		    (double)m->part_ns[i], err);
	if (rc == 0)
		rc = put(&t, "total", "total", t.busy_ns, err);
	if (rc == 0)
		rc = put(&t, "http", "beside", thread_ns(), err);
	rec_out_close(&t.out);
	return rc;
}
