/*
 * link_fault.c - F3.  The ring that does harm, in front of a client's true
 * ring.  Data thread, but for what link_fault.h says.
 *
 *     put   -> queue of requests -> true ring's put
 *     poll  <- queue of answers  <- true ring's poll
 *
 * A queue holds slot numbers and when each is due.  The bytes stay where they
 * are: a request in the program's slot until it is due, an answer in the
 * program's slot from its arrival on, because the program looks there only
 * after poll has named it.  The port sleeps on an epoll of our own, which has
 * the true ring's descriptor and a timer for what is due.
 */
#include "link_fault.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "link_fault_live.h"
#include "link_tp.h"
#include "mem.h"
#include "rng.h"

#define REORDER_NS	20000000u	/* an answer is held so long at most */
#define AGAIN_NS	20000000u	/* a second copy waits so long for a
					 * slot that is in flight again */
#define N_ROUTE_AT	(SLOT_HEAD + 36)	/* slot.c's header */
#define BYTES_AT	(SLOT_HEAD + 44)

struct link_fault {
	struct link_fault_live *live;
	struct link_faults n;	/* data thread; n.slots numbers the draws */
};

/* What is drawn; numbers, so that a seed means the same for ever. */
enum draw {
	D_DROP = 1, D_JITTER, D_REORDER, D_DUPLICATE, D_CORRUPT,	/* + part */
	D_WHERE = D_CORRUPT + LINK_PARTS			/* + part */
};

struct late {			/* a slot on its way */
	uint8_t slot;
	bool held;		/* until another overtakes it */
	uint32_t bytes;		/* from SLOT_HEAD on */
	uint64_t nth;		/* of its way, for the draws */
	uint64_t due_ns;
};

struct lane {
	struct late q[LINK_DEPTH_MAX];	/* by arrival */
	int n;
	uint64_t last_ns;	/* when the last one is due */
	uint64_t busy_ns;	/* throttle: when the wire is free */
};

struct fault_ring {
	struct link_ring r;	/* first: ops cast */
	struct link_ring *in;	/* the true ring, owned */
	struct link_fault *f;
	size_t ring_bytes;	/* of req, and of ans */
	struct lane lane[2];
	uint64_t n_slot;	/* of this connection, both ways */
	int timer;
	bool armed;		/* epoll looks for room to write */
	/* a second copy of an answer */
	uint8_t *again;
	int again_slot;		/* -1: none */
	uint32_t again_bytes;
	uint64_t again_until_ns;
};

/* ---- of a pair ---- */

struct link_fault *
link_fault_new(const struct link_fault_spec *s, struct err *err)
{
	struct link_fault_live *live = link_fault_live_new(s, err);
	struct link_fault *f;

	if (live == NULL)
		return NULL;
	f = mem_zalloc(sizeof(*f));
	f->live = live;
	return f;
}

void
link_fault_free(struct link_fault *f)
{
	if (f != NULL)
		link_fault_live_free(f->live);
	mem_free(f);
}

/* What f does now, NULL: nothing. */
static const struct link_fault_spec *
spec(const struct link_fault *f, uint64_t now_ns)
{
	const struct link_fault_use *u = link_fault_live_now(f->live, now_ns);

	return link_fault_live_in_force(u, now_ns) ? &u->s : NULL;
}

bool
link_fault_silent(const struct link_fault *f, enum link_fault_way w,
    uint64_t now_ns)
{
	const struct link_fault_spec *s = f != NULL ? spec(f, now_ns) : NULL;

	return s != NULL && s->silent[w];
}

uint64_t
link_fault_cut_ns(const struct link_fault *f, uint64_t up_ns)
{
	return f == NULL ? UINT64_MAX : link_fault_live_cut_ns(
	    link_fault_live_now(f->live, up_ns), up_ns);
}

void
link_fault_count(const struct link_fault *f, struct link_faults *out)
{
	if (f != NULL)
		*out = f->n;
	else
		memset(out, 0, sizeof(*out));
}

/* ---- draws ---- */

static uint64_t
key_of(enum draw d, enum link_fault_way w)
{
	return (uint64_t)d << 1 | w;
}

/* Does what has probability p by s happen to the nth slot of way w? */
static bool
chance(const struct link_fault_spec *s, double p, enum draw d,
    enum link_fault_way w, uint64_t nth)
{
	return p > 0 && s->way[w] && rng_unit(s->seed, key_of(d, w), nth) < p;
}

/* When it arrives: after the one before it, whatever the jitter. */
static uint64_t
due(struct fault_ring *fr, enum link_fault_way w, uint64_t nth, uint32_t bytes)
{
	struct lane *l = &fr->lane[w];
	uint64_t now = clock_ns(), at = now;
	const struct link_fault_spec *s = spec(fr->f, now);

	if (s == NULL || !s->way[w])
		return l->last_ns > now ? l->last_ns : now;
	if (s->bytes_s != 0) {
		if (l->busy_ns < now)
			l->busy_ns = now;
		l->busy_ns += (uint64_t)((double)bytes * 1e9 /
		    (double)s->bytes_s);
		at = l->busy_ns;
	}
	at += s->delay_ns + (uint64_t)((double)s->jitter_ns *
	    rng_unit(s->seed, key_of(D_JITTER, w), nth));
	if (at < l->last_ns)
		at = l->last_ns;
	l->last_ns = at;
	fr->f->n.delayed += at > now;
	return at;
}

/* Change one byte of slot[from..from + n). */
static void
spoil(struct fault_ring *fr, uint8_t *slot, uint32_t from, uint32_t n,
    uint64_t draw)
{
	if (n == 0)
		return;
	slot[from + draw % n] ^= (uint8_t)(1 + (draw >> 32) % 255);
	fr->f->n.corrupted++;
}

/* bytes of the slot are there, from SLOT_HEAD on. */
static void
corrupt(struct fault_ring *fr, uint8_t *slot, enum link_fault_way w,
    uint64_t nth, uint32_t bytes)
{
	const struct link_fault_spec *s = spec(fr->f, clock_ns());
	uint32_t end = SLOT_HEAD + bytes;
	uint32_t rows = SLOT_BODY + 8u * buf_le16(slot + N_ROUTE_AT);
	uint32_t at[LINK_PARTS + 1] = { SLOT_HEAD, SLOT_BODY, 0, end };
	int i;

	if (s == NULL)
		return;
	/* Padding between routes and rows counts as routes. */
	rows = (rows + 15) & ~15u;
	at[LINK_PAYLOAD] = rows < end ? rows : end;
	for (i = 0; i < LINK_PARTS; i++)
		if (chance(s, s->corrupt[i], (enum draw)(D_CORRUPT + i), w,
		    nth))
			spoil(fr, slot, at[i], at[i + 1] - at[i],
			    rng_at(s->seed, key_of((enum draw)(D_WHERE + i),
			    w), nth));
}

/* ---- lanes ---- */

static void
push(struct lane *l, struct late late)
{
	BUG_ON(l->n == LINK_DEPTH_MAX);
	l->q[l->n++] = late;
}

static struct late
pull(struct lane *l, int i)
{
	struct late late = l->q[i];

	l->n--;
	memmove(&l->q[i], &l->q[i + 1],
	    (size_t)(l->n - i) * sizeof(l->q[0]));
	return late;
}

/* The first that is due, -1: none is. */
static int
first_due(const struct lane *l, uint64_t now_ns)
{
	int i, best = -1;

	for (i = 0; i < l->n; i++)
		if (l->q[i].due_ns <= now_ns &&
		    (best < 0 || l->q[i].due_ns < l->q[best].due_ns))
			best = i;
	return best;
}

/* ---- requests ---- */

/* One more slot has gone over this connection. */
static int
count_slot(struct fault_ring *fr, struct err *err)
{
	const struct link_fault_spec *s = spec(fr->f, clock_ns());

	fr->n_slot++;
	if (s == NULL || s->cut_slots == 0 || fr->n_slot < s->cut_slots)
		return 0;
	fr->f->n.cut++;
	(void)shutdown(fr->in->fd, SHUT_RDWR);
	return err_set(err, ERR_TEMP, "fault: cut after %llu slots",
	    (unsigned long long)fr->n_slot);
}

/* Give a request that is due to the true ring. */
static int
deliver(struct fault_ring *fr, struct late l, struct err *err)
{
	struct link_ring *in = fr->in;
	uint8_t *to = link_ring_req(in, l.slot);
	struct link_slot *s = &in->slot[l.slot];
	const struct link_fault_spec *now;

	memcpy(to + SLOT_HEAD, link_ring_req(&fr->r, l.slot) + SLOT_HEAD,
	    l.bytes);
	corrupt(fr, to, LINK_OUT, l.nth, l.bytes);
	s->state = LINK_S_FLIGHT;
	s->seq = fr->r.slot[l.slot].seq;
	if (in->tp->put(in, l.slot, l.bytes, err) != 0)
		return -1;
	now = spec(fr->f, clock_ns());
	if (now != NULL && chance(now, now->duplicate, D_DUPLICATE, LINK_OUT,
	    l.nth) && !in->want_out) {	/* else the first copy has not left yet */
		fr->f->n.duplicated++;
		if (in->tp->put(in, l.slot, l.bytes, err) != 0)
			return -1;
	}
	return count_slot(fr, err);
}

static int
send_due(struct fault_ring *fr, struct err *err)
{
	struct lane *l = &fr->lane[LINK_OUT];
	int i;

	while (l->n > 0 && (i = first_due(l, clock_ns())) >= 0)
		if (deliver(fr, pull(l, i), err) != 0)
			return -1;
	return 0;
}

/* Does this slot never arrive? */
static bool
lost(struct link_fault *f, enum link_fault_way w, uint64_t nth)
{
	const struct link_fault_spec *s = spec(f, clock_ns());

	if (s != NULL && s->silent[w]) {
		f->n.silenced++;
		return true;
	}
	if (s != NULL && chance(s, s->drop, D_DROP, w, nth)) {
		f->n.dropped++;
		return true;
	}
	return false;
}

static int
fault_put(struct link_ring *r, int i, uint32_t bytes, struct err *err)
{
	struct fault_ring *fr = (struct fault_ring *)r;
	uint64_t nth = fr->f->n.slots[LINK_OUT]++;

	if (lost(fr->f, LINK_OUT, nth))
		return 0;
	push(&fr->lane[LINK_OUT], (struct late){ (uint8_t)i, false, bytes, nth,
	    due(fr, LINK_OUT, nth, bytes) });
	return send_due(fr, err);
}

/* ---- answers ---- */

/* Keep a second copy, if none is kept. */
static void
copy_again(struct fault_ring *fr, int i, uint32_t bytes)
{
	fr->f->n.duplicated++;
	if (fr->again_slot >= 0)
		return;
	memcpy(fr->again + SLOT_HEAD, link_ring_ans(&fr->r, i) + SLOT_HEAD,
	    bytes);
	fr->again_slot = i;
	fr->again_bytes = bytes;
	fr->again_until_ns = clock_ns() + AGAIN_NS;
}

/* Slot i of the true ring has an answer: into the program's memory with it. */
static void
arrive(struct fault_ring *fr, int i)
{
	struct link_ring *in = fr->in;
	struct link_fault *f = fr->f;
	uint8_t *from = link_ring_ans(in, i), *to = link_ring_ans(&fr->r, i);
	uint64_t nth = f->n.slots[LINK_IN]++;
	uint32_t body = buf_le32(from + BYTES_AT);
	struct late l = { .slot = (uint8_t)i, .nth = nth };
	const struct link_fault_spec *s;

	in->slot[i].state = LINK_S_FREE;
	if (lost(f, LINK_IN, nth))
		return;
	if (body > in->slot_bytes - SLOT_BODY)	/* hostile: link_ring.c says */
		body = in->slot_bytes - SLOT_BODY;
	l.bytes = SLOT_BODY - SLOT_HEAD + body;
	memcpy(to + SLOT_HEAD, from + SLOT_HEAD, l.bytes);
	corrupt(fr, to, LINK_IN, nth, l.bytes);
	fr->r.slot[i].got = in->slot[i].got;
	s = spec(f, clock_ns());
	if (s != NULL && chance(s, s->duplicate, D_DUPLICATE, LINK_IN, nth))
		copy_again(fr, i, l.bytes);
	l.held = s != NULL && chance(s, s->reorder, D_REORDER, LINK_IN, nth);
	l.due_ns = due(fr, LINK_IN, nth, l.bytes);
	if (l.held) {
		l.due_ns += REORDER_NS;
		f->n.reordered++;
	}
	push(&fr->lane[LINK_IN], l);
}

/* All that the true ring has. */
static int
receive(struct fault_ring *fr, struct err *err)
{
	struct link_ring *in = fr->in;
	int i;

	while ((i = in->tp->poll(in, err)) >= 0) {
		arrive(fr, i);
		if (count_slot(fr, err) != 0)
			return -1;
	}
	fr->r.stale = in->stale;
	return i == LINK_IDLE ? 0 : -1;
}

/* The answer i goes to the program; who was held until then may follow. */
static int
hand_over(struct fault_ring *fr, int i)
{
	struct lane *l = &fr->lane[LINK_IN];
	struct late late = pull(l, i);
	int k;

	for (k = 0; k < l->n; k++) {
		if (l->q[k].held && !late.held) {
			l->q[k].held = false;
			l->q[k].due_ns = 0;
		}
	}
	fr->r.slot[late.slot].state = LINK_S_GOT;
	return late.slot;
}

/* May the second copy be taken for an answer now?  Only another request in
 * that slot waits for one. */
static bool
again_due(const struct fault_ring *fr, uint64_t now_ns)
{
	int i = fr->again_slot;

	return i >= 0 && now_ns < fr->again_until_ns &&
	    fr->r.slot[i].state == LINK_S_FLIGHT &&
	    fr->r.slot[i].seq != buf_le64(fr->again + SLOT_HEAD + 16);
}

/* The second copy, before the true answer gets there. */
static int
take_again(struct fault_ring *fr)
{
	int i = fr->again_slot;

	fr->again_slot = -1;
	memcpy(link_ring_ans(&fr->r, i) + SLOT_HEAD, fr->again + SLOT_HEAD,
	    fr->again_bytes);
	fr->r.slot[i].got = 0;
	fr->r.slot[i].state = LINK_S_GOT;
	return i;
}

static int
fault_poll(struct link_ring *r, struct err *err)
{
	struct fault_ring *fr = (struct fault_ring *)r;
	uint64_t now = clock_ns();
	int i;

	if (again_due(fr, now))
		return take_again(fr);
	if (now >= fr->again_until_ns)
		fr->again_slot = -1;
	if (send_due(fr, err) != 0 || receive(fr, err) != 0)
		return LINK_BROKEN;
	i = first_due(&fr->lane[LINK_IN], clock_ns());
	return i >= 0 ? hand_over(fr, i) : LINK_IDLE;
}

static bool
fault_peek(struct link_ring *r)
{
	struct fault_ring *fr = (struct fault_ring *)r;
	uint64_t now = clock_ns();

	return first_due(&fr->lane[LINK_OUT], now) >= 0 ||
	    first_due(&fr->lane[LINK_IN], now) >= 0 || again_due(fr, now) ||
	    fr->in->tp->peek(fr->in);
}

/* ---- sleeping ---- */

static uint64_t
next_due(const struct fault_ring *fr)
{
	uint64_t first = UINT64_MAX;
	int w, i;

	for (w = 0; w < 2; w++)
		for (i = 0; i < fr->lane[w].n; i++)
			if (fr->lane[w].q[i].due_ns < first)
				first = fr->lane[w].q[i].due_ns;
	return first;
}

static void
fault_doze(struct link_ring *r)
{
	struct fault_ring *fr = (struct fault_ring *)r;
	struct epoll_event ev = { .events = EPOLLIN };
	struct itimerspec t = { { 0, 0 }, { 0, 0 } };
	uint64_t at = next_due(fr), left;

	if (fr->in->want_out != fr->armed) {
		fr->armed = fr->in->want_out;
		ev.events |= fr->armed ? EPOLLOUT : 0u;
		ev.data.ptr = fr->in;
		(void)epoll_ctl(r->fd, EPOLL_CTL_MOD, fr->in->fd, &ev);
	}
	if (at != UINT64_MAX) {
		left = clock_left(at) + 1;	/* 0 would disarm it */
		t.it_value.tv_sec = (time_t)(left / 1000000000u);
		t.it_value.tv_nsec = (long)(left % 1000000000u);
	}
	(void)timerfd_settime(fr->timer, 0, &t, NULL);
	fr->in->tp->doze(fr->in);
}

static void
fault_rouse(struct link_ring *r, bool readable)
{
	struct fault_ring *fr = (struct fault_ring *)r;
	struct epoll_event ev[2];
	bool in = false;
	uint64_t junk;
	int i, n = 0;

	if (readable)
		n = epoll_wait(r->fd, ev, 2, 0);
	for (i = 0; i < n; i++) {
		if (ev[i].data.ptr == fr->in)
			in = (ev[i].events & ~(uint32_t)EPOLLOUT) != 0;
		else
			(void)!read(fr->timer, &junk, sizeof(junk));
	}
	fr->in->tp->rouse(fr->in, in);
}

/* ---- making and closing ---- */

/* The true ring is closed unless it was never ours. */
static void
fault_close(struct link_ring *r)
{
	struct fault_ring *fr = (struct fault_ring *)r;

	if (r->fd >= 0)
		close(r->fd);
	if (fr->timer >= 0)
		close(fr->timer);
	if (r->req != NULL)
		mem_unmap(r->req, 2 * fr->ring_bytes);
	if (fr->in != NULL)
		fr->in->tp->close(fr->in);
	mem_free(fr->again);
	mem_free(fr);
}

static const struct link_tp link_fault_tp = {
	.name = "fault",
	.crc_body = true,
	.put = fault_put,
	.poll = fault_poll,
	.peek = fault_peek,
	.doze = fault_doze,
	.rouse = fault_rouse,
	.close = fault_close,
};

static int
open_fds(struct fault_ring *fr, struct link_ring *in)
{
	struct epoll_event ev = { .events = EPOLLIN };

	fr->r.fd = epoll_create1(EPOLL_CLOEXEC);
	fr->timer = timerfd_create(CLOCK_MONOTONIC,
	    TFD_NONBLOCK | TFD_CLOEXEC);
	if (fr->r.fd < 0 || fr->timer < 0 ||
	    epoll_ctl(fr->r.fd, EPOLL_CTL_ADD, fr->timer, &ev) != 0)
		return -1;
	ev.data.ptr = in;
	return epoll_ctl(fr->r.fd, EPOLL_CTL_ADD, in->fd, &ev);
}

struct link_ring *
link_fault_wrap(struct link_fault *f, struct link_ring *in, struct err *err)
{
	struct fault_ring *fr = mem_zalloc(sizeof(*fr));
	struct link_ring *r = &fr->r;

	r->tp = &link_fault_tp;
	r->epoch = in->epoch;
	r->depth = in->depth;
	r->slot_bytes = in->slot_bytes;
	r->next = in->next;
	fr->f = f;
	fr->again_slot = -1;
	fr->ring_bytes = (size_t)r->depth * r->slot_bytes;
	fr->again = mem_alloc(r->slot_bytes);
	r->req = mem_map(2 * fr->ring_bytes);
	if (open_fds(fr, in) != 0 || r->req == NULL) {
		err_sys(err, ERR_TEMP, errno, "fault: the ring in front");
		fault_close(r);
		return NULL;
	}
	r->ans = r->req + fr->ring_bytes;
	fr->in = in;
	return r;
}
