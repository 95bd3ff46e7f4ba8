/*
 * oai - a client of OpenAI-style servers: many streamed completions at once,
 * and single calls, on one thread (libcurl's multi interface).
 *
 * Made for measuring and for judging: every piece of a stream is handed over
 * with the time at which it was read, token ids are taken where the server
 * gives them (return_token_ids), and every way in which a stream can end early
 * is told apart from its proper end.  Proxies of the environment are ignored.
 *
 * Floor F3.  One thread owns a client.
 */
#ifndef MOE_OAI_H
#define MOE_OAI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

struct oai;

/* One piece of a stream.  Pointers live until the callback's return. */
struct oai_chunk {
	const int32_t *id;	/* token ids; NULL when the server gives none */
	size_t n_id;
	const char *text;	/* UTF-8, maybe "" */
	uint64_t now_ns;	/* clock_ns() when it was read */
};

struct oai_end {
	bool ok;		/* a proper end: [DONE], and no error before */
	int status;		/* HTTP status; 0: no reply came */
	const char *why;	/* of !ok: one line; else "" */
	const char *finish;	/* finish_reason; "" if none was given */
	int64_t prompt_tok, output_tok;	/* from usage; -1: not told */
	uint64_t now_ns;
};

struct oai_fn {
	void (*chunk)(void *user, const struct oai_chunk *c);
	void (*end)(void *user, const struct oai_end *e);
};

/* url: "http://HOST:PORT" with or without a path, no trailing slash needed.
 * key: sent as bearer token; NULL: none.  -1: ERR_USAGE (not a URL). */
int	oai_open(struct oai **c_p, const char *url, const char *key,
	    struct err *err);
/* Drops what is under way without a callback. */
void	oai_close(struct oai *c);		/* NULL is fine */
const char *oai_url(const struct oai *c);

/*
 * Send body (JSON, copied; must ask for a stream) to path.  The end callback
 * comes exactly once, from oai_poll, within limit_ns (0: no limit).  fn is not
 * copied.
 */
void	oai_stream(struct oai *c, const char *path, const char *body,
	    uint64_t limit_ns, const struct oai_fn *fn, void *user);
/* Streams under way. */
int	oai_busy(const struct oai *c);
/* Work, and wait for at most wait_ns until something can be done.  Callbacks
 * of an end may call oai_stream, those of a chunk may not.  also_fd >= 0 ends
 * the wait, too, when readable. */
void	oai_poll(struct oai *c, uint64_t wait_ns, int also_fd);

/* One call, waited for: GET when body is NULL, else POST.  The reply's body is
 * appended to *out.  -1: ERR_TEMP (no reply within limit_ns), ERR_DATA (status
 * other than 200; the text has the server's message). */
int	oai_call(struct oai *c, const char *path, const char *body,
	    uint64_t limit_ns, struct str *out, struct err *err);
/* data[0].id of /v1/models, to be freed. */
char	*oai_model(struct oai *c, struct err *err);

/* What one event of a stream holds, taken apart; for tests and fuzzing too.
 * -1 when data is neither a piece nor an error of the OpenAI form. */
struct oai_piece {
	struct str text, why, finish;	/* why: the error's message */
	int32_t *id;
	size_t n_id, cap_id;
	bool have_id, failed;
	int64_t prompt_tok, output_tok;	/* -1: not told */
};
int	oai_parse(struct oai_piece *p, const char *data, size_t n);
void	oai_piece_free(struct oai_piece *p);

#endif
