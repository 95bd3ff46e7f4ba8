/* rng - see rng.h.  Floor F0. */
#include "rng.h"

#include <math.h>

#define ROUNDS	10

void
rng_block(uint64_t key, const uint32_t ctr[4], uint32_t out[4])
{
	uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
	uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3];
	uint64_t p, q;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		p = (uint64_t)0xD2511F53u * c0;
		q = (uint64_t)0xCD9E8D57u * c2;
		c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)q;
		c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)p;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

uint64_t
rng_at(uint64_t key, uint64_t a, uint64_t b)
{
	uint32_t ctr[4] = { (uint32_t)a, (uint32_t)(a >> 32),
	    (uint32_t)b, (uint32_t)(b >> 32) };
	uint32_t out[4];

	rng_block(key, ctr, out);
	return (uint64_t)out[1] << 32 | out[0];
}

double
rng_unit(uint64_t key, uint64_t a, uint64_t b)
{
	return (double)(rng_at(key, a, b) >> 11) * 0x1p-53;
}

uint64_t
rng_next(struct rng *r)
{
	return rng_at(r->key, 0, r->n++);
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

double
rng_next_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}

double
rng_next_normal(struct rng *r)
{
	double u = 1.0 - rng_next_unit(r), v = rng_next_unit(r);

	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
