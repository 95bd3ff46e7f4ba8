/*
 * emu - a backend that takes the time that a named device would take.
 *
 * An operation is done by an inner kern (`compute`: true bits, of a model small
 * enough for this machine) or not at all (`skip`: products and attention give
 * zeros); then the caller sleeps until the device would be done.  Time runs
 * `scale` times slower than on the device, so that a few cores can carry many
 * of them.  What a sleep is late is taken off the operations that follow.
 *
 * The time of an operation is that of a roofline: so much for a launch, and the
 * longer of moving its bytes and doing its multiply-adds, each at the share of
 * the peak that the device reaches.  Norms, rope, sums and sampling take no
 * time of their own: a step of attention has a fixed part for them.
 *
 * Floor: kernels.  Threads: as kern.h; the cost functions are pure.
 */
#ifndef MOE_EMU_H
#define MOE_EMU_H

#include <stdbool.h>
#include <stdint.h>

#include "kern.h"

/* A device: what its file (#moe:device/1) says. */
struct emu_device {
	char name[32];
	double flop_s, byte_s;	/* peak: dense bf16, memory */
	double flop_share, byte_share;	/* of the peak that is reached, 0 .. 1 */
	double launch_us;	/* of an operation */
	double attn_us;		/* more of a layer's attention step */
	double expert_us;	/* more of a pass through experts */
	double link_us, link_byte_s;	/* to another device, one way */
	double collective_us;	/* of an all-to-all among 8 without bytes */
};

/* The model that is emulated, where it is not the one that is loaded. */
struct emu_shape {
	int hidden, inter, n_head, n_kv_head, d_head, n_expert, top_k, n_layer;
	int vocab;
	int window;		/* keys that a query sees at most; 0: all */
};

/* y = W x for m rows, W [n][k] of bf16. */
double	emu_linear_us(const struct emu_device *d, int m, int n, int k);
/* A pass of n[0..n_group) rows through n_group experts. */
double	emu_ffn_us(const struct emu_device *d, int hidden, int inter,
	    const int *n, int n_group);
/* Attention proper: rows whose contexts add up to ctx tokens, and the keys and
 * values of so many tokens read once (when decoding that is ctx; the rows of a
 * prompt share theirs); q, k, v, o products and the gate are emu_linear_us. */
double	emu_attn_us(const struct emu_device *d, const struct emu_shape *s,
	    int rows, double ctx, double keys);
/* A layer's whole attention step: the fixed part, the products, attention and
 * the gate. */
double	emu_step_us(const struct emu_device *d, const struct emu_shape *s,
	    int rows, double ctx, double keys);
/* bytes from one device to another, alone on the link. */
double	emu_link_us(const struct emu_device *d, double bytes);

struct emu_opt {
	struct emu_device device;
	/* hidden > 0: charge a layer of this model for each layer's attention
	 * and each pass through experts of the loaded one, whatever its size. */
	struct emu_shape as;
	bool skip;
	bool no_link;		/* emu_wire says: links take no time */
	int scale;		/* real seconds for one of the device; >= 1 */
};

/* What a link of the device costs a slot of rows: a fixed time, and so much for a
 * byte of the loaded model's rows (as.hidden values of bf16 stand for its
 * `row_bytes`).  Zeros with no_link. */
void	emu_wire(const struct emu_opt *o, size_t row_bytes,
	    uint64_t *latency_ns, double *byte_ns);

/* As kern_open, for the inner kern; the variant is "emuN-" or "skipN-" and the
 * inner one's, N the scale, so that pairs which disagree do not connect. */
int	emu_open(struct kern **k_p, const struct emu_opt *o,
	    const struct kern_opt *inner, char why[KERN_WHY]);

/* Zeros of a kern that is not an emu. */
struct emu_stats {
	uint64_t ops;
	uint64_t busy_ns;	/* of the device, on its own clock */
	uint64_t real_ns;	/* since emu_open */
	uint64_t compute_ns;	/* real, within operations */
	/* Real, by which computing took longer than the device and the debt of
	 * late sleeps that is not paid back yet. */
	uint64_t over_ns;
	uint64_t late_max_ns;	/* of a sleep, real */
	uint64_t cpu_ns;	/* of the process */
};
/* Any thread; figures of different moments. */
void	emu_stats(const struct kern *k, struct emu_stats *out);
/* How wrong times may be, as a share of real time: what the process computed
 * outside of operations, and over_ns. */
double	emu_error(const struct emu_stats *s);

#endif
