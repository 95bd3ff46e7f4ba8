/* config_rope - see config_rope.h.  Floor F4; no state. */
#include "config_rope.h"

#include <stdio.h>
#include <string.h>

#define MAX_FACTOR	1e6

/* A key of the rope object, or else of the config itself: writers disagree on
 * where original_max_position_embeddings and partial_rotary_factor belong. */
static const struct json_src *
holder(const struct json_src *top, const struct json_src *rope,
    const char *key)
{
	const json_t *v = json_object_get(rope->obj, key);

	return v != NULL && !json_is_null(v) ? rope : top;
}

static int
parse_type(struct rope_cfg *r, const struct json_src *s)
{
	const char *name = "default";
	int t;

	if (json_may_str(s, "type", &name) != 0 ||
	    json_may_str(s, "rope_type", &name) != 0)
		return -1;
	for (t = ROPE_DEFAULT; t <= ROPE_LLAMA3; t++)
		if (strcmp(name, rope_type_name((enum rope_type)t)) == 0) {
			r->type = (enum rope_type)t;
			return 0;
		}
	return json_want_fail(s, "rope_type", "\"%s\" is not supported: this "
	    "build computes default, linear, yarn, longrope, llama3", name);
}

static int
parse_yarn(struct rope_cfg *r, const struct json_src *s)
{
	r->beta_fast = 32;
	r->beta_slow = 1;
	r->truncate = true;
	return json_may_real(s, "beta_fast", 1e-3, MAX_FACTOR,
	    &r->beta_fast) != 0 ||
	    json_may_real(s, "beta_slow", 1e-3, MAX_FACTOR,
	    &r->beta_slow) != 0 ||
	    json_may_real(s, "mscale", 0, MAX_FACTOR, &r->mscale) != 0 ||
	    json_may_real(s, "mscale_all_dim", 0, MAX_FACTOR,
	    &r->mscale_all_dim) != 0 ||
	    json_may_bool(s, "truncate", &r->truncate) != 0 ? -1 : 0;
}

/* dim / 2 positive numbers. */
static int
parse_factors(const struct json_src *s, const char *key, int n, double *out)
{
	const json_t *v;
	int i;

	if (json_may_array(s, key, &v) != 0)
		return -1;
	if (json_array_size(v) != (size_t)n)
		return json_want_fail(s, key, "%zu numbers, the rotary "
		    "dimensions ask for %d", json_array_size(v), n);
	for (i = 0; i < n; i++) {
		out[i] = json_number_value(json_array_get(v, (size_t)i));
		if (!(out[i] > 1e-6 && out[i] < 1e9))
			return json_want_fail(s, key, "number %d is missing "
			    "or not positive", i);
	}
	return 0;
}

static int
parse_longrope(struct rope_cfg *r, const struct json_src *s)
{
	return parse_factors(s, "short_factor", r->dim / 2,
	    r->short_factor) != 0 ||
	    parse_factors(s, "long_factor", r->dim / 2,
	    r->long_factor) != 0 ||
	    json_may_real(s, "short_mscale", 0, MAX_FACTOR,
	    &r->short_mscale) != 0 ||
	    json_may_real(s, "long_mscale", 0, MAX_FACTOR,
	    &r->long_mscale) != 0 ? -1 : 0;
}

static int
parse_by_type(struct rope_cfg *r, const struct json_src *s)
{
	bool factor = r->type == ROPE_LINEAR || r->type == ROPE_YARN ||
	    r->type == ROPE_LLAMA3;

	if (factor && json_want_real(s, "factor", 1e-3, MAX_FACTOR,
	    &r->factor) != 0)
		return -1;
	if ((r->type == ROPE_YARN || r->type == ROPE_LONGROPE) &&
	    json_may_real(s, "attention_factor", 0, MAX_FACTOR,
	    &r->attention_factor) != 0)
		return -1;
	if (r->type == ROPE_YARN)
		return parse_yarn(r, s);
	if (r->type == ROPE_LONGROPE)
		return parse_longrope(r, s);
	if (r->type == ROPE_LLAMA3)
		return json_want_real(s, "low_freq_factor", 1e-3, MAX_FACTOR,
		    &r->low_freq_factor) != 0 ||
		    json_want_real(s, "high_freq_factor", 1e-3, MAX_FACTOR,
		    &r->high_freq_factor) != 0 ? -1 : 0;
	return 0;
}

/* How many of a head's d dimensions rotate. */
static int
parse_dim(struct rope_cfg *r, const struct json_src *top,
    const struct json_src *rope, int d)
{
	const char *key = "partial_rotary_factor";
	const struct json_src *s = holder(top, rope, key);
	double part = 1;

	if (json_may_real(s, key, 0, 1, &part) != 0)
		return -1;
	r->dim = (int)(d * part);
	if (r->dim < 2 || r->dim % 2 != 0 || r->dim > ROPE_MAX_DIM)
		return json_want_fail(s, part < 1 ? key : "head_dim",
		    "%d rotary dimensions: must be even, from 2 to %d", r->dim,
		    ROPE_MAX_DIM);
	return 0;
}

/* A rope_parameters with one object per kind of layer is not read. */
static int
refuse_nested(const struct json_src *s)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)s->obj, key, v)
		if (json_is_object(v))
			return json_want_fail(s, key, "rope that differs "
			    "between layers is not supported");
	return 0;
}

int
config_rope_parse(struct rope_cfg *r, const struct json_src *s, double theta,
    int d, int max_pos)
{
	struct json_src rope = *s;
	int64_t orig = max_pos;
	const char *key;

	memset(r, 0, sizeof(*r));
	r->theta = theta;
	r->max_pos = max_pos;
	r->factor = 1;
	rope.at = "rope_parameters.";
	if (json_may_obj(s, "rope_parameters", &rope.obj) != 0)
		return -1;
	if (rope.obj == NULL) {
		rope.at = "rope_scaling.";
		if (json_may_obj(s, "rope_scaling", &rope.obj) != 0)
			return -1;
	}
	if (refuse_nested(&rope) != 0 || parse_type(r, &rope) != 0)
		return -1;
	key = "rope_theta";
	if (json_may_real(holder(s, &rope, key), key, 1.0001, 1e15,
	    &r->theta) != 0 || parse_dim(r, s, &rope, d) != 0)
		return -1;
	key = "original_max_position_embeddings";
	if (json_may_int(holder(s, &rope, key), key, 2, INT32_MAX, &orig) != 0)
		return -1;
	r->orig_pos = (int)orig;
	return parse_by_type(r, &rope);
}
