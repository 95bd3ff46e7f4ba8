/*
 * loop - one thread's event loop: file descriptors, timers, signals, and a
 * door bell that other threads can ring.  A thin layer over libevent, so that
 * programs hold no libevent types and count time in nanoseconds.
 *
 * Floor F3.  Everything is called from the loop's own thread, but for
 * loop_stop and loop_ring, which any thread may call.  A callback may free any
 * watch, timer or bell of its loop, its own too.
 */
#ifndef MOE_LOOP_H
#define MOE_LOOP_H

#include <stdint.h>

#include "err.h"

struct loop;
struct loop_watch;
struct loop_timer;
struct loop_signal;
struct loop_bell;
struct event_base;

typedef void (loop_fn)(void *arg);
typedef void (loop_fd_fn)(int fd, unsigned what, void *arg);

#define LOOP_READ	1u
#define LOOP_WRITE	2u

/* *l_p is the caller's, to free with loop_close after all watches, timers,
 * signals and bells of it are freed.  -1: ERR_TEMP (no descriptors left). */
int	loop_open(struct loop **l_p, struct err *err);
void	loop_close(struct loop *l);		/* NULL is fine */

/* Run until loop_stop; a loop_stop from before makes it return at once. */
int	loop_run(struct loop *l, struct err *err);
void	loop_stop(struct loop *l);
/* Run what is ready now, then return; block_ns > 0: wait that long for it. */
void	loop_once(struct loop *l, uint64_t block_ns);

/* Call fn whenever fd is ready for what (LOOP_READ | LOOP_WRITE); level
 * triggered.  fd must stay open until loop_unwatch; it is not closed. */
struct loop_watch *loop_watch(struct loop *l, int fd, unsigned what,
	    loop_fd_fn *fn, void *arg);
void	loop_unwatch(struct loop_watch *w);	/* NULL is fine */

/* A timer, not running yet.  loop_timer_in: once, ns from now (restarts a
 * running one); 0 means as soon as the callbacks that are due have run. */
struct loop_timer *loop_timer(struct loop *l, loop_fn *fn, void *arg);
void	loop_timer_in(struct loop_timer *t, uint64_t ns);
void	loop_timer_every(struct loop_timer *t, uint64_t ns);
void	loop_timer_stop(struct loop_timer *t);
void	loop_timer_free(struct loop_timer *t);	/* NULL is fine */

/* Call fn from the loop when the process gets signal signo. */
struct loop_signal *loop_signal(struct loop *l, int signo, loop_fn *fn,
	    void *arg);
void	loop_signal_free(struct loop_signal *s);	/* NULL is fine */

/* loop_ring makes fn run soon in the loop's thread; rings that come before it
 * has run are one.  Safe in a signal handler. */
struct loop_bell *loop_bell(struct loop *l, loop_fn *fn, void *arg,
	    struct err *err);
void	loop_ring(struct loop_bell *b);
void	loop_bell_free(struct loop_bell *b);	/* NULL is fine */

/* For the modules of this floor that use libevent's buffers. */
struct event_base *loop_base(struct loop *l);

#endif
