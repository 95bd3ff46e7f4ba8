/* fs_drill - see fs_drill.h. */
#include "fs_drill.h"

#include <stdio.h>
#include <string.h>

#include "lines.h"
#include "link_fault.h"
#include "mem.h"
#include "num.h"
#include "str.h"

#define MAX_STEP	100000
#define MAX_PROMPT	10000
#define MAX_TIME_NS	86400000000000ull
#define WORDS_MAX	100000

struct parse {
	struct fs_drill *d;
	struct lines l;
	bool have_head;
	char *rest;		/* of the line, words are cut off it */
	struct err *err;
};

#define bad(p, ...)	lines_bad(&(p)->l, (p)->err, __VA_ARGS__)

static const char *const action_name[] = {
	[FS_KILL] = "kill", [FS_STOP] = "stop", [FS_CONT] = "cont",
	[FS_TERM] = "term", [FS_START] = "start", [FS_LINK] = "link",
	[FS_LOAD] = "load", [FS_DO] = "do", [FS_ROLL] = "roll",
	[FS_DEAD] = "dead", [FS_DRAIN] = "drain", [FS_MOVE] = "move",
};

const char *
fs_drill_action_name(enum fs_action a)
{
	return action_name[a];
}

uint64_t
fs_drill_draw(const struct fs_span *s, struct rng *r)
{
	return s->hi_ns > s->lo_ns ?
	    s->lo_ns + rng_below(r, s->hi_ns - s->lo_ns + 1) : s->lo_ns;
}

static char *
word(struct parse *p)
{
	return lines_word(&p->rest);
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

	if (num_dur_ns(w, out) != 0 || *out > MAX_TIME_NS)
		return bad(p, "%s: '%s' is not a time (250ms, 2s)", what, w);
	return 0;
}

/* TIME or TIME-TIME. */
static int
want_span(struct parse *p, const char *what, struct fs_span *out)
{
	char *w = word(p), *dash = strchr(w, '-');
	int rc;

	if (dash != NULL)
		*dash++ = '\0';
	rc = num_dur_ns(w, &out->lo_ns);
	out->hi_ns = out->lo_ns;
	if (rc == 0 && dash != NULL)
		rc = num_dur_ns(dash, &out->hi_ns);
	if (rc != 0 || out->hi_ns > MAX_TIME_NS || out->hi_ns < out->lo_ns)
		return bad(p, "%s: '%s%s%s' is not a time (250ms, 2s, "
		    "100ms-2s)", what, w, dash != NULL ? "-" : "",
		    dash != NULL ? dash : "");
	return 0;
}

static int
end_of_line(struct parse *p)
{
	const char *w = word(p);

	return *w == '\0' ? 0 : bad(p, "'%s' is too much", w);
}

/* ---- steps ---- */

/* What goes with each action: the word before its time; NULL: nothing. */
static const char *
undo_word(enum fs_action a)
{
	switch (a) {
	case FS_KILL:
	case FS_TERM:
	case FS_DEAD:
	case FS_DRAIN:
		return "restart";
	case FS_STOP:
	case FS_LINK:
	case FS_LOAD:
		return "for";
	default:
		return NULL;
	}
}

static int
want_who(struct parse *p, struct fs_step *s)
{
	const char *w = word(p);

	if (*w == '\0' || strlen(w) >= sizeof(s->who))
		return bad(p, "%s whom? (an id of procs.tsv, expert, front, "
		    "route, door or any)", action_name[s->action]);
	snprintf(s->who, sizeof(s->who), "%s", w);
	return 0;
}

static int
want_faults(struct parse *p, struct fs_step *s)
{
	const char *w = word(p);
	struct link_fault_spec spec;
	struct err e = ERR_INIT;

	if (*w == '@' || strlen(w) >= sizeof(s->text) ||
	    link_fault_spec_parse(w, strlen(w), &spec, &e) != 0)
		return bad(p, "link %s: %s", s->who, e.text[0] != '\0' ?
		    e.text : "what? (faults of moe-wire(7))");
	snprintf(s->text, sizeof(s->text), "%s", w);
	return 0;
}

static int
want_factor(struct parse *p, struct fs_step *s)
{
	char *w = word(p);
	size_t n = strlen(w);

	if (n > 1 && w[n - 1] == 'x')
		w[n - 1] = '\0';
	if (num_f64(w, &s->factor) != 0 || s->factor < 0 || s->factor > 1000)
		return bad(p, "load: '%s' is not a factor from 0 to 1000 "
		    "(10x)", w);
	return 0;
}

/* move [N] */
static int
want_move(struct parse *p, struct fs_step *s)
{
	int64_t n = 1;

	if (p->rest[strspn(p->rest, " \t")] != '\0' &&
	    want_int(p, "move", FS_DRILL_MAX_MOVE, &n) != 0)
		return -1;
	s->n_move = (int)n;
	return 0;
}

static int
want_command(struct parse *p, struct fs_step *s)
{
	const char *text = p->rest + strspn(p->rest, " \t");

	if (*text == '\0' || strlen(text) >= sizeof(s->text))
		return bad(p, "do what? (a command of at most %zu bytes)",
		    sizeof(s->text) - 1);
	snprintf(s->text, sizeof(s->text), "%s", text);
	p->rest += strlen(p->rest);
	return 0;
}

static int
step_object(struct parse *p, struct fs_step *s)
{
	if (s->action == FS_LOAD)
		return want_factor(p, s);
	if (s->action == FS_DO)
		return want_command(p, s);
	if (s->action == FS_MOVE)
		return want_move(p, s);
	if (want_who(p, s) != 0)
		return -1;
	return s->action == FS_LINK ? want_faults(p, s) : 0;
}

/* ACTION WHO [restart|for TIME] of a step whose time is known. */
static int
step_rest(struct parse *p, struct fs_step *s)
{
	const char *w = word(p), *undo;
	int a;

	for (a = FS_KILL; a <= FS_MOVE && strcmp(w, action_name[a]) != 0; a++)
		;
	if (a > FS_MOVE)
		return bad(p, "'%s' is no action (kill, stop, cont, term, "
		    "start, link, load, do, roll, dead, drain, move)", w);
	s->action = (enum fs_action)a;
	if (step_object(p, s) != 0)
		return -1;
	w = word(p);
	undo = undo_word(s->action);
	if (*w != '\0') {
		if (undo == NULL || strcmp(w, undo) != 0)
			return bad(p, "'%s' does not go with %s", w,
			    action_name[a]);
		s->undo = true;
		if (want_span(p, w, &s->undo_after) != 0)
			return -1;
	}
	if (end_of_line(p) != 0)
		return -1;
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
	const char *w;
	int64_t n;

	if (want_span(p, "every", &s->every) != 0)
		return -1;
	if (s->every.lo_ns == 0)
		return bad(p, "every 0 is no interval");
	w = word(p);
	if (strcmp(w, "until") == 0) {
		if (want_dur(p, w, &s->until_ns) != 0)
			return -1;
		if (s->until_ns < s->every.hi_ns)
			return bad(p, "until: that is before the first time");
		s->count = 1;
		return step_rest(p, s);
	}
	if (strcmp(w, "count") != 0)
		return bad(p, "every TIME needs 'count N' or 'until TIME' next");
	if (want_int(p, "count", 1000000, &n) != 0)
		return -1;
	s->count = (int)n;
	return step_rest(p, s);
}

static int
step_after(struct parse *p, struct fs_step *s, const char *key,
    uint64_t *out)
{
	int64_t n;

	if (want_int(p, key, INT64_MAX / 2, &n) != 0)
		return -1;
	*out = (uint64_t)n;
	return step_rest(p, s);
}

/* ---- the load ---- */

static int
add_prompt(struct parse *p, const char *text)
{
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

/* prompts FILE: a prompt a line, FILE seen from the drill's folder. */
static int
add_prompts(struct parse *p)
{
	const char *name = word(p), *slash = strrchr(p->d->path, '/');
	struct str s = STR_INIT;
	struct lines l;
	char *path, *text;
	int rc;

	path = *name == '/' || slash == NULL ? mem_strdup(name) :
	    mem_printf("%.*s/%s", (int)(slash - p->d->path), p->d->path, name);
	rc = lines_load(&s, path, FS_DRILL_MAX_BYTES, p->err);
	if (rc == 0)
		rc = lines_open(&l, str_c(&s), s.n, FS_DRILL_MAX_BYTES, path,
		    "prompts", p->err);
	if (rc == 0) {
		while (rc == 0 && (text = lines_next(&l)) != NULL)
			if (*text != '\0')
				rc = add_prompt(p, text);
		lines_close(&l);
	} else {
		rc = bad(p, "prompts: %s", p->err->text);
	}
	str_free(&s);
	mem_free(path);
	return rc;
}

static int
temperatures(struct parse *p)
{
	struct fs_drill *d = p->d;
	const char *w;
	double t;

	d->n_temperature = 0;
	while (*(w = word(p)) != '\0') {
		if (num_f64(w, &t) != 0 || t < 0 || t > 100)
			return bad(p, "temperature: not a number from 0 to "
			    "100");
		if (d->n_temperature == (int)(sizeof(d->temperature) /
		    sizeof(*d->temperature)))
			return bad(p, "temperature: too many of them");
		d->temperature[d->n_temperature++] = t;
	}
	return d->n_temperature > 0 ? 0 : bad(p, "temperature: not a number "
	    "from 0 to 100");
}

static int
words(struct parse *p)
{
	char *w = word(p), *dash = strchr(w, '-');
	int64_t lo, hi;

	if (dash != NULL)
		*dash++ = '\0';
	if (num_i64(w, &lo) != 0 || num_i64(dash != NULL ? dash : w, &hi) !=
	    0 || lo < 1 || hi < lo || hi > WORDS_MAX)
		return bad(p, "words: want N or N-N, at most %d", WORDS_MAX);
	p->d->words_lo = (int)lo;
	p->d->words_hi = (int)hi;
	return 0;
}

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
	} else if (strcmp(key, "settle") == 0) {
		rc = want_dur(p, key, &d->settle_ns);
	} else if (strcmp(key, "quiet") == 0) {
		rc = want_dur(p, key, &d->quiet_ns);
	} else if (strcmp(key, "rest") == 0) {
		rc = want_dur(p, key, &d->rest_ns);
	} else if (strcmp(key, "words") == 0) {
		rc = words(p);
	} else if (strcmp(key, "temperature") == 0) {
		rc = temperatures(p);
	} else if (strcmp(key, "prompts") == 0) {
		rc = add_prompts(p);
	} else {
		return bad(p, "'%s' is not known here (seed, streams, requests, "
		    "tokens, temperature, words, limit, quiet, rest, "
		    "settle, prompt, prompts, cluster, judge, at, tokens-out, "
		    "answers-out, every, last)", key);
	}
	return rc != 0 ? -1 : end_of_line(p);
}

static int
statement(struct parse *p)
{
	struct fs_step s = { .line = p->l.line, .count = 1 };
	const char *key = word(p);

	if (*key == '\0' || *key == '#')
		return 0;
	if (!p->have_head) {
		if (strcmp(key, "moe-drill") != 0 || strcmp(word(p), "1") != 0)
			return bad(p, "the first line must be 'moe-drill 1'");
		p->have_head = true;
		return end_of_line(p);
	}
	if (strcmp(key, "cluster") == 0 || strcmp(key, "judge") == 0)
		return 0;	/* options that moe-drill(1) gives to others */
	if (strcmp(key, "prompt") == 0)
		return add_prompt(p, p->rest + strspn(p->rest, " \t"));
	if (strcmp(key, "at") == 0)
		return want_span(p, key, &s.at) != 0 ? -1 : step_rest(p, &s);
	if (strcmp(key, "tokens-out") == 0)
		return step_after(p, &s, key, &s.after_tok);
	if (strcmp(key, "answers-out") == 0)
		return step_after(p, &s, key, &s.after_answer);
	if (strcmp(key, "every") == 0)
		return step_every(p, &s);
	s.last = strcmp(key, "last") == 0;
	if (s.last)
		return step_rest(p, &s);
	return setting(p, key);
}

static int
parse_lines(struct parse *p)
{
	char *text;

	while ((text = lines_next(&p->l)) != NULL) {
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
	struct parse p = { .err = err };
	struct fs_drill *d;
	int rc;

	if (lines_open(&p.l, text, n, FS_DRILL_MAX_BYTES, path, "a drill",
	    err) != 0)
		return -1;
	p.d = d = mem_zalloc(sizeof(*d));
	d->path = mem_strdup(path);
	d->streams = 8;
	d->tokens = 64;
	d->temperature[0] = 0.8;
	d->n_temperature = 1;
	d->limit_ns = 60000000000ull;
	rc = parse_lines(&p);
	lines_close(&p.l);
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
