/* mac_stub.c - F1.  A build without libcrypto: no hashed keys, no key between
 * peers. */
#include "mac.h"

int
mac_check(struct err *err)
{
	return err_set(err, ERR_UNAVAIL, "hashed keys, --psk-file and TLS need "
	    "OpenSSL, which this build has not");
}

void
mac_sha256(const void *p, size_t n, uint8_t out[MAC_BYTES])
{
	(void)p;
	(void)n;
	(void)out;
	BUG("mac_sha256 without libcrypto");
}

void
mac_hmac(const void *key, size_t n_key, const void *p, size_t n,
    uint8_t out[MAC_BYTES])
{
	(void)key;
	(void)n_key;
	(void)p;
	(void)n;
	(void)out;
	BUG("mac_hmac without libcrypto");
}

bool
mac_same(const void *a, const void *b, size_t n)
{
	(void)a;
	(void)b;
	(void)n;
	BUG("mac_same without libcrypto");
}
