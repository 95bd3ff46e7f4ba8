/*
 * link_conn.c - F3.  One control connection: frames in, frames out.
 *
 * Control thread, port->lock held.  Reads never take more than the frame they
 * are in, because a data connection's later bytes belong to the data thread.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "link_port.h"
#include "zbuf.h"

#define FRAMES_A_TURN	64	/* of one connection, before others' turn */
#define OUT_MAX		(2 * (size_t)LINK_MSG_MAX)	/* unsent bytes */

struct link_conn *
link_conn_new(struct link_port *p, const struct link_tp *tp, int fd,
    enum link_conn_state state, const char *text)
{
	struct link_conn *c = mem_zalloc(sizeof(*c));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	uint64_t now = clock_ns();

	c->src = LINK_SRC_CONN;
	c->port = p;
	c->tp = tp;
	c->fd = fd;
	c->state = state;
	c->heard_ns = now;
	c->limit_ns = now + p->opt.hello_ns;
	c->cut_ns = UINT64_MAX;
	c->interval_ns = p->opt.heartbeat_ns;
	snprintf(c->text, sizeof(c->text), "%s", text);
	c->want_out = state == LINK_C_CONNECT || state == LINK_C_DATA;
	if (c->want_out)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(p->ctl_ep, EPOLL_CTL_ADD, fd, &ev) != 0)
		link_conn_fail(c, false, "epoll: %s", strerror(errno));
	c->next = p->conns;
	p->conns = c;
	p->n_conn++;
	return c;
}

static void
close_fds(struct link_conn *c)
{
	while (c->n_fd > 0)
		close(c->fds[--c->n_fd]);
}

/* The caller has taken it out of the list and the pair. */
void
link_conn_free(struct link_conn *c)
{
	if (c->fd >= 0) {
		(void)epoll_ctl(c->port->ctl_ep, EPOLL_CTL_DEL, c->fd, NULL);
		close(c->fd);
	}
	close_fds(c);
	if (c->ring != NULL)
		c->ring->tp->close(c->ring);
	tls_free(c->tls);
	mem_free(c->body);
	str_free(&c->out);
	str_free(&c->hello);
	mem_free(c);
}

void
link_conn_fail(struct link_conn *c, bool bad, const char *fmt, ...)
{
	va_list ap;

	if (c->dead)
		return;
	c->dead = true;
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	if (bad)
		c->port->ctl_count.bad++;
}

/* Does a fault: let nothing through that way? */
static bool
silent(const struct link_conn *c, enum link_fault_way w)
{
	return c->state == LINK_C_UP && c->pair != NULL &&
	    link_fault_silent(c->pair->fault, w, clock_ns());
}

/* ---- sending ---------------------------------------------------------------------- */

static void
watch_out(struct link_conn *c, bool want)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	if (want == c->want_out)
		return;
	c->want_out = want;
	if (want)
		ev.events |= EPOLLOUT;
	(void)epoll_ctl(c->port->ctl_ep, EPOLL_CTL_MOD, c->fd, &ev);
}

/* One sendmsg; the descriptors go with the first bytes there ever are. */
static ssize_t
send_some(struct link_conn *c)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(c->fds))];
	} u;
	struct iovec v = { c->out.p + c->out_at, c->out.n - c->out_at };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct cmsghdr *cm;
	ssize_t n;

	if (c->tls != NULL)	/* over tcp: there are no descriptors */
		return tls_write(c->tls, v.iov_base, v.iov_len);
	if (c->n_fd > 0) {
		memset(&u, 0, sizeof(u));
		m.msg_control = u.room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)c->n_fd);
		cm = CMSG_FIRSTHDR(&m);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)c->n_fd);
		memcpy(CMSG_DATA(cm), c->fds, sizeof(int) * (size_t)c->n_fd);
	}
	do {
		n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		close_fds(c);
	return n;
}

/* The socket, or TLS over it, has failed; errno says how. */
static void
socket_failed(struct link_conn *c, const char *doing)
{
	if (c->tls == NULL) {
		link_conn_fail(c, false, "%s: %s", doing, strerror(errno));
	} else if (tls_is_up(c->tls) || errno != EPROTO) {
		link_conn_fail(c, false, "%s: %s", doing, tls_why(c->tls));
	} else {
		c->refused = c->dialled;
		c->port->ctl_count.refused++;
		link_conn_fail(c, false, "psk: no TLS with the peer: another "
		    "key, or none, or --tls no there (%s)", tls_why(c->tls));
	}
}

void
link_conn_flush(struct link_conn *c)
{
	ssize_t n;

	while (c->out_at < c->out.n && c->state != LINK_C_CONNECT &&
	    c->state != LINK_C_DATA) {
		n = send_some(c);
		if (n < 0) {
			if (errno == EAGAIN)
				break;
			socket_failed(c, "sending");
			return;
		}
		c->out_at += (size_t)n;
	}
	if (c->out_at == c->out.n) {
		str_clear(&c->out);
		c->out_at = 0;
		if (c->state == LINK_C_FLUSH)
			c->dead = true;		/* why is set already */
	} else if (c->out_at > c->out.n / 2) {
		memmove(c->out.p, c->out.p + c->out_at, c->out.n - c->out_at);
		str_cut(&c->out, c->out.n - c->out_at);
		c->out_at = 0;
	}
	/* A handshake may wait for the peer before it takes more. */
	if (!c->dead)
		watch_out(c, c->out_at < c->out.n &&
		    (c->tls == NULL || tls_wants_out(c->tls)));
}

void
link_conn_send(struct link_conn *c, int type, uint32_t flags, const void *body,
    size_t n, uint32_t raw_length)
{
	struct frame f = { .type = (uint16_t)type, .flags = flags,
	    .raw_length = raw_length };

	if (silent(c, LINK_OUT))
		return;
	if (c->out.n - c->out_at > OUT_MAX) {
		link_conn_fail(c, false, "the peer does not read: %zu bytes "
		    "wait", c->out.n - c->out_at);
		return;
	}
	frame_put(&c->out, &f, body, n);
	link_conn_flush(c);
}

/* ---- receiving --------------------------------------------------------------------- */

/* A message for the program, unpacked. */
static void
take_message(struct link_conn *c)
{
	struct link_note *n = link_note_new(LINK_MSG, c->pair);
	struct err err = ERR_INIT;

	n->type = c->f.type;
	if (c->f.flags & FRAME_ZSTD) {
		if (zbuf_unpack(&n->data, c->body, c->f.length,
		    c->f.raw_length, &err) != 0) {
			link_conn_fail(c, true, "%s", err.text);
			link_note_free(n);
			return;
		}
	} else {
		str_add(&n->data, c->body, c->f.length);
	}
	if (c->pair->unread_bytes + n->data.n > LINK_UNREAD_MAX) {
		link_conn_fail(c, true, "messages of more than %u bytes wait "
		    "to be read", LINK_UNREAD_MAX);
		link_note_free(n);
		return;
	}
	c->pair->unread_bytes += n->data.n;
	link_note_put(c->port, n);
}

static void
take_frame(struct link_conn *c)
{
	char text[MSG_TEXT];

	if (c->f.type == FRAME_HEARTBEAT && c->state == LINK_C_UP)
		return;
	if (frame_max(c->f.type) == 0 || c->state == LINK_C_FLUSH)
		return;		/* optional and unknown; or refused */
	if (c->f.type == FRAME_BYE) {
		msg_get_text(c->body, c->f.length, text);
		link_conn_fail(c, false, "the peer said goodbye: %.200s", text);
	} else if (c->state != LINK_C_UP) {
		link_shake_frame(c);
	} else if (c->f.type >= LINK_MSG_MAP) {
		take_message(c);
	} else {
		link_conn_fail(c, true, "frame: %s out of turn",
		    frame_name(c->f.type));
	}
}

/* Keep the descriptors that came along; too many break the protocol. */
static void
keep_fds(struct link_conn *c, struct msghdr *m)
{
	struct cmsghdr *cm;
	int fd;
	size_t i, n;

	for (cm = CMSG_FIRSTHDR(m); cm != NULL; cm = CMSG_NXTHDR(m, cm)) {
		if (cm->cmsg_level != SOL_SOCKET ||
		    cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int),
			    sizeof(int));
			if (c->n_fd < LINK_FDS)
				c->fds[c->n_fd++] = fd;
			else
				close(fd);
		}
	}
	if (m->msg_flags & MSG_CTRUNC)
		link_conn_fail(c, true, "too many descriptors came along");
}

/* Descriptors are taken only where the protocol has them: a client of shm:
 * that waits for WELCOME.  Elsewhere the kernel drops them. */
static ssize_t
recv_some(struct link_conn *c, void *to, size_t n)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(c->fds))];
	} u;
	struct iovec v = { to, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t got;

	if (c->state == LINK_C_WELCOME && c->tp->pass_fds) {
		m.msg_control = u.room;
		m.msg_controllen = sizeof(u.room);
	}
	if (c->tls != NULL)
		return tls_read(c->tls, to, n);
	do {
		got = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got > 0 && m.msg_control != NULL)
		keep_fds(c, &m);
	return got;
}

/* More of the current frame: 1 it is whole, 0 nothing now or dead. */
static int
read_frame(struct link_conn *c)
{
	struct err err = ERR_INIT;
	size_t want;
	ssize_t n;

	for (;;) {
		want = c->in_body ? c->f.length : FRAME_HEAD;
		if (c->have == want) {
			c->have = 0;
			if (c->in_body) {
				c->in_body = false;
				return 1;
			}
			if (frame_get(c->head, &c->f, &err) != 0) {
				link_conn_fail(c, true, "%s", err.text);
				return 0;
			}
			c->in_body = true;
			c->body = mem_realloc(c->body, c->f.length + 1);
			continue;
		}
		n = recv_some(c, (c->in_body ? c->body : c->head) + c->have,
		    want - c->have);
		if (n > 0) {
			c->have += (size_t)n;
			continue;
		}
		if (n == 0)
			link_conn_fail(c, false, "the peer closed the "
			    "connection");
		else if (errno != EAGAIN)
			socket_failed(c, "receiving");
		return 0;
	}
}

static void
read_frames(struct link_conn *c)
{
	struct err err = ERR_INIT;
	int i;

	for (i = 0; i < FRAMES_A_TURN && !c->dead; i++) {
		if (read_frame(c) == 0)
			return;
		if (silent(c, LINK_IN))
			continue;
		c->heard_ns = clock_ns();
		if (c->pair != NULL)
			atomic_store_explicit(&c->pair->heard_ns, c->heard_ns,
			    memory_order_relaxed);
		if (frame_check(&c->f, c->body, &err) != 0) {
			link_conn_fail(c, true, "%s", err.text);
			return;
		}
		take_frame(c);
		/* A data connection that its ring has taken is not ours. */
		if (c->fd < 0)
			return;
	}
	c->more = !c->dead && c->tls != NULL && tls_has_more(c->tls);
}

void
link_conn_event(struct link_conn *c, uint32_t events)
{
	int soerr = 0;
	socklen_t n = sizeof(soerr);

	if (c->state == LINK_C_CONNECT || c->state == LINK_C_DATA) {
		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &soerr, &n) != 0)
			soerr = errno;
		if (soerr != 0)
			link_conn_fail(c, false, "connect: %s",
			    strerror(soerr));
		else if (events & EPOLLOUT)
			link_shake_connected(c);
		return;
	}
	if (c->state == LINK_C_MARK) {
		link_conn_flush(c);
		link_shake_mark(c);
		return;
	}
	if (events & EPOLLOUT)
		link_conn_flush(c);
	if (c->dead || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
		return;
	if (c->state == LINK_C_HELLO && !c->sniffed)
		link_prove_sniff(c);
	c->more = false;
	if (!c->dead)
		read_frames(c);
	/* What waited for the peer's part of the handshake. */
	if (!c->dead && c->fd >= 0 && c->tls != NULL && c->out_at < c->out.n)
		link_conn_flush(c);
}
