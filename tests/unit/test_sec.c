/*
 * Tests of the cluster's key: files, the proof of HELLO against a peer written
 * by hand from moe-wire(7) (wrong key, replay, reflection, downgrade, cut
 * frames), and TLS.
 */
#include <arpa/inet.h>
#include <fcntl.h>

#include "link_raw.h"
#include "mac.h"
#include "tap.h"
#include "tls.h"

static const char key_a[] = "0123456789abcdef0123456789abcdef";
static const char key_b[] = "0123456789abcdef0123456789abcdeF";

static struct link_opt
with_key(enum link_role role, const char *name, const char *key, int tls)
{
	struct link_opt o = rig_opt(role, name);

	if (key != NULL)
		link_sec_key(&o.sec, key, strlen(key));
	o.sec.tls = tls;
	return o;
}

/* ---- key files ---------------------------------------------------------------------- */

static int
load(const char *text, mode_t mode, int tls, struct link_sec *s,
    struct err *err)
{
	char *path = mem_printf("%s/key", rig_dir);
	FILE *f = fopen(path, "w");
	int rc;

	fputs(text, f);
	fclose(f);
	chmod(path, mode);
	rc = link_sec_load(s, path, tls, false, err);
	unlink(path);
	mem_free(path);
	return rc;
}

static void
test_files(void)
{
	struct link_sec s, t = { 0 };
	struct err err = ERR_INIT;
	char *text = mem_printf("# of the lab\n\n  %s \n", key_a), from[32];
	int fd[2];

	link_sec_key(&t, key_a, strlen(key_a));
	OK(load(text, 0600, LINK_TLS_AUTO, &s, &err) == 0 && s.psk &&
	    memcmp(s.proof_key, t.proof_key, LINK_SEC_KEY) == 0 &&
	    memcmp(s.tls_key, t.tls_key, LINK_SEC_KEY) == 0,
	    "the key of a file, without comments and blanks");
	OK(memcmp(s.proof_key, s.tls_key, LINK_SEC_KEY) != 0,
	    "TLS and proofs have keys of their own");
	OK(load(text, 0640, LINK_TLS_AUTO, &s, &err) == -1 &&
	    err.code == ERR_DATA && strstr(err.text, "chmod 600") != NULL &&
	    !s.psk, "a file that others may read is refused");
	OK(load("short\n", 0600, LINK_TLS_AUTO, &s, &err) == -1 &&
	    err.code == ERR_DATA, "a short key is refused");
	OK(load("# nothing\n", 0600, LINK_TLS_AUTO, &s, &err) == -1 &&
	    err.code == ERR_DATA, "a file without a key is refused");
	OK(load("0123456789abcdef0123456789abcdef\nx\n", 0600, LINK_TLS_AUTO,
	    &s, &err) == -1, "and one with two lines");
	OK(link_sec_load(&s, NULL, LINK_TLS_YES, false, &err) == -1 &&
	    err.code == ERR_USAGE, "TLS without a key is refused");
	OK(link_sec_load(&s, "/nonexistent", LINK_TLS_AUTO, false, &err) ==
	    -1 && err.code == ERR_DATA, "a file that is not there");
	OK(link_sec_load(&s, "fd:x", LINK_TLS_AUTO, false, &err) == -1 &&
	    err.code == ERR_USAGE, "fd: wants a number");
	if (pipe(fd) != 0 || write(fd[1], text, strlen(text)) < 0)
		exit(1);
	close(fd[1]);
	snprintf(from, sizeof(from), "fd:%d", fd[0]);
	OK(link_sec_load(&s, from, LINK_TLS_AUTO, false, &err) == 0 &&
	    memcmp(s.proof_key, t.proof_key, LINK_SEC_KEY) == 0 &&
	    fcntl(fd[0], F_GETFD) == -1, "a key from a descriptor, closed");
	link_sec_wipe(&s);
	OK(!s.psk && s.proof_key[0] == 0 && s.tls_key[31] == 0, "wiped");
	mem_free(text);
}

/* What another implementation makes of the bytes that moe-wire(7) says. */
static void
test_vector(void)
{
	static const uint8_t want[][LINK_SEC_KEY] = {
		{ 0x3d, 0x44, 0x17, 0xed, 0x21, 0x39, 0x26, 0xf9, 0x67, 0x17,
		    0x97, 0x04, 0x93, 0x64, 0xfb, 0x73, 0x88, 0x5d, 0x45, 0x47,
		    0x27, 0xc3, 0x75, 0x6c, 0xe0, 0xca, 0x97, 0x93, 0xbc, 0xf0,
		    0x7a, 0xcb },
		{ 0x28, 0x27, 0xfa, 0xf3, 0x71, 0x50, 0x64, 0x57, 0x28, 0x7b,
		    0x12, 0xb5, 0x8e, 0x3d, 0xa1, 0xfb, 0x01, 0xca, 0xa1, 0xdd,
		    0xad, 0x6a, 0xfb, 0x66, 0x9d, 0xfd, 0x78, 0x92, 0xae, 0xbb,
		    0xfe, 0x3b },
		{ 0x88, 0xf8, 0xf5, 0x4e, 0x28, 0xc0, 0xe2, 0x99, 0x94, 0x10,
		    0x28, 0xc3, 0x5e, 0xe9, 0x85, 0x6e, 0xea, 0xaf, 0x66, 0xd0,
		    0xf7, 0x67, 0xdf, 0xb8, 0xb0, 0x31, 0x38, 0xba, 0x2a, 0x61,
		    0x22, 0x7d },
		{ 0x2d, 0xed, 0xc3, 0x8a, 0x70, 0xaa, 0x22, 0xaf, 0x1e, 0xc1,
		    0x97, 0x33, 0x75, 0xb8, 0x41, 0x16, 0x09, 0xe2, 0x5f, 0x8b,
		    0x9f, 0xba, 0x42, 0xfb, 0x09, 0x01, 0xb7, 0x3e, 0x2f, 0x43,
		    0x55, 0x7b },
		{ 0x05, 0x59, 0x85, 0xef, 0x82, 0x65, 0xa8, 0x96, 0x9f, 0x17,
		    0xf7, 0xb3, 0xdc, 0x41, 0x4c, 0x8a, 0x3c, 0x73, 0x63, 0x7f,
		    0x33, 0xb5, 0x5e, 0xdf, 0x67, 0xa7, 0x06, 0x3d, 0x77, 0x31,
		    0xef, 0x7c },
	};
	uint8_t nonce[LINK_SEC_KEY], out[LINK_SEC_KEY];
	struct link_sec_said said = { nonce, "hello", 5, "rest", 4 };
	struct link_sec s = { 0 };
	int i;

	for (i = 0; i < LINK_SEC_KEY; i++)
		nonce[i] = (uint8_t)i;
	link_sec_key(&s, key_a, strlen(key_a));
	OK(memcmp(s.proof_key, want[0], LINK_SEC_KEY) == 0, "proof key");
	OK(memcmp(s.tls_key, want[1], LINK_SEC_KEY) == 0, "TLS key");
	for (i = LINK_SEC_CLIENT; i <= LINK_SEC_DATA; i++) {
		link_sec_proof(&s, (enum link_sec_who)i, &said, out);
		OK(memcmp(out, want[i + 1], LINK_SEC_KEY) == 0, "proof %d", i);
	}
}

/* ---- addresses ------------------------------------------------------------------------- */

static void
test_reach(void)
{
	static const char *const far[] = { "tcp:0.0.0.0:0", "tcp:192.0.2.1:9",
	    "tcp:[::]:0", "tcp:[::ffff:192.0.2.1]:9" };
	struct link_opt o = rig_opt(LINK_FRONT, "c"), k;
	struct link_port *p = rig_open(&o);
	struct err err = ERR_INIT;
	char bound[LINK_ADDR];
	struct addr a;
	size_t i;

	for (i = 0; i < 4; i++) {
		OK(link_dial(p, far[i], NULL, &err) == NULL &&
		    err.code == ERR_USAGE && strstr(err.text, "--psk-file") !=
		    NULL, "%s is not dialled without a key", far[i]);
		OK(link_sec_bare(&o.sec, far[i]), "and is to be warned of");
	}
	OK(link_listen(p, "tcp:0.0.0.0:0", bound, &err) == -1 &&
	    err.code == ERR_USAGE, "nor listened on");
	OK(!link_sec_bare(&o.sec, "tcp:127.0.0.1:0") &&
	    !link_sec_bare(&o.sec, "tcp:[::1]:0") &&
	    !link_sec_bare(&o.sec, "shm:/x"), "loopback and shm: are near");
	OK(addr_parse("tcp:[::ffff:127.0.0.1]:0", &a, NULL) == 0 &&
	    addr_resolve(&a, true, NULL) == 0 && addr_is_local(&a),
	    "so is loopback in v6's clothes");
	link_port_close(p);
	o.sec.insecure = true;
	p = rig_open(&o);
	OK(link_listen(p, "tcp:0.0.0.0:0", bound, &err) == 0, "insecure: yes");
	link_port_close(p);
	k = with_key(LINK_FRONT, "c", key_a, LINK_TLS_AUTO);
	p = rig_open(&k);
	OK(link_listen(p, "tcp:0.0.0.0:0", bound, &err) == 0, "a key: yes");
	OK(!link_sec_bare(&k.sec, "tcp:0.0.0.0:0"), "nothing to warn of");
	link_port_close(p);
}

/* ---- pairs that should be, and pairs that should not -------------------------------------- */

static const struct {
	const char *tp, *server, *client;	/* keys */
	int tls_s, tls_c;
	const char *why;	/* NULL: it works */
} pairs[] = {
	{ "shm:", key_a, key_a, 0, 0, NULL },
	{ "tcp:", key_a, key_a, 0, 0, NULL },
	{ "tcp:", key_a, key_a, LINK_TLS_YES, LINK_TLS_YES, NULL },
	{ "tcp:", key_a, key_a, LINK_TLS_AUTO, LINK_TLS_YES, NULL },
	{ "tcp:", key_a, key_a, LINK_TLS_NO, LINK_TLS_NO, NULL },
	{ "shm:", key_a, key_a, LINK_TLS_YES, LINK_TLS_YES, NULL },
	{ "shm:", key_a, key_b, 0, 0, "'c' has another key than 's'" },
	{ "tcp:", key_a, key_b, 0, 0, "'c' has another key than 's'" },
	{ "tcp:", key_a, key_b, LINK_TLS_YES, LINK_TLS_YES, "another key" },
	{ "shm:", key_a, NULL, 0, 0, "'c' gives none (--psk-file)" },
	{ "tcp:", key_a, NULL, 0, 0, "'c' gives none (--psk-file)" },
	{ "shm:", NULL, key_a, 0, 0, "'s' has another key than 'c', or none" },
	{ "tcp:", NULL, key_a, 0, 0, "'s' has another key than 'c', or none" },
	{ "tcp:", NULL, key_a, LINK_TLS_NO, LINK_TLS_YES, "no TLS" },
	{ "tcp:", key_a, key_a, LINK_TLS_YES, LINK_TLS_NO, "in the clear" },
	{ "tcp:", key_a, NULL, LINK_TLS_YES, LINK_TLS_NO, "in the clear" },
	{ "tcp:", key_a, key_a, LINK_TLS_NO, LINK_TLS_YES, "no TLS" },
};

static void
test_pair(size_t i)
{
	struct link_opt so = with_key(LINK_EXPERT, "s", pairs[i].server,
	    pairs[i].tls_s), co = with_key(LINK_FRONT, "c", pairs[i].client,
	    pairs[i].tls_c);
	struct rig_server *s = rig_start(&so, pairs[i].tp);
	struct link_port *p = rig_open(&co);
	struct link_event ev;
	struct link_pair *pair;

	if (pairs[i].why == NULL) {
		EQ_INT(rig_drive(p, &s->addr, 1, 40, 1u << 20), 0,
		    "pair %zu: 40 MB there and back", i);
		EQ_INT(rig_drive(p, &s->addr, 1, 300, 400), 0,
		    "pair %zu: and small ones", i);
	} else {
		pair = link_dial(p, s->addr, NULL, NULL);
		OK(rig_until(p, LINK_DOWN, pair, &ev) && ev.refused &&
		    strstr(ev.reason, pairs[i].why) != NULL,
		    "pair %zu is refused: %s", i, ev.reason);
	}
	link_port_close(p);
	rig_stop(s);
}

/* More than a turn's worth of messages at once, through TLS. */
static void
test_messages(void)
{
	struct link_opt so = with_key(LINK_EXPERT, "s", key_a, LINK_TLS_YES),
	    co = with_key(LINK_FRONT, "c", key_a, LINK_TLS_YES);
	struct rig_server *s = rig_start(&so, "tcp:");
	struct link_port *p = rig_open(&co);
	struct link_pair *pair = link_dial(p, s->addr, NULL, NULL);
	struct link_event ev;
	uint8_t *big = mem_zalloc(1u << 20);
	int i, good = 0;

	for (i = 0; i < 1 << 20; i++)	/* does not pack well */
		big[i] = (uint8_t)rng_at(1, (uint64_t)i, 0);
	OK(rig_until(p, LINK_UP, pair, &ev), "up");
	for (i = 0; i < 500; i++)
		(void)link_msg(pair, LINK_MSG_ASK, "abcd", 4);
	for (i = 0; i < 500 && rig_until(p, LINK_MSG, pair, &ev); i++)
		good += ev.n == 4;
	EQ_INT(good, 500, "500 messages in one go come back");
	OK(link_msg(pair, LINK_MSG_ASK, big, 1u << 20) == 0 &&
	    rig_until(p, LINK_MSG, pair, &ev) && ev.n == 1u << 20 &&
	    memcmp(ev.data, big, ev.n) == 0, "so does a large one");
	mem_free(big);
	link_port_close(p);
	rig_stop(s);
}

/* ---- a client by hand --------------------------------------------------------------------- */

struct hand {
	struct raw r;
	struct str hello;
	uint8_t nonce[MSG_PROOF];
};

/* HELLO with a nonce, or `again` as it was recorded; false: no CHALLENGE. */
static bool
hand_hello(struct hand *h, const char *addr, const struct str *again)
{
	struct msg_hello m;
	uint8_t body[4096];
	size_t n;

	memset(h, 0, sizeof(*h));
	h->r.data = -1;
	h->r.fd = raw_connect(addr);
	raw_hello(&m);
	memset(m.nonce, 0x5a, sizeof(m.nonce));
	if (again != NULL)
		str_add(&h->hello, again->p, again->n);
	else
		msg_put_hello(&h->hello, &m);
	raw_frame(h->r.fd, FRAME_HELLO, h->hello.p, h->hello.n);
	if (raw_recv(h->r.fd, body, sizeof(body), &n, NULL) !=
	    FRAME_CHALLENGE || n != MSG_PROOF)
		return false;
	memcpy(h->nonce, body, MSG_PROOF);
	return true;
}

static void
hand_proof(const struct hand *h, enum link_sec_who who, const char *key,
    uint8_t out[MSG_PROOF])
{
	const struct link_sec_said said = { h->nonce, h->hello.p, h->hello.n,
	    "", 0 };
	struct link_sec s = { 0 };

	link_sec_key(&s, key, strlen(key));
	link_sec_proof(&s, who, &said, out);
}

/* Send a proof; what the server answers, its text in why. */
static int
hand_prove(struct hand *h, const uint8_t *proof, size_t n, char why[MSG_TEXT])
{
	uint8_t body[4096];
	size_t got;
	int type, memfd = -1;

	raw_frame(h->r.fd, FRAME_PROOF, proof, n);
	type = raw_recv(h->r.fd, body, sizeof(body), &got, &memfd);
	why[0] = '\0';
	if (type == FRAME_REFUSE)
		msg_get_text(body, got, why);
	if (memfd >= 0)
		close(memfd);
	return type;
}

static void
hand_close(struct hand *h)
{
	str_free(&h->hello);
	raw_close(&h->r);
}

static void
test_by_hand(const char *tp)
{
	struct link_opt so = with_key(LINK_EXPERT, "s", key_a, LINK_TLS_AUTO);
	struct rig_server *s = rig_start(&so, tp);
	uint8_t proof[MSG_PROOF], old[MSG_PROOF];
	char why[MSG_TEXT];
	struct str record = STR_INIT;
	struct hand h;

	OK(hand_hello(&h, s->addr, NULL), "%s a challenge", tp);
	hand_proof(&h, LINK_SEC_CLIENT, key_a, proof);
	EQ_INT(hand_prove(&h, proof, MSG_PROOF, why), FRAME_WELCOME,
	    "the right proof is welcome");
	str_add(&record, h.hello.p, h.hello.n);
	memcpy(old, proof, sizeof(old));
	hand_close(&h);

	OK(hand_hello(&h, s->addr, &record), "the recorded HELLO");
	OK(hand_prove(&h, old, MSG_PROOF, why) == FRAME_REFUSE &&
	    strstr(why, "another key") != NULL, "its proof is worth nothing");
	OK(raw_closed(h.r.fd), "and the connection ends");
	hand_close(&h);

	OK(hand_hello(&h, s->addr, NULL), "a server's proof");
	hand_proof(&h, LINK_SEC_SERVER, key_a, proof);
	EQ_INT(hand_prove(&h, proof, MSG_PROOF, why), FRAME_REFUSE,
	    "is no client's");
	hand_close(&h);

	OK(hand_hello(&h, s->addr, NULL), "another HELLO's proof");
	str_addc(&h.hello, 'x');
	hand_proof(&h, LINK_SEC_CLIENT, key_a, proof);
	EQ_INT(hand_prove(&h, proof, MSG_PROOF, why), FRAME_REFUSE,
	    "does not fit");
	hand_close(&h);

	OK(hand_hello(&h, s->addr, NULL), "a proof that is cut");
	hand_proof(&h, LINK_SEC_CLIENT, key_a, proof);
	EQ_INT(hand_prove(&h, proof, 5, why), FRAME_REFUSE, "is none");
	hand_close(&h);

	OK(hand_hello(&h, s->addr, NULL), "READY instead of the proof");
	raw_frame(h.r.fd, FRAME_READY, "", 0);
	OK(raw_closed(h.r.fd), "ends it");
	hand_close(&h);

	/* Who does not show the key learns nothing of what is compared. */
	h.r.fd = raw_connect(s->addr);
	OK(s->port != NULL && !raw_open(&h.r, s->addr),
	    "no pair without a nonce");
	raw_close(&h.r);
	str_free(&record);
	rig_stop(s);
}

/* DATA needs the proof, too: a token that was overheard is not enough. */
static void
test_data(void)
{
	struct link_opt so = with_key(LINK_EXPERT, "s", key_a, LINK_TLS_NO);
	struct rig_server *s = rig_start(&so, "tcp:");
	uint8_t proof[MSG_PROOF], body[4096];
	size_t n;
	struct hand h;

	OK(hand_hello(&h, s->addr, NULL), "hello");
	hand_proof(&h, LINK_SEC_CLIENT, key_a, proof);
	raw_frame(h.r.fd, FRAME_PROOF, proof, MSG_PROOF);
	OK(raw_recv(h.r.fd, body, sizeof(body), &n, NULL) == FRAME_WELCOME &&
	    msg_get_hello(body, n, &h.r.w, NULL) == 0, "welcome");
	h.r.data = raw_connect(s->addr);
	raw_frame(h.r.data, FRAME_DATA, h.r.w.token, MSG_TOKEN);
	OK(raw_closed(h.r.data), "the token alone is refused");
	hand_close(&h);
	rig_stop(s);
}

/* ---- a server by hand: downgrade and reflection ------------------------------------------------ */

struct fake {
	int fd;
	char addr[LINK_ADDR];
};

static void
fake_listen(struct fake *f)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sa);

	f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(f->fd, (struct sockaddr *)&sa, n) != 0 ||
	    listen(f->fd, 4) != 0 ||
	    getsockname(f->fd, (struct sockaddr *)&sa, &n) != 0)
		exit(1);
	snprintf(f->addr, sizeof(f->addr), "tcp:127.0.0.1:%d",
	    ntohs(sa.sin_port));
}

enum { PLAIN_WELCOME, CHALLENGE_TWICE, FALSE_PROOF, REFLECT };

static void
fake_serve(const struct fake *f, int what)
{
	uint8_t body[4096], nonce[MSG_PROOF], proof[MSG_PROOF];
	int fd = accept(f->fd, NULL, NULL);
	struct msg_hello h;
	struct str s = STR_INIT;
	size_t n;

	if (raw_recv(fd, body, sizeof(body), &n, NULL) != FRAME_HELLO ||
	    msg_get_hello(body, n, &h, NULL) != 0)
		exit(1);
	memset(nonce, 7, sizeof(nonce));
	if (what == REFLECT)
		memcpy(nonce, h.nonce, sizeof(nonce));
	if (what != PLAIN_WELCOME) {
		raw_frame(fd, FRAME_CHALLENGE, nonce, MSG_PROOF);
		(void)raw_recv(fd, proof, sizeof(proof), &n, NULL);
	}
	if (what == CHALLENGE_TWICE)
		raw_frame(fd, FRAME_CHALLENGE, nonce, MSG_PROOF);
	h.role = LINK_EXPERT;
	h.depth = h.slot_bytes = 0;
	memset(h.nonce, 0, sizeof(h.nonce));
	memcpy(h.name, "fake", 5);
	msg_put_hello(&s, &h);
	if (what == FALSE_PROOF || what == REFLECT)
		msg_put_proof(&s, proof);	/* the client's own */
	raw_frame(fd, FRAME_WELCOME, s.p, s.n);
	str_free(&s);
	(void)raw_closed(fd);
	close(fd);
}

static void
test_fake(int what)
{
	struct link_opt o = with_key(LINK_FRONT, "c", key_a, LINK_TLS_NO);
	struct link_port *p;
	struct link_pair *pair;
	struct link_event ev;
	struct fake f;
	char why[256];

	o.depth = 0;
	p = rig_open(&o);
	fake_listen(&f);
	pair = link_dial(p, f.addr, NULL, NULL);
	fake_serve(&f, what);
	if (what == CHALLENGE_TWICE) {
		link_why(pair, why);
		OK(!link_is_up(pair), "a second challenge is out of turn");
	} else {
		OK(rig_until(p, LINK_DOWN, pair, &ev) && ev.refused &&
		    strstr(ev.reason, "'fake' has another key") != NULL,
		    "fake server %d: %s", what, ev.reason);
	}
	link_port_close(p);
	close(f.fd);
}

/* ---- TLS itself ------------------------------------------------------------------------------- */

/* Move both sides on until a's bytes are at b, whole. */
static bool
pump(struct tls *a, struct tls *b, const uint8_t *p, size_t n)
{
	uint8_t *got = mem_zalloc(n);
	size_t out = 0, in = 0;
	uint64_t end = clock_ns() + RIG_LONG_NS;
	bool good = true;
	ssize_t k;

	while (good && in < n && clock_left(end) > 0) {
		k = out < n ? tls_write(a, p + out, n - out) : 0;
		good = k >= 0 || errno == EAGAIN;
		out += k > 0 ? (size_t)k : 0;
		k = tls_read(b, got + in, n - in);
		good = good && (k > 0 || (k < 0 && errno == EAGAIN));
		in += k > 0 ? (size_t)k : 0;
	}
	good = good && in == n && memcmp(got, p, n) == 0;
	mem_free(got);
	return good;
}

static void
test_tls(void)
{
	uint8_t key[TLS_KEY] = { 1 }, *p = mem_zalloc(3u << 20), byte;
	struct tls_ctx *x, *y;
	struct tls *a, *b;
	int fd[2], i;

	OK(tls_ctx_new(&x, key, 1u << 20, NULL) == 0, "a context");
	key[31] = 1;
	OK(tls_ctx_new(&y, key, 0, NULL) == 0, "another");
	for (i = 0; i < 3 << 20; i++)
		p[i] = (uint8_t)(i * 31 >> 3);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0)
		exit(1);
	a = tls_new(x, fd[0], true);
	b = tls_new(x, fd[1], false);
	OK(!tls_is_up(a) && pump(a, b, p, 1) && tls_is_up(a) && tls_is_up(b),
	    "one byte, and the handshake with it");
	/* New keys after each MiB. */
	OK(pump(a, b, p, 3u << 20) && pump(b, a, p, 3u << 20) &&
	    pump(a, b, p, 3u << 20), "3 MiB three times, over new keys");
	/* One bit changed on the way. */
	OK(tls_write(a, p, 100) == 100, "a record");
	byte = 0;
	(void)!send(fd[0], &byte, 1, 0);
	OK(tls_read(b, p, 100) == 100, "arrives");
	OK(tls_write(a, p, 100) == 100 && tls_read(b, p, 100) == -1 &&
	    errno == EPROTO, "what follows a forged byte does not: %s",
	    tls_why(b));
	tls_free(a);
	tls_free(b);
	close(fd[0]);
	close(fd[1]);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0)
		exit(1);
	a = tls_new(x, fd[0], true);
	b = tls_new(y, fd[1], false);
	OK(!pump(a, b, p, 1) && !tls_is_up(b), "another key: no handshake");
	tls_free(a);
	tls_free(b);
	close(fd[0]);
	close(fd[1]);
	tls_ctx_free(x);
	tls_ctx_free(y);
	mem_free(p);
}

int
main(void)
{
	struct err err = ERR_INIT;
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	if (mac_check(&err) != 0) {
		OK(link_sec_load(&(struct link_sec){ 0 }, "/dev/null",
		    LINK_TLS_AUTO, false, &err) == -1 &&
		    err.code == ERR_UNAVAIL, "%s", err.text);
		return tap_done();
	}
	rig_enter();
	test_files();
	test_vector();
	test_reach();
	test_tls();
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		test_pair(i);
	test_messages();
	test_by_hand("shm:");
	test_by_hand("tcp:");
	test_data();
	for (i = PLAIN_WELCOME; i <= REFLECT; i++)
		test_fake((int)i);
	EQ_INT(rig_leave(), 0, "nothing is left behind");
	return tap_done();
}
