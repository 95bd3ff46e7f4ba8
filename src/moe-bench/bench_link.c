/*
 * bench_link.c - F5.  Full round trips of slots between two processes.
 *
 * A forked server answers SLOT_PING with the same body; the client writes each
 * body, sends it, waits, and compares what comes back (column wrong).  The
 * time runs from before link_send until the answer is with the client; filling
 * and comparing are outside it, the server's copy of the body is inside.
 * Placement of virtual cores has modes (0.12 or 0.6 us for the same code), so
 * each size runs --rounds times; p50 and p99 are over all, best_p50_us is that
 * of the best round.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_link.h"
#include "cli.h"
#include "clock.h"
#include "err.h"
#include "hist.h"
#include "link.h"
#include "mac.h"
#include "mem.h"
#include "num.h"
#include "rec.h"
#include "rng.h"

#define PROG		"moe-bench link"
#define MAX_SIZES	32
#define UP_NS		10000000000ull
#define ANSWER_NS	10000000000ull
#define CHECK_STEP	61	/* bytes between two that are compared */

static const struct rec_col columns[] = {
	{ "transport", REC_STR, 0 },
	{ "bytes", REC_INT, 0 },
	{ "rtt_p50_us", REC_REAL, 0 },
	{ "rtt_p99_us", REC_REAL, 0 },
	{ "wrong", REC_INT, 0 },
	{ "n", REC_INT, 0 },
	{ "rtt_min_us", REC_REAL, 0 },
	{ "best_p50_us", REC_REAL, 0 },
	{ "mode", REC_STR, 0 },
	{ NULL, 0, 0 }
};

struct bench {
	const char *transport, *list;
	int64_t n, rounds;
	bool sleep, awake, json;
	uint64_t size[MAX_SIZES], largest;
	int n_size;
	struct link_opt opt;
	char dir[64];		/* of the socket; "" for tcp */
	char addr[LINK_ADDR];
	pid_t server;
	struct link_port *port;
	struct link_pair *pair;
	struct rec_out out;
};

/* ---- the command line ------------------------------------------------------------- */

static int
parse_sizes(struct bench *b, struct err *err)
{
	char *copy = mem_strdup(b->list), *at = copy, *word;
	int rc = 0;

	while (rc == 0 && (word = strsep(&at, ",")) != NULL) {
		uint64_t v;

		if (b->n_size == MAX_SIZES)
			rc = err_set(err, ERR_USAGE, "--bytes: more than %d "
			    "sizes", MAX_SIZES);
		else if (num_size(word, &v) != 0 || v == 0 ||
		    v > LINK_SLOT_MAX - SLOT_ALIGN)
			rc = err_set(err, ERR_USAGE, "--bytes: '%s', want 1 to "
			    "%u", word, LINK_SLOT_MAX - SLOT_ALIGN);
		else
			b->size[b->n_size++] = v;
		if (rc == 0 && v > b->largest)
			b->largest = v;
	}
	mem_free(copy);
	return rc;
}

static int
parse(struct bench *b, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 't', "transport", CLI_STR, &b->transport, "shm|tcp|tls|all",
		    "which transport", 0, 0, NULL },
		{ 'b', "bytes", CLI_STR, &b->list, "LIST",
		    "body sizes, comma separated", 0, 0, NULL },
		{ 'n', "count", CLI_INT, &b->n, "N",
		    "round trips per size and round", 1, 1e9, NULL },
		{ 'r', "rounds", CLI_INT, &b->rounds, "N",
		    "rounds per size", 1, 1000, NULL },
		{ 'w', "sleep", CLI_FLAG, &b->sleep, NULL,
		    "both ends wait with link_wait (default)", 0, 0, NULL },
		{ 'a', "awake", CLI_FLAG, &b->awake, NULL,
		    "both ends poll without ever sleeping", 0, 0, NULL },
		{ 'c', "crc", CLI_FLAG, &b->opt.crc, NULL,
		    "checksums of bodies over shm, too", 0, 0, NULL },
		{ 'j', "json", CLI_FLAG, &b->json, NULL,
		    "NDJSON instead of TSV", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL }
	};
	const struct cli cli = { "moe-bench", "link", "",
		"Measures full round trips of slots between two processes.",
		opt };
	int i = cli_parse(&cli, argc, argv, err);

	if (i < 0)
		return -1;
	if (i < argc)
		return err_set(err, ERR_USAGE, "unexpected '%s'", argv[i]);
	if (b->sleep && b->awake)
		return err_set(err, ERR_USAGE, "--sleep or --awake, not both");
	return parse_sizes(b, err);
}

/* ---- the server process -------------------------------------------------------------- */

static void
wait_some(struct link_port *p, bool awake)
{
	if (!awake)
		link_wait(p, clock_ns() + 1000000000ull);
}

/* Runs until the parent dies. */
static void
serve(const struct bench *b, struct link_port *p)
{
	struct link_event ev;
	struct slot_head h;

	for (;;) {
		while (link_next(p, &ev)) {
			if (ev.what != LINK_REQ)
				continue;
			h = ev.head;
			h.status = SLOT_OK;
			memcpy(link_answer_rows(ev.pair, ev.slot),
			    (const char *)ev.mem + slot_rows_at(h.n_route),
			    (size_t)h.n_row * h.row_bytes);
			link_answer(ev.pair, ev.slot, &h);
		}
		wait_some(p, b->awake);
	}
}

/* In the child: listen, tell the parent where (or why not), serve. */
_Noreturn static void
server_main(const struct bench *b, const char *want, int report)
{
	struct link_opt opt = b->opt;
	char text[LINK_ADDR + 1000] = { 0 };
	struct err err = ERR_INIT;
	struct link_port *p;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	opt.me.role = LINK_EXPERT;
	if (link_port_open(&p, &opt, &err) != 0 ||
	    link_listen(p, want, text + 1, &err) != 0)
		snprintf(text, sizeof(text), "!%s", err.text);
	else
		text[0] = '=';
	(void)!write(report, text, sizeof(text));
	close(report);
	if (text[0] == '=')
		serve(b, p);
	_exit(0);
}

static int
start_server(struct bench *b, const char *tp, struct err *err)
{
	char text[LINK_ADDR + 1000], want[LINK_ADDR];
	const char *tmp = getenv("TMPDIR");
	ssize_t n;
	int fd[2];

	b->dir[0] = '\0';
	snprintf(want, sizeof(want), "tcp:127.0.0.1:0");
	if (strcmp(tp, "shm") == 0) {
		snprintf(b->dir, sizeof(b->dir), "%.40s/moe-bench.XXXXXX",
		    tmp != NULL ? tmp : "/tmp");
		if (mkdtemp(b->dir) == NULL)
			return err_sys(err, ERR_TEMP, errno, "%s", b->dir);
		snprintf(want, sizeof(want), "shm:%s/sock", b->dir);
	}
	if (pipe(fd) != 0)
		return err_sys(err, ERR_TEMP, errno, "pipe");
	fflush(NULL);
	b->server = fork();
	if (b->server == 0) {
		close(fd[0]);
		server_main(b, want, fd[1]);
	}
	close(fd[1]);
	if (b->server < 0) {
		close(fd[0]);
		return err_sys(err, ERR_TEMP, errno, "fork");
	}
	n = read(fd[0], text, sizeof(text));
	close(fd[0]);
	if (n != (ssize_t)sizeof(text))
		return err_set(err, ERR_TEMP, "the server process died");
	if (text[0] != '=')
		return err_set(err, ERR_TEMP, "%s", text + 1);
	memcpy(b->addr, text + 1, LINK_ADDR);
	return 0;
}

static void
stop_server(struct bench *b)
{
	if (b->server > 0) {
		kill(b->server, SIGKILL);
		waitpid(b->server, NULL, 0);
	}
	b->server = 0;
	if (b->dir[0] != '\0') {
		if (strncmp(b->addr, "shm:", 4) == 0)
			unlink(b->addr + 4);
		rmdir(b->dir);
	}
}

/* ---- the client ------------------------------------------------------------------------- */

/* The next event of kind what; -1 when it does not come. */
static int
expect(struct bench *b, enum link_ev what, struct link_event *ev,
    uint64_t limit_ns, struct err *err)
{
	uint64_t end = 0;
	unsigned spins = 0;

	for (;;) {
		while (link_next(b->port, ev)) {
			if (ev->what == what)
				return 0;
			if (ev->what == LINK_DOWN)
				return err_set(err, ERR_TEMP, "%s: %s",
				    b->addr, ev->reason);
		}
		/* Polling looks at the clock now and then only. */
		if (!b->awake || ++spins % 1024 == 0) {
			if (end == 0)
				end = clock_ns() + limit_ns;
			else if (clock_left(end) == 0)
				return err_set(err, ERR_TEMP, "%s: nothing "
				    "comes", b->addr);
		}
		wait_some(b->port, b->awake);
	}
}

static int
connect_client(struct bench *b, struct err *err)
{
	struct link_opt opt = b->opt;
	struct link_event ev;

	opt.me.role = LINK_FRONT;
	if (link_port_open(&b->port, &opt, err) != 0)
		return -1;
	b->pair = link_dial(b->port, b->addr, NULL, err);
	if (b->pair == NULL)
		return -1;
	return expect(b, LINK_UP, &ev, UP_NS, err);
}

/* Fill or compare a body; every word differs from the last trip's. */
static void
fill(uint8_t *p, uint64_t n, uint64_t id)
{
	uint64_t i;

	for (i = 0; i < n; i += CHECK_STEP)
		p[i] = (uint8_t)(id * 31 + i);
	p[n - 1] = (uint8_t)id;
}

static bool
same(const uint8_t *p, uint64_t n, uint64_t id)
{
	uint64_t i;

	for (i = 0; i < n; i += CHECK_STEP)
		if (i != n - 1 && p[i] != (uint8_t)(id * 31 + i))
			return false;
	return p[n - 1] == (uint8_t)id;
}

static int
one_trip(struct bench *b, uint64_t bytes, uint64_t id, uint64_t *ns,
    bool *good, struct err *err)
{
	struct slot_head h = { .kind = SLOT_PING, .n_row = 1, .req_id = id,
	    .row_bytes = (uint32_t)bytes };
	struct link_event ev;
	uint64_t start;
	void *mem;
	int slot = link_reserve(b->pair, &mem);

	if (slot < 0)
		return err_set(err, ERR_TEMP, "%s: the pair is down", b->addr);
	fill((uint8_t *)mem + slot_rows_at(0), bytes, id);
	start = clock_ns();
	link_send(b->pair, slot, &h, NULL);
	if (expect(b, LINK_ANS, &ev, ANSWER_NS, err) != 0)
		return -1;
	*ns = clock_ns() - start;
	*good = ev.head.req_id == id && ev.head.row_bytes == bytes &&
	    same((const uint8_t *)ev.mem + slot_rows_at(0), bytes, id);
	link_release(b->pair, ev.slot);
	return 0;
}

static void
put_row(struct bench *b, const char *tp, uint64_t bytes, const struct hist *all,
    double best_us, int64_t wrong)
{
	rec_put_str(&b->out, tp);
	rec_put_int(&b->out, (int64_t)bytes);
	rec_put_real(&b->out, (double)hist_quantile(all, 0.5) / 1e3);
	rec_put_real(&b->out, (double)hist_quantile(all, 0.99) / 1e3);
	rec_put_int(&b->out, wrong);
	rec_put_int(&b->out, (int64_t)all->n);
	rec_put_real(&b->out, (double)all->min / 1e3);
	rec_put_real(&b->out, best_us);
	rec_put_str(&b->out, b->awake ? "awake" : "sleep");
}

static int
one_size(struct bench *b, const char *tp, uint64_t bytes, int64_t *wrong_p,
    struct err *err)
{
	struct hist *h = mem_zalloc(2 * sizeof(*h)), *all = h + 1;
	double best_us = 0, us;
	int64_t i, r, wrong = 0;
	uint64_t ns = 0, id = 1;
	bool good = false;
	int rc = 0;

	hist_clear(all);
	for (r = 0; rc == 0 && r < b->rounds; r++) {
		hist_clear(h);
		/* The first tenth warms caches and maps pages. */
		for (i = -(b->n / 10) - 1; i < b->n && rc == 0; i++) {
			rc = one_trip(b, bytes, id++, &ns, &good, err);
			if (rc != 0)
				break;
			wrong += !good;
			if (i >= 0)
				hist_add(h, ns);
		}
		us = (double)hist_quantile(h, 0.5) / 1e3;
		if (r == 0 || us < best_us)
			best_us = us;
		hist_merge(all, h);
	}
	if (rc == 0) {
		put_row(b, tp, bytes, all, best_us, wrong);
		rc = rec_end(&b->out, err);
	}
	*wrong_p += wrong;
	mem_free(h);
	return rc;
}

static int
one_transport(struct bench *b, const char *tp, int64_t *wrong, struct err *err)
{
	int i, rc;

	rc = start_server(b, tp, err);
	if (rc == 0)
		rc = connect_client(b, err);
	for (i = 0; rc == 0 && i < b->n_size; i++)
		rc = one_size(b, tp, b->size[i], wrong, err);
	link_port_close(b->port);
	b->port = NULL;
	stop_server(b);
	return rc;
}

/* ---- facts about the machine ------------------------------------------------------------ */

static void
put_facts(struct bench *b)
{
	char line[256], *model = NULL;
	double load[3] = { 0, 0, 0 };
	cpu_set_t set;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f != NULL && model == NULL &&
	    fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "model name", 10) == 0 &&
		    (model = strchr(line, ':')) != NULL)
			model[strcspn(model, "\n")] = '\0';
	if (f != NULL)
		fclose(f);
	CPU_ZERO(&set);
	(void)sched_getaffinity(0, sizeof(set), &set);
	(void)getloadavg(load, 3);
	rec_note(&b->out, "cpu %s, %d cores usable, load %.2f; full round "
	    "trips, client and server are two processes",
	    model != NULL ? model + 2 : "unknown", CPU_COUNT(&set), load[0]);
}

/* tcp from now on with a key, and TLS by it. */
static int
use_tls(struct bench *b, struct err *err)
{
	uint8_t key[LINK_SEC_KEY];

	if (mac_check(err) != 0)
		return -1;
	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return err_sys(err, ERR_TEMP, errno, "random numbers");
	link_sec_key(&b->opt.sec, key, sizeof(key));
	b->opt.sec.tls = LINK_TLS_YES;
	return 0;
}

int
bench_link_main(int argc, char **argv)
{
	static const char *const all[] = { "shm", "tcp", "tls" };
	struct bench b = { .transport = "all", .n = 2000, .rounds = 5,
	    .list = "64,4k,16k,64k,128k,1M" };
	struct err err = ERR_INIT;
	int64_t wrong = 0;
	bool any = false;
	int i, rc = 0;

	if (parse(&b, argc, argv, &err) != 0)
		return cli_fail(PROG, &err);
	snprintf(b.opt.me.name, sizeof(b.opt.me.name), "bench");
	b.opt.slot_bytes = (uint32_t)((b.largest + SLOT_BODY + SLOT_ALIGN - 1) /
	    SLOT_ALIGN * SLOT_ALIGN);
	b.opt.depth = 2;
	rec_out_open(&b.out, stdout, "link", 1, columns, b.json);
	put_facts(&b);
	for (i = 0; i < 3 && rc == 0; i++) {
		if (strcmp(b.transport, "all") != 0 &&
		    strcmp(b.transport, all[i]) != 0)
			continue;
		/* "all" is all that this build has. */
		if (i == 2 && (rc = use_tls(&b, &err)) != 0) {
			rc = any ? 0 : rc;
			continue;
		}
		any = true;
		rc = one_transport(&b, all[i], &wrong, &err);
	}
	rec_out_close(&b.out);
	if (!any && rc == 0)
		rc = err_set(&err, ERR_USAGE, "--transport: '%s', want shm, "
		    "tcp, tls or all", b.transport);
	if (rc != 0)
		return cli_fail(PROG, &err);
	return wrong != 0 ? ERR_NO : 0;
}
