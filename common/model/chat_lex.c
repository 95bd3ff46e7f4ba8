/*
 * chat_lex - the text of a chat template as tokens.
 *
 * The rules of Jinja2 with trim_blocks and lstrip_blocks: one newline behind a
 * block tag or comment goes, so does blank space between the start of a line
 * and a block tag or comment; `-` takes all white space on its side away, `+`
 * keeps it.
 *
 * F4, private to chat; a pure function of its input.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat_priv.h"

struct lexer {
	struct chat *c;
	struct chat_toks *out;
	struct err *e;
	const char *p, *end;
	int line;
	bool line_starting;	/* the last match ended with a newline */
	bool failed;
	char open[200];		/* brackets that wait for their partner */
	size_t n_open;
};

static void __attribute__((format(printf, 2, 3)))
fail(struct lexer *x, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (x->failed)
		return;
	x->failed = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(x->e, ERR_DATA, "%s line %d: %s", x->c->name, x->line, text);
}

static struct chat_tok *
push(struct lexer *x, enum chat_tok_kind kind, const char *p, size_t n)
{
	struct chat_tok t = { .kind = kind, .line = x->line, .p = p, .n = n };

	VEC_ROOM(x->out, 1);
	x->out->p[x->out->n] = t;
	return &x->out->p[x->out->n++];
}

static bool
at(const struct lexer *x, const char *z)
{
	size_t n = strlen(z);

	return (size_t)(x->end - x->p) >= n && memcmp(x->p, z, n) == 0;
}

/* Go on to q, counting lines. */
static void
advance(struct lexer *x, const char *q)
{
	for (; x->p < q; x->p++)
		if (*x->p == '\n')
			x->line++;
}

static const char *
skip_space(const char *p, const char *end)
{
	size_t used;

	while (p < end &&
	    chat_buf_space(str_utf8_next(p, (size_t)(end - p), &used)))
		p += used;
	return p;
}

/* The end of [p, end) without white space at its right. */
static const char *
rstrip(const char *p, const char *end)
{
	const char *q, *last = p;
	size_t used;

	for (q = p; q < end; q += used)
		if (!chat_buf_space(str_utf8_next(q, (size_t)(end - q),
		    &used)))
			last = q + used;
	return last;
}

/* lstrip_blocks: cut white space between the line's start and end. */
static const char *
lstrip_line(const struct lexer *x, const char *p, const char *end)
{
	const char *q = memrchr(p, '\n', (size_t)(end - p));

	if (q == NULL && !x->line_starting)
		return end;
	q = q == NULL ? p : q + 1;
	return skip_space(q, end) == end ? q : end;
}

/* Push the data before a tag; sign is the tag's '-', '+' or 0. */
static void
push_data(struct lexer *x, const char *end, char sign, bool block)
{
	const char *stop = end;

	if (sign == '-')
		stop = rstrip(x->p, end);
	else if (sign != '+' && block)
		stop = lstrip_line(x, x->p, end);
	if (stop > x->p)
		push(x, CT_DATA, x->p, (size_t)(stop - x->p));
	advance(x, end);
}

/*
 * If a closing `close` stands at p, where the end of it with its white space
 * control is; NULL otherwise.  trim: a newline goes with it.
 */
static const char *
closing(const struct lexer *x, const char *p, const char *close, bool plus,
    bool trim)
{
	char sign = 0;

	if (p < x->end && (*p == '-' || (plus && *p == '+')))
		sign = *p++;
	if (x->end - p < 2 || memcmp(p, close, 2) != 0)
		return NULL;
	p += 2;
	if (sign == '-')
		return skip_space(p, x->end);
	if (sign == 0 && trim && p < x->end && *p == '\n')
		p++;
	return p;
}

static void
after(struct lexer *x, const char *q)
{
	x->line_starting = q[-1] == '\n';
	advance(x, q);
}

static void
lex_comment(struct lexer *x)
{
	const char *p, *q;

	for (p = x->p; p < x->end; p++) {
		q = closing(x, p, "#}", true, true);
		if (q != NULL) {
			after(x, q);
			return;
		}
	}
	fail(x, "missing end of comment tag");
}

/* If `{%`, sign, word, `%}` stands at p: its end. *sign_p as found. */
static const char *
word_tag(const struct lexer *x, const char *p, const char *word, char *sign_p)
{
	size_t n = strlen(word);

	if (x->end - p < 2 || memcmp(p, "{%", 2) != 0)
		return NULL;
	p += 2;
	*sign_p = 0;
	if (p < x->end && (*p == '-' || *p == '+'))
		*sign_p = *p++;
	p = skip_space(p, x->end);
	if ((size_t)(x->end - p) < n || memcmp(p, word, n) != 0)
		return NULL;
	p = skip_space(p + n, x->end);
	return closing(x, p, "%}", n > 3, n > 3);
}

/* Behind `{% raw %}`: everything up to `{% endraw %}` is data. */
static void
lex_raw(struct lexer *x)
{
	const char *p, *q;
	char sign;

	for (p = x->p; p < x->end; p++) {
		q = *p == '{' ? word_tag(x, p, "endraw", &sign) : NULL;
		if (q != NULL) {
			push_data(x, p, sign, true);
			after(x, q);
			return;
		}
	}
	fail(x, "missing end of raw directive");
}

static unsigned
hex_digits(const char *p, const char *end, size_t n, bool *ok)
{
	unsigned v = 0;
	size_t i;
	char c;

	*ok = (size_t)(end - p) >= n;
	for (i = 0; *ok && i < n; i++) {
		c = p[i];
		if (c >= '0' && c <= '9')
			v = v * 16 + (unsigned)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + (unsigned)((c | 32) - 'a' + 10);
		else
			*ok = false;
	}
	return v;
}

/* The escape behind a backslash at p; returns where it ends. */
static const char *
unescape_one(struct lexer *x, struct str *s, const char *p, const char *end)
{
	static const char from[] = "abfnrtv\\'\"";
	static const char to[] = "\a\b\f\n\r\t\v\\'\"";
	const char *q = strchr(from, *p);
	size_t n = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
	unsigned v = 0;
	bool ok;

	if (*p != '\0' && q != NULL) {
		str_addc(s, to[q - from]);
		return p + 1;
	}
	if (n > 0) {
		v = hex_digits(p + 1, end, n, &ok);
		if (!ok || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
			fail(x, "bad escape \\%c in a string", *p);
		else
			str_addu(s, v);
		return ok ? p + 1 + n : end;
	}
	if (*p >= '0' && *p <= '7') {
		for (n = 0; n < 3 && p < end && *p >= '0' && *p <= '7'; n++)
			v = v * 8 + (unsigned)(*p++ - '0');
		str_addu(s, v);
		return p;
	}
	if (*p == 'N')
		fail(x, "\\N escapes are not supported");
	if (*p != '\n') {		/* unknown: stays as it is */
		str_addc(s, '\\');
		str_addc(s, *p);
	}
	return p + 1;
}

static void
lex_string(struct lexer *x)
{
	char quote = *x->p;
	const char *p = x->p + 1;
	struct str s = STR_INIT;
	char *copy;

	while (p < x->end && *p != quote && !x->failed) {
		if (*p != '\\')
			str_addc(&s, *p++);
		else if (++p < x->end)
			p = unescape_one(x, &s, p, x->end);
	}
	if (p >= x->end) {
		fail(x, "a string without its closing quote");
	} else {
		copy = chat_value_alloc(&x->c->arena, s.n + 1);
		memcpy(copy, str_c(&s), s.n);
		push(x, CT_STRING, copy, s.n);
		advance(x, p + 1);
	}
	str_free(&s);
}

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The end of digits with single underscores between them. */
static const char *
digits(const char *p, const char *end)
{
	while (p < end && (digit(*p) || (*p == '_' && p + 1 < end &&
	    digit(p[1]))))
		p++;
	return p;
}

/* 0x.., 0o.., 0b.. at x->p: the base, or 10. */
static int
number_base(const struct lexer *x)
{
	char c;

	if (x->end - x->p < 3 || x->p[0] != '0')
		return 10;
	c = x->p[1] | 32;
	return c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
}

static void
push_int(struct lexer *x, const char *z, int base, const char *q)
{
	struct chat_tok *t;
	char *stop;
	long long v;

	errno = 0;
	v = strtoll(z, &stop, base);
	if (errno != 0 || *stop != '\0' || stop == z) {
		fail(x, "bad number '%.40s'", z);
		return;
	}
	if (base == 10 && z[0] == '0' && v != 0) {
		fail(x, "a number may not begin with 0: '%.40s'", z);
		return;
	}
	t = push(x, CT_INT, x->p, (size_t)(q - x->p));
	t->i = v;
	advance(x, q);
}

/* [p, q) without underscores into z, cut at 399 bytes. */
static void
plain_digits(char z[400], const char *p, const char *q)
{
	size_t n = 0;

	for (; p < q && n < 399; p++)
		if (*p != '_')
			z[n++] = *p;
	z[n] = '\0';
}

static void
lex_number(struct lexer *x)
{
	const char *q, *f;
	struct chat_tok *t;
	char z[400];
	int base = number_base(x);
	bool real = false, ok = true;

	if (base != 10) {
		for (q = x->p + 2; q < x->end && ok; q += ok) {
			ok = *q == '_';
			if (!ok)
				hex_digits(q, x->end, 1, &ok);
		}
		plain_digits(z, x->p + 2, q);
		push_int(x, z, base, q);
		return;
	}
	q = digits(x->p, x->end);
	/* Behind a dot a number is an index (a.0.1), not a fraction. */
	if (x->out->n > 0 && x->out->p[x->out->n - 1].kind == CT_OP &&
	    *x->out->p[x->out->n - 1].p == '.')
		f = x->end;
	else
		f = q;
	if (f + 1 < x->end && *f == '.' && digit(f[1])) {
		q = f = digits(f + 1, x->end);
		real = true;
	}
	if (f + 1 < x->end && (*f | 32) == 'e') {
		f += f[1] == '+' || f[1] == '-' ? 2 : 1;
		if (f < x->end && digit(*f)) {
			q = digits(f, x->end);
			real = true;
		}
	}
	plain_digits(z, x->p, q);
	if (!real) {
		push_int(x, z, 10, q);
		return;
	}
	t = push(x, CT_FLOAT, x->p, (size_t)(q - x->p));
	t->f = strtod(z, NULL);
	if (!isfinite(t->f))
		fail(x, "bad number '%.40s'", z);
	advance(x, q);
}

/* Keep the balance of brackets: inside of them no tag ends. */
static void
bracket(struct lexer *x, char c)
{
	char partner = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : 0;

	if (partner != 0) {
		if (x->n_open == sizeof(x->open))
			fail(x, "too many open brackets");
		else
			x->open[x->n_open++] = partner;
	} else if (x->n_open == 0) {
		fail(x, "unexpected '%c'", c);
	} else if (x->open[--x->n_open] != c) {
		fail(x, "unexpected '%c', expected '%c'", c,
		    x->open[x->n_open]);
	}
}

static void
lex_operator(struct lexer *x)
{
	static const char *const two[] = { "//", "**", "==", "!=", ">=",
	    "<=" };
	size_t i, used, n = 0;

	for (i = 0; i < sizeof(two) / sizeof(two[0]); i++)
		if (at(x, two[i]))
			n = 2;
	if (n == 0 && *x->p != '\0' && strchr("+-/*%~[](){}><=.:|,;", *x->p))
		n = 1;
	if (n == 0) {
		str_utf8_next(x->p, (size_t)(x->end - x->p), &used);
		fail(x, "unexpected character '%.*s'", (int)used, x->p);
		return;
	}
	if (n == 1 && strchr("([{)]}", *x->p) != NULL)
		bracket(x, *x->p);
	push(x, CT_OP, x->p, n);
	x->p += n;
}

static bool
name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void
lex_name(struct lexer *x)
{
	const char *q = x->p;

	while (q < x->end && (name_char(*q) || digit(*q)))
		q++;
	push(x, CT_NAME, x->p, (size_t)(q - x->p));
	x->p = q;
}

/* Inside `{% .. %}` or `{{ .. }}` up to and with the closing tag. */
static void
lex_tag(struct lexer *x, bool block)
{
	const char *q;

	x->n_open = 0;
	while (!x->failed) {
		if (x->p >= x->end) {
			fail(x, "a tag without its end");
			return;
		}
		q = x->n_open > 0 ? NULL : block ?
		    closing(x, x->p, "%}", true, true) :
		    closing(x, x->p, "}}", false, false);
		if (q != NULL) {
			push(x, block ? CT_BLOCK_END : CT_VAR_END, x->p, 2);
			after(x, q);
			return;
		}
		q = skip_space(x->p, x->end);
		if (q > x->p)
			advance(x, q);
		else if (digit(*x->p))
			lex_number(x);
		else if (name_char(*x->p))
			lex_name(x);
		else if (*x->p == '\'' || *x->p == '"')
			lex_string(x);
		else
			lex_operator(x);
	}
}

/* Data up to the next opening tag, and the tag. */
static void
lex_root(struct lexer *x)
{
	const char *p = x->p, *raw;
	char sign = 0, kind = 0;

	for (; p + 1 < x->end; p++)
		if (*p == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')) {
			kind = p[1];
			break;
		}
	if (kind == 0) {
		push(x, CT_DATA, x->p, (size_t)(x->end - x->p));
		x->p = x->end;
		return;
	}
	raw = word_tag(x, p, "raw", &sign);
	if (raw == NULL) {
		sign = 0;
		if (p + 2 < x->end && (p[2] == '-' || p[2] == '+'))
			sign = p[2];
	}
	push_data(x, p, sign, kind != '{');
	if (raw != NULL) {
		after(x, raw);
		lex_raw(x);
		return;
	}
	if (kind != '#')
		push(x, kind == '{' ? CT_VAR_BEGIN : CT_BLOCK_BEGIN, x->p, 2);
	x->p += sign != 0 ? 3 : 2;
	if (kind == '#')
		lex_comment(x);
	else
		lex_tag(x, kind == '%');
}

/* The template with every kind of newline as \n, and one at its end gone. */
static size_t
newlines(char *to, const char *p, size_t n)
{
	size_t i, k = 0;

	for (i = 0; i < n; i++) {
		if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n')
			continue;
		to[k++] = p[i] == '\r' ? '\n' : p[i];
	}
	if (k > 0 && to[k - 1] == '\n')
		k--;
	return k;
}

int
chat_lex(struct chat *c, const char *text, size_t n, struct chat_toks *out,
    struct err *e)
{
	char *copy = chat_value_alloc(&c->arena, n + 1);
	struct lexer x = { .c = c, .out = out, .e = e, .p = copy, .line = 1,
	    .line_starting = true };

	x.end = copy + newlines(copy, text, n);
	while (x.p < x.end && !x.failed)
		lex_root(&x);
	push(&x, CT_EOF, x.end, 0);
	return x.failed ? -1 : 0;
}
