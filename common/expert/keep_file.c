/* keep_file - see keep_file.h. */
#include "keep_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mem.h"
#include "slot.h"

#define VERSION		1u
#define SEALED		0400

/* ---- the layout ---------------------------------------------------------- */

#define PROBE_H		72	/* no multiple of any block of lanes */
#define PROBE_I		40

/* Small whole numbers: exact in every type. */
static void
probe_fill(float *v, size_t n, unsigned key)
{
	size_t i;

	for (i = 0; i < n; i++)
		v[i] = (float)((i * 7 + i / 13 + key) % 251);
}

static void *
probe_mat(const struct kern *kn, struct kern_mat *m, int n, int k)
{
	m->n = n;
	m->k = k;
	m->dtype = kern_weights(kn);
	m->bytes = kern_mat_bytes(kn, n, k, m->dtype);
	m->data = mem_aligned(64, m->bytes);
	return m->data;
}

uint32_t
keep_layout(const struct kern *kn)
{
	static const int rows[] = { PROBE_I, PROBE_I, PROBE_H };
	float v[PROBE_H * PROBE_I];
	struct kern_expert x = { 0 };
	void *up = probe_mat(kn, &x.gate_up, 2 * PROBE_I, PROBE_H);
	void *down = probe_mat(kn, &x.down, PROBE_H, PROBE_I);
	uint32_t crc;
	int part;

	for (part = KERN_GATE; part <= KERN_DOWN; part++) {
		struct kern_pack p = { .src = v, .src_dtype = KERN_F32,
		    .rows = rows[part], .cs = 1,
		    .rs = (size_t)(PROBE_H * PROBE_I / rows[part]) };

		probe_fill(v, PROBE_H * PROBE_I, (unsigned)part);
		kern_expert_pack(kn, &x, (enum kern_part)part, &p);
	}
	crc = slot_crc32c(0, up, x.gate_up.bytes);
	crc = slot_crc32c(crc, down, x.down.bytes);
	mem_free(up);
	mem_free(down);
	return crc;
}

/* ---- the header ---------------------------------------------------------- */

static size_t
page_up(size_t n)
{
	return (n + KEEP_PAGE - 1) / KEEP_PAGE * KEEP_PAGE;
}

void
keep_head_init(struct keep_head *h, const struct kern *kn,
    uint64_t fingerprint, const struct kern_expert *shape)
{
	memset(h, 0, sizeof(*h));
	snprintf(h->magic, sizeof(h->magic), "MOEKEEP");
	h->version = VERSION;
	h->layout = keep_layout(kn);
	h->fingerprint = fingerprint;
	snprintf(h->variant, sizeof(h->variant), "%s", kern_variant(kn));
	h->gate_up_bytes = shape->gate_up.bytes;
	h->down_at = (shape->gate_up.bytes + 63) / 64 * 64;
	h->down_bytes = shape->down.bytes;
	h->stride = page_up((size_t)(h->down_at + h->down_bytes));
	h->dtype = (uint32_t)shape->gate_up.dtype;
	h->hidden = (uint32_t)shape->down.n;
	h->inter = (uint32_t)shape->down.k;
}

size_t
keep_head_bytes(const struct keep_head *h)
{
	return page_up(sizeof(*h) + h->n * sizeof(uint32_t));
}

size_t
keep_file_bytes(const struct keep_head *h)
{
	return keep_head_bytes(h) + h->n * (size_t)h->stride;
}

void
keep_name(const struct keep_head *h, char name[KEEP_NAME])
{
	snprintf(name, KEEP_NAME, "%016llx.%s.l%u.e%u-%u",
	    (unsigned long long)h->fingerprint, h->variant, h->layer,
	    h->first, h->first + h->n - 1);
}

static uint32_t
head_crc(const struct keep_head *h, const uint32_t *sum)
{
	struct keep_head copy = *h;

	copy.crc = 0;
	return slot_crc32c(slot_crc32c(0, &copy, sizeof(copy)), sum,
	    h->n * sizeof(*sum));
}

/* ---- folders ------------------------------------------------------------- */

static bool
is_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC ||
	    fs.f_type == RAMFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC);
}

int
keep_dir_open(const char *path, bool in_memory, struct err *err)
{
	struct stat st;
	int fd;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, errno, "folder %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		err_sys(err, ERR_TEMP, errno, "folder %s", path);
	} else if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
		err_set(err, ERR_USAGE, "folder %s: it must be this user's, "
		    "and nobody else may write to it", path);
	} else if (in_memory && !is_in_memory(fd)) {
		err_set(err, ERR_USAGE, "folder %s: it is not in memory "
		    "(tmpfs, such as /dev/shm)", path);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- reading ------------------------------------------------------------- */

bool
keep_file_read(int fd, void *p, size_t n, off_t at)
{
	ssize_t got;

	while (n > 0) {
		got = pread(fd, p, n, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		n -= (size_t)got;
		at += got;
		p = (char *)p + got;
	}
	return true;
}

/* NULL: it is what it should be. */
static const char *
compare(int fd, const struct keep_head *want, uint32_t *sum)
{
	struct keep_head h;
	struct stat st;
	uint32_t crc;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return "it is not a file";
	if (st.st_uid != geteuid() || (st.st_mode & 07777) != SEALED)
		return "its owner or mode is not what they were";
	if ((uint64_t)st.st_size != keep_file_bytes(want))
		return "its length is wrong";
	if (!keep_file_read(fd, &h, sizeof(h), 0) ||
	    !keep_file_read(fd, sum, want->n * sizeof(*sum), sizeof(h)))
		return "it cannot be read";
	crc = h.crc;
	h.crc = 0;
	if (memcmp(&h, want, sizeof(h)) != 0)
		return "its header is of other weights, or another build";
	if (crc != head_crc(&h, sum))
		return "its header's checksum is wrong";
	return NULL;
}

int
keep_file_open(int dir, const struct keep_head *h, uint32_t *sum,
    const char **why)
{
	char name[KEEP_NAME];
	int fd;

	*why = NULL;
	keep_name(h, name);
	/* Not blocking: it may be a FIFO that somebody put there. */
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		/* A want of descriptors or memory says nothing of the file. */
		if (errno != ENOENT && errno != EMFILE && errno != ENFILE &&
		    errno != ENOMEM)
			*why = "it cannot be opened";
		return -1;
	}
	*why = compare(fd, h, sum);
	if (*why == NULL)
		return fd;
	close(fd);
	return -1;
}

/* ---- writing ------------------------------------------------------------- */

int
keep_file_new(int dir, const struct keep_head *h)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), e;

	if (fd < 0)
		return -1;
	e = posix_fallocate(fd, 0, (off_t)keep_file_bytes(h));
	if (e == 0)
		return fd;
	close(fd);
	errno = e;
	return -1;
}

int
keep_file_write(int fd, const void *p, size_t n, off_t at)
{
	ssize_t put;

	while (n > 0) {
		put = pwrite(fd, p, n, at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		n -= (size_t)put;
		at += put;
		p = (const char *)p + put;
	}
	return 0;
}

int
keep_file_seal(int fd, int dir, const struct keep_head *h,
    const uint32_t *sum)
{
	struct keep_head whole = *h;
	char self[64], name[KEEP_NAME];

	whole.crc = head_crc(h, sum);
	if (keep_file_write(fd, &whole, sizeof(whole), 0) != 0 ||
	    keep_file_write(fd, sum, h->n * sizeof(*sum), sizeof(whole)) != 0 ||
	    fchmod(fd, SEALED) != 0)
		return -1;
	keep_name(h, name);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW);
}
