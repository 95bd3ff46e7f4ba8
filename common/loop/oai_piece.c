/* oai_piece - one event of a completion's stream, see oai.h. */
#include <jansson.h>
#include <string.h>

#include "mem.h"
#include "oai.h"

#define MAX_ID	(1 << 20)	/* of one event */

void
oai_piece_free(struct oai_piece *p)
{
	str_free(&p->text);
	str_free(&p->why);
	str_free(&p->finish);
	mem_free(p->id);
	memset(p, 0, sizeof(*p));
}

static void
clear(struct oai_piece *p)
{
	str_clear(&p->text);
	str_clear(&p->why);
	p->n_id = 0;
	p->have_id = p->failed = false;
	p->prompt_tok = p->output_tok = -1;
}

static int
take_ids(struct oai_piece *p, const json_t *ids)
{
	size_t n = json_array_size(ids), i;
	json_int_t v;

	if (!json_is_array(ids))
		return 0;
	if (n > MAX_ID)
		return -1;
	mem_grow((void **)&p->id, &p->cap_id, p->n_id + n, sizeof(*p->id));
	for (i = 0; i < n; i++) {
		v = json_integer_value(json_array_get(ids, i));
		if (!json_is_integer(json_array_get(ids, i)) || v < 0 ||
		    v > INT32_MAX)
			return -1;
		p->id[p->n_id++] = (int32_t)v;
	}
	p->have_id = true;
	return 0;
}

static int
take_choice(struct oai_piece *p, const json_t *choice)
{
	const char *text = json_string_value(json_object_get(choice, "text"));
	const char *finish = json_string_value(json_object_get(choice,
	    "finish_reason"));

	if (text == NULL)
		text = json_string_value(json_object_get(
		    json_object_get(choice, "delta"), "content"));
	if (text != NULL)
		str_adds(&p->text, text);
	if (finish != NULL) {
		str_clear(&p->finish);
		str_adds(&p->finish, finish);
	}
	return take_ids(p, json_object_get(choice, "token_ids"));
}

static void
take_usage(struct oai_piece *p, const json_t *usage)
{
	const json_t *in = json_object_get(usage, "prompt_tokens");
	const json_t *out = json_object_get(usage, "completion_tokens");

	if (json_is_integer(in) && json_integer_value(in) >= 0)
		p->prompt_tok = json_integer_value(in);
	if (json_is_integer(out) && json_integer_value(out) >= 0)
		p->output_tok = json_integer_value(out);
}

static void
take_error(struct oai_piece *p, const json_t *error)
{
	const char *text = json_string_value(json_object_get(error,
	    "message"));

	p->failed = true;
	str_adds(&p->why, text != NULL ? text : "an error without a message");
}

int
oai_parse(struct oai_piece *p, const char *data, size_t n)
{
	json_t *root, *choices, *error;
	int rc = 0;

	clear(p);
	root = json_loadb(data, n, 0, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return -1;
	}
	choices = json_object_get(root, "choices");
	error = json_object_get(root, "error");
	if (json_is_object(error))
		take_error(p, error);
	else if (!json_is_array(choices))
		rc = -1;
	else if (json_array_size(choices) > 0)
		rc = take_choice(p, json_array_get(choices, 0));
	take_usage(p, json_object_get(root, "usage"));
	json_decref(root);
	return rc;
}
