/*
 * cli - command lines as tables, parsed with getopt_long(3).
 *
 * A program (or one verb of it) has one table of options; the same table
 * makes --help, so the manual can be checked against it.  -h and -V are
 * always there.  A flag's default may come from an environment variable
 * (env), which is read here and nowhere else.
 */
#ifndef MOE_CLI_H
#define MOE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum cli_type {
	CLI_FLAG,	/* bool *: set to true; takes no argument */
	CLI_COUNT,	/* int *: + 1 each time; takes no argument */
	CLI_STR,	/* const char **: points into argv */
	CLI_INT,	/* int64_t *: within lo..hi */
	CLI_REAL,	/* double *: within lo..hi */
	CLI_SIZE,	/* uint64_t *: bytes, "64k" */
	CLI_DUR,	/* uint64_t *: nanoseconds, "250ms" */
	CLI_LIST,	/* struct cli_list *: repeatable strings */
	CLI_ENUM,	/* int *: index into the words of `choice` "a|b|c" */
};

struct cli_list {
	const char **p;
	size_t n, cap;
};

struct cli_opt {
	char letter;		/* 0: long name only */
	const char *name;	/* without the dashes */
	enum cli_type type;
	void *dst;		/* holds the built-in default on entry */
	const char *arg;	/* "SIZE", "HOST:PORT"; the words for CLI_ENUM */
	const char *help;	/* one line, no full stop */
	double lo, hi;		/* CLI_INT, CLI_REAL; lo == hi: any */
	const char *env;	/* variable whose value is the default, or NULL */
};

struct cli {
	const char *prog;	/* "moe-route" */
	const char *verb;	/* "plan", or NULL */
	const char *args;	/* after the options: "DRILL", "< map.tsv", or "" */
	const char *what;	/* one sentence on what it does */
	const struct cli_opt *opt;	/* ends with an entry whose name is NULL */
};

/*
 * Parse argv (argv[0] is the program or the verb).  Returns the index of the
 * first operand, or -1 with err (ERR_USAGE) filled.  -h prints help, -V the
 * version and the features of this build, both on stdout, and exit(0): the
 * one place outside main() that exits.
 */
int	cli_parse(const struct cli *c, int argc, char **argv, struct err *err);

/* After cli_parse: did the command line itself (not the environment) set the
 * option whose dst this is?  Of the last call only. */
bool	cli_given(const void *dst);

/* One verb of a program: its name, a line of help, and its main. */
struct cli_verb {
	const char *name;
	const char *help;
	int (*main)(int argc, char **argv);	/* argv[0] is the verb */
};

/* Dispatch on argv[1]; handles -h, -V, no verb (64) and an unknown one (64).
 * table ends with name NULL.  Returns the exit status. */
int	cli_verbs(const char *prog, const char *what,
	    const struct cli_verb *table, int argc, char **argv);

/* Print "prog: text" on stderr and return err->code (for `return` in main). */
int	cli_fail(const char *prog, const struct err *err);

/* "0.1 wire/1 +cuda -nccl ..."; set by the build. */
const char *cli_version(void);

#endif
