/* fs_random - see fs_random.h. */
#include "fs_random.h"

#include <string.h>

#include "mem.h"
#include "rng.h"

#define MS		1000000ull
#define FIRST_NS	(1000 * MS)	/* undisturbed, to compare with */
#define PAUSE_MIN_MS	50
#define PAUSE_MAX_MS	1200
#define REST_NS		(1500 * MS)	/* a member's, between two faults */

static const char *const link_fault[] = {
	"delay=5ms,jitter=5ms", "throttle=200k", "drop=0.02",
	"corrupt-header=0.05", "corrupt-routes=0.05", "corrupt-payload=0.05",
	"reorder=0.2", "duplicate=0.2", "cut=50", "half-open=in",
	"half-open=out",
};
#define N_LINK	(sizeof(link_fault) / sizeof(*link_fault))

struct member {
	const struct fs_proc *p;
	uint64_t busy_ns;	/* no new fault before */
};

/* Lowest and highest of a fault's time in ms, drawn. */
static uint64_t
draw_ms(struct rng *r, uint64_t lo, uint64_t hi)
{
	return lo + rng_below(r, hi - lo + 1);
}

static int
count(const struct fs_procs *all, const char *role)
{
	size_t i;
	int n = 0;

	for (i = 0; i < all->n; i++)
		n += strcmp(all->p[i].role, role) == 0;
	return n;
}

/* One fault of m; how long it lasts, in ms. */
static uint64_t
one(struct str *out, struct rng *r, const struct member *m)
{
	bool expert = strcmp(m->p->role, "expertd") == 0;
	uint64_t kind = rng_below(r, expert && m->p->fault_file[0] != '\0' ?
	    6 : 3), ms;

	switch (kind) {
	case 0:
		ms = draw_ms(r, 20, 500);
		str_addf(out, "kill %s restart %llums\n", m->p->id,
		    (unsigned long long)ms);
		return ms;
	case 1:
		ms = draw_ms(r, 20, 2000);
		str_addf(out, "stop %s for %llums\n", m->p->id,
		    (unsigned long long)ms);
		return ms;
	case 2:
		ms = draw_ms(r, 20, 500);
		str_addf(out, "term %s restart %llums\n", m->p->id,
		    (unsigned long long)ms);
		return ms + 2000;	/* it drains first */
	default:
		ms = draw_ms(r, 50, 1500);
		str_addf(out, "link %s %s,seed=%llu for %llums\n", m->p->id,
		    link_fault[rng_below(r, N_LINK)],
		    (unsigned long long)rng_below(r, 1000000),
		    (unsigned long long)ms);
		return ms;
	}
}

void
fs_random_text(struct str *out, uint64_t seed, uint64_t for_ns,
    const struct fs_procs *all)
{
	struct rng r = { rng_at(seed, 3, 0), 0 };
	struct member *m = mem_calloc(all->n + 1, sizeof(*m));
	uint64_t at = FIRST_NS, ms;
	bool fronts = count(all, "attnd") > 1;
	size_t i, n = 0;

	str_addf(out, "moe-drill 1\n# chaos of seed %llu\nstreams 8\n"
	    "requests 16\ntokens 64\ntemperature 0 0.9\nseed %llu\n"
	    "settle 2s\n", (unsigned long long)seed,
	    (unsigned long long)seed);
	for (i = 0; i < all->n; i++)
		if (strcmp(all->p[i].role, "expertd") == 0 ||
		    strcmp(all->p[i].role, "route") == 0 ||
		    (fronts && strcmp(all->p[i].role, "attnd") == 0))
			m[n++].p = &all->p[i];
	for (; n > 0 && at < for_ns; at += draw_ms(&r, PAUSE_MIN_MS,
	    PAUSE_MAX_MS) * MS) {
		i = (size_t)rng_below(&r, n);
		if (at < m[i].busy_ns)
			continue;
		str_addf(out, "at %llums ", (unsigned long long)(at / MS));
		ms = one(out, &r, &m[i]);
		m[i].busy_ns = at + ms * MS + REST_NS;
	}
	mem_free(m);
}
