/* ex_place - which experts are this server's: the cluster file's plan, a newer
 * map of the router, or --experts. */
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
const char *ex_place_router(const struct ex *ex);

/* Engine thread: HUP, and LINK_MSG_MAP.  New experts are loaded in the
 * background; whatever is wrong is logged and changes nothing. */
void	ex_place_reload(struct ex *ex);
void	ex_place_map(struct ex *ex, const void *data, size_t n);

#endif
