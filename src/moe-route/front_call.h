/*
 * front_call - one HTTP/1.1 request to a server, on the loop, never blocking.
 *
 * Each call has a connection of its own: its end tells how the server is, and a
 * call that is given up cannot be mistaken for another.  The server is one of
 * ours, but its bytes are bounded all the same.  Nothing is timed here: owners
 * know how long a call may be silent.  The loop's thread only.
 */
#ifndef MOE_FRONT_CALL_H
#define MOE_FRONT_CALL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "err.h"
#include "loop.h"
#include "str.h"

struct front_call;

struct front_addr {
	struct sockaddr_storage sa;
	socklen_t len;
	char *text;		/* "HOST:PORT"; owned */
};

/* Look HOST:PORT up (waits for a name server).  -1: ERR_USAGE, no address. */
int	front_call_find(struct front_addr *a, const char *text,
	    struct err *err);

/* Callbacks come from the loop, never from front_call_start.  Each of them may
 * cancel its call. */
struct front_call_fn {
	void (*head)(void *user, int status);	/* the head is in */
	void (*data)(void *user, const char *p, size_t n);
	/* The call is over and freed at the return.  why NULL: the reply is
	 * whole; else one line. */
	void (*end)(void *user, const char *why);
};

struct front_req {
	const char *method, *path;
	const char *auth;	/* value of Authorization, or NULL */
	const char *body;	/* NULL: none */
	size_t n_body;
};

/* fn is not copied, the rest is. */
struct front_call *front_call_start(struct loop *l, const struct front_addr *a,
	    const struct front_req *r, const struct front_call_fn *fn,
	    void *user);
/* No callback any more; the connection is closed.  NULL is fine. */
void	front_call_cancel(struct front_call *c);

/* When the last byte came; 0: none yet. */
uint64_t front_call_heard_ns(const struct front_call *c);
/* A header of the reply, copied to out (cut); false: it has none. */
bool	front_call_header(const struct front_call *c, const char *name,
	    char *out, size_t n);

#endif
