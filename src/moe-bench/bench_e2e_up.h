/*
 * bench_e2e_up - start a front end and its expert servers on this machine, and
 * stop them: what `moe-bench e2e` measures.
 *
 * The processes die with the caller's thread.  Their sockets and logs are in
 * a directory of their own under TMPDIR, which goes with them.
 */
#ifndef MOE_BENCH_E2E_UP_H
#define MOE_BENCH_E2E_UP_H

#include <stdint.h>

#include "err.h"

struct bench_e2e_up_opt {
	const char *bin;	/* where the programs are */
	const char *model;
	const char *dtype, *weights;	/* as those options of both */
	int servers;		/* 0: --local */
	const char *transport;	/* "shm" or "tcp" */
	int threads;		/* of the front end, and of all servers together
				 * (one each at least) */
	/* more options, separated by blanks; NULL: none */
	const char *attnd_args, *expertd_args;
};

struct bench_e2e_up;

/* Start them and wait until all are ready.  -1: ERR_TEMP with the last line of
 * who did not get ready. */
int	bench_e2e_up_start(struct bench_e2e_up **out,
	    const struct bench_e2e_up_opt *o, struct err *err);
/* Drain, wait, kill after a while; NULL is fine. */
void	bench_e2e_up_stop(struct bench_e2e_up *u);
const char *bench_e2e_up_url(const struct bench_e2e_up *u);

#endif
