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
#include "../../src/moe-bench/bench_sim_event.c"
#include "../../src/moe-bench/bench_sim_place.c"
#define begin load_begin
#include "../../src/moe-bench/bench_sim_load.c"
#undef begin
#include "../../src/moe-bench/bench_sim_barrier.c"
#undef BF16
#include "../../src/moe-bench/bench_sim_queue.c"
#undef BF16
#include "../../src/moe-bench/bench_sim_async.c"

static bench_gen_list lengths;
static struct skew *skew[SIM_EPOCHS];
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

/* What a placement makes of loads: every expert somewhere, devices even. */
static void
test_place(void)
{
	struct sim_opt o = base();
	double sum[3] = { 0 }, n[3] = { 0 };
	int l, e, d;

	o.experts = 3;
	o.place = SIM_PLACE_TURN;
	sim_open(&sim, &o, skew, &lengths);
	for (l = 0; l < 4; l++)
		for (e = 0; e < 8; e++)
			n[sim_place(&sim, &sim.seq.p[0], 5, l, e)]++;
	OK(n[0] == 11 && n[1] == 11 && n[2] == 10, "turn: 32 pairs on 3");
	sim_close(&sim);
	o.place = SIM_PLACE_LOAD;
	sim_open(&sim, &o, skew, &lengths);
	for (l = 0; l < 4; l++)
		for (e = 0; e < 8; e++) {
			d = sim_place(&sim, &sim.seq.p[0], 5, l, e);
			sum[d] += skew_share(skew[0], l, e);
		}
	OK(fmax(sum[0], fmax(sum[1], sum[2])) < 1.05 * 4 / 3, "load: a third "
	    "each of all layers: %g %g %g", sum[0], sum[1], sum[2]);
	sim_close(&sim);
}

/* Copies that were placed for what was do less than those for what is. */
static void
test_drift(void)
{
	struct sim_opt o = base();
	struct sim_result still, late;

	o.mode = SIM_BARRIER;
	o.experts = o.attn = 4;
	o.running = 400;
	o.spare = 8;
	o.dev.flop_s = 1e10;
	still = run(&o);
	o.drift_us = still.itl_us * 4;
	o.rebalance_us = still.itl_us * 4;
	late = run(&o);
	OK(still.uneven < 1.15 && late.uneven > still.uneven + 0.1,
	    "uneven %g, with drift %g", still.uneven, late.uneven);
}

/* Bytes by hand: 8 rows of 4 devices, 2 each, 64 values. */
static void
test_gather(void)
{
	struct sim_opt o = base();
	struct sim_result r;

	o.mode = SIM_BARRIER;
	o.experts = o.attn = 4;
	o.coll = SIM_COLL_GATHER;
	o.dev.attn_us = 10;
	o.dev.link_byte_s = 1e6;
	r = run(&o);
	OK(near(r.itl_us, 4 * (10 + 3 * 3 * 2 * 64 * 2)), "all rows to all, and "
	    "twice so for the sums: %g us", r.itl_us);
}

/* Two parts in turns; what stays on a device travels in no time. */
static void
test_colocate(void)
{
	struct sim_opt o = base();
	struct sim_result r;

	o.dev.attn_us = 100;
	o.dev.expert_us = 50;
	o.dev.link_us = 10;
	o.colocate = true;
	r = run(&o);
	OK(near(r.itl_us, 4 * 150), "one device: %g us", r.itl_us);
	OK(near(r.attn_busy + r.expert_busy, 1), "never idle");
	o.groups = 2;
	r = run(&o);
	OK(near(r.itl_us, 4 * 300), "two groups take turns: %g us", r.itl_us);
}

/* A request at a time: alone it takes what a token takes. */
static void
test_open(void)
{
	struct sim_opt o = base();
	struct sim_result r;
	int g, m;

	o.running = 0;
	o.rate = 1;
	o.warm_us = 1e6;
	o.measure_us = 2e8;
	o.dev.attn_us = 20;
	o.dev.expert_us = 10;
	o.dev.link_us = 5;
	o.dev.collective_us = 5;
	for (m = 0; m < 2; m++)
		for (g = 0; g < 3; g++) {
			o.mode = m == 0 ? SIM_ASYNC : SIM_BARRIER;
			o.groups = g;
			r = run(&o);
			OK(near(r.itl_us, 160) || (m == 0 && r.itl_us < 170),
			    "mode %d, %d groups: %g us", m, g, r.itl_us);
			OK(fabs(r.tok_s - 7) < 1, "a request of 7 tokens a "
			    "second: %g", r.tok_s);
			OK(r.alive <= 3, "they leave");
		}
}

/* One prompt at a time, free: chunks follow each other through the layers. */
static void
test_prompts(void)
{
	struct sim_opt o = base();
	struct sim_result r;

	o.groups = SIM_FREE;
	o.running = 0;
	o.rate = 1;
	o.warm_us = 1e5;
	o.measure_us = 1e7;
	o.slo_us = 1e6;
	o.prompts = true;
	o.chunk = o.prompt_rows = 64;
	o.dev.attn_us = 20;
	o.dev.expert_us = 10;
	r = run(&o);
	/* 4 layers of 20 + 10, and the next pass begins with the logits. */
	OK(near(r.ttft_us, 4 * 30 + 20), "one chunk: %g us", r.ttft_us);
	OK(r.in_time == 1 && r.prompt_s > 7 && r.prompt_s < 30,
	    "a prompt of 15 a second: %g", r.prompt_s);
	o.chunk = 1;
	o.slo_us = 100;
	r = run(&o);
	/* A row each, 10 to 20: attention of all of them in turn. */
	OK(r.ttft_us > 200 && r.ttft_us < 4 * 20 * 22 && r.in_time == 0,
	    "single rows: %g us", r.ttft_us);
}

static void
test_prompts_barrier(void)
{
	struct sim_opt o = base();
	struct sim_result r;

	o.mode = SIM_BARRIER;
	o.running = 0;
	o.rate = 1;
	o.warm_us = 1e5;
	o.measure_us = 1e7;
	o.slo_us = 1e6;
	o.prompts = true;
	o.prompt_rows = 64;
	o.dev.attn_us = 20;
	o.dev.expert_us = 10;
	r = run(&o);
	OK(near(r.ttft_us, 4 * 30), "a step: %g us", r.ttft_us);
	o.prompt_rows = 5;
	r = run(&o);
	OK(r.ttft_us > 2 * 120 && r.ttft_us < 4 * 120, "10 to 20 rows, 5 a "
	    "step: %g us", r.ttft_us);
}

/* Each epoch a shuffle of its own. */
static int
open_skew(struct skew **s, struct err *e)
{
	int i, rc = 0;

	for (i = 0; rc == 0 && i < SIM_EPOCHS; i++)
		rc = skew_open(&s[i], "exp", 4, 8, (uint64_t)i, e);
	return rc;
}

int
main(void)
{
	struct bench_gen_opt g = { .cv = 1, .lengths = "10-20,5-9", .n = 100,
	    .rate = 1 };
	struct err e = ERR_INIT;
	int i;

	if (!OK(bench_gen(&g, &lengths, &e) == 0 &&
	    open_skew(skew, &e) == 0, "inputs"))
		return tap_done();
	test_by_hand();
	test_policies();
	test_spare();
	test_place();
	test_drift();
	test_gather();
	test_colocate();
	test_open();
	test_prompts();
	test_prompts_barrier();
	for (i = 0; i < SIM_EPOCHS; i++)
		skew_close(skew[i]);
	VEC_FREE(&lengths);
	return tap_done();
}
