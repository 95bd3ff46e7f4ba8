/* at_text - see at_text.h. */
#include "at_text.h"

#include <string.h>

void
at_text_init(struct at_text *t, const char *const *stop, int n_stop,
    bool include)
{
	memset(t, 0, sizeof(*t));
	t->stop = stop;
	t->n_stop = n_stop;
	t->include = include;
	t->hit = -1;
}

void
at_text_free(struct at_text *t)
{
	str_free(&t->held);
}

/* Bytes of the longest stop string that p[0..n) ends in; 0: none. */
static size_t
ends_in(struct at_text *t, const char *p, size_t n)
{
	size_t best = 0, len;
	int i;

	for (i = 0; i < t->n_stop; i++) {
		len = strlen(t->stop[i]);
		if (len <= n && len > best &&
		    memcmp(p + n - len, t->stop[i], len) == 0) {
			best = len;
			t->hit = i;
		}
	}
	return best;
}

/* Bytes at the end of p[0..n) that a stop string may begin with. */
static size_t
may_begin(const struct at_text *t, const char *p, size_t n)
{
	size_t best = 0, len, k;
	int i;

	for (i = 0; i < t->n_stop; i++) {
		len = strlen(t->stop[i]) - 1;
		for (k = len < n ? len : n; k > best; k--)
			if (memcmp(p + n - k, t->stop[i], k) == 0)
				best = k;
	}
	return best;
}

bool
at_text_put(struct at_text *t, const char *p, size_t n, struct str *out)
{
	size_t i, keep, stop;

	if (t->hit >= 0)
		return true;
	if (t->n_stop == 0) {
		str_add(out, p, n);
		return false;
	}
	i = t->held.n;		/* what was held ends in no stop string */
	str_add(&t->held, p, n);
	for (i++; i <= t->held.n; i++) {
		stop = ends_in(t, t->held.p, i);
		if (stop > 0) {
			str_add(out, t->held.p, t->include ? i : i - stop);
			str_clear(&t->held);
			return true;
		}
	}
	keep = may_begin(t, str_c(&t->held), t->held.n);
	str_add(out, str_c(&t->held), t->held.n - keep);
	if (keep > 0)
		memmove(t->held.p, t->held.p + t->held.n - keep, keep);
	str_cut(&t->held, keep);
	return false;
}

void
at_text_end(struct at_text *t, struct str *out)
{
	if (t->hit < 0)
		str_add(out, str_c(&t->held), t->held.n);
	str_clear(&t->held);
}
