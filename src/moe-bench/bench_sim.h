/*
 * bench_sim - what the files of `moe-bench sim` share: a discrete-event double
 * of a cluster while it decodes, to check emulated daemons against and to look
 * at clusters beyond them.
 *
 * Sequences: `running` of them at any time, each replaced as it ends, prompts
 * already computed (as AMoE measures).  A token passes through every layer:
 * attention on its sequence's device, k experts, sum.  Devices cost what
 * kernels/emu says; experts are drawn by skew.h; expert servers decide by
 * common/expert/policy.c itself.  Times in us; one thread; a function of the
 * options.
 */
#ifndef MOE_BENCH_SIM_H
#define MOE_BENCH_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "bench_gen.h"
#include "emu/emu.h"
#include "hist.h"
#include "policy.h"
#include "skew.h"

enum bench_sim_mode { SIM_ASYNC, SIM_BARRIER, SIM_DWDP };
#define BENCH_SIM_MODES	"async|barrier|dwdp"
#define SIM_FREE	0	/* groups: whoever is ready goes on */
#define SIM_MAX_K	16

struct sim_opt {
	int mode;
	int attn, experts;	/* devices; barrier, dwdp: experts alone */
	int groups;		/* of an attention device; SIM_FREE */
	int micro;		/* barrier: microbatches at different layers */
	int spare;		/* more places for copies of hot experts, a layer */
	int running;		/* sequences */
	int passes;		/* tokens of a sequence that are measured */
	const struct policy *policy, *attn_policy;
	double hold_us, urgent_us;
	int lookahead;
	double decay;
	struct emu_device dev;
	struct emu_shape shape;
	uint64_t seed;
};

struct sim_seq {
	uint64_t seed;
	int dev, group;		/* where its attention is */
	int ctx, left;		/* tokens so far, to come */
	int layer, pending;	/* answers that are missing */
	double last_us;		/* when its last token came; < 0: none yet */
};

struct sim_route {
	int32_t seq;
	int32_t expert;
};

struct sim {
	struct sim_opt o;
	const struct skew *skew;
	const bench_gen_list *lengths;
	size_t next_length;
	struct sim_seq *seq;
	int16_t **place;	/* [layer * n_expert + e]: devices, -1 ends */
	double now_us;
	/* measured */
	bool on;		/* warm by now */
	uint64_t tokens, all_tokens;
	double on_us;
	double attn_busy_us, expert_busy_us;	/* of all devices */
	struct hist itl;	/* us */
	struct hist rows;	/* of passes through one or more experts */
};

struct sim_result {
	double tok_s, itl_us, attn_busy, expert_busy;	/* shares */
};

/* bench_sim_load.c */
void	sim_open(struct sim *s, const struct sim_opt *o,
	    const struct skew *skew, const bench_gen_list *lengths);
void	sim_close(struct sim *s);
/* A token of seq is there at s->now_us: count it, go on or begin anew. */
void	sim_token(struct sim *s, struct sim_seq *q);
/* The k experts of seq's next token at a layer. */
void	sim_experts(const struct sim *s, const struct sim_seq *q, int layer,
	    int32_t *ids);
/* The device that does it for this sequence. */
int	sim_place(const struct sim *s, const struct sim_seq *q, int layer,
	    int expert);
/* All that is to be measured has been. */
bool	sim_over(const struct sim *s);
/* Time of the logits of so many rows. */
double	sim_head_us(const struct sim *s, int rows);
void	sim_result(const struct sim *s, struct sim_result *r);

void	sim_barrier(struct sim *s);	/* bench_sim_barrier.c */
void	sim_dwdp(struct sim *s);
void	sim_async(struct sim *s);	/* bench_sim_async.c */

/* bench_sim_queue.c: micro-queues of one device, and its policy. */
struct sim_queues;
struct sim_queues *sim_queues_open(const struct sim_opt *o,
	    const struct policy *p, int n_layer, int n_queue, int n_client);
void	sim_queues_close(struct sim_queues *q);
void	sim_queues_add(struct sim_queues *q, int layer, int queue,
	    struct sim_route r, int client, double now_us);
/* Pick, and take what was picked: rows[0..*n) in the order of queues, n_of[i]
 * rows of the i-th queue; both valid until the next call.  false: look again at
 * *next_us (or when something was added). */
struct sim_taken {
	int layer;
	const struct sim_route *row;
	int n;
	const int *n_of;
	int n_queue;
};
bool	sim_queues_take(struct sim_queues *q, double now_us,
	    struct sim_taken *out, double *next_us);

int	bench_sim_main(int argc, char **argv);

#endif
