/*
 * policy - what an expert server runs next: a table of functions over the same
 * micro-queues.
 *
 * A policy sees the layers that have rows to run (policy_view) and picks one
 * layer with all its active experts, or one expert of it.  It changes nothing
 * and keeps no state: the same queues give the same pick.
 *
 *     fifo  the layer whose oldest row has waited longest
 *     wait  the same among the layers that are ripe: every client that has
 *           lately been heard of has rows there, or there are batch_rows
 *           rows, or the oldest has waited hold_ns (dynamic batching of EaaS,
 *           arXiv 2509.17863)
 */
#ifndef MOE_POLICY_H
#define MOE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* A micro-queue with rows to run. */
struct policy_queue {
	int expert;
	uint32_t n;		/* rows */
	struct policy_queue *next;	/* of the layer */
};

/* A layer with at least one of them. */
struct policy_layer {
	int layer;
	uint32_t n_row;		/* over all its queues */
	uint32_t n_client;	/* different clients among them */
	uint64_t since_ns;	/* submit time of the oldest */
	struct policy_queue *queue;
	struct policy_layer *next;	/* in no order */
};

struct policy_view {
	const struct policy_layer *layer;	/* never NULL */
	uint64_t now_ns;
	uint64_t hold_ns;
	uint32_t batch_rows;	/* 0: no limit */
	uint32_t n_client;	/* up, and heard of lately */
};

struct policy_pick {
	int layer;
	int expert;		/* -1: all active ones of the layer */
};

struct policy {
	const char *name;
	/* true: run *pick now.  false: look again at *next_ns. */
	bool (*pick)(const struct policy_view *v, struct policy_pick *pick,
	    uint64_t *next_ns);
};

#define POLICY_NAMES	"fifo|wait"	/* for CLI_ENUM: index into policy_at */
const struct policy *policy_at(int i);
const struct policy *policy_find(const char *name);	/* NULL: none */

#endif
