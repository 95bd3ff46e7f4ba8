/* config_rope - the rope part of config.json.  Private to config. */
#ifndef MOE_CONFIG_ROPE_H
#define MOE_CONFIG_ROPE_H

#include "json.h"
#include "rope.h"

/*
 * Fill r from the config object of s: rope_parameters (new style), else
 * rope_scaling with a rope_theta at top level.  theta is the family's default,
 * d the size of a head, max_pos the model's longest sequence.
 */
int	config_rope_parse(struct rope_cfg *r, const struct json_src *s,
	    double theta, int d, int max_pos);

#endif
