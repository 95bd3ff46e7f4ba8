/*
 * rt_turn - one map takes the turn of another, without a gap.
 *
 *     aim      the next map is known; servers are to load what it adds
 *     publish  they have; front ends are told
 *     use      a front end says which version it goes by; versions that none
 *              needs any more are forgotten, and with them their copies
 *
 * What a server is to have is what any of these maps gives it.  Here are only
 * the maps; who is connected, and messages, are the caller's.  One thread.
 */
#ifndef MOE_RT_TURN_H
#define MOE_RT_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "hold.h"
#include "map.h"
#include "mem.h"

struct rt_turn {
	VEC(struct map *) use;	/* published and perhaps needed, oldest first;
				 * the last one is the map; empty: there is none */
	struct map *next;	/* being loaded; NULL: none */
	struct hold *add;	/* [servers of next] what it adds to each */
};

/* There is this map, and no other; takes the reference. */
void	rt_turn_start(struct rt_turn *t, struct map *m);
void	rt_turn_free(struct rt_turn *t);

struct map *rt_turn_now(const struct rt_turn *t);	/* NULL: none */
/* What is wanted in the end: the next map, else the map. */
struct map *rt_turn_goal(const struct rt_turn *t);
uint32_t rt_turn_version(const struct rt_turn *t);	/* of the map; 0: none */
/* Nothing is being loaded, and no older map is needed. */
bool	rt_turn_still(const struct rt_turn *t);

/* Go for this map (takes the reference; its version is set) instead of whatever
 * was next. */
void	rt_turn_aim(struct rt_turn *t, struct map *m);
/* Stay with the map as it is. */
void	rt_turn_cancel(struct rt_turn *t);
/* Has every server loaded what the next map adds?  has_of: what a server has,
 * NULL when it is not there.  On false *who_p (or NULL) is one that has not. */
typedef const struct hold *(rt_turn_holds_fn)(void *arg, const char *server);
bool	rt_turn_loaded(const struct rt_turn *t, rt_turn_holds_fn *has_of,
	    void *arg, const char **who_p);
/* The next map is the map from now on. */
void	rt_turn_publish(struct rt_turn *t);
/* No front end needs a map older than `version` any more. */
void	rt_turn_used(struct rt_turn *t, uint32_t version);
/* The map as it is, numbered `version` (above its own) from now on. */
void	rt_turn_renumber(struct rt_turn *t, uint32_t version);

/* Add to *out, of the maps' shape, what `server` is to have. */
void	rt_turn_want(const struct rt_turn *t, const char *server,
	    struct hold *out);
/* Add what map m gives to server s. */
void	rt_turn_bits(const struct map *m, int s, struct hold *out);

#endif
