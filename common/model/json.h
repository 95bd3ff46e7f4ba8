/*
 * json - reading JSON objects with errors that a person can act on.
 *
 * Works on jansson values.  Every getter names the place, the key and the bad
 * value in its error, so that callers only return -1.  Used for the files of
 * a checkpoint and for request bodies.  No state; thread-safe.
 */
#ifndef MOE_JSON_H
#define MOE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* An object being read.  where is what errors begin with (a file name, "the
 * request"); at is the path of obj within it ("" or "rope_scaling."). */
struct json_src {
	const json_t *obj;
	const char *where, *at;
	int code;		/* enum err_code of a bad value; 0: ERR_DATA */
	struct err *err;
};

/* json_loadb with these flags; a text with integers beyond 64 bits, as files
 * written from Python have (a "model_max_length" of 1e30), is read with reals. */
json_t	*json_parse(const char *text, size_t n, size_t flags,
	    json_error_t *je);
/* Parse text of n bytes, which must be one object without duplicate keys.
 * NULL and err (code, or ERR_DATA when code is 0) otherwise, its text beginning
 * with where.  The caller calls json_decref. */
json_t	*json_want_text(const char *text, size_t n, const char *where, int code,
	    struct err *err);
/* The same for a file of at most max bytes.  A file that is not there is an
 * error too, unless missing_p is given: then *missing_p = true and NULL. */
json_t	*json_want_file(const char *path, size_t max, bool *missing_p,
	    struct err *err);

/*
 * Getters.  json_want_*: the key must be there.  json_may_*: an absent key or
 * null leaves *out as it is.  A wrong type or a value out of range is an error
 * in both.  Return 0, or -1 with err filled.  Strings belong to the object.
 */
int	json_want_int(const struct json_src *s, const char *key, int64_t lo,
	    int64_t hi, int64_t *out);
int	json_may_int(const struct json_src *s, const char *key, int64_t lo,
	    int64_t hi, int64_t *out);
/* Finite, lo..hi inclusive; an integer counts as a real. */
int	json_want_real(const struct json_src *s, const char *key, double lo,
	    double hi, double *out);
int	json_may_real(const struct json_src *s, const char *key, double lo,
	    double hi, double *out);
int	json_want_bool(const struct json_src *s, const char *key, bool *out);
int	json_may_bool(const struct json_src *s, const char *key, bool *out);
int	json_want_str(const struct json_src *s, const char *key,
	    const char **out);
int	json_may_str(const struct json_src *s, const char *key,
	    const char **out);
/* The value of key as an object or array; *out = NULL when absent or null. */
int	json_may_obj(const struct json_src *s, const char *key,
	    const json_t **out);
int	json_may_array(const struct json_src *s, const char *key,
	    const json_t **out);

/* Fill err with "where: at.key: text"; returns -1. */
int	json_want_fail(const struct json_src *s, const char *key,
	    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The value as compact JSON, cut to out's size, for messages. */
const char *json_want_show(const json_t *v, char *out, size_t n);

#endif
