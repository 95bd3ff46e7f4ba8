/* front_up - see front_up.h. */
#include "front_up.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "event_log.h"
#include "front_cut.h"
#include "log.h"
#include "mem.h"
#include "num.h"
#include "rng.h"

#define MAX_PROBE_BODY	4096
/* Probes in the time that a hang takes to be noticed. */
#define PROBES_A_HANG	4
/* Ticks of the watch in the silence that makes a suspect, at least. */
#define TICKS		8
/* A suspect's silence is this many times what answers took lately, at most;
 * half of that is forgotten in so long. */
#define LAGS		2
#define FORGET_NS	5000000000.0

/* ---- states ------------------------------ */

static void
set_state(struct front_up *u, enum front_state state, const char *why)
{
	static const char *const word[] = { "away", "not ready", "well" };
	bool news = u->state != state ||
	    (state != FRONT_WELL && u->why[0] == '\0');

	u->state = state;
	snprintf(u->why, sizeof(u->why), "%s", why);
	if (!news)
		return;
	if (state == FRONT_WELL) {
		log_info("front end %s: well", u->name);
		if (u->noticed)
			event_log_put(u->name, "repaired", NULL);
		u->noticed = false;
		u->pool->o.well(u->pool->o.arg);
	} else {
		log_warn("front end %s: %s: %s", u->name, word[state], why);
		if (!u->noticed)
			event_log_put(u->name, "noticed", why);
		u->noticed = true;
	}
}

/* When to ask again. */
static uint64_t
pause_ns(const struct front_up *u)
{
	const struct front_pool_opt *o = &u->pool->o;
	uint64_t ns = u->state == FRONT_WELL ? o->well_ns : o->away_ns;

	if (u->in_flight > 0 && ns > o->hang_ns / PROBES_A_HANG)
		ns = o->hang_ns / PROBES_A_HANG;
	return ns;
}

/* ---- silence ------------------------------ */

/* How long a probe may go unanswered. */
static uint64_t
patience_ns(const struct front_up *u)
{
	const struct front_pool_opt *o = &u->pool->o;
	uint64_t ns = LAGS * u->lag_ns;

	if (ns > o->suspect_max_ns)
		ns = o->suspect_max_ns;
	return ns < o->suspect_ns / 2 ? o->suspect_ns / 2 : ns;
}

/* It answered a probe after lag.  What a suspect took tells little, as it may
 * have been stopped: only many of them in a row make for more patience. */
static void
learn(struct front_up *u, uint64_t lag)
{
	uint64_t now = clock_ns();
	double old = (double)u->lag_ns * exp2(-(double)(now - u->learnt_ns) /
	    FORGET_NS);

	if (u->suspect)
		lag = (uint64_t)(1.25 * (double)patience_ns(u) / LAGS);
	u->lag_ns = (double)lag > old ? lag : (uint64_t)old;
	u->learnt_ns = now;
}

void
front_up_heard(struct front_up *u)
{
	if (u->asked_ns != FRONT_NOT_ASKED && u->pool->o.suspect_ns > 0)
		learn(u, u->silent_ns - u->asked_ns);
	if (u->suspect)
		log_info("front end %s: heard of again", u->name);
	u->suspect = false;
	u->silent_ns = 0;
	u->asked_ns = FRONT_NOT_ASKED;
}

static void
on_watch(void *arg)
{
	struct front_up *u = arg;
	const struct front_pool_opt *o = &u->pool->o;
	uint64_t now = clock_ns(), tick = o->suspect_ns / TICKS;
	uint64_t gone = now - u->tick_ns;
	char t[NUM_TEXT];

	u->tick_ns = now;
	/* What came while the door itself stood still is not read yet. */
	u->silent_ns += gone < 2 * tick ? gone : tick;
	if (u->probe != NULL && u->asked_ns == FRONT_NOT_ASKED)
		u->asked_ns = u->silent_ns;
	else if (u->probe == NULL && u->silent_ns >= o->suspect_ns / 2)
		loop_timer_in(u->timer, 0);
	if (u->asked_ns == FRONT_NOT_ASKED ||
	    u->silent_ns < o->suspect_ns ||
	    u->silent_ns - u->asked_ns < patience_ns(u))
		return;
	if (!u->suspect) {
		u->suspect = true;
		u->pool->suspects++;
		log_info("front end %s: silent for %s", u->name,
		    num_dur_text(u->silent_ns, t));
	}
	o->suspect(o->arg, u);
}

void
front_up_begin(struct front_up *u)
{
	const uint64_t ns = u->pool->o.suspect_ns;

	if (u->in_flight++ > 0 || ns == 0)
		return;
	u->silent_ns = 0;
	u->asked_ns = FRONT_NOT_ASKED;
	u->tick_ns = clock_ns();
	loop_timer_every(u->watch, ns / TICKS);
}

void
front_up_end(struct front_up *u)
{
	if (--u->in_flight == 0)
		loop_timer_stop(u->watch);
}

/* ---- probes ------------------------------ */

static void
on_head(void *user, int status)
{
	struct front_up *u = user;

	front_up_heard(u);
	u->probe_status = status;
}

static void
on_data(void *user, const char *p, size_t n)
{
	struct front_up *u = user;

	if (u->probe_body.n + n <= MAX_PROBE_BODY)
		str_add(&u->probe_body, p, n);
}

static void
on_end(void *user, const char *why)
{
	struct front_up *u = user;
	const struct front_cut body = { str_c(&u->probe_body),
	    u->probe_body.n };
	struct front_cut text;
	char said[200];

	u->probe = NULL;
	u->asked_ns = FRONT_NOT_ASKED;
	if (why != NULL) {
		u->suspect = false;
		set_state(u, FRONT_AWAY, why);
	} else if (u->probe_status == 200) {
		set_state(u, FRONT_WELL, "");
	} else {
		text = front_cut_inner(front_cut_get(front_cut_get(body,
		    "error"), "message"));
		snprintf(said, sizeof(said), "%.*s", (int)text.n, text.p);
		set_state(u, FRONT_SICK, said[0] != '\0' ? said :
		    "/health does not say ok");
	}
	loop_timer_in(u->timer, pause_ns(u));
}

static const struct front_call_fn probe_fn = { on_head, on_data, on_end };

static void
on_timer(void *arg)
{
	const struct front_req r = { .method = "GET", .path = "/health" };
	struct front_up *u = arg;
	char t[NUM_TEXT];
	char why[64];

	if (u->probe != NULL) {		/* too late */
		front_call_cancel(u->probe);
		u->probe = NULL;
		snprintf(why, sizeof(why), "no answer for %s",
		    num_dur_text(u->pool->o.hang_ns, t));
		set_state(u, FRONT_AWAY, why);
		u->pool->o.hung(u->pool->o.arg, u);
		loop_timer_in(u->timer, pause_ns(u));
		return;
	}
	str_clear(&u->probe_body);
	u->probe_status = 0;
	u->probe_ns = clock_ns();
	u->probe = front_call_start(u->pool->o.loop, &u->addr, &r, &probe_fn,
	    u);
	loop_timer_in(u->timer, u->pool->o.hang_ns);
}

void
front_up_failed(struct front_up *u, const char *why)
{
	set_state(u, FRONT_AWAY, why);
	if (u->probe == NULL)
		loop_timer_in(u->timer, 0);
}

/* ---- the pool ------------------------------ */

void
front_up_init(struct front_pool *p, const struct front_pool_opt *o)
{
	memset(p, 0, sizeof(*p));
	p->o = *o;
}

int
front_up_add(struct front_pool *p, const char *name, const char *addr,
    bool pages, struct err *err)
{
	struct front_up *u = &p->up[p->n];
	int i;

	for (i = 0; i < p->n; i++)
		if (strcmp(p->up[i].addr.text, addr) == 0)
			return 0;
	if (p->n == FRONT_MAX_UP)
		return err_set(err, ERR_USAGE, "more than %d front ends",
		    FRONT_MAX_UP);
	if (front_call_find(&u->addr, addr, err) != 0)
		return -1;
	u->pool = p;
	u->index = p->n++;
	u->name = mem_strdup(name);
	u->pages = pages;
	u->asked_ns = FRONT_NOT_ASKED;
	return 0;
}

void
front_up_start(struct front_pool *p)
{
	int i;

	for (i = 0; i < p->n; i++) {
		p->up[i].timer = loop_timer(p->o.loop, on_timer, &p->up[i]);
		loop_timer_in(p->up[i].timer, 0);
		p->up[i].watch = loop_timer(p->o.loop, on_watch, &p->up[i]);
	}
}

void
front_up_stop(struct front_pool *p)
{
	int i;

	for (i = 0; i < p->n; i++) {
		front_call_cancel(p->up[i].probe);
		loop_timer_free(p->up[i].timer);
		loop_timer_free(p->up[i].watch);
		str_free(&p->up[i].probe_body);
		mem_free(p->up[i].name);
		mem_free(p->up[i].addr.text);
	}
	p->n = 0;
}

int
front_up_n_well(const struct front_pool *p)
{
	int i, n = 0;

	for (i = 0; i < p->n; i++)
		n += p->up[i].state == FRONT_WELL;
	return n;
}

/* Highest random weight (Thaler and Ravishankar, "Using name-based mappings to
 * increase hit rates"): each prompt ranks the front ends in an order of its
 * own, in all doors alike, and one that goes moves only its own prompts. */
static uint64_t
rank(const struct front_up *u, uint64_t hash)
{
	uint64_t h = 0;
	const char *s;

	for (s = u->addr.text; *s != '\0'; s++)
		h = h * 31 + (unsigned char)*s;
	return rng_at(hash, 4, h);
}

static struct front_up *
pick(struct front_pool *p, uint64_t hash, uint64_t skip)
{
	struct front_up *best = NULL, *least = NULL, *u;
	int i;

	for (i = 0; i < p->n; i++) {
		u = &p->up[i];
		if (u->state != FRONT_WELL || (skip >> i & 1) != 0)
			continue;
		if (best == NULL || rank(u, hash) > rank(best, hash))
			best = u;
		if (least == NULL || u->in_flight < least->in_flight ||
		    (u->in_flight == least->in_flight &&
		    rank(u, hash) > rank(least, hash)))
			least = u;
	}
	return best == NULL || best->in_flight > least->in_flight +
	    p->o.spread ? least : best;
}

static uint64_t
suspects(const struct front_pool *p)
{
	uint64_t set = 0;
	int i;

	for (i = 0; i < p->n; i++)
		set |= (uint64_t)p->up[i].suspect << i;
	return set;
}

struct front_up *
front_up_pick(struct front_pool *p, uint64_t hash, uint64_t skip)
{
	struct front_up *u = pick(p, hash, skip | suspects(p));

	return u != NULL ? u : pick(p, hash, skip);
}

struct front_up *
front_up_heir(struct front_pool *p, int from, uint64_t skip)
{
	struct front_up *u;
	int i, k;

	skip |= suspects(p);
	for (k = 1; k < p->n && p->up[from].pages; k++) {
		i = (from + k) % p->n;
		u = &p->up[i];
		if (u->pages && u->state == FRONT_WELL && (skip >> i & 1) == 0)
			return u;
	}
	return NULL;
}
