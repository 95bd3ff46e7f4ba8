/*
 * Unit tests of the HTTP API: what it refuses and in which words, clients that
 * hang up, the end of service, keys and defaults (api_rig.h).
 */
#include "api_rig.h"

/* Bodies that are refused, and the parameter that the answer names. */
static const struct {
	int status;
	const char *param, *body;	/* param "": null */
} wrong[] = {
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

static void
test_errors(void)
{
	json_t *v;
	size_t i;
	int st;

	play("never");
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		bool c = strstr(wrong[i].body, "messages") != NULL ||
		    strstr(wrong[i].body, "chat") != NULL;
		json_t *param;

		st = post(c ? "/v1/chat/completions" : "/v1/completions",
		    wrong[i].body, &v);
		param = at(v, "error.param");
		OK(st == wrong[i].status && int_at(v, "error.code") == st &&
		    (wrong[i].param[0] == '\0' ? json_is_null(param) :
		    strcmp(str_at(v, "error.param"), wrong[i].param) == 0),
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
	struct at_api_opt o = { 0 };

	if (!rig_open())
		return tap_done();
	test_defaults();
	test_keys();
	o.chat = chat;
	if (start(&o) == 0) {
		test_errors();
		test_too_long();
		test_engine_refuses();
		test_hang_up();
		test_drain();
	}
	rig_close();
	return tap_done();
}
