/*
 * Unit tests of the engine's modes: groups 1, 2, 3, 5 and free under every
 * policy of attention give the same tokens and logprobs, whatever the order in
 * which the experts answer, and the same answers to requests that are
 * cancelled, late, or lose their experts.  The real engine with a dispatch of
 * the test's own: an expert's answer is a function of row, layer and expert,
 * and comes route by route, or flight by flight, in random order.
 */
#include <poll.h>
#include <stdlib.h>

#include "../../src/moe-attnd/at_run.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"
#include "scratch.h"
#include "skew.h"
#include "tap.h"

#define N_SEQ	12
#define CTX	256

/* ---- dispatch --------------------------------------------------------------------------- */

struct route {
	struct at_flight *f;
	uint32_t at;
};

struct at_disp {
	struct at_disp_opt o;
	size_t row_bytes;
	VEC(struct route) out;
	struct rng rng;
	struct pollfd wake;
};

static _Atomic int lose_expert = -1;	/* routes to it are given up */
static _Atomic bool silent;		/* nobody answers */
static _Atomic int max_flights;		/* seen at once */
static int wake_fd[2];

void
at_disp_ring(const struct model_cfg *cfg, enum kern_dtype act,
    uint32_t *slot_bytes, uint32_t *depth)
{
	(void)cfg;
	(void)act;
	*slot_bytes = *depth = 0;
}

int
at_disp_open(struct at_disp **out, const struct at_disp_opt *o, struct err *err)
{
	struct at_disp *d = mem_zalloc(sizeof(*d));

	(void)err;
	d->o = *o;
	d->row_bytes = kern_dtype_bytes(o->act, (size_t)o->cfg->hidden);
	d->rng = (struct rng){ 77, 0 };
	*out = d;
	return 0;
}

void
at_disp_close(struct at_disp *d)
{
	if (d == NULL)
		return;
	VEC_FREE(&d->out);
	mem_free(d);
}

void
at_flight_room(struct at_flight *f, const struct at_disp *d, int n)
{
	size_t routes;

	if (n <= f->cap_row)
		return;
	f->cap_row = n;
	routes = (size_t)n * (size_t)d->o.cfg->top_k;
	mem_free(f->ans);
	mem_free(f->dead);
	mem_free(f->buf);
	f->ans = mem_calloc(routes, sizeof(*f->ans));
	f->dead = mem_calloc((size_t)n, sizeof(*f->dead));
	f->buf = mem_aligned(64, routes * d->row_bytes);
}

void
at_flight_lend(struct at_flight *f, const struct at_flight *pool,
    const struct at_disp *d, int n)
{
	(void)d;
	(void)n;
	BUG_ON(f->left != 0);
	f->lent = true;
	f->ans = pool->ans;
	f->dead = pool->dead;
	f->buf = pool->buf;
}

void
at_flight_free(struct at_flight *f)
{
	if (f->lent)
		return;
	mem_free(f->ans);
	mem_free(f->dead);
	mem_free(f->buf);
}

void
at_disp_send(struct at_disp *d, struct at_flight *f)
{
	uint32_t k = (uint32_t)d->o.cfg->top_k, row, j;
	int i;

	for (i = 0; i < f->n_row; i++) {
		row = (uint32_t)(f->row != NULL ? f->row[i] : i);
		if (f->row != NULL)
			f->row_left[row] = (int)k;
		for (j = 0; j < k; j++) {
			f->ans[row * k + j] = NULL;
			if (f->dead[row])
				continue;
			VEC_PUSH(&d->out, ((struct route){ f, row * k + j }));
			f->left++;
		}
	}
}

/* The activation bits of the answer: the row's, turned by the expert. */
static void
answer(struct at_disp *d, struct route r)
{
	struct at_flight *f = r.f;
	uint32_t k = (uint32_t)d->o.cfg->top_k, row = r.at / k;
	int expert = f->id[r.at];
	const float *x = (const void *)((const char *)f->xn +
	    row * d->row_bytes);
	float *y = (void *)(f->buf + r.at * d->row_bytes);
	int j, h = d->o.cfg->hidden;

	f->ans[r.at] = NULL;
	if (expert == lose_expert) {
		f->dead[row] = true;
	} else {
		for (j = 0; j < h; j++)
			y[j] = x[(j + expert) % h] *
			    (0.5f + 0.1f * (float)(expert + f->layer));
		f->ans[r.at] = y;
	}
	f->left--;
	if (f->row != NULL && --f->row_left[row] == 0)
		f->row_in(f, (int)row);
}

static void
count_flights(const struct at_disp *d)
{
	const struct at_flight *seen[64];
	int n = 0, i;
	size_t r;

	for (r = 0; r < d->out.n; r++) {
		for (i = 0; i < n && seen[i] != d->out.p[r].f; i++)
			continue;
		if (i == n && n < 64)
			seen[n++] = d->out.p[r].f;
	}
	if (n > max_flights)
		max_flights = n;
}

/* Some of what is out, in random order. */
bool
at_disp_poll(struct at_disp *d, uint64_t now_ns)
{
	size_t n, i;
	struct route r;
	bool any = false;

	(void)now_ns;
	if (silent || d->out.n == 0)
		return false;
	count_flights(d);
	for (n = 1 + rng_below(&d->rng, 24); n > 0 && d->out.n > 0; n--) {
		i = rng_below(&d->rng, (uint32_t)d->out.n);
		r = d->out.p[i];
		d->out.p[i] = d->out.p[--d->out.n];
		answer(d, r);
		any = true;
	}
	return any;
}

void
at_disp_wait(struct at_disp *d, uint64_t until_ns)
{
	uint64_t left = clock_left(until_ns);
	struct pollfd p = { wake_fd[0], POLLIN, 0 };
	char c;

	if (!silent && d->out.n > 0)
		return;
	if (poll(&p, 1, left > 20000000 ? 20 : (int)(left / 1000000)) > 0 &&
	    read(wake_fd[0], &c, 1) != 1)
		abort();
}

void
link_wake(struct link_port *p)
{
	(void)p;
	if (write(wake_fd[1], "", 1) != 1)
		abort();
}

bool
at_disp_covered(struct at_disp *d, char why[200])
{
	(void)d;
	(void)why;
	return true;
}

void
at_disp_stat(const struct at_disp *d, struct at_disp_stat *out)
{
	(void)d;
	memset(out, 0, sizeof(*out));
}

/* No copies of pages. */
int
at_page_open(struct at_page **out, const struct at_page_opt *o, struct err *err)
{
	(void)out;
	(void)o;
	return err_set(err, ERR_BUG, "nobody asked for it");
}

void
at_page_close(struct at_page *pg)
{
	(void)pg;
}

void
at_page_stat(const struct at_page *pg, struct at_page_stat *out)
{
	(void)pg;
	memset(out, 0, sizeof(*out));
}

/* ---- running sequences ------------------------------------------------------------------- */

static struct model *model;
static struct kern *kn;
static struct skew *skew;	/* draws experts, if not NULL */

struct result {
	uint64_t hash;
	int n_tok, n_prompt;
	enum at_kind last;
	int status;
	enum at_finish finish;
};

static uint64_t
mix(uint64_t h, const void *p, size_t n)
{
	const unsigned char *c = p;

	while (n-- > 0)
		h = (h ^ *c++) * 1099511628211u;
	return h;
}

static struct at_engine *
open_engine(int n_group, const char *policy, int chunk, int prompt_rows)
{
	struct at_engine_opt o = { .kn = kn, .m = model, .skew = skew,
	    .ctx_tok = CTX,
	    .kvt = kern_act(kn), .kv_bytes = 32 << 20, .prefix_cache = skew == NULL, .n_group = n_group,
	    .max_seq = 8, .max_queue = 64, .step_rows = 64,
	    .chunk_tok = chunk, .prompt_rows = prompt_rows,
	    .attn = { policy_find(policy), 200000, 3000000, 0, 3, 0.8 },
	    .stall_ns = 1000000000 };
	struct err err = ERR_INIT;
	struct at_engine *e;

	if (at_engine_open(&e, &o, &err) != 0) {
		printf("# %s\n", err.text);
		exit(1);
	}
	return e;
}

/* Sequence number i: prompts of 1 to 120 tokens, greedy or sampled, some with
 * the prompt's logprobs; pairs share a prefix. */
static struct at_seq *
new_seq(int i, struct result *r)
{
	struct rng rng = { (uint64_t)(100 + i / 2), 0 };
	uint32_t tok[128];
	int n = 1 + (i * 37) % 120, j;
	struct at_seq *s;

	for (j = 0; j < n; j++)
		tok[j] = rng_below(&rng, 250);
	s = at_seq_new(tok, n);
	s->max_tok = i == 5 ? 0 : 4 + i;
	s->ignore_eos = true;
	s->n_top = 0;
	s->prompt_lp = i % 4 == 1;
	s->sampling.temperature = i % 3 == 0 ? 0 : 0.9;
	s->sampling.seed = (uint64_t)i;
	s->user = r;
	memset(r, 0, sizeof(*r));
	r->hash = 1469598103934665603u;
	return s;
}

static void
take(struct at_engine *e, int n)
{
	struct pollfd p = { at_out_fd(e), POLLIN, 0 };
	struct at_out o;
	struct result *r;

	while (n > 0) {
		if (!at_take(e, &o)) {
			poll(&p, 1, 1000);
			continue;
		}
		r = o.seq->user;
		r->last = o.kind;
		r->status = o.fail_status;
		r->finish = o.finish;
		if (o.kind == AT_TOKEN || o.kind == AT_PROMPT) {
			*(o.kind == AT_TOKEN ? &r->n_tok : &r->n_prompt) += 1;
			r->hash = mix(r->hash, &o.id, sizeof(o.id));
			r->hash = mix(r->hash, &o.lp, sizeof(o.lp));
			continue;
		}
		n--;
		at_seq_free(o.seq);
	}
}

static void
submit(struct at_engine *e, struct at_seq *s)
{
	struct err err = ERR_INIT;

	if (at_submit(e, s, &err) != 0)
		OK(false, "submit: %s", err.text);
}

/* All sequences at once; free_pages: none is held at the end. */
static void
run(struct at_engine *e, struct result r[N_SEQ])
{
	struct at_metrics m;
	int i;

	for (i = 0; i < N_SEQ; i++)
		submit(e, new_seq(i, &r[i]));
	take(e, N_SEQ);
	at_metrics(e, &m);
	if (m.kv_pages_used != 0 || m.n_running != 0)
		OK(false, "pages and sequences are given back");
}

static bool
same(const struct result *a, const struct result *b)
{
	int i;

	for (i = 0; i < N_SEQ; i++)
		if (a[i].hash != b[i].hash || a[i].n_tok != b[i].n_tok ||
		    a[i].last != AT_DONE)
			return false;
	return true;
}

static struct result want[N_SEQ];

static void
test_modes(void)
{
	static const int groups[] = { 1, 2, 3, 5 }, chunk[] = { 7, 64, 16 };
	struct result got[N_SEQ];
	struct at_engine *e = open_engine(1, "fifo", 64, 64);
	int i, seqs = 0;

	run(e, want);
	at_engine_close(e);
	EQ_INT(want[3].n_tok, 7, "tokens as asked for");
	EQ_INT(want[1].n_prompt, 37, "logprobs of a prompt");
	for (i = 0; i < N_SEQ; i++)
		seqs += i > 0 && want[i].hash != want[i - 1].hash;
	EQ_INT(seqs, N_SEQ - 1, "answers differ");
	for (i = 0; i < 4; i++) {
		e = open_engine(groups[i], "fifo", 7, 64);
		run(e, got);
		OK(same(got, want), "groups %d: the same", groups[i]);
		at_engine_close(e);
	}
	for (i = 0; i < POLICY_N; i++) {
		max_flights = 0;
		e = open_engine(0, policy_at(i)->name, chunk[i % 3],
		    i % 3 == 2 ? 20 : 64);
		run(e, got);
		OK(same(got, want), "free, %s, chunk %d: the same",
		    policy_at(i)->name, chunk[i % 3]);
		if (i > 0) {
			at_engine_close(e);
			continue;
		}
		OK(max_flights > 2, "several flights at once (%d)",
		    max_flights);
		run(e, got);
		OK(same(got, want), "and again, with prefixes cached");
		at_engine_close(e);
	}
}

/* Experts that are drawn, by the request's seed. */
static void
test_skew(void)
{
	const struct model_cfg *c = model_cfg(model);
	struct result one[N_SEQ], got[N_SEQ];
	struct err err = ERR_INIT;
	struct at_engine *e;

	if (!OK(skew_open(&skew, "zipf:1", c->n_layer, c->n_expert, 0,
	    &err) == 0, "skew"))
		return;
	e = open_engine(1, "fifo", 64, 64);
	run(e, one);
	at_engine_close(e);
	OK(!same(one, want), "drawn experts: other answers");
	e = open_engine(0, "defrag", 7, 64);
	run(e, got);
	at_engine_close(e);
	OK(same(got, one), "the same ones with groups free");
	skew_close(skew);
	skew = NULL;
}

/* A dead expert fails those that need it, and nobody else. */
static void
test_lost(int n_group)
{
	struct result got[N_SEQ];
	struct at_engine *e = open_engine(n_group, "fifo", 16, 64);
	int i, lost = 0, right = 0;

	lose_expert = 3;
	run(e, got);
	lose_expert = -1;
	for (i = 0; i < N_SEQ; i++) {
		if (got[i].last == AT_FAIL && got[i].status == 503)
			lost++;
		else
			right += got[i].last == AT_DONE &&
			    got[i].hash == want[i].hash;
	}
	OK(lost > 0, "groups %d: without an expert some fail (%d)", n_group,
	    lost);
	EQ_INT(lost + right, N_SEQ, "and the others are right");
	run(e, got);
	OK(same(got, want), "with it all are");
	at_engine_close(e);
}

/* Cancelled, or late, while rows are away: ended when they are back. */
static void
test_ends(int n_group)
{
	struct result r[3];
	struct at_engine *e = open_engine(n_group, "fifo", 16, 64);
	struct at_metrics m;
	struct at_seq *s[3];
	int i;

	silent = true;
	for (i = 0; i < 3; i++) {
		s[i] = new_seq(3 + 4 * i, &r[i]);
		s[i]->max_tok = 100;
	}
	s[1]->deadline_ns = clock_ns() + 150000000;
	for (i = 0; i < 3; i++)
		submit(e, s[i]);
	do {
		poll(NULL, 0, 5);
		at_metrics(e, &m);
	} while (m.n_running < 3);
	at_cancel(e, s[0]);
	while (clock_ns() < s[1]->deadline_ns + 250000000)
		poll(NULL, 0, 5);
	silent = false;
	take(e, 3);
	OK(r[0].last == AT_DONE && r[0].finish == AT_FINISH_CANCEL,
	    "groups %d: cancelled", n_group);
	OK(r[1].last == AT_FAIL && r[1].status == 504, "late");
	OK(r[2].last == AT_DONE && r[2].n_tok == 100, "the third one goes on");
	at_metrics(e, &m);
	EQ_INT(m.kv_pages_used, 0, "no pages are left");
	OK(m.stall_ns[AT_STALL_EXPERTS] > 100000000,
	    "the time without answers is counted as such");
	OK(m.passes > 0 && m.pass_rows >= m.passes, "passes are counted");
	/* Stopped in the middle: memory comes back (the sanitizers check). */
	silent = true;
	submit(e, s[0] = new_seq(11, &r[0]));
	do {
		poll(NULL, 0, 5);
		at_metrics(e, &m);
	} while (m.n_running < 1);
	silent = false;
	at_cancel(e, s[0]);
	take(e, 1);
	at_engine_close(e);
}

int
main(void)
{
	char why[KERN_WHY], *dir = scratch_root("tests/golden/models/olmoe");
	const struct kern_opt ko = { NULL, NULL, KERN_F32, 1, 0 };
	struct err err = ERR_INIT;

	if (pipe(wake_fd) != 0 || model_open(&model, dir, &err) != 0 ||
	    kern_open(&kn, &ko, why) != 0)
		return 1;
	test_modes();
	test_skew();
	test_lost(2);
	test_lost(0);
	test_ends(1);
	test_ends(0);
	kern_close(kn);
	model_close(model);
	mem_free(dir);
	return tap_done();
}
