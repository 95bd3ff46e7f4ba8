/* http_req - a request's accessors, its route, and its reply.  Floor F3. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "http_conn.h"
#include "mem.h"

struct http_req *
http_req_new(struct http_conn *c)
{
	struct http_req *r = mem_zalloc(sizeof(*r));

	r->c = c;
	r->began_ns = clock_ns();
	return r;
}

void
http_req_free(struct http_req *r)
{
	http_parse_free(&r->head);
	str_free(&r->body);
	str_free(&r->more);
	mem_free(r);
}

const char *
http_method(const struct http_req *r)
{
	return r->head.method;
}

const char *
http_path(const struct http_req *r)
{
	return r->head.path;
}

const char *
http_query(const struct http_req *r)
{
	return r->head.query;
}

const char *
http_header(const struct http_req *r, const char *name)
{
	return http_parse_field(&r->head, name);
}

const char *
http_body(const struct http_req *r, size_t *n_p)
{
	*n_p = r->body.n;
	return str_c(&r->body);
}

uint64_t
http_began_ns(const struct http_req *r)
{
	return r->began_ns;
}

void
http_on_gone(struct http_req *r, http_fn *fn, void *arg)
{
	r->gone = fn;
	r->gone_arg = arg;
}

void
http_set_user(struct http_req *r, void *user)
{
	r->user = user;
}

void *
http_user(const struct http_req *r)
{
	return r->user;
}

/* ---- routes ------------------------------------------------------------------- */

static bool
path_fits(const char *route, const char *path)
{
	size_t n = strlen(route);

	if (n > 0 && route[n - 1] == '*')
		return strncmp(route, path, n - 1) == 0;
	return strcmp(route, path) == 0;
}

/* The methods of a path: "GET, HEAD, OPTIONS"; empty when there is none. */
static void
list_methods(const struct http_route *t, const char *path, struct str *out)
{
	for (; t->path != NULL; t++) {
		if (!path_fits(t->path, path))
			continue;
		str_addf(out, "%s, ", t->method);
		if (strcmp(t->method, "GET") == 0)
			str_adds(out, "HEAD, ");
	}
	if (out->n > 0)
		str_adds(out, "OPTIONS");
}

void
http_req_route(struct http_req *r)
{
	const struct http_opt *o = &r->c->h->o;
	const char *method = r->no_body ? "GET" : r->head.method;
	const struct http_route *t;
	struct http_error e = { .status = 404 };
	struct str allow = STR_INIT;

	for (t = o->route; t->path != NULL; t++)
		if (path_fits(t->path, r->head.path) &&
		    strcmp(t->method, method) == 0) {
			t->fn(r, o->arg);
			return;
		}
	list_methods(o->route, r->head.path, &allow);
	if (strcmp(r->head.path, "*") == 0)
		str_adds(&allow, "GET, HEAD, POST, OPTIONS");
	if (allow.n > 0)
		http_add_header(r, "Allow", str_c(&allow));
	if (allow.n > 0 && strcmp(method, "OPTIONS") == 0) {
		http_reply(r, 204, NULL, "", 0);
	} else if (allow.n > 0) {
		e.status = 405;
		http_fail(r, &e, "%s is not a method of %s (%s are)", method,
		    r->head.path, str_c(&allow));
	} else {
		http_fail(r, &e, "there is no %s here", r->head.path);
	}
	str_free(&allow);
}

/* ---- replies ------------------------------------------------------------------ */

static const char *
status_text(int status)
{
	static const struct { int status; const char *text; } t[] = {
		{ 200, "OK" }, { 204, "No Content" }, { 400, "Bad Request" },
		{ 401, "Unauthorized" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 408, "Request Timeout" }, { 413, "Content Too Large" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" }, { 501, "Not Implemented" },
		{ 502, "Bad Gateway" }, { 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (t[i].status == status)
			return t[i].text;
	return "Status";
}

const char *
http_error_type(int status)
{
	switch (status) {
	case 401:
		return "AuthenticationError";
	case 403:
		return "PermissionDeniedError";
	case 404:
		return "NotFoundError";
	case 408:
		return "RequestTimeoutError";
	case 429:
		return "RateLimitError";
	case 500:
		return "InternalServerError";
	case 501:
		return "NotImplementedError";
	case 503:
		return "ServiceUnavailableError";
	case 504:
		return "GatewayTimeoutError";
	default:
		return "BadRequestError";
	}
}

void
http_add_header(struct http_req *r, const char *name, const char *value)
{
	BUG_ON(strpbrk(name, "\r\n:") != NULL || strpbrk(value, "\r\n") != NULL);
	str_addf(&r->more, "%s: %s\r\n", name, value);
}

/* The status line and the headers; length < 0: in chunks, or to the end. */
static void
send_head(struct http_req *r, int status, const char *type, long long length)
{
	struct evbuffer *out = bufferevent_get_output(r->c->bev);
	time_t now = time(NULL);
	struct tm tm;
	char date[40];

	BUG_ON(r->begun);
	r->begun = true;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT",
	    gmtime_r(&now, &tm));
	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status,
	    status_text(status), date);
	if (type != NULL)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
	if (length >= 0 && status != 204)
		evbuffer_add_printf(out, "Content-Length: %lld\r\n", length);
	if (length < 0) {
		r->chunked = r->head.minor == 1;
		if (r->chunked)
			evbuffer_add_printf(out,
			    "Transfer-Encoding: chunked\r\n");
		else
			r->c->last = true;
	}
	if (r->c->last || !r->body_done)
		evbuffer_add_printf(out, "Connection: close\r\n");
	else if (r->head.minor == 0)
		evbuffer_add_printf(out, "Connection: keep-alive\r\n");
	evbuffer_add(out, str_c(&r->more), r->more.n);
	evbuffer_add(out, "\r\n", 2);
}

void
http_reply(struct http_req *r, int status, const char *type,
    const void *body, size_t n)
{
	if (r->c->h->draining)
		r->c->last = true;
	send_head(r, status, type, (long long)n);
	if (!r->no_body)
		bufferevent_write(r->c->bev, body, n);
	http_conn_end(r->c);
}

/* s as a JSON string; what is not UTF-8 becomes U+FFFD. */
static void
add_json_string(struct str *out, const char *s)
{
	size_t n = strlen(s), used;
	unsigned cp;

	str_addc(out, '"');
	for (; n > 0; s += used, n -= used) {
		cp = str_utf8_next(s, n, &used);
		if (cp == '"' || cp == '\\')
			str_addf(out, "\\%c", (char)cp);
		else if (cp < ' ')
			str_addf(out, "\\u%04x", cp);
		else
			str_addu(out, cp);
	}
	str_addc(out, '"');
}

void
http_fail(struct http_req *r, const struct http_error *e, const char *fmt,
    ...)
{
	struct str out = STR_INIT;
	va_list ap;
	char text[1200];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str_adds(&out, "{\"error\":{\"message\":");
	add_json_string(&out, text);
	str_adds(&out, ",\"type\":");
	add_json_string(&out, e->type ? e->type : http_error_type(e->status));
	str_adds(&out, ",\"param\":");
	if (e->param != NULL)
		add_json_string(&out, e->param);
	else
		str_adds(&out, "null");
	str_addf(&out, ",\"code\":%d}}\n", e->status);
	http_reply(r, e->status, "application/json", out.p, out.n);
	str_free(&out);
}

void
http_stream_begin(struct http_req *r, int status, const char *type)
{
	http_add_header(r, "Cache-Control", "no-cache");
	send_head(r, status, type, -1);
}

bool
http_stream_put(struct http_req *r, const void *p, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(r->c->bev);

	if (r->c->cut)
		return false;
	if (n == 0 || r->no_body)	/* an empty chunk would be the end */
		return true;
	if (evbuffer_get_length(out) > r->c->h->o.max_out_bytes) {
		http_conn_cut(r->c);
		return false;
	}
	if (r->chunked)
		evbuffer_add_printf(out, "%zx\r\n", n);
	evbuffer_add(out, p, n);
	if (r->chunked)
		evbuffer_add(out, "\r\n", 2);
	return true;
}

void
http_stream_end(struct http_req *r)
{
	if (r->chunked && !r->no_body && !r->c->cut)
		bufferevent_write(r->c->bev, "0\r\n\r\n", 5);
	http_conn_end(r->c);
}
