/*
 * token_regex - PCRE2 for patterns that were written for Oniguruma (Ruby's
 * syntax).  Floor F4; compiled code is shared by threads, a struct token_regex
 * belongs to one call.
 *
 * The two agree on what tokenizers use, with two exceptions handled here.
 * ^ and $ always mean lines in Ruby's syntax.  And a class may hold another
 * class, with && for intersection: PCRE2 compiles that without a word and
 * means something else, so such a pattern is refused.
 */
#include <string.h>

#include "mem.h"
#include "token_parts.h"

#define STACK_START	((size_t)64 << 10)
#define STACK_MAX	((size_t)16 << 20)

/* What in the pattern means something else to PCRE2; NULL if nothing does. */
static const char *
foreign(const char *p)
{
	bool class = false;

	for (; *p != '\0'; p++) {
		if (*p == '\\') {
			if (p[1] == 'h' || p[1] == 'H')
				return "\\h";
			p += p[1] != '\0';
		} else if (!class && *p == '[') {
			class = true;
			if (p[1] == '^')
				p++;
			p += p[1] == ']';
		} else if (class && *p == '[' && p[1] != ':') {
			return "a class within a class";
		} else if (class && *p == '[') {
			p = strstr(p, ":]");
			if (p == NULL)
				return NULL;	/* PCRE2 will say so */
			p++;
		} else if (class && p[0] == '&' && p[1] == '&') {
			return "&& in a class";
		} else if (class && *p == ']') {
			class = false;
		}
	}
	return NULL;
}

pcre2_code *
token_regex_compile(const char *pattern, bool literal,
    const struct json_src *src, const char *key)
{
	uint32_t opt = PCRE2_UTF | PCRE2_NO_UTF_CHECK;
	const char *bad = literal ? NULL : foreign(pattern);
	pcre2_code *code;
	PCRE2_UCHAR why[128];
	PCRE2_SIZE at;
	int rc;

	if (bad != NULL || *pattern == '\0') {
		json_want_fail(src, key, "%s is not supported",
		    bad != NULL ? bad : "an empty pattern");
		return NULL;
	}
	/* A \C would cut characters in two. */
	opt |= literal ? PCRE2_LITERAL :
	    PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, opt,
	    &rc, &at, NULL);
	if (code == NULL) {
		pcre2_get_error_message(rc, why, sizeof(why));
		json_want_fail(src, key, "bad pattern at byte %zu: %s",
		    (size_t)at, (const char *)why);
		return NULL;
	}
	/* Where the machine forbids JIT the interpreter does the same work. */
	rc = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	if (rc != 0 && rc != PCRE2_ERROR_JIT_BADOPTION &&
	    rc != PCRE2_ERROR_NOMEMORY) {
		pcre2_get_error_message(rc, why, sizeof(why));
		json_want_fail(src, key, "the pattern does not compile: %s",
		    (const char *)why);
		pcre2_code_free(code);
		return NULL;
	}
	return code;
}

void
token_regex_open(struct token_regex *r)
{
	r->data = mem_must(pcre2_match_data_create(1, NULL), 0);
	r->ctx = mem_must(pcre2_match_context_create(NULL), 0);
	r->stack = pcre2_jit_stack_create(STACK_START, STACK_MAX, NULL);
	/* Without a stack of its own (NULL) JIT has 32 KiB of ours. */
	if (r->stack != NULL)
		pcre2_jit_stack_assign(r->ctx, NULL, r->stack);
}

void
token_regex_close(struct token_regex *r)
{
	pcre2_match_data_free(r->data);
	pcre2_match_context_free(r->ctx);
	pcre2_jit_stack_free(r->stack);
}

int
token_regex_next(struct token_regex *r, const pcre2_code *code,
    const char *p, size_t n, size_t off, struct token_span *m, struct err *e)
{
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(r->data);
	PCRE2_UCHAR why[128];
	int rc;

	/* The caller checked the UTF-8, once for all matches. */
	rc = pcre2_match(code, (PCRE2_SPTR)p, n, off, PCRE2_NO_UTF_CHECK,
	    r->data, r->ctx);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0) {
		pcre2_get_error_message(rc, why, sizeof(why));
		return err_set(e, ERR_DATA, "the tokenizer's regular "
		    "expression gave up on the text: %s", (const char *)why);
	}
	/* \K can put the start anywhere. */
	if (ov[0] < off || ov[1] < ov[0])
		return err_set(e, ERR_DATA, "the tokenizer's regular "
		    "expression moves the start of its match");
	m->begin = ov[0];
	m->end = ov[1];
	return 1;
}
