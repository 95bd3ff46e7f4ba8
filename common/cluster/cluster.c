/* cluster - see cluster.h. */
#include "cluster.h"

#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "lines.h"
#include "mem.h"
#include "num.h"

#define MAX_WORD	5	/* of a line; one more than any line needs */

struct parse {
	struct cluster *c;
	int line;
	bool have_head;
	struct err *err;
};

static int
bad(struct parse *p, const char *fmt, const char *what)
{
	char text[sizeof(p->err->text) + 100];

	snprintf(text, sizeof(text), fmt, what);
	return err_set(p->err, ERR_DATA, "%s:%d: %s", p->c->path, p->line,
	    text);
}

const char *
cluster_role_name(enum cluster_role role)
{
	switch (role) {
	case CLUSTER_EXPERT: return "expert";
	case CLUSTER_FRONT: return "front";
	case CLUSTER_ROUTE: return "route";
	}
	return "?";
}

bool
cluster_name_ok(const char *s)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

	return s[0] != '\0' && strlen(s) < 48 && s[strspn(s, set)] == '\0';
}

/* Does a member have it?  Faults around it do not make it another one. */
static bool
is_taken(const struct cluster *c, const char *addr)
{
	const char *inner = addr_inner(addr);
	size_t i;

	for (i = 0; i < c->n_member; i++)
		if (strcmp(addr_inner(c->member[i].addr), inner) == 0 ||
		    (c->member[i].pages != NULL &&
		    strcmp(addr_inner(c->member[i].pages), inner) == 0))
			return true;
	return false;
}

/* "weight=W" */
static int
parse_weight(struct parse *p, const char *word, double *out)
{
	if (strncmp(word, "weight=", 7) != 0)
		return bad(p, "expert takes a name, an address and perhaps "
		    "weight=W, not '%s'", word);
	if (num_f64(word + 7, out) != 0 || *out < CLUSTER_WEIGHT_MIN ||
	    *out > CLUSTER_WEIGHT_MAX)
		return bad(p, "weight: '%s' is not a number from 0.01 to 100",
		    word + 7);
	return 0;
}

static int
add_member(struct parse *p, enum cluster_role role, char **word, int n)
{
	const char *pages = role == CLUSTER_FRONT && n == 4 ? word[3] : NULL;
	struct cluster *c = p->c;
	struct err e = ERR_INIT;
	struct addr a;
	double weight = 1;
	size_t i;

	if (n == 4 && role == CLUSTER_EXPERT) {
		if (parse_weight(p, word[3], &weight) != 0)
			return -1;
	} else if (n != 3 && pages == NULL)
		return bad(p, role == CLUSTER_FRONT ? "%s takes a name, an "
		    "address, and perhaps one for pages" :
		    "%s takes a name and an address", word[0]);
	if (!cluster_name_ok(word[1]))
		return bad(p, "'%s' is no name (letters, digits, - _ . and "
		    "at most 47)", word[1]);
	if ((role != CLUSTER_FRONT && addr_parse(word[2], &a, &e) != 0) ||
	    (pages != NULL && addr_parse(pages, &a, &e) != 0))
		return bad(p, "%s", e.text);
	for (i = 0; i < c->n_member; i++)
		if (strcmp(c->member[i].name, word[1]) == 0)
			return bad(p, "the name '%s' is taken", word[1]);
	if (is_taken(c, word[2]))
		return bad(p, "the address '%s' is taken", word[2]);
	if (pages != NULL && is_taken(c, pages))
		return bad(p, "the address '%s' is taken", pages);
	if (c->n_member == CLUSTER_MAX_MEMBER)
		return bad(p, "too many members%s", "");
	mem_grow((void **)&c->member, &c->cap_member, c->n_member + 1,
	    sizeof(*c->member));
	c->member[c->n_member++] = (struct cluster_member){ role,
	    mem_strdup(word[1]), mem_strdup(word[2]),
	    pages != NULL ? mem_strdup(pages) : NULL,
	    weight, p->line };
	return 0;
}

static int
one_value(struct parse *p, char **word, int n)
{
	return n == 2 ? 0 : bad(p, "%s takes one value", word[0]);
}

static int
statement(struct parse *p, char **word, int n)
{
	uint64_t v;

	if (!p->have_head) {
		if (strcmp(word[0], "moe-cluster") != 0 || n != 2)
			return bad(p, "the first line must be 'moe-cluster 1'%s",
			    "");
		if (strcmp(word[1], "1") != 0)
			return bad(p, "format version %s is not known (1 is)",
			    word[1]);
		p->have_head = true;
		return 0;
	}
	if (strcmp(word[0], "model") == 0) {
		if (one_value(p, word, n) != 0)
			return -1;
		if (p->c->model != NULL)
			return bad(p, "a second model%s", "");
		p->c->model = mem_strdup(word[1]);
		return 0;
	}
	if (strcmp(word[0], "psk-file") == 0) {
		if (one_value(p, word, n) != 0)
			return -1;
		if (p->c->psk_file != NULL)
			return bad(p, "a second psk-file%s", "");
		p->c->psk_file = mem_strdup(word[1]);
		return 0;
	}
	if (strcmp(word[0], "replicas") == 0) {
		if (one_value(p, word, n) != 0)
			return -1;
		if (num_u64(word[1], &v) != 0 || v < 1 || v > 64)
			return bad(p, "replicas: '%s' is not a number from 1 "
			    "to 64", word[1]);
		p->c->replicas = (int)v;
		return 0;
	}
	if (strcmp(word[0], "expert") == 0)
		return add_member(p, CLUSTER_EXPERT, word, n);
	if (strcmp(word[0], "front") == 0)
		return add_member(p, CLUSTER_FRONT, word, n);
	if (strcmp(word[0], "route") == 0)
		return add_member(p, CLUSTER_ROUTE, word, n);
	return bad(p, "'%s' is not known here (model, replicas, psk-file, expert, "
	    "front, route)", word[0]);
}

/* Cut a line into words, up to a '#'.  Returns how many, at most MAX_WORD. */
static int
words(char *line, char **word)
{
	char *save = NULL, *w;
	int n = 0;

	line[strcspn(line, "#")] = '\0';
	for (w = strtok_r(line, " \t\r", &save); w != NULL && n < MAX_WORD;
	    w = strtok_r(NULL, " \t\r", &save))
		word[n++] = w;
	return n;
}

static int
parse_lines(struct parse *p, struct lines *l)
{
	char *word[MAX_WORD], *text;
	int n;

	while ((text = lines_next(l)) != NULL) {
		p->line = l->line;
		n = words(text, word);
		if (n > 0 && statement(p, word, n) != 0)
			return -1;
	}
	if (!p->have_head)
		return bad(p, "no line 'moe-cluster 1'%s", "");
	return 0;
}

int
cluster_parse(struct cluster **out, const char *text, size_t n,
    const char *path, struct err *err)
{
	struct parse p = { NULL, 0, false, err };
	struct lines l;
	int rc;

	if (lines_open(&l, text, n, CLUSTER_MAX_BYTES, path, "a cluster file",
	    err) != 0)
		return -1;
	p.c = mem_zalloc(sizeof(*p.c));
	p.c->path = mem_strdup(path);
	p.c->replicas = 1;
	rc = parse_lines(&p, &l);
	lines_close(&l);
	if (rc != 0) {
		cluster_free(p.c);
		return -1;
	}
	*out = p.c;
	return 0;
}

int
cluster_read(struct cluster **out, const char *path, struct err *err)
{
	struct str s = STR_INIT;
	int rc = lines_load(&s, path, CLUSTER_MAX_BYTES, err);

	if (rc == 0)
		rc = cluster_parse(out, str_c(&s), s.n, path, err);
	str_free(&s);
	return rc;
}

void
cluster_free(struct cluster *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->n_member; i++) {
		mem_free(c->member[i].name);
		mem_free(c->member[i].addr);
		mem_free(c->member[i].pages);
	}
	mem_free(c->member);
	mem_free(c->model);
	mem_free(c->psk_file);
	mem_free(c->path);
	mem_free(c);
}

void
cluster_write(const struct cluster *c, struct str *out)
{
	size_t i;

	str_adds(out, "moe-cluster 1\n");
	if (c->model != NULL)
		str_addf(out, "model %s\n", c->model);
	if (c->psk_file != NULL)
		str_addf(out, "psk-file %s\n", c->psk_file);
	str_addf(out, "replicas %d\n", c->replicas);
	for (i = 0; i < c->n_member; i++) {
		str_addf(out, "%s %s %s%s%s",
		    cluster_role_name(c->member[i].role), c->member[i].name,
		    c->member[i].addr, c->member[i].pages ? " " : "",
		    c->member[i].pages ? c->member[i].pages : "");
		if (c->member[i].weight < 1 || c->member[i].weight > 1)
			str_addf(out, " weight=%g", c->member[i].weight);
		str_addc(out, '\n');
	}
}

const struct cluster_member *
cluster_find(const struct cluster *c, enum cluster_role role,
    const char *name)
{
	size_t i;

	for (i = 0; i < c->n_member; i++)
		if (c->member[i].role == role &&
		    (name == NULL || strcmp(c->member[i].name, name) == 0))
			return &c->member[i];
	return NULL;
}

size_t
cluster_count(const struct cluster *c, enum cluster_role role)
{
	size_t i, n = 0;

	for (i = 0; i < c->n_member; i++)
		n += c->member[i].role == role;
	return n;
}
