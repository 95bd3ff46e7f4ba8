/* Unit tests of common/cluster/hold: the message of an expert server's set. */
#include "hold.h"
#include "mem.h"
#include "tap.h"

static void
test_set(void)
{
	struct hold h;

	hold_init(&h, 3, 10);
	OK(hold_count(&h) == 0 && !hold_has(&h, 2, 9), "empty at first");
	hold_set(&h, 2, 9, true);
	hold_set(&h, 0, 0, true);
	hold_set(&h, 0, 0, true);
	OK(hold_has(&h, 2, 9) && hold_has(&h, 0, 0) && !hold_has(&h, 1, 9),
	    "members");
	EQ_INT(hold_count(&h), 2, "counted once each");
	hold_set(&h, 2, 9, false);
	OK(!hold_has(&h, 2, 9), "taken out");
	hold_free(&h);
}

static void
test_wire(void)
{
	static const unsigned char want[] = { 'M', 'H', 'L', 'D', 5, 0, 0, 0,
	    2, 0, 0, 0, 10, 0, 0, 0, 0x02, 0x02, 0x80, 0x00 };
	struct hold h, g;
	struct str s = STR_INIT;
	struct err e = ERR_INIT;

	hold_init(&h, 2, 10);
	hold_init(&g, 2, 10);
	h.version = 5;
	hold_set(&h, 0, 1, true);
	hold_set(&h, 0, 9, true);
	hold_set(&h, 1, 7, true);
	hold_encode(&h, &s);
	OK(s.n == sizeof(want) && memcmp(s.p, want, s.n) == 0,
	    "the bytes are those of the header file");
	OK(hold_decode(&g, s.p, s.n, &e) == 0 && g.version == 5 &&
	    hold_has(&g, 0, 1) && hold_has(&g, 0, 9) && hold_has(&g, 1, 7) &&
	    hold_count(&g) == 3, "and back");
	hold_free(&h);
	hold_free(&g);
	str_free(&s);
}

/* Every cut, and every field that a peer may get wrong. */
static void
test_hostile(void)
{
	struct hold h, g;
	struct str s = STR_INIT;
	struct err e = ERR_INIT;
	size_t n;
	int bad = 0;

	hold_init(&h, 2, 10);
	hold_init(&g, 2, 10);
	hold_set(&h, 1, 3, true);
	hold_encode(&h, &s);
	for (n = 0; n < s.n; n++) {
		char *cut = mem_dup(s.p, n);	/* asan guards its end */

		bad += hold_decode(&g, cut, n, &e) == 0;
		mem_free(cut);
	}
	EQ_INT(bad, 0, "no cut message is taken");
	s.p[0] ^= 1;
	OK(hold_decode(&g, s.p, s.n, &e) != 0, "magic");
	s.p[0] ^= 1;
	s.p[8] = 3;
	OK(hold_decode(&g, s.p, s.n, &e) != 0 &&
	    strstr(e.text, "3 layers of 10") != NULL, "another shape: both "
	    "are named");
	s.p[8] = 2;
	s.p[s.n - 1] |= 0x04;
	OK(hold_decode(&g, s.p, s.n, &e) != 0, "bits beyond the last expert");
	s.p[s.n - 1] &= ~0x04;
	OK(hold_count(&g) == 0 && g.version == 0, "the set is as it was");
	OK(hold_decode(&g, s.p, s.n, &e) == 0, "whole again");
	hold_free(&h);
	hold_free(&g);
	str_free(&s);
}

int
main(void)
{
	test_set();
	test_wire();
	test_hostile();
	return tap_done();
}
