/* bench_arrival - see bench_arrival.h. */
#include "bench_arrival.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "num.h"
#include "str.h"

#define MAX_FILE_BYTES	(256u << 20)
#define AZURE		"TIMESTAMP,ContextTokens,GeneratedTokens"

const struct rec_col bench_arrival_col[] = {
	[BENCH_ARRIVAL_AT] = { "at_s", REC_REAL, 0 },
	[BENCH_ARRIVAL_IN] = { "input_tok", REC_INT, 0 },
	[BENCH_ARRIVAL_OUT] = { "output_tok", REC_INT, 0 },
	[BENCH_ARRIVAL_N] = { NULL, 0, 0 },
};

struct reader {
	const char *path;
	bench_arrival_fn *fn;
	void *arg;
	double first_s;
	size_t n;
};

int
bench_arrival_time(const char *s, double *out)
{
	struct tm tm = { 0 };
	const char *rest = strptime(s, "%Y-%m-%d %H:%M:%S", &tm);
	double frac = 0;

	if (rest == NULL)
		return -1;
	if (*rest == '.' && num_f64(rest + 1, &frac) == 0)
		frac /= pow(10, (double)strlen(rest + 1));
	else if (*rest != '\0')
		return -1;
	*out = (double)timegm(&tm) + frac;
	return 0;
}

static bool
length_ok(int64_t tok)
{
	return tok >= 1 && tok <= BENCH_MAX_TOK;
}

/* at_s is on the file's clock. */
static int
give(struct reader *r, struct bench_arrival *a, struct err *err)
{
	if (r->n++ == 0)
		r->first_s = a->at_s;
	a->at_s = a->at_s > r->first_s ? a->at_s - r->first_s : 0;
	return r->fn(r->arg, a, err);
}

static int
azure_line(char *text, struct bench_arrival *a)
{
	char *in = strchr(text, ','), *out;

	if (in == NULL || (out = strchr(in + 1, ',')) == NULL)
		return -1;
	*in++ = *out++ = '\0';
	return bench_arrival_time(text, &a->at_s) == 0 &&
	    num_i64(in, &a->in_tok) == 0 &&
	    num_i64(out, &a->out_tok) == 0 ? 0 : -1;
}

static int
mooncake_line(const char *text, struct bench_arrival *a)
{
	json_t *o = json_loads(text, 0, NULL);
	const json_t *t = json_object_get(o, "timestamp"),
	    *in = json_object_get(o, "input_length"),
	    *out = json_object_get(o, "output_length");
	int rc = json_is_number(t) && json_is_integer(in) &&
	    json_is_integer(out) ? 0 : -1;

	if (rc == 0) {
		a->at_s = json_number_value(t) / 1000;
		a->in_tok = json_integer_value(in);
		a->out_tok = json_integer_value(out);
	}
	json_decref(o);
	return rc;
}

static int
read_lines(struct reader *r, char *text, struct err *err)
{
	struct bench_arrival a = { 0 };
	bool azure = strncmp(text, AZURE, strlen(AZURE)) == 0;
	int no = 0, rc = 0;
	char *line, *next;

	if (!azure && text[0] != '{')
		return err_set(err, ERR_DATA, "%s:1: neither #moe:arrival/1, "
		    "nor the columns %s, nor a JSON object", r->path, AZURE);
	for (line = text; line != NULL && rc == 0; line = next) {
		if ((next = strchr(line, '\n')) != NULL)
			*next++ = '\0';
		line[strcspn(line, "\r")] = '\0';
		if (*line == '\0' || (++no == 1 && azure))
			continue;
		if ((azure ? azure_line(line, &a) : mooncake_line(line, &a))
		    != 0 || !length_ok(a.in_tok) || !length_ok(a.out_tok) ||
		    !isfinite(a.at_s))
			return err_set(err, ERR_DATA, "%s:%d: '%.60s' is not "
			    "a time and two lengths from 1 to %d", r->path, no,
			    line, BENCH_MAX_TOK);
		rc = give(r, &a, err);
	}
	return rc;
}

static int
read_stream(struct reader *r, char *text, size_t n, struct err *err)
{
	FILE *fp = fmemopen(text, n, "r");
	struct bench_arrival a;
	struct rec_in in;
	int rc;

	if (fp == NULL)
		return err_sys(err, ERR_TEMP, errno, "%s", r->path);
	rec_in_open(&in, fp, r->path, "arrival", 1, bench_arrival_col);
	while ((rc = rec_next(&in, err)) == 1) {
		a.at_s = in.val[BENCH_ARRIVAL_AT].r;
		a.in_tok = in.val[BENCH_ARRIVAL_IN].i;
		a.out_tok = in.val[BENCH_ARRIVAL_OUT].i;
		if (!in.val[BENCH_ARRIVAL_AT].have || !length_ok(a.in_tok) ||
		    !length_ok(a.out_tok)) {
			rc = err_set(err, ERR_DATA, "%s:%zu: not a time and "
			    "two lengths from 1 to %d", r->path, in.line,
			    BENCH_MAX_TOK);
			break;
		}
		if ((rc = give(r, &a, err)) != 0)
			break;
	}
	rec_in_close(&in);
	fclose(fp);
	return rc;
}

int
bench_arrival_read(const char *path, bench_arrival_fn *fn, void *arg,
    struct err *err)
{
	struct reader r = { .path = path, .fn = fn, .arg = arg };
	struct str text = STR_INIT;
	int rc;

	if (str_read_file(&text, path, MAX_FILE_BYTES) != 0) {
		rc = errno;
		str_free(&text);
		return err_sys(err, ERR_USAGE, rc, "%s", path);
	}
	if (text.n == 0)
		rc = 0;
	else if (text.p[0] == '#')
		rc = read_stream(&r, text.p, text.n, err);
	else
		rc = read_lines(&r, text.p, err);
	str_free(&text);
	if (rc >= 0 && r.n == 0)
		return err_set(err, ERR_DATA, "%s: no requests", path);
	return rc < 0 ? -1 : 0;
}
