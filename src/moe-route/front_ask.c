/* front_ask - see front_ask.h. */
#include "front_ask.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* Prompts that begin alike go to the same front end, which has the beginning in
 * its prefix cache: this much of them counts. */
#define PREFIX_BYTES	256
#define PREFIX_IDS	64

uint64_t
front_ask_hash(const void *p, size_t n, uint64_t h)
{
	const unsigned char *b = p;
	size_t i;

	h ^= 14695981039346656037u;		/* FNV-1a */
	for (i = 0; i < n; i++)
		h = (h ^ b[i]) * 1099511628211u;
	return h;
}

static uint64_t
hash_prompt(const json_t *v)
{
	uint64_t h = 0;
	json_int_t id;
	size_t i, n;
	char *s;

	if (json_is_string(v)) {
		n = json_string_length(v);
		return front_ask_hash(json_string_value(v),
		    n < PREFIX_BYTES ? n : PREFIX_BYTES, 0);
	}
	if (json_is_integer(json_array_get(v, 0))) {
		for (i = 0; i < json_array_size(v) && i < PREFIX_IDS; i++) {
			id = json_integer_value(json_array_get(v, i));
			h = front_ask_hash(&id, sizeof(id), h);
		}
		return h;
	}
	v = json_array_get(v, 0);
	if (!json_is_object(v))		/* several prompts: by the first */
		return v != NULL ? hash_prompt(v) : 0;
	s = json_dumps(v, JSON_COMPACT);	/* the first message */
	n = s != NULL ? strlen(s) : 0;
	h = front_ask_hash(s, n < PREFIX_BYTES ? n : PREFIX_BYTES, 0);
	free(s);
	return h;
}

/* Choices of the request; 0: it cannot be told, or too many. */
static int
count_choices(const json_t *o, bool chat)
{
	const json_t *n = json_object_get(o, "n");
	const json_t *p = json_object_get(o, "prompt");
	json_int_t k = 1;
	size_t prompts = 1;

	if (n != NULL && !json_is_null(n)) {
		if (!json_is_integer(n))
			return 0;
		k = json_integer_value(n);
	}
	if (!chat && json_is_array(p) && json_array_size(p) > 0 &&
	    !json_is_integer(json_array_get(p, 0)))
		prompts = json_array_size(p);
	if (k < 1 || k > FRONT_MAX_CHOICE || prompts > FRONT_MAX_CHOICE ||
	    (size_t)k * prompts > FRONT_MAX_CHOICE)
		return 0;
	return (int)k * (int)prompts;
}

/* true: the field is a boolean, null or absent. */
static bool
read_bool(const json_t *o, const char *key, bool *out)
{
	const json_t *v = json_object_get(o, key);

	*out = json_is_true(v);
	return v == NULL || json_is_null(v) || json_is_boolean(v);
}

static bool
read_fields(struct front_ask *q, const json_t *o, bool chat)
{
	const json_t *so = json_object_get(o, "stream_options");
	const json_t *resume = json_object_get(o, "moe_resume");

	q->n_choice = count_choices(o, chat);
	q->want_usage = !json_is_true(json_object_get(o, "stream")) ||
	    json_is_true(json_object_get(so, "include_usage"));
	return q->n_choice > 0 && read_bool(o, "stream", &q->stream) &&
	    read_bool(o, "return_token_ids", &q->want_ids) &&
	    (q->stream || so == NULL || json_is_null(so)) &&
	    (resume == NULL || json_is_null(resume));
}

bool
front_ask_read(struct front_ask *q, bool chat, const char *body, size_t n,
    uint64_t seed)
{
	json_t *o = json_loadb(body, n, JSON_REJECT_DUPLICATES, NULL), *v;
	char *s = NULL;

	memset(q, 0, sizeof(*q));
	if (!json_is_object(o) || !read_fields(q, o, chat)) {
		json_decref(o);
		return false;
	}
	q->hash = hash_prompt(json_object_get(o, chat ? "messages" :
	    "prompt"));
	json_object_del(o, "moe_resume");
	json_object_set_new(o, "stream", json_true());
	json_object_set_new(o, "return_token_ids", json_true());
	v = json_object_get(o, "seed");
	if (v == NULL || json_is_null(v))
		json_object_set_new(o, "seed",
		    json_integer((json_int_t)seed));
	if (!q->stream)
		json_object_set_new(o, "stream_options",
		    json_pack("{sb}", "include_usage", 1));
	s = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (s == NULL)
		return false;
	str_add(&q->body, s, strlen(s) - 1);
	free(s);
	return true;
}

void
front_ask_free(struct front_ask *q)
{
	str_free(&q->body);
}
