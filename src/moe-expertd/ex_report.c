/* ex_report - see ex_report.h. */
#include "ex_report.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "device.h"
#include "ex_client.h"
#include "ex_place.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "num.h"
#include "policy.h"
#include "policy_auto.h"
#include "store.h"

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

/* Passes under each policy that has had any. */
static json_t *
policies_json(const struct xeng_stats *st)
{
	json_t *a = json_array(), *o;
	const struct xeng_picks *p;
	int i;

	for (i = 0; i < POLICY_N; i++) {
		p = &st->by_policy[i];
		if (p->picks == 0)
			continue;
		o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}",
		    "policy", policy_at(i)->name,
		    "passes", (json_int_t)p->picks,
		    "rows", (json_int_t)p->rows,
		    "urgent", (json_int_t)p->urgent,
		    "rows_p50", (json_int_t)hist_quantile(&p->rows_per_pick,
		    0.5),
		    "rows_p99", (json_int_t)hist_quantile(&p->rows_per_pick,
		    0.99),
		    "rows_max", (json_int_t)p->rows_per_pick.max);
		json_array_append_new(a, o);
	}
	return a;
}

static char *
report_text(struct ex *ex, uint64_t now_ns)
{
	const struct xeng_stats *st = xeng_stats(ex->xeng);
	struct resid_count n;
	json_t *o;
	char *text;

	resid_count(ex->resid, &n);
	o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I, "
	    "s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:o}",
	    "name", ex->opt.name, "role", "expert", "state", state_name(ex),
	    "address", ex->bound,
	    "pid", (json_int_t)getpid(),
	    "up_s", (double)(now_ns - ex->start_ns) / 1e9,
	    "resident", (json_int_t)n.here,
	    "assigned", (json_int_t)n.assigned,
	    "resident_bytes", (json_int_t)n.here_bytes,
	    "memory", (json_int_t)ex->opt.memory,
	    "expert_bytes", (json_int_t)store_expert_bytes(ex->kern, ex->model),
	    "pinned", ex_place_pinned(ex),
	    "map", (json_int_t)ex_place_version(ex),
	    "clients", (json_int_t)ex_client_count(ex),
	    "queued_rows", (json_int_t)(st->queued_rows + st->cold_rows),
	    "rows", (json_int_t)st->rows,
	    "passes", (json_int_t)st->picks,
	    "bad", (json_int_t)ex->n_bad,
	    "busy", busy_share(ex, now_ns),
	    "policy", xeng_policy(ex->xeng)->name,
	    "policies", policies_json(st));
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
	ex->report_next_ns = EX_NEVER;
	if ((text = report_text(ex, now_ns)) == NULL)
		return ex->report_next_ns;
	link_msg(ex->router, LINK_MSG_REPORT, text, strlen(text));
	free(text);
	return ex->report_next_ns;
}

static void
reply(struct ex *ex, const char *key, const char *value)
{
	json_t *o = json_pack("{s:s}", key, value);
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	if (text != NULL)
		(void)link_msg(ex->router, LINK_MSG_REPLY, text, strlen(text));
	free(text);
}

/* {"ask": "report"} */
static bool
is_report(const json_t *o)
{
	const char *what = json_string_value(json_object_get(o, "ask"));

	return what != NULL && strcmp(what, "report") == 0;
}

/* {"policy": NAME}: run by this one from now on. */
static void
obey(struct ex *ex, const void *data, size_t n)
{
	struct err e = ERR_INIT;
	json_t *o = json_want_text(data, n, "the router's order", ERR_DATA, &e);
	const struct json_src s = { o, "the router's order", "", 0, &e };
	const struct policy *p = NULL;
	const char *name;

	if (is_report(o)) {
		ex_report_soon(ex);
		ex_place_alone(ex);	/* there is no order yet */
		json_decref(o);
		return;
	}
	if (o != NULL && json_want_str(&s, "policy", &name) == 0 &&
	    (p = policy_find(name)) == NULL)
		err_set(&e, ERR_DATA, "the router's order: policy '%.40s' is "
		    "none of " POLICY_NAMES, name);
	if (p == NULL) {
		log_error("%s; going on as before", e.text);
		reply(ex, "error", e.text);
	} else {
		log_info("policy %s, by order of the router", p->name);
		xeng_set_policy(ex->xeng, p);
		reply(ex, "policy", p->name);
		ex_report_soon(ex);
	}
	json_decref(o);
}

void
ex_report_heard(struct ex *ex, const struct link_event *ev)
{
	if (ev->type == LINK_MSG_WANT)
		ex_place_want(ex, ev->data, ev->n);
	if (ev->type == LINK_MSG_ASK)
		obey(ex, ev->data, ev->n);
	/* The same way as by hand, with the bound of -t. */
	if (ev->type == LINK_MSG_DRAIN && ex->state != EX_DRAINING)
		kill(getpid(), SIGTERM);
}

static void
dump_policies(const struct ex *ex)
{
	const struct policy_auto *au = xeng_auto(ex->xeng);
	const struct xeng_picks *p;
	int i;

	for (i = 0; i < POLICY_N; i++) {
		p = &xeng_stats(ex->xeng)->by_policy[i];
		if (p->picks == 0)
			continue;
		log_info("policy %s: %llu rows in %llu passes, %llu urgent; "
		    "rows a pass p50 %llu p99 %llu max %llu",
		    policy_at(i)->name, (unsigned long long)p->rows,
		    (unsigned long long)p->picks,
		    (unsigned long long)p->urgent, (unsigned long long)
		    hist_quantile(&p->rows_per_pick, 0.5), (unsigned long long)
		    hist_quantile(&p->rows_per_pick, 0.99),
		    (unsigned long long)p->rows_per_pick.max);
	}
	if (au->begun)
		log_info("policy auto: %s now, %llu switches; depth %.0f, "
		    "skew %.2f", au->defrag ? "defrag" : "fifo",
		    (unsigned long long)au->n_switch, au->depth, au->skew);
}

void
ex_report_emu(const struct ex *ex)
{
	char text[DEVICE_SAY], wire[LINK_SAY];
	struct link_counters lc;

	if (device_say(ex->kern, text) != NULL)
		log_info("%s", text);
	if (ex->port == NULL)		/* a dry run */
		return;
	link_counters(ex->port, &lc);
	if (link_wire_say(&lc, wire) != NULL)
		log_info("%s", wire);
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
	    xeng_policy(ex->xeng)->name, kern_variant(ex->kern));
	log_info("experts: %u resident (%s), %u loading, %u assigned; "
	    "memory of the process %s", n.here,
	    num_size_text(n.here_bytes, bytes), n.loading, n.assigned,
	    num_size_text(mem_resident(), rss));
	log_info("done: %llu requests, %llu rows in %llu passes, %s of "
	    "computing",
	    (unsigned long long)st->jobs, (unsigned long long)st->rows,
	    (unsigned long long)st->picks, num_dur_text(st->busy_ns, busy));
	dump_policies(ex);
	ex_report_emu(ex);
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
