/*
 * bench_sim - what the files of `moe-bench sim` share: a discrete-event double
 * of a cluster, to check emulated daemons against and to look at clusters
 * beyond them.
 *
 * Sequences: a closed loop keeps `running` of them, each replaced as it ends;
 * an open one (rate > 0) begins with that many and lets others come as gen
 * draws them.  Prompts are computed already (as AMoE measures), or in chunks
 * beside decoding (`prompts`).  A token passes through every layer: attention
 * on its sequence's device, k experts, sum.  Devices cost what kernels/emu
 * says; experts are drawn by skew.h; expert servers decide by
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
/* Where experts are: e on device e mod D; all of all layers counted through;
 * by known loads. */
enum sim_place { SIM_PLACE_MOD, SIM_PLACE_TURN, SIM_PLACE_LOAD };
#define BENCH_SIM_PLACES	"mod|turn|load"
/* How a barrier moves rows: each to where it is needed; all to everybody. */
enum sim_coll { SIM_COLL_ALLTOALL, SIM_COLL_GATHER };
#define BENCH_SIM_COLLS	"alltoall|gather"
#define SIM_FREE	0	/* groups: whoever is ready goes on */
#define SIM_MAX_K	16
#define SIM_EPOCHS	8	/* of drifting shares, over and over */

struct sim_opt {
	int mode;
	int attn, experts;	/* devices; barrier, dwdp: experts alone */
	bool colocate;		/* async: attention i and experts i share one */
	int groups;		/* of an attention device; SIM_FREE */
	int micro;		/* barrier: microbatches at different layers */
	int coll;		/* enum sim_coll */
	int place;		/* enum sim_place */
	int spare;		/* more places for copies of hot experts, a layer */
	double drift_us;	/* from one epoch's shares to the next's; 0: none */
	double rebalance_us;	/* place anew by counts; 0: never */
	int running;		/* sequences */
	int passes;		/* closed: tokens of a sequence to measure */
	int pack;		/* fill a device so far before the next; 0: even */
	double rate;		/* open: requests a second; 0: closed */
	double warm_us, measure_us;	/* open */
	bool prompts;		/* are computed; else they are there */
	int chunk;		/* rows of a prompt that go together */
	int prompt_rows;	/* of an attention device under way at most */
	double slo_us;		/* of the first token */
	const struct policy *policy, *attn_policy;
	double hold_us, urgent_us;
	int lookahead;
	double decay;
	struct emu_device dev;
	struct emu_shape shape;
	uint64_t seed;
};

/* A sequence, or a chunk of its prompt that passes through the layers. */
struct sim_seq {
	uint64_t seed;
	int dev, group;		/* where its attention is */
	int ctx, left;		/* tokens so far, to come */
	int prompt;		/* tokens of it that are not computed */
	int in_tok;		/* its whole length */
	int rows;		/* of this pass; 0: none */
	int layer, pending;	/* answers that are missing */
	int next, may;		/* chunk after it, -1; layers it may enter */
	bool dead;		/* free to be used again */
	bool fresh;		/* no pass of it has ended */
	bool chunk;		/* of a prompt, and not its last */
	bool computes;		/* the last one, the sequence itself */
	int cut;		/* the chunk cut last, while it is under way; -1 */
	bool waits;		/* ready, but the chunk before it is not on */
	double born_us;
	double last_us;		/* when its last token came; < 0: none yet */
};

struct sim_route {
	int32_t seq;
	int32_t expert;
	int32_t n;		/* rows */
};

struct sim {
	struct sim_opt o;
	struct skew *const *skew;	/* [SIM_EPOCHS] */
	const bench_gen_list *lengths;
	size_t next_length;
	VEC(struct sim_seq) seq;
	VEC(int) unused;	/* of seq */
	VEC(int) *fifo;		/* [attn] sequences with prompts to compute */
	int64_t *load;		/* [attn] sequences and prompt tokens there */
	int16_t **place;	/* [layer * n_expert + e]: n, then n devices */
	double *known;		/* [layer * n_expert + e] loads to place by */
	uint64_t *count;	/* of the interval, likewise */
	double rebalance_at_us;
	double now_us;
	/* measured */
	bool on;		/* warm by now */
	uint64_t tokens, all_tokens, prompt_tokens;
	uint64_t born, in_time;	/* requests of which it is known */
	int n_alive;
	double on_us;
	double attn_busy_us, expert_busy_us;	/* of all devices */
	double worst, mean;	/* barrier: rows of the fullest device, and mean */
	double way_us;		/* async: messages waited to get in */
	uint64_t n_message;
	struct hist itl, ttft;	/* us */
	struct hist rows;	/* of passes through one or more experts */
};

struct sim_result {
	double tok_s, prompt_s, itl_us, itl50_us, itl99_us;
	double ttft_us, ttft99_us, in_time;	/* share */
	double attn_busy, expert_busy;	/* shares */
	double rows, rows10, rows50, rows90;
	double uneven, way_us, alive;
};
#define SIM_RESULTS	(sizeof(struct sim_result) / sizeof(double))

/* bench_sim_load.c */
void	sim_open(struct sim *s, const struct sim_opt *o,
	    struct skew *const *skew, const bench_gen_list *lengths);
void	sim_close(struct sim *s);
/* A token of seq i is there at s->now_us: count it, and go on, begin anew, or
 * (false) leave: then i is free. */
bool	sim_token(struct sim *s, int i);
/* Open loop: when the next request comes; and let it in: its sequence. */
double	sim_next_us(const struct sim *s);
int	sim_arrive(struct sim *s);
/* A chunk of the prompt of the sequence that is first on a device, or the
 * sequence itself when that is its last; -1: no prompt waits. */
int	sim_cut(struct sim *s, int dev);
void	sim_drop(struct sim *s, int i);
/* The k experts of seq's token at a position and layer. */
void	sim_experts(struct sim *s, const struct sim_seq *q, int64_t pos,
	    int layer, int32_t *ids);
/* All that is to be measured has been. */
bool	sim_over(const struct sim *s);
/* Time of the logits of so many rows. */
double	sim_head_us(const struct sim *s, int rows);
/* Of so many rows' contexts, when seq q's are among them. */
void	sim_context(const struct sim_seq *q, double *ctx, double *keys);
void	sim_result(const struct sim *s, struct sim_result *r);

/* bench_sim_place.c */
void	sim_place_open(struct sim *s);
void	sim_place_close(struct sim *s);
/* Time has passed: place anew by what was counted, if it is time. */
void	sim_place_tick(struct sim *s);
/* The device that does it for the token at pos of this sequence. */
int	sim_place(const struct sim *s, const struct sim_seq *q, int64_t pos,
	    int layer, int expert);

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
/* Pick, and take what was picked: route[0..n) in the order of queues, n_of[i]
 * rows of the i-th queue; both valid until the next call.  false: look again at
 * *next_us (or when something was added). */
struct sim_taken {
	int layer;
	const struct sim_route *route;
	int n, rows;
	const int *n_of;
	int n_queue;
};
bool	sim_queues_take(struct sim_queues *q, double now_us,
	    struct sim_taken *out, double *next_us);
/* So many clients are there to be waited for. */
void	sim_queues_clients(struct sim_queues *q, int n);

/* bench_sim_opt.c: the command line. */
struct sim_args {
	struct sim_opt o;
	const char *device, *shape, *routing, *drift_to, *lengths, *trace;
	const char *running, *groups, *batches;
	int policy, attn_policy, arrivals;
	int64_t attn, experts, micro, spare, passes, top_k, layers, n_expert;
	int64_t seed, seeds, lookahead, chunk, prompt_rows, pack;
	uint64_t hold_ns, urgent_ns, drift_ns, rebalance_ns, warm_ns, time_ns,
	    slo_ns;
	double cv;
	bool json;
};
/* Defaults, the command line over them, and what follows of it in o. */
int	sim_args(struct sim_args *a, int argc, char **argv, struct err *err);

int	bench_sim_main(int argc, char **argv);

#endif
