/*
 * at_job - one completion request on its way: its choices, each a sequence of
 * the engine, and the reply that grows from their outputs.
 *
 * A job lives until its reply has ended and the engine has given back all its
 * sequences.  The loop's thread only.  at_api.c owns the server and the list of
 * jobs, at_body.c makes the JSON.
 */
#ifndef MOE_AT_JOB_H
#define MOE_AT_JOB_H

#include "at_prom.h"
#include "at_req.h"
#include "http.h"

struct at_tok {
	uint32_t id;
	bool prompt;		/* of the prompt (echo), not generated */
	bool has_lp;		/* false: the first of a prompt */
	float lp;
	int n_top;
	size_t top;		/* index of its alternatives */
	size_t offset;		/* characters of the text before it */
};

/* text, tok and top hold what has not been sent yet. */
struct at_choice {
	struct at_job *job;
	int index, prompt;
	struct at_seq *seq;	/* NULL: given back */
	struct token_stream stream;
	struct at_text match;
	struct str text;
	VEC(struct at_tok) tok;
	VEC(struct at_lp) top;
	size_t n_char;		/* of the decoded text so far */
	int n_tok;		/* generated */
	bool begun;		/* a chunk of it was sent */
	bool done;
	enum at_finish finish;
	int64_t stop_id;	/* a stop_token_ids that ended it; -1: none */
	int n_cached;
	uint64_t last_ns;	/* the last token came */
};

struct at_job {
	struct at_api *api;
	struct at_job *next, **prev_p;
	struct http_req *r;	/* NULL: the reply has ended */
	struct at_req q;
	char id[48];
	int64_t created;
	uint64_t began_ns;
	struct loop_timer *limit;	/* its time is over; NULL: no bound */
	struct at_choice *choice;
	int n_choice, n_open;	/* n_open: not done */
	int n_seq;		/* with the engine */
	bool streaming;		/* the stream has begun */
	bool first;		/* a token has come */
	bool ended;		/* free it when n_seq is 0 */
};

struct at_api {
	struct at_api_opt o;
	struct at_req_ctx cx;
	struct http *http;
	struct loop_watch *watch;	/* at_out_fd */
	struct loop_timer *idle;	/* tells on_drained from the loop */
	loop_fn *on_drained;
	void *drained_arg;
	bool draining;
	struct at_job *job;	/* all */
	int n_job;
	struct keys *keys;	/* NULL: none are needed */
	struct at_prom prom;
	uint64_t seed;		/* of ids and of requests without a seed */
	uint64_t n_request;
};

/* Take a request over: parse, submit.  Replies by itself, now or later. */
void	at_job_start(struct at_api *a, struct http_req *r, bool chat);
/* An output of a sequence whose user is a struct at_choice. */
void	at_job_output(const struct at_out *out);
/* It cannot go on, as the server leaves: its client is told so.  The job may be
 * gone afterwards. */
void	at_job_cut(struct at_job *j);
/* The reply of bad. */
void	at_job_refuse(struct at_api *a, struct http_req *r,
	    const struct at_bad *bad);

/* at_body.c: NUL-terminated compact JSON in fresh memory, *n_p bytes. */
char	*at_body_whole(const struct at_job *j, size_t *n_p);
/* A chunk of a stream; c NULL: the one with the usage only. */
char	*at_body_chunk(const struct at_job *j, const struct at_choice *c,
	    size_t *n_p);

#endif
