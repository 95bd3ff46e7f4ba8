/* skew - see skew.h. */
#include "skew.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "num.h"
#include "rec.h"
#include "rng.h"
#include "str.h"

#define MAX_LAYER	65536
#define MAX_BYTES	(64u << 20)
#define SALT_RANK	0x736b6577u	/* shuffles */
#define SALT_PICK	0x7069636bu	/* experts */
#define SALT_WEIGHT	0x77656967u

struct skew {
	char *spec;
	int n_layer, n_expert;
	double *share;		/* [n_layer][n_expert] */
};

enum { C_LAYER, C_EXPERT, C_SHARE, C_N };
static const struct rec_col col[] = {
	[C_LAYER] = { "layer", REC_INT, 0 },
	[C_EXPERT] = { "expert", REC_INT, 0 },
	[C_SHARE] = { "share", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

static double *
row_of(const struct skew *s, int layer)
{
	return s->share + (size_t)layer * (size_t)s->n_expert;
}

/* Make a layer add up to 1.  -1 when there is nothing to share out. */
static int
normalise(double *p, int n)
{
	double sum = 0;
	int i;

	for (i = 0; i < n; i++)
		sum += p[i];
	if (!(sum > 0) || !isfinite(sum))
		return -1;
	for (i = 0; i < n; i++)
		p[i] /= sum;
	return 0;
}

/* ---- shares by rule ------------------------------------------------------- */

/* Give by_rank[] to experts in an order of their own for each layer. */
static void
shuffle(struct skew *s, int layer, const double *by_rank, uint64_t seed)
{
	struct rng r = { rng_at(seed, (uint64_t)layer, SALT_RANK), 0 };
	double *p = row_of(s, layer), t;
	int i, j;

	memcpy(p, by_rank, (size_t)s->n_expert * sizeof(*p));
	for (i = s->n_expert - 1; i > 0; i--) {
		j = (int)rng_below(&r, (uint64_t)i + 1);
		t = p[i];
		p[i] = p[j];
		p[j] = t;
	}
}

/* kind: 'u', 'z', 'e' (rate) or 'o' (order statistics). */
static int
by_rule(struct skew *s, char kind, double x, uint64_t seed, struct err *err)
{
	double *p = mem_calloc((size_t)s->n_expert, sizeof(*p)), tail = 0;
	int r, rc = 0;

	for (r = s->n_expert - 1; r >= 0; r--) {
		tail += 1.0 / (r + 1);
		p[r] = kind == 'u' ? 1 : kind == 'z' ? pow(r + 1, -x) :
		    kind == 'e' ? exp(-x * r) : tail;
	}
	if (normalise(p, s->n_expert) != 0)
		rc = err_set(err, ERR_USAGE, "routing '%s': no shares come of "
		    "it", s->spec);
	for (r = 0; rc == 0 && r < s->n_layer; r++)
		shuffle(s, r, p, seed);
	mem_free(p);
	return rc;
}

static int
parse_rule(struct skew *s, const char *arg, char kind, uint64_t seed,
    struct err *err)
{
	double x = 0;

	if (arg != NULL && (num_f64(arg, &x) != 0 || x < 0 || x > 100))
		return err_set(err, ERR_USAGE, "routing '%s': '%s' is not a "
		    "number from 0 to 100", s->spec, arg);
	return by_rule(s, kind, x, seed, err);
}

/* ---- shares of a file ----------------------------------------------------- */

struct rows {			/* layers of a file, in its order */
	VEC(double *) p;
};

static void
rows_free(struct rows *rows)
{
	size_t i;

	for (i = 0; i < rows->p.n; i++)
		mem_free(rows->p.p[i]);
	VEC_FREE(&rows->p);
}

/* One line "domain,layer,e0,e1,..." into p.  1: of another domain. */
static int
counts_line(const struct skew *s, char *line, const char *domain, double *p,
    struct err *err)
{
	char *save = NULL, *w = strtok_r(line, ",", &save);
	int64_t layer;
	int i;

	if (domain != NULL && w != NULL && strcmp(w, domain) != 0)
		return 1;
	w = strtok_r(NULL, ",", &save);
	if (w == NULL || num_i64(w, &layer) != 0 || layer < 0)
		return err_set(err, ERR_DATA, "no layer number");
	for (i = 0; (w = strtok_r(NULL, ",", &save)) != NULL; i++)
		if (i >= s->n_expert || num_f64(w, &p[i]) != 0 || p[i] < 0)
			return err_set(err, ERR_DATA, i >= s->n_expert ?
			    "counts of more than %d experts" :
			    "count %d is not a number from 0 on",
			    i >= s->n_expert ? s->n_expert : i);
	if (i != s->n_expert)
		return err_set(err, ERR_DATA, "counts of %d experts, not %d", i,
		    s->n_expert);
	return normalise(p, i) == 0 ? 0 : err_set(err, ERR_DATA,
	    "all counts are 0");
}

static int
read_counts(struct skew *s, const char *path, const char *domain,
    struct rows *rows, struct err *err)
{
	struct str text = STR_INIT;
	char *line, *next;
	int no = 0, rc = 0;
	double *p;

	if (str_read_file(&text, path, MAX_BYTES) != 0) {
		rc = errno;
		str_free(&text);
		return err_sys(err, ERR_USAGE, rc, "%s", path);
	}
	for (line = text.p; line != NULL && rc >= 0; line = next) {
		if ((next = strchr(line, '\n')) != NULL)
			*next++ = '\0';
		line[strcspn(line, "\r")] = '\0';
		if (++no == 1 && strncmp(line, "domain,layer,e0", 15) != 0)
			rc = err_set(err, ERR_DATA, "the columns are not "
			    "domain,layer,e0,...");
		if (no == 1 || *line == '\0' || rc < 0)
			continue;
		p = mem_calloc((size_t)s->n_expert, sizeof(*p));
		rc = counts_line(s, line, domain, p, err);
		if (rc == 0)
			VEC_PUSH(&rows->p, p);
		else
			mem_free(p);
	}
	str_free(&text);
	if (rc < 0)
		return err_ctx(err, "%s:%d", path, no);
	return rows->p.n > 0 ? 0 : err_set(err, ERR_DATA, "%s: no counts%s%s",
	    path, domain ? " of " : "", domain ? domain : "");
}

static int
descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

/* Slope of log p over rank, by least squares, sign turned; zeros are left
 * out. */
static double
fit_rate(double *p, int n)
{
	double sx = 0, sy = 0, sxx = 0, sxy = 0, d;
	int r, m = 0;

	qsort(p, (size_t)n, sizeof(*p), descending);
	for (r = 0; r < n && p[r] > 0; r++, m++) {
		sx += r;
		sy += log(p[r]);
		sxx += (double)r * r;
		sxy += r * log(p[r]);
	}
	d = m * sxx - sx * sx;
	return d > 0 ? -(m * sxy - sx * sy) / d : 0;
}

static int
from_counts(struct skew *s, const char *arg, bool fit, uint64_t seed,
    struct err *err)
{
	char *path = mem_strdup(arg), *domain = strrchr(path, ':');
	struct rows rows = { { 0 } };
	double *p, rate;
	int l, r, rc;

	if (domain != NULL)
		*domain++ = '\0';
	rc = read_counts(s, path, domain, &rows, err);
	for (l = 0; rc == 0 && l < s->n_layer; l++) {
		p = rows.p.p[(size_t)l % rows.p.n];
		if (!fit) {
			memcpy(row_of(s, l), p,
			    (size_t)s->n_expert * sizeof(*p));
			continue;
		}
		rate = fit_rate(p, s->n_expert);
		/* p is sorted now, and put back as what was fitted: a later
		 * turn of this row fits the same. */
		for (r = 0; r < s->n_expert; r++)
			p[r] = exp(-rate * r);
		rc = normalise(p, s->n_expert) == 0 ? 0 : err_set(err, ERR_DATA,
		    "%s: no rate fits", path);
		shuffle(s, l, p, seed);
	}
	rows_free(&rows);
	mem_free(path);
	return rc;
}

static int
put_record(struct skew *s, struct rec_in *in, int *n_layer, int *n_expert,
    struct err *err)
{
	int64_t l = in->val[C_LAYER].i, e = in->val[C_EXPERT].i;
	double v = in->val[C_SHARE].r;

	if (l < 0 || l >= MAX_LAYER || e < 0 || e >= s->n_expert)
		return err_set(err, ERR_DATA, "%s:%zu: layer %lld, expert %lld "
		    "is none of this model", in->path, in->line, (long long)l,
		    (long long)e);
	if (!in->val[C_SHARE].have || v < 0)
		return err_set(err, ERR_DATA, "%s:%zu: no share", in->path,
		    in->line);
	if (l < s->n_layer)
		row_of(s, (int)l)[e] = v;
	if (l < s->n_layer && l >= *n_layer)
		*n_layer = (int)l + 1;
	if (e >= *n_expert)
		*n_expert = (int)e + 1;
	return 0;
}

static int
from_file(struct skew *s, struct err *err)
{
	FILE *fp = fopen(s->spec, "r");
	struct rec_in in;
	int rc, n = 0, n_expert = 0, l;

	if (fp == NULL)
		return err_sys(err, ERR_USAGE, errno, "routing '%s' is neither "
		    "uniform, zipf:S, exp, exp:RATE, fit:FILE, counts:FILE nor "
		    "a file", s->spec);
	rec_in_open(&in, fp, s->spec, "skew", 1, col);
	while ((rc = rec_next(&in, err)) == 1 &&
	    (rc = put_record(s, &in, &n, &n_expert, err)) == 0)
		continue;
	rec_in_close(&in);
	fclose(fp);
	if (rc == 0 && n == 0)
		rc = err_set(err, ERR_DATA, "%s: no shares", s->spec);
	if (rc == 0 && n_expert != s->n_expert)
		rc = err_set(err, ERR_DATA, "%s: shares of %d experts, not %d",
		    s->spec, n_expert, s->n_expert);
	for (l = 0; rc == 0 && l < s->n_layer; l++) {
		if (l >= n)
			memcpy(row_of(s, l), row_of(s, l % n),
			    (size_t)s->n_expert * sizeof(double));
		else if (normalise(row_of(s, l), s->n_expert) != 0)
			rc = err_set(err, ERR_DATA, "%s: layer %d has no "
			    "shares", s->spec, l);
	}
	return rc;
}

/* ---- opening -------------------------------------------------------------- */

static int
fill(struct skew *s, uint64_t seed, struct err *err)
{
	const char *spec = s->spec;

	if (strcmp(spec, "uniform") == 0)
		return parse_rule(s, NULL, 'u', seed, err);
	if (strcmp(spec, "exp") == 0)
		return parse_rule(s, NULL, 'o', seed, err);
	if (strncmp(spec, "exp:", 4) == 0)
		return parse_rule(s, spec + 4, 'e', seed, err);
	if (strncmp(spec, "zipf:", 5) == 0)
		return parse_rule(s, spec + 5, 'z', seed, err);
	if (strncmp(spec, "fit:", 4) == 0)
		return from_counts(s, spec + 4, true, seed, err);
	if (strncmp(spec, "counts:", 7) == 0)
		return from_counts(s, spec + 7, false, seed, err);
	return from_file(s, err);
}

int
skew_open(struct skew **out, const char *spec, int n_layer, int n_expert,
    uint64_t seed, struct err *err)
{
	struct skew *s;

	BUG_ON(n_layer < 1 || n_layer > MAX_LAYER || n_expert < 1 ||
	    n_expert > SKEW_MAX_EXPERT);
	s = mem_zalloc(sizeof(*s));
	s->spec = mem_strdup(spec);
	s->n_layer = n_layer;
	s->n_expert = n_expert;
	s->share = mem_calloc((size_t)n_layer * (size_t)n_expert,
	    sizeof(*s->share));
	if (fill(s, seed, err) != 0) {
		skew_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

void
skew_close(struct skew *s)
{
	if (s == NULL)
		return;
	mem_free(s->share);
	mem_free(s->spec);
	mem_free(s);
}

const char *
skew_spec(const struct skew *s)
{
	return s->spec;
}

double
skew_share(const struct skew *s, int layer, int expert)
{
	BUG_ON(layer < 0 || layer >= s->n_layer || expert < 0 ||
	    expert >= s->n_expert);
	return row_of(s, layer)[expert];
}

/* ---- drawing -------------------------------------------------------------- */

/* Put (key, e) into the k smallest so far, ascending; *n of them are there. */
static void
insert(double *key, int32_t *id, int *n, int k, double v, int e)
{
	int i = *n;

	if (i == k) {
		if (v >= key[k - 1])
			return;
		i--;
	} else {
		++*n;
	}
	for (; i > 0 && key[i - 1] > v; i--) {
		key[i] = key[i - 1];
		id[i] = id[i - 1];
	}
	key[i] = v;
	id[i] = e;
}

/* k draws from (1/2, 1], falling, over their sum: no expert of a token counts
 * for less than half of another. */
static void
pick_weights(uint64_t seed, int64_t pos, int layer, int k, float *w)
{
	double sum = 0, v;
	int i, j;

	for (i = 0; i < k; i++) {
		v = 1 - rng_unit(seed ^ SALT_WEIGHT, (uint64_t)pos,
		    (uint64_t)layer * SKEW_MAX_EXPERT + (uint64_t)i) / 2;
		sum += v;
		for (j = i; j > 0 && w[j - 1] < (float)v; j--)
			w[j] = w[j - 1];
		w[j] = (float)v;
	}
	for (i = 0; i < k; i++)
		w[i] = (float)(w[i] / sum);
}

void
skew_pick(const struct skew *s, uint64_t seed, int64_t pos, int layer, int k,
    int32_t *ids, float *w)
{
	const double *p = row_of(s, layer);
	uint32_t ctr[4] = { (uint32_t)pos, (uint32_t)layer, 0, SALT_PICK };
	double key[k];
	uint32_t u[4];
	int e, n = 0;

	BUG_ON(layer < 0 || layer >= s->n_layer || k < 1 || k > s->n_expert);
	for (e = 0; e < s->n_expert; e++) {
		if (e % 4 == 0) {
			ctr[2] = (uint32_t)e / 4;
			rng_block(seed, ctr, u);
		}
		/* An exponential race: the first k to arrive. */
		insert(key, ids, &n, k, p[e] > 0 ?
		    -log((u[e % 4] + 0.5) / 4294967296.0) / p[e] : 1e300, e);
	}
	if (w != NULL)
		pick_weights(seed, pos, layer, k, w);
}

int
skew_write(const struct skew *s, FILE *fp, bool json, struct err *err)
{
	struct rec_out o;
	int l, e, rc = 0;

	rec_out_open(&o, fp, "skew", 1, col, json);
	rec_note(&o, "%s", s->spec);
	for (l = 0; rc == 0 && l < s->n_layer; l++)
		for (e = 0; rc == 0 && e < s->n_expert; e++) {
			rec_put_int(&o, l);
			rec_put_int(&o, e);
			rec_put_real(&o, row_of(s, l)[e]);
			rc = rec_end(&o, err);
		}
	rec_out_close(&o);
	return rc;
}
