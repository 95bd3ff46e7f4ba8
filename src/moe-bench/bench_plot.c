/*
 * bench_plot - see bench_plot.h.
 *
 * Any stream of records will do: the columns to draw are named.  Without -o the
 * script goes to stdout and gnuplot is not needed; with it, gnuplot(1) reads
 * the script from a pipe.
 */
#include "bench_plot.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "err.h"
#include "mem.h"
#include "num.h"
#include "rec.h"
#include "str.h"
#include "tsv.h"

#define PROG	"moe-bench plot"

struct opts {
	const char *x, *y, *by, *title, *out;
	bool log_x, log_y;
};

struct line {
	char *name;
	struct str data;	/* "x y\n" ... */
};

struct plot {
	struct opts o;
	VEC(struct line) line;
	long col[3];		/* of x, y, by in this stream; -1: none */
};

static int
parse(struct opts *o, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'x', "x", CLI_STR, &o->x, "COL", "column along the x axis", 0,
		    0, NULL },
		{ 'y', "y", CLI_STR, &o->y, "COL", "column along the y axis", 0,
		    0, NULL },
		{ 'b', "by", CLI_STR, &o->by, "COL",
		    "a line for each value of this column", 0, 0, NULL },
		{ 0, "title", CLI_STR, &o->title, "TEXT", "over the picture", 0,
		    0, NULL },
		{ 0, "log-x", CLI_FLAG, &o->log_x, NULL, "logarithmic", 0, 0,
		    NULL },
		{ 0, "log-y", CLI_FLAG, &o->log_y, NULL, "logarithmic", 0, 0,
		    NULL },
		{ 'o', "output", CLI_STR, &o->out, "FILE",
		    "draw this PNG with gnuplot (default: print the script)", 0,
		    0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "plot", "< STREAM",
	    "Draw columns of a stream.", opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "the stream comes on stdin");
	if (at >= 0 && (o->x == NULL || o->y == NULL))
		return err_set(err, ERR_USAGE, "-x COL and -y COL are needed");
	return at < 0 ? -1 : 0;
}

/* ---- reading -------------------------------------------------------------- */

static int
find_columns(struct plot *p, char **cell, size_t n, struct err *err)
{
	const char *const want[] = { p->o.x, p->o.y, p->o.by };
	size_t i, j;

	for (j = 0; j < 3; j++) {
		p->col[j] = -1;
		for (i = 1; want[j] != NULL && i < n; i++)
			if (strcmp(cell[i], want[j]) == 0)
				p->col[j] = (long)i - 1;
		if (want[j] != NULL && p->col[j] < 0)
			return err_set(err, ERR_DATA, "stdin: %s has no column "
			    "'%s'", cell[0], want[j]);
	}
	return 0;
}

static struct str *
line_of(struct plot *p, const char *name)
{
	struct line l = { NULL, STR_INIT };
	size_t i;

	for (i = 0; i < p->line.n; i++)
		if (strcmp(p->line.p[i].name, name) == 0)
			return &p->line.p[i].data;
	l.name = mem_strdup(name);
	VEC_PUSH(&p->line, l);
	return &p->line.p[p->line.n - 1].data;
}

static int
take_record(struct plot *p, char **cell, size_t n, size_t no, struct err *err)
{
	const char *v[3] = { NULL, NULL, NULL };
	double xy[2];
	int j;

	for (j = 0; j < 3; j++) {
		if (p->col[j] >= 0 && (size_t)p->col[j] >= n)
			return err_set(err, ERR_DATA, "stdin:%zu: too few "
			    "columns", no);
		if (p->col[j] >= 0)
			v[j] = tsv_value(cell[p->col[j]]);
	}
	for (j = 0; j < 2; j++) {
		if (v[j] == NULL)
			return 0;	/* no value: no point */
		if (num_f64(v[j], &xy[j]) != 0)
			return err_set(err, ERR_DATA, "stdin:%zu: '%s' is not "
			    "a number", no, v[j]);
	}
	str_addf(line_of(p, v[2] != NULL ? v[2] : p->o.y), "%.9g %.9g\n", xy[0],
	    xy[1]);
	return 0;
}

static int
read_all(struct plot *p, struct err *err)
{
	char *text = NULL, *cell[REC_MAX_COL + 1];
	size_t cap = 0, no = 0, n;
	bool schema = false;
	int rc = 0;

	while (rc == 0 && getline(&text, &cap, stdin) > 0) {
		no++;
		text[strcspn(text, "\n")] = '\0';
		if (strncmp(text, "#moe:", 5) == 0) {
			n = tsv_split(text, cell, REC_MAX_COL + 1);
			rc = n > REC_MAX_COL + 1 ? err_set(err, ERR_DATA,
			    "stdin:%zu: too many columns", no) :
			    find_columns(p, cell, n, err);
			schema = true;
		} else if (*text != '\0' && *text != '#') {
			n = tsv_split(text, cell, REC_MAX_COL + 1);
			rc = !schema ? err_set(err, ERR_DATA, "stdin:%zu: no "
			    "schema line (#moe:NAME/VERSION) before it", no) :
			    take_record(p, cell, n, no, err);
		}
	}
	free(text);
	if (rc == 0 && p->line.n == 0)
		return err_set(err, ERR_DATA, "stdin: nothing to draw");
	return rc;
}

/* ---- writing -------------------------------------------------------------- */

/* 'text' for gnuplot: a quote is doubled. */
static void
put_quoted(FILE *fp, const char *s)
{
	fputc('\'', fp);
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			fputc('\'', fp);
		fputc((unsigned char)*s < ' ' ? ' ' : *s, fp);
	}
	fputc('\'', fp);
}

static void
put_setting(FILE *fp, const char *what, const char *text)
{
	fprintf(fp, "set %s ", what);
	put_quoted(fp, text);
	fputc('\n', fp);
}

static void
put_script(const struct plot *p, FILE *fp)
{
	size_t i;

	if (p->o.out != NULL) {
		fputs("set terminal pngcairo size 900,600\n", fp);
		put_setting(fp, "output", p->o.out);
	}
	fputs("set grid\nset key outside bottom horizontal noenhanced\n", fp);
	if (p->o.title != NULL)
		put_setting(fp, "title", p->o.title);
	put_setting(fp, "xlabel noenhanced", p->o.x);
	put_setting(fp, "ylabel noenhanced", p->o.y);
	fprintf(fp, "%s%s", p->o.log_x ? "set logscale x\n" : "",
	    p->o.log_y ? "set logscale y\n" : "set yrange [0:*]\n");
	for (i = 0; i < p->line.n; i++)
		fprintf(fp, "$d%zu << EOD\n%sEOD\n", i,
		    str_c(&p->line.p[i].data));
	fputs("plot ", fp);
	for (i = 0; i < p->line.n; i++) {
		fprintf(fp, "%s$d%zu with linespoints title ", i ? ", " : "",
		    i);
		put_quoted(fp, p->line.p[i].name);
	}
	fputc('\n', fp);
}

static int
draw(const struct plot *p, struct err *err)
{
	FILE *fp = popen("command -v gnuplot >/dev/null || exit 127; "
	    "exec gnuplot", "w");
	int rc;

	if (fp == NULL)
		return err_sys(err, ERR_TEMP, errno, "gnuplot");
	put_script(p, fp);
	rc = pclose(fp);
	if (rc != -1 && WIFEXITED(rc) && WEXITSTATUS(rc) == 127)
		return err_set(err, ERR_UNAVAIL, "gnuplot is not on this "
		    "machine (package gnuplot-nox); without -o the script is "
		    "printed");
	return rc == 0 ? 0 : err_set(err, ERR_TEMP, "gnuplot could not draw "
	    "%s", p->o.out);
}

int
bench_plot_main(int argc, char **argv)
{
	struct plot p = { .line = { NULL, 0, 0 } };
	struct err err = ERR_INIT;
	size_t i;
	int rc = -1;

	signal(SIGPIPE, SIG_IGN);
	if (parse(&p.o, argc, argv, &err) == 0 && read_all(&p, &err) == 0) {
		if (p.o.out != NULL) {
			rc = draw(&p, &err);
		} else {
			put_script(&p, stdout);
			rc = fflush(stdout) == 0 ? 0 : err_set(&err, ERR_TEMP,
			    "cannot write to stdout");
		}
	}
	for (i = 0; i < p.line.n; i++) {
		mem_free(p.line.p[i].name);
		str_free(&p.line.p[i].data);
	}
	VEC_FREE(&p.line);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
