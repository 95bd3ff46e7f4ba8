/* hold_spec - lists of experts as people write them: see hold.h. */
#include <string.h>

#include "hold.h"
#include "mem.h"
#include "num.h"

struct range {
	uint32_t lo, hi;
};

/* "7" or "0-3", both ends within 0..n-1. */
static int
parse_range(char *s, uint32_t n, struct range *out)
{
	char *dash = strchr(s, '-');
	uint64_t lo, hi;

	if (dash != NULL)
		*dash++ = '\0';
	if (num_u64(s, &lo) != 0)
		return -1;
	hi = lo;
	if (dash != NULL && num_u64(dash, &hi) != 0)
		return -1;
	if (lo > hi || hi >= n)
		return -1;
	out->lo = (uint32_t)lo;
	out->hi = (uint32_t)hi;
	return 0;
}

static int
one_part(struct hold *h, const char *part, bool set, struct err *err)
{
	struct range layers = { 0, h->n_layer - 1 };
	struct range experts = { 0, h->n_expert - 1 };
	char *s = mem_strdup(part), *colon = strchr(s, ':'), *last = s;
	uint32_t l, e;
	int bad = 0;

	if (colon != NULL) {
		*colon = '\0';
		last = colon + 1;
		bad |= parse_range(s, h->n_layer, &layers);
	}
	if (colon != NULL || strcmp(s, "all") != 0)
		bad |= parse_range(last, h->n_expert, &experts);
	mem_free(s);
	if (bad)
		return err_set(err, ERR_USAGE, "expert list: '%s' is not "
		    "E, E-E, L:E, L:E-E or L-L:E-E with layers 0-%u and "
		    "experts 0-%u", part, h->n_layer - 1, h->n_expert - 1);
	for (l = layers.lo; set && l <= layers.hi; l++)
		for (e = experts.lo; e <= experts.hi; e++)
			hold_set(h, l, e, true);
	return 0;
}

static int
every_part(struct hold *h, const char *spec, bool set, struct err *err)
{
	char *copy = mem_strdup(spec), *at = copy, *part;
	int rc = 0;

	while (rc == 0 && (part = strsep(&at, ",")) != NULL)
		rc = one_part(h, part, set, err);
	mem_free(copy);
	return rc;
}

int
hold_spec(struct hold *h, const char *spec, struct err *err)
{
	/* Checked as a whole first: a list with a fault sets nothing. */
	if (every_part(h, spec, false, err) != 0)
		return -1;
	return every_part(h, spec, true, err);
}
