/*
 * fs_run - `moe-failsim run`: a drill against a cluster under load.
 *
 * First every request runs undisturbed, which gives the tokens to compare
 * with.  Then the same requests run over and over while the steps happen; when
 * the last step is done and undone, and every request ran once, no new ones are
 * started and the run ends with the last stream.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "event.h"
#include "fs.h"
#include "fs_drill.h"
#include "fs_load.h"
#include "fs_procs.h"
#include "num.h"
#include "rng.h"

#define PROG	"moe-failsim run"
#define POLL_NS	5000000u	/* how late a step may be */

struct undo {			/* what is to be undone, and when */
	uint64_t at_ns;
	const struct fs_step *step;
	char id[48];
};

struct run {
	const char *dir_arg, *url_arg, *key;
	int64_t seed_arg;	/* -1: the drill's */
	bool json, dry_run;
	char dir[PATH_MAX];
	struct fs_drill *d;
	struct fs_load load;
	struct rec_out out;
	struct rng rng;
	int *left;		/* [n_step] times still to be done */
	uint64_t *next_ns;	/* [n_step] */
	VEC(struct undo) undo;
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
		{ 0, "key", CLI_STR, &r->key, "KEY", "API key", 0, 0,
		    "MOE_API_KEY" },
		{ 'j', "json", CLI_FLAG, &r->json, NULL, "NDJSON", 0, 0, NULL },
		{ 'n', "dry-run", CLI_FLAG, &r->dry_run, NULL,
		    "check the drill and leave", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-failsim", "run", "DRILL",
	    "Do to a cluster what DRILL says, and tell what became of its "
	    "streams.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at < 0)
		return -1;
	if (argc - at != 1)
		return err_set(err, ERR_USAGE, "one DRILL is needed");
	return fs_drill_read(&r->d, argv[at], err);
}

/* ---- steps ------------------------------------------------------------------- */

static bool
matches(const struct fs_step *s, const struct fs_proc *p)
{
	const char *role = strcmp(s->who, "expert") == 0 ? "expertd" :
	    strcmp(s->who, "route") == 0 ? "route" : NULL;

	if (strcmp(s->who, p->id) == 0)
		return true;
	if (strcmp(s->who, "front") == 0)
		return strcmp(p->role, "attnd") == 0;
	return role != NULL && strcmp(p->role, role) == 0;
}

/* One of the members that the step is about and that it can be done to. */
static const struct fs_proc *
choose(struct run *r, const struct fs_step *s, const struct fs_procs *all)
{
	bool want_stopped = s->action == FS_CONT;
	size_t n = 0, i, pick;

	for (i = 0; i < all->n; i++)
		n += matches(s, &all->p[i]) && all->p[i].alive &&
		    all->p[i].stopped == want_stopped;
	if (n == 0)
		return NULL;
	pick = (size_t)rng_below(&r->rng, n);
	for (i = 0; ; i++)
		if (matches(s, &all->p[i]) && all->p[i].alive &&
		    all->p[i].stopped == want_stopped && pick-- == 0)
			return &all->p[i];
}

static void
act(struct run *r, const struct fs_step *s)
{
	static const int signo[] = { [FS_KILL] = SIGKILL, [FS_STOP] = SIGSTOP,
	    [FS_CONT] = SIGCONT, [FS_TERM] = SIGTERM };
	const char *name = fs_drill_action_name(s->action);
	const struct fs_proc *p = NULL;
	struct err err = ERR_INIT;
	struct fs_procs all;
	struct undo u = { 0, s, "" };
	char line[32], pid[32];

	snprintf(line, sizeof(line), "line %d", s->line);
	if (fs_procs_read(&all, r->dir, &err) == 0)
		p = choose(r, s, &all);
	else
		all.n = 0;
	if (p == NULL || kill(p->pid, signo[s->action]) != 0) {
		fs_load_event(&r->load, s->who, "missed", line, name);
	} else {
		snprintf(pid, sizeof(pid), "pid=%d", (int)p->pid);
		fs_load_event(&r->load, p->id, name, line, pid);
		snprintf(u.id, sizeof(u.id), "%s", p->id);
		u.at_ns = clock_ns() + s->undo_ns;
		if (s->undo)
			VEC_PUSH(&r->undo, u);
	}
	fs_procs_free(&all);
}

/* A member that was killed may start again, one that stands may go on.  False:
 * not yet (a TERM drains first). */
static bool
undo(struct run *r, const struct undo *u)
{
	bool stop = u->step->action == FS_STOP;
	struct err err = ERR_INIT;
	struct fs_procs all;
	size_t i;
	int rc;

	if (fs_procs_read(&all, r->dir, &err) != 0) {
		fs_load_event(&r->load, u->id, "missed", "undo", err.text);
		return true;
	}
	for (i = 0; i < all.n && strcmp(all.p[i].id, u->id) != 0; i++)
		;
	if (!stop && i < all.n && all.p[i].alive) {
		fs_procs_free(&all);
		return false;
	}
	if (stop)
		rc = i < all.n && all.p[i].alive &&
		    kill(all.p[i].pid, SIGCONT) == 0 ? 0 : err_set(&err,
		    ERR_TEMP, "has gone");
	else
		rc = fs_procs_start(r->dir, u->id, &err);
	fs_load_event(&r->load, u->id, rc != 0 ? "missed" : stop ? "cont" :
	    "restart", "undo", rc != 0 ? err.text : NULL);
	fs_procs_free(&all);
	return true;
}

static bool
is_due(const struct run *r, size_t i, uint64_t now_ns)
{
	const struct fs_step *s = &r->d->step[i];

	if (r->left[i] == 0)
		return false;
	if (s->after_tok != 0)
		return r->load.n_tok >= s->after_tok;
	return now_ns >= r->next_ns[i];
}

/* Do what is due.  True: nothing is left to be done or undone. */
static bool
tend_steps(struct run *r)
{
	uint64_t now = clock_ns();
	bool done = true;
	size_t i;

	for (i = 0; i < r->undo.n; ) {
		if (now < r->undo.p[i].at_ns || !undo(r, &r->undo.p[i]))
			i++;
		else
			r->undo.p[i] = r->undo.p[--r->undo.n];
	}
	for (i = 0; i < r->d->n_step; i++) {
		if (is_due(r, i, now)) {
			act(r, &r->d->step[i]);
			r->left[i]--;
			r->next_ns[i] += r->d->step[i].every_ns;
		}
		done = done && r->left[i] == 0;
	}
	return done && r->undo.n == 0;
}

/* No token for as long as a stream may take: the cluster is gone for good, and
 * what is left of the drill cannot happen. */
static bool
gave_up(struct run *r)
{
	char line[32];
	size_t i;

	if (r->d->limit_ns == 0 ||
	    clock_left(r->load.heard_ns + r->d->limit_ns) != 0)
		return false;
	for (i = 0; i < r->d->n_step; i++) {
		snprintf(line, sizeof(line), "line %d", r->d->step[i].line);
		if (r->left[i] > 0)
			fs_load_event(&r->load, r->d->step[i].who, "missed",
			    line, "no tokens any more");
		r->left[i] = 0;
	}
	return true;
}

/* ---- the run --------------------------------------------------------------- */

static int
open_cluster(struct run *r, struct err *err)
{
	const char *dir = r->dir_arg != NULL ? r->dir_arg : "moe-run";
	struct str s = STR_INIT;
	char *url;
	int rc;

	if (realpath(dir, r->dir) == NULL)
		return err_set(err, ERR_USAGE, "%s: no such directory", dir);
	url = r->url_arg != NULL ? mem_strdup(r->url_arg) :
	    fs_procs_env(r->dir, "MOE_URL", err);
	if (url == NULL)
		return -1;
	rc = oai_open(&r->load.c, url, r->key, err);
	mem_free(url);
	if (rc != 0)
		return -1;
	rc = oai_call(r->load.c, "/health", NULL, 10000000000ull, &s, err);
	str_free(&s);
	if (rc != 0) {
		err->code = ERR_TEMP;	/* 503: not now */
		return -1;
	}
	r->load.model = oai_model(r->load.c, err);
	return r->load.model != NULL ? 0 : -1;
}

static void
begin(struct run *r)
{
	char detail[120];
	size_t i;

	r->load.start_ns = r->load.heard_ns = clock_ns();
	r->left = mem_calloc(r->d->n_step, sizeof(*r->left));
	r->next_ns = mem_calloc(r->d->n_step, sizeof(*r->next_ns));
	for (i = 0; i < r->d->n_step; i++) {
		r->left[i] = r->d->step[i].count;
		r->next_ns[i] = r->load.start_ns + r->d->step[i].at_ns +
		    r->d->step[i].every_ns;
	}
	snprintf(detail, sizeof(detail), "streams=%d requests=%d tokens=%d "
	    "seed=%llu", r->d->streams, r->d->requests, r->d->tokens,
	    (unsigned long long)r->load.seed);
	fs_load_event(&r->load, "drill", "begin", r->d->path, detail);
}

static int
drill(struct run *r, struct err *err)
{
	uint64_t all = (uint64_t)r->d->requests;
	bool done = false;
	char detail[120];

	r->load.d = r->d;
	r->load.out = &r->out;
	r->load.start_ns = clock_ns();
	r->load.seed = r->seed_arg >= 0 ? (uint64_t)r->seed_arg : r->d->seed;
	r->rng = (struct rng){ rng_at(r->load.seed, 1, 0), 0 };
	if (open_cluster(r, err) != 0 ||
	    fs_load_reference(&r->load, err) != 0)
		return -1;
	begin(r);
	while (r->load.err.code == 0 && (!done || r->load.flying > 0)) {
		done = (tend_steps(r) && r->load.n_started >= all) ||
		    gave_up(r);
		if (!done)
			fs_load_fill(&r->load);
		oai_poll(r->load.c, POLL_NS, -1);
	}
	snprintf(detail, sizeof(detail), "done=%llu lost=%llu wrong=%llu "
	    "tokens=%llu", (unsigned long long)r->load.n_done,
	    (unsigned long long)r->load.n_lost,
	    (unsigned long long)r->load.n_wrong,
	    (unsigned long long)r->load.n_tok);
	fs_load_event(&r->load, "drill", "end", NULL, detail);
	if (r->load.err.code != 0)
		*err = r->load.err;
	return r->load.err.code == 0 ? 0 : -1;
}

int
fs_run_main(int argc, char **argv)
{
	struct run r = { .seed_arg = -1 };
	struct err err = ERR_INIT;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);	/* members that we start end unseen */
	if (parse(&r, argc, argv, &err) != 0)
		return cli_fail(PROG, &err);
	if (r.dry_run) {
		printf("%s: %zu steps, ok\n", r.d->path, r.d->n_step);
		fs_drill_free(r.d);
		return fflush(stdout) == 0 ? 0 : ERR_TEMP;
	}
	event_out_open(&r.out, stdout, r.json);
	rc = drill(&r, &err);
	rec_out_close(&r.out);
	r.load.d = r.d;
	fs_load_free(&r.load);
	VEC_FREE(&r.undo);
	mem_free(r.left);
	mem_free(r.next_ns);
	fs_drill_free(r.d);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
