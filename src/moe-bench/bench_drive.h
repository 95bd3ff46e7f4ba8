/*
 * bench_drive - what the files of `moe-bench drive` share: a list of requests
 * with the time at which each is due, filled in with what became of it.
 * One thread.
 */
#ifndef MOE_BENCH_DRIVE_H
#define MOE_BENCH_DRIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "mem.h"
#include "oai.h"
#include "str.h"

#define DRIVE_PATH	"/v1/completions"

struct drive_opt {
	const char *url, *check_url, *model, *key;
	const char *rate_text, *prompts, *random, *trace, *summary, *records;
	int64_t n, concurrency, max_tokens, vocab, max_input, seed, scale;
	double temperature;
	double rate;		/* requests a second; 0: inf */
	uint64_t limit_ns;	/* of one request; 0: none */
	bool ignore_eos, quiet;
};

struct drive_req {
	json_t *prompt;		/* string or array of ids */
	int64_t prompt_tok;	/* as the server told, or as made; -1: unknown */
	int64_t max_tok;
	double at_s;		/* due, from the start of the run */
	/* what became of it, clock_ns() times */
	uint64_t due_ns, sent_ns, free_ns;	/* free: its slot was */
	uint64_t end_ns;
	VEC(uint64_t) chunk_ns;	/* when each piece with tokens was read */
	VEC(int32_t) id;
	struct str text;
	int64_t output_tok;
	int64_t wrong;		/* tokens unlike those of --check */
	bool sent, ok, unchecked, in_flight;
	char why[160];
};

struct drive {
	struct drive_opt o;
	char *model, *check_model;	/* names at the two servers */
	struct drive_req *req;
	size_t n_req;
	uint64_t start_ns, end_ns;
	size_t next, flying, peak;	/* to be sent; in flight; most of them */
	uint64_t free_ns;	/* when a slot last became free */
};

/* bench_drive_load.c: the requests (prompt, lengths, at_s).  -1: ERR_USAGE,
 * ERR_DATA naming file and line. */
int	drive_load(struct drive *d, struct err *err);
void	drive_load_free(struct drive *d);
/* at_s of request i under a Poisson process of `rate` a second, given that of
 * i - 1; a function of seed and i. */
double	drive_arrival(uint64_t seed, size_t i, double before_s, double rate);

/* bench_drive_run.c: send every request when it is due.  Failures of requests
 * are in them; -1: ERR_TEMP (no timer). */
int	drive_run(struct drive *d, struct oai *c, struct err *err);
/* Send every completed request to another server too; sets wrong, unchecked. */
void	drive_check(struct drive *d, struct oai *c);
/* Body of request i to a server that calls the model so, to be freed with
 * free(). */
char	*drive_body(const struct drive *d, size_t i, const char *model);

/* bench_drive_sum.c */
struct drive_dist {		/* of one kind of latency, ms */
	size_t n;
	double mean, median, std, p50, p90, p99, max;
};
/* Sorts v.  Quantiles interpolate between neighbours; std is that of the
 * population. */
void	drive_dist(double *v, size_t n, struct drive_dist *out);

struct drive_sum {
	size_t completed, lost, unchecked;
	int64_t input_tok, output_tok, wrong;
	double duration_s, peak_tok_s;
	struct drive_dist ttft, tpot, itl, e2el, late;
};
void	drive_sum(const struct drive *d, struct drive_sum *out);
/* How many of these tokens differ; those that only one has, do. */
int64_t	drive_differ(const int32_t *a, size_t n_a, const int32_t *b,
	    size_t n_b);
/* The summary, with the key names of `vllm bench serve`; to be freed with
 * json_decref. */
json_t	*drive_sum_json(const struct drive *d, const struct drive_sum *s);
int	drive_sum_records(const struct drive *d, FILE *fp, struct err *err);

#endif
