/* at_prof - see at_prof.h. */
#include "at_prof.h"

#include <string.h>

const struct at_part_name at_part_name[AT_PARTS] = {
	[AT_PART_OTHER] = { "other", AT_KIND_AROUND },
	[AT_PART_EMBED] = { "embedding", AT_KIND_KERNEL },
	[AT_PART_NORM] = { "norm", AT_KIND_KERNEL },
	[AT_PART_DENSE] = { "dense", AT_KIND_KERNEL },
	[AT_PART_ROPE] = { "rope", AT_KIND_KERNEL },
	[AT_PART_ATTN] = { "attention", AT_KIND_KERNEL },
	[AT_PART_GATE] = { "gate", AT_KIND_KERNEL },
	[AT_PART_EXPERTS] = { "experts", AT_KIND_KERNEL },
	[AT_PART_SHARED] = { "shared", AT_KIND_KERNEL },
	[AT_PART_COMBINE] = { "combine", AT_KIND_KERNEL },
	[AT_PART_HEAD] = { "head", AT_KIND_KERNEL },
	[AT_PART_SAMPLE] = { "sampling", AT_KIND_AROUND },
	[AT_PART_COPY] = { "copies", AT_KIND_AROUND },
	[AT_PART_DISPATCH] = { "dispatch", AT_KIND_AROUND },
	[AT_PART_SCHED] = { "scheduling", AT_KIND_AROUND },
	[AT_PART_OUTPUT] = { "output", AT_KIND_AROUND },
	[AT_PART_WAIT] = { "waiting", AT_KIND_WAIT },
	[AT_PART_IDLE] = { "idle", AT_KIND_IDLE },
};

const char *
at_kind_name(enum at_part_kind kind)
{
	static const char *const name[] = { "kernel", "around", "wait",
	    "idle" };

	return name[kind];
}

void
at_prof_begin(struct at_prof *p)
{
	memset(p, 0, sizeof(*p));
	p->since_ns = clock_ns();
}

void
at_prof_move(struct at_prof *p, enum at_part from, enum at_part to,
    uint64_t ns)
{
	if (p == NULL)
		return;
	if (ns > p->ns[from])
		ns = p->ns[from];
	p->ns[from] -= ns;
	p->ns[to] += ns;
}
