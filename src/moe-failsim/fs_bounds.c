/* fs_bounds - see fs_bounds.h. */
#include "fs_bounds.h"

double
fs_bounds_beyond_ms(const struct fs_tally *t, int64_t us)
{
	return us > t->itl_us ? (double)(us - t->itl_us) / 1000 : 0;
}

static double
stall_ms(const struct fs_found *f, double q)
{
	return fs_bounds_beyond_ms(f->t, fs_tally_quantile(
	    f->all->stall_us.p, f->all->stall_us.n, q));
}

/* What must not have happened, whatever the machine does meanwhile. */
static const char *
count_of(const struct fs_bounds *b, const struct fs_found *f)
{
	const struct fs_tally *t = f->t;

	if (t->done + t->lost + t->wrong + t->refused == 0)
		return "no streams";
	if (t->wrong > b->wrong)
		return "wrong tokens";
	if (t->lost > b->lost)
		return "lost streams";
	if (t->refused > b->refused)
		return "refused requests";
	if (t->missed > b->missed)
		return "steps that did not happen";
	if (b->growth > 0 && (uint64_t)f->m->growth_kb * 1024 > b->growth)
		return "memory grows beyond --max-growth";
	return NULL;
}

static const char *
rate_of(const struct fs_bounds *b, const struct fs_measure *m)
{
	const double base = m->before / 100 / b->slack;

	if (b->during_pct > 0 && m->during < base * b->during_pct)
		return "throughput below --min-during";
	if (b->after_pct > 0 && m->after < base * b->after_pct)
		return "throughput below --min-after";
	if (b->worst_pct > 0 && m->worst < base * b->worst_pct)
		return "throughput below --min-worst";
	return NULL;
}

/* Is v above the bound, or not known? */
static bool
above(double v, double bound, double slack)
{
	return bound >= 0 && (v < 0 || v > bound * slack);
}

/* us < 0: not known. */
static double
in_ms(int64_t us)
{
	return us < 0 ? -1 : (double)us / 1000;
}

static const char *
time_of(const struct fs_bounds *b, const struct fs_found *f)
{
	const struct fs_measure *m = f->m;
	const double s = b->slack;

	if (above((double)f->t->stall_max_us / 1000, b->stall_ms, s))
		return "a stall above --max-stall";
	if (above(stall_ms(f, 0.5), b->p50_ms, s))
		return "stalls above --max-p50";
	if (above(stall_ms(f, 0.99), b->p99_ms, s))
		return "stalls above --max-p99";
	if (above(in_ms(m->serves_p99_us), b->serves_ms, s))
		return m->serves == 0 ? "no server came back, --max-serves" :
		    "servers came back later than --max-serves";
	if (above(m->step_ratio > 0 ? m->step_ratio : -1, b->step, s))
		return "time between tokens above --max-step";
	if (b->slower >= 0 && (m->calm_us < 0 || m->loaded_us < 0 ||
	    in_ms(m->loaded_us) > (in_ms(m->calm_us) * b->slower +
	    b->slower_ms) * s))
		return "answers took longer than --max-slower";
	if (above(in_ms(m->recovery_us), b->recovery_ms, s))
		return "no recovery within --max-recovery";
	return NULL;
}

/* What is only worth saying where there is a bound on it. */
static void
tell_more(const struct fs_bounds *b, const struct fs_measure *m, FILE *fp)
{
	if (b->serves_ms >= 0)
		fprintf(fp, ", %ld servers served after p99 %.1f ms", m->serves,
		    in_ms(m->serves_p99_us));
	if (b->step >= 0)
		fprintf(fp, ", step p99 x%.2f", m->step_ratio);
	if (b->slower >= 0)
		fprintf(fp, ", whole answers p99 %.1f ms (before %.1f ms)",
		    in_ms(m->loaded_us), in_ms(m->calm_us));
	if (b->recovery_ms >= 0)
		fprintf(fp, ", recovery %.1f ms", in_ms(m->recovery_us));
}

int
fs_bounds_tell(const struct fs_bounds *b, const struct fs_found *f,
    const char *mark, FILE *fp)
{
	const struct fs_tally *t = f->t;
	const char *why = count_of(b, f);

	if (why == NULL)
		why = rate_of(b, f->m);
	if (why == NULL)
		why = time_of(b, f);
	fprintf(fp, "%s%s: %ld streams, %ld lost, ", mark,
	    why == NULL ? "ok" : "no", t->done + t->lost + t->wrong +
	    t->refused, t->lost);
	if (t->watched)
		fprintf(fp, "tokens not compared, ");
	else
		fprintf(fp, "%ld wrong, ", t->wrong);
	fprintf(fp, "%ld faults, %ld missed, %ld refused, stall p50 %.1f ms "
	    "p99 %.1f ms max %.1f ms, first token p50 %.1f ms p99 %.1f ms, "
	    "memory +%lld KB (%s)", t->executed, t->missed, t->refused,
	    stall_ms(f, 0.5), stall_ms(f, 0.99), stall_ms(f, 1),
	    (double)fs_tally_quantile(t->first_us.p, t->first_us.n, 0.5) /
	    1000, (double)fs_tally_quantile(t->first_us.p, t->first_us.n,
	    0.99) / 1000, (long long)f->m->growth_kb, f->m->grown);
	tell_more(b, f->m, fp);
	if (b->slack > 1)
		fprintf(fp, ", times and rates with slack %g", b->slack);
	fprintf(fp, "%s%s\n", why == NULL ? "" : ": ", why == NULL ? "" : why);
	return why == NULL ? 0 : ERR_NO;
}
