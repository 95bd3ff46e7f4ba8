/*
 * Fault loops over common/link: a pair is made, carries rows and messages both
 * ways, and is closed, over each transport.  What cannot be opened says why;
 * whatever happens later, the pair comes back and every request is answered.
 */
#include "faults.h"
#include "link_rig.h"

#define BEAT_NS		3000000ull
#define LIMIT_NS	6000000000ull
#define N_REQ		3
#define BYTES		256u

struct run {
	const char *addr;	/* of the server; "shm:": a path of its own */
	bool key;
	int tls;
	const char *via;	/* a fault transport, or "" */
};

struct server {
	struct link_port *port;
	pthread_t thread;
	atomic_bool stop;
};

static struct link_opt
opt_of(const struct run *r, enum link_role role, const char *name)
{
	static const char key[] = "0123456789abcdef0123456789abcdef";
	struct link_opt o = rig_opt(role, name);

	o.slot_bytes = SLOT_ALIGN;
	o.heartbeat_ns = BEAT_NS;
	o.hello_ns = 100 * BEAT_NS;
	if (r->key)
		link_sec_key(&o.sec, key, sizeof(key) - 1);
	o.sec.tls = r->tls;
	return o;
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	struct rig_server q = { .port = s->port, .rng = { 5, 0 } };

	while (!atomic_load(&s->stop)) {
		rig_serve_once(&q);
		link_wait(s->port, clock_ns() + BEAT_NS);
	}
	VEC_FREE(&q.todo);
	return NULL;
}

static int
start_server(struct server *s, const struct run *r, char bound[LINK_ADDR],
    struct err *err)
{
	struct link_opt o = opt_of(r, LINK_EXPERT, "server");
	char addr[LINK_ADDR];
	int rc;

	if (link_port_open(&s->port, &o, err) != 0)
		return -1;
	snprintf(addr, sizeof(addr), "%s", r->addr);
	if (strcmp(addr, "shm:") == 0)
		snprintf(addr, sizeof(addr), "shm:%s/sock", rig_dir);
	if (link_listen(s->port, addr, bound, err) != 0) {
		link_port_close(s->port);
		return -1;
	}
	fault_off = true;	/* this thread is the test's */
	rc = pthread_create(&s->thread, NULL, serve, s);
	fault_off = false;
	if (rc != 0)
		exit(1);
	return 0;
}

static void
stop_server(struct server *s)
{
	atomic_store(&s->stop, true);
	link_wake(s->port);
	pthread_join(s->thread, NULL);
	link_port_close(s->port);
}

/* What has come back so far. */
struct got {
	bool answer[N_REQ + 1], reply;
	int n;
	char down[256];
};

static void
take(struct link_port *p, struct got *g)
{
	struct link_event ev;
	uint64_t id;

	while (link_next(p, &ev)) {
		if (ev.what == LINK_DOWN)
			snprintf(g->down, sizeof(g->down), "%s", ev.reason);
		if (ev.what == LINK_MSG && ev.n == 5 &&
		    memcmp(ev.data, "hello", 5) == 0)
			g->reply = true;
		if (ev.what != LINK_ANS)
			continue;
		id = (uintptr_t)ev.user;
		if (rig_good(&ev, BYTES) && !g->answer[id]) {
			g->answer[id] = true;
			g->n++;
		}
		link_release(ev.pair, ev.slot);
	}
}

/* Ask until all is there; a pair that comes back is asked again. */
static int
talk(struct link_port *p, struct link_pair *pair, struct err *err)
{
	uint64_t end = clock_ns() + LIMIT_NS, epoch = 0, id;
	struct got g = { 0 };

	while (clock_left(end) > 0) {
		take(p, &g);
		if (g.n == N_REQ && g.reply)
			return 0;
		if (link_is_up(pair) && link_epoch(pair) != epoch) {
			epoch = link_epoch(pair);
			for (id = 1; id <= N_REQ; id++)
				if (!g.answer[id])
					(void)rig_send(pair, id, BYTES);
			(void)link_msg(pair, LINK_MSG_ASK, "hello", 5);
		}
		link_wait(p, clock_ns() + BEAT_NS);
	}
	return err_set(err, ERR_BUG, "%d answers of %d, %d replies: %s", g.n,
	    N_REQ, g.reply, g.down);
}

static int
one_run(void *arg, struct err *err)
{
	const struct run *r = arg;
	struct link_opt o = opt_of(r, LINK_FRONT, "client");
	struct server s = { 0 };
	char bound[LINK_ADDR], to[LINK_ADDR + 32];
	struct link_port *p;
	struct link_pair *pair;
	int rc;

	if (start_server(&s, r, bound, err) != 0)
		return -1;
	rc = link_port_open(&p, &o, err);
	if (rc == 0) {
		snprintf(to, sizeof(to), "%s%s", r->via, bound);
		pair = link_dial(p, to, NULL, err);
		rc = pair == NULL ? -1 : talk(p, pair, err);
		link_port_close(p);
	}
	stop_server(&s);
	return rc;
}

int
main(void)
{
	static struct run run[] = {
		{ "shm:", false, LINK_TLS_NO, "" },
		{ "tcp:127.0.0.1:0", false, LINK_TLS_NO, "" },
		{ "tcp:127.0.0.1:0", true, LINK_TLS_YES, "" },
		{ "shm:", true, LINK_TLS_NO, "fault:delay=1ms:" },
	};
	static const char *const name[] = { "shm", "tcp", "tls", "fault" };
	size_t i;

	rig_enter();
	for (i = 0; i < sizeof(run) / sizeof(run[0]); i++) {
		struct fault_try t = { name[i], one_run, &run[i],
		    { "link", "shm:", "127.0.0.1", "tls" }, 40, 30 };

		faults_loop(&t);
	}
	EQ_INT(rig_leave(), 0, "no socket is left");
	return tap_done();
}
