/*
 * link_tcp.c - F3.  Rings at both ends of a TCP connection.
 *
 * Each pair has two connections: control, and one for rows, which the client
 * opens to the same address and marks with the token of its WELCOME.  On it,
 * both ways, goes slot after slot:
 *
 *     +0   u64 commit word
 *     +8   u32 bytes that follow: 64 of slot header and the body
 *     +12  u16 slot index
 *     +14  u16 zero
 *     +16  slot header, body
 *
 * The data thread receives bodies straight into the slot, except for the part
 * that came along with the 16 bytes in front; under TLS, too, where OpenSSL
 * decrypts into a buffer of its own first.  To send, the 16 bytes are written
 * before the slot's header, where a slot in shared memory has its commit word
 * and this one nothing: one system call, and one record of TLS, for both.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "link_tp.h"
#include "mem.h"
#include "tls.h"

#define FRONT		16	/* bytes in front of each slot */
#define STAGE		4096

struct tcp_ring {
	struct link_ring r;	/* first: ops cast */
	size_t ring_bytes;	/* of req, and of ans */
	bool eof;
	/* receiving */
	uint8_t stage[STAGE];
	size_t at, n;		/* stage[at..n) is not used yet */
	int cur;		/* slot being received, -1 none */
	uint32_t need, have;	/* its bytes from SLOT_HEAD on */
	/* sending: slot numbers, oldest first */
	uint8_t queue[LINK_DEPTH_MAX];
	unsigned first, n_queue;
	size_t sent;		/* bytes of the oldest, front included */
	uint64_t sending;	/* bit i: slot i is in the queue */
	uint32_t out_bytes[LINK_DEPTH_MAX];
};

_Static_assert(FRONT <= SLOT_HEAD, "room for the front in a slot");

/* ---- sockets ------------------------------------------------------------------ */

static int
tcp_listen(struct addr *a, struct err *err)
{
	char text[ADDR_TEXT];
	int fd, on = 1;

	addr_text(a, text);
	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, errno, "%s: socket", text);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	a->sa_bytes = sizeof(a->sa);
	if (bind(fd, (struct sockaddr *)&a->sa,
	    a->sa.ss_family == AF_INET ? sizeof(struct sockaddr_in) :
	    sizeof(struct sockaddr_in6)) != 0 || listen(fd, 128) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a->sa, &a->sa_bytes) != 0) {
		err_sys(err, ERR_TEMP, errno, "%s", text);
		close(fd);
		return -1;
	}
	return fd;
}

static void
tcp_unlisten(const struct addr *a, int fd)
{
	(void)a;
	(void)fd;
}

/*
 * Small writes leave at once.  A control connection that moves nothing although
 * it has something to send is given up as fast as the heartbeat would.  Not so
 * a data connection: a server that computes for seconds leaves its window
 * closed, and is alive.
 */
static void
tcp_tune(int fd, uint64_t heartbeat_ns)
{
	int on = 1, idle_s = 10;
	unsigned user_ms = (unsigned)(heartbeat_ns * 5 / 1000000);

	if (user_ms < 1000 && heartbeat_ns != 0)
		user_ms = 1000;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s,
	    sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms,
	    sizeof(user_ms));
}

/* ---- making rings --------------------------------------------------------------- */

static struct link_ring *
make_ring(const struct link_geom *g, bool server, struct err *err)
{
	size_t n = (size_t)g->depth * g->slot_bytes;
	uint8_t *both = mem_map(2 * n);
	struct tcp_ring *t;

	if (both == NULL) {
		err_sys(err, ERR_TEMP, errno, "tcp: memory of %zu bytes",
		    2 * n);
		return NULL;
	}
	t = mem_zalloc(sizeof(*t));
	t->ring_bytes = n;
	t->cur = -1;
	t->r.tp = &link_tcp_tp;
	t->r.server = server;
	t->r.epoch = g->epoch;
	t->r.depth = g->depth;
	t->r.slot_bytes = g->slot_bytes;
	t->r.req = both;
	t->r.ans = both + n;
	t->r.next = 1;
	t->r.fd = -1;
	t->r.ready = true;
	return &t->r;
}

static struct link_ring *
tcp_offer(const struct link_geom *g, int fd[LINK_FDS], int *n_fd,
    struct err *err)
{
	(void)fd;
	*n_fd = 0;
	return make_ring(g, true, err);
}

static struct link_ring *
tcp_take(const struct link_geom *g, const int *fd, int n_fd, struct err *err)
{
	(void)fd;
	(void)n_fd;
	return make_ring(g, false, err);
}

static void
tcp_close(struct link_ring *r)
{
	struct tcp_ring *t = (struct tcp_ring *)r;

	mem_unmap(r->req, 2 * t->ring_bytes);
	tls_free(r->tls);
	if (r->fd >= 0)
		close(r->fd);
	mem_free(t);
}

/* ---- sending ---------------------------------------------------------------------- */

/* Where slot i's 16 bytes in front are; header and body follow. */
static uint8_t *
front_of(const struct link_ring *r, int i)
{
	return (r->server ? link_ring_ans(r, i) : link_ring_req(r, i)) +
	    SLOT_HEAD - FRONT;
}

static ssize_t
transmit(const struct link_ring *r, const uint8_t *p, size_t n)
{
	ssize_t done;

	if (r->tls != NULL)
		return tls_write(r->tls, p, n);
	do {
		done = send(r->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	return done;
}

/* As much of the queue as the socket takes.  -1: the connection is gone. */
static int
flush(struct tcp_ring *t)
{
	struct link_ring *r = &t->r;
	size_t all;
	ssize_t n;
	int i;

	while (t->n_queue > 0) {
		i = t->queue[t->first];
		all = FRONT + (size_t)t->out_bytes[i];
		n = transmit(r, front_of(r, i) + t->sent, all - t->sent);
		if (n < 0) {
			r->want_out = true;
			return errno == EAGAIN ? 0 : -1;
		}
		t->sent += (size_t)n;
		if (t->sent < all)
			continue;
		t->sending &= ~(1ull << i);
		t->sent = 0;
		t->first = (t->first + 1) % LINK_DEPTH_MAX;
		t->n_queue--;
	}
	r->want_out = false;
	return 0;
}

static int
failed(const struct tcp_ring *t, const char *doing, struct err *err)
{
	if (t->r.tls != NULL)
		return err_set(err, ERR_TEMP, "%s: %s", doing,
		    tls_why(t->r.tls));
	return err_sys(err, ERR_TEMP, errno, "%s", doing);
}

static int
tcp_put(struct link_ring *r, int i, uint32_t bytes, struct err *err)
{
	struct tcp_ring *t = (struct tcp_ring *)r;
	uint8_t *f = front_of(r, i);

	buf_set64(f, slot_commit_word(r->epoch, r->slot[i].seq));
	buf_set32(f + 8, bytes);
	buf_set16(f + 12, (uint16_t)i);
	buf_set16(f + 14, 0);
	t->out_bytes[i] = bytes;
	t->queue[(t->first + t->n_queue++) % LINK_DEPTH_MAX] = (uint8_t)i;
	t->sending |= 1ull << i;
	return flush(t) == 0 ? 0 : failed(t, "sending", err);
}

/* ---- receiving --------------------------------------------------------------------- */

/* > 0 bytes; 0 nothing now; -1 with errno, or with t->eof. */
static ssize_t
receive(struct tcp_ring *t, void *to, size_t max)
{
	ssize_t n;

	do {
		n = t->r.tls != NULL ? tls_read(t->r.tls, to, max) :
		    recv(t->r.fd, to, max, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && errno == EAGAIN) {
		t->r.ready = false;
		return 0;
	}
	if (n == 0) {
		t->eof = true;
		errno = ECONNRESET;
	}
	return -1;
}

/* The 16 bytes in front of a slot: may that slot come now? */
static int
take_front(struct tcp_ring *t, const uint8_t *f, struct err *err)
{
	struct link_ring *r = &t->r;
	uint64_t word = buf_le64(f), want;
	uint32_t bytes = buf_le32(f + 8);
	int i = buf_le16(f + 12);
	struct link_slot *s;

	if (i >= (int)r->depth || buf_le16(f + 14) != 0)
		return err_set(err, ERR_DATA, "slot %d of %u", i, r->depth);
	s = &r->slot[i];
	want = slot_commit_word(r->epoch, r->server ? r->next : s->seq);
	if (word >> 48 != r->epoch)
		r->stale++;
	if (word != want)
		return err_set(err, ERR_DATA, "commit word of slot %d is "
		    "%016llx, want %016llx", i, (unsigned long long)word,
		    (unsigned long long)want);
	/* A request into a slot whose answer has not left yet would change
	 * the answer under way. */
	if (s->state != (r->server ? LINK_S_FREE : LINK_S_FLIGHT) ||
	    (t->sending >> i & 1) != 0)
		return err_set(err, ERR_DATA, "slot %d is not free", i);
	if (bytes < SLOT_BODY - SLOT_HEAD || bytes > r->slot_bytes - SLOT_HEAD)
		return err_set(err, ERR_DATA, "slot %d has %u bytes, want "
		    "%d..%u", i, bytes, SLOT_BODY - SLOT_HEAD,
		    r->slot_bytes - SLOT_HEAD);
	t->cur = i;
	t->need = bytes;
	t->have = 0;
	return 0;
}

static int
broken(struct tcp_ring *t, struct err *err)
{
	if (t->eof)
		err_set(err, ERR_TEMP, "the peer closed the connection");
	else
		failed(t, "connection", err);
	return LINK_BROKEN;
}

static int
finish(struct tcp_ring *t)
{
	struct link_slot *s = &t->r.slot[t->cur];
	int i = t->cur;

	s->got = t->need;
	s->state = LINK_S_GOT;
	if (t->r.server)
		s->seq = t->r.next++;
	t->cur = -1;
	return i;
}

/* Fill the stage until it holds the front of a slot, and take that. */
static int
next_front(struct tcp_ring *t, struct err *err)
{
	ssize_t n;

	while (t->n - t->at < FRONT) {
		memmove(t->stage, t->stage + t->at, t->n - t->at);
		t->n -= t->at;
		t->at = 0;
		n = receive(t, t->stage + t->n, STAGE - t->n);
		if (n == 0)
			return LINK_IDLE;
		if (n < 0)
			return broken(t, err);
		t->n += (size_t)n;
	}
	if (take_front(t, t->stage + t->at, err) != 0)
		return LINK_BROKEN;
	t->at += FRONT;
	return 0;
}

static int
tcp_poll(struct link_ring *r, struct err *err)
{
	struct tcp_ring *t = (struct tcp_ring *)r;
	uint8_t *to;
	size_t have;
	ssize_t n;
	int rc;

	if (t->n_queue > 0 && flush(t) != 0)
		return broken(t, err);
	if (t->cur < 0 && (rc = next_front(t, err)) != 0)
		return rc;
	to = (r->server ? link_ring_req(r, t->cur) : link_ring_ans(r, t->cur)) +
	    SLOT_HEAD;
	have = t->n - t->at;
	if (have > t->need - t->have)
		have = t->need - t->have;
	memcpy(to + t->have, t->stage + t->at, have);
	t->at += have;
	t->have += (uint32_t)have;
	while (t->have < t->need) {
		n = receive(t, to + t->have, t->need - t->have);
		if (n == 0)
			return LINK_IDLE;
		if (n < 0)
			return broken(t, err);
		t->have += (uint32_t)n;
	}
	return finish(t);
}

/* A look costs a system call, so it takes what it finds into the stage. */
static bool
tcp_peek(struct link_ring *r)
{
	struct tcp_ring *t = (struct tcp_ring *)r;
	ssize_t n;

	if (t->n_queue > 0 && flush(t) != 0)
		return true;
	if (t->cur < 0 && t->n - t->at >= FRONT)
		return true;
	if (t->at > 0) {
		memmove(t->stage, t->stage + t->at, t->n - t->at);
		t->n -= t->at;
		t->at = 0;
	}
	if (t->n == STAGE)
		return true;
	n = receive(t, t->stage + t->n, STAGE - t->n);
	if (n > 0)
		t->n += (size_t)n;
	return n != 0;
}

static void
tcp_doze(struct link_ring *r)
{
	(void)r;
}

static void
tcp_rouse(struct link_ring *r, bool readable)
{
	if (readable)
		r->ready = true;
}

const struct link_tp link_tcp_tp = {
	.name = "tcp",
	.second = true,
	.net = true,
	.crc_body = true,
	.listen = tcp_listen,
	.unlisten = tcp_unlisten,
	.tune = tcp_tune,
	.offer = tcp_offer,
	.take = tcp_take,
	.put = tcp_put,
	.poll = tcp_poll,
	.peek = tcp_peek,
	.doze = tcp_doze,
	.rouse = tcp_rouse,
	.close = tcp_close,
};
