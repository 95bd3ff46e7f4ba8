/*
 * moe-route front, the real program, before front ends that die after any
 * byte of an answer, hang, fail, refuse, and talk rubbish: what a client
 * gets is the answer of an undisturbed run.
 */
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "clock.h"
#include "fake_front.h"
#include "raw_client.h"
#include "tap.h"

#define STREAM	"{\"prompt\":\"a\",\"n\":2,\"max_tokens\":3,\"seed\":7," \
	"\"stream\":true,\"return_token_ids\":true,"			\
	"\"stream_options\":{\"include_usage\":true}}"
#define WHOLE	"{\"prompt\":\"a\",\"n\":2,\"max_tokens\":3,\"seed\":7," \
	"\"logprobs\":1,\"return_token_ids\":true}"

static const char path[] = "/v1/completions";
static char door[64];
static pid_t door_pid;

/* ---- the door ------------------------------ */

/* Reads the door's log, so that its pipe is never full; what is not the door's
 * own (a sanitizer's) is shown. */
static void *
drain_log(void *arg)
{
	char line[512];

	while (fgets(line, sizeof(line), arg) != NULL)
		if (strncmp(line, "moe-route", 9) != 0)
			printf("# %s", line);
	fclose(arg);
	return NULL;
}

static void
door_start(void)
{
	const char *b = getenv("MOE_BUILD");
	char *prog = mem_printf("%s/bin/moe-route", b != NULL ? b :
	    "build/release");
	char line[512];
	pthread_t t;
	int fd[2];
	FILE *f;

	if (pipe(fd) != 0)
		exit(1);
	if ((door_pid = fork()) == 0) {
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		execl(prog, "moe-route", "front", "-p", "127.0.0.1:0",
		    "--to", fake.addr[0], "--to", fake.addr[1], "--to",
		    fake.addr[2], "--hang", "500ms", "--probe", "20ms",
		    "--suspect", "200ms", "--probe-away", "10ms", "--stall-limit", "1s",
		    "--keep-memory", "64k", (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	mem_free(prog);
	f = fdopen(fd[0], "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%*[^:]: http://%63s serves", door) == 1 &&
		    pthread_create(&t, NULL, drain_log, f) == 0 &&
		    pthread_detach(t) == 0)
			return;
	printf("Bail out! moe-route front did not start\n");
	exit(1);
}

/* Wait until the door says that n front ends are well. */
static bool
well(int n)
{
	uint64_t end = clock_ns() + 20000000000u;
	struct raw_reply r;
	const char *at;
	int count;

	do {
		raw_ask(door, "GET", "/metrics", NULL, &r);
		count = 0;
		for (at = str_c(&r.body); (at = strstr(at,
		    "\nmoe_front_up_state{")) != NULL;) {
			at = strchr(at, '}') + 1;
			count += strncmp(at, " 2\n", 3) == 0;
		}
		str_free(&r.body);
		if (count == n)
			return true;
		poll(NULL, 0, 1);
	} while (clock_ns() < end);
	printf("# not %d front ends are well, but %d\n", n, count);
	return false;
}

static long
metric(const char *name)
{
	struct raw_reply r;
	char *want = mem_printf("\n%s ", name), *at;
	long v = -1;

	raw_ask(door, "GET", "/metrics", NULL, &r);
	at = strstr(str_c(&r.body), want);
	if (at != NULL)
		v = strtol(at + strlen(want), NULL, 10);
	str_free(&r.body);
	mem_free(want);
	return v;
}

/* ---- asking ------------------------------ */

/* All that stands for the value after key becomes X: ids and times of the
 * answer, which must be the same in all its events. */
static void
mask(struct str *s, const char *key)
{
	const char *at = strstr(str_c(s), key), *p;
	struct str out = STR_INIT;
	char value[64];
	size_t n;

	if (at == NULL)
		return;
	at += strlen(key);
	snprintf(value, sizeof(value), "%s%.*s", key, (int)strcspn(at, ",}"),
	    at);
	n = strlen(value);
	for (p = s->p; (at = strstr(p, value)) != NULL; p = at + n) {
		str_add(&out, p, (size_t)(at - p));
		str_addc(&out, 'X');
	}
	str_adds(&out, p);
	str_free(s);
	*s = out;
}

static int
ask(const char *body, struct str *out)
{
	struct raw_reply r;

	raw_ask(door, "POST", path, body, &r);
	mask(&r.body, "\"id\":");
	mask(&r.body, "\"created\":");
	*out = r.body;
	return r.status;
}

/* How many bytes of an answer, asked directly. */
static int
answer_bytes(const char *body)
{
	char *q = mem_printf("POST %s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n"
	    "%s", path, strlen(body), body);
	struct str s = STR_INIT;
	int fd = raw_connect(fake.addr[0]), n;

	(void)raw_send(fd, q, strlen(q));
	(void)raw_bytes(fd, (size_t)1 << 30, &s);
	n = (int)s.n;
	str_free(&s);
	mem_free(q);
	close(fd);
	return n;
}

/* The answer when the front end goes wrong after each step of `step`. */
static void
disturb(const char *body, enum fake_how how, int step, int end,
    const char *what)
{
	struct str want, got;
	int at, wrong = 0, n = 0;

	EQ_INT(ask(body, &want), 200, "%s: undisturbed", what);
	for (at = 0; at < end; at += step, n++) {
		fake.how = how;
		atomic_store(&fake.at, at);
		if (ask(body, &got) != 200 || strcmp(str_c(&got),
		    str_c(&want)) != 0) {
			printf("# at %d:\n# got %s\n# want %s\n", at,
			    str_c(&got), str_c(&want));
			wrong++;
		}
		str_free(&got);
		if (how == FAKE_HANG)
			fake_open();
		if (!well(FAKES))
			wrong++;
	}
	EQ_INT(wrong, 0, "%s: %d times, always the same answer", what, n);
	str_free(&want);
}

static void
test_disturbed(void)
{
	int n = answer_bytes(STREAM);

	OK(n > 1000, "an answer has %d bytes", n);
	disturb(STREAM, FAKE_DIE, 1, n, "stream, death after any byte");
	disturb(WHOLE, FAKE_DIE, 7, n, "whole, death after every 7th byte");
	disturb(STREAM, FAKE_HANG, 331, n, "stream, hang");
	disturb(STREAM, FAKE_RUBBISH, 1, 9, "stream, an event of rubbish");
	fake.code = 503;
	disturb(STREAM, FAKE_ERROR, 1, 8, "stream, error event 503");
	disturb(WHOLE, FAKE_ERROR, 1, 8, "whole, error event 503");
	OK(metric("moe_front_resumes_total") > 1000, "resumes are counted");
	OK(metric("moe_front_hedges_total") > 0, "a silent one is hedged");
	EQ_INT(metric("moe_front_failed_total"), 0, "nothing failed");
	EQ_INT(metric("moe_front_running"), 0, "nothing is left");
}

static void
test_whole(void)
{
	struct str s;

	EQ_INT(ask(WHOLE, &s), 200, "whole: status 200");
	EQ_STR(str_c(&s), "{X,\"object\":\"text_completion\",X,\"model\":\"m\","
	    "\"choices\":[{\"index\":0,\"text\":\" \\u00e9\\\"7000}"
	    "\\u00e9\\\"7001} \\u00e9\\\"7002}\",\"logprobs\":{\"tokens\":["
	    "\"[7000\",\"[7001\",\"[7002\"],\"token_logprobs\":[-7000.25,"
	    "-7001.25,-7002.25]},\"finish_reason\":\"length\",\"stop_reason\":"
	    "null,\"token_ids\":[7000,7001,7002],\"prompt_token_ids\":[1,2]},"
	    "{\"index\":1,\"text\":\" \\u00e9\\\"7100}\\u00e9\\\"7101} "
	    "\\u00e9\\\"7102}\",\"logprobs\":{\"tokens\":[\"[7100\",\"[7101\","
	    "\"[7102\"],\"token_logprobs\":[-7100.25,-7101.25,-7102.25]},"
	    "\"finish_reason\":\"length\",\"stop_reason\":null,\"token_ids\":"
	    "[7100,7101,7102],\"prompt_token_ids\":[1,2]}],\"usage\":"
	    "{\"completion_tokens\":6}}", "whole: as moe-attnd writes it");
	str_free(&s);
	EQ_INT(ask("{\"prompt\":\"a\",\"max_tokens\":1,\"stream\":true,"
	    "\"seed\":3}", &s), 200, "no ids asked for");
	EQ_STR(str_c(&s), "data: {X,\"object\":\"text_completion\",X,\"model\":"
	    "\"m\",\"choices\":[{\"index\":0,\"text\":\" \\u00e9\\\"3000}\","
	    "\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}]}"
	    "\n\ndata: {X,\"object\":\"text_completion\",X,\"model\":\"m\","
	    "\"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,"
	    "\"finish_reason\":\"length\",\"stop_reason\":null}]}\n\n"
	    "data: [DONE]\n\n", "and none given");
	str_free(&s);
}

/* A request without a seed gets one: it can be resumed like any other. */
static void
test_unseeded(void)
{
	static const char body[] = "{\"prompt\":\"a\",\"stream\":true,"
	    "\"max_tokens\":9,\"return_token_ids\":true}";
	struct str s;
	char *end;
	long first, id;
	const char *at;
	int k = 0, wrong = 0;

	fake.how = FAKE_DIE;
	atomic_store(&fake.at, 1500);
	EQ_INT(ask(body, &s), 200, "no seed: resumed");
	at = strstr(str_c(&s), "\"token_ids\":[");
	first = at != NULL ? strtol(at + 13, NULL, 10) : -1;
	for (; at != NULL; at = strstr(at + 1, "\"token_ids\":["), k++) {
		id = strtol(at + 13, &end, 10);
		wrong += end != at + 13 && id != first + k;
	}
	OK(first >= 0 && k == 10 && wrong == 0, "and one seed for all of it");
	str_free(&s);
}

/* ---- errors ------------------------------ */

static void
test_errors(void)
{
	struct raw_reply r;
	struct str s;

	fake.code = 504;
	fake.how = FAKE_ERROR;
	atomic_store(&fake.at, 2);
	EQ_INT(ask(STREAM, &s), 200, "an error of the request");
	OK(strstr(str_c(&s), "\"code\":504}}\n\n") != NULL &&
	    strstr(str_c(&s), "[DONE]") == NULL, "ends the stream");
	str_free(&s);
	atomic_store(&fake.at, 2);
	EQ_INT(ask(WHOLE, &s), 504, "or is the reply of one that is whole");
	str_free(&s);
	EQ_INT(ask("{\"stream\":\"yes\"}", &s), 400,
	    "what the door cannot read is for front ends to refuse");
	str_free(&s);
	atomic_store(&fake.refuse, 503);
	raw_ask(door, "POST", path, STREAM, &r);
	OK(r.status == 503 && strcmp(raw_header(&r, "Retry-After"), "7") == 0,
	    "all refuse: so does the door, with their Retry-After");
	str_free(&r.body);
	atomic_store(&fake.refuse, 0);
	atomic_store(&fake.old, true);
	fake.how = FAKE_DIE;
	atomic_store(&fake.at, 900);
	EQ_INT(ask(STREAM, &s), 200, "front ends that cannot resume");
	OK(strstr(str_c(&s), "\"code\":503}}") != NULL,
	    "end it with an error event, and nothing twice");
	str_free(&s);
	atomic_store(&fake.old, false);
	OK(well(FAKES), "all are well again");
}

static void
test_away(void)
{
	struct raw_reply r;
	struct str s;
	uint64_t t;

	atomic_store(&fake.gone, true);
	OK(well(0), "all are away");
	raw_ask(door, "GET", "/health", NULL, &r);
	OK(r.status == 503 && strstr(str_c(&r.body), "no front end is well") !=
	    NULL, "/health says so: %s", str_c(&r.body));
	str_free(&r.body);
	t = clock_ns();
	EQ_INT(ask(STREAM, &s), 503, "none within --stall-limit: 503");
	t = clock_ns() - t;
	OK(t > 900000000u && t < 10000000000u, "after %.2f s", (double)t / 1e9);
	str_free(&s);
	raw_ask(door, "GET", "/v1/models", NULL, &r);
	EQ_INT(r.status, 503, "/v1/models: 503");
	str_free(&r.body);
	atomic_store(&fake.gone, false);
	OK(well(FAKES), "they come back");
	raw_ask(door, "GET", "/health", NULL, &r);
	EQ_INT(r.status, 200, "/health: ok");
	str_free(&r.body);
	raw_ask(door, "GET", "/v1/models", NULL, &r);
	EQ_STR(str_c(&r.body), "{\"data\":[]}", "/v1/models is passed on");
	str_free(&r.body);
}

/* ---- clients that hang up ------------------------------ */

/* Send a request, with a key if there is one; the connection. */
static int
begin(const char *body, const char *key)
{
	struct str q = STR_INIT;
	int fd = raw_connect(door);

	str_addf(&q, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n",
	    path, strlen(body));
	if (key != NULL)
		str_addf(&q, "Idempotency-Key: %s\r\n", key);
	str_addf(&q, "\r\n%s", body);
	(void)raw_send(fd, q.p, q.n);
	str_free(&q);
	return fd;
}

/* Read up to some piece of text. */
static bool
read_to(int fd, const char *what)
{
	struct str s = STR_INIT;
	bool found = false;
	char c;

	while (!found && raw_getc(fd, &c)) {
		str_addc(&s, c);
		found = strstr(s.p, what) != NULL;
	}
	str_free(&s);
	return found;
}

static bool
until(const char *name, long want)
{
	uint64_t end = clock_ns() + 20000000000u;

	while (metric(name) != want) {
		if (clock_ns() > end)
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}

static bool
until_above(const char *name, long value)
{
	uint64_t end = clock_ns() + 20000000000u;

	while (metric(name) <= value) {
		if (clock_ns() > end)
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}

/* A front end is silent, and nobody else wants its work. */
static void
test_silent(void)
{
	long refused = metric("moe_front_refused_total");
	long suspects = metric("moe_front_suspects_total");
	int fd;

	fake.how = FAKE_HANG;
	atomic_store(&fake.at, 900);
	fd = begin(STREAM, NULL);
	OK(read_to(fd, "7000}"), "a stream that falls silent");
	atomic_store(&fake.refuse, 503);
	OK(until_above("moe_front_suspects_total", suspects) &&
	    until_above("moe_front_refused_total", refused),
	    "others are asked, and refuse");
	fake_open();
	atomic_store(&fake.refuse, 0);
	OK(read_to(fd, "[DONE]"), "it goes on all the same");
	close(fd);
	OK(well(FAKES), "and all is well");
}

static void
test_hang_up(void)
{
	int fd, aborts = atomic_load(&fake.n_abort);
	uint64_t end = clock_ns() + 20000000000u;
	char body[256];

	snprintf(body, sizeof(body), "{\"prompt\":\"a\",\"max_tokens\":900,"
	    "\"stream\":true,\"seed\":1}");
	fake.how = FAKE_WAIT;
	atomic_store(&fake.at, 900);
	fd = begin(body, NULL);
	OK(read_to(fd, "1000}"), "a stream that has begun");
	close(fd);
	OK(until("moe_front_running", 0), "its client hangs up: it ends");
	fake_open();
	while (atomic_load(&fake.n_abort) == aborts && clock_ns() < end)
		poll(NULL, 0, 1);
	OK(atomic_load(&fake.n_abort) > aborts, "at the front end, too");
}

static void
ask_key(const char *body, const char *key, struct raw_reply *r)
{
	int fd = begin(body, key);

	raw_read(fd, r, 0);
	close(fd);
}

static void
same_reply(const struct raw_reply *a, const struct raw_reply *b,
    const char *what)
{
	OK(a->status == 200 && b->status == 200 && strcmp(str_c(&a->body),
	    str_c(&b->body)) == 0, "%s: the same answer", what);
}

static void
test_keys(void)
{
	struct raw_reply a, b, c;
	int n, fd;

	ask_key(STREAM, "k1", &a);
	n = atomic_load(&fake.n_ask);
	ask_key(STREAM, "k1", &b);
	same_reply(&a, &b, "a key again");
	EQ_STR(raw_header(&b, "Idempotent-Replayed"), "true", "marked as such");
	EQ_INT(atomic_load(&fake.n_ask), n, "and nothing computed");
	ask_key(WHOLE, "k1", &c);
	EQ_INT(c.status, 422, "a key with another request");
	str_free(&b.body);
	str_free(&c.body);
	fake.how = FAKE_WAIT;
	atomic_store(&fake.at, 900);
	fd = begin(STREAM, "k2");
	OK(read_to(fd, "7000}"), "a stream with a key");
	close(fd);
	OK(until("moe_front_gone_total", 2), "loses its client");
	fd = begin(STREAM, "k2");
	OK(read_to(fd, "7000}"), "who comes back to the beginning of it");
	fake_open();
	OK(read_to(fd, "[DONE]"), "and gets the rest");
	close(fd);
	EQ_INT(atomic_load(&fake.n_ask), n + 1, "of one computation");
	ask_key(STREAM, "k2", &b);
	mask(&a.body, "\"id\":");
	mask(&b.body, "\"id\":");
	mask(&a.body, "\"created\":");
	mask(&b.body, "\"created\":");
	same_reply(&a, &b, "complete");
	str_free(&a.body);
	str_free(&b.body);
	ask_key("{\"prompt\":\"a\",\"max_tokens\":5}", "k3", &a);
	ask_key("{\"prompt\":\"a\",\"max_tokens\":5}", "k3", &b);
	same_reply(&a, &b, "whole, without a seed");
	str_free(&a.body);
	str_free(&b.body);
	ask_key("{\"prompt\":\"a\",\"max_tokens\":900,\"stream\":true}", "k4",
	    &a);
	EQ_INT(a.status, 200, "an answer beyond --keep-memory comes");
	OK(metric("moe_front_kept_bytes") <= 65536, "but is not remembered");
	str_free(&a.body);
}

static void
test_drain(void)
{
	int fd, st;

	fake.how = FAKE_WAIT;
	atomic_store(&fake.at, 900);
	fd = begin(STREAM, NULL);
	OK(read_to(fd, "7000}"), "a stream runs");
	kill(door_pid, SIGTERM);
	/* It takes new connections until the last request has ended. */
	OK(until("moe_front_running", 1), "TERM: it runs on");
	fake_open();
	OK(read_to(fd, "[DONE]"), "to its end");
	close(fd);
	OK(waitpid(door_pid, &st, 0) == door_pid && WIFEXITED(st) &&
	    WEXITSTATUS(st) == 0, "then the door leaves with status 0");
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	fake_start();
	door_start();
	OK(well(FAKES), "three front ends");
	test_whole();
	test_disturbed();
	test_unseeded();
	test_errors();
	test_away();
	test_silent();
	test_hang_up();
	test_keys();
	test_drain();
	return tap_done();
}
