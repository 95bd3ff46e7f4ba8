/* The card of an emulated device: bandwidth alone, bandwidth shared, latency,
 * pairs that go; then over real pairs of two ports. */
#include "link_port.h"
#include "link_rig.h"
#include "link_wire.h"
#include "tap.h"

static struct link_pair pair[3];

static void
put(struct link_wire *w, int from, int slot, uint32_t bytes, uint64_t now_ns)
{
	struct link_event ev = { .what = LINK_REQ, .pair = &pair[from],
	    .slot = slot };

	link_wire_put(w, &ev, bytes, now_ns);
}

/* 2 ns a byte, 100 ns on the way. */
static void
test_times(void)
{
	const struct link_wire_opt o = { .latency_ns = 100, .byte_ns = 2 };
	struct link_wire *w = link_wire_new(&o);
	struct link_counters c = { 0 };
	struct link_event ev;

	EQ_INT(link_wire_due(w), UINT64_MAX, "nothing is due");
	put(w, 0, 1, 50, 1000);
	EQ_INT(link_wire_due(w), 1200, "alone: its bytes and the latency");
	put(w, 1, 2, 50, 1000);		/* at once: behind the first */
	put(w, 2, 3, 10, 1400);		/* the card is free again */
	OK(!link_wire_take(w, 1199, &ev), "not before");
	OK(link_wire_take(w, 1200, &ev) && ev.slot == 1 &&
	    ev.pair == &pair[0], "the first");
	OK(!link_wire_take(w, 1299, &ev) && link_wire_due(w) == 1300,
	    "incast: the second waits for the first one's bytes");
	OK(link_wire_take(w, 1300, &ev) && ev.slot == 2, "the second");
	EQ_INT(link_wire_due(w), 1520, "the third: alone again");
	link_wire_count(w, &c);
	OK(c.wire_slots == 3 && c.wire_bytes == 110 && c.wire_busy_ns == 220 &&
	    c.wire_behind_ns == 100 && c.wire_behind_max_ns == 100, "counted");
	link_wire_free(w);
}

static void
test_gone(void)
{
	const struct link_wire_opt o = { .latency_ns = 1 };
	struct link_wire *w = link_wire_new(&o);
	struct link_event ev;
	int i;

	for (i = 0; i < 6; i++)
		put(w, i % 3, i, 10, 100);
	link_wire_forget(w, &pair[0]);
	pair[1].broken = true;
	OK(link_wire_take(w, 101, &ev) && ev.slot == 2, "of gone pairs nothing");
	OK(link_wire_take(w, 101, &ev) && ev.slot == 5, "of others all");
	OK(!link_wire_take(w, 101, &ev) && link_wire_due(w) == UINT64_MAX,
	    "nothing is left");
	pair[1].broken = false;
	link_wire_free(w);
	OK(link_wire_new(&(struct link_wire_opt){ 0 }) == NULL,
	    "no figures: no card");
}

/* Requests and answers through two cards: all arrive, none too early. */
static void
test_pairs(const char *tp)
{
	struct link_opt o = rig_opt(LINK_EXPERT, "e"), f;
	char addr[1][LINK_ADDR];
	struct link_counters c;
	struct rig_server *s;
	struct link_port *p;
	char text[LINK_SAY];
	uint64_t t;

	o.wire = (struct link_wire_opt){ 1000000, 100 };
	s = rig_start(&o, tp);
	memcpy(addr[0], s->addr, LINK_ADDR);
	f = rig_opt(LINK_FRONT, "f");
	f.wire = (struct link_wire_opt){ 1000000, 0 };
	p = rig_open(&f);
	t = clock_ns();
	EQ_INT(rig_drive(p, addr, 1, 40, 4096), 0, "%s all is answered", tp);
	t = clock_ns() - t;
	link_counters(p, &c);
	/* 10 rounds of 4 at a time, 2 ms each; the server's card needs 0.4 ms a
	 * slot, so 1.6 ms for four: 40 * 0.41 in all, and no less. */
	OK(t >= 16400000, "%s not faster than the card: %.1f ms", tp,
	    (double)t / 1e6);
	EQ_INT(c.wire_slots, 40, "%s answers came through ours", tp);
	OK(link_wire_say(&c, text) != NULL, "%s", text);
	link_port_close(p);
	rig_stop(s);
}

int
main(void)
{
	test_times();
	test_gone();
	rig_enter();
	test_pairs("shm:");
	test_pairs("tcp:");
	OK(rig_leave() == 0, "nothing is left behind");
	return tap_done();
}
