/* front_call - see front_call.h. */
#include "front_call.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "clock.h"
#include "http_parse.h"
#include "mem.h"
#include "num.h"

#define MAX_HEAD	(32u << 10)
#define READ_BYTES	(64u << 10)

enum call_state { CALL_HEAD, CALL_LENGTH, CALL_CHUNKED, CALL_CLOSE, CALL_OVER };

struct front_call {
	struct loop *loop;
	int fd;
	struct loop_watch *watch;
	struct loop_timer *later;	/* reports what failed at once */
	struct str out;		/* request; out_at: next byte to be sent */
	size_t out_at;
	struct str in, head, body;
	size_t from;		/* see http_parse_end */
	enum call_state state;
	uint64_t left;		/* CALL_LENGTH */
	struct http_chunk chunk;
	uint64_t heard_ns;
	const struct front_call_fn *fn;
	void *user;
	char why[200];		/* "" : none */
	bool busy;		/* in a callback: freed when it returns */
	bool dead;
};

int
front_call_find(struct front_addr *a, const char *text, struct err *err)
{
	const struct addrinfo hint = { .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	struct addrinfo *ai = NULL;
	char *host;
	size_t n;
	int rc;

	if (colon == NULL || colon == text || colon[1] == '\0')
		return err_set(err, ERR_USAGE, "'%s' is not HOST:PORT", text);
	n = (size_t)(colon - text);
	host = text[0] == '[' && n > 2 && text[n - 1] == ']' ?
	    mem_printf("%.*s", (int)n - 2, text + 1) :
	    mem_printf("%.*s", (int)n, text);
	rc = getaddrinfo(host, colon + 1, &hint, &ai);
	mem_free(host);
	if (rc != 0)
		return err_set(err, ERR_USAGE, "%s: %s", text,
		    gai_strerror(rc));
	memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
	a->len = ai->ai_addrlen;
	a->text = mem_strdup(text);
	freeaddrinfo(ai);
	return 0;
}

/* ---- the end ------------------------------ */

static void
free_call(struct front_call *c)
{
	loop_unwatch(c->watch);
	loop_timer_free(c->later);
	if (c->fd >= 0)
		close(c->fd);
	str_free(&c->out);
	str_free(&c->in);
	str_free(&c->head);
	str_free(&c->body);
	mem_free(c);
}

void
front_call_cancel(struct front_call *c)
{
	if (c == NULL)
		return;
	c->dead = true;
	if (!c->busy)
		free_call(c);
}

static void
finish(struct front_call *c, const char *why)
{
	c->busy = true;
	c->state = CALL_OVER;
	if (!c->dead)
		c->fn->end(c->user, why);
	free_call(c);
}

static void
fail(struct front_call *c, const char *what, int errnum)
{
	char why[200];

	snprintf(why, sizeof(why), "%s%s%s", what, errnum != 0 ? ": " : "",
	    errnum != 0 ? strerror(errnum) : "");
	finish(c, why);
}

/* ---- the reply ------------------------------ */

bool
front_call_header(const struct front_call *c, const char *name, char *out,
    size_t n)
{
	const char *p = str_c(&c->head);
	size_t k = strlen(name), len;

	while ((p = strchr(p, '\n')) != NULL) {
		p++;
		if (strncasecmp(p, name, k) != 0 || p[k] != ':')
			continue;
		p += k + 1;
		p += strspn(p, " \t");
		len = strcspn(p, "\r\n");
		snprintf(out, n, "%.*s", (int)len, p);
		return true;
	}
	return false;
}

/* The head is complete: how the body comes, and tell the owner. */
static int
take_head(struct front_call *c)
{
	char v[64];
	int minor, status;

	if (sscanf(str_c(&c->head), "HTTP/1.%1d %3d", &minor, &status) != 2 ||
	    status < 200) {
		snprintf(c->why, sizeof(c->why), "no HTTP/1 reply");
		return -1;
	}
	if (front_call_header(c, "Transfer-Encoding", v, sizeof(v)) &&
	    strcasecmp(v, "chunked") == 0) {
		c->state = CALL_CHUNKED;
	} else if (front_call_header(c, "Content-Length", v, sizeof(v))) {
		c->state = CALL_LENGTH;
		if (num_u64(v, &c->left) != 0) {
			snprintf(c->why, sizeof(c->why), "bad Content-Length");
			return -1;
		}
	} else {
		c->state = CALL_CLOSE;
	}
	c->fn->head(c->user, status);
	return 0;
}

static int
take_body(struct front_call *c)
{
	struct http_bad bad = { 0 };
	size_t used = c->in.n;
	int rc = 0;

	str_clear(&c->body);
	if (c->state == CALL_CHUNKED) {
		rc = http_parse_chunk(&c->chunk, str_c(&c->in), c->in.n,
		    SIZE_MAX / 2, &c->body, &used, &bad);
		if (rc < 0)
			snprintf(c->why, sizeof(c->why), "%s", bad.text);
	} else {
		if (c->state == CALL_LENGTH && used > c->left)
			used = (size_t)c->left;
		str_add(&c->body, str_c(&c->in), used);
		if (c->state == CALL_LENGTH) {
			c->left -= used;
			rc = c->left == 0;
		}
	}
	memmove(c->in.p, c->in.p + used, c->in.n - used);
	str_cut(&c->in, c->in.n - used);
	if (rc >= 0 && c->body.n > 0)
		c->fn->data(c->user, str_c(&c->body), c->body.n);
	return rc;
}

/* What has come: 1 when the reply is whole, 0 to go on, -1 with c->why. */
static int
take(struct front_call *c)
{
	size_t n;

	if (c->state == CALL_HEAD) {
		n = http_parse_end(str_c(&c->in), c->in.n, &c->from);
		if (n == 0 && c->in.n > MAX_HEAD) {
			snprintf(c->why, sizeof(c->why), "its head is long");
			return -1;
		}
		if (n == 0)
			return 0;
		str_add(&c->head, c->in.p, n);
		memmove(c->in.p, c->in.p + n, c->in.n - n);
		str_cut(&c->in, c->in.n - n);
		if (take_head(c) != 0)
			return -1;
		if (c->dead)
			return 0;
		if (c->state == CALL_LENGTH && c->left == 0)
			return 1;
	}
	return c->in.n > 0 ? take_body(c) : 0;
}

static void
on_read(struct front_call *c)
{
	char buf[READ_BYTES];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);
	int rc;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(c, "connection lost", errno);
		return;
	}
	if (n == 0) {
		finish(c, c->state == CALL_CLOSE ? NULL :
		    "the connection ended early");
		return;
	}
	c->heard_ns = clock_ns();
	str_add(&c->in, buf, (size_t)n);
	c->busy = true;
	rc = take(c);
	c->busy = false;
	if (c->dead)
		free_call(c);
	else if (rc != 0)
		finish(c, rc > 0 ? NULL : c->why);
}

/* ---- the request ------------------------------ */

static void	on_ready(int fd, unsigned what, void *arg);

static void
watch(struct front_call *c, unsigned what)
{
	loop_unwatch(c->watch);
	c->watch = loop_watch(c->loop, c->fd, what, on_ready, c);
}

/* The first readiness to write tells how connecting went, too. */
static void
on_write(struct front_call *c)
{
	ssize_t n = send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at,
	    MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(c, c->out_at == 0 ? "cannot connect" : "connection lost",
		    errno);
		return;
	}
	c->out_at += (size_t)n;
	if (c->out_at == c->out.n)
		watch(c, LOOP_READ);
}

static void
on_ready(int fd, unsigned what, void *arg)
{
	struct front_call *c = arg;

	(void)fd;
	if (what & LOOP_READ)	/* it may answer before it has read all */
		on_read(c);
	else if (what & LOOP_WRITE)
		on_write(c);
}

static void
on_later(void *arg)
{
	struct front_call *c = arg;

	finish(c, c->why);
}

static void
connect_to(struct front_call *c, const struct front_addr *a)
{
	const int one = 1;

	c->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0);
	if (c->fd >= 0 &&
	    (connect(c->fd, (const struct sockaddr *)&a->sa, a->len) == 0 ||
	    errno == EINPROGRESS)) {
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one,
		    sizeof(one));
		watch(c, LOOP_READ | LOOP_WRITE);
		return;
	}
	snprintf(c->why, sizeof(c->why), "cannot connect: %s",
	    strerror(errno));
	c->later = loop_timer(c->loop, on_later, c);
	loop_timer_in(c->later, 0);
}

struct front_call *
front_call_start(struct loop *l, const struct front_addr *a,
    const struct front_req *r, const struct front_call_fn *fn, void *user)
{
	struct front_call *c = mem_zalloc(sizeof(*c));

	c->loop = l;
	c->fn = fn;
	c->user = user;
	str_addf(&c->out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n",
	    r->method, r->path, a->text);
	if (r->auth != NULL)
		str_addf(&c->out, "Authorization: %s\r\n", r->auth);
	if (r->body != NULL)
		str_addf(&c->out, "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n", r->n_body);
	str_adds(&c->out, "\r\n");
	if (r->body != NULL)
		str_add(&c->out, r->body, r->n_body);
	connect_to(c, a);
	return c;
}

uint64_t
front_call_heard_ns(const struct front_call *c)
{
	return c->heard_ns;
}
