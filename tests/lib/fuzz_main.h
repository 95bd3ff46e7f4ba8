/*
 * fuzz_main.h - included at the end of each tests/fuzz/fuzz_X.c, after
 * LLVMFuzzerTestOneInput.  Gives a main() that runs every file named on the
 * command line (of a folder, every file in it, in name order) through the
 * target once, so that a corpus is replayed without libFuzzer.  A build with
 * clang -fsanitize=fuzzer -DMOE_LIBFUZZER has its own main() and leaves this
 * one out.
 *
 * Exit status: 0 all ran (a target that finds a fault aborts), 64 no arguments,
 * 65 a file that cannot be read or nothing to run.
 */
#ifndef MOE_FUZZ_MAIN_H
#define MOE_FUZZ_MAIN_H
#ifndef MOE_LIBFUZZER

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "mem.h"
#include "str.h"

/* Far above any useful corpus file, far below what would hurt. */
#define FUZZ_FILE_MAX	(64u << 20)

static int
fuzz_file(const char *path)
{
	struct str s = STR_INIT;
	uint8_t *copy;

	if (str_read_file(&s, path, FUZZ_FILE_MAX) != 0) {
		perror(path);
		str_free(&s);
		return ERR_DATA;
	}
	/* An exact copy: a read past the end must hit the sanitizer. */
	copy = mem_dup(s.p, s.n);
	(void)LLVMFuzzerTestOneInput(copy, s.n);
	mem_free(copy);
	str_free(&s);
	return 0;
}

static int
fuzz_dir(const char *dir, long *n_run)
{
	struct dirent **ent;
	char *path;
	int i, n, rc = 0;

	n = scandir(dir, &ent, NULL, alphasort);
	if (n < 0) {
		perror(dir);
		return ERR_DATA;
	}
	for (i = 0; i < n; i++) {
		if (ent[i]->d_name[0] != '.' && rc == 0) {
			path = mem_printf("%s/%s", dir, ent[i]->d_name);
			rc = fuzz_file(path);
			(*n_run)++;
			mem_free(path);
		}
		free(ent[i]);
	}
	free(ent);
	return rc;
}

int
main(int argc, char **argv)
{
	struct stat st;
	long n_run = 0;
	int i, rc = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
		return ERR_USAGE;
	}
	for (i = 1; i < argc && rc == 0; i++) {
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			rc = fuzz_dir(argv[i], &n_run);
		} else {
			rc = fuzz_file(argv[i]);
			n_run++;
		}
	}
	if (rc == 0 && n_run == 0) {
		fprintf(stderr, "%s: nothing to run\n", argv[0]);
		rc = ERR_DATA;
	}
	if (rc == 0)
		printf("%ld inputs replayed\n", n_run);
	return rc;
}

#endif
#endif
