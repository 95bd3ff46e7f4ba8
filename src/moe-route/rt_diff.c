/* rt_diff - `moe-route diff`: what is different between two maps. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "map.h"
#include "rec.h"
#include "rt.h"

#define PROG	"moe-route diff"

enum { C_LAYER, C_EXPERT, C_SERVER, C_CHANGE, C_OLD, C_NEW, C_N };

static const struct rec_col diff_col[] = {
	[C_LAYER] = { "layer", REC_INT, 0 },
	[C_EXPERT] = { "expert", REC_INT, 0 },
	[C_SERVER] = { "server", REC_STR, 0 },
	[C_CHANGE] = { "change", REC_STR, 0 },
	[C_OLD] = { "old", REC_STR, 0 },
	[C_NEW] = { "new", REC_STR, 0 },
	[C_N] = { NULL, 0, 0 },
};

struct diff {
	const struct map *old, *new;
	struct rec_out out;
	struct err *err;
};

static int
put(struct diff *d, int l, int e, const char *server, const char *change,
    const char *old, const char *new)
{
	rec_put_int(&d->out, l);
	rec_put_int(&d->out, e);
	rec_put_str(&d->out, server);
	rec_put_str(&d->out, change);
	rec_put_str(&d->out, old);
	rec_put_str(&d->out, new);
	return rec_end(&d->out, d->err);
}

/* Which of the expert's servers is called so?  -1: none. */
static int
copy_on(const struct map *m, int l, int e, const char *name)
{
	const uint16_t *s;
	int i, n = map_replicas(m, l, e, &s);

	for (i = 0; i < n; i++)
		if (strcmp(map_server_name(m, s[i]), name) == 0)
			return i;
	return -1;
}

/* The text of a copy's share, as maps have it. */
static const char *
share(const struct map *m, int l, int e, int i, char out[32])
{
	snprintf(out, 32, "%.6g", map_share(m, l, e, i));
	return out;
}

static int
one_side(struct diff *d, int l, int e, bool is_new)
{
	const struct map *m = is_new ? d->new : d->old;
	const struct map *other = is_new ? d->old : d->new;
	const uint16_t *s;
	int i, n = map_replicas(m, l, e, &s);
	char text[32];

	for (i = 0; i < n; i++) {
		const char *name = map_server_name(m, s[i]);

		if (copy_on(other, l, e, name) >= 0)
			continue;
		share(m, l, e, i, text);
		if (put(d, l, e, name, is_new ? "add" : "drop",
		    is_new ? NULL : text, is_new ? text : NULL) != 0)
			return -1;
	}
	return 0;
}

static int
both_sides(struct diff *d, int l, int e)
{
	const uint16_t *s, *t;
	char was[32], is[32];
	int i, k, n = map_replicas(d->old, l, e, &s);

	map_replicas(d->new, l, e, &t);
	for (i = 0; i < n; i++) {
		const char *name = map_server_name(d->old, s[i]);
		const char *a = map_server_addr(d->old, s[i]), *b;

		if ((k = copy_on(d->new, l, e, name)) < 0)
			continue;
		b = map_server_addr(d->new, t[k]);
		if (strcmp(a, b) != 0 &&
		    put(d, l, e, name, "address", a, b) != 0)
			return -1;
		share(d->old, l, e, i, was);
		share(d->new, l, e, k, is);
		if (strcmp(was, is) != 0 &&
		    put(d, l, e, name, "share", was, is) != 0)
			return -1;
	}
	return 0;
}

static int
compare(struct diff *d)
{
	int l, e, rc = 0;

	if (map_n_layer(d->old) != map_n_layer(d->new) ||
	    map_n_expert(d->old) != map_n_expert(d->new))
		return err_set(d->err, ERR_DATA, "maps of %d layers of %d "
		    "experts and of %d of %d", map_n_layer(d->old),
		    map_n_expert(d->old), map_n_layer(d->new),
		    map_n_expert(d->new));
	for (l = 0; l < map_n_layer(d->old) && rc == 0; l++) {
		for (e = 0; e < map_n_expert(d->old) && rc == 0; e++) {
			rc = one_side(d, l, e, false);
			if (rc == 0)
				rc = one_side(d, l, e, true);
			if (rc == 0)
				rc = both_sides(d, l, e);
		}
	}
	return rc;
}

static int
read_map(struct map **out, const char *path, struct err *err)
{
	FILE *fp = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	int rc;

	if (fp == NULL)
		return err_sys(err, ERR_USAGE, errno, "%s", path);
	rc = map_read(out, fp, path, err);
	if (fp != stdin)
		fclose(fp);
	return rc;
}

int
rt_diff_main(int argc, char **argv)
{
	bool json = false;
	const struct cli_opt opt[] = {
		{ 'j', "json", CLI_FLAG, &json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "diff", "OLD NEW",
	    "Print what is different between two maps (- is stdin).", opt };
	struct err err = ERR_INIT;
	struct map *old = NULL, *new = NULL;
	int at = cli_parse(&c, argc, argv, &err), rc = at < 0 ? -1 : 0;

	if (rc == 0 && argc - at != 2)
		rc = err_set(&err, ERR_USAGE, "OLD and NEW are needed");
	if (rc == 0)
		rc = read_map(&old, argv[at], &err);
	if (rc == 0)
		rc = read_map(&new, argv[at + 1], &err);
	if (rc == 0) {
		struct diff d = { old, new, { 0 }, &err };

		rec_out_open(&d.out, stdout, "mapdiff", 1, diff_col, json);
		rc = compare(&d);
		rec_out_close(&d.out);
	}
	map_unref(old);
	map_unref(new);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
