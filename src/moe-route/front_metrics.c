/* front_metrics - see front_door.h: the door's numbers for Prometheus. */
#include <stdio.h>

#include "front_door.h"

/* Seconds; the last bucket has no bound. */
static const double bounds[FRONT_STALLS - 1] = { 0.005, 0.01, 0.02, 0.05, 0.1,
    0.2, 0.5, 1, 2, 5, 10, 30, 60 };

void
front_metrics_stall(struct front_door *d, uint64_t ns)
{
	double s = (double)ns / 1e9;
	int i = 0;

	while (i < FRONT_STALLS - 1 && s > bounds[i])
		i++;
	d->stat.stall[i]++;
	d->stat.n_stall++;
	d->stat.stall_s += s;
}

static void
add_head(struct str *out, const char *name, const char *help,
    const char *type)
{
	str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
add_counters(const struct front_door *d, struct str *out)
{
	const struct front_stat *s = &d->stat;
	const struct {
		const char *name, *type, *help;
		uint64_t v;
	} t[] = {
		{ "moe_front_requests_total", "counter",
		    "Requests for an answer", s->requests },
		{ "moe_front_resumes_total", "counter",
		    "Answers that went on at another front end", s->resumes },
		{ "moe_front_moves_total", "counter", "Requests moved before "
		    "their first token", s->moves },
		{ "moe_front_suspects_total", "counter", "How often a front "
		    "end was silent for too long", d->pool.suspects },
		{ "moe_front_hedges_total", "counter", "Answers asked of a "
		    "second front end for that", s->hedges },
		{ "moe_front_hedges_lost_total", "counter", "Of them: the "
		    "first one went on before it", s->hedges_lost },
		{ "moe_front_refused_total", "counter",
		    "Refusals by front ends", s->refused },
		{ "moe_front_failed_total", "counter",
		    "Requests that could not go on", s->failed },
		{ "moe_front_gone_total", "counter",
		    "Clients that hung up", s->gone },
		{ "moe_front_replayed_total", "counter",
		    "Requests with a known Idempotency-Key", s->replayed },
		{ "moe_front_running", "gauge", "Requests being worked on",
		    (uint64_t)(d->n_job + d->n_relay) },
		{ "moe_front_kept_bytes", "gauge", "Of answers remembered by "
		    "their Idempotency-Key", d->keep.bytes },
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		add_head(out, t[i].name, t[i].help, t[i].type);
		str_addf(out, "%s %llu\n", t[i].name,
		    (unsigned long long)t[i].v);
	}
}

static void
add_ups(const struct front_door *d, struct str *out)
{
	const struct front_pool *p = &d->pool;
	int i;

	add_head(out, "moe_front_up_state",
	    "Of a front end: 0 away, 1 not ready, 2 well", "gauge");
	for (i = 0; i < p->n; i++)
		str_addf(out, "moe_front_up_state{front=\"%s\"} %d\n",
		    p->up[i].name, (int)p->up[i].state);
	add_head(out, "moe_front_up_requests",
	    "Requests that a front end works on", "gauge");
	for (i = 0; i < p->n; i++)
		str_addf(out, "moe_front_up_requests{front=\"%s\"} %d\n",
		    p->up[i].name, p->up[i].in_flight);
}

void
front_metrics(const struct front_door *d, struct str *out)
{
	const struct front_stat *s = &d->stat;
	uint64_t n = 0;
	int i;

	add_counters(d, out);
	add_ups(d, out);
	add_head(out, "moe_front_stall_seconds", "From the last token of a "
	    "front end that died to the first of the next", "histogram");
	for (i = 0; i < FRONT_STALLS - 1; i++) {
		n += s->stall[i];
		str_addf(out, "moe_front_stall_seconds_bucket{le=\"%g\"} "
		    "%llu\n", bounds[i], (unsigned long long)n);
	}
	str_addf(out, "moe_front_stall_seconds_bucket{le=\"+Inf\"} %llu\n"
	    "moe_front_stall_seconds_sum %.9g\n"
	    "moe_front_stall_seconds_count %llu\n",
	    (unsigned long long)s->n_stall, s->stall_s,
	    (unsigned long long)s->n_stall);
}
