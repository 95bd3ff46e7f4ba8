/*
 * slot.pml - the slot protocol, for every order of events: one front end, two
 * expert servers that both have the expert, requests that are sent again to
 * the other server when a pair is given up.
 *
 * As in link_ring.c: a slot's rows are written first, its commit word (epoch
 * and sequence number) last; a reader takes a slot whose word is that of its
 * own epoch and due.  As in at_server.c: giving a pair up forgets its calls
 * before their routes are sent again.  A server of an old epoch may go on
 * writing at any time.
 *
 * Checked: an answer is counted once, and its rows are those of its request;
 * as long as a pair can be rebuilt nobody is stuck, and in the end every
 * request is counted.
 *
 * Every epoch has new memory.  With -DREUSE it has the old one: then late rows
 * land on answers of the new epoch, after the word that says that they are
 * complete, and the check of the epoch does not help.  That is why slots are
 * not used again; the checker must find it.
 *
 * tests/e2e/model.bats checks both.  -DFULL: both pairs are rebuilt (4.4 million
 * states instead of some 100,000).
 */
#define NREQ	2
#define NSERVER	2
#define DEPTH	2
#define NEPOCH	2		/* incarnations of a pair at most */
#ifdef FULL
#define LAST(s)	NEPOCH		/* of both pairs */
#else
#define LAST(s)	(NEPOCH - (s))
#endif

#ifdef REUSE
#define MEM(e)	0
#else
#define MEM(e)	((e) - 1)
#endif
#define WORD(e, seq)	((e) * 16 + (seq))

typedef incarnation {		/* both rings of a pair */
	byte req_word[DEPTH];
	byte req_id[DEPTH];
	byte ans_word[DEPTH];
	byte ans_id[DEPTH];	/* in the header */
	byte ans_row[DEPTH];	/* the rows: whose they are */
};

typedef pair {
	incarnation mem[NEPOCH];
	byte epoch;		/* 0: never made */
	bool up;		/* as the front end sees it */
	byte next;		/* sequence number to send */
	byte seq[DEPTH];	/* of what is in flight; 0: the slot is free */
	byte req[DEPTH];	/* its request */
};

pair p[NSERVER];
bool out[NREQ];			/* on its way to some server, or counted */
byte counted[NREQ];
byte n_counted;

#define CUR(s)	p[s].mem[MEM(p[s].epoch)]

/* What the front end can do, each when it can be done. */
#define SEND(s, i, q) \
	:: atomic { n_counted < NREQ && p[s].up && p[s].seq[i] == 0 && \
	    !out[q] && counted[q] == 0 -> \
		out[q] = true; \
		p[s].req[i] = q; \
		p[s].seq[i] = p[s].next; \
		p[s].next++; \
		CUR(s).req_id[i] = q; \
		CUR(s).req_word[i] = WORD(p[s].epoch, p[s].seq[i]) }

#define TAKE(s, i) \
	:: atomic { p[s].up && p[s].seq[i] != 0 && \
	    CUR(s).ans_word[i] == WORD(p[s].epoch, p[s].seq[i]) -> \
		assert(CUR(s).ans_id[i] == p[s].req[i]); \
		assert(CUR(s).ans_row[i] == p[s].req[i]); \
		assert(counted[p[s].req[i]] == 0); \
		counted[p[s].req[i]]++; \
		n_counted++; \
		p[s].seq[i] = 0 }

/* A deadline passed, or the server died: all calls of s are forgotten. */
#define GIVE_UP(s) \
	:: atomic { n_counted < NREQ && p[s].up && p[s].epoch < LAST(s) -> \
		p[s].up = false; \
		out[p[s].req[0]] = out[p[s].req[0]] && p[s].seq[0] == 0; \
		out[p[s].req[1]] = out[p[s].req[1]] && p[s].seq[1] == 0; \
		p[s].seq[0] = 0; \
		p[s].seq[1] = 0 }

/* The acceptor makes a new epoch. */
#define RENEW(s) \
	:: atomic { n_counted < NREQ && !p[s].up && p[s].epoch < LAST(s) -> \
		p[s].epoch++; \
		p[s].next = 1; \
		p[s].up = true }

active proctype front_end()
{
	do
	SEND(0, 0, 0) SEND(0, 0, 1) SEND(0, 1, 0) SEND(0, 1, 1)
	SEND(1, 0, 0) SEND(1, 0, 1) SEND(1, 1, 0) SEND(1, 1, 1)
	TAKE(0, 0) TAKE(0, 1) TAKE(1, 0) TAKE(1, 1)
	GIVE_UP(0) GIVE_UP(1)
	RENEW(0) RENEW(1)
	:: n_counted == NREQ -> break
	od
}

#define ANSWER(i) \
	:: atomic { p[s].mem[MEM(e)].req_word[i] / 16 == e && \
	    p[s].mem[MEM(e)].req_word[i] != seen[i] -> \
		seen[i] = p[s].mem[MEM(e)].req_word[i]; \
		q = p[s].mem[MEM(e)].req_id[i]; \
		p[s].mem[MEM(e)].ans_id[i] = q }; \
		p[s].mem[MEM(e)].ans_row[i] = q; \
		p[s].mem[MEM(e)].ans_word[i] = seen[i]

/*
 * Server s in its epoch e: every incarnation is a process of its own, so that
 * an old one may be at any step, or never come to it.
 */
proctype server(byte s; byte e)
{
	byte q;
	byte seen[DEPTH];

end:	do
	ANSWER(0)
	ANSWER(1)
	od
}

init {
	byte s, e;

	atomic {
		s = 0;
		do
		:: s < NSERVER ->
			e = 1;
			do
			:: e <= LAST(s) -> run server(s, e); e++
			:: else -> break
			od;
			s++
		:: else -> break
		od
	}
}
