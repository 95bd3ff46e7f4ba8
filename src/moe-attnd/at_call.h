/* at_call - what at_disp.c (routes and flights) and at_server.c (servers and
 * calls to them) share. */
#ifndef MOE_AT_CALL_H
#define MOE_AT_CALL_H

#include "at_disp.h"
#include "at_rtt.h"
#include "hold.h"
#include "map.h"
#include "mem.h"

/* One request to one server: some routes of one flight. */
struct at_call {
	struct at_flight *flight;
	uint64_t req_id;	/* the flight's when it was made */
	uint32_t n, cap;
	uint32_t *route;	/* indices into the flight's routes, ascending */
	bool replay;
	bool hedged;		/* a replica has been asked, or it is the one */
	bool trial;		/* of a server on trial: nobody waits for it, and
				 * it does not count in n_out */
	uint8_t reduce;		/* as sent: an answer a route, or a part a row */
	uint16_t n_row;		/* as sent */
	uint64_t sent_ns, deadline_ns;
	uint64_t hedge_ns;	/* ask a replica, too; UINT64_MAX: never */
	struct at_call *next;
};

struct at_server {
	struct at_disp *d;
	int index;		/* in the map */
	char *name, *addr;
	struct link_pair *pair;
	bool up, draining;
	bool masked;		/* dead by an operator's word, until the next map */
	bool noticed, was_down, owes_replay;	/* its last failure, in events */
	bool serves;		/* it has answered since it came up */
	bool suspect;		/* a call was hedged, none answered since */
	char last_why[256];	/* it went down: as logged */
	bool knows_hold;	/* hold is what the server said */
	struct hold hold;
	uint32_t max_route;	/* of a call */
	struct at_call *queue, **queue_tail;	/* not sent yet */
	struct at_call *out;	/* sent, at most the ring's depth */
	struct at_call *open;	/* being filled by at_disp */
	double rtt_ns, rtt_var_ns;	/* of calls, smoothed; 0: none yet */
	struct at_rtt rtt;	/* since it came up */
	int late;		/* deadlines missed since its last answer */
	int load;		/* cost given to it in the current assignment */
};

struct at_disp {
	struct at_disp_opt o;
	int k;			/* top_k */
	size_t row_bytes;
	struct kern_sum sum;	/* of o.reduce, unless it is NONE */
	size_t ans_bytes;	/* of an answer as flights keep it */
	const void **part_row;	/* [k] answers that make a part, scratch */
	float *part_w;		/* [k] their weights */
	int client;		/* local: our number in the engine */
	struct map *map;	/* NULL: local */
	struct at_server **server;	/* [n_server], by index in the map */
	int n_server, turn;	/* n_server: those of the map, then those that
				 * have left it and are still needed */
	/* of the router's map, at_map.c */
	uint64_t map_by;	/* incarnation of the router it is from; 0: file */
	bool map_news;		/* taken; the router does not know yet that no
				 * older one is needed */
	uint64_t map_ns, map_look_ns;	/* since when; next look */
	struct link_pair *router;	/* while it is up */
	struct at_call *spare;
	struct at_flight *stalled;	/* flights with homeless routes */
	uint64_t next_req;
	uint64_t retry_ns;	/* when stalled flights are tried again */
	int *to;		/* [n_expert] server of each expert, scratch */
	int *rows;		/* [n_expert] rows of each expert, scratch */
	uint32_t *pick;		/* routes being assigned, scratch */
	size_t cap_pick;
	struct at_disp_stat stat;
};

/* ---- at_server.c ---- */
/* Dial server number `index` of the map. */
int	at_server_open(struct at_server **out, struct at_disp *d, int index,
	    struct err *err);
/* Its calls, sent or not, go to others. */
void	at_server_close(struct at_server *s);
/* May rows of this expert be sent to s now? */
bool	at_server_has(const struct at_server *s, int layer, int expert);
/* Has it missed a deadline and not answered a call since?  It is asked only
 * what others are asked as well, or nobody else can be. */
bool	at_server_on_trial(const struct at_server *s);
/* Append a route to the call being filled; at_server_flush queues it. */
void	at_server_add(struct at_server *s, struct at_flight *f, uint32_t route,
	    bool replay);
void	at_server_flush(struct at_server *s);
/* Queue a copy of a route that another server is asked. */
void	at_server_try(struct at_server *s, struct at_flight *f,
	    uint32_t route);
/* Send what is queued as far as slots are free. */
void	at_server_pump(struct at_server *s);
/* Break the pair if a call's deadline has passed. */
void	at_server_check(struct at_server *s, uint64_t now_ns);
/* How long a call of n_route routes may take, from its sending on. */
uint64_t at_server_patience_ns(const struct at_server *s, uint32_t n_route);
/* Earliest deadline of its calls, or when to ask a replica; UINT64_MAX. */
uint64_t at_server_due(const struct at_server *s);
void	at_server_event(struct at_server *s, const struct link_event *ev);

/* ---- at_sum.c ---- */
void	at_sum_open(struct at_disp *d);
void	at_sum_close(struct at_disp *d);
/* How the answer to a call is to come: parts only where they are fewer bytes,
 * since the same parts can be made of an answer a route. */
enum slot_reduce at_sum_reduce(const struct at_disp *d,
	    const struct at_call *c);
/* Is it the answer that the call asked for? */
bool	at_sum_fits(const struct at_disp *d, const struct at_call *c,
	    const struct slot_head *h);
/* How many of route[0..n) are the first one's row's. */
uint32_t at_sum_routes(const struct at_disp *d, const uint32_t *route,
	    uint32_t n);
/* Make the part of route[0..n) of f, all of one row, whose answers stand at
 * rows one after the other. */
void	at_sum_make(struct at_disp *d, struct at_flight *f,
	    const uint32_t *route, uint32_t n, const char *rows);
/* Take over an answer as parts, as they came or made here; routes of a part
 * that cannot count are lost (at_route_lost).  Returns how many routes are
 * answered, which then are first in c->route. */
uint32_t at_sum_accept(struct at_disp *d, struct at_call *c,
	    const char *rows);

/* ---- at_local.c ---- */
/* The n routes in f->homeless, as a job of this process's engine. */
void	at_local_send(struct at_disp *d, struct at_flight *f, uint32_t n);

/* ---- at_map.c ---- */
/* Something on a pair that is no expert server's: the router's. */
void	at_map_event(struct at_disp *d, const struct link_event *ev);
/* After a new map: leave the servers of the old one when they are not needed any
 * more, and say so to the router.  Returns when to come again. */
uint64_t at_map_tend(struct at_disp *d, uint64_t now_ns);
/* Go by this map from now on: keep, dial and leave servers as it says.  -1:
 * ERR_DATA, nothing changed (another model's map). */
int	at_map_use(struct at_disp *d, struct map *map, struct err *err);

/* ---- at_flight.c ---- */
/* These routes of f are answered, or given up for good. */
void	at_flight_settle(const struct at_disp *d, struct at_flight *f,
	    const uint32_t *route, uint32_t n);

/* ---- at_disp.c ---- */
/* The routes of a call could not be answered by its server: find others a
 * little later, or at once after at_disp_news.  Frees the call. */
void	at_disp_again(struct at_disp *d, struct at_call *c);
/* A call that carried this route of f is over without its answer. */
void	at_route_lost(struct at_disp *d, struct at_flight *f, uint32_t route);
/* A call to s is late: send what it carries to others, too. */
void	at_disp_hedge(struct at_disp *d, struct at_server *s,
	    struct at_call *c);
/* Take out the routes that nobody waits for any more; false: all of them. */
bool	at_call_trim(struct at_call *c);
void	at_call_free(struct at_disp *d, struct at_call *c);
struct at_call *at_call_new(struct at_disp *d);
/* News of a server: stalled flights may go on. */
void	at_disp_news(struct at_disp *d);

#endif
