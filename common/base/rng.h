/*
 * rng - random numbers that are functions, not streams: Philox4x32-10
 * (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC'11).  The n-th draw for a key needs no state, so a replayed token draws
 * what it drew before, on any machine.
 */
#ifndef MOE_RNG_H
#define MOE_RNG_H

#include <stdint.h>

/* Four 32-bit words for the 128-bit counter ctr under the 64-bit key. */
void	rng_block(uint64_t key, const uint32_t ctr[4], uint32_t out[4]);

/* 64 bits, a function of (key, a, b). */
uint64_t rng_at(uint64_t key, uint64_t a, uint64_t b);

/* Uniform in [0, 1), 53 bits, a function of (key, a, b). */
double	rng_unit(uint64_t key, uint64_t a, uint64_t b);

/* A running sequence for tests and generators, over rng_at(key, 0, n++). */
struct rng {
	uint64_t key, n;
};
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);	/* 0 .. n-1, n > 0 */
double	rng_next_unit(struct rng *r);
double	rng_next_normal(struct rng *r);		/* mean 0, deviation 1 */

#endif
