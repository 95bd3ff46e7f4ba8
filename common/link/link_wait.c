/*
 * link_wait.c - F3.  How the data thread waits: spin, yield, sleep.
 *
 * Spinning with PAUSE pays only while every spinner has a core of its own (on
 * a shared core each hop costs a scheduler quantum: 8 ms); sched_yield is the
 * one kind of spinning that survives sharing; sleeping is the only one that
 * leaves busy processes alone.  So: PAUSE for 2 us where cores are free, yield
 * up to 60 us, then epoll.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "link_port.h"
#include "link_wire.h"

#define PAUSE_NS	2000u
#define YIELD_NS	60000u
#define BATCH		32

static _Atomic int n_spinning;	/* threads of this process */

static inline void
relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	sched_yield();
#endif
}

void
link_wake(struct link_port *p)
{
	uint64_t one = 1;

	atomic_store(&p->woken, 1);
	if (atomic_load(&p->asleep) != 0)
		(void)!write(p->wake_fd, &one, sizeof(one));
}

/* Has anything happened?  Does not take link_wake's mark. */
static bool
anything(struct link_port *p)
{
	struct link_pair *pair;
	size_t i;

	if (atomic_load(&p->n_note) != 0 || atomic_load(&p->woken) != 0)
		return true;
	for (i = 0; i < p->live.n; i++) {
		pair = p->live.p[i];
		if (pair->broken)
			continue;
		/* Many sockets: epoll looks at all of them at once. */
		if (pair->ring->tp->second && p->n_sock > LINK_FEW_SOCKETS &&
		    !pair->ring->ready)
			continue;
		if (pair->ring->tp->peek(pair->ring))
			return true;
	}
	return false;
}

/* ---- sleeping --------------------------------------------------------------------- */

/* Ask epoll for room to write where output waits for it. */
static void
arm_output(struct link_port *p)
{
	struct link_ring *r;
	struct epoll_event ev;
	size_t i;

	for (i = 0; i < p->live.n; i++) {
		r = p->live.p[i]->ring;
		if (r->want_out == r->armed_out || p->live.p[i]->broken)
			continue;
		ev.events = EPOLLIN | (r->want_out ? EPOLLOUT : 0u);
		ev.data.ptr = p->live.p[i];
		if (epoll_ctl(p->ep, EPOLL_CTL_MOD, r->fd, &ev) == 0)
			r->armed_out = r->want_out;
	}
}

static int
epoll_until(int ep, struct epoll_event *ev, uint64_t deadline_ns)
{
	static _Atomic bool old_kernel;
	uint64_t left = clock_left(deadline_ns);
	struct timespec ts = { (time_t)(left / 1000000000u),
	    (long)(left % 1000000000u) };
	int n;

	if (deadline_ns == UINT64_MAX)
		return epoll_wait(ep, ev, BATCH, -1);
	if (!atomic_load(&old_kernel)) {
		n = epoll_pwait2(ep, ev, BATCH, &ts, NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		atomic_store(&old_kernel, true);
	}
	left = (left + 999999u) / 1000000u;
	return epoll_wait(ep, ev, BATCH, left > 3600000u ? 3600000 : (int)left);
}

/* What epoll said, told to the rings.  data.ptr: a pair; NULL: wake_fd; the
 * port itself: a descriptor of link_watch. */
static void
take_ready(struct link_port *p, const struct epoll_event *ev, int n)
{
	struct link_pair *pair;
	uint64_t junk;
	int i;

	for (i = 0; i < n; i++) {
		if (ev[i].data.ptr == NULL) {
			(void)!read(p->wake_fd, &junk, sizeof(junk));
		} else if (ev[i].data.ptr != p) {
			pair = ev[i].data.ptr;
			pair->ring->tp->rouse(pair->ring, (ev[i].events &
			    (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0);
		}
	}
}

static void
sleep_until(struct link_port *p, uint64_t deadline_ns)
{
	struct epoll_event ev[BATCH];
	struct link_ring *r;
	size_t i;
	int n = 0;

	arm_output(p);
	/* Say that we sleep, then look again: whoever committed before it saw
	 * that is found now, whoever commits later wakes us. */
	atomic_store(&p->asleep, 1);
	for (i = 0; i < p->live.n; i++) {
		r = p->live.p[i]->ring;
		r->tp->doze(r);
	}
	if (!anything(p)) {
		p->count.sleeps++;
		n = epoll_until(p->ep, ev, deadline_ns);
	}
	atomic_store(&p->asleep, 0);
	for (i = 0; i < p->live.n; i++) {
		r = p->live.p[i]->ring;
		r->tp->rouse(r, false);
	}
	take_ready(p, ev, n);
}

/* ---- spinning ---------------------------------------------------------------------- */

bool
link_wait_sweep(struct link_port *p)
{
	struct epoll_event ev[BATCH];
	int n;

	if (p->n_sock <= LINK_FEW_SOCKETS)
		return false;
	n = epoll_wait(p->ep, ev, BATCH, 0);
	take_ready(p, ev, n);
	return n > 0;
}

/* true: something happened within the spinning time. */
static bool
spin(struct link_port *p, uint64_t deadline_ns)
{
	uint64_t start = clock_ns(), now = start, until;
	/* Spinning is for what comes soon in real time. */
	uint64_t pause_ns = PAUSE_NS / (unsigned)clock_dilation();
	uint64_t yield_ns = YIELD_NS / (unsigned)clock_dilation();
	bool pause, found;
	int i;

	pause = atomic_fetch_add(&n_spinning, 1) < p->spin_cores;
	found = anything(p);
	while (!found && pause && now - start < pause_ns && now < deadline_ns) {
		for (i = 0; i < 8 && !found; i++) {
			relax();
			found = anything(p);
		}
		now = clock_ns();
	}
	until = start + yield_ns < deadline_ns ? start + yield_ns : deadline_ns;
	while (!found && now < until) {
		sched_yield();
		found = anything(p) || link_wait_sweep(p);
		now = clock_ns();
	}
	atomic_fetch_sub(&n_spinning, 1);
	return found;
}

void
link_wait(struct link_port *p, uint64_t deadline_ns)
{
	uint64_t due = p->wire != NULL ? link_wire_due(p->wire) : UINT64_MAX;

	if (due < deadline_ns)
		deadline_ns = due;
	if (!anything(p) && !link_wait_sweep(p) && deadline_ns != 0 &&
	    !spin(p, deadline_ns) && clock_left(deadline_ns) > 0)
		sleep_until(p, deadline_ns);
	atomic_store(&p->woken, 0);
}

/* ---- other descriptors ---------------------------------------------------------------- */

int
link_watch(struct link_port *p, int fd, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };

	if (epoll_ctl(p->ep, EPOLL_CTL_ADD, fd, &ev) != 0)
		return err_sys(err, ERR_BUG, errno, "link: watching "
		    "descriptor %d", fd);
	return 0;
}

void
link_unwatch(struct link_port *p, int fd)
{
	(void)epoll_ctl(p->ep, EPOLL_CTL_DEL, fd, NULL);
}
