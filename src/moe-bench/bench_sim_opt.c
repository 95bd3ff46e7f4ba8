/* bench_sim_opt - the command line of `moe-bench sim`. */
#include <string.h>

#include "bench_sim.h"
#include "cli.h"
#include "device.h"
#include "num.h"

struct table {
	VEC(struct cli_opt) v;
};

static void
append(struct table *t, const struct cli_opt *opt, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		VEC_PUSH(&t->v, opt[i]);
}

static void
cluster_options(struct sim_args *a, struct table *t)
{
	const struct cli_opt opt[] = {
	{ 0, "mode", CLI_ENUM, &a->o.mode, BENCH_SIM_MODES,
	    "who waits for whom (default async)", 0, 0, NULL },
	{ 0, "device", CLI_STR, &a->device, "NAME",
	    "of all (default a100-80)", 0, 0, NULL },
	{ 0, "attn", CLI_INT, &a->attn, "N",
	    "async: attention devices (default 4)", 1, 1024, NULL },
	{ 0, "experts", CLI_INT, &a->experts, "N",
	    "devices with experts (default 4)", 1, 1024, NULL },
	{ 0, "colocate", CLI_FLAG, &a->o.colocate, NULL,
	    "async: all devices have attention and experts, in turns", 0, 0,
	    NULL },
	{ 0, "place", CLI_ENUM, &a->o.place, BENCH_SIM_PLACES,
	    "where experts are (default mod)", 0, 0, NULL },
	{ 0, "spare", CLI_INT, &a->spare, "N",
	    "places of a layer for copies of hot experts (default 0)", 0,
	    65536, NULL },
	{ 0, "rebalance", CLI_DUR, &a->rebalance_ns, "TIME",
	    "place anew by counts of the last TIME (0s: by true shares, once)",
	    0, 0, NULL },
	{ 0, "micro", CLI_INT, &a->micro, "M",
	    "barrier: microbatches whose layers are joined (default 1)", 1, 16,
	    NULL },
	{ 0, "collective", CLI_ENUM, &a->o.coll, BENCH_SIM_COLLS,
	    "barrier: how rows move (default alltoall)", 0, 0, NULL },
	{ 0, "groups", CLI_STR, &a->groups, "N|free",
	    "async: of an attention device (default free)", 0, 0, NULL },
	{ 0, "policy", CLI_ENUM, &a->policy, POLICY_NAMES,
	    "async: of expert servers (default defrag)", 0, 0, NULL },
	{ 0, "attn-policy", CLI_ENUM, &a->attn_policy, POLICY_NAMES,
	    "async, free: of attention (default defrag)", 0, 0, NULL },
	{ 0, "hold", CLI_DUR, &a->hold_ns, "TIME",
	    "wait, defrag: longest wait for more rows (default 200us)", 0, 0,
	    NULL },
	{ 0, "urgent", CLI_DUR, &a->urgent_ns, "TIME",
	    "mtfs, flfs, defrag: who goes first (default 30ms)", 0, 0, NULL },
	{ 0, "lookahead", CLI_INT, &a->lookahead, "K",
	    "defrag: layers ahead that count (default 3)", 0, 1000, NULL },
	{ 0, "decay", CLI_REAL, &a->o.decay, "D",
	    "defrag: factor of each of them (default 0.8)", 0, 1, NULL },
	};

	append(t, opt, sizeof(opt) / sizeof(opt[0]));
}

static void
load_options(struct sim_args *a, struct table *t)
{
	const struct cli_opt opt[] = {
	{ 0, "shape", CLI_STR, &a->shape, "NAME",
	    "the model (default mixtral-mqa)", 0, 0, NULL },
	{ 0, "layers", CLI_INT, &a->layers, "N",
	    "of it (default: the model's)", 1, 1024, NULL },
	{ 0, "n-expert", CLI_INT, &a->n_expert, "N",
	    "experts of a layer (default: the model's)", 1, 1024, NULL },
	{ 0, "top-k", CLI_INT, &a->top_k, "K",
	    "experts of a token (default: the model's)", 1, SIM_MAX_K, NULL },
	{ 0, "routing", CLI_STR, &a->routing, "SPEC",
	    "as of gen (default exp)", 0, 0, NULL },
	{ 0, "drift", CLI_DUR, &a->drift_ns, "TIME",
	    "shares become others within it, again and again (default 0s: no)",
	    0, 0, NULL },
	{ 0, "drift-to", CLI_STR, &a->drift_to, "SPEC",
	    "every second time those (default: --routing shuffled anew)", 0, 0,
	    NULL },
	{ 0, "lengths", CLI_STR, &a->lengths, "SPEC",
	    "as of gen (default medium)", 0, 0, NULL },
	{ 0, "trace", CLI_STR, &a->trace, "FILE", "as of gen", 0, 0, NULL },
	{ 'r', "running", CLI_STR, &a->running, "LIST",
	    "sequences at a time; with --rate: at first "
	    "(default 64,256,1024)", 0, 0, NULL },
	{ 0, "rate", CLI_REAL, &a->o.rate, "R",
	    "requests a second that come (default 0: as others end)", 0, 1e6,
	    NULL },
	{ 0, "pack", CLI_INT, &a->pack, "N",
	    "sequences of a device before the next is used (default 0: even)",
	    0, 1 << 20, NULL },
	{ 0, "prompts", CLI_FLAG, &a->o.prompts, NULL,
	    "compute them, too, of requests that come", 0, 0, NULL },
	{ 0, "chunk", CLI_INT, &a->chunk, "N",
	    "async: tokens of a prompt that go together (default 512)", 1,
	    65536, NULL },
	{ 0, "prompt-rows", CLI_INT, &a->prompt_rows, "N",
	    "of prompts under way on a device at most (default 2048)", 1,
	    1 << 20, NULL },
	{ 0, "slo", CLI_DUR, &a->slo_ns, "TIME",
	    "within which a first token is in time (default 1s)", 0, 0, NULL },
	{ 0, "passes", CLI_INT, &a->passes, "N",
	    "tokens of a sequence to measure (default 12)", 1, 10000, NULL },
	{ 0, "warm", CLI_DUR, &a->warm_ns, "TIME",
	    "with --rate: before measuring (default 5s)", 0, 0, NULL },
	{ 0, "time", CLI_DUR, &a->time_ns, "TIME",
	    "with --rate: to measure (default 10s)", 0, 0, NULL },
	{ 's', "seed", CLI_INT, &a->seed, "SEED",
	    "of all that is drawn (default 0)", 0, 1e15, NULL },
	{ 0, "seeds", CLI_INT, &a->seeds, "N",
	    "runs, from --seed on: means, 95 % intervals (default 1)", 1, 100,
	    NULL },
	{ 0, "batches", CLI_STR, &a->batches, "FILE",
	    "passes of experts by rows, into it", 0, 0, NULL },
	{ 'j', "json", CLI_FLAG, &a->json, NULL, "NDJSON", 0, 0, NULL },
	{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};

	append(t, opt, sizeof(opt) / sizeof(opt[0]));
}

static int
shape(struct sim_args *a, struct err *err)
{
	struct emu_shape *s = &a->o.shape;

	if (device_shape(a->shape, s, err) != 0)
		return -1;
	if (a->layers > 0)
		s->n_layer = (int)a->layers;
	if (a->n_expert > 0)
		s->n_expert = (int)a->n_expert;
	if (a->top_k > 0)
		s->top_k = (int)a->top_k;
	if (s->top_k > s->n_expert || s->top_k > SIM_MAX_K)
		return err_set(err, ERR_USAGE, "--top-k %d of %d experts",
		    s->top_k, s->n_expert);
	return 0;
}

static void
times(struct sim_args *a)
{
	struct sim_opt *o = &a->o;

	o->hold_us = (double)a->hold_ns / 1000;
	o->urgent_us = (double)a->urgent_ns / 1000;
	o->drift_us = (double)a->drift_ns / 1000;
	o->rebalance_us = (double)a->rebalance_ns / 1000;
	o->warm_us = (double)a->warm_ns / 1000;
	o->measure_us = (double)a->time_ns / 1000;
	o->slo_us = (double)a->slo_ns / 1000;
}

/* What does not go together. */
static int
check(const struct sim_opt *o, struct err *err)
{
	if (o->spare > o->shape.n_expert * (o->experts - 1))
		return err_set(err, ERR_USAGE, "--spare %d: more than a copy "
		    "on each device", o->spare);
	if (o->colocate && (o->mode != SIM_ASYNC || o->attn != o->experts))
		return err_set(err, ERR_USAGE, "--colocate: async, with as "
		    "many devices for attention as for experts");
	if (o->prompts && (o->rate <= 0 || (o->mode == SIM_ASYNC &&
	    o->groups != SIM_FREE)))
		return err_set(err, ERR_USAGE, "--prompts: with --rate, and "
		    "free groups");
	if (o->mode == SIM_DWDP && o->rate > 0)
		return err_set(err, ERR_USAGE, "--rate: not with dwdp");
	if (o->prompts && o->slo_us > o->measure_us)
		return err_set(err, ERR_USAGE, "--slo is longer than --time");
	return 0;
}

static int
settle(struct sim_args *a, struct err *err)
{
	struct sim_opt *o = &a->o;
	int64_t groups = SIM_FREE;

	if (strcmp(a->groups, "free") != 0 && (num_i64(a->groups, &groups) != 0
	    || groups < 1 || groups > 64))
		return err_set(err, ERR_USAGE, "--groups: '%s' is neither free "
		    "nor a number from 1 to 64", a->groups);
	if (device_find(a->device, &o->dev, err) != 0 || shape(a, err) != 0)
		return -1;
	o->experts = (int)a->experts;
	o->attn = o->mode == SIM_ASYNC ? (int)a->attn : o->experts;
	o->groups = (int)groups;
	o->micro = o->mode == SIM_BARRIER ? (int)a->micro : 1;
	o->spare = (int)a->spare;
	o->passes = (int)a->passes;
	o->pack = (int)a->pack;
	o->chunk = (int)a->chunk;
	o->prompt_rows = (int)a->prompt_rows;
	o->policy = policy_at(a->policy);
	o->attn_policy = policy_at(a->attn_policy);
	o->lookahead = (int)a->lookahead;
	times(a);
	return check(o, err);
}

int
sim_args(struct sim_args *a, int argc, char **argv, struct err *err)
{
	struct table t = { { NULL, 0, 0 } };
	int at;

	*a = (struct sim_args){ .o = { .decay = 0.8 }, .device = "a100-80",
	    .shape = "mixtral-mqa", .routing = "exp", .lengths = "medium",
	    .running = "64,256,1024", .groups = "free", .policy = 4,
	    .attn_policy = 4, .attn = 4, .experts = 4, .micro = 1,
	    .passes = 12, .hold_ns = 200000, .urgent_ns = 30000000,
	    .lookahead = 3, .chunk = 512, .prompt_rows = 2048, .seeds = 1,
	    .warm_ns = 5000000000, .time_ns = 10000000000,
	    .slo_ns = 1000000000 };
	cluster_options(a, &t);
	load_options(a, &t);
	at = cli_parse(&(struct cli){ "moe-bench", "sim", "",
	    "Compute what a cluster of emulated devices would do.", t.v.p },
	    argc, argv, err);
	VEC_FREE(&t.v);
	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	return at < 0 ? -1 : settle(a, err);
}
