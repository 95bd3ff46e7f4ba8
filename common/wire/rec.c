/* rec.c - F1.  Records as TSV or NDJSON; one thread per stream. */
#include "rec.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "num.h"
#include "tsv.h"

static int
count_cols(const struct rec_col *col)
{
	int n = 0;

	while (col[n].name != NULL)
		n++;
	BUG_ON(n == 0 || n > REC_MAX_COL);
	return n;
}

/* ---- writing ------------------------------------------------------------- */

static void
write_line(struct rec_out *o)
{
	str_addc(&o->line, '\n');
	if (o->err.code == 0 &&
	    (fwrite(o->line.p, 1, o->line.n, o->fp) != o->line.n ||
	    fflush(o->fp) != 0))
		err_sys(&o->err, ERR_TEMP, errno, "writing %s records", o->name);
	str_clear(&o->line);
}

void
rec_out_open(struct rec_out *o, FILE *fp, const char *name, int version,
    const struct rec_col *col, bool json)
{
	int i;

	memset(o, 0, sizeof(*o));
	o->fp = fp;
	o->name = name;
	o->version = version;
	o->col = col;
	o->n_col = count_cols(col);
	o->json = json;
	if (json)
		return;
	str_addf(&o->line, "#moe:%s/%d", name, version);
	for (i = 0; i < o->n_col; i++)
		str_addf(&o->line, "\t%s", col[i].name);
	write_line(o);
}

/* Separator and, in JSON, the key of the next column. */
static void
put_key(struct rec_out *o, enum rec_type type)
{
	BUG_ON(o->at >= o->n_col);
	BUG_ON(type != 0 && o->col[o->at].type != type);
	if (!o->json) {
		if (o->at > 0)
			str_addc(&o->line, '\t');
	} else {
		if (o->at == 0)
			str_addf(&o->line, "{\"moe\":\"%s/%d\"", o->name,
			    o->version);
		str_addf(&o->line, ",\"%s\":", o->col[o->at].name);
	}
	o->at++;
}

static void
json_string(struct str *s, const char *v)
{
	size_t n = strlen(v), i = 0, used;
	unsigned cp;

	str_addc(s, '"');
	while (i < n) {
		cp = str_utf8_next(v + i, n - i, &used);
		if (cp == '"' || cp == '\\')
			str_addf(s, "\\%c", (char)cp);
		else if (cp < 0x20 || cp == 0x7f)
			str_addf(s, "\\u%04x", cp);
		else
			str_addu(s, cp);
		i += used;
	}
	str_addc(s, '"');
}

void
rec_put_none(struct rec_out *o)
{
	put_key(o, 0);
	str_adds(&o->line, o->json ? "null" : "-");
}

void
rec_put_str(struct rec_out *o, const char *v)
{
	bool first = o->at == 0;

	if (v == NULL) {
		rec_put_none(o);
		return;
	}
	put_key(o, REC_STR);
	if (o->json)
		json_string(&o->line, v);
	else
		tsv_put(&o->line, v, first);
}

void
rec_put_int(struct rec_out *o, int64_t v)
{
	put_key(o, REC_INT);
	str_addf(&o->line, "%lld", (long long)v);
}

void
rec_put_real(struct rec_out *o, double v)
{
	if (!isfinite(v)) {
		rec_put_none(o);
		return;
	}
	put_key(o, REC_REAL);
	/* Counts are exact, however large. */
	str_addf(&o->line, fabs(v) >= 1e6 && fabs(v) < 1e15 ? "%.0f" : "%.6g",
	    v);
}

void
rec_put_bool(struct rec_out *o, bool v)
{
	put_key(o, REC_BOOL);
	str_adds(&o->line, o->json ? (v ? "true" : "false") : v ? "1" : "0");
}

int
rec_end(struct rec_out *o, struct err *err)
{
	BUG_ON(o->at != o->n_col);
	o->at = 0;
	if (o->json)
		str_addc(&o->line, '}');
	write_line(o);
	if (o->err.code == 0)
		return 0;
	return err_set(err, o->err.code, "%s", o->err.text);
}

void
rec_note(struct rec_out *o, const char *fmt, ...)
{
	va_list ap;
	char text[1000], *p;

	BUG_ON(o->at != 0);
	if (o->json)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (p = text; *p != '\0'; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	str_addf(&o->line, "# %s", text);
	write_line(o);
}

void
rec_out_close(struct rec_out *o)
{
	str_free(&o->line);
}

/* ---- reading ------------------------------------------------------------- */

void
rec_in_open(struct rec_in *in, FILE *fp, const char *path, const char *name,
    int version, const struct rec_col *col)
{
	memset(in, 0, sizeof(*in));
	in->fp = fp;
	in->path = strcmp(path, "-") == 0 ? "standard input" : path;
	in->name = name;
	in->version = version;
	in->col = col;
	in->n_col = count_cols(col);
}

__attribute__((format(printf, 3, 4))) static int
bad_line(const struct rec_in *in, struct err *err, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, ERR_DATA, "%s: line %zu: %s", in->path, in->line,
	    text);
}

/* One line without its newline into in->buf: 1, 0 at the end, -1. */
static int
read_line(struct rec_in *in, struct err *err)
{
	size_t n = 0;
	int c;

	in->line++;
	while ((c = getc_unlocked(in->fp)) != EOF && c != '\n') {
		if (c == '\0')
			return bad_line(in, err, "a zero byte");
		if (n == REC_LINE_MAX)
			return bad_line(in, err, "longer than %u bytes",
			    REC_LINE_MAX);
		if (n + 1 >= in->cap)
			mem_grow((void **)&in->buf, &in->cap, n + 2, 1);
		in->buf[n++] = (char)c;
	}
	if (c == EOF) {
		if (ferror(in->fp))
			return err_sys(err, ERR_TEMP, errno, "%s", in->path);
		if (n == 0)
			return 0;
	}
	if (in->cap == 0)
		mem_grow((void **)&in->buf, &in->cap, 2, 1);
	if (n > 0 && in->buf[n - 1] == '\r')
		n--;
	in->buf[n] = '\0';
	return 1;
}

static size_t
split_line(struct rec_in *in)
{
	size_t n = 1;
	const char *p;

	for (p = in->buf; *p != '\0'; p++)
		n += *p == '\t';
	mem_grow((void **)&in->cell, &in->cell_cap, n, sizeof(*in->cell));
	return tsv_split(in->buf, in->cell, n);
}

/* "#moe:NAME/MAJOR" with an optional ".MINOR", then the columns. */
static int
read_schema(struct rec_in *in, struct err *err)
{
	char *slash, *dot;
	uint64_t major;
	size_t i;
	int c;

	in->n_cell = split_line(in) - 1;
	slash = strrchr(in->cell[0], '/');
	if (slash == NULL)
		return bad_line(in, err, "no version in '%.80s'", in->cell[0]);
	*slash++ = '\0';
	dot = strchr(slash, '.');
	if (dot != NULL)
		*dot = '\0';
	if (num_u64(slash, &major) != 0)
		return bad_line(in, err, "bad version '%.40s'", slash);
	if (strcmp(in->cell[0] + strlen("#moe:"), in->name) != 0)
		return bad_line(in, err, "schema is '%.80s', want '%s'",
		    in->cell[0] + strlen("#moe:"), in->name);
	if (major != (uint64_t)in->version)
		return bad_line(in, err, "%s version is %llu, want %d",
		    in->name, (unsigned long long)major, in->version);
	for (c = 0; c < in->n_col; c++) {
		in->from[c] = -1;
		for (i = 0; i < in->n_cell; i++)
			if (strcmp(in->cell[i + 1], in->col[c].name) == 0)
				in->from[c] = (int)i;
		if (in->from[c] < 0 && !(in->col[c].flags & REC_OPTIONAL))
			return bad_line(in, err, "column '%s' is missing",
			    in->col[c].name);
	}
	in->have_schema = true;
	return 0;
}

static int
parse_value(const struct rec_in *in, int c, struct rec_val *v, struct err *err)
{
	const char *want = "a number";
	bool good = true;

	switch (in->col[c].type) {
	case REC_STR:
		break;
	case REC_INT:
		good = num_i64(v->s, &v->i) == 0;
		v->r = (double)v->i;
		want = "an integer";
		break;
	case REC_REAL:
		good = num_f64(v->s, &v->r) == 0;
		break;
	case REC_BOOL:
		good = strcmp(v->s, "0") == 0 || strcmp(v->s, "1") == 0;
		v->i = v->s[0] == '1';
		want = "0 or 1";
		break;
	}
	if (!good)
		return bad_line(in, err, "column '%s': '%.80s' is not %s",
		    in->col[c].name, v->s, want);
	return 0;
}

static int
read_record(struct rec_in *in, struct err *err)
{
	size_t n = split_line(in);
	struct rec_val *v;
	int c;

	if (n < in->n_cell)
		return bad_line(in, err, "%zu cells, the schema line has %zu",
		    n, in->n_cell);
	for (c = 0; c < in->n_col; c++) {
		v = &in->val[c];
		memset(v, 0, sizeof(*v));
		if (in->from[c] < 0)
			continue;
		v->s = tsv_value(in->cell[in->from[c]]);
		v->have = v->s != NULL;
		if (v->have && parse_value(in, c, v, err) != 0)
			return -1;
	}
	return 0;
}

int
rec_next(struct rec_in *in, struct err *err)
{
	int rc;

	while ((rc = read_line(in, err)) == 1) {
		if (strncmp(in->buf, "#moe:", 5) == 0) {
			if (read_schema(in, err) != 0)
				return -1;
			continue;
		}
		if (in->buf[0] == '#' || (in->buf[0] == '\0' && in->n_cell != 1))
			continue;
		if (!in->have_schema)
			return bad_line(in, err, "no '#moe:%s/%d' line before "
			    "the first record", in->name, in->version);
		return read_record(in, err) == 0 ? 1 : -1;
	}
	return rc;
}

void
rec_in_close(struct rec_in *in)
{
	mem_free(in->buf);
	mem_free(in->cell);
	in->buf = NULL;
	in->cell = NULL;
}
