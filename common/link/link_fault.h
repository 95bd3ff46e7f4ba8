/*
 * link_fault - fault:SPEC:ADDRESS: a pair that suffers what networks do.
 * Internal to common/link but for the specification, which addr.c checks.
 *
 * SPEC is key=value[,key=value...]:
 *
 *     delay=TIME           every slot is that much later
 *     jitter=TIME          and up to that much more, in order still
 *     throttle=BYTES       a second, of slots
 *     drop=P               a slot never arrives
 *     corrupt-header=P     one byte of the slot's header is changed
 *     corrupt-routes=P     of its routes
 *     corrupt-payload=P    of its rows
 *     reorder=P            an answer waits until another has overtaken it
 *                          (REORDER_NS at most)
 *     duplicate=P          a slot arrives twice
 *     cut=N                each connection ends after N slots
 *     cut-at=TIME          each connection ends at that age
 *     half-open=out|in     slots, messages and heartbeats that way vanish
 *     dir=out|in|both      which way all but cut and half-open act: out
 *                          are requests, in are answers; default both
 *     after=TIME until=TIME    only in this part of the pair's life, counted
 *                          from link_dial
 *     seed=N               the draws; default 1
 *
 * or @FILE: the specification is the first word of FILE, or none when that is
 * empty.  FILE is opened when the pair is dialled and read again every few
 * milliseconds, so it is to be written in place; after, until and cut-at count
 * from when a text was first seen, and a word that is no specification changes
 * nothing.
 *
 * P is 0 to 1.  Whether something happens to the n-th slot that goes one way
 * over a pair is a function of (seed, fault, way, n), across reconnections, so
 * that it can be repeated.  HELLO and what belongs to it is never disturbed.
 *
 * The wrapper is a ring in front of the true ring (link_tp.h): the program's
 * slots are its own memory, and what arrives is copied from or to the ring
 * behind.  Dialling side only.
 */
#ifndef MOE_LINK_FAULT_H
#define MOE_LINK_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct link_ring;
struct link_faults;

enum link_fault_way { LINK_OUT = 0, LINK_IN = 1 };

enum link_fault_part { LINK_HEADER = 0, LINK_ROUTES, LINK_PAYLOAD, LINK_PARTS };

#define LINK_FAULT_FILE	120

struct link_fault_spec {
	char file[LINK_FAULT_FILE];	/* "": the rest counts */
	uint64_t seed;
	uint64_t delay_ns, jitter_ns;
	uint64_t bytes_s;	/* throttle; 0: none */
	uint64_t cut_slots;	/* 0: never */
	uint64_t cut_at_ns;	/* 0: never */
	uint64_t after_ns, until_ns;	/* until 0: for ever */
	double drop, reorder, duplicate;	/* probabilities */
	double corrupt[LINK_PARTS];
	bool way[2];		/* enum link_fault_way: it acts there */
	bool silent[2];		/* half-open */
};

/* text[0..n).  -1: ERR_USAGE with the key and what is wrong with it. */
int	link_fault_spec_parse(const char *text, size_t n,
	    struct link_fault_spec *s, struct err *err);

/* ---- of a pair ---- */

/* What a dialled pair keeps across its connections. */
struct link_fault;

/* NULL: ERR_USAGE, its file cannot be opened. */
struct link_fault *link_fault_new(const struct link_fault_spec *s,
	    struct err *err);
void	link_fault_free(struct link_fault *f);		/* NULL is fine */

/* Control thread.  Put a ring in front of a client's true ring, which it owns
 * from then on.  NULL (ERR_TEMP): no descriptors; the true ring is as before. */
struct link_ring *link_fault_wrap(struct link_fault *f, struct link_ring *in,
	    struct err *err);
/* Any thread: does what goes that way vanish now?  f NULL: no. */
bool	link_fault_silent(const struct link_fault *f, enum link_fault_way w,
	    uint64_t now_ns);
/* When a connection that came up at up_ns is to be cut; UINT64_MAX: never. */
uint64_t link_fault_cut_ns(const struct link_fault *f, uint64_t up_ns);
/* Data thread. */
void	link_fault_count(const struct link_fault *f, struct link_faults *out);

#endif
