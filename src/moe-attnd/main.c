/*
 * moe-attnd - the attention front end: everything of the model but its routed
 * experts, behind the OpenAI HTTP API.
 *
 * Threads: the main thread runs the event loop (HTTP, signals, reports); the
 * engine has its own (at_run.c); the port of links has its control thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "at_api.h"
#include "at_main.h"
#include "at_prof_table.h"
#include "cli.h"
#include "clock.h"
#include "event_log.h"
#include "life.h"
#include "log.h"
#include "mem.h"
#include "sandbox.h"

#define CONTROLS	"\001\002\003\004\005\006\a\b\t\n\v\f\r\016\017"	\
	"\020\021\022\023\024\025\026\027\030\031\032\033\034\035\036\037\177"

struct option_list {
	VEC(struct cli_opt) v;
};

static void
append(struct option_list *all, const struct cli_opt *table, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		VEC_PUSH(&all->v, table[i]);
}

/* The model and its memory. */
static void
model_options(struct at_main *a, struct option_list *all)
{
	const struct cli_opt table[] = {
	{ 'm', "model", CLI_STR, &a->model_dir, "DIR",
	    "checkpoint directory", 0, 0, "MOE_MODEL" },
	{ 'f', "file", CLI_STR, &a->cluster_file, "CLUSTER",
	    "cluster file: where the expert servers are", 0, 0, "MOE_CLUSTER" },
	{ 0, "local", CLI_FLAG, &a->local, NULL,
	    "run the experts in this process instead", 0, 0, NULL },
	{ 'p', "http", CLI_STR, &a->http_addr, "HOST:PORT",
	    "address of the HTTP API (default 127.0.0.1:8080)", 0, 0, NULL },
	{ 'i', "id", CLI_STR, &a->name, "NAME",
	    "this front end's name in the cluster", 0, 0, NULL },
	{ 0, "alias", CLI_STR, &a->alias, "NAME",
	    "the model's name in the API (default: the directory's)", 0, 0, NULL },
	{ 0, "dtype", CLI_ENUM, &a->dtype, MODEL_DTYPES,
	    "what to compute in (auto: the checkpoint's type)", 0, 0, NULL },
	{ 0, "weights", CLI_ENUM, &a->weights, MODEL_WEIGHTS,
	    "form of weights in memory (native: that of --dtype)", 0, 0, NULL },
	{ 0, "threads", CLI_INT, &a->threads, "N",
	    "threads that compute (default: all processors)", 0, 1024, NULL },
	{ 0, "device", CLI_STR, &a->device, "DEV",
	    "where to compute: cpu, or emu:NAME[,skip][,nolink][,as=SHAPE]", 0, 0, NULL },
	{ 0, "emu-scale", CLI_INT, &a->scale, "N",
	    "emu: N seconds for one, all clocks alike", 1, CLOCK_MAX_DILATION,
	    "MOE_EMU_SCALE" },
	{ 0, "isa", CLI_STR, &a->isa, "NAME",
	    "kernel variant (default: the best this machine has)", 0, 0, NULL },
	{ 0, "ctx-size", CLI_INT, &a->ctx_tok, "TOK",
	    "longest prompt + answer (default: the model's, at most 32768)",
	    1, 1 << 24, NULL },
	{ 0, "kv-memory", CLI_SIZE, &a->kv_bytes, "SIZE",
	    "memory for the KV cache (default: a quarter of the machine's)",
	    0, 0, NULL },
	{ 0, "kv-dtype", CLI_ENUM, &a->kv_dtype, MODEL_DTYPES,
	    "what keys and values are kept in (auto: as --dtype)", 0, 0, NULL },
	{ 0, "no-prefix-cache", CLI_FLAG, &a->no_prefix, NULL,
	    "forget KV pages when their sequence ends", 0, 0, NULL },
	{ 0, "page-copies", CLI_INT, &a->page_copies, "N",
	    "front ends that get a copy of each KV page (default 1; 0: none)",
	    0, AT_PAGE_MAX_PEER, NULL },
	{ 0, "page-rate", CLI_SIZE, &a->page_rate, "SIZE",
	    "bytes of copies sent in a second at most (default 256M)", 0, 0, NULL },
	};

	append(all, table, sizeof(table) / sizeof(*table));
}

/* What runs when, and how long it may take. */
static void
engine_options(struct at_main *a, struct option_list *all)
{
	const struct cli_opt table[] = {
	{ 0, "groups", CLI_STR, &a->groups, "N|free",
	    "groups of rows in flight, 1 to 8, or free: no barrier (default 1)",
	    0, 0, NULL },
	{ 0, "attn-policy", CLI_ENUM, &a->attn_policy, POLICY_NAMES,
	    "free: what attention runs next (default wait)", 0, 0, NULL },
	{ 0, "attn-hold", CLI_DUR, &a->attn.hold_ns, "DUR",
	    "wait, defrag: longest wait for company (default 200us)", 0, 0, NULL },
	{ 0, "attn-batch", CLI_INT, &a->attn_batch, "N",
	    "wait, defrag: so many rows are enough (default: all)",
	    0, 16384, NULL },
	{ 0, "attn-urgent", CLI_DUR, &a->attn.urgent_ns, "DUR",
	    "mtfs, flfs, defrag: who waited so long is next (default 30ms)",
	    0, 0, NULL },
	{ 0, "attn-lookahead", CLI_INT, &a->attn_lookahead, "K",
	    "defrag: layers ahead that count (default 3)", 0, 4096, NULL },
	{ 0, "attn-decay", CLI_REAL, &a->attn.decay, "D",
	    "defrag: weight of each layer ahead, of the one before (default 0.8)",
	    0, 1, NULL },
	{ 0, "max-seqs", CLI_INT, &a->max_seq, "N",
	    "sequences that run at once (default 256)", 1, 65536, NULL },
	{ 0, "max-queue", CLI_INT, &a->max_queue, "N",
	    "sequences that wait or run (default 1024)", 1, 1 << 20, NULL },
	{ 0, "max-wait", CLI_DUR, &a->max_wait_ns, "DUR",
	    "longest wait in the queue, else 429 (default: no bound)", 0, 0, NULL },
	{ 0, "step-rows", CLI_INT, &a->step_rows, "N",
	    "token rows of a step at most (default 512)", 1, 16384, NULL },
	{ 0, "chunk", CLI_INT, &a->chunk, "TOK",
	    "prompt tokens of one request in a step at most (default 256)",
	    1, 16384, NULL },
	{ 0, "prompt-rows", CLI_INT, &a->prompt_rows, "N",
	    "prompt tokens of all requests in a step at most (default: no limit)",
	    1, 16384, NULL },
	{ 0, "deadline", CLI_DUR, &a->deadline_ns, "DUR",
	    "patience with an expert server beyond its usual time (default 1s)",
	    0, 0, NULL },
	{ 0, "stall-limit", CLI_DUR, &a->stall_ns, "DUR",
	    "longest wait for an expert that no server has (default 10s)",
	    0, 0, NULL },
	{ 0, "reduce", CLI_ENUM, &a->reduce, "none|sum|exact",
	    "answers: one a route, or summed by servers (default none)",
	    0, 0, NULL },
	{ 0, "hedge", CLI_STR, &a->hedge_text, "FACTOR|off",
	    "ask a replica, too, after so many usual round trips (default off)",
	    0, 0, NULL },
	{ 0, "request-limit", CLI_DUR, &a->request_ns, "DUR",
	    "longest a request may take (default: no limit)", 0, 0, NULL },
	};

	append(all, table, sizeof(table) / sizeof(*table));
}

/* Experiments, keys, the process. */
static void
cluster_options(struct at_main *a, struct option_list *all)
{
	const struct cli_opt table[] = {
	{ 0, "mixed", CLI_FLAG, &a->mixed, NULL,
	    "allow servers of another kernel variant (bits may differ)", 0, 0, NULL },
	{ 0, "crc", CLI_FLAG, &a->crc, NULL,
	    "checksums of rows over shm, too (over tcp there always are)",
	    0, 0, NULL },
	{ 0, "experiment", CLI_FLAG, &a->experiment, NULL,
	    "allow what makes answers meaningless: --route-skew, skip", 0, 0, NULL },
	{ 0, "route-skew", CLI_STR, &a->route_skew, "SPEC",
	    "draw experts from SPEC instead of asking the gate", 0, 0, NULL },
	{ 0, "chat-template", CLI_STR, &a->template_name, "NAME",
	    "which of the checkpoint's chat templates (default: its default)",
	    0, 0, NULL },
	{ 0, "api-key-file", CLI_STR, &a->key_file, "FILE",
	    "keys that clients must send, plain or hashed, one a line", 0, 0, NULL },
	LINK_SEC_OPTIONS(&a->sec, "servers and we",
	    "public addresses, of HTTP and of links, without keys"),
	SANDBOX_OPTION(&a->no_sandbox),
	{ 0, "profile", CLI_FLAG, &a->profile, NULL,
	    "at USR1 and at the end: where the time of a step goes", 0, 0, NULL },
	{ 0, "events", CLI_STR, &a->event_file, "FILE",
	    "append what befalls expert servers, as #moe:event/1", 0, 0, NULL },
	{ 0, "ready-fd", CLI_INT, &a->ready_fd, "N",
	    "write a newline to descriptor N when ready", 0, 65535, NULL },
	{ 't', "timeout", CLI_DUR, &a->drain_ns, "DUR",
	    "how long a drain may take (default 30s)", 0, 0, NULL },
	{ 'n', "dry-run", CLI_FLAG, &a->dry_run, NULL,
	    "check options, files and model, then say ok and leave", 0, 0, NULL },
	{ 'q', "quiet", CLI_COUNT, &a->quiet, NULL, "say less", 0, 0, NULL },
	{ 'v', "verbose", CLI_COUNT, &a->verbose, NULL, "say more", 0, 0, NULL },
	{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};

	append(all, table, sizeof(table) / sizeof(*table));
}

/* All of them; the caller frees them. */
static const struct cli_opt *
options(struct at_main *a)
{
	struct option_list all = { { NULL, 0, 0 } };

	model_options(a, &all);
	engine_options(a, &all);
	cluster_options(a, &all);
	return all.v.p;
}

/* --groups: 0 for free. */
static int
parse_groups(struct at_main *a, struct err *err)
{
	if (strcmp(a->groups, "free") == 0) {
		a->n_group = 0;
		return 0;
	}
	if (strlen(a->groups) != 1 || a->groups[0] < '1' ||
	    a->groups[0] > '0' + AT_MAX_GROUP)
		return err_set(err, ERR_USAGE, "--groups %s: 1 to %d, or free",
		    a->groups, AT_MAX_GROUP);
	a->n_group = a->groups[0] - '0';
	return 0;
}

static int
read_hedge(struct at_main *a, struct err *err)
{
	char *end;

	if (a->hedge_text == NULL || strcmp(a->hedge_text, "off") == 0)
		return 0;
	a->hedge = strtod(a->hedge_text, &end);
	if (*end == '\0' && a->hedge >= 1 && a->hedge <= 1000)
		return 0;
	return err_set(err, ERR_USAGE, "--hedge '%s' is neither off nor a "
	    "number from 1 to 1000", a->hedge_text);
}

static int
check_options(struct at_main *a, struct err *err)
{
	if (a->model_dir == NULL)
		return err_set(err, ERR_USAGE, "-m DIR is needed");
	if (a->local == (a->cluster_file != NULL))
		return err_set(err, ERR_USAGE, a->local ?
		    "--local and -f exclude each other" :
		    "-f CLUSTER or --local is needed");
	if (!cluster_name_ok(a->name))
		return err_set(err, ERR_USAGE, "-i '%s' is no name (letters, "
		    "digits, - _ . and at most 47)", a->name);
	if (a->alias != NULL && a->alias[strcspn(a->alias, CONTROLS)] != '\0')
		return err_set(err, ERR_USAGE, "--alias holds a control "
		    "character");
	if (a->alias != NULL && a->alias[0] == '\0')
		return err_set(err, ERR_USAGE, "--alias is empty");
	if (a->route_skew != NULL && !a->experiment)
		return err_set(err, ERR_USAGE, "--route-skew makes answers "
		    "meaningless: it takes --experiment as well");
	if (a->route_skew != NULL &&
	    (a->route_skew[strcspn(a->route_skew, CONTROLS)] != '\0' ||
	    !str_utf8_valid(a->route_skew, strlen(a->route_skew))))
		return err_set(err, ERR_USAGE, "--route-skew holds a control "
		    "character, or is not UTF-8");
	if (a->page_rate == 0)
		return err_set(err, ERR_USAGE, "--page-rate must be above 0 "
		    "(--page-copies 0 copies nothing)");
	if (a->max_seq > a->step_rows)
		return err_set(err, ERR_USAGE, "--max-seqs %lld is more than "
		    "--step-rows %lld: a step has a row for each",
		    (long long)a->max_seq, (long long)a->step_rows);
	return parse_groups(a, err);
}

static void
on_api_drained(void *arg)
{
	struct at_main *a = arg;

	life_drained(a->life);
}

static void
on_drain(void *arg)
{
	struct at_main *a = arg;

	log_info("draining: %d requests are left", at_api_running(a->api));
	at_engine_drain(a->engine);
	at_main_report_drain(a);
	at_api_drain(a->api, on_api_drained, a);
	loop_timer_in(a->drain_timer, a->drain_ns);
}

static void
on_drain_over(void *arg)
{
	struct at_main *a = arg;

	a->cut = true;
	loop_stop(a->loop);
}

/* On the loop's thread, whose own time it tells as well. */
static void
print_profile(const struct at_main *a, const struct at_metrics *m)
{
	struct err err = ERR_INIT;

	if (a->profile && at_prof_table(m, stdout, &err) != 0)
		log_warn("--profile: %s", err.text);
}

static void
on_usr1(void *arg)
{
	struct at_main *a = arg;
	struct at_metrics m;

	at_metrics(a->engine, &m);
	log_info("running %llu, waiting %llu, steps %llu, rows %llu, generated "
	    "%llu, cached %llu, servers up %llu down %llu, replays %llu",
	    (unsigned long long)m.n_running, (unsigned long long)m.n_waiting,
	    (unsigned long long)m.steps, (unsigned long long)m.rows,
	    (unsigned long long)m.gen_tok, (unsigned long long)m.cached_tok,
	    (unsigned long long)m.server_up,
	    (unsigned long long)m.server_down, (unsigned long long)m.replays);
	print_profile(a, &m);
}

static void
on_reload(void *arg)
{
	struct at_main *a = arg;
	struct err err = ERR_INIT;

	if (a->key_file == NULL)
		log_info("HUP: no key file to read");
	else if (at_api_reload(a->api, &err) != 0)
		log_error("%s; going on as before", err.text);
	else
		log_info("%s: read anew", a->key_file);
}

static void
shut_in(const struct at_main *a)
{
	struct err err = ERR_INIT;

	sandbox_descriptors();
	if (!a->no_sandbox && sandbox_enter(&err) != 0)
		log_warn("%s", err.text);
}

static int
serve(struct at_main *a, struct err *err)
{
	const struct life_opt lo = { a->loop, (int)a->ready_fd, on_drain,
	    on_reload, on_usr1, a };
	const struct at_api_opt ao = { a->loop, a->http_addr, a->engine,
	    a->token, a->chat, a->alias, a->key_file, a->sec.insecure,
	    a->defaults, a->request_ns, 0, 0, 0,
	    a->odd.n > 0 ? str_c(&a->odd) : NULL, a->kn };
	struct at_metrics m;

	a->drain_timer = loop_timer(a->loop, on_drain_over, a);
	if (life_start(&a->life, &lo, err) != 0 ||
	    at_api_start(&a->api, &ao, err) != 0)
		return -1;
	at_main_report_start(a);
	shut_in(a);
	log_info("http://%s serves %s (%s)", at_api_addr(a->api), a->alias,
	    kern_variant(a->kn));
	if (life_ready(a->life, err) != 0 || loop_run(a->loop, err) != 0)
		return -1;
	at_metrics(a->engine, &m);
	print_profile(a, &m);
	if (a->cut || life_hurried(a->life))
		return err_set(err, ERR_TEMP, "left with %d requests "
		    "unfinished", at_api_running(a->api));
	return 0;
}

int
main(int argc, char **argv)
{
	struct at_main a = AT_MAIN_INIT;
	struct err err = ERR_INIT;
	const struct cli_opt *opt = options(&a);
	const struct cli cli = { "moe-attnd", NULL, "",
	    "Serve a Mixture-of-Experts model over HTTP, its experts elsewhere.",
	    opt };
	int n = cli_parse(&cli, argc, argv, &err), rc = 0;

	if (n >= 0 && n < argc)
		n = err_set(&err, ERR_USAGE, "what is '%s'?", argv[n]);
	/* A cluster named by the environment is a default only. */
	if (a.local && !cli_given(&a.cluster_file))
		a.cluster_file = NULL;
	if (n < 0 || check_options(&a, &err) != 0 ||
	    read_hedge(&a, &err) != 0) {
		mem_free((void *)(uintptr_t)opt);
		return cli_fail("moe-attnd", &err);
	}
	clock_dilate((int)a.scale);
	log_init("moe-attnd", a.name, LOG_INFO + a.verbose - a.quiet < 0 ?
	    LOG_ERROR : LOG_INFO + a.verbose - a.quiet > LOG_DEBUG ?
	    LOG_DEBUG : (enum log_level)(LOG_INFO + a.verbose - a.quiet));
	if ((a.event_file != NULL && !a.dry_run &&
	    event_log_open(a.event_file, a.name, &err) != 0) ||
	    at_main_open(&a, &err) != 0) {
		rc = -1;
	} else if (a.dry_run) {
		puts("ok");
		rc = fflush(stdout) == 0 ? 0 : err_set(&err, ERR_TEMP,
		    "cannot write to stdout");
	} else {
		rc = serve(&a, &err);
	}
	if (rc != 0)
		log_error("%s", err.text);
	at_main_close(&a);
	event_log_close();
	mem_free((void *)(uintptr_t)opt);
	return rc == 0 ? 0 : err.code;
}
