/* at_prom - see at_prom.h. */
#include "at_prom.h"

#include <stddef.h>
#include <stdio.h>

/* vLLM's bounds, so that its dashboards fit. */
static const double bounds[AT_PROM_KINDS][AT_PROM_BUCKETS] = {
	{ 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1,
	    2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560 },
	{ 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1,
	    2.5, 5, 7.5, 10, 20, 40, 80 },
	{ 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120,
	    240, 480, 960, 1920, 7680 },
};
static const struct {
	const char *name, *help;
} hist_name[AT_PROM_KINDS] = {
	{ "vllm:time_to_first_token_seconds", "From a request to its first token" },
	{ "vllm:time_per_output_token_seconds", "Between two tokens" },
	{ "vllm:e2e_request_latency_seconds", "From a request to its end" },
};

void
at_prom_add(struct at_prom *p, enum at_prom_kind kind, uint64_t ns)
{
	const double *b = bounds[kind];
	struct at_prom_hist *h = &p->hist[kind];
	double s = (double)ns / 1e9;
	int i = 0;

	while (b[i] > 0 && s > b[i])
		i++;
	h->bucket[i]++;
	h->n++;
	h->sum += s;
}

/* A label; of its value quotes, backslashes and newlines are escaped. */
static void
add_label(struct str *out, const char *name, const char *model)
{
	str_addf(out, "%s=\"", name);
	for (; *model != '\0'; model++) {
		if (*model == '\n') {
			str_adds(out, "\\n");
			continue;
		}
		if (*model == '"' || *model == '\\')
			str_addc(out, '\\');
		str_addc(out, *model);
	}
	str_addc(out, '"');
}

static void
add_head(struct str *out, const char *name, const char *help,
    const char *type)
{
	str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
add_hist(struct str *out, const struct at_prom *p, enum at_prom_kind kind,
    const char *label)
{
	const struct at_prom_hist *h = &p->hist[kind];
	const char *name = hist_name[kind].name;
	uint64_t n = 0;
	int i;

	add_head(out, name, hist_name[kind].help, "histogram");
	for (i = 0; bounds[kind][i] > 0; i++) {
		n += h->bucket[i];
		str_addf(out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, label,
		    bounds[kind][i], (unsigned long long)n);
	}
	str_addf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, label,
	    (unsigned long long)h->n);
	str_addf(out, "%s_sum{%s} %.9g\n%s_count{%s} %llu\n", name, label,
	    h->sum, name, label, (unsigned long long)h->n);
}

static void
add_finished(struct str *out, const struct at_metrics *m, const char *label)
{
	const struct {
		const char *why;
		uint64_t n;
	} t[] = { { "stop", m->done_stop }, { "length", m->done_length },
	    { "abort", m->done_cancel }, { "error", m->failed } };
	size_t i;

	add_head(out, "vllm:request_success_total",
	    "Sequences that ended, by the reason", "counter");
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		str_addf(out, "vllm:request_success_total{%s,finished_reason="
		    "\"%s\"} %llu\n", label, t[i].why,
		    (unsigned long long)t[i].n);
}

static void
add_numbers(struct str *out, const struct at_prom *p,
    const struct at_metrics *m, const char *label)
{
	double usage = m->kv_pages > 0 ?
	    (double)m->kv_pages_used / (double)m->kv_pages : 0;
	const struct {
		const char *name, *type, *help;
		double v;
	} t[] = {
#define G(name, help, v)	{ name, "gauge", help, (double)(v) }
#define C(name, help, v)	{ name, "counter", help, (double)(v) }
	G("vllm:num_requests_running", "Sequences in the batch", m->n_running),
	G("vllm:num_requests_waiting", "Sequences that wait", m->n_waiting),
	G("vllm:kv_cache_usage_perc", "KV pages in use, 1 = all", usage),
	C("vllm:prompt_tokens_total", "Prompt tokens", m->prompt_tok),
	C("vllm:generation_tokens_total", "Generated tokens", m->gen_tok),
	C("vllm:prefix_cache_queries_total",
	    "Prompt tokens looked up in the prefix cache", m->prompt_tok),
	C("vllm:prefix_cache_hits_total",
	    "Prompt tokens found in the prefix cache", m->cached_tok),
	C("vllm:num_preemptions_total", "Sequences set back (none: admission reserves all)", 0),
	G("moe_kv_pages", "KV pages", m->kv_pages),
	G("moe_kv_pages_used", "KV pages in use", m->kv_pages_used),
	G("moe_kv_pages_cached", "KV pages kept for prefixes",
	    m->kv_pages_cached),
	G("moe_kv_page_bytes", "Bytes of a KV page in all layers",
	    m->kv_page_bytes),
	G("moe_kv_copies", "Of those: copies of other front ends' pages",
	    m->kv_copies),
	C("moe_kv_copy_hits_total", "Copies that an answer went on with",
	    m->copy_hits),
	G("moe_page_peers_up", "Neighbours that take copies of pages",
	    m->copy_peers),
	C("moe_pages_sent_total", "KV pages copied to neighbours",
	    m->copy_sent),
	C("moe_page_bytes_sent_total", "Bytes of them", m->copy_sent_bytes),
	C("moe_pages_received_total", "KV pages copied from neighbours",
	    m->copy_got),
	C("moe_page_bytes_received_total", "Bytes of them",
	    m->copy_got_bytes),
	C("moe_pages_refused_total", "KV pages that were not taken",
	    m->copy_refused),
	C("moe_steps_total", "Steps of the engine", m->steps),
	C("moe_rows_total", "Token rows through the steps", m->rows),
	G("moe_servers_up", "Expert servers in use", m->server_up),
	G("moe_servers_down", "Expert servers masked", m->server_down),
	C("moe_replays_total", "Calls sent again to another server",
	    m->replays),
	C("moe_hedges_total", "Calls sent to a replica while another was late",
	    m->hedges),
	C("moe_late_answers_total", "Answers that another was faster than",
	    m->late),
	C("moe_dispatch_bytes_total", "Bytes of rows and routes to experts",
	    m->bytes_out),
	C("moe_combine_bytes_total", "Bytes of their answers", m->bytes_in),
	C("moe_deadline_missed_total", "Calls that were too late",
	    m->deadline_missed),
	C("moe_busy_seconds_total", "Time the engine computed",
	    (double)m->busy_ns / 1e9),
	C("moe_expert_wait_seconds_total", "Time it waited for experts",
	    (double)m->wait_expert_ns / 1e9),
	C("moe_sample_seconds_total", "Time it chose tokens",
	    (double)m->sample_ns / 1e9),
	C("moe_requests_aborted_total", "Requests whose client hung up",
	    p->aborted),
	C("moe_requests_failed_total", "Requests that could not go on",
	    p->errors),
	C("moe_requests_refused_total", "Requests refused", p->refused),
#undef G
#undef C
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		add_head(out, t[i].name, t[i].help, t[i].type);
		str_addf(out, "%s{%s} %.15g\n", t[i].name, label, t[i].v);
	}
}

static void
add_stalls(struct str *out, const struct at_metrics *m, const char *label)
{
	static const char *const why[AT_STALLS] = { "idle", "admission",
	    "experts", "servers", "hold" };
	int i;

	add_head(out, "moe_stall_seconds_total", "Time the engine had nothing "
	    "to do, by what it waited for", "counter");
	for (i = 0; i < AT_STALLS; i++)
		str_addf(out, "moe_stall_seconds_total{%s,cause=\"%s\"} "
		    "%.15g\n", label, why[i], (double)m->stall_ns[i] / 1e9);
}

static void
add_parts(struct str *out, const struct at_metrics *m, const char *label)
{
	const struct at_part_name *p;
	int i;

	add_head(out, "moe_part_seconds_total", "Time of the engine thread, by "
	    "what it did", "counter");
	for (i = 0; i < AT_PARTS; i++) {
		p = &at_part_name[i];
		str_addf(out, "moe_part_seconds_total{%s,part=\"%s\",kind="
		    "\"%s\"} %.15g\n", label, p->name, at_kind_name(p->kind),
		    (double)m->part_ns[i] / 1e9);
	}
}

static void
add_passes(struct str *out, const struct at_metrics *m, const char *label)
{
	const char *name = "moe_attention_pass_rows";
	uint64_t n = 0;
	int i;

	add_head(out, name, "Rows of a pass of attention", "histogram");
	for (i = 0; i < AT_PASS_BUCKETS - 1; i++) {
		n += m->pass_bucket[i];
		str_addf(out, "%s_bucket{%s,le=\"%d\"} %llu\n", name, label,
		    1 << i, (unsigned long long)n);
	}
	str_addf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %llu\n"
	    "%s_count{%s} %llu\n", name, label, (unsigned long long)m->passes,
	    name, label, (unsigned long long)m->pass_rows, name, label,
	    (unsigned long long)m->passes);
	if (m->n_depth == 0)
		return;
	add_head(out, "moe_attention_queue_rows", "Rows that wait for "
	    "attention, by the layer it begins with", "gauge");
	for (i = 0; i < m->n_depth; i++)
		str_addf(out, "moe_attention_queue_rows{%s,layer=\"%d\"} %u\n",
		    label, m->depth[i].layer, m->depth[i].rows);
	add_head(out, "moe_attention_urgent_total", "Passes that were run "
	    "because a row had waited for --attn-urgent", "counter");
	str_addf(out, "moe_attention_urgent_total{%s} %llu\n", label,
	    (unsigned long long)m->urgent);
}

void
at_prom_text(const struct at_prom *p, const struct at_metrics *m,
    const char *model, struct str *out)
{
	struct str label = STR_INIT;
	int k;

	add_label(&label, "model_name", model);
	add_numbers(out, p, m, str_c(&label));
	add_finished(out, m, str_c(&label));
	add_stalls(out, m, str_c(&label));
	add_parts(out, m, str_c(&label));
	add_passes(out, m, str_c(&label));
	for (k = 0; k < AT_PROM_KINDS; k++)
		add_hist(out, p, (enum at_prom_kind)k, str_c(&label));
	str_free(&label);
}

void
at_prom_experiment(const char *what, struct str *out)
{
	if (what == NULL)
		return;
	add_head(out, "moe_experiment_info",
	    "Why answers are not the model's", "gauge");
	str_adds(out, "moe_experiment_info{");
	add_label(out, "experiment", what);
	str_adds(out, "} 1\n");
}

void
at_prom_emu(const struct emu_stats *s, const struct at_metrics *m,
    struct str *out)
{
	const struct {
		const char *name, *type, *help;
		double v;
	} t[] = {
	{ "moe_emu_busy_seconds_total", "counter",
	    "Time that the emulated device was busy", (double)s->busy_ns / 1e9 },
	{ "moe_emu_cpu_seconds_total", "counter",
	    "Real time that this process computed", (double)s->cpu_ns / 1e9 },
	{ "moe_emu_link_busy_seconds_total", "counter",
	    "Time that the emulated link was busy with what came in",
	    (double)m->wire_busy_ns / 1e9 },
	{ "moe_emu_link_behind_seconds_total", "counter",
	    "Time that slots waited there for others",
	    (double)m->wire_behind_ns / 1e9 },
	{ "moe_emu_error_ratio", "gauge",
	    "How wrong emulated times may be, 1 = all", emu_error(s) },
	};
	size_t i;

	for (i = 0; s->ops > 0 && i < sizeof(t) / sizeof(t[0]); i++) {
		add_head(out, t[i].name, t[i].help, t[i].type);
		str_addf(out, "%s %.15g\n", t[i].name, t[i].v);
	}
}
