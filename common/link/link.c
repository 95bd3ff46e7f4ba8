/*
 * link.c - F3.  Ports and pairs as the data thread sees them: events, dialling,
 * closing, messages.  Slots are in link_ring.c, waiting is in link_wait.c.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "clock.h"
#include "link_port.h"
#include "link_wire.h"
#include "zbuf.h"

#define DEFAULT_PAIRS		1024
#define DEFAULT_BEAT_NS		250000000ull
#define DEFAULT_HELLO_NS	5000000000ull

/* ---- transports ------------------------------------------------------------------- */

const struct link_tp *
link_tp_of(const struct addr *a, struct err *err)
{
	static const struct link_tp *const table[] = {
		[ADDR_SHM] = &link_shm_tp, [ADDR_TCP] = &link_tcp_tp,
		[ADDR_RDMA] = &link_rdma_tp, [ADDR_CUDA] = &link_cuda_tp,
		[ADDR_NCCL] = &link_nccl_tp,
	};
	const struct link_tp *tp = table[a->kind];

	if (tp->absent == NULL)
		return tp;
	err_set(err, ERR_UNAVAIL, "%s", tp->absent);
	return NULL;
}

int
link_addr_check(const char *addr, struct err *err)
{
	struct addr a;

	if (addr_parse(addr, &a, err) != 0)
		return -1;
	return link_tp_of(&a, err) == NULL ? -1 : 0;
}

/* ---- notes -------------------------------------------------------------------------- */

struct link_note *
link_note_new(enum link_ev what, struct link_pair *pair)
{
	struct link_note *n = mem_zalloc(sizeof(*n));

	n->what = what;
	n->pair = pair;
	return n;
}

void
link_note_free(struct link_note *n)
{
	if (n == NULL)
		return;
	if (n->ring != NULL)
		n->ring->tp->close(n->ring);
	str_free(&n->data);
	mem_free(n);
}

void
link_note_put(struct link_port *p, struct link_note *n)
{
	n->next = NULL;
	*p->last_note = n;
	p->last_note = &n->next;
	atomic_fetch_add(&p->n_note, 1);
	link_wake(p);
}

/* Lock held.  Drop what is queued for a pair that goes away; NULL: for all. */
static void
drop_notes(struct link_port *p, const struct link_pair *pair)
{
	struct link_note **at = &p->first_note, *n;

	while ((n = *at) != NULL) {
		if (pair != NULL && n->pair != pair) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		if (pair != NULL)
			n->pair->unread_bytes -= n->data.n;
		atomic_fetch_sub(&p->n_note, 1);
		link_note_free(n);
	}
	p->last_note = at;
}

static struct link_note *
take_note(struct link_port *p)
{
	struct link_note *n;

	pthread_mutex_lock(&p->lock);
	n = p->first_note;
	if (n != NULL) {
		n->pair->unread_bytes -= n->data.n;
		p->first_note = n->next;
		if (p->first_note == NULL)
			p->last_note = &p->first_note;
		atomic_fetch_sub(&p->n_note, 1);
		if (n->what == LINK_DOWN && !n->pair->accepted) {
			n->pair->dial = LINK_D_WAIT;
			link_ctl_poke(p);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* ---- opening and closing ---------------------------------------------------------------- */

static int
check_opt(const struct link_opt *o, struct err *err)
{
	if (o->depth > LINK_DEPTH_MAX)
		return err_set(err, ERR_USAGE, "link: depth is %u, at most %d",
		    o->depth, LINK_DEPTH_MAX);
	if (o->depth > 0 && (o->slot_bytes == 0 ||
	    o->slot_bytes > LINK_SLOT_MAX || o->slot_bytes % SLOT_ALIGN != 0))
		return err_set(err, ERR_USAGE, "link: slots of %u bytes, want "
		    "a multiple of %u up to %u", o->slot_bytes, SLOT_ALIGN,
		    LINK_SLOT_MAX);
	if (o->me.role < LINK_EXPERT || o->me.role > LINK_TOOL)
		return err_set(err, ERR_USAGE, "link: role is %d",
		    (int)o->me.role);
	return 0;
}

/* Cores this process may run on; one alone is never spun on. */
static int
count_cores(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return n > 1 ? n : 0;
}

static void
fill_defaults(struct link_port *p)
{
	struct link_opt *o = &p->opt;

	o->me.name[LINK_NAME - 1] = '\0';
	o->me.variant[LINK_VARIANT - 1] = '\0';
	if (o->depth == 0)
		o->slot_bytes = 0;
	if (o->max_pair == 0)
		o->max_pair = DEFAULT_PAIRS;
	if (o->heartbeat_ns == 0)
		o->heartbeat_ns = DEFAULT_BEAT_NS;
	if (o->hello_ns == 0)
		o->hello_ns = DEFAULT_HELLO_NS;
	p->wire = link_wire_new(&o->wire);
	p->spin_cores = o->spin_cores != 0 ? o->spin_cores : count_cores();
	if (getrandom(&p->epoch, sizeof(p->epoch), 0) != sizeof(p->epoch))
		p->epoch = (uint16_t)clock_ns();
}

static void
free_port(struct link_port *p)
{
	int fd[] = { p->ep, p->wake_fd, p->ctl_ep, p->ctl_fd };
	size_t i;

	for (i = 0; i < sizeof(fd) / sizeof(fd[0]); i++)
		if (fd[i] >= 0)
			close(fd[i]);
	VEC_FREE(&p->live);
	link_wire_free(p->wire);
	tls_ctx_free(p->tls);
	link_sec_wipe(&p->opt.sec);
	pthread_mutex_destroy(&p->lock);
	mem_free(p);
}

int
link_port_open(struct link_port **out, const struct link_opt *opt,
    struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct link_port *p;

	if (check_opt(opt, err) != 0)
		return -1;
	p = mem_zalloc(sizeof(*p));
	p->opt = *opt;
	p->last_note = &p->first_note;
	p->ctl_ep = p->ctl_fd = -1;
	pthread_mutex_init(&p->lock, NULL);
	fill_defaults(p);
	p->ep = epoll_create1(EPOLL_CLOEXEC);
	p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (opt->sec.psk && opt->sec.tls != LINK_TLS_NO &&
	    tls_ctx_new(&p->tls, opt->sec.tls_key, 0, err) != 0) {
		free_port(p);
		return -1;
	}
	if (p->ep < 0 || p->wake_fd < 0 ||
	    epoll_ctl(p->ep, EPOLL_CTL_ADD, p->wake_fd, &ev) != 0) {
		err_sys(err, ERR_TEMP, errno, "link: epoll");
		free_port(p);
		return -1;
	}
	if (link_ctl_start(p, err) != 0) {
		free_port(p);
		return -1;
	}
	*out = p;
	return 0;
}

/* Take the pair's ring out of the data thread's sight. */
static void
unhook(struct link_pair *pair)
{
	struct link_port *p = pair->port;
	size_t i;

	for (i = 0; i < p->live.n; i++) {
		if (p->live.p[i] != pair)
			continue;
		p->live.p[i] = p->live.p[--p->live.n];
		p->n_sock -= pair->ring->tp->second;
		break;
	}
	if (pair->ring != NULL && !pair->broken)
		(void)epoll_ctl(p->ep, EPOLL_CTL_DEL, pair->ring->fd, NULL);
	if (p->wire != NULL)
		link_wire_forget(p->wire, pair);
	pair->up = false;
}

/* What the last event left behind. */
static void
settle(struct link_port *p)
{
	link_note_free(p->last);
	p->last = NULL;
	if (p->old_ring != NULL)
		p->old_ring->tp->close(p->old_ring);
	p->old_ring = NULL;
	mem_free(p->old_pair);
	p->old_pair = NULL;
}

void
link_port_close(struct link_port *p)
{
	struct link_listener *l;
	struct link_pair *pair;

	if (p == NULL)
		return;
	link_unlisten(p);
	link_ctl_stop(p);
	settle(p);
	drop_notes(p, NULL);
	while ((l = p->listeners) != NULL) {
		p->listeners = l->next;
		mem_free(l);
	}
	while ((pair = p->pairs) != NULL) {
		p->pairs = pair->next;
		if (pair->ring != NULL)
			pair->ring->tp->close(pair->ring);
		link_fault_free(pair->fault);
		mem_free(pair);
	}
	free_port(p);
}

/* May links go to the resolved address, or come in there? */
static int
check_reach(const struct link_port *p, const struct addr *a, const char *text,
    struct err *err)
{
	if (addr_is_local(a) || p->opt.sec.psk || p->opt.sec.insecure)
		return 0;
	return err_set(err, ERR_USAGE, "'%s' is beyond this machine: give the "
	    "cluster's key with --psk-file, or --insecure", text);
}

/* ---- listening ------------------------------------------------------------------------- */

int
link_listen(struct link_port *p, const char *addr, char *bound,
    struct err *err)
{
	struct link_listener *l = mem_zalloc(sizeof(*l));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = l };

	l->src = LINK_SRC_LISTEN;
	if (addr_parse(addr, &l->addr, err) != 0 ||
	    (l->tp = link_tp_of(&l->addr, err)) == NULL ||
	    addr_resolve(&l->addr, true, err) != 0 ||
	    check_reach(p, &l->addr, addr, err) != 0 ||
	    (l->fd = l->tp->listen(&l->addr, err)) < 0) {
		mem_free(l);
		return -1;
	}
	addr_text(&l->addr, l->text);
	pthread_mutex_lock(&p->lock);
	l->next = p->listeners;
	p->listeners = l;
	pthread_mutex_unlock(&p->lock);
	if (epoll_ctl(p->ctl_ep, EPOLL_CTL_ADD, l->fd, &ev) != 0) {
		err_sys(err, ERR_TEMP, errno, "link: epoll");
		link_unlisten(p);
		return -1;
	}
	if (bound != NULL)
		memcpy(bound, l->text, sizeof(l->text));
	return 0;
}

void
link_unlisten(struct link_port *p)
{
	struct link_listener *l;

	pthread_mutex_lock(&p->lock);
	for (l = p->listeners; l != NULL; l = l->next) {
		if (l->fd < 0)
			continue;
		(void)epoll_ctl(p->ctl_ep, EPOLL_CTL_DEL, l->fd, NULL);
		l->tp->unlisten(&l->addr, l->fd);
		close(l->fd);
		l->fd = -1;
	}
	pthread_mutex_unlock(&p->lock);
}

/* ---- dialling -------------------------------------------------------------------------- */

struct link_pair *
link_dial(struct link_port *p, const char *addr, void *user, struct err *err)
{
	struct link_pair *pair = mem_zalloc(sizeof(*pair));

	if (addr_parse(addr, &pair->addr, err) != 0 ||
	    link_tp_of(&pair->addr, err) == NULL ||
	    addr_resolve(&pair->addr, false, err) != 0 ||
	    check_reach(p, &pair->addr, addr, err) != 0) {
		mem_free(pair);
		return NULL;
	}
	if (pair->addr.faulty && (pair->fault =
	    link_fault_new(&pair->addr.fault, err)) == NULL) {
		mem_free(pair);
		return NULL;
	}
	pair->port = p;
	pair->user = user;
	pair->dial = LINK_D_WAIT;
	snprintf(pair->text, sizeof(pair->text), "%s", addr);
	pthread_mutex_lock(&p->lock);
	pair->next = p->pairs;
	p->pairs = pair;
	pthread_mutex_unlock(&p->lock);
	link_ctl_poke(p);
	return pair;
}

/* Lock held. */
static void
forget(struct link_port *p, struct link_pair *pair)
{
	struct link_pair **at = &p->pairs;

	while (*at != pair)
		at = &(*at)->next;
	*at = pair->next;
}

void
link_undial(struct link_pair *pair)
{
	struct link_port *p;

	if (pair == NULL)
		return;
	p = pair->port;
	BUG_ON(pair->accepted);
	unhook(pair);
	pthread_mutex_lock(&p->lock);
	if (pair->conn != NULL) {
		pair->conn->pair = NULL;
		pair->conn->say_bye = pair->conn->was_up;
		link_conn_fail(pair->conn, false, "'%s' takes its leave",
		    p->opt.me.name);
	}
	drop_notes(p, pair);
	forget(p, pair);
	pthread_mutex_unlock(&p->lock);
	link_ctl_poke(p);
	if (pair->ring != NULL)
		pair->ring->tp->close(pair->ring);
	if (p->last != NULL && p->last->pair == pair)
		p->last->pair = NULL;
	link_fault_free(pair->fault);
	mem_free(pair);
}

/* The data thread has found the pair broken, or wants it to be. */
static void
break_pair(struct link_pair *pair, bool bad, const char *why)
{
	struct link_port *p = pair->port;

	if (!pair->up || pair->broken)
		return;
	if (pair->ring != NULL)
		(void)epoll_ctl(p->ep, EPOLL_CTL_DEL, pair->ring->fd, NULL);
	pair->broken = true;
	pthread_mutex_lock(&p->lock);
	if (pair->conn != NULL) {
		pair->conn->say_bye = true;
		link_conn_fail(pair->conn, bad, "%s", why);
	}
	pthread_mutex_unlock(&p->lock);
	link_ctl_poke(p);
}

void
link_break(struct link_pair *pair, const char *why)
{
	break_pair(pair, false, why);
}

void
link_pair_bad(struct link_pair *pair, const struct err *err)
{
	break_pair(pair, err->code == ERR_DATA, err->text);
}

/* ---- events ---------------------------------------------------------------------------- */

static void
take_up(struct link_port *p, struct link_note *n, struct link_event *ev)
{
	struct link_pair *pair = n->pair;
	struct epoll_event ee = { .events = EPOLLIN, .data.ptr = pair };

	ev->what = LINK_UP;
	pair->peer = n->peer;
	pair->ring = n->ring;
	n->ring = NULL;
	pair->up = true;
	pair->broken = false;
	pair->n_up++;
	if (pair->ring == NULL)
		return;
	VEC_PUSH(&p->live, pair);
	p->n_sock += pair->ring->tp->second;
	if (epoll_ctl(p->ep, EPOLL_CTL_ADD, pair->ring->fd, &ee) != 0)
		break_pair(pair, false, "epoll");
}

static void
take_down(struct link_port *p, struct link_note *n, struct link_event *ev)
{
	struct link_pair *pair = n->pair;

	ev->what = LINK_DOWN;
	ev->refused = n->refused;
	memcpy(ev->reason, n->reason, sizeof(ev->reason));
	unhook(pair);
	if (pair->ring != NULL)
		p->count.stale += pair->ring->stale;
	p->old_ring = pair->ring;
	pair->ring = NULL;
	if (!pair->accepted)
		return;
	pthread_mutex_lock(&p->lock);
	forget(p, pair);
	pthread_mutex_unlock(&p->lock);
	p->old_pair = pair;
}

bool
link_next(struct link_port *p, struct link_event *ev)
{
	struct link_note *n;

	if (p->last != NULL || p->old_ring != NULL || p->old_pair != NULL)
		settle(p);
	ev->what = LINK_NONE;
	if (atomic_load_explicit(&p->n_note, memory_order_acquire) == 0)
		return link_ring_next(p, ev);
	n = take_note(p);
	if (n == NULL)
		return link_ring_next(p, ev);
	ev->pair = n->pair;
	ev->refused = false;
	ev->reason[0] = '\0';
	if (n->what == LINK_UP) {
		take_up(p, n, ev);
	} else if (n->what == LINK_DOWN) {
		take_down(p, n, ev);
	} else {
		ev->what = LINK_MSG;
		ev->type = n->type;
		ev->data = str_c(&n->data);
		ev->n = n->data.n;
	}
	p->last = n;
	return true;
}

/* ---- messages -------------------------------------------------------------------------- */

int
link_msg(struct link_pair *pair, int type, const void *data, size_t n)
{
	struct link_port *p = pair->port;
	struct str packed = STR_INIT;
	struct link_conn *c;
	bool pack;
	int rc = -1;

	BUG_ON(type < LINK_MSG_MAP || frame_max(type) == 0);
	if (n > LINK_MSG_MAX)
		return -1;
	pack = n >= ZBUF_WORTH && type != LINK_MSG_PAGES && zbuf_pack(&packed, data, n);
	pthread_mutex_lock(&p->lock);
	c = pair->conn;
	if (c != NULL && c->state == LINK_C_UP && !c->dead) {
		if (pack && (c->peer.features & MSG_ZSTD))
			link_conn_send(c, type, FRAME_ZSTD, packed.p, packed.n,
			    (uint32_t)n);
		else
			link_conn_send(c, type, 0, data, n, 0);
		rc = c->dead ? -1 : 0;
		if (c->dead || c->want_out)
			link_ctl_poke(p);
	}
	pthread_mutex_unlock(&p->lock);
	str_free(&packed);
	return rc;
}
