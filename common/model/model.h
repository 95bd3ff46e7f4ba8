/*
 * model - a checkpoint opened as a model: its numbers, and where each weight
 * stands.
 *
 * model_open reads config.json and the headers of the tensor files, and checks
 * that every tensor the family needs is there with the right shape and a
 * dtype that this build reads; contents are loaded by store.h.  Immutable after
 * that: any number of threads may use it.
 */
#ifndef MOE_MODEL_H
#define MOE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ckpt.h"
#include "config.h"
#include "err.h"
#include "kern.h"

/* What a weight is for.  Matrices are [out][in], y = W x. */
enum model_role {
	MODEL_EMBED,		/* [vocab][hidden] */
	MODEL_LM_HEAD,		/* [vocab][hidden]; the embedding when tied */
	MODEL_FINAL_NORM,	/* [hidden] */
	/* of a layer */
	MODEL_IN_NORM,		/* [hidden] */
	MODEL_POST_NORM,	/* [hidden] */
	MODEL_Q,		/* [n_head*dk][hidden] */
	MODEL_K,		/* [n_kv_head*dk][hidden] */
	MODEL_V,		/* [n_kv_head*dv][hidden] */
	MODEL_O,		/* [hidden][n_head*dv] */
	MODEL_Q_BIAS, MODEL_K_BIAS, MODEL_V_BIAS, MODEL_O_BIAS,
	MODEL_Q_NORM, MODEL_K_NORM,	/* [dk] or [heads*dk], see qknorm */
	/* of a layer with experts */
	MODEL_ROUTER,		/* [n_expert][hidden] */
	MODEL_SHARED_GATE, MODEL_SHARED_UP,	/* [inter_shared][hidden] */
	MODEL_SHARED_DOWN,	/* [hidden][inter_shared] */
	MODEL_SHARED_ROUTER,	/* [1][hidden] */
	MODEL_EXPERT_GATE, MODEL_EXPERT_UP,	/* [inter][hidden] */
	MODEL_EXPERT_DOWN,	/* [hidden][inter] */
	/* of a layer without */
	MODEL_DENSE_GATE, MODEL_DENSE_UP,	/* [inter_dense][hidden] */
	MODEL_DENSE_DOWN,	/* [hidden][inter_dense] */
	MODEL_ROLES
};

/* A weight: element (i, j) is element elem_off + i*rs + j*cs of tensor t.
 * A vector has rows = 1 and cols = its length. */
struct model_ref {
	const struct ckpt_tensor *t;
	size_t elem_off;
	int rows, cols;
	size_t rs, cs;		/* strides in elements */
};

struct model;

/* 0; -1: ERR_DATA naming file, tensor, what was expected and what is there. */
int	model_open(struct model **m_p, const char *dir, struct err *err);
void	model_close(struct model *m);		/* NULL is fine */

const struct model_cfg *model_cfg(const struct model *m);
const struct ckpt *model_ckpt(const struct model *m);
/* The directory's base name. */
const char *model_name(const struct model *m);
const char *model_dir(const struct model *m);

/*
 * A number for "the same weights": ckpt_fingerprint and the numbers of the
 * config that change arithmetic.  Computed on the first call (which reads 64
 * bytes of every tensor), then remembered; the first call must be alone.
 */
int	model_fingerprint(struct model *m, uint64_t *out, struct err *err);

/*
 * Where a weight stands.  layer is ignored for the roles above IN_NORM,
 * expert for all but EXPERT_*.  false when this model has no such weight (a
 * bias, a dense layer's router); out-of-range indices abort.
 */
bool	model_ref(const struct model *m, enum model_role role, int layer,
	    int expert, struct model_ref *out);
const char *model_role_name(enum model_role role);	/* "q_proj bias" */

/* Bytes in the file of one routed expert of that layer; of all weights. */
uint64_t model_expert_file_bytes(const struct model *m, int layer);
uint64_t model_file_bytes(const struct model *m);

/*
 * Call fn for every tensor that a checkpoint of this config holds when its
 * writer uses the family's first layout, in the order of the model.  Stops at
 * the first return that is not 0 and returns it.
 */
typedef int (model_tensor_fn)(const char *name, enum model_role role, int rank,
    const size_t *shape, void *arg);
int	model_each_tensor(const struct model_cfg *cfg, model_tensor_fn *fn,
	    void *arg);

/* --dtype: what to compute in.  auto: the dtype of the weights in the file,
 * F16 and BF16 give bf16, F32 gives f32. */
enum model_dtype { MODEL_AUTO = 0, MODEL_F32, MODEL_BF16 };
#define MODEL_DTYPES	"auto|f32|bf16"		/* for CLI_ENUM */
enum kern_dtype model_pick_act(const struct model *m, enum model_dtype want);

/* --weights: how experts and projections are packed: as the activations, or in
 * int8 blocks, whatever the file holds. */
enum model_weights { MODEL_NATIVE = 0, MODEL_Q8 };
#define MODEL_WEIGHTS	"native|q8"		/* for CLI_ENUM */
enum kern_dtype model_pick_weights(enum kern_dtype act,
	    enum model_weights want);

#endif
