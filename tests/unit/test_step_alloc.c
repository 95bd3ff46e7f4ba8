/*
 * Unit test of the engine's steps: decoding allocates nothing.  The whole front
 * end with its experts in the process decodes the same load four times; what
 * any thread but the test's own asks malloc for after admission (the engine's,
 * the kernels') is counted by malloc functions that stand before libc's.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../../src/moe-attnd/at_main.h"
#include "mem.h"
#include "tap.h"

#define N_SEQ	5
#define PROMPT	40
#define TOKENS	120

void	*__libc_malloc(size_t n);
void	*__libc_calloc(size_t n, size_t size);
void	*__libc_realloc(void *p, size_t n);
void	*__libc_memalign(size_t align, size_t n);
void	*malloc(size_t n);
void	*calloc(size_t n, size_t size);
void	*realloc(void *p, size_t n);
void	*aligned_alloc(size_t align, size_t n);

static _Thread_local bool is_main;	/* the one that submits and takes */
static atomic_bool watching;
static atomic_ulong count;

static void
look(void)
{
	if (!is_main && atomic_load(&watching))
		atomic_fetch_add(&count, 1);
}

void *
malloc(size_t n)
{
	look();
	return __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	look();
	return __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	look();
	return __libc_realloc(p, n);
}

void *
aligned_alloc(size_t align, size_t n)
{
	look();
	return __libc_memalign(align, n);
}

/* ---- load ---------------------------------------------------------------- */

static void
submit(struct at_engine *e, double temperature, int n_top)
{
	struct err err = ERR_INIT;
	uint32_t tok[PROMPT];
	struct at_seq *s;
	int i, j;

	for (i = 0; i < N_SEQ; i++) {
		for (j = 0; j < PROMPT; j++)
			tok[j] = (uint32_t)(100 + i + 7 * j);
		s = at_seq_new(tok, PROMPT);
		s->max_tok = TOKENS;
		s->ignore_eos = true;
		s->n_top = n_top;
		s->sampling.temperature = temperature;
		s->sampling.seed = (uint64_t)i;
		if (at_submit(e, s, &err) != 0)
			BUG("%s", err.text);
	}
}

/* Counts from when every sequence decodes until one of them is about to end.
 * hold, the first time: outputs are taken when all is done, so that their queue
 * has grown to the size of the load, however late the taker is later. */
static unsigned long
run(struct at_engine *e, double temperature, int n_top, bool hold)
{
	struct pollfd p = { at_out_fd(e), POLLIN, 0 };
	unsigned long begun = 0, n = 0;
	int tok = 0, left = N_SEQ;
	struct at_metrics m = { .done_length = 0 };
	struct at_out o;

	submit(e, temperature, n_top);
	for (; hold && m.done_length < N_SEQ; at_metrics(e, &m))
		poll(NULL, 0, 1);
	while (left > 0) {
		if (!at_take(e, &o)) {
			poll(&p, 1, 1000);
			continue;
		}
		if (o.kind == AT_TOKEN && ++tok == 4 * N_SEQ)
			begun = atomic_load(&count);
		if (o.kind == AT_TOKEN && tok == (TOKENS - 4) * N_SEQ)
			n = atomic_load(&count) - begun;
		if (o.kind == AT_DONE || o.kind == AT_FAIL) {
			OK(o.kind == AT_DONE, "a sequence ends: %s",
			    o.kind == AT_FAIL ? o.fail : "well");
			at_seq_free(o.seq);
			left--;
		}
	}
	return n;
}

static void
check(const char *groups, int n_group, int threads)
{
	struct at_main a = AT_MAIN_INIT;
	struct err err = ERR_INIT;
	unsigned long n;

	a.model_dir = "models/tales";
	a.local = true;
	a.groups = groups;
	a.n_group = n_group;
	a.threads = threads;
	a.kv_bytes = 16 << 20;
	if (at_main_open(&a, &err) != 0)
		BUG("%s", err.text);
	atomic_store(&watching, true);
	run(a.engine, 1, 5, true);
	run(a.engine, 1, 5, false);
	OK(atomic_load(&count) > 0, "groups %s: admission allocates, and that "
	    "is counted: %lu", groups, atomic_load(&count));
	n = run(a.engine, 0, -1, false);
	EQ_INT(n, 0, "groups %s: greedy decoding allocates nothing", groups);
	n = run(a.engine, 1, 5, false);
	EQ_INT(n, 0, "groups %s: nor do draws with logprobs", groups);
	atomic_store(&watching, false);
	at_main_close(&a);
}

int
main(void)
{
	is_main = true;
	check("1", 1, 1);
	check("2", 2, 2);
	check("free", 0, 1);
	return tap_done();
}
