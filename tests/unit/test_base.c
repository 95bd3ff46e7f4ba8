/* Unit tests of common/base. */
#include <math.h>
#include <stdlib.h>

#include "cli.h"
#include "clock.h"
#include "err.h"
#include "hist.h"
#include "mem.h"
#include "num.h"
#include "rng.h"
#include "str.h"
#include "tap.h"

static void
test_err(void)
{
	struct err e = ERR_INIT;

	OK(err_set(&e, ERR_DATA, "tensor %s", "x") == -1, "err_set gives -1");
	err_ctx(&e, "file %d", 3);
	EQ_STR(e.text, "file 3: tensor x", "context goes in front");
	EQ_INT(e.code, ERR_DATA, "and keeps the code");
	OK(err_set(NULL, 1, "x") == -1, "a NULL err is allowed");
	err_set(&e, ERR_DATA, "tensor %s", "a\nb\x1b[1m");
	EQ_STR(e.text, "tensor a?b?[1m", "one line, no control characters");
}

static void
test_num(void)
{
	uint64_t u;
	int64_t i;
	double d;

	OK(num_size("64k", &u) == 0 && u == 65536, "64k");
	OK(num_size("1.5M", &u) == 0 && u == 1572864, "1.5M");
	OK(num_size("12x", &u) != 0 && num_size("", &u) != 0 &&
	    num_size("-1", &u) != 0 && num_size("1e30", &u) != 0,
	    "bad sizes are refused");
	OK(num_dur_ns("250ms", &u) == 0 && u == 250000000, "250ms");
	OK(num_dur_ns("1.5", &u) == 0 && u == 1500000000, "bare seconds");
	OK(num_u64("18446744073709551616", &u) != 0, "u64 overflow");
	OK(num_i64("-3", &i) == 0 && i == -3 && num_i64("3 ", &i) != 0, "i64");
	OK(num_f64("nan", &d) != 0 && num_f64("0.5", &d) == 0, "f64");
}

static void
test_rng(void)
{
	/* Known answers of Philox4x32-10 from the authors' Random123 suite. */
	uint32_t ctr[4] = { 0, 0, 0, 0 }, out[4];
	uint32_t ones[4] = { ~0u, ~0u, ~0u, ~0u };
	struct rng r = { 7, 0 };
	double sum = 0;
	int i;

	rng_block(0, ctr, out);
	OK(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d &&
	    out[2] == 0xbc57ac4c && out[3] == 0x9b00dbd8, "Philox zeros");
	rng_block(~0ull, ones, out);
	OK(out[0] == 0x408f276d && out[1] == 0x41c83b0e &&
	    out[2] == 0xa20bc7c6 && out[3] == 0x6d5451fd, "Philox ones");
	for (i = 0; i < 20000; i++)
		sum += rng_next_unit(&r);
	OK(fabs(sum / 20000 - 0.5) < 0.01, "uniform mean");
}

static void
test_hist(void)
{
	static struct hist h, g;
	uint64_t v;

	hist_clear(&h);
	hist_clear(&g);
	for (v = 1; v <= 100000; v++)
		hist_add(v % 2 ? &h : &g, v);
	hist_merge(&h, &g);
	OK(fabs((double)hist_quantile(&h, 0.5) / 50000 - 1) < 0.02, "median");
	OK(fabs((double)hist_quantile(&h, 0.99) / 99000 - 1) < 0.02, "p99");
	EQ_INT(hist_quantile(&h, 1.0), 100000, "maximum is exact");
	hist_add(&h, UINT64_MAX);
	OK(hist_quantile(&h, 1.0) == UINT64_MAX, "the largest value fits");
}

static void
test_str(void)
{
	struct str s = STR_INIT;
	size_t len;

	str_addf(&s, "%d-%s", 5, "x");
	str_addu(&s, 0x20ac);
	EQ_STR(str_c(&s), "5-x\xe2\x82\xac", "append");
	EQ_INT(str_utf8_whole(s.p, s.n), 6, "whole");
	EQ_INT(str_utf8_whole(s.p, s.n - 1), 3, "half a character is held");
	OK(!str_utf8_valid("\xc0\x80", 2) && !str_utf8_valid("\xed\xa0\x80", 3) &&
	    str_utf8_valid("\xf0\x9f\x98\x80", 4), "RFC 3629");
	EQ_INT(str_utf8_next("\xf0\x9f\x98\x80", 4, &len), 0x1f600, "decode");
	str_free(&s);
}

static void
test_cli(void)
{
	bool flag = false;
	int64_t n = 3;
	uint64_t mem = 1;
	int pick = 0;
	struct cli_list list = { 0 };
	const struct cli_opt opt[] = {
		{ 'x', "flag", CLI_FLAG, &flag, NULL, "", 0, 0, NULL },
		{ 'n', "num", CLI_INT, &n, "N", "", 1, 9, "MOE_TEST_NUM" },
		{ 0, "memory", CLI_SIZE, &mem, "SIZE", "", 0, 0, NULL },
		{ 0, "pick", CLI_ENUM, &pick, "a|bb|c", "", 0, 0, NULL },
		{ 'L', "list", CLI_LIST, &list, "S", "", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "t", NULL, "FILE", "", opt };
	char *ok[] = { "t", "-x", "--num=5", "--memory", "2k", "--pick", "bb",
	    "-L", "1", "-L", "2", "file", NULL };
	char *bad[] = { "t", "-n", "77", NULL };
	char *unknown[] = { "t", "--nope", NULL };
	struct err e = ERR_INIT;

	EQ_INT(cli_parse(&c, 12, ok, &e), 11, "index of the operand");
	OK(flag && n == 5 && mem == 2048 && pick == 1 && list.n == 2, "values");
	OK(cli_given(&n) && cli_given(&list) && !cli_given(&e), "given");
	OK(cli_parse(&c, 3, bad, &e) == -1 && e.code == 64, "range");
	EQ_STR(e.text, "--num: '77' is not a number from 1 to 9", "its text");
	OK(cli_parse(&c, 2, unknown, &e) == -1 && e.code == 64, "unknown");
	setenv("MOE_TEST_NUM", "8", 1);
	OK(cli_parse(&c, 1, ok, &e) == 1 && n == 8 && !cli_given(&n),
	    "default from MOE_*");
	mem_free(list.p);
}

int
main(void)
{
	test_err();
	test_num();
	test_rng();
	test_hist();
	test_str();
	test_cli();
	OK(clock_ns() > 0 && clock_left(0) == 0, "clock");
	return tap_done();
}
