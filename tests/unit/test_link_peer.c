/*
 * Tests of common/link against peers that lie, break the protocol, or are not
 * links at all: written against moe-wire(7), byte by byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "addr.h"
#include "buf.h"
#include "frame.h"
#include "link_rig.h"
#include "msg.h"
#include "str.h"
#include "tap.h"

static const char *const transports[] = { "shm:", "tcp:" };

/* ---- a raw client --------------------------------------------------------------------- */

struct raw {
	int fd, data;		/* control, rows (tcp) */
	uint8_t *map;		/* shm */
	size_t map_bytes;
	struct msg_hello w;	/* WELCOME */
};

static int
raw_connect(const char *addr)
{
	struct timeval limit = { 20, 0 };
	struct addr a;
	int fd;

	if (addr_parse(addr, &a, NULL) != 0 || addr_resolve(&a, false, NULL))
		exit(1);
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&a.sa, a.sa_bytes) != 0) {
		perror(addr);
		exit(1);
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void
raw_frame(int fd, int type, const void *body, size_t n)
{
	struct frame f = { .type = (uint16_t)type };
	struct str s = STR_INIT;

	frame_put(&s, &f, body, n);
	if (send(fd, s.p, s.n, MSG_NOSIGNAL) != (ssize_t)s.n)
		printf("# send: %s\n", strerror(errno));
	str_free(&s);
}

/* One frame's body; its type, or -1 at EOF.  Keeps the first descriptor. */
static int
raw_recv(int fd, uint8_t *body, size_t max, size_t *n, int *memfd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} u;
	uint8_t head[FRAME_HEAD];
	struct iovec v = { head, sizeof(head) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
	    .msg_control = u.room, .msg_controllen = sizeof(u.room) };
	struct frame f;
	int got[2];

	if (recvmsg(fd, &m, MSG_WAITALL) != FRAME_HEAD ||
	    frame_get(head, &f, NULL) != 0 || f.length > max)
		return -1;
	if (f.length > 0 && recv(fd, body, f.length, MSG_WAITALL) !=
	    (ssize_t)f.length)
		return -1;
	*n = f.length;
	if (memfd != NULL && m.msg_controllen >= CMSG_LEN(sizeof(got))) {
		memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(got));
		*memfd = got[0];
		close(got[1]);
	}
	return f.type;
}

static void
raw_hello(struct msg_hello *h)
{
	struct link_opt o = rig_opt(LINK_FRONT, "raw");

	memset(h, 0, sizeof(*h));
	h->role = LINK_FRONT;
	h->act = o.me.act;
	memcpy(h->name, o.me.name, sizeof(h->name));
	memcpy(h->variant, o.me.variant, sizeof(h->variant));
	h->fingerprint = o.me.fingerprint;
	h->hidden = o.me.hidden;
	h->n_layer = o.me.n_layer;
	h->n_expert = o.me.n_expert;
	h->top_k = o.me.top_k;
	h->slot_bytes = 8192;
	h->depth = 2;
	h->heartbeat_us = 1000000;
}

/* The whole hand-shake by hand.  false: it went wrong. */
static bool
raw_open(struct raw *r, const char *addr)
{
	struct str s = STR_INIT;
	uint8_t body[4096];
	struct msg_hello h;
	int memfd = -1;
	size_t n;

	memset(r, 0, sizeof(*r));
	r->data = -1;
	r->fd = raw_connect(addr);
	raw_hello(&h);
	msg_put_hello(&s, &h);
	raw_frame(r->fd, FRAME_HELLO, s.p, s.n);
	str_free(&s);
	if (raw_recv(r->fd, body, sizeof(body), &n, &memfd) != FRAME_WELCOME ||
	    msg_get_hello(body, n, &r->w, NULL) != 0)
		return false;
	if (strncmp(addr, "shm:", 4) == 0) {
		r->map_bytes = 4096 + 2 * r->w.depth * r->w.slot_bytes;
		r->map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED, memfd, 0);
		close(memfd);
		raw_frame(r->fd, FRAME_READY, "", 0);
		return r->map != MAP_FAILED;
	}
	r->data = raw_connect(addr);
	raw_frame(r->data, FRAME_DATA, r->w.token, MSG_TOKEN);
	return raw_recv(r->fd, body, sizeof(body), &n, NULL) == FRAME_READY;
}

static void
raw_close(struct raw *r)
{
	if (r->map != NULL)
		munmap(r->map, r->map_bytes);
	if (r->data >= 0)
		close(r->data);
	close(r->fd);
}

/* Is the connection closed by the other side? */
static bool
raw_closed(int fd)
{
	char junk[512];
	ssize_t n;

	while ((n = recv(fd, junk, sizeof(junk), 0)) > 0)
		continue;
	return n == 0 || errno == ECONNRESET;
}

/* Put a slot (8192 bytes, header made) across as request `seq`. */
static void
raw_put(struct raw *r, int i, uint64_t commit, const uint8_t *slot,
    uint32_t bytes)
{
	uint8_t front[16];
	uint8_t *to;

	if (r->map != NULL) {
		to = r->map + 4096 + (size_t)i * r->w.slot_bytes;
		memcpy(to + 64, slot + 64, 8192 - 64);
		__atomic_store_n((uint64_t *)(void *)to, commit,
		    __ATOMIC_RELEASE);
		return;
	}
	buf_set64(front, commit);
	buf_set32(front + 8, bytes);
	buf_set16(front + 12, (uint16_t)i);
	buf_set16(front + 14, 0);
	(void)!send(r->data, front, 16, MSG_NOSIGNAL);
	(void)!send(r->data, slot + 64, bytes < 8128 ? bytes : 8128,
	    MSG_NOSIGNAL);
}

static void
raw_slot(struct raw *r, uint8_t *slot, struct slot_head *h, uint64_t seq)
{
	memset(slot, 0, 8192);
	*h = (struct slot_head){ .kind = SLOT_REQUEST, .epoch = r->w.epoch,
	    .seq = seq, .req_id = 5, .n_row = 1, .n_route = 1, .row_bytes = 64,
	    .dtype_in = 1, .dtype_out = 1,
	    .bytes = slot_body_bytes(1, 1, 64) };
	slot_encode(slot, h);
}

/* ---- a pair that must not notice ---------------------------------------------------- */

struct good {
	struct link_port *port;
	struct link_pair *pair;
	uint64_t id;
};

static void
good_open(struct good *g, const char *addr)
{
	struct link_opt o = rig_opt(LINK_FRONT, "good");
	struct link_event ev;

	g->port = rig_open(&o);
	g->pair = link_dial(g->port, addr, NULL, NULL);
	g->id = 1;
	OK(rig_until(g->port, LINK_UP, g->pair, &ev), "the other pair is up");
}

static bool
good_works(struct good *g)
{
	struct link_event ev;
	bool good;

	if (!rig_send(g->pair, g->id++, 4096) ||
	    !rig_until(g->port, LINK_ANS, g->pair, &ev))
		return false;
	good = rig_good(&ev, 4096);
	link_release(g->pair, ev.slot);
	return good;
}

static struct link_counters
counters(struct rig_server *s)
{
	struct link_counters k;

	link_counters(s->port, &k);
	return k;
}

/* ---- slots ------------------------------------------------------------------------------ */

/* A right request first: the raw client itself is right. */
static void
test_right(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct rig_server *s = rig_start(&o, tp);
	uint8_t slot[8192], front[16];
	struct slot_head h;
	struct raw r;
	uint64_t end = clock_ns() + RIG_LONG_NS, w = 0;

	OK(raw_open(&r, s->addr), "%s hand-shake by hand", tp);
	EQ_INT(r.w.depth, 2, "%s granted as asked", tp);
	raw_slot(&r, slot, &h, 1);
	slot_route_put(slot, 0, (struct slot_route){ 0, 3, 1.0f });
	slot_encode(slot, &h);
	raw_put(&r, 1, slot_commit_word(r.w.epoch, 1), slot, h.bytes + 64);
	if (r.map != NULL) {
		uint8_t *ans = r.map + 4096 + 3 * 8192;

		link_wake(s->port);	/* the raw client knows no door */
		while (w == 0 && clock_left(end) > 0)
			w = __atomic_load_n((uint64_t *)(void *)ans,
			    __ATOMIC_ACQUIRE);
		memcpy(slot, ans, sizeof(slot));
	} else if (recv(r.data, front, 16, MSG_WAITALL) == 16 &&
	    recv(r.data, slot + 64, buf_le32(front + 8), MSG_WAITALL) > 0) {
		w = buf_le64(front);
		EQ_INT(buf_le16(front + 12), 1, "%s same slot", tp);
	}
	OK(w == slot_commit_word(r.w.epoch, 1), "%s commit word", tp);
	OK(slot_decode(slot, 8192, &h, NULL) == 0 && h.kind == SLOT_ANSWER &&
	    h.req_id == 5 && slot[128] == 255, "%s answer by hand", tp);
	raw_close(&r);
	rig_stop(s);
}

enum evil {
	E_MAGIC, E_EPOCH, E_SEQ, E_BYTES, E_ROWS, E_KIND, E_DTYPE, E_FLAG,
	E_CRC, E_COMMIT, N_EVIL
};

static const char *const evil_name[] = {
	"magic", "epoch", "seq", "bytes", "rows", "kind", "dtype", "flag",
	"crc", "commit word"
};

static uint64_t
corrupt(enum evil e, struct raw *r, uint8_t *slot, struct slot_head *h)
{
	uint64_t word = slot_commit_word(r->w.epoch, 1);

	raw_slot(r, slot, h, 1);
	switch (e) {
	case E_EPOCH:	h->epoch++; break;
	case E_SEQ:	h->seq = 9; break;
	case E_BYTES:	h->bytes += 16; break;
	case E_ROWS:	h->n_row = 60000; break;
	case E_KIND:	h->kind = SLOT_ANSWER; break;
	case E_DTYPE:	h->dtype_in = 3; break;
	case E_FLAG:	h->flags = 0x4000; break;
	default:	break;
	}
	if (e != E_BYTES && e != E_ROWS)
		slot_encode(slot, h);
	else
		slot_encode(slot, &(struct slot_head){ .kind = SLOT_REQUEST,
		    .epoch = h->epoch, .seq = 1, .n_row = h->n_row,
		    .n_route = 1, .row_bytes = 64, .dtype_in = 1,
		    .bytes = h->bytes });
	if (e == E_MAGIC)
		slot[64] ^= 1;
	if (e == E_CRC)
		slot[128] ^= 1;		/* a route */
	if (e == E_COMMIT)
		word = slot_commit_word(r->w.epoch, 77);
	return word;
}

static void
test_corrupt(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct rig_server *s = rig_start(&o, tp);
	uint8_t slot[8192];
	struct slot_head h;
	struct good g;
	struct raw r;
	uint64_t word;
	int e;

	good_open(&g, s->addr);
	for (e = 0; e < N_EVIL; e++) {
		OK(raw_open(&r, s->addr), "%s a client", tp);
		word = corrupt((enum evil)e, &r, slot, &h);
		raw_put(&r, 0, word, slot, h.bytes + 64);
		link_wake(s->port);
		OK(raw_closed(r.fd), "%s bad %s: closed", tp, evil_name[e]);
		raw_close(&r);
		OK(good_works(&g), "%s the other pair goes on", tp);
	}
	link_port_close(g.port);
	atomic_store(&s->stop, true);
	link_wake(s->port);
	pthread_join(s->thread, NULL);
	EQ_INT(counters(s).bad, N_EVIL, "%s each was counted", tp);
	link_port_close(s->port);
	VEC_FREE(&s->todo);
	mem_free(s);
}

/* Lengths and indices in front of tcp: slots. */
static void
test_fronts(void)
{
	static const struct {
		int slot;
		uint32_t bytes;
	} bad[] = { { 2, 100 }, { 65535, 100 }, { 0, 63 }, { 0, 8129 },
	    { 0, 0xffffffff } };
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct rig_server *s = rig_start(&o, "tcp:");
	uint8_t slot[8192];
	struct slot_head h;
	struct raw r;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		OK(raw_open(&r, s->addr), "tcp: a client");
		raw_slot(&r, slot, &h, 1);
		raw_put(&r, bad[i].slot, slot_commit_word(r.w.epoch, 1), slot,
		    bad[i].bytes);
		OK(raw_closed(r.fd), "tcp: slot %d with %u bytes: closed",
		    bad[i].slot, bad[i].bytes);
		raw_close(&r);
	}
	rig_stop(s);
}

/* A write of an earlier incarnation is seen, counted, and nothing else. */
static void
test_stale(void)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct link_port *p = rig_open(&o);
	char addr[LINK_ADDR];
	uint8_t slot[8192];
	struct slot_head h;
	struct link_event ev;
	struct link_counters k;
	struct raw r;

	rig_listen(p, "shm:", addr);
	OK(raw_open(&r, addr), "a client");
	OK(rig_until(p, LINK_UP, NULL, &ev), "up");
	raw_slot(&r, slot, &h, 1);
	raw_put(&r, 0, slot_commit_word((uint16_t)(r.w.epoch - 1), 1), slot,
	    h.bytes + 64);
	OK(!link_next(p, &ev), "stale commit word: no event");
	OK(!link_next(p, &ev), "nor later");
	link_counters(p, &k);
	EQ_INT(k.stale, 1, "it was counted once");
	raw_put(&r, 0, slot_commit_word(r.w.epoch, 1), slot, h.bytes + 64);
	OK(rig_until(p, LINK_REQ, NULL, &ev) && ev.slot == 0 &&
	    ev.head.req_id == 5, "the right word is taken");
	raw_close(&r);
	OK(rig_until(p, LINK_DOWN, NULL, &ev), "closed: down");
	link_port_close(p);
}

/* ---- control connections ----------------------------------------------------------------- */

static void
test_garbage(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct rig_server *s;
	uint8_t junk[300];
	struct good g;
	struct rng rng = { 3, 0 };
	size_t i, k;
	int fd;

	s = rig_start(&o, tp);
	good_open(&g, s->addr);
	for (i = 0; i < 20; i++) {
		fd = raw_connect(s->addr);
		for (k = 0; k < sizeof(junk); k++)
			junk[k] = (uint8_t)rng_next(&rng);
		(void)!send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
		if (!raw_closed(fd))
			OK(0, "garbage is not closed");
		close(fd);
	}
	fd = raw_connect(s->addr);
	(void)!send(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35,
	    MSG_NOSIGNAL);
	OK(raw_closed(fd), "%s http: closed", tp);
	close(fd);
	fd = raw_connect(s->addr);
	raw_frame(fd, FRAME_READY, "", 0);
	OK(raw_closed(fd), "%s READY before HELLO: closed", tp);
	close(fd);
	fd = raw_connect(s->addr);
	raw_frame(fd, FRAME_DATA, "0123456789abcdef", 16);
	OK(raw_closed(fd), "%s an unknown token: closed", tp);
	close(fd);
	OK(good_works(&g), "%s the other pair goes on", tp);
	link_port_close(g.port);
	atomic_store(&s->stop, true);
	link_wake(s->port);
	pthread_join(s->thread, NULL);
	EQ_INT(counters(s).bad, 23, "%s counted", tp);
	link_port_close(s->port);
	VEC_FREE(&s->todo);
	mem_free(s);
}

static void
test_slow(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct rig_server *s;
	uint64_t t = clock_ns();
	int fd, fd2;

	o.hello_ns = 60000000;
	s = rig_start(&o, tp);
	fd = raw_connect(s->addr);
	fd2 = raw_connect(s->addr);
	(void)!send(fd2, "MCTL", 4, MSG_NOSIGNAL);
	OK(raw_closed(fd) && raw_closed(fd2), "%s says nothing: closed", tp);
	t = clock_ns() - t;
	OK(t >= 50000000, "%s not before its time (%llu ms)", tp,
	    (unsigned long long)t / 1000000);
	close(fd);
	close(fd2);
	rig_stop(s);
}

/* ---- HELLO -------------------------------------------------------------------------------- */

static void
expect_refusal(const char *tp, const char *addr, const struct link_opt *o,
    const char *a, const char *b)
{
	struct link_port *p = rig_open(o);
	struct link_pair *q = link_dial(p, addr, NULL, NULL);
	struct link_counters k;
	struct link_event ev;

	OK(rig_until(p, LINK_DOWN, q, &ev) && ev.refused, "%s refused", tp);
	OK(strstr(ev.reason, a) != NULL && strstr(ev.reason, b) != NULL,
	    "%s reason: %s", tp, ev.reason);
	link_counters(p, &k);
	OK(k.refused >= 1 && k.up == 0 && !link_is_up(q), "%s counted", tp);
	link_port_close(p);
}

static void
test_hello(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"), f, base;
	struct rig_server *s = rig_start(&o, tp);
	struct link_pair *q;
	struct link_port *p;
	struct link_event ev;

	base = rig_opt(LINK_FRONT, "f");
	f = base;
	f.me.fingerprint = 0xdead;
	expect_refusal(tp, s->addr, &f, "feed", "dead");
	f = base;
	f.me.hidden = 65;
	expect_refusal(tp, s->addr, &f, "64", "65");
	f = base;
	f.me.n_layer = 77;
	expect_refusal(tp, s->addr, &f, "has 2", "77");
	f = base;
	f.me.n_expert = 99;
	expect_refusal(tp, s->addr, &f, "has 8", "99");
	f = base;
	f.me.top_k = 5;
	expect_refusal(tp, s->addr, &f, "has 2", "has 5");
	f = base;
	f.me.act = 3;
	expect_refusal(tp, s->addr, &f, "has 1", "has 3");
	f = base;
	snprintf(f.me.variant, sizeof(f.me.variant), "cpu-y");
	f.me.mixed = true;
	expect_refusal(tp, s->addr, &f, "cpu-x", "cpu-y");
	f = base;
	f.me.fingerprint = 0;	/* a front end has to know */
	expect_refusal(tp, s->addr, &f, "feed", "has 0");
	rig_stop(s);

	o.me.mixed = true;
	s = rig_start(&o, tp);
	f = base;
	snprintf(f.me.variant, sizeof(f.me.variant), "cpu-y");
	f.me.mixed = true;
	p = rig_open(&f);
	q = link_dial(p, s->addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev), "%s both allow mixed: up", tp);
	link_port_close(p);
	rig_stop(s);

	o.max_pair = 1;
	s = rig_start(&o, tp);
	p = rig_open(&base);
	q = link_dial(p, s->addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev), "%s one pair", tp);
	expect_refusal(tp, s->addr, &base, "'e'", "all 1");
	link_port_close(p);
	rig_stop(s);
}

/* ---- a raw server, to see what a client puts up with ------------------------------------- */

static int
listen_raw(char addr[LINK_ADDR])
{
	struct addr a;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr, LINK_ADDR, "shm:%s/raw", rig_dir);
	if (addr_parse(addr, &a, NULL) != 0 || addr_resolve(&a, true, NULL) ||
	    bind(fd, (struct sockaddr *)&a.sa, a.sa_bytes) != 0 ||
	    listen(fd, 5) != 0)
		exit(1);
	return fd;
}

/* WELCOME with this memory; whatever it is, the client must say no. */
static void
lie(const char *what, int lfd, int memfd, uint32_t depth, uint32_t slot_bytes)
{
	struct frame f = { .type = FRAME_WELCOME };
	struct str body = STR_INIT, out = STR_INIT;
	struct msg_hello w;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} u = { .room = { 0 } };
	struct iovec v;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
	    .msg_control = u.room, .msg_controllen = sizeof(u.room) };
	uint8_t hello[4096];
	int fd = accept(lfd, NULL, NULL), door[2], fds[2];
	size_t n;

	OK(raw_recv(fd, hello, sizeof(hello), &n, NULL) == FRAME_HELLO,
	    "a HELLO comes");
	raw_hello(&w);
	w.role = LINK_EXPERT;
	w.depth = depth;
	w.slot_bytes = slot_bytes;
	w.epoch = 3;
	msg_put_hello(&body, &w);
	frame_put(&out, &f, body.p, body.n);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, door) != 0)
		exit(1);
	fds[0] = memfd;
	fds[1] = door[0];
	CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, sizeof(fds));
	v = (struct iovec){ out.p, out.n };
	(void)!sendmsg(fd, &m, MSG_NOSIGNAL);
	OK(raw_closed(fd), "WELCOME with %s: closed", what);
	close(fd);
	close(door[0]);
	close(door[1]);
	str_free(&body);
	str_free(&out);
}

static void
test_liar(void)
{
	struct link_opt o = rig_opt(LINK_FRONT, "f");
	struct link_port *p = rig_open(&o);
	struct link_counters k;
	char addr[LINK_ADDR];
	int lfd = listen_raw(addr), mem, small;

	OK(link_dial(p, addr, NULL, NULL) != NULL, "dialling the liar");
	mem = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	small = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ftruncate(mem, 4096 + 2 * 8192) != 0 || ftruncate(small, 4096) != 0)
		exit(1);
	(void)fcntl(small, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	lie("memory that can shrink", lfd, mem, 1, 8192);
	lie("memory that is too small", lfd, small, 1, 8192);
	lie("a depth not asked for", lfd, mem, RIG_DEPTH + 1, 8192);
	lie("an odd slot size", lfd, mem, 1, 8191);
	lie("a huge slot", lfd, mem, 1, 0xfffff000);
	lie("no slot size", lfd, mem, 1, 0);
	link_counters(p, &k);
	EQ_INT(k.up, 0, "never up");
	link_port_close(p);
	close(mem);
	close(small);
	close(lfd);
	unlink(addr + 4);
}

int
main(void)
{
	size_t t;

	rig_enter();
	for (t = 0; t < 2; t++) {
		test_right(transports[t]);
		test_corrupt(transports[t]);
		test_garbage(transports[t]);
		test_slow(transports[t]);
		test_hello(transports[t]);
	}
	test_fronts();
	test_stale();
	test_liar();
	OK(rig_leave() == 0, "nothing is left in the folder");
	return tap_done();
}
