/* link_hello.c - F3.  May these two talk to each other?  No state. */
#include <string.h>

#include "kern.h"
#include "link_port.h"

_Static_assert(LINK_NAME == MSG_NAME && LINK_VARIANT == MSG_NAME,
    "names are as long on the wire");

void
link_hello_to_msg(const struct link_hello *h, struct msg_hello *m)
{
	memset(m, 0, sizeof(*m));
	m->role = (uint8_t)h->role;
	m->act = h->act;
	m->weights = h->weights;
	m->mixed = h->mixed;
	memcpy(m->name, h->name, sizeof(m->name));
	memcpy(m->variant, h->variant, sizeof(m->variant));
	m->incarnation = h->incarnation;
	m->fingerprint = h->fingerprint;
	m->hidden = h->hidden;
	m->n_layer = h->n_layer;
	m->n_expert = h->n_expert;
	m->top_k = h->top_k;
}

void
link_hello_from_msg(const struct msg_hello *m, struct link_hello *h)
{
	memset(h, 0, sizeof(*h));
	h->role = (enum link_role)m->role;
	h->act = m->act;
	h->weights = m->weights;
	h->mixed = m->mixed;
	memcpy(h->name, m->name, sizeof(h->name));
	memcpy(h->variant, m->variant, sizeof(h->variant));
	h->incarnation = m->incarnation;
	h->fingerprint = m->fingerprint;
	h->hidden = m->hidden;
	h->n_layer = m->n_layer;
	h->n_expert = m->n_expert;
	h->top_k = m->top_k;
}

static bool
is_loose(const struct link_hello *h)
{
	return h->role == LINK_ROUTE || h->role == LINK_TOOL;
}

/* One number of both; a tool's or router's zero says nothing. */
static int
same(const struct link_hello *a, const struct link_hello *b, const char *what,
    uint64_t va, uint64_t vb, struct err *err)
{
	if (va == vb || (is_loose(a) && va == 0) || (is_loose(b) && vb == 0))
		return 0;
	return err_set(err, ERR_DATA, strcmp(what, "fingerprint") == 0 ?
	    "%s: '%s' has %llx, '%s' has %llx" :
	    "%s: '%s' has %llu, '%s' has %llu", what,
	    a->name, (unsigned long long)va, b->name, (unsigned long long)vb);
}

static int
same_variant(const struct link_hello *a, const struct link_hello *b,
    struct err *err)
{
	if (strcmp(a->variant, b->variant) == 0 || (a->mixed && b->mixed) ||
	    (is_loose(a) && a->variant[0] == '\0') ||
	    (is_loose(b) && b->variant[0] == '\0'))
		return 0;
	return err_set(err, ERR_DATA, "variant: '%s' computes with %s, '%s' "
	    "with %s, and not both allow mixed ones", a->name, a->variant,
	    b->name, b->variant);
}

static int
same_act(const struct link_hello *a, const struct link_hello *b,
    struct err *err)
{
	if (a->act == b->act || (is_loose(a) && a->act == 0) ||
	    (is_loose(b) && b->act == 0))
		return 0;
	return err_set(err, ERR_DATA, "activation dtype: '%s' has %s, '%s' has "
	    "%s", a->name, kern_dtype_name((enum kern_dtype)a->act), b->name,
	    kern_dtype_name((enum kern_dtype)b->act));
}

static const char *
weights_name(const struct link_hello *h)
{
	return kern_dtype_name((enum kern_dtype)(h->weights != 0 ? h->weights :
	    h->act));
}

/* Welcome or not, other variants are about the last bits of a number; weights
 * of another form are other weights. */
static int
same_weights(const struct link_hello *a, const struct link_hello *b,
    struct err *err)
{
	if ((is_loose(a) && a->weights == 0) ||
	    (is_loose(b) && b->weights == 0) ||
	    strcmp(weights_name(a), weights_name(b)) == 0)
		return 0;
	return err_set(err, ERR_DATA, "weights: '%s' has %s, '%s' has %s",
	    a->name, weights_name(a), b->name, weights_name(b));
}

int
link_hello_match(const struct link_hello *me, const struct link_hello *peer,
    struct err *err)
{
	if (peer->role < LINK_EXPERT || peer->role > LINK_TOOL)
		return err_set(err, ERR_DATA, "role: '%s' has %d, want %d..%d",
		    peer->name, (int)peer->role, LINK_EXPERT, LINK_TOOL);
	if (same(me, peer, "fingerprint", me->fingerprint, peer->fingerprint,
	    err) != 0 ||
	    same(me, peer, "hidden size", me->hidden, peer->hidden, err) != 0 ||
	    same(me, peer, "layers", me->n_layer, peer->n_layer, err) != 0 ||
	    same(me, peer, "experts", me->n_expert, peer->n_expert,
	    err) != 0 ||
	    same(me, peer, "top-k", me->top_k, peer->top_k, err) != 0 ||
	    same_act(me, peer, err) != 0 || same_weights(me, peer, err) != 0)
		return -1;
	return same_variant(me, peer, err);
}
