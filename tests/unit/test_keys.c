/* Tests of key files for HTTP clients, and of the sandbox. */
#include <errno.h>
#include <linux/sched.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys.h"
#include "mac.h"
#include "sandbox.h"
#include "scratch.h"
#include "secret.h"
#include "tap.h"

static char *path;

/* ---- keys ------------------------------------------------------------------ */

static int
load(const char *text, mode_t mode, struct keys **k, struct err *err)
{
	FILE *f = fopen(path, "w");
	int rc;

	fputs(text, f);
	fclose(f);
	chmod(path, mode);
	*err = (struct err)ERR_INIT;
	rc = keys_load(k, path, err);
	unlink(path);
	return rc;
}

static void
test_plain(void)
{
	struct keys *k;
	struct err err;

	OK(load("# keys\n\n  sesame  \r\nother\n", 0600, &k, &err) == 0 &&
	    keys_n(k) == 2, "two plain keys");
	OK(keys_admit(k, "Bearer sesame") && keys_admit(k, "bearer other"),
	    "both come in, whatever the case of the scheme");
	OK(!keys_admit(k, NULL) && !keys_admit(k, "Bearer ") &&
	    !keys_admit(k, "sesame") && !keys_admit(k, "Basic sesame") &&
	    !keys_admit(k, "Bearer sesam") &&
	    !keys_admit(k, "Bearer sesamesesame") &&
	    !keys_admit(k, "Bearer # keys"), "nothing else does");
	keys_free(k);
	OK(load("sesame\n", 0640, &k, &err) == -1 && err.code == ERR_DATA &&
	    strstr(err.text, "chmod 600") != NULL,
	    "plain keys that the group may read: %s", err.text);
	OK(load("# none\n", 0600, &k, &err) == -1 && err.code == ERR_DATA,
	    "no key at all");
	OK(load("", 0600, &k, &err) == -1, "an empty file");
	OK(keys_load(&k, "/nonexistent", &err) == -1 && err.code == ERR_DATA,
	    "no file");
}

static void
test_hashed(void)
{
	/* SHA-256 of 00 01 .. 0f and "sesame", by another program. */
	static const char line[] = "sha256:000102030405060708090a0b0c0d0e0f:"
	    "c7845aba95b804ff392ce4f6747a1bd4ca0560978419b02301d51d27d0a84019";
	unsigned char salt[KEYS_SALT];
	struct str made = STR_INIT;
	struct keys *k;
	struct err err = ERR_INIT;
	char bad[sizeof(line) + 1];
	int i, refused = 0;

	for (i = 0; i < KEYS_SALT; i++)
		salt[i] = (unsigned char)i;
	if (mac_check(&err) != 0) {
		OK(load(line, 0644, &k, &err) == -1 && err.code == ERR_UNAVAIL,
		    "%s", err.text);
		OK(keys_line("x", salt, &made, &err) == -1, "nor is one made");
		return;
	}
	OK(keys_line("sesame", salt, &made, &err) == 0 && made.n == strlen(line)
	    + 1 && strncmp(made.p, line, strlen(line)) == 0, "the line of a "
	    "key");
	OK(load(line, 0644, &k, &err) == 0 && keys_n(k) == 1, "a hashed key in "
	    "a file that all may read");
	OK(keys_admit(k, "Bearer sesame") && !keys_admit(k, "Bearer sesamf") &&
	    !keys_admit(k, "Bearer "), "it lets its key in, no other");
	memcpy(bad, line, sizeof(line));
	OK(!keys_admit(k, strcat(strcpy(bad, "Bearer "), "sha256")),
	    "nor its own text");
	keys_free(k);
	for (i = 7; i < (int)strlen(line); i++) {	/* any digit, any length */
		memcpy(bad, line, sizeof(line));
		bad[i] = 'g';
		refused += load(bad, 0600, &k, &err) == -1 &&
		    err.code == ERR_DATA;
		memcpy(bad, line, (size_t)i);
		bad[i] = '\0';
		refused += load(bad, 0600, &k, &err) == -1;
	}
	EQ_INT(refused, 2 * ((int)strlen(line) - 7), "broken lines are "
	    "refused");
	OK(load("sha256:x\nplain\n", 0600, &k, &err) == -1, "among good ones, "
	    "too");
	str_free(&made);
}

static void
test_lines(void)
{
	char text[] = "\n# c\n  a \n\r\n b\t", *at = text, *none = NULL;

	EQ_STR(secret_line(&at), "a", "the first line");
	EQ_STR(secret_line(&at), "b", "the last, without an end");
	OK(secret_line(&at) == NULL && secret_line(&at) == NULL &&
	    secret_line(&none) == NULL, "and no more");
}

/* ---- the sandbox -------------------------------------------------------------- */

extern void __sanitizer_set_death_callback(void (*)(void))
    __attribute__((weak));

static void
do_exec(void)
{
	char *argv[] = { NULL };

	execve("/bin/true", argv, argv);
}

static void *
exec_thread(void *arg)
{
	atomic_int *go = arg;

	while (atomic_load(go) == 0)
		sched_yield();
	do_exec();
	return NULL;
}

static void
do_fork(void)
{
	if (fork() == 0)
		_exit(0);
}

static void
do_ptrace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void
do_mount(void)
{
	mount("none", "/", "tmpfs", 0, NULL);
}

static void
do_unshare(void)
{
	unshare(CLONE_NEWUSER);
}

static void
do_bpf(void)
{
	syscall(SYS_bpf, 0, NULL, 0);
}

static void
do_setuid(void)
{
	(void)!setuid(getuid());
}

static void
do_x32(void)
{
	syscall(0x40000000 | SYS_getpid);
}

static const struct {
	const char *name;
	void (*fn)(void);
	bool always;		/* under sanitizers, too */
} deadly[] = {
	{ "execve", do_exec, true }, { "fork", do_fork, false },
	{ "ptrace", do_ptrace, false }, { "mount", do_mount, true },
	{ "unshare", do_unshare, true }, { "bpf", do_bpf, true },
	{ "setuid", do_setuid, true },
#if defined(__x86_64__)
	{ "a call of another ABI", do_x32, true },
#endif
};

static int
in_child(void (*fn)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (sandbox_enter(NULL) != 0)
			_exit(99);
		fn();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void
child_threads(void)
{
	static atomic_int go;
	pthread_t t;

	atomic_store(&go, 1);
	_exit(pthread_create(&t, NULL, exec_thread, &go) == 0 &&
	    pthread_join(t, NULL) == 0 ? 0 : 1);
}

/* A thread that was there before is shut in, too. */
static void
test_old_thread(void)
{
	static atomic_int go;
	int status = 0;
	pthread_t t;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (pthread_create(&t, NULL, exec_thread, &go) != 0 ||
		    sandbox_enter(NULL) != 0)
			_exit(99);
		atomic_store(&go, 1);
		pthread_join(t, NULL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
	    "execve kills from a thread that was there before");
}

static void *
nothing(void *arg)
{
	return arg;
}

/* What getaddrinfo says of localhost outside; a bare root has no such name. */
static int look_up;

/* What daemons do go on doing. */
static void
child_lives(void)
{
	struct addrinfo *a = NULL;
	struct rlimit core;
	pthread_t t;
	void *p;
	int fd, bad = 0;

	bad += pthread_create(&t, NULL, nothing, NULL) != 0 ||
	    pthread_join(t, NULL) != 0;
	bad += getaddrinfo("localhost", "80", NULL, &a) != look_up;
	if (look_up == 0 && a != NULL)
		freeaddrinfo(a);
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	bad += fd < 0 && errno == EAFNOSUPPORT && access("/proc/net/if_inet6",
	    F_OK) == 0;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bad += fd < 0;
	bad += socket(AF_PACKET, SOCK_RAW, 0) != -1 || errno != EAFNOSUPPORT;
	bad += syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS;
	p = malloc(1 << 22);
	bad += p == NULL;
	free(p);
	bad += getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0;
	_exit(bad);
}

static void
do_nothing(void)
{
}

static void
test_sandbox(void)
{
	struct addrinfo *a;
	int status;
	size_t i;

	look_up = getaddrinfo("localhost", "80", NULL, &a);
	if (look_up == 0)
		freeaddrinfo(a);
	status = in_child(do_nothing);
	if (status != 0) {
		OK(WEXITSTATUS(status) == 99, "# SKIP no seccomp here");
		return;
	}
	for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		if (__sanitizer_set_death_callback != NULL &&
		    !deadly[i].always)
			continue;
		status = in_child(deadly[i].fn);
		OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
		    "%s kills", deadly[i].name);
	}
	status = in_child(child_threads);
	OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
	    "so it does from a thread");
	test_old_thread();
	EQ_INT(in_child(child_lives), 0, "threads, look-ups, sockets, memory "
	    "live on; odd sockets and clone3 are as if not there");
}

static void
test_descriptors(void)
{
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = 100;
	setrlimit(RLIMIT_NOFILE, &r);
	sandbox_descriptors();
	getrlimit(RLIMIT_NOFILE, &r);
	OK(r.rlim_cur == (r.rlim_max < 65536 ? r.rlim_max : 65536),
	    "descriptors: as many as there may be");
}

int
main(void)
{
	path = mem_printf("%s/keys", scratch_begin());
	test_lines();
	test_plain();
	test_hashed();
	test_sandbox();
	test_descriptors();
	mem_free(path);
	scratch_end();
	return tap_done();
}
