/*
 * http_conn - one connection: bytes in, requests out, and all its limits.
 *
 * Nothing that a handler calls frees a connection: replies set its state, and
 * what is left to do (the next pipelined request, closing a slow client) is
 * done from the loop, by the kick timer or a bufferevent callback.  Floor F3.
 */
#include "http_conn.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

#define LINGER_NS	5000000000ull	/* for the client to read an error */
#define READ_AHEAD	16384		/* beyond a head: pipelined bytes */
#define SPEAK_NS	1000000000ull	/* for a head, where room is short */

static void conn_input(struct http_conn *c);

bool
http_conn_idle(const struct http_conn *c)
{
	return c->state == HTTP_HEAD && c->req == NULL && c->served;
}

bool
http_conn_spare(const struct http_conn *c)
{
	return http_conn_idle(c) || c->state == HTTP_LINGER ||
	    (c->state == HTTP_HEAD && c->req == NULL &&
	    clock_ns() - c->since_ns > SPEAK_NS);
}

/* The client has gone: tell the handler, and the request ends. */
static void
drop_request(struct http_conn *c)
{
	struct http_req *r = c->req;

	if (r == NULL)
		return;
	if (c->state == HTTP_WORK) {
		BUG_ON(r->gone == NULL);	/* see http_fn */
		r->gone(r, r->gone_arg);
	}
	c->req = NULL;
	http_req_free(r);
}

void
http_conn_close(struct http_conn *c)
{
	struct http *h = c->h;

	drop_request(c);
	*c->prev_p = c->next;
	if (c->next != NULL)
		c->next->prev_p = c->prev_p;
	bufferevent_free(c->bev);
	loop_timer_free(c->limit);
	loop_timer_free(c->kick);
	mem_free(c);
	h->n_conn--;
	http_conn_room(h);
}

void
http_conn_cut(struct http_conn *c)
{
	c->cut = true;
	loop_timer_in(c->kick, 0);
}

/* Wait for the next request. */
static void
go_idle(struct http_conn *c)
{
	c->state = HTTP_HEAD;
	c->scanned = 0;
	c->since_ns = clock_ns();
	loop_timer_in(c->limit, c->served ? c->h->o.idle_ns :
	    c->h->o.recv_ns);
	if (c->served)
		http_conn_room(c->h);
}

/* The reply is out.  Closing with unread bytes would reset the connection and
 * destroy the reply on its way, so read on for a while first. */
static void
after_flush(struct http_conn *c)
{
	if (!c->last && !c->h->draining) {
		go_idle(c);
		conn_input(c);
		return;
	}
	if (c->eof) {
		http_conn_close(c);
		return;
	}
	c->state = HTTP_LINGER;
	shutdown(bufferevent_getfd(c->bev), SHUT_WR);
	loop_timer_in(c->limit, LINGER_NS);
	http_conn_room(c->h);
	conn_input(c);
}

void
http_conn_end(struct http_conn *c)
{
	struct http_req *r = c->req;

	if (!r->body_done)	/* of a request that was refused early */
		c->last = true;
	c->req = NULL;
	http_req_free(r);
	c->state = HTTP_FLUSH;
	c->served = true;
	loop_timer_stop(c->limit);
	if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
		loop_timer_in(c->kick, 0);
}

static void
refuse(struct http_conn *c, const struct http_bad *bad)
{
	struct http_error e = { .status = bad->status };

	c->last = true;
	c->state = HTTP_WORK;
	http_fail(c->req, &e, "%s", bad->text);
}

/* The request is complete: to its handler. */
static void
dispatch(struct http_conn *c)
{
	c->req->body_done = true;
	c->state = HTTP_WORK;
	loop_timer_stop(c->limit);
	http_req_route(c->req);
	if (c->state == HTTP_WORK) {
		BUG_ON(c->req->gone == NULL);
		if (c->eof)		/* nobody waits for it */
			http_conn_cut(c);
	}
}

/* The head is in.  May the request go on, and is there a body? */
static void
begin_body(struct http_conn *c)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct http_opt *o = &c->h->o;
	struct http_req *r = c->req;
	struct http_bad bad = { .status = 413 };

	if (!r->head.keep_alive || c->h->draining)
		c->last = true;
	r->no_body = strcmp(r->head.method, "HEAD") == 0;
	r->body_done = !r->head.chunked && r->head.body_bytes == 0;
	if (r->head.body_bytes > o->max_body_bytes && !r->head.chunked) {
		snprintf(bad.text, sizeof(bad.text), "the body has %llu bytes,"
		    " more than %zu", (unsigned long long)r->head.body_bytes,
		    o->max_body_bytes);
		refuse(c, &bad);
		return;
	}
	c->state = HTTP_WORK;	/* admit may reply */
	if (o->admit != NULL && !o->admit(r, o->arg))
		return;
	c->state = HTTP_BODY;
	if (r->head.expect && !r->body_done)
		bufferevent_write(c->bev, go_on, sizeof(go_on) - 1);
}

/* Returns whether there may be more to do with what has come. */
static bool
read_head(struct http_conn *c, struct evbuffer *in)
{
	size_t n = evbuffer_get_length(in), max = c->h->o.max_head_bytes, end;
	struct http_bad bad;
	const char *p;

	if (n == 0)
		return false;
	if (c->req == NULL) {
		p = (const char *)evbuffer_pullup(in, 1);
		if (*p == '\r' || *p == '\n') {	/* between requests: skip */
			evbuffer_drain(in, 1);
			return true;
		}
		c->req = http_req_new(c);
		loop_timer_in(c->limit, c->h->o.recv_ns);
	}
	if (n > max)
		n = max;
	p = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
	end = http_parse_end(p, n, &c->scanned);
	if (end == 0) {
		if (n < max)
			return false;
		bad.status = 431;
		snprintf(bad.text, sizeof(bad.text), "the headers are longer "
		    "than %zu bytes", max);
		refuse(c, &bad);
		return true;
	}
	if (http_parse_head(p, end, &c->req->head, &bad) != 0)
		refuse(c, &bad);
	evbuffer_drain(in, end);
	if (c->req != NULL && c->req->head.method != NULL)
		begin_body(c);
	return true;
}

static bool
read_body(struct http_conn *c, struct evbuffer *in)
{
	struct http_req *r = c->req;
	size_t max = c->h->o.max_body_bytes, used = 0;
	struct evbuffer_iovec v;
	struct http_bad bad;
	int rc = 1;

	if (r->body_done) {
		dispatch(c);
		return true;
	}
	if (evbuffer_get_length(in) == 0 ||
	    evbuffer_peek(in, -1, NULL, &v, 1) < 1)
		return false;
	if (r->head.chunked) {
		rc = http_parse_chunk(&r->chunk, v.iov_base, v.iov_len, max,
		    &r->body, &used, &bad);
	} else {
		used = (size_t)r->head.body_bytes - r->body.n;
		if (v.iov_len < used) {
			used = v.iov_len;
			rc = 0;
		}
		str_add(&r->body, v.iov_base, used);
	}
	evbuffer_drain(in, used);
	if (rc < 0)
		refuse(c, &bad);
	else if (rc > 0)
		dispatch(c);
	return true;
}

/* Do what can be done with the bytes that are there.  May close c. */
static void
conn_input(struct http_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	bool more = true;

	while (more) {
		switch (c->state) {
		case HTTP_HEAD:
			more = read_head(c, in);
			break;
		case HTTP_BODY:
			more = read_body(c, in);
			break;
		case HTTP_WORK:
		case HTTP_FLUSH:	/* pipelined: later */
			return;
		case HTTP_LINGER:
			evbuffer_drain(in, evbuffer_get_length(in));
			return;
		}
	}
	if (c->eof)	/* the rest of this request will not come */
		http_conn_close(c);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	conn_input(arg);
}

/* All output is with the kernel. */
static void
on_sent(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;

	(void)bev;
	if (c->state == HTTP_FLUSH)
		after_flush(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)bev;
	if (!(what & BEV_EVENT_EOF) || c->state == HTTP_WORK ||
	    c->state == HTTP_LINGER) {
		http_conn_close(c);	/* an error, a time-out, a hang-up */
		return;
	}
	c->eof = true;
	if (c->state != HTTP_FLUSH)
		conn_input(c);
}

static void
on_limit(void *arg)
{
	struct http_conn *c = arg;
	struct http_bad bad = { 408, "the request took too long to come" };

	if (c->req != NULL && (c->state == HTTP_HEAD || c->state == HTTP_BODY))
		refuse(c, &bad);
	else
		http_conn_close(c);
}

static void
on_kick(void *arg)
{
	struct http_conn *c = arg;

	if (c->cut)
		http_conn_close(c);
	else if (c->state == HTTP_FLUSH &&
	    evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
		after_flush(c);
}

void
http_conn_new(struct http *h, int fd)
{
	struct http_conn *c = mem_zalloc(sizeof(*c));
	struct timeval send = { (time_t)(h->o.send_ns / 1000000000),
	    (suseconds_t)(h->o.send_ns / 1000 % 1000000) };
	int one = 1;

	/* Tokens must not wait for each other; a host that vanished without a
	 * word must be noticed in the end. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	c->h = h;
	c->bev = bufferevent_socket_new(loop_base(h->o.loop), fd,
	    BEV_OPT_CLOSE_ON_FREE);
	BUG_ON(c->bev == NULL);
	c->next = h->conn;
	c->prev_p = &h->conn;
	if (h->conn != NULL)
		h->conn->prev_p = &c->next;
	h->conn = c;
	h->n_conn++;
	c->limit = loop_timer(h->o.loop, on_limit, c);
	c->kick = loop_timer(h->o.loop, on_kick, c);
	bufferevent_setcb(c->bev, on_read, on_sent, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0,
	    h->o.max_head_bytes + READ_AHEAD);
	bufferevent_set_timeouts(c->bev, NULL, &send);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	go_idle(c);
}
