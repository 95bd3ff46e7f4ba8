/* at_model - see at_model.h: the operations.  Loading is in at_load.c. */
#include "at_model.h"

#include <math.h>
#include <string.h>

#include "at_kv.h"
#include "at_load.h"
#include "at_prof.h"
#include "mem.h"
#include "skew.h"

/* ---- rows ---- */

static void
grow(void *p_p, size_t n, size_t elem)
{
	void **p = p_p;

	mem_free(*p);
	*p = mem_aligned(64, n * elem);
}

void
at_rows_room(struct at_rows *r, const struct at_model *am, int n, int n_seq)
{
	const struct model_cfg *c = am->cfg;
	size_t a = kern_dtype_bytes(am->act, 1), cap;

	if (n_seq > r->cap_seq) {
		r->cap_seq = n_seq * 2;
		grow(&r->seq, (size_t)r->cap_seq, sizeof(*r->seq));
	}
	if (n <= r->cap)
		return;
	r->cap = n + n / 4 + 4;
	cap = (size_t)r->cap;
	grow(&r->tok, cap, sizeof(*r->tok));
	grow(&r->pos, cap, sizeof(*r->pos));
	grow(&r->seed, cap, sizeof(*r->seed));
	grow(&r->x, cap * (size_t)c->hidden, sizeof(float));
	grow(&r->xn, cap * (size_t)c->hidden, a);
	grow(&r->qkv, cap * (size_t)at_model_qkv(am), sizeof(float));
	grow(&r->angle, cap * (size_t)c->rope.dim, sizeof(float));
	grow(&r->att, cap * (size_t)(c->n_head * c->dv), a);
	grow(&r->y, cap * (size_t)c->hidden, sizeof(float));
	grow(&r->logit, cap * (size_t)c->n_expert, sizeof(float));
	grow(&r->id, cap * (size_t)c->top_k, sizeof(*r->id));
	grow(&r->w, cap * (size_t)c->top_k, sizeof(float));
	grow(&r->sh, cap * (size_t)c->hidden, a);
	grow(&r->sh_w, cap, sizeof(float));
	grow(&r->res, cap, sizeof(float));
	grow(&r->in, cap, sizeof(*r->in));
	grow(&r->out, cap, sizeof(*r->out));
	for (n = 0; n < r->cap; n++)
		r->res[n] = c->residual_mult;
}

void
at_rows_free(struct at_rows *r)
{
	void *const all[] = { r->tok, r->pos, r->seed, r->seq, r->x, r->xn,
	    r->qkv, r->angle, r->att, r->y, r->logit, r->id, r->w, r->sh,
	    r->sh_w, r->res, r->in, r->out };
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		mem_free(all[i]);
	memset(r, 0, sizeof(*r));
}

int
at_model_qkv(const struct at_model *am)
{
	const struct model_cfg *c = am->cfg;

	return (c->n_head + c->n_kv_head) * c->dk + c->n_kv_head * c->dv;
}

/* ---- small pieces ---- */

static void
linear(struct at_model *am, const struct kern_mat *w, const float *bias,
    const void *x, float *y, int m)
{
	const struct kern_linear a = { w, bias, x, (size_t)w->k, y,
	    (size_t)w->n, KERN_F32, m };

	kern_linear(am->kn, &a);
}

/* y = norm(x) * w in dtype ydt, for m contiguous rows of n. */
static void
norm(struct at_model *am, const float *x, void *y, enum kern_dtype ydt, int m,
    const struct at_vec *w)
{
	const struct kern_norm a = { x, (size_t)w->n, y, (size_t)w->n, ydt, m,
	    w->n, w->p, NULL, am->cfg->norm_eps, false, 1 };

	kern_norm(am->kn, &a);
}

/* x += y * residual multiplier. */
static void
add_branch(struct at_model *am, struct at_rows *r)
{
	const struct kern_axpy a = { r->x, (size_t)am->cfg->hidden, r->y,
	    (size_t)am->cfg->hidden, KERN_F32,
	    am->cfg->residual_mult == 1.0f ? NULL : r->res, r->n,
	    am->cfg->hidden };

	kern_axpy(am->kn, &a);
}

/* One expert-shaped block over all rows: r->xn to out rows of `act`. */
static void
ffn_all(struct at_model *am, const struct kern_expert *x, struct at_rows *r,
    void *out)
{
	const struct kern_group g = { x, 0, r->n };
	size_t row = kern_dtype_bytes(am->act, (size_t)am->cfg->hidden);
	struct kern_ffn a = { am->cfg->hidden, x->down.k, am->cfg->glu, 1, &g,
	    (const void *const *)r->in, r->out, NULL };
	int i;

	for (i = 0; i < r->n; i++) {
		r->in[i] = (char *)r->xn + (size_t)i * row;
		r->out[i] = (char *)out + (size_t)i * row;
	}
	kern_ffn(am->kn, &a);
}

static void
clamp(float *p, size_t n, float lim)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = fminf(fmaxf(p[i], -lim), lim);
}

/* ---- the operations ---- */

void
at_model_embed(struct at_model *am, struct at_rows *r)
{
	const struct model_cfg *c = am->cfg;
	size_t h = (size_t)c->hidden, j;
	float mult = c->embed_mult, *x;
	enum at_part was = at_prof_to(am->prof, AT_PART_EMBED);
	int i;

	for (i = 0; i < r->n; i++) {
		x = r->x + (size_t)i * h;
		kern_mat_row(am->kn, &am->embed, (int)r->tok[i], x);
		if (mult != 1.0f)
			for (j = 0; j < h; j++)
				x[j] *= mult;
	}
	at_prof_to(am->prof, was);
	at_model_angles(am, r);
}

void
at_model_angles(struct at_model *am, struct at_rows *r)
{
	enum at_part was = at_prof_to(am->prof, AT_PART_ROPE);
	int dim = am->cfg->rope.dim;

	if (dim > 0)
		kern_rope_angles(r->angle, r->pos, r->n, am->inv_freq, dim,
		    am->rope_mscale);
	at_prof_to(am->prof, was);
}

/* Norm of q or of k, in place: of each head, or of all of them at once. */
static void
norm_heads(struct at_model *am, const struct at_rows *r, float *x, int heads,
    const struct at_vec *w)
{
	size_t ld = (size_t)at_model_qkv(am);
	const struct kern_norm a = { x, ld, x, ld, KERN_F32, r->n, w->n, w->p,
	    NULL, am->cfg->norm_eps, false,
	    am->cfg->qknorm == CONFIG_QKNORM_HEAD ? heads : 1 };

	kern_norm(am->kn, &a);
}

/* Norms, clamps and rope, between projection and attention. */
static void
qk_adjust(struct at_model *am, const struct at_layer *l, struct at_rows *r,
    bool rotate)
{
	const struct model_cfg *c = am->cfg;
	const struct kern_rope rope = { r->qkv, (size_t)at_model_qkv(am), r->n,
	    c->n_head + c->n_kv_head, c->dk, c->rope.dim, r->pos,
	    am->inv_freq, am->rope_mscale, c->rope.interleaved, r->angle };

	if (c->qknorm != CONFIG_QKNORM_NONE) {
		norm_heads(am, r, r->qkv, c->n_head, &l->q_norm);
		norm_heads(am, r, r->qkv + c->n_head * c->dk, c->n_kv_head,
		    &l->k_norm);
	}
	if (c->clip_qkv > 0)
		clamp(r->qkv, (size_t)r->n * (size_t)at_model_qkv(am),
		    c->clip_qkv);
	if (rotate)
		kern_rope(am->kn, &rope);
}

void
at_model_attn(struct at_model *am, struct at_kv *kv, int layer,
    struct at_rows *r)
{
	const struct model_cfg *c = am->cfg;
	const struct at_layer *l = &am->layer[layer];
	const struct kern_kv *arena = at_kv_layer(kv, layer);
	const size_t ld = (size_t)at_model_qkv(am);
	const float *k = r->qkv + c->n_head * c->dk;
	const struct kern_kv_put put = { arena, r->seq, r->n_seq, k,
	    k + c->n_kv_head * c->dk, ld, ld };
	const struct kern_attn attn = { arena, r->seq, r->n_seq, r->qkv,
	    ld, r->att, (size_t)(c->n_head * c->dv),
	    c->n_head, c->attn_scale, c->layer[layer].window, 0, NULL };
	enum at_part was;

	was = at_prof_to(am->prof, AT_PART_NORM);
	norm(am, r->x, r->xn, am->act, r->n, &l->in_norm);
	at_prof_to(am->prof, AT_PART_DENSE);
	linear(am, &l->qkv, l->qkv_bias.p, r->xn, r->qkv, r->n);
	at_prof_to(am->prof, AT_PART_ROPE);
	qk_adjust(am, l, r, c->layer[layer].rope);
	at_prof_to(am->prof, AT_PART_ATTN);
	kern_kv_put(am->kn, &put);
	kern_attn(am->kn, &attn);
	at_prof_to(am->prof, AT_PART_DENSE);
	linear(am, &l->o, l->o_bias.p, r->att, r->y, r->n);
	at_prof_to(am->prof, AT_PART_NORM);
	add_branch(am, r);
	norm(am, r->x, r->xn, am->act, r->n, &l->post_norm);
	at_prof_to(am->prof, was);
}

static void
draw_experts(const struct at_model *am, int layer, struct at_rows *r)
{
	size_t k = (size_t)am->cfg->top_k, i;

	for (i = 0; i < (size_t)r->n; i++)
		skew_pick(am->skew, r->seed[i], r->pos[i], layer, (int)k,
		    r->id + i * k, r->w + i * k);
}

int
at_model_route(struct at_model *am, int layer, struct at_rows *r, int *bad_row)
{
	const struct model_cfg *c = am->cfg;
	const struct kern_route a = { c->rule, r->logit, r->n, c->n_expert,
	    c->top_k, c->renorm, c->scaling, NULL, c->n_group, c->topk_group,
	    c->jitter, r->id, r->w };
	enum at_part was = at_prof_to(am->prof, AT_PART_GATE);
	int rc;

	linear(am, &am->layer[layer].router, NULL, r->xn, r->logit, r->n);
	rc = kern_route(&a, bad_row);
	if (rc == 0 && am->skew != NULL)
		draw_experts(am, layer, r);
	at_prof_to(am->prof, was);
	return rc;
}

void
at_model_set_skew(struct at_model *am, const struct skew *s)
{
	am->skew = s;
}

void
at_model_set_prof(struct at_model *am, struct at_prof *p)
{
	am->prof = p;
}

static void
shared_weights(struct at_model *am, const struct at_layer *l, struct at_rows *r)
{
	int i;

	linear(am, &l->shared_router, NULL, r->xn, r->sh_w, r->n);
	for (i = 0; i < r->n; i++)
		r->sh_w[i] = 1.0f / (1.0f + expf(-r->sh_w[i]));
}

void
at_model_shared(struct at_model *am, int layer, struct at_rows *r)
{
	const struct at_layer *l = &am->layer[layer];
	enum at_part was;

	if (am->cfg->shared == CONFIG_SHARED_NONE)
		return;
	was = at_prof_to(am->prof, AT_PART_SHARED);
	ffn_all(am, &l->ffn, r, r->sh);
	if (am->cfg->shared == CONFIG_SHARED_GATED)
		shared_weights(am, l, r);
	at_prof_to(am->prof, was);
}

void
at_model_set_reduce(struct at_model *am, enum kern_sum_rule rule)
{
	am->sum = (struct kern_sum){ rule, am->act, am->cfg->hidden,
	    am->cfg->top_k };
}

static void
join_parts(const struct at_model *am, struct at_rows *r,
    const void *const *ans)
{
	size_t h = (size_t)am->cfg->hidden, k = (size_t)am->cfg->top_k, i;

	for (i = 0; i < (size_t)r->n; i++)
		kern_sum_join(&am->sum, ans + i * k, (int)k, r->y + i * h);
}

void
at_model_combine(struct at_model *am, struct at_rows *r,
    const void *const *ans)
{
	const struct model_cfg *c = am->cfg;
	size_t h = (size_t)c->hidden;
	const struct kern_combine a = { r->y, h, ans,
	    c->rule == KERN_ROUTE_SIGMOID_INPUT ? NULL : r->w, r->n, c->top_k,
	    c->hidden };
	const struct kern_axpy s = { r->y, h, r->sh, h, am->act,
	    c->shared == CONFIG_SHARED_GATED ? r->sh_w : NULL, r->n,
	    c->hidden };
	enum at_part was = at_prof_to(am->prof, AT_PART_COMBINE);

	if (am->sum.rule == KERN_SUM_NONE)
		kern_combine(am->kn, &a);
	else
		join_parts(am, r, ans);
	if (c->shared != CONFIG_SHARED_NONE)
		kern_axpy(am->kn, &s);
	add_branch(am, r);
	at_prof_to(am->prof, was);
}

void
at_model_dense(struct at_model *am, int layer, struct at_rows *r)
{
	size_t h = (size_t)am->cfg->hidden;
	const struct kern_axpy a = { r->x, h, r->sh, h, am->act,
	    am->cfg->residual_mult == 1.0f ? NULL : r->res, r->n,
	    am->cfg->hidden };
	enum at_part was = at_prof_to(am->prof, AT_PART_DENSE);

	ffn_all(am, &am->layer[layer].ffn, r, r->sh);
	kern_axpy(am->kn, &a);
	at_prof_to(am->prof, was);
}

void
at_model_logits(struct at_model *am, struct at_rows *r, const int *row, int n,
    float *logits)
{
	const struct model_cfg *c = am->cfg;
	size_t h = (size_t)c->hidden, total = (size_t)n * (size_t)c->vocab, j;
	const struct kern_mat *head = c->tied ? &am->embed : &am->lm_head;
	enum at_part was = at_prof_to(am->prof, AT_PART_HEAD);
	int i;

	/* The layers are done with y and xn. */
	for (i = 0; i < n; i++)
		memcpy(r->y + (size_t)i * h, r->x + (size_t)row[i] * h,
		    h * sizeof(float));
	norm(am, r->y, r->xn, am->act, n, &am->final_norm);
	linear(am, head, NULL, r->xn, logits, n);
	if (c->logits_div != 1.0f)
		for (j = 0; j < total; j++)
			logits[j] /= c->logits_div;
	at_prof_to(am->prof, was);
}
