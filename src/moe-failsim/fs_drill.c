/* fs_drill - see fs_drill.h. */
#include "fs_drill.h"

#include <stdio.h>
#include <string.h>

#include "lines.h"
#include "mem.h"
#include "num.h"
#include "str.h"

#define MAX_STEP	1000
#define MAX_PROMPT	1000

struct parse {
	struct fs_drill *d;
	int line;
	bool have_head;
	char *rest;		/* of the line, words are cut off it */
	struct err *err;
};

static int bad(struct parse *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
bad(struct parse *p, const char *fmt, ...)
{
	char text[300];
	__builtin_va_list ap;

	__builtin_va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	__builtin_va_end(ap);
	return err_set(p->err, ERR_DATA, "%s:%d: %s", p->d->path, p->line,
	    text);
}

static const char *const action_name[] = {
	[FS_KILL] = "kill", [FS_STOP] = "stop", [FS_CONT] = "cont",
	[FS_TERM] = "term",
};

const char *
fs_drill_action_name(enum fs_action a)
{
	return action_name[a];
}

/* The next word of the line, or "". */
static char *
word(struct parse *p)
{
	char *w = p->rest + strspn(p->rest, " \t\r");
	size_t n = strcspn(w, " \t\r");

	p->rest = w + n;
	if (w[n] != '\0')
		*p->rest++ = '\0';
	return w;
}

static int
want_int(struct parse *p, const char *what, int64_t hi, int64_t *out)
{
	const char *w = word(p);

	if (num_i64(w, out) != 0 || *out < 1 || *out > hi)
		return bad(p, "%s: '%s' is not a number from 1 to %lld", what,
		    w, (long long)hi);
	return 0;
}

static int
want_dur(struct parse *p, const char *what, uint64_t *out)
{
	const char *w = word(p);

	if (num_dur_ns(w, out) != 0 || *out > 86400000000000ull)
		return bad(p, "%s: '%s' is not a time (250ms, 2s)", what, w);
	return 0;
}

/* ACTION WHO [restart|for DUR] of a step whose time is known. */
static int
step_rest(struct parse *p, struct fs_step *s)
{
	const char *w = word(p);
	int a;

	for (a = FS_KILL; a <= FS_TERM && strcmp(w, action_name[a]) != 0; a++)
		;
	if (a > FS_TERM)
		return bad(p, "'%s' is no action (kill, stop, cont, term)", w);
	s->action = (enum fs_action)a;
	w = word(p);
	if (*w == '\0' || strlen(w) >= sizeof(s->who))
		return bad(p, "%s whom? (an id of procs.tsv, expert, front or "
		    "route)", action_name[a]);
	snprintf(s->who, sizeof(s->who), "%s", w);
	w = word(p);
	if (*w != '\0') {
		if (!(strcmp(w, "restart") == 0 && (a == FS_KILL ||
		    a == FS_TERM)) && !(strcmp(w, "for") == 0 && a == FS_STOP))
			return bad(p, "'%s' does not go with %s", w,
			    action_name[a]);
		s->undo = true;
		if (want_dur(p, w, &s->undo_ns) != 0)
			return -1;
	}
	if (*(w = word(p)) != '\0')
		return bad(p, "'%s' is too much", w);
	if (p->d->n_step == MAX_STEP)
		return bad(p, "more than %d steps", MAX_STEP);
	mem_grow((void **)&p->d->step, &p->d->cap_step, p->d->n_step + 1,
	    sizeof(*s));
	p->d->step[p->d->n_step++] = *s;
	return 0;
}

static int
step_every(struct parse *p, struct fs_step *s)
{
	int64_t n;

	if (want_dur(p, "every", &s->every_ns) != 0)
		return -1;
	if (s->every_ns == 0)
		return bad(p, "every 0 is no interval");
	if (strcmp(word(p), "count") != 0)
		return bad(p, "every DUR needs 'count N' next");
	if (want_int(p, "count", 100000, &n) != 0)
		return -1;
	s->count = (int)n;
	return step_rest(p, s);
}

static int
add_prompt(struct parse *p)
{
	const char *text = p->rest + strspn(p->rest, " \t");
	struct fs_drill *d = p->d;

	if (*text == '\0' || d->n_prompt == MAX_PROMPT)
		return bad(p, *text ? "too many prompts" : "an empty prompt");
	if (!str_utf8_valid(text, strlen(text)))
		return bad(p, "a prompt that is not UTF-8");
	mem_grow((void **)&d->prompt, &d->cap_prompt, d->n_prompt + 1,
	    sizeof(*d->prompt));
	d->prompt[d->n_prompt++] = mem_strdup(text);
	return 0;
}

static int
end_of_line(struct parse *p)
{
	const char *w = word(p);

	return *w == '\0' ? 0 : bad(p, "'%s' is too much", w);
}

/* Numbers of the load. */
static int
setting(struct parse *p, const char *key)
{
	struct fs_drill *d = p->d;
	int64_t n = 0;
	int rc;

	if (strcmp(key, "seed") == 0) {
		rc = num_u64(word(p), &d->seed) == 0 ? 0 :
		    bad(p, "seed: not a number");
	} else if (strcmp(key, "streams") == 0) {
		rc = want_int(p, key, 4096, &n);
		d->streams = (int)n;
	} else if (strcmp(key, "requests") == 0) {
		rc = want_int(p, key, 100000, &n);
		d->requests = (int)n;
	} else if (strcmp(key, "tokens") == 0) {
		rc = want_int(p, key, 1 << 20, &n);
		d->tokens = (int)n;
	} else if (strcmp(key, "limit") == 0) {
		rc = want_dur(p, key, &d->limit_ns);
	} else if (strcmp(key, "temperature") == 0) {
		rc = num_f64(word(p), &d->temperature) == 0 &&
		    d->temperature >= 0 && d->temperature <= 100 ? 0 :
		    bad(p, "temperature: not a number from 0 to 100");
	} else {
		return bad(p, "'%s' is not known here (seed, streams, requests, "
		    "tokens, temperature, limit, prompt, at, tokens-out, every)",
		    key);
	}
	return rc != 0 ? -1 : end_of_line(p);
}

static int
statement(struct parse *p)
{
	struct fs_step s = { .line = p->line, .count = 1 };
	const char *key = word(p);
	int64_t n;

	if (*key == '\0' || *key == '#')
		return 0;
	if (!p->have_head) {
		if (strcmp(key, "moe-drill") != 0 || strcmp(word(p), "1") != 0)
			return bad(p, "the first line must be 'moe-drill 1'");
		p->have_head = true;
		return end_of_line(p);
	}
	if (strcmp(key, "prompt") == 0)
		return add_prompt(p);
	if (strcmp(key, "at") == 0)
		return want_dur(p, key, &s.at_ns) != 0 ? -1 : step_rest(p, &s);
	if (strcmp(key, "tokens-out") == 0) {
		if (want_int(p, key, INT64_MAX / 2, &n) != 0)
			return -1;
		s.after_tok = (uint64_t)n;
		return step_rest(p, &s);
	}
	if (strcmp(key, "every") == 0)
		return step_every(p, &s);
	return setting(p, key);
}

static int
parse_lines(struct parse *p, char *text)
{
	char *next;

	for (; text != NULL; text = next) {
		p->line++;
		if ((next = strchr(text, '\n')) != NULL)
			*next++ = '\0';
		text[strcspn(text, "\r")] = '\0';
		p->rest = text;
		if (statement(p) != 0)
			return -1;
	}
	if (!p->have_head)
		return bad(p, "no line 'moe-drill 1'");
	if (p->d->n_step == 0)
		return bad(p, "a drill without a step");
	return 0;
}

int
fs_drill_parse(struct fs_drill **out, const char *text, size_t n,
    const char *path, struct err *err)
{
	struct fs_drill *d = mem_zalloc(sizeof(*d));
	struct parse p = { .d = d, .err = err };
	char *copy;
	int rc;

	d->path = mem_strdup(path);
	d->streams = 8;
	d->tokens = 64;
	d->temperature = 0.8;
	d->limit_ns = 60000000000ull;
	if (n > FS_DRILL_MAX_BYTES || memchr(text, '\0', n) != NULL) {
		fs_drill_free(d);
		return err_set(err, ERR_DATA, "%s: not a drill", path);
	}
	copy = mem_alloc(n + 1);
	if (n > 0)
		memcpy(copy, text, n);
	copy[n] = '\0';
	rc = parse_lines(&p, copy);
	mem_free(copy);
	if (rc != 0) {
		fs_drill_free(d);
		return -1;
	}
	if (d->requests == 0)
		d->requests = d->streams;
	*out = d;
	return 0;
}

int
fs_drill_read(struct fs_drill **out, const char *path, struct err *err)
{
	struct str s = STR_INIT;
	int rc = lines_load(&s, path, FS_DRILL_MAX_BYTES, err);

	if (rc == 0)
		rc = fs_drill_parse(out, str_c(&s), s.n, path, err);
	str_free(&s);
	return rc;
}

void
fs_drill_free(struct fs_drill *d)
{
	size_t i;

	if (d == NULL)
		return;
	for (i = 0; i < d->n_prompt; i++)
		mem_free(d->prompt[i]);
	mem_free(d->prompt);
	mem_free(d->step);
	mem_free(d->path);
	mem_free(d);
}
