/*
 * front - `moe-route front`: the HTTP door of a cluster with several attention
 * front ends.
 *
 * One thread: the event loop.  The door holds no state that another door could
 * not do without, so several may run side by side.
 */
#include "front.h"

#include <stdio.h>

#include "cli.h"
#include "event_log.h"
#include "front_door.h"
#include "life.h"
#include "log.h"
#include "mem.h"
#include "sandbox.h"

#define PROG	"moe-route front"

struct front {
	const char *file, *addr, *name, *key_file, *event_file;
	bool no_sandbox;
	struct cli_list to;
	int64_t ready_fd, spread;
	uint64_t suspect_ns, suspect_max_ns;
	uint64_t well_ns, away_ns, hang_ns, stall_ns, drain_ns, keep_ns;
	uint64_t keep_bytes;
	bool insecure, dry_run;
	int quiet, verbose;
	struct loop *loop;
	struct life *life;
	struct loop_timer *drain_timer;
	bool cut;		/* the drain was cut short */
	struct front_door door;
};

static int
parse(struct front *f, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'f', "file", CLI_STR, &f->file, "CLUSTER",
		    "cluster file: its front lines", 0, 0, "MOE_CLUSTER" },
		{ 0, "to", CLI_LIST, &f->to, "HOST:PORT",
		    "one more front end; may be repeated", 0, 0, NULL },
		{ 'p', "http", CLI_STR, &f->addr, "HOST:PORT",
		    "address of the door (default 127.0.0.1:8080)", 0, 0,
		    NULL },
		{ 'i', "id", CLI_STR, &f->name, "NAME",
		    "the door's name in log lines", 0, 0, NULL },
		{ 0, "probe", CLI_DUR, &f->well_ns, "DUR",
		    "ask a front end that is well this often (default 500ms)",
		    0, 0, NULL },
		{ 0, "probe-away", CLI_DUR, &f->away_ns, "DUR",
		    "and one that is not (default 100ms)", 0, 0, NULL },
		{ 0, "hang", CLI_DUR, &f->hang_ns, "DUR",
		    "silence after which a front end hangs (default 2s)", 0, 0,
		    NULL },
		{ 0, "suspect", CLI_DUR, &f->suspect_ns, "DUR",
		    "silence after which a second front end is asked, too "
		    "(default 80ms; 0: never)", 0, 0, NULL },
		{ 0, "suspect-max", CLI_DUR, &f->suspect_max_ns, "DUR",
		    "and where answers to probes take long, at most (default "
		    "500ms)", 0, 0, NULL },
		{ 0, "stall-limit", CLI_DUR, &f->stall_ns, "DUR",
		    "longest wait for a front end (default 10s)", 0, 0, NULL },
		{ 0, "spread", CLI_INT, &f->spread, "N",
		    "requests that a prompt's own front end may have more than "
		    "the least loaded (default 4)", 0, 1 << 20, NULL },
		{ 0, "keep", CLI_DUR, &f->keep_ns, "DUR",
		    "remember answers with an Idempotency-Key (default 5m)", 0,
		    0, NULL },
		{ 0, "keep-memory", CLI_SIZE, &f->keep_bytes, "SIZE",
		    "memory for them (default 64M)", 0, 0, NULL },
		{ 0, "api-key-file", CLI_STR, &f->key_file, "FILE",
		    "keys that clients must send, plain or hashed, one a line",
		    0, 0, NULL },
		{ 0, "insecure", CLI_FLAG, &f->insecure, NULL,
		    "serve on a public address without keys of the door's own",
		    0, 0, NULL },
		SANDBOX_OPTION(&f->no_sandbox),
		{ 0, "events", CLI_STR, &f->event_file, "FILE",
		    "append what befalls front ends, as #moe:event/1", 0, 0,
		    NULL },
		{ 0, "ready-fd", CLI_INT, &f->ready_fd, "N",
		    "write a newline to descriptor N when ready", 0, 65535,
		    NULL },
		{ 't', "timeout", CLI_DUR, &f->drain_ns, "DUR",
		    "how long a drain may take (default 30s)", 0, 0, NULL },
		{ 'n', "dry-run", CLI_FLAG, &f->dry_run, NULL,
		    "check options and file, then say ok and leave", 0, 0,
		    NULL },
		{ 'q', "quiet", CLI_COUNT, &f->quiet, NULL, "say less", 0, 0,
		    NULL },
		{ 'v', "verbose", CLI_COUNT, &f->verbose, NULL, "say more", 0,
		    0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "front", "",
	    "Serve the HTTP API over several attention front ends.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (at >= 0 && f->file == NULL && f->to.n == 0)
		return err_set(err, ERR_USAGE, "-f CLUSTER or --to HOST:PORT "
		    "is needed");
	if (at >= 0 && ((f->suspect_ns > 0 && f->suspect_ns < 1000000) ||
	    f->suspect_max_ns < f->suspect_ns / 2))
		return err_set(err, ERR_USAGE, "--suspect must be 0 or from "
		    "1ms on, --suspect-max not below the half of it");
	if (at >= 0 && (f->hang_ns == 0 || f->well_ns == 0 || f->away_ns == 0))
		return err_set(err, ERR_USAGE, "--hang, --probe and "
		    "--probe-away must be above 0");
	return at < 0 ? -1 : 0;
}

/* ---- front ends ------------------------------ */

static int
add_file(struct front *f, struct err *err)
{
	struct cluster *c;
	size_t i;
	int rc = 0;

	if (cluster_read(&c, f->file, err) != 0)
		return -1;
	for (i = 0; i < c->n_member && rc == 0; i++) {
		if (c->member[i].role != CLUSTER_FRONT)
			continue;
		rc = front_up_add(&f->door.pool, c->member[i].name,
		    c->member[i].addr, c->member[i].pages != NULL, err);
		if (rc != 0)
			err_ctx(err, "%s:%d", f->file, c->member[i].line);
	}
	cluster_free(c);
	return rc;
}

static int
add_all(struct front *f, struct err *err)
{
	const struct front_pool_opt o = { f->loop, f->well_ns, f->away_ns,
	    f->hang_ns, f->suspect_ns, f->suspect_max_ns, (int)f->spread,
	    front_door_well, front_door_hung, front_door_suspect, &f->door };
	size_t i;

	front_up_init(&f->door.pool, &o);
	if (f->file != NULL && add_file(f, err) != 0)
		return -1;
	for (i = 0; i < f->to.n; i++)
		if (front_up_add(&f->door.pool, f->to.p[i], f->to.p[i],
		    false, err) != 0)
			return -1;
	if (f->door.pool.n == 0)
		return err_set(err, ERR_DATA, "%s: no line 'front NAME "
		    "HOST:PORT'", f->file);
	return 0;
}

/* ---- life ------------------------------ */

static void
on_drained(void *arg)
{
	struct front *f = arg;

	life_drained(f->life);
}

static void
on_drain(void *arg)
{
	struct front *f = arg;

	log_info("draining: %d requests are left", f->door.n_job +
	    f->door.n_relay);
	loop_timer_in(f->drain_timer, f->drain_ns);
	front_door_drain(&f->door, on_drained, f);
}

static void
on_drain_over(void *arg)
{
	struct front *f = arg;

	f->cut = true;
	loop_stop(f->loop);
}

static void
on_usr1(void *arg)
{
	const struct front *f = arg;
	const struct front_stat *s = &f->door.stat;

	log_info("running %d, requests %llu, resumed %llu, moved %llu, failed "
	    "%llu, front ends well %d of %d", f->door.n_job + f->door.n_relay,
	    (unsigned long long)s->requests, (unsigned long long)s->resumes,
	    (unsigned long long)s->moves, (unsigned long long)s->failed,
	    front_up_n_well(&f->door.pool), f->door.pool.n);
}

static void
on_reload(void *arg)
{
	struct front *f = arg;
	struct err err = ERR_INIT;

	if (f->key_file == NULL)
		log_info("HUP: no key file to read");
	else if (front_door_reload(&f->door, &err) != 0)
		log_error("%s; going on as before", err.text);
	else
		log_info("%s: read anew", f->key_file);
}

static void
shut_in(const struct front *f)
{
	struct err err = ERR_INIT;

	sandbox_descriptors();
	if (!f->no_sandbox && sandbox_enter(&err) != 0)
		log_warn("%s", err.text);
}

static int
serve(struct front *f, struct err *err)
{
	const struct life_opt lo = { f->loop, (int)f->ready_fd, on_drain,
	    on_reload, on_usr1, f };
	const struct front_opt o = { f->loop, f->addr, f->insecure,
	    f->stall_ns, f->hang_ns, f->keep_ns, f->keep_bytes, f->key_file };
	int left;

	f->drain_timer = loop_timer(f->loop, on_drain_over, f);
	if (life_start(&f->life, &lo, err) != 0 ||
	    front_door_start(&f->door, &o, err) != 0)
		return -1;
	shut_in(f);
	log_info("http://%s serves for %d front ends", http_addr(f->door.http),
	    f->door.pool.n);
	if (life_ready(f->life, err) != 0 || loop_run(f->loop, err) != 0)
		return -1;
	left = f->door.n_job + f->door.n_relay;
	if (f->cut || life_hurried(f->life))
		return err_set(err, ERR_TEMP, "left with %d requests "
		    "unfinished", left);
	return 0;
}

static int
run(struct front *f, struct err *err)
{
	int rc = loop_open(&f->loop, err);

	if (rc == 0 && f->event_file != NULL && !f->dry_run)
		rc = event_log_open(f->event_file, f->name != NULL ? f->name :
		    "door", err);
	if (rc == 0)
		rc = add_all(f, err);
	if (rc == 0 && f->dry_run) {
		puts("ok");
		rc = fflush(stdout) == 0 ? 0 : err_set(err, ERR_TEMP,
		    "cannot write to stdout");
	} else if (rc == 0) {
		rc = serve(f, err);
	}
	return rc;
}

int
front_main(int argc, char **argv)
{
	struct front f = { .addr = "127.0.0.1:8080", .ready_fd = -1,
	    .spread = 4, .well_ns = 500000000u, .away_ns = 100000000u,
	    .suspect_ns = 80000000u, .suspect_max_ns = 500000000u,
	    .hang_ns = 2000000000u, .stall_ns = 10000000000u,
	    .drain_ns = 30000000000u, .keep_ns = 300000000000u,
	    .keep_bytes = 64u << 20 };
	struct err err = ERR_INIT;
	int rc, level;

	if (parse(&f, argc, argv, &err) != 0) {
		mem_free(f.to.p);
		return cli_fail(PROG, &err);
	}
	level = LOG_INFO + f.verbose - f.quiet;
	log_init("moe-route", f.name, level < LOG_ERROR ? LOG_ERROR :
	    level > LOG_DEBUG ? LOG_DEBUG : (enum log_level)level);
	rc = run(&f, &err);
	if (rc != 0)
		log_error("%s", err.text);
	front_door_stop(&f.door);
	event_log_close();
	loop_timer_free(f.drain_timer);
	life_end(f.life);
	loop_close(f.loop);
	mem_free(f.to.p);
	return rc == 0 ? 0 : err.code;
}
