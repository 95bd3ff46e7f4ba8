/*
 * api_rig.h - the HTTP API over loopback, with the bundled tokenizer and an
 * engine that plays scripts (fake_engine.h); questions to it, and its streams.
 */
#ifndef MOE_API_RIG_H
#define MOE_API_RIG_H

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/moe-attnd/at_api.c"
#include "../../src/moe-attnd/at_body.c"
#include "../../src/moe-attnd/at_defaults.c"
#include "../../src/moe-attnd/at_job.c"
#include "../../src/moe-attnd/at_prof.c"
#include "../../src/moe-attnd/at_prom.c"
#include "../../src/moe-attnd/at_prompt.c"
#include "../../src/moe-attnd/at_req.c"
#include "../../src/moe-attnd/at_resume.c"
#include "../../src/moe-attnd/at_text.c"
#include "raw_client.h"
#include "scratch.h"
#include "tap.h"
#include "fake_engine.h"

#define CTX	64

static struct token *token;
static struct chat *chat;
static struct loop *loop;
static struct at_api *api;
static struct loop_bell *do_drain;
static pthread_t thread;
static char addr[64];
static uint32_t byte_id[256];	/* the token of a single byte */
static uint32_t eos = 0;

/* ---- the rig -------------------------------------------------------------------------- */

static void *
serve(void *arg)
{
	struct err e = ERR_INIT;

	(void)arg;
	loop_run(loop, &e);
	return NULL;
}

static void
stop_loop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void
on_drain_bell(void *arg)
{
	(void)arg;
	at_api_drain(api, stop_loop, NULL);
}

static int
start(const struct at_api_opt *more)
{
	struct at_api_opt o = *more;
	struct err e = ERR_INIT;

	o.loop = loop;
	o.addr = o.addr != NULL ? o.addr : "127.0.0.1:0";
	o.engine = &fake;
	o.token = token;
	o.model = "tales";
	o.defaults.temperature = 0.5;
	o.defaults.top_p = 0.9;
	if (at_api_start(&api, &o, &e) != 0) {
		printf("# %s\n", e.text);
		return e.code;
	}
	snprintf(addr, sizeof(addr), "%s", at_api_addr(api));
	pthread_create(&thread, NULL, serve, NULL);
	return 0;
}

static void
stop(void)
{
	loop_stop(loop);
	pthread_join(thread, NULL);
	at_api_stop(api);
}

static void
find_bytes(void)
{
	uint32_t id;
	size_t n;

	for (id = 0; id < token_vocab_size(token); id++) {
		const char *p = token_piece_bytes(token, id, &n);

		if (n == 1 && !token_is_control(token, id))
			byte_id[(unsigned char)*p] = id;
	}
}

/* A script of one token a byte. */
static void
play(const char *text)
{
	uint32_t id[FAKE_MAX];
	int n = 0;

	for (; *text != '\0' && n < FAKE_MAX; text++)
		id[n++] = byte_id[(unsigned char)*text];
	fake_script(id, n);
}

static void
ask(const char *method, const char *path, const char *body,
    struct raw_reply *r)
{
	fake_sync();
	raw_ask(addr, method, path, body, r);
	fake_sync();
}

/* POST body to path: the reply's status; *v_p its JSON. */
static int
post(const char *path, const char *body, json_t **v_p)
{
	struct raw_reply r;

	ask("POST", path, body, &r);
	*v_p = json_loadb(str_c(&r.body), r.body.n, 0, NULL);
	str_free(&r.body);
	return r.status;
}

/* The value at "choices.0.text"; NULL if there is none. */
static json_t *
at(json_t *v, const char *path)
{
	char key[64];
	size_t n;

	while (*path != '\0' && v != NULL) {
		n = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)n, path);
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(key)) :
		    json_object_get(v, key);
		path += n + (path[n] == '.');
	}
	return v;
}

static const char *
str_at(json_t *v, const char *path)
{
	const char *s = json_string_value(at(v, path));

	return s != NULL ? s : "(none)";
}

static long long
int_at(json_t *v, const char *path)
{
	json_t *x = at(v, path);

	return json_is_integer(x) ? json_integer_value(x) : -999;
}

/* ---- streams ---------------------------------------------------------------------------- */

struct stream {
	int status, n_event;
	struct str text[4];	/* by choice */
	json_t *ids[4], *lps[4];
	char finish[4][16];
	json_t *usage, *error, *prompt_ids;
	bool done;		/* [DONE] came, last */
};

static void
take_event(struct stream *s, const char *p, size_t n)
{
	json_t *v, *c, *lp, *x;
	size_t i, k;

	s->n_event++;
	if (n == 6 && memcmp(p, "[DONE]", 6) == 0) {
		s->done = true;
		return;
	}
	s->done = false;
	v = json_loadb(p, n, 0, NULL);
	if (at(v, "error") != NULL)
		s->error = json_incref(v);
	if (at(v, "usage") != NULL)
		s->usage = json_incref(at(v, "usage"));
	json_array_foreach(at(v, "choices"), i, c) {
		k = (size_t)int_at(c, "index") & 3;
		str_adds(&s->text[k], at(c, "delta") != NULL ?
		    str_at(c, "delta.content") : str_at(c, "text"));
		json_array_extend(s->ids[k], at(c, "token_ids"));
		if (at(c, "prompt_token_ids") != NULL) {
			json_decref(s->prompt_ids);
			s->prompt_ids = json_incref(at(c, "prompt_token_ids"));
		}
		lp = at(c, "logprobs.token_logprobs");
		if (lp == NULL)
			lp = at(c, "logprobs.content");
		json_array_extend(s->lps[k], lp);
		x = at(c, "finish_reason");
		if (json_is_string(x))
			snprintf(s->finish[k], 16, "%s", json_string_value(x));
	}
	json_decref(v);
}

static void
stream_post(const char *path, const char *body, struct stream *s)
{
	struct raw_reply r;
	const char *p, *end;
	int k;

	memset(s, 0, sizeof(*s));
	for (k = 0; k < 4; k++) {
		s->ids[k] = json_array();
		s->lps[k] = json_array();
	}
	ask("POST", path, body, &r);
	s->status = r.status;
	for (p = str_c(&r.body); strncmp(p, "data: ", 6) == 0; p = end + 2) {
		end = strstr(p, "\n\n");
		if (end == NULL)
			break;
		take_event(s, p + 6, (size_t)(end - p) - 6);
	}
	str_free(&r.body);
}

static void
stream_free(struct stream *s)
{
	int k;

	for (k = 0; k < 4; k++) {
		str_free(&s->text[k]);
		json_decref(s->ids[k]);
		json_decref(s->lps[k]);
	}
	json_decref(s->usage);
	json_decref(s->error);
	json_decref(s->prompt_ids);
}

/* Everything but the API itself, which start() and stop() make and end. */
static bool
rig_open(void)
{
	char *dir = scratch_root("models/tales");
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	if (!OK(token_load(&token, dir, &e) == 0 && chat_load(&chat, dir, NULL,
	    &e) == 0 && loop_open(&loop, &e) == 0, "the rig: %s", e.text))
		return false;
	mem_free(dir);
	find_bytes();
	eos = (uint32_t)token_eos(token);
	fake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fake.info = (struct at_info){ (int)token_vocab_size(token), CTX, &eos, 1,
	    0, "fake" };
	do_drain = loop_bell(loop, on_drain_bell, NULL, &e);
	return true;
}

static void
rig_close(void)
{
	EQ_INT(fake.n_live, 0, "the engine holds nothing any more");
	loop_bell_free(do_drain);
	loop_close(loop);
	chat_free(chat);
	token_free(token);
	VEC_FREE(&fake.out);
	close(fake.fd);
}

#endif
