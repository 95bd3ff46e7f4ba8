/* Tests of common/wire/rec and tsv: records written, read, and refused. */
#include <stdlib.h>

#include "err.h"
#include "mem.h"
#include "rec.h"
#include "str.h"
#include "tap.h"
#include "tsv.h"

static void
test_tsv(void)
{
	char line[] = "a\t\t\\-\t-\tx\\", *cell[4];

	EQ_INT(tsv_split(line, cell, 4), 5, "five cells, four kept");
	EQ_STR(tsv_value(cell[0]), "a", "plain");
	EQ_STR(tsv_value(cell[1]), "", "empty");
	EQ_STR(tsv_value(cell[2]), "-", "a dash");
	OK(tsv_value(cell[3]) == NULL, "no value");
}

enum { C_NAME, C_N, C_X, C_ON };
static const struct rec_col cols[] = {
	[C_NAME] = { "name", REC_STR, 0 },
	[C_N] = { "n", REC_INT, 0 },
	[C_X] = { "x", REC_REAL, 0 },
	[C_ON] = { "on", REC_BOOL, REC_OPTIONAL },
	{ NULL, 0, 0 }
};

static void
put_records(FILE *f, bool json)
{
	struct rec_out o;

	rec_out_open(&o, f, "t", 2, cols, json);
	rec_put_str(&o, "#a\tb\\c\n\"");
	rec_put_int(&o, -5);
	rec_put_real(&o, 0.25);
	rec_put_bool(&o, true);
	rec_end(&o, NULL);
	rec_note(&o, "a %s", "note");
	rec_put_str(&o, "-");
	rec_put_none(&o);
	rec_put_real(&o, __builtin_nan(""));
	rec_put_bool(&o, false);
	OK(rec_end(&o, NULL) == 0, "records are written");
	rec_out_close(&o);
}

static void
test_real(void)
{
	static const struct rec_col x[] = {
		{ "x", REC_REAL, 0 },
		{ NULL, 0, 0 }
	};
	static const double v[] = { 1671168, -2e9, 1234567.8, 1e15, 0.1234567 };
	char *text = NULL;
	struct rec_out o;
	size_t n, i;
	FILE *f = open_memstream(&text, &n);

	rec_out_open(&o, f, "r", 1, x, false);
	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		rec_put_real(&o, v[i]);
		rec_end(&o, NULL);
	}
	rec_out_close(&o);
	fclose(f);
	EQ_STR(text, "#moe:r/1\tx\n1671168\n-2000000000\n1234568\n1e+15\n"
	    "0.123457\n", "large counts keep all their digits");
	free(text);
}

static void
test_rec(void)
{
	char *text = NULL;
	struct err err = ERR_INIT;
	struct rec_in in;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	put_records(f, false);
	fclose(f);
	EQ_STR(text, "#moe:t/2\tname\tn\tx\ton\n"
	    "\\#a\\tb\\\\c\\n\"\t-5\t0.25\t1\n# a note\n\\-\t-\t-\t0\n", "TSV");
	f = fmemopen(text, n, "r");
	rec_in_open(&in, f, "x.tsv", "t", 2, cols);
	OK(rec_next(&in, &err) == 1 && in.line == 2, "first record");
	EQ_STR(in.val[C_NAME].s, "#a\tb\\c\n\"", "text comes back");
	OK(in.val[C_N].i == -5 && in.val[C_X].r == 0.25 && in.val[C_ON].i == 1,
	    "numbers come back");
	OK(rec_next(&in, &err) == 1 && in.line == 4, "comments are skipped");
	EQ_STR(in.val[C_NAME].s, "-", "a real dash");
	OK(!in.val[C_N].have && !in.val[C_X].have && in.val[C_ON].have,
	    "no values");
	OK(rec_next(&in, &err) == 0, "the end");
	rec_in_close(&in);
	fclose(f);
	free(text);
	text = NULL;
	f = open_memstream(&text, &n);
	put_records(f, true);
	fclose(f);
	EQ_STR(text, "{\"moe\":\"t/2\",\"name\":\"#a\\u0009b\\\\c\\u000a\\\"\","
	    "\"n\":-5,\"x\":0.25,\"on\":true}\n{\"moe\":\"t/2\",\"name\":\"-\","
	    "\"n\":null,\"x\":null,\"on\":false}\n", "NDJSON");
	free(text);
}

/* Read all of text: number of records, or -1. */
static int
read_all(const char *text, struct err *err)
{
	char *copy = mem_strdup(text);
	FILE *f = fmemopen(copy, strlen(copy), "r");
	struct rec_in in;
	int rc, n = 0;

	rec_in_open(&in, f, "x.tsv", "t", 2, cols);
	while ((rc = rec_next(&in, err)) == 1)
		n++;
	rec_in_close(&in);
	fclose(f);
	mem_free(copy);
	return rc == 0 ? n : -1;
}

static void
test_rec_bad(void)
{
	static const struct {
		const char *text, *says;	/* NULL: two records */
	} t[] = {
		{ "#moe:t/2\tx\tname\tnew\tn\n1\ta\t?\t2\n\n"
		    "#moe:t/2.7\tn\tx\tname\n3\t1e3\tb\r\n", NULL },
		{ "a\t1\t2\t1\n", "line 1: no '#moe:t/2' line" },
		{ "#moe:t/3\tname\tn\tx\n", "line 1: t version is 3, want 2" },
		{ "#moe:u/2\tname\tn\tx\n", "line 1: schema is 'u', want 't'" },
		{ "#moe:t\tname\n", "line 1: no version" },
		{ "#moe:t/2\tname\tx\n", "line 1: column 'n' is missing" },
		{ "#moe:t/2\tname\tn\tx\na\tb\t1\n",
		    "line 2: column 'n': 'b' is not an integer" },
		{ "#moe:t/2\tname\tn\tx\na\t1\tnan\n",
		    "line 2: column 'x': 'nan' is not a number" },
		{ "#moe:t/2\tname\tn\tx\n\n# c\na\t1\n",
		    "line 4: 2 cells, the schema line has 3" },
		{ "#moe:t/2\tname\tn\tx\ton\na\t1\t1\tyes\n",
		    "line 2: column 'on': 'yes' is not 0 or 1" },
	};
	struct str big = STR_INIT;
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct err err = ERR_INIT;
		int n = read_all(t[i].text, &err);

		if (t[i].says == NULL)
			EQ_INT(n, 2, "by name, joined streams, CRLF: %s",
			    err.text);
		else
			OK(n == -1 && err.code == ERR_DATA &&
			    strstr(err.text, t[i].says) != NULL &&
			    strncmp(err.text, "x.tsv: ", 7) == 0, "%s",
			    err.text);
	}
	str_adds(&big, "#moe:t/2\tname\tn\tx\n");
	for (i = 0; i < REC_LINE_MAX + 1; i++)
		str_addc(&big, 'x');
	OK(read_all(str_c(&big), NULL) == -1, "an endless line");
	str_free(&big);
}

int
main(void)
{
	test_tsv();
	test_rec();
	test_real();
	test_rec_bad();
	return tap_done();
}
