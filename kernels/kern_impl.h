/*
 * kern_impl.h - what kern.c and the backends share: the table of operations.
 * Not for callers of the kernels.
 *
 * kern.c checks the arguments that are common to all backends and then calls
 * through the table; an operation that a backend lacks is NULL and aborts.
 */
#ifndef MOE_KERN_IMPL_H
#define MOE_KERN_IMPL_H

#include "kern.h"

struct kern_ops {
	void	(*close)(struct kern *);
	void	*(*mem_alloc)(size_t);
	void	(*mem_free)(void *, size_t);
	void	(*mat_pack)(const struct kern *, const struct kern_pack *);
	/* Pack a part of a gate_up matrix. */
	void	(*glu_pack)(const struct kern *, struct kern_mat *,
		    enum kern_part, const struct kern_pack *);
	void	(*mat_row)(const struct kern *, const struct kern_mat *, int,
		    float *);
	void	(*linear)(struct kern *, const struct kern_linear *);
	void	(*ffn)(struct kern *, const struct kern_ffn *);
	void	(*norm)(struct kern *, const struct kern_norm *);
	void	(*rope)(struct kern *, const struct kern_rope *);
	void	(*axpy)(struct kern *, const struct kern_axpy *);
	void	(*combine)(struct kern *, const struct kern_combine *);
	void	(*kv_put)(struct kern *, const struct kern_kv_put *);
	void	(*attn)(struct kern *, const struct kern_attn *);
	void	(*softmax_sum)(struct kern *, const float *, int, float,
		    float *, double *);
	int	(*argmax)(struct kern *, const float *, int);
};

/* A backend embeds this as its first member. */
struct kern {
	const struct kern_ops *ops;
	char variant[40];
	enum kern_dtype act, weights;
	int threads;
};

/* Print "kern: FILE:LINE: text" on stderr and abort. */
void	kern_bug(const char *file, int line, const char *text)
	    __attribute__((noreturn));
#define KERN_CHECK(cond)						\
	do {								\
		if (!(cond))						\
			kern_bug(__FILE__, __LINE__, #cond);		\
	} while (0)

/* Never NULL: running out of memory aborts. */
void	*kern_alloc(size_t bytes);

/* Backends; contract as kern_open, opt->threads already resolved. */
int	cpu_open(struct kern **k_p, const struct kern_opt *opt,
	    char why[KERN_WHY]);
const char *const *cpu_isas(void);
int	kern_cuda_open(struct kern **k_p, const struct kern_opt *opt,
	    char why[KERN_WHY]);

#endif
