/* cli - see cli.h.  Floor F0. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "num.h"

#ifndef MOE_VERSION
#define MOE_VERSION	"0.1"
#endif
#ifndef MOE_FEATURES
#define MOE_FEATURES	""
#endif

#define MAX_OPT	80

const char *
cli_version(void)
{
	return MOE_VERSION MOE_FEATURES;
}

/* What the last cli_parse found on the command line: start-up is one thread. */
static const void *given[MAX_OPT];
static int n_given;

bool
cli_given(const void *dst)
{
	int i;

	for (i = 0; i < n_given; i++)
		if (given[i] == dst)
			return true;
	return false;
}

static bool
takes_arg(const struct cli_opt *o)
{
	return o->type != CLI_FLAG && o->type != CLI_COUNT;
}

static void
print_opt(const struct cli_opt *o)
{
	char left[64];
	int n;

	if (o->letter)
		n = snprintf(left, sizeof(left), "-%c, --%s", o->letter, o->name);
	else
		n = snprintf(left, sizeof(left), "    --%s", o->name);
	if (takes_arg(o) && n < (int)sizeof(left))
		snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
	printf("  %-30s %s\n", left, o->help);
}

static void
help(const struct cli *c)
{
	static const struct cli_opt common[] = {
		{ 'h', "help", CLI_FLAG, NULL, NULL, "print this help", 0, 0, NULL },
		{ 'V', "version", CLI_FLAG, NULL, NULL,
		    "print the version and what this build can do", 0, 0, NULL },
	};
	const struct cli_opt *o;

	printf("usage: %s%s%s [options]%s%s\n%s\n\n", c->prog,
	    c->verb ? " " : "", c->verb ? c->verb : "",
	    c->args[0] ? " " : "", c->args, c->what);
	for (o = c->opt; o->name != NULL; o++)
		print_opt(o);
	print_opt(&common[0]);
	print_opt(&common[1]);
}

static int
set_enum(const struct cli_opt *o, const char *v)
{
	const char *p = o->arg, *bar;
	size_t n;
	int i;

	for (i = 0; ; i++, p = bar + 1) {
		bar = strchr(p, '|');
		n = bar ? (size_t)(bar - p) : strlen(p);
		if (strlen(v) == n && memcmp(p, v, n) == 0) {
			*(int *)o->dst = i;
			return 0;
		}
		if (bar == NULL)
			return -1;
	}
}

static void
list_push(struct cli_list *l, const char *v)
{
	VEC_PUSH(l, v);
}

static bool
in_range(const struct cli_opt *o, double v)
{
	return o->lo == o->hi || (v >= o->lo && v <= o->hi);
}

/* Store the text v into o->dst; -1 when it does not read as o->type. */
static int
set(const struct cli_opt *o, const char *v)
{
	int64_t i;
	double f;

	switch (o->type) {
	case CLI_FLAG:
		*(bool *)o->dst = true;
		return 0;
	case CLI_COUNT:
		++*(int *)o->dst;
		return 0;
	case CLI_STR:
		*(const char **)o->dst = v;
		return 0;
	case CLI_INT:
		if (num_i64(v, &i) != 0 || !in_range(o, (double)i))
			return -1;
		*(int64_t *)o->dst = i;
		return 0;
	case CLI_REAL:
		if (num_f64(v, &f) != 0 || !in_range(o, f))
			return -1;
		*(double *)o->dst = f;
		return 0;
	case CLI_SIZE:
		return num_size(v, o->dst);
	case CLI_DUR:
		return num_dur_ns(v, o->dst);
	case CLI_LIST:
		list_push(o->dst, v);
		return 0;
	case CLI_ENUM:
		return set_enum(o, v);
	}
	BUG("option --%s has no type", o->name);
}

static int
set_or_say(const struct cli_opt *o, const char *v, const char *where,
    struct err *err)
{
	if (set(o, v) == 0)
		return 0;
	if (o->type == CLI_ENUM)
		return err_set(err, ERR_USAGE, "%s: '%s' is not one of %s",
		    where, v, o->arg);
	if ((o->type == CLI_INT || o->type == CLI_REAL) && o->lo != o->hi)
		return err_set(err, ERR_USAGE,
		    "%s: '%s' is not a number from %.10g to %.10g", where, v,
		    o->lo, o->hi);
	return err_set(err, ERR_USAGE, "%s: '%s' is not a valid %s", where, v,
	    o->arg);
}

static int
from_env(const struct cli *c, struct err *err)
{
	const struct cli_opt *o;
	const char *v;

	for (o = c->opt; o->name != NULL; o++) {
		if (o->env == NULL || (v = getenv(o->env)) == NULL || !*v)
			continue;
		if (set_or_say(o, v, o->env, err) != 0)
			return -1;
	}
	return 0;
}

/* Build getopt's two tables; *n_p = number of our own options. */
static void
tables(const struct cli *c, char *letters, struct option *lopt, int *n_p)
{
	size_t k = 0;
	int n;

	letters[k++] = '+';	/* operands end the options */
	letters[k++] = ':';	/* tell a missing argument apart */
	letters[k++] = 'h';
	letters[k++] = 'V';
	for (n = 0; c->opt[n].name != NULL; n++) {
		BUG_ON(n >= MAX_OPT);
		lopt[n] = (struct option){ c->opt[n].name,
		    takes_arg(&c->opt[n]) ? required_argument : no_argument,
		    NULL, 1000 + n };
		if (c->opt[n].letter) {
			letters[k++] = c->opt[n].letter;
			if (takes_arg(&c->opt[n]))
				letters[k++] = ':';
		}
	}
	letters[k] = '\0';
	lopt[n] = (struct option){ "help", no_argument, NULL, 'h' };
	lopt[n + 1] = (struct option){ "version", no_argument, NULL, 'V' };
	memset(&lopt[n + 2], 0, sizeof(lopt[0]));
	*n_p = n;
}

static const struct cli_opt *
find(const struct cli *c, int got, int n)
{
	int i;

	if (got >= 1000 && got < 1000 + n)
		return &c->opt[got - 1000];
	for (i = 0; i < n; i++)
		if (c->opt[i].letter && c->opt[i].letter == got)
			return &c->opt[i];
	return NULL;
}

/* A closed standard descriptor would become the next file or socket, and what
 * is printed would go there.  These fail every use instead. */
static void
hold_std_fds(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY :
			    O_RDONLY);
}

int
cli_parse(const struct cli *c, int argc, char **argv, struct err *err)
{
	struct option lopt[MAX_OPT + 3];
	char letters[2 * MAX_OPT + 8], where[64];
	const struct cli_opt *o;
	int got, n;

	hold_std_fds();
	tables(c, letters, lopt, &n);
	n_given = 0;
	if (from_env(c, err) != 0)
		return -1;
	optind = 0;		/* start anew: verbs parse their own argv */
	opterr = 0;
	while ((got = getopt_long(argc, argv, letters, lopt, NULL)) != -1) {
		if (got == 'h') {
			help(c);
			exit(fflush(stdout) == 0 ? 0 : ERR_TEMP);
		}
		if (got == 'V') {
			printf("%s %s\n", c->prog, cli_version());
			exit(fflush(stdout) == 0 ? 0 : ERR_TEMP);
		}
		if (got == ':')
			return err_set(err, ERR_USAGE, "%s needs a value",
			    argv[optind - 1]);
		o = find(c, got, n);
		if (o == NULL)
			return err_set(err, ERR_USAGE,
			    "unknown option %s (see %s%s%s --help)",
			    argv[optind - 1], c->prog, c->verb ? " " : "",
			    c->verb ? c->verb : "");
		snprintf(where, sizeof(where), "--%s", o->name);
		if (set_or_say(o, optarg, where, err) != 0)
			return -1;
		if (!cli_given(o->dst))
			given[n_given++] = o->dst;
	}
	return optind;
}

static void
verbs_help(FILE *f, const char *prog, const char *what,
    const struct cli_verb *v)
{
	fprintf(f, "usage: %s VERB [options]\n%s\n\n", prog, what);
	for (; v->name != NULL; v++)
		fprintf(f, "  %-10s %s\n", v->name, v->help);
	fprintf(f, "\n%s VERB --help tells a verb's options.\n", prog);
}

int
cli_verbs(const char *prog, const char *what, const struct cli_verb *table,
    int argc, char **argv)
{
	const struct cli_verb *v;

	if (argc < 2) {
		verbs_help(stderr, prog, what, table);
		return ERR_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		verbs_help(stdout, prog, what, table);
		return fflush(stdout) == 0 ? 0 : ERR_TEMP;
	}
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0) {
		printf("%s %s\n", prog, cli_version());
		return fflush(stdout) == 0 ? 0 : ERR_TEMP;
	}
	for (v = table; v->name != NULL; v++)
		if (strcmp(argv[1], v->name) == 0)
			return v->main(argc - 1, argv + 1);
	fprintf(stderr, "%s: unknown verb '%s' (see %s --help)\n", prog, argv[1],
	    prog);
	return ERR_USAGE;
}

int
cli_fail(const char *prog, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", prog, err->text);
	return err->code ? err->code : ERR_BUG;
}
