/* keys - see keys.h. */
#include "keys.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "mac.h"
#include "mem.h"
#include "secret.h"

#define HASHED	"sha256:"
#define BEARER	"Bearer "

struct entry {
	char *plain;		/* NULL: hashed */
	uint8_t salt[KEYS_SALT], hash[MAC_BYTES];
};

struct keys {
	VEC(struct entry) list;
};

/* ---- reading ------------------------------------------------------------ */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 2n digits; how many bytes of them were good. */
static size_t
from_hex(const char *s, uint8_t *out, size_t n)
{
	size_t i;
	int hi, lo;

	for (i = 0; i < n; i++) {
		hi = hex_digit(s[2 * i]);
		lo = hi < 0 ? -1 : hex_digit(s[2 * i + 1]);
		if (lo < 0)
			break;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return i;
}

static void
hash_of(const uint8_t salt[KEYS_SALT], const char *key,
    uint8_t out[MAC_BYTES])
{
	struct str s = STR_INIT;

	str_add(&s, salt, KEYS_SALT);
	str_adds(&s, key);
	mac_sha256(s.p, s.n, out);
	secret_free(&s);
}

static int
take_hash(struct entry *e, const char *line, const char *from,
    struct err *err)
{
	const char *salt = line + strlen(HASHED), *hash;

	if (mac_check(err) != 0)
		return -1;
	if (strlen(salt) == 2 * KEYS_SALT + 1 + 2 * MAC_BYTES &&
	    from_hex(salt, e->salt, KEYS_SALT) == KEYS_SALT &&
	    salt[2 * KEYS_SALT] == ':') {
		hash = salt + 2 * KEYS_SALT + 1;
		if (from_hex(hash, e->hash, MAC_BYTES) == MAC_BYTES)
			return 0;
	}
	return err_set(err, ERR_DATA, "key file %s: a line that begins with "
	    HASHED " is no hashed key (" HASHED "SALT:HASH, %d and %d "
	    "hexadecimal digits)", from, 2 * KEYS_SALT, 2 * MAC_BYTES);
}

static int
take_lines(struct keys *k, char *text, const char *from, bool open,
    struct err *err)
{
	struct entry e;
	char *line;

	while ((line = secret_line(&text)) != NULL) {
		memset(&e, 0, sizeof(e));
		if (strncmp(line, HASHED, strlen(HASHED)) == 0) {
			if (take_hash(&e, line, from, err) != 0)
				return -1;
		} else if (open) {
			return err_set(err, ERR_DATA, "key file %s holds plain "
			    "keys and can be read by others: chmod 600 it, or "
			    "keep hashed keys (moe-route key)", from);
		} else {
			e.plain = mem_strdup(line);
		}
		VEC_PUSH(&k->list, e);
	}
	if (k->list.n == 0)
		return err_set(err, ERR_DATA, "key file %s holds no key", from);
	return 0;
}

int
keys_load(struct keys **k_p, const char *from, struct err *err)
{
	struct keys *k = mem_zalloc(sizeof(*k));
	struct str s = STR_INIT;
	bool open = false;
	int rc = secret_read(&s, from, &open, err);

	if (rc == 0)
		rc = take_lines(k, s.p, from, open, err);
	secret_free(&s);
	if (rc != 0) {
		keys_free(k);
		return -1;
	}
	*k_p = k;
	return 0;
}

void
keys_free(struct keys *k)
{
	size_t i;

	if (k == NULL)
		return;
	for (i = 0; i < k->list.n; i++) {
		if (k->list.p[i].plain == NULL)
			continue;
		explicit_bzero(k->list.p[i].plain,
		    strlen(k->list.p[i].plain));
		mem_free(k->list.p[i].plain);
	}
	VEC_FREE(&k->list);
	mem_free(k);
}

size_t
keys_n(const struct keys *k)
{
	return k->list.n;
}

/* ---- comparing ---------------------------------------------------------- */

static bool
plain_is(const char *key, const char *given)
{
	size_t n = strlen(key), m = strlen(given), i;
	unsigned diff = n != m;

	for (i = 0; i < m; i++)
		diff |= (unsigned char)given[i] ^ (unsigned char)key[i % n];
	return diff == 0;
}

static bool
is_key(const struct entry *e, const char *given)
{
	uint8_t hash[MAC_BYTES];

	if (e->plain != NULL)
		return plain_is(e->plain, given);
	hash_of(e->salt, given, hash);
	return mac_same(hash, e->hash, MAC_BYTES);
}

bool
keys_admit(const struct keys *k, const char *authorization)
{
	bool good = false;
	size_t i;

	if (authorization == NULL ||
	    strncasecmp(authorization, BEARER, strlen(BEARER)) != 0)
		return false;
	for (i = 0; i < k->list.n; i++)
		good |= is_key(&k->list.p[i], authorization + strlen(BEARER));
	return good;
}

int
keys_line(const char *key, const unsigned char salt[KEYS_SALT],
    struct str *out, struct err *err)
{
	uint8_t hash[MAC_BYTES];
	size_t i;

	if (mac_check(err) != 0)
		return -1;
	hash_of(salt, key, hash);
	str_adds(out, HASHED);
	for (i = 0; i < KEYS_SALT; i++)
		str_addf(out, "%02x", salt[i]);
	str_addc(out, ':');
	for (i = 0; i < MAC_BYTES; i++)
		str_addf(out, "%02x", hash[i]);
	str_addc(out, '\n');
	return 0;
}
