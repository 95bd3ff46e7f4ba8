/*
 * bench_load.c - how fast a checkpoint gets into packed memory, page cache cold
 * and warm, beside what the disk gives to a parallel direct read.
 *
 * A round is a direct read, a load after the files were dropped from the page
 * cache, and a load with them in it.  Each load is a child process of its own,
 * so that its peak of memory is its own.
 */
#include "bench_load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "err.h"
#include "mem.h"
#include "model.h"
#include "rec.h"
#include "sorted.h"
#include "store.h"

#define PROG		"moe-bench load"
#define CHUNK		((size_t)1 << 20)	/* of a direct read */
#define MAX_ROUNDS	100
#define MAX_THREADS	64
#define MB		1000000u

enum { DIRECT, COLD, WARM, KINDS };
static const char *const kind_name[KINDS] = { "direct", "cold", "warm" };

static const struct rec_col cols[] = {
	{ "how", REC_STR, 0 }, { "rounds", REC_INT, 0 },
	{ "bytes", REC_INT, 0 }, { "s", REC_REAL, 0 },
	{ "gb_s", REC_REAL, 0 }, { "gb_s_min", REC_REAL, 0 },
	{ "gb_s_max", REC_REAL, 0 }, { "of_direct", REC_REAL, 0 },
	{ "peak_mb", REC_INT, 0 }, { "peak_allowed_mb", REC_INT, 0 },
	{ NULL, 0, 0 }
};

struct opts {
	const char *dir;
	int64_t threads, rounds;
	int dtype;
	bool json;
};

/* What a load says of itself to its parent. */
struct report {
	uint64_t ns, packed_bytes;
	struct err err;		/* err.code 0: it went well */
};

struct file {
	char *path;
	int fd;			/* O_DIRECT, where the system has that */
	uint64_t bytes;
};

struct session {
	const struct opts *o;
	struct { struct file *p; size_t n, cap; } file;
	uint64_t bytes;		/* of all files */
	double s[KINDS][MAX_ROUNDS];
	uint64_t peak_bytes[KINDS], packed_bytes;
};

/* ---- the files ---------------------------------------------------------- */

static int
add_file(struct session *s, char *path, struct err *err)
{
	struct file f = { path, open(path, O_RDONLY | O_CLOEXEC | O_DIRECT),
	    0 };
	off_t end;

	if (f.fd < 0 && errno == EINVAL)
		f.fd = open(path, O_RDONLY | O_CLOEXEC);
	end = f.fd < 0 ? -1 : lseek(f.fd, 0, SEEK_END);
	if (end < 0) {
		err_sys(err, ERR_TEMP, errno, "%s", path);
		mem_free(path);
		return -1;
	}
	f.bytes = (uint64_t)end;
	s->bytes += f.bytes;
	VEC_PUSH(&s->file, f);
	return 0;
}

/* The tensor files of the checkpoint; it is a model that can be loaded. */
static int
find_files(struct session *s, struct err *err)
{
	const struct ckpt *c;
	struct model *m;
	int last = -1, rc = 0;
	size_t i;

	if (model_open(&m, s->o->dir, err) != 0)
		return -1;
	c = model_ckpt(m);
	for (i = 0; rc == 0 && i < ckpt_count(c); i++) {
		const struct ckpt_tensor *t = ckpt_at(c, i);

		if (t->file != last)
			rc = add_file(s, mem_printf("%s/%s", s->o->dir,
			    ckpt_file(c, t)), err);
		last = t->file;
	}
	model_close(m);
	return rc;
}

/* Out of the page cache, if nobody else has them mapped. */
static void
drop_files(const struct session *s)
{
	size_t i;

	for (i = 0; i < s->file.n; i++)
		posix_fadvise(s->file.p[i].fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* ---- the direct read ---------------------------------------------------- */

struct reading {
	const struct session *s;
	atomic_size_t next;	/* chunk of all files together */
	atomic_int failed;	/* an errno */
};

/* File and offset of chunk i; false after the last. */
static bool
find_chunk(const struct session *s, size_t i, const struct file **f_p,
    uint64_t *at_p)
{
	size_t j, n;

	for (j = 0; j < s->file.n; j++, i -= n) {
		n = (size_t)((s->file.p[j].bytes + CHUNK - 1) / CHUNK);
		if (i < n) {
			*f_p = &s->file.p[j];
			*at_p = (uint64_t)i * CHUNK;
			return true;
		}
	}
	return false;
}

static void *
read_chunks(void *arg)
{
	struct reading *r = arg;
	void *buf = mem_map(CHUNK);
	const struct file *f;
	uint64_t at;

	BUG_ON(buf == NULL);
	while (find_chunk(r->s, atomic_fetch_add(&r->next, 1), &f, &at))
		if (pread(f->fd, buf, CHUNK, (off_t)at) < 0)
			atomic_store(&r->failed, errno);
	mem_unmap(buf, CHUNK);
	return NULL;
}

static int
read_direct(struct session *s, int round, struct err *err)
{
	struct reading r = { .s = s };
	pthread_t t[MAX_THREADS];
	uint64_t begin;
	int i, n = (int)s->o->threads;

	drop_files(s);
	begin = clock_ns();
	for (i = 0; i < n; i++)
		BUG_ON(pthread_create(&t[i], NULL, read_chunks, &r) != 0);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	s->s[DIRECT][round] = (double)(clock_ns() - begin) * 1e-9;
	if (r.failed != 0)
		return err_sys(err, ERR_TEMP, r.failed, "%s", s->o->dir);
	return 0;
}

/* ---- a load ------------------------------------------------------------- */

struct loading {
	const struct opts *o;
	struct kern *kn;
	struct model *m;
	uint64_t packed_bytes;
};

static int
load_mat(struct loading *l, enum model_role role, int layer, struct err *err)
{
	struct model_ref ref;
	const struct store_mat a = { l->kn, l->m, &ref, 1, kern_act(l->kn),
	    (int)l->o->threads };
	struct kern_mat mat;

	if (!model_ref(l->m, role, layer, 0, &ref))
		return 0;
	if (store_load_mat(&a, &mat, err) != 0)
		return -1;
	l->packed_bytes += mat.bytes;
	return 0;
}

/* Everything of a layer that is no routed expert; vectors are nothing. */
static int
load_dense(struct loading *l, int layer, struct err *err)
{
	static const enum model_role role[] = { MODEL_Q, MODEL_K, MODEL_V,
	    MODEL_O, MODEL_ROUTER };
	const struct model_cfg *cfg = model_cfg(l->m);
	bool moe = cfg->layer[layer].moe;
	struct kern_expert x;
	size_t i;

	for (i = 0; i < sizeof(role) / sizeof(role[0]); i++)
		if (load_mat(l, role[i], layer, err) != 0)
			return -1;
	if (moe && cfg->shared == CONFIG_SHARED_NONE)
		return 0;
	if (store_load_ffn(l->kn, l->m, moe ? STORE_SHARED : STORE_DENSE,
	    layer, 0, &x, err) != 0)
		return -1;
	l->packed_bytes += x.gate_up.bytes + x.down.bytes;
	return 0;
}

static int
load_experts(struct loading *l, struct err *err)
{
	const struct model_cfg *cfg = model_cfg(l->m);
	size_t max = (size_t)cfg->n_layer * (size_t)cfg->n_expert, i, n = 0;
	struct store_pick *pick = mem_calloc(max, sizeof(*pick));
	struct kern_expert *x = mem_calloc(max, sizeof(*x));
	struct store_many a = { .kn = l->kn, .m = l->m, .pick = pick,
	    .threads = (int)l->o->threads };
	int layer, e, rc;

	for (layer = 0; layer < cfg->n_layer; layer++)
		for (e = 0; cfg->layer[layer].moe && e < cfg->n_expert; e++)
			pick[n++] = (struct store_pick){ layer, e };
	a.n = n;
	rc = store_load_many(&a, x, err);
	for (i = 0; rc == 0 && i < n; i++)
		l->packed_bytes += x[i].gate_up.bytes + x[i].down.bytes;
	mem_free(pick);
	mem_free(x);
	return rc;
}

/* As moe-attnd --local: all that the model has.  The memory goes with the
 * process. */
static int
load_all(struct loading *l, struct err *err)
{
	struct kern_opt ko = { .threads = 1 };
	char why[KERN_WHY];
	int i;

	if (model_open(&l->m, l->o->dir, err) != 0)
		return -1;
	ko.act = model_pick_act(l->m, (enum model_dtype)l->o->dtype);
	if (kern_open(&l->kn, &ko, why) != 0)
		return err_set(err, ERR_UNAVAIL, "%s", why);
	for (i = 0; i < model_cfg(l->m)->n_layer; i++)
		if (load_dense(l, i, err) != 0)
			return -1;
	if (load_mat(l, MODEL_EMBED, 0, err) != 0 ||
	    (!model_cfg(l->m)->tied &&
	    load_mat(l, MODEL_LM_HEAD, 0, err) != 0))
		return -1;
	return load_experts(l, err);
}

_Noreturn static void
child_main(const struct opts *o, int fd)
{
	struct loading l = { .o = o };
	struct report r = { 0 };
	uint64_t begin = clock_ns();

	load_all(&l, &r.err);
	r.ns = clock_ns() - begin;
	r.packed_bytes = l.packed_bytes;
	_exit(write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r));
}

static int
load_once(struct session *s, int kind, int round, struct err *err)
{
	struct report r;
	struct rusage use;
	int fd[2], status;
	ssize_t got;
	pid_t pid;

	if (kind == COLD)
		drop_files(s);
	if (pipe(fd) != 0)
		return err_sys(err, ERR_TEMP, errno, "pipe");
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child_main(s->o, fd[1]);
	close(fd[1]);
	got = pid > 0 ? read(fd[0], &r, sizeof(r)) : -1;
	close(fd[0]);
	if (pid < 0 || wait4(pid, &status, 0, &use) != pid)
		return err_sys(err, ERR_TEMP, errno, "fork");
	if (got != (ssize_t)sizeof(r))
		return err_set(err, ERR_TEMP, "the loading process died "
		    "(status %#x)", (unsigned)status);
	if (r.err.code != 0) {
		*err = r.err;
		return -1;
	}
	s->s[kind][round] = (double)r.ns * 1e-9;
	s->packed_bytes = r.packed_bytes;
	if ((uint64_t)use.ru_maxrss * 1024 > s->peak_bytes[kind])
		s->peak_bytes[kind] = (uint64_t)use.ru_maxrss * 1024;
	return 0;
}

/* ---- results ------------------------------------------------------------ */

static int
put_kind(struct session *s, struct rec_out *out, int kind, struct err *err)
{
	double *t = s->s[kind], gb = (double)s->bytes * 1e-9;
	int n = (int)s->o->rounds;

	sorted_f64(t, (size_t)n);
	rec_put_str(out, kind_name[kind]);
	rec_put_int(out, n);
	rec_put_int(out, (int64_t)s->bytes);
	rec_put_real(out, t[n / 2]);
	rec_put_real(out, gb / t[n / 2]);
	rec_put_real(out, gb / t[n - 1]);
	rec_put_real(out, gb / t[0]);
	rec_put_real(out, s->s[DIRECT][n / 2] / t[n / 2]);
	if (kind == DIRECT) {
		rec_put_none(out);
		rec_put_none(out);
	} else {
		rec_put_int(out, (int64_t)(s->peak_bytes[kind] / MB));
		rec_put_int(out, (int64_t)((double)s->packed_bytes * 1.05 /
		    MB) + 300);
	}
	return rec_end(out, err);
}

static int
run(struct session *s, struct err *err)
{
	struct rec_out out;
	int i, rc = find_files(s, err);

	for (i = 0; rc == 0 && i < s->o->rounds; i++) {
		rc = read_direct(s, i, err);
		if (rc == 0)
			rc = load_once(s, COLD, i, err);
		if (rc == 0)
			rc = load_once(s, WARM, i, err);
	}
	if (rc != 0)
		return rc;
	rec_out_open(&out, stdout, "loading", 1, cols, s->o->json);
	for (i = 0; rc == 0 && i < KINDS; i++)
		rc = put_kind(s, &out, i, err);
	rec_out_close(&out);
	return rc;
}

static void
close_files(struct session *s)
{
	size_t i;

	for (i = 0; i < s->file.n; i++) {
		close(s->file.p[i].fd);
		mem_free(s->file.p[i].path);
	}
	VEC_FREE(&s->file);
}

int
bench_load_main(int argc, char **argv)
{
	struct opts o = { .threads = 4, .rounds = 3 };
	const struct cli_opt opt[] = {
		{ 'm', "model", CLI_STR, &o.dir, "DIR",
		    "the checkpoint's directory", 0, 0, NULL },
		{ 'r', "rounds", CLI_INT, &o.rounds, "N",
		    "direct read, cold and warm load, so often (3)", 1,
		    MAX_ROUNDS, NULL },
		{ 0, "threads", CLI_INT, &o.threads, "N",
		    "threads that read (4)", 1, MAX_THREADS, NULL },
		{ 0, "dtype", CLI_ENUM, &o.dtype, MODEL_DTYPES,
		    "of packed weights (auto)", 0, 0, NULL },
		{ 'j', "json", CLI_FLAG, &o.json, NULL,
		    "NDJSON instead of TSV", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "load", "",
	    "Time loading a checkpoint, beside a direct read of its files.",
	    opt };
	struct session *s = mem_zalloc(sizeof(*s));
	struct err err = ERR_INIT;
	int at = cli_parse(&c, argc, argv, &err);

	s->o = &o;
	if (at >= 0 && at < argc)
		at = err_set(&err, ERR_USAGE, "operand '%s' is not wanted",
		    argv[at]);
	if (at >= 0 && o.dir == NULL)
		at = err_set(&err, ERR_USAGE, "-m DIR is needed");
	if (at >= 0)
		at = run(s, &err);
	close_files(s);
	mem_free(s);
	return at < 0 ? cli_fail(PROG, &err) : 0;
}
