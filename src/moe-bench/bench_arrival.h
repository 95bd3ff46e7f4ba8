/*
 * bench_arrival - arrivals of requests and their lengths, from a file:
 *
 *     #moe:arrival/1      as `moe-bench gen` writes them
 *     TIMESTAMP,ContextTokens,GeneratedTokens     Azure LLM inference traces
 *     {"timestamp": MS, "input_length": N, "output_length": N}, a line each:
 *                         Mooncake traces
 */
#ifndef MOE_BENCH_ARRIVAL_H
#define MOE_BENCH_ARRIVAL_H

#include <stdint.h>

#include "err.h"
#include "rec.h"

#define BENCH_MAX_TOK	(1 << 20)	/* of one prompt or answer */

struct bench_arrival {
	double at_s;		/* from the first one */
	int64_t in_tok, out_tok;	/* 1 .. BENCH_MAX_TOK */
};

/* Takes one: 0, 1 (enough) or -1. */
typedef int (bench_arrival_fn)(void *arg, const struct bench_arrival *a,
    struct err *err);

/* Every arrival of the file, in its order; one that is earlier than the first
 * counts as 0.  -1: ERR_USAGE, ERR_DATA naming file and line, none at all, or
 * what fn said. */
int	bench_arrival_read(const char *path, bench_arrival_fn *fn, void *arg,
	    struct err *err);

/* "2023-11-16 18:17:03.9799600" -> seconds since 1970.  -1: not a time. */
int	bench_arrival_time(const char *s, double *out);

enum { BENCH_ARRIVAL_AT, BENCH_ARRIVAL_IN, BENCH_ARRIVAL_OUT,
    BENCH_ARRIVAL_N };
extern const struct rec_col bench_arrival_col[];

#endif
