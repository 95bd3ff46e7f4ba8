/* fs_steps - see fs_steps.h. */
#include "fs_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

/* A step whose member is not there yet waits for it: it may just be starting
 * again. */
#define PATIENCE_NS	10000000000ull
#define LATE_NS		100000000u
#define LINK_LINE	256	/* bytes of a faults file: written in place */

bool
fs_steps_matches(const char *who, const struct fs_proc *p)
{
	if (strcmp(who, p->id) == 0 || strcmp(who, "any") == 0)
		return true;
	if (strcmp(who, "expert") == 0)
		return strcmp(p->role, "expertd") == 0;
	if (strcmp(who, "front") == 0)
		return strcmp(p->role, "attnd") == 0;
	if (strcmp(who, "door") == 0)
		return strcmp(p->role, "front") == 0;
	return strcmp(who, "route") == 0 && strcmp(p->role, "route") == 0;
}

/* Can the step be done to p now? */
static bool
can(const struct fs_steps *s, const struct fs_step *st,
    const struct fs_proc *p)
{
	size_t i;

	if (!fs_steps_matches(st->who, p))
		return false;
	if (st->action == FS_LINK && p->fault_file[0] == '\0')
		return false;
	/* What waits to be undone is not disturbed twice. */
	for (i = 0; i < s->undo.n; i++)
		if (strcmp(s->undo.p[i].id, p->id) == 0)
			return false;
	if (st->action == FS_START)
		return !p->alive;
	/* An operator's word is about expert servers. */
	if (st->action == FS_DEAD && strcmp(p->role, "expertd") != 0)
		return false;
	return p->alive && p->stopped == (st->action == FS_CONT);
}

static const struct fs_proc *
choose(struct fs_steps *s, const struct fs_step *st,
    const struct fs_procs *all)
{
	size_t n = 0, i, pick;

	for (i = 0; i < all->n; i++)
		n += can(s, st, &all->p[i]);
	if (n == 0)
		return NULL;
	pick = n > 1 ? (size_t)rng_below(&s->rng, n) : 0;
	for (i = 0; !can(s, st, &all->p[i]) || pick-- > 0; i++)
		;
	return &all->p[i];
}

static const char *
role_name(const struct fs_proc *p)
{
	if (strcmp(p->role, "expertd") == 0)
		return "expert";
	if (strcmp(p->role, "attnd") == 0)
		return "front";
	return strcmp(p->role, "front") == 0 ? "door" : "route";
}

/* ---- doing ---- */

/* The line is as long as any other, so that no reader sees half of one. */
static int
write_faults(const char *file, const char *text)
{
	char line[LINK_LINE + 1];
	int fd = open(file, O_WRONLY | O_CLOEXEC), rc;

	snprintf(line, sizeof(line), "%-*s\n", LINK_LINE - 1, text);
	if (fd < 0)
		return -1;
	rc = pwrite(fd, line, LINK_LINE, 0) == LINK_LINE ? 0 : -1;
	close(fd);
	return rc;
}

static int
do_signal(enum fs_action a, const struct fs_proc *p)
{
	static const int signo[] = { [FS_KILL] = SIGKILL, [FS_STOP] = SIGSTOP,
	    [FS_CONT] = SIGCONT, [FS_TERM] = SIGTERM };

	return kill(p->pid, signo[a]);
}

static void
note(struct fs_steps *s, const struct fs_step *st, const char *subject,
    const char *kind, int fault, long pid)
{
	char detail[320];

	snprintf(detail, sizeof(detail), "fault=%d line=%d pid=%ld%s%s", fault,
	    st->line, pid, st->action == FS_LINK ? " " : "",
	    st->action == FS_LINK ? st->text : "");
	fs_load_event(s->load, subject, fs_drill_action_name(st->action), kind,
	    detail);
	s->n_executed++;
}

static void
add_undo(struct fs_steps *s, const struct fs_step *st, struct fs_undo u)
{
	u.step = st;
	u.at_ns = clock_ns() + fs_drill_draw(&st->undo_after, &s->rng);
	VEC_PUSH(&s->undo, u);
}

static void
miss(struct fs_steps *s, const struct fs_step *st, const char *why)
{
	char detail[320];

	snprintf(detail, sizeof(detail), "line=%d %.280s", st->line, why);
	fs_load_event(s->load, st->who[0] != '\0' ? st->who : "drill",
	    "missed", fs_drill_action_name(st->action), detail);
	s->n_missed++;
}

/* With a rest, the members of a role fail one at a time. */
static bool
rests(const struct fs_steps *s, const struct fs_step *st,
    const struct fs_procs *all)
{
	if (s->d->rest_ns == 0 || fs_procs_find(all, st->who) != NULL)
		return false;
	return s->undo.n > 0 || clock_left(s->undone_ns + s->d->rest_ns) > 0;
}

/* False: nobody is there whom it could be done to. */
static bool
do_member(struct fs_steps *s, const struct fs_step *st,
    const struct fs_procs *all)
{
	const struct fs_proc *p = rests(s, st, all) ? NULL :
	    choose(s, st, all);
	struct fs_undo u = { .fault = 0 };
	struct err err = ERR_INIT;
	char kind[80];
	int rc;

	if (p == NULL)
		return false;
	snprintf(u.id, sizeof(u.id), "%s", p->id);
	if (st->action == FS_LINK) {
		snprintf(u.file, sizeof(u.file), "%s", p->fault_file);
		rc = write_faults(u.file, st->text);
		snprintf(kind, sizeof(kind), "link-%.*s",
		    (int)strcspn(st->text, "="), st->text);
	} else {
		rc = st->action == FS_START ?
		    fs_procs_start(s->dir, p->id, &err) :
		    st->action == FS_DEAD || st->action == FS_DRAIN ?
		    fs_order_begin(s, st, &u, &err) :
		    do_signal(st->action, p);
		snprintf(kind, sizeof(kind), "%s-%s",
		    fs_drill_action_name(st->action), role_name(p));
	}
	if (rc != 0) {
		miss(s, st, err.code != 0 ? err.text : strerror(errno));
		return true;
	}
	u.fault = fs_load_fault(s->load, kind, u.pid != 0 || (st->undo &&
	    (st->action == FS_STOP || st->action == FS_LINK)));
	note(s, st, p->id, kind, u.fault, (long)p->pid);
	if (st->undo || u.pid != 0)
		add_undo(s, st, u);
	return true;
}

static void
do_load(struct fs_steps *s, const struct fs_step *st)
{
	struct fs_undo u = { .fault = fs_load_fault(s->load, "load",
	    st->undo) };

	s->load->want = (int)(s->d->streams * st->factor + 0.5);
	note(s, st, "load", "load", u.fault, 0);
	if (st->undo)
		add_undo(s, st, u);
}

static void
do_command(struct fs_steps *s, const struct fs_step *st)
{
	struct fs_undo u = { .fault = 0 };
	struct err err = ERR_INIT;

	if (fs_procs_command(s->dir, st->text, &u.pid, &err) != 0) {
		miss(s, st, err.text);
		return;
	}
	u.fault = fs_load_fault(s->load, "do", true);
	note(s, st, st->text, "do", u.fault, (long)u.pid);
	add_undo(s, st, u);
}

static void
do_move(struct fs_steps *s, const struct fs_step *st)
{
	struct fs_undo u = { .fault = 0 };
	struct err err = ERR_INIT;

	if (fs_order_begin(s, st, &u, &err) != 0) {
		miss(s, st, err.text);
		return;
	}
	u.fault = fs_load_fault(s->load, "move", true);
	note(s, st, "map", "move", u.fault, 0);
	add_undo(s, st, u);
}

/* False: it has to wait. */
static bool
act(struct fs_steps *s, const struct fs_step *st)
{
	struct err err = ERR_INIT;
	struct fs_procs all;
	bool did = true;

	if (st->action == FS_LOAD) {
		do_load(s, st);
		return true;
	}
	if (st->action == FS_DO) {
		do_command(s, st);
		return true;
	}
	if (st->action == FS_MOVE) {
		do_move(s, st);
		return true;
	}
	if (fs_procs_read(&all, s->dir, &err) != 0) {
		miss(s, st, err.text);
		return true;
	}
	if (st->action != FS_ROLL)
		did = do_member(s, st, &all);
	else if (fs_roll_begin(s, st, &all) == 0)
		miss(s, st, "nobody runs");
	fs_procs_free(&all);
	return did;
}

/* ---- undoing ---- */

static void
told(struct fs_steps *s, const struct fs_undo *u, const char *subject,
    const char *event, const char *why)
{
	char detail[320];

	snprintf(detail, sizeof(detail), "fault=%d%s%.280s", u->fault,
	    why != NULL ? " " : "", why != NULL ? why : "");
	fs_load_event(s->load, subject, why != NULL ? "missed" : event, "undo",
	    detail);
	s->n_missed += why != NULL;
}

/* A member that was killed may start again, one that stands may go on.  False:
 * not yet (a TERM drains first). */
static bool
undo_member(struct fs_steps *s, const struct fs_undo *u)
{
	bool stop = u->step->action == FS_STOP;
	struct err err = ERR_INIT;
	struct fs_procs all;
	const struct fs_proc *p;
	int rc;

	if (fs_procs_read(&all, s->dir, &err) != 0) {
		told(s, u, u->id, NULL, err.text);
		return true;
	}
	p = fs_procs_find(&all, u->id);
	if (!stop && p != NULL && p->alive) {
		fs_procs_free(&all);
		return false;
	}
	if (stop) {
		fs_load_fault_end(s->load, u->fault);
		rc = p != NULL && p->alive && kill(p->pid, SIGCONT) == 0 ? 0 :
		    err_set(&err, ERR_TEMP, "has gone");
	} else {
		rc = fs_procs_start(s->dir, u->id, &err);
	}
	told(s, u, u->id, stop ? "cont" : "restart", rc != 0 ? err.text : NULL);
	fs_procs_free(&all);
	return true;
}

/* What the command of an order has come to. */
enum order { ORDER_RUNS, ORDER_OVER, ORDER_DONE };

static enum order
order(struct fs_steps *s, struct fs_undo *u)
{
	struct err err = ERR_INIT;
	char why[80] = "";
	int rc = 0;

	if (u->pid < 0)			/* that was seen before */
		return ORDER_DONE;
	if (u->pid > 0)
		return ORDER_RUNS;
	if (u->status != 0)
		snprintf(why, sizeof(why), "wait status %d", u->status);
	else if (u->step->action == FS_MOVE)
		rc = fs_order_go_on(s, u, &err);
	if (rc > 0)
		return ORDER_RUNS;
	if (rc < 0)
		snprintf(why, sizeof(why), "%.79s", err.text);
	fs_load_fault_end(s->load, u->fault);
	u->pid = -1;
	if (why[0] == '\0' && u->step->undo)
		return ORDER_DONE;
	told(s, u, u->id[0] != '\0' ? u->id : "map", "did",
	    why[0] != '\0' ? why : NULL);
	return ORDER_OVER;
}

/* Who was declared dead may live: it goes, so that it comes back as another. */
static void
end_dead(struct fs_steps *s, const struct fs_undo *u)
{
	struct err err = ERR_INIT;
	const struct fs_proc *p;
	struct fs_procs all;

	if (u->step->action != FS_DEAD ||
	    fs_procs_read(&all, s->dir, &err) != 0)
		return;
	p = fs_procs_find(&all, u->id);
	if (p != NULL && p->alive)
		(void)kill(p->pid, SIGKILL);
	fs_procs_free(&all);
}

static bool
undo(struct fs_steps *s, struct fs_undo *u)
{
	char why[40];
	enum order o;

	switch (u->step->action) {
	case FS_LINK:
		fs_load_fault_end(s->load, u->fault);
		told(s, u, u->id, "healed", write_faults(u->file, "") == 0 ?
		    NULL : strerror(errno));
		return true;
	case FS_LOAD:
		fs_load_fault_end(s->load, u->fault);
		s->load->want = s->d->streams;
		told(s, u, "load", "unload", NULL);
		return true;
	case FS_DO:
		if (u->pid != 0)
			return false;
		fs_load_fault_end(s->load, u->fault);
		snprintf(why, sizeof(why), "wait status %d", u->status);
		told(s, u, u->step->text, "did", u->status == 0 ? NULL : why);
		return true;
	case FS_DEAD:
	case FS_DRAIN:
	case FS_MOVE:
		o = order(s, u);
		if (o != ORDER_DONE)
			return o == ORDER_OVER;
		end_dead(s, u);
		return undo_member(s, u);
	default:
		return undo_member(s, u);
	}
}

/* ---- time ---- */

void
fs_steps_init(struct fs_steps *s)
{
	const struct fs_step *st;
	size_t i;

	s->start_ns = s->load->start_ns + s->d->quiet_ns;
	s->left = mem_calloc(s->d->n_step, sizeof(*s->left));
	s->next_ns = mem_calloc(s->d->n_step, sizeof(*s->next_ns));
	for (i = 0; i < s->d->n_step; i++) {
		st = &s->d->step[i];
		s->left[i] = st->count;
		s->next_ns[i] = s->start_ns +
		    fs_drill_draw(&st->at, &s->rng) +
		    fs_drill_draw(&st->every, &s->rng);
		if (st->action != FS_ROLL)
			s->n_planned += (uint64_t)st->count;
	}
}

/* Are all steps but those that come last done and undone? */
static bool
others_done(const struct fs_steps *s)
{
	size_t i;

	for (i = 0; i < s->d->n_step; i++)
		if (!s->d->step[i].last && s->left[i] > 0)
			return false;
	return s->undo.n == 0 && s->turn.n == 0;
}

static bool
is_due(const struct fs_steps *s, size_t i, uint64_t now_ns)
{
	const struct fs_step *st = &s->d->step[i];
	const struct fs_load *l = s->load;

	if (s->left[i] == 0)
		return false;
	if (st->last)
		return others_done(s);
	if (st->after_tok != 0)
		return l->n_tok >= st->after_tok;
	if (st->after_answer != 0)
		return l->n_done + l->n_wrong + l->n_lost >= st->after_answer;
	return now_ns >= s->next_ns[i];
}

/* Step i has been done, or given up: when is it due again? */
static void
next(struct fs_steps *s, size_t i)
{
	const struct fs_step *st = &s->d->step[i];

	s->left[i]--;
	/* What had to wait does not come in a heap afterwards. */
	s->next_ns[i] = clock_ns() - s->next_ns[i] > LATE_NS ? clock_ns() :
	    s->next_ns[i];
	s->next_ns[i] += fs_drill_draw(&st->every, &s->rng);
	if (st->until_ns != 0 &&
	    s->next_ns[i] <= s->start_ns + st->until_ns) {
		s->left[i]++;
		s->n_planned++;
	}
}

static void
reap(struct fs_steps *s)
{
	int status;
	size_t i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		fs_roll_child(s, pid);
		for (i = 0; i < s->undo.n; i++) {
			if (s->undo.p[i].pid != pid)
				continue;
			s->undo.p[i].pid = 0;
			s->undo.p[i].status = status;
		}
	}
}

bool
fs_steps_tend(struct fs_steps *s)
{
	uint64_t now = clock_ns();
	bool done = true;
	size_t i;

	reap(s);
	for (i = 0; i < s->undo.n; ) {
		if (now < s->undo.p[i].at_ns || !undo(s, &s->undo.p[i])) {
			i++;
			continue;
		}
		s->undone_ns = now;
		s->undo.p[i] = s->undo.p[--s->undo.n];
	}
	fs_roll_tend(s);
	for (i = 0; i < s->d->n_step; i++) {
		if (is_due(s, i, now)) {
			if (act(s, &s->d->step[i])) {
				next(s, i);
			} else if (now > s->next_ns[i] + PATIENCE_NS &&
			    s->d->step[i].after_tok == 0 &&
			    s->d->step[i].after_answer == 0) {
				miss(s, &s->d->step[i], "nobody whom it can "
				    "be done to");
				next(s, i);
			}
		}
		done = done && s->left[i] == 0;
	}
	return done && s->undo.n == 0 && s->turn.n == 0;
}

void
fs_steps_give_up(struct fs_steps *s, const char *why)
{
	size_t i;

	for (i = 0; i < s->d->n_step; i++) {
		if (s->left[i] > 0)
			miss(s, &s->d->step[i], why);
		s->left[i] = 0;
	}
}

void
fs_steps_free(struct fs_steps *s)
{
	VEC_FREE(&s->undo);
	VEC_FREE(&s->turn);
	mem_free(s->left);
	mem_free(s->next_ns);
}
