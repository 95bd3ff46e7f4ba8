/* bench_sim_load - sequences and measures: see bench_sim.h. */
#include <math.h>
#include <string.h>

#include "bench_sim.h"
#include "mem.h"
#include "rng.h"

#define WARM_PASSES	8
#define SALT_EPOCH	0x65706f63u

/* ---- sequences ------------------------------------------------------------ */

static int
new_seq(struct sim *s)
{
	int i = s->unused.n > 0 ? s->unused.p[--s->unused.n] : (int)s->seq.n;

	if (i == (int)s->seq.n)
		VEC_PUSH(&s->seq, ((struct sim_seq){ 0 }));
	s->seq.p[i] = (struct sim_seq){ .next = -1, .cut = -1, .rows = 1,
	    .last_us = -1, .fresh = true, .born_us = s->now_us,
	    .layer = s->o.shape.n_layer - 1 };
	return i;
}

void
sim_drop(struct sim *s, int i)
{
	s->seq.p[i].dead = true;
	s->seq.p[i].rows = 0;
	VEC_PUSH(&s->unused, i);
}

/* The next request's lengths; its prompt is there. */
static void
begin(struct sim *s, struct sim_seq *q)
{
	const struct bench_arrival *a =
	    &s->lengths->p[s->next_length % s->lengths->n];

	q->seed = rng_at(s->o.seed, s->next_length++, 1);
	q->ctx = q->in_tok = (int)a->in_tok;
	q->left = (int)a->out_tok;
	q->may = s->o.shape.n_layer;
	q->last_us = -1;
}

static int
group_count(const struct sim *s)
{
	if (s->o.mode == SIM_BARRIER)
		return s->o.micro;
	return s->o.groups == SIM_FREE ? 1 : s->o.groups;
}

static int
least_loaded(const struct sim *s)
{
	int d, best = 0;

	for (d = 0; d < s->o.attn; d++)
		if (s->load[d] < s->o.pack)
			return d;
	for (d = 1; d < s->o.attn; d++)
		if (s->load[d] < s->load[best])
			best = d;
	return best;
}

/* Requests that come so late that it will not be known whether they are in time
 * are left out. */
static bool
in_window(const struct sim *s, const struct sim_seq *q)
{
	return q->born_us >= s->o.warm_us && q->born_us <= s->o.warm_us +
	    s->o.measure_us - s->o.slo_us;
}

double
sim_next_us(const struct sim *s)
{
	size_t n = s->lengths->n, i = s->next_length - (size_t)s->o.running;
	double span = s->lengths->p[n - 1].at_s + 1 / s->o.rate;

	return 1e6 * (s->lengths->p[i % n].at_s + (double)(i / n) * span);
}

int
sim_arrive(struct sim *s)
{
	int i = new_seq(s), n_group = group_count(s);
	struct sim_seq *q = &s->seq.p[i];

	begin(s, q);
	q->dev = least_loaded(s);
	q->group = (int)(s->next_length / (unsigned)s->o.attn %
	    (unsigned)n_group);
	s->load[q->dev]++;
	s->n_alive++;
	s->born += in_window(s, q);
	if (s->o.prompts) {
		q->prompt = q->in_tok;
		q->ctx = 0;
		q->rows = 0;
		s->load[q->dev] += q->prompt;
		VEC_PUSH(&s->fifo[q->dev], i);
	}
	return i;
}

/* n rows of the prompt of i, as a unit of its own; the one before it lets it
 * follow from layer to layer. */
static int
cut_chunk(struct sim *s, int i, int n)
{
	int c = new_seq(s);
	struct sim_seq *q = &s->seq.p[c], *of = &s->seq.p[i];

	q->chunk = true;
	q->seed = of->seed;
	q->dev = of->dev;
	q->ctx = of->ctx;
	q->may = of->may;
	q->next = i;		/* until the next one is cut */
	if (of->cut >= 0)
		s->seq.p[of->cut].next = c;
	of->cut = c;
	of->may = 0;
	of->ctx += n;
	return c;
}

int
sim_cut(struct sim *s, int dev)
{
	int i, c, n;

	if (s->fifo[dev].n == 0)
		return -1;
	c = i = s->fifo[dev].p[0];
	n = s->seq.p[i].prompt < s->o.chunk ? s->seq.p[i].prompt : s->o.chunk;
	if (n < s->seq.p[i].prompt)
		c = cut_chunk(s, i, n);
	else
		memmove(s->fifo[dev].p, s->fifo[dev].p + 1,
		    --s->fifo[dev].n * sizeof(*s->fifo[dev].p));
	s->seq.p[i].prompt -= n;
	s->seq.p[i].computes = s->seq.p[i].prompt == 0;
	s->seq.p[c].rows = n;
	s->load[dev] -= n;
	return c;
}

static void
first_ones(struct sim *s)
{
	int i, done, n_group = group_count(s);
	struct sim_seq *q;

	for (i = 0; i < s->o.running; i++) {
		(void)new_seq(s);	/* the i-th */
		q = &s->seq.p[i];
		begin(s, q);
		/* Somewhere in the middle of its answer. */
		done = (int)rng_at(s->o.seed, (uint64_t)i, 2) & 0xffff;
		done = done % q->left;
		q->ctx += done;
		q->left -= done;
		q->dev = s->o.pack > 0 ? least_loaded(s) : i % s->o.attn;
		q->group = i / s->o.attn % n_group;
		s->load[q->dev]++;
		s->n_alive++;
	}
}

void
sim_open(struct sim *s, const struct sim_opt *o, struct skew *const *skew,
    const bench_gen_list *lengths)
{
	memset(s, 0, sizeof(*s));
	s->o = *o;
	s->skew = skew;
	s->lengths = lengths;
	s->fifo = mem_calloc((size_t)o->attn, sizeof(*s->fifo));
	s->load = mem_calloc((size_t)o->attn, sizeof(*s->load));
	sim_place_open(s);
	first_ones(s);
}

void
sim_close(struct sim *s)
{
	int i;

	sim_place_close(s);
	for (i = 0; i < s->o.attn; i++)
		VEC_FREE(&s->fifo[i]);
	VEC_FREE(&s->seq);
	VEC_FREE(&s->unused);
	mem_free(s->fifo);
	mem_free(s->load);
}

/* Shares drift from one epoch's to the next's: of the tokens that come in
 * between, a growing part is drawn from the next. */
static const struct skew *
shares(const struct sim *s, const struct sim_seq *q, int64_t pos, int layer)
{
	double at = s->o.drift_us > 0 ? s->now_us / s->o.drift_us : 0;
	int epoch = (int)at;

	if (s->o.drift_us > 0 && rng_unit(q->seed ^ SALT_EPOCH, (uint64_t)pos,
	    (uint64_t)layer) < at - epoch)
		epoch++;
	return s->skew[epoch % SIM_EPOCHS];
}

void
sim_experts(struct sim *s, const struct sim_seq *q, int64_t pos, int layer,
    int32_t *ids)
{
	int i;

	skew_pick(shares(s, q, pos, layer), q->seed, pos, layer,
	    s->o.shape.top_k, ids, NULL);
	for (i = 0; s->o.rebalance_us > 0 && i < s->o.shape.top_k; i++)
		s->count[layer * s->o.shape.n_expert + ids[i]]++;
}

double
sim_head_us(const struct sim *s, int rows)
{
	return emu_linear_us(&s->o.dev, rows, s->o.shape.vocab,
	    s->o.shape.hidden);
}

void
sim_context(const struct sim_seq *q, double *ctx, double *keys)
{
	*ctx += (double)q->rows * (q->ctx + (q->rows - 1) / 2.0);
	*keys += q->ctx + q->rows - 1;
}

/* ---- measures ------------------------------------------------------------- */

static void
begin_measures(struct sim *s)
{
	s->on = true;
	s->on_us = s->now_us;
	s->attn_busy_us = s->expert_busy_us = 0;
	s->worst = s->mean = s->way_us = 0;
	s->n_message = 0;
}

static void
count_first(struct sim *s, const struct sim_seq *q)
{
	double us = s->now_us - q->born_us;

	if (s->on) {
		hist_add(&s->ttft, (uint64_t)us);
		s->prompt_tokens += (uint64_t)q->in_tok;
	}
	s->in_time += in_window(s, q) && us <= s->o.slo_us;
}

bool
sim_token(struct sim *s, int i)
{
	struct sim_seq *q = &s->seq.p[i];

	s->all_tokens++;
	if (!s->on && (s->o.rate > 0 ? s->now_us >= s->o.warm_us :
	    s->all_tokens >= (uint64_t)s->o.running * WARM_PASSES))
		begin_measures(s);
	if (q->last_us < 0 && s->o.prompts && q->born_us > 0)
		count_first(s, q);
	if (s->on) {
		s->tokens++;
		if (q->last_us >= 0)
			hist_add(&s->itl, (uint64_t)(s->now_us - q->last_us));
	}
	q->last_us = s->now_us;
	q->ctx++;
	if (--q->left > 0)
		return true;
	if (s->o.rate > 0) {
		s->load[q->dev]--;
		s->n_alive--;
		sim_drop(s, i);
		return false;
	}
	begin(s, q);
	return true;
}

bool
sim_over(const struct sim *s)
{
	if (s->o.rate > 0)
		return s->now_us >= s->o.warm_us + s->o.measure_us;
	return s->tokens >= (uint64_t)s->o.running * (uint64_t)s->o.passes;
}

void
sim_result(const struct sim *s, struct sim_result *r)
{
	double us = s->now_us - s->on_us;
	int attn = s->o.mode == SIM_ASYNC ? s->o.attn : s->o.experts;

	memset(r, 0, sizeof(*r));
	r->tok_s = (double)s->tokens / us * 1e6;
	r->prompt_s = (double)s->prompt_tokens / us * 1e6;
	r->itl_us = hist_mean(&s->itl);
	/* Sequences move in waves, and a window cuts some of them: in a closed
	 * loop tokens are counted by Little's law. */
	if (s->o.rate <= 0)
		r->tok_s = 1e6 * s->o.running / r->itl_us *
		    (s->o.mode == SIM_DWDP ? s->o.experts : 1);
	r->itl50_us = (double)hist_quantile(&s->itl, 0.5);
	r->itl99_us = (double)hist_quantile(&s->itl, 0.99);
	r->ttft_us = hist_mean(&s->ttft);
	r->ttft99_us = (double)hist_quantile(&s->ttft, 0.99);
	r->in_time = s->born > 0 ? (double)s->in_time / (double)s->born : 0;
	r->attn_busy = s->attn_busy_us / us / attn;
	r->expert_busy = s->expert_busy_us / us / s->o.experts;
	r->rows = hist_mean(&s->rows);
	r->rows10 = (double)hist_quantile(&s->rows, 0.1);
	r->rows50 = (double)hist_quantile(&s->rows, 0.5);
	r->rows90 = (double)hist_quantile(&s->rows, 0.9);
	r->uneven = s->mean > 0 ? s->worst / s->mean : 0;
	r->way_us = s->n_message > 0 ? s->way_us / (double)s->n_message : 0;
	r->alive = s->n_alive;
}
