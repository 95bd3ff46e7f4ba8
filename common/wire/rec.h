/*
 * rec - streams of records between programs: TSV with a schema line, or the
 * same records as NDJSON.
 *
 *     #moe:NAME/VERSION<TAB>column<TAB>column...
 *     value<TAB>value...
 *     # any other line that starts with '#' is skipped, and so is an empty one
 *
 * Readers go by column name: columns they do not know are ignored, so adding
 * one keeps the version; taking one away or changing its meaning raises it.
 * A later schema line of the same name and version is taken as well, so that
 * files can be joined with cat(1).  An NDJSON record is an object whose first
 * member "moe" is "NAME/VERSION"; readers here take TSV only.
 *
 * The same table of columns serves both directions:
 *
 *     enum { C_ROLE, C_PID };
 *     static const struct rec_col col[] = {
 *             [C_ROLE] = { "role", REC_STR, 0 },
 *             [C_PID] = { "pid", REC_INT, 0 },
 *             { NULL, 0, 0 }
 *     };
 */
#ifndef MOE_REC_H
#define MOE_REC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "str.h"

#define REC_MAX_COL	64

enum rec_type { REC_STR = 1, REC_INT, REC_REAL, REC_BOOL };

#define REC_OPTIONAL	1	/* reader: the column may be missing */

struct rec_col {		/* a table ends with name NULL */
	const char *name;	/* letters, digits, '_' */
	enum rec_type type;
	int flags;
};

/* ---- writing ------------------------------------------------------------- */

struct rec_out {
	FILE *fp;		/* borrowed */
	const char *name;
	int version;
	const struct rec_col *col;
	int n_col, at;		/* columns; the next one to be put */
	bool json;
	struct str line;
	struct err err;		/* the first failed write; sticky */
};

/* Start the stream; TSV: writes the schema line.  col must outlive *o. */
void	rec_out_open(struct rec_out *o, FILE *fp, const char *name, int version,
	    const struct rec_col *col, bool json);
/* The next column's value, in table order; the type must be the column's (a
 * wrong call aborts).  A NULL string and a real that is not finite are "no
 * value" ("-", null). */
void	rec_put_str(struct rec_out *o, const char *v);
void	rec_put_int(struct rec_out *o, int64_t v);
/* 6 digits; a whole number from 1e6 on. */
void	rec_put_real(struct rec_out *o, double v);
void	rec_put_bool(struct rec_out *o, bool v);
void	rec_put_none(struct rec_out *o);	/* no value, any type */
/* All columns are in: write the record and flush, so that a reader at the
 * other end of a pipe sees it now.  -1 (ERR_TEMP) when writing failed, now or
 * before. */
int	rec_end(struct rec_out *o, struct err *err);
/* A comment line "# text" (TSV; nothing in NDJSON).  Between records only. */
void	rec_note(struct rec_out *o, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
/* Frees what *o holds; fp stays open. */
void	rec_out_close(struct rec_out *o);

/* ---- reading ------------------------------------------------------------- */

struct rec_val {
	bool have;		/* false: no value, or the column is missing */
	const char *s;		/* the text, unescaped, whatever the type */
	int64_t i;		/* REC_INT; REC_BOOL: 0 or 1 */
	double r;		/* REC_REAL, and REC_INT as a real */
};

struct rec_in {
	FILE *fp;		/* borrowed */
	const char *path;	/* for messages */
	const char *name;
	int version;
	const struct rec_col *col;
	int n_col;
	size_t line;		/* number of the line in val, from 1 */
	bool have_schema;
	int from[REC_MAX_COL];	/* cell of each column in this stream, or -1 */
	size_t n_cell;		/* columns that the schema line names */
	struct rec_val val[REC_MAX_COL];	/* of the current record, by table order */
	char *buf, **cell;
	size_t cap, cell_cap;
};

#define REC_LINE_MAX	(1u << 20)	/* a longer line is ERR_DATA */

/* Nothing is read yet.  path is for messages ("-": stdin).  col must outlive
 * *in.  Text in memory: fmemopen(3). */
void	rec_in_open(struct rec_in *in, FILE *fp, const char *path,
	    const char *name, int version, const struct rec_col *col);
/* 1: in->val[] holds the next record until the next call; 0: end of the
 * stream; -1: ERR_DATA with file and line (another schema or version, a column
 * missing, too few cells, a value that is not of its type). */
int	rec_next(struct rec_in *in, struct err *err);
void	rec_in_close(struct rec_in *in);

#endif
