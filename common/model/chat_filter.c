/*
 * chat_filter - the filters of chat templates that work on one value; those
 * for lists are in chat_seq.c.
 *
 * F4, private to chat.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat_priv.h"

static const struct chat_str *
self_str(struct chat_run *r, const struct chat_in *in)
{
	return chat_repr_str(r, in->self);
}

static bool
given(const struct chat_value *v)
{
	return v->kind != CV_MISSING;
}

/* An optional flag. */
static bool
flag(const struct chat_value *v)
{
	return given(v) && chat_value_true(*v);
}

static struct chat_value
f_upper(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, self_str(r, in), CC_UPPER);
}

static struct chat_value
f_lower(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, self_str(r, in), CC_LOWER);
}

static struct chat_value
f_capitalize(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, self_str(r, in), CC_CAPITALIZE);
}

static struct chat_value
f_title(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_case(r, self_str(r, in), CC_WORDS);
}

static struct chat_value
f_trim(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *chars = NULL;

	if (in->v[0].kind == CV_STR)
		chars = in->v[0].u.s;
	else if (in->v[0].kind > CV_NONE)
		return chat_fail(r, "trim needs a string of characters");
	return chat_buf_strip(r, self_str(r, in), chars, true, true);
}

static struct chat_value
f_replace(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *from = chat_repr_str(r, in->v[0]);
	const struct chat_str *to = chat_repr_str(r, in->v[1]);
	int64_t count = -1;

	if (in->v[2].kind > CV_NONE && !chat_op_int(r, in->v[2],
	    "the count of replace", &count))
		return in->v[2];
	return chat_buf_replace(r, self_str(r, in), from, to, count);
}

static struct chat_value
f_string(struct chat_run *r, const struct chat_in *in)
{
	return chat_value_str(self_str(r, in));
}

static struct chat_value
f_length(struct chat_run *r, const struct chat_in *in)
{
	return chat_value_int((int64_t)chat_value_len(r, in->self),
	    in->self.dirty);
}

static struct chat_value
f_default(struct chat_run *r, const struct chat_in *in)
{
	bool use = in->self.kind == CV_UNDEF || (flag(&in->v[1]) &&
	    !chat_value_true(in->self));

	if (!use)
		return in->self;
	return given(&in->v[0]) ? in->v[0] :
	    chat_value_bytes(&r->arena, "", 0, false);
}

static struct chat_value
f_safe(struct chat_run *r, const struct chat_in *in)
{
	return chat_buf_safe(r, chat_value_str(self_str(r, in)));
}

static struct chat_value
f_escape(struct chat_run *r, const struct chat_in *in)
{
	if (in->self.kind == CV_STR && in->self.u.s->safe)
		return in->self;
	return chat_buf_escape(r, self_str(r, in));
}

/* ---- numbers ----------------------------------------------------- */

/* s without blank space around and underscores between digits into z; false
 * when it is too long or cannot be a number. */
static bool
number_text(struct chat_run *r, const struct chat_str *s, char z[400])
{
	struct chat_value v = chat_buf_strip(r, s, NULL, true, true);
	size_t i, n = 0;
	char c;

	s = v.u.s;
	if (s->n == 0 || s->n >= 400)
		return false;
	for (i = 0; i < s->n; i++) {
		c = s->p[i];
		if (c == '_' && (i == 0 || i + 1 == s->n ||
		    s->p[i - 1] == '_'))
			return false;
		if (c == '\0' || c == 'x' || c == 'X' || c == '(')
			return false;
		if (c != '_')
			z[n++] = c;
	}
	z[n] = '\0';
	return true;
}

static bool
parse_float(struct chat_run *r, struct chat_value v, double *out)
{
	char z[400], *end;

	if (v.kind == CV_FLOAT)
		*out = v.u.f;
	else if (v.kind == CV_INT || v.kind == CV_BOOL)
		*out = v.kind == CV_INT ? (double)v.u.i : v.u.b;
	else if (v.kind != CV_STR || !number_text(r, v.u.s, z))
		return false;
	else {
		*out = strtod(z, &end);
		return *end == '\0' && end != z && z[0] != ' ';
	}
	return true;
}

static struct chat_value
f_float(struct chat_run *r, const struct chat_in *in)
{
	double f;

	if (in->self.kind == CV_UNDEF)
		return chat_fail(r, "float of something undefined");
	if (parse_float(r, in->self, &f))
		return chat_value_float(f, in->self.dirty);
	return given(&in->v[0]) ? in->v[0] : chat_value_float(0, false);
}

static struct chat_value
f_int(struct chat_run *r, const struct chat_in *in)
{
	char z[400], *end;
	int64_t base = 10;
	long long i;
	double f;

	if (in->self.kind == CV_UNDEF)
		return chat_fail(r, "int of something undefined");
	if (in->self.kind == CV_INT)
		return in->self;
	if (given(&in->v[1]) && !chat_op_int(r, in->v[1],
	    "the base of int", &base))
		return in->v[1];
	if (base != 10 && in->self.kind == CV_STR)
		return chat_fail(r, "int of base %lld is not supported",
		    (long long)base);
	if (in->self.kind == CV_STR && number_text(r, in->self.u.s, z)) {
		errno = 0;
		i = strtoll(z, &end, 10);
		if (*end == '\0' && end != z) {
			if (errno == ERANGE)
				return chat_fail(r, "integer too large");
			return chat_value_int(i, in->self.dirty);
		}
	}
	if (parse_float(r, in->self, &f) && isfinite(f)) {
		if (fabs(f) >= 9e18)
			return chat_fail(r, "integer too large");
		return chat_value_int((int64_t)f, in->self.dirty);
	}
	return given(&in->v[0]) ? in->v[0] : chat_value_int(0, false);
}

static struct chat_value
f_abs(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = in->self;

	if (v.kind == CV_BOOL)
		v = chat_value_int(v.u.b, v.dirty);
	if (v.kind == CV_FLOAT)
		v.u.f = fabs(v.u.f);
	else if (v.kind != CV_INT)
		return chat_fail(r, "abs of a %s", chat_value_type(&v));
	else if (v.u.i < 0)
		return chat_op_binary(r, OP_SUB, chat_value_int(0, false), v);
	return v;
}

/* Round half to even at `digits` decimals, by the exact decimal value. */
static double
round_to(double f, int64_t digits)
{
	char z[400];

	if (digits >= 0) {
		snprintf(z, sizeof(z), "%.*f", (int)digits, f);
		return strtod(z, NULL);
	}
	return rint(f / pow(10, (double)-digits)) * pow(10, (double)-digits);
}

static struct chat_value
f_round(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value v = in->self;
	int64_t digits = 0;
	double f, scale;
	bool ceiling;

	if (given(&in->v[0]) && !chat_op_int(r, in->v[0],
	    "the precision of round", &digits))
		return v;
	if (digits < 0 || digits > 30)
		return chat_fail(r, "round to %lld digits is not supported",
		    (long long)digits);
	if (v.kind == CV_STR || !parse_float(r, v, &f))
		return chat_fail(r, "round of a %s", chat_value_type(&v));
	if (!given(&in->v[1]) || (in->v[1].kind == CV_STR &&
	    chat_buf_eq(in->v[1].u.s, "common"))) {
		if (v.kind == CV_BOOL)
			return chat_value_int(v.u.b, v.dirty);
		return v.kind == CV_INT || !isfinite(f) ? v :
		    chat_value_float(round_to(f, digits), v.dirty);
	}
	ceiling = in->v[1].kind == CV_STR &&
	    chat_buf_eq(in->v[1].u.s, "ceil");
	if (!ceiling && (in->v[1].kind != CV_STR ||
	    !chat_buf_eq(in->v[1].u.s, "floor")))
		return chat_fail(r, "round by common, ceil or floor");
	scale = pow(10, (double)digits);
	f = (ceiling ? ceil(f * scale) : floor(f * scale)) / scale;
	return chat_value_float(f, v.dirty);
}

/* ---- text -------------------------------------------------------- */

static struct chat_value
f_format(struct chat_run *r, const struct chat_in *in)
{
	struct chat_value t = chat_value_seq(r, CS_TUPLE);
	size_t i;

	if (in->raw->n_kw > 0)
		return chat_fail(r, "format with keywords is not supported");
	if (in->self.kind == CV_STR && in->self.u.s->safe)
		return chat_fail(r, "format of safe text is not supported");
	for (i = 0; i < in->raw->n; i++)
		chat_value_push(r, t.u.q, in->raw->v[i]);
	return chat_format_percent(r, self_str(r, in), t);
}

/* The text that indents: width blanks, or width itself. */
static const struct chat_str *
indention(struct chat_run *r, const struct chat_value *width, int64_t n)
{
	struct chat_value blank = chat_value_bytes(&r->arena, " ", 1, false);

	if (width->kind == CV_STR)
		return width->u.s;
	if (width->kind > CV_NONE && !chat_op_int(r, *width,
	    "a width", &n))
		return blank.u.s;
	blank = chat_op_binary(r, OP_MUL, blank, chat_value_int(n, false));
	return r->failed ? self_str(r, &(struct chat_in){ .self =
	    chat_value_undef(NULL) }) : blank.u.s;
}

static struct chat_value
f_indent(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *by = indention(r, &in->v[0], 4);
	const struct chat_str *text = chat_method_str(r, &in->self, "indent");
	bool first = flag(&in->v[1]), blank = flag(&in->v[2]);
	struct chat_value lines, line;
	struct chat_buf *b = chat_buf_new(r), *s = chat_buf_new(r);
	size_t i;

	if (text->safe)
		return chat_fail(r, "indent of safe text is not supported");
	/* As the reference does: with one more newline, so that a newline at
	 * the end leaves an empty last line. */
	chat_buf_str(r, s, text);
	chat_buf_adds(r, s, "\n", false);
	lines = chat_split_lines(r, chat_buf_done(r, s).u.s, false);
	for (i = 0; i < lines.u.q->n && !r->failed; i++) {
		line = lines.u.q->p[i];
		if (i > 0)
			chat_buf_adds(r, b, "\n", line.dirty);
		if (i == 0 ? first : blank || line.u.s->n > 0)
			chat_buf_str(r, b, by);
		chat_buf_str(r, b, line.u.s);
	}
	return chat_buf_done(r, b);
}

static struct chat_value
f_tojson(struct chat_run *r, const struct chat_in *in)
{
	struct chat_json_style st = { .item_sep = ", ", .key_sep = ": ",
	    .ascii = flag(&in->v[0]), .sort = flag(&in->v[3]) };
	struct chat_buf *b = chat_buf_new(r);
	const struct chat_seq *sep;

	if (in->v[1].kind > CV_NONE) {
		st.indent = indention(r, &in->v[1], 0);
		st.item_sep = ",";
	}
	if (in->v[2].kind > CV_NONE) {
		sep = in->v[2].kind == CV_SEQ ? in->v[2].u.q : NULL;
		if (sep == NULL || sep->n != 2 || sep->p[0].kind != CV_STR ||
		    sep->p[1].kind != CV_STR)
			return chat_fail(r, "tojson separators must be two "
			    "strings");
		st.item_sep = chat_value_cstr(r, sep->p[0].u.s);
		st.key_sep = chat_value_cstr(r, sep->p[1].u.s);
	}
	chat_repr_json(r, b, in->self, &st);
	return chat_buf_done(r, b);
}

/* json.loads, for arguments of tool calls that come as text. */
static struct chat_value
f_from_json(struct chat_run *r, const struct chat_in *in)
{
	const struct chat_str *s = chat_method_str(r, &in->self, "from_json");
	struct chat_value v = chat_value_none();
	json_error_t je;
	json_t *j;

	if (!chat_value_step(r, s->n))
		return v;
	j = json_loadb(s->p, s->n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
	if (j == NULL)
		return chat_fail(r, "from_json: %s", je.text);
	v = chat_value_json(r, j, chat_buf_dirty(s), true);
	json_decref(j);
	return v;
}

static const struct chat_fn filters[] = {
	{ "tojson", "ensure_ascii indent separators sort_keys", 0, f_tojson },
	{ "from_json", "", 0, f_from_json },
	{ "trim", "chars", 0, f_trim },
	{ "upper", "", 0, f_upper },
	{ "lower", "", 0, f_lower },
	{ "capitalize", "", 0, f_capitalize },
	{ "title", "", 0, f_title },
	{ "replace", "old new count", 2, f_replace },
	{ "string", "", 0, f_string },
	{ "length", "", 0, f_length },
	{ "count", "", 0, f_length },
	{ "default", "default_value boolean", 0, f_default },
	{ "d", "default_value boolean", 0, f_default },
	{ "safe", "", 0, f_safe },
	{ "escape", "", 0, f_escape },
	{ "e", "", 0, f_escape },
	{ "int", "default base", 0, f_int },
	{ "float", "default", 0, f_float },
	{ "abs", "", 0, f_abs },
	{ "round", "precision method", 0, f_round },
	{ "format", NULL, 0, f_format },
	{ "indent", "width first blank", 0, f_indent },
	{ NULL, NULL, 0, NULL },
};

const struct chat_fn *
chat_filter_find(const char *p, size_t n)
{
	const struct chat_fn *f = chat_func_lookup(filters, p, n);

	return f != NULL ? f : chat_func_lookup(chat_seq_filters, p, n);
}
