/*
 * kern.h - the arithmetic of the toolkit, one table of operations per backend.
 *
 * This floor knows nothing of sockets, checkpoints or programs and includes
 * nothing of common/.  Everything a caller needs is here.
 *
 * THE PROMISE.  Within one variant (backend + instruction set + dtype) every
 * output row of every operation depends only on its own inputs: not on how
 * many other rows are in the call, on the number of threads, or on the order
 * of rows.  So the order of accumulation is part of an operation's definition:
 * K runs in one fixed order per output; work is split over outputs and over
 * rows, never over K; reductions use a fixed block size and tree.
 *
 * DTYPES.  `act` is the activation dtype of an opened kern: KERN_F32 or
 * KERN_BF16.  Rows that go into a matrix product are in `act`; sums are fp32.
 * Conversions to bf16 round to nearest even.
 *
 * Q8.  A matrix may be packed as KERN_Q8, whatever `act` is: 8.5 bits a weight.
 * Along k, each 32 weights of an output share a scale s, and so do each 32
 * values of an input row (rounded to `act` first) a scale d; a short last block
 * ends in zeros.  With integers -127..127 for both, and rounding to nearest
 * even throughout:
 *
 *	s = bf16(max |w| / 127)		w ~ s * rint(w * (1 / s))
 *	d = max |x| / 127		x ~ d * rint(x * (127 / max |x|))
 *	y = sum over blocks, k ascending: y = fma(s * d, (float)dot, y)
 *
 * where dot is the exact integer product of two blocks (below 2^19).  Nothing
 * in it is left to a variant: a product has the same bits on every instruction
 * set.  A block of weights whose s is below 2^-126 and one of a row whose max
 * is below 2^-100 counts as zero; one with a NaN or an infinity makes every sum
 * that it enters NaN.  s is a bf16, not an f16 of the same size: it has the
 * range of the weights, which may be below what f16 can say, and widens with a
 * shift.  On normal weights it makes their rms error 0.531 % instead of 0.526 %;
 * an fp32 would be 6 % more bytes to read for that.
 *
 * THREADS.  One thread at a time calls into one struct kern; an operation uses
 * the kern's own pool (opt.threads in all, the caller included) and has
 * finished when it returns.  The pool sleeps when nobody calls.
 *
 * ERRORS.  Only kern_open fails.  Arguments out of contract abort.
 */
#ifndef MOE_KERN_H
#define MOE_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers go on the wire and into files: never reorder. */
enum kern_dtype {
	KERN_F32 = 1,
	KERN_F16 = 2,		/* storage only */
	KERN_BF16 = 3,
	KERN_Q8 = 4,		/* int8 blocks of 32 with a scale; matrices only */
	KERN_F8E4M3 = 5,	/* storage only */
	KERN_MXFP4 = 6,		/* storage only */
};

/* Bytes of n values of dtype t; 0 for block formats. */
size_t	kern_dtype_bytes(enum kern_dtype t, size_t n);
const char *kern_dtype_name(enum kern_dtype t);		/* "bf16"; "?" */

/* ---- opening ---------------------------------------------------------- */

struct kern;			/* opaque: an opened backend and its pool */

struct kern_opt {
	const char *backend;	/* "cpu", "cuda", NULL = "cpu" */
	const char *isa;	/* "ref", "avx2", "avx512bf16"; NULL = best here */
	enum kern_dtype act;	/* KERN_F32 or KERN_BF16 */
	int threads;		/* 0 = all processors this process may use */
	enum kern_dtype weights;	/* KERN_Q8; 0 = act */
};

#define KERN_WHY	256
/*
 * 0; or -1 with a sentence in why: EXIT 69 material (not in this build or on
 * this machine), the only way kernels report a failure.  Backend "cuda" has
 * the weights and the expert FFN only (kern_mem_*, kern_mat_bytes,
 * kern_mat_pack, kern_expert_pack, kern_ffn); every other operation on it
 * aborts.  There, weights and activations have one dtype (opening it with
 * KERN_Q8 fails); rows, scales and
 * biases are host memory; and the gate and up parts of one expert are packed
 * one at a time.
 */
int	kern_open(struct kern **k_p, const struct kern_opt *opt,
	    char why[KERN_WHY]);
void	kern_close(struct kern *k);
/* "cpu-avx2-bf16", "cpu-avx2-bf16-q8": goes into HELLO; equal names give equal
 * bits. */
const char *kern_variant(const struct kern *k);
enum kern_dtype kern_act(const struct kern *k);
/* What callers pack experts and large matrices in: act or KERN_Q8.  (Products
 * take a matrix of any dtype; this is the form that was agreed on.) */
enum kern_dtype kern_weights(const struct kern *k);
int	kern_threads(const struct kern *k);
/* Every isa that this machine can run, best first, NULL-terminated. */
const char *const *kern_isas(void);

/*
 * Memory for kern_mat.data where this kern can use it: 64-byte aligned, zero.
 * cpu: mapped from the kernel, huge pages from 2 MiB up; any other memory of
 * the process serves as well.  cuda: device memory, and nothing else will do;
 * kern_mat_pack copies from host memory into it.  NULL when there is no room.
 * Thread-safe; free it before the kern is closed.
 */
void	*kern_mem_alloc(const struct kern *k, size_t bytes);
void	kern_mem_free(const struct kern *k, void *p, size_t bytes);

/* ---- weights ---------------------------------------------------------- */

/*
 * A matrix W [n][k] packed for y = W x.  Layout is the variant's business
 * (outputs across the lanes: bf16 [n/16][k/2][16][2], f32 [n/16][k][16], short
 * ends padded with zeros; q8: cpu/cpu_q8.h).  data is the caller's:
 * kern_mat_bytes() long and
 * 64-byte aligned; it may be read-only after packing and shared by processes.
 */
struct kern_mat {
	void *data;
	size_t bytes;
	int n, k;		/* outputs, inputs */
	enum kern_dtype dtype;	/* of the packed values: F32, BF16 or Q8 */
};

/* Packed size of an [n][k] matrix whose packed dtype is t. */
size_t	kern_mat_bytes(const struct kern *kn, int n, int k, enum kern_dtype t);

/*
 * Pack rows [row0, row0 + rows) of dst from src, where element (i, j) of this
 * part stands at src[i * rs + j * cs] in units of src_dtype elements (rs, cs:
 * element strides, so transposed and interleaved sources need no copy; src
 * need not be aligned).  dst->data must have been zero before the first part.
 * F16, BF16, F32 sources; rounding to nearest even when narrowing.  Q8 is made
 * from the source's values, not from their bf16 roundings.
 * Thread-safe for disjoint 16-row blocks; does not use the pool.
 */
struct kern_pack {
	struct kern_mat *dst;
	int row0, rows;
	const void *src;
	enum kern_dtype src_dtype;
	size_t rs, cs;
};
void	kern_mat_pack(const struct kern *kn, const struct kern_pack *p);

/* out[0..k) = row i of m as fp32 (q8: s * integer): the embedding look-up. */
void	kern_mat_row(const struct kern *kn, const struct kern_mat *m, int i,
	    float *out);

/* ---- linear ----------------------------------------------------------- */

/* y[r][0..n) = W x[r] (+ bias), fp32 accumulation.  x: m rows of `act`, ldx
 * elements apart; y: m rows of ydt (KERN_F32 or act), ldy elements apart. */
struct kern_linear {
	const struct kern_mat *w;
	const float *bias;	/* [n] or NULL */
	const void *x;
	size_t ldx;
	void *y;
	size_t ldy;
	enum kern_dtype ydt;
	int m;
};
void	kern_linear(struct kern *kn, const struct kern_linear *a);

/* ---- expert FFN ------------------------------------------------------- */

enum kern_glu {
	KERN_SILU = 1,		/* silu(g) * u */
	KERN_GELU = 2,		/* gelu_tanh(g) * u */
	KERN_CLAMP = 3,		/* GPT-OSS: (min-max clamped u + 1) * g * sigmoid(1.702 g) */
};

/*
 * One expert: y = down( glu(gate x, up x) ).  gate_up is one matrix of 2*i
 * rows whose row order is the variant's business; pack it with
 * kern_expert_pack.  The shared expert and a dense MLP are experts too.
 */
struct kern_expert {
	struct kern_mat gate_up;	/* [2i][h] */
	struct kern_mat down;		/* [h][i] */
	const float *bias_gate, *bias_up, *bias_down;	/* or NULL */
};

/* Which part of an expert a source holds. */
enum kern_part { KERN_GATE = 0, KERN_UP = 1, KERN_DOWN = 2 };
/* Pack a whole part of x (p->dst, row0, rows are ignored). */
void	kern_expert_pack(const struct kern *kn, struct kern_expert *x,
	    enum kern_part part, const struct kern_pack *p);

/* The rows that go through one expert: entries [first, first + n) of the
 * call's in/out/scale arrays. */
struct kern_group {
	const struct kern_expert *x;
	int first, n;
};

/*
 * All active experts of a pick in one pass: one barrier per stage and call,
 * not per expert.  in[j] points to a row of h `act` values, out[j] to where
 * the answer (h values of `act`, rounded once) goes; rows need no alignment
 * beyond their element.  scale[j], if scale is given, multiplies the *input*
 * row (rule R7); it is rounded to `act` after.  in rows may repeat; out rows
 * are distinct and overlap no in row.
 */
struct kern_ffn {
	int h, i;		/* hidden, inner */
	enum kern_glu glu;
	int n_group;
	const struct kern_group *group;	/* n >= 1 each */
	const void *const *in;
	void *const *out;
	const float *scale;	/* or NULL */
};
void	kern_ffn(struct kern *kn, const struct kern_ffn *a);

/* ---- rows ------------------------------------------------------------- */

/*
 * y[r] = x[r] * rsqrt(mean(x[r]^2) + eps) * w, rounded once to ydt; with
 * center, LayerNorm: the mean is subtracted first and bias added.  w may be
 * NULL (all ones).  x fp32; y may be x when ydt is KERN_F32 and ldy == ldx.
 * With heads above 1 a row has so many pieces of n values side by side, each
 * with a norm of its own and the same w.
 */
struct kern_norm {
	const float *x;
	size_t ldx;
	void *y;
	size_t ldy;
	enum kern_dtype ydt;
	int m, n;
	const float *w, *bias;
	float eps;
	bool center;
	int heads;		/* 0: 1 */
};
void	kern_norm(struct kern *kn, const struct kern_norm *a);

/*
 * Rotate in place, fp32.  x row r: heads at x + r*ldx + j*d for j < heads; the
 * first rot of each head's d values rotate by pos[r] * inv_freq[i], cos and
 * sin times mscale; angle in double, cos/sin rounded to fp32 (and to bf16
 * first when act is bf16 is NOT done: fp32 is nearer to the truth).
 */
struct kern_rope {
	float *x;
	size_t ldx;
	int m, heads, d, rot;
	const int32_t *pos;	/* [m] */
	const float *inv_freq;	/* [rot/2] */
	float mscale;
	bool interleaved;	/* pairs (2i, 2i+1); else (i, i + rot/2) */
	const float *angle;	/* [m][rot] of kern_rope_angles for the same pos,
				 * inv_freq and mscale; NULL: made here */
};
void	kern_rope(struct kern *kn, const struct kern_rope *a);
/* out[r][2 i], [2 i + 1]: cos and sin of pair i at pos[r], times mscale.  They
 * are the same in all layers, and dearer than the rotation. */
void	kern_rope_angles(float *out, const int32_t *pos, int m,
	    const float *inv_freq, int rot, float mscale);

/* y[r] += alpha[r] * x[r] (alpha NULL: 1); x of xdt, y fp32; m rows of n. */
struct kern_axpy {
	float *y;
	size_t ldy;
	const void *x;
	size_t ldx;
	enum kern_dtype xdt;
	const float *alpha;
	int m, n;
};
void	kern_axpy(struct kern *kn, const struct kern_axpy *a);

/* y[r] = sum over j = 0..k-1, in that order, of w[r*k+j] * row[r*k+j], fp32;
 * a NULL row (an expert that gave no answer) counts as zero. Rows of `act`. */
struct kern_combine {
	float *y;
	size_t ldy;
	const void *const *row;	/* [m*k] */
	const float *w;		/* [m*k]; NULL: all 1 (R7) */
	int m, k, n;
};
void	kern_combine(struct kern *kn, const struct kern_combine *a);

/* dst[i] = src[i] converted; F32, F16, BF16 both ways. */
void	kern_convert(void *dst, enum kern_dtype dt, const void *src,
	    enum kern_dtype st, size_t n);

/* ---- routing ---------------------------------------------------------- */

enum kern_route_rule {		/* spec: shared rules R1..R7 */
	KERN_ROUTE_SOFTMAX = 1,	/* softmax, top-k; renorm says R1 or R2 */
	KERN_ROUTE_TOPK_SOFTMAX = 2,	/* R3 */
	KERN_ROUTE_GROUP_SOFTMAX = 3,	/* R4 */
	KERN_ROUTE_SIGMOID_BIAS = 4,	/* R5 */
	KERN_ROUTE_SPARSEMIXER = 5,	/* R6 */
	KERN_ROUTE_SIGMOID_INPUT = 6,	/* R7 */
};

/* Choose k of n experts for each of m rows of logits.  ids in rank order
 * (largest first, ties to the lowest id).  Returns 0, or -1 when a row holds a
 * NaN or +infinity (*bad_row says which): the caller fails that request. */
struct kern_route {
	enum kern_route_rule rule;
	const float *logits;	/* [m][n] */
	int m, n, k;
	bool renorm;
	float scaling;		/* multiplies the weights; 1 for none */
	const float *bias;	/* [n], R5 */
	int n_group, topk_group;	/* R4, R5; 1, 1 for none */
	float jitter;		/* R6 */
	int32_t *ids;		/* [m][k] out */
	float *w;		/* [m][k] out */
};
int	kern_route(const struct kern_route *a, int *bad_row);

/* ---- attention over paged KV ------------------------------------------ */

/*
 * KV pages: a layer has one arena; page p of it is KERN_PAGE_TOK tokens of
 * dtype kvt, K of all heads, then V.  Both are laid out as packed weights are,
 * with what attention multiplies them to across the lanes: K of a head has the
 * tokens there (f32 [dk][16], bf16 [dk/2][16][2]), V has its values (f32
 * [dv/16][tok][16], bf16 [dv/16][tok/2][16][2]); dk is padded to a pair in
 * bf16, dv to 16.  What is not put is never used, whatever it is.
 */
#define KERN_PAGE_TOK	16
#define KERN_KV_LAYOUT	2	/* another number: other places within a page */

struct kern_kv {
	void *arena;		/* of one layer */
	size_t page_bytes;	/* kern_kv_page_bytes() */
	int hk, dk, dv;
	enum kern_dtype kvt;	/* KERN_F32 or KERN_BF16 */
};
size_t	kern_kv_page_bytes(int hk, int dk, int dv, enum kern_dtype kvt);

/* Consecutive tokens of one sequence: rows [row0, row0 + m) of the call, at
 * positions pos0 .. pos0 + m - 1; page[i] holds positions 16 i .. 16 i + 15. */
struct kern_seq {
	const int32_t *page;
	int pos0, m, row0;
};

/* Write k, v (fp32 rows [hk*dk], [hk*dv]) of every row into its page. */
struct kern_kv_put {
	const struct kern_kv *kv;
	const struct kern_seq *seq;
	int n_seq;
	const float *k, *v;
	size_t ldk, ldv;
};
void	kern_kv_put(struct kern *kn, const struct kern_kv_put *a);

/*
 * Causal attention of every row over the tokens 0..pos of its sequence (its
 * own K and V already put).  q: fp32 rows [h*dk]; out: rows [h*dv] of `act`.
 * Query head j reads KV head j / (h / hk).  Softmax in fp32, streaming over
 * fixed blocks of key positions within fixed spans of them (aligned to absolute
 * position); spans are put together in order, whichever threads had them.  So a
 * row's bits depend on its own sequence only, not on how the prompt was chunked,
 * what else is in the call, or the number of threads.
 *
 * window > 0: key visible iff pos_q - pos_k < window.  chunk > 0: iff
 * pos_q / chunk == pos_k / chunk.  sink: [h] extra logits or NULL.
 */
struct kern_attn {
	const struct kern_kv *kv;
	const struct kern_seq *seq;
	int n_seq;
	const float *q;
	size_t ldq;
	void *out;
	size_t ldo;
	int h;
	float scale;
	int window, chunk;
	const float *sink;
};
void	kern_attn(struct kern *kn, const struct kern_attn *a);

/* ---- logits ----------------------------------------------------------- */

/* max and sum_i exp((x[i] - max) * inv_temp), fixed order, double sum: then
 * logprob(i) = (x[i] - max) * inv_temp - log(sum). */
void	kern_softmax_sum(struct kern *kn, const float *x, int n, float inv_temp,
	    float *max, double *sum);
/* Index of the largest value, ties to the lowest index; -1 if any is NaN. */
int	kern_argmax(struct kern *kn, const float *x, int n);

#endif
