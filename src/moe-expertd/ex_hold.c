/* ex_hold - see ex_hold.h. */
#include "ex_hold.h"

#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "ex_client.h"
#include "ex_report.h"
#include "log.h"
#include "num.h"
#include "str.h"

/* While thousands of experts load, a message for each would be noise. */
#define HOLD_EVERY_NS	50000000ull
#define SHOW_EVERY_NS	100000000ull

void
ex_hold_greet(struct ex *ex, struct link_pair *pair)
{
	struct str s = STR_INIT;

	hold_encode(&ex->hold, &s);
	link_msg(pair, LINK_MSG_HOLD, s.p, s.n);
	str_free(&s);
}

static void
rebuild(struct ex *ex)
{
	uint32_t l, e;

	for (l = 0; l < ex->hold.n_layer; l++)
		for (e = 0; e < ex->hold.n_expert; e++)
			hold_set(&ex->hold, l, e, resid_serves(ex->resid,
			    (int)l, (int)e));
	ex->hold.version++;
	ex->hold_seen = resid_version(ex->resid);
}

static void
broadcast(struct ex *ex)
{
	struct str s = STR_INIT;

	hold_encode(&ex->hold, &s);
	ex_client_tell(ex, LINK_MSG_HOLD, s.p, s.n);
	if (ex->router != NULL)
		link_msg(ex->router, LINK_MSG_HOLD, s.p, s.n);
	str_free(&s);
}

/* One line that overwrites itself, on a terminal only. */
static void
show(struct ex *ex, const struct resid_count *n, bool last)
{
	char done[NUM_TEXT], total[NUM_TEXT];

	if (ex->opt.quiet || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s of %s read, %u experts of %u %s",
	    num_size_text(n->read_bytes, done),
	    num_size_text(n->total_bytes, total), n->here, n->assigned,
	    last ? "\n" : "");
	fflush(stderr);
}

static void
loaded(struct ex *ex, const struct resid_count *n, uint64_t now_ns)
{
	char bytes[NUM_TEXT], time[NUM_TEXT];
	struct keep_count k = { 0 };

	/* With --idle they come and go all the time. */
	log_at(ex->state == EX_LOADING || ex->opt.idle_ns == 0 ? LOG_INFO :
	    LOG_DEBUG, "%u experts (%s) loaded %s after the start", n->here,
	    num_size_text(n->here_bytes, bytes),
	    num_dur_text(now_ns - ex->start_ns, time));
	if (ex->state != EX_LOADING)
		return;
	if (ex->keep != NULL) {
		keep_count(ex->keep, &k);
		log_info("%llu of them were kept, %llu cached, %llu packed; "
		    "%llu files were not believed",
		    (unsigned long long)k.mapped, (unsigned long long)k.cached,
		    (unsigned long long)k.packed, (unsigned long long)k.bad);
	}
	ex->state = EX_SERVING;
	ex_report_soon(ex);
	ex_engine_say(ex, EX_READY);
}

/* A load that fails ends a server that was never ready; later it only means
 * that the expert stays cold. */
static void
load_failed(struct ex *ex, const struct err *err)
{
	if (ex->state != EX_LOADING) {
		log_error("%s", err->text);
		return;
	}
	ex->fail = *err;
	ex_engine_say(ex, EX_FAILED);
}

/* --idle: look at a quarter of it, so that a block goes at most so much late.
 * Who has just loaded everything is not looked at before it is ready. */
static uint64_t
park(struct ex *ex, uint64_t now_ns)
{
	uint64_t idle_ns = ex->opt.idle_ns;
	uint32_t n;

	if (idle_ns == 0 || ex->state == EX_LOADING)
		return EX_NEVER;
	if (now_ns < ex->park_next_ns)
		return ex->park_next_ns;
	ex->park_next_ns = now_ns + idle_ns / 4 + 1;
	if ((n = xeng_park(ex->xeng, now_ns, idle_ns)) > 0)
		log_debug("%u idle experts leave memory", n);
	return ex->park_next_ns;
}

uint64_t
ex_hold_tend(struct ex *ex, uint64_t now_ns)
{
	struct resid_count n;
	struct err e = ERR_INIT;
	uint64_t next = park(ex, now_ns);

	if (resid_poll(ex->resid, &e) != 0) {
		load_failed(ex, &e);
		if (ex->state == EX_LOADING)
			return EX_NEVER;
	}
	resid_count(ex->resid, &n);
	if (n.loading > 0) {
		if (now_ns >= ex->show_next_ns) {
			show(ex, &n, false);
			ex->show_next_ns = now_ns + SHOW_EVERY_NS;
		}
		if (ex->show_next_ns < next)
			next = ex->show_next_ns;
	}
	if (ex->hold_seen != resid_version(ex->resid)) {
		if (n.loading > 0 && now_ns < ex->hold_next_ns)
			return next < ex->hold_next_ns ? next :
			    ex->hold_next_ns;
		ex->hold_next_ns = now_ns + HOLD_EVERY_NS;
		rebuild(ex);
		broadcast(ex);
		if (n.loading == 0) {
			ex_report_soon(ex);
			show(ex, &n, true);
			loaded(ex, &n, now_ns);
		}
	}
	return next;
}
