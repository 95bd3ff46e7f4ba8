/* resid_spec - the --experts option: see resid.h. */
#include <string.h>

#include "mem.h"
#include "num.h"
#include "resid.h"

struct range {
	int lo, hi;
};

/* "7" or "0-3", both ends within 0..n-1. */
static int
parse_range(char *s, int n, struct range *out)
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
	if (lo > hi || hi >= (uint64_t)n)
		return -1;
	out->lo = (int)lo;
	out->hi = (int)hi;
	return 0;
}

static int
one_part(struct resid *r, const char *part, bool assign, struct err *err)
{
	int n_layer = resid_n_layer(r), n_expert = resid_n_expert(r), l, e;
	struct range layers = { 0, n_layer - 1 }, experts = { 0, n_expert - 1 };
	char *s = mem_strdup(part), *colon = strchr(s, ':'), *last = s;
	int bad = 0;

	if (colon != NULL) {
		*colon = '\0';
		last = colon + 1;
		bad |= parse_range(s, n_layer, &layers);
	}
	if (colon != NULL || strcmp(s, "all") != 0)
		bad |= parse_range(last, n_expert, &experts);
	mem_free(s);
	if (bad)
		return err_set(err, ERR_USAGE, "expert list: '%s' is not "
		    "E, E-E, L:E, L:E-E or L-L:E-E with layers 0-%d and "
		    "experts 0-%d", part, n_layer - 1, n_expert - 1);
	for (l = layers.lo; assign && l <= layers.hi; l++)
		for (e = experts.lo; e <= experts.hi; e++)
			resid_assign(r, l, e);
	return 0;
}

static int
every_part(struct resid *r, const char *spec, bool assign, struct err *err)
{
	char *copy = mem_strdup(spec), *at = copy, *part;
	int rc = 0;

	while (rc == 0 && (part = strsep(&at, ",")) != NULL)
		rc = one_part(r, part, assign, err);
	mem_free(copy);
	return rc;
}

int
resid_spec(struct resid *r, const char *spec, struct err *err)
{
	/* Checked as a whole first: a list with a fault assigns nothing. */
	if (every_part(r, spec, false, err) != 0)
		return -1;
	return every_part(r, spec, true, err);
}
