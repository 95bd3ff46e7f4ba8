/*
 * moe-expertd - serves some experts of a checkpoint.
 *
 * Here: the order in which things are opened (options, headers of the model,
 * memory bound, port, weights: what can be refused is refused before anybody
 * can see us), and the loop of the daemon's life.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "device.h"
#include "ex.h"
#include "ex_client.h"
#include "ex_opt.h"
#include "ex_place.h"
#include "ex_report.h"
#include "life.h"
#include "log.h"
#include "mem.h"
#include "num.h"
#include "policy.h"
#include "rng.h"
#include "sandbox.h"

#define PROG	"moe-expertd"

/* The most that a client is granted; memory is used as it is touched. */
#define MAX_SLOT_BYTES	(8u << 20)
#define MAX_DEPTH	8
/* Routes that may wait for experts being loaded. */
#define MAX_COLD_ROWS	65536

struct run {			/* the main thread's */
	struct ex ex;
	struct loop *loop;
	struct life *life;
	struct loop_timer *bound;
	pthread_t engine;
};

/* ---- opening ------------------------------------------------------------- */

static int
open_kern(struct ex *ex, struct kern_opt *ko, struct err *err)
{
	struct emu_opt eo = { .scale = (int)ex->opt.scale };
	char why[KERN_WHY];
	int rc;

	if (strncmp(ex->opt.device, "emu:", 4) == 0) {
		if (device_parse(ex->opt.device, &eo, err) != 0)
			return err_ctx(err, "--device");
		rc = emu_open(&ex->kern, &eo, ko, why);
		emu_wire(&eo, kern_dtype_bytes(ko->act,
		    (size_t)ex->cfg->hidden), &ex->wire.latency_ns,
		    &ex->wire.byte_ns);
	} else {
		ko->backend = ex->opt.device;
		rc = kern_open(&ex->kern, ko, why);
	}
	return rc == 0 ? 0 : err_set(err, ERR_UNAVAIL, "%s", why);
}

static int
open_model(struct ex *ex, struct err *err)
{
	struct kern_opt ko = { .isa = ex->opt.isa,
	    .threads = (int)ex->opt.threads };

	if (ex->opt.model == NULL)
		return err_set(err, ERR_USAGE, "%s has no model line, and -m "
		    "DIR is missing", ex->opt.cluster);
	if (model_open(&ex->model, ex->opt.model, err) != 0)
		return -1;
	ex->cfg = model_cfg(ex->model);
	ko.act = model_pick_act(ex->model, (enum model_dtype)ex->opt.dtype);
	ko.weights = model_pick_weights(ko.act,
	    (enum model_weights)ex->opt.weights);
	if (open_kern(ex, &ko, err) != 0)
		return -1;
	ex->row_bytes = kern_dtype_bytes(ko.act, (size_t)ex->cfg->hidden);
	return 0;
}

/* A loader thread has finished something: the engine thread is to look.  The
 * port is opened after residency, but before anything is loaded. */
static void
wake_engine(void *arg)
{
	link_wake(((struct ex *)arg)->port);
}

static void
warn_of_file(void *arg, const char *text)
{
	(void)arg;
	log_warn("%s", text);
}

static int
open_keep(struct ex *ex, struct err *err)
{
	struct keep_opt ko = { .kn = ex->kern, .m = ex->model,
	    .keep_dir = ex->opt.keep, .cache_dir = ex->opt.cache,
	    .warn = warn_of_file };

	if (ko.keep_dir == NULL && ko.cache_dir == NULL)
		return 0;
	if (model_fingerprint(ex->model, &ko.fingerprint, err) != 0)
		return -1;
	return keep_open(&ex->keep, &ko, err);
}

static int
open_experts(struct ex *ex, struct err *err)
{
	const struct resid_opt ro = { .kn = ex->kern, .m = ex->model,
	    .keep = ex->keep,
	    .memory_bytes = ex->opt.memory, .block = (int)ex->opt.block,
	    .wake = wake_engine, .wake_arg = ex };
	struct xeng_opt xo = { .kn = ex->kern, .hidden = ex->cfg->hidden,
	    .inter = ex->cfg->inter, .glu = ex->cfg->glu,
	    .policy = policy_at(ex->opt.policy), .hold_ns = ex->opt.hold_ns,
	    .batch_rows = (uint32_t)ex->opt.batch,
	    .urgent_ns = ex->opt.urgent_ns,
	    .lookahead = (uint32_t)ex->opt.lookahead,
	    .decay = ex->opt.decay,
	    .cold_rows = MAX_COLD_ROWS };

	ex->resid = resid_open(&ro);
	if (ex_place_assign(ex, err) != 0 || resid_fits(ex->resid, err) != 0)
		return -1;
	xo.resid = ex->resid;
	ex->xeng = xeng_open(&xo);
	hold_init(&ex->hold, (uint32_t)ex->cfg->n_layer,
	    (uint32_t)ex->cfg->n_expert);
	return 0;
}

static int
open_key(const struct ex *ex, struct link_sec *s, struct err *err)
{
	const char *file = ex->opt.sec.psk_file;

	if (link_sec_load(s, file != NULL ? file : ex_place_psk(ex),
	    ex->opt.sec.tls, ex->opt.sec.insecure, err) != 0)
		return -1;
	if (s->insecure && link_sec_bare(s, ex->opt.listen))
		log_warn(LINK_SEC_BARE, ex->opt.listen);
	return 0;
}

/* CUDA's driver starts threads and opens devices when it likes. */
static void
shut_in(const struct ex *ex)
{
	struct err err = ERR_INIT;

	sandbox_descriptors();
	if (!ex->opt.no_sandbox && strcmp(ex->opt.device, "cuda") != 0 &&
	    sandbox_enter(&err) != 0)
		log_warn("%s", err.text);
}

static int
open_port(struct ex *ex, struct err *err)
{
	struct link_opt lo = { .slot_bytes = MAX_SLOT_BYTES,
	    .depth = MAX_DEPTH, .wire = ex->wire };
	const char *router = ex_place_router(ex);
	struct err e = ERR_INIT;

	if (open_key(ex, &lo.sec, err) != 0)
		return -1;

	lo.me.role = LINK_EXPERT;
	snprintf(lo.me.name, sizeof(lo.me.name), "%s", ex->opt.name);
	snprintf(lo.me.variant, sizeof(lo.me.variant), "%s",
	    kern_variant(ex->kern));
	lo.me.incarnation = rng_at(clock_ns(), (uint64_t)getpid(), 0);
	lo.me.act = (uint8_t)kern_act(ex->kern);
	lo.me.weights = (uint8_t)kern_weights(ex->kern);
	lo.me.mixed = ex->opt.mixed;
	lo.me.hidden = (uint32_t)ex->cfg->hidden;
	lo.me.n_layer = (uint32_t)ex->cfg->n_layer;
	lo.me.n_expert = (uint32_t)ex->cfg->n_expert;
	lo.me.top_k = (uint32_t)ex->cfg->top_k;
	if (model_fingerprint(ex->model, &lo.me.fingerprint, err) != 0 ||
	    link_port_open(&ex->port, &lo, err) != 0 ||
	    link_listen(ex->port, ex->opt.listen, ex->bound, err) != 0)
		return -1;
	if (router != NULL &&
	    (ex->router = link_dial(ex->port, router, NULL, &e)) == NULL)
		log_warn("router: %s", e.text);
	return 0;
}

static int
open_all(struct ex *ex, struct err *err)
{
	if (ex->opt.cluster != NULL && ex_place_open(ex, err) != 0)
		return -1;
	if (link_addr_check(ex->opt.listen, err) != 0 ||
	    open_model(ex, err) != 0 || open_keep(ex, err) != 0)
		return -1;
	return open_experts(ex, err);
}

static void
close_all(struct ex *ex)
{
	/* The loaders wake the port; peers are not to wait for weights that
	 * are being freed. */
	ex_client_free_all(ex);
	if (ex->resid != NULL)
		resid_stop(ex->resid);
	if (ex->port != NULL)
		link_port_close(ex->port);
	xeng_close(ex->xeng);
	resid_close(ex->resid);
	keep_close(ex->keep);
	if (ex->kern != NULL)
		kern_close(ex->kern);
	model_close(ex->model);
	hold_free(&ex->hold);
	ex_place_free(ex);
}

static void
say_what(const struct ex *ex, const char *where)
{
	char bytes[NUM_TEXT];
	struct resid_count n;

	resid_count(ex->resid, &n);
	log_info("%s: %u experts (%s) of %s, %s, %d threads", where,
	    n.assigned, num_size_text(n.assigned_bytes, bytes),
	    model_name(ex->model), kern_variant(ex->kern),
	    kern_threads(ex->kern));
}

/* ---- the loop ------------------------------------------------------------ */

static void
give_order(struct ex *ex, enum ex_order order)
{
	atomic_fetch_or(&ex->order, order);
	link_wake(ex->port);
}

static void
on_drain(void *arg)
{
	struct run *r = arg;

	give_order(&r->ex, EX_DRAIN);
	if (r->ex.opt.drain_ns != 0)
		loop_timer_in(r->bound, r->ex.opt.drain_ns);
}

static void
on_reload(void *arg)
{
	give_order(&((struct run *)arg)->ex, EX_RELOAD);
}

static void
on_usr1(void *arg)
{
	give_order(&((struct run *)arg)->ex, EX_DUMP);
}

/* -t: enough of draining. */
static void
on_bound(void *arg)
{
	loop_stop(((struct run *)arg)->loop);
}

/* The engine thread has something to say. */
static void
on_bell(void *arg)
{
	struct run *r = arg;
	unsigned news = atomic_exchange(&r->ex.news, 0);
	struct err e = ERR_INIT;

	if (news & EX_FAILED)
		loop_stop(r->loop);
	if ((news & EX_READY) && life_ready(r->life, &e) != 0)
		log_warn("%s", e.text);
	if (news & EX_DRAINED)
		life_drained(r->life);
}

static int
start(struct run *r, struct err *err)
{
	struct life_opt lo = { .ready_fd = (int)r->ex.opt.ready_fd,
	    .drain = on_drain, .reload = on_reload, .usr1 = on_usr1,
	    .arg = r };
	sigset_t all, old;
	int rc;

	if (loop_open(&r->loop, err) != 0)
		return -1;
	lo.loop = r->loop;
	if (life_start(&r->life, &lo, err) != 0)
		return -1;
	if ((r->ex.bell = loop_bell(r->loop, on_bell, r, err)) == NULL)
		return -1;
	r->bound = loop_timer(r->loop, on_bound, r);
	if (open_port(&r->ex, err) != 0)
		return -1;
	say_what(&r->ex, r->ex.bound);
	shut_in(&r->ex);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&r->engine, NULL, ex_engine_run, &r->ex);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0 ? 0 : err_sys(err, ERR_TEMP, rc, "engine thread");
}

static int
run(struct run *r, struct err *err)
{
	int rc = loop_run(r->loop, err);
	uint64_t queued;

	give_order(&r->ex, EX_STOP);
	pthread_join(r->engine, NULL);
	if (rc != 0)
		return -1;
	if (r->ex.fail.code != 0) {
		*err = r->ex.fail;
		return -1;
	}
	queued = xeng_stats(r->ex.xeng)->queued_jobs;
	if (queued != 0)
		return err_set(err, ERR_TEMP, "left with %llu requests "
		    "unanswered", (unsigned long long)queued);
	return 0;
}

static void
end(struct run *r)
{
	close_all(&r->ex);
	life_end(r->life);
	if (r->loop == NULL)
		return;
	loop_timer_free(r->bound);
	loop_bell_free(r->ex.bell);
	loop_close(r->loop);
}

static enum log_level
level_of(const struct ex_opt *o)
{
	if (o->quiet)
		return LOG_ERROR;
	return o->verbose > 0 ? LOG_DEBUG : LOG_INFO;
}

int
main(int argc, char **argv)
{
	static struct run r;
	struct err e = ERR_INIT;
	int rc = 0;

	r.ex.hold_seen = EX_NEVER;	/* so that no experts is news, too */
	if (ex_opt_parse(&r.ex.opt, argc, argv, &e) != 0)
		return cli_fail(PROG, &e);
	/* Before the first look at the clock that is kept. */
	clock_dilate((int)r.ex.opt.scale);
	r.ex.start_ns = clock_ns();
	log_init(PROG, r.ex.opt.name, level_of(&r.ex.opt));
	if (open_all(&r.ex, &e) != 0)
		rc = cli_fail(PROG, &e);
	else if (r.ex.opt.dry_run)
		say_what(&r.ex, "dry run");
	else if (start(&r, &e) != 0 || run(&r, &e) != 0)
		rc = cli_fail(PROG, &e);
	if (r.ex.kern != NULL)
		ex_report_emu(&r.ex);
	end(&r);
	return rc;
}
