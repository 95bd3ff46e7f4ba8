/* mac_ssl.c - F1.  mac.h by libcrypto; no state, any thread. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "mac.h"
#include "mem.h"

_Static_assert(MAC_BYTES == SHA256_DIGEST_LENGTH, "one hash everywhere");

int
mac_check(struct err *err)
{
	(void)err;
	return 0;
}

void
mac_sha256(const void *p, size_t n, uint8_t out[MAC_BYTES])
{
	if (EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) != 1)
		mem_must(NULL, 0);	/* nothing else can go wrong */
}

void
mac_hmac(const void *key, size_t n_key, const void *p, size_t n,
    uint8_t out[MAC_BYTES])
{
	mem_must(HMAC(EVP_sha256(), key, (int)n_key, p, n, out, NULL), 0);
}

bool
mac_same(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}
