/* rope - see rope.h.  Floor F4; pure. */
#include "rope.h"

#include <math.h>

#define PI	3.14159265358979323846

const char *
rope_type_name(enum rope_type t)
{
	switch (t) {
	case ROPE_DEFAULT:
		return "default";
	case ROPE_LINEAR:
		return "linear";
	case ROPE_YARN:
		return "yarn";
	case ROPE_LONGROPE:
		return "longrope";
	case ROPE_LLAMA3:
		return "llama3";
	}
	return "?";
}

double
rope_yarn_mscale(double factor, double m)
{
	return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static double
clamp(double x, double lo, double hi)
{
	return x < lo ? lo : x > hi ? hi : x;
}

/* The dimension whose wave turns n times within orig_pos positions. */
static double
yarn_dim(const struct rope_cfg *r, double n)
{
	return r->dim * log(r->orig_pos / (2 * PI * n)) / (2 * log(r->theta));
}

/* Blend of base and base/factor: dimensions that turn more than beta_fast
 * times keep their frequency, those below beta_slow are stretched. */
static double
yarn_freq(const struct rope_cfg *r, int i, double base)
{
	double lo = yarn_dim(r, r->beta_fast), hi = yarn_dim(r, r->beta_slow);
	double ramp;

	if (r->truncate) {
		lo = floor(lo);
		hi = ceil(hi);
	}
	lo = fmax(lo, 0);
	hi = fmin(hi, r->dim - 1);
	if (lo == hi)
		hi += 0.001;
	ramp = clamp((i - lo) / (hi - lo), 0, 1);
	return base / r->factor * ramp + base * (1 - ramp);
}

static double
llama3_freq(const struct rope_cfg *r, double base)
{
	double wave = 2 * PI / base;
	double low = r->low_freq_factor, high = r->high_freq_factor, s;

	if (wave < r->orig_pos / high)
		return base;
	/* With low == high there is no band between to blend in. */
	if (wave > r->orig_pos / low || low == high)
		return base / r->factor;
	s = (r->orig_pos / wave - low) / (high - low);
	return (1 - s) * base / r->factor + s * base;
}

static double
yarn_attention(const struct rope_cfg *r)
{
	if (r->attention_factor != 0)
		return r->attention_factor;
	if (r->mscale != 0 && r->mscale_all_dim != 0)
		return rope_yarn_mscale(r->factor, r->mscale) /
		    rope_yarn_mscale(r->factor, r->mscale_all_dim);
	return rope_yarn_mscale(r->factor, 1);
}

static double
longrope_attention(const struct rope_cfg *r, bool is_long)
{
	double m = is_long ? r->long_mscale : r->short_mscale, f;

	if (m != 0)
		return m;
	if (r->attention_factor != 0)
		return r->attention_factor;
	f = (double)r->max_pos / r->orig_pos;
	return f <= 1 ? 1 : sqrt(1 + log(f) / log(r->orig_pos));
}

void
rope_table(const struct rope_cfg *r, int n_pos, float *inv_freq, float *mscale)
{
	bool is_long = r->type == ROPE_LONGROPE && n_pos > r->orig_pos;
	double base, f;
	int i;

	for (i = 0; i < r->dim / 2; i++) {
		base = pow(r->theta, -2.0 * i / r->dim);
		f = base;
		if (r->type == ROPE_LINEAR)
			f = base / r->factor;
		else if (r->type == ROPE_YARN)
			f = yarn_freq(r, i, base);
		else if (r->type == ROPE_LONGROPE)
			f = base / (is_long ? r->long_factor[i] :
			    r->short_factor[i]);
		else if (r->type == ROPE_LLAMA3)
			f = llama3_freq(r, base);
		inv_freq[i] = (float)f;
	}
	*mscale = (float)(r->type == ROPE_YARN ? yarn_attention(r) :
	    r->type == ROPE_LONGROPE ? longrope_attention(r, is_long) : 1);
}
