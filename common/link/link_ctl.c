/*
 * link_ctl.c - F3.  A port's control thread: accepts, dials, heartbeats, and
 * declares peers dead.  It never touches slots, so that a data thread that
 * computes for seconds is not taken for a dead one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "link_port.h"

#define BATCH		64
#define SILENT_BEATS	5		/* that many intervals are death */
#define QUICK_TRIES	200		/* of BACKOFF_MIN_NS: a second */
#define BACKOFF_MIN_NS	5000000ull
#define BACKOFF_MAX_NS	500000000ull
#define REFUSED_NS	2000000000ull
#define HALF_OPEN	256		/* connections beyond max_pair */

void
link_ctl_poke(struct link_port *p)
{
	uint64_t one = 1;

	(void)!write(p->ctl_fd, &one, sizeof(one));
}

/* ---- accepting --------------------------------------------------------------------- */

static void
accept_some(struct link_port *p, struct link_listener *l)
{
	struct link_conn *c;
	int fd, i;

	for (i = 0; i < BATCH && l->fd >= 0; i++) {
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		if (p->n_conn >= 2 * (int)p->opt.max_pair + HALF_OPEN) {
			close(fd);
			continue;
		}
		l->tp->tune(fd, p->opt.heartbeat_ns);
		c = link_conn_new(p, l->tp, fd, LINK_C_HELLO, l->text);
		(void)c;
	}
}

/* ---- dialling ----------------------------------------------------------------------- */

/* Somebody may be starting the peer again: for a second it is tried as often
 * as costs nothing that can be noticed. */
static void
back_off(struct link_pair *pair)
{
	if (pair->n_quick < QUICK_TRIES) {
		pair->n_quick++;
		pair->backoff_ns = BACKOFF_MIN_NS;
	} else {
		pair->backoff_ns *= 2;
	}
	if (pair->backoff_ns > BACKOFF_MAX_NS)
		pair->backoff_ns = BACKOFF_MAX_NS;
	pair->redial_ns = clock_ns() + pair->backoff_ns;
}

static void
dial(struct link_port *p, struct link_pair *pair)
{
	const struct addr *a = &pair->addr;
	struct link_conn *c;
	struct err err = ERR_INIT;
	const struct link_tp *tp = link_tp_of(a, &err);
	int fd;

	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0);
	if (fd < 0 || (connect(fd, (const struct sockaddr *)&a->sa,
	    a->sa_bytes) != 0 && errno != EINPROGRESS)) {
		snprintf(pair->why, sizeof(pair->why), "connect: %s",
		    strerror(errno));
		if (fd >= 0)
			close(fd);
		back_off(pair);
		return;
	}
	c = link_conn_new(p, tp, fd, LINK_C_CONNECT, pair->text);
	c->dialled = true;
	c->pair = pair;
	pair->conn = c;
	pair->dial = LINK_D_BUSY;
}

/* ---- closing ------------------------------------------------------------------------- */

/* What a pair does when its connection c has ended. */
static void
pair_ended(struct link_port *p, struct link_conn *c)
{
	struct link_pair *pair = c->pair;
	bool news = c->was_up;
	struct link_note *n;

	pair->conn = NULL;
	snprintf(pair->why, sizeof(pair->why), "%s", c->why);
	if (c->refused && strcmp(pair->refusal, c->why) != 0) {
		snprintf(pair->refusal, sizeof(pair->refusal), "%s", c->why);
		news = true;
	}
	back_off(pair);
	if (c->refused)
		pair->redial_ns = clock_ns() + REFUSED_NS;
	pair->dial = LINK_D_WAIT;
	if (!news)
		return;
	p->ctl_count.down += c->was_up;
	n = link_note_new(LINK_DOWN, pair);
	n->refused = c->refused;
	memcpy(n->reason, c->why, sizeof(n->reason));
	pair->dial = LINK_D_TOLD;
	link_note_put(p, n);
}

/* End one connection that is out of the list. */
static void
bury(struct link_port *p, struct link_conn *c)
{
	struct link_conn *o;
	struct str bye = STR_INIT;

	for (o = p->conns; o != NULL; o = o->next) {
		if (o->parent == c) {
			link_conn_fail(o, false, "its control connection "
			    "ended");
			o->parent = NULL;
		}
	}
	if (c->parent != NULL)
		link_conn_fail(c->parent, false, "%s", c->why);
	if (c->say_bye && c->fd >= 0) {
		msg_put_text(&bye, c->why);
		link_conn_send(c, FRAME_BYE, 0, bye.p, bye.n, 0);
		str_free(&bye);
	}
	if (c->pair != NULL)
		pair_ended(p, c);
	p->n_conn--;
	link_conn_free(c);
}

static void
reap(struct link_port *p)
{
	struct link_conn **at = &p->conns, *c;

	while ((c = *at) != NULL) {
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		bury(p, c);
		at = &p->conns;		/* others may have died of it */
	}
}

/* ---- time ------------------------------------------------------------------------------ */

/*
 * c's heartbeat is due.  How late this very thread is to send it is time in
 * which it may also have been late to read: that much silence is ours, not the
 * peer's.
 */
static void
beat(struct link_conn *c, uint64_t now)
{
	c->heard_ns += now - c->beat_ns;
	if (c->heard_ns > now)
		c->heard_ns = now;
	if (now - c->heard_ns > SILENT_BEATS * c->interval_ns) {
		link_conn_fail(c, false, "silent for %llu ms",
		    (unsigned long long)((now - c->heard_ns) / 1000000));
		return;
	}
	/* All connections beat together: one wake-up for all of them. */
	c->beat_ns = (now / c->interval_ns + 1) * c->interval_ns;
	link_conn_send(c, FRAME_HEARTBEAT, 0, "", 0, 0);
}

static void
check_conns(struct link_port *p, uint64_t now)
{
	struct link_conn *c;

	for (c = p->conns; c != NULL; c = c->next) {
		if (c->dead)
			continue;
		if (c->state == LINK_C_UP) {
			if (now >= c->cut_ns)
				link_conn_fail(c, false, "fault: cut at this "
				    "age");
			else if (now >= c->beat_ns)
				beat(c, now);
		} else if (now >= c->limit_ns) {
			link_conn_fail(c, false, "no HELLO within %llu ms",
			    (unsigned long long)(p->opt.hello_ns / 1000000));
		}
	}
}

static void
check_pairs(struct link_port *p, uint64_t now)
{
	struct link_pair *pair;

	for (pair = p->pairs; pair != NULL; pair = pair->next)
		if (!pair->accepted && pair->dial == LINK_D_WAIT &&
		    now >= pair->redial_ns)
			dial(p, pair);
}

/* Milliseconds until something is due, rounded up; -1: nothing is. */
static int
due_ms(const struct link_port *p)
{
	uint64_t first = UINT64_MAX, at, left;
	const struct link_conn *c;
	const struct link_pair *pair;

	for (c = p->conns; c != NULL; c = c->next) {
		if (c->more)
			return 0;
		at = c->state == LINK_C_UP ? c->beat_ns : c->limit_ns;
		if (c->cut_ns < at)
			at = c->cut_ns;
		if (at < first)
			first = at;
	}
	for (pair = p->pairs; pair != NULL; pair = pair->next)
		if (!pair->accepted && pair->dial == LINK_D_WAIT &&
		    pair->redial_ns < first)
			first = pair->redial_ns;
	if (first == UINT64_MAX)
		return -1;
	left = (clock_left(first) + 999999) / 1000000;
	return left > 3600000 ? 3600000 : (int)left;
}

/* ---- the thread -------------------------------------------------------------------------- */

static void
dispatch(struct link_port *p, const struct epoll_event *ev)
{
	enum link_src *src = ev->data.ptr;
	struct link_conn *c;
	uint64_t junk;

	if (src == NULL) {
		(void)!read(p->ctl_fd, &junk, sizeof(junk));
		return;
	}
	if (*src == LINK_SRC_LISTEN) {
		accept_some(p, (struct link_listener *)(void *)src);
		return;
	}
	c = (struct link_conn *)(void *)src;
	if (!c->dead)
		link_conn_event(c, ev->events);
}

/* Connections that had too much for one turn, where epoll does not know. */
static void
take_more(struct link_port *p)
{
	struct link_conn *c;

	for (c = p->conns; c != NULL; c = c->next)
		if (c->more && !c->dead)
			link_conn_event(c, EPOLLIN);
}

static void *
ctl_main(void *arg)
{
	struct link_port *p = arg;
	struct epoll_event ev[BATCH];
	uint64_t now;
	int i, n, ms;

	pthread_mutex_lock(&p->lock);
	while (!p->closing) {
		ms = due_ms(p);
		pthread_mutex_unlock(&p->lock);
		n = epoll_wait(p->ctl_ep, ev, BATCH, ms);
		pthread_mutex_lock(&p->lock);
		/* First what has arrived, then who is silent. */
		for (i = 0; i < n; i++)
			dispatch(p, &ev[i]);
		take_more(p);
		now = clock_ns();
		check_conns(p, now);
		reap(p);
		check_pairs(p, now);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int
link_ctl_start(struct link_port *p, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t all, old;
	int rc;

	p->ctl_ep = epoll_create1(EPOLL_CLOEXEC);
	p->ctl_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->ctl_ep < 0 || p->ctl_fd < 0 ||
	    epoll_ctl(p->ctl_ep, EPOLL_CTL_ADD, p->ctl_fd, &ev) != 0)
		return err_sys(err, ERR_TEMP, errno, "link: epoll");
	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->thread, NULL, ctl_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return err_sys(err, ERR_TEMP, rc, "link: thread");
	return 0;
}

void
link_ctl_stop(struct link_port *p)
{
	struct link_conn *c;

	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_mutex_unlock(&p->lock);
	link_ctl_poke(p);
	pthread_join(p->thread, NULL);
	for (c = p->conns; c != NULL; c = c->next) {
		c->say_bye = c->state == LINK_C_UP && !c->dead;
		link_conn_fail(c, false, "'%s' closes", p->opt.me.name);
	}
	reap(p);
}
