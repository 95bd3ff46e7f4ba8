/*
 * rt_reg - the registry: the members of a cluster as the router knows them.
 *
 * The cluster file's members are always in it, up or not; others that say HELLO
 * are in it while they are connected.  What members report is kept as numbers;
 * what they report wrongly is left out.  One thread.
 */
#ifndef MOE_RT_REG_H
#define MOE_RT_REG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster.h"
#include "err.h"
#include "link.h"

#define RT_REG_MAX	8192	/* members; more are not noted */
#define RT_REG_STATE	16

struct rt_member {
	char name[LINK_NAME], addr[LINK_ADDR];
	enum link_role role;
	bool in_file, self;
	const void *who;	/* the pair it is connected by; NULL: down */
	char state[RT_REG_STATE];	/* as reported; "" until then */
	int64_t pid, experts, bytes, queue, rows;	/* -1: not known */
	double rows_s;		/* < 0: not known */
	uint64_t heard_ns, report_ns;	/* 0: never */
};

struct rt_reg {
	struct rt_member *m;
	size_t n, cap;
};

/* Take over the members of a cluster file: new ones come in, those that have
 * gone from it and are down go. */
void	rt_reg_file(struct rt_reg *g, const struct cluster *c);
void	rt_reg_free(struct rt_reg *g);

/* A member said HELLO over `who`; a newer connection of a name takes the
 * older one's place.  NULL: a tool, or RT_REG_MAX. */
struct rt_member *rt_reg_up(struct rt_reg *g, const struct link_hello *peer,
	    const void *who, uint64_t now_ns);
/* The router itself is a member that is always up. */
void	rt_reg_self(struct rt_reg *g, const char *name, int64_t pid);
void	rt_reg_down(struct rt_reg *g, const void *who);
struct rt_member *rt_reg_of(struct rt_reg *g, const void *who);
/* Its report; -1: ERR_DATA, not a JSON object. */
int	rt_reg_report(struct rt_member *m, const void *data, size_t n,
	    uint64_t now_ns, struct err *err);

/* The registry as an array of objects, for a reply. */
json_t	*rt_reg_json(const struct rt_reg *g, uint64_t now_ns);
const char *rt_reg_role(enum link_role role);

#endif
