/*
 * event_log - a daemon's own events, appended to a file as #moe:event/1
 * (moe-stream(5)), so that a drill can be told when a fault was noticed and
 * when it was repaired.  t_us is the machine's monotonic clock; several daemons
 * may append to one file, a record is one write.
 *
 * Floor F4.  One log a process.  Any thread once it is open.
 */
#ifndef MOE_EVENT_LOG_H
#define MOE_EVENT_LOG_H

#include "err.h"

/* source: who writes.  -1: ERR_USAGE (cannot be opened). */
int	event_log_open(const char *path, const char *source, struct err *err);
void	event_log_close(void);

/* Nothing happens when no log is open; a failed write is dropped. */
void	event_log_put(const char *subject, const char *event,
	    const char *cause);

#endif
