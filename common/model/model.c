/* model - see model.h.  Floor F4; immutable after model_open. */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "family.h"
#include "mem.h"
#include "str.h"

#define NAME_MAX_BYTES	160

struct model {
	char *dir;
	char *name;
	struct model_cfg *cfg;
	struct ckpt *ckpt;
	uint64_t fingerprint;
	bool has_fingerprint;
};

static const char *const role_name[MODEL_ROLES] = {
	[MODEL_EMBED] = "embedding",
	[MODEL_LM_HEAD] = "lm_head",
	[MODEL_FINAL_NORM] = "final norm",
	[MODEL_IN_NORM] = "input norm",
	[MODEL_POST_NORM] = "post-attention norm",
	[MODEL_Q] = "q_proj",
	[MODEL_K] = "k_proj",
	[MODEL_V] = "v_proj",
	[MODEL_O] = "o_proj",
	[MODEL_Q_BIAS] = "q_proj bias",
	[MODEL_K_BIAS] = "k_proj bias",
	[MODEL_V_BIAS] = "v_proj bias",
	[MODEL_O_BIAS] = "o_proj bias",
	[MODEL_Q_NORM] = "q norm",
	[MODEL_K_NORM] = "k norm",
	[MODEL_ROUTER] = "router",
	[MODEL_SHARED_GATE] = "shared gate",
	[MODEL_SHARED_UP] = "shared up",
	[MODEL_SHARED_DOWN] = "shared down",
	[MODEL_SHARED_ROUTER] = "shared router",
	[MODEL_EXPERT_GATE] = "expert gate",
	[MODEL_EXPERT_UP] = "expert up",
	[MODEL_EXPERT_DOWN] = "expert down",
	[MODEL_DENSE_GATE] = "dense gate",
	[MODEL_DENSE_UP] = "dense up",
	[MODEL_DENSE_DOWN] = "dense down",
};

const char *
model_role_name(enum model_role role)
{
	return role < MODEL_ROLES ? role_name[role] : "?";
}

/* Does a model of this config have such a weight in that layer? */
static bool
has_role(const struct model_cfg *c, enum model_role role, int layer)
{
	switch (role) {
	case MODEL_Q_BIAS:
	case MODEL_K_BIAS:
	case MODEL_V_BIAS:
		return c->qkv_bias;
	case MODEL_O_BIAS:
		return c->o_bias;
	case MODEL_Q_NORM:
	case MODEL_K_NORM:
		return c->qknorm != CONFIG_QKNORM_NONE;
	case MODEL_ROUTER:
	case MODEL_EXPERT_GATE:
	case MODEL_EXPERT_UP:
	case MODEL_EXPERT_DOWN:
		return c->layer[layer].moe;
	case MODEL_SHARED_GATE:
	case MODEL_SHARED_UP:
	case MODEL_SHARED_DOWN:
		return c->layer[layer].moe && c->shared != CONFIG_SHARED_NONE;
	case MODEL_SHARED_ROUTER:
		return c->layer[layer].moe && c->shared == CONFIG_SHARED_GATED;
	case MODEL_DENSE_GATE:
	case MODEL_DENSE_UP:
	case MODEL_DENSE_DOWN:
		return !c->layer[layer].moe;
	default:
		return true;
	}
}

static size_t
dim_size(const struct model_cfg *c, enum family_dim d)
{
	bool full = c->qknorm == CONFIG_QKNORM_FULL;
	size_t n = 1;

	switch (d) {
	case FAMILY_1:
		return 1;
	case FAMILY_H:
		return (size_t)c->hidden;
	case FAMILY_V:
		return (size_t)c->vocab;
	case FAMILY_E:
		return (size_t)c->n_expert;
	case FAMILY_2I:
		n = 2;
		/* FALLTHROUGH */
	case FAMILY_I:
		return n * (size_t)c->inter;
	case FAMILY_2S:
		n = 2;
		/* FALLTHROUGH */
	case FAMILY_S:
		return n * (size_t)c->inter_shared;
	case FAMILY_D:
		return (size_t)c->inter_dense;
	case FAMILY_Q:
		return (size_t)c->n_head * (size_t)c->dk;
	case FAMILY_K:
		return (size_t)c->n_kv_head * (size_t)c->dk;
	case FAMILY_VV:
		return (size_t)c->n_kv_head * (size_t)c->dv;
	case FAMILY_O:
		return (size_t)c->n_head * (size_t)c->dv;
	case FAMILY_QN:
		return (size_t)c->dk * (size_t)(full ? c->n_head : 1);
	case FAMILY_KN:
		return (size_t)c->dk * (size_t)(full ? c->n_kv_head : 1);
	}
	BUG("dimension %d", (int)d);
}

/* "model.layers.{l}.experts.{e}.w1" -> "model.layers.3.experts.7.w1" */
static const char *
expand(const char *pattern, int layer, int expert, char out[NAME_MAX_BYTES])
{
	size_t n = 0;
	const char *p;

	for (p = pattern; *p != '\0' && n + 16 < NAME_MAX_BYTES; )
		if (p[0] == '{' && p[2] == '}') {
			n += (size_t)snprintf(out + n, NAME_MAX_BYTES - n, "%d",
			    p[1] == 'l' ? layer : expert);
			p += 3;
		} else
			out[n++] = *p++;
	BUG_ON(*p != '\0');
	out[n] = '\0';
	return out;
}

/* The first way to store role whose tensor is in the checkpoint; NULL when
 * none is. */
static const struct family_tensor *
find_row(const struct model *m, enum model_role role, int layer, int expert,
    const struct ckpt_tensor **t_p)
{
	const struct family *f = m->cfg->family;
	const struct family_tensor *list[2] = { f->attn, f->ffn }, *r;
	char name[NAME_MAX_BYTES];
	int i;

	for (i = 0; i < 2; i++)
		for (r = list[i]; r->name != NULL; r++) {
			if (r->role != role)
				continue;
			*t_p = ckpt_find(m->ckpt,
			    expand(r->name, layer, expert, name));
			if (*t_p != NULL)
				return r;
		}
	return NULL;
}

/* The part of tensor t that row r describes. */
static void
make_ref(const struct model_cfg *c, const struct family_tensor *r, int expert,
    const struct ckpt_tensor *t, struct model_ref *out)
{
	size_t n_out = 1, n_in, rows;

	n_in = dim_size(c, r->dim[r->rank - 1]);
	if (r->rank > 1)
		n_out = dim_size(c, r->dim[r->rank - 2]);
	*out = (struct model_ref){ .t = t, .rs = n_in, .cs = 1 };
	if (r->slab)
		out->elem_off = (size_t)expert * n_out * n_in;
	if (r->transposed) {	/* stored [in][out] */
		size_t swap = n_out;

		n_out = n_in;
		n_in = swap;
		out->rs = 1;
		out->cs = n_out;
	}
	rows = r->part == FAMILY_WHOLE ? n_out : n_out / 2;
	if (r->part == FAMILY_SECOND)
		out->elem_off += rows * out->rs;
	if (r->part == FAMILY_ODD)
		out->elem_off += out->rs;
	if (r->part == FAMILY_EVEN || r->part == FAMILY_ODD)
		out->rs *= 2;
	out->rows = (int)rows;
	out->cols = (int)n_in;
}

static bool
per_layer(enum model_role role)
{
	return role >= MODEL_IN_NORM;
}

static bool
per_expert(enum model_role role)
{
	return role >= MODEL_EXPERT_GATE && role <= MODEL_EXPERT_DOWN;
}

bool
model_ref(const struct model *m, enum model_role role, int layer, int expert,
    struct model_ref *out)
{
	const struct model_cfg *c = m->cfg;
	const struct family_tensor *r;
	const struct ckpt_tensor *t;

	BUG_ON(per_layer(role) && (layer < 0 || layer >= c->n_layer));
	BUG_ON(per_expert(role) && (expert < 0 || expert >= c->n_expert));
	if (!has_role(c, role, layer))
		return false;
	if (role == MODEL_LM_HEAD && c->tied)
		role = MODEL_EMBED;
	r = find_row(m, role, layer, expert, &t);
	BUG_ON(r == NULL);	/* model_open has seen it */
	make_ref(c, r, expert, t, out);
	return true;
}

/* The row of the layout that comes first; NULL for none. */
static const struct family_tensor *
first_row(const struct family *f, enum model_role role)
{
	const struct family_tensor *list[2] = { f->attn, f->ffn }, *r;
	int i;

	for (i = 0; i < 2; i++)
		for (r = list[i]; r->name != NULL; r++)
			if (r->role == role)
				return r;
	return NULL;
}

/* ---- checking --------------------------------------------------------- */

static void
show_shape(struct str *s, const size_t *d, int rank)
{
	int i;

	str_addc(s, '[');
	for (i = 0; i < rank; i++)
		str_addf(s, "%s%zu", i ? ", " : "", d[i]);
	str_addc(s, ']');
}

static int
missing(const struct model *m, enum model_role role, int layer, int expert,
    struct err *err)
{
	const struct family_tensor *r = first_row(m->cfg->family, role);
	char name[NAME_MAX_BYTES];
	size_t want[3];
	struct str s = STR_INIT;
	int i;

	for (i = 0; i < r->rank; i++)
		want[i] = dim_size(m->cfg, r->dim[i]);
	show_shape(&s, want, r->rank);
	err_set(err, ERR_DATA, "%s: tensor %s %s is missing%s", m->dir,
	    expand(r->name, layer, expert, name), str_c(&s),
	    r->role == MODEL_LM_HEAD ? " (config.json: tie_word_embeddings "
	    "is false)" : "");
	str_free(&s);
	return -1;
}

static int
check_tensor(const struct model *m, const struct family_tensor *r,
    const struct ckpt_tensor *t, struct err *err)
{
	struct str want = STR_INIT, have = STR_INIT;
	size_t dim[3];
	bool same = t->rank == r->rank;
	int i;

	if (t->dtype != CKPT_F32 && t->dtype != CKPT_F16 &&
	    t->dtype != CKPT_BF16)
		return err_set(err, ERR_DATA, "%s/%s: tensor %s has dtype %s: "
		    "this build reads F32, F16, BF16", m->dir,
		    ckpt_file(m->ckpt, t), t->name, ckpt_dtype_name(t->dtype));
	for (i = 0; i < r->rank; i++) {
		dim[i] = dim_size(m->cfg, r->dim[i]);
		same = same && t->shape[i] == dim[i];
	}
	if (same)
		return 0;
	show_shape(&want, dim, r->rank);
	show_shape(&have, t->shape, t->rank);
	err_set(err, ERR_DATA, "%s/%s: tensor %s has shape %s, config.json "
	    "asks for %s", m->dir, ckpt_file(m->ckpt, t), t->name,
	    str_c(&have), str_c(&want));
	str_free(&want);
	str_free(&have);
	return -1;
}

static int
check_role(const struct model *m, enum model_role role, int layer, int expert,
    struct err *err)
{
	const struct family_tensor *r;
	const struct ckpt_tensor *t;

	if (!has_role(m->cfg, role, layer) ||
	    (role == MODEL_LM_HEAD && m->cfg->tied))
		return 0;
	r = find_row(m, role, layer, expert, &t);
	if (r == NULL)
		return missing(m, role, layer, expert, err);
	return check_tensor(m, r, t, err);
}

static int
check_layer(const struct model *m, int layer, struct err *err)
{
	int role, e, n;

	for (role = MODEL_IN_NORM; role < MODEL_ROLES; role++) {
		n = per_expert((enum model_role)role) ? m->cfg->n_expert : 1;
		for (e = 0; e < n; e++)
			if (check_role(m, (enum model_role)role, layer, e,
			    err) != 0)
				return -1;
	}
	return 0;
}

static int
check_all(const struct model *m, struct err *err)
{
	int role, layer;

	for (role = 0; role < MODEL_IN_NORM; role++)
		if (check_role(m, (enum model_role)role, 0, 0, err) != 0)
			return -1;
	for (layer = 0; layer < m->cfg->n_layer; layer++)
		if (check_layer(m, layer, err) != 0)
			return -1;
	return 0;
}

/* ---- what a checkpoint holds ------------------------------------------- */

static int
each_of_role(const struct model_cfg *c, enum model_role role, int layer,
    model_tensor_fn *fn, void *arg)
{
	const struct family_tensor *r;
	char name[NAME_MAX_BYTES];
	size_t shape[3];
	int i, e, n, rc = 0;

	if (!has_role(c, role, layer) || (role == MODEL_LM_HEAD && c->tied))
		return 0;
	r = first_row(c->family, role);
	/* Two roles in one tensor: it is named at the first of them. */
	if (r->part == FAMILY_SECOND || r->part == FAMILY_ODD)
		return 0;
	for (i = 0; i < r->rank; i++)
		shape[i] = dim_size(c, r->dim[i]);
	n = per_expert(role) && !r->slab ? c->n_expert : 1;
	for (e = 0; rc == 0 && e < n; e++)
		rc = fn(expand(r->name, layer, e, name), role, r->rank, shape,
		    arg);
	return rc;
}

int
model_each_tensor(const struct model_cfg *cfg, model_tensor_fn *fn, void *arg)
{
	int role, layer, rc = 0;

	for (role = 0; rc == 0 && role < MODEL_IN_NORM; role++)
		rc = each_of_role(cfg, (enum model_role)role, 0, fn, arg);
	for (layer = 0; rc == 0 && layer < cfg->n_layer; layer++)
		for (role = MODEL_IN_NORM; rc == 0 && role < MODEL_ROLES;
		    role++)
			rc = each_of_role(cfg, (enum model_role)role, layer,
			    fn, arg);
	return rc;
}

/* ---- opening and asking ------------------------------------------------ */

/* The last component of dir; "." and the like are resolved first. */
static char *
base_name(const char *dir)
{
	char *real = realpath(dir, NULL), *out;
	const char *p = real != NULL ? real : dir;
	const char *slash = strrchr(p, '/');

	out = mem_strdup(slash != NULL && slash[1] != '\0' ? slash + 1 : p);
	free(real);
	return out;
}

int
model_open(struct model **m_p, const char *dir, struct err *err)
{
	struct model *m = mem_zalloc(sizeof(*m));

	m->dir = mem_strdup(dir);
	m->name = base_name(dir);
	if (config_read(&m->cfg, dir, err) != 0 ||
	    ckpt_open(&m->ckpt, dir, err) != 0 || check_all(m, err) != 0) {
		model_close(m);
		return -1;
	}
	*m_p = m;
	return 0;
}

void
model_close(struct model *m)
{
	if (m == NULL)
		return;
	ckpt_close(m->ckpt);
	config_free(m->cfg);
	mem_free(m->dir);
	mem_free(m->name);
	mem_free(m);
}

const struct model_cfg *
model_cfg(const struct model *m)
{
	return m->cfg;
}

const struct ckpt *
model_ckpt(const struct model *m)
{
	return m->ckpt;
}

const char *
model_name(const struct model *m)
{
	return m->name;
}

const char *
model_dir(const struct model *m)
{
	return m->dir;
}

/* Every number of the config that changes what the model computes, as text:
 * the same on every machine. */
static void
describe(const struct model_cfg *c, struct str *s)
{
	const struct rope_cfg *r = &c->rope;
	float inv[ROPE_MAX_DIM / 2], mscale;
	int i;

	str_addf(s, "%s %d %d %d %d %d %d %d ", c->model_type, c->hidden,
	    c->n_layer, c->vocab, c->n_head, c->n_kv_head, c->dk, c->dv);
	str_addf(s, "%.9g %.9g %.9g %d %d %d %.9g %.9g %.9g %d ",
	    (double)c->norm_eps, (double)c->attn_scale, (double)c->clip_qkv,
	    (int)c->qknorm, c->qkv_bias, c->o_bias, (double)c->embed_mult,
	    (double)c->residual_mult, (double)c->logits_div, c->tied);
	str_addf(s, "%d %d %d %d %d %d %d %d %d %.9g %d %d %.9g ", c->n_expert,
	    c->top_k, c->inter, c->inter_shared, c->inter_dense,
	    (int)c->shared, (int)c->glu, (int)c->rule, c->renorm,
	    (double)c->scaling, c->n_group, c->topk_group, (double)c->jitter);
	for (i = 0; i < c->n_layer; i++)
		str_addf(s, "%d.%d.%d ", c->layer[i].moe, c->layer[i].rope,
		    c->layer[i].window);
	rope_table(r, r->orig_pos, inv, &mscale);
	str_addf(s, "%d %d %.7g", r->dim, r->interleaved, (double)mscale);
	for (i = 0; i < r->dim / 2; i++)
		str_addf(s, " %.5g", (double)inv[i]);
}

int
model_fingerprint(struct model *m, uint64_t *out, struct err *err)
{
	struct str s = STR_INIT;
	uint64_t h;

	if (!m->has_fingerprint) {
		if (ckpt_fingerprint(m->ckpt, &h, err) != 0)
			return -1;
		str_addf(&s, "%016" PRIx64 " ", h);
		describe(m->cfg, &s);
		m->fingerprint = ckpt_hash(CKPT_HASH, s.p, s.n);
		m->has_fingerprint = true;
		str_free(&s);
	}
	*out = m->fingerprint;
	return 0;
}

uint64_t
model_expert_file_bytes(const struct model *m, int layer)
{
	enum model_role role;
	struct model_ref r;
	uint64_t n = 0;

	for (role = MODEL_EXPERT_GATE; role <= MODEL_EXPERT_DOWN; role++)
		if (model_ref(m, role, layer, 0, &r))
			n += (uint64_t)r.rows * (uint64_t)r.cols *
			    (uint64_t)ckpt_dtype_bits(r.t->dtype) / 8;
	return n;
}

uint64_t
model_file_bytes(const struct model *m)
{
	return ckpt_bytes(m->ckpt);
}

enum kern_dtype
model_pick_weights(enum kern_dtype act, enum model_weights want)
{
	return want == MODEL_Q8 ? KERN_Q8 : act;
}

enum kern_dtype
model_pick_act(const struct model *m, enum model_dtype want)
{
	struct model_ref r;
	int layer;

	if (want != MODEL_AUTO)
		return want == MODEL_F32 ? KERN_F32 : KERN_BF16;
	/* Experts are nearly all of the bytes; a model without any has q. */
	for (layer = 0; layer < m->cfg->n_layer; layer++)
		if (model_ref(m, MODEL_EXPERT_GATE, layer, 0, &r))
			return r.t->dtype == CKPT_F32 ? KERN_F32 : KERN_BF16;
	if (!model_ref(m, MODEL_Q, 0, 0, &r))
		BUG("a model without q_proj");
	return r.t->dtype == CKPT_F32 ? KERN_F32 : KERN_BF16;
}
