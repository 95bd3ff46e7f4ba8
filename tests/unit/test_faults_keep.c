/*
 * Fault loops over packed experts in files: loaded by way of a folder in memory
 * and a cache, first from the checkpoint and then from the files.  Whatever
 * fails, the experts are right or an error says why there are none.
 */
#include "faults.h"
#include "keep.h"
#include "scratch.h"
#include "store.h"

#define LAYER	1
#define N	2

static struct kern *kn;
static struct model *model;
static char kept[64];
static struct kern_expert want[N];
static int n_warned;

static void
hear(void *arg, const char *text)
{
	(void)arg;
	(void)text;
	n_warned++;
}

static void
clear(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
}

static bool
is_right(const struct kern_expert *w)
{
	int i;

	for (i = 0; i < N; i++)
		if (memcmp(w[i].gate_up.data, want[i].gate_up.data,
		    want[i].gate_up.bytes) != 0 ||
		    memcmp(w[i].down.data, want[i].down.data,
		    want[i].down.bytes) != 0)
			return false;
	return true;
}

static int
load(const char *keep_dir, const char *cache_dir, struct err *err)
{
	const struct keep_opt o = { .kn = kn, .m = model, .fingerprint = 77,
	    .keep_dir = keep_dir, .cache_dir = cache_dir, .warn = hear };
	struct kern_expert w[N];
	struct keep *k;
	int i, rc;

	if (keep_open(&k, &o, err) != 0)
		return -1;
	rc = keep_load(k, LAYER, 1, N, w, err);
	if (rc == 0 && !is_right(w))
		rc = err_set(err, ERR_BUG, "wrong weights");
	for (i = 0; i < N && rc == 0; i++)
		keep_drop(k, &w[i]);
	keep_close(k);
	return rc;
}

/* Made, found in memory, made again from the cache. */
static int
both(void *arg, struct err *err)
{
	(void)arg;
	fault_off = true;
	clear(kept);
	clear(scratch_dir);
	fault_off = false;
	if (load(kept, scratch_dir, err) != 0 ||
	    load(kept, scratch_dir, err) != 0)
		return -1;
	fault_off = true;
	clear(kept);
	fault_off = false;
	return load(kept, scratch_dir, err);
}

int
main(void)
{
	const struct fault_try t = { "packed experts", both, NULL,
	    { "folder", "safetensors", "weights" }, 60, 0 };
	const struct kern_opt ko = { .backend = "cpu", .act = KERN_F32,
	    .threads = 1 };
	char *dir = scratch_root("tests/golden/models/olmoe");
	char why[KERN_WHY] = "";
	struct err e = ERR_INIT;
	int i;

	snprintf(kept, sizeof(kept), "/dev/shm/moe-test-XXXXXX");
	if (mkdtemp(kept) == NULL) {
		printf("1..0 # SKIP no folder in /dev/shm\n");
		return 0;
	}
	scratch_begin();
	if (kern_open(&kn, &ko, why) != 0 ||
	    model_open(&model, dir, &e) != 0) {
		printf("Bail out! %s%s\n", why, e.text);
		return 1;
	}
	for (i = 0; i < N; i++)
		if (store_load_expert(kn, model, LAYER, 1 + i, &want[i],
		    &e) != 0)
			return 1;
	faults_loop(&t);
	OK(n_warned > 0, "warnings were heard");
	for (i = 0; i < N; i++)
		store_free_expert(kn, &want[i]);
	clear(kept);
	rmdir(kept);
	model_close(model);
	kern_close(kn);
	mem_free(dir);
	return tap_done();
}
