/*
 * link_wire - the network card of an emulated device.  Internal to common/link.
 *
 * What arrives at a port is handed to the program when the card would have it:
 * all pairs' slots come in one after the other, each for as long as its bytes
 * take, and every one is latency_ns later still.  So a pair has the card's
 * bandwidth when it is alone, and many that send to one share it (incast).
 * What a card sends takes no time there: it has been counted where it arrives.
 *
 * Data thread.
 */
#ifndef MOE_LINK_WIRE_H
#define MOE_LINK_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"

struct link_wire;

/* NULL when o emulates nothing. */
struct link_wire *link_wire_new(const struct link_wire_opt *o);
void	link_wire_free(struct link_wire *w);	/* NULL is fine */

/* A slot has arrived just now; bytes of it. */
void	link_wire_put(struct link_wire *w, const struct link_event *ev,
	    uint32_t bytes, uint64_t now_ns);
/* The next one that is due.  Those of broken pairs are dropped. */
bool	link_wire_take(struct link_wire *w, uint64_t now_ns,
	    struct link_event *ev);
/* When the next one is due; UINT64_MAX: none waits. */
uint64_t link_wire_due(const struct link_wire *w);
/* The pair's memory goes: nothing of it is handed over any more. */
void	link_wire_forget(struct link_wire *w, const struct link_pair *pair);
void	link_wire_count(const struct link_wire *w, struct link_counters *out);

#endif
