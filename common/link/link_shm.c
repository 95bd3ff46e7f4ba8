/*
 * link_shm.c - F3.  Rings in memory that both processes map.
 *
 * The server makes one memfd for each incarnation of a pair, seals its size,
 * and passes it with WELCOME over the Unix socket, together with one end of a
 * socket pair, the *door*:
 *
 *     +0     u32: the server's data thread sleeps, and wants to be woken
 *     +64    u32: the client's, likewise
 *     +4096  depth request slots, then depth answer slots
 *
 * Whoever commits a slot looks at the other side's word and, only when it is
 * set, takes it back and sends one byte through the door.  Commit and look
 * against set and re-check are sequentially consistent, so one of the two
 * sees the other (Dekker).  The door is a socket and not an eventfd because a
 * send with MSG_DONTWAIT cannot be made to block by the peer, and because its
 * end tells of the peer's death.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "link_tp.h"
#include "mem.h"

#define DOOR_BYTES	4096u
#define DOOR_SERVER	0
#define DOOR_CLIENT	64
#define SEALS		(F_SEAL_SHRINK | F_SEAL_GROW)

struct shm_ring {
	struct link_ring r;	/* first: ops cast */
	uint8_t *map;
	size_t map_bytes;
	uint32_t *mine, *theirs;	/* sleep words */
	bool gone;		/* the door has been shut from outside */
};

/* ---- the socket at the path -------------------------------------------------- */

/* Is somebody accepting at this path?  A full backlog is somebody, too. */
static bool
alive(const struct addr *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool yes;

	if (fd < 0)
		return true;
	yes = connect(fd, (const struct sockaddr *)&a->sa, a->sa_bytes) == 0 ||
	    (errno != ECONNREFUSED && errno != ENOENT);
	close(fd);
	return yes;
}

/* Lock the socket's folder, so that two servers cannot both find the path
 * stale and take it.  Returns a descriptor that holds the lock, or -1. */
static int
lock_folder(const char *path, struct err *err)
{
	char dir[ADDR_PATH];
	uint64_t until = clock_ns() + 2000000000ull;
	const char *slash = strrchr(path, '/');
	struct timespec nap = { 0, 2000000 };
	int fd;

	if (slash == NULL)
		memcpy(dir, ".", 2);
	else if (slash == path)
		memcpy(dir, "/", 2);
	else {
		memcpy(dir, path, (size_t)(slash - path));
		dir[slash - path] = '\0';
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, errno, "shm:%s: folder %s", path,
		    dir);
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (clock_ns() > until) {
			close(fd);
			return err_set(err, ERR_TEMP, "shm:%s: folder %s stays "
			    "locked", path, dir);
		}
		nanosleep(&nap, NULL);
	}
	return fd;
}

static int
bind_path(const struct addr *a, int fd, struct err *err)
{
	struct stat st;

	if (lstat(a->path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(err, ERR_TEMP, "shm:%s: something that is not "
		    "a socket is in the way", a->path);
	if (bind(fd, (const struct sockaddr *)&a->sa, a->sa_bytes) == 0)
		return 0;
	if (errno == EADDRINUSE) {
		if (alive(a))
			return err_set(err, ERR_TEMP, "shm:%s: another server "
			    "is listening there", a->path);
		if (unlink(a->path) == 0 && bind(fd,
		    (const struct sockaddr *)&a->sa, a->sa_bytes) == 0)
			return 0;
	}
	return err_sys(err, ERR_TEMP, errno, "shm:%s", a->path);
}

static int
shm_listen(struct addr *a, struct err *err)
{
	int lock, fd;

	lock = lock_folder(a->path, err);
	if (lock < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err_sys(err, ERR_TEMP, errno, "shm:%s: socket", a->path);
	} else if (bind_path(a, fd, err) != 0) {
		close(fd);
		fd = -1;
	} else if (listen(fd, 128) != 0) {
		err_sys(err, ERR_TEMP, errno, "shm:%s: listen", a->path);
		unlink(a->path);
		close(fd);
		fd = -1;
	}
	close(lock);
	return fd;
}

/* Unlink the path under the folder's lock, unless a successor has it. */
static void
shm_unlisten(const struct addr *a, int fd)
{
	int lock;

	lock = lock_folder(a->path, NULL);
	shutdown(fd, SHUT_RDWR);	/* connects are refused from here on */
	if (!alive(a))
		unlink(a->path);
	if (lock >= 0)
		close(lock);
}

static void
shm_tune(int fd, uint64_t heartbeat_ns)
{
	(void)fd;
	(void)heartbeat_ns;
}

/* ---- making rings --------------------------------------------------------------- */

static size_t
map_bytes(const struct link_geom *g)
{
	return DOOR_BYTES + 2 * (size_t)g->depth * g->slot_bytes;
}

static struct link_ring *
map_ring(const struct link_geom *g, int memfd, bool server, struct err *err)
{
	struct shm_ring *s;
	size_t n = map_bytes(g);
	void *map;

	map = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (map == MAP_FAILED) {
		err_sys(err, ERR_TEMP, errno, "shm: mapping %zu bytes", n);
		return NULL;
	}
	s = mem_zalloc(sizeof(*s));
	s->map = map;
	s->map_bytes = n;
	s->mine = (uint32_t *)(void *)(s->map +
	    (server ? DOOR_SERVER : DOOR_CLIENT));
	s->theirs = (uint32_t *)(void *)(s->map +
	    (server ? DOOR_CLIENT : DOOR_SERVER));
	s->r.tp = &link_shm_tp;
	s->r.server = server;
	s->r.epoch = g->epoch;
	s->r.depth = g->depth;
	s->r.slot_bytes = g->slot_bytes;
	s->r.req = s->map + DOOR_BYTES;
	s->r.ans = s->r.req + (size_t)g->depth * g->slot_bytes;
	s->r.next = 1;
	s->r.fd = -1;
	return &s->r;
}

static struct link_ring *
shm_offer(const struct link_geom *g, int fd[LINK_FDS], int *n_fd,
    struct err *err)
{
	struct link_ring *r;
	int door[2], memfd;

	memfd = memfd_create("moe-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, (off_t)map_bytes(g)) != 0 ||
	    fcntl(memfd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) != 0) {
		err_sys(err, ERR_TEMP, errno, "shm: memory of %zu bytes",
		    map_bytes(g));
		if (memfd >= 0)
			close(memfd);
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
	    door) != 0) {
		err_sys(err, ERR_TEMP, errno, "shm: door");
		close(memfd);
		return NULL;
	}
	r = map_ring(g, memfd, true, err);
	if (r == NULL) {
		close(memfd);
		close(door[0]);
		close(door[1]);
		return NULL;
	}
	r->fd = door[0];
	fd[0] = memfd;
	fd[1] = door[1];
	*n_fd = 2;
	return r;
}

/* The peer's descriptors are checked: memory that it could shrink would turn
 * our next load into SIGBUS. */
static struct link_ring *
shm_take(const struct link_geom *g, const int *fd, int n_fd, struct err *err)
{
	struct link_ring *r;
	struct stat st;
	int seals;

	if (n_fd != 2) {
		err_set(err, ERR_DATA, "shm: %d descriptors came, want 2",
		    n_fd);
		return NULL;
	}
	seals = fcntl(fd[0], F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS) {
		err_set(err, ERR_DATA, "shm: the memory is not sealed");
		return NULL;
	}
	if (fstat(fd[0], &st) != 0 || (size_t)st.st_size != map_bytes(g)) {
		err_set(err, ERR_DATA, "shm: the memory has %lld bytes, want "
		    "%zu", (long long)st.st_size, map_bytes(g));
		return NULL;
	}
	if (fstat(fd[1], &st) != 0 || !S_ISSOCK(st.st_mode)) {
		err_set(err, ERR_DATA, "shm: the door is not a socket");
		return NULL;
	}
	r = map_ring(g, fd[0], false, err);
	if (r == NULL)
		return NULL;
	r->fd = fcntl(fd[1], F_DUPFD_CLOEXEC, 3);
	if (r->fd < 0) {
		err_sys(err, ERR_TEMP, errno, "shm: door");
		link_shm_tp.close(r);
		return NULL;
	}
	return r;
}

static void
shm_close(struct link_ring *r)
{
	struct shm_ring *s = (struct shm_ring *)r;

	munmap(s->map, s->map_bytes);
	if (r->fd >= 0)
		close(r->fd);
	mem_free(s);
}

/* ---- moving slots ----------------------------------------------------------------- */

static uint64_t *
commit_of(uint8_t *slot)
{
	return (uint64_t *)(void *)(slot + SLOT_COMMIT);
}

static int
shm_put(struct link_ring *r, int i, uint32_t bytes, struct err *err)
{
	struct shm_ring *s = (struct shm_ring *)r;
	uint8_t *slot = r->server ? link_ring_ans(r, i) : link_ring_req(r, i);
	uint64_t word = slot_commit_word(r->epoch, r->slot[i].seq);

	(void)bytes;
	(void)err;
	__atomic_store_n(commit_of(slot), word, __ATOMIC_SEQ_CST);
	/* A full door means that wake-ups are waiting already; a shut one that
	 * the control connection is about to tell. */
	if (__atomic_load_n(s->theirs, __ATOMIC_SEQ_CST) != 0 &&
	    __atomic_exchange_n(s->theirs, 0, __ATOMIC_SEQ_CST) != 0)
		(void)send(r->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	return 0;
}

/*
 * Judge commit word w of slot i where seq is due: 1 it is the one; 0 nothing
 * new; -1 it breaks the protocol.  A server is sent up to depth slots ahead in
 * any slot order; those wait for their turn.
 */
static int
judge(struct link_ring *r, int i, uint64_t w, uint64_t due)
{
	struct link_slot *s = &r->slot[i];
	uint64_t seq = w & SLOT_SEQ_MASK;

	if (w == s->seen)
		return 0;
	if (w >> 48 != r->epoch) {
		s->seen = w;
		r->stale++;
		return 0;
	}
	if (seq == due) {
		s->seen = w;
		return 1;
	}
	if (r->server && seq > due && seq < due + r->depth)
		return 0;
	return -1;
}

static int
shm_scan(struct link_ring *r, bool take, struct err *err)
{
	enum link_slot_state from = r->server ? LINK_S_FREE : LINK_S_FLIGHT;
	struct link_slot *s;
	uint64_t w, due;
	uint8_t *slot;
	int i, j;

	for (i = 0; i < (int)r->depth; i++) {
		s = &r->slot[i];
		if (s->state != from)
			continue;
		slot = r->server ? link_ring_req(r, i) : link_ring_ans(r, i);
		w = __atomic_load_n(commit_of(slot), __ATOMIC_SEQ_CST);
		due = r->server ? r->next : s->seq;
		if (!take && w == slot_commit_word(r->epoch, due))
			return i;
		j = judge(r, i, w, due);
		if (j == 0)
			continue;
		if (j < 0) {
			if (take)
				err_set(err, ERR_DATA, "commit word of slot %d "
				    "is %016llx, want %016llx", i,
				    (unsigned long long)w, (unsigned long long)
				    slot_commit_word(r->epoch, due));
			return LINK_BROKEN;
		}
		/* Header and body come from the other core: fetch both at
		 * once. */
		__builtin_prefetch(slot + SLOT_HEAD);
		__builtin_prefetch(slot + SLOT_BODY);
		s->seq = due;
		s->state = LINK_S_GOT;
		if (r->server)
			r->next++;
		return i;
	}
	return LINK_IDLE;
}

static int
shm_poll(struct link_ring *r, struct err *err)
{
	struct shm_ring *s = (struct shm_ring *)r;
	int i = shm_scan(r, true, err);

	if (i == LINK_IDLE && s->gone) {
		err_set(err, ERR_TEMP, "the peer is gone (door shut)");
		return LINK_BROKEN;
	}
	return i;
}

static bool
shm_peek(struct link_ring *r)
{
	return ((struct shm_ring *)r)->gone ||
	    shm_scan(r, false, NULL) != LINK_IDLE;
}

static void
shm_doze(struct link_ring *r)
{
	__atomic_store_n(((struct shm_ring *)r)->mine, 1, __ATOMIC_SEQ_CST);
}

static void
shm_rouse(struct link_ring *r, bool readable)
{
	struct shm_ring *s = (struct shm_ring *)r;
	char junk[64];
	ssize_t n;

	__atomic_store_n(s->mine, 0, __ATOMIC_SEQ_CST);
	if (!readable)
		return;
	n = recv(r->fd, junk, sizeof(junk), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		s->gone = true;
}

const struct link_tp link_shm_tp = {
	.name = "shm",
	.pass_fds = true,
	.listen = shm_listen,
	.unlisten = shm_unlisten,
	.tune = shm_tune,
	.offer = shm_offer,
	.take = shm_take,
	.put = shm_put,
	.poll = shm_poll,
	.peek = shm_peek,
	.doze = shm_doze,
	.rouse = shm_rouse,
	.close = shm_close,
};
