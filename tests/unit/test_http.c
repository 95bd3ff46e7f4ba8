/* Unit tests of http: a server in a thread, raw sockets against it. */
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

static void
on_do_drain(void *arg)
{
	(void)arg;
	http_drain(server);
}

static void
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

static void
stop(void)
{
	loop_stop(loop);
	pthread_join(thread, NULL);
	http_stop(server);
	loop_bell_free(do_drain);
	loop_close(loop);
}

/* Wait until n requests have gone; false after RAW_WAIT_S. */
static bool
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

/* ---- tests ------------------------------------------------------------------------ */

static void
test_basics(void)
{
	struct raw_reply r;
	int fd = raw_connect(addr), i;

	raw_puts(fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(fd, &r, 0);
	OK(r.status == 200 && strcmp(str_c(&r.body), "hello") == 0, "a GET");
	OK(raw_header(&r, "Date")[0] != '\0', "with a date");
	str_free(&r.body);
	raw_puts(fd, "POST /echo?a=%20 HTTP/1.1\nHost: t\nContent-Length: 3\n\n"
	    "abc");
	raw_read(fd, &r, 0);
	OK(r.status == 200 && strcmp(str_c(&r.body), "abc") == 0,
	    "a POST on the same connection, lines ended by LF alone");
	EQ_STR(raw_header(&r, "X-Query"), "a=%20", "the query as sent");
	str_free(&r.body);
	raw_puts(fd, "HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(fd, &r, 1);
	OK(r.status == 200 && strcmp(raw_header(&r, "content-length"), "5") == 0,
	    "HEAD: the length, no body");
	raw_puts(fd, "GET http://t/tree/a%2fb HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(fd, &r, 0);
	OK(r.status == 200 && strcmp(raw_header(&r, "X-Path"), "/tree/a/b") == 0,
	    "absolute form, a prefix route, escapes");
	str_free(&r.body);
	for (i = 0; i < 3; i++)
		raw_puts(fd, "\r\nPOST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Content-Length: 1\r\n\r\n1GET /hello HTTP/1.1\r\n"
		    "Host: t\r\n\r\n");
	for (i = 0; i < 6; i++) {
		raw_read(fd, &r, 0);
		OK(r.status == 200 && strcmp(str_c(&r.body), i % 2 ? "hello" :
		    "1") == 0, "pipelined reply %d", i);
		str_free(&r.body);
	}
	close(fd);
}

static void
test_half_close(void)
{
	struct raw_reply r;
	int fd = raw_connect(addr);
	char c;

	raw_puts(fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n"
	    "GET /hello HTTP/1.1\r\nHost: t\r\n\r\nGET /he");
	shutdown(fd, SHUT_WR);
	raw_read(fd, &r, 0);
	str_free(&r.body);
	raw_read(fd, &r, 0);
	OK(r.status == 200 && !raw_getc(fd, &c),
	    "half-closed: what is whole is answered, then the end");
	str_free(&r.body);
	close(fd);
}

static void
test_bodies(void)
{
	struct raw_reply r;
	int fd = raw_connect(addr);

	raw_puts(fd, "POST /echo HTTP/1.1\r\nHost: t\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n");
	raw_ask(addr, "GET", "/hello", NULL, &r);
	EQ_INT(r.status, 200, "others are served while a body is to come");
	str_free(&r.body);
	raw_puts(fd, "3;ext=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n");
	raw_read(fd, &r, 0);
	EQ_STR(str_c(&r.body), "abc0123456789", "a chunked body");
	str_free(&r.body);
	raw_puts(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n"
	    "Expect: 100-continue\r\n\r\n");
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 100, "100 Continue");
	raw_puts(fd, "ok");
	raw_read(fd, &r, 0);
	EQ_STR(str_c(&r.body), "ok", "then the reply");
	str_free(&r.body);
	close(fd);
}

static void
test_streams(void)
{
	struct raw_reply r;
	int fd = raw_connect(addr);
	char c;

	raw_puts(fd, "GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(fd, &r, 0);
	OK(r.status == 200 && r.n_chunk == 2 &&
	    strcmp(str_c(&r.body), "one two") == 0, "a stream in two chunks");
	str_free(&r.body);
	raw_puts(fd, "GET /stream HTTP/1.0\r\n\r\n");
	raw_read(fd, &r, 0);
	OK(r.status == 200 && strcmp(str_c(&r.body), "one two") == 0 &&
	    !raw_getc(fd, &c), "HTTP/1.0: until the connection closes");
	str_free(&r.body);
	close(fd);
}

static void
test_refusals(void)
{
	struct raw_reply r;

	raw_ask(addr, "GET", "/nothing/%22", NULL, &r);
	OK(r.status == 404 && strcmp(str_c(&r.body), "{\"error\":{\"message\":"
	    "\"there is no /nothing/\\\" here\",\"type\":\"NotFoundError\","
	    "\"param\":null,\"code\":404}}\n") == 0, "404 in JSON");
	str_free(&r.body);
	raw_ask(addr, "DELETE", "/hello", NULL, &r);
	OK(r.status == 405 && strcmp(raw_header(&r, "Allow"),
	    "GET, HEAD, OPTIONS") == 0, "405 names the methods");
	str_free(&r.body);
	raw_ask(addr, "OPTIONS", "/echo", NULL, &r);
	OK(r.status == 204 && strcmp(raw_header(&r, "Allow"),
	    "POST, OPTIONS") == 0, "OPTIONS");
	str_free(&r.body);
	raw_ask(addr, "POST", "/secret", "body", &r);
	OK(r.status == 401 && strstr(str_c(&r.body), "no \\\"key\\\"\\u000a"),
	    "refused before the body is read, the text escaped");
	str_free(&r.body);
}

static void
test_broken(void)
{
	static const struct {
		int status;
		const char *text;
	} t[] = {
		{ 400, "\x16\x03\x01\x02\r\n\r\n" },
		{ 400, "GET /hello\r\n\r\n" },
		{ 400, "GET  /hello HTTP/1.1\r\nHost: t\r\n\r\n" },
		{ 400, "G@T /hello HTTP/1.1\r\nHost: t\r\n\r\n" },
		{ 400, "GET hello HTTP/1.1\r\nHost: t\r\n\r\n" },
		{ 400, "GET /h%0 HTTP/1.1\r\nHost: t\r\n\r\n" },
		{ 400, "GET /h%00 HTTP/1.1\r\nHost: t\r\n\r\n" },
		{ 400, "GET /hello HTTP/1.1\r\n\r\n" },
		{ 400, "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
		{ 400, "GET /hello HTTP/1.1\r\nHost : t\r\n\r\n" },
		{ 400, "GET /hello HTTP/1.1\r\nHost: t\r\n folded\r\n\r\n" },
		{ 400, "GET /hello HTTP/1.1\r\nHost: t\r\nno colon\r\n\r\n" },
		{ 400, "GET /hello HTTP/1.1\r\nHost: t\r\nA: b\rc\r\n\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1"
		    "\r\n\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n"
		    "Content-Length: 2\r\n\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Content-Length: 99999999999999999999\r\n\r\n" },
		{ 501, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Transfer-Encoding: gzip\r\n\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n" },
		{ 400, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n"
		    "fffffffffffffffff\r\n" },
		{ 413, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n" },
		{ 413, "POST /echo HTTP/1.1\r\nHost: t\r\n"
		    "Content-Length: 8388609\r\n\r\n" },
		{ 505, "GET /hello HTTP/2.0\r\nHost: t\r\n\r\n" },
	};
	struct raw_reply r;
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int fd = raw_connect(addr);
		char c;

		raw_puts(fd, t[i].text);
		raw_read(fd, &r, 0);
		OK(r.status == t[i].status && strstr(str_c(&r.body),
		    "{\"error\":") && !raw_getc(fd, &c), "broken request %zu: "
		    "%d and the end: %.70s", i, t[i].status, str_c(&r.body) +
		    (r.body.n > 20 ? 20 : 0));
		str_free(&r.body);
		close(fd);
	}
}

static void
test_large_head(void)
{
	struct str q = STR_INIT;
	struct raw_reply r;
	int fd = raw_connect(addr), i;

	str_adds(&q, "GET /hello HTTP/1.1\r\nHost: t\r\nA: ");
	for (i = 0; i < 40000; i++)
		str_addc(&q, 'x');
	raw_send(fd, q.p, q.n);
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 431, "headers of 40 kB");
	str_free(&r.body);
	close(fd);
	str_clear(&q);
	str_adds(&q, "GET /hello HTTP/1.1\r\nHost: t\r\n");
	for (i = 0; i < HTTP_MAX_FIELD; i++)
		str_adds(&q, "A: b\r\n");
	str_adds(&q, "\r\n");
	fd = raw_connect(addr);
	raw_send(fd, q.p, q.n);
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 431, "more headers than there may be");
	str_free(&r.body);
	str_free(&q);
	close(fd);
}

/* 100 MB are refused by the head alone; a client that pushes them all the same
 * still gets to read why. */
static void
test_large_body(void)
{
	static const char head[] = "POST /echo HTTP/1.1\r\nHost: t\r\n"
	    "Content-Length: 104857600\r\n\r\n";
	static char block[1 << 16];
	struct raw_reply r;
	int fd = raw_connect(addr), i;

	raw_puts(fd, head);
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 413, "100 MB of body are refused before they come");
	str_free(&r.body);
	close(fd);
	fd = raw_connect(addr);
	raw_puts(fd, head);
	for (i = 0; i < 1600 && raw_send(fd, block, sizeof(block)); i++)
		;
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 413, "and after %d of 1600 blocks", i);
	str_free(&r.body);
	close(fd);
}

/* Hang up at every point of a request: the server goes on. */
static void
test_cut_off(void)
{
	static const char *const text[] = {
		("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked"
		    "\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
		("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n"
		    "abcd"),
	};
	struct raw_reply r;
	size_t i, k;
	int fd, bad = 0;
	char c;

	for (i = 0; i < 2; i++)
		for (k = 0; k < strlen(text[i]); k++) {
			fd = raw_connect(addr);
			raw_send(fd, text[i], k);
			shutdown(fd, SHUT_WR);
			bad += raw_getc(fd, &c);
			close(fd);
		}
	EQ_INT(bad, 0, "no reply to a request that was cut off");
	raw_ask(addr, "GET", "/hello", NULL, &r);
	EQ_INT(r.status, 200, "and others are served");
	str_free(&r.body);
}

static void
test_hang_up(void)
{
	int fd = raw_connect(addr), fd2 = raw_connect(addr), before = n_gone;
	struct linger rst = { 1, 0 };

	raw_puts(fd, "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_puts(fd2, "GET /wait HTTP/1.1\r\nHost: t\r\n\r\nGET /hello HTTP");
	close(fd);
	OK(wait_gone(before + 1), "a hang-up is noticed while a handler works");
	setsockopt(fd2, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	close(fd2);
	OK(wait_gone(before + 2), "a reset behind pipelined bytes, too");
}

static void
test_slow_reader(void)
{
	struct raw_reply r;
	int fd = raw_connect(addr), before = n_gone;

	raw_puts(fd, "GET /flood HTTP/1.1\r\nHost: t\r\n\r\n");
	OK(wait_gone(before + 1), "a stream that nobody reads is cut");
	raw_ask(addr, "GET", "/hello", NULL, &r);
	EQ_INT(r.status, 200, "and the loop was never blocked");
	str_free(&r.body);
	close(fd);
}

/* Far more connections than may be open: all are served in the end. */
static void
test_many(void)
{
	enum { N = 300 };
	static int fd[N];
	struct raw_reply r;
	int i, good = 0;

	for (i = 0; i < N; i++)
		if ((fd[i] = raw_connect(addr)) >= 0)
			raw_puts(fd[i], "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
	for (i = 0; i < N; i++) {
		raw_read(fd[i], &r, 0);
		good += r.status == 200;
		str_free(&r.body);
	}
	EQ_INT(good, N, "300 clients on 16 connections");
	for (i = 0; i < N; i++)
		close(fd[i]);
}

static void
test_slow_loris(void)
{
	struct timeval tv = { 0, 5000 };
	struct raw_reply r;
	uint64_t t = clock_ns();
	int fd = raw_connect(addr);
	char c;

	raw_puts(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999"
	    "\r\n\r\n");
	/* A byte now and then, until an answer comes. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	while (clock_ns() - t < RAW_WAIT_S * 1000000000ull &&
	    recv(fd, &c, 1, MSG_PEEK) < 0)
		raw_send(fd, "x", 1);
	tv.tv_sec = RAW_WAIT_S;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 408, "a request that comes by drops is cut");
	OK(clock_ns() - t >= 150000000, "but not before its time");
	str_free(&r.body);
	close(fd);
	fd = raw_connect(addr);
	OK(!raw_getc(fd, &c), "a connection without a request is closed");
	close(fd);
	fd = raw_connect(addr);
	raw_puts(fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(fd, &r, 0);
	OK(r.status == 200 && !raw_getc(fd, &c), "an idle one, too");
	str_free(&r.body);
	close(fd);
}

static void
test_drain(void)
{
	struct raw_reply r;
	int idle = raw_connect(addr), busy = raw_connect(addr);
	char c;

	raw_puts(idle, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(idle, &r, 0);
	str_free(&r.body);
	raw_puts(busy, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\nGET /he");
	raw_read(busy, &r, 0);
	OK(r.status == 200 && raw_header(&r, "Connection")[0] == '\0',
	    "kept alive");
	str_free(&r.body);
	loop_ring(do_drain);
	OK(!raw_getc(idle, &c), "a drain closes idle connections");
	raw_puts(busy, "llo HTTP/1.1\r\nHost: t\r\n\r\n");
	raw_read(busy, &r, 0);
	OK(r.status == 200 && strcmp(raw_header(&r, "Connection"), "close") == 0
	    && !raw_getc(busy, &c), "and others after their reply");
	str_free(&r.body);
	close(idle);
	close(busy);
}

static void
test_addr(void)
{
	struct http_opt o = { .route = routes };
	struct http *h = NULL, *h2 = NULL;
	struct err e = ERR_INIT;
	struct loop *l;

	OK(loop_open(&l, &e) == 0, "a loop");
	o.loop = l;
	OK(http_check_addr("127.0.0.1:0", false, false, &e) == 0 &&
	    http_check_addr("[::1]:80", false, false, &e) == 0 &&
	    http_check_addr("localhost:80", false, false, &e) == 0,
	    "loopback needs no key");
	OK(http_check_addr("0.0.0.0:80", false, false, &e) == -1 &&
	    e.code == ERR_USAGE && http_check_addr(":80", false, false, &e) ==
	    -1, "a public address without a key is refused: %s", e.text);
	OK(http_check_addr("0.0.0.0:80", true, false, &e) == 0 &&
	    http_check_addr("0.0.0.0:80", false, true, &e) == 0,
	    "with a key or --insecure it is not");
	OK(http_check_addr("127.0.0.1", false, false, &e) == -1 &&
	    http_check_addr("127.0.0.1:x", false, false, &e) == -1 &&
	    http_check_addr("127.0.0.1:70000", false, false, &e) == -1,
	    "bad addresses: %s", e.text);
	o.addr = "127.0.0.1:0";
	OK(http_start(&h, &o, &e) == 0 && strncmp(http_addr(h), "127.0.0.1:",
	    10) == 0 && strcmp(http_addr(h), o.addr) != 0, "the true port");
	o.addr = http_addr(h);
	OK(http_start(&h2, &o, &e) == -1 && e.code == ERR_TEMP,
	    "a busy port: %s", e.text);
	http_stop(h);
	loop_close(l);
}

int
main(void)
{
	struct http_opt plain = { 0 };
	struct http_opt few = { .max_conn = 16 };
	struct http_opt quick = { .recv_ns = 150000000, .idle_ns = 50000000 };

	signal(SIGPIPE, SIG_IGN);
	test_addr();
	start(&plain);
	test_basics();
	test_half_close();
	test_bodies();
	test_streams();
	test_refusals();
	test_broken();
	test_large_head();
	test_large_body();
	test_cut_off();
	test_hang_up();
	test_slow_reader();
	test_drain();
	EQ_INT(n_open, 0, "no request is left open");
	stop();
	start(&few);
	test_many();
	stop();
	start(&quick);
	test_slow_loris();
	stop();
	return tap_done();
}
