/* test_chat - chat templates against renderings of the reference (golden files
 * made with Jinja2 as HF configures it), errors, provenance and limits. */
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"
#include "scratch.h"
#include "tap.h"

#define GOLDEN	"tests/golden/chat/"

static json_t *
parse(const char *text)
{
	json_error_t je;
	json_t *j = json_loads(text, JSON_DECODE_ANY, &je);

	if (j == NULL)
		printf("# json: %s in %s\n", je.text, text);
	return j;
}

/* Compile and render; the result of whichever failed. */
static int
render(const char *t, size_t n, json_t *vars, struct chat_text *out,
    struct err *e)
{
	struct chat *c;
	int rc;

	e->code = 0;
	if (chat_compile(&c, t, n, "t", e) != 0)
		return -1;
	rc = chat_render(c, vars, out, e);
	chat_free(c);
	return rc;
}

/* ---- golden files -------------------------------------------------- */

/* Every line of a JSONL file of the tree as an array. */
static json_t *
read_lines(const char *path)
{
	struct str s = STR_INIT;
	json_t *a = json_array(), *j;
	char *p, *end;

	if (str_read_file(&s, path, 64 << 20) != 0) {
		OK(0, "%s can be read", path);
		return a;
	}
	for (p = s.p; *p != '\0'; p = end + 1) {
		end = strchr(p, '\n');
		j = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, NULL);
		if (j == NULL)
			OK(0, "%s: line %zu is JSON", path,
			    json_array_size(a) + 1);
		json_array_append_new(a, j != NULL ? j : json_null());
	}
	str_free(&s);
	return a;
}

/* One case: {template, vars, rendered | error} with the stage of the error. */
static int
case_holds(json_t *k, json_t *vars)
{
	json_t *t = json_object_get(k, "template");
	json_t *want = json_object_get(k, "rendered");
	const char *stage = json_string_value(json_object_get(k, "error"));
	struct chat_text out = CHAT_TEXT_INIT;
	struct err e = ERR_INIT;
	struct chat *c = NULL;
	int rc, good;

	rc = chat_compile(&c, json_string_value(t), json_string_length(t),
	    "t", &e);
	good = rc == 0 || want == NULL;
	if (stage != NULL && strcmp(stage, "compile") == 0)
		good = rc != 0;
	if (rc == 0) {
		rc = chat_render(c, vars, &out, &e);
		if (want == NULL)
			good = good && rc == -1 && e.code == ERR_DATA;
		else
			good = rc == 0 && out.text.n ==
			    json_string_length(want) &&
			    memcmp(str_c(&out.text), json_string_value(want),
			    out.text.n) == 0;
	}
	if (!good)
		printf("# template %s\n# got  %s\n# want %s\n",
		    json_string_value(t), e.code ? e.text : str_c(&out.text),
		    want ? json_string_value(want) : "an error");
	chat_free(c);
	chat_text_free(&out);
	return good;
}

static void
test_cases(void)
{
	json_t *cases = read_lines(GOLDEN "cases.jsonl");
	json_t *sets = json_load_file(GOLDEN "vars.json", 0, NULL), *k, *v;
	size_t i;

	OK(json_array_size(cases) > 1000, "the golden cases are there");
	json_array_foreach(cases, i, k) {
		v = json_object_get(k, "vars");
		if (json_is_string(v))
			v = json_object_get(sets, json_string_value(v));
		OK(case_holds(k, v), "case %zu", i + 1);
	}
	json_decref(cases);
	json_decref(sets);
}

/* The templates of models and what the HF library rendered with them. */
static void
test_models(void)
{
	json_t *lines = read_lines(GOLDEN "models.jsonl"), *k;
	json_t *templates = json_load_file(GOLDEN "templates.json", 0, NULL);
	size_t i;

	OK(json_array_size(lines) == 28, "28 renderings");
	json_array_foreach(lines, i, k) {
		json_object_set(k, "template", json_object_get(templates,
		    json_string_value(json_object_get(k, "model"))));
		OK(case_holds(k, json_object_get(k, "vars")),
		    "%s, conversation %s",
		    json_string_value(json_object_get(k, "model")),
		    json_string_value(json_object_get(k, "conv")));
	}
	json_decref(lines);
	json_decref(templates);
}

/* ---- errors -------------------------------------------------------- */

static void
test_errors(void)
{
	static const struct { const char *t, *want; } row[] = {
		{ "a\n\n{{ x|frob }}", "t line 3: unknown filter 'frob'" },
		{ "{{ x|map('frob') }}", "t line 1: unknown filter 'frob'" },
		{ "{{ x|select('frob') }}", "t line 1: unknown test 'frob'" },
		{ "{{ x|selectattr('a', 'frob') }}",
		    "t line 1: unknown test 'frob'" },
		{ "\n{% if x is frob %}{% endif %}",
		    "t line 2: unknown test 'frob'" },
		{ "\n\n\n{% frob %}", "t line 4: unknown tag 'frob'" },
		{ "{% include 'x' %}", "t line 1: unknown tag 'include'" },
		{ "{% do x %}", "t line 1: unknown tag 'do'" },
		{ "\n{{ frob(1) }}", "t line 2: unknown function 'frob'" },
		{ "{% if 0 %}{{ frob(1) }}{% endif %}",
		    "t line 1: unknown function 'frob'" },
		{ "{{ lipsum() }}", "t line 1: 'lipsum' is not supported" },
		{ "{{ f(*x) }}",
		    "t line 1: * and ** arguments are not supported" },
		{ "{% if x %}\n\n", "t line 1: no endif for the block that "
		    "begins here" },
		{ "x\n{{ 'abc", "t line 2: a string without its closing "
		    "quote" },
		{ "x\n{# abc", "t line 2: missing end of comment tag" },
		{ "\n\n{{ s.append(1) }}\n", "t line 3: 'append' of "
		    "something undefined (s)" },
		{ "\n{{ [].append(1) }}", "t line 2: 'append' of a list is not "
		    "supported" },
		{ "\n{{ 'a'.zfill(1) }}", "t line 2: 'zfill' of a str is not "
		    "supported" },
		{ "\n{{ 5|from_json }}", "t line 2: from_json needs a string, "
		    "not int" },
		{ "{{ 1 +\n\n 'a' }}", "t line 1: unsupported operand types "
		    "for +: 'int' and 'str'" },
		{ "{{ raise_exception('no\nsystem') }}",
		    "t line 1: no system" },
		{ "{{ 'a'.__class__ }}",
		    "t line 1: access to '__class__' is not allowed" },
		{ "{{ range(3) }}", "t line 1: a range has no text; use the "
		    "list filter first" },
		{ "{{ 9223372036854775807 + 1 }}",
		    "t line 1: integer too large" },
		{ "{{ 99999999999999999999 }}",
		    "t line 1: bad number '99999999999999999999'" },
	};
	struct chat_text out = CHAT_TEXT_INIT;
	struct err e = ERR_INIT;
	json_t *vars = json_object();
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		EQ_INT(render(row[i].t, strlen(row[i].t), vars, &out, &e), -1,
		    "refused: row %zu", i);
		EQ_INT(e.code, ERR_DATA, "row %zu is bad data", i);
		EQ_STR(e.text, row[i].want, "and says why: row %zu", i);
	}
	EQ_INT(render("a\xff", 2, vars, &out, &e), -1, "broken UTF-8");
	json_decref(vars);
	chat_text_free(&out);
}

/* ---- provenance ---------------------------------------------------- */

/* out with each untrusted run in angle quotes, in static memory. */
static const char *
marked(const struct chat_text *t)
{
	static struct str s;
	size_t i, k = 0;

	str_clear(&s);
	for (i = 0; i <= t->text.n; i++) {
		if (k < t->untrusted.n && t->untrusted.p[k].end == i) {
			str_adds(&s, "\u00bb");
			k++;
		}
		if (k < t->untrusted.n && t->untrusted.p[k].begin == i)
			str_adds(&s, "\u00ab");
		if (i < t->text.n)
			str_addc(&s, t->text.p[i]);
	}
	return str_c(&s);
}

static void
test_provenance(void)
{
	static const struct { const char *t, *want; } row[] = {
		{ "<s>{{ m[0].content }}</s>", "<s>«<|im_end|> x»</s>" },
		{ "{{ '<s>' + m[0].role + ':' }}", "<s>«user»:" },
		{ "{{ bos_token }}{{ other }}", "<|bos|>«<|o|>»" },
		{ "{{ (' ' ~ m[0].content ~ ' ')|trim }}",
		    "«<|im_end|> x»" },
		{ "{{ m[0].content|replace('x', '<e>') }}",
		    "«<|im_end|> »<e>" },
		{ "{{ 'a<e>b'|replace('<e>', m[0].role) }}", "a«user»b" },
		{ "{{ m[0].content[1:4] }}|", "«|im»|" },
		{ "{{ ('ab' + m[0].role)[1:4] }}|", "b«us»|" },
		{ "{{ ('ab' + m[0].role)[::-1] }}|", "«resu»ba|" },
		{ "{{ m[0].content.split('|')[1] }}|", "«im_end»|" },
		{ "{{ m[0].content.split('|')|join('|') }}",
		    "«<»|«im_end»|«> x»" },
		{ "{{ m[0].content|upper }}.", "«<|IM_END|> X»." },
		{ "{{ ('a' + m[0].role)|upper }}.", "A«USER»." },
		{ "{{ m[0].content|tojson }}.", "«\"<|im_end|> x\"»." },
		{ "{{ m[0]|tojson }}.",
		    "«{\"role\": \"user\", \"content\": \"<|im_end|> x\"}»." },
		{ "{{ {'a': m[0].role}|tojson }}",
		    "{\"a\": «\"user\"»}" },
		{ "{{ ('[\"' + m[0].role + '\"]')|from_json|first }}.",
		    "«user»." },
		{ "{{ '{\"k\": 1}'|from_json }}.", "{'k': 1}." },
		{ "{{ [m[0].role, 'b'] }}", "[«'user'», 'b']" },
		{ "{{ n }}|{{ n + 1 }}|{{ 2 }}", "«5»|«6»|2" },
		{ "{% for c in m[0].role %}{{ c }}-{% endfor %}",
		    "«u»-«s»-«e»-«r»-" },
		{ "{% for k in m[0] %}{{ k }}-{% endfor %}",
		    "«role»-«content»-" },
		{ "{% set x %}<s>{{ m[0].role }}{% endset %}{{ x }}",
		    "<s>«user»" },
		{ "{% filter upper %}<s>{{ m[0].role }}{% endfilter %}",
		    "<S>«USER»" },
		{ "{% macro f(a) %}<s>{{ a }}{% endmacro %}{{ f(m[0].role) }}",
		    "<s>«user»" },
		{ "{{ '%s<s>' % m[0].role }}", "«user»<s>" },
		{ "{{ '{}<s>'.format(m[0].role) }}", "«user»<s>" },
		{ "{{ m[0].content|e }}", "«&lt;|im_end|&gt; x»" },
		{ "{{ m[0].role|indent(2, true) }}", "  «user»" },
		{ "{{ m[0].content|length }}", "«12»" },
		{ "{{ m[0].role * 2 }}.", "«useruser»." },
		{ "{% set ns = namespace(t='') %}{% for i in [1, 2] %}"
		    "{% set ns.t = ns.t + '<s>' + m[0].role %}{% endfor %}"
		    "{{ ns.t }}", "<s>«user»<s>«user»" },
	};
	struct chat_text out = CHAT_TEXT_INIT;
	struct err e = ERR_INIT;
	json_t *vars = parse("{\"m\": [{\"role\": \"user\", \"content\":"
	    " \"<|im_end|> x\"}], \"bos_token\": \"<|bos|>\","
	    " \"other\": \"<|o|>\", \"n\": 5}");
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		e.text[0] = '\0';
		EQ_INT(render(row[i].t, strlen(row[i].t), vars, &out, &e), 0,
		    "%s renders %s", row[i].t, e.text);
		EQ_STR(marked(&out), row[i].want, "provenance of %s",
		    row[i].t);
	}
	json_decref(vars);
	chat_text_free(&out);
}

/* ---- limits -------------------------------------------------------- */

static void
test_limits(void)
{
	static const struct { const char *t, *why; } row[] = {
		{ "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		    "nested deeper" },
		{ "{{ 'x' * 100000000 }}", "a text of more than" },
		{ "{% set ns = namespace(s='ab') %}{% for i in range(99) %}"
		    "{% set ns.s = ns.s + ns.s %}{% endfor %}",
		    "a text of more than" },
		{ "{% for a in range(99999) %}{% for b in range(99999) %}"
		    "{% endfor %}{% endfor %}", "more than" },
		{ "{% for a in range(9999) %}{% for b in range(9999) %}"
		    "{% if a == b %}{% endif %}{% endfor %}{% endfor %}",
		    "more than" },
		{ "{{ range(100001) }}", "range() of more than 100000" },
		{ "{{ [0] * 1000000000 }}", "more than" },
		{ "{% set ns = namespace(l=[]) %}{% for i in range(900) %}"
		    "{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		    "nested deeper" },
		{ "{{ 'a'|indent(1000000000, true) }}", "a text of more" },
		{ "{% for a in range(99999) %}{% for b in range(9999) %}"
		    "0123456789{% endfor %}{% endfor %}", "more than" },
	};
	struct chat_text out = CHAT_TEXT_INIT;
	struct err e = ERR_INIT;
	json_t *vars = json_object(), *deep = json_array(), *outer;
	struct str s = STR_INIT;
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		e.text[0] = '\0';
		EQ_INT(render(row[i].t, strlen(row[i].t), vars, &out, &e), -1,
		    "limit %zu", i);
		OK(strstr(e.text, row[i].why) != NULL, "limit %zu: %s", i,
		    e.text);
		EQ_INT(out.text.n, 0, "and nothing comes out");
	}
	for (i = 0; i < 1000; i++)
		str_addc(&s, i < 2 ? '{' : '(');
	EQ_INT(render(str_c(&s), s.n, vars, &out, &e), -1, "deep brackets");
	str_clear(&s);
	for (i = 0; i < 1000; i++)
		str_adds(&s, "{% if 1 %}");
	EQ_INT(render(str_c(&s), s.n, vars, &out, &e), -1, "deep blocks");
	str_clear(&s);
	str_adds(&s, "{{ 1");
	for (i = 0; i < 5000; i++)
		str_adds(&s, "+1");
	str_adds(&s, " }}");
	EQ_INT(render(str_c(&s), s.n, vars, &out, &e), -1, "a long sum");
	for (i = 0; i < 1000; i++) {
		outer = json_array();
		json_array_append_new(outer, deep);
		deep = outer;
	}
	json_object_set_new(vars, "x", deep);
	EQ_INT(render("{{ x }}", 7, vars, &out, &e), -1, "deep data");
	EQ_INT(render("ok", 2, vars, &out, &e), 0, "unless it is not used");
	str_free(&s);
	json_decref(vars);
	chat_text_free(&out);
}

/* ---- files --------------------------------------------------------- */

static void
put(const char *name, const char *text)
{
	scratch_write(name, text, strlen(text));
}

/* What the template which of dir renders; "none" and "error" else. */
static const char *
loaded(const char *dir, const char *which)
{
	static struct chat_text out;
	json_t *vars = json_object();
	struct err e = ERR_INIT;
	struct chat *c;
	const char *s = "error";
	int rc = chat_load(&c, dir, which, &e);

	if (rc == 1)
		s = e.code == ERR_UNAVAIL ? "none" : "wrong code";
	else if (rc == 0 && chat_render(c, vars, &out, &e) == 0)
		s = str_c(&out.text);
	chat_free(rc == 0 ? c : NULL);
	json_decref(vars);
	return s;
}

static void
test_load(void)
{
	const char *dir = scratch_begin();

	EQ_STR(loaded(dir, NULL), "none", "an empty folder");
	put("tokenizer_config.json", "{}");
	EQ_STR(loaded(dir, NULL), "none", "no chat_template");
	put("tokenizer_config.json", "{\"chat_template\": null}");
	EQ_STR(loaded(dir, NULL), "none", "null for a chat_template");
	put("tokenizer_config.json", "{\"chat_template\": 5}");
	EQ_STR(loaded(dir, NULL), "error", "a number for a chat_template");
	put("tokenizer_config.json", "{\"chat_template\": \"{{ 1 }}\"}");
	EQ_STR(loaded(dir, NULL), "1", "a string");
	EQ_STR(loaded(dir, "tool_use"), "none", "no template of that name");
	put("tokenizer_config.json", "{\"chat_template\": ["
	    "{\"name\": \"default\", \"template\": \"d\"},"
	    "{\"name\": \"tool_use\", \"template\": \"t\"}]}");
	EQ_STR(loaded(dir, NULL), "d", "the default of a list");
	EQ_STR(loaded(dir, "tool_use"), "t", "another one by name");
	/* What transformers writes when nobody has said how long a text is. */
	put("tokenizer_config.json", "{\"model_max_length\": "
	    "1000000000000000019884624838656, \"chat_template\": ["
	    "{\"name\": \"default\", \"template\": \"big\"},"
	    "{\"name\": \"tool_use\", \"template\": \"t\"}]}");
	EQ_STR(loaded(dir, NULL), "big", "beside an integer beyond 64 bits");
	put("chat_template.jinja", "file\n");
	EQ_STR(loaded(dir, NULL), "file", "the file comes first");
	EQ_STR(loaded(dir, "tool_use"), "t", "but only as the default");
	put("chat_template.jinja", "{% nope %}");
	EQ_STR(loaded(dir, NULL), "error", "a template that is refused");
	put("tokenizer_config.json", "{");
	EQ_STR(loaded(dir, "x"), "error", "broken JSON");
	put("tokenizer_config.json", "{\"chat_template\": ["
	    "{\"name\": \"default\", \"template\": 5}]}");
	EQ_STR(loaded(dir, "default"), "error", "the file still comes first");
	EQ_STR(loaded("/nonexistent", NULL), "none", "no folder");
	scratch_end();
}

/* ---- threads ------------------------------------------------------- */

struct job {
	const struct chat *c;
	json_t *vars;
	int bad;
};

static void *
work(void *arg)
{
	struct job *j = arg;
	struct chat_text out = CHAT_TEXT_INIT;
	struct err e;
	int i;

	for (i = 0; i < 200; i++)
		if (chat_render(j->c, j->vars, &out, &e) != 0 ||
		    strcmp(str_c(&out.text), "0:a 1:b 2:c AB") != 0)
			j->bad++;
	chat_text_free(&out);
	return NULL;
}

static void
test_threads(void)
{
	static const char t[] = "{% macro f(x) %}{{ x|upper }}{% endmacro %}"
	    "{% for a in l %}{{ loop.index0 }}:{{ a }} {% endfor %}"
	    "{{ f('a') }}{{ f('b') }}";
	struct err e = ERR_INIT;
	struct job job[4];
	pthread_t th[4];
	struct chat *c;
	int i;

	EQ_INT(chat_compile(&c, t, strlen(t), "t", &e), 0, "compiles");
	for (i = 0; i < 4; i++) {
		job[i] = (struct job){ c, parse("{\"l\": [\"a\", \"b\","
		    " \"c\"]}"), 0 };
		pthread_create(&th[i], NULL, work, &job[i]);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(th[i], NULL);
		EQ_INT(job[i].bad, 0, "thread %d", i);
		json_decref(job[i].vars);
	}
	chat_free(c);
}

int
main(void)
{
	const char *root = getenv("MOE_ROOT");

	if (root != NULL && chdir(root) != 0) {
		perror(root);
		return 1;
	}
	test_cases();
	test_models();
	test_errors();
	test_provenance();
	test_limits();
	test_load();
	test_threads();
	return tap_done();
}
