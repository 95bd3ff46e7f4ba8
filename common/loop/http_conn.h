/* http_conn - what http.c (the listener), http_conn.c (connections) and
 * http_req.c (requests, replies) share; nobody else includes it. */
#ifndef MOE_HTTP_CONN_H
#define MOE_HTTP_CONN_H

#include <event2/bufferevent.h>

#include "http.h"
#include "http_parse.h"
#include "str.h"

enum http_conn_state {
	HTTP_HEAD,		/* between requests, or a head is coming */
	HTTP_BODY,		/* the body is coming */
	HTTP_WORK,		/* a handler has the request */
	HTTP_FLUSH,		/* the reply is on its way out */
	HTTP_LINGER,		/* done; what still comes is thrown away */
};

struct http_conn {
	struct http *h;
	struct bufferevent *bev;
	struct http_conn *next, **prev_p;
	enum http_conn_state state;
	bool eof;		/* the client sends no more */
	bool cut;		/* it is too slow: to be closed by kick */
	bool last;		/* close after this reply */
	bool served;		/* it has had a reply */
	size_t scanned;		/* of a head, see http_parse_end */
	uint64_t since_ns;	/* when the current head began or idling did */
	struct http_req *req;	/* from the first byte of its head on */
	struct loop_timer *limit;	/* of the state */
	struct loop_timer *kick;	/* work that must not run in a caller */
};

struct http_req {
	struct http_conn *c;
	struct http_head head;
	struct http_chunk chunk;
	struct str body;
	uint64_t began_ns;
	http_fn *gone;
	void *gone_arg, *user;
	struct str more;	/* further headers of the reply */
	bool body_done;		/* all of it has come, or there is none */
	bool begun;		/* the reply's head is out */
	bool no_body;		/* HEAD: only the reply's head */
	bool chunked;		/* the reply's pieces are framed */
};

/* http_conn.c */
void	http_conn_new(struct http *h, int fd);
void	http_conn_close(struct http_conn *c);
/* Between two requests (not before the first, which may be on its way). */
bool	http_conn_idle(const struct http_conn *c);
/* Can be closed when room is needed: idle, lingering, or slow to ask. */
bool	http_conn_spare(const struct http_conn *c);
/* The reply has ended: free the request, send what is left, go on. */
void	http_conn_end(struct http_conn *c);
/* Close soon, from the loop: the client is too slow. */
void	http_conn_cut(struct http_conn *c);

/* http_req.c */
struct http_req *http_req_new(struct http_conn *c);
void	http_req_free(struct http_req *r);
/* Find the route and call it, or reply 404, 405 or OPTIONS. */
void	http_req_route(struct http_req *r);

/* http.c */
struct http {
	struct http_opt o;
	struct evconnlistener *listener;
	struct loop_timer *resume;	/* listening, after the system was out
					 * of descriptors */
	char addr[300];
	struct http_conn *conn;		/* all, newest first */
	int n_conn;
	bool draining, stopping;
};
void	http_conn_room(struct http *h);	/* one is closed or can be: accept */

#endif
