/*
 * front_cut - JSON taken apart without being read: values stay the bytes that
 * they came as, so what is passed on is passed on exactly.
 *
 * For JSON of our own front ends, checked no more than its use needs; within
 * bounds whatever the bytes.  Pure functions.
 */
#ifndef MOE_FRONT_CUT_H
#define MOE_FRONT_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct front_cut {
	const char *p;		/* NULL: not there */
	size_t n;
};

/* Members of an object or elements of an array, one after the other. */
struct front_walk {
	const char *at, *end;
	bool object, bad;	/* bad: the text is broken */
};

/* false: v is neither an object nor an array. */
bool	front_cut_walk(struct front_walk *w, struct front_cut v);
/* key: the name with its quotes; {NULL, 0} in an array. */
bool	front_cut_next(struct front_walk *w, struct front_cut *key,
	    struct front_cut *value);
/* The member of that name, as written; p NULL if there is none. */
struct front_cut front_cut_get(struct front_cut object, const char *name);
bool	front_cut_is(struct front_cut v, const char *text);
/* What is between the quotes, brackets or braces of v. */
struct front_cut front_cut_inner(struct front_cut v);
/* false: not a number from 0 to max. */
bool	front_cut_int(struct front_cut v, uint64_t max, uint64_t *out);

#endif
