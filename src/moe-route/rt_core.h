/*
 * rt_core - the router at work: registry, map, changes of the map, and the tools
 * that wait for them.
 *
 * All of it belongs to the port thread.  rt_core.c has events and what follows
 * from them, rt_place.c decides where experts go, rt_learn.c finds out after a
 * start what the cluster goes by, rt_ask.c answers tools.  Nothing is done per
 * second: a quiet cluster costs its heartbeats.
 */
#ifndef MOE_RT_CORE_H
#define MOE_RT_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"
#include "err.h"
#include "link.h"
#include "rt_reg.h"
#include "rt_turn.h"
#include "str.h"

#define RT_NEVER	UINT64_MAX

struct rt_core_opt {
	const char *file, *model, *snapshot;	/* model, snapshot: or NULL */
	const char *name;
	uint64_t grace_ns;	/* a member that is away for longer has gone */
	uint64_t settle_ns;	/* after a start: longest wait for members */
};

struct rt_wait;			/* a tool that waits; rt_ask.c */

struct rt_core {
	struct rt_core_opt o;
	struct cluster *cluster;
	struct link_port *port;
	uint64_t me;		/* incarnation */
	struct rt_reg reg;
	struct rt_turn turn;
	struct str text;	/* the map as text ... */
	uint32_t text_version;	/* ... of this version; 0: none */

	/* learning */
	uint64_t begin_ns;
	bool settled;
	const void *teacher;	/* asked for its map; NULL: nobody */
	uint64_t by;		/* who made the map; 0: the cluster file */
	uint32_t seen;		/* newest version that an expert server names */

	/* placing */
	uint64_t place_ns;	/* when to look where experts go; RT_NEVER */
	bool level;		/* the cluster file has changed: even out */
	bool masked;		/* front ends have masks that a map must end */
	char trouble[256];	/* why not everything is placed; "" */
	int64_t loads;		/* copies that the change loads */

	bool news;		/* something has happened since the last look */
	bool keep_held;		/* nothing is unloaded: front ends may go by a
				 * map that is not known here */
	struct rt_wait *waits;
	uint64_t n_msg, n_byte;	/* sent, but for heartbeats and to tools */
};

/* Read cluster file, snapshot and model.  The port comes later. */
int	rt_core_open(struct rt_core *c, const struct rt_core_opt *o,
	    struct err *err);
void	rt_core_close(struct rt_core *c);

void	rt_core_event(struct rt_core *c, const struct link_event *ev);
/* HUP: read the cluster file again. */
void	rt_core_reload(struct rt_core *c);
/* Do what is due; returns when to come again without news. */
uint64_t rt_core_tend(struct rt_core *c, uint64_t now_ns);

/* ---- between the files ---- */

/* To a member. */
void	rt_core_send(struct rt_core *c, struct rt_member *m, int type,
	    const void *data, size_t n);
void	rt_core_send_json(struct rt_core *c, struct rt_member *m, int type,
	    json_t *o);		/* takes the reference */
struct link_pair *rt_core_pair(const struct rt_member *m);
/* Does every expert server that is there have what it is to have, and nothing
 * else? */
bool	rt_core_clean(const struct rt_core *c);
/* Ask members for their reports: what they count is in none until asked. */
void	rt_core_ask_reports(struct rt_core *c);
bool	rt_core_reports_due(const struct rt_core *c);

/* rt_place.c */
void	rt_place_soon(struct rt_core *c, uint64_t now_ns);
/* Place the experts on who is there.  -1: ERR_TEMP, the goal is as before. */
int	rt_place(struct rt_core *c, struct err *err);
/* Go for this map; -1: ERR_DATA or ERR_TEMP, it cannot be had, m is freed. */
int	rt_place_map(struct rt_core *c, struct map *m, struct err *err);
/* Who has been away for too long?  Returns when the next one will have been. */
uint64_t rt_place_gone(struct rt_core *c, uint64_t now_ns);
/* Mark the servers of the maps that are in use. */
void	rt_place_mark(struct rt_core *c, uint64_t now_ns);

/* rt_learn.c */
/* A front end has said what map it goes by. */
void	rt_learn_version(struct rt_core *c, struct rt_member *m);
/* A map that a front end was asked for. */
void	rt_learn_map(struct rt_core *c, struct rt_member *m, const void *data,
	    size_t n);
/* Enough heard?  Returns when to come again. */
uint64_t rt_learn_tend(struct rt_core *c, uint64_t now_ns);

/* rt_ask.c */
void	rt_ask(struct rt_core *c, const struct link_event *ev);
/* Answer those whose time has come; returns when to come again. */
uint64_t rt_ask_tend(struct rt_core *c, uint64_t now_ns);
void	rt_ask_gone(struct rt_core *c, const struct link_pair *pair);
void	rt_ask_free(struct rt_core *c);

#endif
