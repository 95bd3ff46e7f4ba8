/* at_run - the engine thread: commands in, groups advanced, outputs out. */
#include "at_run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"

/* Deadlines of requests and coverage are looked at this often. */
#define CHECK_NS	100000000u

/* ---- outputs ---- */

static struct at_out *
out_new(struct at_engine *e, struct at_seq_state *st, enum at_kind kind)
{
	struct at_out *o;

	VEC_ROOM(&e->fresh, 1);
	o = &e->fresh.p[e->fresh.n++];
	memset(o, 0, sizeof(*o));
	o->seq = st->s;
	o->kind = kind;
	return o;
}

static void
set_lp(struct at_out *o, const struct at_sampled *s)
{
	o->lp = s->lp;
	o->n_top = s->n_top;
	memcpy(o->top, s->top, (size_t)s->n_top * sizeof(o->top[0]));
}

static void
count_depth(struct at_engine *e)
{
	const struct at_free *f = &e->free;
	struct at_metrics *m = &e->count;
	int i, at;

	m->n_depth = 0;
	m->urgent = f->queue.n_urgent;
	for (i = 0; i < f->queue.n_stage; i++) {
		at = i < AT_DEPTHS ? i : AT_DEPTHS - 1;
		if (at == m->n_depth) {
			m->n_depth++;
			m->depth[at].layer = f->first[i];
			m->depth[at].rows = 0;
		}
		m->depth[at].rows += f->queue.stage[i].q.n;
	}
}

static void
publish(struct at_engine *e)
{
	enum at_part was = at_prof_to(&e->core.prof, AT_PART_OUTPUT);
	const uint64_t one = 1;
	struct at_kv_stat kv;
	struct at_disp_stat d;
	struct link_counters lc;
	size_t i;

	at_kv_stat(e->core.kv, &kv);
	at_disp_stat(e->core.disp, &d);
	e->count.n_waiting = (uint64_t)e->sched.waiting.n;
	e->count.n_running = (uint64_t)e->sched.running.n;
	e->count.kv_pages = kv.pages;
	e->count.kv_pages_used = kv.used;
	e->count.kv_pages_cached = kv.cached;
	e->count.kv_copies = kv.copies;
	e->count.copy_hits = kv.copy_hits;
	e->count.kv_page_bytes = kv.page_bytes;
	e->count.server_up = d.up;
	e->count.server_down = d.down;
	e->count.replays = d.replays;
	e->count.deadline_missed = d.deadline_missed;
	e->count.hedges = d.hedges;
	e->count.late = d.late;
	e->count.bytes_out = d.bytes_out;
	e->count.bytes_in = d.bytes_in;
	if (e->o.wire) {
		link_counters(e->port, &lc);
		e->count.wire_busy_ns = lc.wire_busy_ns;
		e->count.wire_behind_ns = lc.wire_behind_ns;
	}
	e->count.steps = e->core.steps;
	e->count.rows = e->core.step_rows;
	e->count.wait_expert_ns = e->core.wait_ns;
	e->count.passes = e->core.passes;
	e->count.pass_rows = e->core.pass_rows;
	memcpy(e->count.pass_bucket, e->core.pass_bucket,
	    sizeof(e->count.pass_bucket));
	memcpy(e->count.part_ns, e->core.prof.ns, sizeof(e->count.part_ns));
	count_depth(e);
	pthread_mutex_lock(&e->lock);
	e->metrics = e->count;
	for (i = 0; i < e->fresh.n; i++)
		VEC_PUSH(&e->out, e->fresh.p[i]);
	pthread_mutex_unlock(&e->lock);
	/* Not with the lock, which is the first that the woken thread wants. */
	if (e->fresh.n > 0 && write(e->out_fd, &one, sizeof(one)) < 0)
		log_warn("eventfd: the HTTP side may be late");
	e->fresh.n = 0;
	at_prof_to(&e->core.prof, was);
}

/* The last output of a sequence; st is freed. */
static void
end(struct at_engine *e, struct at_seq_state *st, enum at_finish how,
    uint32_t stop_id)
{
	struct at_out *o;

	st->m = 0;
	o = out_new(e, st, st->failed ? AT_FAIL : AT_DONE);
	o->n_cached = st->n_cached;
	if (st->failed) {
		o->fail_status = st->fail_status;
		memcpy(o->fail, st->fail, sizeof(o->fail));
		e->count.failed++;
	} else {
		o->finish = how;
		o->stop_id = stop_id;
		if (how == AT_FINISH_CANCEL && st->cancelled && st->s->stopped)
			how = AT_FINISH_STOP;
		e->count.done_stop += how == AT_FINISH_STOP;
		e->count.done_length += how == AT_FINISH_LENGTH;
		e->count.done_cancel += how == AT_FINISH_CANCEL;
	}
	at_sched_remove(&e->sched, st);
	at_seq_state_free(st);
}

static void
fail(struct at_engine *e, struct at_seq_state *st, int status,
    const char *why)
{
	at_seq_fail(st, status, why);
	end(e, st, AT_FINISH_CANCEL, 0);
}

/* It has failed or was cancelled: the last of its rows ends it. */
static void
end_if_idle(struct at_engine *e, struct at_seq_state *st)
{
	st->m = 0;
	if (!at_seq_busy(st))
		end(e, st, AT_FINISH_CANCEL, 0);
}

/* ---- what happens to a sequence when its step is over ---- */

static bool
is_stop(const struct at_engine *e, const struct at_seq *s, uint32_t id)
{
	int i;

	for (i = 0; i < e->info.n_eos && !s->ignore_eos; i++)
		if (e->info.eos[i] == id)
			return true;
	for (i = 0; i < s->n_stop_id; i++)
		if (s->stop_id[i] == id)
			return true;
	return false;
}

/* Ids that may not be drawn now: those that would end it before min_tok. */
static int
banned(const struct at_engine *e, const struct at_seq_state *st,
    uint32_t ids[CONFIG_EOS + AT_MAX_STOP_ID])
{
	int n = 0, i;

	if (st->n_gen >= st->s->min_tok)
		return 0;
	for (i = 0; i < e->info.n_eos; i++)
		ids[n++] = e->info.eos[i];
	for (i = 0; i < st->s->n_stop_id; i++)
		ids[n++] = st->s->stop_id[i];
	return n;
}

/* Draw the next token.  false: the sequence has ended. */
static bool
draw(struct at_engine *e, struct at_seq_state *st, const float *logits)
{
	uint32_t ban[CONFIG_EOS + AT_MAX_STOP_ID];
	const struct at_sample_in in = { &st->s->sampling, e->o.kn, logits,
	    e->info.n_vocab, st->n_tok, st->s->n_top, ban,
	    banned(e, st, ban) };
	struct at_sampled got;
	struct at_out *o;

	if (st->s->max_tok == 0) {
		end(e, st, AT_FINISH_LENGTH, 0);
		return false;
	}
	if (at_sample(&in, &e->sample_mem, &got) != 0) {
		fail(e, st, 500, "the model's logits are NaN");
		return false;
	}
	if (is_stop(e, st->s, got.id)) {
		end(e, st, AT_FINISH_STOP, got.id);
		return false;
	}
	at_seq_push(st, got.id);
	e->count.gen_tok++;
	o = out_new(e, st, AT_TOKEN);
	o->id = got.id;
	set_lp(o, &got);
	if (st->n_gen >= st->s->max_tok) {
		end(e, st, AT_FINISH_LENGTH, 0);
		return false;
	}
	return true;
}

/* The logprob of prompt token `pos`, whose logits these are. */
static void
prompt_lp(struct at_engine *e, struct at_seq_state *st, int pos,
    const float *logits)
{
	const struct at_sample_in in = { &st->s->sampling, e->o.kn, logits,
	    e->info.n_vocab, pos, st->s->n_top < 0 ? 0 : st->s->n_top, NULL,
	    0 };
	struct at_sampled got;
	struct at_out *o;

	if (at_sample_score(&in, st->tok[pos], &got) != 0) {
		at_seq_fail(st, 500, "the model's logits are NaN");
		return;
	}
	o = out_new(e, st, AT_PROMPT);
	o->pos = pos;
	o->id = st->tok[pos];
	set_lp(o, &got);
}

/* First row of st whose logits are needed; st->m when none is. */
static int
first_needed(const struct at_seq_state *st)
{
	if (st->s->prompt_lp && st->n_computed < st->s->n_prompt)
		return 0;
	return at_seq_at_end(st) ? st->m - 1 : st->m;
}

/* Prompt tokens of a step that is over; with the first, those that the prefix
 * cache had. */
static void
count_prompt(struct at_engine *e, const struct at_seq_state *st)
{
	uint64_t cached = (uint64_t)st->n_cached;

	if (st->n_computed >= st->s->n_prompt)
		return;
	e->count.prompt_tok += (uint64_t)st->m;
	if (st->n_computed == st->n_cached) {
		e->count.prompt_tok += cached;
		e->count.cached_tok += cached;
	}
}

/* Logits of st's rows, a few at a time, and what follows from them.  st may be
 * gone after it. */
static void
finish_seq(struct at_engine *e, struct at_rows *r, struct at_seq_state *st)
{
	int row[AT_LOGIT_ROWS], i = first_needed(st), n, j, pos;
	int m = st->m, row0 = st->row0, base = st->n_computed;
	bool last = at_seq_at_end(st);
	const float *l;

	count_prompt(e, st);
	at_sched_computed(&e->sched, st);
	for (; i < m; i += n) {
		n = m - i < AT_LOGIT_ROWS ? m - i : AT_LOGIT_ROWS;
		for (j = 0; j < n; j++)
			row[j] = row0 + i + j;
		at_model_logits(e->core.am, r, row, n, e->logits);
		for (j = 0; j < n; j++) {
			pos = base + i + j + 1;
			l = e->logits + (size_t)j * (size_t)e->info.n_vocab;
			if (pos < st->s->n_prompt)
				prompt_lp(e, st, pos, l);
			else if (last && i + j == m - 1 && !draw(e, st, l))
				return;
			if (st->failed) {
				end_if_idle(e, st);
				return;
			}
		}
	}
}

/* Does it decode, so that only its last row's logits are needed? */
static bool
decodes(const struct at_seq_state *st)
{
	return st->m > 0 && !st->failed && !st->cancelled &&
	    at_seq_at_end(st) && first_needed(st) == st->m - 1;
}

/* Rows of sequences that decode need their logits together: one pass over the
 * head's weights serves them all.  The others are left in rest; their number. */
static int
finish_decoding(struct at_engine *e, struct at_rows *r,
    struct at_seq_state *const *st, int n_st, struct at_seq_state **rest)
{
	struct at_seq_state *some[AT_LOGIT_ROWS];
	int row[AT_LOGIT_ROWS], n, i, at = 0, n_rest = 0;

	while (at < n_st) {
		for (n = 0; at < n_st && n < AT_LOGIT_ROWS; at++) {
			if (!decodes(st[at])) {
				rest[n_rest++] = st[at];
				continue;
			}
			some[n] = st[at];
			row[n++] = st[at]->row0 + st[at]->m - 1;
		}
		if (n == 0)
			break;
		at_model_logits(e->core.am, r, row, n, e->logits);
		for (i = 0; i < n; i++) {
			count_prompt(e, some[i]);
			at_sched_computed(&e->sched, some[i]);
			draw(e, some[i], e->logits +
			    (size_t)i * (size_t)e->info.n_vocab);
		}
	}
	return n_rest;
}

static void
finish_step(void *arg, struct at_rows *r, struct at_seq_state *const *st,
    int n)
{
	struct at_engine *e = arg;
	enum at_part was = at_prof_to(&e->core.prof, AT_PART_SAMPLE);
	uint64_t t = clock_ns();
	int i;

	mem_grow((void **)&e->rest, &e->cap_rest, (size_t)n,
	    sizeof(struct at_seq_state *));
	n = finish_decoding(e, r, st, n, e->rest);
	for (i = 0; i < n; i++) {
		if (e->rest[i]->failed || e->rest[i]->cancelled)
			end_if_idle(e, e->rest[i]);
		else
			finish_seq(e, r, e->rest[i]);
	}
	e->count.sample_ns += clock_ns() - t;
	publish(e);
	at_prof_to(&e->core.prof, was);
}

/* ---- commands ---- */

static void
take_commands(struct at_engine *e)
{
	VEC(struct at_seq *) in;
	VEC(struct at_seq_state *) cancel = { 0 };
	struct at_seq_state *st;
	uint64_t now = clock_ns();
	size_t i;

	pthread_mutex_lock(&e->lock);
	if (e->in.n == 0 && e->cancel.n == 0) {
		pthread_mutex_unlock(&e->lock);
		return;
	}
	memcpy(&in, &e->in, sizeof(in));
	memset(&e->in, 0, sizeof(e->in));
	for (i = 0; i < in.n; i++)
		at_list_add(&e->sched.waiting, at_seq_state_new(in.p[i], now));
	/* A sequence in this list is alive as long as the lock is held: at_take
	 * strikes it out.  state is NULL when its last output waits there. */
	for (i = 0; i < e->cancel.n; i++)
		if (e->cancel.p[i]->state != NULL)
			VEC_PUSH(&cancel, e->cancel.p[i]->state);
	e->cancel.n = 0;
	pthread_mutex_unlock(&e->lock);
	for (i = 0; i < cancel.n; i++) {
		st = cancel.p[i];
		st->cancelled = true;
		if (!at_seq_busy(st))
			end(e, st, AT_FINISH_CANCEL, 0);
	}
	if (cancel.n > 0)
		publish(e);
	VEC_FREE(&in);
	VEC_FREE(&cancel);
}

/* Begin what there is room for, and keep the rate at which that goes. */
static void
admit(struct at_engine *e)
{
	int before = e->sched.waiting.n, began;
	uint64_t now, gap;

	if (e->uncovered_ns == 0 && at_sched_admit(&e->sched))
		at_free_news(&e->free);
	began = before - e->sched.waiting.n;
	if (before == 0 && e->queue_ns == 0 &&
	    e->n_free == e->o.max_seq - e->sched.running.n)
		return;
	now = clock_ns();
	pthread_mutex_lock(&e->lock);
	if (began > 0 && e->queue_ns != 0) {
		gap = (now - e->queue_ns) / (uint64_t)began;
		e->start_gap_ns = e->start_gap_ns == 0 ? gap :
		    (7 * e->start_gap_ns + gap) / 8;
	}
	e->n_waiting = e->sched.waiting.n;
	e->n_free = e->o.max_seq - e->sched.running.n;
	if (e->n_waiting == 0)
		e->queue_ns = 0;
	else if (began > 0 || e->queue_ns == 0)
		e->queue_ns = now;
	pthread_mutex_unlock(&e->lock);
}

/* Has it waited for longer than anybody shall?  No work has been spent on it. */
static bool
waited_out(const struct at_engine *e, const struct at_seq_state *st,
    uint64_t now)
{
	return e->o.max_wait_ns != 0 && !st->s->follows &&
	    now - st->submit_ns > e->o.max_wait_ns;
}

/* Requests whose time is over, and those that wait in vain. */
static void
check_list(struct at_engine *e, struct at_seq_list *l, uint64_t now)
{
	struct at_seq_state *st, *next;
	uint64_t since;

	for (st = l->first; st != NULL; st = next) {
		next = st->next;
		since = st->submit_ns > e->uncovered_ns ? st->submit_ns :
		    e->uncovered_ns;
		if (st->s->deadline_ns != 0 && now > st->s->deadline_ns) {
			at_seq_fail(st, 504, "the request's time is over");
		} else if (l == &e->sched.waiting && e->uncovered_ns != 0 &&
		    now - since > e->o.stall_ns) {
			at_seq_fail(st, 503, e->why);
		} else if (l == &e->sched.waiting && waited_out(e, st, now)) {
			at_seq_fail(st, 429, "it has waited for as long as it "
			    "may (--max-wait)");
		}
		if (st->failed && !at_seq_busy(st))
			end(e, st, AT_FINISH_CANCEL, 0);
	}
}

static void
check(struct at_engine *e, uint64_t now)
{
	char why[200] = "ok";
	bool covered = at_disp_covered(e->core.disp, why);

	e->check_ns = now + CHECK_NS;
	if (covered)
		e->uncovered_ns = 0;
	else if (e->uncovered_ns == 0)
		e->uncovered_ns = now;
	pthread_mutex_lock(&e->lock);
	e->covered = covered;
	snprintf(e->why, sizeof(e->why), "%s", why);
	pthread_mutex_unlock(&e->lock);
	check_list(e, &e->sched.waiting, now);
	check_list(e, &e->sched.running, now);
	publish(e);
}

/* ---- the thread ---- */

static bool
busy(const struct at_engine *e)
{
	return e->sched.waiting.n > 0 || e->sched.running.n > 0;
}

/* Why there is nothing to do. */
static enum at_stall
cause(const struct at_engine *e)
{
	struct at_disp_stat d;

	if (!busy(e))
		return AT_STALL_IDLE;
	if (e->sched.running.n == 0)
		return AT_STALL_ADMISSION;
	if (e->free.queue.active != NULL)
		return AT_STALL_HOLD;
	at_disp_stat(e->core.disp, &d);
	return d.stalled > 0 ? AT_STALL_SERVERS : AT_STALL_EXPERTS;
}

/* A front end with nothing to do sleeps until it is woken. */
static void
sleep_well(struct at_engine *e, uint64_t now)
{
	enum at_stall why = cause(e);
	enum at_part was = at_prof_to(&e->core.prof, why == AT_STALL_IDLE ?
	    AT_PART_IDLE : AT_PART_WAIT);
	uint64_t until = busy(e) ? e->check_ns : UINT64_MAX;

	if (why == AT_STALL_HOLD && e->free.next_ns < until)
		until = e->free.next_ns;
	at_disp_wait(e->core.disp, until);
	e->count.stall_ns[why] += clock_ns() - now;
	at_prof_to(&e->core.prof, was);
}

static bool
advance(struct at_engine *e)
{
	bool any = false;
	int g;

	if (e->o.n_group == 0)
		return at_free_advance(&e->free);
	for (g = 0; g < e->o.n_group; g++)
		any |= at_group_advance(&e->core, &e->group[g]);
	return any;
}

void *
at_run(void *arg)
{
	struct at_engine *e = arg;
	uint64_t now, t;
	bool any;

	e->core.finish = finish_step;
	e->core.arg = e;
	e->check_ns = 0;
	at_prof_begin(&e->core.prof);
	while (!atomic_load(&e->stop)) {
		at_prof_to(&e->core.prof, AT_PART_SCHED);
		take_commands(e);
		at_prof_to(&e->core.prof, AT_PART_OTHER);
		now = clock_ns();
		any = at_disp_poll(e->core.disp, now);
		if (now >= e->check_ns || (any && !busy(e)))
			check(e, now);
		at_prof_to(&e->core.prof, AT_PART_SCHED);
		admit(e);
		any |= advance(e);
		at_prof_to(&e->core.prof, AT_PART_OTHER);
		t = clock_ns();
		e->count.busy_ns += t - now;
		if (!any)
			sleep_well(e, t);
	}
	return NULL;
}
