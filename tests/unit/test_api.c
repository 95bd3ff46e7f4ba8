/*
 * Unit tests of the HTTP API: real HTTP over loopback, and what its endpoints
 * answer, whole and as streams (api_rig.h).
 */
#include "api_rig.h"

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

int
main(void)
{
	struct at_api_opt o = { 0 };

	if (!rig_open())
		return tap_done();
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
		stop();
	}
	rig_close();
	return tap_done();
}
