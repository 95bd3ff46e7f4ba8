/* ex_report - see ex_report.h. */
#include "ex_report.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "ex_client.h"
#include "ex_place.h"
#include "log.h"
#include "mem.h"
#include "num.h"
#include "policy.h"

#define REPORT_EVERY_NS	2000000000ull

static const char *
state_name(const struct ex *ex)
{
	static const char *const name[] = {
		[EX_LOADING] = "loading", [EX_SERVING] = "serving",
		[EX_DRAINING] = "draining",
	};

	return name[ex->state];
}

void
ex_report_soon(struct ex *ex)
{
	ex->report_next_ns = 0;
}

/* Share of the time since the last report that was spent in kernels. */
static double
busy_share(struct ex *ex, uint64_t now_ns)
{
	uint64_t busy = xeng_stats(ex->xeng)->busy_ns;
	uint64_t span = now_ns - ex->report_at_ns;
	double share = 0;

	if (ex->report_at_ns != 0 && span != 0)
		share = (double)(busy - ex->report_busy_ns) / (double)span;
	ex->report_busy_ns = busy;
	ex->report_at_ns = now_ns;
	return share < 1 ? share : 1;
}

static char *
report_text(struct ex *ex, uint64_t now_ns)
{
	const struct xeng_stats *st = xeng_stats(ex->xeng);
	struct resid_count n;
	json_t *o;
	char *text;

	resid_count(ex->resid, &n);
	o = json_pack("{s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:I, s:I, s:f}",
	    "name", ex->opt.name, "role", "expert", "state", state_name(ex),
	    "pid", (json_int_t)getpid(),
	    "up_s", (double)(now_ns - ex->start_ns) / 1e9,
	    "resident", (json_int_t)n.here,
	    "assigned", (json_int_t)n.assigned,
	    "resident_bytes", (json_int_t)n.here_bytes,
	    "clients", (json_int_t)ex_client_count(ex),
	    "queued_rows", (json_int_t)(st->queued_rows + st->cold_rows),
	    "rows", (json_int_t)st->rows,
	    "passes", (json_int_t)st->picks,
	    "bad", (json_int_t)ex->n_bad,
	    "busy", busy_share(ex, now_ns));
	if (o == NULL)
		BUG("json_pack");
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

uint64_t
ex_report_tend(struct ex *ex, uint64_t now_ns)
{
	char *text;

	if (ex->router == NULL || !link_is_up(ex->router))
		return EX_NEVER;
	if (now_ns < ex->report_next_ns)
		return ex->report_next_ns;
	ex->report_next_ns = now_ns + REPORT_EVERY_NS;
	if ((text = report_text(ex, now_ns)) == NULL)
		return ex->report_next_ns;
	link_msg(ex->router, LINK_MSG_REPORT, text, strlen(text));
	free(text);
	return ex->report_next_ns;
}

void
ex_report_heard(struct ex *ex, const struct link_event *ev)
{
	if (ev->type == LINK_MSG_MAP)
		ex_place_map(ex, ev->data, ev->n);
	/* The same way as by hand, with the bound of -t. */
	if (ev->type == LINK_MSG_DRAIN && ex->state != EX_DRAINING)
		kill(getpid(), SIGTERM);
}

void
ex_report_dump(struct ex *ex, uint64_t now_ns)
{
	const struct xeng_stats *st = xeng_stats(ex->xeng);
	char up[NUM_TEXT], busy[NUM_TEXT], bytes[NUM_TEXT], rss[NUM_TEXT];
	struct link_counters lc;
	struct resid_count n;
	int l;

	resid_count(ex->resid, &n);
	link_counters(ex->port, &lc);
	log_info("%s for %s, %u clients, policy %s, %s", state_name(ex),
	    num_dur_text(now_ns - ex->start_ns, up), ex_client_count(ex),
	    policy_at(ex->opt.policy)->name, kern_variant(ex->kern));
	log_info("experts: %u resident (%s), %u loading, %u assigned; "
	    "memory of the process %s", n.here,
	    num_size_text(n.here_bytes, bytes), n.loading, n.assigned,
	    num_size_text(mem_resident(), rss));
	log_info("done: %llu requests, %llu rows in %llu passes, %s of "
	    "computing; rows a pass p50 %llu p99 %llu max %llu",
	    (unsigned long long)st->jobs, (unsigned long long)st->rows,
	    (unsigned long long)st->picks, num_dur_text(st->busy_ns, busy),
	    (unsigned long long)hist_quantile(&st->rows_per_pick, 0.5),
	    (unsigned long long)hist_quantile(&st->rows_per_pick, 0.99),
	    (unsigned long long)st->rows_per_pick.max);
	log_info("refused: %llu bad, %llu not here, %llu cold, %llu expired; "
	    "links: %llu up, %llu down, %llu bad, %llu refused, %llu sleeps",
	    (unsigned long long)ex->n_bad, (unsigned long long)st->not_here,
	    (unsigned long long)st->cold, (unsigned long long)st->expired,
	    (unsigned long long)lc.up, (unsigned long long)lc.down,
	    (unsigned long long)lc.bad, (unsigned long long)lc.refused,
	    (unsigned long long)lc.sleeps);
	for (l = 0; l < ex->cfg->n_layer; l++)
		if (xeng_layer_rows(ex->xeng, l) != 0)
			log_info("queued: layer %d: %u rows", l,
			    xeng_layer_rows(ex->xeng, l));
}
