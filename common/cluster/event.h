/*
 * event - what happened in a cluster, as the stream #moe:event/1, moe-stream(5).
 *
 * An event has a time (microseconds from the start of whoever writes the
 * stream), who saw it (source), whom it is about (subject: a member, a stream,
 * a drill), one word for what happened, one for why, and details as
 * "key=value" words.  Floor F4.
 */
#ifndef MOE_EVENT_H
#define MOE_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "rec.h"

struct event {
	int64_t t_us;
	const char *source, *subject, *event;
	const char *cause, *detail;	/* NULL: none */
};

void	event_out_open(struct rec_out *o, FILE *fp, bool json);
/* -1: ERR_TEMP (writing failed).  rec_out_close ends the stream. */
int	event_put(struct rec_out *o, const struct event *e, struct err *err);

void	event_in_open(struct rec_in *in, FILE *fp, const char *path);
/* 1: *e holds the next event, its strings until the next call; 0: the end;
 * -1: ERR_DATA.  rec_in_close ends it. */
int	event_next(struct rec_in *in, struct event *e, struct err *err);

/* The whole number behind "key=" in the details; false: there is none. */
bool	event_int(const struct event *e, const char *key, int64_t *out);

#endif
