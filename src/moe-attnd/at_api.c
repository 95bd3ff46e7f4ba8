/* at_api - see at_api.h: the server, its routes, draining. */
#include "at_api.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "at_job.h"
#include "clock.h"
#include "http.h"
#include "keys.h"
#include "mem.h"

#define MAX_CHOICE	128
#define STOP_POLLS	100	/* of 0.1 s */
#define FLUSH_NS	500000000ull	/* for last words to clients */
#define FLUSH_STEP_NS	10000000ull

/* ---- small replies ---------------------------------------------------------------- */

/* Reply with v, which is taken over. */
static void
reply_json(struct http_req *r, json_t *v)
{
	char *s = v != NULL ? json_dumps(v, JSON_COMPACT) : NULL;

	BUG_ON(s == NULL);
	http_reply(r, 200, "application/json", s, strlen(s));
	free(s);
	json_decref(v);
}

static void
on_health(struct http_req *r, void *arg)
{
	struct at_api *a = arg;
	struct http_error e = { .status = 503 };
	char why[200] = "shutting down";

	if (!a->draining && at_health(a->o.engine, why))
		reply_json(r, json_pack("{ss}", "status", "ok"));
	else
		http_fail(r, &e, "%s", why);
}

static json_t *
model_json(const struct at_api *a)
{
	return json_pack("{ss ss si ss ss si ss*}", "id", a->o.model,
	    "object", "model", "created", 0, "owned_by", "moe", "root",
	    a->o.model, "max_model_len", a->cx.ctx_tok, "experiment",
	    a->o.experiment);
}

static void
on_models(struct http_req *r, void *arg)
{
	reply_json(r, json_pack("{ss s[o]}", "object", "list", "data",
	    model_json(arg)));
}

static void
on_model(struct http_req *r, void *arg)
{
	struct at_api *a = arg;
	const char *name = http_path(r) + strlen("/v1/models/");
	struct at_bad bad;

	if (strcmp(name, a->o.model) == 0) {
		reply_json(r, model_json(a));
		return;
	}
	(void)at_bad_set(&bad, 404, "model", "the model '%.200s' does not "
	    "exist here; '%s' does", name, a->o.model);
	at_job_refuse(a, r, &bad);
}

static void
on_metrics(struct http_req *r, void *arg)
{
	struct at_api *a = arg;
	struct str out = STR_INIT;
	struct emu_stats es = { 0 };
	struct at_metrics m;

	at_metrics(a->o.engine, &m);
	at_prom_text(&a->prom, &m, a->o.model, &out);
	at_prom_experiment(a->o.experiment, &out);
	if (a->o.kern != NULL) {
		emu_stats(a->o.kern, &es);
		at_prom_emu(&es, &m, &out);
	}
	http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", out.p,
	    out.n);
	str_free(&out);
}

/* ---- tokens ------------------------------------------------------------------------ */

static int
read_text(const json_t *v, struct token_text *t, struct at_bad *bad)
{
	const char *key = json_object_get(v, "content") != NULL ? "content" :
	    "prompt";
	const json_t *text = json_object_get(v, key), *add, *special;

	if (!json_is_string(text))
		return at_bad_set(bad, 400, key, "%s must be a string", key);
	add = json_object_get(v, "add_special");
	if (add == NULL)
		add = json_object_get(v, "add_special_tokens");
	special = json_object_get(v, "parse_special");
	if ((add != NULL && !json_is_boolean(add)) ||
	    (special != NULL && !json_is_boolean(special)))
		return at_bad_set(bad, 400, add != NULL &&
		    !json_is_boolean(add) ? "add_special" : "parse_special",
		    "add_special and parse_special must be true or false");
	memset(t, 0, sizeof(*t));
	t->p = json_string_value(text);
	t->n = json_string_length(text);
	t->add_special = !json_is_false(add);
	t->parse_special = json_is_true(special);
	return 0;
}

static void
on_tokenize(struct http_req *r, void *arg)
{
	struct at_api *a = arg;
	struct token_ids ids = { NULL, 0, 0 };
	struct at_bad bad = { .status = 400 };
	struct err e = ERR_INIT;
	struct token_text t;
	json_t *v, *tokens;
	size_t n, i;
	const char *body = http_body(r, &n);
	int rc = -1;

	v = at_req_json(body, n, &bad);
	if (v != NULL)
		rc = read_text(v, &t, &bad);
	if (rc == 0 && token_encode(a->o.token, &t, &ids, &e) != 0)
		rc = at_bad_set(&bad, 400, NULL, "%s", e.text);
	json_decref(v);
	if (rc != 0) {
		at_job_refuse(a, r, &bad);
		return;
	}
	tokens = json_array();
	for (i = 0; i < ids.n; i++)
		json_array_append_new(tokens, json_integer(ids.p[i]));
	reply_json(r, json_pack("{so si si}", "tokens", tokens, "count",
	    (int)ids.n, "max_model_len", a->cx.ctx_tok));
	VEC_FREE(&ids);
}

static int
read_ids(const struct at_api *a, const json_t *v, struct token_ids *ids,
    struct at_bad *bad)
{
	const json_t *list = json_object_get(v, "tokens");
	json_t *id;
	size_t i;

	if (!json_is_array(list))
		return at_bad_set(bad, 400, "tokens", "tokens must be an array "
		    "of token ids");
	json_array_foreach(list, i, id) {
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) >= a->cx.n_vocab)
			return at_bad_set(bad, 400, "tokens", "tokens[%zu] is "
			    "not a token id of this model (0..%d)", i,
			    a->cx.n_vocab - 1);
		VEC_PUSH(ids, (uint32_t)json_integer_value(id));
	}
	return 0;
}

static void
on_detokenize(struct http_req *r, void *arg)
{
	struct at_api *a = arg;
	struct token_ids ids = { NULL, 0, 0 };
	struct at_bad bad = { .status = 400 };
	struct str s = STR_INIT;
	size_t n;
	const char *body = http_body(r, &n);
	json_t *v = at_req_json(body, n, &bad);

	if (v == NULL || read_ids(a, v, &ids, &bad) != 0) {
		at_job_refuse(a, r, &bad);
	} else {
		token_decode(a->o.token, ids.p, ids.n, false, &s);
		reply_json(r, json_pack("{so so}", "content",
		    json_stringn(str_c(&s), s.n), "prompt",
		    json_stringn(str_c(&s), s.n)));
		str_free(&s);
	}
	json_decref(v);
	VEC_FREE(&ids);
}

/* ---- completions --------------------------------------------------------------------- */

static void
start_job(struct at_api *a, struct http_req *r, bool chat)
{
	struct at_bad bad;

	if (!a->draining) {
		at_job_start(a, r, chat);
		return;
	}
	(void)at_bad_set(&bad, 503, NULL, "the server is shutting down");
	at_job_refuse(a, r, &bad);
}

static void
on_completion(struct http_req *r, void *arg)
{
	start_job(arg, r, false);
}

static void
on_chat(struct http_req *r, void *arg)
{
	start_job(arg, r, true);
}

/* The engine has outputs: all of them, as it signals only once. */
static void
on_output(int fd, unsigned what, void *arg)
{
	struct at_api *a = arg;
	struct at_out o;

	(void)fd;
	(void)what;
	while (at_take(a->o.engine, &o))
		at_job_output(&o);
}

static const struct http_route routes[] = {
	{ "GET", "/health", on_health },
	{ "GET", "/v1/models", on_models },
	{ "GET", "/v1/models/*", on_model },
	{ "POST", "/v1/completions", on_completion },
	{ "POST", "/v1/chat/completions", on_chat },
	{ "POST", "/tokenize", on_tokenize },
	{ "POST", "/detokenize", on_detokenize },
	{ "GET", "/metrics", on_metrics },
	{ NULL, NULL, NULL },
};

/* ---- keys ------------------------------------------------------------------------------ */

int
at_api_reload(struct at_api *a, struct err *err)
{
	struct keys *k;

	if (a->o.key_file == NULL)
		return 0;
	if (keys_load(&k, a->o.key_file, err) != 0)
		return -1;
	keys_free(a->keys);
	a->keys = k;
	return 0;
}

/* Everything but /health needs a key, where there are keys. */
static bool
admit(struct http_req *r, void *arg)
{
	struct at_api *a = arg;
	const char *auth = http_header(r, "authorization");
	struct at_bad bad;

	if (a->o.experiment != NULL)
		http_add_header(r, "Moe-Experiment", a->o.experiment);
	if (a->keys == NULL || strcmp(http_path(r), "/health") == 0 ||
	    keys_admit(a->keys, auth))
		return true;
	http_add_header(r, "WWW-Authenticate", "Bearer");
	(void)at_bad_set(&bad, 401, NULL, auth == NULL ? "an API key is needed:"
	    " Authorization: Bearer KEY" : "this API key is not known");
	at_job_refuse(a, r, &bad);
	return false;
}

/* ---- start, drain, stop ------------------------------------------------------------------ */

static void
on_idle(void *arg)
{
	struct at_api *a = arg;
	loop_fn *fn = a->on_drained;

	a->on_drained = NULL;
	if (fn != NULL)
		fn(a->drained_arg);
}

static void
fill_context(struct at_api *a)
{
	const struct at_info *info = at_engine_info(a->o.engine);

	a->cx = (struct at_req_ctx){ a->o.token, a->o.chat, a->o.model,
	    a->o.defaults, info->n_vocab, info->ctx_tok,
	    a->o.max_choice > 0 ? a->o.max_choice : MAX_CHOICE };
}

static int
open_server(struct at_api *a, struct err *err)
{
	const struct at_api_opt *o = &a->o;
	struct http_opt h = { .loop = o->loop, .addr = o->addr,
	    .route = routes, .arg = a, .admit = admit,
	    .max_conn = o->max_conn, .max_body_bytes = o->max_body_bytes };

	if (!str_utf8_valid(o->model, strlen(o->model)))
		return err_set(err, ERR_USAGE, "the model's name is not UTF-8: "
		    "give another with --alias");
	if (at_api_reload(a, err) != 0)
		return -1;
	if (http_check_addr(o->addr, a->keys != NULL, o->insecure, err) != 0)
		return -1;
	if (getrandom(&a->seed, sizeof(a->seed), 0) !=
	    (ssize_t)sizeof(a->seed))
		return err_sys(err, ERR_TEMP, errno, "random numbers");
	return http_start(&a->http, &h, err);
}

int
at_api_start(struct at_api **a_p, const struct at_api_opt *o, struct err *err)
{
	struct at_api *a = mem_zalloc(sizeof(*a));

	a->o = *o;
	fill_context(a);
	if (open_server(a, err) != 0) {
		keys_free(a->keys);
		mem_free(a);
		return -1;
	}
	a->idle = loop_timer(o->loop, on_idle, a);
	a->watch = loop_watch(o->loop, at_out_fd(o->engine), LOOP_READ,
	    on_output, a);
	*a_p = a;
	return 0;
}

const char *
at_api_addr(const struct at_api *a)
{
	return http_addr(a->http);
}

int
at_api_running(const struct at_api *a)
{
	return a->n_job;
}

void
at_api_drain(struct at_api *a, loop_fn *done, void *arg)
{
	a->draining = true;
	a->on_drained = done;
	a->drained_arg = arg;
	http_drain(a->http);
	if (a->n_job == 0)
		loop_timer_in(a->idle, 0);
}

/* Requests that are still open end with an error, not with a hang-up. */
static void
cut_jobs(struct at_api *a)
{
	uint64_t end = clock_ns() + FLUSH_NS;
	struct at_job *j, *next;

	a->draining = true;
	http_drain(a->http);
	for (j = a->job; j != NULL; j = next) {
		next = j->next;
		at_job_cut(j);
	}
	while (http_n_conn(a->http) > 0 && clock_ns() < end)
		loop_once(a->o.loop, FLUSH_STEP_NS);
}

void
at_api_stop(struct at_api *a)
{
	struct pollfd p;
	int left;

	if (a == NULL)
		return;
	a->on_drained = NULL;
	if (a->n_job > 0)
		cut_jobs(a);
	loop_unwatch(a->watch);
	http_stop(a->http);	/* ends every reply, so every job is cancelled */
	p.fd = at_out_fd(a->o.engine);
	p.events = POLLIN;
	/* An engine that hangs must not hang this: its jobs leak then. */
	for (left = STOP_POLLS; a->n_job > 0 && left > 0; left--) {
		(void)poll(&p, 1, 100);
		on_output(p.fd, LOOP_READ, a);
	}
	loop_timer_free(a->idle);
	keys_free(a->keys);
	mem_free(a);
}
