/*
 * Tests of fault: addresses: every kind of harm, over both transports, against
 * a real server; each request is sent again until its answer is there, and
 * every answer is checked.
 */
#include <fcntl.h>
#include <unistd.h>

#include "link_rig.h"
#include "tap.h"

#define MS		1000000ull
#define DEADLINE_NS	(300 * MS)
#define PATIENT_NS	(1500 * MS)	/* far beyond what heartbeats take */
#define BEAT_NS		(20 * MS)
#define MAX_REQ		200

static const char *const transports[] = { "shm:", "tcp:" };

/* ---- a server that answers in order ---- */

struct server {
	struct link_port *port;
	char addr[LINK_ADDR];
	pthread_t thread;
	_Atomic bool stop;
	_Atomic int with_crc, without;	/* requests */
	struct link_counters k;		/* once stopped */
};

static void *
serve(void *arg)
{
	struct server *s = arg;
	struct link_event ev;

	while (!atomic_load(&s->stop)) {
		while (link_next(s->port, &ev)) {
			if (ev.what != LINK_REQ)
				continue;
			atomic_fetch_add(ev.head.flags & SLOT_CRC_BODY ?
			    &s->with_crc : &s->without, 1);
			rig_answer(&(struct rig_req){ ev.pair, ev.slot,
			    ev.head, ev.mem });
		}
		link_wait(s->port, UINT64_MAX);
	}
	return NULL;
}

static struct server *
start(const char *addr)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct server *s = mem_zalloc(sizeof(*s));

	o.heartbeat_ns = BEAT_NS;
	s->port = rig_open(&o);
	rig_listen(s->port, addr, s->addr);
	pthread_create(&s->thread, NULL, serve, s);
	return s;
}

static void
stop(struct server *s)
{
	atomic_store(&s->stop, true);
	link_wake(s->port);
	pthread_join(s->thread, NULL);
	link_counters(s->port, &s->k);
	link_port_close(s->port);
}

/* ---- a client that does not give up ---- */

struct trial {
	const char *tp, *spec;
	int n;
	uint32_t bytes;
	int window;		/* requests in flight */
	uint64_t deadline_ns;	/* 0: DEADLINE_NS */
};

struct outcome {
	int good, wrong, overtaken, down, missed;
	int silent, cut;	/* downs for that reason */
	uint64_t took_ns, min_ns;	/* all; the shortest round trip */
	struct link_faults f;
	struct link_counters k, server;
	char why[256];		/* the last LINK_DOWN */
};

enum state { TO_SEND = 0, SENT, DONE };

struct client {
	const struct trial *t;
	struct outcome *o;
	struct link_pair *pair;
	enum state state[MAX_REQ];
	uint64_t sent_ns[MAX_REQ];
	int flying, left, last;
};

static void
send_more(struct client *c)
{
	int i;

	for (i = 0; i < c->t->n && c->flying < c->t->window; i++) {
		if (c->state[i] != TO_SEND)
			continue;
		if (!rig_send(c->pair, (uint64_t)i + 1, c->t->bytes))
			return;
		c->state[i] = SENT;
		c->sent_ns[i] = clock_ns();
		c->flying++;
	}
}

static void
take_answer(struct client *c, const struct link_event *ev)
{
	int i = (int)(uintptr_t)ev->user - 1;
	uint64_t rtt = clock_ns() - c->sent_ns[i];

	if (c->state[i] == SENT && rig_good(ev, c->t->bytes)) {
		c->o->good++;
		c->state[i] = DONE;
		c->flying--;
		c->left--;
	} else {
		c->o->wrong++;
	}
	if (rtt < c->o->min_ns)
		c->o->min_ns = rtt;
	c->o->overtaken += i < c->last;
	c->last = i;
	link_release(ev->pair, ev->slot);
}

static void
take_down(struct client *c, const struct link_event *ev)
{
	int i;

	c->o->down++;
	c->o->silent += strstr(ev->reason, "silent") != NULL;
	c->o->cut += strstr(ev->reason, "cut a") != NULL;
	snprintf(c->o->why, sizeof(c->o->why), "%s", ev->reason);
	for (i = 0; i < c->t->n; i++)
		if (c->state[i] == SENT)
			c->state[i] = TO_SEND;
	c->flying = 0;
	c->last = 0;
}

/* Break the pair when a request is too late; the next time to look. */
static uint64_t
check_deadlines(struct client *c)
{
	uint64_t first = UINT64_MAX, now = clock_ns();
	uint64_t most = c->t->deadline_ns ? c->t->deadline_ns : DEADLINE_NS;
	int i;

	for (i = 0; i < c->t->n; i++)
		if (c->state[i] == SENT && c->sent_ns[i] < first)
			first = c->sent_ns[i];
	if (first == UINT64_MAX)
		return now + most;
	if (first + most > now)
		return first + most;
	if (link_is_up(c->pair)) {
		c->o->missed++;
		link_break(c->pair, "too late");
	}
	return now + most;
}

#define FILE_NAME	"./faults"

/* What FILE_NAME is to say after half of the answers; NULL: as before. */
static const char *file_then;

/* Written in place and in one go: nobody sees an empty file between. */
static void
say(const char *text)
{
	int fd = open(FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), n;
	char line[64];

	n = snprintf(line, sizeof(line), "%s\n", text);
	BUG_ON(fd < 0 || write(fd, line, (size_t)n) != n);
	close(fd);
}

static void
run_client(struct client *c, struct link_port *p)
{
	uint64_t start_ns = clock_ns(), end = start_ns + 3 * RIG_LONG_NS;
	struct link_event ev;

	while (c->left > 0 && clock_left(end) > 0) {
		while (c->left > 0 && link_next(p, &ev)) {
			if (ev.what == LINK_ANS)
				take_answer(c, &ev);
			else if (ev.what == LINK_DOWN)
				take_down(c, &ev);
		}
		if (file_then != NULL && c->left == c->t->n / 2)
			say(file_then);
		send_more(c);
		if (c->left > 0)
			link_wait(p, check_deadlines(c));
	}
	c->o->took_ns = clock_ns() - start_ns;
}

static struct outcome
suffer(struct trial t)
{
	struct link_opt opt = rig_opt(LINK_FRONT, "f");
	struct client *c = mem_zalloc(sizeof(*c));
	struct outcome o = { .min_ns = UINT64_MAX };
	struct server *s = start(t.tp);
	struct link_port *p;
	char addr[LINK_ADDR];

	opt.heartbeat_ns = BEAT_NS;
	p = rig_open(&opt);
	snprintf(addr, sizeof(addr), "fault:%s:%.120s", t.spec, s->addr);
	c->t = &t;
	c->o = &o;
	c->left = t.n;
	c->pair = link_dial(p, addr, NULL, NULL);
	BUG_ON(c->pair == NULL);
	run_client(c, p);
	link_faults(c->pair, &o.f);
	link_counters(p, &o.k);
	link_undial(c->pair);
	link_port_close(p);
	stop(s);
	o.server = s->k;
	mem_free(s);
	mem_free(c);
	OK(o.good == t.n && o.wrong == 0, "%s %s: every answer once, and right "
	    "(%d down, %d late)", t.tp, t.spec, o.down, o.missed);
	return o;
}

/* ---- time ---- */

static void
test_time(const char *tp)
{
	struct outcome o;

	o = suffer((struct trial){ tp, "delay=15ms", 10, 4096, 4, 0 });
	OK(o.min_ns >= 30 * MS && o.down == 0, "a delay each way");
	EQ_INT(o.f.delayed, 20, "of every slot");
	o = suffer((struct trial){ tp, "delay=15ms,dir=in", 4, 64, 1, 0 });
	OK(o.min_ns >= 15 * MS && o.f.delayed == 4, "one way only");
	o = suffer((struct trial){ tp, "jitter=5ms", 40, 4096, 4, 0 });
	/* Shared memory is looked at slot by slot, in no order. */
	OK((o.overtaken == 0 || strcmp(tp, "shm:") == 0) && o.down == 0,
	    "jitter keeps the order");
	o = suffer((struct trial){ tp, "throttle=4M", 4, 65536, 4, 0 });
	OK(o.took_ns >= 4 * 65536 * 1000ull / 4200, "throttled to 4 MB/s: %llu "
	    "ms", (unsigned long long)(o.took_ns / MS));
	o = suffer((struct trial){ tp, "delay=400ms,dir=in,until=500ms", 8,
	    4096, 2, 0 });
	OK(o.missed > 0, "what comes after the deadline is never taken");
}

/* ---- loss ---- */

static void
test_loss(const char *tp)
{
	struct outcome o;

	o = suffer((struct trial){ tp, "drop=0.02,dir=out,seed=3", 200, 4096,
	    4, 0 });
	OK(o.f.dropped > 0 && o.down > 0, "requests were dropped");
	o = suffer((struct trial){ tp, "drop=0.02,dir=in,seed=3", 200, 4096,
	    4, 0 });
	OK(o.f.dropped > 0 && o.missed > 0, "answers were dropped");
	o = suffer((struct trial){ tp, "cut=30", 100, 4096, 4, 0 });
	OK(o.f.cut >= 6 && o.down == (int)o.f.cut, "cut every 30 slots: %d",
	    o.down);
	/* The peer's goodbye may win the race, now and then. */
	OK(o.cut > 0, "%d say why; the last: %s", o.cut, o.why);
	o = suffer((struct trial){ tp, "cut-at=30ms,delay=1ms,until=100ms",
	    100, 64, 1, 0 });
	OK(o.down > 0 && o.down < 4 && o.cut > 0, "cut at an age: %d, %s",
	    o.down, o.why);
	/*
	 * Silent from the first slot on: nothing can be over before.  A port
	 * that got no processor for a while forgives its peers as much
	 * silence, so the window is many times what that takes.
	 */
	o = suffer((struct trial){ tp, "half-open=out,until=600ms", 100, 64,
	    2, PATIENT_NS });
	/* Slots lost at the window's very end are the deadline's. */
	OK(o.f.silenced > 0 && o.down > o.missed, "the way out was silent, "
	    "heartbeats, too: the server hung up %d times", o.down);
	o = suffer((struct trial){ tp, "half-open=in,until=600ms", 100, 64,
	    2, PATIENT_NS });
	OK(o.f.silenced > 0 && o.silent > 0, "the way in was silent, "
	    "heartbeats, too: the client hung up %d times", o.silent);
}

/* ---- corruption ---- */

/* One in flight, so that each spoilt slot is one closed pair. */
static void
test_corrupt(const char *tp)
{
	static const char *const part[] = { "header", "routes", "payload" };
	struct outcome o;
	char spec[64];
	int i;

	for (i = 0; i < 3; i++) {
		snprintf(spec, sizeof(spec), "corrupt-%s=0.1,dir=out", part[i]);
		o = suffer((struct trial){ tp, spec, 100, 4096, 1, 0 });
		OK(o.f.corrupted > 0, "%llu spoilt",
		    (unsigned long long)o.f.corrupted);
		EQ_INT(o.server.bad, o.f.corrupted, "the server saw each");
		EQ_INT(o.down, o.f.corrupted, "and closed the pair");
		snprintf(spec, sizeof(spec), "corrupt-%s=0.1,dir=in", part[i]);
		o = suffer((struct trial){ tp, spec, 100, 4096, 1, 0 });
		OK(i == 1 || o.f.corrupted > 0, "%llu spoilt; answers have no "
		    "routes", (unsigned long long)o.f.corrupted);
		EQ_INT(o.k.bad, o.f.corrupted, "the client saw each");
	}
	o = suffer((struct trial){ tp, "corrupt-header=0.03,corrupt-routes=0.03,"
	    "corrupt-payload=0.03", 200, 20000, 4, 0 });
	OK(o.down > 0, "all at once");
}

/* ---- order and copies ---- */

static void
test_order(const char *tp)
{
	bool tcp = strcmp(tp, "tcp:") == 0;
	struct outcome o;

	o = suffer((struct trial){ tp, "reorder=0.2", 100, 4096, 4, 0 });
	OK(o.f.reordered > 0 && o.overtaken > 0 && o.down == 0,
	    "%d answers overtaken", o.overtaken);
	o = suffer((struct trial){ tp, "reorder=1", 3, 64, 1, 0 });
	OK(o.min_ns >= 20 * MS, "nothing overtakes: held for 20 ms");
	o = suffer((struct trial){ tp, "duplicate=0.1,dir=out", 200, 4096, 1, 0 });
	OK(o.f.duplicated > 0, "%llu requests came twice",
	    (unsigned long long)o.f.duplicated);
	EQ_INT(o.server.bad > 0, tcp, "over tcp: that breaks the protocol, in "
	    "shared memory it is nothing new");
	o = suffer((struct trial){ tp, "duplicate=0.05,dir=in", 200, 4096, 4, 0 });
	OK(o.f.duplicated > 0 && o.k.bad > 0 &&
	    strstr(o.why, "seq") != NULL, "%llu answers came twice: %s",
	    (unsigned long long)o.f.duplicated, o.why);
}

/* ---- the same again ---- */

static void
test_seed(const char *tp)
{
	static const char *const spec[] = {
		"drop=0.01,corrupt-payload=0.02,cut=50,seed=7",
		"drop=0.01,corrupt-payload=0.02,cut=50,seed=7",
		"drop=0.01,corrupt-payload=0.02,cut=50,seed=8",
	};
	struct link_faults f[3];
	int i;

	for (i = 0; i < 3; i++)
		f[i] = suffer((struct trial){ tp, spec[i], 200, 4096, 1, 0 }).f;
	OK(f[0].dropped > 0 && f[0].corrupted > 0 && f[0].cut > 0,
	    "all three happened");
	OK(memcmp(&f[0], &f[1], sizeof(f[0])) == 0, "the same seed: the same "
	    "harm");
	OK(memcmp(&f[0], &f[2], sizeof(f[0])) != 0, "another seed: another");
}

/* ---- checksums of bodies ---- */

static void
test_crc(const char *wrap, const char *tp, bool asked, bool want)
{
	struct link_opt o = rig_opt(LINK_FRONT, "f");
	struct server *s = start(tp);
	struct link_port *p;
	struct link_pair *q;
	struct link_event ev;
	char addr[LINK_ADDR];

	o.crc = asked;
	p = rig_open(&o);
	snprintf(addr, sizeof(addr), "%s%.120s", wrap, s->addr);
	q = link_dial(p, addr, NULL, NULL);
	OK(q != NULL && rig_until(p, LINK_UP, q, &ev) && rig_send(q, 1, 64) &&
	    rig_until(p, LINK_ANS, q, &ev), "%s%s answers", wrap, tp);
	EQ_INT((ev.head.flags & SLOT_CRC_BODY) != 0, want, "%s%s%s: is the "
	    "answer's body checked?", wrap, tp, asked ? ", asked for" : "");
	EQ_INT(atomic_load(&s->with_crc), want, "and the request's?");
	link_port_close(p);
	stop(s);
	mem_free(s);
}

/* ---- the specification ---- */

static void
test_spec(void)
{
	static const struct {
		const char *spec, *says;	/* NULL: fine */
	} t[] = {
		{ "delay=5ms,jitter=2ms,drop=0.01,seed=7,after=2s,until=10s",
		    NULL },
		{ "delay=0ms", NULL }, { "half-open=in", NULL },
		{ "@/tmp/some-file", NULL },
		{ "@", "a file name of 0 bytes" },
		{ "throttle=1.5M,dir=out,duplicate=1", NULL },
		{ "delay", "'delay' has no value" },
		{ "dealy=5ms", "no such key 'dealy'" },
		{ "delay=5q", "delay=5q" }, { "delay=", "delay=" },
		{ "drop=1.1", "drop=1.1, want 0 to 1" },
		{ "drop=-1", "drop=-1" }, { "drop=nan", "drop=nan" },
		{ "drop=0.1,drop=0.2", "drop is there twice" },
		{ "drop=0.1,,delay=1s", "a part of 0 bytes" },
		{ "drop=0.1,", "a part of 0 bytes" },
		{ "half-open=both", "half-open=both, want out or in" },
		{ "dir=up", "dir=up, want out, in or both" },
		{ "cut=0", "cut=0" }, { "throttle=0", "throttle=0" },
		{ "seed=-1", "seed=-1" }, { "until=0s", "until=0s" },
		{ "after=2s,until=1s", "until is not later than after" },
	};
	struct err err;
	char addr[LINK_ADDR];
	size_t i;
	int rc;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(addr, sizeof(addr), "fault:%s:shm:/x", t[i].spec);
		err = (struct err)ERR_INIT;
		rc = link_addr_check(addr, &err);
		OK(t[i].says == NULL ? rc == 0 : rc != 0 &&
		    err.code == ERR_USAGE && strstr(err.text, t[i].says) != NULL,
		    "%s: %s", t[i].spec, err.text);
	}
}

/* fault:@FILE: the text may change while the pair works. */
static void
test_file(const char *tp)
{
	const char *spec = "@" FILE_NAME;
	struct link_opt opt = rig_opt(LINK_FRONT, "f");
	struct err err = ERR_INIT;
	struct link_port *p;
	struct outcome o;

	/* So slow that the run outlasts the next look at the file. */
	say("delay=1ms");
	file_then = "delay=15ms";
	o = suffer((struct trial){ tp, spec, 40, 64, 1, 0 });
	OK(o.min_ns < 15 * MS && o.took_ns > 300 * MS, "%s: longer delays "
	    "from the middle on: %d ms in all", tp, (int)(o.took_ns / MS));
	file_then = "no such word";
	o = suffer((struct trial){ tp, spec, 40, 64, 1, 0 });
	OK(o.f.delayed == 80, "a text that makes no sense changes nothing");
	say("delay=15ms");
	file_then = "";
	o = suffer((struct trial){ tp, spec, 40, 64, 1, 0 });
	OK(o.f.delayed >= 40 && o.f.delayed < 80, "an empty one heals: %d "
	    "slots", (int)o.f.delayed);
	say("delay=1ms");
	file_then = "cut=1,until=100ms";
	o = suffer((struct trial){ tp, spec, 200, 64, 1, 0 });
	OK(o.f.cut >= 1 && o.down >= 1, "cuts that end: %d", (int)o.f.cut);
	file_then = NULL;
	BUG_ON(remove(FILE_NAME) != 0);
	p = rig_open(&opt);
	OK(link_dial(p, "fault:@" FILE_NAME ":shm:/x", NULL, &err) == NULL &&
	    err.code == ERR_USAGE && strstr(err.text, FILE_NAME) != NULL,
	    "no such file: %s", err.text);
	link_port_close(p);
}

static void
test_listen(void)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e");
	struct link_port *p = rig_open(&o);
	char bound[LINK_ADDR];

	OK(link_listen(p, "fault:drop=1:tcp:127.0.0.1:0", bound, NULL) == 0 &&
	    strncmp(bound, "tcp:127.0.0.1:", 14) == 0, "a server listens on "
	    "the address within: %s", bound);
	link_port_close(p);
}

int
main(void)
{
	int t;

	rig_enter();
	test_spec();
	test_listen();
	for (t = 0; t < 2; t++) {
		test_time(transports[t]);
		test_loss(transports[t]);
		test_corrupt(transports[t]);
		test_order(transports[t]);
		test_seed(transports[t]);
		test_file(transports[t]);
	}
	test_crc("", "shm:", false, false);
	test_crc("", "shm:", true, true);
	test_crc("", "tcp:", false, true);
	test_crc("fault:seed=1:", "shm:", false, true);
	OK(rig_leave() == 0, "nothing is left in the folder");
	return tap_done();
}
