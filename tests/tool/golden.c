/*
 * golden - ask a server for the continuations in a golden.json and compare.
 *
 *     golden [--all] [--force] [--seed N] [--tol X] URL golden.json
 *
 * One after another, or with --all at once.  Greedy: every token must be the
 * golden one and every logprob, of the prompt too, within --tol.  --force gives
 * prompt and golden tokens as the prompt and compares the logprobs of these
 * (for bf16, where greedy runs may part).  --seed draws instead, and compares
 * nothing.  Prints: wrong, largest difference, rms, and a hash over all tokens
 * and bits of logprobs.  Exit 1 when something is wrong, 75 when the server
 * failed.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "str.h"

struct one {			/* a case under way */
	json_t *golden;
	CURL *curl;
	struct curl_slist *head;
	char *body;
	struct str reply;
	json_t *parsed;
};

static struct {
	const char *url;
	int all, force;
	const char *seed;
	double tol;
	size_t wrong, n;
	double worst, sum2;
	uint64_t hash;
} g = { .tol = 5e-4, .hash = 1469598103934665603u };

static size_t
on_data(char *p, size_t size, size_t n, void *arg)
{
	str_add(arg, p, size * n);
	return size * n;
}

static json_t *
request(const struct one *o)
{
	json_t *prompt = json_deep_copy(json_object_get(o->golden, "prompt"));
	json_t *greedy = json_object_get(o->golden, "greedy"), *r;
	size_t n = json_array_size(greedy);

	if (g.force) {
		json_array_extend(prompt, greedy);
		n = 0;
	}
	r = json_pack("{s:o, s:I, s:i, s:b, s:b, s:b, s:b}", "prompt", prompt,
	    "max_tokens", (json_int_t)n, "logprobs", 0, "echo", 1,
	    "ignore_eos", 1, "return_token_ids", 1, "add_special_tokens", 0);
	if (g.seed != NULL) {
		json_object_set_new(r, "seed", json_integer(atoll(g.seed)));
		json_object_set_new(r, "temperature", json_real(0.9));
		json_object_set_new(r, "top_p", json_real(0.95));
	} else {
		json_object_set_new(r, "temperature", json_integer(0));
	}
	return r;
}

static void
begin(struct one *o, CURLM *multi)
{
	struct str url = STR_INIT;
	json_t *r = request(o);

	str_addf(&url, "%s/v1/completions", g.url);
	o->body = json_dumps(r, JSON_COMPACT);
	o->curl = curl_easy_init();
	o->head = curl_slist_append(NULL, "Content-Type: application/json");
	curl_easy_setopt(o->curl, CURLOPT_URL, str_c(&url));
	curl_easy_setopt(o->curl, CURLOPT_HTTPHEADER, o->head);
	curl_easy_setopt(o->curl, CURLOPT_POSTFIELDS, o->body);
	curl_easy_setopt(o->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(o->curl, CURLOPT_WRITEDATA, &o->reply);
	curl_easy_setopt(o->curl, CURLOPT_TIMEOUT, 120L);
	curl_multi_add_handle(multi, o->curl);
	json_decref(r);
	str_free(&url);
}

static void
run(CURLM *multi)
{
	int running = 1;

	while (running > 0) {
		curl_multi_perform(multi, &running);
		if (running > 0)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
}

static void
hash(const void *p, size_t n)
{
	const unsigned char *b = p;

	while (n-- > 0)
		g.hash = (g.hash ^ *b++) * 1099511628211u;
}

static void
compare(double got, double want)
{
	double d = fabs(got - want);

	g.n++;
	g.sum2 += d * d;
	if (!(d <= g.worst))
		g.worst = d;
	if (g.seed == NULL && !(d <= g.tol))
		g.wrong++;
}

/* lp: the reply's logprobs of prompt and continuation. */
static void
check_logprobs(const struct one *o, json_t *lp)
{
	json_t *want = json_object_get(o->golden, "prompt_logprobs"), *w;
	size_t n_prompt = json_array_size(want), i;
	double got;
	float bits;

	for (i = 0; i < json_array_size(lp); i++) {
		got = json_real_value(json_array_get(lp, i));
		bits = (float)got;
		hash(&bits, sizeof(bits));
		/* The rms to compare with is over the continuation alone. */
		if (g.seed != NULL || (g.force && i < n_prompt))
			continue;
		w = i < n_prompt ? json_array_get(want, i) : json_array_get(
		    json_object_get(o->golden, "logprobs"), i - n_prompt);
		if (json_is_number(w))
			compare(got, json_number_value(w));
	}
}

static int
check(struct one *o)
{
	json_t *choice, *ids, *lp, *want = json_object_get(o->golden, "greedy");
	json_error_t why;
	uint32_t id;
	char *nul;
	size_t i;

	/* jansson takes no NUL in a key, and a token's text may be one. */
	for (nul = o->reply.p; nul != NULL &&
	    (nul = strstr(nul, "\\u0000")) != NULL; nul += 6)
		nul[5] = '1';
	o->parsed = json_loads(str_c(&o->reply), 0, &why);
	choice = json_array_get(json_object_get(o->parsed, "choices"), 0);
	ids = json_object_get(choice, "token_ids");
	lp = json_object_get(json_object_get(choice, "logprobs"),
	    "token_logprobs");
	if (ids == NULL || lp == NULL) {
		fprintf(stderr, "golden: bad reply (%s): %.300s\n",
		    o->parsed ? "no token_ids" : why.text, str_c(&o->reply));
		return -1;
	}
	for (i = 0; i < json_array_size(ids); i++) {
		id = (uint32_t)json_integer_value(json_array_get(ids, i));
		hash(&id, sizeof(id));
		if (g.seed == NULL && !g.force && id != (uint32_t)
		    json_integer_value(json_array_get(want, i)))
			g.wrong++;
	}
	if (!g.force && json_array_size(ids) != json_array_size(want))
		g.wrong++;
	check_logprobs(o, lp);
	return 0;
}

static void
end(struct one *o, CURLM *multi)
{
	curl_multi_remove_handle(multi, o->curl);
	curl_easy_cleanup(o->curl);
	curl_slist_free_all(o->head);
	json_decref(o->parsed);
	str_free(&o->reply);
	free(o->body);
}

static int
options(int argc, char **argv)
{
	static const struct option opt[] = {
		{ "all", no_argument, &g.all, 1 },
		{ "force", no_argument, &g.force, 1 },
		{ "seed", required_argument, NULL, 's' },
		{ "tol", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", opt, NULL)) != -1) {
		if (c == 's')
			g.seed = optarg;
		else if (c == 't')
			g.tol = atof(optarg);
		else if (c != 0)
			return -1;
	}
	return argc - optind == 2 ? 0 : -1;
}

int
main(int argc, char **argv)
{
	json_t *file, *cases;
	json_error_t why;
	struct one *one;
	CURLM *multi;
	size_t n, i;
	int rc = 0;

	if (options(argc, argv) != 0) {
		fprintf(stderr, "usage: golden [--all] [--force] [--seed N] "
		    "[--tol X] URL golden.json\n");
		return ERR_USAGE;
	}
	g.url = argv[optind];
	file = json_load_file(argv[optind + 1], 0, &why);
	cases = json_object_get(file, "cases");
	n = json_array_size(cases);
	if (n == 0) {
		fprintf(stderr, "golden: %s: no cases\n", argv[optind + 1]);
		return ERR_DATA;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	one = mem_calloc(n, sizeof(*one));
	for (i = 0; i < n; i++) {
		one[i].golden = json_array_get(cases, i);
		begin(&one[i], multi);
		if (!g.all)
			run(multi);
	}
	run(multi);
	for (i = 0; i < n && rc == 0; i++)
		rc = check(&one[i]) != 0 ? ERR_TEMP : 0;
	for (i = 0; i < n; i++)
		end(&one[i], multi);
	mem_free(one);
	curl_multi_cleanup(multi);
	curl_global_cleanup();
	if (rc != 0) {
		json_decref(file);
		return rc;
	}
	printf("wrong=%zu worst=%.3g rms=%.6f hf_bf16_rms=%.6f hash=%016llx\n",
	    g.wrong, g.worst, sqrt(g.sum2 / (double)(g.n ? g.n : 1)),
	    json_number_value(json_object_get(file, "hf_bf16_rms")),
	    (unsigned long long)g.hash);
	json_decref(file);
	return g.wrong != 0;
}
