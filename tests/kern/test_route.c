/* kern_route against vectors of every rule, and its edges: ties, NaN, random
 * rows against a plain recomputation. */
#include "kt.h"

#define MAX_N	64

struct vector {
	char name[100];
	struct kern_route a;
	float logits[MAX_N], bias[MAX_N], want_w[MAX_N];
	int32_t want[MAX_N];
};

/* n numbers of one line; as floats, or as integers when f is NULL. */
static int
numbers(const char *line, int n, float *f, int32_t *ids)
{
	char *end;
	int i;

	for (i = 0; i < n; i++, line = end) {
		double v = strtod(line, &end);

		if (end == line)
			return -1;
		if (f != NULL)
			f[i] = (float)v;
		else
			ids[i] = (int32_t)v;
	}
	return 0;
}

/* The next block of the file: 0, or -1 at its end or at nonsense. */
static int
read_vector(FILE *fp, struct vector *v)
{
	char line[6][2000];
	int i, rule, renorm;
	struct kern_route *a = &v->a;

	memset(v, 0, sizeof(*v));
	for (i = 0; i < 6; i++) {
		do {
			if (fgets(line[i], sizeof(line[i]), fp) == NULL)
				return -1;
		} while (line[i][0] == '#');
	}
	snprintf(v->name, sizeof(v->name), "%.*s",
	    (int)strcspn(line[0], "\n"), line[0]);
	if (sscanf(line[1], "%d %d %d %d %f %d %d %f", &rule, &a->n, &a->k,
	    &renorm, &a->scaling, &a->n_group, &a->topk_group,
	    &a->jitter) != 8 || a->n > MAX_N)
		return -1;
	a->rule = (enum kern_route_rule)rule;
	a->renorm = renorm;
	a->m = 1;
	a->logits = v->logits;
	if (strcmp(line[3], "-\n") != 0) {
		a->bias = v->bias;
		if (numbers(line[3], a->n, v->bias, NULL) != 0)
			return -1;
	}
	return numbers(line[2], a->n, v->logits, NULL) |
	    numbers(line[4], a->k, NULL, v->want) |
	    numbers(line[5], a->k, v->want_w, NULL);
}

static void
test_vectors(void)
{
	const char *root = getenv("MOE_ROOT");
	char path[1000];
	struct vector v;
	FILE *fp;
	int n = 0;

	snprintf(path, sizeof(path), "%s/tests/golden/route-vectors.txt",
	    root != NULL ? root : ".");
	fp = fopen(path, "r");
	if (!OK(fp != NULL, "open %s", path))
		return;
	while (read_vector(fp, &v) == 0) {
		int32_t ids[MAX_N];
		float w[MAX_N];
		int bad = -7, i, wrong = 0;

		v.a.ids = ids;
		v.a.w = w;
		EQ_INT(kern_route(&v.a, &bad), 0, "%s", v.name);
		for (i = 0; i < v.a.k; i++)
			wrong += ids[i] != v.want[i] ||
			    fabsf(w[i] - v.want_w[i]) > 1e-6f *
			    (1 + v.want_w[i]);
		EQ_INT(wrong, 0, "  ids and weights");
		n++;
	}
	OK(n >= 11, "%d vectors read", n);
	fclose(fp);
}

static void
test_bad_rows(void)
{
	float l[3 * 8] = { 0 }, w[6];
	int32_t ids[6];
	struct kern_route a = { .rule = KERN_ROUTE_SOFTMAX, .logits = l,
	    .m = 3, .n = 8, .k = 2, .scaling = 1, .ids = ids, .w = w };
	int rule, bad;

	for (rule = KERN_ROUTE_SOFTMAX; rule <= KERN_ROUTE_SIGMOID_INPUT;
	    rule++) {
		a.rule = (enum kern_route_rule)rule;
		l[2 * 8 + 5] = NAN;
		bad = 0;
		OK(kern_route(&a, &bad) == -1 && bad == 2,
		    "rule %d: a NaN in row 2 is found", rule);
		l[2 * 8 + 5] = INFINITY;
		OK(kern_route(&a, &bad) == -1, "rule %d: +inf too", rule);
		l[2 * 8 + 5] = -INFINITY;
		OK(kern_route(&a, &bad) == 0 && ids[4] == 0 && ids[5] == 1,
		    "rule %d: -inf is never chosen, ties to the lowest id",
		    rule);
	}
}

/* R2 on random rows with many ties: sorted by (logit, id). */
static void
test_random(void)
{
	float l[40], w[8], sum;
	int32_t ids[8];
	struct kern_route a = { .rule = KERN_ROUTE_SOFTMAX, .logits = l,
	    .m = 1, .n = 40, .k = 8, .scaling = 2, .ids = ids, .w = w };
	int t, i, j, bad, wrong = 0;

	for (t = 0; t < 500; t++) {
		for (i = 0, sum = 0; i < 40; i++) {
			l[i] = (float)kt_int(-3, 3);
			sum += expf(l[i]);
		}
		kern_route(&a, &bad);
		for (i = 0; i < 8; i++) {
			int better = 0;

			for (j = 0; j < 40; j++)
				better += l[j] > l[ids[i]] ||
				    (l[j] == l[ids[i]] && j < ids[i]);
			wrong += better != i || fabsf(w[i] -
			    2 * expf(l[ids[i]]) / sum) > 1e-6f;
		}
	}
	EQ_INT(wrong, 0, "random rows: rank order, ties to the lowest id");
}

int
main(void)
{
	kt_seed();
	test_vectors();
	test_bad_rows();
	test_random();
	return tap_done();
}
