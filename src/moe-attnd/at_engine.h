/*
 * at_engine - the front end's engine as the HTTP side sees it.
 *
 * The engine runs on a thread of its own.  The HTTP thread makes sequences,
 * submits them, takes outputs from one queue, and frees them.  A sequence
 * belongs to the engine from at_submit until its AT_DONE or AT_FAIL output has
 * been taken by at_take; those come exactly once, after a cancel too.
 */
#ifndef MOE_AT_ENGINE_H
#define MOE_AT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "at_prof.h"
#include "err.h"

struct at_engine;

#define AT_MAX_TOP	20	/* top_logprobs at most */
#define AT_MAX_STOP_ID	64

struct at_sampling {
	double temperature;	/* 0: greedy, ties to the lowest id */
	double top_p, min_p;	/* 1, 0: off */
	int top_k;		/* 0: off */
	uint64_t seed;		/* of this sequence: draws are keyed by (seed, position) */
};

struct at_lp {
	uint32_t id;
	float lp;		/* natural log of the untempered probability */
};

struct at_seq {
	/* set by the HTTP side before at_submit, read-only after */
	uint32_t *prompt;	/* owned; freed by at_seq_free */
	int n_prompt;		/* >= 1 */
	int max_tok;		/* tokens to generate; 0: score the prompt only */
	int min_tok;		/* eos and stop ids are not taken before */
	bool ignore_eos;
	uint32_t stop_id[AT_MAX_STOP_ID];	/* more ids that end it */
	int n_stop_id;
	struct at_sampling sampling;
	int n_top;		/* -1: no logprobs; 0..AT_MAX_TOP alternatives */
	bool prompt_lp;		/* logprobs of the prompt's tokens, too */
	uint64_t deadline_ns;	/* 0: none */
	bool follows;		/* others of its request went before it: it is
				 * not given up for having waited long */
	void *user;		/* the HTTP side's */
	/* By the HTTP side before at_cancel: its text has ended (a stop string),
	 * so this is no abort in the counts. */
	bool stopped;

	struct at_seq_state *state;	/* the engine's; NULL outside */
};

/* A cleared sequence that owns a copy of prompt. */
struct at_seq *at_seq_new(const uint32_t *prompt, int n_prompt);
void	at_seq_free(struct at_seq *s);

enum at_kind {
	AT_PROMPT = 1,		/* logprob of prompt token number pos (pos >= 1) */
	AT_TOKEN,		/* the next generated token */
	AT_DONE,		/* finished: see finish */
	AT_FAIL,		/* could not go on: see fail */
};

enum at_finish { AT_FINISH_STOP = 1, AT_FINISH_LENGTH, AT_FINISH_CANCEL };

struct at_out {
	struct at_seq *seq;
	enum at_kind kind;
	int pos;		/* AT_PROMPT: index in the prompt */
	uint32_t id;		/* AT_TOKEN */
	float lp;		/* AT_TOKEN, AT_PROMPT, if logprobs were asked for */
	int n_top;		/* best first */
	struct at_lp top[AT_MAX_TOP];
	enum at_finish finish;	/* AT_DONE */
	uint32_t stop_id;	/* AT_DONE + STOP: the id that ended it (it is not
				 * sent as AT_TOKEN) */
	int n_cached;		/* AT_DONE: prompt tokens taken from the prefix cache */
	int fail_status;	/* AT_FAIL: HTTP status (429, 500, 503, 504) */
	char fail[200];
};

/* Any thread.  -1: ERR_NO when the queue is full or it would wait for longer
 * than --max-wait or its own deadline (a 429), ERR_TEMP when the engine is
 * draining (a 503), ERR_USAGE when the sequence can never fit the KV memory or the
 * context (a 400). */
int	at_submit(struct at_engine *e, struct at_seq *s, struct err *err);
/* How long a sequence submitted now would wait for its first step, by the rate
 * at which waiting ones have lately begun.  Any thread. */
uint64_t at_wait_ns(struct at_engine *e);
/* Any thread: AT_DONE with AT_FINISH_CANCEL follows, unless it was done. */
void	at_cancel(struct at_engine *e, struct at_seq *s);

/* HTTP thread: the next output; false when there is none.  at_out_fd becomes
 * readable when there may be some, and stays so until a call gave false. */
bool	at_take(struct at_engine *e, struct at_out *out);
int	at_out_fd(const struct at_engine *e);

/* Could a token be produced now?  false: why says what is missing.  Any thread. */
bool	at_health(struct at_engine *e, char why[200]);

/* What the HTTP side needs to know of the model. */
struct at_info {
	int n_vocab, ctx_tok;	/* context limit in tokens */
	const uint32_t *eos;
	int n_eos;
	uint64_t fingerprint;
	char variant[64];
};
const struct at_info *at_engine_info(const struct at_engine *e);

/* What the engine was waiting for while it had nothing to do. */
enum at_stall {
	AT_STALL_IDLE,		/* for requests */
	AT_STALL_ADMISSION,	/* requests wait, none may run */
	AT_STALL_EXPERTS,	/* for answers */
	AT_STALL_SERVERS,	/* for a server that has an expert */
	AT_STALL_HOLD,		/* --attn-policy keeps rows back */
	AT_STALLS
};

#define AT_PASS_BUCKETS	16	/* passes of at most 1, 2, 4, ... rows; the last
				 * one: of any number */
#define AT_DEPTHS	128

/* Counters for /metrics; a consistent copy.  Any thread. */
struct at_metrics {
	uint64_t n_waiting, n_running;
	uint64_t prompt_tok, gen_tok, cached_tok;	/* totals */
	uint64_t done_stop, done_length, done_cancel, failed;
	uint64_t kv_pages, kv_pages_used, kv_pages_cached;
	uint64_t kv_page_bytes;	/* of one, in all layers */
	uint64_t kv_copies, copy_hits;	/* see at_kv.h */
	uint64_t copy_peers, copy_sent, copy_sent_bytes;	/* see at_page.h */
	uint64_t copy_got, copy_got_bytes, copy_refused;
	uint64_t steps, rows;		/* engine steps, token rows through them */
	uint64_t server_up, server_down, replays, deadline_missed;
	uint64_t hedges, late;		/* see at_disp_stat */
	uint64_t bytes_out, bytes_in;
	uint64_t wire_busy_ns, wire_behind_ns;	/* see link_counters */
	uint64_t busy_ns, wait_expert_ns, sample_ns;
	uint64_t stall_ns[AT_STALLS];
	uint64_t part_ns[AT_PARTS];	/* of the engine thread, see at_prof.h */
	uint64_t passes, pass_rows, pass_bucket[AT_PASS_BUCKETS];
	uint64_t urgent;		/* --groups free: passes run out of turn */
	/* --groups free: rows that wait for attention, and the layer that it
	 * begins with; the model's number of layers: for the logits.  What is
	 * beyond the last entry is counted there. */
	int n_depth;
	struct {
		int layer;
		uint32_t rows;
	} depth[AT_DEPTHS];
};
void	at_metrics(struct at_engine *e, struct at_metrics *out);

#endif
