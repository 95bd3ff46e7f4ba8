/*
 * front_door - the HTTP server of the door, what its jobs share, and its
 * numbers.  The loop's thread only.
 */
#ifndef MOE_FRONT_DOOR_H
#define MOE_FRONT_DOOR_H

#include "front_keep.h"
#include "front_up.h"
#include "http.h"

#define FRONT_STALLS	14

struct front_job;
struct front_relay;

struct front_opt {
	struct loop *loop;
	const char *addr;
	bool insecure;
	uint64_t stall_ns;	/* a request may wait this long */
	uint64_t hang_ns;	/* see front_up.h */
	uint64_t keep_ns, keep_bytes;	/* of Idempotency-Keys */
	const char *key_file;	/* keys.h; NULL: the front ends check keys */
};

struct front_stat {
	uint64_t requests;
	uint64_t resumes;	/* streams that went on elsewhere */
	uint64_t moves;		/* and before their first token */
	uint64_t hedges;	/* asked of a second one: the first is silent */
	uint64_t hedges_lost;	/* and the first went on before it */
	uint64_t refused;	/* by front ends, then tried elsewhere */
	uint64_t failed, gone;	/* requests: could not go on, client hung up */
	uint64_t replayed;	/* requests with a key that was known */
	uint64_t stall[FRONT_STALLS], n_stall;	/* not cumulative */
	double stall_s;		/* sum */
};

struct front_door {
	struct front_opt o;
	struct front_pool pool;
	struct http *http;
	struct front_keep keep;
	struct keys *keys;	/* NULL: anybody may come in */
	struct front_job *job;
	struct front_relay *relay;
	int n_job, n_relay;
	struct loop_timer *sweep;	/* expires what is kept */
	struct loop_timer *idle;
	uint64_t seed, n_seed;	/* of requests without one */
	bool draining;
	loop_fn *on_drained;
	void *drained_arg;
	struct front_stat stat;
};

/* pool is filled by the caller, before or after, with callbacks
 * front_door_well and front_door_hung and the door as their argument. */
int	front_door_start(struct front_door *d, const struct front_opt *o,
	    struct err *err);
/* Read the key file anew; -1: as before, with what is wrong. */
int	front_door_reload(struct front_door *d, struct err *err);
void	front_door_well(void *door);
void	front_door_hung(void *door, struct front_up *u);
void	front_door_suspect(void *door, struct front_up *u);
/* Refuse new requests; done is called once, when none is left. */
void	front_door_drain(struct front_door *d, loop_fn *done, void *arg);
void	front_door_stop(struct front_door *d);

/* A job or relay has ended. */
void	front_door_left(struct front_door *d);
/* A 503 with Retry-After; its text says why nothing can be answered now. */
void	front_door_refuse(struct front_door *d, struct http_req *r,
	    const char *why);
/* Why no front end can take anything. */
void	front_door_why(const struct front_door *d, char *out, size_t n);

/* front_relay.c: pass a request on as it is, and its reply back. */
void	front_relay_start(struct front_door *d, struct http_req *r);
void	front_relay_hung(struct front_door *d, struct front_up *u);
void	front_relay_stop(struct front_door *d);

/* front_metrics.c: an answer stood still for so long; the text of /metrics. */
void	front_metrics_stall(struct front_door *d, uint64_t ns);
void	front_metrics(const struct front_door *d, struct str *out);

#endif
