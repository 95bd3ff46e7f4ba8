/*
 * http_rig.h - an HTTP server in a thread, with a handler for each thing that a
 * handler can do, for raw sockets to talk to.
 */
#ifndef MOE_HTTP_RIG_H
#define MOE_HTTP_RIG_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "http.h"
#include "http_parse.h"
#include "loop.h"
#include "mem.h"
#include "tap.h"
#include "raw_client.h"

static struct loop *loop;
static struct http *server;
static struct loop_bell *do_drain;
static char addr[64];
static pthread_t thread;
static atomic_int n_gone, n_open, n_admitted;
static pthread_mutex_t gone_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gone_cond = PTHREAD_COND_INITIALIZER;

/* ---- handlers -------------------------------------------------------------------- */

static void
on_echo(struct http_req *r, void *arg)
{
	size_t n;
	const char *p = http_body(r, &n);

	(void)arg;
	http_add_header(r, "X-Path", http_path(r));
	http_add_header(r, "X-Query", http_query(r));
	http_reply(r, 200, "text/plain", p, n);
}

static void
on_hello(struct http_req *r, void *arg)
{
	(void)arg;
	http_reply(r, 200, "text/plain", "hello", 5);
}

static void
on_stream(struct http_req *r, void *arg)
{
	(void)arg;
	http_stream_begin(r, 200, "text/event-stream");
	http_stream_put(r, "one ", 4);
	http_stream_put(r, "", 0);
	http_stream_put(r, "two", 3);
	http_stream_end(r);
}

static void
on_gone(struct http_req *r, void *arg)
{
	loop_timer_free(http_user(r));
	(void)arg;
	pthread_mutex_lock(&gone_lock);
	n_gone++;
	n_open--;
	pthread_cond_broadcast(&gone_cond);
	pthread_mutex_unlock(&gone_lock);
}

/* Never replies. */
static void
on_wait(struct http_req *r, void *arg)
{
	(void)arg;
	n_open++;
	http_on_gone(r, on_gone, NULL);
}

static void
flood(void *arg)
{
	static const char block[65536];
	struct http_req *r = arg;
	int i;

	for (i = 0; i < 16; i++)
		if (!http_stream_put(r, block, sizeof(block)))
			return;
	loop_timer_in(http_user(r), 0);
}

/* A stream that never ends, as fast as the client takes it and faster. */
static void
on_flood(struct http_req *r, void *arg)
{
	struct loop_timer *t = loop_timer(loop, flood, r);

	(void)arg;
	n_open++;
	http_set_user(r, t);
	http_on_gone(r, on_gone, NULL);
	http_stream_begin(r, 200, "application/octet-stream");
	loop_timer_in(t, 0);
}

static bool
admit(struct http_req *r, void *arg)
{
	struct http_error e = { .status = 401 };
	const char *key = http_header(r, "authorization");

	(void)arg;
	n_admitted++;
	if (strncmp(http_path(r), "/secret", 7) != 0 ||
	    (key != NULL && strcmp(key, "Bearer k") == 0))
		return true;
	http_fail(r, &e, "no \"key\"\n");
	return false;
}

static const struct http_route routes[] = {
	{ "GET", "/hello", on_hello },
	{ "POST", "/echo", on_echo },
	{ "GET", "/tree/*", on_echo },
	{ "POST", "/secret", on_echo },
	{ "GET", "/stream", on_stream },
	{ "GET", "/wait", on_wait },
	{ "GET", "/flood", on_flood },
	{ NULL, NULL, NULL },
};

static void *
serve(void *arg)
{
	struct err e = ERR_INIT;

	(void)arg;
	loop_run(loop, &e);
	return NULL;
}

__attribute__((unused)) static void
on_do_drain(void *arg)
{
	(void)arg;
	http_drain(server);
}

__attribute__((unused)) static void
start(const struct http_opt *more)
{
	struct http_opt o = *more;
	struct err e = ERR_INIT;

	n_gone = n_open = n_admitted = 0;
	if (loop_open(&loop, &e) != 0)
		abort();
	o.loop = loop;
	o.addr = "127.0.0.1:0";
	o.route = routes;
	o.admit = admit;
	if (http_start(&server, &o, &e) != 0) {
		printf("# %s\n", e.text);
		abort();
	}
	do_drain = loop_bell(loop, on_do_drain, NULL, &e);
	snprintf(addr, sizeof(addr), "%s", http_addr(server));
	pthread_create(&thread, NULL, serve, NULL);
}

__attribute__((unused)) static void
stop(void)
{
	loop_stop(loop);
	pthread_join(thread, NULL);
	http_stop(server);
	loop_bell_free(do_drain);
	loop_close(loop);
}

/* Wait until n requests have gone; false after RAW_WAIT_S. */
__attribute__((unused)) static bool
wait_gone(int n)
{
	struct timespec t;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += RAW_WAIT_S;
	pthread_mutex_lock(&gone_lock);
	while (n_gone < n && rc == 0)
		rc = pthread_cond_timedwait(&gone_cond, &gone_lock, &t);
	pthread_mutex_unlock(&gone_lock);
	return rc == 0;
}

#endif
