/* tls_ssl.c - F3.  tls.h by libssl. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "mem.h"
#include "tls.h"

#define IDENTITY	"moe"
#define REKEY_BYTES	(64ull << 30)

struct tls_ctx {
	SSL_CTX *ssl;
	BIO_METHOD *bio;
	uint8_t key[TLS_KEY];
	uint64_t rekey;
};

struct tls {
	struct tls_ctx *x;
	SSL *ssl;
	int fd;
	int sys;		/* errno of the socket's last failure, or 0 */
	bool eof, wants_out;
	uint64_t sent;		/* bytes under the keys in use, each write
				 * counted as a full record at least */
	char why[200];
};

/* ---- the socket as OpenSSL sees it: never blocks, never raises SIGPIPE --------- */

static int
failed(BIO *b, struct tls *t)
{
	if (errno == EAGAIN || errno == EINTR)
		return 1;
	t->sys = errno;
	(void)b;
	return 0;
}

static int
bio_write(BIO *b, const char *p, int n)
{
	struct tls *t = BIO_get_data(b);
	ssize_t done = send(t->fd, p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);

	BIO_clear_retry_flags(b);
	if (done < 0 && failed(b, t))
		BIO_set_retry_write(b);
	return (int)done;
}

static int
bio_read(BIO *b, char *p, int n)
{
	struct tls *t = BIO_get_data(b);
	ssize_t got = recv(t->fd, p, (size_t)n, MSG_DONTWAIT);

	BIO_clear_retry_flags(b);
	if (got < 0 && failed(b, t))
		BIO_set_retry_read(b);
	if (got == 0)
		t->eof = true;
	return (int)got;
}

static long
bio_ctrl(BIO *b, int cmd, long num, void *p)
{
	(void)b;
	(void)num;
	(void)p;
	return cmd == BIO_CTRL_FLUSH;
}

/* ---- the key ----------------------------------------------------------------------- */

static SSL_SESSION *
session(SSL *ssl)
{
	static const unsigned char suite[] = { 0x13, 0x01 };
	struct tls_ctx *x = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const SSL_CIPHER *c = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *s = SSL_SESSION_new();

	if (s == NULL || c == NULL ||
	    SSL_SESSION_set1_master_key(s, x->key, TLS_KEY) != 1 ||
	    SSL_SESSION_set_cipher(s, c) != 1 ||
	    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) != 1) {
		SSL_SESSION_free(s);
		return NULL;
	}
	return s;
}

static int
use_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_n,
    SSL_SESSION **s)
{
	(void)md;	/* both suites have the same hash */
	*id = (const unsigned char *)IDENTITY;
	*id_n = strlen(IDENTITY);
	*s = session(ssl);
	return *s != NULL;
}

/* Another identity leaves *s NULL: a handshake without a key, which fails for
 * want of a certificate. */
static int
find_key(SSL *ssl, const unsigned char *id, size_t id_n, SSL_SESSION **s)
{
	*s = NULL;
	if (id_n != strlen(IDENTITY) || memcmp(id, IDENTITY, id_n) != 0)
		return 1;
	*s = session(ssl);
	return *s != NULL;
}

/* ---- contexts ------------------------------------------------------------------------ */

static int
set_up(struct tls_ctx *x)
{
	x->bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
	    "moe socket");
	x->ssl = SSL_CTX_new(TLS_method());
	if (x->bio == NULL || x->ssl == NULL ||
	    BIO_meth_set_write(x->bio, bio_write) != 1 ||
	    BIO_meth_set_read(x->bio, bio_read) != 1 ||
	    BIO_meth_set_ctrl(x->bio, bio_ctrl) != 1 ||
	    SSL_CTX_set_min_proto_version(x->ssl, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(x->ssl, "TLS_AES_128_GCM_SHA256:"
	    "TLS_CHACHA20_POLY1305_SHA256") != 1 ||
	    SSL_CTX_set_num_tickets(x->ssl, 0) != 1)
		return -1;
	SSL_CTX_set_app_data(x->ssl, x);
	SSL_CTX_set_mode(x->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(x->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(x->ssl, 1);
	SSL_CTX_set_psk_use_session_callback(x->ssl, use_key);
	SSL_CTX_set_psk_find_session_callback(x->ssl, find_key);
	return 0;
}

int
tls_ctx_new(struct tls_ctx **x_p, const uint8_t key[TLS_KEY], uint64_t rekey,
    struct err *err)
{
	struct tls_ctx *x = mem_zalloc(sizeof(*x));
	const char *why;

	memcpy(x->key, key, TLS_KEY);
	x->rekey = rekey != 0 ? rekey : REKEY_BYTES;
	if (set_up(x) != 0) {
		tls_ctx_free(x);
		why = ERR_reason_error_string(ERR_get_error());
		ERR_clear_error();
		return err_set(err, ERR_UNAVAIL, "tls: OpenSSL does not give "
		    "TLS 1.3: %s", why != NULL ? why : "no memory");
	}
	*x_p = x;
	return 0;
}

void
tls_ctx_free(struct tls_ctx *x)
{
	if (x == NULL)
		return;
	SSL_CTX_free(x->ssl);
	BIO_meth_free(x->bio);
	explicit_bzero(x->key, sizeof(x->key));
	mem_free(x);
}

/* ---- connections ----------------------------------------------------------------------- */

struct tls *
tls_new(struct tls_ctx *x, int fd, bool client)
{
	struct tls *t = mem_zalloc(sizeof(*t));
	BIO *b = mem_must(BIO_new(x->bio), 0);

	t->x = x;
	t->fd = fd;
	t->ssl = mem_must(SSL_new(x->ssl), 0);
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	SSL_set_bio(t->ssl, b, b);
	if (client) {
		/* A certificate instead of the key: there is none to trust. */
		SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
		SSL_set_connect_state(t->ssl);
	} else {
		SSL_set_accept_state(t->ssl);
	}
	return t;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	mem_free(t);
}

/* Before a call: what is said afterwards is this call's. */
static void
begin(struct tls *t)
{
	ERR_clear_error();
	t->sys = 0;
	t->wants_out = false;
}

/* A call gave rc <= 0: what read or write is to give. */
static ssize_t
no_bytes(struct tls *t, int rc)
{
	int what = SSL_get_error(t->ssl, rc);
	const char *why;

	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
		t->wants_out = what == SSL_ERROR_WANT_WRITE;
		errno = EAGAIN;
		return -1;
	}
	if (what == SSL_ERROR_ZERO_RETURN || (t->eof && t->sys == 0)) {
		snprintf(t->why, sizeof(t->why), "the peer closed the "
		    "connection");
		errno = ECONNRESET;
		return 0;
	}
	why = ERR_reason_error_string(ERR_get_error());
	snprintf(t->why, sizeof(t->why), "%s", t->sys != 0 ?
	    strerror(t->sys) : why != NULL ? why : "TLS failed");
	errno = t->sys != 0 ? t->sys : EPROTO;
	return -1;
}

ssize_t
tls_read(struct tls *t, void *to, size_t max)
{
	size_t n;
	int rc;

	begin(t);
	rc = SSL_read_ex(t->ssl, to, max, &n);
	return rc == 1 ? (ssize_t)n : no_bytes(t, rc);
}

/* New traffic keys go out with the next record. */
static void
rekey(struct tls *t)
{
	if (t->sent >= t->x->rekey && SSL_is_init_finished(t->ssl) &&
	    SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
		t->sent = 0;
}

ssize_t
tls_write(struct tls *t, const void *from, size_t n)
{
	size_t done;
	ssize_t got;
	int rc;

	begin(t);
	rekey(t);
	rc = SSL_write_ex(t->ssl, from, n, &done);
	if (rc == 1) {
		t->sent += done > SSL3_RT_MAX_PLAIN_LENGTH ? done :
		    SSL3_RT_MAX_PLAIN_LENGTH;
		return (ssize_t)done;
	}
	got = no_bytes(t, rc);
	return got == 0 ? -1 : got;
}

bool
tls_wants_out(const struct tls *t)
{
	return t->wants_out;
}

bool
tls_is_up(const struct tls *t)
{
	return SSL_is_init_finished(t->ssl) == 1;
}

bool
tls_has_more(const struct tls *t)
{
	return SSL_has_pending(t->ssl) == 1;
}

const char *
tls_why(const struct tls *t)
{
	return t->why;
}
