/*
 * http - the listener: addresses, accepting, limits on connections.  Floor F3.
 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_conn.h"
#include "mem.h"
#include "num.h"

#define RESUME_NS	200000000ull	/* no room: try again after */

/* ---- addresses ---------------------------------------------------------------- */

/* "HOST:PORT" or "[V6]:PORT" to a list for freeaddrinfo; an empty host is every
 * address of the machine. */
static int
resolve(const char *addr, struct addrinfo **list, struct err *err)
{
	struct addrinfo hint = { .ai_flags = AI_PASSIVE,
	    .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(addr, ':');
	char host[256];
	uint64_t port;
	size_t n;
	int rc;

	if (colon == NULL || num_u64(colon + 1, &port) != 0 || port > 65535)
		return err_set(err, ERR_USAGE, "address '%s' is not HOST:PORT",
		    addr);
	n = (size_t)(colon - addr);
	if (n >= 2 && addr[0] == '[' && addr[n - 1] == ']') {
		addr++;
		n -= 2;
	}
	if (n >= sizeof(host))
		return err_set(err, ERR_USAGE, "host name '%.40s...' is too "
		    "long", addr);
	memcpy(host, addr, n);
	host[n] = '\0';
	rc = getaddrinfo(n > 0 ? host : NULL, colon + 1, &hint, list);
	if (rc != 0)
		return err_set(err, ERR_USAGE, "host '%s': %s", host,
		    gai_strerror(rc));
	return 0;
}

static bool
is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)sa)
		    ->sin_addr.s_addr) >> 24 == 127;
	return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(
	    &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

int
http_check_addr(const char *addr, bool has_key, bool insecure,
    struct err *err)
{
	struct addrinfo *list, *a;
	bool open = false;

	if (resolve(addr, &list, err) != 0)
		return -1;
	for (a = list; a != NULL; a = a->ai_next)
		open |= !is_loopback(a->ai_addr);
	freeaddrinfo(list);
	if (open && !has_key && !insecure)
		return err_set(err, ERR_USAGE, "address '%s' can be reached "
		    "from other machines: give --api-key-file, or --insecure",
		    addr);
	return 0;
}

static int
listen_on(const struct addrinfo *a, const char *addr, struct err *err)
{
	int one = 1, fd;

	fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, errno, "socket for '%s'", addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 512) != 0) {
		(void)err_sys(err, errno == EADDRINUSE ? ERR_TEMP : ERR_USAGE,
		    errno, "listening on '%s'", addr);
		close(fd);
		return -1;
	}
	return fd;
}

/* What the kernel made of it, with the true port. */
static void
name_addr(struct http *h, int fd)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	char host[256], port[16];

	BUG_ON(getsockname(fd, (struct sockaddr *)&ss, &n) != 0);
	BUG_ON(getnameinfo((struct sockaddr *)&ss, n, host, sizeof(host), port,
	    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0);
	snprintf(h->addr, sizeof(h->addr), ss.ss_family == AF_INET6 ?
	    "[%s]:%s" : "%s:%s", host, port);
}

/* ---- accepting ------------------------------------------------------------------ */

/* Room for one more: of those that can go, the one that has waited longest. */
static void
close_spare(struct http *h)
{
	struct http_conn *c, *old = NULL;

	for (c = h->conn; c != NULL; c = c->next)
		if (http_conn_spare(c) &&
		    (old == NULL || c->since_ns < old->since_ns))
			old = c;
	if (old != NULL)
		http_conn_close(old);
}

static void
on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int n, void *arg)
{
	struct http *h = arg;

	(void)l;
	(void)sa;
	(void)n;
	http_conn_new(h, fd);
	if (h->n_conn > h->o.max_conn)
		close_spare(h);
	if (h->n_conn <= h->o.max_conn)
		return;
	/* Until one is done, or has said nothing for too long. */
	evconnlistener_disable(h->listener);
	loop_timer_in(h->resume, RESUME_NS);
}

static void
on_accept_error(struct evconnlistener *l, void *arg)
{
	struct http *h = arg;

	/* Out of descriptors: the listening socket stays readable, so look
	 * away for a while instead of spinning. */
	evconnlistener_disable(l);
	loop_timer_in(h->resume, RESUME_NS);
}

static void
on_resume(void *arg)
{
	struct http *h = arg;

	if (h->n_conn > h->o.max_conn)
		close_spare(h);
	if (h->n_conn > h->o.max_conn)
		loop_timer_in(h->resume, RESUME_NS);
	else
		http_conn_room(h);
}

void
http_conn_room(struct http *h)
{
	if (!h->stopping)
		evconnlistener_enable(h->listener);
}

/* ---- start and stop ------------------------------------------------------------- */

static void
set_defaults(struct http_opt *o)
{
	if (o->max_body_bytes == 0)
		o->max_body_bytes = 8u << 20;
	if (o->max_head_bytes == 0)
		o->max_head_bytes = 32u << 10;
	if (o->max_out_bytes == 0)
		o->max_out_bytes = 4u << 20;
	if (o->max_conn == 0)
		o->max_conn = 1024;
	if (o->recv_ns == 0)
		o->recv_ns = 30000000000ull;
	if (o->idle_ns == 0)
		o->idle_ns = 75000000000ull;
	if (o->send_ns == 0)
		o->send_ns = 30000000000ull;
}

int
http_start(struct http **h_p, const struct http_opt *o, struct err *err)
{
	struct addrinfo *list;
	struct http *h;
	int fd;

	if (resolve(o->addr, &list, err) != 0)
		return -1;
	fd = listen_on(list, o->addr, err);
	freeaddrinfo(list);
	if (fd < 0)
		return -1;
	h = mem_zalloc(sizeof(*h));
	h->o = *o;
	set_defaults(&h->o);
	name_addr(h, fd);
	h->resume = loop_timer(o->loop, on_resume, h);
	h->listener = evconnlistener_new(loop_base(o->loop), on_accept, h,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	BUG_ON(h->listener == NULL);
	evconnlistener_set_error_cb(h->listener, on_accept_error);
	*h_p = h;
	return 0;
}

void
http_stop(struct http *h)
{
	if (h == NULL)
		return;
	h->stopping = true;
	evconnlistener_free(h->listener);
	loop_timer_free(h->resume);
	while (h->conn != NULL)
		http_conn_close(h->conn);
	mem_free(h);
}

void
http_drain(struct http *h)
{
	struct http_conn *c, *next;

	h->draining = true;
	for (c = h->conn; c != NULL; c = next) {
		next = c->next;
		if (http_conn_idle(c))
			http_conn_close(c);
	}
}

const char *
http_addr(const struct http *h)
{
	return h->addr;
}

int
http_n_conn(const struct http *h)
{
	return h->n_conn;
}
