/* oai - see oai.h. */
#include "oai.h"

#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "sse.h"

#define REPLY_MAX	(16u << 20)	/* bytes of a reply that is no stream */
#define CONNECT_MS	5000L

struct stream {			/* one transfer */
	struct oai *c;
	CURL *easy;
	struct str body, raw;	/* sent; what came with a status != 200 */
	struct sse sse;
	struct oai_piece piece;
	const struct oai_fn *fn;	/* NULL: a single call, all into raw */
	void *user;
	bool done, failed, finished;	/* [DONE]; an error; transfer over */
	int64_t prompt_tok, output_tok;
	CURLcode code;
	char why[256];
};

struct oai {
	char *url;
	struct curl_slist *head;
	CURLM *multi;
	VEC(struct stream *) live;
};

int
oai_open(struct oai **c_p, const char *url, const char *key, struct err *err)
{
	struct oai *c;
	char *auth;
	size_t n;

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_set(err, ERR_USAGE, "'%s' is no URL (http://...)",
		    url);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return err_set(err, ERR_UNAVAIL, "libcurl does not start");
	c = mem_zalloc(sizeof(*c));
	c->url = mem_strdup(url);
	for (n = strlen(c->url); n > 8 && c->url[n - 1] == '/'; n--)
		c->url[n - 1] = '\0';
	c->multi = curl_multi_init();
	c->head = curl_slist_append(NULL, "Content-Type: application/json");
	c->head = curl_slist_append(c->head, "Expect:");
	if (key != NULL) {
		auth = mem_printf("Authorization: Bearer %s", key);
		c->head = curl_slist_append(c->head, auth);
		mem_free(auth);
	}
	BUG_ON(c->multi == NULL || c->head == NULL);
	*c_p = c;
	return 0;
}

const char *
oai_url(const struct oai *c)
{
	return c->url;
}

int
oai_busy(const struct oai *c)
{
	return (int)c->live.n;
}

static void
stream_free(struct stream *s)
{
	curl_multi_remove_handle(s->c->multi, s->easy);
	curl_easy_cleanup(s->easy);
	str_free(&s->body);
	str_free(&s->raw);
	sse_free(&s->sse);
	oai_piece_free(&s->piece);
	mem_free(s);
}

void
oai_close(struct oai *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->live.n; i++)
		stream_free(c->live.p[i]);
	VEC_FREE(&c->live);
	curl_multi_cleanup(c->multi);
	curl_slist_free_all(c->head);
	mem_free(c->url);
	mem_free(c);
}

static void
fail(struct stream *s, const char *why)
{
	if (!s->failed)
		snprintf(s->why, sizeof(s->why), "%s", why);
	s->failed = true;
}

/* One event of the stream. */
static void
on_event(void *arg, const char *event, const char *data, size_t n)
{
	struct stream *s = arg;
	struct oai_chunk k;

	(void)event;		/* an error's data says so itself */
	if (s->done || s->failed)
		return;
	if (strcmp(data, "[DONE]") == 0) {
		s->done = true;
		return;
	}
	if (oai_parse(&s->piece, data, n) != 0) {
		fail(s, "an event that is no JSON of a completion");
		return;
	}
	if (s->piece.failed) {
		fail(s, str_c(&s->piece.why));
		return;
	}
	if (s->piece.prompt_tok >= 0)
		s->prompt_tok = s->piece.prompt_tok;
	if (s->piece.output_tok >= 0)
		s->output_tok = s->piece.output_tok;
	if (s->piece.n_id == 0 && s->piece.text.n == 0)
		return;
	k = (struct oai_chunk){ s->piece.have_id ? s->piece.id : NULL,
	    s->piece.n_id, str_c(&s->piece.text), clock_ns() };
	s->fn->chunk(s->user, &k);
}

static long
status_of(const struct stream *s)
{
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static size_t
on_bytes(char *p, size_t size, size_t n, void *arg)
{
	struct stream *s = arg;

	n *= size;
	if (s->fn != NULL && status_of(s) == 200) {
		if (sse_feed(&s->sse, p, n) == 0)
			return n;
		fail(s, "an event that is too large");
		return 0;
	}
	if (s->raw.n + n > REPLY_MAX)
		return 0;
	str_add(&s->raw, p, n);
	return n;
}

static struct stream *
start(struct oai *c, const char *path, const char *body, uint64_t limit_ns)
{
	struct stream *s = mem_zalloc(sizeof(*s));
	char *url = mem_printf("%s%s", c->url, path);

	s->c = c;
	s->prompt_tok = s->output_tok = -1;
	s->easy = curl_easy_init();
	BUG_ON(s->easy == NULL);
	curl_easy_setopt(s->easy, CURLOPT_URL, url);	/* copied */
	curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, c->head);
	curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS,
	    (long)((limit_ns + 999999) / 1000000));
	curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
	if (body != NULL) {
		str_adds(&s->body, body);
		curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)s->body.n);
		curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->body.p);
	}
	mem_free(url);
	curl_multi_add_handle(c->multi, s->easy);
	VEC_PUSH(&c->live, s);
	return s;
}

void
oai_stream(struct oai *c, const char *path, const char *body,
    uint64_t limit_ns, const struct oai_fn *fn, void *user)
{
	struct stream *s = start(c, path, body, limit_ns);

	s->fn = fn;
	s->user = user;
	sse_init(&s->sse, on_event, s);
}

/* The message of an error reply, or its first bytes. */
static void
reply_error(struct stream *s, long status)
{
	char why[200];

	if (oai_parse(&s->piece, str_c(&s->raw), s->raw.n) == 0 &&
	    s->piece.failed)
		snprintf(why, sizeof(why), "status %ld: %.150s", status,
		    str_c(&s->piece.why));
	else
		snprintf(why, sizeof(why), "status %ld: %.100s", status,
		    str_c(&s->raw));
	fail(s, why);
}

static void
judge(struct stream *s)
{
	long status = status_of(s);

	if (s->code != CURLE_OK)
		fail(s, curl_easy_strerror(s->code));
	else if (status != 200)
		reply_error(s, status);
	else if (s->fn != NULL && !s->done)
		fail(s, "the stream ended early");
}

static void
forget(struct stream *s)
{
	struct oai *c = s->c;
	size_t i;

	for (i = 0; c->live.p[i] != s; i++)
		;
	c->live.p[i] = c->live.p[--c->live.n];
}

static void
finish(struct stream *s)
{
	struct oai_end e;

	judge(s);
	s->finished = true;
	forget(s);
	if (s->fn == NULL)
		return;		/* oai_call frees it */
	e = (struct oai_end){ !s->failed, (int)status_of(s),
	    s->failed ? s->why : "", str_c(&s->piece.finish), s->prompt_tok,
	    s->output_tok, clock_ns() };
	s->fn->end(s->user, &e);
	stream_free(s);
}

static void
reap(struct oai *c)
{
	CURLMsg *m;
	char *who;
	int left;

	while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &who);
		((struct stream *)(void *)who)->code = m->data.result;
		finish((struct stream *)(void *)who);
	}
}

void
oai_poll(struct oai *c, uint64_t wait_ns, int also_fd)
{
	struct curl_waitfd also = { also_fd, CURL_WAIT_POLLIN, 0 };
	int n, ms = wait_ns > 1000000000ull ? 1000 :
	    (int)((wait_ns + 999999) / 1000000);

	curl_multi_perform(c->multi, &n);
	reap(c);
	if (ms == 0)
		return;
	curl_multi_poll(c->multi, also_fd >= 0 ? &also : NULL,
	    also_fd >= 0 ? 1 : 0, ms, NULL);
	curl_multi_perform(c->multi, &n);
	reap(c);
}

int
oai_call(struct oai *c, const char *path, const char *body,
    uint64_t limit_ns, struct str *out, struct err *err)
{
	struct stream *s = start(c, path, body, limit_ns);
	int rc = 0;

	while (!s->finished)
		oai_poll(c, 1000000000, -1);
	if (s->failed)
		rc = err_set(err, s->code != CURLE_OK ? ERR_TEMP : ERR_DATA,
		    "%s%s: %s", c->url, path, s->why);
	else
		str_add(out, str_c(&s->raw), s->raw.n);
	stream_free(s);
	return rc;
}

char *
oai_model(struct oai *c, struct err *err)
{
	struct str s = STR_INIT;
	const char *id;
	char *copy = NULL;
	json_t *o;

	if (oai_call(c, "/v1/models", NULL, 10000000000ull, &s, err) != 0) {
		str_free(&s);
		return NULL;
	}
	o = json_loadb(str_c(&s), s.n, 0, NULL);
	id = json_string_value(json_object_get(json_array_get(
	    json_object_get(o, "data"), 0), "id"));
	if (id != NULL)
		copy = mem_strdup(id);
	else
		err_set(err, ERR_DATA, "%s/v1/models: no data[0].id", c->url);
	json_decref(o);
	str_free(&s);
	return copy;
}
