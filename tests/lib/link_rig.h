/*
 * link_rig.h - servers and clients for the tests of common/link: as threads of
 * the test or as forked processes, over either transport.
 */
#ifndef MOE_LINK_RIG_H
#define MOE_LINK_RIG_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"
#include "link.h"
#include "mem.h"
#include "rng.h"

#define RIG_SLOT	(1088u << 10)	/* 1 MB of rows and what is around */
#define RIG_DEPTH	4
#define RIG_LONG_NS	20000000000ull	/* fails the test, never paces it */

static char rig_dir[64];

/* Fails when something is left in the folder. */
__attribute__((unused)) static int
rig_leave(void)
{
	return rmdir(rig_dir);
}

__attribute__((unused)) static struct link_opt
rig_opt(enum link_role role, const char *name)
{
	struct link_opt o = {
		.me = { .role = role, .fingerprint = 0xfeed, .variant = "cpu-x",
		    .act = 1, .hidden = 64, .n_layer = 2, .n_expert = 8,
		    .top_k = 2, .incarnation = 1 },
		.slot_bytes = RIG_SLOT, .depth = RIG_DEPTH,
	};

	snprintf(o.me.name, sizeof(o.me.name), "%s", name);
	return o;
}

static struct link_port *
rig_open(const struct link_opt *o)
{
	struct err err = ERR_INIT;
	struct link_port *p;

	if (link_port_open(&p, o, &err) != 0) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
	return p;
}

/* Listen at addr; "shm:" alone gives a fresh path, "tcp:" any port. */
static void
rig_listen(struct link_port *p, const char *addr, char bound[LINK_ADDR])
{
	static int n;
	struct err err = ERR_INIT;
	char text[LINK_ADDR];

	snprintf(text, sizeof(text), "%s", addr);
	if (strcmp(addr, "shm:") == 0)
		snprintf(text, sizeof(text), "shm:%s/%d-%d", rig_dir,
		    (int)getpid(), n++);
	else if (strcmp(addr, "tcp:") == 0)
		snprintf(text, sizeof(text), "tcp:127.0.0.1:0");
	if (link_listen(p, text, bound, &err) != 0) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
}

/* Take events until one of kind `what` (of pair, unless NULL). */
__attribute__((unused)) static bool
rig_until(struct link_port *p, enum link_ev what, struct link_pair *pair,
    struct link_event *ev)
{
	uint64_t end = clock_ns() + RIG_LONG_NS;

	while (clock_left(end) > 0) {
		while (link_next(p, ev))
			if (ev->what == what &&
			    (pair == NULL || ev->pair == pair))
				return true;
		link_wait(p, end);
	}
	return false;
}

/* ---- a server: the answer to route i is row[i] of its row, bytes inverted ------ */

struct rig_req {
	struct link_pair *pair;
	int slot;
	struct slot_head head;
	const uint8_t *mem;
};

static void
rig_answer(const struct rig_req *q)
{
	struct slot_head h = q->head;
	const uint8_t *rows = q->mem + slot_rows_at(h.n_route);
	uint8_t *out = link_answer_rows(q->pair, q->slot);
	size_t n = h.row_bytes, k;
	struct slot_route r;
	uint32_t i;

	if (h.kind == SLOT_PING) {
		memcpy(out, rows, (size_t)h.n_row * n);
	} else {
		for (i = 0; i < h.n_route; i++) {
			r = slot_route_get(q->mem, i);
			for (k = 0; k < n; k++)
				out[i * n + k] = (uint8_t)(255 -
				    rows[r.row * n + k]);
		}
		h.n_row = h.n_route;
	}
	h.status = SLOT_OK;
	link_answer(q->pair, q->slot, &h);
}

struct rig_server {
	struct link_port *port;
	char addr[LINK_ADDR];
	pthread_t thread;
	_Atomic bool stop;
	struct rng rng;
	VEC(struct rig_req) todo;
};

/* Forget the requests of a pair that has gone down. */
static void
rig_drop(struct rig_server *s, const struct link_pair *pair)
{
	size_t i, n = 0;

	for (i = 0; i < s->todo.n; i++)
		if (s->todo.p[i].pair != pair)
			s->todo.p[n++] = s->todo.p[i];
	s->todo.n = n;
}

/* All that is there, answered in random order. */
static void
rig_serve_once(struct rig_server *s)
{
	struct link_event ev;
	size_t i;

	while (link_next(s->port, &ev)) {
		if (ev.what == LINK_REQ) {
			struct rig_req q = { ev.pair, ev.slot, ev.head,
			    ev.mem };

			VEC_PUSH(&s->todo, q);
		} else if (ev.what == LINK_DOWN) {
			rig_drop(s, ev.pair);
		} else if (ev.what == LINK_MSG) {
			link_msg(ev.pair, LINK_MSG_REPLY, ev.data, ev.n);
		}
	}
	while (s->todo.n > 0) {
		i = rng_below(&s->rng, s->todo.n);
		rig_answer(&s->todo.p[i]);
		s->todo.p[i] = s->todo.p[--s->todo.n];
	}
}

static void *
rig_serve(void *arg)
{
	struct rig_server *s = arg;

	while (!atomic_load(&s->stop)) {
		rig_serve_once(s);
		link_wait(s->port, UINT64_MAX);
	}
	return NULL;
}

__attribute__((unused)) static struct rig_server *
rig_start(const struct link_opt *o, const char *addr)
{
	struct rig_server *s = mem_zalloc(sizeof(*s));

	s->port = rig_open(o);
	rig_listen(s->port, addr, s->addr);
	pthread_create(&s->thread, NULL, rig_serve, s);
	return s;
}

__attribute__((unused)) static void
rig_stop(struct rig_server *s)
{
	atomic_store(&s->stop, true);
	link_wake(s->port);
	pthread_join(s->thread, NULL);
	link_port_close(s->port);
	VEC_FREE(&s->todo);
	mem_free(s);
}

/* ---- server processes --------------------------------------------------------------
 *
 * They are forked by a process that has no threads, made by rig_enter: a fork
 * of a process with threads may not start threads under the sanitizer.
 */

struct rig_order {
	pid_t kill;		/* 0: fork a server */
	struct link_opt opt;
	char addr[LINK_ADDR];
};

static int rig_nurse;		/* socket to that process */

_Noreturn static void
rig_child(const struct rig_order *o, int fd)
{
	struct rig_server s = { .rng = { 5, 0 } };
	pid_t nurse = getppid();

	s.port = rig_open(&o->opt);
	rig_listen(s.port, o->addr, s.addr);
	if (write(fd, s.addr, sizeof(s.addr)) != sizeof(s.addr))
		_exit(1);
	close(fd);
	while (getppid() == nurse) {
		rig_serve_once(&s);
		link_wait(s.port, clock_ns() + 1000000000ull);
	}
	_exit(0);
}

_Noreturn static void
rig_nursery(int fd)
{
	struct rig_order o;
	pid_t pid;

	while (read(fd, &o, sizeof(o)) == sizeof(o)) {
		if (o.kill != 0) {
			kill(o.kill, SIGKILL);
			pid = waitpid(o.kill, NULL, 0);
		} else {
			pid = fork();
			if (pid == 0)
				rig_child(&o, fd);
		}
		if (write(fd, &pid, sizeof(pid)) != sizeof(pid))
			break;
	}
	_exit(0);
}

/* Before there are threads. */
static void
rig_start_nurse(void)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd) != 0)
		exit(1);
	fflush(stdout);
	if (fork() == 0) {
		close(fd[0]);
		rig_nursery(fd[1]);
	}
	close(fd[1]);
	rig_nurse = fd[0];
}

/* A server process; bound gets its address. */
__attribute__((unused)) static pid_t
rig_fork(const struct link_opt *opt, const char *addr, char bound[LINK_ADDR])
{
	struct rig_order o = { .opt = *opt };
	char buf[2][LINK_ADDR];
	pid_t pid = 0;
	ssize_t n;
	int i;

	snprintf(o.addr, sizeof(o.addr), "%s", addr);
	n = write(rig_nurse, &o, sizeof(o));
	for (i = 0; i < 2 && n > 0; i++) {	/* in either order */
		n = read(rig_nurse, buf[i], LINK_ADDR);
		if (n == sizeof(pid))
			memcpy(&pid, buf[i], sizeof(pid));
		else if (n == LINK_ADDR)
			memcpy(bound, buf[i], LINK_ADDR);
		else
			n = 0;
	}
	if (n <= 0) {
		printf("Bail out! no server\n");
		exit(1);
	}
	return pid;
}

__attribute__((unused)) static void
rig_kill(pid_t pid)
{
	struct rig_order o = { .kill = pid };

	if (write(rig_nurse, &o, sizeof(o)) != sizeof(o) ||
	    read(rig_nurse, &pid, sizeof(pid)) != sizeof(pid))
		printf("# the nurse is gone\n");
}

__attribute__((unused)) static void
rig_enter(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(rig_dir, sizeof(rig_dir), "%.40s/moe-link.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(rig_dir) == NULL) {
		perror(rig_dir);
		exit(1);
	}
	rig_start_nurse();
}

/* ---- a client: sends, and checks what comes back --------------------------------- */

static uint8_t
rig_byte(uint64_t req_id, size_t i)
{
	return (uint8_t)(req_id * 131 + i * 7 + (i >> 8));
}

/* A request of 4 rows, `bytes` in all, and routes that go backwards. */
static bool
rig_send(struct link_pair *pair, uint64_t req_id, uint32_t bytes)
{
	struct slot_head h = { .req_id = req_id, .n_row = 4, .n_route = 4,
	    .row_bytes = bytes / 4, .dtype_in = 1, .dtype_out = 1 };
	uint8_t *rows;
	void *mem;
	uint16_t i;
	size_t k;
	int slot = link_reserve(pair, &mem);

	if (slot < 0)
		return false;
	if (req_id % 3 == 0)
		h.flags = SLOT_CRC_BODY;
	for (i = 0; i < 4; i++)
		slot_route_put(mem, i, (struct slot_route){
		    (uint16_t)(3 - i), i, 0.5f });
	rows = (uint8_t *)mem + slot_rows_at(4);
	for (k = 0; k < bytes; k++)
		rows[k] = rig_byte(req_id, k);
	link_send(pair, slot, &h, (void *)(uintptr_t)req_id);
	return true;
}

/* Is this the right answer to rig_send? */
static bool
rig_good(const struct link_event *ev, uint32_t bytes)
{
	const uint8_t *rows = (const uint8_t *)ev->mem + slot_rows_at(0);
	size_t n = bytes / 4, i, k;
	uint64_t id = ev->head.req_id;

	if (ev->head.status != SLOT_OK || ev->head.n_row != 4 ||
	    ev->head.row_bytes != n || (uintptr_t)ev->user != id)
		return false;
	for (i = 0; i < 4; i++)
		for (k = 0; k < n; k++)
			if (rows[i * n + k] !=
			    255 - rig_byte(id, (3 - i) * n + k))
				return false;
	return true;
}

/* n requests to each of the servers, as many in flight as there are slots;
 * returns how many right answers are missing. */
__attribute__((unused)) static int
rig_drive(struct link_port *p, char (*addr)[LINK_ADDR], int n_server, int n,
    uint32_t bytes)
{
	uint64_t end = clock_ns() + 3 * RIG_LONG_NS, id = 1;
	struct link_pair *pair[8];
	struct link_event ev;
	int sent[8] = { 0 }, i, good = 0, seen = 0;

	for (i = 0; i < n_server; i++)
		pair[i] = link_dial(p, addr[i], NULL, NULL);
	while (seen < n * n_server && clock_left(end) > 0) {
		while (link_next(p, &ev)) {
			if (ev.what == LINK_ANS) {
				good += rig_good(&ev, bytes);
				seen++;
				link_release(ev.pair, ev.slot);
			} else if (ev.what == LINK_DOWN) {
				printf("# %s: down: %s\n", link_addr(ev.pair),
				    ev.reason);
				fflush(stdout);
			}
		}
		for (i = 0; i < n_server; i++)
			while (sent[i] < n && rig_send(pair[i], id, bytes)) {
				sent[i]++;
				id++;
			}
		if (seen < n * n_server)
			link_wait(p, end);
	}
	for (i = 0; i < n_server; i++)
		link_undial(pair[i]);
	return n * n_server - good;
}

#endif
