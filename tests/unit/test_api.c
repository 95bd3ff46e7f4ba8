/*
 * Unit tests of the HTTP API: real HTTP over loopback, the bundled tokenizer,
 * and an engine that plays scripts (fake_engine.h).
 */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/moe-attnd/at_api.c"
#include "../../src/moe-attnd/at_body.c"
#include "../../src/moe-attnd/at_defaults.c"
#include "../../src/moe-attnd/at_job.c"
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

/* ---- tests ---------------------------------------------------------------------------- */

static void
test_small_endpoints(void)
{
	struct raw_reply r;
	json_t *v;

	play("");
	ask("GET", "/health", NULL, &r);
	OK(r.status == 200 && strcmp(str_c(&r.body), "{\"status\":\"ok\"}") == 0,
	    "healthy");
	str_free(&r.body);
	fake.sick = true;
	ask("GET", "/health", NULL, &r);
	OK(r.status == 503 && strstr(str_c(&r.body), "expert 5 has no server"),
	    "not healthy, and why");
	str_free(&r.body);
	ask("GET", "/v1/models", NULL, &r);
	v = json_loads(str_c(&r.body), 0, NULL);
	EQ_STR(str_at(v, "data.0.id"), "tales", "the model's name");
	EQ_INT(int_at(v, "data.0.max_model_len"), CTX, "its context");
	json_decref(v);
	str_free(&r.body);
	ask("GET", "/v1/models/tales", NULL, &r);
	EQ_INT(r.status, 200, "a model by its name");
	str_free(&r.body);
	ask("GET", "/v1/models/gpt", NULL, &r);
	OK(r.status == 404 && strstr(str_c(&r.body), "\"param\":\"model\""),
	    "one that is not there");
	str_free(&r.body);
	ask("GET", "/metrics", NULL, &r);
	OK(r.status == 200 && strstr(str_c(&r.body), "\nvllm:num_requests_running"
	    "{model_name=\"tales\"} 7\n") && strstr(str_c(&r.body),
	    "\nvllm:kv_cache_usage_perc{model_name=\"tales\"} 0.25\n") &&
	    strstr(str_c(&r.body), "finished_reason=\"stop\"} 3\n") &&
	    strstr(str_c(&r.body), "\n# TYPE vllm:time_to_first_token_seconds "
	    "histogram\n"), "metrics");
	str_free(&r.body);
}

static void
test_tokens(void)
{
	json_t *v, *w;
	char *body, *ids;

	EQ_INT(post("/tokenize", "{\"content\":\"Once upon a <|im_end|>\","
	    "\"add_special\":false}", &v), 200, "tokenize");
	ids = json_dumps(at(v, "tokens"), JSON_COMPACT);
	OK(int_at(v, "count") > 6 && strstr(ids, "4095") == NULL,
	    "user text gives no control token");
	body = mem_printf("{\"tokens\":%s}", ids);
	EQ_INT(post("/detokenize", body, &w), 200, "detokenize");
	EQ_STR(str_at(w, "content"), "Once upon a <|im_end|>", "and back");
	mem_free(body);
	free(ids);
	json_decref(v);
	json_decref(w);
}

static void
test_completion(void)
{
	json_t *v;

	play("Hi yo\xe2\x82\xac!");
	EQ_INT(post("/v1/completions", "{\"model\":\"tales\",\"prompt\":\"Once "
	    "upon\",\"max_tokens\":40,\"seed\":5}", &v), 200, "a completion");
	EQ_STR(str_at(v, "choices.0.text"), "Hi yo\xe2\x82\xac!", "its text");
	EQ_STR(str_at(v, "choices.0.finish_reason"), "stop", "ended by eos");
	EQ_STR(str_at(v, "object"), "text_completion", "its kind");
	OK(json_is_null(at(v, "choices.0.logprobs")) &&
	    json_is_null(at(v, "choices.0.stop_reason")), "nulls");
	EQ_INT(int_at(v, "usage.prompt_tokens"), 3, "prompt tokens");
	EQ_INT(int_at(v, "usage.completion_tokens"), 9, "answer tokens");
	EQ_INT(int_at(v, "usage.total_tokens"), 12, "both");
	json_decref(v);
	OK(fake.seen[0].sampling.seed == 5 &&
	    fake.seen[0].sampling.temperature == 0.5 &&
	    fake.seen[0].sampling.top_p == 0.9 && fake.seen[0].n_top == -1 &&
	    fake.seen[0].max_tok == 40, "what the engine got");
	fake.n_cached = 2;
	EQ_INT(post("/v1/completions", "{\"prompt\":[70,71],\"min_p\":0.1,"
	    "\"top_k\":-1,\"temperature\":0,\"min_tokens\":2,\"ignore_eos\":"
	    "true,\"stop_token_ids\":[9,8],\"unheard\":1}", &v), 200,
	    "token ids; unknown fields are ignored");
	EQ_INT(int_at(v, "usage.prompt_tokens_details.cached_tokens"), 2,
	    "cached tokens");
	json_decref(v);
	OK(fake.seen[1].sampling.min_p == 0.1 && fake.seen[1].max_tok == 16 &&
	    fake.seen[1].sampling.top_k == 0 && fake.seen[1].min_tok == 2 &&
	    fake.seen[1].ignore_eos && fake.seen[1].n_stop_id == 2 &&
	    fake.seen[1].sampling.temperature == 0, "more of it");
	EQ_INT(post("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":3}", &v),
	    200, "cut");
	EQ_STR(str_at(v, "choices.0.finish_reason"), "length", "by its length");
	json_decref(v);
}

static void
test_choices(void)
{
	json_t *v;
	int i;

	play("xy");
	EQ_INT(post("/v1/completions", "{\"prompt\":[\"a b\",[70],\"c\"],\"n\":2,"
	    "\"seed\":77}", &v), 200, "three prompts, two choices each");
	EQ_INT(json_array_size(at(v, "choices")), 6, "are six choices");
	for (i = 0; i < 6; i++)
		EQ_INT(int_at(json_array_get(at(v, "choices"), (size_t)i),
		    "index"), i, "choice %d in its place", i);
	OK(fake.seen[0].n_prompt > 1 && fake.seen[2].n_prompt == 1 &&
	    fake.seen[0].n_prompt == fake.seen[1].n_prompt,
	    "index = prompt * n + i");
	OK(fake.seen[0].sampling.seed == 77 && fake.seen[4].sampling.seed == 77
	    && fake.seen[1].sampling.seed != 77 &&
	    fake.seen[1].sampling.seed == fake.seen[3].sampling.seed,
	    "the seed is that of i = 0, others follow from (seed, i)");
	EQ_INT(int_at(v, "usage.completion_tokens"), 12, "usage of all");
	json_decref(v);
	fake.n_cached = 3;
	post("/v1/completions", "{\"prompt\":\"a\",\"n\":2}", &v);
	EQ_INT(int_at(v, "usage.prompt_tokens_details.cached_tokens"), 3,
	    "cached tokens count once a prompt");
	json_decref(v);
	OK(fake.seen[6].sampling.seed != fake.seen[7].sampling.seed &&
	    fake.seen[6].sampling.seed != 77, "no seed: each its own");
}

/* Logprobs of tokens at positions 0, 1 ... are fake_lp's. */
static void
test_logprobs(void)
{
	json_t *v, *l;

	play("ab\xe2\x82\xac");
	post("/v1/completions", "{\"prompt\":\"Once upon\",\"logprobs\":2,"
	    "\"echo\":true,\"return_token_ids\":true}", &v);
	l = at(v, "choices.0.logprobs");
	EQ_STR(str_at(v, "choices.0.text"), "Once uponab\xe2\x82\xac", "echo");
	OK(json_array_size(at(l, "tokens")) == 8 &&
	    json_array_size(at(l, "token_logprobs")) == 8 &&
	    json_array_size(at(l, "top_logprobs")) == 8 &&
	    json_array_size(at(l, "text_offset")) == 8, "eight tokens of each");
	OK(json_is_null(at(l, "token_logprobs.0")) &&
	    json_is_null(at(l, "top_logprobs.0")), "none for the first");
	OK(fabs(json_real_value(at(l, "token_logprobs.2")) + 0.75) < 1e-9 &&
	    fabs(json_real_value(at(l, "token_logprobs.3")) + 0.25) < 1e-9,
	    "of the prompt, then of the answer");
	EQ_INT(json_object_size(at(l, "top_logprobs.3")), 2, "alternatives");
	EQ_STR(str_at(l, "tokens.3"), "a", "a token");
	EQ_STR(str_at(l, "tokens.5"), "bytes:\\xe2", "part of a character");
	OK(int_at(l, "text_offset.0") == 0 && int_at(l, "text_offset.3") == 9 &&
	    int_at(l, "text_offset.5") == 11 && int_at(l, "text_offset.7") == 11,
	    "offsets count characters");
	OK(json_array_size(at(v, "choices.0.token_ids")) == 5 &&
	    json_array_size(at(v, "choices.0.prompt_token_ids")) == 3 &&
	    int_at(v, "choices.0.token_ids.0") == byte_id['a'], "token ids");
	json_decref(v);
	EQ_INT(post("/v1/completions", "{\"prompt\":\"Once upon\",\"logprobs\":0,"
	    "\"echo\":true,\"max_tokens\":0}", &v), 200, "score only");
	l = at(v, "choices.0.logprobs");
	OK(json_array_size(at(l, "tokens")) == 3 &&
	    json_object_size(at(l, "top_logprobs.1")) == 1 &&
	    strcmp(str_at(v, "choices.0.text"), "Once upon") == 0,
	    "the prompt's logprobs and nothing else");
	json_decref(v);
	post("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\","
	    "\"content\":\"x\"}],\"logprobs\":true,\"top_logprobs\":3}", &v);
	l = at(v, "choices.0.logprobs.content");
	OK(json_array_size(l) == 5 && strcmp(str_at(l, "1.token"), "b") == 0 &&
	    int_at(l, "2.bytes.0") == 0xe2 &&
	    json_array_size(at(l, "0.top_logprobs")) == 3 &&
	    fabs(json_real_value(at(l, "0.top_logprobs.2.logprob")) + 2.25) <
	    1e-9, "chat logprobs, with bytes");
	json_decref(v);
}

static void
test_stop(void)
{
	struct stream s;
	json_t *v;

	play("one STOP two");
	fake.hold_after = 10;	/* only a cancel ends it */
	post("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":50,\"stop\":"
	    "[\"zzz\",\"STOP\"],\"return_token_ids\":true}", &v);
	EQ_STR(str_at(v, "choices.0.text"), "one ", "a stop string over tokens");
	EQ_STR(str_at(v, "choices.0.finish_reason"), "stop", "is a stop");
	EQ_STR(str_at(v, "choices.0.stop_reason"), "STOP", "and which");
	EQ_INT(json_array_size(at(v, "choices.0.token_ids")), 8,
	    "its tokens are told");
	EQ_INT(int_at(v, "usage.completion_tokens"), 8, "and count");
	json_decref(v);
	OK(fake_wait_cancelled(1), "the sequence was cancelled");
	play("one STOP two");
	stream_post("/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":50,"
	    "\"stop\":\"STOP\",\"stream\":true,\"return_token_ids\":true,"
	    "\"logprobs\":0}", &s);
	EQ_STR(str_c(&s.text[0]), "one ", "streamed: the same text");
	OK(json_array_size(s.ids[0]) == 8 && json_array_size(s.lps[0]) == 8 &&
	    s.done && strcmp(s.finish[0], "stop") == 0, "the same tokens");
	stream_free(&s);
	play("one STO");
	stream_post("/v1/completions", "{\"prompt\":\"a\",\"stream\":true,"
	    "\"stop\":\"STOP\"}", &s);
	EQ_STR(str_c(&s.text[0]), "one STO", "held-back text comes at the end");
	stream_free(&s);
	play("aXbXc");
	post("/v1/completions", "{\"prompt\":\"a\",\"stop\":\"X\",\"min_tokens\":"
	    "3,\"include_stop_str_in_output\":true}", &v);
	EQ_STR(str_at(v, "choices.0.text"), "aXbX",
	    "not before min_tokens; the stop string kept on demand");
	json_decref(v);
	play("abc");
	v = NULL;
	{
		char *body = mem_printf("{\"prompt\":\"a\",\"stop_token_ids\":"
		    "[%u]}", byte_id['c']);

		post("/v1/completions", body, &v);
		mem_free(body);
	}
	OK(strcmp(str_at(v, "choices.0.text"), "ab") == 0 &&
	    int_at(v, "choices.0.stop_reason") == byte_id['c'],
	    "a stop token id");
	json_decref(v);
}

/* Whatever is asked, the pieces of a stream make up the whole reply. */
static void
test_stream_equals_whole(void)
{
	static const char *const asked[] = {
		"\"prompt\":\"a\"",
		"\"prompt\":\"a b\",\"logprobs\":2,\"echo\":true",
		"\"prompt\":\"a\",\"n\":2,\"return_token_ids\":true",
		"\"prompt\":\"a\",\"stop\":[\"\xe2\x82\xac\"],\"logprobs\":1",
		"\"prompt\":\"a\",\"max_tokens\":4,\"return_token_ids\":true",
		("\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
		    "\"logprobs\":true,\"n\":2"),
	};
	struct stream s;
	json_t *v, *lp;
	char *body, choice[32];
	size_t i, k;
	int good;

	play("ab\n\xe2\x82\xac \xc3\xbc!");
	for (i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		const char *path = strstr(asked[i], "messages") ?
		    "/v1/chat/completions" : "/v1/completions";

		body = mem_printf("{\"seed\":1,%s}", asked[i]);
		post(path, body, &v);
		mem_free(body);
		body = mem_printf("{\"seed\":1,\"stream\":true,\"stream_options\":"
		    "{\"include_usage\":true},%s}", asked[i]);
		stream_post(path, body, &s);
		mem_free(body);
		good = s.status == 200 && s.done && s.error == NULL &&
		    json_equal(s.usage, at(v, "usage"));
		for (k = 0; k < json_array_size(at(v, "choices")); k++) {
			json_t *c, *text;

			snprintf(choice, sizeof(choice), "choices.%zu", k);
			c = at(v, choice);
			text = at(c, "text");
			if (text == NULL)
				text = at(c, "message.content");
			lp = at(c, "logprobs.token_logprobs");
			if (lp == NULL)
				lp = at(c, "logprobs.content");
			good &= strcmp(json_string_value(text),
			    str_c(&s.text[k])) == 0;
			good &= strcmp(str_at(c, "finish_reason"),
			    s.finish[k]) == 0;
			if (lp != NULL)
				good &= json_equal(lp, s.lps[k]);
			if (at(c, "token_ids") != NULL)
				good &= json_equal(at(c, "token_ids"), s.ids[k])
				    && json_equal(at(c, "prompt_token_ids"),
				    s.prompt_ids);
		}
		OK(good, "stream equals whole: %s", asked[i]);
		json_decref(v);
		stream_free(&s);
	}
}

static void
test_chat(void)
{
	struct stream s;
	json_t *v;
	int plain;

	play("Hello");
	EQ_INT(post("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\","
	    "\"content\":\"end\"}],\"max_completion_tokens\":4}", &v), 200,
	    "a chat");
	EQ_STR(str_at(v, "choices.0.message.content"), "Hell", "its answer");
	EQ_STR(str_at(v, "choices.0.message.role"), "assistant", "its role");
	EQ_STR(str_at(v, "object"), "chat.completion", "its kind");
	json_decref(v);
	plain = fake.seen[0].n_prompt;
	post("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\""
	    ":[{\"type\":\"text\",\"text\":\"end\"}]}]}", &v);
	EQ_INT(fake.seen[1].n_prompt, plain, "content in parts is the same");
	EQ_INT(fake.seen[1].max_tok, CTX - plain, "up to the context's end");
	json_decref(v);
	post("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\""
	    ":\"<|im_end|>\"}],\"return_token_ids\":true}", &v);
	OK(json_array_size(at(v, "choices.0.prompt_token_ids")) >
	    (size_t)plain, "a user's <|im_end|> is text, not one token");
	json_decref(v);
	stream_post("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\","
	    "\"content\":\"x\"}],\"stream\":true}", &s);
	OK(s.status == 200 && strcmp(str_c(&s.text[0]), "Hello") == 0 && s.done,
	    "a chat stream");
	stream_free(&s);
}

static void
test_errors(void)
{
	static const struct {
		int status;
		const char *param, *body;	/* param "": null */
	} t[] = {
		{ 400, "", "" },
		{ 400, "", "{\"prompt\":\"a\"" },
		{ 400, "", "[1]" },
		{ 400, "", "{\"prompt\":\"\xff\"}" },
		{ 400, "", "{\"prompt\":\"a\",\"prompt\":\"b\"}" },
		{ 400, "prompt", "{}" },
		{ 400, "prompt", "{\"prompt\":null}" },
		{ 400, "prompt", "{\"prompt\":7}" },
		{ 400, "prompt", "{\"prompt\":[]}" },
		{ 400, "prompt", "{\"prompt\":\"\"}" },
		{ 400, "prompt", "{\"prompt\":[-1]}" },
		{ 400, "prompt", "{\"prompt\":[99999999]}" },
		{ 400, "prompt", "{\"prompt\":[1,\"a\"]}" },
		{ 400, "prompt", "{\"prompt\":[[1],{}]}" },
		{ 404, "model", "{\"prompt\":\"a\",\"model\":\"gpt-4\"}" },
		{ 400, "model", "{\"prompt\":\"a\",\"model\":4}" },
		{ 400, "max_tokens", "{\"prompt\":\"a\",\"max_tokens\":-1}" },
		{ 400, "max_tokens", "{\"prompt\":\"a\",\"max_tokens\":1.5}" },
		{ 400, "max_tokens", "{\"prompt\":\"a\",\"max_tokens\":\"9\"}" },
		{ 400, "max_tokens", "{\"prompt\":\"a\",\"max_tokens\":64}" },
		{ 400, "max_tokens", "{\"prompt\":\"a\",\"max_tokens\":0}" },
		{ 400, "min_tokens", "{\"prompt\":\"a\",\"min_tokens\":17}" },
		{ 400, "temperature", "{\"prompt\":\"a\",\"temperature\":-0.1}" },
		{ 400, "top_p", "{\"prompt\":\"a\",\"top_p\":0}" },
		{ 400, "top_p", "{\"prompt\":\"a\",\"top_p\":1.1}" },
		{ 400, "top_k", "{\"prompt\":\"a\",\"top_k\":-2}" },
		{ 400, "min_p", "{\"prompt\":\"a\",\"min_p\":2}" },
		{ 400, "n", "{\"prompt\":\"a\",\"n\":0}" },
		{ 400, "n", "{\"prompt\":\"a\",\"n\":1000}" },
		{ 400, "best_of", "{\"prompt\":\"a\",\"best_of\":2}" },
		{ 400, "seed", "{\"prompt\":\"a\",\"seed\":\"x\"}" },
		{ 400, "stop", "{\"prompt\":\"a\",\"stop\":\"\"}" },
		{ 400, "stop", "{\"prompt\":\"a\",\"stop\":[1]}" },
		{ 400, "stop", "{\"prompt\":\"a\",\"stop\":[\"1\",\"2\",\"3\","
		    "\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\","
		    "\"d\",\"e\",\"f\",\"g\",\"h\"]}" },
		{ 400, "stop_token_ids", "{\"prompt\":\"a\",\"stop_token_ids\":"
		    "[-3]}" },
		{ 400, "stream", "{\"prompt\":\"a\",\"stream\":1}" },
		{ 400, "stream_options", "{\"prompt\":\"a\",\"stream_options\":"
		    "{\"include_usage\":true}}" },
		{ 400, "logprobs", "{\"prompt\":\"a\",\"logprobs\":21}" },
		{ 400, "logit_bias", "{\"prompt\":\"a\",\"logit_bias\":"
		    "{\"1\":5}}" },
		{ 400, "suffix", "{\"prompt\":\"a\",\"suffix\":\"b\"}" },
		{ 400, "presence_penalty", "{\"prompt\":\"a\","
		    "\"presence_penalty\":0.5}" },
		{ 400, "frequency_penalty", "{\"prompt\":\"a\","
		    "\"frequency_penalty\":0.5}" },
		{ 400, "repetition_penalty", "{\"prompt\":\"a\","
		    "\"repetition_penalty\":1.1}" },
		{ 400, "response_format", "{\"prompt\":\"a\","
		    "\"response_format\":{\"type\":\"json_object\"}}" },
		{ 400, "messages", "{\"chat\":1}" },
		{ 400, "messages", "{\"messages\":[]}" },
		{ 400, "messages", "{\"messages\":[7]}" },
		{ 400, "messages", "{\"messages\":[{\"content\":\"a\"}]}" },
		{ 400, "messages", "{\"messages\":[{\"role\":\"user\","
		    "\"content\":7}]}" },
		{ 400, "messages", "{\"messages\":[{\"role\":\"user\",\"content\""
		    ":[{\"type\":\"image_url\"}]}]}" },
		{ 400, "max_tokens", "{\"messages\":[{\"role\":\"user\","
		    "\"content\":\"a\"}],\"max_tokens\":0}" },
		{ 400, "top_logprobs", "{\"messages\":[{\"role\":\"user\","
		    "\"content\":\"a\"}],\"top_logprobs\":2}" },
		{ 400, "chat_template_kwargs", "{\"messages\":[{\"role\":"
		    "\"user\",\"content\":\"a\"}],\"chat_template_kwargs\":"
		    "{\"cls_token\":\"x\"}}" },
		{ 400, "continue_final_message", "{\"messages\":[{\"role\":"
		    "\"user\",\"content\":\"a\"}],"
		    "\"continue_final_message\":true}" },
		{ 400, "tool_choice", "{\"messages\":[{\"role\":\"user\","
		    "\"content\":\"a\"}],\"tool_choice\":\"required\"}" },
	};
	json_t *v;
	size_t i;
	int st;

	play("never");
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		bool c = strstr(t[i].body, "messages") != NULL ||
		    strstr(t[i].body, "chat") != NULL;
		json_t *param;

		st = post(c ? "/v1/chat/completions" : "/v1/completions",
		    t[i].body, &v);
		param = at(v, "error.param");
		OK(st == t[i].status && int_at(v, "error.code") == st &&
		    (t[i].param[0] == '\0' ? json_is_null(param) :
		    strcmp(str_at(v, "error.param"), t[i].param) == 0),
		    "error %zu: %d %s", i, st, str_at(v, "error.message"));
		json_decref(v);
	}
	EQ_INT(fake.n_seen, 0, "none of them reached the engine");
	st = post("/tokenize", "{\"text\":\"a\"}", &v);
	OK(st == 400 && strcmp(str_at(v, "error.param"), "prompt") == 0,
	    "tokenize without text");
	json_decref(v);
	st = post("/detokenize", "{\"tokens\":[1,-1]}", &v);
	OK(st == 400 && strcmp(str_at(v, "error.param"), "tokens") == 0,
	    "detokenize of no token");
	json_decref(v);
}

static void
test_too_long(void)
{
	struct str b = STR_INIT;
	json_t *v;
	int i;

	play("x");
	str_adds(&b, "{\"prompt\":[1");
	for (i = 0; i < CTX; i++)
		str_adds(&b, ",1");
	str_adds(&b, "]}");
	i = post("/v1/completions", str_c(&b), &v);
	OK(i == 400 && strstr(str_at(v, "error.message"), "65") &&
	    strstr(str_at(v, "error.message"), "64"),
	    "longer than the context: %s", str_at(v, "error.message"));
	json_decref(v);
	str_free(&b);
}

static void
test_engine_refuses(void)
{
	struct stream s;
	json_t *v;
	int st;

	play("x");
	fake.submit_code = ERR_TEMP;
	st = post("/v1/completions", "{\"prompt\":\"a\"}", &v);
	OK(st == 503, "draining: %s", str_at(v, "error.message"));
	json_decref(v);
	play("x");
	fake.submit_code = ERR_NO;
	st = post("/v1/completions", "{\"prompt\":\"a\"}", &v);
	OK(st == 429, "a full queue: %s", str_at(v, "error.message"));
	json_decref(v);
	play("abc");
	fake.submit_code = ERR_USAGE;
	fake.submit_after = 1;
	fake.hold_after = 1;
	OK(post("/v1/completions", "{\"prompt\":\"a\",\"n\":3}", &v) == 400,
	    "what can never fit is the client's fault");
	json_decref(v);
	OK(fake_wait_cancelled(1), "the choice that had begun is cancelled");
	play("abc");
	fake.fail_after = 0;
	OK(post("/v1/completions", "{\"prompt\":\"a\"}", &v) == 504 &&
	    strcmp(str_at(v, "error.message"), "no server has it") == 0,
	    "a failure before the first token is a status");
	json_decref(v);
	stream_post("/v1/completions", "{\"prompt\":\"a\",\"stream\":true}", &s);
	OK(s.status == 504, "for a stream as well");
	stream_free(&s);
	play("abc");
	fake.fail_after = 2;
	stream_post("/v1/completions", "{\"prompt\":\"a\",\"stream\":true}", &s);
	OK(s.status == 200 && strcmp(str_c(&s.text[0]), "ab") == 0 &&
	    strcmp(str_at(s.error, "error.message"), "no server has it") == 0 &&
	    int_at(s.error, "error.code") == 504 && !s.done,
	    "a failure in the middle ends the stream with an error event");
	stream_free(&s);
}

static void
test_hang_up(void)
{
	static const char text[] = "POST /v1/completions HTTP/1.1\r\nHost: t\r\n"
	    "Content-Length: 35\r\n\r\n"
	    "{\"prompt\":\"a\",\"stream\":true,\"n\":3 }";
	struct raw_reply r;
	char line[256];
	int fd;

	play("abcdef");
	fake.hold_after = 2;
	fd = raw_connect(addr);
	fake_sync();
	raw_puts(fd, text);
	raw_read_head(fd, &r);
	OK(r.status == 200 && raw_line(fd, line, sizeof(line)) &&
	    raw_line(fd, line, sizeof(line)) && strstr(line, "data: {"),
	    "a stream that has begun");
	close(fd);
	OK(fake_wait_cancelled(3), "its client hangs up: all is cancelled");
}

static void
test_drain(void)
{
	static const char text[] = "POST /v1/completions HTTP/1.1\r\nHost: t\r\n"
	    "Content-Length: 14\r\n\r\n{\"prompt\":\"a\"}";
	struct at_seq *s;
	struct raw_reply r;
	json_t *v;
	int fd = raw_connect(addr), i = 0;

	play("abc");
	fake.hold_after = 1;
	fake_sync();
	raw_puts(fd, text);
	pthread_mutex_lock(&fake.lock);
	while (fake.n_held < 1)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
	loop_ring(do_drain);
	while (post("/v1/completions", "{\"prompt\":[]}", &v) != 503 && i++ < 500)
		json_decref(v);
	EQ_STR(str_at(v, "error.message"), "the server is shutting down",
	    "a drain refuses new requests");
	json_decref(v);
	ask("GET", "/health", NULL, &r);
	EQ_INT(r.status, 503, "and is not healthy");
	str_free(&r.body);
	pthread_mutex_lock(&fake.lock);	/* now let the old one end */
	s = fake.held[--fake.n_held];
	fake.hold_after = -1;
	fake_run(s);
	pthread_mutex_unlock(&fake.lock);
	raw_read(fd, &r, 0);
	OK(r.status == 200, "what was running is answered");
	str_free(&r.body);
	close(fd);
	pthread_join(thread, NULL);
	OK(at_api_running(api) == 0, "then the drain is done");
	at_api_stop(api);
}

static void
test_keys(void)
{
	char *path = mem_printf("%s/keys", scratch_begin());
	struct at_api_opt o = { .key_file = path };
	struct raw_reply r;
	FILE *f = fopen(path, "w");
	int fd;

	fputs("# keys\n\n  sesame  \nother\n", f);
	fclose(f);
	chmod(path, 0600);
	EQ_INT(start(&o), 0, "a server with keys");
	ask("GET", "/v1/models", NULL, &r);
	OK(r.status == 401 && strcmp(raw_header(&r, "WWW-Authenticate"),
	    "Bearer") == 0, "no key");
	str_free(&r.body);
	ask("GET", "/health", NULL, &r);
	EQ_INT(r.status, 200, "/health needs none");
	str_free(&r.body);
	fd = raw_connect(addr);
	raw_puts(fd, "GET /v1/models HTTP/1.1\r\nHost: t\r\n"
	    "Authorization: Bearer sesam\r\n\r\n"
	    "GET /v1/models HTTP/1.1\r\nHost: t\r\n"
	    "authorization: bearer sesame\r\n\r\n");
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 401, "a wrong key");
	str_free(&r.body);
	raw_read(fd, &r, 0);
	EQ_INT(r.status, 200, "the right one");
	str_free(&r.body);
	close(fd);
	stop();
	o.key_file = NULL;
	o.addr = "0.0.0.0:0";
	EQ_INT(start(&o), ERR_USAGE, "a public address needs a key");
	o.addr = NULL;
	o.key_file = "/nonexistent";
	EQ_INT(start(&o), ERR_DATA, "a key file that is not there");
	mem_free(path);
	scratch_end();
}

static void
test_defaults(void)
{
	char *dir = scratch_root("models/tales"), *warn = NULL;
	struct at_defaults d;
	struct err e = ERR_INIT;
	FILE *f;
	char *path;

	OK(at_defaults_load(&d, dir, &warn, &e) == 0 && d.temperature == 0.8 &&
	    d.top_p == 0.95 && d.top_k == 0 && warn == NULL,
	    "generation_config.json of the bundled model");
	mem_free(dir);
	path = mem_printf("%s/generation_config.json", scratch_begin());
	OK(at_defaults_load(&d, scratch_dir, &warn, &e) == 0 &&
	    d.temperature == 1 && d.top_p == 1, "none: vLLM's");
	f = fopen(path, "w");
	fputs("{\"top_k\":20,\"repetition_penalty\":1.05,\"max_new_tokens\":9}",
	    f);
	fclose(f);
	OK(at_defaults_load(&d, scratch_dir, &warn, &e) == 0 && d.top_k == 20 &&
	    d.max_tok == 9 && warn && strstr(warn, "repetition_penalty 1.05"),
	    "what is lacking is named: %s", warn);
	mem_free(warn);
	f = fopen(path, "w");
	fputs("{\"top_p\":7}", f);
	fclose(f);
	OK(at_defaults_load(&d, scratch_dir, &warn, &e) == -1 &&
	    e.code == ERR_DATA, "a bad one: %s", e.text);
	mem_free(path);
	scratch_end();
}

int
main(void)
{
	char *dir = scratch_root("models/tales");
	struct at_api_opt o = { 0 };
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	if (!OK(token_load(&token, dir, &e) == 0 && chat_load(&chat, dir, NULL,
	    &e) == 0 && loop_open(&loop, &e) == 0, "the rig: %s", e.text))
		return tap_done();
	mem_free(dir);
	find_bytes();
	eos = (uint32_t)token_eos(token);
	fake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fake.info = (struct at_info){ (int)token_vocab_size(token), CTX, &eos, 1,
	    0, "fake" };
	do_drain = loop_bell(loop, on_drain_bell, NULL, &e);
	test_defaults();
	test_keys();
	o.chat = chat;
	if (start(&o) == 0) {
		test_small_endpoints();
		test_tokens();
		test_completion();
		test_choices();
		test_logprobs();
		test_stop();
		test_stream_equals_whole();
		test_chat();
		test_errors();
		test_too_long();
		test_engine_refuses();
		test_hang_up();
		test_drain();
	}
	EQ_INT(fake.n_live, 0, "the engine holds nothing any more");
	loop_bell_free(do_drain);
	loop_close(loop);
	chat_free(chat);
	token_free(token);
	VEC_FREE(&fake.out);
	close(fake.fd);
	return tap_done();
}
