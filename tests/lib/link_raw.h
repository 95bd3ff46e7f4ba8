/*
 * link_raw.h - a client of a link written by hand from moe-wire(7), for tests
 * that break the rules: control frames, the hand-shake, slots.
 */
#ifndef MOE_LINK_RAW_H
#define MOE_LINK_RAW_H

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "addr.h"
#include "buf.h"
#include "frame.h"
#include "link_rig.h"
#include "msg.h"
#include "str.h"

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
__attribute__((unused)) static void
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

__attribute__((unused)) static void
raw_slot(struct raw *r, uint8_t *slot, struct slot_head *h, uint64_t seq)
{
	memset(slot, 0, 8192);
	*h = (struct slot_head){ .kind = SLOT_REQUEST, .epoch = r->w.epoch,
	    .seq = seq, .req_id = 5, .n_row = 1, .n_route = 1, .row_bytes = 64,
	    .dtype_in = 1, .dtype_out = 1,
	    .bytes = slot_body_bytes(1, 1, 64) };
	slot_encode(slot, h);
}

#endif
