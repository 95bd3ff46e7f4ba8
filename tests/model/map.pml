/*
 * map.pml - one map takes the turn of another, for every order of events: a
 * router, two expert servers, two front ends, one expert that is moved from
 * server 0 to server 1 (and back).
 *
 * As in rt_turn.c: aim (the server that is to have the expert is told to load
 * it), publish (it says that it has; front ends are told), use (a front end
 * says which version it goes by; a server keeps the expert for as long as any
 * version that may be in use gives it to it).  As in ex_hold.c and resid.c: a
 * server that is no longer to have an expert unloads it when no row waits for
 * it.  As in at_disp.c: a call names the map that it was sent by only for the
 * record; an answer NOT_HERE, or the end of a server, sends the route again to
 * whoever the front end's map names, and an answer is counted once.
 *
 * At any time a server may die and come back empty (the router tells it again
 * what to have), and the router may be started anew: as in rt_core.c it then
 * knows the newest published version only, has servers keep what they hold, and
 * waits for every front end to say its version before anything is given up.
 *
 * Checked: a route is refused (NOT_HERE) only by a server that has died since,
 * and goes elsewhere then; no expert is unloaded while a route waits for it; every
 * route is counted exactly once; nothing gets stuck.
 *
 * -DEARLY: the old copy is given up when the map is published instead of after
 * the last use; -DFORGET: a router that is started anew does not have servers
 * keep what they hold.  With either a front end that has the old map finds the
 * expert nowhere: the checker must find the refused route.
 *
 * tests/e2e/model.bats checks all three.  -DNROUTE=2 -DNVERSION=3: two routes
 * of each front end, and a way back (3.2 million states).
 */
#define NSERVER	2
#define NFRONT	2
#ifndef NVERSION
#define NVERSION	2	/* on server 0, on 1, on 0 again */
#endif
#ifndef NROUTE
#define NROUTE	1		/* of each front end */
#endif
#define HOME(v)	(((v) + 1) % 2)		/* the server of version v */

/* the router */
byte now = 1;			/* published */
byte next;			/* being loaded; 0: none */
byte first = 1;			/* the oldest version that may be in use */
byte uses[NFRONT];		/* what each front end said; 0: nothing */
bool keep[NSERVER];		/* held at the start of the router */
bool up = true;
byte restarts = 1;		/* how often it may still start anew */

/* expert servers */
bool want[NSERVER];		/* as the router told last */
bool has[NSERVER];
bool alive[NSERVER];
byte queued[NSERVER];		/* routes that wait there, a bit for each front
				 * end */
byte deaths = 1;		/* how many there may still be */

/* front ends */
byte ver[NFRONT];		/* the map that it goes by */
byte told[NFRONT];		/* a newer map on its way; 0: none */
byte said[NFRONT];		/* on its way to the router; 0: nothing */
byte out[NFRONT];		/* the route's server + 1; 0: none */
bool answered[NFRONT];		/* an answer is on its way */
byte left[NFRONT];		/* routes still to be counted */
byte counted[NFRONT];

#define BIT(f)	(1 << (f))

/* Does version v give the expert to s, and is it in use, or next? */
#define GIVES(s, v)	(HOME(v) == (s) && ((first <= v && v <= now) || v == next))
#define WANTED(s)	(GIVES(s, 1) || GIVES(s, 2) || GIVES(s, 3) || keep[s])
#define LEAST		(uses[0] < uses[1] -> uses[0] : uses[1])

active proctype router()
{
end:	do
	:: atomic { up && next == 0 && now < NVERSION -> next = now + 1 }
	/* WANT is a message: servers follow one by one. */
	:: atomic { up && alive[0] && want[0] != WANTED(0) -> want[0] = WANTED(0) }
	:: atomic { up && alive[1] && want[1] != WANTED(1) -> want[1] = WANTED(1) }
	:: atomic { up && next != 0 && alive[HOME(next)] && has[HOME(next)] &&
	    want[HOME(next)] ->
		now = next;
		next = 0;
#ifdef EARLY
		first = now;
#endif
		told[0] = now;
		told[1] = now }
	:: atomic { up && said[0] != 0 -> uses[0] = said[0]; said[0] = 0 }
	:: atomic { up && said[1] != 0 -> uses[1] = said[1]; said[1] = 0 }
	:: atomic { up && LEAST > first -> first = LEAST }
	:: atomic { up && (keep[0] || keep[1]) && LEAST == now && next == 0 ->
		keep[0] = false;
		keep[1] = false }
	:: atomic { up && restarts > 0 ->
		restarts--;
		up = false;
		next = 0;
		said[0] = 0;
		said[1] = 0 }
	/* It has the snapshot of the map; front ends get it when they are connected
	 * again, and tell their version. */
	:: atomic { !up ->
		up = true;
		first = now;
		uses[0] = 0;
		uses[1] = 0;
#ifndef FORGET
		keep[0] = has[0];
		keep[1] = has[1];
#endif
		told[0] = now;
		told[1] = now }
	od
}

/* Calls to s will not be answered: their routes are to be sent again. */
#define FORGET_CALLS(s) \
	if \
	:: out[0] == s + 1 -> out[0] = 0; answered[0] = false \
	:: else \
	fi; \
	if \
	:: out[1] == s + 1 -> out[1] = 0; answered[1] = false \
	:: else \
	fi

proctype server(byte s)
{
end:	do
	:: atomic { alive[s] && want[s] && !has[s] -> has[s] = true }
	:: atomic { alive[s] && !want[s] && has[s] && queued[s] == 0 ->
		has[s] = false }
	/* NOT_HERE: sent while it was to be loaded again after a death. */
	:: atomic { alive[s] && queued[s] != 0 && !has[s] && !want[s] ->
		assert(deaths == 0);
		FORGET_CALLS(s);
		queued[s] = 0 }
	/* One pass over a queued row. */
	:: atomic { alive[s] && (queued[s] & 1) != 0 && has[s] ->
		queued[s] = queued[s] & 2;
		answered[0] = true }
	:: atomic { alive[s] && (queued[s] & 2) != 0 && has[s] ->
		queued[s] = queued[s] & 1;
		answered[1] = true }
	:: atomic { alive[s] && deaths > 0 ->
		deaths--;
		alive[s] = false;
		has[s] = false;
		want[s] = false;
		queued[s] = 0;
		/* Answers that were on their way, too. */
		FORGET_CALLS(s) }
	:: atomic { !alive[s] -> alive[s] = true }
	od
}

proctype front(byte f)
{
	byte s;

	do
	:: atomic { told[f] != 0 ->
		if
		:: told[f] > ver[f] -> ver[f] = told[f]
		:: else
		fi;
		told[f] = 0 }
	/* It is only said when no route is out by an older map. */
	:: atomic { said[f] == 0 && up && out[f] == 0 && uses[f] != ver[f] ->
		said[f] = ver[f] }
	:: atomic { out[f] == 0 && left[f] > 0 && alive[HOME(ver[f])] ->
		s = HOME(ver[f]);
		/* A server takes rows for an expert that it has, or is loading
		 * (they wait then). */
		if
		:: has[s] || want[s] ->
			out[f] = s + 1;
			queued[s] = queued[s] | BIT(f)
		:: else ->
			assert(deaths == 0)
		fi;
		s = 0 }
	:: atomic { answered[f] ->
		answered[f] = false;
		assert(out[f] != 0 && left[f] > 0);
		out[f] = 0;
		left[f]--;
		counted[f]++ }
	:: left[f] == 0 -> break
	od;
	assert(counted[f] == NROUTE)
}

init {
	atomic {
		want[0] = true;
		has[0] = true;
		alive[0] = true;
		alive[1] = true;
		ver[0] = 1;
		ver[1] = 1;
		uses[0] = 1;
		uses[1] = 1;
		left[0] = NROUTE;
		left[1] = NROUTE;
		run server(0);
		run server(1);
		run front(0);
		run front(1)
	}
}
