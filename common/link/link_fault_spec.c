/* link_fault_spec.c - F3.  The text of a fault's specification; no state, any
 * thread. */
#include <string.h>

#include "link_fault.h"
#include "num.h"

#define WORD	64		/* bytes of a key or a value, with the NUL */

enum kind {
	K_TIME, K_MOMENT, K_BYTES, K_COUNT, K_SEED, K_PROB, K_DIR, K_SILENT
};

static const struct key {
	const char *name;
	enum kind kind;
	size_t at;		/* of the value in struct link_fault_spec */
} keys[] = {
#define AT(field)	offsetof(struct link_fault_spec, field)
	{ "delay", K_TIME, AT(delay_ns) },
	{ "jitter", K_TIME, AT(jitter_ns) },
	{ "throttle", K_BYTES, AT(bytes_s) },
	{ "drop", K_PROB, AT(drop) },
	{ "corrupt-header", K_PROB, AT(corrupt[LINK_HEADER]) },
	{ "corrupt-routes", K_PROB, AT(corrupt[LINK_ROUTES]) },
	{ "corrupt-payload", K_PROB, AT(corrupt[LINK_PAYLOAD]) },
	{ "reorder", K_PROB, AT(reorder) },
	{ "duplicate", K_PROB, AT(duplicate) },
	{ "cut", K_COUNT, AT(cut_slots) },
	{ "cut-at", K_MOMENT, AT(cut_at_ns) },
	{ "half-open", K_SILENT, 0 },
	{ "dir", K_DIR, 0 },
	{ "after", K_TIME, AT(after_ns) },
	{ "until", K_MOMENT, AT(until_ns) },
	{ "seed", K_SEED, AT(seed) },
#undef AT
};
#define N_KEY	(sizeof(keys) / sizeof(keys[0]))

static int
set_prob(double *out, const char *key, const char *val, struct err *err)
{
	if (num_f64(val, out) != 0 || *out < 0 || *out > 1)
		return err_set(err, ERR_USAGE, "fault: %s=%s, want 0 to 1", key,
		    val);
	return 0;
}

static int
set_number(uint64_t *out, const struct key *k, const char *val,
    struct err *err)
{
	bool time = k->kind == K_TIME || k->kind == K_MOMENT;
	const char *want = time ? "a time such as 5ms" :
	    k->kind == K_BYTES ? "bytes a second such as 10M" : "a number";
	int rc = time ? num_dur_ns(val, out) :
	    k->kind == K_BYTES ? num_size(val, out) : num_u64(val, out);

	if (rc == 0 && *out == 0 && k->kind != K_TIME && k->kind != K_SEED)
		rc = -1;	/* would mean never */
	if (rc == 0 && time && *out > UINT64_MAX / 8)
		rc = -1;	/* would wrap on the clock */
	return rc == 0 ? 0 : err_set(err, ERR_USAGE, "fault: %s=%s, want %s",
	    k->name, val, want);
}

/* out, in or, where it makes sense, both. */
static int
set_ways(bool way[2], const struct key *k, const char *val, struct err *err)
{
	bool both = k->kind == K_DIR && strcmp(val, "both") == 0;

	way[LINK_OUT] = both || strcmp(val, "out") == 0;
	way[LINK_IN] = both || strcmp(val, "in") == 0;
	if (way[LINK_OUT] || way[LINK_IN])
		return 0;
	return err_set(err, ERR_USAGE, "fault: %s=%s, want %s", k->name, val,
	    k->kind == K_DIR ? "out, in or both" : "out or in");
}

static int
set(struct link_fault_spec *s, const struct key *k, const char *val,
    struct err *err)
{
	void *at = (char *)s + k->at;

	switch (k->kind) {
	case K_PROB:
		return set_prob(at, k->name, val, err);
	case K_DIR:
		return set_ways(s->way, k, val, err);
	case K_SILENT:
		return set_ways(s->silent, k, val, err);
	default:
		return set_number(at, k, val, err);
	}
}

/* One key=value in word; seen has a bit for each key. */
static int
take(struct link_fault_spec *s, char *word, unsigned *seen, struct err *err)
{
	char *val = strchr(word, '=');
	size_t i;

	if (val == NULL)
		return err_set(err, ERR_USAGE, "fault: '%s' has no value "
		    "(key=value)", word);
	*val++ = '\0';
	for (i = 0; i < N_KEY; i++)
		if (strcmp(word, keys[i].name) == 0)
			break;
	if (i == N_KEY)
		return err_set(err, ERR_USAGE, "fault: no such key '%s'", word);
	if ((*seen >> i & 1) != 0)
		return err_set(err, ERR_USAGE, "fault: %s is there twice",
		    word);
	*seen |= 1u << i;
	return set(s, &keys[i], val, err);
}

static int
set_file(struct link_fault_spec *s, const char *text, size_t n,
    struct err *err)
{
	if (n == 0 || n >= sizeof(s->file))
		return err_set(err, ERR_USAGE, "fault: a file name of %zu "
		    "bytes, want 1 to %zu", n, sizeof(s->file) - 1);
	memcpy(s->file, text, n);
	return 0;
}

int
link_fault_spec_parse(const char *text, size_t n, struct link_fault_spec *s,
    struct err *err)
{
	const char *end = text + n, *comma;
	char word[WORD];
	unsigned seen = 0;
	size_t len;

	memset(s, 0, sizeof(*s));
	s->seed = 1;
	s->way[LINK_OUT] = s->way[LINK_IN] = true;
	if (n > 0 && text[0] == '@')
		return set_file(s, text + 1, n - 1, err);
	for (;;) {
		comma = memchr(text, ',', (size_t)(end - text));
		len = (size_t)((comma != NULL ? comma : end) - text);
		if (len == 0 || len >= sizeof(word))
			return err_set(err, ERR_USAGE, "fault: a part of %zu "
			    "bytes, want key=value,key=value", len);
		memcpy(word, text, len);
		word[len] = '\0';
		if (take(s, word, &seen, err) != 0)
			return -1;
		if (comma == NULL)
			break;
		text = comma + 1;
	}
	if (s->until_ns != 0 && s->until_ns <= s->after_ns)
		return err_set(err, ERR_USAGE, "fault: until is not later than "
		    "after");
	return 0;
}
