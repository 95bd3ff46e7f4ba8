/*
 * Unit tests of at_prof and at_prof_table: the parts add up to the time that
 * has passed, to the nanosecond, however they nest; the table adds up as well.
 */
#include <stdio.h>
#include <string.h>

#include "../../src/moe-attnd/at_prof.c"
#include "../../src/moe-attnd/at_prof_table.c"
#include "rec.h"
#include "tap.h"

static uint64_t
sum(const struct at_prof *p)
{
	uint64_t ns = 0;
	int i;

	for (i = 0; i < AT_PARTS; i++)
		ns += p->ns[i];
	return ns;
}

static void
spend(uint64_t ns)
{
	uint64_t end = clock_ns() + ns;

	while (clock_ns() < end)
		continue;
}

static void
test_parts(void)
{
	struct at_prof p;
	enum at_part was, inner;
	uint64_t begun;

	at_prof_begin(&p);
	begun = p.since_ns;
	was = at_prof_to(&p, AT_PART_DISPATCH);
	OK(was == AT_PART_OTHER, "it begins in other");
	spend(200000);
	inner = at_prof_to(&p, AT_PART_COPY);
	spend(300000);
	at_prof_to(&p, inner);
	at_prof_to(&p, was);
	OK(p.now == AT_PART_OTHER, "nested parts return");
	OK(p.ns[AT_PART_DISPATCH] >= 200000 &&
	    p.ns[AT_PART_COPY] >= 300000, "each has what was spent in it");
	OK(sum(&p) == p.since_ns - begun, "the parts add up");
	at_prof_move(&p, AT_PART_DISPATCH, AT_PART_EXPERTS, 150000);
	OK(p.ns[AT_PART_EXPERTS] == 150000 &&
	    sum(&p) == p.since_ns - begun, "moved, not made");
	at_prof_move(&p, AT_PART_DISPATCH, AT_PART_EXPERTS, UINT64_MAX);
	OK(p.ns[AT_PART_DISPATCH] == 0 &&
	    sum(&p) == p.since_ns - begun, "no more than there is");
	OK(at_prof_to(NULL, AT_PART_COPY) == AT_PART_COPY,
	    "nobody counts: nothing happens");
}

static void
test_table(void)
{
	static const struct rec_col col[] = {
		{ "part", REC_STR, 0 }, { "us_step", REC_REAL, 0 },
		{ "pct", REC_REAL, 0 }, { NULL, 0, 0 }
	};
	struct at_metrics m = { .steps = 10, .rows = 40 };
	char text[8192] = { 0 };
	struct err err = ERR_INIT;
	struct rec_in in;
	double pct = 0, us = 0, total_us = 0, http = -1;
	FILE *fp = fmemopen(text, sizeof(text), "w");
	int i, n = 0;

	for (i = 0; i < AT_PARTS; i++)
		m.part_ns[i] = 1000000 * (uint64_t)(i + 1);
	OK(at_prof_table(&m, fp, &err) == 0, "written: %s", err.text);
	fclose(fp);
	fp = fmemopen(text, strlen(text), "r");
	rec_in_open(&in, fp, "table", "profile", 1, col);
	while (rec_next(&in, &err) == 1) {
		if (strcmp(in.val[0].s, "total") == 0) {
			total_us = in.val[1].r;
		} else if (strcmp(in.val[0].s, "http") == 0) {
			http = in.val[1].r;
		} else {
			n++;
			us += in.val[1].r;
			pct += in.val[2].r;
		}
	}
	rec_in_close(&in);
	fclose(fp);
	OK(n == AT_PARTS - 1, "every part but idle: %d", n);
	OK(us > 0 && us - total_us < 1e-3 * us && total_us - us < 1e-3 * us,
	    "they add up to total: %g, %g", us, total_us);
	OK(pct > 99.9 && pct < 100.1, "and to 100 %%: %g", pct);
	OK(http > 0, "this thread's own time");
}

int
main(void)
{
	test_parts();
	test_table();
	return tap_done();
}
