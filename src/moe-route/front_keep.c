/* front_keep - see front_keep.h. */
#include "front_keep.h"

#include <string.h>

#include "mem.h"

char *
front_keep_name(const char *path, const char *auth, const char *key)
{
	return mem_printf("%s\n%s\n%s", path, auth != NULL ? auth : "", key);
}

struct front_kept *
front_keep_find(const struct front_keep *k, const char *name)
{
	struct front_kept *e;

	for (e = k->first; e != NULL; e = e->next)
		if (strcmp(e->name, name) == 0)
			return e;
	return NULL;
}

void
front_keep_drop(struct front_keep *k, struct front_kept *e)
{
	*e->prev_p = e->next;
	if (e->next != NULL)
		e->next->prev_p = e->prev_p;
	k->n--;
	k->bytes -= e->reply.n;
	mem_free(e->name);
	str_free(&e->reply);
	mem_free(e);
}

/* Drop the oldest complete one but e; false: there is none. */
static bool
drop_oldest(struct front_keep *k, const struct front_kept *but)
{
	struct front_kept *e, *oldest = NULL;

	for (e = k->first; e != NULL; e = e->next)
		if (e->job == NULL && e != but && (oldest == NULL ||
		    e->done_ns < oldest->done_ns))
			oldest = e;
	if (oldest == NULL)
		return false;
	front_keep_drop(k, oldest);
	return true;
}

struct front_kept *
front_keep_new(struct front_keep *k, char *name, uint64_t ask)
{
	struct front_kept *e;

	if (k->n >= FRONT_MAX_KEPT && !drop_oldest(k, NULL)) {
		mem_free(name);
		return NULL;
	}
	e = mem_zalloc(sizeof(*e));
	e->name = name;
	e->ask = ask;
	e->next = k->first;
	e->prev_p = &k->first;
	if (k->first != NULL)
		k->first->prev_p = &e->next;
	k->first = e;
	k->n++;
	return e;
}

bool
front_keep_add(struct front_keep *k, struct front_kept *e, const void *p,
    size_t n)
{
	if (e->reply.n + n > FRONT_MAX_REPLY)
		return false;
	while (k->bytes + n > k->max_bytes)
		if (!drop_oldest(k, e))
			return false;
	str_add(&e->reply, p, n);
	k->bytes += n;
	return true;
}

void
front_keep_expire(struct front_keep *k, uint64_t now_ns)
{
	struct front_kept *e, *next;

	for (e = k->first; e != NULL; e = next) {
		next = e->next;
		if (e->job == NULL && now_ns - e->done_ns > k->keep_ns)
			front_keep_drop(k, e);
	}
}

void
front_keep_clear(struct front_keep *k)
{
	while (k->first != NULL)
		front_keep_drop(k, k->first);
}
