/*
 * keys - which HTTP clients may come in: the file of --api-key-file.
 *
 *     # comment
 *     a-plain-key
 *     sha256:SALT:HASH
 *
 * SALT and HASH are hexadecimal; HASH is SHA-256 of the salt's 16 bytes and
 * the key.  Keys are random and long (`moe-route key` makes them), so nobody
 * guesses them offline, and a slow hash would only slow down requests.
 *
 * Floor F2; the loop's thread only.
 */
#ifndef MOE_KEYS_H
#define MOE_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

#define KEYS_SALT	16	/* bytes */

struct keys;

/*
 * from: "FILE" or "fd:N".  -1: ERR_DATA: not there, no key in it, a line that
 * is no hash, or plain keys in a file that others may read; ERR_UNAVAIL: a
 * hashed key in a build without OpenSSL.
 */
int	keys_load(struct keys **k_p, const char *from, struct err *err);
void	keys_free(struct keys *k);	/* wipes; NULL is fine */
size_t	keys_n(const struct keys *k);

/* Does this Authorization header ("Bearer KEY"; NULL: there is none) hold one
 * of the keys?  In a time that does not tell how much of it is right. */
bool	keys_admit(const struct keys *k, const char *authorization);

/* Append the line of a key with that salt, and a newline.  -1: ERR_UNAVAIL. */
int	keys_line(const char *key, const unsigned char salt[KEYS_SALT],
	    struct str *out, struct err *err);

#endif
