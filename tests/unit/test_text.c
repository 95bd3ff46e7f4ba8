/* Unit tests of at_text: stop strings in text that comes in pieces. */
#include <stdlib.h>
#include <string.h>

#include "../../src/moe-attnd/at_text.c"
#include "rng.h"
#include "tap.h"

/* The text that comes out of in, cut into pieces of sizes from g (all at once
 * when g is NULL); *hit_p as in at_text. */
static void
run(const char *const *stop, int n_stop, bool include, const char *in,
    struct rng *g, struct str *out, int *hit_p)
{
	struct at_text t;
	size_t n = strlen(in), k;

	str_clear(out);
	at_text_init(&t, stop, n_stop, include);
	while (n > 0) {
		k = g != NULL ? 1 + rng_below(g, 3) : n;
		k = k < n ? k : n;
		if (at_text_put(&t, in, k, out))
			break;
		in += k;
		n -= k;
	}
	at_text_end(&t, out);
	*hit_p = t.hit;
	at_text_free(&t);
}

static void
test_cases(void)
{
	static const struct {
		const char *in, *want;
		int hit;
		bool include;
	} c[] = {
		{ "hello world", "hello world", -1, false },
		{ "one STOP two", "one ", 0, false },
		{ "one STOP two", "one STOP", 0, true },
		{ "one STO", "one STO", -1, false },
		{ "SSTSTSTOP", "SSTST", 0, false },
		{ "a\n\nb", "a", 1, false },
		{ "STO\n\n", "STO", 1, false },
		{ "grüße €uro", "grüße ", 2, false },
		{ "aabaac", "aab", 3, false },
		{ "aabaabaac", "aabaab", 3, false },
		{ "", "", -1, false },
	};
	static const char *const stop[] = { "STOP", "\n\n", "€", "aac", "OP" };
	struct rng g = { 5, 0 };
	struct str out = STR_INIT;
	size_t i;
	int hit, j, bad;

	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		run(stop, 5, c[i].include, c[i].in, NULL, &out, &hit);
		OK(strcmp(str_c(&out), c[i].want) == 0 && hit == c[i].hit,
		    "case %zu: stop %d", i, hit);
		for (j = bad = 0; j < 50; j++) {
			run(stop, 5, c[i].include, c[i].in, &g, &out, &hit);
			bad += strcmp(str_c(&out), c[i].want) != 0 ||
			    hit != c[i].hit;
		}
		EQ_INT(bad, 0, "however it is cut");
	}
	str_free(&out);
}

static void
test_held(void)
{
	static const char *const stop[] = { "</end>", "<x>" };
	struct str out = STR_INIT;
	struct at_text t;

	at_text_init(&t, stop, 2, false);
	OK(!at_text_put(&t, "ab<", 3, &out), "no stop yet");
	EQ_STR(str_c(&out), "ab", "a possible beginning is held back");
	at_text_put(&t, "/e", 2, &out);
	EQ_STR(str_c(&out), "ab", "and longer");
	at_text_put(&t, "lse <", 5, &out);
	EQ_STR(str_c(&out), "ab</else ", "until it cannot be one any more");
	at_text_end(&t, &out);
	EQ_STR(str_c(&out), "ab</else <", "or the text ends");
	at_text_free(&t);
	str_free(&out);
}

/* Random texts over a small alphabet: pieces or whole, the same. */
static void
test_random(void)
{
	static const char *const stop[] = { "abab", "ba", "cabc", "bcab" };
	struct rng g = { 6, 0 };
	struct str whole = STR_INIT, cut = STR_INIT;
	int i, j, h1, h2, bad = 0;
	char in[25];

	for (i = 0; i < 5000; i++) {
		for (j = 0; j < 24; j++)
			in[j] = (char)('a' + (int)rng_below(&g, 3));
		in[24] = '\0';
		run(stop + i % 2, 3, i % 3 == 0, in, NULL, &whole, &h1);
		run(stop + i % 2, 3, i % 3 == 0, in, &g, &cut, &h2);
		bad += strcmp(str_c(&whole), str_c(&cut)) != 0 || h1 != h2;
	}
	EQ_INT(bad, 0, "5000 random texts, in pieces as whole");
	str_free(&whole);
	str_free(&cut);
}

int
main(void)
{
	test_cases();
	test_held();
	test_random();
	return tap_done();
}
