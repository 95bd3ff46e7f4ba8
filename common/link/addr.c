/* addr.c - F3.  Addresses; no state, any thread. */
#include "addr.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "num.h"

static const struct scheme {
	const char *name;
	enum addr_kind kind;
	bool path;		/* else host:port */
} schemes[] = {
	{ "shm:", ADDR_SHM, true },
	{ "tcp:", ADDR_TCP, false },
	{ "rdma:", ADDR_RDMA, false },
	{ "cuda:", ADDR_CUDA, true },
	{ "nccl:", ADDR_NCCL, false },
};
#define FAULT		"fault:"
#define N_SCHEME	(sizeof(schemes) / sizeof(schemes[0]))

static const struct scheme *
scheme_of(const char *text)
{
	size_t i;

	for (i = 0; i < N_SCHEME; i++)
		if (strncmp(text, schemes[i].name, strlen(schemes[i].name)) == 0)
			return &schemes[i];
	return NULL;
}

/* Letters of names and numeric addresses, and a v6 scope ("%eth0"). */
static bool
host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || (c != '\0' && strchr("-._:%", c) != NULL);
}

static int
parse_host(const char *text, const char *rest, struct addr *a, struct err *err)
{
	const char *colon = strrchr(rest, ':'), *from = rest, *to = colon;
	uint64_t port;

	if (colon == NULL)
		return err_set(err, ERR_USAGE, "%s: no port (host:port)", text);
	if (num_u64(colon + 1, &port) != 0 || port > 65535)
		return err_set(err, ERR_USAGE, "%s: bad port '%s'", text,
		    colon + 1);
	if (*from == '[') {
		if (to - from < 2 || to[-1] != ']')
			return err_set(err, ERR_USAGE, "%s: no ']' before the "
			    "port", text);
		from++;
		to--;
	} else if (memchr(from, ':', (size_t)(to - from)) != NULL) {
		return err_set(err, ERR_USAGE, "%s: write a v6 address as "
		    "[address]:port", text);
	}
	if (from == to)
		return err_set(err, ERR_USAGE, "%s: no host", text);
	if ((size_t)(to - from) >= sizeof(a->host))
		return err_set(err, ERR_USAGE, "%s: a host of %zu bytes, at "
		    "most %zu", text, (size_t)(to - from), sizeof(a->host) - 1);
	for (rest = from; rest < to; rest++)
		if (!host_char(*rest))
			return err_set(err, ERR_USAGE, "%s: byte %u in the "
			    "host", text, (unsigned char)*rest);
	memcpy(a->host, from, (size_t)(to - from));
	a->host[to - from] = '\0';
	a->port = (uint16_t)port;
	return 0;
}

static int
parse_path(const char *text, const char *rest, struct addr *a, struct err *err)
{
	size_t n = strlen(rest);

	if (n == 0)
		return err_set(err, ERR_USAGE, "%s: no path", text);
	if (n >= sizeof(a->path))
		return err_set(err, ERR_USAGE, "%s: the path has %zu bytes, a "
		    "Unix socket takes %zu", text, n, sizeof(a->path) - 1);
	memcpy(a->path, rest, n + 1);
	return 0;
}

static int
parse_plain(const char *text, struct addr *a, struct err *err)
{
	const struct scheme *s = scheme_of(text);
	const char *rest;

	if (s == NULL)
		return err_set(err, ERR_USAGE, "%s: not an address (shm:PATH, "
		    "tcp:HOST:PORT)", text);
	a->kind = s->kind;
	rest = text + strlen(s->name);
	return s->path ? parse_path(text, rest, a, err) :
	    parse_host(text, rest, a, err);
}

static int
parse_fault(const char *text, struct addr *a, struct err *err)
{
	const char *spec = text + strlen(FAULT), *inner;
	struct link_fault_spec s;

	inner = strchr(spec, ':');
	if (inner == NULL || inner == spec)
		return err_set(err, ERR_USAGE, "%s: want fault:SPEC:ADDRESS",
		    text);
	if (link_fault_spec_parse(spec, (size_t)(inner - spec), &s, err) != 0)
		return err_ctx(err, "%s", text);
	if (parse_plain(inner + 1, a, err) != 0)
		return err_ctx(err, "%s", text);
	a->faulty = true;
	a->fault = s;
	return 0;
}

int
addr_parse(const char *text, struct addr *a, struct err *err)
{
	const char *c;

	memset(a, 0, sizeof(*a));
	if (strlen(text) >= ADDR_TEXT)
		return err_set(err, ERR_USAGE, "%.40s...: longer than %d bytes",
		    text, ADDR_TEXT - 1);
	for (c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return err_set(err, ERR_USAGE, "an address with "
			    "control character %u", (unsigned char)*c);
	return strncmp(text, FAULT, strlen(FAULT)) == 0 ?
	    parse_fault(text, a, err) : parse_plain(text, a, err);
}

const char *
addr_inner(const char *text)
{
	const char *colon;

	if (strncmp(text, FAULT, strlen(FAULT)) != 0)
		return text;
	colon = strchr(text + strlen(FAULT), ':');
	return colon != NULL ? colon + 1 : text;
}

static void
resolve_path(struct addr *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;

	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, a->path, sizeof(a->path));
	a->sa_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    strlen(a->path) + 1);
}

int
addr_resolve(struct addr *a, bool passive, struct err *err)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM }, *ai;
	char port[8];
	int rc;

	if (a->path[0] != '\0') {
		resolve_path(a);
		return 0;
	}
	snprintf(port, sizeof(port), "%u", a->port);
	hint.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
	rc = getaddrinfo(a->host, port, &hint, &ai);
	if (rc != 0)
		return err_set(err, ERR_TEMP, "%s: %s", a->host,
		    gai_strerror(rc));
	memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
	a->sa_bytes = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}

bool
addr_is_loopback(const struct sockaddr *sa)
{
	const struct in6_addr *a6;

	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)sa)
		    ->sin_addr.s_addr) >> 24 == 127;
	if (sa->sa_family != AF_INET6)
		return sa->sa_family == AF_UNIX;
	a6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(a6) ||
	    (IN6_IS_ADDR_V4MAPPED(a6) && a6->s6_addr[12] == 127);
}

bool
addr_is_local(const struct addr *a)
{
	return a->path[0] != '\0' ||
	    addr_is_loopback((const struct sockaddr *)&a->sa);
}

void
addr_text(const struct addr *a, char out[ADDR_TEXT])
{
	const char *name = "";
	char host[ADDR_HOST], port[8];
	size_t i;

	for (i = 0; i < N_SCHEME; i++)
		if (schemes[i].kind == a->kind)
			name = schemes[i].name;
	if (a->path[0] != '\0') {
		snprintf(out, ADDR_TEXT, "%s%s", name, a->path);
		return;
	}
	snprintf(host, sizeof(host), "%s", a->host);
	snprintf(port, sizeof(port), "%u", a->port);
	if (a->sa_bytes != 0)
		(void)getnameinfo((const struct sockaddr *)&a->sa, a->sa_bytes,
		    host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(out, ADDR_TEXT, strchr(host, ':') ? "%s[%s]:%s" : "%s%s:%s",
	    name, host, port);
}
