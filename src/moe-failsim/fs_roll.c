/* fs_roll - see fs_steps.h: a rolling restart.  Each member in turn is asked to
 * leave, started again when it has left, and is done when the router says that
 * it serves (a router or a door: when it has run for a while). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fs_steps.h"

#define AWHILE_NS	1000000000u
#define LONG_NS		60000000000u

int
fs_roll_begin(struct fs_steps *s, const struct fs_step *step,
    const struct fs_procs *all)
{
	size_t i;
	int n = 0;

	for (i = 0; i < all->n; i++) {
		struct fs_turn t = { .step = step, .state = FS_WAITS };

		/* Clients of a door that leaves have to come back, which is
		 * not what is drilled here, unless somebody asks for it. */
		if (!all->p[i].alive || !fs_steps_matches(step->who,
		    &all->p[i]) || (strcmp(step->who, "any") == 0 &&
		    strcmp(all->p[i].role, "front") == 0))
			continue;
		snprintf(t.id, sizeof(t.id), "%s", all->p[i].id);
		VEC_PUSH(&s->turn, t);
		s->n_planned++;
		n++;
	}
	return n;
}

void
fs_roll_child(struct fs_steps *s, pid_t pid)
{
	if (s->turn.n > 0 && s->turn.p[0].asks == pid)
		s->turn.p[0].asks = 0;
}

static char *
answer_file(const struct fs_steps *s)
{
	return mem_printf("%s/.failsim-status", s->dir);
}

/* Start to ask the router; its answer goes to a file. */
static void
ask(struct fs_steps *s, struct fs_turn *t)
{
	char *file = answer_file(s);
	char *text = mem_printf("%s status -f %s/cluster.conf -t 500ms >%s 2>&1",
	    s->route, s->dir, file);
	struct err err = ERR_INIT;

	if (fs_procs_command(s->dir, text, &t->asks, &err) != 0)
		t->asks = 0;
	mem_free(text);
	mem_free(file);
}

static bool
is_back(struct fs_steps *s, const struct fs_proc *p, struct fs_turn *t)
{
	char *file;
	bool yes;

	if (strcmp(p->role, "expertd") != 0 && strcmp(p->role, "attnd") != 0)
		return clock_left(t->since_ns + AWHILE_NS) == 0;
	if (t->asks != 0)
		return false;
	file = answer_file(s);
	yes = fs_procs_serves(file, p);
	unlink(file);
	mem_free(file);
	if (!yes)
		ask(s, t);
	return yes;
}

static void
say(struct fs_steps *s, const struct fs_turn *t, const char *event,
    const char *kind)
{
	char detail[80];

	snprintf(detail, sizeof(detail), "fault=%d line=%d", t->fault,
	    t->step->line);
	fs_load_event(s->load, t->id, event, kind, detail);
}

static void
set(struct fs_turn *t, int state)
{
	t->state = state;
	t->since_ns = clock_ns();
}

/* True: this member's turn is over. */
static bool
go_on(struct fs_steps *s, struct fs_turn *t, const struct fs_proc *p)
{
	struct err err = ERR_INIT;

	switch (t->state) {
	case FS_WAITS:
		if (!p->alive || kill(p->pid, SIGTERM) != 0)
			return false;
		t->fault = fs_load_fault(s->load, "roll", true);
		say(s, t, "roll", "roll");
		s->n_executed++;
		set(t, FS_LEAVES);
		return false;
	case FS_LEAVES:
		if (p->alive)
			return false;
		if (fs_procs_start(s->dir, t->id, &err) != 0)
			return false;
		say(s, t, "restart", "undo");
		set(t, FS_COMES);
		return false;
	default:
		if (!p->alive || !is_back(s, p, t))
			return false;
		fs_load_fault_end(s->load, t->fault);
		say(s, t, "back", NULL);
		return true;
	}
}

void
fs_roll_tend(struct fs_steps *s)
{
	struct fs_turn *t = s->turn.p;
	struct err err = ERR_INIT;
	const struct fs_proc *p;
	struct fs_procs all;
	bool over = true;

	if (s->turn.n == 0)
		return;
	if (t->since_ns == 0)
		t->since_ns = clock_ns();
	if (clock_left(t->since_ns + LONG_NS) == 0) {
		if (t->fault != 0)
			fs_load_fault_end(s->load, t->fault);
		say(s, t, "missed", "roll");
		s->n_missed++;
	} else if (fs_procs_read(&all, s->dir, &err) == 0) {
		p = fs_procs_find(&all, t->id);
		over = p == NULL || go_on(s, t, p);
		fs_procs_free(&all);
	}
	if (!over)
		return;
	memmove(t, t + 1, --s->turn.n * sizeof(*t));
}
