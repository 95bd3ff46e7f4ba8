/*
 * bench_drive_sum - numbers of a run.
 *
 * TTFT, ITL and E2E count from the time a request was due, so that a server
 * (or this generator) that falls behind cannot hide it.  TPOT of a request is
 * (E2E - TTFT) / (tokens - 1).  Names and definitions are those of
 * `vllm bench serve`.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "bench_drive.h"
#include "rec.h"
#include "sorted.h"

/* v is sorted, n > 0. */
static double
quantile(const double *v, size_t n, double q)
{
	double at = q * (double)(n - 1);
	size_t i = (size_t)at;

	if (i + 1 >= n)
		return v[n - 1];
	return v[i] + (at - (double)i) * (v[i + 1] - v[i]);
}

void
drive_dist(double *v, size_t n, struct drive_dist *out)
{
	double sum = 0, dev = 0;
	size_t i;

	*out = (struct drive_dist){ .n = n };
	if (n == 0)
		return;
	sorted_f64(v, n);
	for (i = 0; i < n; i++)
		sum += v[i];
	out->mean = sum / (double)n;
	for (i = 0; i < n; i++)
		dev += (v[i] - out->mean) * (v[i] - out->mean);
	out->std = sqrt(dev / (double)n);
	out->median = out->p50 = quantile(v, n, 0.5);
	out->p90 = quantile(v, n, 0.9);
	out->p99 = quantile(v, n, 0.99);
	out->max = v[n - 1];
}

static double
ms(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

static uint64_t
last_ns(const struct drive_req *r)
{
	return r->chunk_ns.p[r->chunk_ns.n - 1];
}

static double
tpot_ms(const struct drive_req *r)
{
	return ms(r->chunk_ns.p[0], last_ns(r)) / (double)(r->output_tok - 1);
}

/* How late the generator itself was: from when it could have sent. */
static double
late_ms(const struct drive_req *r)
{
	return ms(r->due_ns > r->free_ns ? r->due_ns : r->free_ns, r->sent_ns);
}

/* Most tokens that came within one second of the run. */
static double
peak_tokens(const struct drive *d)
{
	size_t n = (size_t)((d->end_ns - d->start_ns) / 1000000000) + 1, i, j;
	double *second = mem_calloc(n, sizeof(*second)), peak = 0, each;
	const struct drive_req *r;

	for (i = 0; i < d->n_req; i++) {
		r = &d->req[i];
		if (r->chunk_ns.n == 0)
			continue;
		each = (double)r->output_tok / (double)r->chunk_ns.n;
		for (j = 0; j < r->chunk_ns.n; j++)
			second[(r->chunk_ns.p[j] - d->start_ns) / 1000000000] +=
			    each;
	}
	for (i = 0; i < n; i++)
		if (second[i] > peak)
			peak = second[i];
	mem_free(second);
	return peak;
}

struct pile {
	VEC(double) ttft, tpot, itl, e2el, late;
};

static void
pile_request(struct pile *p, const struct drive_req *r)
{
	size_t i;

	VEC_PUSH(&p->ttft, ms(r->due_ns, r->chunk_ns.p[0]));
	VEC_PUSH(&p->e2el, ms(r->due_ns, last_ns(r)));
	if (r->output_tok > 1)
		VEC_PUSH(&p->tpot, tpot_ms(r));
	for (i = 1; i < r->chunk_ns.n; i++)
		VEC_PUSH(&p->itl, ms(r->chunk_ns.p[i - 1], r->chunk_ns.p[i]));
}

int64_t
drive_differ(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
	size_t both = n_a < n_b ? n_a : n_b, i;
	int64_t n = (int64_t)((n_a > n_b ? n_a : n_b) - both);

	for (i = 0; i < both; i++)
		n += a[i] != b[i];
	return n;
}

void
drive_sum(const struct drive *d, struct drive_sum *out)
{
	struct pile p = { 0 };
	const struct drive_req *r;
	size_t i;

	*out = (struct drive_sum){ .duration_s = (double)(d->end_ns -
	    d->start_ns) / 1e9, .peak_tok_s = peak_tokens(d) };
	for (i = 0; i < d->n_req; i++) {
		r = &d->req[i];
		if (r->sent)
			VEC_PUSH(&p.late, late_ms(r));
		out->lost += !r->ok;
		out->wrong += r->wrong;
		out->unchecked += r->unchecked;
		if (!r->ok)
			continue;
		out->completed++;
		out->input_tok += r->prompt_tok > 0 ? r->prompt_tok : 0;
		out->output_tok += r->output_tok;
		pile_request(&p, r);
	}
	drive_dist(p.ttft.p, p.ttft.n, &out->ttft);
	drive_dist(p.tpot.p, p.tpot.n, &out->tpot);
	drive_dist(p.itl.p, p.itl.n, &out->itl);
	drive_dist(p.e2el.p, p.e2el.n, &out->e2el);
	drive_dist(p.late.p, p.late.n, &out->late);
	VEC_FREE(&p.ttft);
	VEC_FREE(&p.tpot);
	VEC_FREE(&p.itl);
	VEC_FREE(&p.e2el);
	VEC_FREE(&p.late);
}

/* ---- output ------------------------------------------------------------------ */

static void
set_real(json_t *o, const char *fmt, const char *name, double v)
{
	char key[64];

	snprintf(key, sizeof(key), fmt, name);
	json_object_set_new(o, key, json_real(v));
}

static void
set_dist(json_t *o, const char *name, const struct drive_dist *d)
{
	set_real(o, "mean_%s_ms", name, d->mean);
	set_real(o, "median_%s_ms", name, d->median);
	set_real(o, "std_%s_ms", name, d->std);
	set_real(o, "p50_%s_ms", name, d->p50);
	set_real(o, "p90_%s_ms", name, d->p90);
	set_real(o, "p99_%s_ms", name, d->p99);
}

static json_t *
head(const struct drive *d)
{
	char date[32];
	time_t now = time(NULL);
	struct tm tm;

	strftime(date, sizeof(date), "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
	return json_pack("{s:s, s:s, s:n, s:s, s:s, s:I, s:o, s:f, s:o}",
	    "date", date, "backend", "openai", "label", "model_id", d->model,
	    "tokenizer_id", d->model, "num_prompts", (json_int_t)d->n_req,
	    "request_rate", d->o.rate > 0 ? json_real(d->o.rate) :
	    json_string(d->o.trace != NULL && d->o.rate_text == NULL ?
	    "trace" : "inf"), "burstiness", 1.0, "max_concurrency",
	    d->o.concurrency > 0 ? json_integer(d->o.concurrency) :
	    json_null());
}

json_t *
drive_sum_json(const struct drive *d, const struct drive_sum *s)
{
	double span = s->duration_s > 0 ? s->duration_s : 1e-9;
	json_t *o = head(d);

	json_object_update_new(o, json_pack("{s:f, s:I, s:I, s:I, s:I, s:f, "
	    "s:n, s:f, s:f, s:f, s:I}", "duration", s->duration_s,
	    "completed", (json_int_t)s->completed,
	    "failed", (json_int_t)s->lost,
	    "total_input_tokens", (json_int_t)s->input_tok,
	    "total_output_tokens", (json_int_t)s->output_tok,
	    "request_throughput", (double)s->completed / span,
	    "request_goodput",
	    "output_throughput", (double)s->output_tok / span,
	    "total_token_throughput",
	    (double)(s->input_tok + s->output_tok) / span,
	    "max_output_tokens_per_s", s->peak_tok_s,
	    "max_concurrent_requests", (json_int_t)d->peak));
	set_dist(o, "ttft", &s->ttft);
	set_dist(o, "tpot", &s->tpot);
	set_dist(o, "itl", &s->itl);
	set_dist(o, "e2el", &s->e2el);
	json_object_set_new(o, "lost", json_integer((json_int_t)s->lost));
	json_object_set_new(o, "wrong", d->o.check_url != NULL ?
	    json_integer(s->wrong) : json_null());
	set_real(o, "generator_late_%s_ms", "p50", s->late.p50);
	set_real(o, "generator_late_%s_ms", "p99", s->late.p99);
	set_real(o, "generator_late_%s_ms", "max", s->late.max);
	return o;
}

enum { C_REQUEST, C_DUE, C_LATE, C_TTFT, C_TPOT, C_E2EL, C_STALL, C_INPUT,
    C_OUTPUT, C_OK, C_WRONG, C_ERROR, C_N };

static const struct rec_col record_col[] = {
	[C_REQUEST] = { "request", REC_INT, 0 },
	[C_DUE] = { "due_ms", REC_REAL, 0 },
	[C_LATE] = { "late_ms", REC_REAL, 0 },
	[C_TTFT] = { "ttft_ms", REC_REAL, 0 },
	[C_TPOT] = { "tpot_ms", REC_REAL, 0 },
	[C_E2EL] = { "e2el_ms", REC_REAL, 0 },
	[C_STALL] = { "max_itl_ms", REC_REAL, 0 },
	[C_INPUT] = { "input_tok", REC_INT, 0 },
	[C_OUTPUT] = { "output_tok", REC_INT, 0 },
	[C_OK] = { "ok", REC_BOOL, 0 },
	[C_WRONG] = { "wrong", REC_INT, 0 },
	[C_ERROR] = { "error", REC_STR, 0 },
	[C_N] = { NULL, 0, 0 },
};

static double
longest_gap(const struct drive_req *r)
{
	double max = NAN, gap;
	size_t i;

	for (i = 1; i < r->chunk_ns.n; i++) {
		gap = ms(r->chunk_ns.p[i - 1], r->chunk_ns.p[i]);
		if (!(gap <= max))
			max = gap;
	}
	return max;
}

int
drive_sum_records(const struct drive *d, FILE *fp, struct err *err)
{
	const struct drive_req *r;
	struct rec_out o;
	int rc = 0;
	size_t i;
	bool any;

	rec_out_open(&o, fp, "request", 1, record_col, false);
	for (i = 0; i < d->n_req && rc == 0; i++) {
		r = &d->req[i];
		any = r->chunk_ns.n > 0;
		rec_put_int(&o, (int64_t)i);
		rec_put_real(&o, ms(d->start_ns, r->due_ns));
		rec_put_real(&o, late_ms(r));
		rec_put_real(&o, any ? ms(r->due_ns, r->chunk_ns.p[0]) : NAN);
		rec_put_real(&o, r->ok && r->output_tok > 1 ? tpot_ms(r) : NAN);
		rec_put_real(&o, r->ok ? ms(r->due_ns, last_ns(r)) : NAN);
		rec_put_real(&o, longest_gap(r));
		if (r->prompt_tok >= 0)
			rec_put_int(&o, r->prompt_tok);
		else
			rec_put_none(&o);
		rec_put_int(&o, r->output_tok);
		rec_put_bool(&o, r->ok);
		if (d->o.check_url != NULL && r->ok && !r->unchecked)
			rec_put_int(&o, r->wrong);
		else
			rec_put_none(&o);
		rec_put_str(&o, r->why[0] != '\0' ? r->why : NULL);
		rc = rec_end(&o, err);
	}
	rec_out_close(&o);
	return rc;
}
