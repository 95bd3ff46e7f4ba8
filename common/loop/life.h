/*
 * life - the life of a daemon: ready, reload, drain, leave.
 *
 * The first TERM or INT drains: the drain callback refuses new work, lets the
 * running work end, and calls life_drained when it has.  The second stops the
 * loop at once; the third kills, as the default action is back by then.  HUP
 * and USR1 are callbacks.  SIGPIPE is ignored from life_start on.
 *
 * Readiness is told twice: a newline to a descriptor (--ready-fd), and
 * READY=1 to systemd (sd_notify(3), over NOTIFY_SOCKET).
 *
 * Floor F3; the loop's thread only.
 */
#ifndef MOE_LIFE_H
#define MOE_LIFE_H

#include <stdbool.h>

#include "err.h"
#include "loop.h"

struct life;

struct life_opt {
	struct loop *loop;
	int ready_fd;		/* -1: none; closed when told (0..2 stay open) */
	loop_fn *drain;		/* NULL: TERM stops the loop at once */
	loop_fn *reload;	/* HUP; NULL: ignored */
	loop_fn *usr1;		/* USR1; NULL: ignored */
	void *arg;		/* of all three */
};

/* -1: ERR_USAGE when ready_fd is not an open descriptor. */
int	life_start(struct life **l_p, const struct life_opt *o,
	    struct err *err);
/* NULL is fine.  The process is on its way out: this thread blocks TERM and INT
 * from now on, so that one more of them does not change the exit status. */
void	life_end(struct life *l);

/* Ready for work.  -1: ERR_TEMP, nobody could be told. */
int	life_ready(struct life *l, struct err *err);
/* The drain has ended: stops the loop. */
void	life_drained(struct life *l);

bool	life_draining(const struct life *l);	/* TERM or INT has come */
bool	life_hurried(const struct life *l);	/* the second one, too */

#endif
