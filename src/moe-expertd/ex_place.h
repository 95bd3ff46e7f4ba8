/*
 * ex_place - which experts are this server's: what the router wants, the cluster
 * file's plan as long as there is no word of a router, or --experts.
 *
 * A server that the cluster file does not name starts with nothing, and gets
 * its experts from the router.
 */
#ifndef MOE_EX_PLACE_H
#define MOE_EX_PLACE_H

#include "ex.h"

/* Read the cluster file and find this server in it, before anything else is
 * open; fills opt.model and opt.listen where they are not given. */
int	ex_place_open(struct ex *ex, struct err *err);
void	ex_place_free(struct ex *ex);
/* Assign this server's experts to ex->resid. */
int	ex_place_assign(struct ex *ex, struct err *err);
/* The router's address, or NULL. */
/* The key file that the cluster file names; NULL: none. */
const char *ex_place_psk(const struct ex *ex);
const char *ex_place_router(const struct ex *ex);

/* Engine thread: HUP, and LINK_MSG_WANT.  New experts are loaded in the
 * background, those that are not wanted leave when no row waits for them;
 * whatever is wrong is logged and changes nothing. */
void	ex_place_reload(struct ex *ex);
void	ex_place_want(struct ex *ex, const void *data, size_t n);
/* Start to load when it is known what: at once, or a little after the start if
 * a router may have a word.  True: that is over; else *next_ns is when to come
 * again. */
bool	ex_place_begin(struct ex *ex, uint64_t now_ns, uint64_t *next_ns);
/* The router cannot be reached, or has no word yet. */
void	ex_place_alone(struct ex *ex);
/* --experts: the router has no say. */
bool	ex_place_pinned(const struct ex *ex);
/* The newest version that a router has named; 0: none. */
uint32_t ex_place_version(const struct ex *ex);

#endif
