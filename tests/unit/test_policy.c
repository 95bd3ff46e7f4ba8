/* Unit tests of the policies: the order of picks on queues that are built here,
 * bounds on waiting by a clock of our own, when auto switches, the heaps. */
#include "mem.h"
#include "policy.h"
#include "policy_auto.h"
#include "rng.h"
#include "tap.h"
#include "xeng_heap.h"

#define N_LAYER		4
#define N_EXPERT	4
#define MS		1000000ull

struct board {			/* what a policy sees */
	uint32_t rows[N_LAYER][N_EXPERT];
	uint64_t since_ns[N_LAYER][N_EXPERT];
	uint32_t client[N_LAYER];	/* that have rows there; 0: all */
	struct policy_queue q[N_LAYER][N_EXPERT];
	struct policy_layer layer[N_LAYER], *block[N_LAYER];
	struct policy_view v;
	struct policy_auto state;
};

static void
board_init(struct board *b)
{
	memset(b, 0, sizeof(*b));
	b->v.urgent_ns = 30 * MS;
	b->v.lookahead = 3;
	b->v.decay = 0.8;
	b->v.n_client = 1;
}

static bool
older(const struct policy_queue *a, const struct policy_queue *b)
{
	return b == NULL || a->since_ns < b->since_ns;
}

static void
show_layer(struct board *b, int l)
{
	struct policy_layer *pl = &b->layer[l];
	struct policy_queue *q;
	int e;

	memset(pl, 0, sizeof(*pl));
	pl->layer = l;
	pl->block = (uint32_t)l;
	pl->n_expert = N_EXPERT;
	b->block[l] = pl;
	for (e = 0; e < N_EXPERT; e++) {
		q = &b->q[l][e];
		*q = (struct policy_queue){ .expert = e, .n = b->rows[l][e],
		    .since_ns = b->since_ns[l][e] };
		if (q->n == 0)
			continue;
		pl->n_row += q->n;
		pl->n_queue++;
		if (older(q, pl->oldest))
			pl->oldest = q;
		if (pl->most == NULL || q->n > pl->most->n ||
		    (q->n == pl->most->n && older(q, pl->most)))
			pl->most = q;
	}
	if (pl->n_row == 0)
		return;
	pl->n_client = b->client[l] == 0 ? b->v.n_client : b->client[l];
	pl->since_ns = pl->oldest->since_ns;
	pl->next = b->v.layer == NULL ? NULL :
	    &b->layer[b->v.layer->layer];
	b->v.layer = pl;
}

/* What a policy picks, as layer * 10 + expert, expert 9 for all; -1: nothing
 * before *next_ns. */
static int
pick(struct board *b, const char *policy, uint64_t *next_ns)
{
	struct policy_pick p;
	int l;

	b->v.layer = NULL;
	b->v.block = b->block;
	b->v.n_block = N_LAYER;
	b->v.state = &b->state;
	for (l = 0; l < N_LAYER; l++)
		show_layer(b, l);
	if (!policy_find(policy)->pick(&b->v, &p, next_ns))
		return -1;
	return p.layer * 10 + (p.expert < 0 ? 9 : p.expert);
}

/* Run what is picked until all is empty; the picks, with blanks between. */
static const char *
order(struct board *b, const char *policy)
{
	static char text[256];
	size_t n = 0;
	int i, l, e, left;
	uint64_t next;

	text[0] = '\0';
	for (;;) {
		for (left = l = 0; l < N_LAYER; l++)
			for (e = 0; e < N_EXPERT; e++)
				left += (int)b->rows[l][e];
		if (left == 0 || n + 8 > sizeof(text))
			return text;
		if ((i = pick(b, policy, &next)) < 0)
			return "held";
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%02d",
		    n == 0 ? "" : " ", i);
		for (e = 0; e < N_EXPERT; e++)
			if (i % 10 == 9 || i % 10 == e)
				b->rows[i / 10][e] = 0;
	}
}

/* ---- order --------------------------------------------------------------- */

static void
fill(struct board *b)
{
	board_init(b);
	b->rows[0][1] = 2;	b->since_ns[0][1] = 40;
	b->rows[1][0] = 5;	b->since_ns[1][0] = 30;
	b->rows[1][2] = 3;	b->since_ns[1][2] = 10;
	b->rows[2][3] = 3;	b->since_ns[2][3] = 5;
	b->rows[3][0] = 4;	b->since_ns[3][0] = 20;
	b->v.now_ns = 100;
}

static void
test_order(void)
{
	struct board b;

	fill(&b);
	EQ_STR(order(&b, "fifo"), "29 19 39 09", "fifo: the oldest layer");
	fill(&b);
	EQ_STR(order(&b, "mtfs"), "10 30 23 12 01",
	    "mtfs: the longest queue; of equals the older");
	fill(&b);
	EQ_STR(order(&b, "flfs"), "09 19 29 39", "flfs: the lowest layer");
	fill(&b);
	b.v.lookahead = 0;
	EQ_STR(order(&b, "defrag"), "30 10 23 12 01",
	    "defrag with nothing ahead: the longest queue; from FULL on the "
	    "older");
	fill(&b);
	EQ_STR(order(&b, "auto"), "29 19 39 09", "auto begins as fifo");
}

/* Algorithm 1 as in the paper, every (b, e) on its own, but for FULL.  Of a
 * layer's equals the longer one. */
static int
algorithm_1(const struct board *b)
{
	double score, top = -1, weight;
	int l, e, i, at, best = -1;
	uint32_t k;

	for (l = 0; l < N_LAYER; l++) {
		for (e = 0; e < N_EXPERT; e++) {
			if (b->rows[l][e] == 0)
				continue;
			score = b->rows[l][e] < POLICY_DEFRAG_FULL ?
			    b->rows[l][e] : POLICY_DEFRAG_FULL;
			weight = 1;
			for (k = 1; k <= b->v.lookahead; k++) {
				weight *= b->v.decay;
				at = (l + (int)k) % N_LAYER;
				for (i = 0; i < N_EXPERT; i++)
					score += weight *
					    b->rows[at][i] / N_EXPERT;
			}
			if (score > top + 1e-9 || (best / 10 == l &&
			    score > top - 1e-9 &&
			    b->rows[l][e] > b->rows[l][best % 10])) {
				top = score;
				best = l * 10 + e;
			}
		}
	}
	return best;
}

static void
test_algorithm_1(void)
{
	struct board b;
	struct rng r = { 1, 0 };
	uint64_t next;
	int i, l, e, bad = 0;

	for (i = 0; i < 2000; i++) {
		board_init(&b);
		b.v.lookahead = (uint32_t)rng_below(&r, 6);
		b.v.decay = 0.1 + 0.9 * rng_next_unit(&r);
		for (l = 0; l < N_LAYER; l++)
			for (e = 0; e < N_EXPERT; e++)
				if (rng_below(&r, 3) == 0)
					b.rows[l][e] =
					    (uint32_t)rng_below(&r, 40);
		b.rows[1][2] = 1;
		/* Ties go to the lowest (b, e) there; all are as old here. */
		bad += pick(&b, "defrag", &next) != algorithm_1(&b);
	}
	EQ_INT(bad, 0, "defrag is argmax of min(Q, FULL) + sum delta^k mean Q");
}

static void
test_score(void)
{
	struct board b;
	uint64_t next;

	/* 0: 1 + .8*4 + .64*.5 = 4.52; 1: 4 + .8*.5 + .512*.25 = 4.53;
	 * 2: 2 + .64*.25 + .512*4; with 10 run, 0: 3.72, and so on. */
	board_init(&b);
	b.rows[0][0] = 1;
	b.rows[2][1] = 2;
	b.rows[1][0] = b.rows[1][1] = b.rows[1][2] = b.rows[1][3] = 4;
	EQ_INT(pick(&b, "mtfs", &next) / 10, 1, "mtfs: the longest");
	EQ_STR(order(&b, "defrag"), "10 11 12 13 21 00",
	    "defrag: a row behind many waits while these are more");
	b.rows[0][0] = 4;
	b.rows[1][0] = b.rows[1][1] = b.rows[1][2] = b.rows[1][3] = 6;
	EQ_STR(order(&b, "defrag"), "00 10 11 12 13",
	    "but four with six a queue ahead of them go first");
	board_init(&b);
	b.rows[0][0] = 2;
	b.rows[1][0] = b.rows[1][1] = b.rows[1][2] = 2;
	b.rows[3][2] = 3;
	/* layer 0: 2 + .8*1.5 + .512*.75 = 3.58; 1: 2 + .64*.75 + .512*.5;
	 * 3: 3 + .8*.5 + .64*1.5 = 4.36; after it 0: 3.2, 1: 2.26 */
	EQ_STR(order(&b, "defrag"), "32 00 10 11 12",
	    "the ring: after the last layer comes the first; then a row behind "
	    "a long layer catches up with it");
	board_init(&b);
	b.rows[0][0] = 2;
	b.rows[1][0] = b.rows[1][1] = b.rows[1][2] = b.rows[1][3] = 2;
	b.rows[3][2] = 3;
	b.v.lookahead = 1;
	b.v.decay = 0.4;
	/* layer 0: 2 + .4*2 = 2.8; 3: 3 + .4*.5 = 3.2 */
	EQ_INT(pick(&b, "defrag", &next), 32, "K 1");
	b.v.decay = 1;		/* 0: 4; 3: 3.5 */
	EQ_INT(pick(&b, "defrag", &next), 0, "delta 1");
	b.v.lookahead = 3;
	b.rows[3][2] = 0;
	b.block[3]->n_expert = 1;
	EQ_STR(order(&b, "defrag"), "00 10 11 12 13",
	    "all of the wave together");
}

static void
test_hold(void)
{
	struct board b;
	uint64_t next = 0;

	board_init(&b);
	b.v.n_client = 2;
	b.v.hold_ns = 1000;
	b.v.batch_rows = 8;
	b.rows[0][0] = 3;	b.since_ns[0][0] = 500;	b.client[0] = 1;
	b.rows[1][0] = 4;	b.since_ns[1][0] = 300;	b.client[1] = 1;
	b.v.now_ns = 600;
	OK(pick(&b, "defrag", &next) == -1 && next == 1300,
	    "defrag holds rows for company");
	EQ_INT(pick(&b, "mtfs", &next), 10, "mtfs does not");
	b.client[0] = 2;
	EQ_INT(pick(&b, "defrag", &next), 0, "everybody is there");
	b.client[0] = 1;
	b.v.now_ns = 1300;
	EQ_INT(pick(&b, "defrag", &next), 10, "held long enough");
	b.v.now_ns = 600;
	b.rows[0][1] = 5;	b.since_ns[0][1] = 550;
	EQ_INT(pick(&b, "defrag", &next), 1, "rows enough");
	b.rows[0][1] = 0;
	b.v.urgent_ns = 400;
	OK(pick(&b, "defrag", &next) == -1 && next == 700,
	    "no longer than it takes to be urgent");
	b.v.now_ns = 700;
	EQ_INT(pick(&b, "defrag", &next), 10, "then it runs");
	b.v.hold_ns = b.v.urgent_ns = UINT64_MAX;
	OK(pick(&b, "defrag", &next) == -1 && next == UINT64_MAX,
	    "the longest times are times");
}

/* ---- nobody starves ------------------------------------------------------ */

/* A lone row against new ones that the policy likes better at every pick, a
 * pick a millisecond; how many ns until it ran, with an end at a second. */
static uint64_t
wait_of_one(const char *policy, uint64_t urgent_ns)
{
	struct board b;
	uint64_t next;
	int i, e;

	board_init(&b);
	b.v.urgent_ns = urgent_ns;
	b.rows[1][2] = 1;
	for (; b.v.now_ns < 1000 * MS; b.v.now_ns += MS) {
		for (e = 0; e < 2; e++) {
			if (b.rows[0][e] == 0)
				b.since_ns[0][e] = b.v.now_ns;
			b.rows[0][e] += 2;
		}
		i = pick(&b, policy, &next);
		if (i == 12 || i == 19)
			break;
		for (e = 0; e < N_EXPERT; e++)
			if (i % 10 == 9 || i % 10 == e)
				b.rows[i / 10][e] = 0;
	}
	return b.v.now_ns;
}

static void
test_starve(void)
{
	static const char *const name[] = { "mtfs", "flfs", "defrag" };
	size_t i;

	for (i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		EQ_INT(wait_of_one(name[i], UINT64_MAX), 1000 * MS,
		    "%s: without a bound a row waits for ever", name[i]);
		EQ_INT(wait_of_one(name[i], 30 * MS), 30 * MS,
		    "%s: with one it runs at the bound", name[i]);
		EQ_INT(wait_of_one(name[i], 7 * MS), 7 * MS,
		    "%s: whatever that is", name[i]);
	}
	EQ_INT(wait_of_one("fifo", UINT64_MAX), 0, "fifo needs none");
}

static void
test_urgent_order(void)
{
	struct board b;

	fill(&b);
	b.v.now_ns = 50 * MS;
	EQ_STR(order(&b, "mtfs"), "23 12 30 10 01", "urgent: oldest first");
	fill(&b);
	b.v.now_ns = 50 * MS;
	EQ_STR(order(&b, "flfs"), "29 19 39 09", "flfs: with their layers");
	fill(&b);
	b.v.now_ns = 50 * MS;
	b.since_ns[1][0] = b.since_ns[0][1] = 49 * MS;
	EQ_STR(order(&b, "defrag"), "23 12 30 10 01",
	    "then the others by the policy");
}

/* ---- auto ---------------------------------------------------------------- */

/* n picks a ms apart of a server with so many rows queued, one queue of which
 * is `skew` times the mean of four; how often auto switched. */
static int
run_auto(struct board *b, int n, double rows, double skew)
{
	uint64_t before = b->state.n_switch, next;
	uint32_t hot = (uint32_t)(rows / 4 * skew);
	int e;

	b->rows[0][0] = hot;
	for (e = 1; e < 4; e++)
		b->rows[0][e] = (uint32_t)((rows - hot) / 3);
	for (; n > 0; n--) {
		b->v.now_ns += MS;
		b->since_ns[0][0] = b->v.now_ns;
		b->v.n_submit++;
		pick(b, "auto", &next);
	}
	return (int)(b->state.n_switch - before);
}

static void
test_auto(void)
{
	struct board b;
	struct rng r = { 3, 0 };
	int i, n = 0;

	board_init(&b);
	b.v.urgent_ns = UINT64_MAX;
	EQ_INT(run_auto(&b, 1000, 100, 3), 0, "short queues: fifo");
	EQ_INT(run_auto(&b, 1000, 1000, 1.1), 0, "long even ones: fifo");
	EQ_INT(run_auto(&b, 1000, 1000, 3), 1, "long and uneven: one switch");
	OK(b.state.defrag, "to defrag");
	EQ_INT(run_auto(&b, 1000, 150, 3), 0, "shorter, not short: it stays");
	EQ_INT(run_auto(&b, 1000, 1000, 1.7), 0, "less uneven: it stays");
	EQ_INT(run_auto(&b, 1000, 1000, 1.1), 1, "even: fifo again");
	EQ_INT(run_auto(&b, 1000, 200, 3), 0,
	    "what kept defrag does not bring it back");
	EQ_INT(run_auto(&b, 90, 1000, 3), 0, "not yet 100 ms");
	EQ_INT(run_auto(&b, 100, 50, 1), 0, "a burst");
	EQ_INT(run_auto(&b, 90, 1000, 3), 0, "and another: from the start");
	EQ_INT(run_auto(&b, 30, 1000, 3), 1, "100 ms on end");
	EQ_INT(run_auto(&b, 200, 50, 1), 1, "and back");
	for (i = 0; i < 5000; i++)
		n += run_auto(&b, 1, rng_below(&r, 2) ? 380 : 140, 3);
	OK(n <= 1, "a load that jumps to and fro about the threshold: %d", n);
	for (n = 0, i = 0; i < 50; i++)
		n += run_auto(&b, 200, i % 2 ? 20 : 2000, 3);
	OK(n >= 45 && n <= 50, "one that really changes is followed: %d", n);

}

/* Bursts just above the thresholds, each run to the end by what auto chooses:
 * under defrag the queues look shorter and more uneven from pick to pick, and
 * that must not lead back to fifo. */
static void
test_auto_loop(void)
{
	struct board b;
	int i;

	board_init(&b);
	b.v.urgent_ns = UINT64_MAX;
	for (i = 0; i < 2000; i++) {
		b.v.now_ns += MS;
		b.v.n_submit++;
		b.rows[1][0] = 150;
		b.rows[1][1] = b.rows[1][2] = b.rows[1][3] = 30;
		b.rows[2][1] = 40;
		order(&b, "auto");
	}
	OK(b.state.n_switch == 1 && b.state.defrag,
	    "auto does not answer to itself: %d switches",
	    (int)b.state.n_switch);
}

/* ---- heaps --------------------------------------------------------------- */

#define N_HEAP	37

static int
best(const struct policy_queue *q, const bool *in, bool by_age)
{
	int i, top = -1;

	for (i = 0; i < N_HEAP; i++) {
		if (!in[i])
			continue;
		if (top < 0 || (!by_age && q[i].n > q[top].n))
			top = i;
		else if ((by_age || q[i].n == q[top].n) &&
		    q[i].since_ns < q[top].since_ns)
			top = i;
	}
	return top;
}

static void
test_heap(void)
{
	static struct policy_queue q[N_HEAP], *room[2][N_HEAP];
	static bool in[N_HEAP];
	struct xeng_heap h[2] = { { XENG_HEAP_ROWS, 0, room[0] },
	    { XENG_HEAP_AGE, 0, room[1] } };
	struct rng r = { 4, 0 };
	int i, k, step, bad = 0, n = 0;

	for (i = 0; i < N_HEAP; i++)
		q[i].expert = i;
	for (step = 0; step < 20000; step++) {
		i = (int)rng_below(&r, N_HEAP);
		if (!in[i] || rng_below(&r, 3) != 0) {
			q[i].n = (uint32_t)rng_below(&r, 9);
			q[i].since_ns = rng_below(&r, 9);
			for (k = 0; k < 2; k++)
				(in[i] ? xeng_heap_moved : xeng_heap_add)(
				    &h[k], &q[i]);
			n += !in[i];
			in[i] = true;
		} else {
			for (k = 0; k < 2; k++)
				xeng_heap_drop(&h[k], &q[i]);
			in[i] = false;
			n--;
		}
		for (k = 0; k < 2; k++) {
			i = best(q, in, k == 1);
			bad += h[k].n != (uint32_t)n || xeng_heap_top(&h[k]) !=
			    (i < 0 ? NULL : &q[i]);
		}
	}
	EQ_INT(bad, 0, "the top is always what looking at all finds");
}

static void
test_table(void)
{
	char names[64] = "";
	int i;

	for (i = 0; i < POLICY_N; i++) {
		strcat(strcat(names, i == 0 ? "" : "|"), policy_at(i)->name);
		OK(policy_find(policy_at(i)->name) == policy_at(i) &&
		    policy_index(policy_at(i)) == i, "%s",
		    policy_at(i)->name);
	}
	EQ_STR(names, POLICY_NAMES, "names in the order of the table");
	OK(policy_find("none") == NULL, "no other");
}

int
main(void)
{
	test_table();
	test_order();
	test_algorithm_1();
	test_score();
	test_hold();
	test_starve();
	test_urgent_order();
	test_auto();
	test_auto_loop();
	test_heap();
	return tap_done();
}
