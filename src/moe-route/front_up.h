/*
 * front_up - the front ends behind the door: which of them answer, how much
 * each has to do, and which one a request should go to.
 *
 * Each is asked for its health all the time: often while it is away or holds
 * streams, now and then otherwise.  What requests find out counts at once.
 *
 * One that works on something and has been silent for a while is asked at once;
 * if no byte comes from it for longer than it lately took to answer, it is a
 * suspect: others are asked to do its work as well, and nothing is taken from
 * it.  Only after hang_ns it is taken to be away.
 *
 * The loop's thread only.
 */
#ifndef MOE_FRONT_UP_H
#define MOE_FRONT_UP_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"
#include "front_call.h"

#define FRONT_MAX_UP	64
#define FRONT_NOT_ASKED	UINT64_MAX

enum front_state { FRONT_AWAY, FRONT_SICK, FRONT_WELL };

struct front_pool;

struct front_up {
	struct front_pool *pool;
	int index;
	char *name;
	struct front_addr addr;
	enum front_state state;
	char why[200];		/* not well: the reason */
	bool pages;		/* the next ones have copies of its KV pages */
	bool noticed;		/* logged as an event, and not repaired since */
	int in_flight;		/* requests that it works on */
	/* Silence, counted in ticks of the watch while in_flight > 0. */
	struct loop_timer *watch;
	uint64_t tick_ns;	/* when the last one was */
	uint64_t silent_ns;	/* since its last byte */
	uint64_t asked_ns;	/* silent_ns when a probe was under way first;
				 * FRONT_NOT_ASKED */
	uint64_t lag_ns;	/* what it lately took to answer one at most */
	uint64_t learnt_ns;	/* when that was so */
	bool suspect;
	struct loop_timer *timer;	/* next probe, or the end of this one */
	struct front_call *probe;
	uint64_t probe_ns;	/* when it began */
	int probe_status;
	struct str probe_body;
};

struct front_pool_opt {
	struct loop *loop;
	uint64_t well_ns, away_ns;	/* between probes */
	uint64_t hang_ns;		/* a probe may take this long */
	uint64_t suspect_ns, suspect_max_ns;	/* bounds on the silence that
				 * makes a suspect; 0: nobody is one */
	int spread;		/* requests that the preferred one may have more
				 * than the least loaded */
	void (*well)(void *arg);	/* one of them is well again */
	/* It did not answer a probe in time; comes again with each probe. */
	void (*hung)(void *arg, struct front_up *u);
	/* It is a suspect; comes again while it is. */
	void (*suspect)(void *arg, struct front_up *u);
	void *arg;
};

struct front_pool {
	struct front_pool_opt o;
	struct front_up up[FRONT_MAX_UP];
	int n;
	uint64_t suspects;	/* how often one became a suspect */
};

void	front_up_init(struct front_pool *p, const struct front_pool_opt *o);
/* pages: it copies its KV pages to the ones after it that do so as well.  -1:
 * ERR_USAGE, too many or no such address.  A second one of the same address is
 * left out. */
int	front_up_add(struct front_pool *p, const char *name,
	    const char *addr, bool pages, struct err *err);
void	front_up_start(struct front_pool *p);
void	front_up_stop(struct front_pool *p);

int	front_up_n_well(const struct front_pool *p);
/* The one for a request whose prompt begins with what hashes to hash, out of
 * those that are well and not in the set skip (bit i: up[i]), no suspect if
 * there is another; NULL: none. */
struct front_up *front_up_pick(struct front_pool *p, uint64_t hash,
	    uint64_t skip);
/* The one that most likely has copies of the pages of up[from]: the next that
 * is well, no suspect, and not in skip; NULL: none. */
struct front_up *front_up_heir(struct front_pool *p, int from,
	    uint64_t skip);
/* u works on one more, or one less. */
void	front_up_begin(struct front_up *u);
void	front_up_end(struct front_up *u);
/* A byte came from u. */
void	front_up_heard(struct front_up *u);
/* A request to u failed in a way that says that u is gone: look at once. */
void	front_up_failed(struct front_up *u, const char *why);

#endif
