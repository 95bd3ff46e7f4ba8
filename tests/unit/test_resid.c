/* Unit tests of residency: states, bounds, the loaders' hand-over.  Run under
 * tsan, too. */
#include "fake_experts.h"
#include "tap.h"

static struct fake fake;
static struct resid_source src;

static struct resid *
open_with(struct kern *kn, uint64_t memory_bytes, int block, int threads)
{
	struct resid_opt opt = { .src = &src, .memory_bytes = memory_bytes,
	    .block = block, .threads = threads, .wake = fake_wake,
	    .wake_arg = &fake };

	fake_init(&fake, kn, &src);
	return resid_open(&opt);
}

static void
close_it(struct resid *r)
{
	resid_close(r);
	EQ_INT(fake.n_live, 0, "closed: all weights are dropped");
}

static uint32_t
assigned(struct resid *r)
{
	struct resid_count n;

	resid_count(r, &n);
	return n.assigned;
}

static void
test_spec(struct kern *kn)
{
	static const struct {
		const char *spec;
		int n;		/* -1: refused */
	} t[] = {
		{ "all", 18 }, { "0", 3 }, { "0-3,5", 15 }, { "2:1", 1 },
		{ "2:1-3,2:3-4", 4 }, { "0-3:0", 3 }, { "1:0-5", 0 },
		{ "", -1 }, { "6", -1 }, { "0-6", -1 }, { "4:0", -1 },
		{ "3-2", -1 }, { "0,", -1 }, { "0:1:2", -1 }, { "-1", -1 },
		{ "0,1,x", -1 }, { "0-", -1 }, { "99999999999999999999", -1 },
	};
	struct err e;
	struct resid *r;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		e.code = 0;
		r = open_with(kn, 0, 1, 1);
		rc = resid_spec(r, t[i].spec, &e);
		OK(t[i].n < 0 ? rc != 0 && e.code == ERR_USAGE &&
		    assigned(r) == 0 : rc == 0 && (int)assigned(r) == t[i].n,
		    "--experts '%s'", t[i].spec);
		resid_close(r);
	}
	OK(strstr(e.text, "experts 0-5") != NULL, "%s", e.text);
}

static void
test_bound(struct kern *kn)
{
	size_t one;
	struct resid *r = open_with(kn, 0, 1, 1);
	struct resid_count n;
	struct err e = ERR_INIT;
	char need[64];

	one = src.expert_bytes;
	resid_close(r);
	r = open_with(kn, 5 * one, 1, 2);
	resid_spec(r, "0", NULL);
	OK(resid_fits(r, &e) == 0, "three fit");
	resid_spec(r, "1", NULL);
	snprintf(need, sizeof(need), "%zu bytes", 6 * one);
	OK(resid_fits(r, &e) != 0 && e.code == ERR_USAGE &&
	    strstr(e.text, need) != NULL, "six do not: %s", e.text);
	resid_load_all(r);
	OK(resid_wait(r, NULL, NULL, NULL) == 0, "loaded");
	resid_count(r, &n);
	OK(n.here == 5 && n.here_bytes == 5 * one && n.assigned == 6,
	    "as many as fit");
	resid_load_all(r);
	OK(resid_wait(r, NULL, NULL, NULL) == 0 && fake_live(&fake) == 5,
	    "and no more later");
	close_it(r);
}

static void
count_up(uint64_t done, uint64_t total, void *arg)
{
	uint64_t *last = arg;

	if (done < *last || done > total)
		*last = UINT64_MAX;
	else
		*last = done;
}

static void
test_load(struct kern *kn, int block, int threads)
{
	struct resid *r = open_with(kn, 0, block, threads);
	struct kern_expert x;
	struct resid_count n;
	uint64_t last = 0;
	int l, e, bad = 0;

	resid_spec(r, "all", NULL);
	OK(resid_get(r, 0, 0) == NULL, "on disk");
	resid_load_all(r);
	OK(resid_wait(r, count_up, &last, NULL) == 0, "loaded");
	EQ_INT(last, 18000, "progress counts the files' bytes up to all");
	for (l = 0; l < FAKE_LAYERS; l++) {
		for (e = 0; e < FAKE_EXPERTS; e++) {
			const struct kern_expert *w = resid_get(r, l, e);

			if ((w != NULL) != (l != 1)) {
				bad++;
				continue;
			}
			if (w == NULL)
				continue;
			fake_make(kn, l, e, &x);
			bad += memcmp(x.gate_up.data, w->gate_up.data,
			    x.gate_up.bytes) != 0;
			bad += memcmp(x.down.data, w->down.data,
			    x.down.bytes) != 0;
			fake_free(kn, &x);
		}
	}
	EQ_INT(bad, 0, "each expert has its own weights (blocks of %d, "
	    "%d loaders)", block, threads);
	resid_count(r, &n);
	OK(n.here == 18 && n.loading == 0, "counted");
	OK(fake.n_wake > 0, "the loaders woke the engine");
	close_it(r);
}

static void
test_fail(struct kern *kn)
{
	struct resid *r = open_with(kn, 0, 3, 2);
	struct err e = ERR_INIT;

	fake.bad_layer = 2;
	fake.bad_expert = 4;
	resid_spec(r, "all", NULL);
	resid_load_all(r);
	OK(resid_wait(r, NULL, NULL, &e) != 0 && e.code == ERR_DATA &&
	    strstr(e.text, "expert 4 of layer 2") != NULL, "%s", e.text);
	OK(resid_state(r, 2, 2) == RESID_HERE &&
	    resid_state(r, 2, 3) == RESID_DISK, "its block only");
	EQ_INT(fake_live(&fake), 15, "nothing of it is kept");
	fake.bad_layer = -1;
	resid_load_all(r);
	OK(resid_wait(r, NULL, NULL, &e) == 0 &&
	    resid_state(r, 2, 4) == RESID_HERE, "it can be tried again");
	close_it(r);
}

static bool
one_busy(void *arg, int layer, int expert)
{
	(void)layer;
	return expert == *(int *)arg;
}

static void
test_leave(struct kern *kn)
{
	struct resid *r = open_with(kn, 0, 2, 1);
	int busy = 1;

	fake_gate(&fake, true);
	resid_spec(r, "0:0-3", NULL);
	resid_load_all(r);
	resid_leave(r, 0, 2);
	EQ_INT(resid_state(r, 0, 2), RESID_LOADING, "unwanted while it loads");
	fake_gate(&fake, false);
	OK(resid_wait(r, NULL, NULL, NULL) == 0 &&
	    resid_state(r, 0, 3) == RESID_LEAVING, "leaves once it is loaded");
	resid_leave(r, 0, 0);
	resid_reap(r, one_busy, &busy);
	OK(resid_state(r, 0, 0) == RESID_ABSENT &&
	    resid_state(r, 0, 1) == RESID_LEAVING &&
	    resid_get(r, 0, 1) != NULL, "a busy expert stays");
	resid_assign(r, 0, 1);
	EQ_INT(resid_state(r, 0, 1), RESID_HERE, "wanted again: not loaded "
	    "again");
	resid_assign(r, 0, 0);
	resid_load_all(r);
	OK(resid_wait(r, NULL, NULL, NULL) == 0 &&
	    resid_state(r, 0, 0) == RESID_HERE, "gone and loaded again");
	close_it(r);
}

/* Blocks that idle go to disk, and come back on demand; the bound holds. */
static void
test_park(struct kern *kn)
{
	struct resid *r = open_with(kn, 0, 2, 2);
	struct resid_count n;
	struct err e = ERR_INIT;
	int busy = 3;

	resid_spec(r, "0:0-5", NULL);
	OK(!resid_want(r, 0, 0) && !resid_serves(r, 0, 0),
	    "what was never in memory does not come by itself");
	resid_load_all(r);
	OK(resid_wait(r, NULL, NULL, NULL) == 0, "loaded");
	EQ_INT(resid_park(r, 100, 50, one_busy, &busy), 0,
	    "just loaded: not idle yet");
	resid_use(r, 0, 5, 140);
	EQ_INT(resid_park(r, 149, 50, one_busy, &busy), 0, "49 are not 50");
	EQ_INT(resid_park(r, 150, 50, one_busy, &busy), 2,
	    "0, 1 go; 2, 3 are busy, 4, 5 in use");
	OK(resid_state(r, 0, 0) == RESID_DISK && resid_get(r, 0, 1) == NULL &&
	    resid_serves(r, 0, 1) && resid_state(r, 0, 2) == RESID_HERE,
	    "on disk, and served all the same");
	OK(resid_want(r, 0, 1) && resid_state(r, 0, 0) == RESID_LOADING &&
	    resid_serves(r, 0, 0), "wanted: its block loads");
	OK(resid_wait(r, NULL, NULL, NULL) == 0 &&
	    resid_state(r, 0, 0) == RESID_HERE, "here again");
	resid_count(r, &n);
	OK(n.here == 6 && fake_live(&fake) == 6, "all of them");
	busy = -1;
	EQ_INT(resid_park(r, 160, 0, one_busy, &busy), 6, "all go");
	fake.bad_layer = 0;
	fake.bad_expert = 0;
	OK(resid_want(r, 0, 1) && resid_wait(r, NULL, NULL, &e) != 0 &&
	    !resid_serves(r, 0, 1) && !resid_want(r, 0, 1),
	    "cannot be read any more: not served, not tried for ever");
	resid_leave(r, 0, 4);
	OK(resid_state(r, 0, 4) == RESID_ABSENT && !resid_serves(r, 0, 4) &&
	    !resid_want(r, 0, 4), "parked and taken away");
	close_it(r);
}

/* Closing while loaders work and items wait. */
static void
test_close(struct kern *kn)
{
	int i;

	for (i = 0; i < 20; i++) {
		struct resid *r = open_with(kn, 0, 1, 3);

		resid_spec(r, "all", NULL);
		resid_load_all(r);
		if (i % 2)
			resid_poll(r, NULL);
		resid_close(r);
		if (fake.n_live != 0)
			break;
	}
	EQ_INT(i, 20, "closed early twenty times, nothing leaks");
}

int
main(void)
{
	struct kern *kn = fake_kern(KERN_F32);

	test_spec(kn);
	test_bound(kn);
	test_load(kn, 1, 4);
	test_load(kn, 4, 2);
	test_fail(kn);
	test_leave(kn);
	test_park(kn);
	test_close(kn);
	kern_close(kn);
	return tap_done();
}
