/*
 * Unit tests of dispatch: flights over rows of one pool, each free to go on its
 * own, and calls that are hedged (disp_rig.h).
 */
#include "disp_rig.h"

/* Flights over rows of one pool, each row free to go as soon as it is in. */
#define POOL		48
#define POOL_ROWS	8	/* of a flight */

static struct {
	struct at_flight all, f[3];
	float xn[POOL * H], w[POOL * K];
	int32_t id[POOL * K], row[3][POOL_ROWS];
	int left[POOL], n_in, wrong;
	bool out[POOL];
} pool;

static void
on_row_in(struct at_flight *f, int row)
{
	const float *a;
	int i, j;

	pool.n_in++;
	pool.wrong += !pool.out[row] || f->dead[row];
	pool.out[row] = false;
	if (reduce != KERN_SUM_NONE) {
		pool.wrong += !row_sum_right(f, row, pool.xn, pool.id);
		return;
	}
	for (i = row * K; i < row * K + K; i++) {
		a = f->ans[i];
		for (j = 0; j < H; j++)
			pool.wrong += a == NULL || a[j] !=
			    expert_value(pool.xn + row * H, pool.id[i], j);
	}
}

/* Send some rows from `first` on that are not out; how many. */
static int
send_rows(struct at_disp *d, int number, int first, struct rng *r)
{
	struct at_flight *f = &pool.f[number];
	int i, j, n = 0;

	at_flight_lend(f, &pool.all, d, POOL_ROWS);
	for (i = first; i < POOL && n < POOL_ROWS; i++) {
		if (pool.out[i])
			continue;
		pool.out[i] = true;
		pool.row[number][n++] = i;
		for (j = 0; j < H; j++)
			pool.xn[i * H + j] = (float)rng_below(r, 1000);
		pool.w[i * K] = pool.w[i * K + 1] = 0.5f;
		pool.id[i * K] = (int32_t)rng_below(r, EXPERTS);
		pool.id[i * K + 1] = (pool.id[i * K] + 1) % EXPERTS;
	}
	f->layer = (int)rng_below(r, LAYERS);
	f->n_row = n;
	f->row = pool.row[number];
	f->row_left = pool.left;
	f->row_in = on_row_in;
	f->xn = pool.xn;
	f->id = pool.id;
	f->w = pool.w;
	at_disp_send(d, f);
	return n;
}

static void
test_pool(void)
{
	struct at_disp *d = open_disp(1000000000000);
	struct rng r = { 11, 0 };
	int sent = 0, steps, i, left = 1;

	memset(&pool, 0, sizeof(pool));
	at_flight_room(&pool.all, d, POOL);
	for (steps = 0; steps < 20000; steps++) {
		for (i = 0; i < 3; i++)
			if (pool.f[i].left == 0)
				sent += send_rows(d, i,
				    (int)rng_below(&r, POOL), &r);
		mishap(&r);
		tick(d, 1000000);
	}
	for (i = 0; i < SERVERS; i++)
		event(i, LINK_DOWN);
	for (i = 0; i < SERVERS; i++)
		event(i, LINK_UP);
	for (steps = 0; steps < 1000 && left > 0; steps++) {
		tick(d, 30000000);
		answer_all();
		left = pool.f[0].left + pool.f[1].left + pool.f[2].left;
	}
	EQ_INT(left, 0, "pool: all routes are in");
	OK(sent > 5000, "pool: through mishaps (%d rows)", sent);
	EQ_INT(pool.n_in, sent, "pool: every row was reported once");
	OK((d->stat.hedges > 0) == (hedge > 0) &&
	    (hedge <= 0 || d->stat.late > 0), "pool: %d hedged, %d late",
	    (int)d->stat.hedges, (int)d->stat.late);
	EQ_INT(pool.wrong, 0, "pool: when its answers were there, right");
	for (i = 0; i < 3; i++)
		at_flight_free(&pool.f[i]);
	at_flight_free(&pool.all);
	close_disp(d);
}

/* Servers 1 and 2 answer what they have, server 0 nothing. */
static void
all_but_first(void)
{
	int s, i;

	for (s = 1; s < SERVERS; s++)
		for (i = 0; i < DEPTH; i++)
			if (pair[s].slot[i].sent)
				answer_slot(s, i, SLOT_OK, false);
}

/* Big flights that are answered after 0.4 ms, or more. */
static void
learn(struct at_disp *d, struct batch *b, struct rng *r)
{
	int i;

	for (i = 0; i < 80; i++) {
		do {
			fill_batch(b, d, r);
		} while (b->f.n_row < 20);
		at_disp_send(d, &b->f);
		while (b->f.left > 0) {
			fake_now += 400000;
			answer_all();
		}
	}
}

/* A late call goes to a replica, too: the first answer counts, the late one is
 * dropped, be it in the same flight or in the next; a pair that breaks
 * meanwhile sends nothing a third time. */
static void
test_hedge(void)
{
	static struct batch b;
	json_int_t p50, p99;
	struct rng r = { 9, 0 };
	struct at_disp *d;
	int i, k, s;

	hedge = 3;
	patience_ns = 100000000;
	d = open_disp(1000000000000);
	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	learn(d, &b, &r);
	d->o.report = take_pairs;
	tell(d, "{\"ask\":\"report\"}");
	p50 = us_in(0, "rtt_p50_us");
	p99 = us_in(0, "rtt_p99_us");
	OK(p50 >= 400 && p99 >= p50, "round trips are reported: %d, %d us",
	    (int)p50, (int)p99);
	EQ_INT(us_in(0, "deadline_us"), 25000, "a quarter of the deadline");
	EQ_INT(d->stat.hedges, 0, "nobody was late");
	for (k = 0; k < 3; k++) {
		learn(d, &b, &r);
		do {
			fill_batch(&b, d, &r);
		} while (b.f.n_row < 20);
		d->stat.hedges = d->stat.late = 0;
		at_disp_send(d, &b.f);
		all_but_first();
		OK(b.f.left > 0, "server 0 is late");
		tick(d, 300000);
		EQ_INT(d->stat.hedges, 0, "not by much");
		tick(d, 9000000);
		OK(d->stat.hedges > 0, "then others are asked");
		if (k == 1) {	/* it dies: its calls are with others */
			pair[0].broken = true;
			tick(d, 0);
		}
		for (i = 0; i < 4 && b.f.left > 0; i++)
			all_but_first();
		OK(b.f.left == 0 && batch_right(&b), "whose answers count");
		if (k == 1) {
			tick(d, 30000000);
			event(0, LINK_UP);
			OK(!pair[1].slot[0].sent &&
			    !pair[2].slot[0].sent, "nothing is sent again");
		} else if (k == 0) {
			answer_all();
			OK(d->stat.late > 0 && batch_right(&b),
			    "the late answer changes nothing");
		}
	}
	/* The last one's is still out: it comes during the next flight. */
	fill_batch(&b, d, &r);
	at_disp_send(d, &b.f);
	for (i = 0; i < 8 && b.f.left > 0; i++)
		answer_all();
	OK(b.f.left == 0 && batch_right(&b), "an answer to the flight before");
	json_decref(last_pairs);
	last_pairs = NULL;
	at_flight_free(&b.f);
	close_disp(d);
	hedge = 0;
	patience_ns = 1000000;
}

/* Experts that server 0 may be asked for. */
static int
n_first_has(const struct at_disp *d)
{
	int l, e, n = 0;

	for (l = 0; l < LAYERS; l++)
		for (e = 0; e < EXPERTS; e++)
			n += at_server_has(d->server[0], l, e);
	return n;
}

/* All rows of flight 0 are in, and a call to server 0 is out still. */
static void
leave_late(struct at_disp *d, struct rng *r)
{
	int i;

	for (i = 0; i < 80; i++) {	/* how fast servers are */
		send_rows(d, 0, 0, r);
		while (pool.f[0].left > 0) {
			fake_now += 400000;
			answer_all();
		}
	}
	do {			/* until server 0 is asked, too */
		answer_all();
		send_rows(d, 0, 0, r);
		for (i = 0; i < 9 && pool.f[0].left > 0; i++)
			all_but_first();
		if (pool.f[0].left > 0)
			tick(d, 9000000);
		for (i = 0; i < 9 && pool.f[0].left > 0; i++)
			all_but_first();
		BUG_ON(pool.f[0].left > 0);
	} while (!pair[0].slot[0].sent && !pair[0].slot[1].sent);
}

/* What server 0 says so late is for nobody: number's flight is out. */
static bool
late_is_nothing(const struct at_disp *d, int number, int status)
{
	static char was[POOL * K * H * sizeof(float)];
	int left = pool.f[number].left, n_in = pool.n_in, i, row_left[POOL];
	int has = n_first_has(d);

	memcpy(was, pool.all.buf, sizeof(was));
	memcpy(row_left, pool.left, sizeof(row_left));
	for (i = 0; i < DEPTH; i++)
		if (pair[0].slot[i].sent)
			answer_slot(0, i, status, false);
	return pool.f[number].left == left && pool.n_in == n_in &&
	    memcmp(was, pool.all.buf, sizeof(was)) == 0 &&
	    memcmp(row_left, pool.left, sizeof(row_left)) == 0 &&
	    n_first_has(d) == has;
}

/*
 * A call that lost against a replica answers when its rows are back and out
 * again: with the same flight, with another, or the flight is out with other
 * rows.  No memory of theirs is written, no count changes, and a refusal says
 * nothing of the layer that the flight is at now.
 */
static void
test_pool_late(void)
{
	static const int number[] = { 0, 1, 0 }, first[] = { 0, 0, POOL_ROWS };
	static const int status[] = { SLOT_OK, SLOT_NOT_HERE };
	struct at_disp *d;
	struct rng r = { 29, 0 };
	int i, k, s, bad[3] = { 0 };

	hedge = 3;
	patience_ns = 100000000;
	d = open_disp(1000000000000);
	memset(&pool, 0, sizeof(pool));
	at_flight_room(&pool.all, d, POOL);
	for (s = 0; s < SERVERS; s++)
		event(s, LINK_UP);
	for (i = 0; i < 60; i++) {
		k = i % 3;
		leave_late(d, &r);
		send_rows(d, number[k], first[k], &r);
		bad[k] += !late_is_nothing(d, number[k], status[i % 2]);
		while (pool.f[number[k]].left > 0)
			answer_all();
		event(0, LINK_DOWN);	/* nobody suspects it any more */
		event(0, LINK_UP);
	}
	EQ_INT(bad[0], 0, "pool: late, the same flight has the rows");
	EQ_INT(bad[1], 0, "pool: late, another flight has the rows");
	EQ_INT(bad[2], 0, "pool: late, the flight has other rows");
	EQ_INT(pool.wrong, 0, "pool: late, all rows right");
	OK(d->stat.hedges >= 60 && d->stat.deadline_missed == 0,
	    "pool: late, not lost");
	for (i = 0; i < 3; i++)
		at_flight_free(&pool.f[i]);
	at_flight_free(&pool.all);
	close_disp(d);
	hedge = 0;
	patience_ns = 1000000;
}

/* Sums instead of answers: every route in exactly one part that counts,
 * through mishaps and with hedging. */
static void
test_parts(enum kern_sum_rule rule)
{
	reduce = rule;
	test_pool();
	hedge = 1;
	patience_ns = 200000000;
	test_pool();
	hedge = 0;
	patience_ns = 1000000;
	reduce = KERN_SUM_NONE;
}

int
main(void)
{
	test_pool();
	hedge = 1;
	patience_ns = 200000000;
	test_pool();
	patience_ns = 1000000;
	hedge = 0;
	test_hedge();
	test_pool_late();
	test_parts(KERN_SUM_FLOAT);
	test_parts(KERN_SUM_EXACT);
	return tap_done();
}
