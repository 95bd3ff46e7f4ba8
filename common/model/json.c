/* json - see json.h.  Floor F4; no state, thread-safe. */
#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mem.h"
#include "str.h"

#define SHOW_BYTES	64
/* Integers up to here are exact as doubles. */
#define EXACT		9007199254740992.0

/* jansson does not survive that it gets no memory (its reader goes on with half
 * a string), so it stops as everything else here does. */
__attribute__((constructor)) static void
json_memory(void)
{
	json_set_alloc_funcs(mem_alloc, mem_free);
}

static int
code_of(int code)
{
	return code != 0 ? code : ERR_DATA;
}

json_t *
json_parse(const char *text, size_t n, size_t flags, json_error_t *je)
{
	json_t *v = json_loadb(text, n, flags, je);

	if (v == NULL && json_error_code(je) == json_error_numeric_overflow)
		v = json_loadb(text, n, flags | JSON_DECODE_INT_AS_REAL, je);
	return v;
}

json_t *
json_want_text(const char *text, size_t n, const char *where, int code,
    struct err *err)
{
	json_error_t je;
	json_t *v = json_parse(text, n, JSON_REJECT_DUPLICATES, &je);

	if (v == NULL) {
		err_set(err, code_of(code), "%s: line %d: not valid JSON: %s",
		    where, je.line, je.text);
		return NULL;
	}
	if (!json_is_object(v)) {
		json_decref(v);
		err_set(err, code_of(code), "%s: not a JSON object", where);
		return NULL;
	}
	return v;
}

json_t *
json_want_file(const char *path, size_t max, bool *missing_p, struct err *err)
{
	struct str s = STR_INIT;
	struct stat st;
	json_t *v;

	if (missing_p != NULL)
		*missing_p = false;
	/* A pipe would be waited for. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		err_set(err, ERR_DATA, "%s: not a regular file", path);
		return NULL;
	}
	if (str_read_file(&s, path, max) != 0) {
		if (errno == ENOENT && missing_p != NULL)
			*missing_p = true;
		else
			err_sys(err, ERR_DATA, errno, "%s", path);
		str_free(&s);
		return NULL;
	}
	v = json_want_text(str_c(&s), s.n, path, ERR_DATA, err);
	str_free(&s);
	return v;
}

int
json_want_fail(const struct json_src *s, const char *key, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(s->err, code_of(s->code), "%s: %s%s: %s", s->where,
	    s->at, key, text);
}

const char *
json_want_show(const json_t *v, char *out, size_t n)
{
	size_t len = json_dumpb(v, out, n, JSON_ENCODE_ANY | JSON_COMPACT);

	if (len == 0)
		snprintf(out, n, "?");
	else if (len < n)
		out[len] = '\0';
	else {
		/* json_dumpb says how much it needs and may write nothing. */
		char *all = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

		snprintf(out, n, "%s", all != NULL ? all : "?");
		out[str_utf8_whole(out, strlen(out))] = '\0';
		free(all);
	}
	return out;
}

/* The value of key, or NULL when absent or null; absence is an error when
 * must.  Returns 0 or -1. */
static int
get(const struct json_src *s, const char *key, bool must, const json_t **v_p)
{
	*v_p = json_object_get(s->obj, key);
	if (json_is_null(*v_p))
		*v_p = NULL;
	if (*v_p == NULL && must)
		return json_want_fail(s, key, "missing");
	return 0;
}

static int
bad(const struct json_src *s, const char *key, const json_t *v,
    const char *want)
{
	char show[SHOW_BYTES];

	return json_want_fail(s, key, "%s is not %s",
	    json_want_show(v, show, sizeof(show)), want);
}

/* v as an integer; an integral real counts. */
static bool
as_int(const json_t *v, int64_t *out)
{
	double d;

	if (json_is_integer(v)) {
		*out = json_integer_value(v);
		return true;
	}
	if (!json_is_real(v))
		return false;
	d = json_real_value(v);
	if (!(d >= -EXACT && d <= EXACT) || d != floor(d))
		return false;
	*out = (int64_t)d;
	return true;
}

struct int_range {
	int64_t lo, hi;
};

static int
get_int(const struct json_src *s, const char *key, bool must,
    struct int_range r, int64_t *out)
{
	char want[96];
	const json_t *v;
	int64_t i;

	if (get(s, key, must, &v) != 0)
		return -1;
	if (v == NULL)
		return 0;
	if (!as_int(v, &i) || i < r.lo || i > r.hi) {
		snprintf(want, sizeof(want), "an integer from %lld to %lld",
		    (long long)r.lo, (long long)r.hi);
		return bad(s, key, v, want);
	}
	*out = i;
	return 0;
}

int
json_want_int(const struct json_src *s, const char *key, int64_t lo,
    int64_t hi, int64_t *out)
{
	return get_int(s, key, true, (struct int_range){ lo, hi }, out);
}

int
json_may_int(const struct json_src *s, const char *key, int64_t lo,
    int64_t hi, int64_t *out)
{
	return get_int(s, key, false, (struct int_range){ lo, hi }, out);
}

struct real_range {
	double lo, hi;
};

static int
get_real(const struct json_src *s, const char *key, bool must,
    struct real_range r, double *out)
{
	char want[96];
	const json_t *v;
	double d;

	if (get(s, key, must, &v) != 0)
		return -1;
	if (v == NULL)
		return 0;
	d = json_number_value(v);
	if (!json_is_number(v) || !isfinite(d) || d < r.lo || d > r.hi) {
		snprintf(want, sizeof(want), "a number from %g to %g", r.lo,
		    r.hi);
		return bad(s, key, v, want);
	}
	*out = d;
	return 0;
}

int
json_want_real(const struct json_src *s, const char *key, double lo, double hi,
    double *out)
{
	return get_real(s, key, true, (struct real_range){ lo, hi }, out);
}

int
json_may_real(const struct json_src *s, const char *key, double lo, double hi,
    double *out)
{
	return get_real(s, key, false, (struct real_range){ lo, hi }, out);
}

static int
get_bool(const struct json_src *s, const char *key, bool must, bool *out)
{
	const json_t *v;

	if (get(s, key, must, &v) != 0)
		return -1;
	if (v == NULL)
		return 0;
	if (!json_is_boolean(v))
		return bad(s, key, v, "true or false");
	*out = json_is_true(v);
	return 0;
}

int
json_want_bool(const struct json_src *s, const char *key, bool *out)
{
	return get_bool(s, key, true, out);
}

int
json_may_bool(const struct json_src *s, const char *key, bool *out)
{
	return get_bool(s, key, false, out);
}

static int
get_str(const struct json_src *s, const char *key, bool must, const char **out)
{
	const json_t *v;

	if (get(s, key, must, &v) != 0)
		return -1;
	if (v == NULL)
		return 0;
	if (!json_is_string(v))
		return bad(s, key, v, "a string");
	*out = json_string_value(v);
	return 0;
}

int
json_want_str(const struct json_src *s, const char *key, const char **out)
{
	return get_str(s, key, true, out);
}

int
json_may_str(const struct json_src *s, const char *key, const char **out)
{
	return get_str(s, key, false, out);
}

int
json_may_obj(const struct json_src *s, const char *key, const json_t **out)
{
	if (get(s, key, false, out) != 0)
		return -1;
	if (*out != NULL && !json_is_object(*out))
		return bad(s, key, *out, "an object");
	return 0;
}

int
json_may_array(const struct json_src *s, const char *key, const json_t **out)
{
	if (get(s, key, false, out) != 0)
		return -1;
	if (*out != NULL && !json_is_array(*out))
		return bad(s, key, *out, "an array");
	return 0;
}
