/* tls_stub.c - F3.  A build without OpenSSL: no key can be loaded there, so no
 * port has a context. */
#include "mac.h"
#include "tls.h"

int
tls_ctx_new(struct tls_ctx **x_p, const uint8_t key[TLS_KEY], uint64_t rekey,
    struct err *err)
{
	(void)x_p;
	(void)key;
	(void)rekey;
	return mac_check(err);
}

void
tls_ctx_free(struct tls_ctx *x)
{
	(void)x;
}

struct tls *
tls_new(struct tls_ctx *x, int fd, bool client)
{
	(void)x;
	(void)fd;
	(void)client;
	return NULL;
}

void
tls_free(struct tls *t)
{
	(void)t;
}

ssize_t
tls_read(struct tls *t, void *to, size_t max)
{
	(void)t;
	(void)to;
	(void)max;
	return -1;
}

ssize_t
tls_write(struct tls *t, const void *from, size_t n)
{
	(void)t;
	(void)from;
	(void)n;
	return -1;
}

bool
tls_wants_out(const struct tls *t)
{
	(void)t;
	return false;
}

bool
tls_is_up(const struct tls *t)
{
	(void)t;
	return false;
}

bool
tls_has_more(const struct tls *t)
{
	(void)t;
	return false;
}

const char *
tls_why(const struct tls *t)
{
	(void)t;
	return "";
}
