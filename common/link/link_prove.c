/*
 * link_prove.c - F3.  The part of the hand-shake that needs the cluster's key:
 * CHALLENGE and PROOF, the server's proof in WELCOME, the first bytes of TLS.
 * Control thread, lock held.
 *
 * Every proof covers HELLO as it was sent and the server's fresh nonce, under a
 * label that says who proves what: a recorded PROOF fits no other challenge,
 * and a server's own proof is never taken for a client's.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "link_port.h"
#include "mac.h"

/* ---- TLS ----------------------------------------------------------------------------- */

/* Does c's other end sit on another machine? */
static bool
is_far(const struct link_conn *c)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNIX };
	socklen_t n = sizeof(sa);

	return getpeername(c->fd, (struct sockaddr *)&sa, &n) == 0 &&
	    !addr_is_loopback((struct sockaddr *)&sa);
}

/* Must c be encrypted? */
static bool
must_tls(const struct link_conn *c)
{
	return c->tp->net && c->port->tls != NULL &&
	    (c->port->opt.sec.tls == LINK_TLS_YES || is_far(c));
}

void
link_prove_dialled(struct link_conn *c)
{
	if (must_tls(c))
		c->tls = tls_new(c->port->tls, c->fd, true);
}

void
link_prove_sniff(struct link_conn *c)
{
	uint8_t first;
	ssize_t n;

	if (!c->tp->net) {
		c->sniffed = true;
		return;
	}
	n = recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	c->sniffed = true;
	if (n == 1 && first == TLS_FIRST_BYTE && c->port->tls == NULL)
		link_shake_refuse(c, "tls: this side has no key, or --tls no");
	else if (n == 1 && first == TLS_FIRST_BYTE)
		c->tls = tls_new(c->port->tls, c->fd, false);
}

/* ---- proofs ---------------------------------------------------------------------------- */

static void
prove(const struct link_conn *c, enum link_sec_who who, const void *rest,
    size_t n_rest, uint8_t out[MSG_PROOF])
{
	const struct link_sec_said said = { c->nonce, c->hello.p, c->hello.n,
	    rest, n_rest };

	link_sec_proof(&c->port->opt.sec, who, &said, out);
}

bool
link_prove_asked(struct link_conn *c)
{
	const char *me = c->port->opt.me.name;
	struct err err = ERR_INIT;

	if (c->tls == NULL && must_tls(c))
		err_set(&err, ERR_DATA, "tls: '%s' takes no links in the clear "
		    "here, '%s' dials without TLS", me, c->peer.name);
	else if (!c->port->opt.sec.psk)
		return true;
	else if (!msg_has_nonce(&c->peer))
		err_set(&err, ERR_DATA, "psk: '%s' wants a proof of the "
		    "cluster's key, '%s' gives none (--psk-file)", me,
		    c->peer.name);
	else if (getrandom(c->nonce, MSG_PROOF, 0) != MSG_PROOF)
		err_set(&err, ERR_TEMP, "no random numbers");
	if (err.code != 0) {
		link_shake_refuse(c, err.text);
		return false;
	}
	c->state = LINK_C_PROOF;
	link_conn_send(c, FRAME_CHALLENGE, 0, c->nonce, MSG_PROOF, 0);
	return false;
}

void
link_prove_answer(struct link_conn *c)
{
	static const uint8_t none[MSG_PROOF];
	uint8_t proof[MSG_PROOF];

	if (!c->port->opt.sec.psk || c->f.length != MSG_PROOF ||
	    memcmp(c->nonce, none, MSG_PROOF) != 0) {
		link_conn_fail(c, true, "frame: challenge out of turn, or with "
		    "%u bytes", c->f.length);
		return;
	}
	memcpy(c->nonce, c->body, MSG_PROOF);
	prove(c, LINK_SEC_CLIENT, "", 0, proof);
	link_conn_send(c, FRAME_PROOF, 0, proof, MSG_PROOF, 0);
}

bool
link_prove_check(struct link_conn *c)
{
	uint8_t want[MSG_PROOF];
	struct err err = ERR_INIT;

	prove(c, LINK_SEC_CLIENT, "", 0, want);
	if (c->f.length == MSG_PROOF && mac_same(want, c->body, MSG_PROOF))
		return true;
	err_set(&err, ERR_DATA, "psk: '%s' has another key than '%s'",
	    c->peer.name, c->port->opt.me.name);
	link_shake_refuse(c, err.text);
	return false;
}

void
link_prove_welcome(const struct link_conn *c, struct str *body)
{
	uint8_t proof[MSG_PROOF];

	if (!c->port->opt.sec.psk)
		return;
	prove(c, LINK_SEC_SERVER, body->p, body->n, proof);
	msg_put_proof(body, proof);
}

int
link_prove_server(const struct link_conn *c, struct err *err)
{
	const char *me = c->port->opt.me.name;
	uint8_t want[MSG_PROOF];
	struct str tail = STR_INIT;
	size_t n = c->f.length;
	bool good;

	if (!c->port->opt.sec.psk)
		return 0;
	if (n < MSG_PROOF_FIELD)
		return err_set(err, ERR_DATA, "psk: '%s' gives no proof of the "
		    "cluster's key, '%s' wants one", c->peer.name, me);
	n -= MSG_PROOF_FIELD;
	prove(c, LINK_SEC_SERVER, c->body, n, want);
	msg_put_proof(&tail, want);
	good = mac_same(tail.p, c->body + n, MSG_PROOF_FIELD);
	str_free(&tail);
	if (good)
		return 0;
	return err_set(err, ERR_DATA, "psk: '%s' has another key than '%s', or "
	    "none", c->peer.name, me);
}

size_t
link_prove_data(const struct link_conn *c, const uint8_t *token,
    uint8_t out[MSG_TOKEN + MSG_PROOF])
{
	memcpy(out, token, MSG_TOKEN);
	if (!c->port->opt.sec.psk)
		return MSG_TOKEN;
	prove(c, LINK_SEC_DATA, token, MSG_TOKEN, out + MSG_TOKEN);
	return MSG_TOKEN + MSG_PROOF;
}
