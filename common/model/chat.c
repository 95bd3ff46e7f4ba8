/*
 * chat - the chat template of a model: files, variables, the public calls.
 *
 * F4.  A compiled template is immutable; a rendering has all its state in a
 * struct chat_run of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chat.h"
#include "chat_priv.h"
#include "json.h"

#define MAX_CONFIG_BYTES	((size_t)64 << 20)

int
chat_compile(struct chat **out, const char *text, size_t n, const char *name,
    struct err *e)
{
	struct chat_toks toks = { 0 };
	struct chat *c;
	int rc;

	*out = NULL;
	if (n > CHAT_MAX_TEMPLATE_BYTES)
		return err_set(e, ERR_DATA, "%s: a template of more than %zu "
		    "bytes", name, CHAT_MAX_TEMPLATE_BYTES);
	if (!str_utf8_valid(text, n))
		return err_set(e, ERR_DATA, "%s: the template is not UTF-8",
		    name);
	c = mem_zalloc(sizeof(*c));
	c->name = mem_strdup(name);
	rc = chat_lex(c, text, n, &toks, e);
	if (rc == 0)
		rc = chat_stmt_parse(c, toks.p, e);
	mem_free(toks.p);
	if (rc != 0) {
		chat_free(c);
		return -1;
	}
	*out = c;
	return 0;
}

void
chat_free(struct chat *c)
{
	if (c == NULL)
		return;
	chat_value_free(&c->arena);
	VEC_FREE(&c->syms);
	mem_free(c->name);
	mem_free(c);
}

/* ---- loading ----------------------------------------------------- */

/* 0 read, 1 there is no such file, -1 with e. */
static int
read_file(struct str *s, const char *path, struct err *e)
{
	if (str_read_file(s, path, MAX_CONFIG_BYTES) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return 1;
	return err_sys(e, ERR_DATA, errno, "%s", path);
}

/* The template called which in the value of chat_template, or NULL. */
static json_t *
pick(json_t *t, const char *which)
{
	json_t *o, *name;
	size_t i;

	if (json_is_string(t))
		return strcmp(which, "default") == 0 ? t : NULL;
	json_array_foreach(t, i, o) {
		name = json_object_get(o, "name");
		if (json_is_string(name) &&
		    strcmp(json_string_value(name), which) == 0)
			return json_object_get(o, "template");
	}
	return NULL;
}

static int
from_config(struct chat **out, const char *path, const struct str *text,
    const char *which, struct err *e)
{
	json_error_t je;
	json_t *root, *all, *t;
	int rc;

	root = json_parse(str_c(text), text->n, JSON_ALLOW_NUL, &je);
	if (root == NULL)
		return err_set(e, ERR_DATA, "%s line %d: %s", path, je.line,
		    je.text);
	all = json_object_get(root, "chat_template");
	t = pick(all, which);
	if (all != NULL && !json_is_null(all) && !json_is_string(all) &&
	    !json_is_array(all)) {
		rc = err_set(e, ERR_DATA, "%s: chat_template is neither a "
		    "string nor a list of templates", path);
	} else if (t != NULL && !json_is_string(t)) {
		rc = err_set(e, ERR_DATA, "%s: chat_template '%s' is not a "
		    "string", path, which);
	} else if (t != NULL) {
		rc = chat_compile(out, json_string_value(t),
		    json_string_length(t), path, e);
	} else {
		err_set(e, ERR_UNAVAIL, "%s has no chat_template '%s'", path,
		    which);
		rc = 1;
	}
	json_decref(root);
	return rc;
}

int
chat_load(struct chat **out, const char *dir, const char *which,
    struct err *e)
{
	struct str text = STR_INIT;
	char *path;
	int rc = 1;

	*out = NULL;
	if (which == NULL)
		which = "default";
	path = mem_printf("%s/chat_template.jinja", dir);
	if (strcmp(which, "default") == 0)
		rc = read_file(&text, path, e);
	if (rc == 0)
		rc = chat_compile(out, str_c(&text), text.n, path, e);
	mem_free(path);
	if (rc == 1) {
		path = mem_printf("%s/tokenizer_config.json", dir);
		rc = read_file(&text, path, e);
		if (rc == 0)
			rc = from_config(out, path, &text, which, e);
		else if (rc == 1)
			err_set(e, ERR_UNAVAIL, "%s has neither "
			    "chat_template.jinja nor tokenizer_config.json",
			    dir);
		mem_free(path);
	}
	str_free(&text);
	return rc;
}

/* ---- rendering --------------------------------------------------- */

/* The variables that come from the model's own files. */
static bool
trusted(const char *name)
{
	static const char *const names[] = { "bos_token", "eos_token",
	    "pad_token", "unk_token", "sep_token", "cls_token",
	    "mask_token" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* The variables that the template names, into its outermost scope. */
static void
bind_vars(struct chat_run *r, json_t *vars)
{
	const char *name;
	json_t *v;
	size_t i;

	for (i = 0; i < r->c->syms.n && !r->failed; i++) {
		name = chat_value_cstr(r, r->c->syms.p[i]);
		v = json_object_get(vars, name);
		if (v != NULL)
			chat_eval_bind(r, (int)i, chat_value_json(r, v,
			    !trusted(name), false));
	}
}

/* The untrusted runs of b. */
static void
spans(struct chat_text *out, const struct chat_buf *b)
{
	struct chat_span s = { 0, 0 };
	size_t i;

	for (i = 0; i < b->n; i++) {
		if (!b->t[i])
			continue;
		s.begin = i;
		while (i < b->n && b->t[i])
			i++;
		s.end = i;
		VEC_PUSH(&out->untrusted, s);
	}
}

int
chat_render(const struct chat *c, json_t *vars, struct chat_text *out,
    struct err *e)
{
	struct chat_run r = { .c = c, .e = e };

	str_clear(&out->text);
	out->untrusted.n = 0;
	chat_eval_push(&r, NULL);
	r.out = chat_buf_new(&r);
	bind_vars(&r, vars);
	chat_exec_body(&r, c->body->list);
	if (!r.failed) {
		str_add(&out->text, r.out->n > 0 ? r.out->p : "", r.out->n);
		spans(out, r.out);
	}
	chat_value_free(&r.arena);
	return r.failed ? -1 : 0;
}

void
chat_text_free(struct chat_text *t)
{
	str_free(&t->text);
	VEC_FREE(&t->untrusted);
}
