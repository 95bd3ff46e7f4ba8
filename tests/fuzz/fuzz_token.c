/*
 * fuzz_token - hostile bytes to the tokenizer.  The first byte chooses: 'j',
 * the rest is a tokenizer.json, and what loads must encode and decode; else
 * the rest is text for the bundled model's tokenizer, which must come back.
 *
 * Checked: no control token out of user text; a text in normal form decodes
 * to itself; a stream of any ids gives what token_decode gives.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "err.h"
#include "mem.h"
#include "str.h"
#include "token.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MUST(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "fuzz_token: %s\n", #cond);	\
			abort();					\
		}							\
	} while (0)

/* Any ids, taken from the bytes: whole and streamed text are the same. */
static void
check_decode(const struct token *t, const uint8_t *p, size_t n)
{
	struct token_stream st;
	struct str a = STR_INIT, b = STR_INIT;
	VEC(uint32_t) ids = { 0 };
	uint32_t size = token_vocab_size(t);
	size_t i;

	for (i = 0; i + 1 < n; i += 2)
		VEC_PUSH(&ids, (uint32_t)(p[i] << 8 | p[i + 1]) %
		    (size + 1));
	token_decode(t, ids.p, ids.n, true, &a);
	token_stream_init(&st, t, true);
	for (i = 0; i < ids.n; i++) {
		token_stream_put(&st, ids.p[i], &b);
		MUST(str_utf8_valid(str_c(&b), b.n));
	}
	token_stream_end(&st, &b);
	token_stream_free(&st);
	MUST(a.n == b.n && strcmp(str_c(&a), str_c(&b)) == 0);
	str_free(&a);
	str_free(&b);
	VEC_FREE(&ids);
}

/* Encode as user text; the ids must be no control tokens (but unk). */
static int
check_encode(const struct token *t, const char *p, size_t n,
    struct token_ids *ids)
{
	struct token_span span = { n / 4, n / 2 };
	struct token_text in = { .p = p, .n = n };
	struct token_ids more = { 0 };
	struct err e = ERR_INIT;

	if (token_encode(t, &in, ids, &e) != 0)
		return -1;
	in.parse_special = in.add_special = true;
	in.untrusted = &span;
	in.n_untrusted = 1;
	(void)token_encode(t, &in, &more, &e);
	VEC_FREE(&more);
	return 0;
}

static void
fuzz_json(const char *p, size_t n)
{
	static const char text[] =
	    "Hello  <s>w\xc3\xb6rld</s> 123\n\xe6\x97\xa5"
	    "e\xcc\x81 \xf0\x9f\x98\x80 ab ab <|x|>[INST] ";
	struct token_source src = { .name = "fuzz", .json = p, .n_json = n };
	struct token_ids ids = { 0 };
	struct token *t = NULL;
	struct err e = ERR_INIT;

	if (token_load_text(&t, &src, &e) != 0) {
		MUST(t == NULL && e.code == ERR_DATA);
		return;
	}
	(void)check_encode(t, text, sizeof(text) - 1, &ids);
	check_decode(t, (const uint8_t *)p, n < 200 ? n : 200);
	VEC_FREE(&ids);
	token_free(t);
}

static struct token *
tales(void)
{
	static struct token *t;
	const char *root = getenv("MOE_ROOT");
	struct err e = ERR_INIT;
	char *dir;

	if (t != NULL)
		return t;
	dir = mem_printf("%s/models/tales", root != NULL ? root : ".");
	if (token_load(&t, dir, &e) != 0) {
		fprintf(stderr, "fuzz_token: %s\n", e.text);
		exit(e.code);
	}
	mem_free(dir);
	return t;
}

static void
fuzz_text(const char *p, size_t n)
{
	const struct token *t = tales();
	struct token_ids ids = { 0 };
	struct str s = STR_INIT;
	utf8proc_uint8_t *nfc = NULL;
	utf8proc_ssize_t n_nfc;
	size_t i;

	check_decode(t, (const uint8_t *)p, n);
	if (check_encode(t, p, n, &ids) != 0) {
		MUST(!str_utf8_valid(p, n));
		return;
	}
	for (i = 0; i < ids.n; i++)
		MUST(!token_is_control(t, ids.p[i]));
	token_decode(t, ids.p, ids.n, false, &s);
	n_nfc = utf8proc_map((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n,
	    &nfc, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	MUST(n_nfc >= 0 && s.n == (size_t)n_nfc &&
	    memcmp(str_c(&s), nfc, s.n) == 0);
	free(nfc);
	str_free(&s);
	VEC_FREE(&ids);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0 || n > 1 << 20)
		return 0;
	if (data[0] == 'j')
		fuzz_json((const char *)data + 1, n - 1);
	else
		fuzz_text((const char *)data + 1, n - 1);
	return 0;
}

#include "fuzz_main.h"
