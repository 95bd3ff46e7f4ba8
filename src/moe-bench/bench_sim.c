/* bench_sim - `moe-bench sim`: options in, a record for each load out. */
#include "bench_sim.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "device.h"
#include "num.h"
#include "rec.h"

#define PROG	"moe-bench sim"

struct opts {
	struct sim_opt o;
	const char *device, *shape, *routing, *lengths, *running, *groups;
	int policy, attn_policy;
	int64_t attn, experts, micro, spare, passes, top_k, n_expert, seed,
	    lookahead;
	uint64_t hold_ns, urgent_ns;
	bool json;
};

enum { C_MODE, C_POLICY, C_GROUPS, C_ATTN, C_EXPERTS, C_RUNNING, C_TOK_S,
    C_ITL, C_P50, C_P99, C_ATTN_BUSY, C_EXPERT_BUSY, C_ROWS, C_R10, C_R50,
    C_R90, C_N };
static const struct rec_col col[] = {
	[C_MODE] = { "mode", REC_STR, 0 },
	[C_POLICY] = { "policy", REC_STR, 0 },
	[C_GROUPS] = { "groups", REC_STR, 0 },
	[C_ATTN] = { "attn", REC_INT, 0 },
	[C_EXPERTS] = { "experts", REC_INT, 0 },
	[C_RUNNING] = { "running", REC_INT, 0 },
	[C_TOK_S] = { "tok_s", REC_REAL, 0 },
	[C_ITL] = { "itl_ms", REC_REAL, 0 },
	[C_P50] = { "itl_p50_ms", REC_REAL, 0 },
	[C_P99] = { "itl_p99_ms", REC_REAL, 0 },
	[C_ATTN_BUSY] = { "attn_busy", REC_REAL, 0 },
	[C_EXPERT_BUSY] = { "expert_busy", REC_REAL, 0 },
	[C_ROWS] = { "rows_mean", REC_REAL, 0 },
	[C_R10] = { "rows_p10", REC_INT, 0 },
	[C_R50] = { "rows_p50", REC_INT, 0 },
	[C_R90] = { "rows_p90", REC_INT, 0 },
	[C_N] = { NULL, 0, 0 },
};

static int
parse(struct opts *o, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 0, "mode", CLI_ENUM, &o->o.mode, BENCH_SIM_MODES,
		    "who waits for whom (default async)", 0, 0, NULL },
		{ 0, "device", CLI_STR, &o->device, "NAME",
		    "of all (default a100-80)", 0, 0, NULL },
		{ 0, "shape", CLI_STR, &o->shape, "NAME",
		    "the model (default mixtral-mqa)", 0, 0, NULL },
		{ 0, "top-k", CLI_INT, &o->top_k, "K",
		    "experts of a token (default: the model's)", 1, SIM_MAX_K,
		    NULL },
		{ 0, "routing", CLI_STR, &o->routing, "SPEC",
		    "as of gen (default exp)", 0, 0, NULL },
		{ 0, "lengths", CLI_STR, &o->lengths, "SPEC",
		    "as of gen (default medium)", 0, 0, NULL },
		{ 0, "attn", CLI_INT, &o->attn, "N",
		    "async: attention devices (default 4)", 1, 1024, NULL },
		{ 0, "experts", CLI_INT, &o->experts, "N",
		    "devices with experts (default 4)", 1, 1024, NULL },
		{ 0, "groups", CLI_STR, &o->groups, "N|free",
		    "async: of an attention device (default free)", 0, 0,
		    NULL },
		{ 0, "policy", CLI_ENUM, &o->policy, POLICY_NAMES,
		    "async: of expert servers (default defrag)", 0, 0, NULL },
		{ 0, "attn-policy", CLI_ENUM, &o->attn_policy, POLICY_NAMES,
		    "async, free: of attention (default defrag)", 0, 0, NULL },
		{ 0, "hold", CLI_DUR, &o->hold_ns, "TIME",
		    "wait, defrag: longest wait for more rows (default 200us)",
		    0, 0, NULL },
		{ 0, "urgent", CLI_DUR, &o->urgent_ns, "TIME",
		    "mtfs, flfs, defrag: who goes first (default 30ms)", 0, 0,
		    NULL },
		{ 0, "lookahead", CLI_INT, &o->lookahead, "K",
		    "defrag: layers ahead that count (default 3)", 0, 1000,
		    NULL },
		{ 0, "decay", CLI_REAL, &o->o.decay, "D",
		    "defrag: factor of each of them (default 0.8)", 0, 1,
		    NULL },
		{ 0, "micro", CLI_INT, &o->micro, "M",
		    "barrier: microbatches whose layers are joined (default 1)",
		    1, 16, NULL },
		{ 0, "spare", CLI_INT, &o->spare, "N",
		    "places of a layer for copies of hot experts (default 0)",
		    0, 65536, NULL },
		{ 'r', "running", CLI_STR, &o->running, "LIST",
		    "sequences at a time (default 64,256,1024)", 0, 0, NULL },
		{ 0, "passes", CLI_INT, &o->passes, "N",
		    "tokens of a sequence to measure (default 12)", 1, 10000,
		    NULL },
		{ 's', "seed", CLI_INT, &o->seed, "SEED",
		    "of all that is drawn (default 0)", 0, 1e15, NULL },
		{ 'j', "json", CLI_FLAG, &o->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "sim", "",
	    "Compute what a cluster of emulated devices would do.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	return at < 0 ? -1 : 0;
}

static int
settle(struct opts *o, struct err *err)
{
	struct sim_opt *s = &o->o;
	int64_t groups = SIM_FREE;

	if (strcmp(o->groups, "free") != 0 && (num_i64(o->groups, &groups) != 0
	    || groups < 1 || groups > 64))
		return err_set(err, ERR_USAGE, "--groups: '%s' is neither free "
		    "nor a number from 1 to 64", o->groups);
	if (device_find(o->device, &s->dev, err) != 0 ||
	    device_shape(o->shape, &s->shape, err) != 0)
		return -1;
	if (o->top_k > 0)
		s->shape.top_k = (int)o->top_k;
	if (s->shape.top_k > s->shape.n_expert || s->shape.top_k > SIM_MAX_K)
		return err_set(err, ERR_USAGE, "--top-k %d of %d experts",
		    s->shape.top_k, s->shape.n_expert);
	s->experts = (int)o->experts;
	s->attn = s->mode == SIM_ASYNC ? (int)o->attn : s->experts;
	s->groups = (int)groups;
	s->micro = s->mode == SIM_BARRIER ? (int)o->micro : 1;
	s->spare = (int)o->spare;
	if (s->spare > s->shape.n_expert * (s->experts - 1))
		return err_set(err, ERR_USAGE, "--spare %d: more than a copy "
		    "on each device", s->spare);
	s->passes = (int)o->passes;
	s->policy = policy_at(o->policy);
	s->attn_policy = policy_at(o->attn_policy);
	s->hold_us = (double)o->hold_ns / 1000;
	s->urgent_us = (double)o->urgent_ns / 1000;
	s->lookahead = (int)o->lookahead;
	s->seed = (uint64_t)o->seed;
	return 0;
}

static int
put(struct rec_out *out, const struct opts *o, const struct sim *s,
    struct err *err)
{
	static const char *const mode[] = { "async", "barrier", "dwdp" };
	bool async = s->o.mode == SIM_ASYNC;
	struct sim_result r;

	sim_result(s, &r);
	rec_put_str(out, mode[s->o.mode]);
	rec_put_str(out, async ? s->o.policy->name : NULL);
	rec_put_str(out, async ? o->groups : NULL);
	rec_put_int(out, async ? s->o.attn : 0);
	rec_put_int(out, s->o.experts);
	rec_put_int(out, s->o.mode == SIM_DWDP ?
	    (int64_t)s->o.running * s->o.experts : s->o.running);
	rec_put_real(out, r.tok_s);
	rec_put_real(out, r.itl_us / 1000);
	rec_put_real(out, (double)hist_quantile(&s->itl, 0.5) / 1000);
	rec_put_real(out, (double)hist_quantile(&s->itl, 0.99) / 1000);
	rec_put_real(out, r.attn_busy);
	rec_put_real(out, r.expert_busy);
	rec_put_real(out, hist_mean(&s->rows));
	rec_put_int(out, (int64_t)hist_quantile(&s->rows, 0.1));
	rec_put_int(out, (int64_t)hist_quantile(&s->rows, 0.5));
	rec_put_int(out, (int64_t)hist_quantile(&s->rows, 0.9));
	return rec_end(out, err);
}

static int
run(struct opts *o, const struct skew *skew, const bench_gen_list *lengths,
    struct err *err)
{
	static void (*const mode[])(struct sim *) = { sim_async, sim_barrier,
	    sim_dwdp };
	char *list = mem_strdup(o->running), *save = NULL, *w;
	struct sim *s = mem_alloc(sizeof(*s));
	struct rec_out out;
	int64_t n;
	int rc = 0;

	rec_out_open(&out, stdout, "sim", 1, col, o->json);
	for (w = strtok_r(list, ",", &save); rc == 0 && w != NULL;
	    w = strtok_r(NULL, ",", &save)) {
		if (num_i64(w, &n) != 0 || n < 1 || n > 1 << 20) {
			rc = err_set(err, ERR_USAGE, "--running: '%s' is not a "
			    "number from 1 to %d", w, 1 << 20);
			break;
		}
		o->o.running = (int)n;
		sim_open(s, &o->o, skew, lengths);
		mode[o->o.mode](s);
		rc = put(&out, o, s, err);
		sim_close(s);
	}
	rec_out_close(&out);
	mem_free(s);
	mem_free(list);
	return rc;
}

int
bench_sim_main(int argc, char **argv)
{
	struct opts o = { .o = { .decay = 0.8 }, .device = "a100-80",
	    .shape = "mixtral-mqa", .routing = "exp", .lengths = "medium",
	    .running = "64,256,1024", .groups = "free", .policy = 4,
	    .attn_policy = 4, .attn = 4, .experts = 4, .micro = 1,
	    .passes = 12, .hold_ns = 200000, .urgent_ns = 30000000,
	    .lookahead = 3 };
	struct bench_gen_opt g = { .cv = 1, .n = 65536 };
	bench_gen_list lengths = { NULL, 0, 0 };
	struct skew *skew = NULL;
	struct err err = ERR_INIT;
	int rc = -1;

	if (parse(&o, argc, argv, &err) == 0 && settle(&o, &err) == 0) {
		g.lengths = o.lengths;
		g.seed = o.o.seed;
		rc = bench_gen(&g, &lengths, &err) == 0 &&
		    skew_open(&skew, o.routing, o.o.shape.n_layer,
		    o.o.shape.n_expert, o.o.seed, &err) == 0 &&
		    run(&o, skew, &lengths, &err) == 0 ? 0 : -1;
	}
	skew_close(skew);
	VEC_FREE(&lengths);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
