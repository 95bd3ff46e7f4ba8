/* at_load - see at_load.h. */
#include "at_load.h"

#include <string.h>

#include "mem.h"
#include "store.h"

#define LOAD_THREADS	4

/* What a matrix is packed in.  A router decides by small differences, and an
 * embedding is copied out of, not computed with (but where it is the head,
 * too, which then reads it as it is): they are never quantised. */
static enum kern_dtype
form_of(const struct at_model *am, enum model_role role)
{
	if (role == MODEL_ROUTER || role == MODEL_SHARED_ROUTER ||
	    role == MODEL_EMBED)
		return am->act;
	return kern_weights(am->kn);
}

/* Roles' matrices stacked by rows; all of them are there. */
static int
load_stack(struct at_model *am, const enum model_role *role, int n, int layer,
    struct kern_mat *out, struct err *err)
{
	struct model_ref ref[3];
	const struct store_mat a = { am->kn, am->m, ref, n,
	    form_of(am, role[0]), LOAD_THREADS };
	int i;

	for (i = 0; i < n; i++)
		if (!model_ref(am->m, role[i], layer, 0, &ref[i]))
			BUG("a model without %s", model_role_name(role[i]));
	if (store_load_mat(&a, out, err) != 0)
		return -1;
	am->bytes += out->bytes;
	return 0;
}

/* The matrix of a role; nothing (and data NULL) where the model has none. */
static int
load_mat(struct at_model *am, enum model_role role, int layer,
    struct kern_mat *out, struct err *err)
{
	struct model_ref ref;
	const struct store_mat a = { am->kn, am->m, &ref, 1,
	    form_of(am, role), LOAD_THREADS };

	if (!model_ref(am->m, role, layer, 0, &ref))
		return 0;
	if (store_load_mat(&a, out, err) != 0)
		return -1;
	am->bytes += out->bytes;
	return 0;
}

static int
load_vec(struct at_model *am, enum model_role role, int layer,
    struct at_vec *out, struct err *err)
{
	struct model_ref ref;

	if (!model_ref(am->m, role, layer, 0, &ref))
		return 0;
	out->p = store_load_vec(am->m, &ref, err);
	out->n = ref.cols;
	am->bytes += (uint64_t)ref.cols * sizeof(float);
	return out->p != NULL ? 0 : -1;
}

static const enum model_role qkv_role[3] = { MODEL_Q, MODEL_K, MODEL_V };

/* Biases of q, k and v side by side; nothing where the model has none. */
static int
load_qkv_bias(struct at_model *am, int layer, struct at_vec *out,
    struct err *err)
{
	static const enum model_role role[3] = { MODEL_Q_BIAS, MODEL_K_BIAS,
	    MODEL_V_BIAS };
	struct at_vec part;
	float *all;
	int i;

	for (i = 0; i < 3; i++) {
		part = (struct at_vec){ NULL, 0 };
		if (load_vec(am, role[i], layer, &part, err) != 0)
			return -1;
		if (part.p == NULL)
			continue;
		all = mem_realloc(out->p, (size_t)(out->n + part.n) *
		    sizeof(*all));
		memcpy(all + out->n, part.p, (size_t)part.n * sizeof(*all));
		out->p = all;
		out->n += part.n;
		mem_free(part.p);
	}
	BUG_ON(out->p != NULL && out->n != am->layer[layer].qkv.n);
	return 0;
}

static int
load_layer(struct at_model *am, int i, struct err *err)
{
	struct at_layer *l = &am->layer[i];
	const struct {
		enum model_role role;
		struct at_vec *out;
	} vec[] = {
		{ MODEL_IN_NORM, &l->in_norm }, { MODEL_POST_NORM, &l->post_norm },
		{ MODEL_Q_NORM, &l->q_norm }, { MODEL_K_NORM, &l->k_norm },
		{ MODEL_O_BIAS, &l->o_bias },
	};
	const struct {
		enum model_role role;
		struct kern_mat *out;
	} mat[] = {
		{ MODEL_O, &l->o }, { MODEL_ROUTER, &l->router },
		{ MODEL_SHARED_ROUTER, &l->shared_router },
	};
	bool moe = am->cfg->layer[i].moe;
	size_t j;

	for (j = 0; j < sizeof(vec) / sizeof(vec[0]); j++)
		if (load_vec(am, vec[j].role, i, vec[j].out, err) != 0)
			return -1;
	for (j = 0; j < sizeof(mat) / sizeof(mat[0]); j++)
		if (load_mat(am, mat[j].role, i, mat[j].out, err) != 0)
			return -1;
	if (load_stack(am, qkv_role, 3, i, &l->qkv, err) != 0 ||
	    load_qkv_bias(am, i, &l->qkv_bias, err) != 0)
		return -1;
	if (moe && am->cfg->shared == CONFIG_SHARED_NONE)
		return 0;
	if (store_load_ffn(am->kn, am->m, moe ? STORE_SHARED : STORE_DENSE, i,
	    0, &l->ffn, err) != 0)
		return -1;
	l->has_ffn = true;
	am->bytes += l->ffn.gate_up.bytes + l->ffn.down.bytes;
	return 0;
}

int
at_model_load(struct at_model **out, struct kern *kn, const struct model *m,
    int ctx_tok, struct err *err)
{
	struct at_model *am = mem_zalloc(sizeof(*am));
	int i;

	am->kn = kn;
	am->m = m;
	am->cfg = model_cfg(m);
	am->act = kern_act(kn);
	am->layer = mem_calloc((size_t)am->cfg->n_layer, sizeof(*am->layer));
	rope_table(&am->cfg->rope, ctx_tok, am->inv_freq, &am->rope_mscale);
	for (i = 0; i < am->cfg->n_layer; i++)
		if (load_layer(am, i, err) != 0)
			goto fail;
	if (load_mat(am, MODEL_EMBED, 0, &am->embed, err) != 0 ||
	    load_vec(am, MODEL_FINAL_NORM, 0, &am->final_norm, err) != 0 ||
	    (!am->cfg->tied &&
	    load_mat(am, MODEL_LM_HEAD, 0, &am->lm_head, err) != 0))
		goto fail;
	*out = am;
	return 0;
fail:
	at_model_free(am);
	return -1;
}

static void
free_mat(struct at_model *am, struct kern_mat *mat)
{
	if (mat->data != NULL)
		store_free_mat(am->kn, mat);
}

static void
free_layer(struct at_model *am, struct at_layer *l)
{
	struct at_vec *const vec[] = { &l->in_norm, &l->post_norm, &l->q_norm,
	    &l->k_norm, &l->qkv_bias, &l->o_bias };
	struct kern_mat *const mat[] = { &l->qkv, &l->o, &l->router,
	    &l->shared_router };
	size_t j;

	for (j = 0; j < sizeof(vec) / sizeof(vec[0]); j++)
		mem_free(vec[j]->p);
	for (j = 0; j < sizeof(mat) / sizeof(mat[0]); j++)
		free_mat(am, mat[j]);
	if (l->has_ffn)
		store_free_expert(am->kn, &l->ffn);
}

void
at_model_free(struct at_model *am)
{
	int i;

	if (am == NULL)
		return;
	for (i = 0; i < am->cfg->n_layer; i++)
		free_layer(am, &am->layer[i]);
	free_mat(am, &am->embed);
	free_mat(am, &am->lm_head);
	mem_free(am->final_norm.p);
	mem_free(am->layer);
	mem_free(am);
}

uint64_t
at_model_bytes(const struct at_model *am)
{
	return am->bytes;
}
