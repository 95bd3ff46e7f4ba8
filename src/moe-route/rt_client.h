/* rt_client - a tool's side of a router: find it, ask, wait for the answer. */
#ifndef MOE_RT_CLIENT_H
#define MOE_RT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "cluster.h"
#include "err.h"
#include "link.h"
#include "str.h"

struct rt_client_opt {		/* of the command line */
	const char *file, *name, *addr;
	struct link_sec_opt sec;
	int64_t scale;		/* of the cluster's clocks; 0: 1 */
	uint64_t limit_ns;	/* longest wait for an answer */
};

#define RT_CLIENT_OPTIONS(o)						\
	{ 'f', "cluster", CLI_STR, &(o)->file, "CLUSTER",		\
	    "cluster file, for the router's address", 0, 0,		\
	    "MOE_CLUSTER" },						\
	{ 'i', "name", CLI_STR, &(o)->name, "NAME",			\
	    "which router of the file (default: its first)", 0, 0,	\
	    NULL },							\
	{ 'r', "route", CLI_STR, &(o)->addr, "ADDR",			\
	    "the router's address, instead of a file", 0, 0, NULL },	\
	LINK_SEC_OPTIONS(&(o)->sec, "the router and we",		\
	    "a router beyond this machine without a key"),		\
	{ 0, "emu-scale", CLI_INT, &(o)->scale, "N",			\
	    "the cluster's clocks are N times slower", 1,		\
	    CLOCK_MAX_DILATION, "MOE_EMU_SCALE" }

struct rt_client {
	struct link_port *port;
	struct link_pair *pair;
	struct cluster *cluster;
	char addr[LINK_ADDR];
};

/* Dial the router that the options name.  -1: ERR_USAGE, ERR_DATA. */
int	rt_client_open(struct rt_client *c, const struct rt_client_opt *o,
	    struct err *err);
void	rt_client_close(struct rt_client *c);

/* Ask (takes the reference) and wait: the answer as it came, a REPLY or a MAP.
 * -1: ERR_TEMP (nobody answered), or the router's error with its code. */
int	rt_client_ask(struct rt_client *c, json_t *ask, uint64_t limit_ns,
	    struct str *out, struct err *err);
/* The answer as an object; NULL: as above, or ERR_DATA. */
json_t	*rt_client_json(struct rt_client *c, json_t *ask, uint64_t limit_ns,
	    struct err *err);

#endif
