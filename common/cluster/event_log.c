/* event_log - see event_log.h. */
#include "event_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "clock.h"
#include "event.h"
#include "mem.h"

static struct {
	pthread_mutex_t lock;
	FILE *fp;		/* NULL: no log */
	struct rec_out out;
	char *source;
} lg = { .lock = PTHREAD_MUTEX_INITIALIZER };

int
event_log_open(const char *path, const char *source, struct err *err)
{
	FILE *fp = fopen(path, "ae");

	if (fp == NULL)
		return err_sys(err, ERR_USAGE, errno, "%s", path);
	pthread_mutex_lock(&lg.lock);
	lg.fp = fp;
	lg.source = mem_strdup(source);
	event_out_open(&lg.out, fp, false);
	(void)fflush(fp);
	pthread_mutex_unlock(&lg.lock);
	return 0;
}

void
event_log_close(void)
{
	pthread_mutex_lock(&lg.lock);
	if (lg.fp != NULL) {
		rec_out_close(&lg.out);
		fclose(lg.fp);
		mem_free(lg.source);
		lg.fp = NULL;
	}
	pthread_mutex_unlock(&lg.lock);
}

void
event_log_put(const char *subject, const char *event, const char *cause)
{
	struct err err = ERR_INIT;
	struct event e = { 0, NULL, subject, event, cause, NULL };

	pthread_mutex_lock(&lg.lock);
	if (lg.fp != NULL) {
		/* Real time: a drill's clock is not dilated. */
		e.t_us = (int64_t)(clock_real(clock_ns()) / 1000);
		e.source = lg.source;
		(void)event_put(&lg.out, &e, &err);
	}
	pthread_mutex_unlock(&lg.lock);
}
