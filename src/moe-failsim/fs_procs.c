/* fs_procs - see fs_procs.h. */
#include "fs_procs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "rec.h"
#include "str.h"

enum { C_ROLE, C_ID, C_PID, C_ADDR, C_N };

static const struct rec_col procs_col[] = {
	[C_ROLE] = { "role", REC_STR, 0 },
	[C_ID] = { "id", REC_STR, 0 },
	[C_PID] = { "pid", REC_INT, 0 },
	[C_ADDR] = { "address", REC_STR, REC_OPTIONAL },
	[C_N] = { NULL, 0, 0 },
};

/* The letter after "(comm)" of /proc/PID/stat; 0: no such process. */
static char
state_of(pid_t pid)
{
	char path[64], buf[512], *end;
	size_t n;
	FILE *fp;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((fp = fopen(path, "re")) == NULL)
		return 0;
	n = fread(buf, 1, sizeof(buf) - 1, fp);
	fclose(fp);
	buf[n] = '\0';
	end = strrchr(buf, ')');
	return end != NULL && end[1] == ' ' ? end[2] : '\0';
}

/* Numbers are used again: a member has the directory's cluster file among its
 * words. */
static bool
is_member(pid_t pid, const char *dir)
{
	char path[64], *want = mem_printf("%s/cluster.conf", dir);
	char buf[16384];
	bool found = false;
	size_t n, at;
	FILE *fp;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if ((fp = fopen(path, "re")) != NULL) {
		n = fread(buf, 1, sizeof(buf) - 1, fp);
		fclose(fp);
		buf[n] = '\0';
		for (at = 0; at < n && !found; at += strlen(buf + at) + 1)
			found = strcmp(buf + at, want) == 0;
	}
	mem_free(want);
	return found;
}

/* fault:@FILE:... */
static void
find_faults(struct fs_proc *p, const char *addr)
{
	static const char mark[] = "fault:@";
	size_t n;

	if (addr == NULL || strncmp(addr, mark, sizeof(mark) - 1) != 0)
		return;
	addr += sizeof(mark) - 1;
	n = strcspn(addr, ":");
	if (n < sizeof(p->fault_file))
		memcpy(p->fault_file, addr, n);
}

static int
take(struct fs_procs *out, const char *dir, const struct rec_in *in,
    struct err *err)
{
	struct fs_proc p = { .pid = (pid_t)in->val[C_PID].i };
	char state;

	if (!in->val[C_ROLE].have || !in->val[C_ID].have ||
	    in->val[C_PID].i < 0 || in->val[C_PID].i > INT32_MAX ||
	    strlen(in->val[C_ID].s) >= sizeof(p.id))
		return err_set(err, ERR_DATA, "%s:%zu: not a member", in->path,
		    in->line);
	snprintf(p.role, sizeof(p.role), "%s", in->val[C_ROLE].s);
	snprintf(p.id, sizeof(p.id), "%s", in->val[C_ID].s);
	state = p.pid > 1 ? state_of(p.pid) : 0;
	p.alive = state != 0 && state != 'Z' && state != 'X' &&
	    is_member(p.pid, dir);
	p.stopped = state == 'T';
	find_faults(&p, in->val[C_ADDR].have ? in->val[C_ADDR].s : NULL);
	mem_grow((void **)&out->p, &out->cap, out->n + 1, sizeof(*out->p));
	out->p[out->n++] = p;
	return 0;
}

int
fs_procs_read(struct fs_procs *out, const char *dir, struct err *err)
{
	char *path = mem_printf("%s/procs.tsv", dir);
	FILE *fp = fopen(path, "re");
	struct rec_in in;
	int rc;

	*out = (struct fs_procs){ NULL, 0, 0 };
	if (fp == NULL) {
		rc = err_sys(err, ERR_USAGE, errno, "%s", path);
		mem_free(path);
		return rc;
	}
	rec_in_open(&in, fp, path, "procs", 1, procs_col);
	while ((rc = rec_next(&in, err)) == 1)
		if ((rc = take(out, dir, &in, err)) != 0)
			break;
	rec_in_close(&in);
	fclose(fp);
	mem_free(path);
	if (rc != 0)
		fs_procs_free(out);
	return rc;
}

void
fs_procs_free(struct fs_procs *s)
{
	mem_free(s->p);
	*s = (struct fs_procs){ NULL, 0, 0 };
}

const struct fs_proc *
fs_procs_find(const struct fs_procs *s, const char *id)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (strcmp(s->p[i].id, id) == 0)
			return &s->p[i];
	return NULL;
}

/* out: where its output goes; NULL: standard error. */
static int
spawn(char *const argv[], const char *out, pid_t *pid, struct err *err)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t all;
	int rc;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (out != NULL) {
		posix_spawn_file_actions_addopen(&fa, 1, out, O_WRONLY, 0);
		posix_spawn_file_actions_addopen(&fa, 2, out, O_WRONLY, 0);
	} else {
		posix_spawn_file_actions_adddup2(&fa, 2, 1);
	}
	posix_spawnattr_init(&at);
	sigfillset(&all);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID |
	    POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawn(pid, argv[0], &fa, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return rc == 0 ? 0 : err_sys(err, ERR_TEMP, rc, "%s", argv[0]);
}

int
fs_procs_start(const char *dir, const char *id, struct err *err)
{
	char *path = mem_printf("%s/cmd/%s", dir, id);
	char *argv[] = { path, NULL };
	pid_t pid;
	int rc = spawn(argv, "/dev/null", &pid, err);

	mem_free(path);
	return rc;
}

int
fs_procs_command(const char *dir, const char *text, pid_t *pid,
    struct err *err)
{
	char sh[] = "/bin/sh", c[] = "-c";
	char *line = mem_printf(". '%s/env'; %s", dir, text);
	char *argv[] = { sh, c, line, NULL };
	int rc = spawn(argv, NULL, pid, err);

	mem_free(line);
	return rc;
}

bool
fs_procs_serves(const char *file, const struct fs_proc *p)
{
	enum { M_NAME, M_PID, M_STATE };
	static const struct rec_col col[] = {
		[M_NAME] = { "name", REC_STR, 0 },
		[M_PID] = { "pid", REC_INT, 0 },
		[M_STATE] = { "state", REC_STR, 0 },
		{ NULL, 0, 0 },
	};
	struct err err = ERR_INIT;
	struct rec_in in;
	bool yes = false;
	FILE *fp = fopen(file, "re");

	if (fp == NULL)
		return false;
	rec_in_open(&in, fp, file, "member", 1, col);
	while (!yes && rec_next(&in, &err) == 1)
		yes = in.val[M_NAME].have && in.val[M_STATE].have &&
		    strcmp(in.val[M_NAME].s, p->id) == 0 &&
		    in.val[M_PID].i == p->pid &&
		    strcmp(in.val[M_STATE].s, "serving") == 0;
	rec_in_close(&in);
	fclose(fp);
	return yes;
}

long
fs_procs_rss_kb(pid_t pid)
{
	char path[64];
	long size, pages = 0;
	FILE *fp;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if ((fp = fopen(path, "re")) == NULL)
		return 0;
	if (fscanf(fp, "%ld %ld", &size, &pages) != 2)
		pages = 0;
	fclose(fp);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

char *
fs_procs_env(const char *dir, const char *name, struct err *err)
{
	char *path = mem_printf("%s/env", dir), *line, *save = NULL;
	char *value = NULL;
	struct str s = STR_INIT;
	size_t n = strlen(name);

	if (str_read_file(&s, path, 65536) == 0)
		for (line = strtok_r(s.p, "\n", &save); line != NULL &&
		    value == NULL; line = strtok_r(NULL, "\n", &save))
			if (strncmp(line, name, n) == 0 && line[n] == '=')
				value = mem_strdup(line + n + 1);
	if (value == NULL)
		err_set(err, ERR_TEMP, "%s: no %s: no cluster runs here", path,
		    name);
	str_free(&s);
	mem_free(path);
	return value;
}
