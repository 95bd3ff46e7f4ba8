/*
 * tls - TLS 1.3 over a socket that does not block, with an external pre-shared
 * key and nothing else: no certificates, no tickets, no early data.  The key
 * exchange is ephemeral, so that a key that leaks later opens no recording.
 * Suites: TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256.
 *
 * The handshake runs within tls_read and tls_write.  By OpenSSL; a build
 * without it says so in mac_check, and tls_ctx_new fails.
 *
 * Internal to common/link.  Floor F3; a context is any thread's, a connection
 * one thread's at a time.
 */
#ifndef MOE_TLS_H
#define MOE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define TLS_KEY		32
#define TLS_FIRST_BYTE	0x16	/* of a client's first record */

struct tls_ctx;
struct tls;

/* rekey: after so many bytes (and fewer records than that) a sender takes new
 * traffic keys; 0: 64 GiB, far below what AES-GCM may see. */
int	tls_ctx_new(struct tls_ctx **x_p, const uint8_t key[TLS_KEY],
	    uint64_t rekey, struct err *err);
void	tls_ctx_free(struct tls_ctx *x);	/* NULL is fine */

/* Over fd, which stays the caller's.  client: who dialled. */
struct tls *tls_new(struct tls_ctx *x, int fd, bool client);
/* Says nothing to the peer.  NULL is fine. */
void	tls_free(struct tls *t);

/*
 * Like recv(2) and send(2) without blocking and without SIGPIPE: bytes, 0 at
 * the end (reading), or -1 with errno: EAGAIN, EPROTO (tls_why says), or the
 * socket's.  A tls_write that said EAGAIN is to be repeated with the same
 * bytes, at least as many of them, anywhere in memory.
 */
ssize_t	tls_read(struct tls *t, void *to, size_t max);
ssize_t	tls_write(struct tls *t, const void *from, size_t n);
/* After EAGAIN: is it room to write that is waited for?  Else bytes. */
bool	tls_wants_out(const struct tls *t);
/* The handshake is over: the peer has the key. */
bool	tls_is_up(const struct tls *t);
/* May bytes have arrived that no poll(2) would tell of? */
bool	tls_has_more(const struct tls *t);
/* Why the last call failed. */
const char *tls_why(const struct tls *t);

#endif
