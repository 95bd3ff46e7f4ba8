/* front_door - see front_door.h. */
#include "front_door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "front_job.h"
#include "keys.h"
#include "mem.h"

#define SWEEP_NS	1000000000u
/* A remembered stream is sent again at once. */
#define MAX_OUT		(FRONT_MAX_REPLY + (1u << 20))

void
front_door_why(const struct front_door *d, char *out, size_t n)
{
	const struct front_up *u = &d->pool.up[0];
	int i;

	for (i = 0; i < d->pool.n; i++)	/* one that answers knows best */
		if (d->pool.up[i].state == FRONT_SICK)
			u = &d->pool.up[i];
	if (front_up_n_well(&d->pool) > 0)
		snprintf(out, n, "the front ends refuse");
	else
		snprintf(out, n, "no front end is well; %s: %s", u->name,
		    u->why[0] != '\0' ? u->why : "not asked yet");
}

void
front_door_refuse(struct front_door *d, struct http_req *r, const char *why)
{
	const struct http_error e = { .status = 503 };

	http_add_header(r, "Retry-After", d->draining ? "5" : "1");
	http_fail(r, &e, "%s", why);
}

/* ---- routes ------------------------------ */

static void
on_health(struct http_req *r, void *arg)
{
	static const char ok[] = "{\"status\":\"ok\"}";
	struct front_door *d = arg;
	char why[256] = "shutting down";

	if (!d->draining && front_up_n_well(&d->pool) > 0) {
		http_reply(r, 200, "application/json", ok, sizeof(ok) - 1);
		return;
	}
	if (!d->draining)
		front_door_why(d, why, sizeof(why));
	front_door_refuse(d, r, why);
}

static void
on_metrics(struct http_req *r, void *arg)
{
	struct str out = STR_INIT;

	front_metrics(arg, &out);
	http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", out.p,
	    out.n);
	str_free(&out);
}

static void
on_completion(struct http_req *r, void *arg)
{
	struct front_door *d = arg;

	if (d->draining)
		front_door_refuse(d, r, "the door is shutting down");
	else
		front_job_start(d, r, false);
}

static void
on_chat(struct http_req *r, void *arg)
{
	struct front_door *d = arg;

	if (d->draining)
		front_door_refuse(d, r, "the door is shutting down");
	else
		front_job_start(d, r, true);
}

static void
on_relay(struct http_req *r, void *arg)
{
	front_relay_start(arg, r);
}

static const struct http_route routes[] = {
	{ "GET", "/health", on_health },
	{ "GET", "/metrics", on_metrics },
	{ "POST", "/v1/completions", on_completion },
	{ "POST", "/v1/chat/completions", on_chat },
	{ "GET", "/v1/models", on_relay },
	{ "GET", "/v1/models/*", on_relay },
	{ "POST", "/tokenize", on_relay },
	{ "POST", "/detokenize", on_relay },
	{ NULL, NULL, NULL },
};

/* ---- start, drain, stop ------------------------------ */

void
front_door_well(void *door)
{
	front_job_well(door);
}

void
front_door_hung(void *door, struct front_up *u)
{
	front_job_hung(door, u);
	front_relay_hung(door, u);
}

void
front_door_suspect(void *door, struct front_up *u)
{
	front_job_suspect(door, u);
}

static void
on_idle(void *arg)
{
	struct front_door *d = arg;
	loop_fn *fn = d->on_drained;

	d->on_drained = NULL;
	if (fn != NULL)
		fn(d->drained_arg);
}

void
front_door_left(struct front_door *d)
{
	if (d->draining && d->n_job + d->n_relay == 0)
		loop_timer_in(d->idle, 0);
}

static void
on_sweep(void *arg)
{
	struct front_door *d = arg;

	front_keep_expire(&d->keep, clock_ns());
}

int
front_door_reload(struct front_door *d, struct err *err)
{
	struct keys *k;

	if (d->o.key_file == NULL)
		return 0;
	if (keys_load(&k, d->o.key_file, err) != 0)
		return -1;
	keys_free(d->keys);
	d->keys = k;
	return 0;
}

/* As at a front end: everything but /health needs a key. */
static bool
admit(struct http_req *r, void *arg)
{
	const struct http_error e = { .status = 401 };
	const struct front_door *d = arg;
	const char *auth = http_header(r, "authorization");

	if (d->keys == NULL || strcmp(http_path(r), "/health") == 0 ||
	    keys_admit(d->keys, auth))
		return true;
	http_add_header(r, "WWW-Authenticate", "Bearer");
	http_fail(r, &e, auth == NULL ? "an API key is needed: Authorization: "
	    "Bearer KEY" : "this API key is not known");
	return false;
}

int
front_door_start(struct front_door *d, const struct front_opt *o,
    struct err *err)
{
	const struct http_opt h = { .loop = o->loop, .addr = o->addr,
	    .route = routes, .arg = d, .admit = admit, .max_out_bytes = MAX_OUT };

	d->o = *o;
	d->keep.max_bytes = o->keep_bytes;
	d->keep.keep_ns = o->keep_ns;
	if (front_door_reload(d, err) != 0 ||
	    http_check_addr(o->addr, d->keys != NULL, o->insecure, err) != 0)
		return -1;
	if (getrandom(&d->seed, sizeof(d->seed), 0) !=
	    (ssize_t)sizeof(d->seed))
		return err_sys(err, ERR_TEMP, errno, "random numbers");
	d->idle = loop_timer(o->loop, on_idle, d);
	d->sweep = loop_timer(o->loop, on_sweep, d);
	loop_timer_every(d->sweep, SWEEP_NS);
	if (http_start(&d->http, &h, err) != 0)
		return -1;
	front_up_start(&d->pool);
	return 0;
}

void
front_door_drain(struct front_door *d, loop_fn *done, void *arg)
{
	d->draining = true;
	d->on_drained = done;
	d->drained_arg = arg;
	http_drain(d->http);
	front_door_left(d);
}

void
front_door_stop(struct front_door *d)
{
	d->on_drained = NULL;
	http_stop(d->http);	/* its clients are gone: their jobs end */
	front_job_stop(d);	/* those whose client may come back */
	front_relay_stop(d);
	front_keep_clear(&d->keep);
	front_up_stop(&d->pool);
	keys_free(d->keys);
	loop_timer_free(d->sweep);
	loop_timer_free(d->idle);
}
