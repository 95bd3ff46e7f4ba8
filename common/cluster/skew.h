/*
 * skew - routing that is drawn instead of computed: for every layer the share
 * of the tokens that each expert gets, and draws from it.
 *
 * For experiments only: what the model would have chosen is thrown away.  A
 * draw is a function of (request seed, position, layer), so it is the same
 * under any batching, on any front end, and in a replay.
 *
 * Where shares come from (SPEC):
 *
 *     uniform             all alike
 *     zipf:S              rank r (from 1) in proportion to r^-S
 *     exp                 as n draws from an exponential distribution are on
 *                         average: rank r gets 1/r + 1/(r+1) + ... + 1/n
 *     exp:RATE            rank r (from 0) in proportion to e^(-RATE r)
 *     fit:FILE[:DOMAIN]   exp:RATE, by layer fitted to counts: least squares
 *                         of the logarithm of the count on its rank
 *     counts:FILE[:DOMAIN]    as counted (CSV: domain,layer,e0,e1,...)
 *     FILE                as written by skew_write (#moe:skew/1)
 *
 * Which expert has which rank is shuffled for each layer by the seed, except
 * for counts and FILE.  Layers that a file lacks take those that it has, in
 * turn.  Floor: cluster.  Threads: read-only after it is open.
 */
#ifndef MOE_SKEW_H
#define MOE_SKEW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

struct skew;

#define SKEW_MAX_EXPERT	65536

/* -1: ERR_USAGE (not a SPEC), ERR_DATA naming file and line. */
int	skew_open(struct skew **out, const char *spec, int n_layer,
	    int n_expert, uint64_t seed, struct err *err);
void	skew_close(struct skew *s);	/* NULL is fine */
const char *skew_spec(const struct skew *s);

/* The share of an expert; a layer's add up to 1. */
double	skew_share(const struct skew *s, int layer, int expert);

/*
 * Draw k different experts, in the order in which they are drawn: each in
 * proportion to its share among those that are left (which is what the k
 * largest of log share + Gumbel noise are).  w: k weights, drawn as well and
 * falling, that add up to 1; NULL: not wanted.  Experts without a share come last.  1 <= k <=
 * n_expert.
 */
void	skew_pick(const struct skew *s, uint64_t seed, int64_t pos, int layer,
	    int k, int32_t *ids, float *w);

/* All shares as #moe:skew/1.  -1: ERR_TEMP. */
int	skew_write(const struct skew *s, FILE *fp, bool json, struct err *err);

#endif
