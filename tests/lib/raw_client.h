/*
 * raw_client.h - a blocking TCP client for tests: sends any bytes, reads one
 * HTTP reply.  Every wait ends after RAW_WAIT_S seconds.
 */
#ifndef MOE_RAW_CLIENT_H
#define MOE_RAW_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "str.h"

#define RAW_WAIT_S	20

struct raw_reply {
	int status;		/* 0: no whole reply came */
	char head[4096];
	struct str body;	/* dechunked */
	int n_chunk;
};

/* addr: "127.0.0.1:PORT". */
__attribute__((unused)) static int
raw_connect(const char *addr)
{
	struct timeval tv = { RAW_WAIT_S, 0 };
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sa.sin_port = htons((uint16_t)atoi(strrchr(addr, ':') + 1));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* false when the server does not take them all. */
__attribute__((unused)) static int
raw_send(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t k = send(fd, at, n, MSG_NOSIGNAL);

		if (k <= 0)
			return 0;
		at += k;
		n -= (size_t)k;
	}
	return 1;
}

__attribute__((unused)) static int
raw_puts(int fd, const char *s)
{
	return raw_send(fd, s, strlen(s));
}

/* One byte; false at the end of the connection. */
static int
raw_getc(int fd, char *c)
{
	return recv(fd, c, 1, 0) == 1;
}

static int
raw_line(int fd, char *line, size_t cap)
{
	size_t n = 0;
	char c;

	while (raw_getc(fd, &c)) {
		if (c == '\n') {
			if (n > 0 && line[n - 1] == '\r')
				n--;
			line[n] = '\0';
			return 1;
		}
		if (n + 1 < cap)
			line[n++] = c;
	}
	return 0;
}

static int
raw_bytes(int fd, size_t n, struct str *out)
{
	char buf[4096];

	while (n > 0) {
		ssize_t k = recv(fd, buf, n < sizeof(buf) ? n : sizeof(buf), 0);

		if (k <= 0)
			return 0;
		str_add(out, buf, (size_t)k);
		n -= (size_t)k;
	}
	return 1;
}

static int
raw_chunks(int fd, struct raw_reply *r)
{
	char line[64];
	size_t n;

	for (;;) {
		if (!raw_line(fd, line, sizeof(line)))
			return 0;
		n = strtoul(line, NULL, 16);
		if (n > 0 && !raw_bytes(fd, n, &r->body))
			return 0;
		if (!raw_line(fd, line, sizeof(line)) || line[0] != '\0')
			return 0;
		if (n == 0)
			return 1;
		r->n_chunk++;
	}
}

/* The value of a header in r->head, "" if it is not there. */
__attribute__((unused)) static const char *
raw_header(const struct raw_reply *r, const char *name)
{
	static char value[256];
	const char *p = r->head;
	size_t n = strlen(name), len;

	for (; (p = strchr(p, '\n')) != NULL; p++)
		if (strncasecmp(p + 1, name, n) == 0 && p[1 + n] == ':') {
			len = strcspn(p + n + 3, "\n");
			snprintf(value, sizeof(value), "%.*s", (int)len,
			    p + n + 3);
			return value;
		}
	return "";
}

/* The head of a reply (100 Continue is one, too). */
static int
raw_read_head(int fd, struct raw_reply *r)
{
	char line[1024];
	size_t n = 0;

	memset(r, 0, sizeof(*r));
	while (raw_line(fd, line, sizeof(line))) {
		if (line[0] == '\0') {
			r->status = atoi(r->head + 9);
			return 1;
		}
		n += (size_t)snprintf(r->head + n, sizeof(r->head) - n, "%s\n",
		    line);
		if (n >= sizeof(r->head))
			return 0;
	}
	return 0;
}

/* Read one reply; no_body for one to HEAD.  status 0 when it is cut short. */
__attribute__((unused)) static void
raw_read(int fd, struct raw_reply *r, int no_body)
{
	const char *len;
	int good = 1;

	if (!raw_read_head(fd, r))
		return;
	len = raw_header(r, "Content-Length");
	if (no_body || r->status == 204 || r->status == 100)
		;
	else if (strcmp(raw_header(r, "Transfer-Encoding"), "chunked") == 0)
		good = raw_chunks(fd, r);
	else if ((len = raw_header(r, "Content-Length"))[0] != '\0')
		good = raw_bytes(fd, strtoul(len, NULL, 10), &r->body);
	else
		(void)raw_bytes(fd, (size_t)1 << 30, &r->body);
	if (!good)
		r->status = 0;
}

/* Send a request on a connection of its own and read the reply; body NULL: a
 * GET.  The caller str_frees r->body. */
__attribute__((unused)) static void
raw_ask(const char *addr, const char *method, const char *path,
    const char *body, struct raw_reply *r)
{
	struct str q = STR_INIT;
	int fd = raw_connect(addr);

	str_addf(&q, "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n",
	    method, path);
	if (body != NULL)
		str_addf(&q, "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n", strlen(body));
	str_adds(&q, "\r\n");
	str_adds(&q, body != NULL ? body : "");
	memset(r, 0, sizeof(*r));
	if (fd >= 0 && raw_send(fd, q.p, q.n))
		raw_read(fd, r, strcmp(method, "HEAD") == 0);
	str_free(&q);
	if (fd >= 0)
		close(fd);
}

#endif
