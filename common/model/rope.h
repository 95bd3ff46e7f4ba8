/*
 * rope - the frequencies of rotary position embedding, by the rules that
 * config.json names: default, linear, yarn (Peng et al., arXiv 2309.00071),
 * longrope (Ding et al., arXiv 2402.13753), llama3.  Pure functions.
 */
#ifndef MOE_ROPE_H
#define MOE_ROPE_H

#include <stdbool.h>

#define ROPE_MAX_DIM	512

enum rope_type {
	ROPE_DEFAULT = 0,
	ROPE_LINEAR,
	ROPE_YARN,
	ROPE_LONGROPE,
	ROPE_LLAMA3,
};

struct rope_cfg {
	enum rope_type type;
	int dim;		/* rotary dims of a head, even: rot of kern_rope */
	bool interleaved;	/* pairs (2i, 2i+1) instead of halves */
	double theta;
	double factor;		/* linear, yarn, llama3 */
	int orig_pos;		/* original_max_position_embeddings */
	int max_pos;
	/* yarn */
	double beta_fast, beta_slow;
	double mscale, mscale_all_dim;		/* 0: not given */
	bool truncate;
	/* yarn and longrope: 0: not given */
	double attention_factor;
	/* llama3 */
	double low_freq_factor, high_freq_factor;
	/* longrope: [dim / 2] each; mscales 0: not given */
	double short_factor[ROPE_MAX_DIM / 2], long_factor[ROPE_MAX_DIM / 2];
	double short_mscale, long_mscale;
};

/*
 * Fill inv_freq[dim / 2] and *mscale (what cos and sin are multiplied by) for
 * sequences of at most n_pos positions.  Only longrope looks at n_pos: more
 * than orig_pos selects the long table, so a server must fix n_pos for the
 * life of a KV cache (we use the server's --ctx).
 */
void	rope_table(const struct rope_cfg *r, int n_pos, float *inv_freq,
	    float *mscale);

/* yarn's magnitude gm(m) = factor <= 1 ? 1 : 0.1 m ln(factor) + 1. */
double	rope_yarn_mscale(double factor, double m);

/* The name in config.json; "?" if none. */
const char *rope_type_name(enum rope_type t);

#endif
