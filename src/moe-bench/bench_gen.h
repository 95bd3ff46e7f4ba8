/*
 * bench_gen - when requests come and how long they are, drawn from a seed:
 * request i is a function of (seed, i) and of when the one before came.
 */
#ifndef MOE_BENCH_GEN_H
#define MOE_BENCH_GEN_H

#include <stddef.h>
#include <stdint.h>

#include "bench_arrival.h"
#include "err.h"
#include "mem.h"

enum bench_gen_kind { BENCH_GEN_POISSON, BENCH_GEN_GAMMA, BENCH_GEN_EVEN,
    BENCH_GEN_TRACE };
#define BENCH_GEN_KINDS	"poisson|gamma|even|trace"

struct bench_gen_opt {
	int kind;		/* enum bench_gen_kind */
	double rate;		/* requests a second; 0, trace: as recorded */
	double cv;		/* gamma: deviation of a gap over its mean */
	/* short, medium, reasonable, trace, IN,OUT or IN-IN,OUT-OUT */
	const char *lengths;
	const char *trace;
	int64_t n;		/* requests; 0: 1000, or those of the trace */
	uint64_t seed;
};

typedef VEC(struct bench_arrival) bench_gen_list;

/* Fill out, to be freed with VEC_FREE.  -1: ERR_USAGE, ERR_DATA. */
int	bench_gen(const struct bench_gen_opt *o, bench_gen_list *out,
	    struct err *err);

/* A draw from a gamma distribution of the given shape and scale 1, a function
 * of (key, i): Marsaglia and Tsang, "A simple method for generating gamma
 * variables", 2000. */
double	bench_gen_gamma(uint64_t key, uint64_t i, double shape);

int	bench_gen_main(int argc, char **argv);

#endif
