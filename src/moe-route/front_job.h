/*
 * front_job - one request for an answer, from the client's side to whichever
 * front end works on it, and to the next one when that one dies.
 *
 * A job is asked of a front end with all that has come so far (moe_resume), so
 * the next one goes on with the next token.  That is a try.  When its front end
 * falls silent another one is tried as well; the first to say something goes on
 * and the other is dropped, so no token comes twice.
 *
 * Clients read a job: one, or with an Idempotency-Key none for a while, or
 * several.  The loop's thread only.
 */
#ifndef MOE_FRONT_JOB_H
#define MOE_FRONT_JOB_H

#include "front_answer.h"
#include "front_ask.h"
#include "front_door.h"
#include "sse.h"

struct front_reader {
	struct front_reader *next;
	struct front_job *job;
	struct http_req *r;
	bool begun;		/* its stream has */
};

enum front_verdict {
	FRONT_GOES = 0,
	FRONT_LOST,		/* on this front end: another one may do it */
	FRONT_FAILED,		/* on any */
	FRONT_DONE,
};

#define FRONT_TRIES	2

struct front_try {		/* of one front end */
	struct front_job *job;
	struct front_up *up;	/* NULL: none */
	bool hedge;		/* another one was silent */
	struct front_call *call;
	struct sse sse;
	int status;		/* of the reply; 0: not there yet */
	struct str reply;	/* one that is no stream of chunks */
	enum front_verdict verdict;
	char why[256];
};

struct front_job {
	struct front_door *door;
	struct front_job *next, **prev_p;
	struct front_ask ask;
	const char *path;
	char *auth;
	struct front_answer answer;
	struct front_reader *reader;
	struct front_kept *kept;	/* NULL: has no key, or is too large */

	struct front_try try[FRONT_TRIES];	/* none is up: waits for one */
	char retry_after[16];
	char why[256];		/* the last loss */
	int last;		/* front end that was asked or heard last; -1 */

	uint64_t skip;		/* front ends that have had their turn */
	int losses;		/* since the last token */
	uint64_t wait_ns;	/* no front end takes it since; 0: one has */
	uint64_t came_ns;	/* the last token, or the request */
	bool moved;		/* the next token ends a stall ... */
	struct front_up *lost_up;	/* ... that this one has caused */
	struct loop_timer *timer;	/* waiting: try again */
};

/* The handler of both routes. */
void	front_job_start(struct front_door *d, struct http_req *r, bool chat);
/* A front end is well again: who waits may go on. */
void	front_job_well(struct front_door *d);
/* u hangs: what it works on goes elsewhere. */
void	front_job_hung(struct front_door *d, struct front_up *u);
/* u is silent: what it works on is asked of another one as well. */
void	front_job_suspect(struct front_door *d, struct front_up *u);
/* Drop all jobs; their clients are gone. */
void	front_job_stop(struct front_door *d);

/* ---- front_job.c for front_try.c: each may free the job ---- */

/* The front end of t will not go on with it; is_gone: nor with anything. */
void	front_job_lose(struct front_try *t, const char *why, bool is_gone);
/* t was refused with status 429 or 503; body is its reply. */
void	front_job_refused(struct front_try *t, const struct str *body);
void	front_job_done(struct front_job *j);
/* It cannot go on anywhere. */
void	front_job_fail(struct front_job *j, int status, const char *json,
	    size_t n);
/* A chunk of t is in the answer; begun: which had begun before. */
void	front_job_took(struct front_try *t, bool begun);
/* For messages. */
const char *front_job_name(const struct front_job *j);

/* ---- front_try.c: what is asked of a front end, and what it says ---- */

void	front_try_start(struct front_try *t, struct front_up *u, bool hedge);
/* Let go of the front end; a try that is none is fine. */
void	front_try_drop(struct front_try *t);
/* The one beside t that is under way; NULL: none. */
struct front_try *front_try_other(struct front_try *t);

/* ---- front_read.c: the clients of a job ---- */

/* Add a client, and tell it what there is so far. */
void	front_read_add(struct front_job *j, struct http_req *r);
/* A piece of a stream to all. */
void	front_read_put(struct front_job *j, const struct str *s);
/* The whole answer, or the end of the stream. */
void	front_read_done(struct front_job *j);
/* It cannot go on: status and a JSON body for those whose reply has not begun,
 * an event for the others. */
void	front_read_fail(struct front_job *j, int status, const char *json,
	    size_t n);
/* An answer that is complete and kept. */
void	front_read_replay(const struct front_kept *e, struct http_req *r);

/* A client has hung up; r has left j->reader. */
void	front_job_unread(struct front_job *j);

#endif
