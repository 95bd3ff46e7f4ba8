/*
 * test_token_rules - one rule of tokenizer.json at a time: small tokenizers
 * with what the reference library makes of them, files that are refused, and
 * the edges of token.h's contracts.
 */
#include <jansson.h>
#include <stdlib.h>

#include "mem.h"
#include "scratch.h"
#include "str.h"
#include "tap.h"
#include "token.h"

static struct token *
load(const char *json, size_t n, const char *config, struct err *e)
{
	struct token_source src = { .name = "x", .json = json, .n_json = n,
	    .config = config, .n_config = config ? strlen(config) : 0 };
	struct token *t = NULL;

	*e = (struct err)ERR_INIT;
	return token_load_text(&t, &src, e) == 0 ? t : NULL;
}

/* ---- rules.jsonl --------------------------------------------------------- */

static void
list_ids(const json_t *list, struct token_ids *ids)
{
	size_t i;

	ids->n = 0;
	for (i = 0; i < json_array_size(list); i++)
		VEC_PUSH(ids, (uint32_t)json_integer_value(
		    json_array_get(list, i)));
}

/* 0 when the case of a rule gives its ids and its decoded text. */
static int
case_fails(const struct token *t, const json_t *c, bool add_special)
{
	const json_t *text = json_object_get(c, "text");
	struct token_text in = { .p = json_string_value(text),
	    .n = json_string_length(text), .add_special = add_special,
	    .parse_special = true };
	struct token_ids want = { 0 }, got = { 0 };
	struct str s = STR_INIT;
	struct err e = ERR_INIT;
	int bad = 0;

	list_ids(json_object_get(c, "ids"), &want);
	if (text != NULL)
		bad = token_encode(t, &in, &got, &e) != 0 ||
		    got.n != want.n || (got.n > 0 &&
		    memcmp(got.p, want.p, got.n * sizeof(*got.p)) != 0);
	token_decode(t, want.p, want.n, false, &s);
	bad |= strcmp(str_c(&s),
	    json_string_value(json_object_get(c, "decoded"))) != 0;
	if (bad)
		printf("# text '%s' %s, decoded '%s'\n",
		    text != NULL ? in.p : "-", e.text, str_c(&s));
	str_free(&s);
	VEC_FREE(&want);
	VEC_FREE(&got);
	return bad;
}

static void
test_rule(const json_t *rule)
{
	const char *name = json_string_value(json_object_get(rule, "name"));
	char *json = json_dumps(json_object_get(rule, "tokenizer"), 0);
	bool special = json_is_true(json_object_get(rule, "add_special"));
	const json_t *c;
	struct token *t;
	struct err e;
	size_t i;
	int bad = 0;

	t = load(json, strlen(json), NULL, &e);
	if (OK(t != NULL, "%s: load %s", name, e.text)) {
		json_array_foreach(json_object_get(rule, "cases"), i, c)
			bad += case_fails(t, c, special);
		OK(bad == 0 && i > 0, "%s: %zu cases", name, i);
	}
	token_free(t);
	free(json);
}

static void
test_rules(void)
{
	struct str s = STR_INIT;
	char *line, *save = NULL;
	json_t *rule;

	scratch_read("tests/golden/tokenizers/rules.jsonl", &s);
	for (line = strtok_r(s.p, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save)) {
		rule = json_loads(line, 0, NULL);
		test_rule(rule);
		json_decref(rule);
	}
	str_free(&s);
}

/* ---- refusals ------------------------------------------------------------ */

#define BPE	"{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}," \
		"\"merges\":[\"a b\"]}"
#define FUSE	"\"decoder\":{\"type\":\"Fuse\"}"

static const struct {
	const char *json, *says;	/* a part of the error */
} refused[] = {
	{ "", "not valid JSON" },
	{ "[]", "not a JSON object" },
	{ "{" FUSE "}", "model: is missing" },
	{ "{\"model\":" BPE "}", "decoder: is missing" },
	{ "{" FUSE ",\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
	    "model.type: Unigram is not supported" },
	{ "{" FUSE ",\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}",
	    "model.type: WordPiece" },
	{ "{" FUSE ",\"model\":{\"type\":\"BPE\",\"merges\":[]}}",
	    "model.vocab: is missing" },
	{ "{" FUSE ",\"model\":{\"type\":\"BPE\",\"vocab\":{}}}",
	    "model.merges: is missing" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}",
	    "model.vocab: \"a\" has no id" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":99999999},"
	    "\"merges\":[]}}", "has no id" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":0},"
	    "\"merges\":[\"a a\"]}}", "merges: number 0" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":0},"
	    "\"merges\":[\"a\"]}}", "not a pair" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":0},"
	    "\"merges\":[[\"a\"]]}}", "not a pair" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],"
	    "\"dropout\":0.1}}", "model.dropout" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],"
	    "\"end_of_word_suffix\":\"</w>\"}}",
	    "model.end_of_word_suffix" },
	{ "{" FUSE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],"
	    "\"unk_token\":\"?\"}}", "model.unk_token" },
	{ "{" FUSE ",\"normalizer\":{\"type\":\"NFKC\"},\"model\":"
	    BPE "}", "normalizer.type: normalizer NFKC" },
	{ "{" FUSE ",\"normalizer\":{\"type\":\"Sequence\","
	    "\"normalizers\":[{\"type\":\"NFC\"},{\"type\":"
	    "\"Lowercase\"}]},\"model\":" BPE "}",
	    "normalizer.normalizers[1].type: normalizer Lowercase" },
	{ "{" FUSE ",\"pre_tokenizer\":{\"type\":\"Whitespace\"},"
	    "\"model\":" BPE "}", "pre-tokenizer Whitespace" },
	{ "{" FUSE ",\"pre_tokenizer\":{\"type\":\"Split\","
	    "\"pattern\":{\"Regex\":\"[\\\\p{L}&&[^\\\\p{Han}]]+\"},"
	    "\"behavior\":\"Isolated\"},\"model\":" BPE "}",
	    "pre_tokenizer.pattern: && in a class" },
	{ "{" FUSE ",\"pre_tokenizer\":{\"type\":\"Split\","
	    "\"pattern\":{\"Regex\":\"[a[bc]]\"},"
	    "\"behavior\":\"Isolated\"},\"model\":" BPE "}",
	    "a class within a class" },
	{ "{" FUSE ",\"pre_tokenizer\":{\"type\":\"Split\","
	    "\"pattern\":{\"Regex\":\"(\"},"
	    "\"behavior\":\"Isolated\"},\"model\":" BPE "}",
	    "bad pattern" },
	{ "{" FUSE ",\"pre_tokenizer\":{\"type\":\"Split\","
	    "\"pattern\":{\"Regex\":\"a\"},"
	    "\"behavior\":\"Sideways\"},\"model\":" BPE "}",
	    "Sideways" },
	{ "{" FUSE ",\"post_processor\":{\"type\":"
	    "\"BertProcessing\"},\"model\":" BPE "}",
	    "post-processor BertProcessing" },
	{ "{\"decoder\":{\"type\":\"WordPiece\"},\"model\":" BPE "}",
	    "decoder.type: decoder WordPiece" },
	{ "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
	    "\"Fuse\"},{\"type\":\"ByteFallback\"}]},\"model\":"
	    BPE "}", "decoder.decoders[1].type" },
	{ "{" FUSE ",\"added_tokens\":[{\"id\":0,\"content\":\"\"}],"
	    "\"model\":" BPE "}", "added_tokens[0].content" },
	{ "{" FUSE ",\"added_tokens\":[{\"id\":7,\"content\":\"x\"},"
	    "{\"id\":8,\"content\":\"x\"}],\"model\":" BPE "}",
	    "has two ids" },
	{ "{" FUSE ",\"added_tokens\":[5],\"model\":" BPE "}",
	    "added_tokens[0]: not an object" },
};

static void
test_refusals(void)
{
	struct token *t;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		t = load(refused[i].json, strlen(refused[i].json), NULL, &e);
		if (!OK(t == NULL && e.code == ERR_DATA &&
		    strstr(e.text, refused[i].says) != NULL &&
		    strstr(e.text, "x/tokenizer.json") != NULL,
		    "refused: %s", refused[i].says))
			printf("#   says: %s\n", e.text);
		token_free(t);
	}
}

/* ---- contracts ----------------------------------------------------------- */

/* A file with one token of each kind of rule. */
static const char kinds[] = "{" FUSE ",\"added_tokens\":["
    "{\"id\":3,\"content\":\"<s>\",\"special\":true},"
    "{\"id\":4,\"content\":\"<tool>\",\"special\":false},"
    "{\"id\":5,\"content\":\"[INST]\",\"special\":false},"
    "{\"id\":6,\"content\":\"/no\",\"special\":false},"
    "{\"id\":7,\"content\":\"  \",\"special\":false},"
    "{\"id\":8,\"content\":\"STOP\",\"special\":true}],"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"ignore_merges\":true,"
    "\"vocab\":{\"?\":0,\"<\":1,\"s\":2,\"<s>\":3,\">\":9,\"<s\":10,\"a\":11,"
    "\"STOP\":8},\"merges\":[\"< s\",\"<s >\"]}}";

/* The ids of text as "1 2 3", in the given mode. */
static const char *
ids_of(const struct token *t, const char *text, bool parse,
    const struct token_span *span, size_t n_span)
{
	static char out[200];
	struct token_text in = { .p = text, .n = strlen(text),
	    .parse_special = parse, .untrusted = span,
	    .n_untrusted = n_span };
	struct token_ids ids = { 0 };
	struct err e = ERR_INIT;
	size_t i, n = 0;

	if (token_encode(t, &in, &ids, &e) != 0)
		return "error";
	out[0] = '\0';
	for (i = 0; i < ids.n && n < sizeof(out) - 12; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%u",
		    i > 0 ? " " : "", ids.p[i]);
	VEC_FREE(&ids);
	return out;
}

static void
test_user_text(void)
{
	static const struct token_span mid[] = { { 3, 6 } };
	static const struct token_span edge[] = { { 2, 4 } };
	struct err e;
	struct token *t = load(kinds, sizeof(kinds) - 1, NULL, &e);

	if (!OK(t != NULL, "load %s", e.text))
		return;
	OK(token_is_control(t, 3) && token_is_control(t, 4) &&
	    token_is_control(t, 5) && token_is_control(t, 8),
	    "special, <...> and [...] are control tokens");
	OK(!token_is_control(t, 6) && !token_is_control(t, 7) &&
	    !token_is_control(t, 0) && !token_is_control(t, 999),
	    "a word, white space, the vocabulary are not");
	OK(token_is_special(t, 3) && !token_is_special(t, 4) &&
	    !token_is_special(t, 999), "special is what the file says");
	EQ_STR(ids_of(t, "<s>", true, NULL, 0), "3", "a template's token");
	EQ_STR(ids_of(t, "<s>", false, NULL, 0), "10 9",
	    "no merge makes a control token of user text");
	EQ_STR(ids_of(t, "STOP", false, NULL, 0), "0 0 0 0",
	    "nor does ignore_merges");
	EQ_STR(ids_of(t, "a/no  a", false, NULL, 0), "11 6 7 11",
	    "others match in user text");
	EQ_STR(ids_of(t, "<s><s><s>", true, mid, 1), "3 10 9 3",
	    "not inside an untrusted span");
	EQ_STR(ids_of(t, "<s><s><s>", true, edge, 1), "10 9 10 9 3",
	    "not partly inside one either");
	EQ_STR(ids_of(t, "a  /no", true, mid, 1), "11 7 6",
	    "white space and words match across its border");
	token_free(t);
}

static void
test_bad_input(void)
{
	static const struct token_span swap[] = { { 1, 2 }, { 0, 1 } };
	static const struct token_span far[] = { { 0, 9 } };
	static const char *const broken[] = { "a\x80", "\xc3", "\xed\xa0\x80",
	    "\xc0\xaf", "\xf4\x90\x80\x80" };
	struct err e;
	struct token *t = load(kinds, sizeof(kinds) - 1, NULL, &e);
	struct token_text in = { .p = "aa", .n = 2 };
	struct token_ids ids = { 0 };
	size_t i, n;

	VEC_PUSH(&ids, 42u);
	for (i = 0; i < 5; i++) {
		in.p = broken[i];
		in.n = strlen(broken[i]);
		OK(token_encode(t, &in, &ids, &e) == -1 &&
		    e.code == ERR_DATA && ids.n == 1,
		    "broken UTF-8 number %zu", i);
	}
	in = (struct token_text){ .p = "aa", .n = 2, .untrusted = swap,
	    .n_untrusted = 2 };
	OK(token_encode(t, &in, &ids, &e) == -1 && e.code == ERR_USAGE,
	    "spans out of order");
	in.untrusted = far;
	in.n_untrusted = 1;
	OK(token_encode(t, &in, &ids, &e) == -1 && e.code == ERR_USAGE,
	    "a span beyond the text");
	in = (struct token_text){ .p = NULL, .n = 0, .parse_special = true };
	OK(token_encode(t, &in, &ids, &e) == 0 && ids.n == 1 &&
	    ids.p[0] == 42, "no text, no ids; what was there stays");
	OK(token_piece(t, 999) == NULL && token_piece(t, UINT32_MAX) == NULL,
	    "no piece beyond the vocabulary");
	(void)token_piece_bytes(t, UINT32_MAX, &n);
	EQ_INT(n, 0, "nor bytes");
	EQ_INT(token_id(t, "nowhere"), -1, "no such string");
	EQ_INT(token_vocab_size(t), 12, "the highest id and one");
	VEC_FREE(&ids);
	token_free(t);
}

/* ---- the small files ----------------------------------------------------- */

static void
test_config(void)
{
	struct err e;
	struct token *t;

	t = load(kinds, sizeof(kinds) - 1, "{\"bos_token\":{\"content\":"
	    "\"<s>\"},\"eos_token\":\"STOP\",\"pad_token\":\"<pad>\"}", &e);
	OK(t != NULL && token_bos(t) == 3 && token_eos(t) == 8 &&
	    token_pad(t) == -1, "bos, eos; a pad token that is not there");
	EQ_STR(ids_of(t, "a", false, NULL, 0), "11", "no class, no bos");
	token_free(t);
	t = load(kinds, sizeof(kinds) - 1, "{\"eos_token\":\"</s>\"}", &e);
	OK(t == NULL && e.code == ERR_DATA &&
	    strstr(e.text, "eos_token") != NULL, "an unknown eos_token");
	t = load(kinds, sizeof(kinds) - 1, "{\"tokenizer_class\":"
	    "\"LlamaTokenizerFast\",\"add_bos_token\":true,"
	    "\"add_eos_token\":false,\"bos_token\":\"<s>\","
	    "\"eos_token\":\"STOP\"}", &e);
	if (OK(t != NULL, "a Llama tokenizer %s", e.text)) {
		struct token_text in = { .p = "a", .n = 1,
		    .add_special = true };
		struct token_ids ids = { 0 };

		OK(token_encode(t, &in, &ids, &e) == 0 && ids.n == 2 &&
		    ids.p[0] == 3 && ids.p[1] == 11, "add_bos_token");
		VEC_FREE(&ids);
	}
	token_free(t);
}

int
main(void)
{
	test_rules();
	test_refusals();
	test_user_text();
	test_bad_input();
	test_config();
	return tap_done();
}
