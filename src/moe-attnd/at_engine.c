/* at_engine - see at_engine.h: the queues between the HTTP thread and the
 * engine thread.  The engine thread itself is at_run.c. */
#include "at_engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "at_run.h"
#include "clock.h"
#include "mem.h"

struct at_seq *
at_seq_new(const uint32_t *prompt, int n_prompt)
{
	struct at_seq *s = mem_zalloc(sizeof(*s));

	s->prompt = mem_dup(prompt, (size_t)n_prompt * sizeof(*prompt));
	s->n_prompt = n_prompt;
	s->n_top = -1;
	s->sampling.top_p = 1;
	return s;
}

void
at_seq_free(struct at_seq *s)
{
	if (s == NULL)
		return;
	BUG_ON(s->state != NULL);
	mem_free(s->prompt);
	mem_free(s);
}

/* ---- opening and closing ---- */

static int
open_pages(struct at_engine *e, struct err *err)
{
	const struct model_cfg *c = model_cfg(e->o.m);
	struct at_page_opt o = *e->o.pages;

	o.kv = e->core.kv;
	o.shape = (struct at_page_shape){ c->n_layer,
	    kern_kv_page_bytes(c->n_kv_head, c->dk, c->dv, e->o.kvt),
	    e->o.kvt };
	return at_page_open(&e->pages, &o, err);
}

static int
open_parts(struct at_engine *e, struct err *err)
{
	const struct at_engine_opt *o = &e->o;
	const struct model_cfg *c = model_cfg(o->m);
	const struct at_kv_opt kv = { c->n_layer, c->n_kv_head, c->dk, c->dv,
	    o->kvt, o->kv_bytes, o->prefix_cache };
	const struct at_sched_opt so = { o->n_group > 0 ? o->n_group : 1,
	    o->max_seq, o->step_rows, o->chunk_tok, o->prompt_rows };
	const struct at_disp_opt d = { c, kern_act(o->kn), o->port, o->map,
	    o->xeng, o->deadline_ns, o->stall_ns, o->report, o->report_arg,
	    o->hedge, &e->core.prof, o->reduce };

	if (at_model_load(&e->core.am, o->kn, o->m, o->ctx_tok, err) != 0 ||
	    at_kv_open(&e->core.kv, &kv, err) != 0 ||
	    at_disp_open(&e->core.disp, &d, err) != 0)
		return -1;
	at_model_set_skew(e->core.am, o->skew);
	at_model_set_prof(e->core.am, &e->core.prof);
	at_model_set_reduce(e->core.am, o->reduce);
	if (o->pages != NULL && open_pages(e, err) != 0)
		return -1;
	at_sched_init(&e->sched, &so, e->core.kv);
	e->core.sched = &e->sched;
	e->core.kn = o->kn;
	e->core.cfg = c;
	if (o->n_group == 0)
		at_free_open(&e->free, &e->core, &o->attn, o->step_rows);
	e->logits = mem_calloc((size_t)AT_LOGIT_ROWS * (size_t)c->vocab,
	    sizeof(float));
	return 0;
}

int
at_engine_open(struct at_engine **out, const struct at_engine_opt *o,
    struct err *err)
{
	struct at_engine *e = mem_zalloc(sizeof(*e));
	const struct model_cfg *c = model_cfg(o->m);
	int i, rc;

	e->o = *o;
	e->port = o->port;
	e->out_fd = -1;
	e->n_free = o->max_seq;
	pthread_mutex_init(&e->lock, NULL);
	for (i = 0; i < o->n_group; i++)
		e->group[i].index = i;
	for (i = 0; i < c->gen.n_eos; i++)
		e->eos[i] = (uint32_t)c->gen.eos[i];
	e->info = (struct at_info){ c->vocab, o->ctx_tok, e->eos,
	    c->gen.n_eos, o->fingerprint, { 0 } };
	snprintf(e->info.variant, sizeof(e->info.variant), "%s",
	    kern_variant(o->kn));
	snprintf(e->why, sizeof(e->why), "starting");
	if (open_parts(e, err) != 0)
		goto fail;
	e->out_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (e->out_fd < 0) {
		err_sys(err, ERR_TEMP, errno, "eventfd");
		goto fail;
	}
	rc = pthread_create(&e->thread, NULL, at_run, e);
	if (rc != 0) {
		err_sys(err, ERR_TEMP, rc, "engine thread");
		goto fail;
	}
	*out = e;
	return 0;
fail:
	e->thread = 0;
	at_engine_close(e);
	return -1;
}

void
at_engine_close(struct at_engine *e)
{
	int i;

	if (e == NULL)
		return;
	atomic_store(&e->stop, true);
	if (e->thread != 0) {
		link_wake(e->port);
		pthread_join(e->thread, NULL);
	}
	at_page_close(e->pages);
	at_disp_close(e->core.disp);
	at_free_close(&e->free);
	for (i = 0; i < AT_MAX_GROUP; i++)
		at_group_free(&e->group[i]);
	at_kv_close(e->core.kv);
	at_model_free(e->core.am);
	at_sample_mem_free(&e->sample_mem);
	mem_free(e->logits);
	mem_free(e->rest);
	VEC_FREE(&e->in);
	VEC_FREE(&e->cancel);
	VEC_FREE(&e->out);
	VEC_FREE(&e->fresh);
	if (e->out_fd >= 0)
		close(e->out_fd);
	pthread_mutex_destroy(&e->lock);
	mem_free(e);
}

void
at_engine_drain(struct at_engine *e)
{
	pthread_mutex_lock(&e->lock);
	e->draining = true;
	pthread_mutex_unlock(&e->lock);
}

bool
at_engine_idle(struct at_engine *e)
{
	bool idle;

	pthread_mutex_lock(&e->lock);
	idle = e->n_held == 0;
	pthread_mutex_unlock(&e->lock);
	return idle;
}

/* ---- the HTTP side ---- */

/* With the lock held. */
static uint64_t
expected_wait(const struct at_engine *e)
{
	uint64_t ahead = (uint64_t)e->n_waiting + e->in.n + 1, gap, since;

	if (e->queue_ns == 0 && ahead <= (uint64_t)e->n_free)
		return 0;
	if (e->queue_ns == 0)
		ahead -= (uint64_t)e->n_free;
	gap = e->start_gap_ns;
	/* None has begun for longer than usual: that is news, too. */
	since = e->queue_ns == 0 ? 0 : clock_ns() - e->queue_ns;
	return ahead * (gap > since ? gap : since);
}

uint64_t
at_wait_ns(struct at_engine *e)
{
	uint64_t ns;

	pthread_mutex_lock(&e->lock);
	ns = expected_wait(e);
	pthread_mutex_unlock(&e->lock);
	return ns;
}

/* With the lock held: is there room for s in the queue, and time? */
static int
check_room(const struct at_engine *e, const struct at_seq *s, struct err *err)
{
	uint64_t wait_ns = expected_wait(e);

	if (e->draining)
		return err_set(err, ERR_TEMP, "shutting down");
	if (e->n_held >= e->o.max_queue)
		return err_set(err, ERR_NO, "%d sequences are waiting or "
		    "running already (--max-queue)", e->n_held);
	if (s->follows)
		return 0;
	if (e->o.max_wait_ns != 0 && wait_ns > e->o.max_wait_ns)
		return err_set(err, ERR_NO, "it would wait for about %.1f s, "
		    "more than %.1f s (--max-wait)", (double)wait_ns / 1e9,
		    (double)e->o.max_wait_ns / 1e9);
	if (s->deadline_ns != 0 && wait_ns != 0 &&
	    clock_ns() + wait_ns > s->deadline_ns)
		return err_set(err, ERR_NO, "it would wait for about %.1f s, "
		    "longer than its time", (double)wait_ns / 1e9);
	return 0;
}

int
at_submit(struct at_engine *e, struct at_seq *s, struct err *err)
{
	int total = s->n_prompt + s->max_tok, rc;

	if (s->n_prompt < 1 || s->max_tok < 0)
		return err_set(err, ERR_USAGE, "a prompt of no tokens");
	if (s->n_prompt > e->o.ctx_tok || total > e->o.ctx_tok)
		return err_set(err, ERR_USAGE, "%d prompt tokens and %d more "
		    "do not fit the context of %d", s->n_prompt, s->max_tok,
		    e->o.ctx_tok);
	if (!at_kv_fits(e->core.kv, total))
		return err_set(err, ERR_USAGE, "%d tokens do not fit the KV "
		    "memory (--kv-memory)", total);
	pthread_mutex_lock(&e->lock);
	rc = check_room(e, s, err);
	if (rc == 0) {
		e->n_held++;
		VEC_PUSH(&e->in, s);
	}
	pthread_mutex_unlock(&e->lock);
	if (rc == 0)
		link_wake(e->port);
	return rc;
}

/* The caller may free s now: no order to cancel it may be left. */
static void
forget(struct at_engine *e, const struct at_seq *s)
{
	size_t i;

	for (i = 0; i < e->cancel.n; i++)
		if (e->cancel.p[i] == s)
			e->cancel.p[i--] = e->cancel.p[--e->cancel.n];
}

void
at_cancel(struct at_engine *e, struct at_seq *s)
{
	pthread_mutex_lock(&e->lock);
	forget(e, s);		/* once is enough */
	VEC_PUSH(&e->cancel, s);
	pthread_mutex_unlock(&e->lock);
	link_wake(e->port);
}

bool
at_take(struct at_engine *e, struct at_out *out)
{
	uint64_t count;
	bool got = false;

	pthread_mutex_lock(&e->lock);
	if (e->out_at < e->out.n) {
		*out = e->out.p[e->out_at++];
		got = true;
		if (out->kind == AT_DONE || out->kind == AT_FAIL) {
			e->n_held--;
			forget(e, out->seq);
		}
	}
	if (e->out_at == e->out.n)
		e->out.n = e->out_at = 0;
	/* The signal is for what was taken before.  Whoever signals does so after
	 * the outputs are there, so one that comes late finds none, and that
	 * call takes it away. */
	if (!got && read(e->out_fd, &count, sizeof(count)) < 0)
		count = 0;	/* nothing had been signalled */
	pthread_mutex_unlock(&e->lock);
	return got;
}

int
at_out_fd(const struct at_engine *e)
{
	return e->out_fd;
}

bool
at_health(struct at_engine *e, char why[200])
{
	bool ok;

	pthread_mutex_lock(&e->lock);
	ok = e->covered && !e->draining;
	snprintf(why, 200, "%s", e->draining ? "shutting down" : e->why);
	pthread_mutex_unlock(&e->lock);
	return ok;
}

const struct at_info *
at_engine_info(const struct at_engine *e)
{
	return &e->info;
}

void
at_metrics(struct at_engine *e, struct at_metrics *out)
{
	struct at_page_stat p;

	pthread_mutex_lock(&e->lock);
	*out = e->metrics;
	pthread_mutex_unlock(&e->lock);
	at_page_stat(e->pages, &p);
	out->copy_peers = p.peers_up;
	out->copy_sent = p.sent;
	out->copy_sent_bytes = p.sent_bytes;
	out->copy_got = p.got;
	out->copy_got_bytes = p.got_bytes;
	out->copy_refused = p.refused;
}
