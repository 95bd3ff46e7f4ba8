/*
 * moe-expertd asked as a front end asks: answers are right over shm and tcp;
 * bad requests cost their sender the pair and nobody else anything.
 */
#include "expertd_rig.h"

/* ---- tests --------------------------------------------------------------- */

static void
test_answers(const char *addr, const char *policy)
{
	struct daemon d;
	struct front f, g;
	long t0, t1;
	uint64_t end;

	daemon_start(&d, addr, policy);
	OK(daemon_ready(&d), "%s, %s: ready", addr, policy);
	front_open(&f, addr);
	OK(until(&f, is_up), "connected");
	OK(until(&f, has_hold) && hold_count(&f.hold) ==
	    (uint64_t)(cfg->n_layer * cfg->n_expert), "all experts are held");
	ask_many(&f, 80, cfg->n_expert);
	OK(until(&f, is_idle), "all is answered");
	OK(f.n_ok == 80 && f.n_wrong == 0, "%u right, %u wrong", f.n_ok,
	    f.n_wrong);

	front_open(&g, addr);
	OK(until(&g, is_up), "a second front end");
	ask_many(&g, 3, cfg->n_expert);
	front_close(&g);	/* with requests in flight */
	ask_many(&f, 20, cfg->n_expert);
	OK(until(&f, is_idle) && f.n_ok == 100, "its end hurts nobody");

	t0 = daemon_ticks(&d);
	end = clock_ns() + 500000000;
	while (clock_ns() < end)
		link_wait(f.port, end);
	t1 = daemon_ticks(&d);
	OK(t0 >= 0 && t1 - t0 <= 1, "idle: %ld ticks in half a second",
	    t1 - t0);

	ask_many(&f, 4, cfg->n_expert);
	kill(d.pid, SIGTERM);
	OK(until(&f, is_draining), "TERM: told to send no more");
	OK(until(&f, is_idle) && f.n_ok + f.n_status[SLOT_DRAINING] == 104 &&
	    f.n_wrong == 0, "what was sent is answered");
	EQ_INT(daemon_end(&d, 0), 0, "and it ends with 0");
	front_close(&f);
}

/* moe-bench link measures with pings: the rows come back as they are. */
static void
test_ping(const char *addr)
{
	struct daemon d;
	struct front f;

	daemon_start(&d, addr, "--experts 0");
	OK(daemon_ready(&d), "ready");
	front_open(&f, addr);
	until(&f, is_up);
	ping(&f);
	OK(until(&f, has_pong) && is_idle(&f), "a ping comes back");
	EQ_INT(daemon_end(&d, SIGTERM), 0, "ends with 0");
	front_close(&f);
}

static void
one_row(struct front *f)
{
	struct ask *a;
	void *mem;
	int slot;

	a = fill(f, &mem, &slot, cfg->n_expert);
	a->head.layer = 0;
	commit(f, a, mem, slot);
}

/* A request that waits for company keeps the server longer than -t allows. */
static void
test_bound(const char *addr)
{
	struct daemon d;
	struct front f, g;

	daemon_start(&d, addr, "--policy wait --hold 1h -t 200ms");
	OK(daemon_ready(&d), "ready");
	front_open(&f, addr);
	front_open(&g, addr);
	until(&f, is_up);
	until(&g, is_up);
	one_row(&f);
	OK(until(&f, is_idle), "nobody else has sent: answered");
	one_row(&f);
	until(&f, is_idle);
	one_row(&g);
	one_row(&f);
	OK(until(&g, is_idle) && until(&f, is_idle), "both: answered");
	one_row(&g);
	ping(&g);
	OK(until(&g, has_pong) && !is_idle(&g), "alone: it waits");
	EQ_INT(daemon_end(&d, SIGTERM), ERR_TEMP, "one waits when -t runs out");
	front_close(&f);
	front_close(&g);
}

static void
test_not_here(const char *addr)
{
	struct daemon d;
	struct front f;

	daemon_start(&d, addr, "--experts 0-3");
	OK(daemon_ready(&d), "ready with experts 0-3");
	front_open(&f, addr);
	until(&f, is_up);
	until(&f, has_hold);
	OK(hold_has(&f.hold, 0, 3) && !hold_has(&f.hold, 0, 4),
	    "HOLD says which");
	ask_many(&f, 10, 4);
	until(&f, is_idle);
	EQ_INT(f.n_ok, 10, "those are served");
	ask_many(&f, 40, cfg->n_expert);
	OK(until(&f, is_idle) && f.n_status[SLOT_NOT_HERE] > 10 &&
	    f.n_status[SLOT_NOT_HERE] + f.n_ok == 50 && f.up &&
	    f.n_wrong == 0, "others are refused, the pair stays");
	EQ_INT(daemon_end(&d, SIGTERM), 0, "ends with 0");
	front_close(&f);
}

enum break_how { BREAK_ROW, BREAK_EXPERT, BREAK_LAYER, BREAK_DTYPE, BREAKS };

static void
test_bad(const char *addr)
{
	static const char *const name[] = { "row", "expert", "layer", "dtype" };
	struct daemon d;
	struct front f, other;
	struct ask *a;
	void *mem;
	int slot, how;

	daemon_start(&d, addr, "--experts all");
	OK(daemon_ready(&d), "ready");
	front_open(&other, addr);
	until(&other, is_up);
	for (how = 0; how < BREAKS; how++) {
		front_open(&f, addr);
		until(&f, is_up);
		a = fill(&f, &mem, &slot, cfg->n_expert);
		if (how == BREAK_ROW)
			a->route[0].row = a->head.n_row;
		else if (how == BREAK_EXPERT)
			a->route[0].expert = (uint16_t)cfg->n_expert;
		else if (how == BREAK_LAYER)
			a->head.layer = (uint16_t)cfg->n_layer;
		else
			a->head.dtype_in = KERN_F16;
		commit(&f, a, mem, slot);
		OK(until(&f, is_down) && f.n_ok == 0, "bad %s: the pair is "
		    "closed", name[how]);
		OK(until(&f, is_up_again), "and may be made again");
		front_close(&f);
	}
	ask_many(&other, 20, cfg->n_expert);
	OK(until(&other, is_idle) && other.n_ok == 20 && other.n_down == 0,
	    "the other front end noticed nothing");
	EQ_INT(daemon_end(&d, SIGTERM), 0, "ends with 0");
	front_close(&other);
}

/* ---- all of them --------------------------------------------------------- */

/* A TCP port that was free a moment ago. */
static const char *
tcp_addr(void)
{
	static char addr[LINK_ADDR];
	struct link_opt o = { .slot_bytes = SLOT_ALIGN, .depth = 1 };
	struct link_port *p;
	struct err e = ERR_INIT;

	o.me.role = LINK_TOOL;
	if (link_port_open(&p, &o, &e) != 0 ||
	    link_listen(p, "tcp:127.0.0.1:0", addr, &e) != 0) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
	link_port_close(p);
	return addr;
}

int
main(void)
{
	char addr[LINK_ADDR];

	if (!rig_open())
		return 0;
	snprintf(addr, sizeof(addr), "shm:%s/e.sock", dir);
	test_answers(addr, "--policy fifo");
	test_answers(addr, "--policy defrag --lookahead 2 --decay 0.5 --urgent "
	    "1ms");
	test_answers(tcp_addr(), "--policy wait");
	test_ping(addr);
	test_bound(addr);
	test_not_here(addr);
	test_bad(addr);
	rig_close();
	return tap_done();
}
