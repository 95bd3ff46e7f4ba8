/* bench_e2e_load - see bench_e2e_load.h. */
#include "bench_e2e_load.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "rng.h"
#include "str.h"

struct stream {
	int32_t *id;		/* [tokens] */
	uint64_t *ns;		/* [tokens] when each came */
	int n, max;
	bool over, ok;
	char why[200];
};

/* ids of prompts are drawn by (seed, stream), so every set-up gets the same. */
static char *
body(const struct bench_e2e_load *l, int stream, int max_tok)
{
	struct rng rng = { l->seed, (uint64_t)stream << 32 };
	struct str s = STR_INIT;
	int i;

	str_addf(&s, "{\"model\":\"%s\",\"stream\":true,\"temperature\":0,"
	    "\"ignore_eos\":true,\"return_token_ids\":true,"
	    "\"max_tokens\":%d,\"prompt\":[", l->model, max_tok);
	for (i = 0; i < l->prompt_tok; i++)
		str_addf(&s, "%s%llu", i > 0 ? "," : "",
		    (unsigned long long)rng_below(&rng,
		    (uint64_t)l->vocab));
	str_adds(&s, "]}");
	return s.p;
}

static void
on_chunk(void *user, const struct oai_chunk *c)
{
	struct stream *s = user;
	size_t i;

	for (i = 0; i < c->n_id && s->n < s->max; i++) {
		s->id[s->n] = c->id[i];
		s->ns[s->n++] = c->now_ns;
	}
}

static void
on_end(void *user, const struct oai_end *e)
{
	struct stream *s = user;

	s->over = true;
	s->ok = e->ok && s->n == s->max;
	snprintf(s->why, sizeof(s->why), "%s", e->ok ?
	    "an answer of fewer tokens" : e->why);
}

/* Run n streams of max_tok tokens each to their end. */
static int
run(struct oai *c, const struct bench_e2e_load *l, struct stream *s, int n,
    struct err *err)
{
	static const struct oai_fn fn = { on_chunk, on_end };
	char *text;
	int i;

	for (i = 0; i < n; i++) {
		text = body(l, i, s[i].max);
		oai_stream(c, "/v1/completions", text, l->limit_ns, &fn, &s[i]);
		mem_free(text);
	}
	while (oai_busy(c) > 0)
		oai_poll(c, 1000000000, -1);
	for (i = 0; i < n; i++)
		if (!s[i].ok)
			return err_set(err, ERR_TEMP, "stream %d of %d: %s", i,
			    n, s[i].why);
	return 0;
}

/* Tokens a second while all streams decode; 0: they never did. */
static double
rate(const struct stream *s, int n)
{
	uint64_t begin = 0, end = UINT64_MAX;
	int i, j, count = 0;

	for (i = 0; i < n; i++) {
		if (s[i].ns[0] > begin)
			begin = s[i].ns[0];
		if (s[i].ns[s[i].n - 1] < end)
			end = s[i].ns[s[i].n - 1];
	}
	for (i = 0; i < n; i++)
		for (j = 0; j < s[i].n; j++)
			count += s[i].ns[j] > begin && s[i].ns[j] <= end;
	return end > begin ? count / ((double)(end - begin) * 1e-9) : 0;
}

int
bench_e2e_load_decode(struct oai *c, const struct bench_e2e_load *l,
    int32_t *ids, double *tok_s, struct err *err)
{
	size_t n = (size_t)l->streams, tok = (size_t)l->tokens, i;
	struct stream *s = mem_calloc(n, sizeof(*s));
	uint64_t *ns = mem_calloc(n * tok, sizeof(*ns));
	int rc;

	memset(ids, 0xff, n * tok * sizeof(*ids));
	for (i = 0; i < n; i++)
		s[i] = (struct stream){ .id = ids + i * tok,
		    .ns = ns + i * tok, .max = l->tokens };
	rc = run(c, l, s, l->streams, err);
	*tok_s = rc == 0 ? rate(s, l->streams) : 0;
	if (rc == 0 && *tok_s <= 0)
		rc = err_set(err, ERR_TEMP, "%d streams of %d tokens never "
		    "decoded together: more --tokens", l->streams, l->tokens);
	mem_free(ns);
	mem_free(s);
	return rc;
}

int
bench_e2e_load_prefill(struct oai *c, const struct bench_e2e_load *l,
    double *tok_s, struct err *err)
{
	int32_t id;
	uint64_t ns = 0, begin = clock_ns();
	struct stream s = { .id = &id, .ns = &ns, .max = 1 };
	int rc = run(c, l, &s, 1, err);

	*tok_s = rc == 0 ? l->prompt_tok / ((double)(ns - begin) * 1e-9) : 0;
	return rc;
}
