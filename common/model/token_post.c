/*
 * token_post - what add_special adds around a text: the post-processor's
 * template, and the bos, eos and pad tokens.  Floor F4; runs at load only.
 */
#include <string.h>

#include "token_parts.h"

/* ---- post-processor ------------------------------------------------------ */

/* The ids of special token name, from the template's table. */
static int
push_special(struct token_ids *to, const struct json_src *src,
    const char *name)
{
	const json_t *ids, *id;
	size_t i;

	ids = json_object_get(json_object_get(json_object_get(src->obj,
	    "special_tokens"), name), "ids");
	if (!json_is_array(ids))
		return json_want_fail(src, "special_tokens",
		    "has no ids for \"%s\"", name);
	json_array_foreach(ids, i, id) {
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) >= TOKEN_IDS)
			return json_want_fail(src, "special_tokens",
			    "\"%s\" has a bad id", name);
		VEC_PUSH(to, (uint32_t)json_integer_value(id));
	}
	return 0;
}

static int
read_template(struct token *t, const struct json_src *src)
{
	const json_t *list = NULL, *item, *x;
	const char *name;
	size_t i;
	bool seen = false;

	if (json_may_array(src, "single", &list) != 0)
		return -1;
	json_array_foreach(list, i, item) {
		x = json_object_get(item, "SpecialToken");
		name = json_string_value(json_object_get(x, "id"));
		if (name != NULL) {
			if (push_special(seen ? &t->after : &t->before, src,
			    name) != 0)
				return -1;
			continue;
		}
		x = json_object_get(item, "Sequence");
		name = json_string_value(json_object_get(x, "id"));
		if (name == NULL || strcmp(name, "A") != 0 || seen)
			return json_want_fail(src, "single", "element %zu "
			    "is neither a SpecialToken nor the one text A",
			    i);
		seen = true;
	}
	return seen ? 0 : json_want_fail(src, "single", "has no text A");
}

static int
read_one(void *arg, const struct json_src *src)
{
	return token_post_read(arg, src);
}

int
token_post_read(struct token *t, const struct json_src *src)
{
	const char *type = token_load_type(src);

	if (type == NULL)
		return -1;
	if (strcmp(type, "Sequence") == 0)
		return token_load_each(src, "processors", read_one, t);
	if (strcmp(type, "ByteLevel") == 0)
		return 0;	/* moves offsets only */
	if (strcmp(type, "TemplateProcessing") != 0)
		return json_want_fail(src, "type",
		    "post-processor %s is not supported", type);
	if (t->before.n + t->after.n > 0)
		return json_want_fail(src, "type",
		    "a second TemplateProcessing is not supported");
	return read_template(t, src);
}

/* ---- bos, eos, pad ------------------------------------------------------- */

/* The string of a token that is given as it is or as {"content": ...}. */
static const char *
content_of(const json_t *file, const char *key)
{
	const json_t *v = json_object_get(file, key);

	if (json_is_object(v))
		v = json_object_get(v, "content");
	return json_string_value(v);
}

/* Find key ("bos_token") in the files; must: its string must be known. */
static int
read_named(const struct token *t, const json_t *config, const json_t *map,
    const char *key, int32_t *out)
{
	const char *s = content_of(config, key);

	if (s == NULL)
		s = content_of(map, key);
	*out = s != NULL ? token_id(t, s) : -1;
	return s == NULL || *out >= 0 ? 0 : -1;
}

/* The Python Llama classes put their own template in place of the file's. */
static void
llama_specials(struct token *t, const json_t *config)
{
	const char *class = json_string_value(json_object_get(config,
	    "tokenizer_class"));

	if (class == NULL || strncmp(class, "LlamaTokenizer", 14) != 0)
		return;
	if (json_is_true(json_object_get(config, "add_bos_token")) &&
	    t->bos >= 0 && t->before.n == 0)
		VEC_PUSH(&t->before, (uint32_t)t->bos);
	if (json_is_true(json_object_get(config, "add_eos_token")) &&
	    t->eos >= 0 && t->after.n == 0)
		VEC_PUSH(&t->after, (uint32_t)t->eos);
}

int
token_post_config(struct token *t, const json_t *config, const json_t *map,
    struct err *e)
{
	if (read_named(t, config, map, "bos_token", &t->bos) != 0)
		return err_set(e, ERR_DATA, "%s: bos_token is not in the "
		    "vocabulary", t->name);
	if (read_named(t, config, map, "eos_token", &t->eos) != 0)
		return err_set(e, ERR_DATA, "%s: eos_token is not in the "
		    "vocabulary", t->name);
	/* Nothing here pads; models do name pad tokens that are not there. */
	(void)read_named(t, config, map, "pad_token", &t->pad);
	llama_specials(t, config);
	return 0;
}
