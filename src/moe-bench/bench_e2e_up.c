/* bench_e2e_up - see bench_e2e_up.h. */
#include "bench_e2e_up.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "str.h"

#define MAX_PROC	64
#define READY_FD	9
#define STOP_NS		20000000000ull

struct bench_e2e_up {
	const struct bench_e2e_up_opt *o;
	char dir[64], url[64];
	pid_t pid[MAX_PROC];
	char id[MAX_PROC][16];
	int n;
};

/* ---- a process ----------------------------------------------------------- */

/* The last line of its log, to say why it did not start. */
static int
died(const struct bench_e2e_up *u, const char *id, struct err *err)
{
	char *path = mem_printf("%s/%s.log", u->dir, id), *at;
	struct str s = STR_INIT;

	(void)str_read_file(&s, path, 1 << 20);
	while (s.n > 0 && s.p[s.n - 1] == '\n')
		str_cut(&s, s.n - 1);
	at = s.n > 0 ? strrchr(s.p, '\n') : NULL;
	err_set(err, ERR_TEMP, "%s did not get ready: %.300s", id,
	    at != NULL ? at + 1 : str_c(&s));
	str_free(&s);
	mem_free(path);
	return -1;
}

_Noreturn static void
become(char *const argv[], const char *log, int ready)
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 ||
	    dup2(fd, 2) < 0)
		_exit(127);
	/* dup2 onto itself would leave close-on-exec set. */
	if (ready == READY_FD ? fcntl(ready, F_SETFD, 0) != 0 :
	    dup2(ready, READY_FD) < 0)
		_exit(127);
	execv(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Start argv as process `id` and wait for its newline. */
static int
spawn(struct bench_e2e_up *u, const char *id, char *const argv[],
    struct err *err)
{
	char *log = mem_printf("%s/%s.log", u->dir, id), c;
	int fd[2], i = u->n;
	ssize_t got;

	BUG_ON(u->n == MAX_PROC);
	if (pipe2(fd, O_CLOEXEC) != 0) {
		mem_free(log);
		return err_sys(err, ERR_TEMP, errno, "pipe");
	}
	fflush(NULL);
	snprintf(u->id[i], sizeof(u->id[i]), "%s", id);
	u->pid[i] = fork();
	if (u->pid[i] == 0)
		become(argv, log, fd[1]);
	close(fd[1]);
	mem_free(log);
	if (u->pid[i] < 0) {
		close(fd[0]);
		return err_sys(err, ERR_TEMP, errno, "fork");
	}
	u->n++;
	do
		got = read(fd[0], &c, 1);
	while (got < 0 && errno == EINTR);
	close(fd[0]);
	return got == 1 ? 0 : died(u, id, err);
}

/* ---- command lines ------------------------------------------------------- */

struct args {
	VEC(char *) v;
};

static void
add(struct args *a, const char *text)
{
	VEC_PUSH(&a->v, text != NULL ? mem_strdup(text) : NULL);
}

static void
add_split(struct args *a, const char *text)
{
	char *copy = text != NULL ? mem_strdup(text) : NULL, *save = NULL, *w;

	if (copy == NULL)
		return;
	for (w = strtok_r(copy, " \t", &save); w != NULL;
	    w = strtok_r(NULL, " \t", &save))
		add(a, w);
	mem_free(copy);
}

static void
args_free(struct args *a)
{
	size_t i;

	for (i = 0; i < a->v.n; i++)
		mem_free(a->v.p[i]);
	VEC_FREE(&a->v);
}

/* What both programs take. */
static void
begin_args(struct args *a, const struct bench_e2e_up *u, const char *prog,
    const char *id, int threads)
{
	char *text = mem_printf("%s/%s", u->o->bin, prog);
	char n[16];

	add(a, text);
	mem_free(text);
	add(a, "-m");
	add(a, u->o->model);
	add(a, "-i");
	add(a, id);
	add(a, "--dtype");
	add(a, u->o->dtype);
	add(a, "--weights");
	add(a, u->o->weights);
	add(a, "--threads");
	snprintf(n, sizeof(n), "%d", threads);
	add(a, n);
	add(a, "--ready-fd");
	snprintf(n, sizeof(n), "%d", READY_FD);
	add(a, n);
	if (u->o->servers > 0) {
		text = mem_printf("%s/cluster.conf", u->dir);
		add(a, "-f");
		add(a, text);
		mem_free(text);
	}
}

/* A port that nobody had a moment ago; 0: none. */
static int
free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
	    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;
	socklen_t n = sizeof(a);

	if (fd < 0)
		return 0;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&a, &n) == 0)
		port = ntohs(a.sin_port);
	close(fd);
	return port;
}

/* ---- the cluster --------------------------------------------------------- */

static int
write_cluster(const struct bench_e2e_up *u, struct err *err)
{
	char *path = mem_printf("%s/cluster.conf", u->dir);
	FILE *fp = fopen(path, "we");
	bool bad;
	int i;

	if (fp == NULL) {
		err_sys(err, ERR_TEMP, errno, "%s", path);
		mem_free(path);
		return -1;
	}
	mem_free(path);
	fprintf(fp, "moe-cluster 1\nmodel %s\nreplicas 1\n", u->o->model);
	for (i = 1; i <= u->o->servers; i++) {
		if (strcmp(u->o->transport, "tcp") == 0)
			fprintf(fp, "expert e%d tcp:127.0.0.1:%d\n", i,
			    free_port());
		else
			fprintf(fp, "expert e%d shm:%s/e%d.sock\n", i, u->dir,
			    i);
	}
	bad = ferror(fp) != 0;
	if (fclose(fp) != 0 || bad)
		return err_set(err, ERR_TEMP, "%s: writing failed", u->dir);
	return 0;
}

static int
start_experts(struct bench_e2e_up *u, struct err *err)
{
	int threads = u->o->servers > 0 ? u->o->threads / u->o->servers : 0;
	int i, rc = 0;
	char id[16];

	for (i = 1; rc == 0 && i <= u->o->servers; i++) {
		struct args a = { { NULL, 0, 0 } };

		snprintf(id, sizeof(id), "e%d", i);
		begin_args(&a, u, "moe-expertd", id, threads > 0 ? threads : 1);
		add_split(&a, u->o->expertd_args);
		add(&a, NULL);
		rc = spawn(u, id, a.v.p, err);
		args_free(&a);
	}
	return rc;
}

static int
start_front(struct bench_e2e_up *u, struct err *err)
{
	struct args a = { { NULL, 0, 0 } };
	char addr[32];
	int rc;

	snprintf(addr, sizeof(addr), "127.0.0.1:%d", free_port());
	snprintf(u->url, sizeof(u->url), "http://%s", addr);
	begin_args(&a, u, "moe-attnd", "front", u->o->threads);
	if (u->o->servers == 0)
		add(&a, "--local");
	/* A prompt that was seen before would not be computed. */
	add(&a, "--no-prefix-cache");
	add(&a, "--alias");
	add(&a, "e2e");
	add(&a, "-p");
	add(&a, addr);
	add_split(&a, u->o->attnd_args);
	add(&a, NULL);
	rc = spawn(u, "front", a.v.p, err);
	args_free(&a);
	return rc;
}

int
bench_e2e_up_start(struct bench_e2e_up **out, const struct bench_e2e_up_opt *o,
    struct err *err)
{
	struct bench_e2e_up *u = mem_zalloc(sizeof(*u));
	const char *tmp = getenv("TMPDIR");

	u->o = o;
	snprintf(u->dir, sizeof(u->dir), "%.40s/moe-e2e.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(u->dir) == NULL) {
		err_sys(err, ERR_TEMP, errno, "%s", u->dir);
		mem_free(u);
		return -1;
	}
	if ((o->servers > 0 && write_cluster(u, err) != 0) ||
	    start_experts(u, err) != 0 || start_front(u, err) != 0) {
		bench_e2e_up_stop(u);
		return -1;
	}
	*out = u;
	return 0;
}

const char *
bench_e2e_up_url(const struct bench_e2e_up *u)
{
	return u->url;
}

/* Wait until it is gone; kill it when that takes too long. */
static void
bury(pid_t pid)
{
	const struct timespec tick = { 0, 5000000 };
	uint64_t end = clock_ns() + STOP_NS;

	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_left(end) == 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return;
		}
		nanosleep(&tick, NULL);
	}
}

static void
remove_file(const struct bench_e2e_up *u, const char *name, const char *ext)
{
	char *path = mem_printf("%s/%s%s", u->dir, name, ext);

	unlink(path);
	mem_free(path);
}

void
bench_e2e_up_stop(struct bench_e2e_up *u)
{
	int i;

	if (u == NULL)
		return;
	for (i = u->n - 1; i >= 0; i--) {	/* the front end first */
		kill(u->pid[i], SIGTERM);
		bury(u->pid[i]);
		remove_file(u, u->id[i], ".log");
		remove_file(u, u->id[i], ".sock");
	}
	remove_file(u, "cluster", ".conf");
	rmdir(u->dir);
	mem_free(u);
}
