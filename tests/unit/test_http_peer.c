/* Unit tests of http: peers that hang up, read slowly, come in crowds or never
 * finish, and the end of the server. */
#include "http_rig.h"

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

int
main(void)
{
	struct http_opt plain = { 0 };
	struct http_opt few = { .max_conn = 16 };
	struct http_opt quick = { .recv_ns = 150000000, .idle_ns = 50000000 };

	signal(SIGPIPE, SIG_IGN);
	start(&plain);
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
