/* fs_random - a drill made from a seed: all kinds of faults, at random moments,
 * one on top of another. */
#ifndef MOE_FS_RANDOM_H
#define MOE_FS_RANDOM_H

#include <stdint.h>

#include "fs_procs.h"
#include "str.h"

/* Append the text of a drill that lasts for_ns on these members, a function of
 * seed, for_ns, and the members' ids, roles and links. */
void	fs_random_text(struct str *out, uint64_t seed, uint64_t for_ns,
	    const struct fs_procs *all);

#endif
