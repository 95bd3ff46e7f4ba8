/* ex_engine - the engine thread: events in, picks, answers out. */
#include "clock.h"
#include "ex.h"
#include "ex_client.h"
#include "ex_hold.h"
#include "ex_place.h"
#include "ex_report.h"
#include "log.h"

/* Drained: nothing queued, and nothing has come or gone for this long, so that
 * clients took their last answer, and those that had not heard of the drain got
 * SLOT_DRAINING, not a broken pair. */
#define DRAIN_QUIET_NS	100000000ull

void
ex_engine_say(struct ex *ex, enum ex_news news)
{
	atomic_fetch_or(&ex->news, news);
	loop_ring(ex->bell);
}

static void
on_event(struct ex *ex, const struct link_event *ev, uint64_t now_ns)
{
	bool router = ev->pair == ex->router;

	switch (ev->what) {
	case LINK_UP:
		if (router) {
			ex_hold_greet(ex, ev->pair);
			ex_report_soon(ex);
		} else
			ex_client_up(ex, ev->pair);
		break;
	case LINK_DOWN:
		if (ev->refused)
			log_warn("%s: refused: %s", link_addr(ev->pair),
			    ev->reason);
		else
			log_info("%s: down: %s", link_addr(ev->pair),
			    ev->reason);
		if (router)
			ex_place_alone(ex);
		else
			ex_client_down(ex, ev->pair);
		break;
	case LINK_REQ:
		ex_client_request(ex, ev, now_ns);
		break;
	case LINK_MSG:
		if (router)
			ex_report_heard(ex, ev);
		break;
	case LINK_ANS:
	case LINK_NONE:
		break;
	}
}

static void
begin_drain(struct ex *ex, uint64_t now_ns)
{
	if (ex->state == EX_DRAINING)
		return;
	log_info("draining: %llu requests are queued",
	    (unsigned long long)xeng_stats(ex->xeng)->queued_jobs);
	ex->state = EX_DRAINING;
	ex->draining_ns = now_ns;
	link_unlisten(ex->port);
	ex_client_tell(ex, LINK_MSG_DRAIN, NULL, 0);
	ex_report_soon(ex);
}

/* When to look again; says EX_DRAINED when it is over. */
static uint64_t
tend_drain(struct ex *ex, uint64_t now_ns)
{
	uint64_t since = ex->draining_ns;

	if (ex->state != EX_DRAINING ||
	    xeng_stats(ex->xeng)->queued_jobs != 0)
		return EX_NEVER;
	if (ex->clients == NULL) {
		ex_engine_say(ex, EX_DRAINED);
		return EX_NEVER;
	}
	if (ex->heard_ns > since)
		since = ex->heard_ns;
	if (now_ns < since + DRAIN_QUIET_NS)
		return since + DRAIN_QUIET_NS;
	ex_engine_say(ex, EX_DRAINED);
	return EX_NEVER;
}

static void
obey(struct ex *ex, unsigned order, uint64_t now_ns)
{
	if (order & EX_DRAIN)
		begin_drain(ex, now_ns);
	if (order & EX_RELOAD)
		ex_place_reload(ex);
	if (order & EX_DUMP)
		ex_report_dump(ex, now_ns);
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void *
ex_engine_run(void *arg)
{
	struct ex *ex = arg;
	struct link_event ev;
	uint64_t now, next, step_next;
	unsigned order;
	bool did;

	for (;;) {
		now = clock_ns();
		while (link_next(ex->port, &ev))
			on_event(ex, &ev, now);
		order = atomic_exchange(&ex->order, 0);
		if (order & EX_STOP)
			break;
		obey(ex, order, now);
		/* Residency first: the step sees what has just been loaded. */
		if (ex_place_begin(ex, now, &next))
			next = ex_hold_tend(ex, now);
		next = sooner(next, ex_report_tend(ex, now));
		did = xeng_step(ex->xeng, now, &step_next);
		next = sooner(next, step_next);
		next = sooner(next, tend_drain(ex, clock_ns()));
		if (!did)
			link_wait(ex->port, next);
	}
	return NULL;
}
