/* front_answer - see front_answer.h. */
#include "front_answer.h"

#include <string.h>

#include "front_cut.h"
#include "mem.h"

/* A chunk taken apart. */
struct chunk {
	struct front_cut all, id, created, model, usage;
	struct front_cut choice;	/* p NULL: the chunk with the usage */
	struct front_choice *to;
	struct front_cut text, lp, finish, stop, ids, prompt_ids;
};

void
front_answer_init(struct front_answer *a, int n_choice)
{
	memset(a, 0, sizeof(*a));
	a->n_choice = a->n_open = n_choice;
	a->choice = mem_calloc((size_t)n_choice, sizeof(*a->choice));
}

static void
free_choice(struct front_choice *c)
{
	int i;

	str_free(&c->ids);
	str_free(&c->text);
	str_free(&c->finish);
	str_free(&c->stop);
	str_free(&c->prompt_ids);
	for (i = 0; i < FRONT_MAX_LP; i++) {
		str_free(&c->lp[i].key);
		str_free(&c->lp[i].item);
	}
}

void
front_answer_free(struct front_answer *a)
{
	int i;

	for (i = 0; i < a->n_choice; i++)
		free_choice(&a->choice[i]);
	mem_free(a->choice);
	str_free(&a->own_id);
	str_free(&a->id);
	str_free(&a->created);
	str_free(&a->model);
	str_free(&a->usage);
	str_free(&a->prompt_ids);
	memset(a, 0, sizeof(*a));
}

bool
front_answer_begun(const struct front_answer *a)
{
	return a->id.n > 0;
}

bool
front_answer_complete(const struct front_answer *a)
{
	return a->n_open == 0 && (!a->want_usage || a->usage.n > 0);
}

/* ---- reading ------------------------------ */

static bool
is_null(struct front_cut v)
{
	return v.p == NULL || front_cut_is(v, "null");
}

/* Token ids, joined as they are: digits and commas, so that they can stand in
 * a request. */
static bool
is_ids(struct front_cut v)
{
	size_t i;

	if (v.n < 2 || v.p[0] != '[' || v.p[v.n - 1] != ']')
		return false;
	for (i = 1; i + 1 < v.n; i++)
		if (strchr("0123456789,", v.p[i]) == NULL || v.p[i] == '\0')
			return false;
	return true;
}

static int
read_choice(const struct front_answer *a, struct chunk *k, struct err *err)
{
	struct front_cut v = k->choice, text;
	uint64_t index;

	if (!front_cut_int(front_cut_get(v, "index"), (uint64_t)a->n_choice - 1,
	    &index))
		return err_set(err, ERR_DATA, "a chunk of no choice that was "
		    "asked for");
	k->to = &a->choice[index];
	k->ids = front_cut_get(v, "token_ids");
	k->prompt_ids = front_cut_get(v, "prompt_token_ids");
	if (!is_ids(k->ids) || (k->prompt_ids.p != NULL &&
	    !is_ids(k->prompt_ids)))
		return err_set(err, ERR_DATA, "a chunk without token ids");
	if (k->to->finished)
		return err_set(err, ERR_DATA, "a chunk after the end of choice "
		    "%d", (int)index);
	text = a->chat ? front_cut_get(front_cut_get(v, "delta"), "content") :
	    front_cut_get(v, "text");
	if (text.p != NULL && text.p[0] != '"')
		return err_set(err, ERR_DATA, "a chunk whose text is none");
	k->text = front_cut_inner(text);
	k->lp = front_cut_get(v, "logprobs");
	k->finish = front_cut_get(v, "finish_reason");
	k->stop = front_cut_get(v, "stop_reason");
	return 0;
}

static int
read_chunk(const struct front_answer *a, struct chunk *k, struct err *err)
{
	struct front_cut key, second;
	struct front_walk w;

	k->id = front_cut_get(k->all, "id");
	k->created = front_cut_get(k->all, "created");
	k->model = front_cut_get(k->all, "model");
	k->usage = front_cut_get(k->all, "usage");
	if (k->id.n < 2 || k->id.p[0] != '"' || k->created.p == NULL ||
	    k->model.p == NULL ||
	    !front_cut_walk(&w, front_cut_get(k->all, "choices")) || w.object)
		return err_set(err, ERR_DATA, "an event that is no chunk");
	if (!front_cut_next(&w, &key, &k->choice))
		return is_null(k->usage) || w.bad ? err_set(err, ERR_DATA,
		    "a chunk of nothing") : 0;
	if (front_cut_next(&w, &key, &second) || w.bad)
		return err_set(err, ERR_DATA, "a chunk of several choices");
	return read_choice(a, k, err);
}

/* ---- keeping ------------------------------ */

static void
join(struct str *to, struct front_cut list)
{
	struct front_cut v = front_cut_inner(list);

	if (v.n == 0)
		return;
	if (to->n > 0)
		str_addc(to, ',');
	str_add(to, v.p, v.n);
}

static uint64_t
count_ids(struct front_cut list)
{
	uint64_t n = list.n > 2;
	size_t i;

	for (i = 0; i < list.n; i++)
		n += list.p[i] == ',';
	return n;
}

/* Arrays of the same name go on where the last chunk's ended. */
static void
keep_logprobs(struct front_choice *c, struct front_cut lp)
{
	struct front_cut key, value;
	struct front_walk w;
	int i;

	if (is_null(lp) || !front_cut_walk(&w, lp))
		return;
	while (front_cut_next(&w, &key, &value)) {
		for (i = 0; i < c->n_lp; i++)
			if (front_cut_is(key, str_c(&c->lp[i].key)))
				break;
		if (i == FRONT_MAX_LP)
			return;
		if (i == c->n_lp) {
			c->n_lp++;
			str_add(&c->lp[i].key, key.p, key.n);
		}
		join(&c->lp[i].item, value);
	}
}

static void
keep(struct front_answer *a, const struct chunk *k)
{
	struct front_choice *c = k->to;

	if (a->id.n == 0) {
		if (a->own_id.n > 0)
			str_add(&a->id, a->own_id.p, a->own_id.n);
		else
			str_add(&a->id, k->id.p, k->id.n);
		str_add(&a->created, k->created.p, k->created.n);
		str_add(&a->model, k->model.p, k->model.n);
	}
	if (!is_null(k->usage)) {
		str_clear(&a->usage);
		str_add(&a->usage, k->usage.p, k->usage.n);
	}
	if (c == NULL)
		return;
	join(&c->ids, k->ids);
	a->n_tok += count_ids(k->ids);
	if (a->chat && a->prompt_ids.n == 0 && k->prompt_ids.p != NULL)
		join(&a->prompt_ids, k->prompt_ids);
	c->finished = !is_null(k->finish);
	a->n_open -= c->finished;
	if (a->stream)
		return;
	str_add(&c->text, k->text.p, k->text.n);
	keep_logprobs(c, k->lp);
	if (k->prompt_ids.p != NULL)
		join(&c->prompt_ids, k->prompt_ids);
	if (c->finished) {
		str_add(&c->finish, k->finish.p, k->finish.n);
		str_add(&c->stop, k->stop.p, k->stop.n);
	}
}

/* ---- passing on ------------------------------ */

/* Is there anything in it that its client can see? */
static bool
says_something(const struct front_answer *a, const struct chunk *k)
{
	return k->to == NULL || k->text.n > 0 || k->to->finished ||
	    !k->to->begun || a->want_ids || !is_null(k->lp);
}

static void
put_member(struct str *out, const char *before, struct front_cut key,
    struct front_cut value)
{
	str_adds(out, out->p[out->n - 1] == '{' ? "" : before);
	str_add(out, key.p, key.n);
	str_addc(out, ':');
	str_add(out, value.p, value.n);
}

static void
put_choice(const struct front_answer *a, const struct chunk *k,
    struct str *out)
{
	struct front_cut key, value, name;
	struct front_walk w;

	str_addc(out, '{');
	(void)front_cut_walk(&w, k->choice);
	while (front_cut_next(&w, &key, &value)) {
		name = front_cut_inner(key);
		if (a->want_ids || (!front_cut_is(name, "token_ids") &&
		    !front_cut_is(name, "prompt_token_ids")))
			put_member(out, ",", key, value);
	}
	str_addc(out, '}');
}

static void
put_chunk(const struct front_answer *a, const struct chunk *k,
    struct str *out)
{
	const struct front_cut id = { a->id.p, a->id.n };
	const struct front_cut created = { a->created.p, a->created.n };
	struct str choices = STR_INIT;
	struct front_cut key, value, name;
	struct front_walk w;

	str_addc(&choices, '[');
	if (k->to != NULL)
		put_choice(a, k, &choices);
	str_addc(&choices, ']');
	str_adds(out, "data: {");
	(void)front_cut_walk(&w, k->all);
	while (front_cut_next(&w, &key, &value)) {
		name = front_cut_inner(key);
		if (front_cut_is(name, "id"))
			value = id;
		else if (front_cut_is(name, "created"))
			value = created;
		else if (front_cut_is(name, "choices"))
			value = (struct front_cut){ choices.p, choices.n };
		put_member(out, ",", key, value);
	}
	str_adds(out, "}\n\n");
	str_free(&choices);
}

int
front_answer_take(struct front_answer *a, const char *p, size_t n,
    struct str *out, struct err *err)
{
	struct chunk k = { .all = { p, n } };

	if (read_chunk(a, &k, err) != 0)
		return -1;
	keep(a, &k);
	if (a->stream && says_something(a, &k))
		put_chunk(a, &k, out);
	if (k.to != NULL)
		k.to->begun = true;
	return 0;
}

/* ---- whole ------------------------------ */

void
front_answer_resume(const struct front_answer *a, struct str *out)
{
	int i;

	str_adds(out, "\"moe_resume\":{");
	if (a->prompt_ids.n > 0)
		str_addf(out, "\"prompt_token_ids\":[%s],",
		    str_c(&a->prompt_ids));
	str_adds(out, "\"choices\":[");
	for (i = 0; i < a->n_choice; i++)
		str_addf(out, "%s{\"token_ids\":[%s],\"finished\":%s}",
		    i > 0 ? "," : "", str_c(&a->choice[i].ids),
		    a->choice[i].finished ? "true" : "false");
	str_adds(out, "]}");
}

static void
whole_logprobs(const struct front_choice *c, struct str *out)
{
	int i;

	if (c->n_lp == 0) {
		str_adds(out, "null");
		return;
	}
	for (i = 0; i < c->n_lp; i++) {
		str_addc(out, i == 0 ? '{' : ',');
		str_add(out, c->lp[i].key.p, c->lp[i].key.n);
		str_adds(out, ":[");
		str_add(out, str_c(&c->lp[i].item), c->lp[i].item.n);
		str_addc(out, ']');
	}
	str_addc(out, '}');
}

static void
whole_choice(const struct front_answer *a, int index, struct str *out)
{
	const struct front_choice *c = &a->choice[index];

	str_addf(out, "%s{\"index\":%d,%s\"", index > 0 ? "," : "", index,
	    a->chat ? "\"message\":{\"role\":\"assistant\",\"content\":" :
	    "\"text\":");
	str_add(out, str_c(&c->text), c->text.n);
	str_addf(out, "\"%s,\"logprobs\":", a->chat ? "}" : "");
	whole_logprobs(c, out);
	str_addf(out, ",\"finish_reason\":%s,\"stop_reason\":",
	    str_c(&c->finish));
	str_adds(out, c->stop.n > 0 ? c->stop.p : "null");
	if (a->want_ids)
		str_addf(out, ",\"token_ids\":[%s],\"prompt_token_ids\":[%s]",
		    str_c(&c->ids), str_c(&c->prompt_ids));
	str_addc(out, '}');
}

void
front_answer_whole(const struct front_answer *a, struct str *out)
{
	int i;

	str_addf(out, "{\"id\":%s,\"object\":\"%s\",\"created\":%s,"
	    "\"model\":%s,\"choices\":[", str_c(&a->id), a->chat ?
	    "chat.completion" : "text_completion", str_c(&a->created),
	    str_c(&a->model));
	for (i = 0; i < a->n_choice; i++)
		whole_choice(a, i, out);
	str_addf(out, "],\"usage\":%s}", a->usage.n > 0 ? str_c(&a->usage) :
	    "null");
}
