/*
 * Tests of common/link with well-behaved peers: both transports, several
 * shapes, threads and processes; life and death of pairs.
 */
#include <dirent.h>
#include <sys/resource.h>

#include "link_rig.h"
#include "tap.h"

static const char *const transports[] = { "shm:", "tcp:" };

/* ---- rows across, M clients and N servers --------------------------------------- */

static const struct shape {
	int clients, servers;
} shapes[] = { { 1, 1 }, { 2, 2 }, { 1, 3 }, { 3, 1 } };

static const struct load {
	uint32_t bytes;
	int n;
} loads[] = { { 64, 200 }, { 4096, 100 }, { 65536, 30 }, { 1048576, 6 } };
#define N_LOAD	4

struct client {
	pthread_t thread;
	char (*addr)[LINK_ADDR];
	int n_server, missing;
};

static void *
client_main(void *arg)
{
	struct client *c = arg;
	struct link_opt o = rig_opt(LINK_FRONT, "f");
	struct link_port *p = rig_open(&o);
	int i;

	for (i = 0; i < N_LOAD; i++)
		c->missing += rig_drive(p, c->addr, c->n_server, loads[i].n,
		    loads[i].bytes);
	link_port_close(p);
	return NULL;
}

static void
test_threads(const char *tp, struct shape sh)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct rig_server *s[4];
	struct client c[4] = { { 0 } };
	char addr[4][LINK_ADDR];
	int i, missing = 0;

	for (i = 0; i < sh.servers; i++) {
		s[i] = rig_start(&o, tp);
		memcpy(addr[i], s[i]->addr, LINK_ADDR);
	}
	for (i = 0; i < sh.clients; i++) {
		c[i].addr = addr;
		c[i].n_server = sh.servers;
		pthread_create(&c[i].thread, NULL, client_main, &c[i]);
	}
	for (i = 0; i < sh.clients; i++) {
		pthread_join(c[i].thread, NULL);
		missing += c[i].missing;
	}
	for (i = 0; i < sh.servers; i++)
		rig_stop(s[i]);
	EQ_INT(missing, 0, "%s %dx%d threads: every answer is right", tp,
	    sh.clients, sh.servers);
}

static void
test_processes(const char *tp, struct shape sh)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct client c = { 0 };
	char addr[4][LINK_ADDR];
	pid_t server[4], client[4];
	int i, st, bad = 0;

	for (i = 0; i < sh.servers; i++)
		server[i] = rig_fork(&o, tp, addr[i]);
	for (i = 0; i < sh.clients; i++) {
		client[i] = fork();
		if (client[i] == 0) {
			c.addr = addr;
			c.n_server = sh.servers;
			client_main(&c);
			_exit(c.missing != 0);
		}
	}
	for (i = 0; i < sh.clients; i++) {
		waitpid(client[i], &st, 0);
		bad += st != 0;
	}
	for (i = 0; i < sh.servers; i++) {
		rig_kill(server[i]);
		if (strncmp(addr[i], "shm:", 4) == 0)
			unlink(addr[i] + 4);
	}
	EQ_INT(bad, 0, "%s %dx%d processes: every answer is right", tp,
	    sh.clients, sh.servers);
}

/* ---- the life of a pair ------------------------------------------------------------ */

static void
test_slots(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"), oc;
	struct rig_server *s = rig_start(&o, tp);
	struct link_port *p;
	struct link_pair *q;
	struct link_event ev;
	struct link_counters k;
	int i, slot[RIG_DEPTH];
	void *mem;

	oc = rig_opt(LINK_FRONT, "f");
	oc.depth = 9;		/* more than the server grants */
	oc.slot_bytes = 8192;
	p = rig_open(&oc);
	q = link_dial(p, s->addr, &oc, NULL);
	OK(link_reserve(q, &mem) == -1 && !link_is_up(q), "%s not up yet", tp);
	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	EQ_INT(link_depth(q), RIG_DEPTH, "%s the smaller depth", tp);
	EQ_INT(link_slot_bytes(q), 8192, "%s the smaller slot", tp);
	EQ_STR(link_peer(q)->name, "e", "%s the peer's name", tp);
	OK(link_user(q) == &oc, "%s the user pointer", tp);
	for (i = 0; i < RIG_DEPTH; i++)
		slot[i] = link_reserve(q, &mem);
	OK(slot[0] >= 0 && slot[3] >= 0 && link_reserve(q, &mem) == -1,
	    "%s depth slots and no more", tp);
	for (i = 0; i < RIG_DEPTH; i++)
		link_unreserve(q, slot[i]);
	for (i = 0; i < RIG_DEPTH; i++)
		OK(rig_send(q, 7 + (uint64_t)i, 4000), "%s slot %d", tp, i);
	OK(!rig_send(q, 99, 4000), "%s all in flight", tp);
	OK(rig_until(p, LINK_ANS, q, &ev) && rig_good(&ev, 4000),
	    "%s an answer", tp);
	OK(rig_until(p, LINK_ANS, q, &ev) && !rig_send(q, 99, 4000),
	    "%s a slot is not free before its answer is released", tp);
	link_release(q, ev.slot);
	OK(rig_send(q, 99, 4000), "%s then it is", tp);
	link_counters(p, &k);
	EQ_INT(k.req, 5, "%s requests are counted", tp);
	link_port_close(p);
	rig_stop(s);
}

static void
test_break(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	struct rig_server *s = rig_start(&o, tp);
	struct link_port *p = rig_open(&oc);
	struct link_pair *q = link_dial(p, s->addr, NULL, NULL);
	struct link_event ev;
	uint64_t epoch;
	void *mem;

	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	epoch = link_epoch(q);
	rig_send(q, 1, 64);
	link_break(q, "a test");
	OK(!link_is_up(q) && link_reserve(q, &mem) == -1,
	    "%s broken: not up at once", tp);
	OK(rig_until(p, LINK_DOWN, q, &ev) && !ev.refused &&
	    strcmp(ev.reason, "a test") == 0, "%s down, with the reason", tp);
	OK(rig_until(p, LINK_UP, q, &ev) && link_epoch(q) != epoch,
	    "%s up again in another epoch", tp);
	OK(rig_send(q, 2, 64) && rig_until(p, LINK_ANS, q, &ev) &&
	    ev.head.req_id == 2 && rig_good(&ev, 64),
	    "%s only the new request is answered", tp);
	link_undial(q);
	link_port_close(p);
	rig_stop(s);
}

static void
test_kill(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	char addr[LINK_ADDR], again[LINK_ADDR];
	pid_t pid = rig_fork(&o, tp, addr);
	struct link_port *p = rig_open(&oc);
	struct link_pair *q = link_dial(p, addr, NULL, NULL);
	struct link_event ev;
	uint64_t t;

	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	t = clock_ns();
	rig_kill(pid);
	OK(rig_until(p, LINK_DOWN, q, &ev), "%s SIGKILL: down", tp);
	t = clock_ns() - t;
	OK(t < 5000000000ull, "%s after %llu us", tp,
	    (unsigned long long)t / 1000);
	pid = rig_fork(&o, addr, again);
	EQ_STR(again, addr, "%s a new server takes the address over", tp);
	OK(rig_until(p, LINK_UP, q, &ev) && rig_send(q, 1, 64) &&
	    rig_until(p, LINK_ANS, q, &ev) && rig_good(&ev, 64),
	    "%s and the pair comes back", tp);
	rig_kill(pid);
	link_port_close(p);
	if (strncmp(addr, "shm:", 4) == 0)
		unlink(addr + 4);
}

static void
test_stop(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	char addr[LINK_ADDR];
	struct link_port *p;
	struct link_pair *q;
	struct link_event ev;
	uint64_t t;
	pid_t pid;

	o.heartbeat_ns = oc.heartbeat_ns = 40000000;
	pid = rig_fork(&o, tp, addr);
	p = rig_open(&oc);
	q = link_dial(p, addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	kill(pid, SIGSTOP);
	t = clock_ns();
	OK(rig_until(p, LINK_DOWN, q, &ev) &&
	    strstr(ev.reason, "silent") != NULL, "%s SIGSTOP: silence", tp);
	t = clock_ns() - t;
	OK(t > 120000000 && t < 10000000000ull, "%s noticed after %llu ms", tp,
	    (unsigned long long)t / 1000000);
	kill(pid, SIGCONT);
	OK(rig_until(p, LINK_UP, q, &ev), "%s SIGCONT: up again", tp);
	rig_kill(pid);
	link_port_close(p);
	if (strncmp(addr, "shm:", 4) == 0)
		unlink(addr + 4);
}

/* A server whose data thread does nothing is alive all the same. */
static void
test_busy(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	struct link_port *s, *p;
	struct link_pair *q;
	struct link_event ev;
	struct link_counters k;
	uint64_t end;
	char addr[LINK_ADDR];

	o.heartbeat_ns = oc.heartbeat_ns = 20000000;
	s = rig_open(&o);
	rig_listen(s, tp, addr);
	p = rig_open(&oc);
	q = link_dial(p, addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	end = clock_ns() + 300000000;
	while (clock_left(end) > 0) {
		link_wait(p, end);
		while (link_next(p, &ev))
			continue;
	}
	link_counters(p, &k);
	OK(link_is_up(q) && k.down == 0, "%s up after 15 idle intervals", tp);
	OK(link_heard_ns(q) + 10000000000ull > clock_ns(), "%s heard", tp);
	OK(k.sleeps <= 3, "%s the data thread slept through: %llu sleeps", tp,
	    (unsigned long long)k.sleeps);
	link_port_close(p);
	link_port_close(s);
}

/* Nor is one dead that leaves full buffers unread for longer than any limit of
 * the transport: it may be computing. */
static void
test_full(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	struct rig_server s = { .rng = { 1, 0 } };
	struct link_port *p;
	struct link_pair *q;
	struct link_event ev;
	uint64_t end;
	int i, good = 0;

	s.port = rig_open(&o);
	rig_listen(s.port, tp, s.addr);
	p = rig_open(&oc);
	q = link_dial(p, s.addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	for (i = 0; i < RIG_DEPTH; i++)
		rig_send(q, 10 + (uint64_t)i, 1 << 20);
	end = clock_ns() + 2500000000ull;
	while (clock_left(end) > 0)
		link_wait(p, end);
	pthread_create(&s.thread, NULL, rig_serve, &s);
	for (i = 0; i < RIG_DEPTH; i++) {
		if (!rig_until(p, LINK_ANS, q, &ev))
			break;
		good += rig_good(&ev, 1 << 20);
	}
	EQ_INT(good, RIG_DEPTH, "%s unread for 2.5 s, then answered", tp);
	link_port_close(p);
	atomic_store(&s.stop, true);
	link_wake(s.port);
	pthread_join(s.thread, NULL);
	link_port_close(s.port);
	VEC_FREE(&s.todo);
}

static void
test_unlisten(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	struct rig_server *s = rig_start(&o, tp);
	struct link_port *p = rig_open(&oc);
	struct link_pair *q = link_dial(p, s->addr, NULL, NULL), *late;
	struct link_event ev;
	char why[256] = "";
	uint64_t end = clock_ns() + RIG_LONG_NS;

	OK(rig_until(p, LINK_UP, q, &ev), "%s up", tp);
	link_unlisten(s->port);
	late = link_dial(p, s->addr, NULL, NULL);
	while (why[0] == '\0' && clock_left(end) > 0) {
		link_wait(p, clock_ns() + 1000000);
		link_why(late, why);
	}
	OK(strstr(why, "connect") != NULL && !link_is_up(late),
	    "%s unlisten: nobody comes in (%s)", tp, why);
	OK(rig_send(q, 1, 64) && rig_until(p, LINK_ANS, q, &ev) &&
	    rig_good(&ev, 64), "%s who is in stays in", tp);
	link_port_close(p);
	rig_stop(s);
}

static void
test_messages(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_TOOL, "t");
	struct rig_server *s = rig_start(&o, tp);
	static const size_t size[] = { 0, 1, 5000, 3000000 };
	char *text = mem_zalloc(3000000);
	struct link_port *p;
	struct link_pair *q;
	struct link_event ev;
	struct rng r = { 9, 0 };
	size_t i;

	memset(&oc.me, 0, sizeof(oc.me));
	oc.me.role = LINK_TOOL;		/* knows nothing of the model */
	oc.depth = 0;
	p = rig_open(&oc);
	q = link_dial(p, "shm:/nobody/here", NULL, NULL);
	OK(link_msg(q, LINK_MSG_ASK, "x", 1) == -1, "%s not up: no message",
	    tp);
	link_undial(q);
	q = link_dial(p, s->addr, NULL, NULL);
	OK(rig_until(p, LINK_UP, q, &ev) && link_depth(q) == 0,
	    "%s a tool without a ring", tp);
	for (i = 0; i < 3000000; i++)
		text[i] = (char)('a' + rng_below(&r, 8));
	for (i = 0; i < 4; i++)
		OK(link_msg(q, LINK_MSG_ASK, text, size[i]) == 0 &&
		    rig_until(p, LINK_MSG, q, &ev) &&
		    ev.type == LINK_MSG_REPLY && ev.n == size[i] &&
		    memcmp(ev.data, text, ev.n) == 0,
		    "%s message of %zu bytes there and back", tp, size[i]);
	OK(link_msg(q, LINK_MSG_ASK, text, LINK_MSG_MAX + 1) == -1,
	    "%s too long", tp);
	link_port_close(p);
	rig_stop(s);
	mem_free(text);
}

/* ---- nothing leaks ------------------------------------------------------------------- */

static int
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int
count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, "moe-ring") != NULL;
	fclose(f);
	return n;
}

static void
test_leak(const char *tp, int cycles)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"),
	    oc = rig_opt(LINK_FRONT, "f");
	struct rig_server *s;
	struct link_port *p;
	struct link_pair *q;
	struct link_event ev;
	int i, up = 0, fds, fds_after = 0, maps_after = 1;
	uint64_t end;

	o.slot_bytes = 4096;
	s = rig_start(&o, tp);
	p = rig_open(&oc);
	fds = count_fds();
	for (i = 0; i < cycles; i++) {
		q = link_dial(p, s->addr, NULL, NULL);
		up += rig_until(p, LINK_UP, q, &ev);
		link_undial(q);
	}
	EQ_INT(up, cycles, "%s %d times up", tp, cycles);
	/* The other side closes in its own time. */
	end = clock_ns() + RIG_LONG_NS;
	while ((fds_after != fds || maps_after != 0) && clock_left(end) > 0) {
		link_wait(p, clock_ns() + 1000000);
		fds_after = count_fds();
		maps_after = count_maps();
	}
	EQ_INT(fds_after, fds, "%s no descriptor is left", tp);
	EQ_INT(maps_after, 0, "%s no mapping is left", tp);
	link_port_close(p);
	rig_stop(s);
}

/* ---- addresses ------------------------------------------------------------------------- */

static void
test_path(void)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct link_port *a = rig_open(&o), *b = rig_open(&o);
	struct err err = ERR_INIT;
	char addr[LINK_ADDR], path[LINK_ADDR];
	struct stat st;
	FILE *f;

	rig_listen(a, "shm:", addr);
	OK(link_listen(b, addr, NULL, &err) == -1 && err.code == ERR_TEMP &&
	    strstr(err.text, "another server") != NULL,
	    "a live server's path is left alone");
	link_port_close(a);
	OK(stat(addr + 4, &st) != 0, "a closed port leaves no socket");
	snprintf(path, sizeof(path), "%s", addr + 4);
	f = fopen(path, "w");
	fclose(f);
	OK(link_listen(b, addr, NULL, &err) == -1 && stat(path, &st) == 0,
	    "a file at the path is left alone");
	unlink(path);
	link_port_close(b);
}

static void
test_addr(void)
{
	static const struct {
		const char *addr;
		int code;
	} t[] = {
		{ "shm:/tmp/x", 0 }, { "tcp:localhost:80", 0 },
		{ "tcp:[::1]:80", 0 }, { "tcp:h:65536", ERR_USAGE },
		{ "tcp:::1:80", ERR_USAGE }, { "tcp:h", ERR_USAGE },
		{ "tcp:[[x]:1", ERR_USAGE }, { "shm:/a\001b", ERR_USAGE },
		{ "tcp::5", ERR_USAGE }, { "tcp:[::1:80", ERR_USAGE },
		{ "shm:", ERR_USAGE }, { "udp:h:1", ERR_USAGE },
		{ "", ERR_USAGE }, { "rdma:h:1", ERR_UNAVAIL },
		{ "cuda:/x", ERR_UNAVAIL }, { "nccl:h:1", ERR_UNAVAIL },
		{ "fault:drop=1:shm:/x", 0 },
		{ "fault:drop=1:rdma:h:1", ERR_UNAVAIL },
		{ "fault:drop=1:fault:drop=1:shm:/x", ERR_USAGE },
		{ "fault::shm:/x", ERR_USAGE }, { "fault:x", ERR_USAGE },
		{ "fault:a:fault:b:shm:/x", ERR_USAGE },
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct err err = ERR_INIT;
		int rc = link_addr_check(t[i].addr, &err);

		OK((rc == 0) == (t[i].code == 0) && err.code == t[i].code,
		    "address '%s': %d %s", t[i].addr, err.code, err.text);
	}
}

static void
test_watch(void)
{
	struct link_opt o = rig_opt(LINK_FRONT, "f");
	struct link_port *p = rig_open(&o);
	uint64_t t = clock_ns();
	int fd[2];

	if (pipe(fd) != 0)
		exit(1);
	OK(link_watch(p, fd[0], NULL) == 0, "watching a pipe");
	OK(write(fd[1], "x", 1) == 1, "written");
	link_wait(p, t + RIG_LONG_NS);
	OK(clock_ns() - t < RIG_LONG_NS / 2, "link_wait woke for it");
	link_unwatch(p, fd[0]);
	link_wake(p);
	link_wait(p, t + RIG_LONG_NS);
	OK(clock_ns() - t < RIG_LONG_NS / 2, "link_wake wakes it");
	close(fd[0]);
	close(fd[1]);
	link_port_close(p);
}

int
main(int argc, char **argv)
{
	int cycles = argc > 1 ? atoi(argv[1]) : 1000;
	size_t t, i;

	rig_enter();
	for (t = 0; t < 2; t++)
		for (i = 0; i < 4; i++)
			test_processes(transports[t], shapes[i]);
	for (t = 0; t < 2; t++) {
		for (i = 0; i < 4; i++)
			test_threads(transports[t], shapes[i]);
		test_slots(transports[t]);
		test_break(transports[t]);
		test_kill(transports[t]);
		test_stop(transports[t]);
		test_busy(transports[t]);
		test_full(transports[t]);
		test_unlisten(transports[t]);
		test_messages(transports[t]);
		test_leak(transports[t], cycles);
	}
	test_path();
	test_addr();
	test_watch();
	OK(rig_leave() == 0, "nothing is left in the folder");
	return tap_done();
}
