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
#include "model.h"
#include "rt.h"
#include "rt_core.h"
#include "sandbox.h"

#define PROG	"moe-route"

enum { ORDER_STOP = 1, ORDER_RELOAD = 2 };

struct serve {
	struct rt_core_opt o;
	const char *listen;
	struct link_sec_opt sec;
	int tls;
	bool no_sandbox;
	int64_t ready_fd, scale;
	bool quiet, dry_run;
	int verbose;
	struct loop *loop;
	struct life *life;
	struct link_port *port;
	char bound[LINK_ADDR];
	char *own_name, *own_addr;	/* the cluster may be read anew */
	pthread_t thread;
	atomic_uint order;	/* main -> port thread */
	struct rt_core core;	/* the port thread's */
};

static int
parse(struct serve *s, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'f', "cluster", CLI_STR, &s->o.file, "CLUSTER",
		    "cluster file", 0, 0, "MOE_CLUSTER" },
		{ 'i', "name", CLI_STR, &s->o.name, "NAME",
		    "name in the cluster (default: its first route)", 0, 0,
		    NULL },
		{ 'l', "listen", CLI_STR, &s->listen, "ADDR",
		    "listen here instead of at the file's address", 0, 0,
		    NULL },
		{ 'm', "model", CLI_STR, &s->o.model, "DIR",
		    "checkpoint, for its numbers (default: the file's)", 0, 0,
		    NULL },
		{ 0, "snapshot", CLI_STR, &s->o.snapshot, "FILE",
		    "keep the map here over restarts", 0, 0, NULL },
		{ 0, "grace", CLI_DUR, &s->o.grace_ns, "DUR",
		    "a server away for longer loses its experts; 0: never "
		    "(default 10s)", 0, 0, NULL },
		{ 0, "settle", CLI_DUR, &s->o.settle_ns, "DUR",
		    "listen to members first, at most this long (default 3s)",
		    0, 0, NULL },
		{ 0, "emu-scale", CLI_INT, &s->scale, "N",
		    "a cluster of emulated devices: clocks N times slower", 1,
		    CLOCK_MAX_DILATION, "MOE_EMU_SCALE" },
		LINK_SEC_OPTIONS(&s->sec, "peers and we",
		    "links beyond this machine without a key"),
		SANDBOX_OPTION(&s->no_sandbox),
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
	if (at >= 0 && s->o.file == NULL)
		return err_set(err, ERR_USAGE, "-f CLUSTER is needed");
	return at < 0 ? -1 : 0;
}

/* ---- the port thread --------------------------------------------------------- */

static void *
port_thread(void *arg)
{
	struct serve *s = arg;
	struct link_event ev;
	uint64_t next;
	unsigned order;

	for (;;) {
		while (link_next(s->port, &ev))
			rt_core_event(&s->core, &ev);
		order = atomic_exchange(&s->order, 0);
		if (order & ORDER_STOP)
			return NULL;
		if (order & ORDER_RELOAD)
			rt_core_reload(&s->core);
		next = rt_core_tend(&s->core, clock_ns());
		link_wait(s->port, next);
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

	if (rt_core_open(&s->core, &s->o, err) != 0)
		return -1;
	r = cluster_find(s->core.cluster, CLUSTER_ROUTE, s->o.name);
	if (r == NULL && (s->listen == NULL || s->o.name == NULL))
		return err_set(err, ERR_DATA, "%s: no line 'route %s ADDR' "
		    "(or give -l ADDR -i NAME)", s->o.file,
		    s->o.name != NULL ? s->o.name : "NAME");
	s->own_name = mem_strdup(s->o.name != NULL ? s->o.name : r->name);
	s->own_addr = mem_strdup(s->listen != NULL ? s->listen : r->addr);
	rt_reg_self(&s->core.reg, s->own_name, getpid());
	return link_addr_check(s->own_addr, err);
}

/* Servers of another checkpoint are refused by HELLO, with both values.  Where
 * only the model's numbers are at hand, front ends do that. */
static void
know_model(const struct serve *s, struct link_hello *me)
{
	const char *dir = s->o.model != NULL ? s->o.model :
	    s->core.cluster->model;
	struct model *m = NULL;
	struct err err = ERR_INIT;

	if (dir == NULL)
		return;
	if (model_open(&m, dir, &err) != 0 ||
	    model_fingerprint(m, &me->fingerprint, &err) != 0) {
		me->fingerprint = 0;
		log_warn("%s: fingerprints of servers are not checked",
		    err.text);
	}
	model_close(m);
}

static int
open_port(struct serve *s, struct err *err)
{
	/* No row waits for a router: it need not know of a hang at once, and an
	 * idle cluster sleeps. */
	struct link_opt lo = { .max_pair = 8192, .heartbeat_ns = 1000000000 };

	if (link_sec_load(&lo.sec, s->sec.psk_file != NULL ?
	    s->sec.psk_file : s->core.cluster->psk_file, s->sec.tls,
	    s->sec.insecure, err) != 0)
		return -1;
	if (s->sec.insecure && link_sec_bare(&lo.sec, s->own_addr))
		log_warn(LINK_SEC_BARE, s->own_addr);
	lo.me.role = LINK_ROUTE;
	lo.me.mixed = true;
	snprintf(lo.me.name, sizeof(lo.me.name), "%s", s->own_name);
	lo.me.incarnation = s->core.me;
	know_model(s, &lo.me);
	if (link_port_open(&s->port, &lo, err) != 0)
		return -1;
	s->core.port = s->port;
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

static void
shut_in(const struct serve *s)
{
	struct err err = ERR_INIT;

	sandbox_descriptors();
	if (!s->no_sandbox && sandbox_enter(&err) != 0)
		log_warn("%s", err.text);
}

static int
serve(struct serve *s, struct err *err)
{
	struct life_opt lo = { .ready_fd = (int)s->ready_fd,
	    .reload = on_reload, .arg = s };
	const struct map *map;
	int rc;

	if (loop_open(&s->loop, err) != 0)
		return -1;
	lo.loop = s->loop;
	if (life_start(&s->life, &lo, err) != 0 || open_port(s, err) != 0)
		return -1;
	if ((map = rt_turn_now(&s->core.turn)) != NULL)
		log_info("%s: map version %u over %d servers", s->bound,
		    map_version(map), map_n_server(map));
	else
		log_warn("%s: no model line in %s: no map", s->bound,
		    s->o.file);
	/* From here on, registry and map are the port thread's. */
	if (start_thread(s, err) != 0)
		return -1;
	shut_in(s);
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
	rt_core_close(&s->core);
	mem_free(s->own_name);
	mem_free(s->own_addr);
}

int
rt_serve_main(int argc, char **argv)
{
	struct serve s = { .ready_fd = -1, .scale = 1, .o = { .grace_ns = 10000000000u,
	    .settle_ns = 3000000000u } };
	struct err err = ERR_INIT;
	int rc;

	if (parse(&s, argc, argv, &err) != 0)
		return cli_fail(PROG " serve", &err);
	clock_dilate((int)s.scale);
	log_init(PROG, s.o.name, s.quiet ? LOG_ERROR :
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
