/*
 * token_load - from the files of a tokenizer to a struct token.  Floor F4.
 *
 * The order matters: added tokens, then the vocabulary, then (all ids being
 * known) the flags, then the merges, which must not lead to control tokens.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "token_parts.h"

#define SMALL_BYTES	((size_t)16 << 20)	/* the two small files */

/* ---- walking the JSON ---------------------------------------------------- */

const char *
token_load_type(const struct json_src *src)
{
	const char *type = NULL;

	return json_want_str(src, "type", &type) == 0 ? type : NULL;
}

int
token_load_each(const struct json_src *src, const char *key,
    token_load_fn *each, void *arg)
{
	const json_t *list = NULL;
	struct json_src sub = *src;
	char at[160];
	size_t i;

	if (json_may_array(src, key, &list) != 0)
		return -1;
	if (list == NULL)
		return json_want_fail(src, key, "is missing");
	/* Each level makes the path longer, which bounds the recursion. */
	if (strlen(src->at) > 100)
		return json_want_fail(src, key, "is nested too deeply");
	for (i = 0; i < json_array_size(list); i++) {
		snprintf(at, sizeof(at), "%s%s[%zu].", src->at, key, i);
		sub.at = at;
		sub.obj = json_array_get(list, i);
		if (!json_is_object(sub.obj))
			return json_want_fail(src, key,
			    "element %zu is not an object", i);
		if (each(arg, &sub) != 0)
			return -1;
	}
	return 0;
}

/* An object of the file that may be null: *there tells. */
static int
part(const struct json_src *file, const char *key, const char *at,
    struct json_src *out, bool *there)
{
	const json_t *obj = NULL;

	if (json_may_obj(file, key, &obj) != 0)
		return -1;
	*out = *file;
	out->obj = obj;
	out->at = at;
	*there = obj != NULL;
	return 0;
}

/* ---- the model ----------------------------------------------------------- */

static int
read_vocab(struct token *t, const struct json_src *src)
{
	const json_t *vocab = NULL, *v;
	void *it;

	if (json_may_obj(src, "vocab", &vocab) != 0)
		return -1;
	if (vocab == NULL)
		return json_want_fail(src, "vocab", "is missing");
	token_vocab_room(&t->vocab.model, json_object_size(vocab));
	/* jansson iterates over values that it calls not const. */
	for (it = json_object_iter((json_t *)(uintptr_t)vocab); it != NULL;
	    it = json_object_iter_next((json_t *)(uintptr_t)vocab, it)) {
		v = json_object_iter_value(it);
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) >= TOKEN_IDS)
			return json_want_fail(src, "vocab", "\"%s\" has no id "
			    "in 0..%u", json_object_iter_key(it),
			    TOKEN_IDS - 1);
		(void)token_vocab_put(&t->vocab, &t->vocab.model,
		    json_object_iter_key(it), json_object_iter_key_len(it),
		    (uint32_t)json_integer_value(v));
	}
	return 0;
}

/* Some files leave out the type of a BPE model; its merges tell. */
static int
check_model(const struct json_src *src)
{
	const char *type = NULL;

	if (json_may_str(src, "type", &type) != 0)
		return -1;
	if (type == NULL ? json_object_get(src->obj, "merges") == NULL :
	    strcmp(type, "BPE") != 0)
		return json_want_fail(src, "type", "%s is not supported, "
		    "only BPE is", type != NULL ? type : "a missing type");
	return 0;
}

static int
read_model(struct token *t, const struct json_src *file)
{
	const json_t *added = NULL;
	struct json_src src;
	bool there;

	if (part(file, "model", "model.", &src, &there) != 0)
		return -1;
	if (!there)
		return json_want_fail(file, "model", "is missing");
	if (check_model(&src) != 0 ||
	    json_may_array(file, "added_tokens", &added) != 0 ||
	    token_added_read(t, added, file->err) != 0 ||
	    read_vocab(t, &src) != 0)
		return -1;
	token_vocab_index(&t->vocab);
	if (token_added_ready(t, file->err) != 0)
		return -1;
	return token_bpe_read(t, &src);
}

/* ---- the whole ----------------------------------------------------------- */

static int
read_pipeline(struct token *t, const struct json_src *file)
{
	struct json_src src;
	bool there;

	if (part(file, "normalizer", "normalizer.", &src, &there) != 0 ||
	    (there && token_norm_read(&t->norm, &src) != 0))
		return -1;
	if (part(file, "pre_tokenizer", "pre_tokenizer.", &src, &there) != 0 ||
	    (there && token_split_read(&t->split, &src) != 0))
		return -1;
	if (part(file, "post_processor", "post_processor.", &src,
	    &there) != 0 || (there && token_post_read(t, &src) != 0))
		return -1;
	if (part(file, "decoder", "decoder.", &src, &there) != 0)
		return -1;
	if (!there)
		return json_want_fail(file, "decoder", "is missing");
	return token_stream_read(t, &src);
}

static int
read_config(struct token *t, const struct token_source *s, struct err *e)
{
	json_t *config = NULL, *map = NULL;
	char *where;
	int rc = 0;

	where = mem_printf("%s/tokenizer_config.json", s->name);
	if (s->config != NULL && (config = json_want_text(s->config,
	    s->n_config, where, 0, e)) == NULL)
		rc = -1;
	mem_free(where);
	where = mem_printf("%s/special_tokens_map.json", s->name);
	if (rc == 0 && s->map != NULL && (map = json_want_text(s->map,
	    s->n_map, where, 0, e)) == NULL)
		rc = -1;
	mem_free(where);
	if (rc == 0)
		rc = token_post_config(t, config, map, e);
	json_decref(config);
	json_decref(map);
	return rc;
}

static int
check_post(const struct token *t, const struct token_ids *ids,
    struct err *e)
{
	size_t i;

	for (i = 0; i < ids->n; i++)
		if (ids->p[i] >= t->vocab.n)
			return err_set(e, ERR_DATA, "%s: post_processor: id %u "
			    "is not in the vocabulary", t->name, ids->p[i]);
	return 0;
}

static int
read_all(struct token *t, const struct token_source *s, struct err *e)
{
	struct json_src file = { .where = t->name, .at = "", .err = e };
	json_t *root = json_want_text(s->json, s->n_json, t->name, 0, e);
	int rc = -1;

	if (root == NULL)
		return -1;
	file.obj = root;
	if (read_pipeline(t, &file) == 0 && read_model(t, &file) == 0 &&
	    check_post(t, &t->before, e) == 0 &&
	    check_post(t, &t->after, e) == 0) {
		token_stream_index(t);
		rc = read_config(t, s, e);
	}
	json_decref(root);
	return rc;
}

int
token_load_text(struct token **out, const struct token_source *src,
    struct err *e)
{
	struct token *t;

	if (src->n_json > TOKEN_FILE_BYTES)
		return err_set(e, ERR_DATA, "%s/tokenizer.json: larger than "
		    "%zu bytes", src->name, TOKEN_FILE_BYTES);
	t = mem_zalloc(sizeof(*t));
	t->name = mem_printf("%s/tokenizer.json", src->name);
	t->bos = t->eos = t->pad = -1;
	if (read_all(t, src, e) != 0) {
		token_free(t);
		return -1;
	}
	*out = t;
	return 0;
}

/* Read dir/name; a file that need not be there leaves s empty (s->p NULL). */
static int
read_file(struct str *s, const char *dir, const char *name, size_t max,
    bool must, struct err *e)
{
	char *path = mem_printf("%s/%s", dir, name);
	int rc = 0;

	if (str_read_file(s, path, max) != 0 && (must || errno != ENOENT))
		rc = err_sys(e, ERR_DATA, errno, "%s", path);
	mem_free(path);
	return rc;
}

int
token_load(struct token **out, const char *dir, struct err *e)
{
	struct str json = STR_INIT, config = STR_INIT, map = STR_INIT;
	struct token_source src = { .name = dir };
	int rc = -1;

	if (read_file(&json, dir, "tokenizer.json", TOKEN_FILE_BYTES, true,
	    e) == 0 &&
	    read_file(&config, dir, "tokenizer_config.json", SMALL_BYTES,
	    false, e) == 0 &&
	    read_file(&map, dir, "special_tokens_map.json", SMALL_BYTES,
	    false, e) == 0) {
		src.json = json.p;
		src.n_json = json.n;
		src.config = config.p;
		src.n_config = config.n;
		src.map = map.p;
		src.n_map = map.n;
		rc = token_load_text(out, &src, e);
	}
	str_free(&json);
	str_free(&config);
	str_free(&map);
	return rc;
}
