/* at_sched - see at_sched.h. */
#include "at_sched.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"

/* ---- lists and sequences ---- */

void
at_list_init(struct at_seq_list *l)
{
	l->first = NULL;
	l->last = &l->first;
	l->n = 0;
}

void
at_list_add(struct at_seq_list *l, struct at_seq_state *st)
{
	st->next = NULL;
	*l->last = st;
	l->last = &st->next;
	l->n++;
}

void
at_list_del(struct at_seq_list *l, struct at_seq_state *st)
{
	struct at_seq_state **at = &l->first;

	while (*at != st) {
		BUG_ON(*at == NULL);
		at = &(*at)->next;
	}
	*at = st->next;
	if (l->last == &st->next)
		l->last = at;
	l->n--;
}

struct at_seq_state *
at_seq_state_new(struct at_seq *s, uint64_t now_ns)
{
	struct at_seq_state *st = mem_zalloc(sizeof(*st));

	st->s = s;
	st->cap_tok = s->n_prompt + s->max_tok;
	st->tok = mem_calloc((size_t)st->cap_tok, sizeof(*st->tok));
	memcpy(st->tok, s->prompt, (size_t)s->n_prompt * sizeof(*st->tok));
	st->n_tok = s->n_prompt;
	st->submit_ns = now_ns;
	s->state = st;
	return st;
}

void
at_seq_state_free(struct at_seq_state *st)
{
	st->s->state = NULL;
	mem_free(st->tok);
	mem_free(st);
}

void
at_seq_push(struct at_seq_state *st, uint32_t tok)
{
	BUG_ON(st->n_tok >= st->cap_tok);
	st->tok[st->n_tok++] = tok;
	st->n_gen++;
}

bool
at_seq_at_end(const struct at_seq_state *st)
{
	return st->n_computed + st->m == st->n_tok;
}

bool
at_seq_busy(const struct at_seq_state *st)
{
	return st->m > 0 || st->n_unit > 0;
}

int
at_seq_left(const struct at_seq_state *st)
{
	return st->failed || st->cancelled ? 0 : st->n_tok - st->n_sent;
}

void
at_seq_fail(struct at_seq_state *st, int status, const char *why)
{
	if (st->failed)
		return;
	st->failed = true;
	st->fail_status = status;
	snprintf(st->fail, sizeof(st->fail), "%s", why);
}

/* ---- admission ---- */

void
at_sched_init(struct at_sched *sc, const struct at_sched_opt *o,
    struct at_kv *kv)
{
	memset(sc, 0, sizeof(*sc));
	sc->o = *o;
	sc->kv = kv;
	at_list_init(&sc->waiting);
	at_list_init(&sc->running);
}

static int
smallest_group(const struct at_sched *sc)
{
	const struct at_seq_state *st;
	int best = 0, g, n, best_n = -1;

	for (g = 0; g < sc->o.n_group; g++) {
		n = 0;
		for (st = sc->running.first; st != NULL; st = st->next)
			n += st->group == g;
		if (best_n < 0 || n < best_n) {
			best = g;
			best_n = n;
		}
	}
	return best;
}

bool
at_sched_admit(struct at_sched *sc)
{
	struct at_seq_state *st;
	bool any = false;
	int match;

	while ((st = sc->waiting.first) != NULL &&
	    sc->running.n < sc->o.max_seq) {
		/* At least the last prompt token is computed, for its logits;
		 * all of them where the prompt's logprobs are wanted. */
		match = st->s->prompt_lp ? 0 : st->s->n_prompt - 1;
		if (!at_kv_start(sc->kv, &st->kv, st->cap_tok, st->tok, match,
		    &st->n_cached))
			break;
		st->n_computed = st->n_sent = st->n_cached;
		st->group = smallest_group(sc);
		at_list_del(&sc->waiting, st);
		at_list_add(&sc->running, st);
		any = true;
	}
	return any;
}

void
at_sched_remove(struct at_sched *sc, struct at_seq_state *st)
{
	const struct at_seq_state *i;

	BUG_ON(at_seq_busy(st));
	for (i = sc->running.first; i != NULL && i != st; i = i->next)
		continue;
	if (i == NULL) {
		at_list_del(&sc->waiting, st);
		return;
	}
	at_list_del(&sc->running, st);
	at_kv_end(sc->kv, &st->kv);
}

/* ---- the next step ---- */

/* Rows that st wants in a step: 1 to decode, else what is left of its prompt. */
static int
wants(const struct at_sched *sc, const struct at_seq_state *st)
{
	int left = st->n_tok - st->n_computed;

	return left < sc->o.chunk_tok ? left : sc->o.chunk_tok;
}

static int
count(struct at_sched *sc, int group, int *n_seq)
{
	struct at_seq_state *st;
	int rows = 0, left, n;

	*n_seq = 0;
	for (st = sc->running.first; st != NULL; st = st->next) {
		if (st->group != group)
			continue;
		st->m = st->n_tok - st->n_computed == 1;
		rows += st->m;
		*n_seq += st->m;
	}
	left = sc->o.step_rows - rows;
	if (left > sc->o.prompt_rows)
		left = sc->o.prompt_rows;
	for (st = sc->running.first; st != NULL; st = st->next) {
		if (st->group != group || st->m != 0)
			continue;
		n = wants(sc, st);
		if (n > left)
			n = left;
		if (n <= 0)
			continue;
		st->m = n;
		left -= n;
		rows += n;
		++*n_seq;
	}
	return rows;
}

static void
put_seq(struct at_sched *sc, struct at_seq_state *st, struct at_rows *r)
{
	int i;

	at_kv_grow(sc->kv, &st->kv, st->n_computed + st->m);
	st->row0 = r->n;
	for (i = 0; i < st->m; i++) {
		r->tok[r->n + i] = st->tok[st->n_computed + i];
		r->pos[r->n + i] = st->n_computed + i;
		r->seed[r->n + i] = st->s->sampling.seed;
	}
	r->seq[r->n_seq++] = (struct kern_seq){ st->kv.page, st->n_computed,
	    st->m, r->n };
	r->n += st->m;
}

bool
at_sched_form(struct at_sched *sc, int group, struct at_rows *r,
    const struct at_model *am)
{
	struct at_seq_state *st;
	int n_seq, n = count(sc, group, &n_seq);

	r->n = r->n_seq = 0;
	if (n == 0)
		return false;
	at_rows_room(r, am, n, n_seq);
	for (st = sc->running.first; st != NULL; st = st->next)
		if (st->group == group && st->m > 0)
			put_seq(sc, st, r);
	return true;
}

struct at_seq_state *
at_sched_next(struct at_sched *sc, int room, int *m)
{
	struct at_seq_state *st, *best = NULL;

	if (room <= 0)
		return NULL;
	for (st = sc->running.first; st != NULL; st = st->next)
		if (at_seq_left(st) > 0 &&
		    (best == NULL || st->n_unit < best->n_unit))
			best = st;
	if (best == NULL)
		return NULL;
	*m = at_seq_left(best);
	if (*m > sc->o.chunk_tok)
		*m = sc->o.chunk_tok;
	if (*m > room)
		*m = room;
	return best;
}

void
at_sched_computed(struct at_sched *sc, struct at_seq_state *st)
{
	st->n_computed += st->m;
	st->m = 0;
	if (!st->failed)
		at_kv_computed(sc->kv, &st->kv, st->tok, st->n_computed);
}
