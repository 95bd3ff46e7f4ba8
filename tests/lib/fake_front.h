/*
 * fake_front - attention front ends for tests of the door: they answer as
 * moe-attnd does, with tokens that follow from seed, choice and position, and
 * go wrong where a test says.
 *
 * A thread a connection.  fake.* is set while no request is under way.
 */
#ifndef MOE_FAKE_FRONT_H
#define MOE_FAKE_FRONT_H

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem.h"
#include "str.h"

#define FAKES	3

enum fake_how {
	FAKE_DIE,		/* after `at` bytes: close */
	FAKE_HANG,		/* after `at` bytes: silence, on /health too */
	FAKE_WAIT,		/* after `at` bytes: silence until fake_open */
	FAKE_ERROR,		/* after `at` events: an error event */
	FAKE_RUBBISH,		/* after `at` events: one that is no chunk */
};

static struct {
	char addr[FAKES][32];
	int listen[FAKES];
	/* The next request for an answer, whoever gets it: once. */
	atomic_int at;		/* -1: all goes well */
	enum fake_how how;
	int code;		/* FAKE_ERROR */
	/* All of them, while set. */
	atomic_int refuse;	/* status of each reply to a request */
	atomic_bool gone;	/* connections are closed at once */
	atomic_bool old;	/* moe_resume is not known */
	atomic_int hung;	/* index of one that hangs; -1 */
	atomic_int n_ask, n_resume, n_abort;
	int open;		/* under lock: who waits may go on */
	pthread_mutex_t lock;
	pthread_cond_t cond;
} fake = { .at = -1, .hung = -1, .lock = PTHREAD_MUTEX_INITIALIZER,
    .cond = PTHREAD_COND_INITIALIZER };

struct fake_conn {
	int fd, index;
};

/* A reply on its way. */
struct fake_reply {
	int fd, index;
	int at;			/* -1: whole */
	enum fake_how how;
	int sent;		/* bytes */
	int event;
	bool broken;
};

static inline void
fake_wait(void)
{
	int now;

	pthread_mutex_lock(&fake.lock);
	for (now = fake.open; fake.open == now;)
		pthread_cond_wait(&fake.cond, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

/* Who waits or hangs goes on. */
static inline void
fake_open(void)
{
	atomic_store(&fake.hung, -1);
	pthread_mutex_lock(&fake.lock);
	fake.open++;
	pthread_cond_broadcast(&fake.cond);
	pthread_mutex_unlock(&fake.lock);
}

/* ---- sending ------------------------------ */

static inline void
fake_raw(struct fake_reply *r, const char *p, size_t n)
{
	size_t k = n;

	if (r->broken)
		return;
	if (r->at >= 0 && r->how <= FAKE_WAIT && r->sent + (int)n > r->at)
		k = (size_t)(r->at - r->sent);
	if (k > 0 && send(r->fd, p, k, MSG_NOSIGNAL) != (ssize_t)k) {
		atomic_fetch_add(&fake.n_abort, 1);
		r->broken = true;
		return;
	}
	r->sent += (int)k;
	if (k == n)
		return;
	r->at = -1;
	if (r->how == FAKE_DIE) {
		r->broken = true;
		return;
	}
	if (r->how == FAKE_HANG)
		atomic_store(&fake.hung, r->index);
	fake_wait();
	fake_raw(r, p + k, n - k);
}

static inline void
fake_event(struct fake_reply *r, const char *data)
{
	char *s = mem_printf("data: %s\n\n", data);
	char *chunk = mem_printf("%zx\r\n%s\r\n", strlen(s), s);

	fake_raw(r, chunk, strlen(chunk));
	r->event++;
	mem_free(chunk);
	mem_free(s);
}

static inline void
fake_status(struct fake_reply *r, int status, const char *type,
    const char *body)
{
	char *s = mem_printf("HTTP/1.1 %d X\r\nContent-Type: %s\r\n"
	    "Content-Length: %zu\r\n%sConnection: close\r\n\r\n%s", status,
	    type, strlen(body), status == 503 ? "Retry-After: 7\r\n" : "",
	    body);

	fake_raw(r, s, strlen(s));
	mem_free(s);
}

/* ---- answers ------------------------------ */

struct fake_ask {
	int n, max_tok, seed, id;
	bool lp, usage;
	const json_t *resume;
};

static inline int
fake_has(const struct fake_ask *a, int choice, bool *finished)
{
	const json_t *c = json_array_get(json_object_get(a->resume,
	    "choices"), (size_t)choice);

	*finished = json_is_true(json_object_get(c, "finished"));
	return (int)json_array_size(json_object_get(c, "token_ids"));
}

static inline void
fake_chunk(struct fake_reply *r, const struct fake_ask *a, int choice, int k)
{
	int id = a->seed * 1000 + choice * 100 + k;
	struct str s = STR_INIT;

	str_addf(&s, "{\"id\":\"f-%d\",\"object\":\"text_completion\","
	    "\"created\":%d,\"model\":\"m\",\"choices\":[{\"index\":%d,"
	    "\"text\":\"", a->id, a->id + 5000000, choice);
	if (k < a->max_tok)
		str_addf(&s, "%s\\u00e9\\\"%d}", k == 1 ? "" : " ", id);
	str_adds(&s, "\",\"logprobs\":");
	if (!a->lp)
		str_adds(&s, "null");
	else if (k == a->max_tok)
		str_adds(&s, "{\"tokens\":[],\"token_logprobs\":[]}");
	else
		str_addf(&s, "{\"tokens\":[\"[%d\"],\"token_logprobs\":"
		    "[-%d.25]}", id, id);
	str_addf(&s, ",\"finish_reason\":%s,\"stop_reason\":null,"
	    "\"token_ids\":[", k == a->max_tok ? "\"length\"" : "null");
	if (k < a->max_tok)
		str_addf(&s, "%d", id);
	str_adds(&s, k == 0 ? "],\"prompt_token_ids\":[1,2]}]}" : "]}]}");
	fake_event(r, s.p);
	str_free(&s);
}

static inline bool
fake_goes_wrong(struct fake_reply *r)
{
	char error[128];

	if (r->at != r->event || r->how < FAKE_ERROR)
		return false;
	r->at = -1;
	if (r->how == FAKE_RUBBISH) {
		fake_event(r, "{\"id\":3,[\"choices\"}");
		return false;
	}
	snprintf(error, sizeof(error), "{\"error\":{\"message\":\"oh\",\"type\""
	    ":\"T\",\"param\":null,\"code\":%d}}", fake.code);
	fake_event(r, error);
	fake_raw(r, "0\r\n\r\n", 5);
	return true;
}

static inline void
fake_answer(struct fake_reply *r, const struct fake_ask *a)
{
	struct str s = STR_INIT;
	bool finished;
	int k, i, all = 0;

	str_addf(&s, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	    "%sTransfer-Encoding: chunked\r\n\r\n", a->resume != NULL ?
	    "Moe-Resumed: 1\r\n" : "");
	fake_raw(r, s.p, s.n);
	for (k = 0; k <= a->max_tok; k++)
		for (i = 0; i < a->n; i++)
			if (fake_has(a, i, &finished) <= k && !finished) {
				if (fake_goes_wrong(r)) {
					str_free(&s);
					return;
				}
				fake_chunk(r, a, i, k);
			}
	all = a->n * a->max_tok;
	str_clear(&s);
	str_addf(&s, "{\"id\":\"f-%d\",\"object\":\"text_completion\","
	    "\"created\":%d,\"model\":\"m\",\"choices\":[],\"usage\":"
	    "{\"completion_tokens\":%d}}", a->id, a->id + 5000000, all);
	if (a->usage)
		fake_event(r, s.p);
	fake_event(r, "[DONE]");
	fake_raw(r, "0\r\n\r\n", 5);
	str_free(&s);
}

static inline int
fake_int(const json_t *o, const char *key, int other)
{
	const json_t *v = json_object_get(o, key);

	return v != NULL ? (int)(json_integer_value(v) % 1000) : other;
}

static inline void
fake_complete(struct fake_reply *r, const char *body)
{
	json_t *o = json_loads(body, 0, NULL);
	struct fake_ask a = { fake_int(o, "n", 1), fake_int(o, "max_tokens", 3),
	    fake_int(o, "seed", -1), atomic_fetch_add(&fake.n_ask, 1),
	    json_object_get(o, "logprobs") != NULL,
	    json_is_true(json_object_get(json_object_get(o, "stream_options"),
	    "include_usage")), json_object_get(o, "moe_resume") };

	if (a.resume != NULL)
		atomic_fetch_add(&fake.n_resume, 1);
	if (atomic_load(&fake.old))
		a.resume = NULL;
	r->how = fake.how;
	r->at = atomic_exchange(&fake.at, -1);
	if (atomic_load(&fake.refuse) != 0)
		fake_status(r, fake.refuse, "application/json",
		    "{\"error\":{\"message\":\"busy\"}}");
	else if (json_is_string(json_object_get(o, "stream")))
		fake_status(r, 400, "application/json", "{\"error\":\"no\"}");
	else
		fake_answer(r, &a);
	json_decref(o);
}

/* ---- connections ------------------------------ */

/* A whole request; returns its body, or NULL. */
static inline char *
fake_read(int fd, struct str *s)
{
	char buf[4096], *end, *len;
	ssize_t n;

	for (;;) {
		end = s->n > 0 ? strstr(s->p, "\r\n\r\n") : NULL;
		if (end != NULL) {
			len = strstr(s->p, "Content-Length: ");
			if (s->n - (size_t)(end + 4 - s->p) >=
			    (len != NULL ? strtoul(len + 16, NULL, 10) : 0))
				return end + 4;
		}
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return NULL;
		str_add(s, buf, (size_t)n);
	}
}

static inline void *
fake_conn(void *arg)
{
	struct fake_conn *c = arg;
	struct fake_reply r = { .fd = c->fd, .index = c->index, .at = -1 };
	struct str s = STR_INIT;
	char *body = fake_read(c->fd, &s);

	if (body == NULL || atomic_load(&fake.gone))
		;
	else if (atomic_load(&fake.hung) == c->index)
		fake_wait();
	else if (strncmp(s.p, "GET /health ", 12) == 0)
		fake_status(&r, 200, "application/json", "{\"status\":\"ok\"}");
	else if (strncmp(s.p, "GET /v1/models ", 15) == 0)
		fake_status(&r, 200, "application/json", "{\"data\":[]}");
	else if (strncmp(s.p, "POST /v1/", 9) == 0)
		fake_complete(&r, body);
	else
		fake_status(&r, 404, "application/json", "{}");
	close(c->fd);
	str_free(&s);
	mem_free(c);
	return NULL;
}

static inline void *
fake_accept(void *arg)
{
	int index = *(int *)arg, fd;
	struct fake_conn *c;
	pthread_attr_t attr;
	pthread_t t;

	mem_free(arg);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	while ((fd = accept(fake.listen[index], NULL, NULL)) >= 0) {
		c = mem_zalloc(sizeof(*c));
		c->fd = fd;
		c->index = index;
		if (pthread_create(&t, &attr, fake_conn, c) != 0)
			exit(1);
	}
	return NULL;
}

static inline void
fake_start(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	pthread_t t;
	int i;

	for (i = 0; i < FAKES; i++) {
		sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		sa.sin_port = 0;
		fake.listen[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(fake.listen[i], (struct sockaddr *)&sa,
		    sizeof(sa)) != 0 || listen(fake.listen[i], 64) != 0 ||
		    getsockname(fake.listen[i], (struct sockaddr *)&sa,
		    &len) != 0)
			exit(1);
		snprintf(fake.addr[i], sizeof(fake.addr[i]), "127.0.0.1:%d",
		    ntohs(sa.sin_port));
		if (pthread_create(&t, NULL, fake_accept,
		    mem_dup(&i, sizeof(i))) != 0 || pthread_detach(t) != 0)
			exit(1);
	}
}

#endif
