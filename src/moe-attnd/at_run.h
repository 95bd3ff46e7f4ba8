/* at_run - the engine: what main() opens, and what at_engine.c (queues between
 * threads) and at_run.c (the engine thread) share. */
#ifndef MOE_AT_RUN_H
#define MOE_AT_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "at_engine.h"
#include "at_free.h"
#include "at_group.h"
#include "at_page.h"
#include "at_sample.h"
#include "mem.h"

#define AT_MAX_GROUP	8
#define AT_LOGIT_ROWS	32	/* logits of this many rows at a time */

struct at_engine_opt {
	struct kern *kn;
	const struct model *m;
	const struct skew *skew;	/* draws experts; NULL: the gate does */
	uint64_t fingerprint;
	int ctx_tok;
	enum kern_dtype kvt;	/* of keys and values */
	uint64_t kv_bytes;
	bool prefix_cache;
	int n_group;		/* 0: free */
	int max_seq, max_queue, step_rows, chunk_tok, prompt_rows;
	struct at_queue_opt attn;	/* free: what runs next */
	/* dispatch, see at_disp.h; at_engine_open takes over none of these */
	struct link_port *port;
	struct map *map;
	struct xeng *xeng;
	bool wire;		/* the port emulates a link: count it */
	uint64_t deadline_ns, stall_ns;
	uint64_t max_wait_ns;	/* in the queue; 0: no bound */
	double hedge;		/* see at_disp.h */
	enum kern_sum_rule reduce;	/* see at_disp.h */
	/* copies of KV pages; NULL: none.  kv and shape are filled in */
	const struct at_page_opt *pages;
	void (*report)(void *arg, json_t *pairs);
	void *report_arg;
};

/* Loads the front end's weights and starts the engine thread. */
int	at_engine_open(struct at_engine **out, const struct at_engine_opt *o,
	    struct err *err);
/* Refuse new sequences from now on; running ones go on.  Any thread. */
void	at_engine_drain(struct at_engine *e);
/* Nothing waits and nothing runs.  Any thread. */
bool	at_engine_idle(struct at_engine *e);
/* Stop the thread (what is under way is dropped), free everything. */
void	at_engine_close(struct at_engine *e);

/* ---- shared by at_engine.c and at_run.c ---- */

struct at_engine {
	struct at_engine_opt o;
	struct at_info info;
	uint32_t eos[CONFIG_EOS];
	pthread_t thread;
	struct link_port *port;
	struct at_page *pages;	/* NULL: no copies */

	/* Between the threads, under lock. */
	pthread_mutex_t lock;
	VEC(struct at_seq *) in;	/* submitted */
	VEC(struct at_seq *) cancel;
	VEC(struct at_out) out;	/* results; out_at: next to be taken */
	size_t out_at;
	int n_held;		/* sequences between submit and their last output */
	bool draining, covered;
	/* Sequences that wait begin one every start_gap_ns, smoothed; 0: not
	 * known yet.  queue_ns: when the last one did, or when they began to
	 * wait; 0: none waits. */
	uint64_t start_gap_ns, queue_ns;
	int n_waiting, n_free;	/* as of then; running ones there is room for */
	char why[200];
	struct at_metrics metrics;
	int out_fd;
	atomic_bool stop;

	/* The engine thread's own. */
	struct at_core core;
	struct at_sched sched;
	struct at_group group[AT_MAX_GROUP];
	struct at_free free;
	struct at_sample_mem sample_mem;
	struct at_seq_state **rest;	/* of a step, scratch */
	size_t cap_rest;
	float *logits;		/* [AT_LOGIT_ROWS][vocab] */
	VEC(struct at_out) fresh;	/* outputs of the step, not published yet */
	uint64_t uncovered_ns;	/* since when; 0: covered */
	uint64_t check_ns;	/* next look at deadlines and coverage */
	struct at_metrics count;	/* published copy: metrics */
};

void	*at_run(void *e);	/* the thread */

#endif
