/*
 * scratch.h - files for tests: a directory of its own for a test binary, and
 * the tree's own files by name.  The directory is gone when the program exits.
 */
#ifndef MOE_SCRATCH_H
#define MOE_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "str.h"

static char scratch_dir[256];

/* The path of a file of the source tree, in fresh memory. */
__attribute__((unused)) static char *
scratch_root(const char *name)
{
	const char *root = getenv("MOE_ROOT");

	return mem_printf("%s/%s", root != NULL ? root : ".", name);
}

/* Remove the files in the scratch directory (it has no subdirectories). */
__attribute__((unused)) static void
scratch_clear(void)
{
	DIR *d = opendir(scratch_dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		char *path = mem_printf("%s/%s", scratch_dir, e->d_name);

		if (e->d_name[0] != '.')
			unlink(path);
		mem_free(path);
	}
	if (d != NULL)
		closedir(d);
}

__attribute__((unused)) static void
scratch_end(void)
{
	scratch_clear();
	rmdir(scratch_dir);
}

/* Make the scratch directory; the binary's own, under TMPDIR or /tmp. */
__attribute__((unused)) static const char *
scratch_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch_dir, sizeof(scratch_dir), "%s/moe-test-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(scratch_dir) == NULL) {
		perror(scratch_dir);
		exit(1);
	}
	atexit(scratch_end);
	return scratch_dir;
}

/* Write n bytes to a file of the scratch directory. */
__attribute__((unused)) static void
scratch_write(const char *name, const void *p, size_t n)
{
	char *path = mem_printf("%s/%s", scratch_dir, name);
	FILE *f = fopen(path, "w");

	if (f == NULL || fwrite(p, 1, n, f) != n || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
	mem_free(path);
}

/* The whole of a file of the source tree; the caller frees s. */
__attribute__((unused)) static void
scratch_read(const char *name, struct str *s)
{
	char *path = scratch_root(name);

	if (str_read_file(s, path, (size_t)64 << 20) != 0) {
		perror(path);
		exit(1);
	}
	mem_free(path);
}

#endif
