/* Unit tests of loop and life. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "life.h"
#include "loop.h"
#include "mem.h"
#include "tap.h"

static struct loop *loop;
static int n_call;
static char calls[64];		/* a letter for each callback, in order */

static void
note(char c)
{
	size_t n = strlen(calls);

	if (n + 1 < sizeof(calls)) {
		calls[n] = c;
		calls[n + 1] = '\0';
	}
}

static void
stop_it(void *arg)
{
	note(*(const char *)arg);
	loop_stop(loop);
}

static void
count_it(void *arg)
{
	note(*(const char *)arg);
	if (++n_call == 3)
		loop_stop(loop);
}

static void
test_timers(void)
{
	char a = 'a', b = 'b', c = 'c';
	struct loop_timer *ta = loop_timer(loop, stop_it, &a);
	struct loop_timer *tb = loop_timer(loop, count_it, &b);
	struct loop_timer *tc = loop_timer(loop, count_it, &c);
	struct err e = ERR_INIT;
	uint64_t t;

	calls[0] = '\0';
	t = clock_ns();
	loop_timer_in(tc, 1000000000000);
	loop_timer_in(ta, 20000000);
	loop_timer_in(tb, 0);
	OK(loop_run(loop, &e) == 0, "the loop runs and stops");
	OK(clock_ns() - t >= 20000000, "not before the timer's time");
	EQ_STR(calls, "ba", "timers fire in the order of their times");
	calls[0] = '\0';
	n_call = 0;
	loop_timer_every(tb, 1000000);
	loop_timer_stop(tc);
	loop_run(loop, &e);
	EQ_STR(calls, "bbb", "a periodic timer repeats; a stopped one is silent");
	loop_timer_free(ta);
	loop_timer_free(tb);
	loop_timer_free(tc);
	loop_stop(loop);
	OK(loop_run(loop, &e) == 0, "a stop from before is not lost");
}

static void
take_byte(int fd, unsigned what, void *arg)
{
	char c = 0;

	(void)arg;
	if ((what & LOOP_READ) && read(fd, &c, 1) == 1)
		note(c);
	if (c == '.')
		loop_stop(loop);
}

static void
test_watch(void)
{
	struct loop_watch *w;
	struct err e = ERR_INIT;
	int p[2];

	OK(pipe(p) == 0, "a pipe");
	calls[0] = '\0';
	w = loop_watch(loop, p[0], LOOP_READ, take_byte, NULL);
	OK(write(p[1], "xy.", 3) == 3, "bytes for it");
	loop_run(loop, &e);
	EQ_STR(calls, "xy.", "a watch fires while there is something to read");
	loop_unwatch(w);
	close(p[0]);
	close(p[1]);
}

static void *
ring_from_afar(void *arg)
{
	int i;

	for (i = 0; i < 1000; i++)
		loop_ring(arg);
	return NULL;
}

static void
test_bell(void)
{
	char r = 'r';
	struct err e = ERR_INIT;
	struct loop_bell *b = loop_bell(loop, stop_it, &r, &e);
	pthread_t t;

	calls[0] = '\0';
	OK(b != NULL, "a bell");
	OK(pthread_create(&t, NULL, ring_from_afar, b) == 0, "a thread");
	loop_run(loop, &e);
	pthread_join(t, NULL);
	OK(calls[0] == 'r', "another thread's ring wakes the loop");
	calls[0] = '\0';
	ring_from_afar(b);
	loop_once(loop, 0);
	loop_once(loop, 0);
	EQ_STR(calls, "r", "a thousand rings are one call");
	loop_run(loop, &e);	/* takes the stop of that call */
	loop_bell_free(b);
}

/* ---- life ---------------------------------------------------------------------- */

static void
on_drain(void *arg)
{
	(void)arg;
	note('D');
}

static void
on_reload(void *arg)
{
	(void)arg;
	note('H');
}

static void
on_usr1(void *arg)
{
	(void)arg;
	note('U');
}

/* The next test sends signals again. */
static void
end_life(struct life *l)
{
	sigset_t now;

	life_end(l);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	OK(sigismember(&now, SIGTERM) && sigismember(&now, SIGINT),
	    "TERM and INT do not end what is ending");
	sigdelset(&now, SIGTERM);
	sigdelset(&now, SIGINT);
	pthread_sigmask(SIG_SETMASK, &now, NULL);
}

static void
test_life(void)
{
	struct life_opt o = { loop, 777, on_drain, on_reload, on_usr1, NULL };
	struct err e = ERR_INIT;
	struct life *l = NULL;
	int p[2];
	char c[2];

	OK(life_start(&l, &o, &e) == -1 && e.code == ERR_USAGE,
	    "a descriptor that is not open is refused: %s", e.text);
	OK(pipe(p) == 0, "a pipe");
	o.ready_fd = p[1];
	OK(life_start(&l, &o, &e) == 0, "a life");
	OK(life_ready(l, &e) == 0, "ready");
	OK(read(p[0], c, 2) == 1 && c[0] == '\n' && read(p[0], c, 1) == 0,
	    "a newline on the descriptor, which is then closed");
	calls[0] = '\0';
	raise(SIGHUP);
	loop_once(loop, 0);
	raise(SIGUSR1);
	loop_once(loop, 0);
	OK(!life_draining(l), "not draining yet");
	raise(SIGTERM);
	loop_once(loop, 0);
	EQ_STR(calls, "HUD", "HUP, USR1 and TERM have their callbacks");
	OK(life_draining(l) && !life_hurried(l), "draining");
	raise(SIGINT);
	OK(loop_run(loop, &e) == 0 && life_hurried(l), "the second one stops");
	EQ_STR(calls, "HUD", "without a second drain");
	end_life(l);
	close(p[0]);
}

static void
test_third_term_kills(void)
{
	int st;
	pid_t pid = fork();

	if (pid == 0) {
		struct life_opt o = { .ready_fd = -1, .drain = on_drain };
		struct err e = ERR_INIT;
		struct life *l;
		struct loop *own;

		if (loop_open(&own, &e) != 0)
			_exit(2);
		o.loop = own;
		if (life_start(&l, &o, &e) != 0)
			_exit(2);
		raise(SIGTERM);
		loop_once(own, 0);
		raise(SIGTERM);
		loop_run(own, &e);
		raise(SIGTERM);
		_exit(1);
	}
	OK(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) &&
	    WTERMSIG(st) == SIGTERM, "the third TERM kills");
}

static void
test_notify(void)
{
	struct life_opt o = { .loop = loop, .ready_fd = -1 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct err e = ERR_INIT;
	struct life *l;
	char got[32] = "", name[40];
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);
	int n = snprintf(name, sizeof(name), "@moe-test-%ld", (long)getpid());

	memcpy(sa.sun_path + 1, name + 1, (size_t)n - 1);
	OK(bind(s, (struct sockaddr *)&sa, (socklen_t)
	    (offsetof(struct sockaddr_un, sun_path) + (size_t)n)) == 0,
	    "an abstract socket");
	setenv("NOTIFY_SOCKET", name, 1);
	life_start(&l, &o, &e);
	OK(life_ready(l, &e) == 0 && recv(s, got, sizeof(got) - 1,
	    MSG_DONTWAIT) == 7 && strcmp(got, "READY=1") == 0, "READY=1");
	memset(got, 0, sizeof(got));
	raise(SIGTERM);
	OK(loop_run(loop, &e) == 0, "TERM without a drain stops the loop");
	OK(recv(s, got, sizeof(got) - 1, MSG_DONTWAIT) == 10 &&
	    strcmp(got, "STOPPING=1") == 0, "STOPPING=1");
	close(s);
	OK(life_ready(l, &e) == -1 && e.code == ERR_TEMP,
	    "nobody there is an error: %s", e.text);
	unsetenv("NOTIFY_SOCKET");
	end_life(l);
}

int
main(void)
{
	struct err e = ERR_INIT;

	setvbuf(stdout, NULL, _IOLBF, 0);	/* for the fork */
	if (!OK(loop_open(&loop, &e) == 0, "a loop opens"))
		return tap_done();
	test_timers();
	test_watch();
	test_bell();
	test_life();
	test_third_term_kills();
	test_notify();
	loop_close(loop);
	return tap_done();
}
