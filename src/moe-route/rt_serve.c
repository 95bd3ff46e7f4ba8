/*
 * rt_serve - `moe-route serve`: registry, health and the map of a cluster.
 *
 * Threads: the main thread runs the daemon's life (signals, readiness); the
 * port thread has the port, the registry and the map.  Nothing on the data path
 * waits for a router: it may be killed and started again at any time.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "life.h"
#include "link.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "rng.h"
#include "rt.h"
#include "rt_map.h"
#include "rt_reg.h"

#define PROG	"moe-route"

enum { ORDER_STOP = 1, ORDER_RELOAD = 2 };

struct serve {
	const char *file, *name, *listen, *model, *snapshot;
	int64_t ready_fd;
	bool quiet, dry_run;
	int verbose;
	struct cluster *cluster;
	struct loop *loop;
	struct life *life;
	struct link_port *port;
	char bound[LINK_ADDR];
	char *own_name, *own_addr;	/* the cluster may be read anew */
	pthread_t thread;
	atomic_uint order;	/* main -> port thread */
	/* the port thread's */
	struct rt_reg reg;
	struct rt_map map;
};

static int
parse(struct serve *s, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'f', "cluster", CLI_STR, &s->file, "CLUSTER",
		    "cluster file", 0, 0, "MOE_CLUSTER" },
		{ 'i', "name", CLI_STR, &s->name, "NAME",
		    "name in the cluster (default: its first route)", 0, 0,
		    NULL },
		{ 'l', "listen", CLI_STR, &s->listen, "ADDR",
		    "listen here instead of at the file's address", 0, 0,
		    NULL },
		{ 'm', "model", CLI_STR, &s->model, "DIR",
		    "checkpoint, for its numbers (default: the file's)", 0, 0,
		    NULL },
		{ 0, "snapshot", CLI_STR, &s->snapshot, "FILE",
		    "keep the map here over restarts", 0, 0, NULL },
		{ 0, "ready-fd", CLI_INT, &s->ready_fd, "N",
		    "write a newline to descriptor N when ready", 0, 1 << 20,
		    NULL },
		{ 'n', "dry-run", CLI_FLAG, &s->dry_run, NULL,
		    "check everything, open no port", 0, 0, NULL },
		{ 'q', "quiet", CLI_FLAG, &s->quiet, NULL, "errors only", 0, 0,
		    NULL },
		{ 'v', "verbose", CLI_COUNT, &s->verbose, NULL, "say more", 0,
		    0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { PROG, "serve", "",
	    "Keep the registry, the health and the map of a cluster.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (at >= 0 && s->file == NULL)
		return err_set(err, ERR_USAGE, "-f CLUSTER is needed");
	return at < 0 ? -1 : 0;
}

/* ---- the port thread --------------------------------------------------------- */

static void
send_map(struct serve *s, struct link_pair *pair)
{
	if (s->map.map != NULL)
		(void)link_msg(pair, LINK_MSG_MAP, str_c(&s->map.text),
		    s->map.text.n);
}

/* To experts and front ends; tools ask. */
static void
send_map_to_all(struct serve *s)
{
	size_t i;

	for (i = 0; i < s->reg.n; i++)
		if (s->reg.m[i].who != NULL)
			send_map(s, (struct link_pair *)(uintptr_t)
			    s->reg.m[i].who);
}

static void
answer(struct serve *s, const struct link_event *ev)
{
	json_t *ask = json_loadb(ev->data, ev->n, 0, NULL), *o;
	const char *what = json_string_value(json_object_get(ask, "ask"));
	char *text;

	if (what != NULL && strcmp(what, "status") == 0)
		o = json_pack("{s:I, s:o}", "map", s->map.map == NULL ? 0 :
		    (json_int_t)map_version(s->map.map), "members",
		    rt_reg_json(&s->reg, clock_ns()));
	else
		o = json_pack("{s:s}", "error", "asked for nothing known "
		    "(status)");
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	json_decref(ask);
	if (text != NULL)
		(void)link_msg(ev->pair, LINK_MSG_REPLY, text, strlen(text));
	free(text);
}

static void
on_msg(struct serve *s, const struct link_event *ev)
{
	struct rt_member *m = rt_reg_of(&s->reg, ev->pair);
	struct err err = ERR_INIT;

	if (ev->type == LINK_MSG_ASK)
		answer(s, ev);
	else if (ev->type == LINK_MSG_REPORT && m != NULL &&
	    rt_reg_report(m, ev->data, ev->n, clock_ns(), &err) != 0)
		log_warn("%s", err.text);
}

static void
on_event(struct serve *s, const struct link_event *ev)
{
	struct rt_member *m;

	switch (ev->what) {
	case LINK_UP:
		m = rt_reg_up(&s->reg, link_peer(ev->pair), ev->pair,
		    clock_ns());
		if (m == NULL)
			break;
		log_info("%s %s is up", rt_reg_role(m->role), m->name);
		send_map(s, ev->pair);
		break;
	case LINK_DOWN:
		m = rt_reg_of(&s->reg, ev->pair);
		if (m != NULL)
			log_info("%s %s is down: %s", rt_reg_role(m->role),
			    m->name, ev->reason);
		rt_reg_down(&s->reg, ev->pair);
		break;
	case LINK_MSG:
		on_msg(s, ev);
		break;
	case LINK_REQ:
	case LINK_ANS:
	case LINK_NONE:
		break;		/* pairs without rings have none */
	}
}

/* The snapshot is for the next start: without it this one goes on. */
static void
save(struct serve *s)
{
	struct err err = ERR_INIT;

	if (s->snapshot != NULL && s->map.map != NULL &&
	    rt_map_save(&s->map, s->snapshot, &err) != 0)
		log_warn("snapshot: %s", err.text);
}

static void
reload(struct serve *s)
{
	struct cluster *c = NULL;
	struct err err = ERR_INIT;
	bool changed = false;

	if (cluster_read(&c, s->file, &err) != 0 ||
	    rt_map_make(&s->map, c, s->model, &changed, &err) != 0) {
		log_error("%s; going on as before", err.text);
		cluster_free(c);
		return;
	}
	cluster_free(s->cluster);
	s->cluster = c;
	rt_reg_file(&s->reg, c);
	log_info("%s: %s", s->file, changed ? "a new map" : "the same map");
	if (!changed)
		return;
	save(s);
	send_map_to_all(s);
}

static void *
port_thread(void *arg)
{
	struct serve *s = arg;
	struct link_event ev;
	unsigned order;

	for (;;) {
		while (link_next(s->port, &ev))
			on_event(s, &ev);
		order = atomic_exchange(&s->order, 0);
		if (order & ORDER_STOP)
			return NULL;
		if (order & ORDER_RELOAD)
			reload(s);
		link_wait(s->port, UINT64_MAX);
	}
}

/* ---- the main thread ----------------------------------------------------------- */

static void
on_reload(void *arg)
{
	struct serve *s = arg;

	atomic_fetch_or(&s->order, ORDER_RELOAD);
	link_wake(s->port);
}

static int
open_state(struct serve *s, struct err *err)
{
	const struct cluster_member *r;
	bool changed;

	if (cluster_read(&s->cluster, s->file, err) != 0)
		return -1;
	r = cluster_find(s->cluster, CLUSTER_ROUTE, s->name);
	if (r == NULL && (s->listen == NULL || s->name == NULL))
		return err_set(err, ERR_DATA, "%s: no line 'route %s ADDR' "
		    "(or give -l ADDR -i NAME)", s->file,
		    s->name != NULL ? s->name : "NAME");
	s->own_name = mem_strdup(s->name != NULL ? s->name : r->name);
	s->own_addr = mem_strdup(s->listen != NULL ? s->listen : r->addr);
	rt_reg_file(&s->reg, s->cluster);
	rt_reg_self(&s->reg, s->own_name, getpid());
	if (link_addr_check(s->own_addr, err) != 0 || (s->snapshot != NULL &&
	    rt_map_load(&s->map, s->snapshot, err) != 0) ||
	    rt_map_make(&s->map, s->cluster, s->model, &changed, err) != 0)
		return -1;
	return 0;
}

static int
open_port(struct serve *s, struct err *err)
{
	/* No row waits for a router: it need not know of a hang at once, and an
	 * idle cluster sleeps. */
	struct link_opt lo = { .max_pair = 8192, .heartbeat_ns = 1000000000 };

	lo.me.role = LINK_ROUTE;
	lo.me.mixed = true;
	snprintf(lo.me.name, sizeof(lo.me.name), "%s", s->own_name);
	lo.me.incarnation = rng_at(clock_ns(), (uint64_t)getpid(), 0);
	if (link_port_open(&s->port, &lo, err) != 0)
		return -1;
	return link_listen(s->port, s->own_addr, s->bound, err);
}

static int
start_thread(struct serve *s, struct err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, port_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0 ? 0 : err_sys(err, ERR_TEMP, rc, "port thread");
}

static int
serve(struct serve *s, struct err *err)
{
	struct life_opt lo = { .ready_fd = (int)s->ready_fd,
	    .reload = on_reload, .arg = s };
	int rc;

	if (loop_open(&s->loop, err) != 0)
		return -1;
	lo.loop = s->loop;
	if (life_start(&s->life, &lo, err) != 0 || open_port(s, err) != 0)
		return -1;
	save(s);
	if (s->map.map != NULL)
		log_info("%s: map version %u over %d servers", s->bound,
		    map_version(s->map.map), map_n_server(s->map.map));
	else
		log_warn("%s: no model line in %s: no map", s->bound, s->file);
	/* From here on, registry and map are the port thread's. */
	if (start_thread(s, err) != 0)
		return -1;
	rc = life_ready(s->life, err);
	if (rc == 0)
		rc = loop_run(s->loop, err);
	atomic_fetch_or(&s->order, ORDER_STOP);
	link_wake(s->port);
	pthread_join(s->thread, NULL);
	return rc;
}

static void
close_all(struct serve *s)
{
	if (s->port != NULL)
		link_port_close(s->port);
	life_end(s->life);
	loop_close(s->loop);
	rt_map_free(&s->map);
	rt_reg_free(&s->reg);
	cluster_free(s->cluster);
	mem_free(s->own_name);
	mem_free(s->own_addr);
}

int
rt_serve_main(int argc, char **argv)
{
	struct serve s = { .ready_fd = -1 };
	struct err err = ERR_INIT;
	int rc;

	if (parse(&s, argc, argv, &err) != 0)
		return cli_fail(PROG " serve", &err);
	log_init(PROG, s.name, s.quiet ? LOG_ERROR :
	    s.verbose ? LOG_DEBUG : LOG_INFO);
	rc = open_state(&s, &err);
	if (rc == 0 && s.dry_run)
		puts("ok");
	else if (rc == 0)
		rc = serve(&s, &err);
	if (rc != 0)
		log_error("%s", err.text);
	close_all(&s);
	return rc == 0 ? 0 : err.code;
}
