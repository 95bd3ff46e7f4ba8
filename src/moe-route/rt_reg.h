/*
 * rt_reg - the registry: the members of a cluster as the router knows them.
 *
 * The cluster file's members are always in it, up or not; others that say HELLO
 * are in it while they are connected, have a place in the map, or are dead by
 * an operator's word.  What members report is kept as numbers; what they report
 * wrongly is left out.  One thread.
 */
#ifndef MOE_RT_REG_H
#define MOE_RT_REG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster.h"
#include "err.h"
#include "hold.h"
#include "link.h"

#define RT_REG_MAX	8192	/* members; more are not noted */
#define RT_REG_STATE	16
#define RT_REG_REPORT	(256u << 10)	/* bytes; a longer one is refused */

struct rt_member {
	char name[LINK_NAME], addr[LINK_ADDR];
	enum link_role role;
	bool in_file, self;
	const void *who;	/* the pair it is connected by; NULL: down */
	char state[RT_REG_STATE];	/* as reported; "" until then */
	int64_t pid, experts, bytes, queue, rows;	/* -1: not known */
	double rows_s;		/* < 0: not known */
	uint64_t heard_ns, report_ns;	/* 0: never */
	json_t *report;		/* the last one; NULL: none */

	/* What a router goes by; kept while the member is away. */
	double weight;
	uint64_t incarnation;	/* of its last HELLO; 0: never seen */
	uint64_t lost_ns;	/* since when it is away */
	bool placed;		/* in a map that is in use */
	bool dead;		/* by an operator's word, until a newer HELLO */
	bool leaving;		/* to be drained, likewise */
	bool gone;		/* away for too long */

	/* Of the connection. */
	struct hold hold, want;	/* what it has, what it was told to have */
	bool has_hold, has_want, told_drain;
	bool pinned;		/* --experts: it takes no orders */
	int64_t cap;		/* experts that fit its memory; < 0: any */
	int64_t assigned;	/* that it has or is loading */
	uint32_t map;		/* front: the version it goes by; expert: the
				 * newest it was told of; 0: not known */
	uint64_t map_by;	/* front: incarnation of the router it is from */
	bool ready;		/* front: it needs no older map */
	uint32_t sent_map;	/* front: the version that it was sent; 0: none */
	bool asked;		/* for a report that has not come */
};

struct rt_reg {
	struct rt_member *m;
	size_t n, cap;
};

/* Take over the members of a cluster file: new ones come in, those that have
 * gone from it and are down go. */
void	rt_reg_file(struct rt_reg *g, const struct cluster *c);
void	rt_reg_free(struct rt_reg *g);

/* A server that a map names: it is in the registry, up or not. */
struct rt_member *rt_reg_note(struct rt_reg *g, const char *name,
	    const char *addr, uint64_t now_ns);
struct rt_member *rt_reg_find(struct rt_reg *g, const char *name,
	    enum link_role role);
/* A member said HELLO over `who`; a newer connection of a name takes the
 * older one's place.  NULL: a tool, or RT_REG_MAX. */
struct rt_member *rt_reg_up(struct rt_reg *g, const struct link_hello *peer,
	    const void *who, uint64_t now_ns);
/* The router itself is a member that is always up. */
void	rt_reg_self(struct rt_reg *g, const char *name, int64_t pid);
void	rt_reg_down(struct rt_reg *g, const void *who, uint64_t now_ns);
struct rt_member *rt_reg_of(struct rt_reg *g, const void *who);
/* Its report; -1: ERR_DATA, not a JSON object, or too long. */
int	rt_reg_report(struct rt_member *m, const void *data, size_t n,
	    uint64_t now_ns, struct err *err);

/* What a member says of the map it goes by, {"map": N, "by": HEX, "ready":
 * BOOL}; false: that is not what it says. */
bool	rt_reg_map(struct rt_member *m, const json_t *o);

/* The registry as an array of objects, for a reply. */
json_t	*rt_reg_json(const struct rt_reg *g, uint64_t now_ns);
const char *rt_reg_state(const struct rt_member *m);
const char *rt_reg_role(enum link_role role);

#endif
