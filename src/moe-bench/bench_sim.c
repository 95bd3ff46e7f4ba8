/* bench_sim - `moe-bench sim`: options in, a record for each load out. */
#include "bench_sim.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "num.h"
#include "rec.h"

#define PROG	"moe-bench sim"

enum { C_MODE, C_POLICY, C_GROUPS, C_ATTN, C_EXPERTS, C_RUNNING, C_TOK_S,
    C_ITL, C_P50, C_P99, C_ATTN_BUSY, C_EXPERT_BUSY, C_ROWS, C_R10, C_R50,
    C_R90, C_SEEDS, C_TOK_CI, C_ITL_CI, C_UNEVEN, C_WAY, C_RATE, C_ALIVE,
    C_PROMPT_S, C_TTFT, C_TTFT99, C_IN_TIME, C_N };
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
	[C_SEEDS] = { "seeds", REC_INT, 0 },
	[C_TOK_CI] = { "tok_s_ci", REC_REAL, 0 },
	[C_ITL_CI] = { "itl_ms_ci", REC_REAL, 0 },
	[C_UNEVEN] = { "uneven", REC_REAL, 0 },
	[C_WAY] = { "way_us", REC_REAL, 0 },
	[C_RATE] = { "rate", REC_REAL, 0 },
	[C_ALIVE] = { "alive", REC_REAL, 0 },
	[C_PROMPT_S] = { "prompt_tok_s", REC_REAL, 0 },
	[C_TTFT] = { "ttft_ms", REC_REAL, 0 },
	[C_TTFT99] = { "ttft_p99_ms", REC_REAL, 0 },
	[C_IN_TIME] = { "in_time", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

enum { B_MODE, B_POLICY, B_RUNNING, B_ROWS, B_PASSES, B_N };
static const struct rec_col batch_col[] = {
	[B_MODE] = { "mode", REC_STR, 0 },
	[B_POLICY] = { "policy", REC_STR, 0 },
	[B_RUNNING] = { "running", REC_INT, 0 },
	[B_ROWS] = { "rows", REC_INT, 0 },
	[B_PASSES] = { "passes", REC_INT, 0 },
	[B_N] = { NULL, 0, 0 },
};

static const char *const mode_name[] = { "async", "barrier", "dwdp" };

struct bench {
	struct sim_args a;
	struct sim *sim;
	struct rec_out out, batches;
	FILE *batch_file;
};

/* Half of a 95 % interval of the mean (Student's t), of n runs. */
static double
half(double sum, double sum2, int n)
{
	static const double t[] = { 0, 12.71, 4.303, 3.182, 2.776, 2.571,
	    2.447, 2.365, 2.306, 2.262 };
	double var;

	if (n < 2)
		return 0;
	var = fmax(0, (sum2 - sum * sum / n) / (n - 1));
	return (n <= 10 ? t[n - 1] : 2) * sqrt(var / n);
}

struct sums {			/* over the seeds */
	double v[SIM_RESULTS], tok2, itl2;
	int n;
};

static void
add(struct sums *u, const struct sim_result *r)
{
	double v[SIM_RESULTS];
	size_t i;

	memcpy(v, r, sizeof(v));
	for (i = 0; i < SIM_RESULTS; i++)
		u->v[i] += v[i];
	u->tok2 += r->tok_s * r->tok_s;
	u->itl2 += r->itl_us * r->itl_us;
	u->n++;
}

static int
put(struct bench *b, const struct sums *u, struct err *err)
{
	const struct sim_opt *o = &b->a.o;
	bool async = o->mode == SIM_ASYNC;
	struct rec_out *out = &b->out;
	struct sim_result r;
	double v[SIM_RESULTS];
	size_t i;

	for (i = 0; i < SIM_RESULTS; i++)
		v[i] = u->v[i] / u->n;
	memcpy(&r, v, sizeof(r));
	rec_put_str(out, mode_name[o->mode]);
	rec_put_str(out, async ? o->policy->name : NULL);
	rec_put_str(out, async ? b->a.groups : NULL);
	rec_put_int(out, async ? o->attn : 0);
	rec_put_int(out, o->experts);
	rec_put_int(out, o->running);
	rec_put_real(out, r.tok_s);
	rec_put_real(out, r.itl_us / 1000);
	rec_put_real(out, r.itl50_us / 1000);
	rec_put_real(out, r.itl99_us / 1000);
	rec_put_real(out, r.attn_busy);
	rec_put_real(out, r.expert_busy);
	rec_put_real(out, r.rows);
	rec_put_int(out, (int64_t)r.rows10);
	rec_put_int(out, (int64_t)r.rows50);
	rec_put_int(out, (int64_t)r.rows90);
	rec_put_int(out, u->n);
	rec_put_real(out, half(u->v[0], u->tok2, u->n));
	rec_put_real(out, half(r.itl_us * u->n, u->itl2, u->n) / 1000);
	rec_put_real(out, r.uneven);
	rec_put_real(out, r.way_us);
	rec_put_real(out, o->rate);
	rec_put_real(out, r.alive);
	rec_put_real(out, r.prompt_s);
	rec_put_real(out, r.ttft_us / 1000);
	rec_put_real(out, r.ttft99_us / 1000);
	rec_put_real(out, r.in_time);
	return rec_end(out, err);
}

/* Passes by rows, powers of two: up to 1, 2, 4, ... */
static int
put_batches(struct bench *b, const struct hist *rows, struct err *err)
{
	uint64_t passes, to = 0;
	int rc = 0, i, at = 0;
	struct hist h;

	if (b->batch_file == NULL)
		return 0;
	for (i = 0; rc == 0 && to < rows->max; i++) {
		to = 1ull << i;
		hist_clear(&h);
		hist_add(&h, to);
		for (passes = 0; at < HIST_BUCKETS; at++) {
			passes += rows->bucket[at];
			if (h.bucket[at] > 0)
				break;
		}
		at++;
		rec_put_str(&b->batches, mode_name[b->a.o.mode]);
		rec_put_str(&b->batches, b->a.o.mode == SIM_ASYNC ?
		    b->a.o.policy->name : NULL);
		rec_put_int(&b->batches, b->a.o.running);
		rec_put_int(&b->batches, (int64_t)to);
		rec_put_int(&b->batches, (int64_t)passes);
		rc = rec_end(&b->batches, err);
	}
	return rc;
}

static void
skews_close(struct skew **skew)
{
	int i;

	for (i = 0; i < SIM_EPOCHS; i++)
		skew_close(skew[i]);
}

static int
skews_open(struct skew **skew, const struct sim_args *a, struct err *err)
{
	int i, n = a->drift_ns > 0 ? SIM_EPOCHS : 1;

	memset(skew, 0, SIM_EPOCHS * sizeof(*skew));
	for (i = 0; i < n; i++)
		if (skew_open(&skew[i], i % 2 == 1 && a->drift_to != NULL ?
		    a->drift_to : a->routing, a->o.shape.n_layer,
		    a->o.shape.n_expert, a->o.seed + (uint64_t)i * 1000003,
		    err) != 0) {
			skews_close(skew);
			return -1;
		}
	return 0;
}

/* One seed. */
static int
run_once(struct bench *b, struct sums *u, struct hist *rows, struct err *err)
{
	static void (*const mode[])(struct sim *) = { sim_async, sim_barrier,
	    sim_dwdp };
	struct bench_gen_opt g = { .cv = 1, .n = 65536,
	    .lengths = b->a.lengths, .trace = b->a.trace,
	    .rate = b->a.o.rate, .seed = b->a.o.seed };
	bench_gen_list lengths = { NULL, 0, 0 };
	struct skew *skew[SIM_EPOCHS];
	struct sim_result r;
	int rc = -1;

	if (bench_gen(&g, &lengths, err) == 0 &&
	    skews_open(skew, &b->a, err) == 0) {
		sim_open(b->sim, &b->a.o, skew, &lengths);
		mode[b->a.o.mode](b->sim);
		sim_result(b->sim, &r);
		add(u, &r);
		hist_merge(rows, &b->sim->rows);
		sim_close(b->sim);
		skews_close(skew);
		rc = 0;
	}
	VEC_FREE(&lengths);
	return rc;
}

static int
run_load(struct bench *b, int running, struct err *err)
{
	struct hist *rows = mem_zalloc(sizeof(*rows));
	struct sums u = { .n = 0 };
	int64_t i;
	int rc = 0;

	hist_clear(rows);
	for (i = 0; rc == 0 && i < b->a.seeds; i++) {
		b->a.o.seed = (uint64_t)(b->a.seed + i);
		b->a.o.running = running;
		rc = run_once(b, &u, rows, err);
	}
	rc = rc == 0 && put(b, &u, err) == 0 &&
	    put_batches(b, rows, err) == 0 ? 0 : -1;
	mem_free(rows);
	return rc;
}

static int
run_all(struct bench *b, struct err *err)
{
	char *list = mem_strdup(b->a.running), *save = NULL, *w;
	int64_t n;
	int rc = 0;

	for (w = strtok_r(list, ",", &save); rc == 0 && w != NULL;
	    w = strtok_r(NULL, ",", &save)) {
		if (num_i64(w, &n) != 0 || n < (b->a.o.rate > 0 ? 0 : 1) ||
		    n > 1 << 20)
			rc = err_set(err, ERR_USAGE, "--running: '%s' is not a "
			    "number from %d to %d", w, b->a.o.rate > 0 ? 0 : 1,
			    1 << 20);
		else
			rc = run_load(b, (int)n, err);
	}
	mem_free(list);
	return rc;
}

static int
open_batches(struct bench *b, struct err *err)
{
	if (b->a.batches == NULL)
		return 0;
	b->batch_file = fopen(b->a.batches, "w");
	if (b->batch_file == NULL)
		return err_sys(err, ERR_USAGE, errno, "%s", b->a.batches);
	rec_out_open(&b->batches, b->batch_file, "sim-batches", 1, batch_col,
	    b->a.json);
	return 0;
}

static int
close_batches(struct bench *b, int rc, struct err *err)
{
	if (b->batch_file == NULL)
		return rc;
	rec_out_close(&b->batches);
	if (fclose(b->batch_file) != 0 && rc == 0)
		rc = err_sys(err, ERR_TEMP, errno, "%s", b->a.batches);
	return rc;
}

int
bench_sim_main(int argc, char **argv)
{
	struct bench b = { .batch_file = NULL };
	struct err err = ERR_INIT;
	int rc;

	if (sim_args(&b.a, argc, argv, &err) != 0 ||
	    open_batches(&b, &err) != 0)
		return cli_fail(PROG, &err);
	b.sim = mem_alloc(sizeof(*b.sim));
	rec_out_open(&b.out, stdout, "sim", 1, col, b.a.json);
	rc = run_all(&b, &err);
	rec_out_close(&b.out);
	rc = close_batches(&b, rc, &err);
	mem_free(b.sim);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
