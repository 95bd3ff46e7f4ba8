/*
 * link_sec - who may be a peer: the cluster's pre-shared key, the proof that a
 * peer has it, and where TLS is due.  moe-wire(7) has the bytes.
 *
 * With a key, each side of a pair proves in HELLO that it has it, before
 * anything else that it says is believed; over every transport.  Without one,
 * no link leaves this machine unless `insecure` says so.
 *
 * Floor F3; no state, any thread.
 */
#ifndef MOE_LINK_SEC_H
#define MOE_LINK_SEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define LINK_SEC_KEY	32	/* bytes of a derived key and of a proof */

/* Over tcp: only.  auto: between machines, if there is a key. */
enum link_tls { LINK_TLS_AUTO, LINK_TLS_YES, LINK_TLS_NO };
#define LINK_TLS_NAMES	"auto|yes|no"

/* What command lines say of it, in the same words everywhere: members of a
 * table of struct cli_opt (cli.h).  who: "peers and we"; bare: what --insecure
 * allows. */
struct link_sec_opt {
	const char *psk_file;	/* NULL: what the cluster file says, or none */
	int tls;		/* enum link_tls */
	bool insecure;
};
#define LINK_SEC_OPTIONS(o, who, bare)					\
	{ 0, "psk-file", CLI_STR, &(o)->psk_file, "FILE",		\
	    "key that " who " must have (or fd:N)", 0, 0,		\
	    "MOE_PSK_FILE" },						\
	{ 0, "tls", CLI_ENUM, &(o)->tls, LINK_TLS_NAMES,		\
	    "TLS on tcp: links (auto: with a key, between machines)",	\
	    0, 0, NULL },						\
	{ 0, "insecure", CLI_FLAG, &(o)->insecure, NULL, bare, 0, 0, NULL }

struct link_sec {		/* all zero: no key, loopback and shm: only */
	bool psk;		/* there is a key */
	bool insecure;		/* links may leave this machine without one */
	int tls;		/* enum link_tls */
	uint8_t proof_key[LINK_SEC_KEY], tls_key[LINK_SEC_KEY];
};

/*
 * Fill *s (all of it) from options.  psk_file: "FILE" or "fd:N" (read to its
 * end and closed), NULL: no key.  The key is the only line of it that is
 * neither blank nor a # comment, at least 32 characters; `moe-route key --psk`
 * makes one.  -1: ERR_USAGE (TLS wanted without a key), ERR_DATA (no such file,
 * no key in it, or others may read it), ERR_UNAVAIL (this build has no
 * OpenSSL).
 */
int	link_sec_load(struct link_sec *s, const char *psk_file, int tls,
	    bool insecure, struct err *err);
/* As above, from the n bytes of the key itself. */
void	link_sec_key(struct link_sec *s, const void *key, size_t n);
/* Forget the keys. */
void	link_sec_wipe(struct link_sec *s);

/* Does addr (as link_listen and link_dial take it) leave this machine although
 * there is no key?  What --insecure is to warn of.  Addresses that cannot be
 * looked up do not. */
bool	link_sec_bare(const struct link_sec *s, const char *addr);
#define LINK_SEC_BARE	"--insecure: whoever reaches %s, or the network on the"\
	" way, can read and change what travels, and take a peer's place"

/* ---- the proof; for link itself and its tests ---------------------------- */

enum link_sec_who {		/* who proves what */
	LINK_SEC_CLIENT = 1,	/* PROOF: rest is empty */
	LINK_SEC_SERVER = 2,	/* WELCOME: rest is what comes before the proof */
	LINK_SEC_DATA = 3,	/* DATA: rest is the token */
};

struct link_sec_said {		/* what both sides have seen */
	const void *nonce;	/* the server's, LINK_SEC_KEY bytes */
	const void *hello;	/* body of HELLO; holds the client's nonce */
	size_t n_hello;
	const void *rest;
	size_t n_rest;
};

void	link_sec_proof(const struct link_sec *s, enum link_sec_who who,
	    const struct link_sec_said *said, uint8_t out[LINK_SEC_KEY]);

#endif
