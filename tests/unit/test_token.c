/*
 * test_token - the tokenizers of real models: ids and texts as the reference
 * library has them, streams, threads, and user text that tries to be more.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "mem.h"
#include "scratch.h"
#include "str.h"
#include "tap.h"
#include "token.h"

/* One line of vectors.jsonl. */
struct vector {
	json_t *obj;
	const char *text;
	size_t n;
};

struct model {
	const char *name;
	bool nfc;			/* it normalizes */
	struct token *t;
	VEC(struct vector) vec;
};

/* ---- loading ------------------------------------------------------------- */

static void
read_vectors(struct model *m)
{
	char *path = mem_printf("%s/vectors.jsonl", scratch_dir);
	struct str s = STR_INIT;
	struct vector v;
	const json_t *text;
	char *line, *save = NULL;

	if (str_read_file(&s, path, (size_t)16 << 20) != 0)
		perror(path);
	for (line = strtok_r(s.p, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save)) {
		v.obj = json_loads(line, 0, NULL);
		text = json_object_get(v.obj, "text");
		v.text = json_string_value(text);
		v.n = json_string_length(text);
		VEC_PUSH(&m->vec, v);
	}
	OK(m->vec.n > 100, "%s: there are vectors", m->name);
	str_free(&s);
	mem_free(path);
}

static bool
open_model(struct model *m)
{
	char *dir = scratch_root("tests/golden/tokenizers");
	char *sh = scratch_root("tests/lib/unpack_golden.sh");
	char *cmd = mem_printf("'%s' '%s/%s' '%s'", sh, dir, m->name,
	    scratch_dir);
	struct err e = ERR_INIT;
	bool good;

	good = OK(system(cmd) == 0, "%s: unpack", m->name) &&
	    OK(token_load(&m->t, scratch_dir, &e) == 0, "%s: load %s",
	    m->name, e.text);
	if (good)
		read_vectors(m);
	scratch_clear();
	mem_free(cmd);
	mem_free(sh);
	mem_free(dir);
	return good;
}

static void
close_model(struct model *m)
{
	size_t i;

	for (i = 0; i < m->vec.n; i++)
		json_decref(m->vec.p[i].obj);
	VEC_FREE(&m->vec);
	token_free(m->t);
}

/* ---- vectors ------------------------------------------------------------- */

static bool
same_ids(const struct token_ids *got, const json_t *want)
{
	size_t i;

	if (got->n != json_array_size(want))
		return false;
	for (i = 0; i < got->n; i++)
		if (got->p[i] !=
		    json_integer_value(json_array_get(want, i)))
			return false;
	return true;
}

static bool
encodes_to(const struct token *t, const struct vector *v, const char *key,
    bool add_special)
{
	struct token_text in = { .p = v->text, .n = v->n,
	    .add_special = add_special, .parse_special = true };
	struct token_ids ids = { 0 };
	struct err e = ERR_INIT;
	bool good;

	good = token_encode(t, &in, &ids, &e) == 0 &&
	    same_ids(&ids, json_object_get(v->obj, key));
	VEC_FREE(&ids);
	return good;
}

static void
test_vectors(const struct model *m)
{
	size_t i, n_special = 0, bad = 0;

	for (i = 0; i < m->vec.n; i++) {
		if (!encodes_to(m->t, &m->vec.p[i], "ids", false) &&
		    bad++ < 10)
			printf("# %s: '%s'\n", m->name, m->vec.p[i].text);
		if (json_object_get(m->vec.p[i].obj, "ids_add_special")) {
			n_special++;
			bad += !encodes_to(m->t, &m->vec.p[i],
			    "ids_add_special", true);
		}
	}
	EQ_INT(bad, 0, "%s: %zu vectors, %zu with special tokens", m->name,
	    m->vec.n, n_special);
}

/* The text that decoding must give: the normal form of the vector's. */
static char *
wanted_text(const struct model *m, const struct vector *v)
{
	const char *s = json_string_value(json_object_get(v->obj, "decoded"));

	if (s == NULL)
		s = v->text;
	return m->nfc ?
	    (char *)utf8proc_NFC((const utf8proc_uint8_t *)s) : mem_strdup(s);
}

static void
vector_ids(const struct vector *v, struct token_ids *ids)
{
	const json_t *list = json_object_get(v->obj, "ids");
	size_t i;

	ids->n = 0;
	for (i = 0; i < json_array_size(list); i++)
		VEC_PUSH(ids, (uint32_t)json_integer_value(
		    json_array_get(list, i)));
}

/* Is what a stream of the ids appends, step by step, whole characters? */
static bool
stream_text(const struct token *t, const struct token_ids *ids,
    struct str *out)
{
	struct token_stream st;
	bool whole = true;
	size_t i;

	token_stream_init(&st, t, false);
	for (i = 0; i < ids->n; i++) {
		token_stream_put(&st, ids->p[i], out);
		whole = whole && str_utf8_valid(str_c(out), out->n);
	}
	token_stream_end(&st, out);
	token_stream_free(&st);
	return whole;
}

static void
test_decode(const struct model *m)
{
	struct token_ids ids = { 0 };
	struct str a = STR_INIT, b = STR_INIT;
	size_t i, bad_text = 0, bad_stream = 0;
	char *want;

	for (i = 0; i < m->vec.n; i++) {
		vector_ids(&m->vec.p[i], &ids);
		want = wanted_text(m, &m->vec.p[i]);
		str_clear(&a);
		str_clear(&b);
		token_decode(m->t, ids.p, ids.n, false, &a);
		bad_stream += !stream_text(m->t, &ids, &b) || a.n != b.n ||
		    strcmp(str_c(&a), str_c(&b)) != 0;
		if (strcmp(str_c(&a), want) != 0 && bad_text++ < 10)
			printf("# got '%s'\n# want '%s'\n", str_c(&a), want);
		free(want);
	}
	EQ_INT(bad_text, 0, "%s: decoding gives the text", m->name);
	EQ_INT(bad_stream, 0, "%s: a stream gives the same", m->name);
	str_free(&a);
	str_free(&b);
	VEC_FREE(&ids);
}

/* Random ids, most of which are no text: a stream equals the whole. */
static void
test_random_ids(const struct model *m)
{
	struct token_ids ids = { 0 };
	struct str a = STR_INIT, b = STR_INIT;
	uint32_t x = 1, n = token_vocab_size(m->t);
	size_t i, k, bad = 0;

	for (i = 0; i < 2000; i++) {
		ids.n = 0;
		for (k = 0; k < 12; k++) {
			x = x * 1664525 + 1013904223;
			VEC_PUSH(&ids, (x >> 8) % (k % 3 ? 400 : n + 9));
		}
		str_clear(&a);
		str_clear(&b);
		token_decode(m->t, ids.p, ids.n, false, &a);
		bad += !stream_text(m->t, &ids, &b) ||
		    strcmp(str_c(&a), str_c(&b)) != 0;
	}
	EQ_INT(bad, 0, "%s: streams of random ids", m->name);
	str_free(&a);
	str_free(&b);
	VEC_FREE(&ids);
}

/* ---- user text ----------------------------------------------------------- */

static size_t
count_control(const struct token *t, const struct token_ids *ids)
{
	size_t i, n = 0;

	for (i = 0; i < ids->n; i++)
		n += token_is_control(t, ids->p[i]);
	return n;
}

/* Control tokens in the ids of in; -1 when the text does not come back. */
static int
controls_in(const struct model *m, const struct token_text *in)
{
	struct token_ids ids = { 0 };
	struct str s = STR_INIT;
	struct err e = ERR_INIT;
	int n;

	if (token_encode(m->t, in, &ids, &e) != 0)
		return -1;
	token_decode(m->t, ids.p, ids.n, false, &s);
	n = s.n == in->n && memcmp(s.p, in->p, in->n) == 0 ?
	    (int)count_control(m->t, &ids) : -1;
	str_free(&s);
	VEC_FREE(&ids);
	return n;
}

/* One control token's string, in the ways that user text may carry it. */
static int
inject(const struct model *m, const char *c)
{
	static const char *const form[] = {
		"%s", "x%sy", " %s \n", "%s%s", "<%s>", "a\n\n%s\n" };
	struct token_text in = { .p = NULL };
	struct token_span span;
	size_t k, n = strlen(c);
	char *s;
	int bad = 0;

	for (k = 0; k < sizeof(form) / sizeof(form[0]); k++) {
		s = mem_printf(form[k], c, c);
		in = (struct token_text){ .p = s, .n = strlen(s) };
		bad += controls_in(m, &in) != 0;
		span = (struct token_span){ 0, in.n };
		in.parse_special = true;
		in.untrusted = &span;
		in.n_untrusted = 1;
		bad += controls_in(m, &in) != 0;
		mem_free(s);
	}
	/* Only a part of it is the user's: the first byte, the last. */
	in = (struct token_text){ .p = c, .n = n, .parse_special = true,
	    .untrusted = &span, .n_untrusted = 1 };
	span = (struct token_span){ 0, 1 };
	bad += controls_in(m, &in) != 0;
	span = (struct token_span){ n - 1, n };
	bad += controls_in(m, &in) != 0;
	/* Nothing of it is: an empty span forbids nothing. */
	span = (struct token_span){ n / 2, n / 2 };
	bad += controls_in(m, &in) != 1;
	return bad;
}

static void
test_injection(const struct model *m)
{
	uint32_t id, n = 0;
	int bad = 0;

	for (id = 0; id < token_vocab_size(m->t); id++) {
		if (!token_is_control(m->t, id))
			continue;
		n++;
		bad += inject(m, token_piece(m->t, id));
	}
	OK(n >= 2, "%s: %u control tokens", m->name, n);
	EQ_INT(bad, 0, "%s: none of them comes out of user text", m->name);
}

/* A template around the vocabulary of controls as user text. */
static void
test_template(const struct model *m)
{
	struct str s = STR_INIT;
	struct token_span span[2];
	struct token_text in = { .parse_special = true, .untrusted = span,
	    .n_untrusted = 2 };
	struct token_ids ids = { 0 };
	struct err e = ERR_INIT;
	uint32_t id, mark = 0;
	int k;

	while (!token_is_control(m->t, mark))
		mark++;
	for (k = 0; k < 2; k++) {
		str_adds(&s, token_piece(m->t, mark));
		span[k].begin = s.n;
		/* NFC would join this to the end of the token. */
		str_adds(&s, "\xcc\xb8");
		for (id = 0; id < token_vocab_size(m->t); id++)
			if (token_is_control(m->t, id))
				str_adds(&s, token_piece(m->t, id));
		span[k].end = s.n;
	}
	str_adds(&s, token_piece(m->t, mark));
	in.p = s.p;
	in.n = s.n;
	OK(token_encode(m->t, &in, &ids, &e) == 0 &&
	    count_control(m->t, &ids) == 3 && ids.p[0] == mark &&
	    ids.p[ids.n - 1] == mark,
	    "%s: the template's own tokens and no others", m->name);
	VEC_FREE(&ids);
	str_free(&s);
}

/* ---- length and threads -------------------------------------------------- */

static void
test_long(const struct model *m)
{
	static const char *const unit[] = { "a", " ", "\n", "é", "a " };
	struct token_text in = { 0 };
	struct str s = STR_INIT;
	size_t i;

	for (i = 0; i < sizeof(unit) / sizeof(unit[0]); i++) {
		str_clear(&s);
		while (s.n < 200000)
			str_adds(&s, unit[i]);
		in.p = s.p;
		in.n = s.n;
		EQ_INT(controls_in(m, &in), 0, "%s: 200 kB of unit %zu",
		    m->name, i);
	}
	str_free(&s);
}

static void *
encode_all(void *arg)
{
	const struct model *m = arg;
	size_t i, bad = 0;

	for (i = 0; i < m->vec.n; i++)
		bad += !encodes_to(m->t, &m->vec.p[i], "ids", false);
	return (void *)bad;
}

static void
test_threads(struct model *m)
{
	pthread_t th[4];
	void *bad, *sum = NULL;
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&th[i], NULL, encode_all, m);
	for (i = 0; i < 4; i++) {
		pthread_join(th[i], &bad);
		sum = bad != NULL ? bad : sum;
	}
	OK(sum == NULL, "%s: four threads at once", m->name);
}

/* ---- what each model says ------------------------------------------------ */

static void
test_names(void)
{
	static const struct {
		const char *model, *bos, *eos, *pad;
	} want[] = {
		{ "mixtral", "<s>", "</s>", NULL },
		{ "qwen3", NULL, "<|im_end|>", "<|endoftext|>" },
	};
	struct model m;
	size_t i;

	for (i = 0; i < 2; i++) {
		m = (struct model){ .name = want[i].model };
		if (!open_model(&m))
			continue;
		EQ_INT(token_bos(m.t), want[i].bos ? token_id(m.t,
		    want[i].bos) : -1, "%s: bos", m.name);
		OK(token_eos(m.t) > 0 && token_eos(m.t) == token_id(m.t,
		    want[i].eos), "%s: eos", m.name);
		EQ_INT(token_pad(m.t), want[i].pad ? token_id(m.t,
		    want[i].pad) : -1, "%s: pad", m.name);
		close_model(&m);
	}
}

static void
test_tales(void)
{
	char *dir = scratch_root("models/tales");
	char *path = scratch_root("models/tales/golden.json");
	json_t *root = json_load_file(path, 0, NULL), *c;
	struct model m = { .name = "tales", .nfc = true };
	struct err e = ERR_INIT;
	struct str s = STR_INIT;
	struct vector v;
	size_t i, k, n = 0;
	const json_t *list;

	if (!OK(token_load(&m.t, dir, &e) == 0, "tales: load %s", e.text))
		return;
	json_array_foreach(json_object_get(root, "cases"), i, c) {
		v = (struct vector){ c, json_string_value(json_object_get(c,
		    "text")), 0 };
		v.n = strlen(v.text);
		n += OK(encodes_to(m.t, &v, "prompt", false), "tales: '%.20s'",
		    v.text);
		str_clear(&s);
		list = json_object_get(c, "greedy");
		for (k = 0; k < json_array_size(list); k++) {
			uint32_t id = (uint32_t)json_integer_value(
			    json_array_get(list, k));

			token_decode(m.t, &id, 1, false, &s);
		}
		EQ_STR(str_c(&s), json_string_value(json_object_get(c,
		    "greedy_text")), "tales: the continuation's text");
	}
	OK(n > 0, "tales: %zu cases", n);
	test_injection(&m);
	str_free(&s);
	json_decref(root);
	token_free(m.t);
	mem_free(dir);
	mem_free(path);
}

int
main(void)
{
	static struct model models[] = {
		{ .name = "mixtral" },
		{ .name = "qwen2_5", .nfc = true },
		{ .name = "qwen3", .nfc = true },
		{ .name = "gptoss" },
		{ .name = "deepseek_v3" },
		{ .name = "olmoe", .nfc = true },
	};
	size_t i;

	scratch_begin();
	for (i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		if (!open_model(&models[i]))
			continue;
		test_vectors(&models[i]);
		test_decode(&models[i]);
		test_random_ids(&models[i]);
		test_injection(&models[i]);
		test_template(&models[i]);
		test_long(&models[i]);
		test_threads(&models[i]);
		close_model(&models[i]);
	}
	test_names();
	test_tales();
	scratch_end();
	return tap_done();
}
