/* bench_drive_load - where the requests of a run come from. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench_arrival.h"
#include "bench_drive.h"
#include "num.h"
#include "rng.h"

#define MAX_REQ		1000000
#define MAX_LEN_TOK	(1 << 20)	/* of one prompt or answer */
#define MAX_FILE_BYTES	(256u << 20)

double
drive_arrival(uint64_t seed, size_t i, double before_s, double rate)
{
	if (rate <= 0)
		return 0;
	return before_s - log1p(-rng_unit(seed, i, 1)) / rate;
}

/* n random token ids below vocab, a function of (seed, request). */
static json_t *
random_ids(const struct drive *d, size_t req, int64_t n)
{
	json_t *a = json_array();
	struct rng r = { rng_at((uint64_t)d->o.seed, req, 2), 0 };
	int64_t i;

	for (i = 0; i < n; i++)
		json_array_append_new(a, json_integer(
		    (json_int_t)rng_below(&r, (uint64_t)d->o.vocab)));
	return a;
}

static void
make_random(struct drive *d, size_t i, int64_t in, int64_t out)
{
	d->req[i].prompt = random_ids(d, i, in);
	d->req[i].prompt_tok = in;
	d->req[i].max_tok = out;
}

static int
load_random(struct drive *d, struct err *err)
{
	const char *comma = strchr(d->o.random, ',');
	char *in = mem_strdup(d->o.random);
	int64_t n_in, n_out;
	int rc;
	size_t i;

	if (comma != NULL)
		in[comma - d->o.random] = '\0';
	rc = comma != NULL && num_i64(in, &n_in) == 0 &&
	    num_i64(comma + 1, &n_out) == 0 && n_in >= 1 && n_out >= 1 &&
	    n_in <= MAX_LEN_TOK && n_out <= MAX_LEN_TOK ? 0 : -1;
	mem_free(in);
	if (rc != 0)
		return err_set(err, ERR_USAGE, "--random: '%s' is not IN,OUT "
		    "(numbers of tokens)", d->o.random);
	d->o.ignore_eos = true;
	d->n_req = d->o.n > 0 ? (size_t)d->o.n : 100;
	d->req = mem_calloc(d->n_req, sizeof(*d->req));
	for (i = 0; i < d->n_req; i++)
		make_random(d, i, n_in, n_out);
	return 0;
}

/* Call fn for each non-empty line; it returns 0, 1 (enough) or -1. */
struct lines {
	const char *path;
	int no;
	int (*fn)(struct drive *d, struct lines *l, char *text,
	    struct err *err);
	VEC(json_t *) prompt;	/* prompts */
};

static int
each_line(struct drive *d, struct lines *l, struct err *err)
{
	struct str s = STR_INIT;
	char *at, *next;
	int rc = 0;

	if (str_read_file(&s, l->path, MAX_FILE_BYTES) != 0) {
		rc = errno;
		str_free(&s);
		return err_sys(err, ERR_USAGE, rc, "%s", l->path);
	}
	for (at = s.p; at != NULL && rc == 0; at = next) {
		l->no++;
		if ((next = strchr(at, '\n')) != NULL)
			*next++ = '\0';
		at[strcspn(at, "\r")] = '\0';
		if (*at != '\0')
			rc = l->fn(d, l, at, err);
	}
	str_free(&s);
	return rc < 0 ? -1 : 0;
}

/* A JSON object with "prompt", "question" or "turns", or the text itself. */
static int
prompt_line(struct drive *d, struct lines *l, char *text, struct err *err)
{
	json_t *o, *p;

	(void)d;
	if (!str_utf8_valid(text, strlen(text)))
		return err_set(err, ERR_DATA, "%s:%d: not UTF-8", l->path,
		    l->no);
	if (text[0] != '{') {
		VEC_PUSH(&l->prompt, json_string(text));
		return 0;
	}
	if ((o = json_loads(text, 0, NULL)) == NULL)
		return err_set(err, ERR_DATA, "%s:%d: broken JSON", l->path,
		    l->no);
	if ((p = json_object_get(o, "prompt")) == NULL &&
	    (p = json_object_get(o, "question")) == NULL)
		p = json_array_get(json_object_get(o, "turns"), 0);
	if (json_is_string(p) || json_is_array(p))
		VEC_PUSH(&l->prompt, json_incref(p));
	json_decref(o);
	return p != NULL ? 0 : err_set(err, ERR_DATA, "%s:%d: no prompt, "
	    "question or turns", l->path, l->no);
}

static int
load_prompts(struct drive *d, struct err *err)
{
	struct lines l = { .path = d->o.prompts, .fn = prompt_line };
	int rc = each_line(d, &l, err);
	size_t i;

	if (rc == 0 && l.prompt.n == 0)
		rc = err_set(err, ERR_DATA, "%s: no prompts", l.path);
	if (rc == 0) {
		d->n_req = d->o.n > 0 ? (size_t)d->o.n : l.prompt.n;
		d->req = mem_calloc(d->n_req, sizeof(*d->req));
	}
	for (i = 0; rc == 0 && i < d->n_req; i++) {
		d->req[i].prompt = json_incref(l.prompt.p[i % l.prompt.n]);
		d->req[i].prompt_tok = -1;
		d->req[i].max_tok = d->o.max_tokens;
	}
	for (i = 0; i < l.prompt.n; i++)
		json_decref(l.prompt.p[i]);
	VEC_FREE(&l.prompt);
	return rc;
}

static int
add_request(struct drive *d, const char *path, const struct bench_arrival *a,
    struct err *err)
{
	if (d->n_req == MAX_REQ)
		return err_set(err, ERR_DATA, "%s: more than %d requests", path,
		    MAX_REQ);
	d->req = mem_realloc(d->req, (d->n_req + 1) * sizeof(*d->req));
	memset(&d->req[d->n_req], 0, sizeof(*d->req));
	make_random(d, d->n_req,
	    a->in_tok < d->o.max_input ? a->in_tok : d->o.max_input,
	    a->out_tok < d->o.max_tokens ? a->out_tok : d->o.max_tokens);
	d->req[d->n_req++].at_s = a->at_s;
	return d->o.n > 0 && d->n_req == (size_t)d->o.n;
}

static int
on_arrival(void *arg, const struct bench_arrival *a, struct err *err)
{
	struct drive *d = arg;

	return add_request(d, d->o.trace, a, err);
}

/* --rate squeezes or stretches a trace to that mean rate. */
static int
load_trace(struct drive *d, struct err *err)
{
	double span, scale = 1;
	size_t i;

	d->o.ignore_eos = true;
	if (bench_arrival_read(d->o.trace, on_arrival, d, err) != 0)
		return -1;
	span = d->req[d->n_req - 1].at_s;
	if (d->o.rate_text != NULL)
		scale = d->o.rate > 0 && span > 0 ?
		    (double)(d->n_req - 1) / d->o.rate / span : 0;
	for (i = 0; i < d->n_req; i++)
		d->req[i].at_s *= scale;
	return 0;
}

int
drive_load(struct drive *d, struct err *err)
{
	double at = 0;
	size_t i;
	int rc;

	if (d->o.trace != NULL)
		return load_trace(d, err);
	rc = d->o.random != NULL ? load_random(d, err) : load_prompts(d, err);
	for (i = 0; rc == 0 && i < d->n_req; i++) {
		at = i == 0 ? 0 : drive_arrival((uint64_t)d->o.seed, i, at,
		    d->o.rate);
		d->req[i].at_s = at;
	}
	return rc;
}

void
drive_load_free(struct drive *d)
{
	size_t i;

	for (i = 0; i < d->n_req; i++) {
		json_decref(d->req[i].prompt);
		VEC_FREE(&d->req[i].chunk_ns);
		VEC_FREE(&d->req[i].id);
		str_free(&d->req[i].text);
	}
	mem_free(d->req);
}
