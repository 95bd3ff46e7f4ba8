/* link_pair.c - F3.  What can be asked of a pair or a port.  Data thread. */
#include <string.h>

#include "link_port.h"
#include "link_wire.h"

bool
link_is_up(const struct link_pair *pair)
{
	return pair->up && !pair->broken;
}

void *
link_user(const struct link_pair *pair)
{
	return pair->user;
}

void
link_set_user(struct link_pair *pair, void *user)
{
	pair->user = user;
}

const struct link_hello *
link_peer(const struct link_pair *pair)
{
	return &pair->peer;
}

const char *
link_addr(const struct link_pair *pair)
{
	return pair->text;
}

uint32_t
link_depth(const struct link_pair *pair)
{
	return pair->ring != NULL ? pair->ring->depth : 0;
}

uint32_t
link_slot_bytes(const struct link_pair *pair)
{
	return pair->ring != NULL ? pair->ring->slot_bytes : 0;
}

uint64_t
link_epoch(const struct link_pair *pair)
{
	return pair->n_up << 16 | (pair->ring != NULL ? pair->ring->epoch : 0);
}

uint64_t
link_heard_ns(const struct link_pair *pair)
{
	return atomic_load_explicit(&pair->heard_ns, memory_order_relaxed);
}

void
link_why(struct link_pair *pair, char out[256])
{
	pthread_mutex_lock(&pair->port->lock);
	memcpy(out, pair->why, sizeof(pair->why));
	pthread_mutex_unlock(&pair->port->lock);
}

void
link_counters(struct link_port *p, struct link_counters *out)
{
	size_t i;

	*out = p->count;
	if (p->wire != NULL)
		link_wire_count(p->wire, out);
	for (i = 0; i < p->live.n; i++)
		out->stale += p->live.p[i]->ring->stale;
	pthread_mutex_lock(&p->lock);
	out->bad = p->ctl_count.bad;
	out->refused = p->ctl_count.refused;
	out->up = p->ctl_count.up;
	out->down = p->ctl_count.down;
	pthread_mutex_unlock(&p->lock);
}

void
link_faults(const struct link_pair *pair, struct link_faults *out)
{
	link_fault_count(pair->fault, out);
}
