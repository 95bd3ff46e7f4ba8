/* link_fault_live.c - F3.  See link_fault_live.h. */
#include "link_fault_live.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

#define LOOK_NS		5000000u	/* how old the file's text may be */
#define TEXT_MAX	512

struct link_fault_live {
	_Atomic(struct link_fault_use *) now;
	atomic_uint_least64_t look_ns;	/* when to look again */
	pthread_mutex_t lock;		/* of what follows */
	int fd;				/* -1: no file */
	char text[TEXT_MAX];		/* as it was read last */
};

static void
begin(struct link_fault_live *l, const struct link_fault_spec *s)
{
	struct link_fault_use *u = mem_zalloc(sizeof(*u));

	u->s = *s;
	u->born_ns = clock_ns();
	u->older = atomic_load(&l->now);
	atomic_store(&l->now, u);
}

struct link_fault_live *
link_fault_live_new(const struct link_fault_spec *s, struct err *err)
{
	struct link_fault_live *l;
	int fd = -1;

	if (s->file[0] != '\0' &&
	    (fd = open(s->file, O_RDONLY | O_CLOEXEC)) < 0) {
		err_sys(err, ERR_USAGE, errno, "fault: %s", s->file);
		return NULL;
	}
	l = mem_zalloc(sizeof(*l));
	l->fd = fd;
	atomic_init(&l->now, NULL);
	pthread_mutex_init(&l->lock, NULL);
	begin(l, s);
	return l;
}

void
link_fault_live_free(struct link_fault_live *l)
{
	struct link_fault_use *u, *older;

	if (l == NULL)
		return;
	for (u = atomic_load(&l->now); u != NULL; u = older) {
		older = u->older;
		mem_free(u);
	}
	if (l->fd >= 0)
		close(l->fd);
	pthread_mutex_destroy(&l->lock);
	mem_free(l);
}

/* Lock held.  A text that is no specification is no news: whoever wrote it is
 * not here to be told, and half a line may be all that is written yet. */
static void
look(struct link_fault_live *l)
{
	struct link_fault_spec s;
	struct err err = ERR_INIT;
	char text[TEXT_MAX];
	ssize_t n = pread(l->fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return;
	text[n] = '\0';
	n = (ssize_t)strcspn(text, " \r\n");
	text[n] = '\0';
	if (strcmp(text, l->text) == 0)
		return;
	memset(&s, 0, sizeof(s));
	if (n > 0 && (text[0] == '@' ||
	    link_fault_spec_parse(text, (size_t)n, &s, &err) != 0))
		return;
	memcpy(l->text, text, sizeof(text));
	begin(l, &s);
}

const struct link_fault_use *
link_fault_live_now(struct link_fault_live *l, uint64_t now_ns)
{
	if (l->fd >= 0 && now_ns >= atomic_load_explicit(&l->look_ns,
	    memory_order_relaxed) && pthread_mutex_trylock(&l->lock) == 0) {
		look(l);
		atomic_store_explicit(&l->look_ns, now_ns + LOOK_NS,
		    memory_order_relaxed);
		pthread_mutex_unlock(&l->lock);
	}
	return atomic_load(&l->now);
}

bool
link_fault_live_in_force(const struct link_fault_use *u, uint64_t now_ns)
{
	uint64_t age = now_ns > u->born_ns ? now_ns - u->born_ns : 0;

	return age >= u->s.after_ns &&
	    (u->s.until_ns == 0 || age < u->s.until_ns);
}

uint64_t
link_fault_live_cut_ns(const struct link_fault_use *u, uint64_t up_ns)
{
	uint64_t at = up_ns + u->s.cut_at_ns, from;

	if (u->s.cut_at_ns == 0)
		return UINT64_MAX;
	from = u->born_ns + u->s.after_ns;
	if (at < from)
		at = from;
	return link_fault_live_in_force(u, at) ? at : UINT64_MAX;
}
