/*
 * token_encode - from text to ids: the order of the steps, and the scratch
 * memory of one call.  Floor F4; any number of threads at once.
 */
#include <string.h>

#include "token_parts.h"

/* One call of token_encode. */
struct call {
	const struct token *t;
	const struct token_text *in;
	struct token_ids *out;
	struct str mask;		/* of in's bytes; empty: all trusted */
	struct token_masked norm;
	struct token_pieces pieces, spare;
	struct token_regex regex;
	struct token_bpe_work work;
};

static int
check(const struct token_text *in, struct err *e)
{
	size_t i, at = 0;

	if (in->n > TOKEN_TEXT_BYTES)
		return err_set(e, ERR_DATA, "the text has %zu bytes, more "
		    "than %zu", in->n, TOKEN_TEXT_BYTES);
	for (i = 0; i < in->n_untrusted; i++) {
		if (in->untrusted[i].begin < at ||
		    in->untrusted[i].end < in->untrusted[i].begin ||
		    in->untrusted[i].end > in->n)
			return err_set(e, ERR_USAGE, "untrusted span %zu "
			    "(%zu..%zu) is out of order or beyond the text",
			    i, in->untrusted[i].begin, in->untrusted[i].end);
		at = in->untrusted[i].end;
	}
	if (!str_utf8_valid(in->p, in->n))
		return err_set(e, ERR_DATA, "the text is not valid UTF-8");
	return 0;
}

/* One byte of mask per byte of text, where control tokens may match at all. */
static void
make_mask(struct call *c)
{
	const struct token_text *in = c->in;
	char *p;
	size_t i;

	if (!in->parse_special || in->n_untrusted == 0)
		return;
	p = mem_zalloc(in->n + 1);
	c->mask = (struct str){ p, in->n, in->n + 1 };
	for (i = 0; i < in->n_untrusted; i++)
		memset(p + in->untrusted[i].begin, '\1',
		    in->untrusted[i].end - in->untrusted[i].begin);
}

/* Normalized text p[0..n) without added tokens. */
static int
plain(struct call *c, const char *p, size_t n, bool at_start, struct err *e)
{
	struct token_pieces *pc = &c->pieces;
	size_t i;

	if (n == 0)
		return 0;
	str_clear(&pc->text);
	str_add(&pc->text, p, n);
	pc->n = 0;
	VEC_PUSH(pc, ((struct token_span){ 0, n }));
	if (token_split_run(&c->t->split, &c->regex, at_start, pc, &c->spare,
	    e) != 0)
		return -1;
	for (i = 0; i < pc->n; i++)
		token_bpe_run(c->t, &c->work, pc->text.p + pc->p[i].begin,
		    pc->p[i].end - pc->p[i].begin, c->out);
	return 0;
}

/* Text [begin, end) of the input, between added tokens that match as is. */
static int
raw_part(struct call *c, size_t begin, size_t end, struct err *e)
{
	struct token_hunt h = { .set = &c->t->normal,
	    .flag = c->t->vocab.flag, .control = c->in->parse_special };
	struct token_hit hit;
	size_t at = 0;

	if (begin == end)
		return 0;
	str_clear(&c->norm.text);
	str_clear(&c->norm.mask);
	str_add(&c->norm.text, c->in->p + begin, end - begin);
	if (c->mask.n > 0)
		str_add(&c->norm.mask, c->mask.p + begin, end - begin);
	if (token_norm_run(&c->t->norm, &c->norm, e) != 0)
		return -1;
	h.p = c->norm.text.p;
	h.n = c->norm.text.n;
	h.mask = c->norm.mask.n > 0 ? c->norm.mask.p : NULL;
	while (token_added_next(&h, at, &hit)) {
		if (plain(c, h.p + at, hit.begin - at, begin + at == 0,
		    e) != 0)
			return -1;
		VEC_PUSH(c->out, hit.id);
		at = hit.end;
	}
	return plain(c, h.p + at, h.n - at, begin + at == 0, e);
}

static int
run(struct call *c, struct err *e)
{
	struct token_hunt h = { .set = &c->t->raw, .flag = c->t->vocab.flag,
	    .p = c->in->p, .n = c->in->n, .control = c->in->parse_special };
	struct token_hit hit;
	size_t at = 0;

	make_mask(c);
	h.mask = c->mask.n > 0 ? c->mask.p : NULL;
	while (token_added_next(&h, at, &hit)) {
		if (raw_part(c, at, hit.begin, e) != 0)
			return -1;
		VEC_PUSH(c->out, hit.id);
		at = hit.end;
	}
	return raw_part(c, at, c->in->n, e);
}

static void
add_all(struct token_ids *out, const struct token_ids *ids)
{
	size_t i;

	for (i = 0; i < ids->n; i++)
		VEC_PUSH(out, ids->p[i]);
}

int
token_encode(const struct token *t, const struct token_text *in,
    struct token_ids *out, struct err *e)
{
	struct call c = { .t = t, .in = in, .out = out };
	size_t start = out->n;
	int rc;

	if (check(in, e) != 0)
		return -1;
	if (in->add_special)
		add_all(out, &t->before);
	token_regex_open(&c.regex);
	rc = run(&c, e);
	token_regex_close(&c.regex);
	token_bpe_work_free(&c.work);
	str_free(&c.mask);
	str_free(&c.norm.text);
	str_free(&c.norm.mask);
	str_free(&c.pieces.text);
	str_free(&c.spare.text);
	VEC_FREE(&c.pieces);
	VEC_FREE(&c.spare);
	if (rc != 0) {
		out->n = start;
		return -1;
	}
	if (in->add_special)
		add_all(out, &t->after);
	return 0;
}
