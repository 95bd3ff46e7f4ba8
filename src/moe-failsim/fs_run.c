/*
 * fs_run - `moe-failsim run`: a drill against a cluster under load.
 *
 * First every request runs undisturbed, which gives the tokens to compare
 * with.  Then the same requests run over and over while the steps happen; when
 * the last step is done and undone, every request ran once and the drill's
 * settle time is over, no new ones are started and the run ends with the last
 * stream.  What the daemons themselves noted meanwhile comes last.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "event.h"
#include "fs.h"
#include "fs_drill.h"
#include "fs_load.h"
#include "fs_procs.h"
#include "fs_random.h"
#include "fs_steps.h"

#define WHOLE_NS	10000000000ull	/* patience at the start */
#define PROG	"moe-failsim run"
#define POLL_NS	5000000u	/* how late a step may be */
#define TOKENS_NS	200000000u	/* between two counts of tokens */
#define MEMORY_NS	1000000000u	/* between two looks at memory */

struct run {
	const char *dir_arg, *url_arg, *key, *drill_arg;
	int64_t seed_arg;	/* -1: the drill's */
	int64_t count;		/* 0: the drill's */
	uint64_t for_ns;
	bool json, dry_run, random;
	char dir[PATH_MAX], route[PATH_MAX];
	struct fs_drill *d;
	struct fs_load load;
	struct fs_steps steps;
	struct rec_out out;
	uint64_t tokens_ns, memory_ns;	/* when they are told again */
};

static int
parse(struct run *r, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'D', "dir", CLI_STR, &r->dir_arg, "DIR",
		    "run directory (default ./moe-run)", 0, 0, "MOE_DIR" },
		{ 'u', "url", CLI_STR, &r->url_arg, "URL",
		    "where the load goes (default: MOE_URL of DIR/env)", 0, 0,
		    NULL },
		{ 's', "seed", CLI_INT, &r->seed_arg, "SEED",
		    "instead of the drill's", 0, 1e15, NULL },
		{ 0, "random", CLI_FLAG, &r->random, NULL,
		    "no DRILL, but random faults from the seed", 0, 0, NULL },
		{ 0, "for", CLI_DUR, &r->for_ns, "TIME",
		    "how long random faults go on (default 1m)", 0, 0, NULL },
		{ 0, "count", CLI_INT, &r->count, "N",
		    "instead of every count of the drill", 1, 1000000, NULL },
		{ 0, "key", CLI_STR, &r->key, "KEY", "API key", 0, 0,
		    "MOE_API_KEY" },
		{ 'j', "json", CLI_FLAG, &r->json, NULL, "NDJSON", 0, 0, NULL },
		{ 'n', "dry-run", CLI_FLAG, &r->dry_run, NULL,
		    "check the drill (--random: print it) and leave", 0, 0,
		    NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-failsim", "run", "[DRILL]",
	    "Do to a cluster what DRILL says, and tell what became of its "
	    "streams.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at < 0)
		return -1;
	if (argc - at != !r->random)
		return err_set(err, ERR_USAGE, r->random ?
		    "a DRILL and --random exclude each other" :
		    "one DRILL is needed");
	r->drill_arg = argv[at];
	return 0;
}

static int
find_dir(struct run *r, struct err *err)
{
	const char *dir = r->dir_arg != NULL ? r->dir_arg : "moe-run";

	return realpath(dir, r->dir) != NULL ? 0 : err_set(err, ERR_USAGE,
	    "%s: no such directory", dir);
}

/* The drill, from its file or from the seed. */
static int
get_drill(struct run *r, struct err *err)
{
	struct str text = STR_INIT;
	struct fs_procs all;
	size_t i;
	int rc;

	if (!r->random) {
		rc = fs_drill_read(&r->d, r->drill_arg, err);
	} else {
		if (find_dir(r, err) != 0 ||
		    fs_procs_read(&all, r->dir, err) != 0)
			return -1;
		fs_random_text(&text, r->seed_arg >= 0 ?
		    (uint64_t)r->seed_arg : 0, r->for_ns, &all);
		fs_procs_free(&all);
		rc = fs_drill_parse(&r->d, str_c(&text), text.n, "random",
		    err);
		if (r->dry_run && rc == 0)
			fputs(str_c(&text), stdout);
		str_free(&text);
	}
	for (i = 0; rc == 0 && r->count > 0 && i < r->d->n_step; i++)
		if (r->d->step[i].every.lo_ns > 0 &&
		    r->d->step[i].until_ns == 0)
			r->d->step[i].count = (int)r->count;
	return rc;
}

/* ---- the run --------------------------------------------------------------- */

/* moe-route(1) is where this program is. */
static void
find_route(struct run *r)
{
	ssize_t n = readlink("/proc/self/exe", r->route,
	    sizeof(r->route) - sizeof("moe-route"));
	char *slash;

	r->route[n > 0 ? n : 0] = '\0';
	slash = strrchr(r->route, '/');
	strcpy(slash != NULL ? slash + 1 : r->route, "moe-route");
}

/* A cluster that answers may be without an expert for a moment (503). */
static int
wait_whole(struct run *r, struct err *err)
{
	const struct timespec nap = { 0, 50000000 };
	uint64_t end = clock_ns() + WHOLE_NS;
	struct str s = STR_INIT;
	int rc;

	for (;;) {
		*err = (struct err)ERR_INIT;
		rc = oai_call(r->load.c, "/health", NULL, WHOLE_NS, &s, err);
		str_free(&s);
		if (rc == 0)
			return 0;
		if (err->code != ERR_DATA || clock_ns() >= end)
			break;
		nanosleep(&nap, NULL);
	}
	err->code = ERR_TEMP;
	return -1;
}

static int
open_cluster(struct run *r, struct err *err)
{
	char *url;
	int rc;

	if (find_dir(r, err) != 0)
		return -1;
	url = r->url_arg != NULL ? mem_strdup(r->url_arg) :
	    fs_procs_env(r->dir, "MOE_URL", err);
	if (url == NULL)
		return -1;
	rc = oai_open(&r->load.c, url, r->key, err);
	mem_free(url);
	if (rc != 0)
		return -1;
	if (wait_whole(r, err) != 0)
		return -1;
	r->load.model = oai_model(r->load.c, err);
	return r->load.model != NULL ? 0 : -1;
}

static void
begin(struct run *r)
{
	char detail[240];

	r->load.start_ns = r->load.heard_ns = clock_ns();
	r->tokens_ns = r->memory_ns = r->load.start_ns;
	hist_clear(&r->load.pace);
	r->load.pace_ns = r->load.start_ns;
	r->load.pace_step = false;
	snprintf(detail, sizeof(detail), "streams=%d requests=%d tokens=%d "
	    "seed=%llu itl_p50_us=%llu itl_p99_us=%llu", r->d->streams,
	    r->d->requests, r->d->tokens, (unsigned long long)r->load.seed,
	    (unsigned long long)(hist_quantile(&r->load.itl, 0.5) / 1000),
	    (unsigned long long)(hist_quantile(&r->load.itl, 0.99) / 1000));
	fs_load_event(&r->load, "drill", "begin", r->d->path, detail);
	r->steps.d = r->d;
	r->steps.load = &r->load;
	r->steps.dir = r->dir;
	r->steps.route = r->route;
	r->steps.rng = (struct rng){ rng_at(r->load.seed, 1, 0), 0 };
	fs_steps_init(&r->steps);
}

static void
tell_tokens(struct run *r, bool now)
{
	char detail[80];

	if (!now && clock_left(r->tokens_ns) > 0)
		return;
	r->tokens_ns = clock_ns() + TOKENS_NS;
	snprintf(detail, sizeof(detail), "n=%llu flying=%d",
	    (unsigned long long)r->load.n_tok, r->load.flying);
	fs_load_event(&r->load, "drill", "tokens", NULL, detail);
}

static void
tell_memory(struct run *r)
{
	struct err err = ERR_INIT;
	struct fs_procs all;
	char detail[80];
	size_t i;

	if (clock_left(r->memory_ns) > 0)
		return;
	r->memory_ns = clock_ns() + MEMORY_NS;
	if (fs_procs_read(&all, r->dir, &err) != 0)
		return;
	for (i = 0; i < all.n; i++) {
		if (!all.p[i].alive)
			continue;
		snprintf(detail, sizeof(detail), "pid=%d rss_kb=%ld",
		    (int)all.p[i].pid, fs_procs_rss_kb(all.p[i].pid));
		fs_load_event(&r->load, all.p[i].id, "memory", all.p[i].role,
		    detail);
	}
	fs_procs_free(&all);
}

/* What the daemons noted since the run began, on its clock. */
static void
tell_daemons(struct run *r)
{
	int64_t start_us = (int64_t)(r->load.start_ns / 1000);
	char *path = mem_printf("%s/log/events", r->dir);
	FILE *fp = fopen(path, "re");
	struct err err = ERR_INIT;
	struct rec_in in;
	struct event e;
	int rc = 0;

	if (fp != NULL) {
		event_in_open(&in, fp, path);
		while ((rc = event_next(&in, &e, &err)) == 1) {
			e.t_us -= start_us;
			if (e.t_us >= 0 && event_put(&r->out, &e, &err) != 0)
				break;
		}
		rec_in_close(&in);
		fclose(fp);
	}
	if (rc < 0 && r->load.err.code == 0)
		r->load.err = err;
	mem_free(path);
}

static void
end(struct run *r)
{
	struct fs_load *l = &r->load;
	char detail[300];

	tell_tokens(r, true);
	tell_daemons(r);
	snprintf(detail, sizeof(detail), "started=%llu done=%llu lost=%llu "
	    "wrong=%llu refused=%llu touched=%llu tokens=%llu planned=%llu "
	    "executed=%llu missed=%llu", (unsigned long long)l->n_started,
	    (unsigned long long)l->n_done, (unsigned long long)l->n_lost,
	    (unsigned long long)l->n_wrong, (unsigned long long)l->n_refused,
	    (unsigned long long)l->n_touched, (unsigned long long)l->n_tok,
	    (unsigned long long)r->steps.n_planned,
	    (unsigned long long)r->steps.n_executed,
	    (unsigned long long)r->steps.n_missed);
	fs_load_event(l, "drill", "end", NULL, detail);
	if (r->random && l->n_lost + l->n_wrong > 0)
		fprintf(stderr, "%s: to repeat it: moe-failsim run --random "
		    "-s %llu --for %llums\n", PROG,
		    (unsigned long long)l->seed,
		    (unsigned long long)(r->for_ns / 1000000));
}

/* No token for as long as a stream may take: the cluster is gone for good, and
 * what is left of the drill cannot happen. */
static bool
gave_up(struct run *r)
{
	if (r->d->limit_ns == 0 ||
	    clock_left(r->load.heard_ns + r->d->limit_ns) != 0)
		return false;
	fs_steps_give_up(&r->steps, "no tokens any more");
	return true;
}

static void
go(struct run *r)
{
	uint64_t all = (uint64_t)r->d->requests, settled_ns = UINT64_MAX;
	bool closed = false, gone = false;

	while (r->load.err.code == 0 && (!closed || r->load.flying > 0)) {
		gone = gone || gave_up(r);
		if (!fs_steps_tend(&r->steps))
			settled_ns = UINT64_MAX;
		else if (settled_ns == UINT64_MAX)
			settled_ns = clock_ns() + r->d->settle_ns;
		if (!closed && ((r->load.n_started >= all &&
		    clock_left(settled_ns) == 0) || gone)) {
			closed = true;
			fs_load_pace(&r->load, true);
			tell_tokens(r, true);
			fs_load_event(&r->load, "drill", "closing", NULL, NULL);
		}
		if (!closed)
			fs_load_fill(&r->load);
		tell_tokens(r, false);
		tell_memory(r);
		fs_load_pace(&r->load, false);
		oai_poll(r->load.c, POLL_NS, -1);
	}
}

static int
drill(struct run *r, struct err *err)
{
	r->load.d = r->d;
	r->load.out = &r->out;
	r->load.start_ns = clock_ns();
	r->load.seed = r->seed_arg >= 0 ? (uint64_t)r->seed_arg : r->d->seed;
	find_route(r);
	if (open_cluster(r, err) != 0 ||
	    fs_load_reference(&r->load, err) != 0)
		return -1;
	begin(r);
	go(r);
	end(r);
	if (r->load.err.code != 0)
		*err = r->load.err;
	return r->load.err.code == 0 ? 0 : -1;
}

int
fs_run_main(int argc, char **argv)
{
	struct run r = { .seed_arg = -1, .for_ns = 60000000000ull };
	struct err err = ERR_INIT;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (parse(&r, argc, argv, &err) != 0 || get_drill(&r, &err) != 0)
		return cli_fail(PROG, &err);
	if (r.dry_run) {
		if (!r.random)
			printf("%s: %zu steps, ok\n", r.d->path, r.d->n_step);
		fs_drill_free(r.d);
		return fflush(stdout) == 0 ? 0 : ERR_TEMP;
	}
	hist_clear(&r.load.itl);
	hist_clear(&r.load.pace);
	event_out_open(&r.out, stdout, r.json);
	rc = drill(&r, &err);
	rec_out_close(&r.out);
	r.load.d = r.d;
	fs_load_free(&r.load);
	fs_steps_free(&r.steps);
	fs_drill_free(r.d);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
