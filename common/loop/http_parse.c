/* http_parse - see http_parse.h.  Floor F3. */
#include "http_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mem.h"
#include "num.h"

#define MAX_LINE	256	/* a chunk's size line */
#define MAX_TRAILER	4096

static int bad_set(struct http_bad *bad, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
bad_set(struct http_bad *bad, int status, const char *fmt, ...)
{
	va_list ap;

	bad->status = status;
	va_start(ap, fmt);
	vsnprintf(bad->text, sizeof(bad->text), fmt, ap);
	va_end(ap);
	return -1;
}

size_t
http_parse_end(const char *p, size_t n, size_t *from)
{
	size_t i;

	/* An LF, an optional CR, an LF; look again at the last three bytes. */
	for (i = *from > 3 ? *from - 3 : 0; i < n; i++) {
		if (p[i] != '\n')
			continue;
		if (i + 1 < n && p[i + 1] == '\n')
			return i + 2;
		if (i + 2 < n && p[i + 1] == '\r' && p[i + 2] == '\n')
			return i + 3;
	}
	*from = n;
	return 0;
}

/* Characters of a token: methods and names of fields. */
static bool
is_token(const char *s)
{
	static const char mark[] = "!#$%&'*+-.^_`|~";

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') ||
		    (*s >= 'A' && *s <= 'Z') || strchr(mark, *s) != NULL))
			return false;
	return true;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* %41 to A, in place.  -1: a broken escape or a NUL. */
static int
percent_decode(char *s)
{
	char *to = s;
	int v;

	for (; *s != '\0'; s++, to++) {
		if (*s != '%') {
			*to = *s;
			continue;
		}
		if (hex(s[1]) < 0 || hex(s[2]) < 0)
			return -1;
		v = hex(s[1]) * 16 + hex(s[2]);
		if (v == 0)
			return -1;
		*to = (char)v;
		s += 2;
	}
	*to = '\0';
	return 0;
}

/* The next line, NUL-terminated in place; *p_p moves behind it.  NULL when it
 * holds a control character; lines end for sure, as the head does. */
static char *
next_line(char **p_p)
{
	char *line = *p_p, *end = strchr(line, '\n'), *c;

	if (end == NULL)	/* a NUL in the head */
		return NULL;
	*p_p = end + 1;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	for (c = line; c < end; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return NULL;
	return line;
}

static int
parse_target(char *t, struct http_head *h, struct http_bad *bad)
{
	char *q;

	if (strncasecmp(t, "http://", 7) == 0) {	/* absolute form */
		t = strchr(t + 7, '/');
		if (t == NULL)
			return bad_set(bad, 400, "the request has no path");
	}
	if (*t != '/' && strcmp(t, "*") != 0)
		return bad_set(bad, 400, "the path must begin with '/'");
	if ((q = strchr(t, '#')) != NULL)
		*q = '\0';
	h->query = "";
	if ((q = strchr(t, '?')) != NULL) {
		*q = '\0';
		h->query = q + 1;
	}
	if (percent_decode(t) != 0)
		return bad_set(bad, 400, "a broken %% escape in the path");
	h->path = t;
	return 0;
}

static int
parse_first_line(char *line, struct http_head *h, struct http_bad *bad)
{
	char *target, *version;

	target = strchr(line, ' ');
	version = target != NULL ? strchr(target + 1, ' ') : NULL;
	if (version == NULL)
		return bad_set(bad, 400, "the first line is not "
		    "'METHOD PATH HTTP/1.1'");
	*target++ = '\0';
	*version++ = '\0';
	if (!is_token(line))
		return bad_set(bad, 400, "the method is not a word");
	h->method = line;
	if (strncmp(version, "HTTP/", 5) != 0)
		return bad_set(bad, 400, "the first line does not end in "
		    "HTTP/1.1");
	if (strcmp(version, "HTTP/1.0") != 0 &&
	    strcmp(version, "HTTP/1.1") != 0)
		return bad_set(bad, 505, "only HTTP/1.0 and HTTP/1.1 are "
		    "spoken here");
	h->minor = version[7] - '0';
	return parse_target(target, h, bad);
}

static int
parse_field(char *line, struct http_head *h, struct http_bad *bad)
{
	char *colon = strchr(line, ':'), *end;

	if (*line == ' ' || *line == '\t')
		return bad_set(bad, 400, "a header is folded over lines");
	if (colon == NULL)
		return bad_set(bad, 400, "a header line has no colon");
	*colon = '\0';
	if (!is_token(line))
		return bad_set(bad, 400, "a header's name is not a word");
	if (h->n_field == HTTP_MAX_FIELD)
		return bad_set(bad, 431, "more than %d headers",
		    HTTP_MAX_FIELD);
	for (colon++; *colon == ' ' || *colon == '\t'; colon++)
		;
	end = colon + strlen(colon);
	while (end > colon && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	h->field[h->n_field].name = line;
	h->field[h->n_field++].value = colon;
	return 0;
}

/* Is word one of the comma-separated words of list? */
static bool
has_word(const char *list, const char *word)
{
	size_t n = strlen(word), len;

	while (*list != '\0') {
		list += strspn(list, " \t,");
		len = strcspn(list, " \t,;");
		if (len == n && strncasecmp(list, word, n) == 0)
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

/* How long the body is.  Lengths that contradict each other are errors. */
static int
parse_length(struct http_head *h, struct http_bad *bad)
{
	const char *len = NULL, *coding = NULL, *v;
	int i;

	for (i = 0; i < h->n_field; i++) {
		v = h->field[i].value;
		if (strcasecmp(h->field[i].name, "content-length") == 0) {
			if (len != NULL && strcmp(len, v) != 0)
				return bad_set(bad, 400,
				    "two different Content-Length");
			len = v;
		} else if (strcasecmp(h->field[i].name,
		    "transfer-encoding") == 0) {
			if (coding != NULL)
				return bad_set(bad, 400,
				    "two Transfer-Encoding");
			coding = v;
		}
	}
	if (coding != NULL && len != NULL)
		return bad_set(bad, 400, "both Content-Length and "
		    "Transfer-Encoding");
	if (coding != NULL && strcasecmp(coding, "chunked") != 0)
		return bad_set(bad, 501, "Transfer-Encoding '%.60s' is not "
		    "known here", coding);
	if (coding != NULL && h->minor == 0)
		return bad_set(bad, 400, "Transfer-Encoding in HTTP/1.0");
	h->chunked = coding != NULL;
	if (len != NULL && (len[strspn(len, "0123456789")] != '\0' ||
	    num_u64(len, &h->body_bytes) != 0))
		return bad_set(bad, 400, "Content-Length '%.60s' is no number",
		    len);
	return 0;
}

static int
parse_fields(char *p, struct http_head *h, struct http_bad *bad)
{
	const char *v;
	char *line;
	int i, n_host = 0;

	for (;;) {
		line = next_line(&p);
		if (line == NULL)
			return bad_set(bad, 400,
			    "a control character in the headers");
		if (*line == '\0')
			break;
		if (parse_field(line, h, bad) != 0)
			return -1;
	}
	for (i = 0; i < h->n_field; i++)
		n_host += strcasecmp(h->field[i].name, "host") == 0;
	if (n_host > 1 || (n_host == 0 && h->minor == 1))
		return bad_set(bad, 400, "%s Host header",
		    n_host > 1 ? "more than one" : "no");
	if (parse_length(h, bad) != 0)
		return -1;
	v = http_parse_field(h, "connection");
	h->keep_alive = h->minor == 1 ? v == NULL || !has_word(v, "close") :
	    v != NULL && has_word(v, "keep-alive");
	v = http_parse_field(h, "expect");
	h->expect = v != NULL && h->minor == 1 &&
	    strcasecmp(v, "100-continue") == 0;
	return 0;
}

int
http_parse_head(const char *p, size_t n, struct http_head *h,
    struct http_bad *bad)
{
	char *at, *line;
	int rc;

	memset(h, 0, sizeof(*h));
	at = h->buf = mem_alloc(n + 1);
	memcpy(h->buf, p, n);
	h->buf[n] = '\0';
	line = next_line(&at);
	if (line == NULL)
		rc = bad_set(bad, 400,
		    "a control character in the first line");
	else
		rc = parse_first_line(line, h, bad);
	if (rc == 0)
		rc = parse_fields(at, h, bad);
	if (rc != 0)
		http_parse_free(h);
	return rc;
}

void
http_parse_free(struct http_head *h)
{
	mem_free(h->buf);
	memset(h, 0, sizeof(*h));
}

const char *
http_parse_field(const struct http_head *h, const char *name)
{
	int i;

	for (i = 0; i < h->n_field; i++)
		if (strcasecmp(h->field[i].name, name) == 0)
			return h->field[i].value;
	return NULL;
}

/* ---- chunked bodies --------------------------------------------------------- */

enum chunk_state {
	CHUNK_SIZE = 0,		/* at least one hex digit to come */
	CHUNK_MORE_SIZE,
	CHUNK_EXT,		/* the rest of the size line, ignored */
	CHUNK_DATA,
	CHUNK_DATA_CR, CHUNK_DATA_LF,
	CHUNK_TRAILER,		/* at the beginning of a trailer line */
	CHUNK_TRAILER_LINE,
	CHUNK_END_LF,		/* after the CR of the empty line */
};

/* One byte outside the data.  1: the body has ended. */
static int
chunk_byte(struct http_chunk *c, char b, struct http_bad *bad)
{
	int v = hex(b);

	if (++c->line > (c->state < CHUNK_TRAILER ? MAX_LINE : MAX_TRAILER))
		return bad_set(bad, 400, "a chunk's line is too long");
	switch ((enum chunk_state)c->state) {
	case CHUNK_SIZE:
	case CHUNK_MORE_SIZE:
		if (v >= 0) {
			if (c->left >> 56 != 0)
				return bad_set(bad, 400,
				    "a chunk's size overflows");
			c->left = c->left * 16 + (unsigned)v;
			c->state = CHUNK_MORE_SIZE;
			return 0;
		}
		if (c->state == CHUNK_SIZE || (b != ';' && b != '\r' &&
		    b != '\n' && b != ' ' && b != '\t'))
			return bad_set(bad, 400, "a chunk's size is no number");
		c->state = CHUNK_EXT;
		/* FALLTHROUGH */
	case CHUNK_EXT:
		if (b == '\n') {
			c->state = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
			c->line = 0;
		}
		return 0;
	case CHUNK_DATA_CR:
		if (b == '\r') {
			c->state = CHUNK_DATA_LF;
			return 0;
		}
		/* FALLTHROUGH */
	case CHUNK_DATA_LF:
		if (b != '\n')
			return bad_set(bad, 400,
			    "a chunk is longer than its size");
		c->state = CHUNK_SIZE;
		c->line = 0;
		return 0;
	case CHUNK_TRAILER:
		if (b == '\n')
			return 1;
		c->state = b == '\r' ? CHUNK_END_LF : CHUNK_TRAILER_LINE;
		return 0;
	case CHUNK_TRAILER_LINE:
		if (b == '\n')
			c->state = CHUNK_TRAILER;
		return 0;
	case CHUNK_END_LF:
		if (b != '\n')
			return bad_set(bad, 400, "a broken end of the chunks");
		return 1;
	case CHUNK_DATA:
		break;
	}
	return 0;
}

int
http_parse_chunk(struct http_chunk *c, const char *p, size_t n, size_t max,
    struct str *body, size_t *used_p, struct http_bad *bad)
{
	size_t i = 0, take;
	int rc = 0;

	while (i < n && rc == 0) {
		if (c->state != CHUNK_DATA) {
			rc = chunk_byte(c, p[i++], bad);
			if (rc == 0 && c->state == CHUNK_DATA &&
			    c->left > max - body->n)
				rc = bad_set(bad, 413, "the body is longer "
				    "than %zu bytes", max);
			continue;
		}
		take = n - i < c->left ? n - i : (size_t)c->left;
		str_add(body, p + i, take);
		i += take;
		c->left -= take;
		if (c->left == 0) {
			c->state = CHUNK_DATA_CR;
			c->line = 0;
		}
	}
	*used_p = i;
	return rc;
}
