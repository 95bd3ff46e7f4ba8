/* rt_top - `moe-route top`: who does how much, again and again. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "mem.h"
#include "rec.h"
#include "rt.h"
#include "rt_client.h"

#define PROG	"moe-route top"

enum { C_TIME, C_ROLE, C_NAME, C_STATE, C_EXPERTS, C_QUEUE, C_RUNNING, C_RATE,
    C_BATCH, C_BUSY, C_N };

static const struct rec_col top_col[] = {
	[C_TIME] = { "t_s", REC_REAL, 0 },
	[C_ROLE] = { "role", REC_STR, 0 },
	[C_NAME] = { "name", REC_STR, 0 },
	[C_STATE] = { "state", REC_STR, 0 },
	[C_EXPERTS] = { "experts", REC_INT, 0 },
	[C_QUEUE] = { "queue", REC_INT, 0 },
	[C_RUNNING] = { "running", REC_INT, 0 },
	[C_RATE] = { "rows_s", REC_REAL, 0 },
	[C_BATCH] = { "batch", REC_REAL, 0 },
	[C_BUSY] = { "busy", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

/* What a member had counted at the last look. */
struct last {
	char name[LINK_NAME];
	int64_t rows, passes;
};

struct top {
	struct rt_client_opt client;
	uint64_t every_ns;
	int64_t n;
	bool json, screen;
	uint64_t begin_ns;
	VEC(struct last) last;
	struct rec_out out;
};

struct line {			/* of a member; < 0 or NAN: not known */
	const char *role, *name, *state;
	int64_t experts, queue, running;
	double rate, batch, busy;
};

static int
parse(struct top *t, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		RT_CLIENT_OPTIONS(&t->client),
		{ 't', "timeout", CLI_DUR, &t->client.limit_ns, "DUR",
		    "longest wait for the router (default 2s)", 0, 0, NULL },
		{ 'd', "every", CLI_DUR, &t->every_ns, "DUR",
		    "how often (default 1s)", 0, 0, NULL },
		{ 'n', "count", CLI_INT, &t->n, "N",
		    "so many times (default: until interrupted)", 1, 1 << 30,
		    NULL },
		{ 'j', "json", CLI_FLAG, &t->json, NULL, "NDJSON", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "top", "",
	    "Show the load of a cluster's members, again and again.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	return at < 0 ? -1 : 0;
}

static int64_t
number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

static double
real(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static struct last *
last_of(struct top *t, const char *name)
{
	struct last l = { "", 0, 0 };
	size_t i;

	for (i = 0; i < t->last.n; i++)
		if (strcmp(t->last.p[i].name, name) == 0)
			return &t->last.p[i];
	snprintf(l.name, sizeof(l.name), "%s", name);
	VEC_PUSH(&t->last, l);
	return &t->last.p[t->last.n - 1];
}

/* Rows a pass since the last look. */
static double
batch(struct top *t, const char *name, const json_t *report)
{
	struct last *l = last_of(t, name);
	int64_t rows = number(report, "rows"), passes = number(report,
	    "passes");
	double b = NAN;

	if (passes < l->passes)		/* it was started anew */
		l->rows = l->passes = 0;
	if (passes > l->passes)
		b = (double)(rows - l->rows) / (double)(passes - l->passes);
	l->rows = rows;
	l->passes = passes;
	return b;
}

static bool
read_member(struct top *t, const json_t *m, struct line *l)
{
	const json_t *r = json_object_get(m, "report");

	l->role = json_string_value(json_object_get(m, "role"));
	l->name = json_string_value(json_object_get(m, "name"));
	l->state = json_string_value(json_object_get(m, "state"));
	if (l->role == NULL || l->name == NULL || l->state == NULL)
		return false;
	l->experts = number(m, "experts");
	l->queue = number(m, "queue");
	l->running = number(r, "running");
	l->rate = real(m, "rows_s");
	l->batch = batch(t, l->name, r);
	l->busy = real(r, "busy");
	return true;
}

/* ---- output -------------------------------------------------------------- */

static void
put_int(struct rec_out *o, int64_t v)
{
	if (v < 0)
		rec_put_none(o);
	else
		rec_put_int(o, v);
}

static int
put_record(struct top *t, const struct line *l, struct err *err)
{
	rec_put_real(&t->out, (double)(clock_ns() - t->begin_ns) / 1e9);
	rec_put_str(&t->out, l->role);
	rec_put_str(&t->out, l->name);
	rec_put_str(&t->out, l->state);
	put_int(&t->out, l->experts);
	put_int(&t->out, l->queue);
	put_int(&t->out, l->running);
	rec_put_real(&t->out, l->rate);
	rec_put_real(&t->out, l->batch);
	rec_put_real(&t->out, l->busy);
	return rec_end(&t->out, err);
}

static const char *
text(double v, const char *fmt, double scale, char out[24])
{
	if (isnan(v))
		snprintf(out, 24, "-");
	else if (strcmp(fmt, "%.0f") == 0)
		snprintf(out, 24, "%.0f", v * scale);
	else
		snprintf(out, 24, "%.1f", v * scale);
	return out;
}

static void
put_row(const struct line *l)
{
	char e[24], q[24], r[24], s[24], b[24], u[24];

	printf("%-7s %-16.16s %-9s %8s %7s %8s %10s %7s %6s\033[K\n", l->role,
	    l->name, l->state,
	    text(l->experts < 0 ? NAN : (double)l->experts, "%.0f", 1, e),
	    text(l->queue < 0 ? NAN : (double)l->queue, "%.0f", 1, q),
	    text(l->running < 0 ? NAN : (double)l->running, "%.0f", 1, r),
	    text(l->rate, "%.0f", 1, s), text(l->batch, "%.1f", 1, b),
	    text(l->busy, "%.0f", 100, u));
}

static void
put_head(const json_t *root)
{
	const char *note = json_string_value(json_object_get(root, "trouble"));

	/* Home, so that nothing flickers; what is left below is erased at the
	 * end. */
	printf("\033[Hmap %lld", (long long)number(root, "map"));
	if (number(root, "next") > 0)
		printf(", loading for %lld", (long long)number(root, "next"));
	printf("  %.200s\033[K\n", note != NULL ? note : "");
	printf("\033[7m%-7s %-16s %-9s %8s %7s %8s %10s %7s %6s\033[0m\033[K\n",
	    "role", "name", "state", "experts", "queue", "running", "rows/s",
	    "batch", "busy%");
}

static int
show(struct top *t, const json_t *root, struct err *err)
{
	struct line l;
	json_t *m;
	int rc = 0;
	size_t i;

	if (t->screen)
		put_head(root);
	json_array_foreach(json_object_get(root, "members"), i, m) {
		if (rc != 0 || !read_member(t, m, &l))
			continue;
		if (t->screen)
			put_row(&l);
		else
			rc = put_record(t, &l, err);
	}
	if (t->screen) {
		fputs("\033[J", stdout);
		if (fflush(stdout) != 0)
			rc = err_set(err, ERR_TEMP, "cannot write to stdout");
	}
	return rc;
}

static void
sleep_until(uint64_t ns)
{
	uint64_t left = clock_left(ns);
	struct timespec ts = { (time_t)(left / 1000000000u),
	    (long)(left % 1000000000u) };

	nanosleep(&ts, NULL);
}

static int
run(struct top *t, struct rt_client *c, struct err *err)
{
	uint64_t next = t->begin_ns;
	json_t *root;
	int64_t i;
	int rc = 0;

	for (i = 0; rc == 0 && (t->n == 0 || i < t->n); i++) {
		if (i > 0)
			sleep_until(next);
		next += t->every_ns;
		root = rt_client_json(c, json_pack("{s:s}", "ask", "status"),
		    t->client.limit_ns, err);
		rc = root == NULL ? -1 : show(t, root, err);
		json_decref(root);
	}
	return rc;
}

int
rt_top_main(int argc, char **argv)
{
	struct top t = { .client = { .limit_ns = 2000000000u },
	    .every_ns = 1000000000u };
	struct err err = ERR_INIT;
	struct rt_client c = { 0 };
	int rc = parse(&t, argc, argv, &err);

	t.screen = !t.json && isatty(STDOUT_FILENO);
	if (rc == 0)
		rc = rt_client_open(&c, &t.client, &err);
	t.begin_ns = clock_ns();
	if (rc == 0 && t.screen)
		fputs("\033[2J", stdout);
	if (rc == 0 && !t.screen)
		rec_out_open(&t.out, stdout, "top", 1, top_col, t.json);
	if (rc == 0) {
		rc = run(&t, &c, &err);
		if (!t.screen)
			rec_out_close(&t.out);
	}
	rt_client_close(&c);
	VEC_FREE(&t.last);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
