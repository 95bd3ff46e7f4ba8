/*
 * link_shake.c - F3.  From connected to up.  Control thread, lock held.
 *
 *     client                         server
 *     HELLO           ------------>                 who I am, ring wanted
 *     with a key:     <------------  CHALLENGE
 *     PROOF           ------------>                 (link_prove.c)
 *                     <------------  WELCOME        who I am, ring granted,
 *                                                   epoch; shm: descriptors,
 *                                                   tcp: token
 *                                    or REFUSE      with both values
 *     shm, no ring:   READY -------> LINK_UP        (client is up, too)
 *     tcp with ring:  DATA{token} -> LINK_UP        on a second connection
 *                     <------------  READY          client is up
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "link_port.h"
#include "mac.h"
#include "zbuf.h"

#define INTERVAL_MAX_NS	60000000000ull	/* that a peer can talk us into */

/* ---- both sides ---------------------------------------------------------------------- */

static void
send_hello(struct link_conn *c, int type, struct msg_hello *m)
{
	struct str body = STR_INIT;

	m->features = zbuf_have() ? MSG_ZSTD : 0;
	msg_put_hello(&body, m);
	if (type == FRAME_WELCOME)
		link_prove_welcome(c, &body);
	else
		str_add(&c->hello, body.p, body.n);
	link_conn_send(c, type, 0, body.p, body.n, 0);
	str_free(&body);
}

/* A dialled fault: pair gets the ring that does the harm. */
static int
add_fault(struct link_conn *c)
{
	struct link_fault *f = c->pair->fault;
	struct err err = ERR_INIT;
	struct link_ring *r;

	c->cut_ns = UINT64_MAX;
	if (f == NULL)
		return 0;
	c->cut_ns = link_fault_cut_ns(f, clock_ns());
	if (c->ring == NULL)
		return 0;
	r = link_fault_wrap(f, c->ring, &err);
	if (r == NULL) {
		link_conn_fail(c, false, "%s", err.text);
		return -1;
	}
	c->ring = r;
	return 0;
}

/* The peer is as it should be: tell the program. */
static void
go_up(struct link_conn *c)
{
	struct link_port *p = c->port;
	struct link_note *n;

	if (c->dialled && add_fault(c) != 0)
		return;
	if (c->pair == NULL) {
		c->pair = mem_zalloc(sizeof(*c->pair));
		c->pair->port = p;
		c->pair->accepted = true;
		c->pair->next = p->pairs;
		memcpy(c->pair->text, c->text, sizeof(c->text));
		p->pairs = c->pair;
	}
	c->pair->conn = c;
	c->pair->dial = LINK_D_BUSY;
	c->pair->backoff_ns = 0;
	c->pair->n_quick = 0;
	c->pair->refusal[0] = '\0';
	atomic_store_explicit(&c->pair->heard_ns, c->heard_ns,
	    memory_order_relaxed);
	c->state = LINK_C_UP;
	c->was_up = true;
	c->beat_ns = clock_ns() + c->interval_ns;
	n = link_note_new(LINK_UP, c->pair);
	n->ring = c->ring;
	c->ring = NULL;
	link_hello_from_msg(&c->peer, &n->peer);
	p->ctl_count.up++;
	link_note_put(p, n);
}

/* ---- server --------------------------------------------------------------------------- */

void
link_shake_refuse(struct link_conn *c, const char *text)
{
	struct str body = STR_INIT;

	c->port->ctl_count.refused++;
	snprintf(c->why, sizeof(c->why), "%.*s", LINK_WHY - 1, text);
	c->state = LINK_C_FLUSH;
	msg_put_text(&body, text);
	link_conn_send(c, FRAME_REFUSE, 0, body.p, body.n, 0);
	str_free(&body);
}

static uint16_t
mint_epoch(struct link_port *p)
{
	p->epoch++;
	if (p->epoch == 0)	/* 0 is what fresh memory holds */
		p->epoch = 1;
	return p->epoch;
}

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* What both can do; depth 0: no ring. */
static struct link_geom
grant(struct link_port *p, const struct msg_hello *h)
{
	struct link_geom g = {
		.depth = least(p->opt.depth, h->depth),
		.slot_bytes = least(p->opt.slot_bytes, h->slot_bytes),
	};

	if (g.depth == 0 || g.slot_bytes == 0)
		g.depth = g.slot_bytes = 0;
	else
		g.epoch = mint_epoch(p);
	return g;
}

static int
count_up(const struct link_port *p)
{
	const struct link_conn *c;
	int n = 0;

	for (c = p->conns; c != NULL; c = c->next)
		n += !c->dialled && !c->dead && c->state >= LINK_C_READY &&
		    c->state <= LINK_C_UP;
	return n;
}

/* May this HELLO have a pair?  -1 with the text of the refusal. */
static int
judge_hello(struct link_conn *c, struct err *err)
{
	struct link_port *p = c->port;
	struct link_hello peer;

	link_hello_from_msg(&c->peer, &peer);
	if (link_hello_match(&p->opt.me, &peer, err) != 0)
		return -1;
	if (count_up(p) >= (int)p->opt.max_pair)
		return err_set(err, ERR_TEMP, "pairs: '%s' has all %u it takes",
		    p->opt.me.name, p->opt.max_pair);
	if (c->peer.slot_bytes % SLOT_ALIGN != 0)
		return err_set(err, ERR_DATA, "slot size: '%s' has %u, want a "
		    "multiple of %u", peer.name, c->peer.slot_bytes,
		    SLOT_ALIGN);
	return 0;
}

/* The longer interval of the two, so that neither hears silence in it. */
static void
agree_interval(struct link_conn *c)
{
	uint64_t theirs_ns = (uint64_t)c->peer.heartbeat_us * 1000;

	if (theirs_ns > INTERVAL_MAX_NS)
		theirs_ns = INTERVAL_MAX_NS;
	if (theirs_ns > c->interval_ns)
		c->interval_ns = theirs_ns;
}

/* The peer is who it says: nothing of HELLO has been believed before. */
static void
welcome(struct link_conn *c)
{
	struct err err = ERR_INIT;
	struct msg_hello m;
	struct link_geom g;

	if (judge_hello(c, &err) != 0) {
		link_shake_refuse(c, err.text);
		return;
	}
	g = grant(c->port, &c->peer);
	if (g.depth > 0) {
		c->ring = c->tp->offer(&g, c->fds, &c->n_fd, &err);
		if (c->ring == NULL) {
			link_shake_refuse(c, err.text);
			return;
		}
	}
	agree_interval(c);
	link_hello_to_msg(&c->port->opt.me, &m);
	m.depth = g.depth;
	m.slot_bytes = g.slot_bytes;
	m.epoch = g.epoch;
	m.heartbeat_us = (uint32_t)(c->interval_ns / 1000);
	c->state = LINK_C_READY;
	if (g.depth > 0 && c->tp->second) {
		c->state = LINK_C_SECOND;
		if (getrandom(c->token, MSG_TOKEN, 0) != MSG_TOKEN) {
			link_shake_refuse(c, "no random numbers");
			return;
		}
		memcpy(m.token, c->token, MSG_TOKEN);
	}
	send_hello(c, FRAME_WELCOME, &m);
}

static void
take_hello(struct link_conn *c)
{
	struct err err = ERR_INIT;

	if (msg_get_hello(c->body, c->f.length, &c->peer, &err) != 0) {
		link_conn_fail(c, true, "%s", err.text);
		return;
	}
	str_add(&c->hello, c->body, c->f.length);
	if (link_prove_asked(c))
		welcome(c);
}

/* Does the DATA frame in c belong to the connection w? */
static bool
is_second(const struct link_conn *c, const struct link_conn *w)
{
	uint8_t want[MSG_TOKEN + MSG_PROOF];
	size_t n;

	if (w->dead || w->state != LINK_C_SECOND || w->tp != c->tp ||
	    (w->tls != NULL) != (c->tls != NULL))
		return false;
	n = link_prove_data(w, w->token, want);
	return c->f.length == n && mac_same(want, c->body, n);
}

/* A connection that has become the ring's. */
static void
hand_over(struct link_conn *c, struct link_ring *r)
{
	(void)epoll_ctl(c->port->ctl_ep, EPOLL_CTL_DEL, c->fd, NULL);
	c->tp->tune(c->fd, 0);
	r->fd = c->fd;
	r->tls = c->tls;
	c->fd = -1;
	c->tls = NULL;
}

/* c is a data connection: give its socket to the ring that waits for it. */
static void
attach(struct link_conn *c)
{
	struct link_conn *w;

	if (c->f.length < MSG_TOKEN || !c->tp->second) {
		link_conn_fail(c, true, "frame: data with %u bytes",
		    c->f.length);
		return;
	}
	for (w = c->port->conns; w != NULL; w = w->next)
		if (is_second(c, w))
			break;
	if (w == NULL) {
		link_conn_fail(c, true, "frame: data with an unknown token");
		return;
	}
	hand_over(c, w->ring);
	link_conn_fail(c, false, "became a data connection");
	link_conn_send(w, FRAME_READY, 0, "", 0, 0);
	if (!w->dead)
		go_up(w);
}

/* ---- client ---------------------------------------------------------------------------- */

/* Open the data connection for c's ring. */
static void
dial_second(struct link_conn *c)
{
	const struct addr *a = &c->pair->addr;
	struct link_conn *d;
	int fd;

	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0);
	if (fd < 0 || (connect(fd, (const struct sockaddr *)&a->sa,
	    a->sa_bytes) != 0 && errno != EINPROGRESS)) {
		link_conn_fail(c, false, "data connection: %s",
		    strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	d = link_conn_new(c->port, c->tp, fd, LINK_C_DATA, c->text);
	d->parent = c;
	d->dialled = true;
	c->state = LINK_C_READY;
}

/* The data connection d is there: mark it with the token; from then on it is
 * the ring's. */
static void
begin_mark(struct link_conn *d)
{
	uint8_t data[MSG_TOKEN + MSG_PROOF];
	size_t n = link_prove_data(d->parent, d->parent->peer.token, data);

	d->state = LINK_C_MARK;
	link_prove_dialled(d);
	link_conn_send(d, FRAME_DATA, 0, data, n, 0);
	link_shake_mark(d);
}

void
link_shake_mark(struct link_conn *d)
{
	if (d->dead || d->out.n > 0)
		return;		/* TLS, or a full socket: it goes on later */
	hand_over(d, d->parent->ring);
	d->parent = NULL;
	link_conn_fail(d, false, "became a data connection");
}

static int
judge_welcome(struct link_conn *c, struct err *err)
{
	const struct link_opt *o = &c->port->opt;
	const struct msg_hello *w = &c->peer;

	if (w->depth > o->depth || w->slot_bytes > o->slot_bytes ||
	    w->slot_bytes % SLOT_ALIGN != 0 ||
	    (w->depth > 0) != (w->slot_bytes > 0) ||
	    (w->depth > 0) != (w->epoch > 0))
		return err_set(err, ERR_DATA, "welcome: grants %u slots of %u "
		    "bytes in epoch %u, asked were %u of %u", w->depth,
		    w->slot_bytes, w->epoch, o->depth, o->slot_bytes);
	return 0;
}

static void
refused(struct link_conn *c, const char *text)
{
	c->refused = true;
	c->port->ctl_count.refused++;
	link_conn_fail(c, false, "%s", text);
}

static void
take_welcome(struct link_conn *c)
{
	struct err err = ERR_INIT;
	struct link_hello peer;
	struct link_geom g;

	if (msg_get_hello(c->body, c->f.length, &c->peer, &err) != 0) {
		link_conn_fail(c, true, "%s", err.text);
		return;
	}
	if (link_prove_server(c, &err) != 0) {
		refused(c, err.text);
		return;
	}
	if (judge_welcome(c, &err) != 0) {
		link_conn_fail(c, true, "%s", err.text);
		return;
	}
	link_hello_from_msg(&c->peer, &peer);
	if (link_hello_match(&c->port->opt.me, &peer, &err) != 0) {
		refused(c, err.text);
		return;
	}
	agree_interval(c);
	g = (struct link_geom){ c->peer.depth, c->peer.slot_bytes,
	    c->peer.epoch };
	if (g.depth > 0) {
		c->ring = c->tp->take(&g, c->fds, c->n_fd, &err);
		if (c->ring == NULL) {
			link_conn_fail(c, err.code == ERR_DATA, "%s", err.text);
			return;
		}
	}
	while (c->n_fd > 0)
		close(c->fds[--c->n_fd]);
	if (g.depth > 0 && c->tp->second) {
		dial_second(c);
		return;
	}
	link_conn_send(c, FRAME_READY, 0, "", 0, 0);
	if (!c->dead)
		go_up(c);
}

static void
take_refusal(struct link_conn *c)
{
	char text[MSG_TEXT];

	msg_get_text(c->body, c->f.length, text);
	refused(c, text);
}

/* ---- dispatch --------------------------------------------------------------------------- */

void
link_shake_connected(struct link_conn *c)
{
	struct msg_hello m;

	if (c->state == LINK_C_DATA) {
		begin_mark(c);
		return;
	}
	c->tp->tune(c->fd, c->interval_ns);
	link_prove_dialled(c);
	link_hello_to_msg(&c->port->opt.me, &m);
	m.slot_bytes = c->port->opt.slot_bytes;
	m.depth = c->port->opt.depth;
	m.heartbeat_us = (uint32_t)(c->interval_ns / 1000);
	c->state = LINK_C_WELCOME;
	if (c->port->opt.sec.psk &&
	    getrandom(m.nonce, MSG_PROOF, 0) != MSG_PROOF) {
		link_conn_fail(c, false, "no random numbers");
		return;
	}
	send_hello(c, FRAME_HELLO, &m);
}

void
link_shake_frame(struct link_conn *c)
{
	int type = c->f.type;

	if (c->state == LINK_C_HELLO && type == FRAME_HELLO)
		take_hello(c);
	else if (c->state == LINK_C_HELLO && type == FRAME_DATA)
		attach(c);
	else if (c->state == LINK_C_PROOF && type == FRAME_PROOF) {
		if (link_prove_check(c))
			welcome(c);
	} else if (c->state == LINK_C_WELCOME && type == FRAME_CHALLENGE)
		link_prove_answer(c);
	else if (c->state == LINK_C_WELCOME && type == FRAME_WELCOME)
		take_welcome(c);
	else if (c->state == LINK_C_WELCOME && type == FRAME_REFUSE)
		take_refusal(c);
	else if (c->state == LINK_C_READY && type == FRAME_READY &&
	    (c->ring == NULL || c->ring->fd >= 0))
		go_up(c);
	else
		link_conn_fail(c, true, "frame: %s out of turn",
		    frame_name(type));
}
