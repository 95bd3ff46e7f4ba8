/* Unit tests of http: requests and answers, good and bad, on raw sockets. */
#include <netdb.h>

#include "http_rig.h"

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

static void
test_addr(void)
{
	struct http_opt o = { .route = routes };
	struct http *h = NULL, *h2 = NULL;
	struct err e = ERR_INIT;
	struct addrinfo *a;
	struct loop *l;

	OK(loop_open(&l, &e) == 0, "a loop");
	o.loop = l;
	OK(http_check_addr("127.0.0.1:0", false, false, &e) == 0 &&
	    http_check_addr("[::1]:80", false, false, &e) == 0,
	    "loopback needs no key");
	/* A bare root has no /etc/hosts. */
	if (getaddrinfo("localhost", "80", NULL, &a) == 0) {
		freeaddrinfo(a);
		OK(http_check_addr("localhost:80", false, false, &e) == 0,
		    "nor does localhost");
	}
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
	stop();
	EQ_INT(n_open, 0, "no request is left open");
	return tap_done();
}
