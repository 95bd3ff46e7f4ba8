/* Unit tests of moe-bench sim: against what can be computed by hand, and that
 * its parts agree with each other. */
#include <math.h>
#include <string.h>

#include "tap.h"

#include "../../src/moe-bench/bench_arrival.c"
#define on_arrival gen_on_arrival
#define parse gen_parse
#include "../../src/moe-bench/bench_gen.c"
#undef on_arrival
#undef parse
#undef PROG
#define begin load_begin
#include "../../src/moe-bench/bench_sim_load.c"
#undef begin
#undef BF16
#include "../../src/moe-bench/bench_sim_barrier.c"
#undef BF16
#include "../../src/moe-bench/bench_sim_queue.c"
#undef BF16
#include "../../src/moe-bench/bench_sim_async.c"

static bench_gen_list lengths;
static struct skew *skew;
static struct sim sim;

/* Everything costs nothing but what a test sets. */
static struct sim_opt
base(void)
{
	struct sim_opt o = { .attn = 1, .experts = 1, .groups = 1, .micro = 1,
	    .running = 8, .passes = 6, .policy = policy_find("fifo"),
	    .attn_policy = policy_find("fifo"), .urgent_us = 1e9,
	    .lookahead = 3, .decay = 0.8 };

	o.dev = (struct emu_device){ .flop_s = 1e30, .byte_s = 1e30,
	    .flop_share = 1, .byte_share = 1, .link_byte_s = 1e30 };
	o.shape = (struct emu_shape){ 64, 64, 4, 1, 16, 8, 2, 4, 1000, 0 };
	return o;
}

static struct sim_result
run(const struct sim_opt *o)
{
	struct sim_result r;

	sim_open(&sim, o, skew, &lengths);
	if (o->mode == SIM_ASYNC)
		sim_async(&sim);
	else if (o->mode == SIM_BARRIER)
		sim_barrier(&sim);
	else
		sim_dwdp(&sim);
	sim_result(&sim, &r);
	sim_close(&sim);
	return r;
}

static bool
near(double a, double b)
{
	return fabs(a - b) <= 0.02 * fabs(b);
}

/* 4 layers of 100 us attention, 50 us experts: latency by hand. */
static void
test_by_hand(void)
{
	struct sim_opt o = base();
	struct sim_result r;

	o.passes = 60;
	o.dev.attn_us = 100;
	o.dev.expert_us = 50;
	o.dev.link_us = 10;
	o.dev.collective_us = 20;
	r = run(&o);
	OK(near(r.itl_us, 4 * (100 + 10 + 50 + 10)), "one group: all in turn: "
	    "%g us", r.itl_us);
	OK(near(r.tok_s, 8 / (680e-6)), "8 sequences in that time: %g/s",
	    r.tok_s);
	OK(near(r.attn_busy, 400.0 / 680) && near(r.expert_busy, 200.0 / 680),
	    "idle shares");
	o.groups = 2;
	r = run(&o);
	OK(near(r.itl_us, 4 * 200), "two groups: attention is never idle: "
	    "%g us", r.itl_us);
	o.mode = SIM_BARRIER;
	o.groups = 1;
	r = run(&o);
	OK(near(r.itl_us, 4 * (100 + 20 + 50 + 20)), "barrier: %g us",
	    r.itl_us);
	o.micro = 2;
	r = run(&o);
	OK(near(r.itl_us, 4 * (200 + 50)), "two microbatches: joined experts, "
	    "hidden collectives: %g us", r.itl_us);
	o.micro = 1;
	o.mode = SIM_DWDP;
	r = run(&o);
	OK(near(r.itl_us, 4 * 150), "dwdp: no meeting: %g us", r.itl_us);
}

/* Every sequence goes on, under every policy, and batches add up. */
static void
test_policies(void)
{
	struct sim_opt o = base();
	struct sim_result r, again;
	int i, g;

	o.attn = 2;
	o.experts = 3;
	o.running = 50;
	o.dev.attn_us = 30;
	o.dev.expert_us = 30;
	o.dev.link_us = 5;
	o.hold_us = 40;
	for (i = 0; i < POLICY_N; i++)
		for (g = 0; g < 3; g++) {
			o.policy = policy_at(i);
			o.groups = g;
			r = run(&o);
			again = run(&o);
			OK(sim.tokens >= 300 && r.tok_s > 0 &&
			    memcmp(&r, &again, sizeof(r)) == 0,
			    "%s, %d groups: ends, the same twice",
			    o.policy->name, g);
			OK(r.attn_busy <= 1.01 && r.expert_busy <= 1.01 &&
			    sim.rows.min >= 1, "busy %g %g, rows from %llu",
			    r.attn_busy, r.expert_busy,
			    (unsigned long long)sim.rows.min);
		}
}

/* Copies of hot experts make the slowest device faster, never slower. */
static void
test_spare(void)
{
	struct sim_opt o = base();
	struct sim_result plain, even;

	o.mode = SIM_BARRIER;
	o.experts = o.attn = 4;
	o.running = 400;
	o.dev.flop_s = 1e10;
	plain = run(&o);
	o.spare = 8;
	even = run(&o);
	OK(even.tok_s > plain.tok_s * 1.1, "%g tokens/s with copies, %g "
	    "without", even.tok_s, plain.tok_s);
}

int
main(void)
{
	struct bench_gen_opt g = { .cv = 1, .lengths = "10-20,5-9", .n = 100 };
	struct err e = ERR_INIT;

	if (!OK(bench_gen(&g, &lengths, &e) == 0 &&
	    skew_open(&skew, "exp", 4, 8, 0, &e) == 0, "inputs"))
		return tap_done();
	test_by_hand();
	test_policies();
	test_spare();
	skew_close(skew);
	VEC_FREE(&lengths);
	return tap_done();
}
