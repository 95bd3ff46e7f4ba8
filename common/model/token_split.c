/*
 * token_split - pre-tokenizers: cutting a text into the pieces that BPE sees
 * one by one.  Floor F4; a struct token_split does not change after load.
 *
 * Every pre-tokenizer becomes one or two steps.  A step with code cuts each
 * piece by a pattern; a step without rewrites each piece: spaces become
 * another string, which also goes in front.  Digits is a cut by \p{N},
 * Metaspace a rewrite and a cut by its own character, ByteLevel a rewrite (a
 * space in front) and GPT-2's pattern, and then the pieces' bytes count.
 */
#include <string.h>

#include "token_parts.h"

/* GPT-2's pre-tokenizer, which ByteLevel's use_regex stands for. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";

/* ---- reading ------------------------------------------------------------- */

static int
push(struct token_split *s, const struct token_split_step *step,
    const struct json_src *src)
{
	if (s->n >= TOKEN_STEPS) {
		pcre2_code_free(step->code);
		mem_free(step->space);
		return json_want_fail(src, "type",
		    "more than %d pre-tokenizers", TOKEN_STEPS);
	}
	VEC_PUSH(s, *step);
	return 0;
}

static int
push_regex(struct token_split *s, const struct json_src *src,
    const char *key, const char *pattern, enum token_behavior behavior)
{
	struct token_split_step step = { .behavior = behavior };

	step.code = token_regex_compile(pattern, false, src, key);
	return step.code != NULL ? push(s, &step, src) : -1;
}

static int
read_behavior(const struct json_src *src, enum token_behavior *out)
{
	static const struct {
		const char *name;
		enum token_behavior b;
	} known[] = {
		{ "Removed", TOKEN_REMOVED },
		{ "Isolated", TOKEN_ISOLATED },
		{ "MergedWithPrevious", TOKEN_WITH_PREVIOUS },
		{ "MergedWithNext", TOKEN_WITH_NEXT },
		{ "Contiguous", TOKEN_CONTIGUOUS },
	};
	const char *s;
	size_t i;

	if (json_want_str(src, "behavior", &s) != 0)
		return -1;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(s, known[i].name) == 0) {
			*out = known[i].b;
			return 0;
		}
	}
	return json_want_fail(src, "behavior", "%s is not supported", s);
}

static int
read_split(struct token_split *s, const struct json_src *src)
{
	struct token_split_step step = { .code = NULL };
	const json_t *pat = NULL;
	const char *regex, *literal;

	if (json_may_obj(src, "pattern", &pat) != 0 ||
	    read_behavior(src, &step.behavior) != 0 ||
	    json_may_bool(src, "invert", &step.invert) != 0)
		return -1;
	regex = json_string_value(json_object_get(pat, "Regex"));
	literal = json_string_value(json_object_get(pat, "String"));
	if (regex == NULL && literal == NULL)
		return json_want_fail(src, "pattern",
		    "neither a Regex nor a String");
	step.code = token_regex_compile(regex != NULL ? regex : literal,
	    regex == NULL, src, "pattern");
	return step.code != NULL ? push(s, &step, src) : -1;
}

static int
read_digits(struct token_split *s, const struct json_src *src)
{
	bool one = false;

	if (json_may_bool(src, "individual_digits", &one) != 0)
		return -1;
	return push_regex(s, src, "type", "\\p{N}",
	    one ? TOKEN_ISOLATED : TOKEN_CONTIGUOUS);
}

/* prepend_scheme, or the older add_prefix_space. */
static int
read_scheme(const struct json_src *src, enum token_scheme *out)
{
	const char *scheme = NULL;
	bool prefix = true;

	if (json_may_str(src, "prepend_scheme", &scheme) != 0 ||
	    json_may_bool(src, "add_prefix_space", &prefix) != 0)
		return -1;
	if (scheme == NULL)
		*out = prefix ? TOKEN_ALWAYS : TOKEN_NEVER;
	else if (strcmp(scheme, "always") == 0)
		*out = TOKEN_ALWAYS;
	else if (strcmp(scheme, "first") == 0)
		*out = TOKEN_FIRST;
	else if (strcmp(scheme, "never") == 0)
		*out = TOKEN_NEVER;
	else
		return json_want_fail(src, "prepend_scheme",
		    "%s is not supported", scheme);
	return 0;
}

static int
read_metaspace(struct token_split *s, const struct json_src *src)
{
	struct token_split_step rewrite = { .code = NULL };
	struct token_split_step cut = { .behavior = TOKEN_WITH_NEXT };
	const char *with;
	bool split = true;

	if (json_want_str(src, "replacement", &with) != 0 ||
	    json_may_bool(src, "split", &split) != 0 ||
	    read_scheme(src, &rewrite.scheme) != 0)
		return -1;
	if (*with == '\0')
		return json_want_fail(src, "replacement", "is empty");
	rewrite.space = mem_strdup(with);
	if (push(s, &rewrite, src) != 0)
		return -1;
	if (!split)
		return 0;
	cut.code = token_regex_compile(with, true, src, "replacement");
	return cut.code != NULL ? push(s, &cut, src) : -1;
}

static int
read_byte_level(struct token_split *s, const struct json_src *src)
{
	struct token_split_step rewrite = { .scheme = TOKEN_ALWAYS };
	bool prefix = true, regex = true;

	if (json_may_bool(src, "add_prefix_space", &prefix) != 0 ||
	    json_may_bool(src, "use_regex", &regex) != 0)
		return -1;
	s->byte_level = true;
	if (prefix) {
		rewrite.space = mem_strdup(" ");
		if (push(s, &rewrite, src) != 0)
			return -1;
	}
	return regex ? push_regex(s, src, "use_regex", gpt2_pattern,
	    TOKEN_ISOLATED) : 0;
}

static int
read_one(void *arg, const struct json_src *src)
{
	return token_split_read(arg, src);
}

int
token_split_read(struct token_split *s, const struct json_src *src)
{
	const char *type = token_load_type(src);

	if (type == NULL)
		return -1;
	if (s->byte_level)
		return json_want_fail(src, "type",
		    "%s after ByteLevel is not supported", type);
	if (strcmp(type, "Sequence") == 0)
		return token_load_each(src, "pretokenizers", read_one, s);
	if (strcmp(type, "Split") == 0)
		return read_split(s, src);
	if (strcmp(type, "Digits") == 0)
		return read_digits(s, src);
	if (strcmp(type, "Metaspace") == 0)
		return read_metaspace(s, src);
	if (strcmp(type, "ByteLevel") == 0)
		return read_byte_level(s, src);
	return json_want_fail(src, "type",
	    "pre-tokenizer %s is not supported", type);
}

void
token_split_free(struct token_split *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		pcre2_code_free(s->p[i].code);
		mem_free(s->p[i].space);
	}
	VEC_FREE(s);
}

/* ---- cutting ------------------------------------------------------------- */

/* What one piece is cut into so far. */
struct cut {
	const struct token_split_step *step;
	struct token_pieces *out;	/* only its spans */
	size_t first;			/* this piece's begin here in out */
	bool last_hit;			/* the last part was a match */
	bool waiting;			/* it waits to join the next part */
	struct token_span wait;
};

/* Add the part s, a match (hit) or what lies between two. */
static void
part(struct cut *c, struct token_span s, bool hit)
{
	struct token_pieces *out = c->out;
	bool join = false;

	if (s.begin == s.end)
		return;
	hit = hit != c->step->invert;
	switch (c->step->behavior) {
	case TOKEN_REMOVED:
		if (hit)
			return;
		break;
	case TOKEN_ISOLATED:
		break;
	case TOKEN_CONTIGUOUS:
		join = out->n > c->first && hit == c->last_hit;
		break;
	case TOKEN_WITH_PREVIOUS:
		join = out->n > c->first && hit && !c->last_hit;
		break;
	case TOKEN_WITH_NEXT:
		if (c->waiting && hit)
			VEC_PUSH(out, c->wait);
		else if (c->waiting)
			s.begin = c->wait.begin;
		c->waiting = hit;
		c->wait = s;
		if (hit)
			return;
		break;
	}
	if (join)
		out->p[out->n - 1].end = s.end;
	else
		VEC_PUSH(out, s);
	c->last_hit = hit;
}

static int
cut_piece(struct cut *c, struct token_regex *r, const char *text,
    struct token_span piece, struct err *e)
{
	const char *p = text + piece.begin;
	size_t n = piece.end - piece.begin, off = 0, done = 0, b = piece.begin;
	size_t len;
	struct token_span m;
	int rc;

	while (off < n) {
		rc = token_regex_next(r, c->step->code, p, n, off, &m, e);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
		part(c, (struct token_span){ b + done, b + m.begin }, false);
		part(c, (struct token_span){ b + m.begin, b + m.end }, true);
		done = off = m.end;
		/* An empty match cuts; go on one character further. */
		if (m.begin == m.end && off < n) {
			(void)str_utf8_next(p + off, n - off, &len);
			off += len;
		}
	}
	part(c, (struct token_span){ b + done, b + n }, false);
	if (c->waiting)
		VEC_PUSH(c->out, c->wait);
	return 0;
}

static int
cut_all(const struct token_split_step *step, struct token_regex *r,
    struct token_pieces *pc, struct token_pieces *spare, struct err *e)
{
	struct cut c;
	struct token_pieces t;
	size_t i;

	spare->n = 0;
	for (i = 0; i < pc->n; i++) {
		c = (struct cut){ .step = step, .out = spare,
		    .first = spare->n };
		if (cut_piece(&c, r, pc->text.p, pc->p[i], e) != 0)
			return -1;
	}
	/* The spans change hands, the text stays. */
	t = *pc;
	pc->p = spare->p;
	pc->n = spare->n;
	pc->cap = spare->cap;
	spare->p = t.p;
	spare->n = t.n;
	spare->cap = t.cap;
	return 0;
}

/* ---- rewriting ----------------------------------------------------------- */

static void
rewrite_piece(const struct token_split_step *step, bool front,
    const char *p, size_t n, struct str *out)
{
	size_t i, start = 0, n_space = strlen(step->space);

	if (step->space[0] == ' ' && n_space == 1) {
		if (front && (n == 0 || p[0] != ' '))
			str_addc(out, ' ');
		str_add(out, p, n);
		return;
	}
	if (front && !(n > 0 && p[0] == ' ') &&
	    !(n >= n_space && memcmp(p, step->space, n_space) == 0))
		str_add(out, step->space, n_space);
	for (i = 0; i < n; i++) {
		if (p[i] != ' ')
			continue;
		str_add(out, p + start, i - start);
		str_add(out, step->space, n_space);
		start = i + 1;
	}
	str_add(out, p + start, n - start);
}

static void
rewrite_all(const struct token_split_step *step, bool at_start,
    struct token_pieces *pc, struct token_pieces *spare)
{
	struct token_pieces t;
	size_t i, begin;
	bool front;

	str_clear(&spare->text);
	spare->n = 0;
	for (i = 0; i < pc->n; i++) {
		front = step->scheme == TOKEN_ALWAYS ||
		    (step->scheme == TOKEN_FIRST && at_start &&
		    pc->p[i].begin == 0);
		begin = spare->text.n;
		rewrite_piece(step, front, pc->text.p + pc->p[i].begin,
		    pc->p[i].end - pc->p[i].begin, &spare->text);
		VEC_PUSH(spare,
		    ((struct token_span){ begin, spare->text.n }));
	}
	t = *pc;
	*pc = *spare;
	*spare = t;
}

int
token_split_run(const struct token_split *s, struct token_regex *r,
    bool at_start, struct token_pieces *pc, struct token_pieces *spare,
    struct err *e)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (s->p[i].code == NULL)
			rewrite_all(&s->p[i], at_start, pc, spare);
		else if (cut_all(&s->p[i], r, pc, spare, e) != 0)
			return -1;
	}
	return 0;
}
