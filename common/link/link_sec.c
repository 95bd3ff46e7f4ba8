/* link_sec.c - F3.  The cluster's key: reading it, proving it; no state. */
#include "link_sec.h"

#include <string.h>

#include "addr.h"
#include "buf.h"
#include "mac.h"
#include "secret.h"
#include "tls.h"

#define MIN_KEY		32	/* characters: 128 bits even as hex */
#define LABEL		16

_Static_assert(LINK_SEC_KEY == MAC_BYTES && LINK_SEC_KEY == TLS_KEY,
    "one length of keys and proofs");

void
link_sec_key(struct link_sec *s, const void *key, size_t n)
{
	static const char proof[] = "moe/1 proof", tls[] = "moe/1 tls";

	mac_hmac(key, n, proof, sizeof(proof) - 1, s->proof_key);
	mac_hmac(key, n, tls, sizeof(tls) - 1, s->tls_key);
	s->psk = true;
}

static int
take_key(struct link_sec *s, char *text, const char *from, struct err *err)
{
	char *key = secret_line(&text);

	if (key == NULL || secret_line(&text) != NULL)
		return err_set(err, ERR_DATA, "key file %s holds %s, want one "
		    "key", from, key == NULL ? "none" : "several lines");
	if (strlen(key) < MIN_KEY)
		return err_set(err, ERR_DATA, "key file %s: a key of %zu "
		    "characters, want %d at least (moe-route key --psk makes "
		    "one)", from, strlen(key), MIN_KEY);
	link_sec_key(s, key, strlen(key));
	return 0;
}

int
link_sec_load(struct link_sec *s, const char *psk_file, int tls,
    bool insecure, struct err *err)
{
	struct str text = STR_INIT;
	bool open;
	int rc;

	memset(s, 0, sizeof(*s));
	s->tls = tls;
	s->insecure = insecure;
	if (psk_file == NULL)
		return tls != LINK_TLS_YES ? 0 : err_set(err, ERR_USAGE,
		    "--tls yes needs a key: --psk-file");
	if (mac_check(err) != 0 || secret_read(&text, psk_file, &open, err) != 0)
		return -1;
	if (open)
		rc = err_set(err, ERR_DATA, "key file %s can be read by "
		    "others: chmod 600 it", psk_file);
	else
		rc = take_key(s, text.p, psk_file, err);
	secret_free(&text);
	return rc;
}

void
link_sec_wipe(struct link_sec *s)
{
	explicit_bzero(s->proof_key, sizeof(s->proof_key));
	explicit_bzero(s->tls_key, sizeof(s->tls_key));
	s->psk = false;
}

bool
link_sec_bare(const struct link_sec *s, const char *addr)
{
	struct addr a;

	return !s->psk && addr_parse(addr, &a, NULL) == 0 &&
	    addr_resolve(&a, true, NULL) == 0 && !addr_is_local(&a);
}

void
link_sec_proof(const struct link_sec *s, enum link_sec_who who,
    const struct link_sec_said *said, uint8_t out[LINK_SEC_KEY])
{
	static const char label[][LABEL + 1] = {
		[LINK_SEC_CLIENT] = "moe/1 client    ",
		[LINK_SEC_SERVER] = "moe/1 server    ",
		[LINK_SEC_DATA] = "moe/1 data      ",
	};
	struct str all = STR_INIT;
	uint8_t n[4];

	str_add(&all, label[who], LABEL);
	str_add(&all, said->nonce, LINK_SEC_KEY);
	buf_set32(n, (uint32_t)said->n_hello);
	str_add(&all, n, sizeof(n));
	str_add(&all, said->hello, said->n_hello);
	str_add(&all, said->rest, said->n_rest);
	mac_hmac(s->proof_key, LINK_SEC_KEY, all.p, all.n, out);
	str_free(&all);
}
