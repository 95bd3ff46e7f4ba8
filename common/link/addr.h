/*
 * addr - addresses of links as people write them.
 *
 *     shm:/path/to.sock      cuda:/path/to.sock
 *     tcp:host:port          tcp:[v6-address]:port      rdma: and nccl: likewise
 *     fault:SPEC:ADDRESS     (link_fault.h; ADDRESS is not itself a fault:)
 */
#ifndef MOE_ADDR_H
#define MOE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "err.h"
#include "link_fault.h"

#define ADDR_TEXT	200
#define ADDR_HOST	(ADDR_TEXT - 16)	/* leaves room for what is around */
#define ADDR_PATH	108	/* of sockaddr_un, with the NUL */

enum addr_kind {
	ADDR_SHM = 1, ADDR_TCP, ADDR_RDMA, ADDR_CUDA, ADDR_NCCL
};

struct addr {
	enum addr_kind kind;	/* of a fault: what ADDRESS is, and so on */
	bool faulty;
	struct link_fault_spec fault;	/* when faulty */
	char path[ADDR_PATH];	/* shm, cuda */
	char host[ADDR_HOST];	/* tcp, rdma, nccl; without brackets */
	uint16_t port;
	struct sockaddr_storage sa;	/* by addr_resolve */
	socklen_t sa_bytes;
};

/* Text only, no look-up.  -1: ERR_USAGE with the text and what is wrong. */
int	addr_parse(const char *text, struct addr *a, struct err *err);
/* Fill sa.  Numeric hosts and paths take no time, names what the resolver
 * takes.  -1: ERR_TEMP (no such host now). */
int	addr_resolve(struct addr *a, bool passive, struct err *err);
/* Resolved: does it stay on this machine (a path, or loopback)? */
bool	addr_is_local(const struct addr *a);
/* The same of a socket's address, v4-mapped v6 ones included. */
bool	addr_is_loopback(const struct sockaddr *sa);
/* Within a fault:SPEC:ADDRESS that addr_parse takes: where ADDRESS begins.
 * Else text itself. */
const char *addr_inner(const char *text);
/* Back to text, from sa when it is filled (the true port); without the fault
 * around it. */
void	addr_text(const struct addr *a, char out[ADDR_TEXT]);

#endif
