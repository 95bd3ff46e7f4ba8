/*
 * sandbox - what a daemon gives up once it has started.
 *
 * no_new_privs; core dumps (they would hold keys, prompts and weights); and, by
 * a seccomp filter over all its threads, what no daemon of the toolkit ever
 * does: run another program, make another process, trace or write into one,
 * mount, change its ids, name spaces or the kernel, sockets of other families
 * than Unix, IP and netlink (which name look-ups use).  Such a call kills the
 * process on the spot; two that libraries only try are answered as if the
 * kernel did not have them.
 *
 * The list says what is forbidden, not what is allowed.  A list of what is
 * allowed would have to follow glibc, OpenSSL, libcurl and the sanitizers from
 * version to version, and a call missing from it kills a server that does
 * nothing wrong, perhaps a year later, in the middle of the night.  It would be
 * the same for all daemons anyway: they are sockets, threads, memory and files.
 * What it would buy, denying odd calls to somebody who already runs code in the
 * process, is little next to taking exec, fork and ptrace from him.
 *
 * Floor F2; any thread, once, after everything that is to be opened with the
 * rights of the start has been opened.
 */
#ifndef MOE_SANDBOX_H
#define MOE_SANDBOX_H

#include "err.h"

/* The option to do without, of a table of struct cli_opt (cli.h). */
#define SANDBOX_OPTION(off)						\
	{ 0, "no-sandbox", CLI_FLAG, (off), NULL,			\
	    "keep core dumps and every system call", 0, 0, NULL }

/* -1: ERR_UNAVAIL, the kernel (or what is around it) has no seccomp filters, or
 * this is neither x86_64 nor aarch64; the limits hold then all the same. */
int	sandbox_enter(struct err *err);

/* As many descriptors as the hard limit gives, up to 65536: a server with a
 * thousand pairs and clients needs more than the usual 1024. */
void	sandbox_descriptors(void);

#endif
