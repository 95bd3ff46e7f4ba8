/*
 * fs_steps - the steps of a drill: when each is due, doing it to a member,
 * and undoing it.  One thread, which calls fs_steps_tend every few
 * milliseconds.
 */
#ifndef MOE_FS_STEPS_H
#define MOE_FS_STEPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs_load.h"
#include "fs_procs.h"

struct fs_undo {		/* what is to be undone, and when */
	uint64_t at_ns;
	const struct fs_step *step;
	int fault;
	char id[48];
	char file[128];		/* link: where its faults are written */
	pid_t pid;		/* do, dead, drain, move: the command; 0: it
				 * has ended ... */
	int status;		/* ... like this */
	bool asked;		/* move: the map was asked for, and came */
};

struct fs_turn {		/* of a rolling restart */
	const struct fs_step *step;
	int fault;
	char id[48];
	enum { FS_WAITS, FS_LEAVES, FS_COMES } state;
	uint64_t since_ns;
	pid_t asks;		/* moe-route status; 0: nobody */
};

struct fs_steps {
	const struct fs_drill *d;
	struct fs_load *load;
	const char *dir;	/* the run directory */
	const char *route;	/* moe-route(1), the program */
	struct rng rng;
	int *left;		/* [n_step] times still to be done */
	uint64_t *next_ns;	/* [n_step] */
	VEC(struct fs_undo) undo;
	VEC(struct fs_turn) turn;	/* one after the other */
	uint64_t start_ns;	/* of the steps' clock */
	uint64_t undone_ns;	/* when something was last undone */
	uint64_t n_planned, n_executed, n_missed;
};

/* The load's start_ns is set. */
void	fs_steps_init(struct fs_steps *s);
/* Do what is due.  True: nothing is left to be done or undone. */
bool	fs_steps_tend(struct fs_steps *s);
/* What is left is missed, for this reason. */
void	fs_steps_give_up(struct fs_steps *s, const char *why);
void	fs_steps_free(struct fs_steps *s);

/* ---- fs_roll.c ---- */
/* Restart who, one at a time.  How many there are. */
int	fs_roll_begin(struct fs_steps *s, const struct fs_step *step,
	    const struct fs_procs *all);
void	fs_roll_tend(struct fs_steps *s);
/* A child of ours has ended. */
void	fs_roll_child(struct fs_steps *s, pid_t pid);

/* ---- fs_order.c: orders to the router, by moe-route(1) ---- */
/* Begin dead or drain of a member (id), or a move; u->pid is the command. */
int	fs_order_begin(struct fs_steps *s, const struct fs_step *step,
	    struct fs_undo *u, struct err *err);
/* The command of a move has ended well: if it was the one that asked for the
 * map, begin the move itself.  1: that is under way; 0: it is all done; -1:
 * there is nothing to be moved. */
int	fs_order_go_on(struct fs_steps *s, struct fs_undo *u,
	    struct err *err);

/* Is p of the kind that who names? */
bool	fs_steps_matches(const char *who, const struct fs_proc *p);

#endif
