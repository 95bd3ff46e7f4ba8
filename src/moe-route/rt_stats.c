/*
 * rt_stats - `moe-route stats`: how even a load is.
 *
 * Reads routing counts (CSV: domain,layer,e0,e1,...) or a map.  Counts alone:
 * the load of the experts.  Counts with --map: that of the servers, an expert's
 * count split over its copies by their shares.  A map alone: the copies on each
 * server.
 *
 * max_over_mean is the measure that EPLB and MoEless balance: 1 is even.
 * gini = sum_i (2i - n - 1) x_i / (n sum x), x ascending, i from 1; cv is the
 * deviation over the mean.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "map.h"
#include "mem.h"
#include "num.h"
#include "rec.h"
#include "rt.h"
#include "rt_load.h"
#include "str.h"

#define PROG	"moe-route stats"
#define MAX_BYTES	(256u << 20)

enum { C_SUBJECT, C_LAYER, C_OF, C_COUNT, C_TOTAL, C_MEAN, C_MAX, C_RATIO,
    C_GINI, C_CV, C_N };

static const struct rec_col load_col[] = {
	[C_SUBJECT] = { "subject", REC_STR, 0 },
	[C_LAYER] = { "layer", REC_INT, 0 },
	[C_OF] = { "of", REC_STR, 0 },
	[C_COUNT] = { "count", REC_INT, 0 },
	[C_TOTAL] = { "total", REC_REAL, 0 },
	[C_MEAN] = { "mean", REC_REAL, 0 },
	[C_MAX] = { "max", REC_REAL, 0 },
	[C_RATIO] = { "max_over_mean", REC_REAL, 0 },
	[C_GINI] = { "gini", REC_REAL, 0 },
	[C_CV] = { "cv", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

enum { E_SUBJECT, E_LAYER, E_SERVER, E_LOAD, E_SHARE, E_N };

static const struct rec_col each_col[] = {
	[E_SUBJECT] = { "subject", REC_STR, 0 },
	[E_LAYER] = { "layer", REC_INT, 0 },
	[E_SERVER] = { "server", REC_STR, 0 },
	[E_LOAD] = { "load", REC_REAL, 0 },
	[E_SHARE] = { "share", REC_REAL, 0 },
	[E_N] = { NULL, 0, 0 },
};

struct stats {
	const char *map_path;
	bool json, each;
	struct map *map;	/* of --map, or of stdin */
	struct rec_out out;
};

static int
parse(struct stats *s, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 0, "map", CLI_STR, &s->map_path, "FILE",
		    "the load of this map's servers", 0, 0, NULL },
		{ 0, "each", CLI_FLAG, &s->each, NULL,
		    "the load of each server, instead of how even it is", 0, 0,
		    NULL },
		{ 'j', "json", CLI_FLAG, &s->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "stats", "< COUNTS|MAP",
	    "Say how even the load of experts or servers is.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "the input comes on stdin");
	return at < 0 ? -1 : 0;
}

static int
put_even(struct stats *s, const char *subject, int layer, const char *of,
    double *load, size_t n, struct err *err)
{
	struct rt_load r;

	rt_load(load, n, &r);
	rec_put_str(&s->out, subject);
	if (layer >= 0)
		rec_put_int(&s->out, layer);
	else
		rec_put_none(&s->out);
	rec_put_str(&s->out, of);
	rec_put_int(&s->out, (int64_t)n);
	rec_put_real(&s->out, r.total);
	rec_put_real(&s->out, r.mean);
	rec_put_real(&s->out, r.max);
	rec_put_real(&s->out, r.ratio);
	rec_put_real(&s->out, r.gini);
	rec_put_real(&s->out, r.cv);
	return rec_end(&s->out, err);
}

static int
put_each(struct stats *s, const char *subject, int layer, const double *load,
    struct err *err)
{
	int n = map_n_server(s->map), i;
	double total = 0;

	for (i = 0; i < n; i++)
		total += load[i];
	for (i = 0; i < n; i++) {
		rec_put_str(&s->out, subject);
		if (layer >= 0)
			rec_put_int(&s->out, layer);
		else
			rec_put_none(&s->out);
		rec_put_str(&s->out, map_server_name(s->map, i));
		rec_put_real(&s->out, load[i]);
		rec_put_real(&s->out, total > 0 ? load[i] / total : NAN);
		if (rec_end(&s->out, err) != 0)
			return -1;
	}
	return 0;
}

static int
put_servers(struct stats *s, const char *subject, int layer, double *load,
    struct err *err)
{
	return s->each ? put_each(s, subject, layer, load, err) :
	    put_even(s, subject, layer, "server", load,
	    (size_t)map_n_server(s->map), err);
}

/* ---- a map alone --------------------------------------------------------------- */

static int
stats_map(struct stats *s, struct err *err)
{
	size_t n = (size_t)map_n_server(s->map), i;
	double *load = mem_calloc(n, sizeof(*load));
	int l, rc = 0;

	for (l = 0; l < map_n_layer(s->map) && rc == 0; l++) {
		if (!map_layer_moe(s->map, l))
			continue;
		for (i = 0; i < n; i++)
			load[i] = map_layer_count(s->map, (int)i, l);
		rc = put_servers(s, "map", l, load, err);
	}
	for (i = 0; i < n; i++)
		load[i] = map_count(s->map, (int)i);
	if (rc == 0)
		rc = put_servers(s, "map", -1, load, err);
	mem_free(load);
	return rc;
}

/* ---- counts ---------------------------------------------------------------------- */

/* One line of counts: domain,layer,count,count,... */
static int
counts_line(struct stats *s, struct rt_counts *c, struct err *err)
{
	size_t n;
	double *load;
	int rc;

	if (s->map == NULL)
		return put_even(s, c->domain, c->layer, "expert", c->v, c->n,
		    err);
	if (c->layer >= map_n_layer(s->map) ||
	    c->n != (size_t)map_n_expert(s->map) ||
	    !map_layer_moe(s->map, c->layer))
		return err_set(err, ERR_DATA, "-:%d: layer %d of %zu experts is "
		    "not in the map (%d layers of %d)", c->line, c->layer,
		    c->n, map_n_layer(s->map), map_n_expert(s->map));
	n = (size_t)map_n_server(s->map);
	load = mem_calloc(n, sizeof(*load));
	rt_load_servers(s->map, c->layer, c->v, load);
	rc = put_servers(s, c->domain, c->layer, load, err);
	mem_free(load);
	return rc;
}

static int
stats_counts(struct stats *s, char *text, struct err *err)
{
	struct rt_counts c = { 0 };
	char *next;
	int rc = 0;

	for (; text != NULL && rc == 0; text = next) {
		if ((next = strchr(text, '\n')) != NULL)
			*next++ = '\0';
		c.line++;
		text[strcspn(text, "\r")] = '\0';
		if (c.line == 1) {
			rc = rt_counts_head(text, err);
			continue;
		}
		if (*text == '\0')
			continue;
		if ((rc = rt_counts_line(&c, text, err)) == 0)
			rc = counts_line(s, &c, err);
	}
	rt_counts_free(&c);
	return rc;
}

static int
read_stdin(struct str *out, struct err *err)
{
	char buf[65536];
	size_t n;

	while ((n = fread(buf, 1, sizeof(buf), stdin)) > 0) {
		str_add(out, buf, n);
		if (out->n > MAX_BYTES)
			return err_set(err, ERR_DATA, "-: more than %u MiB",
			    MAX_BYTES >> 20);
	}
	if (ferror(stdin))
		return err_set(err, ERR_TEMP, "-: reading failed");
	return out->n > 0 ? 0 : err_set(err, ERR_DATA, "-: no input");
}

static int
read_map(struct stats *s, FILE *fp, const char *path, struct err *err)
{
	int rc;

	if (fp == NULL)
		return err_sys(err, ERR_USAGE, errno, "%s", path);
	rc = map_read(&s->map, fp, path, err);
	fclose(fp);
	return rc;
}

static int
stats(struct stats *s, struct str *in, struct err *err)
{
	bool is_map;
	int rc;

	if (read_stdin(in, err) != 0)
		return -1;
	is_map = strncmp(in->p, "#moe:map/", 9) == 0;
	if (is_map && s->map_path != NULL)
		return err_set(err, ERR_USAGE, "a map on stdin and --map");
	if (is_map && read_map(s, fmemopen(in->p, in->n, "r"), "-", err) != 0)
		return -1;
	if (s->map_path != NULL &&
	    read_map(s, fopen(s->map_path, "re"), s->map_path, err) != 0)
		return -1;
	if (s->each && s->map == NULL)
		return err_set(err, ERR_USAGE, "--each needs a map");
	if (s->each)
		rec_out_open(&s->out, stdout, "serverload", 1, each_col,
		    s->json);
	else
		rec_out_open(&s->out, stdout, "load", 1, load_col, s->json);
	rc = is_map ? stats_map(s, err) : stats_counts(s, in->p, err);
	rec_out_close(&s->out);
	return rc;
}

int
rt_stats_main(int argc, char **argv)
{
	struct stats s = { 0 };
	struct err err = ERR_INIT;
	struct str in = STR_INIT;
	int rc = parse(&s, argc, argv, &err);

	if (rc == 0)
		rc = stats(&s, &in, &err);
	map_unref(s.map);
	str_free(&in);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
