/* at_defaults - see at_api.h: what generation_config.json says. */
#include <string.h>

#include "at_api.h"
#include "json.h"
#include "mem.h"
#include "str.h"

#define MAX_FILE	(1u << 20)

/* Settings that would change the answer and that this program lacks. */
static char *
name_lacking(const json_t *v)
{
	static const struct {
		const char *key;
		double neutral;
	} t[] = { { "repetition_penalty", 1 }, { "no_repeat_ngram_size", 0 },
	    { "typical_p", 1 }, { "epsilon_cutoff", 0 }, { "eta_cutoff", 0 },
	    { "num_beams", 1 } };
	struct str s = STR_INIT;
	const json_t *x;
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		x = json_object_get(v, t[i].key);
		if (json_is_number(x) && json_number_value(x) != t[i].neutral)
			str_addf(&s, "%s%s %g", s.n > 0 ? ", " : "", t[i].key,
			    json_number_value(x));
	}
	if (s.n == 0)
		return NULL;
	str_adds(&s, ": asked for by generation_config.json, not supported, "
	    "left out");
	return s.p;
}

int
at_defaults_load(struct at_defaults *d, const char *dir, char **warn,
    struct err *err)
{
	char *path = mem_printf("%s/generation_config.json", dir);
	bool missing = false;
	int64_t top_k = 0, max_tok = 0;
	struct json_src s = { NULL, path, "", ERR_DATA, err };
	json_t *v = json_want_file(path, MAX_FILE, &missing, err);
	int rc = missing ? 0 : -1;

	memset(d, 0, sizeof(*d));
	d->temperature = d->top_p = 1;
	*warn = NULL;
	if (v != NULL) {
		s.obj = v;
		rc = json_may_real(&s, "temperature", 0, 100, &d->temperature) ||
		    json_may_real(&s, "top_p", 1e-6, 1, &d->top_p) ||
		    json_may_real(&s, "min_p", 0, 1, &d->min_p) ||
		    json_may_int(&s, "top_k", -1, INT32_MAX, &top_k) ||
		    json_may_int(&s, "max_new_tokens", 1, 1 << 30, &max_tok) ?
		    -1 : 0;
		d->top_k = top_k > 0 ? (int)top_k : 0;
		d->max_tok = (int)max_tok;
		if (rc == 0)
			*warn = name_lacking(v);
		json_decref(v);
	}
	mem_free(path);
	return rc;
}
