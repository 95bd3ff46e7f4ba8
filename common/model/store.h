/*
 * store - weights from the checkpoint into memory, packed for a kern.
 *
 * Reads ranges with pread(2) in small pieces, packs, and frees the piece, so a
 * weight is resident once.  A NaN or an infinity among the weights is ERR_DATA
 * that names file, tensor and element.  Packed memory comes from the caller's
 * kern and goes back with store_free_*.  Functions of one struct kern may run in
 * several threads at once: packing does not use the kern's pool.
 */
#ifndef MOE_STORE_H
#define MOE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "kern.h"
#include "model.h"

/* A vector (norm, bias) as fp32; the caller calls mem_free.  NULL and err when
 * it cannot be read. */
float	*store_load_vec(const struct model *m, const struct model_ref *r,
	    struct err *err);

/* Refs stacked by rows into one matrix (q, k, v); same cols each. */
struct store_mat {
	const struct kern *kn;
	const struct model *m;
	const struct model_ref *ref;
	int n_ref;
	enum kern_dtype dtype;	/* packed: KERN_F32, KERN_BF16 or KERN_Q8 */
	int threads;		/* that read and pack; 0: one */
};
int	store_load_mat(const struct store_mat *a, struct kern_mat *out,
	    struct err *err);
void	store_free_mat(const struct kern *kn, struct kern_mat *mat);

/* A gate-up-down block: routed expert, shared expert or dense MLP. */
enum store_ffn { STORE_EXPERT, STORE_SHARED, STORE_DENSE };
/* Packed in kern_weights(kn).  expert is ignored but for STORE_EXPERT. */
int	store_load_ffn(const struct kern *kn, const struct model *m,
	    enum store_ffn which, int layer, int expert,
	    struct kern_expert *out, struct err *err);
int	store_load_expert(const struct kern *kn, const struct model *m,
	    int layer, int expert, struct kern_expert *out, struct err *err);
void	store_free_expert(const struct kern *kn, struct kern_expert *x);
/* The shape of a routed expert (the same for all), without memory (data NULL);
 * and pack one into memory of that shape, which is zero. */
void	store_expert_shape(const struct kern *kn, const struct model *m,
	    struct kern_expert *out);
int	store_pack_expert(const struct kern *kn, const struct model *m,
	    int layer, int expert, struct kern_expert *x, struct err *err);
/* Packed bytes of one routed expert. */
size_t	store_expert_bytes(const struct kern *kn, const struct model *m);

/* Many experts with several threads. */
struct store_pick {
	int layer, expert;
};
/* Called from loading threads, one at a time; bytes are of the file. */
typedef void (store_progress_fn)(uint64_t done_bytes, uint64_t total_bytes,
	    void *arg);
struct store_many {
	const struct kern *kn;
	const struct model *m;
	const struct store_pick *pick;
	size_t n;
	int threads;		/* 0: 4 */
	store_progress_fn *progress;	/* or NULL */
	void *arg;
	const atomic_bool *stop;	/* or NULL: give up with ERR_TEMP when set */
};
/* out[n].  0: all loaded; -1: none (the first error, all memory given back). */
int	store_load_many(const struct store_many *a, struct kern_expert *out,
	    struct err *err);

#endif
