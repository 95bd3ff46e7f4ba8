/*
 * http - an HTTP/1.1 server for JSON and event streams, on libevent's
 * bufferevents.
 *
 * Bytes from clients are hostile: every size, count and time has a limit, and
 * no client can block the loop, hold memory without bound, or stay connected
 * without being served.  (libevent's own evhttp is not used: it answers broken
 * requests in HTML, does not see a client hang up while its request is being
 * worked on, and has no limit on the whole time that a request takes to come.)
 *
 * One request at a time per connection; pipelined ones wait in the socket.
 * Errors are JSON: {"error":{"message","type","param","code"}}.  HEAD is
 * answered by the GET route without the body, OPTIONS by the routes' methods,
 * a wrong method with 405, an unknown path with 404.
 *
 * Floor F3; the loop's thread only.
 */
#ifndef MOE_HTTP_H
#define MOE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "loop.h"

struct http;
struct http_req;

/*
 * A request belongs to its handler from the call until the handler has ended
 * the reply (http_reply, http_fail, http_stream_end) or until its gone callback
 * has returned.  A handler that returns without having ended the reply must
 * have called http_on_gone.
 */
typedef void (http_fn)(struct http_req *r, void *arg);

struct http_route {
	const char *method;	/* "GET", "POST" */
	const char *path;	/* "/health"; "/v1/models/" "*" is a prefix */
	http_fn *fn;
};

struct http_opt {
	struct loop *loop;
	const char *addr;	/* "HOST:PORT", "[::1]:0"; port 0: any free one */
	const struct http_route *route;	/* ends with path NULL; not copied */
	void *arg;		/* of every callback */
	/* May this request go on?  Called when the head is in, before the body
	 * is read.  false: it has replied (401, 503).  NULL: all may. */
	bool (*admit)(struct http_req *r, void *arg);
	/* 0 everywhere: the default in the comment */
	size_t max_body_bytes;	/* 8 MiB, then 413 */
	size_t max_head_bytes;	/* 32 KiB, then 431 */
	size_t max_out_bytes;	/* 4 MiB unsent of a stream, then it is cut */
	int max_conn;		/* 1024; more wait in the listen queue */
	uint64_t recv_ns;	/* 30 s from a request's first byte to its last,
				 * and from connecting to the first byte */
	uint64_t idle_ns;	/* 75 s between requests */
	uint64_t send_ns;	/* 30 s in which a client takes no byte at all */
};

/* Listens when it returns 0.  -1: ERR_USAGE (a bad address), ERR_TEMP (port
 * busy), naming the address.  SIGPIPE must be ignored (life_start does). */
int	http_start(struct http **h_p, const struct http_opt *o,
	    struct err *err);
/* Closes everything; the gone callbacks of open requests run first.  Not from
 * a handler or such a callback. */
void	http_stop(struct http *h);	/* NULL is fine */
/* Close idle connections, and every other one after its reply.  New ones are
 * still accepted and served, one request each. */
void	http_drain(struct http *h);
/* The address with the true port, "127.0.0.1:43211". */
const char *http_addr(const struct http *h);
int	http_n_conn(const struct http *h);	/* connections open */

/* May the address be bound?  -1 with ERR_USAGE when it is not a loopback one
 * and there is neither a key nor --insecure, or when it is no address. */
int	http_check_addr(const char *addr, bool has_key, bool insecure,
	    struct err *err);

/* ---- a request; strings live as long as it ------------------------------ */

const char *http_method(const struct http_req *r);
/* Percent-decoded, without the query. */
const char *http_path(const struct http_req *r);
const char *http_query(const struct http_req *r);	/* as sent; "" if none */
/* The value of the first header of that name (any case); NULL if none. */
const char *http_header(const struct http_req *r, const char *name);
/* NUL-terminated after *n_p bytes. */
const char *http_body(const struct http_req *r, size_t *n_p);
uint64_t http_began_ns(const struct http_req *r);	/* first byte came */

/* The client has gone (hung up, too slow, server stopping): fn is called once,
 * from the loop, and the request ends when it returns.  Never called after the
 * reply's end. */
void	http_on_gone(struct http_req *r, http_fn *fn, void *arg);
void	http_set_user(struct http_req *r, void *user);
void	*http_user(const struct http_req *r);

/* ---- the reply ------------------------------------------------------------ */

/* One more header of the reply, before it begins. */
void	http_add_header(struct http_req *r, const char *name,
	    const char *value);

/* The whole reply; ends the request.  body is copied. */
void	http_reply(struct http_req *r, int status, const char *type,
	    const void *body, size_t n);

/* A JSON error; ends the request. */
struct http_error {
	int status;
	const char *type;	/* NULL: the usual one of the status */
	const char *param;	/* the field that is wrong, or NULL: null */
};
void	http_fail(struct http_req *r, const struct http_error *e,
	    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "BadRequestError" for 400 ...: the type that vLLM gives. */
const char *http_error_type(int status);

/*
 * A reply in pieces, chunked (HTTP/1.0: until the connection closes).  put
 * returns false when the client is too slow or gone: the gone callback follows
 * from the loop, and further puts do nothing.  It never blocks.
 */
void	http_stream_begin(struct http_req *r, int status, const char *type);
bool	http_stream_put(struct http_req *r, const void *p, size_t n);
void	http_stream_end(struct http_req *r);

#endif
