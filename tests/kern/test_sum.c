/* kern_sum: any grouping of answers into parts gives the same bits; results
 * against long double; a case by hand; what a peer may send. */
#include "kt.h"

#include <math.h>

#include "kern_num.h"
#include "kern_sum.h"

#define N	83		/* two blocks and a rest */
#define K	8

struct answers {
	float f[K][N];
	uint16_t h[K][N];
	float w[K];
};

static uint64_t seed = 7;

static double
unit(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (double)(seed >> 11) * 0x1p-53;
}

/* Answers whose sizes differ by `spread` powers of two. */
static void
draw(struct answers *a, int spread)
{
	int j, i;

	for (j = 0; j < K; j++) {
		a->w[j] = (float)unit();
		for (i = 0; i < N; i++) {
			a->f[j][i] = (float)ldexp(2 * unit() - 1,
			    (int)(unit() * spread) - spread / 2);
			if (unit() < 0.05)
				a->f[j][i] = 0;
			a->h[j][i] = kern_num_to_bf16(a->f[j][i]);
		}
	}
}

static const void *
answer(const struct kern_sum *s, const struct answers *a, int j)
{
	return s->act == KERN_F32 ? (const void *)a->f[j] :
	    (const void *)a->h[j];
}

/* Answers spread over parts as group[] says, joined in part order. */
static void
grouped(const struct kern_sum *s, const struct answers *a, const int *group,
    float *y)
{
	static uint32_t mem[K][N * 2 + 64];
	const void *part[K] = { NULL }, *row[K];
	float w[K];
	int g, j, m;

	for (g = 0; g < K; g++) {
		for (j = m = 0; j < K; j++) {
			if (group[j] != g)
				continue;
			w[m] = a->w[j];
			row[m++] = answer(s, a, j);
		}
		if (m == 0)
			continue;
		kern_sum_part(s, row, w, m, mem[g]);
		part[g] = mem[g];
	}
	kern_sum_join(s, part, K, y);
}

static void
test_grouping(enum kern_dtype act, int spread)
{
	const struct kern_sum s = { KERN_SUM_EXACT, act, N, K };
	static const int one[K];
	struct answers a;
	float want[N], got[N];
	int group[K], t, j, bad = 0;

	for (t = 0; t < 300; t++) {
		draw(&a, spread);
		grouped(&s, &a, one, want);
		for (j = 0; j < K; j++)
			group[j] = (int)(unit() * (1 + t % K));
		grouped(&s, &a, group, got);
		bad += memcmp(want, got, sizeof(want)) != 0;
	}
	EQ_INT(bad, 0, "%s, sizes over 2^%d: groupings with other bits",
	    kern_dtype_name(act), spread);
}

/* Off by less than what kern_sum.h says, against long double. */
static void
test_error(enum kern_sum_rule rule, enum kern_dtype act, double bound)
{
	const struct kern_sum s = { rule, act, N, K };
	const int group[K] = { 0, 1, 0, 2, 1, 0, 2, 2 };
	double top, off, worst = 0;
	struct answers a;
	long double sum;
	float y[N], v;
	int t, i, j, b;

	for (t = 0; t < 200; t++) {
		draw(&a, 6);
		grouped(&s, &a, group, y);
		for (i = 0; i < N; i++) {
			for (top = 0, b = i / 32 * 32; b < i / 32 * 32 + 32 &&
			    b < N; b++)
				for (j = 0; j < K; j++)
					top = fmax(top, fabs((double)a.w[j] *
					    (double)a.f[j][b]));
			for (sum = 0, j = 0; j < K; j++) {
				v = act == KERN_F32 ? a.f[j][i] :
				    kern_num_from_bf16(a.h[j][i]);
				sum += (long double)a.w[j] * v;
			}
			off = (double)fabsl(sum - y[i]) / top;
			worst = off > worst ? off : worst;
		}
	}
	OK(worst < bound, "rule %d, %s: off by %.2g of a block's largest",
	    (int)rule, kern_dtype_name(act), worst);
}

/* k = 2: digits of 14 bits.  1.5 and -1 stand at place 128; 2^-15 is two
 * units of the second digit below... 2^-14, so half of one: it falls away. */
static void
test_by_hand(void)
{
	const struct kern_sum s = { KERN_SUM_EXACT, KERN_BF16, 3, 2 };
	const uint16_t x[2][3] = {
	    { kern_num_to_bf16(3), kern_num_to_bf16(-2), 0 },
	    { kern_num_to_bf16(0x1p-13f), kern_num_to_bf16(0x1p-14f), 0 } };
	const void *row[2] = { x[0], x[1] }, *part[2];
	const float w[2] = { 0.5f, 0.5f };
	unsigned char p[2][64] = { { 0 } };
	int16_t d[6];
	float y[3];

	EQ_INT(kern_sum_bytes(&s), 16 + 12, "bytes of a part");
	kern_sum_part(&s, row, w, 2, p[0]);
	memcpy(d, p[0] + 16, sizeof(d));
	EQ_INT(p[0][0], 128, "place of 1.5");
	OK(d[0] == 1 && d[1] == -1 && d[2] == 0, "first digits");
	OK(d[3] == (1 << 13) + 1 && d[4] == 0 && d[5] == 0, "second digits: "
	    "%d %d %d", d[3], d[4], d[5]);
	part[0] = p[0];
	part[1] = NULL;
	kern_sum_join(&s, part, 2, y);
	OK(y[0] == 1.5f + 0x1p-14f && y[1] == -1 && y[2] == 0, "joined");
	/* Two parts: the small one stands a place lower and is cut alike. */
	kern_sum_part(&s, row, w, 1, p[0]);
	kern_sum_part(&s, row + 1, w + 1, 1, p[1]);
	EQ_INT(p[1][0], 127 , "place of 2^-14");
	part[1] = p[1];
	kern_sum_join(&s, part, 2, y);
	OK(y[0] == 1.5f + 0x1p-14f && y[1] == -1 && y[2] == 0, "joined of two");
}

static void
test_odd(void)
{
	const struct kern_sum s = { KERN_SUM_EXACT, KERN_F32, N, K };
	const int group[K] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	static unsigned char junk[4096];
	const void *part[K] = { junk, junk, junk, junk, junk, junk, junk, junk };
	struct answers a;
	float y[N];
	int i;

	draw(&a, 6);
	a.f[3][40] = INFINITY;
	grouped(&s, &a, group, y);
	OK(!isnan(y[31]) && isnan(y[32]) && isnan(y[63]) && !isnan(y[64]),
	    "a value that is not finite marks its block");
	for (i = 0; i < (int)sizeof(junk); i++)
		junk[i] = (unsigned char)(unit() * 256);
	kern_sum_join(&s, part, K, y);
	OK(1, "any bytes can be joined");
	memset(part, 0, sizeof(part));
	kern_sum_join(&s, part, K, y);
	for (i = 0; i < N && y[i] == 0; i++)
		;
	EQ_INT(i, N, "no parts: zero");
}

int
main(void)
{
	test_by_hand();
	test_grouping(KERN_BF16, 4);
	test_grouping(KERN_BF16, 60);
	test_grouping(KERN_F32, 4);
	test_grouping(KERN_F32, 60);
	/* k = 8: digits of 12 bits; 8 * 2^(1 - 12 * (digits - 1)). */
	test_error(KERN_SUM_EXACT, KERN_BF16, 0x1p-8);
	test_error(KERN_SUM_EXACT, KERN_F32, 0x1p-20);
	test_error(KERN_SUM_FLOAT, KERN_BF16, 0x1p-18);
	test_odd();
	return tap_done();
}
