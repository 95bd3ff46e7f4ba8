/* event - see event.h. */
#include "event.h"

#include <stdlib.h>
#include <string.h>

enum { C_T, C_SOURCE, C_SUBJECT, C_EVENT, C_CAUSE, C_DETAIL, C_N };

static const struct rec_col event_col[] = {
	[C_T] = { "t_us", REC_INT, 0 },
	[C_SOURCE] = { "source", REC_STR, 0 },
	[C_SUBJECT] = { "subject", REC_STR, 0 },
	[C_EVENT] = { "event", REC_STR, 0 },
	[C_CAUSE] = { "cause", REC_STR, REC_OPTIONAL },
	[C_DETAIL] = { "detail", REC_STR, REC_OPTIONAL },
	[C_N] = { NULL, 0, 0 },
};

void
event_out_open(struct rec_out *o, FILE *fp, bool json)
{
	rec_out_open(o, fp, "event", 1, event_col, json);
}

int
event_put(struct rec_out *o, const struct event *e, struct err *err)
{
	rec_put_int(o, e->t_us);
	rec_put_str(o, e->source);
	rec_put_str(o, e->subject);
	rec_put_str(o, e->event);
	rec_put_str(o, e->cause);
	rec_put_str(o, e->detail);
	return rec_end(o, err);
}

void
event_in_open(struct rec_in *in, FILE *fp, const char *path)
{
	rec_in_open(in, fp, path, "event", 1, event_col);
}

int
event_next(struct rec_in *in, struct event *e, struct err *err)
{
	int rc = rec_next(in, err);

	if (rc != 1)
		return rc;
	if (!in->val[C_T].have || !in->val[C_SOURCE].have ||
	    !in->val[C_SUBJECT].have || !in->val[C_EVENT].have)
		return err_set(err, ERR_DATA, "%s:%zu: a time, a source, a "
		    "subject and an event are needed", in->path, in->line);
	e->t_us = in->val[C_T].i;
	e->source = in->val[C_SOURCE].s;
	e->subject = in->val[C_SUBJECT].s;
	e->event = in->val[C_EVENT].s;
	e->cause = in->val[C_CAUSE].have ? in->val[C_CAUSE].s : NULL;
	e->detail = in->val[C_DETAIL].have ? in->val[C_DETAIL].s : NULL;
	return 1;
}

bool
event_int(const struct event *e, const char *key, int64_t *out)
{
	const char *p = e->detail;
	size_t n = strlen(key);
	char *end;
	long long v;

	while (p != NULL && *p != '\0') {
		if (strncmp(p, key, n) == 0 && p[n] == '=') {
			v = strtoll(p + n + 1, &end, 10);
			if (end == p + n + 1 || (*end != ' ' && *end != '\0'))
				return false;
			*out = v;
			return true;
		}
		if ((p = strchr(p, ' ')) != NULL)
			p++;
	}
	return false;
}
