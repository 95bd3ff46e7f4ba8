/*
 * expertd_rig - the real moe-expertd as a process, and a front end that asks it
 * and checks every answer against a plain computation, bit for bit.
 */
#ifndef MOE_EXPERTD_RIG_H
#define MOE_EXPERTD_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "hold.h"
#include "kern.h"
#include "link.h"
#include "mem.h"
#include "model.h"
#include "rng.h"
#include "store.h"
#include "tap.h"

#define LIMIT_NS	30000000000ull	/* on anything that must happen */
#define MAX_ROW		12
#define MAX_ROUTE	16

static struct model *model;
static const struct model_cfg *cfg;
static struct kern *kn;
static struct kern_expert *weights;	/* [n_layer][n_expert], the oracle's */
static char dir[64];			/* for sockets */

/* ---- the daemon ---------------------------------------------------------- */

struct daemon {
	pid_t pid;
	int ready;		/* read end of --ready-fd */
};

static inline const char *
binary(void)
{
	static char path[512];
	const char *b = getenv("MOE_BUILD");

	snprintf(path, sizeof(path), "%s/bin/moe-expertd",
	    b == NULL ? "build/release" : b);
	return path;
}

static inline const char *
model_path(void)
{
	static char path[512];
	const char *root = getenv("MOE_ROOT");

	snprintf(path, sizeof(path), "%s/models/tales",
	    root == NULL ? "." : root);
	return path;
}

/* more: options, with blanks between them. */
static inline void
daemon_start(struct daemon *d, const char *addr, const char *more)
{
	const char *argv[] = { binary(), "-m", model_path(), "-l", addr,
	    "-i", "e1", "--isa", "ref", "--dtype", "bf16", "--threads", "1",
	    "-q", "--ready-fd", "3", NULL };
	char *copy = mem_strdup(more), *rest = copy, *word;
	char *args[32];
	int fd[2];
	size_t i;

	for (i = 0; argv[i] != NULL; i++)
		args[i] = mem_strdup(argv[i]);
	while ((word = strsep(&rest, " ")) != NULL)
		args[i++] = mem_strdup(word);
	args[i] = NULL;
	mem_free(copy);
	if (pipe2(fd, O_CLOEXEC) != 0)
		exit(1);
	if ((d->pid = fork()) == 0) {
		dup2(fd[1], 3);
		if (fd[1] == 3)
			fcntl(3, F_SETFD, 0);
		execv(args[0], args);
		_exit(127);
	}
	close(fd[1]);
	d->ready = fd[0];
	while (i-- > 0)
		mem_free(args[i]);
}

static inline bool
daemon_ready(struct daemon *d)
{
	struct pollfd p = { .fd = d->ready, .events = POLLIN };
	char c;

	return poll(&p, 1, LIMIT_NS / 1000000) == 1 &&
	    read(d->ready, &c, 1) == 1 && c == '\n';
}

/* Its exit status, or -1 when it was killed. */
static inline int
daemon_end(struct daemon *d, int sig)
{
	int st;

	if (sig != 0)
		kill(d->pid, sig);
	alarm(LIMIT_NS / 1000000000);	/* ends this test if it does not */
	if (waitpid(d->pid, &st, 0) != d->pid)
		return -1;
	alarm(0);
	close(d->ready);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

/* User and system time of the process so far, in clock ticks. */
static inline long
daemon_ticks(const struct daemon *d)
{
	char path[64], buf[1024], *at;
	unsigned long u = 0, s = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)d->pid);
	if ((fd = open(path, O_RDONLY)) < 0)
		return -1;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	buf[n] = '\0';
	at = strrchr(buf, ')');
	if (sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu "
	    "%lu", &u, &s) != 2)
		return -1;
	return (long)(u + s);
}

/* ---- a front end --------------------------------------------------------- */

struct ask {			/* one request in flight */
	struct slot_head head;
	struct slot_route route[MAX_ROUTE];
	char *rows;
	bool busy;
	struct slot_head got;	/* of its answer */
	char *answer;		/* rows; NULL: nothing to check */
};

struct front {
	struct link_port *port;
	struct link_pair *pair;
	bool up;
	unsigned n_up, n_down;
	bool drain;
	struct hold hold;
	struct ask ask[16];	/* by slot */
	struct rng r;
	unsigned n_ok, n_wrong, n_pong, n_status[8];
};

static inline size_t
row_bytes(void)
{
	return kern_dtype_bytes(kern_act(kn), (size_t)cfg->hidden);
}

static inline void
front_open(struct front *f, const char *addr)
{
	struct link_opt o = { .slot_bytes = 64 << 10, .depth = 4 };
	struct err e = ERR_INIT;

	memset(f, 0, sizeof(*f));
	o.me.role = LINK_FRONT;
	strcpy(o.me.name, "f1");
	snprintf(o.me.variant, sizeof(o.me.variant), "%s", kern_variant(kn));
	o.me.incarnation = clock_ns();
	o.me.act = (uint8_t)kern_act(kn);
	o.me.hidden = (uint32_t)cfg->hidden;
	o.me.n_layer = (uint32_t)cfg->n_layer;
	o.me.n_expert = (uint32_t)cfg->n_expert;
	o.me.top_k = (uint32_t)cfg->top_k;
	hold_init(&f->hold, o.me.n_layer, o.me.n_expert);
	f->r.key = 42;
	if (model_fingerprint(model, &o.me.fingerprint, &e) != 0 ||
	    link_port_open(&f->port, &o, &e) != 0 ||
	    (f->pair = link_dial(f->port, addr, NULL, &e)) == NULL) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
}

static inline void
front_close(struct front *f)
{
	size_t i;

	link_port_close(f->port);
	hold_free(&f->hold);
	for (i = 0; i < 16; i++) {
		mem_free(f->ask[i].rows);
		mem_free(f->ask[i].answer);
	}
}

/* One route of a request, computed alone. */
static inline void
plain(const struct ask *a, uint32_t j, void *out)
{
	const struct slot_route *r = &a->route[j];
	const struct kern_group g = { &weights[a->head.layer * cfg->n_expert +
	    r->expert], 0, 1 };
	const void *in = a->rows + r->row * row_bytes();
	const struct kern_ffn ffn = { .h = cfg->hidden, .i = cfg->inter,
	    .glu = cfg->glu, .n_group = 1, .group = &g, .in = &in, .out = &out,
	    .scale = a->head.flags & SLOT_WEIGHT_IN ? &r->weight : NULL };

	kern_ffn(kn, &ffn);
}

/* Answers are copied at once and checked later: a server that ends waits only
 * so long for its clients to take them. */
static inline void
take_answer(struct front *f, const struct link_event *ev)
{
	struct ask *a = &f->ask[ev->slot];
	const char *rows = (const char *)ev->mem + SLOT_BODY;
	size_t bytes = (size_t)ev->head.n_row * ev->head.row_bytes;

	if (ev->head.kind == SLOT_PING) {
		f->n_pong += ev->head.n_row == a->head.n_row &&
		    memcmp(rows, a->rows, bytes) == 0;
	} else {
		a->got = ev->head;
		a->answer = mem_dup(rows, bytes);
	}
	if (!a->busy)
		f->n_wrong++;
	a->busy = false;
	link_release(f->pair, ev->slot);
}

static inline void
check_answer(struct front *f, struct ask *a)
{
	size_t rb = row_bytes();
	char *want = mem_alloc(rb);
	bool good = a->got.req_id == a->head.req_id;
	uint32_t j;

	if (a->got.status < 8)
		f->n_status[a->got.status]++;
	if (a->got.status == SLOT_OK) {
		good = good && a->got.n_row == a->head.n_route &&
		    a->got.row_bytes == rb;
		for (j = 0; good && j < a->head.n_route; j++) {
			plain(a, j, want);
			good = memcmp(want, a->answer + j * rb, rb) == 0;
		}
		f->n_ok += good;
	}
	f->n_wrong += !good;
	mem_free(want);
	mem_free(a->answer);
	a->answer = NULL;
}

static inline void
check_all(struct front *f)
{
	struct ask *a;

	for (a = f->ask; a < f->ask + 16; a++)
		if (a->answer != NULL)
			check_answer(f, a);
}

static inline void
on_event(struct front *f, const struct link_event *ev)
{
	size_t i;

	if (ev->what == LINK_UP) {
		f->up = true;
		f->n_up++;
	} else if (ev->what == LINK_DOWN) {
		f->up = false;
		f->n_down++;
		for (i = 0; i < 16; i++)
			f->ask[i].busy = false;
		if (ev->refused)
			printf("# refused: %s\n", ev->reason);
	} else if (ev->what == LINK_ANS) {
		take_answer(f, ev);
	} else if (ev->what == LINK_MSG && ev->type == LINK_MSG_HOLD) {
		hold_decode(&f->hold, ev->data, ev->n, NULL);
	} else if (ev->what == LINK_MSG && ev->type == LINK_MSG_DRAIN) {
		f->drain = true;
	}
}

static inline bool
is_idle(const struct front *f)
{
	size_t i;

	for (i = 0; i < 16; i++)
		if (f->ask[i].busy)
			return false;
	return true;
}

/* Handle events until cond() says so, or the limit passes (false). */
static inline bool
until(struct front *f, bool (*cond)(const struct front *f))
{
	uint64_t end = clock_ns() + LIMIT_NS;
	struct link_event ev;

	for (;;) {
		while (link_next(f->port, &ev))
			on_event(f, &ev);
		if (cond(f)) {
			if (is_idle(f))
				check_all(f);
			return true;
		}
		if (clock_ns() >= end)
			return false;
		link_wait(f->port, end);
	}
}

static inline bool
is_up(const struct front *f)
{
	return f->up;
}

static inline bool
is_down(const struct front *f)
{
	return f->n_down > 0;
}

static inline bool
is_up_again(const struct front *f)
{
	return f->up && f->n_up > 1;
}

static inline bool
has_pong(const struct front *f)
{
	return f->n_pong > 0;
}

static inline bool
has_hold(const struct front *f)
{
	return hold_count(&f->hold) > 0;
}

static inline bool
is_draining(const struct front *f)
{
	return f->drain;
}

/* Fill a free slot with random rows and routes; NULL when all are in flight. */
static inline struct ask *
fill(struct front *f, void **mem_p, int *slot_p, int n_expert)
{
	struct ask *a;
	struct slot_head *h;
	float *row = mem_calloc((size_t)cfg->hidden, sizeof(*row));
	int i, j;

	if ((*slot_p = link_reserve(f->pair, mem_p)) < 0) {
		mem_free(row);
		return NULL;
	}
	a = &f->ask[*slot_p];
	if (a->answer != NULL)
		check_answer(f, a);
	h = &a->head;
	memset(h, 0, sizeof(*h));
	h->kind = SLOT_REQUEST;
	h->req_id = rng_next(&f->r);
	h->layer = (uint16_t)rng_below(&f->r, (uint64_t)cfg->n_layer);
	h->dtype_in = h->dtype_out = (uint8_t)kern_act(kn);
	h->row_bytes = (uint32_t)row_bytes();
	h->n_row = (uint16_t)(1 + rng_below(&f->r, MAX_ROW));
	h->n_route = (uint16_t)(1 + rng_below(&f->r, MAX_ROUTE));
	h->flags = rng_below(&f->r, 4) == 0 ? SLOT_WEIGHT_IN : 0;
	mem_free(a->rows);
	a->rows = mem_alloc(h->n_row * row_bytes());
	for (i = 0; i < h->n_row; i++) {
		for (j = 0; j < cfg->hidden; j++)
			row[j] = (float)rng_next_normal(&f->r);
		kern_convert(a->rows + (size_t)i * row_bytes(), kern_act(kn),
		    row, KERN_F32, (size_t)cfg->hidden);
	}
	for (i = 0; i < h->n_route; i++) {
		a->route[i].row = (uint16_t)rng_below(&f->r, h->n_row);
		a->route[i].expert =
		    (uint16_t)rng_below(&f->r, (uint64_t)n_expert);
		a->route[i].weight = (float)rng_next_unit(&f->r);
	}
	mem_free(row);
	return a;
}

static inline void
commit(struct front *f, struct ask *a, void *mem, int slot)
{
	struct slot_head h = a->head;
	int i;

	for (i = 0; i < h.n_route; i++)
		slot_route_put(mem, (uint32_t)i, a->route[i]);
	memcpy((char *)mem + slot_rows_at(h.n_route), a->rows,
	    h.n_row * row_bytes());
	a->busy = true;
	link_send(f->pair, slot, &h, NULL);
}

/* Comes back with its rows when all that was sent before has been seen. */
static inline void
ping(struct front *f)
{
	struct ask *a;
	void *mem;
	int slot;

	a = fill(f, &mem, &slot, cfg->n_expert);
	a->head.kind = SLOT_PING;
	commit(f, a, mem, slot);
}

static inline void
ask_many(struct front *f, int n, int n_expert)
{
	uint64_t end = clock_ns() + LIMIT_NS;
	struct link_event ev;
	struct ask *a;
	void *mem;
	int slot;

	while (n > 0 && clock_ns() < end) {
		while (n > 0 && (a = fill(f, &mem, &slot, n_expert)) != NULL) {
			commit(f, a, mem, slot);
			n--;
		}
		if (link_next(f->port, &ev))
			on_event(f, &ev);
		else if (n > 0)
			link_wait(f->port, end);
	}
}

/* ---- set-up -------------------------------------------------------------- */

static inline void
load_oracle(void)
{
	const struct kern_opt o = { .isa = "ref", .act = KERN_BF16,
	    .threads = 1 };
	struct err e = ERR_INIT;
	char why[KERN_WHY];
	int i;

	if (model_open(&model, model_path(), &e) != 0 ||
	    kern_open(&kn, &o, why) != 0)
		goto fail;
	cfg = model_cfg(model);
	weights = mem_calloc((size_t)(cfg->n_layer * cfg->n_expert),
	    sizeof(*weights));
	for (i = 0; i < cfg->n_layer * cfg->n_expert; i++)
		if (store_load_expert(kn, model, i / cfg->n_expert,
		    i % cfg->n_expert, &weights[i], &e) != 0)
			goto fail;
	return;
fail:
	printf("Bail out! %s\n", e.text);
	exit(1);
}

static inline void
free_oracle(void)
{
	int i;

	for (i = 0; i < cfg->n_layer * cfg->n_expert; i++)
		store_free_expert(kn, &weights[i]);
	mem_free(weights);
	kern_close(kn);
	model_close(model);
}

/* false: the daemon is not built, and a skip has been printed. */
static inline bool
rig_open(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (access(binary(), X_OK) != 0) {
		printf("ok 1 # SKIP %s is not built\n1..1\n", binary());
		return false;
	}
	strcpy(dir, "/tmp/moe-test-XXXXXX");
	if (mkdtemp(dir) == NULL)
		exit(1);
	load_oracle();
	return true;
}

static inline void
rig_close(void)
{
	OK(rmdir(dir) == 0, "nothing is left behind");
	free_oracle();
}

#endif
