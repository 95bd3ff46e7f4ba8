/*
 * faults.h - fault loops: the n-th call of a kind fails, for n = 1, 2, ...
 * until a run has no n-th call any more.
 *
 * A test binary that includes this file replaces malloc, read, open and so on:
 * a symbol of the program goes before that of a library, so the libraries
 * (jansson, PCRE2, libevent, OpenSSL, libc itself) call these, too.  Memory
 * fails for the libraries only: our own goes through mem.h, which aborts by
 * design (test_faults_base looks at how).  faults_loop() runs a function under
 * every fault of the table below and checks of each run: it is done (0), or it
 * says why not (-1 and a struct err that names what it is about); descriptors,
 * mappings and memory are back to what they were; and the same call without a
 * fault works again.
 *
 * Threads: the fault hits whichever thread makes the n-th call.
 */
#ifndef MOE_FAULTS_H
#define MOE_FAULTS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"
#include "tap.h"

/* ---- which call, and how it fails ---------------------------------------- */

enum fault_op {
	FAULT_NONE, FAULT_MEMORY, FAULT_READ, FAULT_WRITE, FAULT_MAP,
	FAULT_SIZE, FAULT_OPEN, FAULT_SOCKET, FAULT_CONNECT, FAULT_ACCEPT,
	FAULT_BIND, FAULT_THREAD, FAULT_HANDLE, FAULT_WATCH, FAULT_WAIT,
	FAULT_STAT, FAULT_CONTROL, FAULT_OPTION, FAULT_RANDOM, FAULT_NAME,
	FAULT_FILE,
};

#define FAULT_SHORT	-1	/* half of the bytes */
#define FAULT_END	-2	/* none: end of file */

struct fault_kind {
	enum fault_op op;
	int how;		/* errno, or one of the above */
	const char *name;
};

static const struct fault_kind fault_kind[] = {
	{ FAULT_MEMORY, ENOMEM, "memory of a library" },
	{ FAULT_READ, EIO, "read: EIO" },
	{ FAULT_READ, EINTR, "read: EINTR" },
	{ FAULT_READ, FAULT_SHORT, "read: half" },
	{ FAULT_READ, FAULT_END, "read: end of file" },
	{ FAULT_WRITE, ENOSPC, "write: ENOSPC" },
	{ FAULT_WRITE, EINTR, "write: EINTR" },
	{ FAULT_WRITE, EPIPE, "write: EPIPE" },
	{ FAULT_WRITE, FAULT_SHORT, "write: half" },
	{ FAULT_MAP, ENOMEM, "mmap" },
	{ FAULT_SIZE, ENOSPC, "ftruncate, fallocate" },
	{ FAULT_OPEN, EMFILE, "open: EMFILE" },
	{ FAULT_OPEN, EACCES, "open: EACCES" },
	{ FAULT_SOCKET, EMFILE, "socket" },
	{ FAULT_CONNECT, ECONNREFUSED, "connect: ECONNREFUSED" },
	{ FAULT_CONNECT, ENETUNREACH, "connect: ENETUNREACH" },
	{ FAULT_ACCEPT, EMFILE, "accept: EMFILE" },
	{ FAULT_ACCEPT, ECONNABORTED, "accept: ECONNABORTED" },
	{ FAULT_ACCEPT, EINTR, "accept: EINTR" },
	{ FAULT_BIND, EADDRINUSE, "bind, listen" },
	{ FAULT_THREAD, EAGAIN, "pthread_create" },
	{ FAULT_HANDLE, EMFILE, "eventfd, timerfd, epoll, memfd" },
	{ FAULT_WATCH, ENOMEM, "epoll_ctl" },
	{ FAULT_WAIT, EINTR, "epoll_wait: EINTR" },
	{ FAULT_STAT, EIO, "fstat" },
	{ FAULT_CONTROL, EINTR, "fcntl, flock" },
	{ FAULT_OPTION, ENOBUFS, "setsockopt, getsockname" },
	{ FAULT_RANDOM, ENOSYS, "getrandom" },
	{ FAULT_NAME, EAI_MEMORY, "getaddrinfo: EAI_MEMORY" },
	{ FAULT_NAME, EAI_AGAIN, "getaddrinfo: EAI_AGAIN" },
	{ FAULT_FILE, EIO, "fsync, rename, linkat, fchmod" },
};
#define FAULT_KINDS	(sizeof(fault_kind) / sizeof(fault_kind[0]))

static struct {
	_Atomic int op;		/* enum fault_op; NONE: not armed */
	int how;
	atomic_long left;	/* calls until it fails; below 0: it has */
	atomic_bool hit;
	atomic_long live, maps;	/* blocks of memory, mappings in use */
	bool all_memory;	/* mem.h's, too */
} fault;

static _Thread_local bool fault_off;	/* this thread's calls do not count */

/* Is it this call that fails? */
static bool
fault_now(enum fault_op op)
{
	int saved = errno;

	if (atomic_load(&fault.op) != (int)op || fault_off ||
	    atomic_fetch_sub(&fault.left, 1) != 1)
		return false;
	atomic_store(&fault.hit, true);
	errno = fault.how > 0 ? fault.how : saved;
	return true;
}

/* The function that the program would have called. */
#define FAULT_REAL(type, name)						\
	static __typeof__(type) *real;					\
	if (real == NULL)						\
		*(void **)&real = dlsym(RTLD_NEXT, name)

#include "faults_memory.h"

/* ---- reading and writing ------------------------------------------------- */

/* 0: call the true one; else return *out. */
static int
fault_bytes(enum fault_op op, size_t *n, ssize_t *out)
{
	/* An eventfd or a timerfd: they have no reason to fail. */
	if (*n == sizeof(uint64_t) || !fault_now(op))
		return 0;
	if (fault.how == FAULT_SHORT) {
		*n = *n > 1 ? *n / 2 : *n;
		return 0;
	}
	*out = fault.how == FAULT_END ? 0 : -1;
	return 1;
}

#define FAULT_BYTES(op, name, args, call, count)			\
	FAULT_REAL(ssize_t args, name);					\
	ssize_t out_;							\
									\
	if (fault_bytes(op, &count, &out_))				\
		return out_;						\
	return real call

ssize_t
read(int fd, void *p, size_t n)
{
	FAULT_BYTES(FAULT_READ, "read", (int, void *, size_t), (fd, p, n), n);
}

ssize_t
pread(int fd, void *p, size_t n, off_t at)
{
	FAULT_BYTES(FAULT_READ, "pread", (int, void *, size_t, off_t),
	    (fd, p, n, at), n);
}

ssize_t
recv(int fd, void *p, size_t n, int flags)
{
	FAULT_BYTES(FAULT_READ, "recv", (int, void *, size_t, int),
	    (fd, p, n, flags), n);
}

/* Whole, or not at all: what is half of an array is another test's matter. */
ssize_t
recvmsg(int fd, struct msghdr *m, int flags)
{
	size_t n = 1;

	FAULT_BYTES(FAULT_READ, "recvmsg", (int, struct msghdr *, int),
	    (fd, m, flags), n);
}

ssize_t
readv(int fd, const struct iovec *v, int n_v)
{
	size_t n = 1;

	FAULT_BYTES(FAULT_READ, "readv", (int, const struct iovec *, int),
	    (fd, v, n_v), n);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	FAULT_BYTES(FAULT_WRITE, "write", (int, const void *, size_t),
	    (fd, p, n), n);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	FAULT_BYTES(FAULT_WRITE, "pwrite", (int, const void *, size_t, off_t),
	    (fd, p, n, at), n);
}

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	FAULT_BYTES(FAULT_WRITE, "send", (int, const void *, size_t, int),
	    (fd, p, n, flags), n);
}

ssize_t
sendmsg(int fd, const struct msghdr *m, int flags)
{
	FAULT_REAL(ssize_t(int, const struct msghdr *, int), "sendmsg");
	struct msghdr cut = *m;
	struct iovec v;
	ssize_t out;
	size_t n = m->msg_iovlen > 0 ? m->msg_iov[0].iov_len : 0;

	if (fault_bytes(FAULT_WRITE, &n, &out))
		return out;
	if (m->msg_iovlen == 1) {
		v = (struct iovec){ m->msg_iov[0].iov_base, n };
		cut.msg_iov = &v;
		return real(fd, &cut, flags);
	}
	return real(fd, m, flags);
}

ssize_t
writev(int fd, const struct iovec *v, int n_v)
{
	size_t n = 1;

	FAULT_BYTES(FAULT_WRITE, "writev", (int, const struct iovec *, int),
	    (fd, v, n_v), n);
}

/* ---- files --------------------------------------------------------------- */

int
open(const char *path, int flags, ...)
{
	FAULT_REAL(int(const char *, int, ...), "open");
	unsigned mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		mode = va_arg(ap, unsigned);
	va_end(ap);
	return fault_now(FAULT_OPEN) ? -1 : real(path, flags, mode);
}

int
openat(int dir, const char *path, int flags, ...)
{
	FAULT_REAL(int(int, const char *, int, ...), "openat");
	unsigned mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		mode = va_arg(ap, unsigned);
	va_end(ap);
	return fault_now(FAULT_OPEN) ? -1 : real(dir, path, flags, mode);
}

/* Streams read and write through the functions above: libc's own calls of the
 * kernel cannot be replaced. */
static ssize_t
fault_stream_read(void *arg, char *p, size_t n)
{
	return read((int)(intptr_t)arg, p, n);
}

static ssize_t
fault_stream_write(void *arg, const char *p, size_t n)
{
	ssize_t put = write((int)(intptr_t)arg, p, n);

	return put < 0 ? 0 : put;	/* as fopencookie(3) wants it */
}

static int
fault_stream_close(void *arg)
{
	return close((int)(intptr_t)arg);
}

FILE *
fopen(const char *path, const char *mode)
{
	cookie_io_functions_t io = { .read = fault_stream_read,
	    .write = fault_stream_write, .close = fault_stream_close };
	int flags = mode[0] == 'r' ? O_RDONLY : mode[0] == 'w' ?
	    O_WRONLY | O_CREAT | O_TRUNC : O_WRONLY | O_CREAT | O_APPEND;
	int fd = open(path, flags | O_CLOEXEC, 0666);
	FILE *f;

	if (fd < 0)
		return NULL;
	f = fopencookie((void *)(intptr_t)fd, mode, io);
	if (f == NULL)
		close(fd);
	return f;
}

int
fstat(int fd, struct stat *st)
{
	FAULT_REAL(int(int, struct stat *), "fstat");

	return fault_now(FAULT_STAT) ? -1 : real(fd, st);
}

int
fcntl(int fd, int cmd, ...)
{
	FAULT_REAL(int(int, int, ...), "fcntl");
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fault_now(FAULT_CONTROL) ? -1 : real(fd, cmd, arg);
}

int
ftruncate(int fd, off_t n)
{
	FAULT_REAL(int(int, off_t), "ftruncate");

	return fault_now(FAULT_SIZE) ? -1 : real(fd, n);
}

int
posix_fallocate(int fd, off_t at, off_t n)
{
	FAULT_REAL(int(int, off_t, off_t), "posix_fallocate");

	return fault_now(FAULT_SIZE) ? fault.how : real(fd, at, n);
}

void *
mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	FAULT_REAL(void *(void *, size_t, int, int, int, off_t), "mmap");
	void *p;

	if (fault_now(FAULT_MAP))
		return MAP_FAILED;
	p = real(at, n, prot, flags, fd, off);
	if (p != MAP_FAILED)
		atomic_fetch_add(&fault.maps, 1);
	return p;
}

int
munmap(void *p, size_t n)
{
	FAULT_REAL(int(void *, size_t), "munmap");

	atomic_fetch_sub(&fault.maps, 1);
	return real(p, n);
}

/* ---- everything else is one line each ------------------------------------ */

#define FAULT_CALL(op, type, bad, name, params, types, args)		\
	type								\
	name params							\
	{								\
		FAULT_REAL(type types, #name);				\
									\
		return fault_now(op) ? (bad) : real args;		\
	}

FAULT_CALL(FAULT_CONTROL, int, -1, flock, (int fd, int how), (int, int),
    (fd, how))
FAULT_CALL(FAULT_FILE, int, -1, fsync, (int fd), (int), (fd))
FAULT_CALL(FAULT_FILE, int, -1, rename, (const char *a, const char *b),
    (const char *, const char *), (a, b))
FAULT_CALL(FAULT_FILE, int, -1, fchmod, (int fd, mode_t mode), (int, mode_t),
    (fd, mode))
FAULT_CALL(FAULT_FILE, int, -1, linkat,
    (int da, const char *a, int db, const char *b, int flags),
    (int, const char *, int, const char *, int), (da, a, db, b, flags))
FAULT_CALL(FAULT_SOCKET, int, -1, socket, (int d, int t, int p),
    (int, int, int), (d, t, p))
FAULT_CALL(FAULT_SOCKET, int, -1, socketpair, (int d, int t, int p, int v[2]),
    (int, int, int, int[2]), (d, t, p, v))
FAULT_CALL(FAULT_CONNECT, int, -1, connect,
    (int fd, const struct sockaddr *a, socklen_t n),
    (int, const struct sockaddr *, socklen_t), (fd, a, n))
FAULT_CALL(FAULT_ACCEPT, int, -1, accept4,
    (int fd, struct sockaddr *a, socklen_t *n, int flags),
    (int, struct sockaddr *, socklen_t *, int), (fd, a, n, flags))
FAULT_CALL(FAULT_BIND, int, -1, bind,
    (int fd, const struct sockaddr *a, socklen_t n),
    (int, const struct sockaddr *, socklen_t), (fd, a, n))
FAULT_CALL(FAULT_BIND, int, -1, listen, (int fd, int n), (int, int), (fd, n))
FAULT_CALL(FAULT_HANDLE, int, -1, eventfd, (unsigned n, int flags),
    (unsigned, int), (n, flags))
FAULT_CALL(FAULT_HANDLE, int, -1, timerfd_create, (clockid_t c, int flags),
    (clockid_t, int), (c, flags))
FAULT_CALL(FAULT_HANDLE, int, -1, epoll_create1, (int flags), (int), (flags))
FAULT_CALL(FAULT_HANDLE, int, -1, memfd_create,
    (const char *name, unsigned flags), (const char *, unsigned), (name, flags))
/* To forget a descriptor takes nothing that could be short. */
int
epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	FAULT_REAL(int(int, int, int, struct epoll_event *), "epoll_ctl");

	return op != EPOLL_CTL_DEL && fault_now(FAULT_WATCH) ? -1 :
	    real(ep, op, fd, ev);
}

FAULT_CALL(FAULT_WAIT, int, -1, epoll_wait,
    (int ep, struct epoll_event *ev, int n, int ms),
    (int, struct epoll_event *, int, int), (ep, ev, n, ms))
FAULT_CALL(FAULT_OPTION, int, -1, setsockopt,
    (int fd, int l, int o, const void *v, socklen_t n),
    (int, int, int, const void *, socklen_t), (fd, l, o, v, n))
FAULT_CALL(FAULT_OPTION, int, -1, getsockname,
    (int fd, struct sockaddr *a, socklen_t *n),
    (int, struct sockaddr *, socklen_t *), (fd, a, n))
FAULT_CALL(FAULT_RANDOM, ssize_t, -1, getrandom,
    (void *p, size_t n, unsigned flags), (void *, size_t, unsigned),
    (p, n, flags))
FAULT_CALL(FAULT_NAME, int, fault.how, getaddrinfo,
    (const char *h, const char *s, const struct addrinfo *w,
    struct addrinfo **out),
    (const char *, const char *, const struct addrinfo *, struct addrinfo **),
    (h, s, w, out))
FAULT_CALL(FAULT_THREAD, int, fault.how, pthread_create,
    (pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg),
    (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *),
    (t, a, fn, arg))

#include "faults_loop.h"
#endif
