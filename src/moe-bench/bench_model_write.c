/*
 * bench_model_write - see bench_model_write.h.
 *
 * Threads take pieces (some megabytes of one tensor), make the values and
 * pwrite them where the plan says; order does not matter.
 */
#include "bench_model_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "bench_model_fill.h"
#include "bench_model_plan.h"
#include "clock.h"
#include "mem.h"
#include "num.h"

#define PIECE_ELEMS	((size_t)1 << 20)	/* a multiple of 8 */
#define MAX_THREADS	64
#define PROGRESS_NS	200000000ull
#define PART		".part"

struct writer {
	const struct bench_model_write *w;
	struct bench_model_plan plan;
	struct { struct bench_model_table **p; size_t n, cap; } table;
	int *fd;		/* of each file of the plan */
	size_t *first_piece;	/* of each tensor; [n] is the number of all */
	atomic_size_t next;
	atomic_bool failed;
	pthread_mutex_t mu;	/* what follows */
	struct err *err;
	uint64_t done_bytes, start_ns, shown_ns;
};

/* ---- the directory ----------------------------------------------------- */

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* Part files of a run that was interrupted are nobody's data. */
static bool
is_ours(const char *name)
{
	return name[0] == '.' || ends_with(name, PART);
}

static bool
is_weights(const char *name)
{
	return strncmp(name, "model", 5) == 0 &&
	    (ends_with(name, ".safetensors") ||
	    strcmp(name, "model.safetensors.index.json") == 0);
}

/* Call it with remove false: -1 if something is in the directory.  With true:
 * remove weights, which an older index could lead a reader to. */
static int
scan_dir(const char *dir, bool remove, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return err_sys(err, ERR_DATA, errno, "%s", dir);
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (remove && is_weights(e->d_name) &&
		    unlinkat(dirfd(d), e->d_name, 0) != 0)
			rc = err_sys(err, ERR_TEMP, errno, "%s/%s", dir,
			    e->d_name);
		if (!remove && !is_ours(e->d_name))
			rc = err_set(err, ERR_DATA, "%s is not empty (%s): "
			    "--force replaces a checkpoint", dir, e->d_name);
	}
	closedir(d);
	return rc;
}

/* *made_p: the directory was not there. */
static int
prepare_dir(const struct bench_model_write *w, uint64_t bytes, bool *made_p,
    struct err *err)
{
	char need[NUM_TEXT], have[NUM_TEXT];
	struct statvfs v;
	uint64_t free_bytes;

	*made_p = mkdir(w->dir, 0777) == 0;
	if (!*made_p && errno != EEXIST)
		return err_sys(err, ERR_DATA, errno, "%s", w->dir);
	if (!w->force && scan_dir(w->dir, false, err) != 0)
		return -1;
	if (statvfs(w->dir, &v) != 0)
		return err_sys(err, ERR_TEMP, errno, "%s", w->dir);
	free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	if (free_bytes < bytes)
		return err_set(err, ERR_TEMP, "%s: %s are needed, %s are free",
		    w->dir, num_size_text(bytes, need),
		    num_size_text(free_bytes, have));
	return 0;
}

static char *
part_path(const struct writer *x, const char *name)
{
	return mem_printf("%s/%s" PART, x->w->dir, name);
}

static int
open_part(const struct writer *x, const char *name, struct err *err)
{
	char *path = part_path(x, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0)
		err_sys(err, ERR_TEMP, errno, "%s", path);
	mem_free(path);
	return fd;
}

static int
write_at(int fd, const void *buf, size_t n, uint64_t at)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t put = pwrite(fd, p, n, (off_t)at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return -1;
		p += put;
		n -= (size_t)put;
		at += (uint64_t)put;
	}
	return 0;
}

static int
write_text(const struct writer *x, const char *name, const char *text,
    struct err *err)
{
	int fd = open_part(x, name, err), rc;

	if (fd < 0)
		return -1;
	rc = write_at(fd, text, strlen(text), 0);
	if (close(fd) != 0 || rc != 0)
		return err_sys(err, ERR_TEMP, errno, "%s/%s", x->w->dir, name);
	return 0;
}

static int
commit(const struct writer *x, const char *name, struct err *err)
{
	char *from = part_path(x, name);
	char *to = mem_printf("%s/%s", x->w->dir, name);
	int rc = rename(from, to);

	if (rc != 0)
		err_sys(err, ERR_TEMP, errno, "%s", to);
	mem_free(from);
	mem_free(to);
	return rc;
}

static void
drop_part(const struct writer *x, const char *name)
{
	char *path = part_path(x, name);

	(void)unlink(path);	/* it may not be there */
	mem_free(path);
}

/* ---- weights ----------------------------------------------------------- */

static const struct bench_model_table *
table_for(struct writer *x, double sd)
{
	struct bench_model_table *t;
	size_t i;

	for (i = 0; i < x->table.n; i++)
		if (x->table.p[i]->sd == sd)
			return x->table.p[i];
	t = mem_zalloc(sizeof(*t));
	bench_model_fill_table(t, sd, x->w->dtype);
	VEC_PUSH(&x->table, t);
	return t;
}

/* Called with the mutex held. */
static void
show_progress(struct writer *x, size_t n)
{
	char done[NUM_TEXT], all[NUM_TEXT];
	uint64_t now = clock_ns();

	x->done_bytes += n;
	if (!x->w->progress || (now - x->shown_ns < PROGRESS_NS &&
	    x->done_bytes < x->plan.bytes))
		return;
	x->shown_ns = now;
	fprintf(stderr, "\r%s of %s, %.0f MB/s ",
	    num_size_text(x->done_bytes, done),
	    num_size_text(x->plan.bytes, all), (double)x->done_bytes * 1e3 /
	    (double)(now - x->start_ns + 1));
	if (x->done_bytes == x->plan.bytes)
		fprintf(stderr, "\n");
}

/* The tensor that piece i is of. */
static size_t
piece_tensor(const struct writer *x, size_t i)
{
	size_t lo = 0, hi = x->plan.tensor.n, mid;

	while (hi - lo > 1) {
		mid = (lo + hi) / 2;
		if (x->first_piece[mid] <= i)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

static int
write_piece(struct writer *x, size_t i, void *buf, struct err *err)
{
	size_t k = piece_tensor(x, i), n, first, eb;
	const struct bench_model_tensor *t = &x->plan.tensor.p[k];
	const struct bench_model_file *f = &x->plan.file.p[t->file];
	const struct bench_model_table *table;
	uint64_t key = ckpt_hash(CKPT_HASH ^ x->w->seed, t->name,
	    strlen(t->name));

	pthread_mutex_lock(&x->mu);
	table = table_for(x, t->sd);
	pthread_mutex_unlock(&x->mu);
	eb = (size_t)table->bytes;
	first = (i - x->first_piece[k]) * PIECE_ELEMS;
	n = t->elems - first < PIECE_ELEMS ? t->elems - first : PIECE_ELEMS;
	bench_model_fill(table, key, first, n, buf);
	if (write_at(x->fd[t->file], buf, n * eb,
	    f->header.n + t->begin + first * eb) != 0)
		return err_sys(err, ERR_TEMP, errno, "%s/%s", x->w->dir,
		    f->name);
	pthread_mutex_lock(&x->mu);
	show_progress(x, n * eb);
	pthread_mutex_unlock(&x->mu);
	return 0;
}

static void *
writer_run(void *arg)
{
	struct writer *x = arg;
	size_t n = x->first_piece[x->plan.tensor.n], i;
	void *buf = mem_alloc(PIECE_ELEMS * sizeof(float));
	struct err e = ERR_INIT;

	while (!atomic_load(&x->failed) &&
	    (i = atomic_fetch_add(&x->next, 1)) < n)
		if (write_piece(x, i, buf, &e) != 0) {
			pthread_mutex_lock(&x->mu);
			if (!atomic_exchange(&x->failed, true))
				*x->err = e;
			pthread_mutex_unlock(&x->mu);
		}
	mem_free(buf);
	return NULL;
}

static int
write_weights(struct writer *x, struct err *err)
{
	pthread_t t[MAX_THREADS];
	int n = 0, i;
	size_t k;

	for (k = 0; k < x->plan.file.n; k++) {
		const struct bench_model_file *f = &x->plan.file.p[k];

		x->fd[k] = open_part(x, f->name, err);
		if (x->fd[k] < 0)
			return -1;
		if (write_at(x->fd[k], f->header.p, f->header.n, 0) != 0)
			return err_sys(err, ERR_TEMP, errno, "%s/%s",
			    x->w->dir, f->name);
	}
	x->err = err;
	x->start_ns = clock_ns();
	for (i = 1; i < x->w->threads && i < MAX_THREADS; i++)
		if (pthread_create(&t[n], NULL, writer_run, x) == 0)
			n++;
	writer_run(x);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	return atomic_load(&x->failed) ? -1 : 0;
}

static int
close_weights(struct writer *x, struct err *err)
{
	int rc = 0;
	size_t k;

	for (k = 0; k < x->plan.file.n; k++)
		if (x->fd[k] >= 0 && close(x->fd[k]) != 0)
			rc = err_sys(err, ERR_TEMP, errno, "%s/%s", x->w->dir,
			    x->plan.file.p[k].name);
	return rc;
}

/* ---- all of it --------------------------------------------------------- */

static void
writer_init(struct writer *x, const struct bench_model_write *w)
{
	size_t i, n;

	memset(x, 0, sizeof(*x));
	x->w = w;
	pthread_mutex_init(&x->mu, NULL);
	bench_model_plan(&x->plan, w->cfg, w->dtype, w->shard_bytes);
	n = x->plan.tensor.n;
	x->first_piece = mem_calloc(n + 1, sizeof(*x->first_piece));
	for (i = 0; i < n; i++)
		x->first_piece[i + 1] = x->first_piece[i] +
		    (x->plan.tensor.p[i].elems + PIECE_ELEMS - 1) / PIECE_ELEMS;
	x->fd = mem_calloc(x->plan.file.n, sizeof(*x->fd));
	for (i = 0; i < x->plan.file.n; i++)
		x->fd[i] = -1;
}

static void
writer_fini(struct writer *x)
{
	size_t i;

	for (i = 0; i < x->table.n; i++)
		mem_free(x->table.p[i]);
	VEC_FREE(&x->table);
	mem_free(x->first_piece);
	mem_free(x->fd);
	bench_model_plan_free(&x->plan);
	pthread_mutex_destroy(&x->mu);
}

int
bench_model_write(const struct bench_model_write *w, uint64_t *bytes_p,
    struct err *err)
{
	struct writer x;
	/* In the order of committing. */
	const struct {
		const char *name, *text;
	} other[] = {
		{ "tokenizer.json", w->tok },
		{ "tokenizer_config.json", w->tok_config },
		{ "generation_config.json", w->gen },
		{ "config.json", w->config },
	};
	const char *index = "model.safetensors.index.json";
	size_t i, n = sizeof(other) / sizeof(other[0]);
	bool made;
	int rc;

	writer_init(&x, w);
	*bytes_p = x.plan.bytes;
	rc = prepare_dir(w, x.plan.bytes, &made, err);
	if (rc == 0)
		rc = write_weights(&x, err);
	rc = close_weights(&x, err) != 0 ? -1 : rc;
	if (rc == 0 && x.plan.index.n > 0)
		rc = write_text(&x, index, x.plan.index.p, err);
	for (i = 0; rc == 0 && i < n; i++)
		rc = write_text(&x, other[i].name, other[i].text, err);
	if (rc == 0)
		rc = scan_dir(w->dir, true, err);
	for (i = 0; rc == 0 && i < x.plan.file.n; i++)
		rc = commit(&x, x.plan.file.p[i].name, err);
	if (rc == 0 && x.plan.index.n > 0)
		rc = commit(&x, index, err);
	for (i = 0; rc == 0 && i < n; i++)
		rc = commit(&x, other[i].name, err);
	if (rc != 0) {
		for (i = 0; i < x.plan.file.n; i++)
			drop_part(&x, x.plan.file.p[i].name);
		drop_part(&x, index);
		for (i = 0; i < n; i++)
			drop_part(&x, other[i].name);
		if (made)
			(void)rmdir(w->dir);	/* unless files stand in it */
	}
	writer_fini(&x);
	return rc;
}
