/*
 * at_model - the front end's share of the model: everything but the routed
 * experts, as operations on a batch of token rows.
 *
 * The residual stream is fp32; rows that enter a matrix product are rounded to
 * the activation dtype.  Every operation keeps kern.h's promise, so a row's
 * bits depend on its own sequence only.  Engine thread only, after loading.
 */
#ifndef MOE_AT_MODEL_H
#define MOE_AT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"
#include "kern_sum.h"
#include "model.h"

struct at_kv;
struct at_prof;
struct at_model;
struct skew;

/* Load (several threads read); rope tables for contexts of ctx_tok tokens. */
int	at_model_load(struct at_model **out, struct kern *kn,
	    const struct model *m, int ctx_tok, struct err *err);
void	at_model_free(struct at_model *am);
uint64_t at_model_bytes(const struct at_model *am);
/* From now on at_model_combine joins parts by this rule (kern_sum.h); NONE: it
 * takes an answer a route. */
void	at_model_set_reduce(struct at_model *am, enum kern_sum_rule rule);
/* From now on experts are drawn from s instead of chosen by the gate, whose
 * time is still spent; NULL: the gate's choice.  s is the caller's. */
void	at_model_set_skew(struct at_model *am, const struct skew *s);
/* From now on the operations say to p which part of a step they are. */
void	at_model_set_prof(struct at_model *am, struct at_prof *p);

/*
 * A batch: rows [seq[i].row0, + seq[i].m) are consecutive tokens of sequence
 * i.  The arrays grow as needed and are reused from step to step.
 */
struct at_rows {
	int n, n_seq;
	int cap, cap_seq;
	uint32_t *tok;		/* [n] */
	int32_t *pos;		/* [n] */
	uint64_t *seed;		/* [n] of the row's request */
	struct kern_seq *seq;	/* [n_seq] */

	float *x;		/* [n][hidden] residual stream */
	void *xn;		/* [n][hidden] act: what goes to the experts */
	float *qkv;		/* [n][at_model_qkv] q, k, v side by side */
	float *angle;		/* [n][rope dim] cos, sin of each pair */
	void *att;		/* [n][n_head * dv] act */
	float *y;		/* [n][hidden] a branch's output */
	float *logit;		/* [n][n_expert] of the router */
	int32_t *id;		/* [n][top_k] experts in rank order */
	float *w;		/* [n][top_k] their weights */
	void *sh;		/* [n][hidden] act: shared expert's rows */
	float *sh_w;		/* [n] their weights */
	float *res;		/* [n] residual multiplier, all equal */
	void **in, **out;	/* [n] row pointers for kern_ffn */
};

/* Make room for n rows of n_seq sequences; contents are lost. */
void	at_rows_room(struct at_rows *r, const struct at_model *am, int n,
	    int n_seq);
void	at_rows_free(struct at_rows *r);
/* Values of a row of q, k and v together. */
int	at_model_qkv(const struct at_model *am);

/* x = embedding of tok; and at_model_angles. */
void	at_model_embed(struct at_model *am, struct at_rows *r);
/* angle of pos, for all layers that these rows are in r. */
void	at_model_angles(struct at_model *am, struct at_rows *r);
/* x += attention(norm(x)); then xn = norm(x), the FFN's input. */
void	at_model_attn(struct at_model *am, struct at_kv *kv, int layer,
	    struct at_rows *r);
/* Choose experts: id, w.  -1 and *bad_row when a row's logits are NaN. */
int	at_model_route(struct at_model *am, int layer, struct at_rows *r,
	    int *bad_row);
/* The shared expert on xn: sh, sh_w; nothing when there is none. */
void	at_model_shared(struct at_model *am, int layer, struct at_rows *r);
/* x += experts' answers weighted in rank order, or their parts' sum (+ shared).
 * ans[n * top_k]; NULL counts as zero. */
void	at_model_combine(struct at_model *am, struct at_rows *r,
	    const void *const *ans);
/* x += MLP(xn), for a layer without experts. */
void	at_model_dense(struct at_model *am, int layer, struct at_rows *r);
/* logits[i][vocab] of the rows row[0..n). */
void	at_model_logits(struct at_model *am, struct at_rows *r, const int *row,
	    int n, float *logits);

#endif
