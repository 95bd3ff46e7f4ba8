/* life - see life.h.  Floor F3. */
#include "life.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem.h"

struct life {
	struct life_opt o;
	struct loop_signal *term, *intr, *hup, *usr1;
	int n_term;		/* TERM and INT so far */
};

/* Send text to systemd.  0; -1 with errno when NOTIFY_SOCKET is set and it
 * does not listen there. */
static int
notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n;
	ssize_t sent;
	int fd, e;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return 0;
	n = strlen(path);
	if (n >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@')	/* an abstract socket's name */
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
	    (struct sockaddr *)&sa,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	e = errno;
	close(fd);
	errno = e;
	return sent < 0 ? -1 : 0;
}

static void
on_term(void *arg)
{
	struct life *l = arg;

	l->n_term++;
	if (l->n_term == 1) {
		(void)notify("STOPPING=1");	/* too late to complain */
		if (l->o.drain != NULL) {
			l->o.drain(l->o.arg);
			return;
		}
	} else {
		loop_signal_free(l->term);	/* the third one kills */
		loop_signal_free(l->intr);
		l->term = l->intr = NULL;
	}
	loop_stop(l->o.loop);
}

static void
on_hup(void *arg)
{
	struct life *l = arg;

	if (l->o.reload != NULL)
		l->o.reload(l->o.arg);
}

static void
on_usr1(void *arg)
{
	struct life *l = arg;

	if (l->o.usr1 != NULL)
		l->o.usr1(l->o.arg);
}

int
life_start(struct life **l_p, const struct life_opt *o, struct err *err)
{
	struct life *l;

	if (o->ready_fd >= 0 && fcntl(o->ready_fd, F_GETFD) < 0)
		return err_sys(err, ERR_USAGE, errno, "--ready-fd %d",
		    o->ready_fd);
	l = mem_zalloc(sizeof(*l));
	l->o = *o;
	signal(SIGPIPE, SIG_IGN);
	l->term = loop_signal(o->loop, SIGTERM, on_term, l);
	l->intr = loop_signal(o->loop, SIGINT, on_term, l);
	l->hup = loop_signal(o->loop, SIGHUP, on_hup, l);
	l->usr1 = loop_signal(o->loop, SIGUSR1, on_usr1, l);
	*l_p = l;
	return 0;
}

void
life_end(struct life *l)
{
	sigset_t end;

	if (l == NULL)
		return;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	loop_signal_free(l->term);
	loop_signal_free(l->intr);
	loop_signal_free(l->hup);
	loop_signal_free(l->usr1);
	if (l->o.ready_fd > STDERR_FILENO)	/* never told: EOF tells */
		close(l->o.ready_fd);
	mem_free(l);
}

int
life_ready(struct life *l, struct err *err)
{
	ssize_t n = 1;
	int e = 0;

	if (l->o.ready_fd >= 0) {
		do {
			n = write(l->o.ready_fd, "\n", 1);
		} while (n < 0 && errno == EINTR);
		e = errno;
		if (l->o.ready_fd > STDERR_FILENO)
			close(l->o.ready_fd);
		l->o.ready_fd = -1;
	}
	if (n != 1)
		return err_sys(err, ERR_TEMP, e, "--ready-fd");
	if (notify("READY=1") != 0)
		return err_sys(err, ERR_TEMP, errno, "NOTIFY_SOCKET");
	return 0;
}

void
life_drained(struct life *l)
{
	loop_stop(l->o.loop);
}

bool
life_draining(const struct life *l)
{
	return l->n_term > 0;
}

bool
life_hurried(const struct life *l)
{
	return l->n_term > 1;
}
