/*
 * at_api - the OpenAI-compatible HTTP side of moe-attnd.
 *
 * Parses requests, makes sequences for the engine, turns its outputs into
 * text and JSON, streamed or not.  Formats follow OpenAI's where OpenAI has
 * them and vLLM's for the rest.  It runs in the loop's thread and never waits:
 * the engine has a thread of its own.
 *
 * Text of users never becomes a control token, in prompts and in messages.
 */
#ifndef MOE_AT_API_H
#define MOE_AT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "at_engine.h"
#include "chat.h"
#include "err.h"
#include "loop.h"
#include "token.h"

struct at_api;

/* What a request that says nothing gets. */
struct at_defaults {
	double temperature, top_p, min_p;
	int top_k;		/* 0: off */
	int max_tok;		/* of chat; 0: up to the context's end */
};
/* vLLM's (1, 1, 0, 0, 0), overridden by DIR/generation_config.json if there is
 * one.  What that file asks for and this program lacks (a repetition penalty)
 * is named in *warn, which is NULL or the caller's to mem_free. */
int	at_defaults_load(struct at_defaults *d, const char *dir, char **warn,
	    struct err *err);

struct at_api_opt {
	struct loop *loop;
	const char *addr;	/* "HOST:PORT" */
	struct at_engine *engine;
	const struct token *token;
	const struct chat *chat;	/* NULL: no chat, and the reply says so */
	const char *model;	/* the name that clients use */
	const char *key_file;	/* keys.h; NULL: no keys */
	bool insecure;		/* a public address without a key is fine */
	struct at_defaults defaults;
	uint64_t deadline_ns;	/* of a request; 0: none */
	int max_choice;		/* prompts * n of a request; 0: 128 */
	int max_conn;		/* 0: http.h's */
	size_t max_body_bytes;	/* 0: http.h's */
	/* Why answers are not the model's, said in every reply; NULL: they
	 * are. */
	const char *experiment;
	const struct kern *kern;	/* for metrics, if it is emulated; or NULL */
};

/* Everything that o points to must outlive it; o itself need not.  -1:
 * ERR_USAGE (address, a public one without a key), ERR_DATA (key file),
 * ERR_TEMP (port busy). */
int	at_api_start(struct at_api **a_p, const struct at_api_opt *o,
	    struct err *err);
/* Read the key file anew; -1: as before, with what is wrong. */
int	at_api_reload(struct at_api *a, struct err *err);
/* The true address, "127.0.0.1:8080". */
const char *at_api_addr(const struct at_api *a);

/* Refuse new generation with 503 and Retry-After from now on; done is called
 * once (from the loop) when no request is left. */
void	at_api_drain(struct at_api *a, loop_fn *done, void *arg);
/* Requests being worked on. */
int	at_api_running(const struct at_api *a);

/* Cut all requests (a stream with an error event, others with 503), give the
 * clients half a second to take that, wait for the engine to give their
 * sequences back (it must still run), close.  NULL is fine. */
void	at_api_stop(struct at_api *a);

#endif
