/*
 * Tests of common/link against peers that lie, break the protocol, or are not
 * links at all: written against moe-wire(7), byte by byte.
 */
#include <fcntl.h>

#include "link_raw.h"
#include "tap.h"

static const char *const transports[] = { "shm:", "tcp:" };

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
	expect_refusal(tp, s->addr, &f, "has f32", "has bf16");
	f = base;
	f.me.weights = 4;
	expect_refusal(tp, s->addr, &f, "weights: 'e' has f32",
	    "'f' has q8");
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
	f.me.weights = 4;
	expect_refusal(tp, s->addr, &f, "has f32", "has q8");
	f.me.weights = 1;	/* f32, which a missing one means here */
	p = rig_open(&f);
	q = link_dial(p, s->addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev), "%s weights said or not: up", tp);
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
