/*
 * policy - what an expert server runs next: a table of functions over the same
 * micro-queues.
 *
 * A policy sees the layers that have rows to run (policy_view) and picks one
 * layer with all its active experts, or one expert of it.  It changes no
 * queue, and the answers are the same under each of them.
 *
 *     fifo    the layer whose oldest row has waited longest
 *     wait    the same among the layers that are ripe: every client that has
 *             lately been heard of has rows there, or there are batch_rows
 *             rows, or the oldest has waited hold_ns (dynamic batching of EaaS,
 *             arXiv 2509.17863)
 *     mtfs    most tokens first: the queue with most rows
 *     flfs    first layer first: the lowest layer
 *     defrag  the queue (b, e) of a ripe layer with the highest
 *             min(Q[b][e], FULL) +
 *                 sum_{k=1..K} delta^k * mean_e' Q[(b+k) mod L][e'],
 *             so that rows catch up with those of the layers ahead (mtfs, flfs
 *             and, without FULL, this: AMoE, arXiv 2505.08944, Algorithm 1)
 *     auto    wait or defrag, by what is queued: see policy_auto.h
 *
 * Under mtfs, flfs and defrag a row could wait for ever.  So a row that has
 * waited urgent_ns goes before everything, the oldest first: what waits longer
 * is only behind older rows.
 *
 * But for auto no policy keeps state: the same queues give the same pick.  Cost
 * of a pick: of the order of the layers with rows (defrag: times K), however
 * many experts and queues there are.  Threads: those of the engine.
 */
#ifndef MOE_POLICY_H
#define MOE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct policy_auto;

#define POLICY_DEFRAG_FULL	4	/* rows */

/* A micro-queue with rows to run. */
struct policy_queue {
	int expert;
	uint32_t n;		/* rows */
	uint64_t since_ns;	/* submit time of the oldest */
	uint32_t at[2];		/* the engine's */
};

/* A layer; in policy_view.layer with at least one of them. */
struct policy_layer {
	int layer;
	uint32_t block;		/* its place in policy_view.block */
	uint32_t n_expert;	/* of it that the server has */
	uint32_t n_row;		/* over all its queues */
	uint32_t n_queue;
	uint32_t n_client;	/* different clients among them */
	uint64_t since_ns;	/* submit time of the oldest */
	const struct policy_queue *most;	/* rows; equal: older */
	const struct policy_queue *oldest;
	struct policy_layer *next;	/* in no order */
};

struct policy_view {
	const struct policy_layer *layer;	/* never NULL */
	/* Layers of which the server has experts, in order: L of them. */
	struct policy_layer *const *block;
	uint32_t n_block;
	uint64_t now_ns;
	uint64_t hold_ns;
	uint64_t urgent_ns;
	uint32_t batch_rows;	/* 0: no limit */
	uint32_t n_client;	/* up, and heard of lately */
	uint32_t lookahead;	/* K */
	double decay;		/* delta */
	uint64_t n_submit;	/* jobs that have ever come */
	struct policy_auto *state;	/* of auto */
};

struct policy_pick {
	int layer;
	int expert;		/* -1: all active ones of the layer */
	bool urgent;		/* picked because of urgent_ns */
};

struct policy {
	const char *name;
	/* true: run *pick now.  false: look again at *next_ns. */
	bool (*pick)(const struct policy_view *v, struct policy_pick *pick,
	    uint64_t *next_ns);
};

/* For CLI_ENUM. */
#define POLICY_NAMES	"fifo|wait|mtfs|flfs|defrag|auto"
#define POLICY_N	6
const struct policy *policy_at(int i);	/* index into POLICY_NAMES */
const struct policy *policy_find(const char *name);	/* NULL: none */
int	policy_index(const struct policy *p);

#endif
