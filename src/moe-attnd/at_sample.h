/*
 * at_sample - from a row of logits to the next token.
 *
 * A pure function of (sampling, logits, position, banned ids) and the kern's
 * variant: sums run in a fixed order in double, exp is our own (libm's differs
 * between versions) or the kern's, and the draw is rng_unit(seed, position, 0),
 * so a replay draws the same token.
 *
 * Cost: with V = 150,000 what matters is to look closely at few of them.  The
 * kern passes over blocks of logits for their maxima and sums; then only those
 * blocks are walked that a draw falls into or that hold what a cut may keep.
 *
 * Order and meaning follow vLLM's V1 sampler:
 *   1. logprobs come from the logits as they are, before all that follows
 *   2. banned ids are out
 *   3. temperature 0: the largest logit, ties to the lowest id; else x / T
 *   4. min_p: keep p >= min_p * (largest p)
 *   5. top_k: keep the k largest (exactly k: ties go to the lowest ids)
 *   6. top_p: of what is left, renormalised, keep the fewest largest whose
 *      mass reaches top_p (ties to the lowest ids); one at least
 *   7. draw one by its probability
 * A token of less than e^-50 times the likeliest one's probability counts as
 * impossible: all of them together weigh less than the draw can resolve.
 *
 * Threads: one scratch and one kern per thread.
 */
#ifndef MOE_AT_SAMPLE_H
#define MOE_AT_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "at_engine.h"
#include "kern.h"

/* Grows to what is needed and is used again; {0} is empty. */
struct at_sample_mem {
	struct at_cand *cand;
	size_t cap;
	struct at_cand *edge;	/* the bucket that a cut goes through */
	size_t edge_cap;
	struct at_block *block;	/* of the logits, what lies in each */
	size_t block_cap;
};
void	at_sample_mem_free(struct at_sample_mem *m);

struct at_sample_in {
	const struct at_sampling *s;
	struct kern *kern;	/* for logprobs and greedy */
	const float *logits;	/* [n] */
	int n;
	int64_t pos;		/* of the token that is being chosen */
	int n_top;		/* -1: no logprob; 0..AT_MAX_TOP alternatives */
	const uint32_t *ban;	/* ids that must not come (eos before min_tok) */
	int n_ban;
};

struct at_sampled {
	uint32_t id;
	float lp;		/* 0 when n_top is -1 */
	int n_top;		/* 0 when it is -1 */
	struct at_lp top[AT_MAX_TOP];	/* best first, ties by lowest id */
};

/* 0; -1 when the logits hold a NaN or a +infinity, or when nothing is left to
 * choose from (all banned or -infinity). */
int	at_sample(const struct at_sample_in *in, struct at_sample_mem *mem,
	    struct at_sampled *out);

/* The logprob of a given id and the n_top best (for a prompt's tokens); s, pos
 * and ban are not looked at.  Errors as above. */
int	at_sample_score(const struct at_sample_in *in, uint32_t id,
	    struct at_sampled *out);

#endif
