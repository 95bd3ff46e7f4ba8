/* loop - see loop.h.  Floor F3.  libevent's own locks stay off: what other
 * threads may call only writes to an eventfd. */
#include "loop.h"

#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

struct loop {
	struct event_base *base;
	struct event *once;	/* ends loop_once */
	struct loop_bell *stop;
	atomic_bool stopping;
};

struct loop_watch {
	struct event *ev;
	loop_fd_fn *fn;
	void *arg;
};

struct loop_timer {
	struct event *ev;
	loop_fn *fn;
	void *arg;
	uint64_t every_ns;	/* 0: once */
};

struct loop_signal {
	struct event *ev;
	loop_fn *fn;
	void *arg;
};

struct loop_bell {
	struct loop_watch *watch;
	int fd;
	loop_fn *fn;
	void *arg;
};

static struct timeval
to_timeval(uint64_t dur_ns)
{
	uint64_t ns = clock_real(dur_ns);
	uint64_t us = ns / 1000 + (ns % 1000 != 0);
	struct timeval tv = { (time_t)(us / 1000000),
	    (suseconds_t)(us % 1000000) };

	return tv;
}

static void
on_once(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void
on_stop(void *arg)
{
	struct loop *l = arg;

	event_base_loopbreak(l->base);
}

int
loop_open(struct loop **l_p, struct err *err)
{
	struct loop *l = mem_zalloc(sizeof(*l));
	struct event_config *cfg = event_config_new();

	BUG_ON(cfg == NULL);
	/* Timers to the microsecond; no locks, see above. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	if (l->base == NULL) {
		mem_free(l);
		return err_sys(err, ERR_TEMP, errno, "event loop");
	}
	l->once = event_new(l->base, -1, 0, on_once, NULL);
	BUG_ON(l->once == NULL);
	l->stop = loop_bell(l, on_stop, l, err);
	if (l->stop == NULL) {
		event_free(l->once);
		event_base_free(l->base);
		mem_free(l);
		return -1;
	}
	*l_p = l;
	return 0;
}

void
loop_close(struct loop *l)
{
	if (l == NULL)
		return;
	loop_bell_free(l->stop);
	event_free(l->once);
	event_base_free(l->base);
	mem_free(l);
}

int
loop_run(struct loop *l, struct err *err)
{
	int rc = 0;

	/* The flag, not the break alone, ends it: a break from before the loop
	 * began would be forgotten. */
	while (!atomic_load(&l->stopping) && rc != -1)
		rc = event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
	atomic_store(&l->stopping, false);
	if (rc == -1)
		return err_sys(err, ERR_TEMP, errno, "event loop");
	return 0;
}

void
loop_stop(struct loop *l)
{
	atomic_store(&l->stopping, true);
	loop_ring(l->stop);
}

void
loop_once(struct loop *l, uint64_t block_ns)
{
	struct timeval tv = to_timeval(block_ns);

	if (block_ns == 0) {
		event_base_loop(l->base, EVLOOP_NONBLOCK);
		return;
	}
	event_add(l->once, &tv);
	event_base_loop(l->base, EVLOOP_ONCE);
	event_del(l->once);
}

struct event_base *
loop_base(struct loop *l)
{
	return l->base;
}

/* ---- descriptors ----------------------------------------------------------- */

static void
on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	w->fn(fd, (what & EV_READ ? LOOP_READ : 0) |
	    (what & EV_WRITE ? LOOP_WRITE : 0), w->arg);
}

struct loop_watch *
loop_watch(struct loop *l, int fd, unsigned what, loop_fd_fn *fn, void *arg)
{
	struct loop_watch *w = mem_zalloc(sizeof(*w));

	w->fn = fn;
	w->arg = arg;
	w->ev = event_new(l->base, fd, (short)(EV_PERSIST |
	    (what & LOOP_READ ? EV_READ : 0) |
	    (what & LOOP_WRITE ? EV_WRITE : 0)), on_fd, w);
	BUG_ON(w->ev == NULL || event_add(w->ev, NULL) != 0);
	return w;
}

void
loop_unwatch(struct loop_watch *w)
{
	if (w == NULL)
		return;
	event_free(w->ev);
	mem_free(w);
}

/* ---- timers ------------------------------------------------------------------ */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	if (t->every_ns > 0) {
		struct timeval tv = to_timeval(t->every_ns);

		event_add(t->ev, &tv);
	}
	t->fn(t->arg);
}

struct loop_timer *
loop_timer(struct loop *l, loop_fn *fn, void *arg)
{
	struct loop_timer *t = mem_zalloc(sizeof(*t));

	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(l->base, -1, 0, on_timer, t);
	BUG_ON(t->ev == NULL);
	return t;
}

static void
start(struct loop_timer *t, uint64_t ns, uint64_t every_ns)
{
	struct timeval tv = to_timeval(ns);

	t->every_ns = every_ns;
	BUG_ON(event_add(t->ev, &tv) != 0);
}

void
loop_timer_in(struct loop_timer *t, uint64_t ns)
{
	start(t, ns, 0);
}

void
loop_timer_every(struct loop_timer *t, uint64_t ns)
{
	BUG_ON(ns == 0);
	start(t, ns, ns);
}

void
loop_timer_stop(struct loop_timer *t)
{
	t->every_ns = 0;
	event_del(t->ev);
}

void
loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	event_free(t->ev);
	mem_free(t);
}

/* ---- signals ----------------------------------------------------------------- */

static void
on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)signo;
	(void)what;
	s->fn(s->arg);
}

struct loop_signal *
loop_signal(struct loop *l, int signo, loop_fn *fn, void *arg)
{
	struct loop_signal *s = mem_zalloc(sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	s->ev = evsignal_new(l->base, signo, on_signal, s);
	BUG_ON(s->ev == NULL || event_add(s->ev, NULL) != 0);
	return s;
}

void
loop_signal_free(struct loop_signal *s)
{
	if (s == NULL)
		return;
	event_free(s->ev);
	mem_free(s);
}

/* ---- bells ------------------------------------------------------------------- */

static void
on_bell(int fd, unsigned what, void *arg)
{
	struct loop_bell *b = arg;
	uint64_t n;

	(void)what;
	/* Emptied before the call, so that a ring during it counts. */
	if (read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		b->fn(b->arg);
}

struct loop_bell *
loop_bell(struct loop *l, loop_fn *fn, void *arg, struct err *err)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct loop_bell *b;

	if (fd < 0) {
		(void)err_sys(err, ERR_TEMP, errno, "eventfd");
		return NULL;
	}
	b = mem_zalloc(sizeof(*b));
	b->fd = fd;
	b->fn = fn;
	b->arg = arg;
	b->watch = loop_watch(l, fd, LOOP_READ, on_bell, b);
	return b;
}

void
loop_ring(struct loop_bell *b)
{
	uint64_t one = 1;
	ssize_t n;

	/* Fails only when the counter is full, and then it is rung already. */
	n = write(b->fd, &one, sizeof(one));
	(void)n;
}

void
loop_bell_free(struct loop_bell *b)
{
	if (b == NULL)
		return;
	loop_unwatch(b->watch);
	close(b->fd);
	mem_free(b);
}
