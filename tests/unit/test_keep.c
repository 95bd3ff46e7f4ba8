/* Unit tests of packed weights in files: what comes back, what is not believed,
 * what happens when nothing can be written.  Run under tsan, too. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "keep.h"
#include "scratch.h"
#include "store.h"
#include "tap.h"

#define LAYER	1
#define N	3		/* experts of the block, from 1 on */

static struct kern *kn;
static struct model *model;
static char kept[300];		/* a folder in memory */
static char said[500];		/* the last warning */
static int n_said;

static void
hear(void *arg, const char *text)
{
	static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

	(void)arg;
	pthread_mutex_lock(&mu);
	n_said++;
	snprintf(said, sizeof(said), "%s", text);
	pthread_mutex_unlock(&mu);
}

static struct keep *
open_keep(const char *keep_dir, const char *cache_dir)
{
	const struct keep_opt o = { .kn = kn, .m = model, .fingerprint = 77,
	    .keep_dir = keep_dir, .cache_dir = cache_dir, .warn = hear };
	struct err e = ERR_INIT;
	struct keep *k = NULL;

	/* By threads, too: no OK() here. */
	if (keep_open(&k, &o, &e) != 0) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
	return k;
}

/* Are these the experts of the checkpoint? */
static bool
are_right(const struct kern_expert *w)
{
	struct kern_expert x;
	struct err e = ERR_INIT;
	bool good = true;
	int i;

	for (i = 0; i < N; i++) {
		if (store_load_expert(kn, model, LAYER, 1 + i, &x, &e) != 0)
			return false;
		good &= x.gate_up.bytes == w[i].gate_up.bytes &&
		    x.gate_up.n == w[i].gate_up.n &&
		    x.down.k == w[i].down.k &&
		    x.down.dtype == w[i].down.dtype &&
		    memcmp(x.gate_up.data, w[i].gate_up.data,
		    x.gate_up.bytes) == 0 &&
		    memcmp(x.down.data, w[i].down.data, x.down.bytes) == 0;
		store_free_expert(kn, &x);
	}
	return good;
}

/* Load the block by a keep of its own; the counts after it. */
static struct keep_count
load_once(const char *keep_dir, const char *cache_dir, const char *what)
{
	struct keep *k = open_keep(keep_dir, cache_dir);
	struct kern_expert w[N];
	struct err e = ERR_INIT;
	struct keep_count c;
	int i, rc;

	n_said = 0;
	rc = keep_load(k, LAYER, 1, N, w, &e);
	OK(rc == 0 && are_right(w), "%s: the experts are right %s", what,
	    e.text);
	for (i = 0; i < N && rc == 0; i++)
		keep_drop(k, &w[i]);
	keep_count(k, &c);
	keep_close(k);
	return c;
}

/* The one file of a folder. */
static void
one_file(const char *dir, char path[600])
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') {
			snprintf(path, 600, "%s/%s", dir, e->d_name);
			n++;
		}
	if (d != NULL)
		closedir(d);
	EQ_INT(n, 1, "one file");
}

static void
flip(const char *path, off_t at)
{
	char c;
	int fd;

	chmod(path, 0600);
	fd = open(path, O_RDWR);
	if (at < 0)
		at += lseek(fd, 0, SEEK_END);
	if (pread(fd, &c, 1, at) == 1) {
		c = (char)(c ^ 1);
		(void)!pwrite(fd, &c, 1, at);
	}
	close(fd);
	chmod(path, 0400);
}

enum damage { HEADER, SUM, FIRST, LAST, SHORT, LONGER, MODE, LINK, FIFO,
    OTHER, DAMAGES };
static const char *const damage_name[] = { "a byte of the header",
    "a checksum", "a byte of the first expert", "a byte of the last one",
    "cut short", "grown", "writable", "a link", "a FIFO",
    "another model's" };

static void
damage(enum damage what, const char *path)
{
	char old[620];
	struct stat st;
	int fd;

	stat(path, &st);
	switch (what) {
	case HEADER:
		flip(path, 16);
		break;
	case SUM:
		flip(path, 152);
		break;
	case FIRST:
		flip(path, 4096 + 5);
		break;
	case LAST:	/* within the last matrix, not the padding after it */
		flip(path, -4096 + 1);
		break;
	case SHORT:
	case LONGER:
		chmod(path, 0600);
		(void)!truncate(path, st.st_size + (what == SHORT ? -1 : 1));
		chmod(path, 0400);
		break;
	case MODE:
		chmod(path, 0600);
		break;
	case LINK:
		snprintf(old, sizeof(old), "%s.old", path);
		(void)!rename(path, old);
		(void)!symlink(old, path);
		break;
	case FIFO:
		unlink(path);
		mkfifo(path, 0400);
		break;
	case OTHER:
		chmod(path, 0600);
		fd = open(path, O_RDWR);
		(void)!pwrite(fd, "\0\0\0\0\0\0\0\1", 8, 16);
		close(fd);
		chmod(path, 0400);
		break;
	case DAMAGES:
		break;
	}
}

static void
empty(const char *dir)
{
	char cmd[400];

	snprintf(cmd, sizeof(cmd), "rm -f %s/*", dir);
	(void)!system(cmd);
}

/* In one folder, be it kept or cached. */
static void
test_folder(const char *keep_dir, const char *cache_dir)
{
	const char *dir = keep_dir != NULL ? keep_dir : cache_dir;
	struct keep_count c = load_once(keep_dir, cache_dir, "new");
	struct stat st;
	char path[600];
	int i;

	OK(c.packed == N && c.mapped + c.cached == 0, "packed at first");
	one_file(dir, path);
	OK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0400 &&
	    st.st_nlink == 1, "sealed");
	c = load_once(keep_dir, cache_dir, "again");
	OK(c.packed == 0 && (keep_dir != NULL ? c.mapped : c.cached) == N,
	    "then taken from the file");
	for (i = 0; i < DAMAGES; i++) {
		damage(i, path);
		c = load_once(keep_dir, cache_dir, damage_name[i]);
		OK(c.packed == N && c.bad == 1 && n_said == 1,
		    "%s: not believed: %s", damage_name[i], said);
		if (i == LINK) {
			strcat(path, ".old");
			unlink(path);
		}
		one_file(dir, path);
		c = load_once(keep_dir, cache_dir, "repaired");
		OK(c.packed == 0 && c.bad == 0, "and replaced");
	}
	empty(dir);
}

static void
test_both(void)
{
	struct keep_count c = load_once(kept, scratch_dir, "both");

	OK(c.packed == N, "packed");
	empty(kept);
	c = load_once(kept, scratch_dir, "the machine was started again");
	OK(c.cached == N && c.packed == 0, "from the disk into memory");
	c = load_once(kept, scratch_dir, "the server was started again");
	OK(c.mapped == N && c.cached == 0, "in memory already");
	empty(kept);
	empty(scratch_dir);
}

static void
test_refused(void)
{
	struct keep_opt o = { .kn = kn, .m = model, .keep_dir = scratch_dir };
	struct err e = ERR_INIT;
	struct keep *k;

	OK(keep_open(&k, &o, &e) == -1 && e.code == ERR_USAGE &&
	    strstr(e.text, "not in memory") != NULL, "%s", e.text);
	o.keep_dir = kept;
	chmod(kept, 0777);
	OK(keep_open(&k, &o, &e) == -1 && e.code == ERR_USAGE &&
	    strstr(e.text, "nobody else") != NULL, "%s", e.text);
	chmod(kept, 0700);
	o.keep_dir = "/nonexistent/a/b";
	OK(keep_open(&k, &o, &e) == -1 && e.code == ERR_TEMP, "%s", e.text);
}

/* No room: served all the same, from memory of its own. */
static void
test_full(void)
{
	struct rlimit was, small = { 8192, 8192 };
	struct keep_count c;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	small.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	c = load_once(kept, NULL, "no room");
	OK(c.packed == N && n_said == 1 &&
	    strstr(said, "cannot be written") != NULL, "said so: %s", said);
	setrlimit(RLIMIT_FSIZE, &was);
	c = load_once(kept, NULL, "room again");
	OK(c.packed == N && n_said == 0, "nothing half done was left");
	empty(kept);
}

static void
test_forget(void)
{
	struct keep *k = open_keep(kept, NULL);
	struct kern_expert w[N];
	struct keep_count c;
	struct err e = ERR_INIT;
	int i;

	OK(keep_load(k, LAYER, 1, N, w, &e) == 0, "loaded");
	keep_forget(k, LAYER, 1, N);
	OK(are_right(w), "forgotten, but whoever holds it has it");
	for (i = 0; i < N; i++)
		keep_drop(k, &w[i]);
	keep_close(k);
	c = load_once(kept, NULL, "after that");
	OK(c.packed == N && c.bad == 0, "it is made anew");
	empty(kept);
}

static void *
race(void *arg)
{
	struct kern_expert *w = arg;
	struct keep *k = open_keep(kept, NULL);
	struct err e = ERR_INIT;
	int i;

	for (i = 0; i < 20; i++) {
		int j;

		if (keep_load(k, LAYER, 1, N, w, &e) != 0)
			return NULL;
		for (j = 0; j < N; j++)
			keep_drop(k, &w[j]);
		if (i % 5 == 4)
			keep_forget(k, LAYER, 1, N);
	}
	if (keep_load(k, LAYER, 1, N, w, &e) != 0)
		return NULL;
	return k;
}

/* Several servers that start at once: each block has one file, and all have
 * the right weights. */
static void
test_race(void)
{
	struct kern_expert w[4][N];
	pthread_t t[4];
	char path[600];
	void *k;
	int i, j;

	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, race, w[i]);
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &k);
		OK(k != NULL && are_right(w[i]), "server %d", i);
		for (j = 0; k != NULL && j < N; j++)
			keep_drop(k, &w[i][j]);
		keep_close(k);
	}
	(void)load_once(kept, NULL, "after the race");
	one_file(kept, path);
	empty(kept);
}

static void
end(void)
{
	empty(kept);
	rmdir(kept);
}

int
main(void)
{
	const struct kern_opt ko = { .act = KERN_BF16, .threads = 1 };
	char *dir = scratch_root("tests/golden/models/mixtral");
	char why[KERN_WHY];
	struct err e = ERR_INIT;

	snprintf(kept, sizeof(kept), "/dev/shm/moe-test-XXXXXX");
	if (mkdtemp(kept) == NULL) {
		printf("1..0 # SKIP no folder in /dev/shm\n");
		return 0;
	}
	atexit(end);
	scratch_begin();
	if (kern_open(&kn, &ko, why) != 0 ||
	    model_open(&model, dir, &e) != 0) {
		printf("Bail out! %s%s\n", why, e.text);
		return 1;
	}
	test_folder(kept, NULL);
	test_folder(NULL, scratch_dir);
	test_both();
	test_refused();
	test_full();
	test_forget();
	test_race();
	model_close(model);
	kern_close(kn);
	mem_free(dir);
	return tap_done();
}
