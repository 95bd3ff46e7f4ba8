/*
 * moe_resume of moe-attnd: wherever an answer is cut, what another request with
 * that field brings is what was still missing, byte for byte.
 *
 * The real program on the bundled model; every cut of every answer.
 */
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "mem.h"
#include "raw_client.h"
#include "sse.h"
#include "tap.h"

#define MAX_CHOICE	4

static char addr[64];

struct events {
	VEC(json_t *) v;
	bool done;
	char why[200];		/* an error event's message */
};

/* ---- the program ------------------------------ */

static pid_t
start(void)
{
	const char *b = getenv("MOE_BUILD"), *root = getenv("MOE_ROOT");
	char *prog = mem_printf("%s/bin/moe-attnd", b != NULL ? b :
	    "build/release");
	char *model = mem_printf("%s/models/tales", root != NULL ? root : ".");
	char line[512];
	int fd[2];
	pid_t pid;
	FILE *f;

	if (pipe(fd) != 0)
		exit(1);
	if ((pid = fork()) == 0) {
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		execl(prog, "moe-attnd", "-m", model, "--local", "-p",
		    "127.0.0.1:0", "--threads", "1", (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	mem_free(prog);
	mem_free(model);
	f = fdopen(fd[0], "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%*[^:]: http://%63s serves", addr) == 1)
			return pid;	/* f stays open: the log goes there */
	printf("Bail out! moe-attnd did not start\n");
	exit(1);
}

/* ---- asking ------------------------------ */

static void
on_event(void *arg, const char *event, const char *data, size_t n)
{
	struct events *e = arg;
	json_t *v;

	(void)event;
	if (strcmp(data, "[DONE]") == 0) {
		e->done = true;
		return;
	}
	v = json_loadb(data, n, JSON_ALLOW_NUL, NULL);
	if (json_object_get(v, "error") != NULL)
		snprintf(e->why, sizeof(e->why), "%s", json_string_value(
		    json_object_get(json_object_get(v, "error"), "message")));
	/* What may differ between two runs. */
	json_object_del(v, "id");
	json_object_del(v, "created");
	json_object_del(json_object_get(v, "usage"), "prompt_tokens_details");
	VEC_PUSH(&e->v, v);
}

/* Takes body over. */
static int
ask(const char *path, json_t *body, struct events *e)
{
	struct raw_reply r;
	struct sse s;
	char *text;

	json_object_set_new(body, "stream", json_true());
	json_object_set_new(body, "return_token_ids", json_true());
	json_object_set_new(body, "seed", json_integer(11));
	json_object_set_new(body, "stream_options",
	    json_pack("{sb}", "include_usage", 1));
	text = json_dumps(body, JSON_COMPACT);
	memset(e, 0, sizeof(*e));
	raw_ask(addr, "POST", path, text, &r);
	sse_init(&s, on_event, e);
	(void)sse_feed(&s, str_c(&r.body), r.body.n);
	sse_free(&s);
	if (r.status != 200)
		snprintf(e->why, sizeof(e->why), "%.190s", str_c(&r.body));
	str_free(&r.body);
	free(text);
	json_decref(body);
	return r.status;
}

static void
free_events(struct events *e)
{
	size_t i;

	for (i = 0; i < e->v.n; i++)
		json_decref(e->v.p[i]);
	VEC_FREE(&e->v);
}

static int
choice_of(const json_t *event)
{
	const json_t *c = json_array_get(json_object_get(event, "choices"), 0);

	return c != NULL ? (int)json_integer_value(json_object_get(c,
	    "index")) : MAX_CHOICE;	/* the one with the usage */
}

/* ---- cutting ------------------------------ */

/* moe_resume of the first n events. */
static json_t *
resume_of(const struct events *e, size_t n, int n_choice, bool chat)
{
	json_t *choices = json_array(), *r, *to, *c, *prompt = NULL;
	size_t i;
	int k;

	for (k = 0; k < n_choice; k++)
		json_array_append_new(choices, json_pack("{s[] sb}",
		    "token_ids", "finished", 0));
	for (i = 0; i < n; i++) {
		c = json_array_get(json_object_get(e->v.p[i], "choices"), 0);
		to = json_array_get(choices, (size_t)choice_of(e->v.p[i]));
		json_array_extend(json_object_get(to, "token_ids"),
		    json_object_get(c, "token_ids"));
		if (json_is_string(json_object_get(c, "finish_reason")))
			json_object_set_new(to, "finished", json_true());
		if (json_object_get(c, "prompt_token_ids") != NULL)
			prompt = json_object_get(c, "prompt_token_ids");
	}
	r = json_pack("{so}", "choices", choices);
	if (chat && prompt != NULL)
		json_object_set(r, "prompt_token_ids", prompt);
	return r;
}

/* Are the events of all[from..] and those of rest the same for each choice? */
static bool
same(const struct events *all, size_t from, const struct events *rest)
{
	size_t i, j;
	int k;

	if (all->v.n - from != rest->v.n || !rest->done)
		return false;
	for (k = 0; k <= MAX_CHOICE; k++)
		for (i = from, j = 0;; i++, j++) {
			while (i < all->v.n && choice_of(all->v.p[i]) != k)
				i++;
			while (j < rest->v.n && choice_of(rest->v.p[j]) != k)
				j++;
			if (i == all->v.n || j == rest->v.n) {
				if (i != all->v.n || j != rest->v.n)
					return false;
				break;
			}
			if (!json_equal(all->v.p[i], rest->v.p[j]))
				return false;
		}
	return true;
}

static void
cut_everywhere(const char *path, const char *fields, int n_choice,
    size_t min_event)
{
	json_t *body = json_loads(fields, 0, NULL), *b;
	struct events all, rest;
	size_t cut, wrong = 0;
	int status = ask(path, json_deep_copy(body), &all);

	OK(status == 200 && all.done && all.v.n >= min_event,
	    "%s: answered in %zu events", fields, all.v.n);
	for (cut = 0; cut + 1 < all.v.n; cut++) {
		b = json_deep_copy(body);
		json_object_set_new(b, "moe_resume", resume_of(&all, cut,
		    n_choice, strstr(path, "chat") != NULL));
		(void)ask(path, b, &rest);
		if (!same(&all, cut, &rest)) {
			printf("# cut after %zu of %zu events: differs %s\n",
			    cut, all.v.n, rest.why);
			wrong++;
		}
		free_events(&rest);
	}
	EQ_INT(wrong, 0, "the same from every one of %zu cuts on", cut);
	free_events(&all);
	json_decref(body);
}

static void
test_cuts(void)
{
	static const char path[] = "/v1/completions";

	cut_everywhere(path, "{\"prompt\":\"Once upon a time\","
	    "\"temperature\":0,\"max_tokens\":24}", 1, 10);
	cut_everywhere(path, "{\"prompt\":\"Once upon a time\","
	    "\"max_tokens\":24,\"n\":3,\"logprobs\":3}", 3, 30);
	cut_everywhere(path, "{\"prompt\":\"Once upon a time\",\"n\":3,"
	    "\"max_tokens\":40,\"stop\":[\"ther\",\"s.\",\"and t\"]}", 3, 12);
	cut_everywhere(path, "{\"prompt\":[\"Once upon\",\"The dog\"],\"n\":2,"
	    "\"max_tokens\":12,\"echo\":true,\"logprobs\":1,\"stop\":\"he\","
	    "\"min_tokens\":5}", 4, 20);
	/* Hot enough for bytes that are no characters by themselves. */
	cut_everywhere(path, "{\"prompt\":\"Tom\",\"temperature\":3,"
	    "\"max_tokens\":40,\"ignore_eos\":true,\"stop\":\"e\","
	    "\"include_stop_str_in_output\":true,\"min_tokens\":30}", 1, 30);
	cut_everywhere("/v1/chat/completions", "{\"messages\":[{\"role\":"
	    "\"user\",\"content\":\"hi\"}],\"logprobs\":true,\"n\":2,"
	    "\"top_logprobs\":2,\"max_tokens\":16}", 2, 10);
}

/* ---- what is refused ------------------------------ */

static void
refused(const char *path, const char *resume, const char *want)
{
	json_t *b = json_loads("{\"prompt\":\"a\",\"max_tokens\":2,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", 0, NULL);
	struct events e;

	json_object_set_new(b, "moe_resume", json_loads(resume,
	    JSON_DECODE_ANY, NULL));
	EQ_INT(ask(path, b, &e), 400, "%s: status 400", resume);
	OK(strstr(e.why, want) != NULL, "says so: %s", want);
	free_events(&e);
}

static void
test_refused(void)
{
	const char *p = "/v1/completions";

	refused(p, "3", "must be an object");
	refused(p, "{}", "choices must be an array");
	refused(p, "{\"choices\":[]}", "0 choices, the request makes 1");
	refused(p, "{\"choices\":[{\"token_ids\":[1,2,3]}]}", "more tokens");
	refused(p, "{\"choices\":[{\"token_ids\":[-1]}]}", "not a token id");
	refused(p, "{\"choices\":[{\"token_ids\":[99999999]}]}",
	    "not a token id");
	refused(p, "{\"choices\":[{\"token_ids\":7}]}", "array of token ids");
	refused(p, "{\"choices\":[{\"token_ids\":[],\"finished\":1}]}",
	    "finished");
	refused(p, "{\"prompt_token_ids\":[1],\"choices\":[{\"token_ids\":[]}"
	    "]}", "is for chat");
	refused("/v1/chat/completions", "{\"prompt_token_ids\":[1e3],"
	    "\"choices\":[]}", "not a token id");
}

int
main(void)
{
	pid_t pid = start();
	int st;

	test_cuts();
	test_refused();
	kill(pid, SIGTERM);
	OK(waitpid(pid, &st, 0) == pid && WIFEXITED(st) &&
	    WEXITSTATUS(st) == 0, "moe-attnd drains");
	return tap_done();
}
