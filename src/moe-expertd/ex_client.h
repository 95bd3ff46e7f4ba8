/*
 * ex_client - the receptor: one record per pair with a front end (or tool),
 * with a job for each of its slots.  Requests are read where they lie and
 * answers written where they go.  Engine thread only.
 */
#ifndef MOE_EX_CLIENT_H
#define MOE_EX_CLIENT_H

#include "ex.h"

/* LINK_UP of an accepted pair, its LINK_DOWN, and a LINK_REQ. */
void	ex_client_up(struct ex *ex, struct link_pair *pair);
void	ex_client_down(struct ex *ex, struct link_pair *pair);
void	ex_client_request(struct ex *ex, const struct link_event *ev,
	    uint64_t now_ns);
/* A control message to all. */
void	ex_client_tell(struct ex *ex, int type, const void *data, size_t n);
uint32_t ex_client_count(const struct ex *ex);
/* Forget all of them; the engine thread has ended. */
void	ex_client_free_all(struct ex *ex);

#endif
